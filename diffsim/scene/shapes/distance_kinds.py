"""How the kernels tell shapes apart: each class with a signed distance of its own has a number, its kind.

Kernels always hold the distances of `ALWAYS`, so that scenes of these shapes share compiled kernels. Any other class, of this
package or of a user, is compiled into the kernels of the scenes that use it.
"""

from collections.abc import Iterable

from diffsim.scene.shapes.cylinder import Cylinder
from diffsim.scene.shapes.plane import Plane
from diffsim.scene.shapes.rounded_box import RoundedBox
from diffsim.scene.shapes.shape import Shape
from diffsim.scene.shapes.torus import Torus
from diffsim.scene.shapes.triangle_mesh import TriangleMesh

ALWAYS: tuple[type[Shape], ...] = (Plane, RoundedBox, Cylinder, Torus, TriangleMesh)


def distance_class(shape: Shape) -> type[Shape]:
    """The class whose `distance_kernel` a shape has: its own, or the nearest base class that defines one.

    Raises:
        TypeError: none does.
    """
    for owner in type(shape).__mro__:
        if owner is not Shape and "distance_kernel" in vars(owner):
            return owner
    raise TypeError(f"{type(shape).__name__} defines no distance_kernel, so nothing can touch it")


def further_classes(shapes: Iterable[Shape]) -> tuple[type[Shape], ...]:
    """The classes beyond `ALWAYS` whose distances the kernels of a scene need, in an order that scenes share."""
    found = {distance_class(shape) for shape in shapes} - set(ALWAYS)
    return tuple(sorted(found, key=lambda owner: (owner.__module__, owner.__qualname__)))


def distance_kind(shape: Shape, further: tuple[type[Shape], ...]) -> int:
    """A shape's kind in kernels that hold the distances of `ALWAYS` and of ``further``."""
    return (*ALWAYS, *further).index(distance_class(shape))
