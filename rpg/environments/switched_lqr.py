"""Linear quadratic control with two modes to switch between (after HPO, the example of Alvo et al. 2026).

In each step one of two input matrices is chosen, and an input for it: a discrete and a continuous action in one. Each mode acts
strongly on its own half of the coordinates. The gradient reaches the continuous part through the dynamics, and not the choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from rpg.environments.seeding import episode_generator
from rpg.settings_checks import check_batch, check_int

INPUT_COST = 0.1
"""R; Q is the identity."""
WEAK = 0.15
"""Of a mode's input on the other half of the coordinates; 1 on its own."""
LIMIT = 100.0
"""Largest size of a coordinate."""
MATRIX_SEED = 0
GOOD = 1.2
"""Largest cost of a success, over that of the better regulator that never switches."""


class SwitchedLQRState(NamedTuple):
    """B systems."""

    position: Tensor
    """(B, n)."""
    first: Tensor
    """(B, n) where the episode began."""
    cost: Tensor
    """(B,) so far, detached."""
    mode: Tensor
    """(B,) int64, of the first step, -1 before it."""
    age: int


@dataclass(frozen=True)
class SwitchedLQR:
    """x' = A x + B_m u, at a cost of x'Qx + u'Ru in each step, of the state before it, and x'Qx at the end.

    An action is (u / `gain`, choice): mode 1 if the choice is positive, else mode 0. A = 1.1 I + 0.05 S with S symmetric,
    random and at most 1 (one matrix for all): without control the state grows. The reward of a step is minus its cost over
    `cost_unit`. Success is a whole cost of at most 1.2 times that of the better Riccati regulator that never switches, from the
    same start; the outcome is the mode of the first step.

    Alvo et al. discount by 0.99 and draw x from [-10, 10], over sqrt(n); here there is no discount.
    """

    num_envs: int = 32
    dim: int = 3
    """n."""
    horizon: int = 20
    gain: float = 10.0
    """Largest input."""
    cost_unit: float = 100.0
    dtype: torch.dtype = torch.float32
    outcome_names: Sequence[str] = ("mode 0 first", "mode 1 first")

    def __post_init__(self) -> None:
        check_batch(self.num_envs, self.dtype)
        check_int("dim", self.dim, at_least=2)
        check_int("horizon", self.horizon, at_least=1)

    @property
    def action_dim(self) -> int:
        return self.dim + 1

    @property
    def observation_dim(self) -> int:
        return self.dim

    @cached_property
    def matrices(self) -> tuple[Tensor, Tensor]:
        """A (n, n) and the inputs (2, n, n), float64."""
        drawn = torch.randn(self.dim, self.dim, generator=torch.Generator().manual_seed(MATRIX_SEED), dtype=torch.float64)
        symmetric = drawn + drawn.T
        own = torch.arange(self.dim) < (self.dim + 1) // 2
        inputs = torch.stack([torch.diag(torch.where(own == bool(1 - mode), 1.0, WEAK).double()) for mode in (0, 1)])
        return 1.1 * torch.eye(self.dim, dtype=torch.float64) + 0.05 * symmetric / symmetric.abs().max(), inputs

    def riccati(self, mode: int) -> tuple[Tensor, Tensor]:
        """(T, n, n) gains K_t, u = -K_t x, and (T+1, n, n) values P_t, x'P_t x the cost to go, of a mode that is never left:

        P_T = Q,    K_t = (R + B'P_{t+1}B)^{-1} B'P_{t+1}A,    P_t = Q + A'P_{t+1}(A - B K_t).
        """
        a, b = self.matrices[0], self.matrices[1][mode]
        value = torch.eye(self.dim, dtype=torch.float64)
        gains, values = [], [value]
        for _ in range(self.horizon):
            gain = torch.linalg.solve(INPUT_COST * torch.eye(self.dim, dtype=torch.float64) + b.T @ value @ b, b.T @ value @ a)
            value = torch.eye(self.dim, dtype=torch.float64) + a.T @ value @ (a - b @ gain)
            gains.append(gain)
            values.append(value)
        return torch.stack(gains[::-1]), torch.stack(values[::-1])

    @cached_property
    def _values(self) -> Tensor:
        """(2, n, n) P_0 of each mode."""
        return torch.stack([self.riccati(mode)[1][0] for mode in (0, 1)])

    def reference_cost(self, first: Tensor) -> Tensor:
        """(B,) cost of the better regulator that never switches, from `first` (B, n)."""
        return torch.einsum("bi,mij,bj->mb", first, self._values.to(first), first).amin(0)

    def reset(self, seed: int | None = None) -> SwitchedLQRState:
        """x uniform in [-10, 10] / sqrt(n)."""
        drawn = torch.rand(self.num_envs, self.dim, generator=episode_generator(seed))
        first = (20 * drawn - 10).to(self.dtype) / self.dim**0.5
        zeros = first.new_zeros(self.num_envs)
        return SwitchedLQRState(first, first, zeros, torch.full((self.num_envs,), -1), 0)

    def observe(self, state: SwitchedLQRState) -> Tensor:
        """(B, n) x / 10."""
        return state.position / 10

    def step(self, state: SwitchedLQRState, action: Tensor) -> tuple[SwitchedLQRState, Tensor, dict[str, Tensor]]:
        """Apply `action` (B, n + 1)."""
        a, inputs = (each.to(action) for each in self.matrices)
        u, mode = self.gain * action[:, :-1], (action[:, -1] > 0).long()
        cost = state.position.square().sum(1) + INPUT_COST * u.square().sum(1)
        position = (state.position @ a.T + torch.einsum("bij,bj->bi", inputs[mode], u)).clamp(-LIMIT, LIMIT)
        age = state.age + 1
        if age == self.horizon:
            cost = cost + position.square().sum(1)
        first_mode = mode if state.age == 0 else state.mode
        following = SwitchedLQRState(position, state.first, state.cost + cost.detach(), first_mode, age)
        success = following.cost <= GOOD * self.reference_cost(state.first)
        success = success & (age == self.horizon)
        return following, -cost / self.cost_unit, {"success": success, "outcome": first_mode}
