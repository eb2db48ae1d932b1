"""Optimisers for environments, differentiable or not. They know an environment only by `rpg.protocol`."""

from rpg.algorithms import CONFIGS, config_from_dict
from rpg.algorithms.adam import AdamConfig, MultistartConfig
from rpg.algorithms.ahac import AHACConfig
from rpg.algorithms.algorithm import AlgorithmConfig, NotFiniteError
from rpg.algorithms.cem import CEMConfig
from rpg.algorithms.mixture import MixtureConfig
from rpg.algorithms.mppi import MPPIConfig
from rpg.algorithms.ppo import PPOConfig
from rpg.algorithms.rpg import RPGConfig
from rpg.algorithms.sac import SACConfig
from rpg.algorithms.sapo import SAPOConfig
from rpg.algorithms.shac import SHACConfig
from rpg.environments.fixed_horizon import from_fixed_horizon
from rpg.environments.gymnasium_environment import from_gymnasium
from rpg.protocol import (
    Box,
    DictSpace,
    Environment,
    EnvironmentSpec,
    FixedHorizonEnvironment,
    ProtocolError,
    Step,
    VideoEnvironment,
    check_environment,
)
from rpg.settings_checks import SettingError
from rpg.training.checkpoint import Checkpoint, CheckpointError, CheckpointMismatch, load_checkpoint
from rpg.training.continuation import Branch
from rpg.training.evaluation import LatentEvaluation, evaluate_latents
from rpg.training.metrics import IterationMetrics, read_metrics
from rpg.training.modes import Mode, distinct_modes, expected_success, policy_success
from rpg.training.plots import plot_run
from rpg.training.run_lock import RunLock, RunLockedError
from rpg.training.schedules import Schedule
from rpg.training.seed_batch import SeedRun, train_seeds
from rpg.training.termination import Terminated
from rpg.training.trained_policy import TrainedPolicy, load_policy
from rpg.training.trainer import StopTraining, Trainer, TrainingResult

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
    "Environment",
    "EnvironmentSpec",
    "FixedHorizonEnvironment",
    "IterationMetrics",
    "LatentEvaluation",
    "MPPIConfig",
    "MixtureConfig",
    "Mode",
    "MultistartConfig",
    "NotFiniteError",
    "PPOConfig",
    "ProtocolError",
    "RPGConfig",
    "RunLock",
    "RunLockedError",
    "SACConfig",
    "SAPOConfig",
    "SHACConfig",
    "Schedule",
    "SeedRun",
    "SettingError",
    "Step",
    "StopTraining",
    "Terminated",
    "TrainedPolicy",
    "Trainer",
    "TrainingResult",
    "VideoEnvironment",
    "check_environment",
    "config_from_dict",
    "distinct_modes",
    "evaluate_latents",
    "expected_success",
    "from_fixed_horizon",
    "from_gymnasium",
    "load_checkpoint",
    "load_policy",
    "plot_run",
    "policy_success",
    "read_metrics",
    "train_seeds",
]
