"""Losses of masses on a grid, (B, nx, ny, nz): overlap, density, distance, after PlasticineLab (Huang et al. 2021).

The target's batch may be 1: all environments share it. One result (B,) for each environment.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

import diffsim as ds
from diffsim.errors import InputError
from diffsim.scene.validation import number, vector
from tasks.losses.loss_inputs import check_pair, check_points, check_tensor


@dataclass(frozen=True)
class MassGrid:
    """Nodes on which particles deposit their mass; node (i, j, k) is at lower + spacing (i, j, k).

    Args:
        lower: position of the first node, m.
        spacing: between nodes, m.
        nodes: along x, y and z, at least 3.

    Raises:
        InputError: an argument is wrong.
    """

    lower: tuple[float, float, float]
    spacing: float
    nodes: tuple[int, int, int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "lower", vector("MassGrid", "lower", self.lower))
        object.__setattr__(self, "spacing", number("MassGrid", "spacing", self.spacing, 1e-9))
        nodes = vector("MassGrid", "nodes", self.nodes)
        if any(count < 3 or count != int(count) for count in nodes):
            raise InputError(f"MassGrid: nodes must be three integers >= 3, got {self.nodes!r}")
        object.__setattr__(self, "nodes", tuple(int(count) for count in nodes))

    @classmethod
    def of_scene(cls, scene: ds.Scene, spacing: float | None = None) -> MassGrid:
        """Nodes over a scene's whole domain.

        Args:
            spacing: between nodes, m; None: the scene's grid spacing.

        Raises:
            InputError: an argument is wrong.
        """
        if not isinstance(scene, ds.Scene):
            raise InputError(f"scene must be a diffsim.Scene, got {type(scene).__name__}")
        dx = scene.grid_spacing if spacing is None else number("MassGrid", "spacing", spacing, 1e-9)
        counts = [math.ceil((high - low) / dx - 1e-6) + 3 for low, high in zip(scene.lower, scene.upper, strict=True)]
        x, y, z = (low - dx for low in scene.lower)  # a particle on a wall reaches one node beyond it
        return cls((x, y, z), dx, (counts[0], counts[1], counts[2]))

    def deposit(self, x: Tensor, mass: float | Tensor = 1.0) -> Tensor:
        """Masses of the nodes (B, nx, ny, nz): each particle is shared among 27 by the quadratic B-spline, as in MPM.

        Differentiable by ``x`` and ``mass``. Memory: 27 numbers a particle.

        Args:
            x: positions of particles (B, N, 3), m.
            mass: of all of them together, shared evenly (by default 1: then results do not depend on N), or of each, (N,) or
                (B, N).

        Raises:
            InputError: an argument has the wrong shape or dtype, is not finite, or a particle is outside the grid.
        """
        check_points("x", x, 3)
        batch, count = x.shape[:2]
        if isinstance(mass, Tensor):
            check_tensor("mass", mass)
            if mass.dtype != x.dtype or tuple(mass.shape) not in ((count,), (batch, count)):
                given = f"{mass.dtype} of shape {tuple(mass.shape)}"
                raise InputError(f"mass must be a number or {x.dtype} of shape {(count,)} or {(batch, count)}, got {given}")
            each = mass.expand(batch, count)
        else:
            each = x.new_full((batch, count), number("deposit", "mass", mass, 0.0) / count)
        nodes = torch.tensor(self.nodes, device=x.device)
        u = (x - x.new_tensor(self.lower)) / self.spacing
        base = torch.floor(u.detach() - 0.5).long()
        outside = ((base < 0) | (base > nodes - 3)).any(dim=2)
        if outside.any():
            row, particle = torch.nonzero(outside)[0].tolist()
            upper = [low + self.spacing * (n - 1.5) for low, n in zip(self.lower, self.nodes, strict=True)]
            raise InputError(
                f"x must be within the grid, {[round(low + 0.5 * self.spacing, 6) for low in self.lower]} to "
                f"{[round(high, 6) for high in upper]}, got {x[row, particle].tolist()} in environment {row}"
            )
        t = u - base  # in [1/2, 3/2]
        weights = torch.stack([0.5 * (1.5 - t).square(), 0.75 - (t - 1.0).square(), 0.5 * (t - 0.5).square()], dim=-1)
        shares = torch.einsum("bn,bni,bnj,bnk->bnijk", each, weights[:, :, 0], weights[:, :, 1], weights[:, :, 2])
        three = torch.arange(3, device=x.device)
        i, j, k = (base[:, :, axis, None] + three for axis in range(3))
        ny, nz = self.nodes[1:]
        at = (i[:, :, :, None, None] * ny + j[:, :, None, :, None]) * nz + k[:, :, None, None, :]
        grid = x.new_zeros(batch, math.prod(self.nodes))
        return grid.scatter_add(1, at.flatten(1), shares.flatten(1)).view(batch, *self.nodes)


def _flat_pair(mass: Tensor, target: Tensor, name: str = "target") -> tuple[Tensor, Tensor]:
    """Both as (B, nodes) and (B or 1, nodes), after checks."""
    check_tensor("mass", mass)
    check_tensor(name, target)
    if mass.ndim < 2 or 0 in mass.shape:
        raise InputError(f"mass must be a batch of grids (B, nx, ny, nz), got {tuple(mass.shape)}")
    check_pair("mass", mass, name, target, common=1)
    return mass.flatten(1), target.flatten(1)


def _over_largest(mass: Tensor, name: str) -> Tensor:
    """Masses (B, nodes) over the largest of each grid."""
    largest = mass.amax(dim=1, keepdim=True)
    if (largest <= 0.0).any():
        raise InputError(f"{name} must hold some mass, got a grid without any")
    return mass / largest


def soft_iou(mass: Tensor, target: Tensor) -> Tensor:
    """PlasticineLab's intersection over union: I / (U - I), for masses m and m* over their grids' largest,

        I = sum m m*,    U = sum m + sum m*

    It is 1 for equal grids only if every node is full or empty; `incremental_iou` makes a score of it. Differentiable, the
    largest masses included, but far from the target its gradient is zero.

    Args:
        mass, target: (B, nx, ny, nz), of `MassGrid.deposit`.

    Raises:
        InputError: an argument has the wrong shape or dtype, is not finite, or is empty.
    """
    m, goal = _flat_pair(mass, target)
    m, goal = _over_largest(m, "mass"), _over_largest(goal, "target")
    both = (m * goal).sum(dim=1)
    return both / (m.sum(dim=1) + goal.sum(dim=1) - both)


def hard_iou(mass: Tensor, target: Tensor, threshold: float = 0.5) -> Tensor:
    """Nodes that both fill over nodes that either fills, (B,), in 0 to 1. A score: it has no gradient.

    Args:
        mass, target: (B, nx, ny, nz), of `MassGrid.deposit`.
        threshold: a node is full from this share of its grid's largest mass on, above 0 and at most 1.

    Raises:
        InputError: as `soft_iou`, or the threshold is out of range.
    """
    number("hard_iou", "threshold", threshold, 1e-9, 1.0)
    m, goal = _flat_pair(mass.detach() if isinstance(mass, Tensor) else mass, target)
    full, wanted = _over_largest(m, "mass") >= threshold, _over_largest(goal.detach(), "target") >= threshold
    return (full & wanted).sum(dim=1).to(m.dtype) / (full | wanted).sum(dim=1)


def incremental_iou(iou: Tensor, start: Tensor, own: Tensor) -> Tensor:
    """PlasticineLab's score in 0 to 1: (iou - start) / (own - start), clipped.

    Args:
        iou, start: `soft_iou` with the target now and before the first action, (B,).
        own: `soft_iou` of the target with itself, (B,) or (1,), above ``start``.
    """
    return ((iou - start) / (own - start)).clamp(0.0, 1.0)


def density_loss(mass: Tensor, target: Tensor) -> Tensor:
    """Sum of |m - m*| over the nodes: kg, or at total masses of 1 a number from 0 to 2, which is 2 without any overlap; its
    gradient is zero there.

    Raises:
        InputError: an argument has the wrong shape or dtype, or is not finite.
    """
    m, goal = _flat_pair(mass, target)
    return (m - goal).abs().sum(dim=1)


def grid_distance_loss(mass: Tensor, distance: Tensor) -> Tensor:
    """PlasticineLab's signed-distance loss: sum of s m over the nodes, (B,); at a total mass of 1 the mean distance of the body
    from the target in m. Zero within the target: it does not ask the body to fill it.

    Args:
        mass: (B, nx, ny, nz).
        distance: s, of each node to the target, zero inside, m (`ShapeTarget.outside_distance`).

    Raises:
        InputError: an argument has the wrong shape or dtype, or is not finite.
    """
    m, s = _flat_pair(mass, distance, "distance")
    return (m * s).sum(dim=1)


def contact_loss(distance: Tensor, *, soft: bool = False) -> Tensor:
    """PlasticineLab's reward of reaching: sum over tools of (min over particles of max(d, 0))^2, (B,), m^2.

    Args:
        distance: signed, of N particles to K tools, (B, K, N), m.
        soft: in place of the minimum, the mean with weights 1 / (1 + 1e4 d^2): all particles attract the tool.

    Raises:
        InputError: ``distance`` has the wrong shape or dtype, or is not finite.
    """
    check_points("distance", distance)
    d = distance.clamp(min=0.0)
    if soft:
        weights = 1.0 / (1.0 + 1e4 * d.square())
        nearest = (weights * d).sum(dim=2) / weights.sum(dim=2)
    else:
        nearest = d.amin(dim=2)
    return nearest.square().sum(dim=1)
