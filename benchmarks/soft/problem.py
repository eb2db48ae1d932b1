"""The problem that all implementations in `benchmarks/soft` solve: a plastic block on the ground, pressed by two capsules.

The physics is the same for all, equation for equation, so that they can be compared by result as well as by time:

    MLS-MPM (Hu et al. 2018), quadratic B-splines, dx = 1/64, APIC; node (i, j, k) stands at (i, j, k) dx
    F_trial = F + dt C F = U diag(sigma) V^T
    von Mises return mapping: eps = log max(sigma, 2^-7), e = eps - mean(eps), k = min(1, yield / (2 mu |e|)),
        g = sigma where k = 1, otherwise exp(mean(eps) + k e);  F = U diag(g) V^T
    Kirchhoff stress tau = U diag(t) U^T, t_i = 2 mu (g_i - 1) g_i + lambda J (J - 1), J = g_0 g_1 g_2
    node momentum += w_ip (m v + A (x_i - x_p)), A = m C - dt V0 4 / dx^2 tau;  node mass += w_ip m
    node velocity v = momentum / mass + dt gravity;  then each capsule in order, then the ground:
        capsule (p, half length h along z, radius r, friction mu, velocity V): d = x - p - (0, 0, clamp(x_z - p_z, -h, h)),
            phi = |d| - r, n = d / |d|;  where phi < L (L = dx / 2): s = clamp((L - phi) / (2 L), 0, 1), w = s^2 (3 - 2 s),
            u = v - V,  v += w (coulomb(u, n, mu) - u);  the pose at substep s is p + s dt V
        ground: where x_z <= height: v = coulomb(v, (0, 0, 1), ground friction)
        coulomb(u, n, mu) = u if u.n >= 0, otherwise max(0, 1 + mu (u.n) / |u_t|) u_t with u_t = u - (u.n) n
    v_p = sum_i w_ip v_i,  C_p = 4 / dx^2 sum_i w_ip v_i (x_i - x_p)^T,  x_p += dt v_p
    loss = sum over particles and components of weight * x, after the last substep
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

GRID = 64


@dataclass(frozen=True)
class Problem:
    """Arrays are float64; an implementation casts them.

    Attributes:
        x: particle positions (N, 3); the particles begin at rest, undeformed.
        mass, volume: of each particle, kg and m^3.
        mu, lam, yield_limit: Pa.
        dt: s. substeps: of one control step. control_steps: of the rollout.
        capsules: (2, 6) rows of (px, py, pz, half length, radius, friction) at the start; they stand along z.
        capsule_velocity: (control_steps, 2, 3), m/s; constant over a control step. These are the actions.
        ground_height, ground_friction, gravity (3,).
        weight: (N, 3), of the loss.
    """

    x: np.ndarray
    mass: float
    volume: float
    mu: float
    lam: float
    yield_limit: float
    dt: float
    substeps: int
    control_steps: int
    capsules: np.ndarray
    capsule_velocity: np.ndarray
    ground_height: float
    ground_friction: float
    gravity: np.ndarray
    weight: np.ndarray


def problem(particles: int, *, control_steps: int = 2, substeps: int = 20) -> Problem:
    """About ``particles`` particles, 8 a cell at rest."""
    dx = 1.0 / GRID
    side = round(particles ** (1.0 / 3.0))
    shape = (side, side, max(1, round(particles / side**2)))
    spacing = 0.5 * dx
    axes = [(np.arange(n) + 0.5) * spacing for n in shape]
    x = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    extent = np.array(shape) * spacing
    ground = 3.0 * dx
    x = x + np.array([0.5, 0.5, 0.0]) - extent * np.array([0.5, 0.5, 0.0]) + np.array([0.0, 0.0, ground])
    E, nu = 5e3, 0.2
    radius, half = 2.5 * dx, 3.0 * dx
    gap = extent[0] / 2.0 + radius
    height = ground + extent[2] / 2.0
    capsules = np.array([[0.5 - gap, 0.5, height, half, radius, 0.4], [0.5 + gap, 0.5 + 0.7 * dx, height, half, radius, 0.4]])
    phase = np.arange(control_steps)[:, None]
    push = np.array([0.6, -0.6])[None, :] * (1.0 + 0.1 * np.sin(phase))
    velocity = np.stack([push, 0.1 * np.cos(phase + np.array([[0.0, 1.0]])), np.full_like(push, -0.05)], axis=-1)
    return Problem(
        x=x,
        mass=1000.0 * spacing**3,
        volume=spacing**3,
        mu=E / (2.0 * (1.0 + nu)),
        lam=E * nu / ((1.0 + nu) * (1.0 - 2.0 * nu)),
        yield_limit=50.0,
        dt=5e-4,
        substeps=substeps,
        control_steps=control_steps,
        capsules=capsules,
        capsule_velocity=velocity,
        ground_height=ground,
        ground_friction=0.5,
        gravity=np.array([0.0, 0.0, -9.81]),
        weight=np.random.default_rng(0).standard_normal(x.shape),
    )
