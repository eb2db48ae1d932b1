"""Event mode: the law of an impact at one point, and its adjoint.

First the normal impulse, j = -(1 + e) n.u / (n.K n), then friction with the velocities after it, along t = u_t / |u_t|, of size
min(mu j, |u_t| / (t.K t)). K is the inverse inertia that the point shows: the sum over both bodies of
x -> x / m + (M (s x x)) x s, with M the inverse inertia about the centre of mass and s the arm from there. Neither step can add
energy: the first takes (1 - e^2) / 2 (n.u)^2 / (n.K n), the second jt |u_t| - jt^2 (t.K t) / 2 >= jt |u_t| / 2. The inertia is
the body's own; armature and damping of its free joint, which is no rotor, play no part in an instant.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace

from diffsim.compiler import ti
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.rigid.rigid_records import CENTER, FREE, I_LINK_AT, INERTIA, LINK_AT, LINK_INPUTS, LINK_INTS, MASS


def impact_law(real) -> SimpleNamespace:
    """``inertia``, ``pushed``, ``impulse``, ``impulse_adjoint`` and ``body_adjoint``."""
    vf = vector_functions(real)
    vec3, mat3, load, add = vf.vec3, vf.mat3, vf.load, vf.add
    no_slip = 1e-30 if real == ti.f64 else 1e-15  # m/s: below, a slip has no direction

    @ti.func
    def inertia(integers: ti.template(), inputs: ti.template(), inputs_at, link, rot):
        """Inverse mass, inverse inertia M about the centre of mass, and that centre from the origin, in the world's axes; zeros
        of what never moves."""
        inverse, rho = ti.cast(0.0, real), vec3(0.0, 0.0, 0.0)
        local = mat3(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        if integers[integers[LINK_AT] + LINK_INTS * link + 1] == FREE:
            own = inputs_at + integers[I_LINK_AT] + LINK_INPUTS * link
            inverse = 1.0 / inputs[own + MASS]
            rho = rot @ load(inputs, own + CENTER)
            first, second = load(inputs, own + INERTIA), load(inputs, own + INERTIA + 3)
            xx, yy, zz, yz, xz, xy = first[0], first[1], first[2], second[0], second[1], second[2]
            cx, cxy, cxz = yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy
            cy, cyz, cz = xx * zz - xz * xz, xy * xz - xx * yz, xx * yy - xy * xy
            d = 1.0 / (xx * cx + xy * cxy + xz * cxz)
            local = mat3(d * cx, d * cxy, d * cxz, d * cxy, d * cy, d * cyz, d * cxz, d * cyz, d * cz)
        return inverse, rot @ local @ rot.transpose(), rho

    @ti.func
    def shown(inverse, M, s, x):
        """A body's part of K x."""
        return inverse * x + (M @ s.cross(x)).cross(s)

    @ti.func
    def pushed(inverse, M, rot, s, rho, J):
        """Changes of the origin's velocity and of the spin (in the link's axes) by an impulse."""
        spin = M @ s.cross(J)
        return inverse * J - spin.cross(rho), rot.transpose() @ spin

    @ti.func
    def impulse(n, u, e, mu, inverse_a, M_a, s_a, inverse_b, M_b, s_b):
        """On body a, and what the adjoint wants."""
        zero = ti.cast(0.0, real)
        Kn = shown(inverse_a, M_a, s_a, n) + shown(inverse_b, M_b, s_b, n)
        j = -(1.0 + e) * n.dot(u) / n.dot(Kn)
        after = u + j * Kn
        slide = after - n * n.dot(after)
        slip, t = ti.sqrt(slide.dot(slide)), vec3(0.0, 0.0, 0.0)
        if slip > ti.static(no_slip):
            t = slide / slip
        else:  # what sticks where nothing slips still holds what would: any direction tells how
            slip = zero
            if ti.abs(n[0]) < 0.5:
                t = n.cross(vec3(1.0, 0.0, 0.0))
            else:
                t = n.cross(vec3(0.0, 1.0, 0.0))
            t = t / ti.sqrt(t.dot(t))
        Kt = shown(inverse_a, M_a, s_a, t) + shown(inverse_b, M_b, s_b, t)
        jt, stop, sticks = mu * j, slip / t.dot(Kt), 0
        if stop < jt:
            jt = stop
            sticks = 1
        return j * n - jt * t, j, jt, Kn, Kt, after, t, slip, sticks

    @ti.func
    def impulse_adjoint(
        J_bar, n, u, e, mu, j, jt, Kn, Kt, after, t, slip, sticks, inverse_a, M_a, s_a, inverse_b, M_b, s_b
    ):  # fmt: skip
        """Adjoints of n, u, e and mu; and by K it has the adjoint of n.K x + c t.K t, of which x and c are returned."""
        j_bar, jt_bar = n.dot(J_bar), -t.dot(J_bar)
        n_bar = j * J_bar
        mu_bar, c, slip_bar = ti.cast(0.0, real), ti.cast(0.0, real), ti.cast(0.0, real)
        turn_bar = vec3(0.0, 0.0, 0.0)  # adjoint of t, over the slip, which may be 0 where the point sticks
        if sticks == 1:
            share = 1.0 / t.dot(Kt)
            slip_bar = share * jt_bar
            c = -share * slip_bar * slip
            turn_bar = -share * J_bar - (2.0 * share * slip_bar) * Kt
        else:
            mu_bar = j * jt_bar
            j_bar = j_bar + mu * jt_bar
            if slip > 0.0:
                turn_bar = (-jt / slip) * J_bar
        slide_bar = turn_bar - t * t.dot(turn_bar) + slip_bar * t
        across = n.dot(slide_bar)
        after_bar = slide_bar - n * across
        n_bar = n_bar - n.dot(after) * slide_bar - across * after
        j_bar = j_bar + Kn.dot(after_bar)
        nKn, un = n.dot(Kn), n.dot(u)
        un_bar, nKn_bar = -(1.0 + e) / nKn * j_bar, -j / nKn * j_bar
        x = nKn_bar * n + j * after_bar
        n_bar = n_bar + shown(inverse_a, M_a, s_a, x) + shown(inverse_b, M_b, s_b, x) + nKn_bar * Kn + un_bar * u
        return n_bar, after_bar + un_bar * n, -un / nKn * j_bar, mu_bar, x, c

    @ti.func
    def form_adjoint(x, y, Mx, My, weight):
        """Adjoint of the turn of M in weight x.M y."""
        return weight * (My.cross(x) + Mx.cross(y))

    @ti.func
    def add_inertia(inputs_bar: ti.template(), at, x, y, weight):
        """Adjoint of the inertia in weight x.y, of what are already its solutions x and y."""
        add(inputs_bar, at, vec3(-weight * x[0] * y[0], -weight * x[1] * y[1], -weight * x[2] * y[2]))
        yz, xz, xy = x[1] * y[2] + x[2] * y[1], x[0] * y[2] + x[2] * y[0], x[0] * y[1] + x[1] * y[0]
        add(inputs_bar, at + 3, vec3(-weight * yz, -weight * xz, -weight * xy))

    @ti.func
    def virtual(M, rot, s, rho, inverse, v_bar, spin_bar):
        """The point's virtual motion under adjoints of velocity and spin, which is an impulse's adjoint; its spin before M."""
        turning = rot @ spin_bar - rho.cross(v_bar)
        return inverse * v_bar + (M @ turning).cross(s), turning

    @ti.func
    def body_adjoint(
        inputs_bar: ti.template(), at, sign, inverse, M, rot, s, rho, J, n, x, t, c, omega, u_bar, v_bar, spin_bar
    ):  # fmt: skip
        """Of a body: adjoints of velocity, spin, turn and of the contact's place, given those of velocity and spin after the
        impact and of the relative velocity; those of mass, centre and inertia, at ``at``, are added to."""
        _motion, turning = virtual(M, rot, s, rho, inverse, v_bar, spin_bar)
        back, arm = rot.transpose(), s + rho
        # v+ = v + sign (J / m - spin x rho), with the spin M (s x J)
        z, zn, zx, zt = s.cross(J), s.cross(n), s.cross(x), s.cross(t)
        spin, turned, Mn, Mx, Mt = M @ z, M @ turning, M @ zn, M @ zx, M @ zt
        theta_bar = form_adjoint(z, turning, spin, turned, sign) + form_adjoint(zn, zx, Mn, Mx, 1.0)
        theta_bar = theta_bar + form_adjoint(zt, zt, Mt, Mt, c)
        inverse_bar = sign * J.dot(v_bar) + n.dot(x) + c * t.dot(t)
        s_bar = sign * J.cross(turned) + n.cross(Mx) + x.cross(Mn) + (2.0 * c) * t.cross(Mt)
        rho_bar = -sign * v_bar.cross(spin) - s_bar
        theta_bar = theta_bar + (rot @ spin_bar).cross(sign * spin) + rho.cross(rho_bar)
        inputs_bar[at + MASS] = inputs_bar[at + MASS] - inverse * inverse * inverse_bar
        add(inputs_bar, at + CENTER, back @ rho_bar)
        # in the link's axes the solutions are R^T M x
        lt = back @ Mt
        add_inertia(inputs_bar, at + INERTIA, back @ spin, back @ turned, sign)
        add_inertia(inputs_bar, at + INERTIA, back @ Mn, back @ Mx, 1.0)
        add_inertia(inputs_bar, at + INERTIA, lt, lt, c)
        # u = sign (v + omega x arm)
        omega_bar = sign * arm.cross(u_bar)
        theta_bar = theta_bar + omega.cross(omega_bar)
        place_bar = s_bar + sign * u_bar.cross(omega)
        return v_bar + sign * u_bar, spin_bar + back @ omega_bar, theta_bar, place_bar

    return SimpleNamespace(
        inertia=inertia, pushed=pushed, impulse=impulse, impulse_adjoint=impulse_adjoint, virtual=virtual,
        body_adjoint=body_adjoint,
    )  # fmt: skip
