"""A point in a maze of 5 x 5 rooms, to measure exploration.

After the exploration test of the Reparameterized Policy Gradient (Huang et al., ICML 2023), with another maze: the rooms are
squares of side 1, and their walls have doors as drawn in `LAYOUT`. The measure is `coverage`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from rpg.environments.seeding import episode_generator
from rpg.settings_checks import check_batch, check_choice, is_number

MazeReward = Literal["none", "goal", "distance"]
Room = tuple[int, int]
ROOMS = 5
LAYOUT = (
    "o-o-o-o o",
    "|     | |",
    "o o-o o-o",
    "| | |   |",
    "o-o o-o o",
    "  | | | |",
    "o-o-o o-o",
    "|     |  ",
    "o-o o-o-o",
)
"""Rooms (o) and the doors between them, room (0, 0) at the lower left, (4, 0) at the lower right: a spanning tree and two
loops, drawn by hand."""

# Sums of powers of two, like every bound made of them: comparisons at a wall are then exact in any float dtype.
MARGIN = 1 / 16
"""The point is a square with this half-width, the least distance of its centre to a wall."""
DOOR = 1 / 2
"""Width of a door, in the middle of its wall."""
BAND = DOOR / 2 - MARGIN
"""The largest distance from the middle of a door at which the centre passes."""


def _open_doors() -> tuple[Tensor, Tensor]:
    """Whether the wall x = i of row j has a door, (6, 5), and the wall y = j of column i, (5, 6)."""
    rows = LAYOUT[::-1]
    across = torch.zeros(ROOMS + 1, ROOMS, dtype=torch.bool)
    up = torch.zeros(ROOMS, ROOMS + 1, dtype=torch.bool)
    for i in range(ROOMS):
        for j in range(ROOMS):
            across[i + 1, j] = i + 1 < ROOMS and rows[2 * j][2 * i + 1] == "-"
            up[i, j + 1] = j + 1 < ROOMS and rows[2 * j + 1][2 * i] == "|"
    return across, up


DOORS_X, DOORS_Y = _open_doors()


def neighbours(room: Room) -> list[Room]:
    """The rooms behind the doors of `room`."""
    i, j = room
    found = [((i - 1, j), DOORS_X[i, j]), ((i + 1, j), DOORS_X[i + 1, j])]
    found += [((i, j - 1), DOORS_Y[i, j]), ((i, j + 1), DOORS_Y[i, j + 1])]
    return [other for other, is_open in found if bool(is_open)]


def shortest_paths(start: Room) -> dict[Room, list[Room]]:
    """The rooms on a shortest path from `start` to every reachable room, nearest first, both ends included."""
    paths: dict[Room, list[Room]] = {start: [start]}
    queue = [start]
    for room in queue:
        for other in neighbours(room):
            if other not in paths:
                paths[other] = [*paths[room], other]
                queue.append(other)
    return paths


@cache
def _farthest_room(start: Room) -> Room:
    return list(shortest_paths(start))[-1]


def wall_segments() -> Tensor:
    """(W, 2, 2) the ends of all straight pieces of wall, for pictures and checks."""
    pieces: list[tuple[Sequence[float], Sequence[float]]] = []
    for line in range(ROOMS + 1):
        for cell in range(ROOMS):
            gap = ((0.0, 0.5 - DOOR / 2), (0.5 + DOOR / 2, 1.0))
            for low, high in gap if bool(DOORS_X[line, cell]) else ((0.0, 1.0),):
                pieces.append(((line, cell + low), (line, cell + high)))
            for low, high in gap if bool(DOORS_Y[cell, line]) else ((0.0, 1.0),):
                pieces.append(((cell + low, line), (cell + high, line)))
    return torch.tensor(pieces)


def visited_cells(positions: Tensor, cells_per_room: int = 1) -> Tensor:
    """(5 c, 5 c) bool: the cells [i, j] of side 1/c that hold any of `positions` (..., 2); i counts along x."""
    size = ROOMS * cells_per_room
    index = (positions.detach().reshape(-1, 2) * cells_per_room).floor().long().clamp(0, size - 1)
    visited = torch.zeros(size, size, dtype=torch.bool, device=positions.device)
    visited[index[:, 0], index[:, 1]] = True
    return visited


def coverage(positions: Tensor, cells_per_room: int = 1) -> float:
    """The fraction of those cells that `positions` (..., 2), of any number of episodes together, visit."""
    return float(visited_cells(positions, cells_per_room).double().mean())


def moved(position: Tensor, displacement: Tensor) -> Tensor:
    """The end of a move from `position` (B, 2) by `displacement` (B, 2), each below 1 in size: along x first, then along y,
    each up to the next wall.

    Each of the two legs stops exactly at a wall, so no point passes through one, and a point stopped along one axis still
    slides along the other. The Jacobian is 1 for a free axis and 0 for one stopped by a wall.
    """
    doors_x, doors_y = DOORS_X.to(position.device), DOORS_Y.to(position.device)
    x, y = position.unbind(-1)
    i, j = _cell(x), _cell(y)
    x = _slid(x, displacement[:, 0], i, y, j, doors_x[i, j], doors_x[i + 1, j])
    i = _cell(x)
    y = _slid(y, displacement[:, 1], j, x, i, doors_y[i, j], doors_y[i, j + 1])
    return torch.stack([x, y], dim=-1)


def _cell(coordinate: Tensor) -> Tensor:
    return coordinate.detach().floor().long().clamp(0, ROOMS - 1)


def _slid(
    along: Tensor, by: Tensor, cell: Tensor, other: Tensor, other_cell: Tensor, low_door: Tensor, high_door: Tensor
) -> Tensor:
    """One leg, (B,): `along` changes, in its row or column `cell`, while the coordinate `other` is fixed."""
    off = other.detach() - other_cell - 0.5
    before_door = off.abs() <= BAND
    low = cell - (low_door & before_door).long() + MARGIN
    high = cell + 1 + (high_door & before_door).long() - MARGIN
    within = off.abs() > 0.5 - MARGIN  # in a doorway of the other axis, next to its jambs
    low = torch.where(within, cell + 0.5 - BAND, low).to(along)
    high = torch.where(within, cell + 0.5 + BAND, high).to(along)
    return (along + by).clamp(low, high)


@dataclass(frozen=True)
class Maze:
    """Position (B, 2) in [0, 5]^2, from the middle of the room `start`. An action is a displacement, up to `stride` along
    each axis; see `moved`.

    The goal is the room farthest from `start` by doors, (4, 4) from (0, 0). Rewards: "none"; "goal", 1 in every step that
    ends in the goal room; "distance", minus the straight distance to that room's middle, over 5: it leads into dead ends. An
    episode succeeds if it is ever in the goal room. Solutions differ by the rooms they visit.

    Uniformly random actions, 32 episodes of 100 steps, visit 0.20 of the rooms (`coverage`; mean of 20 seeds).
    """

    num_envs: int = 32
    horizon: int = 100
    reward: MazeReward = "none"
    start: Room = (0, 0)
    stride: float = 0.2
    """Largest displacement of a step along one axis."""
    spread: float = 0.05
    """Standard deviation of the first position, held within the doors' width."""
    dtype: torch.dtype = torch.float32
    action_dim: int = 2
    observation_dim: int = 2
    outcome_radius: float = 1.5
    """Episodes that differ in at most two rooms count as one solution: features are 0 or 1 for each room."""

    def __post_init__(self) -> None:
        check_choice("reward", self.reward, get_args(MazeReward))
        check_batch(self.num_envs, self.dtype)
        if not is_number(self.stride) or not 0 < self.stride < 1:
            raise ValueError(f"stride was given {self.stride!r}; allowed are numbers > 0 and < 1")
        pair = isinstance(self.start, tuple | list) and len(self.start) == 2
        if not pair or not all(isinstance(n, int) and 0 <= n < ROOMS for n in self.start):
            raise ValueError(f"start was given {self.start!r}; allowed are two whole numbers from 0 to {ROOMS - 1}")

    @property
    def goal(self) -> Room:
        """The room farthest from the start."""
        return _farthest_room(self.start)

    def reset(self, seed: int | None = None) -> Any:
        generator = episode_generator(seed)
        noise = self.spread * torch.randn(self.num_envs, 2, generator=generator)
        position = torch.tensor(self.start) + 0.5 + noise.clamp(-DOOR / 2, DOOR / 2)
        state = {"position": position.to(self.dtype), "visited": torch.zeros(self.num_envs, ROOMS**2, dtype=torch.bool)}
        return {**state, "visited": self._visited(state)}

    def observe(self, state: Any) -> Tensor:
        """(B, 2) position in [-1, 1]."""
        return state["position"] * (2 / ROOMS) - 1

    def positions(self, observations: Tensor) -> Tensor:
        """The positions (..., 2) of `observations` (..., 2)."""
        return (observations + 1) * (ROOMS / 2)

    def step(self, state: Any, action: Tensor) -> tuple[Any, Tensor, dict[str, Tensor]]:
        position = moved(state["position"], self.stride * action)
        state = {"position": position, "visited": state["visited"]}
        state["visited"] = self._visited(state)
        i, j = self.goal
        if self.reward == "goal":
            reward = ((_cell(position[:, 0]) == i) & (_cell(position[:, 1]) == j)).to(position)
        elif self.reward == "distance":
            offset = position - position.new_tensor([i + 0.5, j + 0.5])
            reward = -(offset.square().sum(-1) + 1e-6).sqrt() / ROOMS
        else:
            reward = position.new_zeros(len(position))
        info = {
            "success": state["visited"][:, i * ROOMS + j],
            "outcome": torch.full_like(_cell(position[:, 0]), -1),
            "outcome_features": state["visited"].to(position),
        }
        return state, reward, info

    def _visited(self, state: Any) -> Tensor:
        """(B, 25) the rooms visited so far, including the current one, numbered 5 i + j."""
        cell = _cell(state["position"])
        room = (cell[:, 0] * ROOMS + cell[:, 1]).unsqueeze(-1)
        return state["visited"].scatter(1, room, torch.ones_like(room, dtype=torch.bool))
