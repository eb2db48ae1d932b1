"""The maze of the Reparameterized Policy Gradient's exploration test (Huang et al., ICML 2023): 5 x 5 rooms, no reward.

The world is [-5, 5]^2, a room has side 2. Between two rooms is a solid wall, or one with a gap of width 0.4 in its middle. The
measure is the fraction of the 10 x 10 unit cells that were ever visited (`visited_cells`). `rpg.environments.maze` is another
maze, of this repository, with wider doors and walls that a point slides along.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from rpg.settings_checks import check_batch

ROOMS = 5
SIDE = 2.0
"""Of a room."""
HALF = ROOMS * SIDE / 2
"""The world is [-HALF, HALF]^2."""
GAP = 0.4
"""Width of a gap."""
STRIDE = 0.25
"""Largest displacement of a step along each axis."""
CLEARANCE = 1e-5
"""Fraction of a step by which a point stops short of a wall."""
CELLS = 10
"""Unit cells along each axis."""

SOLID_BELOW = frozenset({(0, 2), (1, 2), (1, 3), (3, 2), (3, 3), (4, 2)})
"""Rooms (column, row) whose lower wall is solid."""
SOLID_LEFT = frozenset({(1, 0), (1, 4), (2, 0), (2, 3), (2, 4), (3, 1), (3, 4), (4, 1), (4, 3), (4, 4)})
"""Rooms whose left wall is solid. All other walls inside the world have a gap, and all rooms can be reached."""


def wall_segments() -> Tensor:
    """(W, 2, 2) float64: the ends of all straight pieces of wall, the lower or left one first."""
    pieces: list[tuple[tuple[float, float], tuple[float, float]]] = []
    for line in range(ROOMS + 1):
        for place in range(ROOMS):
            at, low, high = SIDE * line - HALF, SIDE * place - HALF, SIDE * (place + 1) - HALF
            middle = (low + high) / 2
            gap = ((low, middle - GAP / 2), (middle + GAP / 2, high))
            border = line in (0, ROOMS)
            for a, b in ((low, high),) if border or (place, line) in SOLID_BELOW else gap:
                pieces.append(((a, at), (b, at)))
            for a, b in ((low, high),) if border or (line, place) in SOLID_LEFT else gap:
                pieces.append(((at, a), (at, b)))
    return torch.tensor(pieces, dtype=torch.float64)


def visited_cells(positions: Tensor) -> Tensor:
    """(10, 10) bool: the unit cells [i, j] that hold any of `positions` (..., 2); i counts along x."""
    index = (positions.detach().reshape(-1, 2) + HALF).floor().long().clamp(0, CELLS - 1)
    visited = torch.zeros(CELLS, CELLS, dtype=torch.bool)
    visited[index[:, 0], index[:, 1]] = True
    return visited


_WALLS = wall_segments()
_UPRIGHT = _WALLS[:, 0, 0] == _WALLS[:, 1, 0]


def moved(position: Tensor, displacement: Tensor) -> Tensor:
    """The end of a straight move from `position` (B, 2) by `displacement` (B, 2), float64, cut off just before the first wall
    that it meets."""
    shares = []
    for axis, walls in ((0, _WALLS[_UPRIGHT]), (1, _WALLS[~_UPRIGHT])):
        line, low, high = walls[:, 0, axis], walls[:, 0, 1 - axis], walls[:, 1, 1 - axis]
        share = (line - position[:, axis : axis + 1]) / displacement[:, axis : axis + 1]  # infinite or nan along the wall
        across = position[:, 1 - axis, None] + share * displacement[:, 1 - axis, None]
        met = (share >= 0) & (share <= 1) & (across >= low) & (across <= high)
        shares.append(torch.where(met, share - CLEARANCE, 1.0).amin(1))
    return position + torch.minimum(*shares).clamp_min(0.0).unsqueeze(1) * displacement


class GapMazeState(NamedTuple):
    """B points."""

    position: Tensor
    """(B, 2) float64."""


@dataclass(frozen=True)
class GapMaze:
    """Points that start in the middle of the maze. An action is a displacement, up to 0.25 along each axis, that ends at the
    first wall; there is no sliding along it. Episodes are cut off, not ended, after `horizon` steps; the reward is always 0.

    An observation is the position over 5, in [-1, 1]^2.
    """

    num_envs: int = 5
    horizon: int = 50
    dtype: torch.dtype = torch.float32
    action_dim: int = 2
    observation_dim: int = 2
    differentiable: bool = False
    finite_horizon: bool = False
    outcome_radius: float = 1.0
    """Episodes that end within this distance count as one solution."""

    def __post_init__(self) -> None:
        check_batch(self.num_envs, self.dtype)

    def reset(self, seed: int | None = None) -> GapMazeState:
        """All points in the middle: nothing is random."""
        return GapMazeState(torch.zeros(self.num_envs, 2, dtype=torch.float64))

    def observe(self, state: GapMazeState) -> Tensor:
        """(B, 2)."""
        return (state.position / HALF).to(self.dtype)

    def positions(self, observations: Tensor) -> Tensor:
        """The positions (..., 2) of `observations` (..., 2)."""
        return HALF * observations

    def step(self, state: GapMazeState, action: Tensor) -> tuple[GapMazeState, Tensor, dict[str, Tensor]]:
        """Move by 0.25 `action` (B, 2)."""
        position = moved(state.position, STRIDE * action.detach().double().clamp(-1, 1))
        features = position.to(self.dtype)
        return GapMazeState(position), features.new_zeros(len(position)), {"outcome_features": features}
