"""Where the balls are that stand for a geometry in contact (`diffsim.scene.shapes.contact_balls`); forward beside adjoint.

Points are visited in their order. At those that only look, the caller keeps the other surface's normal, in the geometry's
frame: the ``view`` of the points that follow; and the ``search`` along an axis, which says how far those have slid along it.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace

from diffsim.compiler import ti
from diffsim.records import Record, field
from diffsim.rigid.kernels.rigid_memory import model_rows
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.rigid.rigid_records import PLANE, GeometryConstants, GeometryIndices, Header, Point
from diffsim.scene.shapes.contact_balls import CENTER, DEEPEST, FLAT, LEVEL, MIDDLE, SEEK, SPOKE


class Search(Record):
    """A search for where an axis is nearest to a surface: the zero of F(s) = view_z + LEVEL s / half, by regula falsi."""

    slid = field(1, "m", "s at scale 1, from the axis' middle: where to look next")
    half = field(1, "m", "half of the axis' length; 0: there is no axis")
    low = field(1, "m", "F is negative there")
    high = field(1, "m", "F is positive there")
    f_low = field(1, "1", "0 where it is not known")
    f_high = field(1, "1", "0 where it is not known")
    side = field(1, "1", "whether F was last negative, -1, or positive, 1")


def point_stage(real) -> SimpleNamespace:
    """``end_point``, ``point_row``, ``looks``, ``moves``, ``ball``, ``look`` and their adjoints, ``ball_adjoint`` and
    ``look_adjoint``; ``ahead`` and ``start``, a view and a search to begin with."""
    vf, rows = vector_functions(real), model_rows()
    vec3, load = vf.vec3, vf.load
    search_type = ti.types.vector(Search.SIZE, real)

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
    def ahead():
        return vec3(0.0, 0.0, 1.0)

    @ti.func
    def start():
        return search_type(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)

    @ti.func
    def looks(m: ti.template(), row):
        """Whether a point only looks at the other surface."""
        kind = m.reals[row + Point.kind]
        return kind >= CENTER and kind <= SEEK

    @ti.func
    def moves(m: ti.template(), row):
        """Whether a ball is where the view and the search say."""
        return m.reals[row + Point.kind] > SEEK

    @ti.func
    def steepness(square, view):
        """Of the ellipsoid with these squares of its semi-axes: A n; h^2; 1 / h, or the parabola that continues it below FLAT;
        and its derivative by h over h."""
        An = square * view
        h2, flat2 = view.dot(An), ti.static(FLAT * FLAT) * square.max()
        h, flat = ti.sqrt(h2), ti.sqrt(flat2)
        inverse = (1.5 - 0.5 * h2 / flat2) / flat
        slope = -1.0 / (flat2 * flat)
        if h2 > flat2:
            inverse = 1.0 / h
            slope = -inverse * inverse * inverse
        return An, h2, inverse, slope

    @ti.func
    def ball(m: ti.template(), geometry, row, view, search):
        """At scale 1: a ball's centre from the geometry's origin, in the link's axes, and its radius; ``view`` is a unit
        vector."""
        own, radius, kind = load(m.reals, row + Point.position), m.reals[row + Point.radius], m.reals[row + Point.kind]
        if kind > MIDDLE:
            shift, extent = vec3(0.0, 0.0, search[Search.slid]), load(m.reals, row + Point.extent)
            if kind == DEEPEST:
                An, h2, inverse, _slope = steepness(extent * extent, view)
                shift = shift - inverse * An
                radius = radius - m.reals[row + Point.shrinkage] * (1.0 - h2 * inverse * inverse)
            elif kind == SPOKE:
                aslant = view[0] * view[0] + view[1] * view[1]
                shift = shift + (1.0 - m.reals[row + Point.retreat] * aslant) * extent
                radius = radius - m.reals[row + Point.shrinkage] * aslant
            own = own + vf.load_matrix(m.reals, rows.geometry_constants(m, geometry) + GeometryConstants.rotation) @ shift
        return own, radius

    @ti.func
    def ball_adjoint(m: ti.template(), geometry, row, view, own_bar, radius_bar):
        """Of a ball that moves: adjoints of the view and of how far it has slid."""
        rot = vf.load_matrix(m.reals, rows.geometry_constants(m, geometry) + GeometryConstants.rotation)
        shift_bar, extent = rot.transpose() @ own_bar, load(m.reals, row + Point.extent)
        aslant_bar = -m.reals[row + Point.retreat] * extent.dot(shift_bar) - m.reals[row + Point.shrinkage] * radius_bar
        view_bar = vec3(2.0 * aslant_bar * view[0], 2.0 * aslant_bar * view[1], 0.0)
        if m.reals[row + Point.kind] == DEEPEST:
            square = extent * extent
            An, h2, inverse, slope = steepness(square, view)
            An_bar = 2.0 * m.reals[row + Point.shrinkage] * radius_bar * inverse * (inverse + h2 * slope)
            view_bar = -inverse * square * shift_bar + (An_bar - slope * An.dot(shift_bar)) * An
        return view_bar, shift_bar[2]

    @ti.func
    def look(m: ti.template(), row, search, view):
        """The search after a look."""
        kind, half = m.reals[row + Point.kind], m.reals[row + ti.static(Point.columns("extent")[2])]
        s, low, high = search[Search.slid], search[Search.low], search[Search.high]
        f_low, f_high, side = search[Search.f_low], search[Search.f_high], search[Search.side]
        if kind == CENTER:
            s, half = ti.cast(0.0, real), ti.cast(0.0, real)
        elif kind == MIDDLE:
            # one half is left
            s, low, high, f_low, f_high, side = half, ti.cast(0.0, real), half, view[2], ti.cast(0.0, real), ti.cast(0.0, real)
            if view[2] > 0.0:
                s, low, high, f_low, f_high = -half, -half, ti.cast(0.0, real), ti.cast(0.0, real), view[2]
        elif low < high:
            f = view[2] + ti.static(LEVEL) * s / half
            if (s == half and f <= 0.0) or (s == -half and f >= 0.0):  # an end is nearest
                low, high = s, s
            else:
                # Illinois: the value of an end that stays is halved
                if f < 0.0:
                    if side < 0.0:
                        f_high = 0.5 * f_high
                    low, f_low, side = s, f, ti.cast(-1.0, real)
                else:
                    if side > 0.0:
                        f_low = 0.5 * f_low
                    high, f_high, side = s, f, ti.cast(1.0, real)
                s = (low * f_high - high * f_low) / ti.max(f_high - f_low, ti.static(2.0**-100))
        return search_type(s, half, low, high, f_low, f_high, side)

    @ti.func
    def look_adjoint(search, slid_bar, bend):
        """Adjoint of the view's z by where the axis is nearest, F(s) = 0; ``bend`` is the derivative of that z by s."""
        half, z_bar = search[Search.half], ti.cast(0.0, real)
        if half > 0.0 and ti.abs(search[Search.slid]) < half:
            z_bar = -slid_bar / (bend + ti.static(LEVEL) / half)
        return z_bar

    return SimpleNamespace(
        end_point=end_point, point_row=point_row, ahead=ahead, start=start, looks=looks, moves=moves, ball=ball,
        ball_adjoint=ball_adjoint, look=look, look_adjoint=look_adjoint,
    )  # fmt: skip
