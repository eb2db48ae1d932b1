"""Optimisers for environments, differentiable or not. They know an environment only by `rpg.protocol`.

Names are imported when they are first used: ``import rpg`` itself imports nothing, torch included.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rpg.algorithms import CONFIGS, config_from_dict
    from rpg.algorithms.adam import AdamConfig, MultistartConfig
    from rpg.algorithms.ahac import AHACConfig
    from rpg.algorithms.algorithm import AlgorithmConfig, NotFiniteError
    from rpg.algorithms.cem import CEMConfig
    from rpg.algorithms.diffusion_policy import DiffusionPolicyConfig
    from rpg.algorithms.hmc_policy import HMCPolicyConfig
    from rpg.algorithms.langevin_flow import LangevinFlowConfig
    from rpg.algorithms.mixture import MixtureConfig
    from rpg.algorithms.model_based_rpg import ModelBasedRPGConfig
    from rpg.algorithms.mppi import MPPIConfig
    from rpg.algorithms.ppo import PPOConfig
    from rpg.algorithms.rpg import RPGConfig
    from rpg.algorithms.sac import SACConfig
    from rpg.algorithms.sapo import SAPOConfig
    from rpg.algorithms.shac import SHACConfig
    from rpg.algorithms.soft_q_learning import SoftQLearningConfig
    from rpg.environments.fixed_horizon import from_fixed_horizon
    from rpg.environments.gymnasium_environment import from_gymnasium
    from rpg.protocol import (
        Box,
        DictSpace,
        Environment,
        EnvironmentSpec,
        FixedHorizonEnvironment,
        ProtocolError,
        ShardableEnvironment,
        Step,
        VideoEnvironment,
        ViewerEnvironment,
        check_environment,
    )
    from rpg.runs.run import Replay, Run, RunEvaluation, open_run
    from rpg.settings_checks import SettingError
    from rpg.training.checkpoint import Checkpoint, CheckpointError, CheckpointMismatch, load_checkpoint
    from rpg.training.continuation import Branch
    from rpg.training.evaluation import LatentEvaluation, evaluate_latents
    from rpg.training.metrics import IterationMetrics, read_metrics
    from rpg.training.modes import Mode, distinct_modes, expected_success, policy_success
    from rpg.training.plots import plot_run
    from rpg.training.ranks import RankError, Ranks, joined_ranks
    from rpg.training.run_lock import RunLock, RunLockedError
    from rpg.training.schedules import Schedule
    from rpg.training.seed_batch import SeedRun, train_seeds
    from rpg.training.termination import Terminated
    from rpg.training.trained_policy import TrainedPolicy, load_policy
    from rpg.training.trainer import StopTraining, Trainer, TrainingResult

_NAMES = {
    "rpg.algorithms": "CONFIGS config_from_dict",
    "rpg.algorithms.adam": "AdamConfig MultistartConfig",
    "rpg.algorithms.ahac": "AHACConfig",
    "rpg.algorithms.algorithm": "AlgorithmConfig NotFiniteError",
    "rpg.algorithms.cem": "CEMConfig",
    "rpg.algorithms.hmc_policy": "HMCPolicyConfig",
    "rpg.algorithms.langevin_flow": "LangevinFlowConfig",
    "rpg.algorithms.diffusion_policy": "DiffusionPolicyConfig",
    "rpg.algorithms.mixture": "MixtureConfig",
    "rpg.algorithms.model_based_rpg": "ModelBasedRPGConfig",
    "rpg.algorithms.mppi": "MPPIConfig",
    "rpg.algorithms.ppo": "PPOConfig",
    "rpg.algorithms.rpg": "RPGConfig",
    "rpg.algorithms.sac": "SACConfig",
    "rpg.algorithms.sapo": "SAPOConfig",
    "rpg.algorithms.shac": "SHACConfig",
    "rpg.algorithms.soft_q_learning": "SoftQLearningConfig",
    "rpg.environments.fixed_horizon": "from_fixed_horizon",
    "rpg.environments.gymnasium_environment": "from_gymnasium",
    "rpg.protocol": "Box DictSpace Environment EnvironmentSpec FixedHorizonEnvironment ProtocolError ShardableEnvironment Step "
    "VideoEnvironment ViewerEnvironment check_environment",
    "rpg.runs.run": "Replay Run RunEvaluation open_run",
    "rpg.settings_checks": "SettingError",
    "rpg.training.checkpoint": "Checkpoint CheckpointError CheckpointMismatch load_checkpoint",
    "rpg.training.continuation": "Branch",
    "rpg.training.evaluation": "LatentEvaluation evaluate_latents",
    "rpg.training.metrics": "IterationMetrics read_metrics",
    "rpg.training.modes": "Mode distinct_modes expected_success policy_success",
    "rpg.training.plots": "plot_run",
    "rpg.training.ranks": "RankError Ranks joined_ranks",
    "rpg.training.run_lock": "RunLock RunLockedError",
    "rpg.training.schedules": "Schedule",
    "rpg.training.seed_batch": "SeedRun train_seeds",
    "rpg.training.termination": "Terminated",
    "rpg.training.trained_policy": "TrainedPolicy load_policy",
    "rpg.training.trainer": "StopTraining Trainer TrainingResult",
}
"""The public names by the module that defines them."""
_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}
_SUBMODULES = ("algorithms", "environments", "models", "preferences", "protocol", "runs", "settings_checks", "training")

__all__ = [
    "CONFIGS",
    "AHACConfig",
    "AdamConfig",
    "AlgorithmConfig",
    "Box",
    "Branch",
    "CEMConfig",
    "Checkpoint",
    "CheckpointError",
    "CheckpointMismatch",
    "DictSpace",
    "DiffusionPolicyConfig",
    "Environment",
    "EnvironmentSpec",
    "FixedHorizonEnvironment",
    "HMCPolicyConfig",
    "IterationMetrics",
    "LangevinFlowConfig",
    "LatentEvaluation",
    "MPPIConfig",
    "MixtureConfig",
    "Mode",
    "ModelBasedRPGConfig",
    "MultistartConfig",
    "NotFiniteError",
    "PPOConfig",
    "ProtocolError",
    "RPGConfig",
    "RankError",
    "Ranks",
    "Replay",
    "Run",
    "RunEvaluation",
    "RunLock",
    "RunLockedError",
    "SACConfig",
    "SAPOConfig",
    "SHACConfig",
    "Schedule",
    "SeedRun",
    "SettingError",
    "ShardableEnvironment",
    "SoftQLearningConfig",
    "Step",
    "StopTraining",
    "Terminated",
    "TrainedPolicy",
    "Trainer",
    "TrainingResult",
    "VideoEnvironment",
    "ViewerEnvironment",
    "check_environment",
    "config_from_dict",
    "distinct_modes",
    "evaluate_latents",
    "expected_success",
    "from_fixed_horizon",
    "from_gymnasium",
    "joined_ranks",
    "load_checkpoint",
    "load_policy",
    "open_run",
    "plot_run",
    "policy_success",
    "read_metrics",
    "train_seeds",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    elif name in _SUBMODULES:
        value = import_module(f"rpg.{name}")
    else:
        raise AttributeError(f"module 'rpg' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
