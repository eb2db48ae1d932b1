"""Surfaces round particles, and colours of numbers."""

import numpy as np
import pytest
import torch

from diffsim import InputError
from diffsim.render import particle_strain, particle_surface, value_colors

SPACING = 0.01


def volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    """Inside a closed mesh whose faces look outward."""
    return float(np.linalg.det(vertices[faces]).sum() / 6.0)


def lattice(*counts: int) -> np.ndarray:
    axes = (SPACING * (np.arange(count) + 0.5) for count in counts)
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def test_a_block_of_particles_has_its_volume_and_flat_faces():
    points = lattice(16, 12, 10)
    vertices, faces, normals = particle_surface(points, SPACING)
    assert volume(vertices, faces) == pytest.approx(len(points) * SPACING**3, rel=0.06)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, atol=1e-4)
    middle = (np.abs(vertices[:, :2] - (0.08, 0.06)) < 0.03).all(axis=1) & (vertices[:, 2] > 0.05)
    assert np.ptp(vertices[middle, 2]) < 0.05 * SPACING
    assert vertices[middle, 2].mean() == pytest.approx(0.1, abs=0.2 * SPACING)
    assert (normals[middle, 2] > 0.98).all()


def test_noise_of_particles_hardly_shows():
    points = lattice(16, 12, 10)
    points = points + np.random.default_rng(0).normal(0.0, 0.2 * SPACING, points.shape)
    vertices, _, _ = particle_surface(points, SPACING)
    middle = (np.abs(vertices[:, :2] - (0.08, 0.06)) < 0.03).all(axis=1) & (vertices[:, 2] > 0.05)
    assert vertices[middle, 2].std() < 0.15 * SPACING


def test_a_particle_alone_is_a_ball_and_two_close_ones_merge():
    vertices, faces, normals = particle_surface(np.array([[1.0, 2.0, 3.0]]), SPACING)
    away = vertices - (1.0, 2.0, 3.0)
    np.testing.assert_allclose(np.linalg.norm(away, axis=1), 0.7 * SPACING, rtol=0.25)
    assert (np.einsum("vi,vi->v", away, normals) > 0.0).all()
    pair = particle_surface(np.array([[0.0, 0.0, 0.0], [SPACING, 0.0, 0.0]]), SPACING)
    assert volume(*pair[:2]) > 1.3 * volume(vertices - (1.0, 2.0, 3.0), faces)


def test_particles_far_apart_need_no_more_memory():
    near = particle_surface(lattice(4, 4, 4), SPACING)
    both = particle_surface(np.concatenate([lattice(4, 4, 4), lattice(4, 4, 4) + 30.0]), SPACING)
    assert len(both.faces) == 2 * len(near.faces)
    assert volume(*both[:2]) == pytest.approx(2.0 * volume(*near[:2]), rel=1e-3)
    spray = np.random.default_rng(0).uniform(0.0, 4.0, (300, 3))  # nowhere a gap: coarser, and larger drops
    assert volume(*particle_surface(spray, SPACING)[:2]) > 150 * SPACING**3


def test_wrong_particles_are_refused():
    assert len(particle_surface(np.zeros((0, 3)), SPACING).faces) == 0
    with pytest.raises(InputError, match="1 particles are not finite"):
        particle_surface(np.array([[0.0, np.nan, 0.0]]), SPACING)
    with pytest.raises(InputError, match="particles must have shape"):
        particle_surface(np.zeros(3), SPACING)
    with pytest.raises(InputError, match="spacing"):
        particle_surface(np.zeros((1, 3)), -1.0)


def test_colours_of_numbers():
    colors = value_colors(torch.tensor([0.0, 0.5, 1.0]), colormap="gray")
    np.testing.assert_allclose(colors, [[0.0] * 3, [0.5] * 3, [1.0] * 3], atol=0.01)
    np.testing.assert_allclose(value_colors(np.array([-1.0, 3.0]), low=0.0, high=2.0, colormap="gray"), [[0.0] * 3, [1.0] * 3])
    assert value_colors(np.zeros(0)).shape == (0, 3)
    for given, word in (
        ({"values": np.zeros((2, 2))}, "values"),
        ({"values": np.array([np.nan])}, "not finite"),
        ({"values": np.zeros(2), "low": 1.0, "high": 0.0}, "low"),
        ({"values": np.zeros(2), "colormap": "mud"}, "colormap"),
    ):
        with pytest.raises(InputError, match=word):
            value_colors(**given)


def test_strain_of_pure_shear_and_of_what_only_turns():
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))[0]
    stretch = torch.diag(torch.tensor([1.2, 1.0 / 1.2, 1.0], dtype=torch.float64))
    F = torch.stack([torch.eye(3, dtype=torch.float64), turn @ stretch, 1.3 * turn])
    expected = torch.tensor([0.0, (4.0 / 3.0) ** 0.5 * np.log(1.2), 0.0], dtype=torch.float64)
    torch.testing.assert_close(particle_strain(F), expected, atol=1e-9, rtol=1e-9)
    with pytest.raises(InputError, match="deformation_gradient"):
        particle_strain(torch.zeros(3))
