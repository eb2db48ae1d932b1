"""A target shape from a mesh, a point cloud or a simulated state, and the losses that need more of it than points or masses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

import diffsim as ds
from diffsim.errors import InputError
from diffsim.gradients.first_order import first_derivatives_only
from diffsim.scene.meshes.mesh_distance import DistanceGrid, distance_grid
from diffsim.scene.validation import number
from tasks.losses.grid_losses import MassGrid, contact_loss, density_loss, grid_distance_loss
from tasks.losses.loss_inputs import check_pair, check_points

FINE_SAMPLES = 64  # particles a cell of a mesh's masses, so that these show no lattice
MOST_SAMPLES = 200_000


@dataclass(frozen=True, eq=False)
class ShapeTarget:
    """What a body shall become; `from_mesh`, `from_points` and `from_state` make one. B is 1 or one target an environment.

    Attributes:
        points: (B, M, 3), m, for `chamfer` and `earth_mover`.
        grid: nodes of the masses, or None: then only what needs no grid is there.
        inside: share of the largest mass from which on a node belongs to the target.
        node_mass: (B, nx, ny, nz) or None.
        solid: exact signed distance of a mesh, or None: it follows from the masses, to about half a cell.
    """

    points: Tensor
    grid: MassGrid | None = None
    inside: float = 0.1
    node_mass: Tensor | None = None
    solid: DistanceGrid | None = None

    @classmethod
    def from_points(
        cls, points: Tensor, *, grid: MassGrid | None = None, mass: float | Tensor = 1.0, inside: float = 0.1
    ) -> ShapeTarget:
        """A target from points within it.

        Args:
            points: (M, 3) for all environments or (B, M, 3), m; no gradient flows to them.
            grid: nodes for the losses on grids, which the body's masses must use too.
            mass: as of `MassGrid.deposit`: all of it, or of each point.
            inside: share of the largest node's mass from which on a node belongs to the target. PlasticineLab's limit of
                1e-4 at its masses is a share of 0.1 (Rope) to 0.4 (Torus).

        Raises:
            InputError: an argument has the wrong shape or dtype, is not finite or out of range, or a point is outside ``grid``.
        """
        if isinstance(points, Tensor):
            points = points.detach()
            points = points[None] if points.ndim == 2 else points
        check_points("points", points, 3)
        _check_grid(grid)
        number("ShapeTarget", "inside", inside, 0.0, 1.0)
        target = cls(points, grid, inside)
        if grid is None:
            return target
        return replace(target, node_mass=grid.deposit(points, mass.detach() if isinstance(mass, Tensor) else mass))

    @classmethod
    def from_mesh(
        cls,
        mesh: ds.Shape | str | Path,
        position: tuple[float, float, float],
        rotation: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0),
        *,
        size: float | None = None,
        points: int = 1000,
        grid: MassGrid | None = None,
        mass: float = 1.0,
        inside: float = 0.1,
        dtype: torch.dtype = torch.float32,
    ) -> ShapeTarget:
        """A target that fills a mesh, or any shape of diffsim.

        Points are samples as of a `diffsim.SoftBody`. Masses are those of many more, so that they show no lattice: a body's
        own differ from them by its sampling.

        Args:
            mesh: file of a closed mesh, as of `diffsim.TriangleMesh.from_file`, or a shape.
            position, rotation: of the shape's frame in the world, m and a quaternion (w, x, y, z).
            size: of a file: longest edge of the bounding box, m.
            points: about how many.
            grid, inside: as of `from_points`.
            mass: of all of it.

        Raises:
            InputError: an argument is wrong, or the shape reaches outside ``grid``.
        """
        if size is not None and isinstance(mesh, ds.Shape):
            raise InputError(f"size is for mesh files, got {size!r} for {mesh!r}")
        shape = mesh if isinstance(mesh, ds.Shape) else ds.TriangleMesh.from_file(mesh, size)
        body = ds.SoftBody("target", shape, position, rotation, particles=points)
        target = cls.from_points(torch.tensor(body.rest_particles[None], dtype=dtype), inside=inside)
        surface = shape.surface_mesh().copy()
        surface.vertices = body.to_world(np.asarray(surface.vertices))
        target = replace(target, solid=distance_grid(surface, name="target"))
        if grid is None:
            return target
        _check_grid(grid)
        count = int(np.clip(FINE_SAMPLES * shape.volume / grid.spacing**3, points, MOST_SAMPLES))
        samples = torch.tensor(body.to_world(shape.volume_samples(count))[None], dtype=dtype)
        return replace(target, grid=grid, node_mass=grid.deposit(samples, mass))

    @classmethod
    def from_state(
        cls,
        sim: ds.Simulator,
        state: ds.State,
        body: str,
        *,
        grid: MassGrid | None = None,
        mass: float | Tensor = 1.0,
        inside: float = 0.1,
    ) -> ShapeTarget:
        """A target that a soft body has in a simulated state: reachable, and with the very particles of the body, whose
        sampling then makes no difference.

        Args:
            sim, state: the simulator, and its state of one environment or one for each.
            body: name of the soft body.
            grid, mass, inside: as of `from_points`; None: the grid of the scene.

        Raises:
            InputError: there is no such body, or as `from_points`.
        """
        if not isinstance(state, ds.State):
            raise InputError(f"state must be a diffsim.State, got {type(state).__name__}")
        grid = MassGrid.of_scene(sim.scene) if grid is None else grid
        return cls.from_points(state.x[:, sim.particle_slice(body)], grid=grid, mass=mass, inside=inside)

    def _masses(self) -> tuple[MassGrid, Tensor]:
        if self.grid is None or self.node_mass is None:
            raise InputError("grid must be given to ShapeTarget for what is computed on a grid, got None")
        return self.grid, self.node_mass

    @property
    def mass(self) -> Tensor:
        """Masses of the nodes, (B, nx, ny, nz).

        Raises:
            InputError: the target was made without a grid.
        """
        return self._masses()[1]

    @cached_property
    def outside_distance(self) -> Tensor:
        """Distance of each node to the nearest node of the target, m, zero inside, (B, nx, ny, nz).

        Raises:
            InputError: the target was made without a grid.
        """
        grid, mass = self._masses()
        rows = [distance_transform_edt(~row, sampling=grid.spacing) for row in self._filled()]
        return torch.from_numpy(np.stack(rows)).to(mass)

    def _filled(self) -> np.ndarray:
        """Nodes of the target, bool (B, nx, ny, nz)."""
        mass = self._masses()[1]
        return (mass > self.inside * mass.amax(dim=(1, 2, 3), keepdim=True)).cpu().numpy()

    @cached_property
    def _distance_grids(self) -> tuple[DistanceGrid, ...]:
        """Signed distances, one an environment or one for all."""
        if self.solid is not None:
            return (self.solid,)
        grid, dx = self._masses()[0], self._masses()[0].spacing
        found = []
        for filled in self._filled():  # the surface is half-way between a node inside and one outside
            outside, within = distance_transform_edt(~filled, sampling=dx), distance_transform_edt(filled, sampling=dx)
            values = np.where(filled, 0.5 * dx - within, outside - 0.5 * dx).astype(np.float32)
            found.append(DistanceGrid(values, np.asarray(grid.lower), dx))
        return tuple(found)

    def signed_distance(self, x: Tensor) -> Tensor:
        """Distance of points (B, N, 3) to the target's surface, m, negative inside, (B, N); differentiable once.

        Raises:
            InputError: ``x`` has the wrong shape or dtype or is not finite, or the target has neither mesh nor grid.
        """
        check_points("x", x, 3)
        if len(self._distance_grids) not in (1, len(x)):
            raise InputError(f"x must have a batch of {len(self._distance_grids)} as the target, got {len(x)}")
        return _Interpolated.apply(x, self._distance_grids)


class _Interpolated(torch.autograd.Function):
    """A distance grid's interpolant and its gradient, by `DistanceGrid.evaluate`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, grids: tuple[DistanceGrid, ...]) -> Tensor:
        points = x.detach().cpu().numpy()
        found = [grids[row % len(grids)].evaluate(each)[:2] for row, each in enumerate(points)]
        ctx.save_for_backward(torch.from_numpy(np.stack([gradient for _value, gradient in found])).to(x), x)
        return torch.from_numpy(np.stack([value for value, _gradient in found])).to(x)

    @staticmethod
    @first_derivatives_only
    def backward(ctx: Any, saved: tuple[Tensor, ...], bar: Tensor) -> tuple[Tensor, None]:
        return bar[:, :, None] * saved[0], None


def _check_grid(grid: MassGrid | None) -> None:
    if grid is not None and not isinstance(grid, MassGrid):
        raise InputError(f"grid must be a MassGrid or None, got {type(grid).__name__}")


def signed_distance_loss(x: Tensor, target: ShapeTarget) -> Tensor:
    """Mean over particles of how far they are outside the target, (B,), m: pulls from any distance, and is zero for a body
    anywhere inside.

    Args:
        x: (B, N, 3), m.

    Raises:
        InputError: as `ShapeTarget.signed_distance`.
    """
    return target.signed_distance(x).clamp(min=0.0).mean(dim=1)


def plasticinelab_loss(
    mass: Tensor,
    target: ShapeTarget,
    distance: Tensor | None = None,
    *,
    density_weight: float = 10.0,
    distance_weight: float = 10.0,
    contact_weight: float = 1.0,
) -> Tensor:
    """10 D + 10 S + K of one step, (B,): `density_loss`, `grid_distance_loss` and `contact_loss` (Huang et al. 2021).

    PlasticineLab sums it over all steps of an episode, with a mass of 6.1035e-5 of each particle.

    Args:
        mass: of the body, (B, nx, ny, nz), by ``target.grid.deposit``.
        distance: signed, of N particles to K movable tools, (B, K, N), m; None: no term of contact.

    Raises:
        InputError: an argument is wrong, or the target was made without a grid.
    """
    loss = density_weight * density_loss(mass, target.mass)
    loss = loss + distance_weight * grid_distance_loss(mass, target.outside_distance)
    if distance is None:
        return loss
    check_pair("mass", mass.flatten(1)[:, :1], "distance", distance.flatten(1)[:, :1], common=1)
    return loss + contact_weight * contact_loss(distance)
