"""Contact of a grid node's velocity: colliders with Coulomb friction, the ground, the domain's walls; forward beside adjoint.

A collider is a rounded box (core half extents, radius) or a torus (radii of its circle and of its tube). Its contact acts with
the weight w(phi), a smooth step from 1 inside to 0 over a layer of one cell around the surface, so that positions of colliders
have a gradient too:
    r = v - v_collider(x),  r' = coulomb(r, n),  v' = v + w (r' - r)
With a decay it is exp(-decay phi) outside, up to the layer, and 1 inside (PlasticineLab, Huang et al. 2021).
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any, NamedTuple

from diffsim.compiler import compile_time, ti
from diffsim.scene.shapes.rounded_box import rounded_box_functions
from diffsim.scene.shapes.torus import circle_functions


@compile_time
class Collider(NamedTuple):
    """A rounded box or, with a circle's radius above 0, a torus: core half extents, circle and radius; where the contact layer
    ends, decay of the contact (`Constants`), friction; position p and rotation matrix R; velocity V of its origin and angular
    velocity omega."""

    core: Any
    circle: Any
    radius: Any
    layer: Any
    decay: Any
    friction: Any
    p: Any
    R: Any
    V: Any
    omega: Any


@compile_time
class Bounds(NamedTuple):
    """The ground and the domain: highest place of nodes on the ground, its friction, nodes on the walls (`Constants`)."""

    ground: Any
    ground_friction: Any
    lower: Any
    upper: Any


def grid_contact(real: Any) -> SimpleNamespace:
    """The contact's device functions for scalar type ``real``."""
    vec3 = ti.types.vector(3, real)
    mat3 = ti.types.matrix(3, 3, real)
    box, ring = rounded_box_functions(real), circle_functions(real)
    tiny = 1e-20

    @ti.func
    def coulomb(r: vec3, n: vec3, friction: real):
        """Relative velocity after one-sided contact with normal n and implicit Coulomb friction."""
        result = r
        normal_speed = r.dot(n)
        if normal_speed < 0.0:
            tangent = r - normal_speed * n
            speed = ti.sqrt(tangent.dot(tangent)) + tiny
            result = ti.max(1.0 + friction * normal_speed / speed, 0.0) * tangent
        return result

    @ti.func
    def coulomb_adjoint(r: vec3, n: vec3, friction: real, result_bar: vec3):
        """Adjoints of r, n and friction. Where it touches, with r_n = r . n and r_t = r - r_n n, the result is k r_t,
        k = 1 + friction r_n / |r_t|, and
        dk = (d friction r_n + friction d r_n) / |r_t| - friction r_n (r_t . d r_t) / |r_t|^3."""
        r_bar = result_bar
        n_bar = vec3(0.0)
        friction_bar = ti.cast(0.0, real)
        normal_speed = r.dot(n)
        if normal_speed < 0.0:
            tangent = r - normal_speed * n
            speed = ti.sqrt(tangent.dot(tangent)) + tiny
            direction, slip = tangent / speed, normal_speed / speed  # a power of a tiny speed would vanish in f32
            scale = 1.0 + friction * slip
            tangent_bar = vec3(0.0)
            normal_speed_bar = ti.cast(0.0, real)
            if scale > 0.0:
                along = result_bar.dot(direction)
                normal_speed_bar = along * friction
                friction_bar = along * normal_speed
                tangent_bar = scale * result_bar - friction * slip * along * direction
            normal_speed_bar -= tangent_bar.dot(n)
            r_bar = tangent_bar + normal_speed_bar * n
            n_bar = normal_speed_bar * r - normal_speed * tangent_bar
        return r_bar, n_bar, friction_bar

    @ti.func
    def contact_weight(phi: real, layer: real, decay: real):
        """Weight of contact at phi < layer, and its slope: a smooth step from 1 at -layer to 0 at layer, or with a decay
        exp(-decay phi) outside."""
        s = ti.max(ti.min((layer - phi) / (2.0 * layer), 1.0), 0.0)
        w, slope = s * s * (3.0 - 2.0 * s), -3.0 * s * (1.0 - s) / layer
        if decay > 0.0:
            w = ti.exp(-decay * ti.max(phi, 0.0))
            slope = ti.select(phi > 0.0, -decay * w, 0.0)
        return w, slope

    @ti.func
    def surface(local: vec3, collider: ti.template()):
        """Signed distance of a point in the collider's frame, its gradient, and the distance from the core, 0 within it."""
        distance, normal, length = box.surface(local, collider.core)
        if collider.circle > 0.0:
            distance, normal = ring.surface(local, collider.circle)
            length = distance
        return distance - collider.radius, normal, length

    @ti.func
    def hessian_product(local: vec3, collider: ti.template(), normal: vec3, length: real, vector: vec3):
        """The Hessian of the signed distance times a vector, given what `surface` says there."""
        result = box.hessian_product(local, collider.core, normal, length, vector)
        if collider.circle > 0.0:
            result = ring.hessian_product(local, normal, length, vector)
        return result

    @ti.func
    def collide(v: vec3, x: vec3, collider: ti.template()):
        """Velocity of a node at x after one collider."""
        p, R, layer, decay, friction = ti.static((collider.p, collider.R, collider.layer, collider.decay, collider.friction))
        result = v
        arm = x - p
        phi, local_normal, _length = surface(R.transpose() @ arm, collider)
        if phi < layer:
            w, _slope = contact_weight(phi, layer, decay)
            r = v - collider.V - collider.omega.cross(arm)
            result = v + w * (coulomb(r, R @ local_normal, friction) - r)
        return result

    @ti.func
    def collide_adjoint(v: vec3, x: vec3, collider: ti.template(), result_bar: vec3):
        """Adjoints of v, p, R, V, omega and friction. y = R^T (x - p) is where the node is in the collider's frame; phi(y) has
        the gradient n and its Hessian turns n, so that y_bar = phi_bar n + H n_bar."""
        p, R, layer, decay, friction = ti.static((collider.p, collider.R, collider.layer, collider.decay, collider.friction))
        v_bar = result_bar
        p_bar = vec3(0.0)
        R_bar = mat3(0.0)
        V_bar = vec3(0.0)
        omega_bar = vec3(0.0)
        friction_bar = ti.cast(0.0, real)
        arm = x - p
        local = R.transpose() @ arm
        phi, local_normal, length = surface(local, collider)
        if phi < layer:
            w, slope = contact_weight(phi, layer, decay)
            normal = R @ local_normal
            r = v - collider.V - collider.omega.cross(arm)
            w_bar = result_bar.dot(coulomb(r, normal, friction) - r)
            r_bar, normal_bar, friction_bar = coulomb_adjoint(r, normal, friction, w * result_bar)
            r_bar = r_bar - w * result_bar
            v_bar = v_bar + r_bar
            V_bar = -1.0 * r_bar
            omega_bar = r_bar.cross(arm)
            local_bar = w_bar * slope * local_normal + hessian_product(
                local, collider, local_normal, length, R.transpose() @ normal_bar
            )
            R_bar = normal_bar.outer_product(local_normal) + arm.outer_product(local_bar)
            p_bar = r_bar.cross(collider.omega) - R @ local_bar
        return v_bar, p_bar, R_bar, V_bar, omega_bar, friction_bar

    @ti.func
    def meet_ground(v: vec3, x: vec3, bounds: ti.template()):
        """Node velocity after the ground, with friction."""
        result = v
        if x[2] <= bounds.ground:
            result = coulomb(result, vec3(0.0, 0.0, 1.0), bounds.ground_friction)
        return result

    @ti.func
    def meet_ground_adjoint(v: vec3, x: vec3, bounds: ti.template(), result_bar: vec3):
        """Adjoints of v and of the ground's friction."""
        v_bar = result_bar
        friction_bar = ti.cast(0.0, real)
        if x[2] <= bounds.ground:
            v_bar, _up_bar, friction_bar = coulomb_adjoint(v, vec3(0.0, 0.0, 1.0), bounds.ground_friction, result_bar)
        return v_bar, friction_bar

    @ti.func
    def meet_walls(v: vec3, x: vec3, bounds: ti.template()):
        """Node velocity after the domain's walls, frictionless and one-sided."""
        result = v
        for i in ti.static(range(3)):
            if x[i] <= bounds.lower[i]:
                result[i] = ti.max(result[i], 0.0)
            if x[i] >= bounds.upper[i]:
                result[i] = ti.min(result[i], 0.0)
        return result

    @ti.func
    def meet_walls_adjoint(v: vec3, x: vec3, bounds: ti.template(), result_bar: vec3):
        """Adjoint of v."""
        v_bar = result_bar
        for i in ti.static(range(3)):
            blocked_below = x[i] <= bounds.lower[i] and v[i] < 0.0
            blocked_above = x[i] >= bounds.upper[i] and v[i] > 0.0
            if blocked_below or blocked_above:
                v_bar[i] = 0.0
        return v_bar

    return SimpleNamespace(
        collide=collide, collide_adjoint=collide_adjoint, meet_ground=meet_ground, meet_ground_adjoint=meet_ground_adjoint,
        meet_walls=meet_walls, meet_walls_adjoint=meet_walls_adjoint,
    )  # fmt: skip
