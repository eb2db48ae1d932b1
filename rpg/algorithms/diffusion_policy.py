"""A diffusion policy off policy, taught by the gradient of Q with respect to actions, in the manner of DIPO (Yang et al. 2023)
and DDiffPG (Li et al. 2024).

A density of actions with several modes is learned as the way back from noise. In K steps noise is mixed into an action,

    a_k = sqrt(c_k) a + sqrt(1 - c_k) n,    n ~ N(0, 1),    1/c_k - 1 = (1/C_k - 1) / 9,
    C_k = cos^2(pi/2 (k/K + s) / (1 + s)) / cos^2(pi/2 s / (1 + s)),    s = 0.008,

where C is the cosine schedule (Nichol and Dhariwal 2021) and the factor 1/9 lets five steps suffice: the noise counts as a
third of what it is, because actions that differ lie closer together than its standard deviation. a_K is noise alone. A network
D(a_k, k, s) guesses the action that a_k was made of. An action is drawn without further noise (Song et al. 2021) from
a_K = z ~ N(0, 1), for k = K, ..., 1:

    a^ = D(a_k, k, s) in [-1, 1],    n^ = (a_k - sqrt(c_k) a^) / sqrt(1 - c_k),
    a_{k-1} = sqrt(c_{k-1}) a^ + sqrt(1 - c_{k-1}) n^

With a batch of steps (s, a, r, s', terminated) from the replay buffer, an update is one gradient step on each of

    critics    E[sum_i (Q_i(s, a) - y)^2] / 2,    y = r + (1 - terminated) discount min_i Q'_i(s', a' + clipped noise)
    policy     E[w_k |D(a*_k, k, s) - a*|^2], k uniform, w_k = c_k / (1 - c_k) within [1, 10] (Salimans and Ho 2022), with a*
               the buffer's action after some of Adam's steps up min_i Q_i(s, .)

after which the target critics Q' move a fraction of the way to Q. As each action climbs to the summit next to it, the policy
keeps the modes that its memory holds; nothing rewards it for new ones. DIPO stores a* in the place of a; here it is made anew
for each batch, by the latest critics. Guessing the action rather than the noise is what so few steps need: at k = K the noise
is known, and tells nothing of the action.
"""

import copy
import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rpg.algorithms.streaming import StreamingAlgorithm, StreamingConfig
from rpg.models.action_policy import ActionPolicy, ActionSample
from rpg.models.latent import GaussianMixturePrior, LatentSpace
from rpg.models.network_input import NetworkInput
from rpg.models.stacked_network import StackedNetwork
from rpg.protocol import FixedHorizonEnvironment
from rpg.settings_checks import SettingError, check_fraction, check_int, check_not_negative, check_positive
from rpg.training.collector import Choice, Situation

SCHEDULE_OFFSET = 0.008
"""s of the cosine schedule: without it the last step would have to remove next to no noise."""
NOISE_SHARE = 1 / 3
"""Factor on the ratio of noise to action: with 1, five steps lose two modes at -0.6 and 0.5 to what lies between them."""
LARGEST_WEIGHT = 10.0
"""Of a guess in the loss."""
TARGET_NOISE, TARGET_NOISE_LIMIT = 0.2, 0.5
"""Standard deviation and bound of the noise on a' (Fujimoto et al. 2018)."""
LARGEST_ACTION = 1 - 1e-6
"""Actions that the policy gives, whose inverse tanh is finite."""


@dataclass(frozen=True)
class DiffusionPolicyConfig(StreamingConfig):
    """Settings of the diffusion policy. The replay buffer is kept in the run's folder: 4 (O + A) + 42 bytes a step."""

    names: ClassVar[tuple[str, ...]] = ("diffusion",)

    hidden: tuple[int, ...] = (256, 256)
    """Hidden widths of the policy's network and of the critics."""
    learning_rate: float = 0.0003
    """Adam step of both."""
    target_rate: float = 0.005
    """Fraction of the way that the target critics move to the critics with each update."""
    denoising_steps: int = 5
    """K, the steps from noise to an action."""
    action_steps: int = 20
    """Adam's steps that an action is moved up Q before the policy learns it."""
    action_rate: float = 0.03
    """Adam step of an action, in units of its range [-1, 1]."""
    exploration_low: float = 0.05
    """Standard deviation of the noise on the actions of the first environment."""
    exploration_high: float = 0.6
    """The same of the last environment; those between have stds between, evenly spaced. One environment alone has the mean."""
    candidates: int = 16
    """Draws of z that are evaluated, each kept for whole episodes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("learning_rate", self.learning_rate)
        check_fraction("target_rate", self.target_rate)
        for name in ("denoising_steps", "candidates"):
            check_int(name, getattr(self, name), at_least=1)
        check_int("action_steps", self.action_steps, at_least=0)
        check_positive("action_rate", self.action_rate)
        check_not_negative("exploration_low", self.exploration_low)
        if self.exploration_high < self.exploration_low or self.exploration_high <= 0.0:
            raise SettingError(
                f"exploration_high was given {self.exploration_high}; allowed are numbers > 0 and >= exploration_low, "
                f"here {self.exploration_low}"
            )


def kept_shares(steps: int) -> Tensor:
    """(K + 1,) c_k, float64: 1 at k = 0, 0 at k = K."""
    angle = 0.5 * math.pi * (torch.arange(steps + 1, dtype=torch.float64) / steps + SCHEDULE_OFFSET) / (1 + SCHEDULE_OFFSET)
    shares = angle.cos().square() / angle[0].cos().square()
    kept = 1 / (1 + NOISE_SHARE**2 * (1 / shares - 1))
    kept[-1] = 0.0  # but for rounding
    return kept


class DiffusionPolicy(ActionPolicy):
    """Actions as a function of the network's input and of z, the noise that they are drawn from."""

    kept: Tensor

    def __init__(
        self, inputs: NetworkInput, hidden: tuple[int, ...], action_dim: int, steps: int, *, generator: torch.Generator
    ) -> None:
        super().__init__(LatentSpace(False, action_dim))
        self.inputs, self.steps = inputs, steps
        self.uses_time = inputs.horizon is not None
        sizes = (action_dim + steps + inputs.width, *hidden, action_dim)
        self.network = StackedNetwork(1, sizes, generator=generator, activation="silu")
        self.register_buffer("kept", kept_shares(steps).float())

    def guessed(self, data: Tensor, noisy: Tensor, number: Tensor) -> Tensor:
        """(N, A) the actions that `noisy` (N, A) were made of by `number` (N,) in 1..K steps, for inputs (N, W)."""
        step = torch.eye(self.steps, dtype=noisy.dtype, device=noisy.device)[number - 1]
        return self.network.alone(torch.cat([noisy, step, data], dim=1))

    def drawn(self, data: Tensor, noise: Tensor) -> Tensor:
        """(N, A) actions in [-1, 1] for inputs (N, W), from `noise` (N, A)."""
        action, noisy = noise, noise
        for k in range(self.steps, 0, -1):
            number = torch.full_like(noise[:, 0], k, dtype=torch.int64)
            action = self.guessed(data, noisy, number).clamp(-1.0, 1.0)
            rest = (noisy - self.kept[k].sqrt() * action) / (1 - self.kept[k]).sqrt()
            noisy = self.kept[k - 1].sqrt() * action + (1 - self.kept[k - 1]).sqrt() * rest
        return action

    def loss(self, data: Tensor, action: Tensor, number: Tensor, noise: Tensor) -> Tensor:
        """() weighted squared error of the guess of `action` (N, A) after `number` (N,) in 1..K steps with `noise` (N, A)."""
        kept = self.kept[number].unsqueeze(1)
        guess = self.guessed(data, kept.sqrt() * action + (1 - kept).sqrt() * noise, number)
        weight = (kept / (1 - kept)).clamp(1.0, LARGEST_WEIGHT)
        return (weight * (guess - action).square()).mean()

    def forward(
        self, observation: Tensor, latent: Tensor, step: int | Tensor, std: Tensor | float, noise: Tensor
    ) -> ActionSample:
        """An action drawn from `noise` in place of the latent; `std` is ignored. Its density is not known, and given as 1."""
        before = self.mean(observation, noise, step)
        return ActionSample(torch.tanh(before), torch.zeros_like(before[:, 0]), before)

    def mean(self, observation: Tensor, latent: Tensor, step: int | Tensor) -> Tensor:
        """(..., A) the inverse tanh of the action drawn from `latent` (..., A): z decides the mode."""
        shape = observation.shape[:-1]
        age = torch.as_tensor(step, device=observation.device).expand(shape)
        data = self.inputs(observation.flatten(0, -2), age.flatten())
        action = self.drawn(data, latent.to(observation).expand(*shape, -1).flatten(0, -2))
        return torch.atanh(action.clamp(-LARGEST_ACTION, LARGEST_ACTION)).view(*shape, -1)


class Diffusion(StreamingAlgorithm[DiffusionPolicyConfig]):
    """The diffusion policy; see the module's docstring. Exploration draws z anew at every step; `policy` takes it as the latent
    of an episode."""

    policy: DiffusionPolicy
    prior: GaussianMixturePrior

    def __init__(self, env: FixedHorizonEnvironment, config: DiffusionPolicyConfig, like: Tensor) -> None:
        super().__init__(env, config, like)
        action_dim, hidden, generator = self.spec.action_dim, config.hidden, self.generator
        self.policy = DiffusionPolicy(self.inputs, hidden, action_dim, config.denoising_steps, generator=generator)
        self.prior = GaussianMixturePrior(action_dim)  # N(0, 1), and stays so
        self.critics = StackedNetwork(2, (self.inputs.width + action_dim, *hidden, 1), generator=generator)
        self.target_critics = copy.deepcopy(self.critics).requires_grad_(False)
        self.modules = {
            "policy": self.policy, "prior": self.prior,
            "critics": self.critics, "target critics": self.target_critics,
        }  # fmt: skip
        for module in self.modules.values():
            module.to(like)
        self.optimizers = {
            name: torch.optim.Adam(self.modules[name].parameters(), lr=config.learning_rate, fused=True)
            for name in ("policy", "critics")
        }
        low, high = config.exploration_low, config.exploration_high
        stds = torch.linspace(low, high, env.num_envs) if env.num_envs > 1 else torch.tensor([0.5 * (low + high)])
        self._exploration = stds.to(like).unsqueeze(1)

    @torch.no_grad()
    def choose(self, situation: Situation) -> Choice:
        """The log density is that of the exploration alone: nobody knows that of a diffusion."""
        data = self.inputs(situation.observation, situation.age)
        z, noise = self.standard_normal(2, self.env.num_envs, self.spec.action_dim)
        action = (self.policy.drawn(data, z) + self._exploration * noise).clamp(-1.0, 1.0)
        density = -0.5 * noise.square() - self._exploration.clamp_min(1e-6).log() - 0.5 * math.log(2 * math.pi)
        return Choice(action, density.sum(1))

    def improved(self, data: Tensor, action: Tensor) -> Tensor:
        """(N, A) `action` (N, A) moved up the smaller of both Q of inputs (N, W) by Adam's steps, within [-1, 1]."""
        moved = action.detach().clone().requires_grad_()
        optimizer = torch.optim.Adam([moved], lr=self.config.action_rate)
        for _ in range(self.config.action_steps):
            worth = self.critics(torch.cat([data, moved], dim=1), frozen=True).squeeze(-1).amin(0)
            (moved.grad,) = torch.autograd.grad(-worth.sum(), moved)
            optimizer.step()
            with torch.no_grad():
                moved.clamp_(-1.0, 1.0)
        return moved.detach()

    def update(self, iteration: int) -> dict[str, float]:
        config, count = self.config, self.config.batch_size
        batch = self.buffer.sample(count, self.generator)
        now = self.inputs(batch.observation, batch.age)
        after = self.inputs(batch.next_observation, batch.age + 1)
        z, smoothing, mixed = self.standard_normal(3, count, self.spec.action_dim)
        number = torch.randint(1, config.denoising_steps + 1, (count,), generator=self.generator).to(now.device)

        # The critics, towards the value of the next states under the policy.
        with torch.no_grad():
            smoothing = (TARGET_NOISE * smoothing).clamp(-TARGET_NOISE_LIMIT, TARGET_NOISE_LIMIT)
            following = (self.policy.drawn(after, z) + smoothing).clamp(-1.0, 1.0)
            value = self.target_critics(torch.cat([after, following], dim=1)).squeeze(-1).amin(0)
            wanted = batch.reward + config.discount * torch.where(batch.terminated, 0.0, value)
        guess = self.critics(torch.cat([now, batch.action], dim=1)).squeeze(-1)
        critic_loss = 0.5 * (guess - wanted).square().mean(1).sum()
        self.optimizers["critics"].zero_grad()
        critic_loss.backward()
        self.step(self.optimizers["critics"])

        # The policy, towards actions that the critics have moved.
        target = self.improved(now, batch.action)
        policy_loss = self.policy.loss(now, target, number, mixed)
        self.optimizers["policy"].zero_grad()
        policy_loss.backward()
        self.step(self.optimizers["policy"])

        self.target_critics.follow(self.critics, config.target_rate)
        return {
            "objective": float(value.mean()),
            "critic_loss": float(critic_loss.detach()),
            "policy_loss": float(policy_loss.detach()),
            "moved": float((target - batch.action).norm(dim=1).mean()),
        }

    def candidates(self) -> tuple[Tensor, Tensor]:
        """As many draws of z as the settings say, the same for every policy of a seed, the most probable first."""
        generator = torch.Generator().manual_seed(self.config.seed)
        return self.prior.candidates(self.like[:1], self.config.candidates, generator)
