"""The interface between an algorithm and the trainer: settings, one iteration, and a state that can be saved."""

import math
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar, get_args, get_origin, get_type_hints

import torch
from torch import Tensor, nn

from rpg.models.action_policy import ActionPolicy
from rpg.models.latent import LatentPrior
from rpg.protocol import FixedHorizonEnvironment
from rpg.settings_checks import (
    LARGEST_RATE,
    LARGEST_SEED,
    SettingError,
    check_bool,
    check_choice,
    check_int,
    check_number,
    check_positive,
    check_widths,
    is_number,
)
from rpg.training.gradient_estimators import clipped_gradient_norm
from rpg.training.metrics import IterationReport
from rpg.training.ranks import Ranks
from rpg.training.schedules import Schedule


class NotFiniteError(FloatingPointError):
    """A reward, a loss or a gradient is not finite. One line: names the iteration and, where known, the environments."""


@dataclass(frozen=True)
class AlgorithmConfig:
    """The settings that all algorithms share. Their defaults assume rewards of order 1 per step."""

    names: ClassVar[tuple[str, ...]] = ()
    """Allowed values of `algorithm`; the first is its default."""

    algorithm: str = ""
    """Name under which the run is reported."""
    iterations: int = 150
    """Number of batches that the algorithm learns from."""
    seed: int = 0
    """Seed of the initial parameters, of all samples and of the environment's episodes."""

    def __post_init__(self) -> None:
        if not self.algorithm:
            object.__setattr__(self, "algorithm", self.names[0])
        for name, hint in _hints(type(self)).items():  # type: ignore[arg-type]
            _check_type(name, getattr(self, name), hint)
        check_choice("algorithm", self.algorithm, self.names)
        check_int("iterations", self.iterations, at_least=1)
        check_int("seed", self.seed, at_least=0, at_most=LARGEST_SEED)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and dicts, for JSON and checkpoints."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "AlgorithmConfig":
        """The inverse of `to_dict`. Raises ValueError on an unknown setting."""
        names = {f.name for f in fields(cls)}
        for name in values:
            if name not in names:
                raise ValueError(f"config was given {name!r}; allowed are {', '.join(sorted(names))}")
        return cls(**{name: _from_plain(name, value) for name, value in values.items()})


def _from_plain(name: str, value: Any) -> Any:
    """A setting from its plain value (`AlgorithmConfig.to_dict`)."""
    if isinstance(value, dict):
        if unknown := value.keys() - {f.name for f in fields(Schedule)}:
            raise ValueError(f"{name} was given {value!r}; a schedule has no {', '.join(map(repr, sorted(map(str, unknown))))}")
        return Schedule(**value)
    return tuple(value) if isinstance(value, list) else value


@cache
def _hints(kind: Any) -> dict[str, Any]:
    """The types of a class's fields."""
    hints = get_type_hints(kind)
    return {f.name: hints[f.name] for f in fields(kind)}


def _check_type(name: str, value: object, hint: Any) -> None:
    """Raise ValueError unless a setting has its type, and is a number that can be meant; `check_int` is for whole ones."""
    kinds = get_args(hint)
    if type(None) in kinds:
        if value is not None:
            _check_type(name, value, kinds[0])
    elif get_origin(hint) is Literal:
        check_choice(name, value, kinds)
    elif hint is Schedule:
        if not isinstance(value, Schedule):
            example = "rpg.Schedule(0.3, 0.0) and rpg.Schedule.constant(0.3)"
            raise ValueError(f"{name} was given {value!r}; allowed are schedules, as {example}")
    elif get_origin(hint) is tuple:
        check_widths(name, value)
    elif hint is bool:
        check_bool(name, value)
    elif hint is float and name.endswith("_rate") and is_number(value):
        if value > LARGEST_RATE:  # type: ignore[operator]
            check_positive(name, value, at_most=LARGEST_RATE)  # type: ignore[arg-type]
    elif hint is float:
        check_number(name, value)


Config = TypeVar("Config", bound=AlgorithmConfig)


class Algorithm(ABC, Generic[Config]):
    """One way to optimise an environment.

    A subclass builds its models in `__init__`, with random numbers from `self.generator` only, and puts those with parameters
    or buffers into `self.modules` and their optimisers, under the same names, into `self.optimizers`. Anything else that
    changes between iterations belongs into `extra_state`. A resumed run is then bit-identical.
    """

    needs_gradients: ClassVar[bool] = False
    """Whether rewards must be differentiable with respect to actions."""
    takes_images: ClassVar[bool] = False
    """Whether observations may be images."""
    policy: ActionPolicy
    """The policy to be evaluated: actions given observation, latent and time."""
    prior: LatentPrior | None = None
    """pi(z|s1), if the algorithm has one; otherwise latents have the probabilities of `candidates`."""

    def __init__(self, env: FixedHorizonEnvironment, config: Config, like: Tensor) -> None:
        """`like` is an observation (B, O), whose dtype and device the models adopt."""
        self.env, self.config, self.like = env, config, like
        self.generator = torch.Generator().manual_seed(config.seed)
        self.modules: dict[str, nn.Module] = {}
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        # set by the trainer: where schedules begin and how long they are, how often the iteration at hand was tried before,
        # and the factor on all learning rates
        self.schedule_start, self.schedule_iterations = 0, config.iterations
        self.attempt, self.step_scale = 0, 1.0
        self.ranks: Ranks | None = None  # likewise: the processes that share the work

    @abstractmethod
    def iterate(self, iteration: int) -> IterationReport:
        """Collect a batch, learn from it, and report.

        Raises NotFiniteError, naming the iteration and the environments, when something is not finite.
        """

    @abstractmethod
    def candidates(self) -> tuple[Tensor, Tensor]:
        """The latents that are evaluated and their probabilities: (S, N) or (S, N, D), and (N,)."""

    def extra_state(self) -> dict[str, Any]:
        """Further values that a resumed run needs: tensors, numbers, strings, and lists and dicts of them."""
        return {}

    def restore_extra_state(self, state: dict[str, Any]) -> None:
        """The inverse of `extra_state`."""

    def attach(self, run_dir: Path, *, source: Path | None = None) -> None:
        """Called before the run starts or goes on: what is too large for a checkpoint may be kept in files of this folder.
        `source` is the folder of the run that a new one branches from.
        """

    def flush(self) -> None:
        """Called before a checkpoint is saved: write what those files lack."""

    # The policy in use --------------------------------------------------------------------------------------

    def action_std(self, iteration: int) -> Tensor | float:
        """Std before squashing of the actions drawn in `iteration`, a number, (T, A) or (T, 1); 0 if they are not random. A
        policy may have its own instead (`ActionPolicy.std`).
        """
        return 0.0

    @torch.no_grad()
    def sample_latent(
        self, observation: Tensor, generator: torch.Generator, member: int = 0, before: Tensor | None = None
    ) -> Tensor:
        """(S, B) or (S, B, D) draws from pi(z|s1), with first observations (B, O); of a chain those of one member (1, B, ...),
        with the observations at its start and the member before."""
        if self.prior is not None and self.prior.chain:
            return self.prior.sample_member(member, observation, before, generator).unsqueeze(0)
        if self.prior is not None:
            return self.prior.sample(observation, generator)
        latents, probs = self.candidates()
        drawn = torch.multinomial(probs.cpu(), len(observation), replacement=True, generator=generator)
        return latents[:, drawn.to(latents.device)]

    @torch.no_grad()
    def latent_log_prob(self, latent: Tensor, observation: Tensor, member: int = 0, before: Tensor | None = None) -> Tensor:
        """(B,) log pi(z|s1) of `latent` (S, B) or (S, B, D), of a chain that of one member (1, B, ...)."""
        if self.prior is not None and self.prior.chain:
            return self.prior.member_log_prob(member, latent[0], observation, before)
        if self.prior is not None:
            return self.prior.log_prob(latent, observation).sum(0)
        return self.candidates()[1].log()[latent[0]]

    # Shared pieces ------------------------------------------------------------------------------------------

    def progress(self, iteration: int) -> float:
        """Fraction of the schedules, 0 to 1: of the run, unless it was extended."""
        return min(1.0, (iteration - self.schedule_start) / max(1, self.schedule_iterations - 1))

    def episode_seed(self, iteration: int) -> int:
        """Seed of the environment's episodes, different for each run, iteration and attempt."""
        return (self.config.seed * 1_000_003 + iteration + self.attempt * 715_827_883) % (2**31 - 2)

    def standard_normal(self, *shape: int) -> Tensor:
        """Standard normal noise, drawn on the CPU so that a seed gives the same numbers on every device."""
        return torch.randn(shape, generator=self.generator).to(self.like)

    def zero_grad(self) -> None:
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()

    def stepped(self, name: str, *, iteration: int, limit: float, bad: list[int] | None = None) -> float:
        """Clip the gradient of one module to norm `limit` and take an optimiser step; returns the norm before clipping.

        Raises NotFiniteError if it is not finite; `bad` are the environments responsible, if known.
        """
        norm = clipped_gradient_norm(self.modules[name].parameters(), limit)
        if not math.isfinite(norm):
            where = f" in environments {bad}" if bad else ""
            raise NotFiniteError(f"iteration {iteration}: the gradient of the {name} is not finite{where}")
        self.step(self.optimizers[name])
        return norm

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """One step of `optimizer`, with its learning rates times `step_scale`."""
        rates = [group["lr"] for group in optimizer.param_groups]
        for group in optimizer.param_groups:
            group["lr"] *= self.step_scale
        optimizer.step()
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    def check_finite(self, what: str, values: Tensor, iteration: int) -> None:
        """Raise NotFiniteError if `values` (B, ...) are not finite, naming the environments."""
        if bad := bad_indices(values.detach()):
            raise NotFiniteError(f"iteration {iteration}: the {what} is not finite in environments {bad}")

    def check_differentiable(self, rewards: Tensor) -> None:
        """Raise SettingError unless a gradient flows from `rewards` (T, B) to the actions."""
        if not rewards.requires_grad:
            given = f"algorithm was given {self.config.algorithm!r}"
            raise SettingError(f"{given}; allowed where no gradient flows from the rewards are those that need none, as 'cem'")

    def tensors(self) -> list[Tensor]:
        """The parameters and buffers of all modules."""
        return [each for module in self.modules.values() for each in (*module.parameters(), *module.buffers())]

    def state(self) -> dict[str, Any]:
        """A copy of everything that a resumed run needs."""
        state: dict[str, Any] = {"generator": self.generator.get_state(), "extra": copied(self.extra_state())}
        for name, module in self.modules.items():
            state[name] = copied(module.state_dict())
            if name in self.optimizers:
                state[name + "_optimizer"] = copied(self.optimizers[name].state_dict())
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        for name, module in self.modules.items():
            module.load_state_dict(state[name])
            if name in self.optimizers:  # copied, because Adam would go on in the very tensors it is given
                self.optimizers[name].load_state_dict(copied(state[name + "_optimizer"]))
        self.generator.set_state(state["generator"])
        self.restore_extra_state(copied(state["extra"]))

    def restore_for_use(self, state: dict[str, Any]) -> None:
        """The part of `restore` that acting and drawing latents need, without optimisers, generators and the environment."""
        for name, module in self.modules.items():
            module.load_state_dict(state[name])
        self.restore_extra_state(copied(state["extra"]))

    def try_differently(self, iteration: int, attempt: int) -> None:
        """Let `iteration`, which failed `attempt` times from the state at hand, draw other noise, latents and episodes."""
        self.attempt = attempt
        if attempt > 0:  # apart from all seeds of episodes
            self.generator.manual_seed(self.episode_seed(iteration) + 2**32)


def copied(state: Any) -> Any:
    """A deep copy of tensors, dicts, lists and tuples; other values are kept as they are. Several times faster than
    copy.deepcopy, which matters because a run is copied after every iteration.
    """
    if isinstance(state, Tensor):
        return state.detach().clone()
    if isinstance(state, dict):
        return {name: copied(value) for name, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(map(copied, state))
    return state


def bad_indices(values: Tensor) -> list[int]:
    """The leading indices of `values` (B, ...) at which something is not finite."""
    return (~values.isfinite()).reshape(values.shape[0], -1).any(1).nonzero().squeeze(1).tolist()
