"""Where the geometries are, and their signed distances with gradients and Hessians, each in its own frame.

The distances themselves stand with the shapes (`diffsim/scene/shapes/`); here a geometry's kind picks one.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace

from diffsim.compiler import ti
from diffsim.rigid.kernels.rigid_memory import model_rows
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.rigid.rigid_records import GeometryConstants, GeometryIndices, LinkWork
from diffsim.scene.shapes import ALWAYS


def distance_stage(real, further=()) -> SimpleNamespace:
    """``place``, ``own_rotation``, ``frame``, ``ball_distance``, ``distance`` and ``surface_adjoint``, for the shapes
    `diffsim.scene.shapes.ALWAYS` and the classes ``further``."""
    vf, rows = vector_functions(real), model_rows()
    classes = (*ALWAYS, *further)
    plane, *others = enumerate(owner.distance_kernel(real) for owner in classes)
    unbounded = [kind for kind, owner in enumerate(classes) if not owner.bounded]

    @ti.func
    def place(m: ti.template(), at: ti.template(), geometry):
        """A geometry's link block, its position in the world, and the link's rotation."""
        block = rows.link_block(at, m.integers[rows.geometry_indices(m, geometry) + GeometryIndices.link])
        link_rot = vf.load_matrix(m.work, block + LinkWork.rotation)
        own = vf.load(m.reals, rows.geometry_constants(m, geometry) + GeometryConstants.position)
        return block, vf.load(m.work, block + LinkWork.position) + link_rot @ own, link_rot

    @ti.func
    def own_rotation(m: ti.template(), geometry):
        """A geometry's rotation in its link's frame."""
        return vf.load_matrix(m.reals, rows.geometry_constants(m, geometry) + GeometryConstants.rotation)

    @ti.func
    def frame(m: ti.template(), at: ti.template(), geometry):
        """A geometry's link block, and the geometry's position and rotation in the world."""
        block, position, link_rot = place(m, at, geometry)
        return block, position, link_rot @ own_rotation(m, geometry)

    @ti.func
    def ball_distance(m: ti.template(), geometry, scale, y):
        """At most the distance at a point y of a geometry's frame: that to the ball round the geometry, or the height above the
        top of one without end."""
        kind = m.integers[rows.geometry_indices(m, geometry) + GeometryIndices.distance]
        reach = scale * m.reals[rows.geometry_constants(m, geometry) + GeometryConstants.reach]
        away = y[2] - reach
        bounded = True
        for endless in ti.static(unbounded):
            bounded = bounded and kind != endless
        if bounded:
            away = ti.sqrt(y.dot(y)) - reach
        return away

    @ti.func
    def distance(m: ti.template(), geometry, scale, y, second: ti.template()):
        """Distance to a geometry of a scale, at a point y of its frame; its gradient and, with ``second``, its Hessian by y."""
        indices = rows.geometry_indices(m, geometry)
        kind, numbers = m.integers[indices + GeometryIndices.distance], m.integers[indices + GeometryIndices.numbers]
        y1 = y / scale
        phi, g, hessian = ti.static(plane[1])(m.grids, numbers, y1, second)
        for number, of_shape in ti.static(others):
            if kind == number:
                phi, g, hessian = of_shape(m.grids, numbers, y1, second)
        return scale * phi, g, hessian / scale

    @ti.func
    def surface_adjoint(rot, n_local, g, steep, hessian, n_bar, phi_bar):
        """Of the distance and the normal n = R g / |g|: adjoint of the place, in the geometry's frame (of the normal
        alone) and in the world. The normal's is that of g without its part along g, and dg = hessian dy."""
        n_local_bar = rot.transpose() @ n_bar
        g_bar = (n_local_bar - n_local * n_local.dot(n_local_bar)) / steep
        bend = hessian @ g_bar
        return bend, rot @ (bend + phi_bar * g)

    return SimpleNamespace(
        place=place, own_rotation=own_rotation, frame=frame, ball_distance=ball_distance, distance=distance,
        surface_adjoint=surface_adjoint,
    )  # fmt: skip
