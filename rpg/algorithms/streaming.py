"""The algorithms that stream: they step through environments whose episodes end one by one, keep the steps in a replay buffer,
and learn from what they draw from it. The others need whole episodes.

An iteration is a number of rounds; a round collects some steps of every environment, then makes some updates.
"""

import math
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from rpg.algorithms.algorithm import Algorithm, AlgorithmConfig, NotFiniteError
from rpg.environments.fixed_horizon import general
from rpg.models.network_input import NetworkInput
from rpg.protocol import FixedHorizonEnvironment, Observation
from rpg.settings_checks import SettingError, check_fraction, check_int, check_positive
from rpg.training.collector import Choice, Collector, Episodes, Situation
from rpg.training.metrics import IterationReport
from rpg.training.replay_buffer import ReplayBuffer, Transitions


@dataclass(frozen=True)
class StreamingConfig(AlgorithmConfig):
    """The settings that streaming algorithms share."""

    steps: int | None = None
    """Steps of each environment in an iteration; None: the environment's time limit."""
    update_interval: int = 1
    """Steps of each environment in a round, between updates."""
    updates: int = 1
    """Gradient steps in a round."""
    random_steps: int = 1000
    """Steps at the start, over all environments, with uniform random actions and without updates."""
    batch_size: int = 256
    """Steps drawn from the replay buffer for each gradient step."""
    buffer_size: int = 1_000_000
    """Steps that the replay buffer holds, over all environments."""
    discount: float = 0.99
    """Discount per step."""
    normalize_observations: bool = False
    """Whether observations are normalised to mean 0 and standard deviation 1, by running statistics."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps is not None:
            check_int("steps", self.steps, at_least=1)
        for name in ("update_interval", "updates", "batch_size", "buffer_size"):
            check_int(name, getattr(self, name), at_least=1)
        check_int("random_steps", self.random_steps, at_least=0)
        check_positive("discount", self.discount)
        check_fraction("discount", self.discount)


Config = TypeVar("Config", bound=StreamingConfig)


class StreamingAlgorithm(Algorithm[Config]):
    """The loop that streaming algorithms share. A subclass says how actions are chosen and what an update does; with
    `_draw_latent` it gives each episode a z.

    Raises SettingError if the steps of an iteration are no whole number of rounds, or if evaluation lacks a time limit.
    """

    def __init__(self, env: FixedHorizonEnvironment, config: Config, like: Tensor) -> None:
        super().__init__(env, config, like)
        self.environment = general(env)
        self.spec = self.environment.spec
        if self.spec.time_limit is None:
            raise SettingError(
                "the environment was given without a time limit; allowed are those with one, which episodes without noise "
                "are judged by (rpg.from_gymnasium(..., time_limit=1000))"
            )
        self._steps = config.steps or self.spec.time_limit
        if self._steps % config.update_interval:
            given = f"update_interval was given {config.update_interval}"
            raise SettingError(f"{given}; allowed are divisors of the {self._steps} steps of an iteration")
        count = env.num_envs
        self.collector = Collector(self.environment, draw_latent=self._draw_latent)
        self.buffer = ReplayBuffer(config.buffer_size, num_envs=count, slack=self._steps * count, device=like.device)
        self.inputs = NetworkInput(self.spec, normalize=config.normalize_observations).to(like)
        """To be a part of the policy, which is saved."""
        self.learning_starts = config.random_steps
        """Steps after which updates begin."""
        self._last_return = 0.0  # of the episodes that ended last; a slow one may take several iterations

    @abstractmethod
    def choose(self, situation: Situation) -> Choice:
        """An action for each environment."""

    @abstractmethod
    def update(self, iteration: int) -> dict[str, float]:
        """A gradient step on a draw from the buffer; losses and the like by name, those that this step has."""

    def collected(self, transitions: Transitions, iteration: int) -> None:
        """Learn from a step of every environment, (B, ...), just after it went into the buffer; random ones too."""

    @property
    def own_part(self) -> slice:
        """The rows of a batch that this process learns from; all, if it is alone."""
        size = self.config.batch_size
        return slice(0, size) if self.ranks is None else self.ranks.part(size, "batch_size")

    def _draw_latent(self, first: Observation) -> Tensor:
        """z of new episodes with these first observations, (B,) int64 or (B, D)."""
        return torch.zeros(self.env.num_envs, dtype=torch.int64, device=self.like.device)

    def iterate(self, iteration: int) -> IterationReport:
        config, count = self.config, self.env.num_envs
        if not self.collector.started:
            self.collector.start(self.episode_seed(0))
        ended: list[Episodes] = []
        found: dict[str, list[float]] = {}
        log_probs, made = 0.0, 0
        for _ in range(self._steps // config.update_interval):
            for _ in range(config.update_interval):
                random = self.buffer.total < config.random_steps
                choice = self._random() if random else self.choose(self.collector.situation)
                transitions, episodes = self.collector.step(choice)
                if not math.isfinite(float(transitions.reward.sum())):
                    self.check_finite("reward", transitions.reward, iteration)
                self.buffer.add(transitions)
                self.inputs.observe(transitions.observation)
                self.collected(transitions, iteration)
                log_probs += float(choice.log_prob.mean())
                ended += [] if episodes is None else [episodes]
            if self.buffer.total >= self.learning_starts:
                for _ in range(config.updates):
                    made += 1
                    for name, value in self.update(iteration).items():
                        found.setdefault(name, []).append(value)
        mean = {name: sum(values) / len(values) for name, values in found.items()}
        if bad := [name for name, value in mean.items() if not math.isfinite(value)]:
            raise NotFiniteError(f"iteration {iteration}: the {bad[0].replace('_', ' ')} is not finite")
        return self._report(ended, mean, updates=made, entropy=-log_probs / self._steps, steps=self._steps * count)

    def _report(
        self, ended: list[Episodes], mean: dict[str, float], *, updates: int, entropy: float, steps: int
    ) -> IterationReport:
        success, outcomes = 0.0, 0
        if ended:
            episodes = Episodes(*(torch.cat(each) for each in zip(*ended, strict=True)))
            self._last_return = float(episodes.returns.mean())
            success = float(episodes.success.double().mean())
            outcomes = int(episodes.outcome[episodes.success].unique().numel())
        return IterationReport(
            return_mean=self._last_return,
            return_best=self._last_return,
            success=success,
            distinct_outcomes=outcomes,
            simulator_steps=steps,
            objective=mean.pop("objective", 0.0),
            action_entropy=entropy,
            latent_entropy=mean.pop("latent_entropy", 0.0),
            grad_norm=mean.pop("grad_norm", 0.0),
            latent_probs=self.latent_probs(),
            terms={**mean, "updates": float(updates), "episodes": float(sum(len(each.returns) for each in ended))},
        )

    def _random(self) -> Choice:
        """Uniform actions."""
        drawn = torch.rand(self.env.num_envs, self.spec.action_dim, generator=self.generator)
        action = (2 * drawn - 1).to(self.like)
        return Choice(action, torch.full_like(action[:, 0], -self.spec.action_dim * math.log(2)))

    def latent_probs(self) -> tuple[float, ...]:
        """Probability of each z that a new episode may draw; of a continuous one, 1."""
        return (1.0,)

    def action_std(self, iteration: int) -> float:
        """Not used: a streaming policy has a std of its own."""
        return 1.0

    def candidates(self) -> tuple[Tensor, Tensor]:
        """There is one latent only."""
        return torch.zeros(1, 1, dtype=torch.int64, device=self.like.device), self.like.new_ones(1)

    # What a checkpoint needs --------------------------------------------------------------------------------------

    def attach(self, run_dir: Path, *, source: Path | None = None) -> None:
        self.buffer.attach(run_dir, source=source)

    def flush(self) -> None:
        self.buffer.flush()

    def restore_for_use(self, state: dict[str, Any]) -> None:
        """The part of `restore` that acting needs, without buffer, environment, optimisers and generators."""
        for name, module in self.modules.items():
            module.load_state_dict(state[name])

    def extra_state(self) -> dict[str, Any]:
        return {"collector": self.collector.state(), "buffer": self.buffer.state(), "last_return": self._last_return}

    def restore_extra_state(self, state: dict[str, Any]) -> None:
        self.buffer.restore(state["buffer"])
        self.collector.restore(state["collector"])
        self._last_return = state["last_return"]
