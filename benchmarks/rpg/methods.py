"""The baselines as every experiment runs them: the best of what `benchmarks/rpg_tuning.py` tried, at as many steps as RPG."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rpg import AlgorithmConfig, Schedule
from rpg.algorithms.adam import AdamConfig, MultistartConfig
from rpg.algorithms.ahac import AHACConfig
from rpg.algorithms.cem import CEMConfig
from rpg.algorithms.mixture import MixtureConfig
from rpg.algorithms.mppi import MPPIConfig
from rpg.algorithms.ppo import PPOConfig
from rpg.algorithms.rpg import RPGConfig
from rpg.algorithms.sac import SACConfig
from rpg.algorithms.sapo import SAPOConfig
from rpg.algorithms.shac import SHACConfig

SAC: dict[str, Any] = {"hidden": (64, 64), "learning_rate": 0.001, "normalize_observations": True}
"""Networks as small as those of the others."""
TUNED: Mapping[str, Mapping[str, Any]] = {
    "cem": {"min_std": 0.02, "elite_fraction": 0.1},
    "mppi": {"noise": Schedule(1.0, 0.03)},
    "ppo": {"learning_rate": 0.003},
    "sac": {**SAC, "updates": 4},
}
"""What differs from the methods' defaults."""


def baselines(rpg: RPGConfig, *, num_envs: int) -> Mapping[str, AlgorithmConfig]:
    """One batch of ``num_envs`` episodes an iteration and as many iterations as ``rpg``, with its settings where they share
    them. Restarts have a start for each environment, as RPG has a latent for each."""
    iterations = rpg.iterations
    rate = rpg.policy_learning_rate if rpg.policy == "table" else None
    step: dict[str, Any] = {} if rate is None else {"learning_rate": rate}
    return {
        "mixture": MixtureConfig(
            iterations=iterations,
            policy_learning_rate=rate,
            std=rpg.std,
            num_latents=rpg.num_latents or MixtureConfig.num_latents,
            alpha_z=rpg.alpha_z,
        ),
        "adam": AdamConfig(iterations=iterations, **step),
        "multistart": MultistartConfig(iterations=iterations, num_starts=num_envs, **step),
        "cem": CEMConfig(iterations=iterations, **TUNED["cem"]),
        "mppi": MPPIConfig(iterations=iterations, **TUNED["mppi"]),
        "shac": SHACConfig(iterations=iterations),
        "sapo": SAPOConfig(iterations=iterations),
        "ahac": AHACConfig(iterations=iterations),
        "ppo": PPOConfig(iterations=iterations, **TUNED["ppo"]),
        "sac": SACConfig(iterations=iterations, **TUNED["sac"]),
    }
