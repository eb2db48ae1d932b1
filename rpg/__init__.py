"""Optimisers for differentiable environments. They know an environment only by `rpg.protocol.Environment`."""

from rpg.algorithms import CONFIGS, config_from_dict
from rpg.algorithms.adam import AdamConfig, MultistartConfig
from rpg.algorithms.ahac import AHACConfig
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
from rpg.training.evaluation import LatentEvaluation, evaluate_latents
from rpg.training.metrics import IterationMetrics, read_metrics
from rpg.training.modes import Mode, distinct_modes, expected_success, policy_success
from rpg.training.plots import plot_run
from rpg.training.schedules import Schedule
from rpg.training.trainer import Trainer, TrainingResult

__all__ = [
    "CONFIGS",
    "AHACConfig",
    "AdamConfig",
    "AlgorithmConfig",
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
    "SACConfig",
    "SAPOConfig",
    "SHACConfig",
    "Schedule",
    "SettingError",
    "Trainer",
    "TrainingResult",
    "VideoEnvironment",
    "check_environment",
    "config_from_dict",
    "distinct_modes",
    "evaluate_latents",
    "expected_success",
    "load_checkpoint",
    "plot_run",
    "policy_success",
    "read_metrics",
]
