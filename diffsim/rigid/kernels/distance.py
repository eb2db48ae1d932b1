"""Where the geometries are, and their signed distances with gradients and Hessians, each in its own frame."""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace

from diffsim.compiler import ti
from diffsim.rigid.kernels.rigid_memory import model_rows
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.rigid.rigid_records import (
    CYLINDER,
    GRID,
    PLANE,
    ROUNDED_BOX,
    TORUS,
    GeometryConstants,
    GeometryIndices,
    LinkWork,
)


def distance_stage(real) -> SimpleNamespace:
    """``frame``, ``ball_distance`` and ``distance``."""
    vf, rows = vector_functions(real), model_rows()
    vec3, mat3 = vf.vec3, vf.mat3
    tiny = 1e-30

    @ti.func
    def frame(m: ti.template(), at: ti.template(), geometry):
        """A geometry's link block, and the geometry's position and rotation in the world."""
        block = rows.link_block(at, m.integers[rows.geometry_indices(m, geometry) + GeometryIndices.link])
        own = rows.geometry_constants(m, geometry)
        rot = vf.load_matrix(m.work, block + LinkWork.rotation)
        position = vf.load(m.work, block + LinkWork.position) + rot @ vf.load(m.reals, own + GeometryConstants.position)
        return block, position, rot @ vf.load_matrix(m.reals, own + GeometryConstants.rotation)

    @ti.func
    def ball_distance(m: ti.template(), geometry, scale, y):
        """At most the distance at a point y of a geometry's frame: that to the plane, or to the ball round the geometry."""
        away = y[2]
        if m.integers[rows.geometry_indices(m, geometry) + GeometryIndices.distance] != PLANE:
            radius = m.reals[rows.geometry_constants(m, geometry) + GeometryConstants.bounding_radius]
            away = ti.sqrt(y.dot(y)) - scale * radius
        return away

    @ti.func
    def rounded_box(y, core, radius, second: ti.template()):
        beyond = vec3(ti.abs(y[0]) - core[0], ti.abs(y[1]) - core[1], ti.abs(y[2]) - core[2])
        side = vec3(ti.select(y[0] < 0.0, -1.0, 1.0), ti.select(y[1] < 0.0, -1.0, 1.0), ti.select(y[2] < 0.0, -1.0, 1.0))
        deepest = ti.max(beyond[0], ti.max(beyond[1], beyond[2]))
        phi, g = deepest - radius, vec3(0.0, 0.0, 0.0)
        hessian = mat3(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        if deepest > 0.0:
            zero = ti.cast(0.0, real)
            outside = vec3(ti.max(beyond[0], zero), ti.max(beyond[1], zero), ti.max(beyond[2], zero))
            length = ti.sqrt(outside.dot(outside))
            phi = length - radius
            g = side * outside / length
            if ti.static(second):
                for i, j in ti.static(ti.ndrange(3, 3)):
                    # an axis without extent is outside even at 0
                    if (beyond[i] > 0.0 or core[i] == 0.0) and (beyond[j] > 0.0 or core[j] == 0.0):
                        hessian[i, j] = (ti.static(1.0 if i == j else 0.0) - g[i] * g[j]) / length
        else:
            axis = 2
            if beyond[0] == deepest:
                axis = 0
            elif beyond[1] == deepest:
                axis = 1
            g = vec3(ti.select(axis == 0, side[0], 0.0), ti.select(axis == 1, side[1], 0.0), ti.select(axis == 2, side[2], 0.0))
        return phi, g, hessian

    @ti.func
    def of_revolution(y, kind, half, radius, rounding, second: ti.template()):
        """Cylinder or torus about z: a distance in the plane of (distance from the axis, height)."""
        rho = ti.sqrt(y[0] * y[0] + y[1] * y[1] + ti.cast(tiny, real))
        out, tangent = vec3(y[0] / rho, y[1] / rho, 0.0), vec3(-y[1] / rho, y[0] / rho, 0.0)
        dr, dz, side = rho - radius, ti.abs(y[2]) - half, ti.select(y[2] < 0.0, ti.cast(-1.0, real), ti.cast(1.0, real))
        phi, nr, nz, bend = dr, ti.cast(1.0, real), ti.cast(0.0, real), ti.cast(0.0, real)
        if kind == TORUS or (dr > 0.0 and dz > 0.0):
            phi = ti.sqrt(dr * dr + dz * dz + ti.cast(tiny, real))
            nr, nz, bend = dr / phi, dz / phi, 1.0 / phi
        elif dz > dr:
            phi, nr, nz = dz, ti.cast(0.0, real), ti.cast(1.0, real)
        nz = nz * side
        g = vec3(nr * out[0], nr * out[1], nz)
        across = vec3(-nz * out[0], -nz * out[1], nr)  # the direction in the plane in which the distance bends
        curve = nr / rho
        hessian = mat3(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        if ti.static(second):
            for i, j in ti.static(ti.ndrange(3, 3)):
                hessian[i, j] = bend * across[i] * across[j] + curve * tangent[i] * tangent[j]
        return phi - rounding, g, hessian

    @ti.func
    def spline(t, a, inverse):
        """Weight of node ``a`` of three, its slope and curvature, at t in [0.5, 1.5] from the first (quadratic B-spline)."""
        first, last = 1.5 - t, t - 0.5
        w = vec3(0.75 - (t - 1.0) * (t - 1.0), (2.0 - 2.0 * t) * inverse, -2.0 * inverse * inverse)
        if a == 0:
            w = vec3(0.5 * first * first, -first * inverse, inverse * inverse)
        elif a == 2:
            w = vec3(0.5 * last * last, last * inverse, inverse * inverse)
        return w

    @ti.func
    def shifted(w, axis, shift):
        """Weights for the derivative of everything along an axis."""
        result = w
        if axis == shift:
            result = vec3(w[1], w[2], 0.0)
        return result

    @ti.func
    def contract(grids: ti.template(), first, stride_x, stride_y, t, inverse, shift, second: ti.template()):
        """Value, gradient and Hessian of the spline, or of its derivative along the axis ``shift``."""
        F, G = ti.cast(0.0, real), vec3(0.0, 0.0, 0.0)
        xx, yy, zz, yz, xz, xy = F, F, F, F, F, F
        for a in range(3):
            wx = shifted(spline(t[0], a, inverse), 0, shift)
            for b in range(3):
                wy = shifted(spline(t[1], b, inverse), 1, shift)
                line = vec3(0.0, 0.0, 0.0)
                for c in ti.static(range(3)):
                    line = line + grids[first + a * stride_x + b * stride_y + c] * shifted(spline(t[2], c, inverse), 2, shift)
                F = F + wx[0] * wy[0] * line[0]
                G = G + vec3(wx[1] * wy[0] * line[0], wx[0] * wy[1] * line[0], wx[0] * wy[0] * line[1])
                if ti.static(second):
                    xx, yy, zz = xx + wx[2] * wy[0] * line[0], yy + wx[0] * wy[2] * line[0], zz + wx[0] * wy[0] * line[2]
                    yz, xz, xy = yz + wx[0] * wy[1] * line[1], xz + wx[1] * wy[0] * line[1], xy + wx[1] * wy[1] * line[0]
        return F, G, mat3(xx, xy, xz, xy, yy, yz, xz, yz, zz)

    @ti.func
    def of_grid(m: ti.template(), indices, constants, y, second: ti.template()):
        """The baked distance; beyond the grid, that to the surface point below the nearest point of the grid's box. The formula
        is that of `diffsim.scene.meshes.mesh_distance.DistanceGrid.evaluate`."""
        spacing = m.reals[constants + GeometryConstants.grid_spacing]
        stride_y = m.integers[indices + ti.static(GeometryIndices.grid_nodes + 2)]
        stride_x = m.integers[indices + ti.static(GeometryIndices.grid_nodes + 1)] * stride_y
        strides = ti.Vector([stride_x, stride_y, 1])
        t, beyond = vec3(0.0, 0.0, 0.0), vec3(0.0, 0.0, 0.0)
        first, outside = m.integers[indices + GeometryIndices.grid], 0
        for i in ti.static(range(3)):
            count = m.integers[indices + ti.static(GeometryIndices.grid_nodes + i)]
            u = (y[i] - m.reals[constants + ti.static(GeometryConstants.grid_origin + i)]) / spacing
            inside = ti.min(ti.max(u, ti.cast(0.5, real)), ti.cast(count, real) - 1.5)
            node = ti.min(ti.cast(ti.floor(inside - 0.5), ti.i32), count - 3)
            t[i] = inside - ti.cast(node, real)
            beyond[i] = spacing * (u - inside)
            first += node * strides[i]
            outside += ti.cast(u != inside, ti.i32)
        F, G, hessian = contract(m.grids, first, stride_x, stride_y, t, 1.0 / spacing, -1, second)
        if outside > 0:
            A, A1 = ti.cast(0.0, real), vec3(0.0, 0.0, 0.0)
            A2 = mat3(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
            for i in range(3):
                d = ti.select(i == 0, beyond[0], ti.select(i == 1, beyond[1], beyond[2]))
                if d != 0.0:
                    Fi, Gi, Hi = contract(m.grids, first, stride_x, stride_y, t, 1.0 / spacing, i, second)
                    A, A1, A2 = A + d * Fi, A1 + d * Gi, A2 + d * Hi
            f = ti.sqrt(F * F + 2.0 * F * A + beyond.dot(beyond))
            slope = vec3(0.0, 0.0, 0.0)
            bend = mat3(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
            for i in ti.static(range(3)):
                slope[i] = (F * G[i] + ti.select(beyond[i] != 0.0, beyond[i], A * G[i] + F * A1[i])) / f
            if ti.static(second):
                for i, j in ti.static(ti.ndrange(3, 3)):
                    mixed = G[i] * G[j] + F * hessian[i, j]
                    if beyond[i] != 0.0 and beyond[j] != 0.0:
                        mixed = ti.cast(ti.static(1.0 if i == j else 0.0), real)
                    elif beyond[i] == 0.0 and beyond[j] == 0.0:
                        mixed = mixed + A * hessian[i, j] + G[i] * A1[j] + A1[i] * G[j] + F * A2[i, j]
                    bend[i, j] = (mixed - slope[i] * slope[j]) / f
            F, G, hessian = f, slope, bend
        return F, G, hessian

    @ti.func
    def distance(m: ti.template(), geometry, scale, y, second: ti.template()):
        """Distance to a geometry of a scale, at a point y of its frame; its gradient and, with ``second``, its Hessian by y."""
        indices, constants = rows.geometry_indices(m, geometry), rows.geometry_constants(m, geometry)
        shape = constants + GeometryConstants.shape
        kind = m.integers[indices + GeometryIndices.distance]
        y1 = y / scale
        phi, g = y1[2], vec3(0.0, 0.0, 1.0)
        hessian = mat3(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        if kind == ROUNDED_BOX:
            phi, g, hessian = rounded_box(y1, vf.load(m.reals, shape), m.reals[shape + 3], second)
        elif kind == CYLINDER or kind == TORUS:
            phi, g, hessian = of_revolution(y1, kind, m.reals[shape], m.reals[shape + 1], m.reals[shape + 3], second)
        elif kind == GRID:
            phi, g, hessian = of_grid(m, indices, constants, y1, second)
        return scale * phi, g, hessian / scale

    return SimpleNamespace(frame=frame, ball_distance=ball_distance, distance=distance)
