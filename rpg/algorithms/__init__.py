"""All algorithms by name. Each is one file: its settings first, then the algorithm.

SHAC, SAPO and AHAC share `rpg.algorithms.short_horizon`, the HMC policy and the Langevin flow share
`rpg.algorithms.transported_actor`.
"""

from typing import Any

from torch import Tensor

from rpg.algorithms.adam import Adam, AdamConfig, MultistartConfig
from rpg.algorithms.ahac import AHAC, AHACConfig
from rpg.algorithms.algorithm import Algorithm, AlgorithmConfig
from rpg.algorithms.cem import CEM, CEMConfig
from rpg.algorithms.diffusion_policy import Diffusion, DiffusionPolicyConfig
from rpg.algorithms.hmc_policy import HMCPolicy, HMCPolicyConfig
from rpg.algorithms.langevin_flow import LangevinFlowConfig, LangevinFlowPolicy
from rpg.algorithms.mixture import Mixture, MixtureConfig
from rpg.algorithms.model_based_rpg import ModelBasedRPG, ModelBasedRPGConfig
from rpg.algorithms.mppi import MPPI, MPPIConfig
from rpg.algorithms.ppo import PPO, PPOConfig
from rpg.algorithms.rpg import RPG, RPGConfig
from rpg.algorithms.sac import SAC, SACConfig
from rpg.algorithms.sapo import SAPO, SAPOConfig
from rpg.algorithms.shac import SHAC, SHACConfig
from rpg.algorithms.soft_q_learning import SoftQLearning, SoftQLearningConfig
from rpg.environments.whole_episodes import whole_episodes
from rpg.protocol import Environment, FixedHorizonEnvironment
from rpg.settings_checks import SettingError

_CLASSES: dict[type[AlgorithmConfig], type[Algorithm]] = {
    RPGConfig: RPG,
    MixtureConfig: Mixture,
    AdamConfig: Adam,
    MultistartConfig: Adam,
    CEMConfig: CEM,
    MPPIConfig: MPPI,
    PPOConfig: PPO,
    SACConfig: SAC,
    SoftQLearningConfig: SoftQLearning,
    HMCPolicyConfig: HMCPolicy,
    LangevinFlowConfig: LangevinFlowPolicy,
    DiffusionPolicyConfig: Diffusion,
    ModelBasedRPGConfig: ModelBasedRPG,
    SHACConfig: SHAC,
    SAPOConfig: SAPO,
    AHACConfig: AHAC,
}
CONFIGS: dict[str, type[AlgorithmConfig]] = {name: config for config in _CLASSES for name in config.names}
"""The class of an algorithm's settings, by the algorithm's name."""
SUMMARIES = {
    "rpg": "a policy with a latent that finds distinct solutions, gradients through the simulator or not (Huang et al. 2023)",
    "gaussian": "the same without a latent: one Gaussian policy, gradients through the simulator",
    "reinforce": "the same without a latent and without gradients of the simulator: the score function",
    "mixture": "a mixture of Gaussian policies with learned weights: latents without a bonus for being different",
    "adam": "gradient ascent on one open-loop action sequence, through the simulator",
    "multistart": "the same from several random starts; the best sequence wins",
    "cem": "the cross-entropy method over open-loop action sequences: no gradient",
    "mppi": "path integral control of one open-loop action sequence: no gradient (Williams et al. 2017)",
    "ppo": "reinforcement learning on policy, without simulator gradients, through stable-baselines3",
    "sac": "the soft actor-critic: reinforcement learning off policy, from a replay buffer (Haarnoja et al. 2018)",
    "sql": "soft Q-learning: the same with a policy that keeps all its modes, by a learned sampler (Haarnoja et al. 2017)",
    "hmc": "sac whose samples are moved on by gated Hamiltonian steps along the critics' gradient (MCMC policy optimisation)",
    "langevin": "the same with Langevin steps as the coupling layers of a flow",
    "diffusion": "a diffusion policy off policy: actions of the replay buffer, moved up Q (Yang et al. 2023, Li et al. 2024)",
    "mbrpg": "rpg off policy through a learned world model, with a bonus for novel states (Huang et al. 2023, Algorithm 1)",
    "shac": "a network and a critic, gradients through the simulator in short windows (Xu et al. 2022)",
    "sapo": "the same with a bonus for entropy and several critics (Xing et al. 2025)",
    "ahac": "the same with windows whose length adapts to the stiffness of contact (Georgiev et al. 2024)",
}
"""What each algorithm is, in a line."""


def build_algorithm(env: Environment | FixedHorizonEnvironment, config: AlgorithmConfig, like: Tensor) -> Algorithm:
    """The algorithm with the settings `config`; `like` is an observation (B, O), whose dtype and device it adopts.

    Raises SettingError if there are no such settings, or it needs gradients and `env` declares that it has none, or
    it takes no images and `env` gives them.
    """
    if type(config) not in _CLASSES:
        raise SettingError(f"config was given {config!r}; allowed are the settings of an algorithm, as rpg.RPGConfig()")
    kind, whole = _CLASSES[type(config)], whole_episodes(env)
    if kind.needs_gradients and not getattr(whole, "differentiable", True):
        others = ", ".join(repr(name) for other, own in _CLASSES.items() if not own.needs_gradients for name in other.names)
        given = f"algorithm was given {config.algorithm!r}, which needs gradients"
        raise SettingError(f"{given}; allowed where the environment declares differentiable = False are {others}")
    if not kind.takes_images and getattr(whole, "observation_shape", None) is not None:
        takers = ", ".join(repr(name) for other, own in _CLASSES.items() if own.takes_images for name in other.names)
        raise SettingError(f"algorithm was given {config.algorithm!r}, which needs vectors; allowed with images are {takers}")
    return kind(whole, config, like)


def config_from_dict(values: dict[str, Any]) -> AlgorithmConfig:
    """The inverse of `AlgorithmConfig.to_dict`. Raises ValueError on an unknown algorithm or setting."""
    if not isinstance(values, dict):
        raise ValueError(f"values was given {values!r}; allowed are settings by name")
    name = values.get("algorithm")
    if name not in CONFIGS:
        raise ValueError(f"algorithm was given {name!r}; allowed are {', '.join(CONFIGS)}")
    return CONFIGS[name].from_dict(values)
