"""What is too thin for the grid, or too fast for its thickness, is named before it fails in silence."""

import logging
import math
import re
from dataclasses import replace

import pytest
import torch

import diffsim as ds
from diffsim.soft.resolution import thickness

pytestmark = pytest.mark.slow

DX = 1 / 32
BLADE = ds.Box((0.001, 0.1, 0.1))


def cube_before(*tools: ds.Tool, obstacles=()) -> ds.Scene:
    cube = ds.SoftBody("cube", ds.Box((0.06,) * 3), (0.5, 0.5, 0.06), material=ds.Elastic(1e4), particles=1000)
    return ds.Scene((cube,), tools=tools, obstacles=obstacles, grid_spacing=DX)


def warnings(caplog, scene: ds.Scene, **options) -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.WARNING, "diffsim"):
        ds.Simulator(scene, **options)
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("speed", [0.5, 5.0, 50.0])
def test_a_thin_blade_is_named_and_so_is_one_that_moves_more_than_its_thickness(speed, caplog):
    scene = cube_before(ds.Tool("blade", BLADE, (0.2, 0.5, 0.1), control=("x",)))
    (thin,) = warnings(caplog, scene, dt=2e-3, substeps=10)
    assert "Tool 'blade' is 0.002 m thick, 0.064 grid cells" in thin
    assert float(re.search(r"grid_spacing <= (\S+) m", thin)[1]) == pytest.approx(0.002 / 2.6, rel=0.01)

    sim = ds.Simulator(scene, dt=2e-3, substeps=10)
    caplog.clear()
    state = sim.reset()
    with caplog.at_level(logging.WARNING, "diffsim"):
        try:
            for _ in range(2):
                state = sim.step(state, torch.full((1, 1), speed))
        except ds.SimulationError:
            assert speed == 50.0  # it crushes what it hits
    fast = [record.getMessage() for record in caplog.records if "moves" in record.getMessage()]
    if speed < 1.0:  # 1 mm a substep
        assert not fast
        return
    (message,) = fast
    assert "Tool 'blade'" in message
    assert f"({speed:g} m/s), {speed:g} times its thickness" in message
    assert float(re.search(r"dt <= (\S+) s", message)[1]) == pytest.approx(0.002 / speed, rel=0.01)


def test_a_slow_tool_of_the_thickness_that_is_named_pushes_the_body():
    """It moves the cube along, and leaves no particle behind; the blade of 2 mm cuts."""

    def behind(half: float) -> float:
        blade = ds.Tool("blade", ds.Box((half, 0.1, 0.1)), (0.36 - half, 0.5, 0.1), control=("x",))
        sim = ds.Simulator(cube_before(blade), dt=2e-3, substeps=10)
        state = sim.rollout(sim.reset(), torch.full((20, 1, 1), 0.5))[-1]
        return float((state.x[0, :, 0] < state.tool_position[0, 0, 0]).float().mean())

    assert behind(1.3 * DX) == 0.0
    assert behind(0.001) > 0.5


def test_a_thin_wall_is_named(caplog):
    wall = ds.Obstacle("wall", ds.Box((0.01, 0.2, 0.2)), (0.8, 0.5, 0.2))
    (message,) = warnings(caplog, cube_before(obstacles=(wall,)), dt=1e-3)
    assert "Obstacle 'wall' is 0.02 m thick, 0.64 grid cells" in message


@pytest.mark.parametrize(("particles", "named"), [(4, True), (27, False)])
def test_a_body_of_few_particles_for_the_grid_is_named(particles, named, caplog):
    """18.9 cells of volume; the numbers that it asks for are those of one and of eight in a cell."""
    edge = DX * 18.9 ** (1 / 3)
    cube = ds.SoftBody("cube", ds.Box((edge / 2,) * 3), (0.5, 0.5, 0.5), material=ds.Elastic(1e4), particles=particles)
    messages = [text for text in warnings(caplog, ds.Scene((cube,), grid_spacing=DX), dt=1e-3) if "particles in a grid" in text]
    assert len(messages) == named
    for message in messages:
        count = len(cube.rest_particles)
        assert f"SoftBody 'cube' has {count / 18.9:.2g} particles in a grid cell" in message
        assert "particles >= 19 (8 a cell are 152)" in message


@pytest.mark.parametrize(("x", "named"), [(1.05, False), (1.2, True), (-0.3, True)])
def test_tools_and_obstacles_outside_the_domain_are_named(x, named, caplog):
    things = {"tools": (ds.Tool("ball", ds.Sphere(0.1), (x, 0.5, 0.5)),), "obstacles": ()}
    for kind in ("Tool", "Obstacle"):
        cube = ds.SoftBody("cube", ds.Box((0.06,) * 3), (0.5, 0.5, 0.06), particles=1000)
        messages = warnings(caplog, ds.Scene((cube,), **things, grid_spacing=DX), dt=1e-4)
        assert [
            f"{kind} '{'ball' if kind == 'Tool' else 'post'}' at ({x}, 0.5, 0.5) lies outside" in text for text in messages
        ] == ([True] * named)
        things = {"tools": (), "obstacles": (ds.Obstacle("post", ds.Sphere(0.1), (x, 0.5, 0.5)),)}  # type: ignore[dict-item]


ROTATED = (0.8, 0.4, 0.2, 0.4)


@pytest.mark.parametrize(
    ("shape", "particles", "thick"),
    [
        (ds.Capsule(0.25, 0.004), 400, 0.008),
        (ds.Box((0.1, 0.1, 0.001)), 500, 0.002),
        (ds.Box((0.1, 0.1, 0.02)), 2000, 0.04),
        (ds.Cylinder(0.05, 0.04), 1000, 0.08),
        (ds.Torus(0.1, 0.02), 1500, 0.04),
        (ds.Sphere(0.06), 500, 0.12),
        (ds.Box((0.24, 0.06, 0.04)), 3600, 0.08),  # of 7 layers
    ],
    ids=["rope", "sheet", "slab", "cylinder", "torus", "ball", "bar"],
)
def test_thickness_is_that_of_the_shape(shape, particles, thick):
    body = ds.SoftBody("body", shape, (0.5, 0.5, 0.5), rotation=ROTATED, particles=particles)
    assert thickness(body) == pytest.approx(thick, rel=0.15)


@pytest.mark.parametrize(("shape", "name"), [(ds.Capsule(0.25, 0.004), "rope"), (ds.Box((0.1, 0.1, 0.001)), "sheet")])
def test_ropes_and_sheets_thinner_than_a_cell_are_named_with_what_would_do(shape, name, caplog):
    body = ds.SoftBody(name, shape, (0.5, 0.5, 0.5), particles=400)
    (message,) = warnings(caplog, ds.Scene((body,), grid_spacing=DX), dt=1e-3)
    assert f"SoftBody '{name}'" in message
    spacing = float(re.search(r"grid_spacing <= (\S+) m", message)[1])
    count = int(re.search(r"particles >= (\d+)", message)[1])
    assert spacing == pytest.approx(thickness(body), rel=0.01)
    assert count >= math.ceil(shape.volume / (thickness(body) / 2) ** 3)


def test_what_is_thick_enough_is_not_named(caplog):
    ball = ds.Tool("ball", ds.Sphere(0.05), (0.2, 0.5, 0.1))
    assert not warnings(caplog, cube_before(ball), dt=1e-3)


@pytest.mark.parametrize("kind", ["tools", "obstacles"])
def test_shapes_that_the_grid_does_not_know_are_named_and_so_are_thin_walls_of_them(kind, caplog):
    make = ds.Tool if kind == "tools" else ds.Obstacle

    def named(shape: ds.Shape, **fields) -> list[str]:
        things = {"tools": (), "obstacles": (), kind: (make("thing", shape, (0.3, 0.5, 0.2)),)}
        return warnings(caplog, replace(cube_before(*things["tools"], obstacles=things["obstacles"]), **fields), dt=1e-4)

    assert not named(ds.Capsule(0.1, 0.05))
    owner = make.__name__
    (slower,) = named(ds.Cylinder(0.1, 0.05))
    assert f"{owner} 'thing' (Cylinder)" in slower
    assert "coupled scene" in slower
    rigid = ds.RigidBody("box", ds.Box((0.05,) * 3), (0.8, 0.8, 0.05))
    assert not named(ds.Cylinder(0.1, 0.05), rigid_bodies=(rigid,))  # it is coupled anyway
    spacing = 0.012  # of 1000 particles in 12 cm
    (_slower, thin) = named(ds.Cup(0.1, 0.05, 0.25 * spacing))
    assert f"{owner} 'thing' is 0.003 m thick, 0.25 of the spacing of the particles of SoftBody 'cube'" in thin
    assert "particles >= 8000, or make it 0.006 m thick" in thin
