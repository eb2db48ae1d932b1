"""What stops a tool: limits, the ground, obstacles, other tools; of any shape, with gradients, and the same in any batch."""

import numpy as np
import pytest
import torch
import trimesh

import diffsim as ds
from diffsim import runtime
from diffsim.scene.rotations import rotation_matrix
from diffsim.tools.tool_motion import ToolKinematics

F64 = torch.float64
FAR = ds.RigidBody("far", ds.Sphere(0.05), (9.0, 9.0, 9.0))
TURNED = (0.8, 0.3, -0.2, 0.4)
BALL = trimesh.creation.icosphere(2, 0.05)
SHAPES = {
    "sphere": ds.Sphere(0.05),
    "capsule": ds.Capsule(0.1, 0.05),
    "box": ds.Box((0.05, 0.04, 0.03)),
    "cylinder": ds.Cylinder(0.1, 0.05),
    "torus": ds.Torus(0.05, 0.02),
    "cone": ds.Cone(0.05, 0.04),
    "ellipsoid": ds.Ellipsoid((0.03, 0.05, 0.08)),
    "cup": ds.Cup(0.05, 0.04, 0.006),
    "bowl": ds.Bowl(0.06, 0.006),
    "tray": ds.OpenBox((0.1, 0.08, 0.04), 0.01),
    "mesh": ds.TriangleMesh(BALL.vertices, BALL.faces),
}
# of round surfaces, whose balls are between the points of contact that stand still
SLACK = 5e-4


def kinematics(*tools: ds.Tool, obstacles=(), ground=None, substeps=20) -> ToolKinematics:
    runtime.start()
    scene = ds.Scene(rigid_bodies=(FAR,), tools=tools, obstacles=obstacles, ground=ground)
    return ToolKinematics(scene, dt=1e-3, substeps=substeps, dtype=F64)


def start(*tools: ds.Tool) -> tuple[torch.Tensor, torch.Tensor]:
    position = torch.tensor([[tool.position for tool in tools]], dtype=F64)
    return position, torch.tensor([[tool.rotation for tool in tools]], dtype=F64)


def moved(*tools: ds.Tool, action: list[float], steps: int, **scene) -> tuple[np.ndarray, np.ndarray]:
    """Positions (M, 3) and rotations (M, 4) after so many control steps of 20 ms."""
    own = kinematics(*tools, **scene)
    position, rotation = start(*tools)
    for _ in range(steps):
        _, position, rotation = own.motion(position, rotation, torch.tensor([action], dtype=F64))
    return position[0].numpy(), rotation[0].numpy()


def surface(shape: ds.Shape, position: np.ndarray, rotation=(1.0, 0.0, 0.0, 0.0)) -> np.ndarray:
    return shape.surface_mesh().vertices @ rotation_matrix(tuple(rotation)).T + position


@pytest.mark.parametrize("name", SHAPES)
def test_the_ground_stops_a_tool_of_any_shape_which_slides_along_it(name):
    tool = ds.Tool("tool", SHAPES[name], (0.3, 0.3, 0.3), TURNED)
    position, _ = moved(tool, action=[0.1, 0.0, -1.0], steps=30, ground=ds.Ground(0.01))
    assert position[0, 0] == pytest.approx(0.36, abs=1e-9)
    assert surface(tool.shape, position[0], tool.rotation)[:, 2].min() == pytest.approx(0.01, abs=SLACK)


def test_a_rolling_pin_stays_on_the_floor():
    pin = ds.Tool("pin", ds.Cylinder(0.1, 0.04), (0.3, 0.3, 0.1), (0.5**0.5, 0.5**0.5, 0.0, 0.0), control=("x", "z", "ry"))
    position, _ = moved(pin, action=[0.2, -0.5, 5.0], steps=40, ground=ds.Ground())
    np.testing.assert_allclose(position[0], (0.46, 0.3, 0.04), atol=1e-6)


def test_a_tool_that_turns_into_the_ground_is_pushed_out():
    bar = ds.Tool("bar", ds.Box((0.2, 0.01, 0.01)), (0.3, 0.3, 0.05), control=("ry",))
    position, _ = moved(bar, action=[1.0], steps=50, ground=ds.Ground())
    assert position[0, 2] == pytest.approx(0.2 * np.sin(1.0) + 0.01 * np.cos(1.0), abs=1e-9)


THIN = ("cup", "bowl", "tray")  # they move by small moves


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.long) if name in THIN else name for name in SHAPES])
def test_two_tools_of_any_shape_do_not_cross(name):
    """On rails, one faster than the other, and a little beside each other."""
    for other in ("torus", "box"):
        tools = (
            ds.Tool("a", SHAPES[name], (0.2, 0.3, 0.3), control=("x",)),
            ds.Tool("b", SHAPES[other], (0.6, 0.32, 0.31), control=("x",)),
        )
        (a, b), _ = moved(*tools, action=[2.0, -1.0], steps=12)
        assert a[0] < b[0]
        one, two = surface(tools[0].shape, a), surface(tools[1].shape, b)
        depth = -min(tools[1].shape.signed_distance(one - b).min(), tools[0].shape.signed_distance(two - a).min())
        assert depth < 2.0 * SLACK
        gap = min(tools[1].shape.signed_distance(one - b).min(), tools[0].shape.signed_distance(two - a).min())
        assert gap < 0.012  # they have met; the vertices of coarse meshes are apart


@pytest.mark.parametrize(
    ("speeds", "expected"),
    [
        ((1.0, -1.0), (0.34, 0.36)),
        pytest.param((1.0, -0.4), (0.4, 0.42), marks=pytest.mark.long),
        ((1.0, 0.0), (0.48, 0.5)),
        ((1.0, 0.5), (0.88, 0.9)),
    ],
    ids=["head on", "by their speeds", "one stands", "one flees"],
)
def test_two_plates_meet_where_their_speeds_say(speeds, expected):
    plate = ds.Box((0.01, 0.1, 0.1))
    tools = [ds.Tool(name, plate, (x, 0.3, 0.3), control=("x",)) for name, x in (("a", 0.2), ("b", 0.5))]
    (a, b), _ = moved(*tools, action=list(speeds), steps=40)  # 0.8 s, and b at .5 m/s goes on to .9 m
    assert (a[0], b[0]) == pytest.approx(expected, abs=1e-9)


def test_thin_plates_do_not_pass_each_other_within_a_control_step():
    plate = ds.Box((0.002, 0.1, 0.1))
    tools = [ds.Tool(name, plate, (x, 0.3, 0.3), control=("x",)) for name, x in (("a", 0.2), ("b", 0.5))]
    (a, b), _ = moved(*tools, action=[2.5, -2.5], steps=6)  # 5 cm each in a control step
    assert (a[0], b[0]) == pytest.approx((0.348, 0.352), abs=1e-9)


def test_stops_at_says_what_stops_a_tool():
    ball, wall = ds.Sphere(0.05), ds.Obstacle("wall", ds.Cylinder(0.4, 0.1), (0.6, 0.3, 0.3))
    for stops, reached in (((), 0.7), (("ground",), 0.7), (("obstacles",), 0.45)):
        tool = ds.Tool("ball", ball, (0.3, 0.3, 0.3), stops_at=stops)
        position, _ = moved(tool, action=[1.0, 0.0, 0.0], steps=20, obstacles=(wall,), ground=ds.Ground())
        assert position[0, 0] == pytest.approx(reached, abs=1e-9)
    free = ds.Tool("free", ball, (0.6, 0.3, 0.3), control=("x",), stops_at=())
    other = ds.Tool("other", ball, (0.3, 0.3, 0.3), control=("x",))
    (one, two), _ = moved(free, other, action=[-0.5, 0.5], steps=20)  # the one goes on and pushes back the other
    assert one[0] == pytest.approx(0.4, abs=1e-9)
    assert two[0] == pytest.approx(0.3, abs=1e-9)


def test_what_overlaps_as_declared_stays_as_it_is():
    tool = ds.Tool("ball", ds.Sphere(0.05), (0.3, 0.3, 0.02), control=("x", "z"))
    position, _ = moved(tool, action=[0.5, -0.5], steps=10, ground=ds.Ground())
    np.testing.assert_allclose(position[0], (0.4, 0.3, 0.02), atol=1e-12)


def test_limits_clip_the_motion_and_its_velocity():
    tool = ds.Tool("ball", ds.Sphere(0.05), (0.3, 0.3, 0.3), lower=(None, None, 0.25), upper=(0.4, float("inf"), None))
    own = kinematics(tool)
    position, rotation = start(tool)
    action = torch.tensor([[0.5, 0.1, -0.3]], dtype=F64)
    for _ in range(12):
        motion, position, rotation = own.motion(position, rotation, action)
    np.testing.assert_allclose(position[0, 0], (0.4, 0.324, 0.25), atol=1e-12)
    np.testing.assert_allclose(motion.velocity[0, 0], (0.0, 0.1, 0.0), atol=1e-12)
    beyond = position + torch.tensor([0.1, 0.0, 0.0], dtype=F64)  # a state beyond a limit is not thrown back
    _, after, _ = own.motion(beyond, rotation, action)
    np.testing.assert_allclose(after[0, 0], (0.5, 0.326, 0.25), atol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lower": (0.4, None, None)}, "position .* must lie within lower"),
        ({"upper": (0.4, 0.2, None)}, "position .* must lie within"),
        ({"lower": (0.1, 0.1, 0.1), "upper": (0.9, 0.05, 0.9)}, "lower must not exceed upper"),
        ({"upper": (1.0, 1.0)}, "upper must be three numbers or None"),
        ({"stops_at": "ground"}, "stops_at must be distinct ones out of"),
        ({"stops_at": ("walls",)}, "stops_at must be distinct ones out of"),
        ({"shape": ds.Plane()}, "shape must have an end"),
    ],
)
def test_bad_input_is_refused(change, message):
    right = {"name": "tool", "shape": ds.Sphere(0.05), "position": (0.3, 0.3, 0.3)}
    with pytest.raises(ds.InputError, match=message):
        ds.Tool(**{**right, **change})


def busy() -> tuple[tuple[ds.Tool, ...], dict]:
    """Tools that press on each other, on the ground, on a bowl and on a limit."""
    tools = (
        ds.Tool("cup", ds.Cup(0.05, 0.04, 0.02, 0.03), (0.3, 0.3, 0.08), TURNED, control=("x", "y", "z", "rx")),
        ds.Tool("pin", SHAPES["cylinder"], (0.42, 0.32, 0.09), (0.8, 0.55, 0.1, 0.1)),
        ds.Tool("ball", SHAPES["sphere"], (0.6, 0.3, 0.2), control=("x", "y"), upper=(0.61, None, None)),
    )
    return tools, {"obstacles": (ds.Obstacle("bowl", ds.Bowl(0.06, 0.02), (0.72, 0.3, 0.2)),), "ground": ds.Ground()}


def test_gradients_of_stopped_tools():
    tools, scene = busy()
    own = kinematics(*tools, **scene)
    position, rotation = start(*tools)
    action = torch.tensor([[1.0, 0.3, -0.8, 2.0, -1.2, 0.2, -0.9, 1.3, 0.4]], dtype=F64)

    def twice(position: torch.Tensor, rotation: torch.Tensor, action: torch.Tensor) -> tuple[torch.Tensor, ...]:
        for _ in range(2):
            motion, position, rotation = own.motion(position, rotation, action)
        return position, motion.twist, rotation

    free = position + 0.04 * (action @ own._selection).reshape(1, 3, 6)[..., :3]
    assert float((twice(position, rotation, action)[0] - free).norm(dim=-1).min()) > 1e-3  # all of them are stopped
    inputs = [tensor.clone().requires_grad_() for tensor in (position, rotation, action)]
    assert torch.autograd.gradcheck(twice, inputs, eps=1e-7, rtol=1e-6, atol=1e-6, fast_mode=True)


def test_a_batch_is_its_environments_bit_for_bit():
    tools, scene = busy()
    own = kinematics(*tools, **scene)
    generator = torch.Generator().manual_seed(0)
    position, rotation = (each.expand(3, -1, -1) for each in start(*tools))
    position = position + 0.02 * torch.randn(3, 3, 3, generator=generator, dtype=F64)
    action = 4.0 * torch.randn(3, 10, generator=generator, dtype=F64)[:, :9]
    together = own.motion(position, rotation, action)[1:]
    for n in range(3):
        alone = own.motion(position[n : n + 1], rotation[n : n + 1], action[n : n + 1])[1:]
        for one, all_of_them in zip(alone, together, strict=True):
            assert torch.equal(one[0], all_of_them[n])


@pytest.mark.parametrize("name", ["capsule", "box", "ellipsoid", "mesh"])
def test_what_is_passed_over_as_too_far_away_is_not_touched(name, monkeypatch):
    """Random walks round an obstacle and beside another tool, with the distances looked at in every move and only in some."""
    tools = (ds.Tool("a", SHAPES[name], (0.2, 0.3, 0.3)), ds.Tool("b", SHAPES["box"], (0.6, 0.3, 0.3)))
    obstacle = ds.Obstacle("wall", ds.Box((0.02, 0.2, 0.2)), (0.4, 0.3, 0.3))
    calls = []

    def walk() -> torch.Tensor:
        own = kinematics(*tools, obstacles=(obstacle,))
        looked = own._stops._contact

        def counted(pair, tools):
            calls.append(pair)
            return looked(pair, tools)

        monkeypatch.setattr(own._stops, "_contact", counted)
        position, rotation = (each.expand(8, -1, -1) for each in start(*tools))
        generator = torch.Generator().manual_seed(1)
        places = []
        for _ in range(12):
            action = 3.0 * torch.randn(8, 6, generator=generator, dtype=F64)
            _, position, rotation = own.motion(position, rotation, action)
            places.append(position)
        return torch.stack(places)

    some = walk()
    few = len(calls)
    calls.clear()
    monkeypatch.setattr("diffsim.tools.tool_stops.STEEPEST", 1e9)
    assert torch.equal(some, walk())
    assert few < 0.95 * len(calls)
