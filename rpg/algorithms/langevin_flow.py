"""MCMC policy optimisation by a Langevin flow: an actor whose samples are moved on by coupling layers along the critics'
gradient.

The actor draws u_0, and K coupling layers (`rpg.models.langevin_coupling`), each a Langevin step with its noise replaced by
learned shifts and scales, lead to u_K. The divergence is the way, in units of the std of pi_t, the actor before the update:

    D = E[ |u_K - u_0,t| / std_t ] / sqrt(A)        u_0,t = mean_t(s) + std_t(s) x_0

The rest is in `rpg.algorithms.transported_actor`; docs/mcmc_policies.md derives it.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rpg.algorithms.transported_actor import Transported, TransportedActor, TransportedActorConfig
from rpg.models.langevin_coupling import LangevinFlow
from rpg.settings_checks import check_int


@dataclass(frozen=True)
class LangevinFlowConfig(TransportedActorConfig):
    """Settings of the Langevin flow. The divergence is in standard deviations of the actor. The replay buffer is kept in the
    run's folder."""

    names: ClassVar[tuple[str, ...]] = ("langevin",)

    coupling_layers: int = 4
    """K. Each moves one half of the action, in turn."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_int("coupling_layers", self.coupling_layers, at_least=1, at_most=100)


class LangevinFlowPolicy(TransportedActor):
    """The Langevin flow; see the module's docstring."""

    config: LangevinFlowConfig

    def new_transport(self, width: int, action_dim: int) -> LangevinFlow:
        config = self.config
        return LangevinFlow(
            width, action_dim, layers=config.coupling_layers, hidden=config.gate_hidden, generator=self.generator
        )

    def divergence(self, found: Transported, mean: Tensor, log_std: Tensor) -> Tensor:
        """D, a mean over the batch."""
        way = (found.before_squashing() - mean) * (-log_std).exp() - found.start[:, : mean.shape[1]]
        return torch.linalg.vector_norm(way, dim=1).mean() / math.sqrt(mean.shape[1])
