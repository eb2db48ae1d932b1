"""Where the balls are that stand for a geometry in contact (`diffsim.scene.shapes.contact_balls`); forward beside adjoint.

Points are visited in their order. At a CENTER the caller keeps the other surface's normal, in the geometry's frame: the ``view``
of the points that follow.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace

from diffsim.compiler import ti
from diffsim.rigid.kernels.rigid_memory import model_rows
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.rigid.rigid_records import PLANE, GeometryConstants, GeometryIndices, Header, Point
from diffsim.scene.shapes.contact_balls import CENTER, DEEPEST, FLAT


def point_stage(real) -> SimpleNamespace:
    """``end_point``, ``point_row``, ``is_center``, ``moves``, ``ball`` and ``ball_adjoint``."""
    vf, rows = vector_functions(real), model_rows()
    load = vf.load

    @ti.func
    def end_point(m: ti.template(), a, b):
        """One past the last point of geometry a that meets geometry b: planes meet fewer."""
        indices = rows.geometry_indices(m, a)
        end = m.integers[indices + GeometryIndices.end_point]
        if m.integers[rows.geometry_indices(m, b) + GeometryIndices.distance] == PLANE:
            end = m.integers[indices + GeometryIndices.end_plane_point]
        return end

    @ti.func
    def point_row(m: ti.template(), point):
        return m.integers[Header.points] + Point.SIZE * point

    @ti.func
    def is_center(m: ti.template(), row):
        return m.reals[row + Point.kind] == CENTER

    @ti.func
    def moves(m: ti.template(), row):
        """Whether the view decides where the point is."""
        return m.reals[row + Point.kind] > CENTER

    @ti.func
    def steepness(square, view):
        """Of the ellipsoid with these squares of its semi-axes: A n; 1 / h or the parabola that continues it below FLAT; its
        derivative by h over h."""
        An = square * view
        h2, flat2 = view.dot(An), ti.static(FLAT * FLAT) * square.max()
        h, flat = ti.sqrt(h2), ti.sqrt(flat2)
        inverse = (1.5 - 0.5 * h2 / flat2) / flat
        slope = -1.0 / (flat2 * flat)
        if h2 > flat2:
            inverse = 1.0 / h
            slope = -inverse * inverse * inverse
        return An, inverse, slope

    @ti.func
    def ball(m: ti.template(), geometry, row, view):
        """At scale 1: a ball's centre from the geometry's origin, in the link's axes, and its radius; ``view`` is a unit
        vector."""
        own, radius = load(m.reals, row + Point.position), m.reals[row + Point.radius]
        if moves(m, row):
            extent = load(m.reals, row + Point.extent)
            aslant = view[0] * view[0] + view[1] * view[1]
            shift = (1.0 - m.reals[row + Point.retreat] * aslant) * extent
            radius = radius - m.reals[row + Point.shrinkage] * aslant
            if m.reals[row + Point.kind] == DEEPEST:
                An, inverse, _slope = steepness(extent * extent, view)
                shift = -inverse * An
            own = own + vf.load_matrix(m.reals, rows.geometry_constants(m, geometry) + GeometryConstants.rotation) @ shift
        return own, radius

    @ti.func
    def ball_adjoint(m: ti.template(), geometry, row, view, own_bar, radius_bar):
        """Adjoint of the view of a point that moves."""
        rot = vf.load_matrix(m.reals, rows.geometry_constants(m, geometry) + GeometryConstants.rotation)
        shift_bar, extent = rot.transpose() @ own_bar, load(m.reals, row + Point.extent)
        aslant_bar = -m.reals[row + Point.retreat] * extent.dot(shift_bar) - m.reals[row + Point.shrinkage] * radius_bar
        share = 2.0 * aslant_bar
        view_bar = vf.vec3(share * view[0], share * view[1], 0.0)
        if m.reals[row + Point.kind] == DEEPEST:
            square = extent * extent
            An, inverse, slope = steepness(square, view)
            view_bar = -inverse * square * shift_bar - slope * An.dot(shift_bar) * An
        return view_bar

    return SimpleNamespace(
        end_point=end_point, point_row=point_row, is_center=is_center, moves=moves, ball=ball, ball_adjoint=ball_adjoint
    )
