"""Elastic soft bodies against rigid spheres and boxes once more in plain torch, differentiated by autograd: slow, short, and
written from docs/rigid.md alone. It takes plain numbers and shares neither code nor rows of parameters with diffsim."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

RELAXATION = (1.0, 1.5, 1.5)  # of each sweep


@dataclass
class Jelly:
    """Fixed corotated elasticity; the moduli and the density may have gradients. The stiffness of its contacts follows from the
    declared density and speed of pressure waves, which have none."""

    youngs_modulus: Tensor
    poissons_ratio: float
    density: Tensor
    spacing: float  # of the particles
    declared_density: float
    declared_speed: float


@dataclass
class Rigid:
    """A sphere of a radius, or a box of half extents; free with a mass and the moment of a homogeneous ball, or fixed (mass
    None). x, rotation matrix, v and angular velocity in the world's frame."""

    size: float | tuple[float, float, float]
    friction: Tensor
    mass: Tensor | None
    x: Tensor
    R: Tensor
    v: Tensor
    omega: Tensor

    def surface(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Signed distances (N,) and outward normals (N, 3)."""
        away = points - self.x
        if isinstance(self.size, float):
            length = away.norm(dim=1)
            return length - self.size, away / length[:, None]
        local = away @ self.R
        beyond = local.abs() - torch.tensor(self.size, dtype=points.dtype)
        outside = beyond.clamp_min(0.0)
        length = outside.norm(dim=1)
        inside = beyond.max(dim=1)
        face = torch.nn.functional.one_hot(inside.indices, 3) * local.sign()
        out = inside.values > 0.0
        safe = torch.where(out, length, torch.ones_like(length))
        normal = torch.where(out[:, None], outside * local.sign() / safe[:, None], face.to(points.dtype))
        return torch.where(out, length, inside.values), normal @ self.R.T


def cross_matrix(a: Tensor) -> Tensor:
    zero = torch.zeros_like(a[0])
    return torch.stack([zero, -a[2], a[1], a[2], zero, -a[0], -a[1], a[0], zero]).view(3, 3)


def squeeze(x: Tensor, stiff: Tensor, d: float) -> Tensor:
    """q(y) at the root of y + stiff q(y) = x, q a ramp with a parabola of half width d at its foot."""
    z = 2.0 * (x + d) / (1.0 + (1.0 + stiff * (x + d).clamp_min(0.0) / d).sqrt())
    ramp = torch.where(x < d * (1.0 + stiff), z * z / (4.0 * d), x / (1.0 + stiff))
    return torch.where(x > -d, ramp, torch.zeros_like(x))


def slip_after(slip: Tensor, grip: Tensor, eps: float) -> Tensor:
    """The root w of w + grip w / sqrt(w^2 + eps^2) = slip by bisection; one step of Newton's method gives its derivative."""
    with torch.no_grad():
        low, high = torch.zeros_like(slip), slip.clone()
        for _ in range(200):
            middle = 0.5 * (low + high)
            below = middle + grip * middle / (middle**2 + eps**2).sqrt() < slip
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    w = 0.5 * (low + high)
    fade = 1.0 / (w**2 + eps**2).sqrt()
    return w + (slip - w - grip * w * fade) / (1.0 + grip.detach() * eps**2 * fade**3)


def impulses(
    v: Tensor, response: Tensor, rigid: Rigid, contact: tuple[Tensor, Tensor, Tensor], law: tuple[float, ...]
) -> Tensor:
    """Of contacts whose particles have the velocities v without them; contact: gaps, normals, surface velocities; law: the
    substep, stiffness, T, smoothing length and slip speed."""
    gap, n, moving = contact
    h, k, T, d, eps = law
    u = v - moving
    rate = (u * n).sum(1)
    along = h * k * response * squeeze(-gap - T * rate, T * h * k * response, d)
    tangent = u - rate[:, None] * n
    slip = (tangent.square().sum(1) + 1e-300).sqrt()
    grip = rigid.friction * along
    # without impulse there is nothing to solve for
    held = along.detach() > 0.0
    after = slip_after(slip, torch.where(held, grip, torch.zeros_like(grip)), eps)
    change = along[:, None] * n - torch.where(held, 1.0 - after / slip, torch.zeros_like(slip))[:, None] * tangent
    return change / response[:, None]


def substep(
    jelly: Jelly,
    rigids: list[Rigid],
    particles: tuple[Tensor, ...],
    *,
    h: float,
    dx: float,
    gravity: Tensor,
    d: float,
    eps: float,
) -> tuple[list[Rigid], tuple[Tensor, ...], int]:
    """One substep: the rigid bodies and the particles (x, v, C, F) after it, and how many contacts there were. No ground and no
    walls near."""
    x, v, C, F = particles
    eye = torch.eye(3, dtype=x.dtype)
    volume = jelly.spacing**3
    mass = jelly.density * volume
    # stress, P2G (Hu et al. 2018)
    F = (eye + h * C) @ F
    U, s, Vh = torch.linalg.svd(F)
    mu = jelly.youngs_modulus / (2.0 * (1.0 + jelly.poissons_ratio))
    lam = jelly.youngs_modulus * jelly.poissons_ratio / ((1.0 + jelly.poissons_ratio) * (1.0 - 2.0 * jelly.poissons_ratio))
    J = s.prod(dim=1)
    tau = 2.0 * mu * (F - U @ Vh) @ F.mT + (lam * J * (J - 1.0))[:, None, None] * eye
    A = mass * C - h * volume * 4.0 / dx**2 * tau
    cell = (x.detach() / dx - 0.5).floor()
    f = x / dx - cell
    line = torch.stack([0.5 * (1.5 - f) ** 2, 0.75 - (f - 1.0) ** 2, 0.5 * (f - 0.5) ** 2])
    corners = torch.cartesian_prod(*[torch.arange(3)] * 3)
    w = torch.stack([line[i, :, 0] * line[j, :, 1] * line[l, :, 2] for i, j, l in corners.tolist()], dim=1)  # (N, 27)
    nodes = cell.long()[:, None] + corners
    low = nodes.amin(dim=(0, 1))
    counts = nodes.amax(dim=(0, 1)) - low + 1
    index = ((nodes - low)[..., 0] * counts[1] + (nodes - low)[..., 1]) * counts[2] + (nodes - low)[..., 2]
    W = torch.zeros(len(x), int(counts.prod()), dtype=x.dtype).scatter(1, index, w)  # a weight for each particle and node
    place = dx * (low + torch.cartesian_prod(*[torch.arange(int(n)) for n in counts])).to(x.dtype)
    offset = place - x[:, None]
    M = mass * W.sum(dim=0)
    momentum = torch.einsum("pi,pix->ix", W, mass * v[:, None] + torch.einsum("pxy,piy->pix", A, offset))
    touched = M > 0.0
    inverse = torch.where(touched, 1.0 / torch.where(touched, M, torch.ones_like(M)), torch.zeros_like(M))
    V = torch.where(touched[:, None], momentum * inverse[:, None] + h * gravity, torch.zeros_like(momentum))

    # contact
    radius = 0.5 * jelly.spacing
    k = 2.0 * jelly.declared_density * jelly.declared_speed**2 * jelly.spacing
    d = max(d, radius / 16.0)
    law = (h, k, h + radius / jelly.declared_speed, d, eps)
    reach = max(0.25 * radius, 2.0 * d)
    found = []
    crowd = torch.zeros_like(M)
    for rigid in rigids:
        gap, n = rigid.surface(x)
        gap = gap - radius
        near = (gap < reach).nonzero()[:, 0]
        t = (1.0 - gap[near] / reach).clamp(0.0, 1.0)
        share = t * t * (3.0 - 2.0 * t)
        arm = x[near] - rigid.x
        moving = rigid.v + torch.linalg.cross(rigid.omega.expand_as(arm), arm)
        crowd = crowd + (share[:, None] * W[near]).sum(dim=0)
        found.append((rigid, near, share, arm, (gap[near], n[near], moving), torch.zeros_like(arm)))
    responses = [(W[near] * ((1.0 - share)[:, None] * W[near] + crowd) * inverse).sum(dim=1) for _, near, share, *_ in found]
    for relaxation in RELAXATION:
        updated, change = [], torch.zeros_like(V)
        for (rigid, near, share, arm, contact, old), whole in zip(found, responses, strict=True):
            response = whole / relaxation
            new = impulses(W[near] @ V - response[:, None] * old, response, rigid, contact, law)
            change = change + inverse[:, None] * (W[near].T @ (new - old))
            updated.append((rigid, near, share, arm, contact, new))
        V, found = V + change, updated

    # rigid bodies: balls, so that nothing gyroscopic acts
    moved = []
    for rigid, _near, _share, arm, _contact, impulse in found:
        if rigid.mass is None:
            moved.append(rigid)
            continue
        assert isinstance(rigid.size, float)
        v_new = rigid.v + h * gravity - impulse.sum(dim=0) / rigid.mass
        moment = 0.4 * rigid.mass * rigid.size**2
        omega = rigid.omega - torch.linalg.cross(arm, impulse).sum(dim=0) / moment
        turn = torch.matrix_exp(h * cross_matrix(omega))
        moved.append(Rigid(rigid.size, rigid.friction, rigid.mass, rigid.x + h * v_new, turn @ rigid.R, v_new, omega))

    # G2P
    v = W @ V
    C = 4.0 / dx**2 * torch.einsum("pi,ix,piy->pxy", W, V, offset)
    return moved, (x + h * v, v, C, F), sum(len(near) for _, near, *_ in found)


def pressure_wave_speed(youngs_modulus: float, poissons_ratio: float, density: float) -> float:
    """sqrt((lambda + 2 mu) / density)."""
    return math.sqrt(
        youngs_modulus * (1.0 - poissons_ratio) / ((1.0 + poissons_ratio) * (1.0 - 2.0 * poissons_ratio) * density)
    )
