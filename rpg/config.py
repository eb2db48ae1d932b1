"""Everything that decides a run, in one frozen record."""

import math
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args

from rpg.schedules import Schedule

AlgorithmName = Literal["rpg", "gaussian"]
PolicyName = Literal["table", "mlp"]

_POLICY_LEARNING_RATES: dict[str, float] = {"table": 0.1, "mlp": 0.01}


@dataclass(frozen=True)
class RPGConfig:
    """Settings of the Reparameterized Policy Gradient. They assume rewards of order 1 per step.

    beta against the range of the reward decides most: too small and all latents fall into the same local
    optimum, too large and they are busy being different.
    """

    algorithm: AlgorithmName = "rpg"
    """Name under which the run is reported; `gaussian()` derives the baseline."""
    num_latents: int = 8
    """K, how many ways the policy can try."""
    iterations: int = 150
    """Rollouts of the whole batch, one gradient step each."""
    beta: Schedule = field(default_factory=lambda: Schedule(1.0, 0.0, 0.3, 0.8))
    """Weight of log p_phi(z|tau): how much the latents are paid for being different."""
    alpha: Schedule = field(default_factory=lambda: Schedule.constant(0.0))
    """Weight of the action entropy; with a fixed std it only keeps tanh from saturating."""
    alpha_z: Schedule = field(default_factory=lambda: Schedule(0.3, 0.0, 0.3, 0.8))
    """Weight of the latent entropy: how long all the ways are kept in play."""
    std: Schedule = field(default_factory=lambda: Schedule(0.3, 0.1))
    """Standard deviation of the action before squashing."""
    policy: PolicyName = "table"
    """An open-loop action table, or a closed-loop network."""
    policy_hidden: tuple[int, ...] = (64, 64)
    """Hidden widths of the closed-loop policy."""
    policy_learning_rate: float | None = None
    """Adam step of the policy; None means 0.1 for the table and 0.01 for the network."""
    policy_rate_decay: Schedule = field(default_factory=lambda: Schedule(1.0, 0.1, 0.6, 1.0))
    """Factor on the policy's Adam step: large steps find a way, small ones at the end make it precise."""
    latent_learning_rate: float = 0.03
    """Adam step of the latent logits."""
    posterior_hidden: tuple[int, ...] = (64, 64)
    """Hidden widths of the posterior."""
    posterior_learning_rate: float = 0.01
    """Adam step of the posterior."""
    posterior_stride: int = 5
    """The posterior sees every this many-th state of an episode."""
    posterior_updates: int = 1
    """Gradient steps of the posterior an iteration."""
    grad_clip: float = 1.0
    """Largest gradient norm, of the policy, of the latent and of the posterior each."""
    seed: int = 0
    """Seed of the initial parameters, the sampling and the environment's episodes."""

    def __post_init__(self) -> None:
        _check_choice("algorithm", self.algorithm, get_args(AlgorithmName))
        _check_choice("policy", self.policy, get_args(PolicyName))
        for name in ("num_latents", "iterations", "posterior_stride", "posterior_updates"):
            _check_int(name, getattr(self, name), at_least=1)
        _check_int("seed", self.seed, at_least=0)
        for name in ("policy_learning_rate", "latent_learning_rate", "posterior_learning_rate", "grad_clip"):
            if getattr(self, name) is not None:
                _check_positive(name, getattr(self, name))
        for name in ("beta", "alpha", "alpha_z"):
            schedule = getattr(self, name)
            if not (0 <= schedule.start < math.inf and 0 <= schedule.end < math.inf):
                given = f"{schedule.start} -> {schedule.end}"
                raise ValueError(f"{name} was given {given}; allowed are finite numbers >= 0")
        _check_positive("std.start", self.std.start)
        _check_positive("std.end", self.std.end)
        _check_positive("policy_rate_decay.start", self.policy_rate_decay.start)
        _check_positive("policy_rate_decay.end", self.policy_rate_decay.end)
        for name in ("policy_hidden", "posterior_hidden"):
            for width in getattr(self, name):
                _check_int(name, width, at_least=1)
        if self.algorithm == "gaussian" and self.num_latents != 1:
            raise ValueError(
                f"num_latents was given {self.num_latents}; allowed with algorithm='gaussian' is 1"
            )

    @property
    def policy_step(self) -> float:
        """The policy's learning rate, whether given or the default of its kind."""
        if self.policy_learning_rate is not None:
            return self.policy_learning_rate
        return _POLICY_LEARNING_RATES[self.policy]

    def gaussian(self) -> "RPGConfig":
        """The one-Gaussian baseline of this run: one latent, hence no posterior, no bonus; all else equal."""
        zero = Schedule.constant(0.0)
        return replace(self, algorithm="gaussian", num_latents=1, beta=zero, alpha_z=zero)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and dicts, for JSON and checkpoints."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "RPGConfig":
        """The inverse of `to_dict`. Raises ValueError on a name that is no setting."""
        names = {f.name for f in fields(cls)}
        for name in values:
            if name not in names:
                raise ValueError(f"config was given {name!r}; allowed are {', '.join(sorted(names))}")
        converted: dict[str, Any] = {
            name: Schedule(**v) if isinstance(v, dict) else tuple(v) if isinstance(v, list) else v
            for name, v in values.items()
        }
        return cls(**converted)


def _check_choice(name: str, given: object, allowed: tuple[str, ...]) -> None:
    if given not in allowed:
        raise ValueError(f"{name} was given {given!r}; allowed are {', '.join(map(repr, allowed))}")


def _check_int(name: str, given: object, *, at_least: int) -> None:
    if isinstance(given, bool) or not isinstance(given, int) or given < at_least:
        raise ValueError(f"{name} was given {given!r}; allowed are whole numbers >= {at_least}")


def _check_positive(name: str, given: float) -> None:
    if not 0 < given < math.inf:
        raise ValueError(f"{name} was given {given!r}; allowed are finite numbers > 0")
