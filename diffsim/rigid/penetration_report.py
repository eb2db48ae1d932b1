"""Warns, once for each two things, when they are deeper in each other than a tenth of the smaller one's size."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import Tensor

from diffsim.rigid.rigid_records import Header, PairConstants, Status
from diffsim.scene.articulation import Geometry
from diffsim.scene.shapes import Shape

logger = logging.getLogger(__name__)

SHARE = 0.1  # of the smaller size
NEVER = 1e30  # m, the limit of a pair that has been reported
UNITS = ((1.0, "m"), (1e-3, "mm"), (0.0, "um"))


def thickness(shape: Shape) -> float:
    """A shape's size as penetration sees it, m: six times its volume over its surface, which is the diameter of a sphere, the
    edge of a cube, and three times the thickness of a sheet or of a bowl's wall. Endless shapes are infinitely thick."""
    if not shape.bounded:
        return float("inf")
    mesh = shape.surface_mesh()
    size = 6.0 * abs(float(mesh.volume)) / float(mesh.area)
    return size if size > 0.0 else 2.0 * shape.bounding_radius


def depth_limits(geometries: Sequence[Geometry], pairs: Sequence[tuple[int, int]]) -> list[float]:
    """The depth of each pair above which it is reported, m."""
    sizes: dict[int, float] = {}  # by shape, as several geometries may share one
    for geometry in geometries:
        if id(geometry.shape) not in sizes:
            sizes[id(geometry.shape)] = thickness(geometry.shape)
    own = [sizes[id(geometry.shape)] for geometry in geometries]
    return [SHARE * min(own[a], own[b]) for a, b in pairs]


class PenetrationReport:
    """What has been warned of in a scene.

    Args:
        names: of the geometries' owners: links, obstacles, the ground.
        pairs: of geometries that may touch.
        limits: of the pairs, as `depth_limits`.
    """

    def __init__(self, names: Sequence[str], pairs: Sequence[tuple[int, int]], limits: Sequence[float]):
        self._owners = [frozenset((names[a], names[b])) for a, b in pairs]
        self._names = [(names[a], names[b]) for a, b in pairs]
        self._limits = list(limits)

    def read(self, status: Tensor, time_step: Tensor, integers: Tensor, reals: Tensor) -> None:
        """Warn of what a launch noted in the environments' status (B, `Status`). What has been warned of is not noted again:
        its limit among the solver's ``reals`` becomes NEVER."""
        noted = torch.nonzero(status[:, Status.depth])[:, 0]
        if not len(noted):
            return
        deepest_first = noted[status[noted, Status.depth].argsort(descending=True)]
        for environment in deepest_first.tolist():
            pair, step, depth = status[environment, [Status.deep_pair, Status.deep_step, Status.depth]].tolist()
            if self._limits[pair] == NEVER:
                continue
            one, other = self._names[pair]
            size, step = self._limits[pair] / SHARE, int(time_step[environment]) + step
            logger.warning(
                "'%s' and '%s' penetrate each other by %s, %.0f%% of the smaller one's size (%s), in environment %d, control "
                "step %d: use a smaller dt, a slower or weaker drive, a stiffer contact, or thicker shapes%s",
                one, other, length(1e-6 * depth), 1e-4 * depth / size, length(size), environment, step,
                "; or they overlap as the scene is declared" if step == 0 else "",
            )  # fmt: skip
            for number, owners in enumerate(self._owners):
                if owners == self._owners[pair]:
                    self._limits[number] = NEVER
                    row = int(integers[Header.pair_constants]) + PairConstants.SIZE * number
                    reals[row + PairConstants.reported_depth] = NEVER


def length(metres: float) -> str:
    """In the unit that suits it."""
    scale, unit = next((scale or 1e-6, unit) for scale, unit in UNITS if metres >= scale)
    return f"{metres / scale:.3g} {unit}"
