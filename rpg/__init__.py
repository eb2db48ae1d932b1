"""Optimisers for differentiable environments. They know an environment only by `rpg.protocol.Environment`."""

from rpg.algorithms import CONFIGS, config_from_dict
from rpg.algorithms.base import AlgorithmConfig
from rpg.algorithms.rpg import RPGConfig
from rpg.checkpoint import Checkpoint, CheckpointError, CheckpointMismatch, load_checkpoint
from rpg.evaluation import LatentEvaluation, evaluate_latents
from rpg.metrics import IterationMetrics, read_metrics
from rpg.modes import Mode, distinct_modes, expected_success, policy_success
from rpg.plots import plot_run
from rpg.protocol import Environment, check_environment
from rpg.schedules import Schedule
from rpg.trainer import Trainer, TrainingResult

__all__ = [
    "CONFIGS",
    "AlgorithmConfig",
    "Checkpoint",
    "CheckpointError",
    "CheckpointMismatch",
    "Environment",
    "IterationMetrics",
    "LatentEvaluation",
    "Mode",
    "RPGConfig",
    "Schedule",
    "Trainer",
    "TrainingResult",
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
