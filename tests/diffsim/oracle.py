"""The MPM of `diffsim/solvers/mpm` once more in plain torch, differentiated by autograd: slow, short, and independent."""

import numpy as np
import torch

from diffsim.scene import Scene
from diffsim.solvers.mpm.solver import PADDING


def weights(fx):
    return torch.stack([0.5 * (1.5 - fx) ** 2, 0.75 - (fx - 1.0) ** 2, 0.5 * (fx - 0.5) ** 2])


def coulomb(r, n, friction):
    """One-sided contact of relative velocities r (..., 3) with normals n (..., 3)."""
    normal_speed = (r * n).sum(-1, keepdim=True)
    tangent = r - normal_speed * n
    speed = (tangent.square().sum(-1, keepdim=True) + 1e-40).sqrt()
    kept = (1.0 + friction * normal_speed / speed).clamp_min(0.0) * tangent
    return torch.where(normal_speed < 0.0, kept, r)


def rounded_box(x, core, radius):
    """Signed distance and normal of points (..., 3)."""
    q = x.abs() - core
    outside = q.clamp_min(0.0)
    length = (outside.square().sum(-1, keepdim=True) + 1e-300).sqrt()
    deepest, axis = q.max(-1, keepdim=True)
    inside = deepest <= 0.0
    axis_normal = torch.zeros_like(x).scatter(-1, axis, 1.0) * x.sign()
    return torch.where(inside, deepest, length) - radius, torch.where(inside, axis_normal, outside * x.sign() / length)


def stress_and_flow(F, mu, lam, yield_limit):
    U, sigma, Vt = torch.linalg.svd(F)
    strain = sigma.log()
    deviator = strain - strain.mean(-1, keepdim=True)
    length = deviator.norm(dim=-1, keepdim=True)
    scale = (yield_limit[:, None] / (2 * mu[:, None]) / length).clamp_max(1.0)
    g = (strain.mean(-1, keepdim=True) + scale * deviator).exp()
    J = g.prod(-1, keepdim=True)
    t = 2 * mu[:, None] * (g - 1) * g + lam[:, None] * J * (J - 1)
    return U @ torch.diag_embed(g) @ Vt, U @ torch.diag_embed(t) @ U.transpose(-1, -2)


def substep(scene: Scene, material, dt, x, v, C, F, colliders):
    """One substep of one environment; colliders is a list of (core, radius, friction, p, R, V, omega)."""
    dx = scene.grid_spacing
    mass, volume, mu, lam, yield_limit = material.unbind(-1)
    origin = torch.tensor(scene.lower, dtype=x.dtype) - PADDING * dx
    counts = (np.ceil((np.array(scene.upper) - np.array(scene.lower)) / dx - 1e-6).astype(int) + 1 + 2 * PADDING).tolist()

    F, tau = stress_and_flow(F + dt * C @ F, mu, lam, yield_limit)
    A = mass[:, None, None] * C - (dt * volume * 4 / dx**2)[:, None, None] * tau
    scaled = (x - origin) / dx
    base = (scaled.detach() - 0.5).floor().long()
    fx = scaled - base
    w = weights(fx)
    offsets = torch.cartesian_prod(*[torch.arange(3)] * 3)
    weight = torch.stack([w[i, :, 0] * w[j, :, 1] * w[k, :, 2] for i, j, k in offsets.tolist()])
    nodes = base + offsets[:, None]
    index = (nodes[..., 0] * counts[1] + nodes[..., 1]) * counts[2] + nodes[..., 2]
    reach = (offsets[:, None] - fx) * dx
    momentum = weight[..., None] * (mass[:, None] * v + torch.einsum("pij,opj->opi", A, reach))
    size = counts[0] * counts[1] * counts[2]
    grid_momentum = torch.zeros(size, 3, dtype=x.dtype).index_add(0, index.flatten(), momentum.reshape(-1, 3))
    grid_mass = torch.zeros(size, dtype=x.dtype).index_add(0, index.flatten(), (weight * mass).flatten())

    used = grid_mass > 0
    velocity = grid_momentum[used] / grid_mass[used, None] + dt * torch.tensor(scene.gravity, dtype=x.dtype)
    axes = [torch.arange(n, dtype=x.dtype) for n in counts]
    X = origin + dx * torch.cartesian_prod(*axes)[used]
    layer = 0.5 * dx
    for core, radius, friction, p, R, V, omega in colliders:
        arm = X - p
        phi, normal = rounded_box(arm @ R, core, radius)
        s = ((layer - phi) / (2 * layer)).clamp(0.0, 1.0)
        r = velocity - V - torch.linalg.cross(omega.expand_as(arm), arm)
        velocity = velocity + s * s * (3 - 2 * s) * (coulomb(r, normal @ R.T, friction) - r)
    if scene.ground is not None:
        up = torch.tensor([0.0, 0.0, 1.0], dtype=x.dtype)
        on_ground = X[:, 2:] <= scene.ground.height + 1e-6 * dx
        velocity = torch.where(on_ground, coulomb(velocity, up, scene.ground.friction), velocity)
    velocity = torch.where(torch.tensor(scene.lower, dtype=x.dtype) >= X, velocity.clamp_min(0.0), velocity)
    velocity = torch.where(torch.tensor(scene.upper, dtype=x.dtype) <= X, velocity.clamp_max(0.0), velocity)

    grid_velocity = torch.zeros(size, 3, dtype=x.dtype).index_put((used.nonzero()[:, 0],), velocity)
    node_velocity = weight[..., None] * grid_velocity[index]
    v = node_velocity.sum(0)
    C = 4 / dx**2 * torch.einsum("opi,opj->pij", node_velocity, reach)
    return x + dt * v, v, C, F
