"""The nodes of one particle, by quadratic B-splines: where the first stands, and the weights along an axis. (The stencil of a
tile of particles is in `tile_stencil`.)"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any

from diffsim.compiler import ti
from diffsim.soft.kernels.boxes import low
from diffsim.soft.soft_records import Constants, Sizes


def spline_nodes(real: Any) -> SimpleNamespace:
    """``along``, ``weights`` and ``slopes``; ``soft`` and ``step`` as in `diffsim.soft.kernels.soft_memory`."""
    vec3 = ti.types.vector(3, real)

    @ti.func
    def along(soft: ti.template(), step: ti.template(), x, axis: ti.template()):
        """The first of three nodes along an axis within the box, for a coordinate x, and where x is from there, in cells."""
        scaled = (x - soft.constants[Constants.origin + axis]) * (1.0 / soft.constants[Constants.dx])
        cell = ti.cast(ti.max(scaled, 0.5) - 0.5, ti.i32)
        first = ti.max(ti.min(cell, soft.sizes[Sizes.counts + axis] - 3), 0)
        return first - low(soft.boxes, step.box, axis), scaled - ti.cast(first, real)

    @ti.func
    def weights(f):
        """Of the three nodes."""
        return vec3(0.5 * (1.5 - f) * (1.5 - f), 0.75 - (f - 1.0) * (f - 1.0), 0.5 * (f - 0.5) * (f - 0.5))

    @ti.func
    def slopes(soft: ti.template(), f):
        """Of the weights, by the coordinate."""
        inverse = 1.0 / soft.constants[Constants.dx]
        return vec3((f - 1.5) * inverse, (2.0 - 2.0 * f) * inverse, (f - 0.5) * inverse)

    return SimpleNamespace(along=along, weights=weights, slopes=slopes)
