"""How the kernels tell shapes apart: each class with a signed distance of its own has a number, its kind.

Kernels always hold the distances of `diffsim.scene.shapes.ALWAYS`, so that scenes of these shapes share compiled kernels. Any
other class, of this package or of a user, is compiled into the kernels of the scenes that use it.
"""

from collections.abc import Iterable

from diffsim.scene.shapes import ALWAYS, Shape


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
