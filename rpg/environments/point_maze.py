"""A point in two of the mazes of DDiffPG's AntMaze (Li et al. 2024, v1 and v3), in which several ways lead to the goals.

The maps and their scale are the paper's; the ant is a point here, and beside the paper's sparse reward there is a dense one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from rpg.environments.seeding import episode_generator
from rpg.settings_checks import check_batch, check_choice, check_int, is_number

MazeName = Literal["v1", "v3"]
PointMazeReward = Literal["geodesic", "sparse"]
CELL = 4.0
"""Side of a cell, m."""
MARGIN = 0.25
"""Least distance of the point to a wall, m."""
REACHED = 0.5
"""A goal counts as reached within this distance, m."""
BONUS = 10.0
"""Reward of reaching one."""
START, GOAL, WALL = "R", "G", "#"


@dataclass(frozen=True)
class Layout:
    """A maze: the cells row by row from the top, y growing downwards; and the gates that tell ways apart."""

    rows: tuple[str, ...]
    gates: tuple[tuple[str, int, int], ...]
    """Name, column and row of each cell that is a way's own: of those passed, the last decides the outcome."""

    def cells(self, mark: str) -> list[tuple[int, int]]:
        """Column and row of the cells with that mark."""
        return [(i, j) for j, row in enumerate(self.rows) for i, each in enumerate(row) if each == mark]


LAYOUTS: dict[str, Layout] = {
    "v1": Layout(("#####", "#...#", "#G#R#", "#...#", "#####"), (("above", 2, 1), ("below", 2, 3))),
    "v3": Layout(
        (
            "#########",
            "#.....#G#",
            "#.##....#",
            "#.....#.#",
            "#.#.R...#",
            "#.....#.#",
            "#.##..#.#",
            "#G......#",
            "#########",
        ),
        (
            ("right goal from above", 6, 2),
            ("right goal from below", 6, 4),
            ("left goal from above", 1, 6),
            ("left goal from the right", 2, 7),
        ),
    ),
}


class PointMazeState(NamedTuple):
    """B points."""

    position: Tensor
    """(B, 2), m from the middle of the start's cell."""
    gate: Tensor
    """(B,) int64, the last gate passed, -1 before the first."""
    running: Tensor
    """(B,) bool: whether no goal has been reached."""


@dataclass(frozen=True)
class PointMaze:
    """From the cell R to any cell G. An action is a displacement, `stride` along each axis at most: along x first, then along
    y, each up to the next wall, along which the point slides. The Jacobian is 1 or 0 per axis.

    The episode ends within 0.5 m of a goal, with a reward of 10; the point then stays there and earns nothing. Beside that the
    reward of a step is 0 ("sparse"), or minus the length of the shortest way to a goal by the middles of cells, over 10 m
    ("geodesic"). Minus the straight distance would lead up to walls, and the gradient never points round a sharp corner.
    """

    num_envs: int = 32
    maze: MazeName = "v1"
    reward: PointMazeReward = "geodesic"
    horizon: int = 20
    stride: float = 2.0
    """m; less than a cell, so that no step passes through a wall."""
    spread: float = 0.1
    """Standard deviation of the first position, m."""
    dtype: torch.dtype = torch.float32
    action_dim: int = 2
    observation_dim: int = 2

    def __post_init__(self) -> None:
        check_batch(self.num_envs, self.dtype)
        check_choice("maze", self.maze, get_args(MazeName))
        check_choice("reward", self.reward, get_args(PointMazeReward))
        check_int("horizon", self.horizon, at_least=1)
        if not is_number(self.stride) or not 0 < self.stride < CELL - MARGIN:
            raise ValueError(f"stride was given {self.stride!r}; allowed are numbers > 0 and < {CELL - MARGIN}")

    @property
    def layout(self) -> Layout:
        """The map."""
        return LAYOUTS[self.maze]

    @property
    def differentiable(self) -> bool:
        """Whether rewards depend on actions smoothly anywhere."""
        return self.reward == "geodesic"

    @property
    def outcome_names(self) -> Sequence[str]:
        return tuple(name for name, _, _ in self.layout.gates)

    @cached_property
    def _free(self) -> Tensor:
        """(columns, rows) bool."""
        return torch.tensor([[each != WALL for each in row] for row in self.layout.rows]).T

    @cached_property
    def _origin(self) -> Tensor:
        """(2,) column and row of the start."""
        return torch.tensor(self.layout.cells(START)[0])

    def goals(self) -> Tensor:
        """(N, 2), m from the start; from the left to the right."""
        cells = sorted(self.layout.cells(GOAL))
        return CELL * (torch.tensor(cells) - self._origin).to(self.dtype)

    def cells(self, position: Tensor) -> Tensor:
        """(..., 2) int64: column and row of the cells that hold `position` (..., 2)."""
        return (position.detach() / CELL + 0.5).floor().long() + self._origin

    @cached_property
    def _way(self) -> Tensor:
        """(columns, rows) m from the middle of each cell to a goal by middles of cells; infinite for walls."""
        free, found = self._free, dict.fromkeys(self.layout.cells(GOAL), 0.0)
        for i, j in (queue := list(found)):
            for cell in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
                if free[cell] and cell not in found:
                    found[cell] = found[i, j] + CELL
                    queue.append(cell)
        way = torch.full(free.shape, torch.inf)
        for cell, length in found.items():
            way[cell] = length
        return way

    def geodesic(self, position: Tensor) -> Tensor:
        """(B,) m from `position` (B, 2) straight to the middle of a cell next to it, and on to a goal: the shortest; within a
        goal's cell straight to the goal."""
        cell = self.cells(position)
        there = self._way[cell[:, 0], cell[:, 1]] == 0.0
        lengths = []
        for step in ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)):
            other = cell + torch.tensor(step)
            way = self._way[other[:, 0], other[:, 1]].to(position)
            way = torch.where(there == (step == (0, 0)), way, torch.inf)
            offset = position - CELL * (other - self._origin).to(position)
            lengths.append((offset.square().sum(1) + 1e-6).sqrt() + way)
        return torch.stack(lengths).min(dim=0).values

    def reset(self, seed: int | None = None) -> PointMazeState:
        """Positions normally distributed about the middle of the start's cell."""
        drawn = self.spread * torch.randn(self.num_envs, 2, generator=episode_generator(seed)).to(self.dtype)
        limit = CELL / 2 - MARGIN
        gate = torch.full((self.num_envs,), -1)
        return PointMazeState(drawn.clamp(-limit, limit), gate, gate < 0)

    def observe(self, state: PointMazeState) -> Tensor:
        """(B, 2) position over 10 m; goals are not seen."""
        return state.position / 10

    def moved(self, position: Tensor, displacement: Tensor) -> Tensor:
        """(B, 2) the end of a move from `position` (B, 2) by `displacement` (B, 2), each less than a cell."""
        for axis in (0, 1):
            cell, place = self.cells(position), position[:, axis]
            unit = torch.zeros(2, dtype=torch.int64)
            unit[axis] = 1
            middle = CELL * (cell - self._origin)[:, axis].to(position)
            reach = []
            for side in (-1, 1):
                beyond = cell + side * unit
                room = torch.where(self._free[beyond[:, 0], beyond[:, 1]], 1.5 * CELL, 0.5 * CELL) - MARGIN
                reach.append(middle + side * room)
            new = (place + displacement[:, axis]).clamp(*reach)
            position = torch.stack([new, position[:, 1]] if axis == 0 else [position[:, 0], new], dim=1)
        return position

    def step(self, state: PointMazeState, action: Tensor) -> tuple[PointMazeState, Tensor, dict[str, Tensor]]:
        """Move by `stride` times `action` (B, 2)."""
        running = state.running
        position = self.moved(state.position, self.stride * action.clamp(-1.0, 1.0))
        position = torch.where(running.unsqueeze(1), position, state.position)
        distances = (position.detach().unsqueeze(1) - self.goals().to(position)).norm(dim=-1)
        there = distances.min(dim=1).values < REACHED
        gate, cell = state.gate, self.cells(position)
        for n, (_, i, j) in enumerate(self.layout.gates):
            gate = torch.where((cell[:, 0] == i) & (cell[:, 1] == j), n, gate)
        reward = running * (BONUS * there.to(position) - (self.geodesic(position) / 10 if self.differentiable else 0.0))
        info = {"success": there, "outcome": gate, "terminated": there & running, "running": running}
        return PointMazeState(position, gate, running & ~there), reward, info
