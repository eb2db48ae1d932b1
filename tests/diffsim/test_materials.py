"""The materials against known results: stresses and flow of one element, and waves, beams, heaps and floods of many."""

import math

import numpy as np
import pytest
import torch

import diffsim as ds

F64 = torch.float64
MU, LAM = ds.Elastic(1e4, 0.3).lame


class Element:
    """Particles alone in a grid of their own, one an environment.

    Nothing else moves such a particle's nodes, and so one substep takes its affine velocity to C - 4 dt / (density dx^2) tau:
    the Kirchhoff stress is read off the state. (Sum of weight times offset times offset is dx^2 / 4, exactly.)
    """

    def __init__(self, material: ds.Material):
        body = ds.SoftBody("element", ds.Box((0.05, 0.05, 0.05)), (0.5, 0.5, 0.5), material=material, particles=1)
        scene = ds.Scene((body,), ground=None, grid_spacing=0.1, gravity=(0.0, 0.0, 0.0))
        self.sim = ds.Simulator(scene, dt=1e-4, substeps=1, dtype=F64)
        self.scale = material.density * scene.grid_spacing**2 / (4.0 * self.sim.dt)

    def step(self, F: torch.Tensor, *, C=None, plastic_strain=None) -> tuple[torch.Tensor, ds.State]:
        """Stress (B, 3, 3) and state after a substep from deformation gradients F (B, 3, 3)."""
        batch = len(F)
        start = self.sim.reset()
        assert start.x.shape[1] == 1
        C = torch.zeros_like(F) if C is None else C
        plastic_strain = torch.zeros(batch, dtype=F64) if plastic_strain is None else plastic_strain
        state = ds.State(
            x=start.x.repeat(batch, 1, 1),
            v=start.v.repeat(batch, 1, 1),
            C=C[:, None].clone(),
            F=F[:, None].clone(),
            plastic_strain=plastic_strain[:, None].clone(),
            tool_position=start.tool_position.repeat(batch, 1, 1),
            tool_rotation=start.tool_rotation.repeat(batch, 1, 1),
            time_step=start.time_step.repeat(batch),
        )
        after = self.sim.step(state, torch.zeros(batch, 0, dtype=F64))
        return self.scale * (C - after.C[:, 0]), after


def rotations(count: int, seed: int = 0) -> torch.Tensor:
    """Random rotation matrices (count, 3, 3)."""
    generator = torch.Generator().manual_seed(seed)
    Q = torch.linalg.qr(torch.randn(count, 3, 3, dtype=F64, generator=generator))[0]
    return Q * torch.linalg.det(Q).sign()[:, None, None]


def diagonal(*stretches) -> torch.Tensor:
    """Deformation gradients (B, 3, 3) of three principal stretches, numbers or tensors (B,)."""
    return torch.diag_embed(torch.stack(torch.broadcast_tensors(*[torch.as_tensor(s, dtype=F64) for s in stretches]), dim=-1))


def simple_shear(amount: torch.Tensor) -> torch.Tensor:
    F = torch.eye(3, dtype=F64).repeat(len(amount), 1, 1)
    F[:, 0, 1] = amount
    return F


def deviator(tensor: torch.Tensor) -> torch.Tensor:
    return tensor - tensor.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None] * torch.eye(3, dtype=tensor.dtype)


def log_strain(F: torch.Tensor) -> torch.Tensor:
    """Principal logarithmic strains, in ascending order."""
    return torch.linalg.svdvals(F).log().flip(-1)


def close(actual: torch.Tensor, expected: torch.Tensor, scale: float) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9 * scale)


# ------------------------------------------------------------------------------------------------------- elastic elements


@pytest.mark.parametrize("kind", [ds.Elastic, ds.NeoHookean])
def test_small_strain_stress_is_hookes_law(kind):
    generator = torch.Generator().manual_seed(1)
    H = 1e-6 * torch.randn(8, 3, 3, dtype=F64, generator=generator)
    stress, _ = Element(kind(1e4, 0.3)).step(torch.eye(3, dtype=F64) + H)
    strain = 0.5 * (H + H.mT)
    trace = strain.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None]
    hooke = 2.0 * MU * strain + LAM * trace * torch.eye(3, dtype=F64)
    torch.testing.assert_close(stress, hooke, rtol=0.0, atol=2e-5 * float(hooke.abs().max()))  # the rest is second order


def test_neo_hookean_simple_shear_has_the_closed_form():
    """tau = mu (F F^T - 1) as shear keeps the volume: shear stress mu g, and normal stress difference mu g^2 (Poynting)."""
    shear = torch.linspace(0.1, 2.0, 6, dtype=F64)
    stress, _ = Element(ds.NeoHookean(1e4, 0.3)).step(simple_shear(shear))
    close(stress[:, 0, 1], MU * shear, MU)
    close(stress[:, 0, 0] - stress[:, 1, 1], MU * shear**2, MU)
    close(stress[:, 2, 2], torch.zeros_like(shear), MU)


def test_neo_hookean_uniaxial_stress_has_the_closed_form():
    """At the lateral stretch b where the sides are free, mu (b^2 - 1) + lambda log(a b^2) = 0, the pull is mu (a^2 - b^2)."""
    axial = torch.tensor([0.4, 0.7, 1.2, 1.6, 2.5], dtype=F64)
    side = torch.ones_like(axial)
    for _ in range(60):  # Newton
        value = MU * (side**2 - 1.0) + LAM * (axial * side**2).log()
        side = side - value / (2.0 * MU * side + 2.0 * LAM / side)
    R = rotations(5)
    stress, _ = Element(ds.NeoHookean(1e4, 0.3)).step(R @ diagonal(axial, side, side))
    close(R.mT @ stress @ R, diagonal(MU * (axial**2 - side**2), 0.0, 0.0), MU)


def test_fixed_corotated_stress_ignores_rotation_and_has_the_closed_form():
    a = torch.tensor([0.5, 0.8, 1.3, 2.0], dtype=F64)
    R = rotations(4)
    stress, _ = Element(ds.Elastic(1e4, 0.3)).step(R @ diagonal(a, 1.0, 1.0))
    bulk = LAM * a * (a - 1.0)
    close(R.mT @ stress @ R, diagonal(2.0 * MU * a * (a - 1.0) + bulk, bulk, bulk), MU)


@pytest.mark.parametrize(
    "material",
    [ds.Elastic(1e4, 0.3), ds.NeoHookean(1e4, 0.3), ds.ElastoPlastic(1e4, 0.3), ds.Sand(1e4, 0.3), ds.Snow(1e4, 0.3)],
    ids=lambda material: type(material).__name__,
)
def test_a_rotated_element_is_free_of_stress(material):
    stress, after = Element(material).step(rotations(4))
    assert float(stress.abs().max()) < 1e-9 * 1e4
    close(after.F[:, 0], rotations(4), 1.0)


# ------------------------------------------------------------------------------------------------------- plastic elements


@pytest.mark.parametrize("before", [0.0, 0.3], ids=["virgin", "hardened"])
def test_hardening_raises_the_yield_limit(before):
    """Radial return (Simo 1992): the logarithmic stress ends exactly on yield_stress + hardening * a, a grown by the flow."""
    material = ds.ElastoPlastic(1e4, 0.3, yield_stress=200.0, hardening=1500.0)
    shear = torch.linspace(0.2, 1.0, 5, dtype=F64)
    F = simple_shear(shear)
    _, after = Element(material).step(F, plastic_strain=torch.full((5,), before, dtype=F64))
    trial, elastic, a = log_strain(F), log_strain(after.F[:, 0]), after.plastic_strain[:, 0]
    assert float((a - before).min()) > 1e-3  # all of them flow
    limit = 200.0 + 1500.0 * a
    torch.testing.assert_close(2.0 * MU * (elastic - elastic.mean(-1, keepdim=True)).norm(dim=-1), limit, rtol=1e-6, atol=0.0)
    close((trial - elastic).norm(dim=-1), a - before, 1.0)  # what the elastic strain lost
    close(elastic.sum(-1), trial.sum(-1), 1.0)  # flow keeps the volume


def test_below_the_yield_limit_nothing_flows():
    material = ds.ElastoPlastic(1e4, 0.3, yield_stress=200.0, hardening=1500.0)
    limit = 200.0 + 1500.0 * 0.3
    shear = 0.99 * limit / (2.0 * MU) * math.sqrt(2.0)  # |dev log strain| is a little under shear / sqrt(2)
    F = simple_shear(torch.tensor([shear], dtype=F64))
    _, after = Element(material).step(F, plastic_strain=torch.full((1,), 0.3, dtype=F64))
    assert float(after.plastic_strain) == 0.3
    close(after.F[:, 0], F, 1.0)


@pytest.mark.parametrize("angle", [20.0, 40.0])
def test_sheared_sand_saturates_at_the_drucker_prager_stress_ratio(angle):
    """|dev tau| / pressure = 2 sqrt(6) sin(phi) / (3 - sin(phi)): the cone through Mohr-Coulomb's triaxial compression."""
    sine = math.sin(math.radians(angle))
    ratio = 2.0 * math.sqrt(6.0) * sine / (3.0 - sine)
    compression = math.exp(-0.01)
    shear = torch.linspace(0.0, 0.3, 61, dtype=F64)
    stress, _ = Element(ds.Sand(1e5, 0.3, friction_angle=math.radians(angle))).step(compression * simple_shear(shear))
    pressure = -stress.diagonal(dim1=-2, dim2=-1).mean(-1)
    close(pressure, pressure[:1].expand_as(pressure), float(pressure[0]))  # shear changes no volume
    measured = deviator(stress).norm(dim=(-2, -1)) / pressure
    assert float(measured.max()) == pytest.approx(ratio, rel=1e-9)
    assert float(measured[-10:].min()) == pytest.approx(ratio, rel=1e-9)
    assert bool((measured[:4].diff() > 0.0).all())  # elastic before


def test_triaxial_compression_of_sand_is_mohr_coulomb():
    """Squeezed along one axis, sand yields at (t1 - t3) / (t1 + t3) = sin(phi), the definition of the friction angle."""
    angle = math.radians(30.0)
    F = diagonal(torch.linspace(0.7, 0.85, 4, dtype=F64), 1.05, 1.05)
    stress, _ = Element(ds.Sand(1e5, 0.3, friction_angle=angle)).step(F)
    axial, side = stress[:, 0, 0], stress[:, 2, 2]
    close((axial - side) / (axial + side), torch.full_like(axial, math.sin(angle)), 1.0)


def test_sand_apart_is_free_of_stress_and_remembers_its_gap():
    element = Element(ds.Sand(1e5, 0.3))
    stress, after = element.step(diagonal(torch.tensor([1.02, 1.2], dtype=F64), 1.0, 0.99))
    assert float(stress.abs().max()) < 1e-9 * 1e5
    close(after.plastic_strain[:, 0], torch.tensor([1.02 * 0.99, 1.2 * 0.99], dtype=F64).log(), 1.0)
    # compressed by less than the gap it still carries nothing, by more it does
    gap = torch.full((2,), 0.05, dtype=F64)
    stress, _ = element.step(diagonal(torch.tensor([-0.04, -0.06], dtype=F64).exp(), 1.0, 1.0), plastic_strain=gap)
    assert float(stress[0].abs().max()) < 1e-9 * 1e5
    mu, lam = ds.Sand(1e5, 0.3).lame
    pressure = -float(stress[1].diagonal().mean())
    assert pressure == pytest.approx((lam + 2.0 / 3.0 * mu) * 0.01, rel=1e-9)


def test_snow_holds_its_stretches_and_keeps_account_of_the_volume():
    material = ds.Snow(1e4, 0.3, critical_compression=0.025, critical_stretch=0.0075)
    generator = torch.Generator().manual_seed(2)
    F = torch.eye(3, dtype=F64) + 0.1 * torch.randn(16, 3, 3, dtype=F64, generator=generator)
    before = torch.linspace(-0.1, 0.1, 16, dtype=F64)
    _, after = Element(material).step(F, plastic_strain=before)
    stretches = torch.linalg.svdvals(after.F[:, 0])
    assert float(stretches.min()) == pytest.approx(1.0 - 0.025, abs=1e-12)
    assert float(stretches.max()) == pytest.approx(1.0 + 0.0075, abs=1e-12)
    total = torch.linalg.det(F) * before.exp()
    close(torch.linalg.det(after.F[:, 0]) * after.plastic_strain[:, 0].exp(), total, 1.0)


def test_compressed_snow_is_stiffer_and_stretched_snow_weaker():
    """Stress of one elastic strain grows with h = exp(hardening (1 - J_plastic)) (Stomakhin et al. 2013)."""
    material = ds.Snow(1e4, 0.3, hardening=10.0)
    plastic = torch.tensor([-0.2, -0.1, 0.0, 0.1, 0.2], dtype=F64)
    F = diagonal(0.99, 1.002, 1.0).expand(5, 3, 3)
    stress, after = Element(material).step(F, plastic_strain=plastic)
    close(after.plastic_strain[:, 0], plastic, 1.0)  # elastic all along
    h = (10.0 * (1.0 - plastic.exp())).exp()
    close(stress, h[:, None, None] * stress[2], float(stress[2].abs().max()))
    bulk = LAM * (0.99 * 1.002) * (0.99 * 1.002 - 1.0)
    assert float(stress[2, 0, 0]) == pytest.approx(2.0 * MU * 0.99 * -0.01 + bulk, rel=1e-9)


def test_liquid_has_taits_pressure_and_newtons_viscosity():
    K, viscosity = 2e4, 3.0
    J = torch.tensor([0.8, 0.95, 1.0, 1.05], dtype=F64)
    stress, after = Element(ds.Liquid(1e3, K, viscosity)).step(rotations(4) @ diagonal(J, 1.0, 1.0))
    pressure = K / 7.0 * (J**-7 - 1.0)
    close(stress, diagonal(-J * pressure, -J * pressure, -J * pressure), K)
    close(after.F[:, 0], diagonal(J ** (1 / 3), J ** (1 / 3), J ** (1 / 3)), 1.0)
    C = torch.zeros(1, 3, 3, dtype=F64)
    C[0, 0, 1] = 5.0  # Couette flow
    stress, _ = Element(ds.Liquid(1e3, K, viscosity)).step(torch.eye(3, dtype=F64)[None], C=C)
    close(stress[0, 0, 1], torch.tensor(viscosity * 5.0, dtype=F64), K)
    close(stress[0, 1, 0], torch.tensor(viscosity * 5.0, dtype=F64), K)
