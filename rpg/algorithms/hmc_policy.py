"""MCMC policy optimisation by Hamiltonian Monte Carlo: an actor whose samples are moved on by gated leapfrog steps.

The actor draws u_0, a momentum r_0 ~ N(0, I) joins it, and K leapfrog steps (`rpg.models.gated_leapfrog`) on the energy
U = -(Q / beta + log pi_t(u|s)) lead to (u_K, r_K). They keep volumes, so the log density of the end is that of the start, and

    D = E[ log pi(u_0|s) + log N(r_0) - log pi_t(u_K|s) - log N(r_K) ]

is the divergence KL(q(u_K, r_K|s) || pi_t(u|s) N(r)) from the actor's own distribution: pi_t is the actor before the update.
The rest is in `rpg.algorithms.transported_actor`; docs/mcmc_policies.md derives it.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from rpg.algorithms.transported_actor import Transported, TransportedActor, TransportedActorConfig
from rpg.models.gated_leapfrog import GatedLeapfrog
from rpg.models.transport import standard_log_density
from rpg.settings_checks import check_int


@dataclass(frozen=True)
class HMCPolicyConfig(TransportedActorConfig):
    """Settings of the HMC policy. The divergence is in nats for each action dimension. The replay buffer is kept in the run's
    folder."""

    names: ClassVar[tuple[str, ...]] = ("hmc",)

    leapfrog_steps: int = 5
    """K."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_int("leapfrog_steps", self.leapfrog_steps, at_least=1, at_most=100)


class HMCPolicy(TransportedActor):
    """The HMC policy; see the module's docstring."""

    config: HMCPolicyConfig

    def new_transport(self, width: int, action_dim: int) -> GatedLeapfrog:
        config = self.config
        return GatedLeapfrog(
            width, action_dim, steps=config.leapfrog_steps, hidden=config.gate_hidden, generator=self.generator
        )

    def divergence(self, found: Transported, mean: Tensor, log_std: Tensor) -> Tensor:
        """D, a mean over the batch. Along x_0 the density of u_0 = mean + std x_0 is that of x_0 less log std."""
        x = (found.before_squashing() - mean) * (-log_std).exp()
        before = standard_log_density(found.start) - found.log_std.sum(-1)
        after = standard_log_density(x) - log_std.sum(-1) + standard_log_density(found.end[:, mean.shape[1] :])
        return (before - after).mean()
