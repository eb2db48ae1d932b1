"""The MPM of `diffsim/soft` once more in plain torch, differentiated by autograd: slow, short, and independent."""

import numpy as np
import torch

import diffsim as ds

PADDING = 3  # grid cells outside the domain on each side
ON_WALL = 1e-3  # a node within so many cells of a wall or the ground is on it


def declared_parameters(scene):
    """The values that the scene declares, by the names that `Simulator.step` takes, f64."""
    values = {"gravity": scene.gravity}
    for body in scene.soft_bodies:
        values |= {f"{body.name}.{name}": value for name, value in body.material.parameters.items()}
    values |= {f"{thing.name}.friction": thing.friction for thing in (*scene.tools, *scene.obstacles)}
    if scene.ground is not None:
        values["ground.friction"] = scene.ground.friction
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}


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


def lame(q):
    E, nu = q["youngs_modulus"], q["poissons_ratio"]
    return E / (2 * (1 + nu)), E * nu / ((1 + nu) * (1 - 2 * nu))


def stretch_law(material, s, a, q):
    """Elastic stretches, principal Kirchhoff stresses and internal variable (n, 1) of trial stretches s (n, 3); q are the
    material's parameters by name."""
    if isinstance(material, ds.Elastic):
        return s, fixed_corotated_stress(s, *lame(q)), a
    if isinstance(material, ds.NeoHookean):
        mu, lam = lame(q)
        return s, mu * (s.square() - 1) + lam * s.prod(-1, keepdim=True).log(), a
    if isinstance(material, ds.MooneyRivlin):
        c1, c2 = q["c1"], q["c2"]
        c = (q["bulk_modulus"] - 4 / 3 * c1 - 16 / 3 * c2) / 2
        J = s.prod(-1, keepdim=True)
        squares = s.square()
        others = squares.sum(-1, keepdim=True) - squares
        return s, 2 * squares * (c1 + c2 * others) + 2 * c * J * (J - 1) - 2 * c1 - 4 * c2, a
    if isinstance(material, ds.ElastoPlastic):
        (mu, lam), limit, hardening = lame(q), q["yield_stress"], q["hardening"]
        mean, d = mean_and_deviator(s.log())
        length = (d.square().sum(-1, keepdim=True) + 1e-300).sqrt()
        gamma = ((2 * mu * length - limit - hardening * a) / (2 * mu + hardening)).clamp_min(0.0)
        g = (mean + (1 - gamma / length) * d).exp()
        return g, fixed_corotated_stress(g, mu, lam), a + gamma
    if isinstance(material, ds.Sand):
        mu, lam = lame(q)
        sine = q["friction_angle"].sin()
        alpha = (2 / 3) ** 0.5 * 2 * sine / (3 - sine)
        mean, d = mean_and_deviator(s.log() + a / 3)
        trace = 3 * mean
        length = (d.square().sum(-1, keepdim=True) + 1e-300).sqrt()
        beyond = (length + (3 * lam + 2 * mu) / (2 * mu) * alpha * trace).clamp_min(0.0)
        e = torch.where(trace >= 0, 0.0 * d, mean + d - beyond * d / length)
        return e.exp(), 2 * mu * e + lam * e.sum(-1, keepdim=True), trace.clamp_min(0.0)
    if isinstance(material, ds.Snow):
        mu, lam = lame(q)
        g = torch.minimum(torch.maximum(s, 1 - q["critical_compression"]), 1 + q["critical_stretch"])
        a = a + (s.log() - g.log()).sum(-1, keepdim=True)
        h = (q["hardening"] * (1 - a.exp())).exp()
        return g, fixed_corotated_stress(g, h * mu, h * lam), a
    raise ValueError(material)


def viscous_stress(C, shear_viscosity, bulk_viscosity):
    D = 0.5 * (C + C.transpose(-1, -2))
    spherical = D.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None] * torch.eye(3, dtype=C.dtype)
    return 2 * shear_viscosity * (D - spherical) + 3 * bulk_viscosity * spherical


def stress_and_flow(material, F, C, a, q):
    """F, Kirchhoff stress and internal variable after a step whose trial deformation gradient is F; q are the material's
    parameters by name."""
    if isinstance(material, ds.KelvinVoigt):
        F, tau, a = stress_and_flow(material.elastic, F, C, a, q)
        return F, tau + viscous_stress(C, q["shear_viscosity"], q["bulk_viscosity"]), a
    if isinstance(material, ds.Liquid):
        bulk, gamma = q["bulk_modulus"], 7.0
        at_tension = (1 - gamma * q["tension"] / bulk) ** (-1 / gamma)  # the volume ratio
        whole = torch.linalg.det(F) * a.exp()
        J = torch.minimum(whole, at_tension)
        a = torch.where(whole < at_tension, 0.0 * a, (whole / J).log())
        J, eye = J[:, None, None], torch.eye(3, dtype=F.dtype)
        return J ** (1 / 3) * eye, -J * bulk / gamma * (J**-gamma - 1) * eye + J * viscous_stress(C, q["viscosity"], 0.0), a
    U, sigma, Vt = torch.linalg.svd(F)
    g, t, a = stretch_law(material, sigma, a[:, None], q)
    return U @ torch.diag_embed(g) @ Vt, U @ torch.diag_embed(t) @ U.transpose(-1, -2), a[:, 0]


def substep(scene: ds.Scene, parameters, dt, x, v, C, F, a, colliders):
    """One substep of one environment; parameters by name, as `Simulator.parameters`, colliders is a list of
    (core, radius, friction, p, R, V, omega)."""
    dx = scene.grid_spacing
    ends = np.cumsum([len(body.rest_particles) for body in scene.soft_bodies]).tolist()
    owner = torch.tensor(np.searchsorted(ends, np.arange(ends[-1]), side="right"))
    volumes = torch.tensor([body.shape.volume / len(body.rest_particles) for body in scene.soft_bodies], dtype=x.dtype)
    densities = torch.stack([parameters[f"{body.name}.density"] for body in scene.soft_bodies])
    mass, volume = (densities * volumes)[owner], volumes[owner]
    origin = torch.tensor(scene.lower, dtype=x.dtype) - PADDING * dx
    counts = (np.ceil((np.array(scene.upper) - np.array(scene.lower)) / dx - 1e-6).astype(int) + 1 + 2 * PADDING).tolist()

    trial = F + dt * C @ F
    parts = []
    for body, end in zip(scene.soft_bodies, ends, strict=True):
        own = slice(end - len(body.rest_particles), end)
        named = {field: parameters[f"{body.name}.{field}"] for field in body.material.parameters}
        parts.append(stress_and_flow(body.material, trial[own], C[own], a[own], named))
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
    # what the grid does not see of flowing particles' velocities
    shares = [
        (-dt * parameters[f"{body.name}.relaxation_rate"]).exp()
        if isinstance(body.material, ds.Liquid | ds.Sand)
        else x.new_zeros(())
        for body in scene.soft_bodies
    ]
    share = torch.stack(shares)[owner]
    flowing = weight * share * mass
    prior = flowing[..., None] * (v + torch.einsum("pij,opj->opi", C, reach))
    prior = torch.zeros(size, 3, dtype=x.dtype).index_add(0, index.flatten(), prior.reshape(-1, 3))
    prior_mass = torch.zeros(size, dtype=x.dtype).index_add(0, index.flatten(), flowing.flatten())
    prior = prior / torch.where(prior_mass > 0, prior_mass, torch.ones_like(prior_mass))[:, None]
    kept = share[:, None] * (v - (weight[..., None] * prior[index]).sum(0))

    used = grid_mass > 0
    velocity = grid_momentum[used] / grid_mass[used, None] + dt * parameters["gravity"]
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
        on_ground = X[:, 2:] <= scene.ground.height + ON_WALL * dx
        velocity = torch.where(on_ground, coulomb(velocity, up, parameters["ground.friction"]), velocity)
    velocity = torch.where(torch.tensor(scene.lower, dtype=x.dtype) + ON_WALL * dx >= X, velocity.clamp_min(0.0), velocity)
    velocity = torch.where(torch.tensor(scene.upper, dtype=x.dtype) - ON_WALL * dx <= X, velocity.clamp_max(0.0), velocity)

    grid_velocity = torch.zeros(size, 3, dtype=x.dtype).index_put((used.nonzero()[:, 0],), velocity)
    node_velocity = weight[..., None] * grid_velocity[index]
    v = node_velocity.sum(0)
    C = 4 / dx**2 * torch.einsum("opi,opj->pij", node_velocity, reach)
    return x + dt * v, v + kept, C, F, a
