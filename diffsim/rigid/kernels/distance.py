"""Where the geometries are, and their signed distances with gradients and Hessians, each in its own frame.

The distances themselves stand with the shapes (`diffsim/scene/shapes/`); here a geometry's kind picks one.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace

from diffsim.compiler import ti
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.rigid.rigid_records import (
    GEOMETRY_AT,
    GEOMETRY_INTS,
    GEOMETRY_REALS,
    LINK,
    R_GEOMETRY_AT,
    P,
    R,
)  # fmt: skip
from diffsim.scene.shapes.distance_kinds import ALWAYS


def distance_stage(real, further=()) -> SimpleNamespace:
    """``frame``, ``ball_distance`` and ``distance``, for the shapes of `distance_kinds.ALWAYS` and the classes ``further``."""
    vf = vector_functions(real)
    classes = (*ALWAYS, *further)
    plane, *others = enumerate(owner.distance_kernel(real) for owner in classes)
    unbounded = [kind for kind, owner in enumerate(classes) if not owner.bounded]

    @ti.func
    def frame(integers: ti.template(), reals: ti.template(), work: ti.template(), base, geometry):
        """A geometry's link block, and the geometry's position and rotation in the world."""
        at = base + LINK * integers[integers[GEOMETRY_AT] + GEOMETRY_INTS * geometry]
        own = integers[R_GEOMETRY_AT] + GEOMETRY_REALS * geometry
        rot = vf.load_matrix(work, at + R)
        return at, vf.load(work, at + P) + rot @ vf.load(reals, own), rot @ vf.load_matrix(reals, own + 3)

    @ti.func
    def ball_distance(integers: ti.template(), reals: ti.template(), geometry, scale, y):
        """At most the distance at a point y of a geometry's frame: that to the ball round the geometry, or the height above the
        top of one without end."""
        kind = integers[integers[GEOMETRY_AT] + GEOMETRY_INTS * geometry + 1]
        reach = scale * reals[integers[R_GEOMETRY_AT] + GEOMETRY_REALS * geometry + 17]
        away = y[2] - reach
        bounded = True
        for endless in ti.static(unbounded):
            bounded = bounded and kind != endless
        if bounded:
            away = ti.sqrt(y.dot(y)) - reach
        return away

    @ti.func
    def distance(
        integers: ti.template(), reals: ti.template(), grids: ti.template(), geometry, scale, y, second: ti.template(),
    ):  # fmt: skip
        """Distance to a geometry of a scale, at a point y of its frame; its gradient and, with ``second``, its Hessian by y."""
        row = integers[GEOMETRY_AT] + GEOMETRY_INTS * geometry
        kind, at = integers[row + 1], integers[row + 4]
        y1 = y / scale
        phi, g, hessian = ti.static(plane[1])(grids, at, y1, second)
        for number, of_shape in ti.static(others):
            if kind == number:
                phi, g, hessian = of_shape(grids, at, y1, second)
        return scale * phi, g, hessian / scale

    return SimpleNamespace(frame=frame, ball_distance=ball_distance, distance=distance)
