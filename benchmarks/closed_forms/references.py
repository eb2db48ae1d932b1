"""Impacts, friction and a pendulum whose outcome and whose derivatives are known without a simulator.

Every function returns its quantities by name: values and their derivatives, written out by hand (the double pendulum's from its
variational equation). SI units. Contacts are rigid; e is the restitution, the speed after over the speed before an impact.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.integrate import solve_ivp

Quantities = dict[str, float]


def wall(x0: float = 0.5005, v0: float = -1.0, T: float = 1.0, e: float = 1.0) -> Quantities:
    """A point without gravity meets a wall at x = 0.

    It arrives at t = -x0 / v0 and leaves with -e v0, so x(T) = -e v0 (T - t) = -e (x0 + v0 T).
    """
    assert v0 < 0.0 < x0 < -v0 * T, "there must be an impact before T"
    return {"x": -e * (x0 + v0 * T), "dx/dx0": -e, "dx/dv0": -e * T}


def bounce(z0: float = 1.0, v0: float = -1.0, T: float = 0.8, e: float = 1.0, g: float = 10.0) -> Quantities:
    """A point falls on the plane z = 0 and bounces once.

    It arrives with the speed s, s^2 = v0^2 + 2 g z0, at t = (v0 + s) / g. With the time left, l = T - t,
    z(T) = e s l - g l^2 / 2, so dz = e l ds - (e s - g l) dt, where ds = (g dz0 + v0 dv0) / s and dt = (dv0 + ds) / g.
    """
    s = math.sqrt(v0**2 + 2.0 * g * z0)
    left = T - (v0 + s) / g
    assert 0.0 < left < 2.0 * e * s / g, "there must be one impact before T, and no more"

    def derivative(s_rate: float, t_rate: float) -> float:
        return e * left * s_rate - (e * s - g * left) * t_rate

    return {
        "z": e * s * left - 0.5 * g * left**2,
        "dz/dz0": derivative(g / s, 1.0 / s),
        "dz/dv0": derivative(v0 / s, (1.0 + v0 / s) / g),
    }


def slide(v0: float = 2.0, mu: float = 0.3, g: float = 10.0) -> Quantities:
    """A block slides to rest under Coulomb friction: d = v0^2 / (2 mu g)."""
    d = v0**2 / (2.0 * mu * g)
    return {"d": d, "dd/dv0": v0 / (mu * g), "dd/dmu": -d / mu}


def head_on(m1: float = 1.0, m2: float = 2.0, v1: float = 1.0, v2: float = -0.5, e: float = 1.0) -> Quantities:
    """Two balls on a line, ball 1 on the left. Momentum is kept and v2' - v1' = e (v1 - v2), hence

    v1' = ((m1 - e m2) v1 + (1 + e) m2 v2) / (m1 + m2), and v2' with 1 and 2 exchanged. Where they meet is of no account.
    """
    assert v1 > v2, "the balls must meet"
    m = m1 + m2
    rows = {"v1'": ((m1 - e * m2) / m, (1.0 + e) * m2 / m), "v2'": ((1.0 + e) * m1 / m, (m2 - e * m1) / m)}
    quantities = {name: a * v1 + b * v2 for name, (a, b) in rows.items()}
    for name, (a, b) in rows.items():
        quantities |= {f"d{name}/dv1": a, f"d{name}/dv2": b, f"d{name}/dx1": 0.0}
    return quantities


def pendulum_acceleration(theta: np.ndarray, rate: np.ndarray, g: float) -> np.ndarray:
    """Of two unit point masses on unit rods; theta (2,) are both rods' angles from the downward vertical. Complex numbers too.

    Lagrange, with d = theta1 - theta2: 2 a1 + cos(d) a2 = -sin(d) w2^2 - 2 g sin(theta1) and
    cos(d) a1 + a2 = sin(d) w1^2 - g sin(theta2).
    """
    d = theta[0] - theta[1]
    r1 = -np.sin(d) * rate[1] ** 2 - 2.0 * g * np.sin(theta[0])
    r2 = np.sin(d) * rate[0] ** 2 - g * np.sin(theta[1])
    determinant = 2.0 - np.cos(d) ** 2
    return np.array([r1 - np.cos(d) * r2, 2.0 * r2 - np.cos(d) * r1]) / determinant


def double_pendulum(theta: tuple[float, float] = (1.0, 0.5), T: float = 1.0, g: float = 9.81) -> Quantities:
    """Double pendulum, m = l = 1, released at rest: the angles at T and their derivatives by the angles at the start.

    The state's 4 numbers y and Y = dy / dy0 follow y' = f(y), Y' = f_y Y, with f_y by complex steps (exact to rounding).
    """

    def flow(_t: float, state: np.ndarray) -> np.ndarray:
        y, Y = state[:4], state[4:].reshape(4, 2)
        jacobian = np.zeros((4, 4))
        jacobian[:2, 2:] = np.eye(2)
        for i in range(4):
            step = y + 1e-30j * np.eye(4)[i]
            jacobian[2:, i] = pendulum_acceleration(step[:2], step[2:], g).imag / 1e-30
        return np.concatenate([y[2:], pendulum_acceleration(y[:2], y[2:], g), (jacobian @ Y).ravel()])

    start = np.concatenate([theta, [0.0, 0.0], np.eye(4)[:, :2].ravel()])
    end = solve_ivp(flow, (0.0, T), start, method="DOP853", rtol=1e-12, atol=1e-12).y[:, -1]
    quantities = {"q1": float(end[0]), "q2": float(end[1])}
    for i in range(2):
        quantities |= {f"dq{i + 1}/dtheta{j + 1}": float(end[4 + 2 * i + j]) for j in range(2)}
    return quantities


def billiard(p1: tuple[float, float] = (-0.5, 0.07), v1: tuple[float, float] = (1.0, 0.05), T: float = 1.0, e: float = 1.0,
             r: float = 0.1) -> Quantities:  # fmt: skip
    """A disc of radius r strikes an equal one that rests at the origin, without friction: where the latter is at T.

    They touch when |w| = 2 r, w = p1 + v1 t. There, with the unit vector n = -w / (2 r) from centre 1 to 2, disc 2 takes the
    velocity (1 + e) / 2 (v1 . n) n, and pos2 = (T - t) of it. Derivatives: dt from w . (dp1 + t dv1) + (w . v1) dt = 0, then
    dn = -dw / (2 r), then the product rule.
    """
    p, v = np.asarray(p1, dtype=float), np.asarray(v1, dtype=float)
    half_b, a, c = p @ v, v @ v, p @ p - 4.0 * r**2
    t = (-half_b - math.sqrt(half_b**2 - a * c)) / a
    assert 0.0 < t < T, "there must be an impact before T"
    w = p + v * t
    n = -w / (2.0 * r)
    share = 0.5 * (1.0 + e)
    position = (T - t) * share * (v @ n) * n

    columns = []
    for k in range(4):  # by p1 and v1
        dp, dv = (np.eye(2)[k], np.zeros(2)) if k < 2 else (np.zeros(2), np.eye(2)[k - 2])
        dt = -(w @ (dp + t * dv)) / (w @ v)
        dn = -(dp + t * dv + v * dt) / (2.0 * r)
        columns.append(share * ((T - t) * ((dv @ n + v @ dn) * n + (v @ n) * dn) - dt * (v @ n) * n))
    quantities = {"x2": float(position[0]), "y2": float(position[1])}
    for i, name in enumerate(("x2", "y2")):
        quantities |= {f"d{name}/d{by}": float(columns[k][i]) for k, by in enumerate(("x1", "y1", "vx1", "vy1"))}
    return quantities


def grasp(fn: float = 20.0, m: float = 0.1, mu: float = 0.5, eps: float = 0.01, T: float = 1.0, g: float = 9.81) -> Quantities:
    """A block between two fingers that press with fn each creeps down, its friction 2 mu fn v / sqrt(v^2 + eps^2) = m g.

    With rho = m g / (2 mu fn), v = eps rho / sqrt(1 - rho^2). The drop is v T, but for a start of about 50 us; its derivative
    by fn is eps T (1 - rho^2)^(-3/2) d rho / d fn, with d rho / d fn = -rho / fn.
    """
    rho = m * g / (2.0 * mu * fn)
    assert rho < 1.0, "the grasp must hold"
    return {"drop": eps * T * rho / math.sqrt(1.0 - rho**2), "ddrop/dfn": -eps * T * (1.0 - rho**2) ** -1.5 * rho / fn}
