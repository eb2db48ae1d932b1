"""What every shape offers: numpy functions for the scene and for pictures, and a signed distance for the kernels.

All is in the shape's own frame, in metres. `docs/extending.md` shows how to define a shape of your own: subclass `Shape`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import trimesh
from torch import Tensor

from diffsim.errors import InputError
from diffsim.scene.meshes.lattice_samples import Lattice
from diffsim.scene.rotations import Quaternion
from diffsim.scene.shapes.contact_balls import ContactPoints

POINTS_AT_ONCE = 2**23  # of a lattice that are tested
MOST_NODES = 2**28  # of a lattice
LONGEST_EDGE = 2**24  # of a lattice, in nodes
MOST_SURPLUS = 4  # times the particles asked for
# signed distance (...) and unit normal (..., 3) at points (..., 3) of the shape's frame
TorchDistance = Callable[[Tensor], tuple[Tensor, Tensor]]
THICKNESS_SAMPLES = 2000


class Part(NamedTuple):
    """A shape placed in another one's frame: position in metres, unit quaternion (w, x, y, z)."""

    shape: Shape
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rotation: Quaternion = (1.0, 0.0, 0.0, 0.0)


class Shape:
    """What a body or a collider looks like, centred in its own frame.

    A subclass that touches other things defines `signed_distance`, `surface_mesh`, `contact_points`, `kernel_numbers` and
    `distance_kernel`. The others follow from the surface mesh; closed forms are exact and faster.

    Attributes:
        bounded: whether the shape has an end. One without stands still, encloses everything below its surface and has no
            contact points: other shapes' points touch it.
        meets_grid: whether soft bodies meet tools and obstacles of the shape on their grid, not particle by particle; only
            rounded boxes and tori, whose distance the grid's kernels know.
        smaller: how to make one smaller, in words.
        sampled: whether `distance_kernel` interpolates, and is worse far from the surface.
    """

    bounded = True
    meets_grid = False
    smaller = "a smaller shape"
    sampled = False

    # for the scene

    def signed_distance(self, points: np.ndarray) -> np.ndarray:
        """Distance to the surface in metres, negative inside. points (N, 3) -> (N,)."""
        raise TypeError(f"{type(self).__name__} defines no signed distance")

    def surface_mesh(self) -> trimesh.Trimesh:
        """Triangle mesh of the surface, outward normals; closed unless the shape is unbounded."""
        raise TypeError(f"{type(self).__name__} defines no surface mesh")

    def fine_mesh(self, faces: int) -> trimesh.Trimesh:
        """The surface in about ``faces`` triangles or more, small enough to bend where a soft body deforms."""
        mesh = self.surface_mesh()
        while len(mesh.faces) < faces / 2:
            mesh = mesh.subdivide()
        return mesh

    def contact_points(self, count: int | None = None) -> ContactPoints:
        """What stands for the shape where it touches others: balls that touch its surface from within.

        Args:
            count: about how many, at least where one is enough; None: the shape's choice.
        """
        if not self.bounded:
            return ContactPoints.balls([])
        raise TypeError(f"{type(self).__name__} defines no contact points")

    def stopping_points(self) -> ContactPoints:
        """What a tool of the shape is stopped at: balls within it that reach its surface wherever that sticks out."""
        return self.contact_points()

    @property
    def torch_distance(self) -> TorchDistance | None:
        """The signed distance and its normal in torch, differentiable; None of a shape that only kernels know."""
        return None

    @property
    def parts(self) -> tuple[Part, ...]:
        """The shapes that it consists of, each of which touches others by itself: one, but for a `Compound`."""
        return (Part(self),)

    @cached_property
    def thickness(self) -> float:
        """Diameter in metres of the largest ball within, about; of several parts, of the thinnest one. Endless shapes are
        infinitely thick, and 0 is that of a mesh without an inside."""
        if not self.bounded:
            return float("inf")
        try:
            samples = self.volume_samples(THICKNESS_SAMPLES)
        except InputError:
            return 0.0
        lower, upper = samples.min(axis=0), samples.max(axis=0)
        spacing = (self.volume / len(samples)) ** (1.0 / 3.0)
        deepest = samples[np.argmin(self.signed_distance(samples))]
        near = np.stack(np.meshgrid(*[np.linspace(-0.5, 0.5, 9)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
        around = np.clip(deepest + spacing * near, lower, upper)
        return max(-2.0 * float(self.signed_distance(around).min()), 0.0)

    @property
    def is_sphere(self) -> bool:
        """Whether one contact point stands for the shape exactly."""
        return False

    @property
    def bounding_radius(self) -> float:
        """Radius in metres of the smallest sphere about the shape's origin that holds the shape."""
        if not self.bounded:
            return float("inf")
        return float(np.linalg.norm(self.surface_mesh().vertices, axis=1).max())

    @property
    def top(self) -> float:
        """Of an unbounded shape: no point of its surface is higher in its frame, metres."""
        raise TypeError(f"{type(self).__name__} defines no top")

    @property
    def volume(self) -> float:
        """Enclosed volume in cubic metres."""
        return float(self.surface_mesh().volume) if self.bounded else float("inf")

    def mass_properties(self) -> tuple[float, np.ndarray, np.ndarray]:
        """Volume (m^3), centre of mass (3,) and the inertia matrix (3, 3) about it at 1 kg/m^3.

        Raises:
            InputError: the surface mesh encloses no volume, or is too open to have moments of inertia.
        """
        volume = self.volume
        mesh = self.surface_mesh()
        inertia = np.asarray(mesh.moment_inertia, dtype=float)
        inertia = 0.5 * (inertia + inertia.T)
        if not (volume > 0.0 and np.isfinite(inertia).all() and np.linalg.eigvalsh(inertia)[0] > 0.0):
            raise InputError(
                f"{self!r} is not closed enough to compute its mass distribution: volume {volume:.3g} m^3; close its mesh"
            )
        return volume, np.asarray(mesh.center_mass, dtype=float), inertia

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Whether each point lies inside. points (N, 3) -> bool (N,)."""
        return self.signed_distance(points) < 0.0

    def volume_samples(self, count: int) -> np.ndarray:
        """About ``count`` points on a cubic lattice inside the shape, (N, 3).

        A lattice, not uniform random points: MPM integrates the body with these as quadrature points, and clumps of
        random points break apart numerically at the particle counts of a laptop.

        Raises:
            InputError: the shape has no volume, no lattice point falls inside (the shape is thinner than the lattice at this
                count), or the lattice would not fit into memory.
        """
        if not self.bounded:
            raise TypeError(f"{type(self).__name__} is unbounded: it cannot be filled with particles")
        if count < 1:
            raise InputError(f"particles must be at least 1, got {count}")
        volume = self.volume
        if not volume > 0.0:
            raise InputError(f"{self!r} encloses no volume, so no particles fit inside")
        lower, upper = self.surface_mesh().bounds
        spacing = (volume / count) ** (1.0 / 3.0)
        while True:
            # centred, so that a symmetric shape gives a symmetric body
            cells = np.maximum(np.ceil((upper - lower) / spacing), 1.0)
            if cells.max() > LONGEST_EDGE:
                raise InputError(
                    f"{self!r} is too sparse for particles: {count} of them in {volume:.3g} m^3 lie {spacing:.3g} m "
                    f"apart, and it is {(upper - lower).max():.3g} m long; leave out far parts, or thicken it"
                )
            centre = 0.5 * (lower + upper)
            axes = [centre[i] + (np.arange(int(cells[i])) - 0.5 * (cells[i] - 1)) * spacing for i in range(3)]
            inside = self._lattice_points_inside(Lattice(*axes))
            found = len(inside)
            if found == 0:
                raise InputError(f"particles={count} is too few for {self!r}: no sample fell inside; ask for more particles")
            if found <= MOST_SURPLUS * count:
                return inside
            spacing *= (found / count) ** (1.0 / 3.0)  # one layer of a thin sheet holds more than its volume asks for

    def _lattice_points_inside(self, lattice: Lattice) -> np.ndarray:
        """The points (N, 3) of a lattice inside the shape, in ascending order.

        Raises:
            InputError: there would be too many to look at.
        """
        nodes = float(len(lattice.x)) * len(lattice.y) * len(lattice.z)
        if nodes > MOST_NODES:
            raise InputError(f"{self!r} is too thin or sparse for particles: its lattice has {nodes:.2g} points; thicken it")
        planes = max(1, int(POINTS_AT_ONCE // (len(lattice.y) * len(lattice.z))))
        found = []
        for first in range(0, len(lattice.x), planes):
            some = lattice.x[first : first + planes]
            points = np.stack(np.meshgrid(some, lattice.y, lattice.z, indexing="ij"), axis=-1).reshape(-1, 3)
            found.append(points[self.contains(points)])
        return np.concatenate(found)

    def doubtful_size(self, mass: float) -> str | None:
        """A question about the units of a shape whose size or mass (kg) no thing that moves is likely to have; None of a shape
        that was given in metres, as all but meshes are."""
        return None

    # for the kernels

    @property
    def grid_sizes(self) -> tuple[tuple[float, float, float], float, float]:
        """Of a shape that meets the grid: half extents of a box's core, radius of a torus's circle (0: a box), and the radius
        that either is grown by, m."""
        raise TypeError(f"{type(self).__name__} does not meet soft bodies on their grid")

    def kernel_numbers(self) -> Any:
        """The numbers (n,) that `distance_kernel` reads: sizes, tables; counts too, as floats."""
        raise TypeError(f"{type(self).__name__} defines no kernel_numbers")

    @staticmethod
    def distance_kernel(real: Any) -> Any:
        """The signed distance as a device function for the scalar type ``real`` (``ti.f32`` or ``ti.f64``):

            distance(numbers, at, y, second) -> phi, gradient, hessian

        Args of the device function:
            numbers, at: an array (``ti.template()``) and where this shape's `kernel_numbers` begin in it.
            y: point in the shape's frame, a vector (3).
            second: at compile time (``ti.template()``), whether the Hessian is asked for; otherwise it may be zero.

        The gradient points outward and need not have length one. Contact is differentiated through these three, so the gradient
        and the Hessian must be the derivatives of ``phi`` by ``y``.
        """
        raise TypeError("this shape defines no distance_kernel, so nothing can touch it")
