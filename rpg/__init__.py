"""Optimisers for differentiable environments. They know an environment only by `rpg.protocol.Environment`."""

from rpg.algorithms import CONFIGS, config_from_dict
from rpg.algorithms.adam import AdamConfig, MultistartConfig
from rpg.algorithms.algorithm import AlgorithmConfig, NotFiniteError
from rpg.algorithms.cem import CEMConfig
from rpg.algorithms.mixture import MixtureConfig
from rpg.algorithms.mppi import MPPIConfig
from rpg.algorithms.rpg import RPGConfig
from rpg.algorithms.sapo import SAPOConfig
from rpg.algorithms.sb3 import PPOConfig, SACConfig
from rpg.algorithms.shac import SHACConfig
from rpg.protocol import Environment, ProtocolError, VideoEnvironment, check_environment
from rpg.settings_checks import SettingError
from rpg.training.checkpoint import Checkpoint, CheckpointError, CheckpointMismatch, load_checkpoint
from rpg.training.continuation import Branch
from rpg.training.evaluation import LatentEvaluation, evaluate_latents
from rpg.training.metrics import IterationMetrics, read_metrics
from rpg.training.modes import Mode, distinct_modes, expected_success, policy_success
from rpg.training.plots import plot_run
from rpg.training.run_lock import RunLock, RunLockedError
from rpg.training.schedules import Schedule
from rpg.training.termination import Terminated
from rpg.training.trained_policy import TrainedPolicy, load_policy
from rpg.training.trainer import StopTraining, Trainer, TrainingResult

__all__ = [
    "CONFIGS",
    "AdamConfig",
    "AlgorithmConfig",
    "Branch",
    "CEMConfig",
    "Checkpoint",
    "CheckpointError",
    "CheckpointMismatch",
    "Environment",
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
    "SettingError",
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
    "load_checkpoint",
    "load_policy",
    "plot_run",
    "policy_success",
    "read_metrics",
]
