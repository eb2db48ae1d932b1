"""Adaptive-Horizon Actor-Critic (AHAC; Georgiev et al., ICML 2024, arXiv:2405.17784).

Gradients through stiff dynamics, such as contact, are large and err with few samples. AHAC is SHAC with a window as long as a
constraint on the stiffness c_t of its steps allows,

    max J   subject to   c_t <= C for all steps t of the window,   J = E[ sum_{i<h} gamma^i r_{t+i} + gamma^h V(s_{t+h}) ] / h

There is a multiplier lambda_t, at first 0, for each step t of a window. After every window of h = floor(H) steps

    lambda_t <- lambda_t - eta (C - mean c_t)   for t < h,        H <- H - eta sum_{t<h} lambda_t   within its limits

with a rate eta that falls linearly: the window grows while its steps are less stiff than C, and shrinks where they are
stiffer. The official code has H + eta sum lambda_t, which turns that round: it lengthens windows through stiff contact.
`AHACConfig.official` has it as published (`published_sign`).

**Stiffness.** c_t is the entry "stiffness" (B,) of the environment's info. In the paper's experiments it is the contact force
over the acceleration it causes, whose size is taken as at least 1, in the norm over all bodies. Without that entry c_t is the
norm of the dynamics' gradient, which is how the paper defines stiffness: of the derivative of the next observation by the
action, because the state is not known here, with the observation in units of its running standard deviation
(`rpg.training.windows.action_response`). That costs one more backward pass through every step.

**Critics.** There are two without target networks, and both actor and targets use their minimum. They are fitted to the
TD(lambda) targets until their loss has settled: until its mean change over the last five passes is below `value_settled`.

Networks, optimisers and the remaining differences are those of `rpg.algorithms.shac`. Multipliers of steps that a window did
not reach stay as they are. The variant that cuts each environment's path at a stiff step is left out.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from rpg.algorithms.short_horizon import ShortHorizonAlgorithm, ShortHorizonConfig
from rpg.models.network import NetworkForm
from rpg.models.value import td_lambda_targets
from rpg.protocol import FixedHorizonEnvironment
from rpg.settings_checks import check_int, check_positive
from rpg.training.windows import Window, values_after, window_objective


@dataclass(frozen=True)
class AHACConfig(ShortHorizonConfig):
    """Settings of Adaptive-Horizon Actor-Critic. They assume rewards of order 1 per step.

    The defaults are the official values (`official`), but for what only makes sense with millions of steps: networks are
    narrower, the learning rates larger, the critics' losses are relative to their targets' variance, and C and eta are for the
    stiffness that is measured here.
    """

    names: ClassVar[tuple[str, ...]] = ("ahac",)

    std_start: float = math.exp(-1)
    """Initial standard deviation of the action before squashing; it is learned."""
    value_epochs: int = 64
    """Largest number of passes of the critics over each window."""
    value_settled: float = 0.01
    """Change of the critics' loss from pass to pass below which they stop."""
    window_start: float = 8.0
    """First H."""
    window_min: int = 8
    """Smallest H, steps."""
    window_max: int = 64
    """Largest H, steps."""
    stiffness_limit: float = 10.0
    """C, in the units of the environment's "stiffness"; without it, standard deviations of the observation a unit of action."""
    multiplier_rate: float = 0.01
    """eta at the start of a run; it falls linearly to `final_learning_rate`."""
    published_sign: bool = False
    """Whether H grows with the multipliers, as in the official code."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("window_min", "window_max"):
            check_int(name, getattr(self, name), at_least=1)
        for name in ("value_settled", "stiffness_limit", "multiplier_rate"):
            check_positive(name, getattr(self, name))
        if not self.window_min <= self.window_start <= self.window_max:
            allowed = f"numbers from window_min, {self.window_min}, to window_max, {self.window_max}"
            raise ValueError(f"window_start was given {self.window_start!r}; allowed are {allowed}")

    @classmethod
    def official(cls, **changes: Any) -> "AHACConfig":
        """The official values for the ant, with `changes`. They go with 128 environments and 2000 windows, and an environment
        that reports its stiffness."""
        values: dict[str, Any] = {
            "policy_hidden": (400, 200, 100),
            "value_hidden": (400, 200, 100),
            "policy_learning_rate": 2e-3,
            "value_learning_rate": 5e-4,
            "value_settled": 0.2,
            "stiffness_limit": 500.0,
            "multiplier_rate": 5e-4,
            "published_sign": True,
            "scale_values": False,
        }
        return cls(**{**values, **changes})


class AHAC(ShortHorizonAlgorithm[AHACConfig]):
    """Adaptive-Horizon Actor-Critic; see the module's docstring."""

    form = NetworkForm("elu", layer_norm=True, gain=math.sqrt(2))
    critic_count = 2
    measures_stiffness = True

    def __init__(self, env: FixedHorizonEnvironment, config: AHACConfig, like: Tensor) -> None:
        super().__init__(env, config, like)
        self.length = float(config.window_start)  # H
        self.multipliers = torch.zeros(config.window_max, dtype=torch.float64)  # lambda

    def window_length(self) -> int:
        return math.floor(self.length)

    def learn(self, window: Window, iteration: int) -> tuple[Tensor, dict[str, float]]:
        config = self.config
        values = values_after(self.critics, window).amin(0)
        objective = window_objective(window, window.rewards, values, discount=config.discount)
        row = self.improve_actor(objective, window, iteration)

        targets = td_lambda_targets(
            window.rewards.detach(), values.detach(), discount=config.discount, trace=config.trace, ended=window.ended
        )
        row |= self.fit_critics(window, targets, iteration, settled=config.value_settled)

        assert window.stiffness is not None
        self.check_finite("stiffness", window.stiffness.sum(0), iteration)
        stiffness = (window.stiffness * window.counted).sum(1) / window.counted.sum(1).clamp_min(1)
        self.adapt(stiffness, self.decayed(config.multiplier_rate, iteration))
        return targets, {**row, "stiffness": float(stiffness.mean())}

    def adapt(self, stiffness: Tensor, rate: float) -> None:
        """One step of the multipliers and of H on the mean `stiffness` (h,) of the steps of a window."""
        config, reached = self.config, len(stiffness)
        self.multipliers[:reached] -= rate * (config.stiffness_limit - stiffness.to(self.multipliers))
        change = rate * float(self.multipliers[:reached].sum())
        self.length += change if config.published_sign else -change
        self.length = min(max(self.length, float(config.window_min)), float(config.window_max))

    def extra_state(self) -> dict[str, Any]:
        return {"length": self.length, "multipliers": self.multipliers}

    def restore_extra_state(self, state: dict[str, Any]) -> None:
        self.length, self.multipliers = state["length"], state["multipliers"]
