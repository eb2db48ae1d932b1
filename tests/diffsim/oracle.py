"""The MPM of `diffsim/soft` once more in plain torch, differentiated by autograd: slow, short, and independent."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

import diffsim as ds

PADDING = 3  # grid cells outside the domain on each side
ON_WALL = 1e-3  # a node within so many cells of a wall or the ground is on it
TAIT_EXPONENT = 7.0


def parameters(scene: ds.Scene) -> dict[str, Tensor]:
    """The scene's declared parameters by the names that `Simulator.step` takes, f64: copies to differentiate by."""
    values: dict[str, object] = {"gravity": scene.gravity}
    for body in scene.soft_bodies:
        values |= {f"{body.name}.{name}": value for name, value in vars(body.material).items()}
    for thing in (*scene.tools, *scene.obstacles):
        values[f"{thing.name}.friction"] = thing.friction
    if scene.ground is not None:
        values["ground.friction"] = scene.ground.friction
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}


def law_and_parameters(material: ds.Material, p: Mapping[str, Tensor]) -> tuple[str, tuple[Tensor, ...]]:
    """The law of a material in `law` or `stress_and_flow`, and what it takes there, from the parameters' names and values."""
    if isinstance(material, ds.Liquid):
        return "liquid", (p["bulk_modulus"], torch.tensor(TAIT_EXPONENT, dtype=torch.float64), p["viscosity"])
    E, nu = p["youngs_modulus"], p["poissons_ratio"]
    lame = E / (2 * (1 + nu)), E * nu / ((1 + nu) * (1 - 2 * nu))
    if isinstance(material, ds.Elastic):
        return "fixed_corotated", lame
    if isinstance(material, ds.NeoHookean):
        return "neo_hookean", lame
    if isinstance(material, ds.ElastoPlastic):
        return "von_mises", (*lame, p["yield_stress"], p["hardening"])
    if isinstance(material, ds.Sand):  # the cone through the outer corners of Mohr and Coulomb's pyramid
        sine = p["friction_angle"].sin()
        return "drucker_prager", (*lame, math.sqrt(8 / 3) * sine / (3 - sine))
    if isinstance(material, ds.Snow):
        return "snow", (*lame, p["critical_compression"], p["critical_stretch"], p["hardening"])
    raise NotImplementedError(f"the oracle has no law of {material!r}")


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


def fixed_corotated_stress(g, mu, lam):
    J = g.prod(-1, keepdim=True)
    return 2 * mu * (g - 1) * g + lam * J * (J - 1)


def mean_and_deviator(e):
    mean = e.mean(-1, keepdim=True)
    return mean, e - mean


def law(name, s, a, q):
    """Elastic stretches, principal Kirchhoff stresses and plastic strain (n, 1) of trial stretches s (n, 3)."""
    if name == "fixed_corotated":
        mu, lam = q[:2]
        return s, fixed_corotated_stress(s, mu, lam), a
    if name == "neo_hookean":
        mu, lam = q[:2]
        return s, mu * (s.square() - 1) + lam * s.prod(-1, keepdim=True).log(), a
    if name == "von_mises":
        mu, lam, limit, hardening = q[:4]
        mean, d = mean_and_deviator(s.log())
        length = (d.square().sum(-1, keepdim=True) + 1e-300).sqrt()
        gamma = ((2 * mu * length - limit - hardening * a) / (2 * mu + hardening)).clamp_min(0.0)
        g = (mean + (1 - gamma / length) * d).exp()
        return g, fixed_corotated_stress(g, mu, lam), a + gamma
    if name == "drucker_prager":
        mu, lam, alpha = q[:3]
        mean, d = mean_and_deviator(s.log() + a / 3)
        trace = 3 * mean
        length = (d.square().sum(-1, keepdim=True) + 1e-300).sqrt()
        beyond = (length + (3 * lam + 2 * mu) / (2 * mu) * alpha * trace).clamp_min(0.0)
        e = torch.where(trace >= 0, 0.0 * d, mean + d - beyond * d / length)
        return e.exp(), 2 * mu * e + lam * e.sum(-1, keepdim=True), trace.clamp_min(0.0)
    if name == "snow":
        mu, lam, compression, stretch, xi = q[:5]
        g = torch.minimum(torch.maximum(s, 1 - compression), 1 + stretch)
        a = a + (s.log() - g.log()).sum(-1, keepdim=True)
        h = (xi * (1 - a.exp())).exp()
        return g, fixed_corotated_stress(g, h * mu, h * lam), a
    raise ValueError(name)


def stress_and_flow(name, F, C, a, q):
    """F, Kirchhoff stress and plastic strain after a step whose trial deformation gradient is F; q are the law's parameters."""
    if name == "liquid":
        bulk, gamma, viscosity = q[:3]
        J = torch.linalg.det(F)[:, None, None]
        eye = torch.eye(3, dtype=F.dtype)
        shear = C + C.transpose(-1, -2) - 2 / 3 * C.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None] * eye
        return J ** (1 / 3) * eye, -J * bulk / gamma * (J**-gamma - 1) * eye + J * viscosity * shear, a
    U, sigma, Vt = torch.linalg.svd(F)
    g, t, a = law(name, sigma, a[:, None], q)
    return U @ torch.diag_embed(g) @ Vt, U @ torch.diag_embed(t) @ U.transpose(-1, -2), a[:, 0]


def substep(scene: ds.Scene, given: Mapping[str, Tensor], dt, x, v, C, F, a, colliders):
    """One substep of one environment with the parameters ``given``; colliders, tools before obstacles, is a list of
    (core, radius, p, R, V, omega)."""
    dx = scene.grid_spacing
    ends = np.cumsum([len(body.rest_particles) for body in scene.soft_bodies]).tolist()
    owner = torch.tensor(np.searchsorted(ends, np.arange(ends[-1]), side="right"))
    volumes = torch.tensor([body.shape.volume / len(body.rest_particles) for body in scene.soft_bodies], dtype=x.dtype)
    volume = volumes[owner]
    mass = volume * torch.stack([given[f"{body.name}.density"] for body in scene.soft_bodies])[owner]
    origin = torch.tensor(scene.lower, dtype=x.dtype) - PADDING * dx
    counts = (np.ceil((np.array(scene.upper) - np.array(scene.lower)) / dx - 1e-6).astype(int) + 1 + 2 * PADDING).tolist()

    trial = F + dt * C @ F
    parts = []
    for body, end in zip(scene.soft_bodies, ends, strict=True):
        own = slice(end - len(body.rest_particles), end)
        name, q = law_and_parameters(body.material, {key: given[f"{body.name}.{key}"] for key in vars(body.material)})
        parts.append(stress_and_flow(name, trial[own], C[own], a[own], q))
    F, tau, a = (torch.cat(part) for part in zip(*parts, strict=True))
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
    velocity = grid_momentum[used] / grid_mass[used, None] + dt * given["gravity"]
    axes = [torch.arange(n, dtype=x.dtype) for n in counts]
    X = origin + dx * torch.cartesian_prod(*axes)[used]
    layer = 0.5 * dx
    frictions = [given[f"{thing.name}.friction"] for thing in (*scene.tools, *scene.obstacles)]
    for friction, (core, radius, p, R, V, omega) in zip(frictions, colliders, strict=True):
        arm = X - p
        phi, normal = rounded_box(arm @ R, core, radius)
        s = ((layer - phi) / (2 * layer)).clamp(0.0, 1.0)
        r = velocity - V - torch.linalg.cross(omega.expand_as(arm), arm)
        velocity = velocity + s * s * (3 - 2 * s) * (coulomb(r, normal @ R.T, friction) - r)
    if scene.ground is not None:
        up = torch.tensor([0.0, 0.0, 1.0], dtype=x.dtype)
        on_ground = X[:, 2:] <= scene.ground.height + ON_WALL * dx
        velocity = torch.where(on_ground, coulomb(velocity, up, given["ground.friction"]), velocity)
    velocity = torch.where(torch.tensor(scene.lower, dtype=x.dtype) + ON_WALL * dx >= X, velocity.clamp_min(0.0), velocity)
    velocity = torch.where(torch.tensor(scene.upper, dtype=x.dtype) - ON_WALL * dx <= X, velocity.clamp_max(0.0), velocity)

    grid_velocity = torch.zeros(size, 3, dtype=x.dtype).index_put((used.nonzero()[:, 0],), velocity)
    node_velocity = weight[..., None] * grid_velocity[index]
    v = node_velocity.sum(0)
    C = 4 / dx**2 * torch.einsum("opi,opj->pij", node_velocity, reach)
    return x + dt * v, v, C, F, a
