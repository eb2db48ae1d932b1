"""The skin follows its particles."""

import numpy as np
import pytest
import trimesh

from diffsim import Box, InputError, Sphere
from diffsim.render import Skin
from diffsim.render.surfaces import SOFT_FACES, soft_surface


@pytest.mark.parametrize("count", [40, 300, 2000])
def test_reproduces_any_affine_motion_exactly(count):
    random = np.random.default_rng(0)
    shape = Box((0.1, 0.07, 0.05), rounding=0.02)
    vertices, particles = np.asarray(soft_surface(shape).vertices), shape.volume_samples(count)
    skin = Skin(vertices, particles)
    assert np.allclose(skin.matrix.sum(axis=1), 1.0, atol=1e-12)
    matrix, shift = np.eye(3) + 0.7 * random.normal(size=(3, 3)), random.normal(size=3)
    assert np.allclose(skin(particles @ matrix.T + shift), vertices @ matrix.T + shift, atol=1e-9)


def test_follows_a_bend_closely():
    shape = Box((0.2, 0.04, 0.04))
    vertices, particles = np.asarray(soft_surface(shape).vertices), shape.volume_samples(1500)

    def bend(points):
        angle = 3.0 * points[:, 0]
        radius = 1.0 / 3.0 - points[:, 2]
        return np.stack([radius * np.sin(angle), points[:, 1], -radius * np.cos(angle)], axis=1)

    assert np.abs(Skin(vertices, particles)(bend(particles)) - bend(vertices)).max() < 5e-4


def test_flat_body_and_few_particles_are_fine():
    grid = np.stack(np.meshgrid(np.arange(6.0), np.arange(6.0), [0.0]), axis=-1).reshape(-1, 3)
    vertices = grid + np.array([0.3, -0.2, 0.4])
    turn = trimesh.transformations.rotation_matrix(0.7, [1, 2, 3])[:3, :3]
    moved = Skin(vertices, grid)(grid @ turn.T + 1.0)
    assert np.allclose(moved, (vertices * [1, 1, 0]) @ turn.T + 1.0, atol=1e-6)  # within the particles' plane
    one = Skin(vertices, np.zeros((1, 3)))
    assert np.allclose(one(np.array([[1.0, 2.0, 3.0]])), [1.0, 2.0, 3.0])
    with pytest.raises(InputError, match="rest_particles"):
        Skin(vertices, np.zeros((0, 3)))


@pytest.mark.parametrize("shape", [Sphere(0.1), Box((0.1, 0.05, 0.08), rounding=0.02)])
def test_even_grid_on_rounded_boxes_is_a_closed_surface(shape):
    mesh = shape.fine_mesh(SOFT_FACES)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(shape.volume, rel=0.01)
    assert np.abs(shape.signed_distance(np.asarray(mesh.vertices))).max() < 1e-9


def test_sharp_box_keeps_its_edges():
    mesh = Box((0.1, 0.05, 0.08)).fine_mesh(SOFT_FACES)
    assert mesh.volume == pytest.approx(8 * 0.1 * 0.05 * 0.08, rel=1e-9)
    assert len(trimesh.graph.split(mesh, only_watertight=False)) == 6
