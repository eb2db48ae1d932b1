"""What MCMC policy optimisation by Hamiltonian steps and by the Langevin flow share: a soft actor-critic whose actor is only
the start of its actions, which the critics' gradient and learned networks move on (`rpg.models.transport`).

With x_0 ~ N(0, I) and auxiliary numbers r_0 ~ N(0, I), the transport gives x_K, r_K, and the action is
a = tanh(mean(s) + std(s) x_K). Its log density is that of (a, r_K) less that of r_K ~ N(0, I), whose expectation is no less
than that of log pi(a|s):

    log q = log N(x_0) + log N(r_0) - log volume - log N(r_K) - sum log std - sum log (1 - a^2)

An update is SAC's with these actions, with the bonus for entropy on the actor's own samples a_0 = tanh(mean(s) + std(s) x_0),
and with the divergence D of what the transport does. The transport maximises J, the actor J - alpha E[log pi(a_0|s)],

    J = E[min_i Q_i(s, a)] - beta D

first the actor, with D against itself as it is before the update; every few updates then the transport, for the actor as it
has become. beta also divides the critics in the transport's energy, as what maximises E[Q] - beta KL(q || p) is
p exp(Q / beta). A PID controller of log beta holds D at its target.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rpg.algorithms.sac import SAC, SACConfig, SquashedGaussian
from rpg.models.action_policy import ActionPolicy, ActionSample, log_tanh_slope, squashed_sample
from rpg.models.latent import LatentSpace
from rpg.models.stacked_network import StackedNetwork
from rpg.models.transport import Ascent, Transport, standard_log_density
from rpg.protocol import FixedHorizonEnvironment
from rpg.settings_checks import check_int, check_not_negative, check_positive
from rpg.training.collector import Choice, Situation
from rpg.training.multiplier import Multiplier

LARGEST_ASCENT = 10.0
"""Length that the critics' gradient approaches where it is large, in the actor's own units, in which the gradient of its own
log density has a length of about 1."""
BETA_RANGE = (1e-4, 1e4)
_HALF_LOG_2PI = 0.9189385332046727


@dataclass(frozen=True)
class TransportedActorConfig(SACConfig):
    """The settings that both have beyond SAC's. The transport's Adam step is the actor's."""

    gate_hidden: int = 16
    """Width of the only hidden layer of the transport's networks."""
    transport_interval: int = 2
    """Updates of the actor from one of the transport to the next."""
    beta: float = 1.0
    """Multiplier of the divergence at the start, in units of the rewards' sum."""
    divergence: float = 0.2
    """What the multiplier holds the divergence at, for each action dimension."""
    proportional: float = 0.2
    """Of the controller: what log beta gains for a divergence of twice its target (or more)."""
    integral: float = 0.02
    """The same, in every update."""
    derivative: float = 0.1
    """What log beta gains where the divergence grows by its target from one update to the next."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("gate_hidden", "transport_interval"):
            check_int(name, getattr(self, name), at_least=1)
        for name in ("beta", "divergence"):
            check_positive(name, getattr(self, name))
        for name in ("proportional", "integral", "derivative"):
            check_not_negative(name, getattr(self, name))


class Transported(NamedTuple):
    """Actions on their way, for N states."""

    action: Tensor
    """(N, A) in (-1, 1)."""
    log_prob: Tensor
    """(N,) log q."""
    proposed: Tensor
    """(N,) log pi(a_0|s), of the actor's own samples."""
    mean: Tensor
    """(N, A), of the actor, before squashing."""
    log_std: Tensor
    """(N, A), of the actor."""
    start: Tensor
    """(N, A + extra): x_0 and r_0."""
    end: Tensor
    """(N, A + extra): x_K and r_K."""
    log_volume: Tensor
    """(N,) logarithm of the factor by which volumes grow."""

    def before_squashing(self) -> Tensor:
        """(N, A) u_K."""
        return self.mean + self.log_std.exp() * self.end[:, : self.mean.shape[1]]


class TransportedPolicy(ActionPolicy):
    """An actor's samples, moved on by a transport along the gradient of critics."""

    def __init__(self, actor: SquashedGaussian, transport: Transport, critics: StackedNetwork) -> None:
        super().__init__(LatentSpace(True, 1))
        self.actor, self.transport, self.critics = actor, transport, critics
        self.uses_time, self.extra_noise = actor.uses_time, transport.extra

    def ascent(self, seen: Tensor, mean: Tensor, std: Tensor) -> Ascent:
        """The gradient of Q / beta with respect to x, Q the first critic, its length bounded. The critic is piecewise linear
        in the action, so its own gradient counts as constant; the other factors are differentiated."""
        width = seen.shape[1]

        def gradient(x: Tensor) -> Tensor:
            action = torch.tanh(mean + std * x)
            slope = self.critics.input_gradient(torch.cat([seen, action], dim=1), slice(width, None))
            along = std * (1 - action.square()) * slope / self.transport.multiplier
            return along / (1 + along.square().sum(1, keepdim=True) / LARGEST_ASCENT**2).sqrt()

        return gradient

    def transported(self, seen: Tensor, noise: Tensor) -> Transported:
        """Differentiable samples for what networks see (N, W) and `noise` (N, A + extra); zero noise gives what is played
        without it."""
        mean, log_std = self.actor.mean_and_log_std(seen)
        std = log_std.exp()
        end, volume = self.transport(seen, noise, self.ascent(seen, mean, std))
        x, auxiliary = end.split((mean.shape[1], self.extra_noise), dim=1)
        u = mean + std * x
        log_prob = standard_log_density(noise.detach()) - standard_log_density(auxiliary) - volume
        log_prob = log_prob - (log_std + _HALF_LOG_2PI + log_tanh_slope(u)).sum(-1)
        proposed = squashed_sample(mean, std, noise[:, : mean.shape[1]]).log_prob
        return Transported(torch.tanh(u), log_prob, proposed, mean, log_std, noise, end, volume)

    def forward(
        self, observation: Tensor, latent: Tensor, step: int | Tensor, std: Tensor | float, noise: Tensor
    ) -> ActionSample:
        """A sample with the actor's own std; the argument `std` is ignored."""
        found = self.transported(self._seen(observation, step), noise)
        return ActionSample(found.action, found.log_prob, self.mean(observation, latent, step))

    def mean(self, observation: Tensor, latent: Tensor, step: int | Tensor) -> Tensor:
        seen = self._seen(observation, step)
        noise = seen.new_zeros(seen.shape[0], self.actor.action_dim + self.extra_noise)
        return self.transported(seen, noise).before_squashing()

    def _seen(self, observation: Tensor, step: int | Tensor) -> Tensor:
        age = torch.as_tensor(step, device=observation.device).expand(observation.shape[0])
        return self.actor.inputs(observation, age)


class TransportedActor(SAC):
    """SAC with a `TransportedPolicy`; see the module's docstring. A subclass says by which transport and what divergence."""

    config: TransportedActorConfig
    policy: TransportedPolicy

    def __init__(self, env: FixedHorizonEnvironment, config: TransportedActorConfig, like: Tensor) -> None:
        super().__init__(env, config, like)
        transport = self.new_transport(self.inputs.width, self.spec.action_dim).to(like)
        self.policy = TransportedPolicy(self.actor, transport, self.critics)
        self.modules["transport"] = transport
        self.optimizers["transport"] = torch.optim.Adam(transport.parameters(), lr=config.learning_rate, fused=True)
        self._multiplier = Multiplier(
            config.beta,
            rate=config.integral,
            damping=config.proportional,
            lead=config.derivative,
            low=BETA_RANGE[0],
            high=BETA_RANGE[1],
        )
        transport.multiplier.fill_(self._multiplier.value)
        self._updates = 0

    @abstractmethod
    def new_transport(self, width: int, action_dim: int) -> Transport:
        """For networks that see (N, `width`)."""

    @abstractmethod
    def divergence(self, found: Transported, mean: Tensor, log_std: Tensor) -> Tensor:
        """() D of what was transported, against a policy with that `mean` and `log_std` (N, A) in the actor's place."""

    @torch.no_grad()
    def choose(self, situation: Situation) -> Choice:
        seen = self.inputs(situation.observation, situation.age)
        found = self.policy.transported(seen, self._noise(len(seen)))
        return Choice(found.action, found.log_prob)

    def update(self, iteration: int) -> dict[str, float]:
        config = self.config
        batch = self.buffer.sample(config.batch_size, self.generator)
        now = self.inputs(batch.observation, batch.age)
        after = self.inputs(batch.next_observation, batch.age + 1)
        noise, noise_after = self._noise(config.batch_size), self._noise(config.batch_size)
        alpha, beta = self.log_alpha.exp(), self.policy.transport.multiplier.clone()
        with torch.no_grad():
            following = self.policy.transported(after, noise_after)
        critic_loss = self.improve_critics(batch, now, after, following.action, following.proposed)

        def improved(name: str, reference: tuple[Tensor, Tensor] | None) -> tuple[Transported, dict[str, float]]:
            """A step of the actor ("policy") or the transport, with D against `reference`, the actor as it is if None."""
            found = self.policy.transported(now, noise)
            mean, log_std = (found.mean.detach(), found.log_std.detach()) if reference is None else reference
            divergence, worth = self.divergence(found, mean, log_std), self.worth(now, found.action)
            objective = worth.mean() - beta * divergence
            if name == "policy":
                objective = objective - alpha * found.proposed.mean()
            parameters = list(self.modules[name].parameters())
            for each, gradient in zip(parameters, torch.autograd.grad(-objective, parameters), strict=True):
                each.grad = gradient
            self.step(self.optimizers[name])
            return found, {
                "objective": float(objective.detach()),
                "value": float(worth.detach().mean()),
                "divergence": float(divergence.detach()),
            }

        found, terms = improved("policy", None)
        if self._updates % config.transport_interval == 0:
            improved("transport", (found.mean.detach(), found.log_std.detach()))
        self._updates += 1

        entropy = -found.proposed.detach().mean()
        self.adapt_temperature(entropy)
        target = config.divergence * self.spec.action_dim
        self._multiplier.update(terms["divergence"] / target - 1)
        self.policy.transport.multiplier.fill_(self._multiplier.value)
        self.target_critics.follow(self.critics, config.target_rate)
        moved = found.end[:, : self.spec.action_dim] - found.start[:, : self.spec.action_dim]
        return {
            **terms,
            "critic_loss": critic_loss,
            "policy_entropy": float(entropy),
            "alpha": float(alpha),
            "beta": float(beta),
            "moved": float(moved.detach().square().mean().sqrt()),
        }

    def _noise(self, count: int) -> Tensor:
        return self.standard_normal(count, self.spec.action_dim + self.policy.extra_noise)

    def extra_state(self) -> dict[str, Any]:
        return {**super().extra_state(), "multiplier": self._multiplier.state(), "updates": self._updates}

    def restore_extra_state(self, state: dict[str, Any]) -> None:
        super().restore_extra_state(state)
        self._multiplier.restore(state["multiplier"])
        self._updates = state["updates"]
