"""Event mode: the law of an impact at one point, and its adjoint.

First the normal impulse, j = -(1 + e) n.u / (n.K n), then friction with the velocities after it, along t = u_t / |u_t|, of size
min(mu j, |u_t| / (t.K t)). K is the inverse inertia of the point: the sum over both bodies of
x -> x / m + (M (s x x)) x s, with M the inverse inertia about the centre of mass and s the arm from there. Neither step can add
energy: the first takes (1 - e^2) / 2 (n.u)^2 / (n.K n), the second jt |u_t| - jt^2 (t.K t) / 2 >= jt |u_t| / 2. The inertia is
the body's own; armature and damping of its free joint, which is no rotor, play no part in an instant.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any, NamedTuple

from diffsim.compiler import ti
from diffsim.rigid.joints import FREE
from diffsim.rigid.kernels.rigid_memory import model_rows
from diffsim.rigid.kernels.vectors import ENTRIES, vector_functions
from diffsim.rigid.rigid_records import LinkIndices, LinkInputs


class Struck(NamedTuple):
    """A body at the point where it is struck, in the world's frame."""

    inverse: Any  # of the mass
    M: Any  # inverse inertia about the centre of mass
    rot: Any  # of the link
    rho: Any  # centre of mass from the link's origin
    s: Any  # the point from the centre of mass


class Impact(NamedTuple):
    """An impact: normal n, relative velocity u, restitution e, friction mu; then what `impulse` found."""

    n: Any
    u: Any
    e: Any
    mu: Any
    j: Any  # normal impulse
    jt: Any  # friction's impulse, against t
    Kn: Any  # K n
    Kt: Any  # K t
    after: Any  # relative velocity after the normal impulse
    t: Any  # direction of the slip
    slip: Any  # its size
    sticks: Any  # whether friction ends the slip


class ImpactBars(NamedTuple):
    """What the adjoints of both bodies share: the impulse J, and the form n.K x + c t.K t whose adjoint by K is theirs."""

    J: Any
    n: Any
    x: Any
    t: Any
    c: Any


def impact_law(real) -> SimpleNamespace:
    """``inertia``, ``velocity_change``, ``impulse``, ``impulse_adjoint``, ``point_motion`` and ``body_adjoint``."""
    vf, rows = vector_functions(real), model_rows()
    vec3, mat3, load, add = vf.vec3, vf.mat3, vf.load, vf.add
    no_slip = 1e-30 if real == ti.f64 else 1e-15  # m/s: below, a slip has no direction

    @ti.func
    def inertia(m: ti.template(), at: ti.template(), link, rot):
        """Inverse mass, inverse inertia M about the centre of mass, and that centre from the origin, in the world's axes; zeros
        of what never moves. The inverse is the matrix of cofactors over the determinant."""
        inverse, rho = ti.cast(0.0, real), vec3(0.0, 0.0, 0.0)
        local = mat3(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        if m.integers[rows.link_indices(m, link) + LinkIndices.joint] == FREE:
            own = rows.link_inputs(m, at, link)
            inverse = 1.0 / m.inputs[own + LinkInputs.mass]
            rho = rot @ load(m.inputs, own + LinkInputs.center)
            I = vf.symmetric(m.inputs, own + LinkInputs.inertia)
            xx, yy, zz, yz, xz, xy = I[0, 0], I[1, 1], I[2, 2], I[1, 2], I[0, 2], I[0, 1]
            cx, cxy, cxz = yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy
            cy, cyz, cz = xx * zz - xz * xz, xy * xz - xx * yz, xx * yy - xy * xy
            d = 1.0 / (xx * cx + xy * cxy + xz * cxz)
            local = mat3(d * cx, d * cxy, d * cxz, d * cxy, d * cy, d * cyz, d * cxz, d * cyz, d * cz)
        return inverse, rot @ local @ rot.transpose(), rho

    @ti.func
    def part_of_K(body: ti.template(), x):
        """A body's part of K x."""
        return body.inverse * x + (body.M @ body.s.cross(x)).cross(body.s)

    @ti.func
    def velocity_change(body: ti.template(), J):
        """Changes of the origin's velocity and of the spin (in the link's axes) by an impulse."""
        omega = body.M @ body.s.cross(J)
        return body.inverse * J - omega.cross(body.rho), body.rot.transpose() @ omega

    @ti.func
    def impulse(n, u, e, mu, a: ti.template(), b: ti.template()):
        """On body a, and the fields j to sticks of an `Impact`."""
        zero = ti.cast(0.0, real)
        Kn = part_of_K(a, n) + part_of_K(b, n)
        j = -(1.0 + e) * n.dot(u) / n.dot(Kn)
        after = u + j * Kn
        slide = after - n * n.dot(after)
        slip, t = ti.sqrt(slide.dot(slide)), vec3(0.0, 0.0, 0.0)
        if slip > ti.static(no_slip):
            t = slide / slip
        else:  # sticking without slip: the gradient needs a direction, and any tangent does
            slip = zero
            if ti.abs(n[0]) < 0.5:
                t = n.cross(vec3(1.0, 0.0, 0.0))
            else:
                t = n.cross(vec3(0.0, 1.0, 0.0))
            t = t / ti.sqrt(t.dot(t))
        Kt = part_of_K(a, t) + part_of_K(b, t)
        jt, stop, sticks = mu * j, slip / t.dot(Kt), 0
        if stop < jt:
            jt = stop
            sticks = 1
        return j * n - jt * t, j, jt, Kn, Kt, after, t, slip, sticks

    @ti.func
    def impulse_adjoint(J_bar, hit: ti.template(), a: ti.template(), b: ti.template()):
        """Adjoints of n, u, e and mu; and x and c such that the adjoint by K is that of n.K x + c t.K t.

        J = j n - jt t gives j_bar = n.J_bar, jt_bar = -t.J_bar and direct adjoints of n and t. Where the point sticks,
        jt = |u_t| / (t.K t); else jt = mu j. Then back through t = u_t / |u_t|, u_t = after - n (n.after), after = u + j K n,
        and j = -(1 + e) n.u / (n.K n), whose adjoint by n.K n is -j / (n.K n) j_bar."""
        n, t, Kn, Kt, after = hit.n, hit.t, hit.Kn, hit.Kt, hit.after
        j_bar, jt_bar = n.dot(J_bar), -t.dot(J_bar)
        n_bar = hit.j * J_bar
        mu_bar, c, slip_bar = ti.cast(0.0, real), ti.cast(0.0, real), ti.cast(0.0, real)
        t_bar = vec3(0.0, 0.0, 0.0)  # adjoint of t over the slip, which may be 0 where the point sticks
        if hit.sticks == 1:
            share = 1.0 / t.dot(Kt)
            slip_bar = share * jt_bar
            c = -share * slip_bar * hit.slip
            t_bar = -share * J_bar - (2.0 * share * slip_bar) * Kt
        else:
            mu_bar = hit.j * jt_bar
            j_bar = j_bar + hit.mu * jt_bar
            if hit.slip > 0.0:
                t_bar = (-hit.jt / hit.slip) * J_bar
        slide_bar = t_bar - t * t.dot(t_bar) + slip_bar * t
        across = n.dot(slide_bar)
        after_bar = slide_bar - n * across
        n_bar = n_bar - n.dot(after) * slide_bar - across * after
        j_bar = j_bar + Kn.dot(after_bar)
        nKn, un = n.dot(Kn), n.dot(hit.u)
        un_bar, nKn_bar = -(1.0 + hit.e) / nKn * j_bar, -hit.j / nKn * j_bar
        x = nKn_bar * n + hit.j * after_bar
        n_bar = n_bar + part_of_K(a, x) + part_of_K(b, x) + nKn_bar * Kn + un_bar * hit.u
        return n_bar, after_bar + un_bar * n, -un / nKn * j_bar, mu_bar, x, c

    @ti.func
    def form_adjoint(x, y, Mx, My, weight):
        """Adjoint of the turn of M in weight x.M y: with dM = [theta]x M - M [theta]x it is weight (M y x x + M x x y)."""
        return weight * (My.cross(x) + Mx.cross(y))

    @ti.func
    def add_inertia(m: ti.template(), place, x, y, weight):
        """Adjoint of the inertia I in weight a.I^-1 b, with the solutions x = I^-1 a and y = I^-1 b: -weight x y^T,
        symmetric."""
        for c in ti.static(range(6)):
            i1, i2 = ti.static(ENTRIES[c])
            entry = -weight * x[i1] * y[i2]
            if ti.static(c >= 3):
                entry = -weight * (x[i1] * y[i2] + x[i2] * y[i1])
            m.inputs_bar[place + c] = m.inputs_bar[place + c] + entry

    @ti.func
    def point_motion(body: ti.template(), v_bar, spin_bar):
        """The adjoint of the impulse, from those of velocity and spin: the transpose of `velocity_change`. And the adjoint of
        s x J before M."""
        omega_bar = body.rot @ spin_bar - body.rho.cross(v_bar)
        return body.inverse * v_bar + (body.M @ omega_bar).cross(body.s), omega_bar

    @ti.func
    def body_adjoint(
        m: ti.template(), at: ti.template(), link, sign, body: ti.template(), bars: ti.template(), omega, u_bar, v_bar, spin_bar
    ):  # fmt: skip
        """Of a body, a (sign 1) or b (-1): adjoints of velocity, spin, turn and of the contact's place, from those of velocity
        and spin after the impact and of the relative velocity; those of mass, centre and inertia are added to.

        They are those of sign v_bar.(J / m - (M (s x J)) x rho) + sign spin_bar.R^T M (s x J), at a given J, and of the
        body's part of n.K x + c t.K t, which is n.x / m + (s x n).M (s x x) + c (t.t / m + (s x t).M (s x t)); last of
        u = sign (v + omega x arm)."""
        J, n, x, t, c, M, s, rho, rot = bars.J, bars.n, bars.x, bars.t, bars.c, body.M, body.s, body.rho, body.rot
        _motion, before_M = point_motion(body, v_bar, spin_bar)
        back, arm = rot.transpose(), s + rho
        sJ, sn, sx, st = s.cross(J), s.cross(n), s.cross(x), s.cross(t)
        change, turned, Mn, Mx, Mt = M @ sJ, M @ before_M, M @ sn, M @ sx, M @ st
        theta_bar = form_adjoint(sJ, before_M, change, turned, sign) + form_adjoint(sn, sx, Mn, Mx, 1.0)
        theta_bar = theta_bar + form_adjoint(st, st, Mt, Mt, c)
        inverse_bar = sign * J.dot(v_bar) + n.dot(x) + c * t.dot(t)
        s_bar = sign * J.cross(turned) + n.cross(Mx) + x.cross(Mn) + (2.0 * c) * t.cross(Mt)
        rho_bar = -sign * v_bar.cross(change) - s_bar
        theta_bar = theta_bar + (rot @ spin_bar).cross(sign * change) + rho.cross(rho_bar)
        own = rows.link_inputs(m, at, link)
        mass = own + LinkInputs.mass
        m.inputs_bar[mass] = m.inputs_bar[mass] - body.inverse * body.inverse * inverse_bar
        add(m.inputs_bar, own + LinkInputs.center, back @ rho_bar)
        # in the link's axes the solutions are R^T M x
        local = back @ Mt
        add_inertia(m, own + LinkInputs.inertia, back @ change, back @ turned, sign)
        add_inertia(m, own + LinkInputs.inertia, back @ Mn, back @ Mx, 1.0)
        add_inertia(m, own + LinkInputs.inertia, local, local, c)
        omega_bar = sign * arm.cross(u_bar)
        theta_bar = theta_bar + omega.cross(omega_bar)
        place_bar = s_bar + sign * u_bar.cross(omega)
        return v_bar + sign * u_bar, spin_bar + back @ omega_bar, theta_bar, place_bar

    return SimpleNamespace(
        inertia=inertia, velocity_change=velocity_change, impulse=impulse, impulse_adjoint=impulse_adjoint,
        point_motion=point_motion, body_adjoint=body_adjoint,
    )  # fmt: skip
