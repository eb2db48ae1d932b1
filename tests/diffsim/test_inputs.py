"""Bad input: one line that names what was given and what is allowed."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
import trimesh

import diffsim as ds
from tests.diffsim.scenes import contact_scene, free_scene

BODY = ds.SoftBody("jelly", ds.Sphere(0.1), (0.5, 0.5, 0.5), particles=30)


@contextmanager
def refused(*parts: str) -> Iterator[None]:
    """Expects an InputError of one line that holds all ``parts``."""
    with pytest.raises(ds.InputError) as caught:
        yield
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message


@pytest.mark.parametrize("suffix", [".obj", ".stl", ".glb", ".ply"])
def test_meshes_load_centred_and_scaled(tmp_path, suffix):
    path = tmp_path / f"thing{suffix}"
    mesh = trimesh.creation.icosphere(subdivisions=3, radius=2.0)
    mesh.apply_translation([5.0, 6.0, 7.0])
    mesh.export(path)
    shape = ds.TriangleMesh.from_file(path, size=0.2)
    np.testing.assert_allclose(shape.surface_mesh().bounds, [[-0.1] * 3, [0.1] * 3], atol=2e-3)
    assert shape.volume == pytest.approx(4.0 / 3.0 * np.pi * 0.1**3, rel=0.03)
    samples = shape.volume_samples(300)
    assert len(samples) == pytest.approx(300, rel=0.15)
    assert (np.linalg.norm(samples, axis=1) < 0.1).all()


def test_inside_out_mesh_is_turned(tmp_path):
    mesh = trimesh.creation.box(extents=[0.1, 0.2, 0.3])
    mesh.invert()
    mesh.export(tmp_path / "box.obj")
    assert ds.TriangleMesh.from_file(tmp_path / "box.obj").volume == pytest.approx(0.006)


def test_bad_meshes(tmp_path):
    with refused("none.obj", "does not exist"):
        ds.TriangleMesh.from_file(tmp_path / "none.obj")
    (tmp_path / "empty.obj").touch()
    with refused("empty.obj", "empty"):
        ds.TriangleMesh.from_file(tmp_path / "empty.obj")
    (tmp_path / "noise.glb").write_bytes(b"this is no mesh")
    with refused("noise.glb", "could not be read"):
        ds.TriangleMesh.from_file(tmp_path / "noise.glb")
    (tmp_path / "duck.txt").touch()
    with refused("duck.txt", ".obj, .stl"):
        ds.TriangleMesh.from_file(tmp_path / "duck.txt")
    broken = trimesh.creation.box()
    broken.update_faces([True] * 11 + [False])
    broken.export(tmp_path / "open.stl")
    with refused("open.stl", "not watertight", "3 edges"):
        ds.TriangleMesh.from_file(tmp_path / "open.stl")
    with refused("size", "-1"):
        ds.TriangleMesh.from_file(tmp_path / "none.obj", size=-1)


def test_mass_is_density_times_volume():
    sim = ds.Simulator(free_scene(ds.Elastic(density=700.0)))
    expected = 700.0 * 8 * 0.09 * 0.07 * 0.06
    assert float(sim.particle_mass.sum()) == pytest.approx(expected, rel=1e-5)


def test_bad_shapes_and_materials():
    with refused("radius", "0"):
        ds.Sphere(0.0)
    with refused("half_length", "-1"):
        ds.Capsule(-1.0, 0.1)
    with refused("half_extents", "(1, 2)"):
        ds.Box((1, 2))
    with refused("rounding", "0.2"):
        ds.Box((0.1, 0.1, 0.1), rounding=0.2)
    with refused("youngs_modulus", "-5"):
        ds.Elastic(youngs_modulus=-5)
    with refused("poissons_ratio", "0.5"):
        ds.Elastic(poissons_ratio=0.5)
    with refused("yield_stress", "nan"):
        ds.ElastoPlastic(yield_stress=float("nan"))


def test_bad_scenes():
    with refused("jelly", "outside the domain", "[0.801, 0.4, 0.4]", "[1.0, 1.0, 1.0]"):
        ds.Scene((ds.SoftBody("jelly", ds.Sphere(0.1), (0.9 + 1e-3, 0.5, 0.5)),), lower=(0.001, 0, 0))
    with refused("jelly", "outside the domain"):  # under the floor
        ds.Scene((ds.SoftBody("jelly", ds.Sphere(0.1), (0.5, 0.5, 0.25)),), ground=ds.Ground(height=0.2))
    with refused("at least one"):
        ds.Scene(())
    with refused("'jelly'", "2 times"):
        ds.Scene((BODY,), tools=(ds.Tool("jelly", ds.Sphere(0.1), (0, 0, 0)),))
    with refused("soft_bodies", "SoftBody"):
        ds.Scene(("duck",))
    with refused("grid_spacing", "0.9"):
        ds.Scene((BODY,), grid_spacing=0.9)
    with refused("upper", "lower"):
        ds.Scene((BODY,), upper=(0, 0, 0))
    with refused("control", "'w'"):
        ds.Tool("t", ds.Sphere(0.1), (0, 0, 0), control=("w",))
    with refused("friction", "-1"):
        ds.Obstacle("o", ds.Sphere(0.1), (0, 0, 0), friction=-1)
    with refused("position", "(0, 0)"):
        ds.Tool("t", ds.Sphere(0.1), (0, 0))
    with refused("rotation"):
        ds.Tool("t", ds.Sphere(0.1), (0, 0, 0), rotation=(0, 0, 0, 0))
    with refused("particles", "0"):
        ds.SoftBody("jelly", ds.Sphere(0.1), (0, 0, 0), particles=0)


def test_bad_scenes_of_every_other_kind(tmp_path):
    mesh = tmp_path / "ball.obj"
    with refused("Tool 't'", "shape must have an end", "Plane"):
        ds.Tool("t", ds.Plane(), (0, 0, 0))
    with refused("SoftBody 's'", "diffsim shape", "'ball'"):
        ds.SoftBody("s", "ball", (0, 0, 0))
    with refused("velocity", "nan"):
        ds.SoftBody("s", ds.Sphere(0.1), (0, 0, 0), velocity=(0, 0, float("nan")))
    with refused("distinct axes", "('x', 'x')"):
        ds.Tool("t", ds.Sphere(0.1), (0, 0, 0), control=("x", "x"))
    with refused("Ground", "friction", "nan"):
        ds.Ground(friction=float("nan"))
    with refused("Ground", "height", "inf"):
        ds.Ground(height=float("inf"))
    with refused("ground height 2.0", "[0.0, 1.0)"):
        ds.Scene((BODY,), ground=ds.Ground(height=2.0))
    with refused("density", "0"):
        ds.Elastic(density=0)
    with refused("soft_bodies must be a tuple", "one SoftBody"):
        ds.Scene(BODY)  # the comma forgotten
    hollow = trimesh.creation.icosphere(subdivisions=2, radius=0.98)
    hollow.invert()
    (trimesh.creation.icosphere(subdivisions=2) + hollow).export(mesh)
    with refused("particles=1 is too few", "ball.obj"):
        ds.TriangleMesh.from_file(mesh).volume_samples(1)


def test_a_rotated_body_is_held_against_the_domain_as_it_stands():
    long = ds.Box((0.45, 0.05, 0.05))
    turned = (np.cos(np.pi / 8), 0.0, 0.0, np.sin(np.pi / 8))  # 45 degrees about z
    ds.Scene((ds.SoftBody("rod", long, (0.5, 0.5, 0.5), rotation=turned),), upper=(0.9, 0.9, 1.0), lower=(0.1, 0.1, 0.0))
    with refused("'rod'", "[0.05, 0.45, 0.45]"):
        ds.Scene((ds.SoftBody("rod", long, (0.5, 0.5, 0.5)),), upper=(0.9, 0.9, 1.0), lower=(0.1, 0.1, 0.0))


def test_bad_simulators_and_actions():
    for arguments, part in (
        ({"num_envs": 0}, "num_envs"),
        ({"substeps": 1.5}, "substeps"),
        ({"dt": -1.0}, "dt"),
        ({"dtype": torch.float16}, "dtype"),
        ({"device": "cuda"}, "device"),
    ):
        with refused(part, str(next(iter(arguments.values())))):
            ds.Simulator(free_scene(ds.Elastic()), **arguments)
    sim = ds.Simulator(contact_scene(), num_envs=2, substeps=2)
    state = sim.reset()
    with refused("action", "(2, 9)", "(2, 3)"):
        sim.step(state, torch.zeros(2, 3))
    with refused("action", "tensor", "list"):
        sim.step(state, [[0.0] * 9] * 2)
    with refused("action must be finite", "inf", "environment 0"):
        sim.step(state, torch.full((2, 9), float("inf")))
    with refused("scene", "'scene'"):
        ds.Simulator("scene")
    with refused("action", "torch.float32", "torch.float64"):
        sim.step(state, torch.zeros(2, 9, dtype=torch.float64))
    action = torch.zeros(2, 9)
    action[1, 4] = float("nan")
    with refused("action must be finite", "environment 1"):
        sim.step(state, action)
    with refused("actions", "(steps, 2, 9)", "(2, 9)"):
        sim.rollout(state, torch.zeros(2, 9))
    with refused("state.F", "(2, "):
        sim.step(state.replace(F=state.F[:, :3]), torch.zeros(2, 9))
    with refused("'duck'", "block"):
        sim.particle_slice("duck")
    with refused("'hand'", "ball, rod"):
        sim.tool_index("hand")


def test_too_large_a_time_step_warns(caplog):
    with caplog.at_level(logging.WARNING):
        ds.Simulator(free_scene(ds.Elastic(youngs_modulus=1e6)), dt=1e-2)
    assert "Courant number" in caplog.text
    assert "use dt <=" in caplog.text
