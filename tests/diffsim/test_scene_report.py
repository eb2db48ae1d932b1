"""`diffsim.check`: each thing that it finds in a scene that has it and not in one that has not, and that its largest substep
is true."""

import dataclasses
import logging
import math
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch

import diffsim as ds
from diffsim.checks.findings import WARNED_OF
from diffsim.rigid.rigid_step_limits import largest_step
from tests.diffsim.test_inputs import refused

F64 = torch.float64
DX = 1 / 24
CUBE = ds.Box((0.06,) * 3)


def cube(at=(0.5, 0.5, 0.3), *, name="cube", shape: ds.Shape = CUBE, **fields) -> ds.SoftBody:
    return ds.SoftBody(name, shape, at, **{"particles": 216, **fields})


def soft(*bodies: ds.SoftBody, **fields) -> ds.Scene:
    return ds.Scene(bodies or (cube(),), **{"grid_spacing": DX, **fields})


def box(at, *, name="box", **fields) -> ds.RigidBody:
    return ds.RigidBody(name, ds.Box((0.05,) * 3), at, **fields)


def rigid(*bodies: ds.RigidBody, **fields) -> ds.Scene:
    return ds.Scene(rigid_bodies=bodies or (box((0.5, 0.5, 0.05)),), **fields)


def arm(height: float, **joint) -> ds.Articulation:
    """A ball of 5 cm and 2 kg on a rail."""
    geometry = ds.Geometry(ds.Sphere(0.05), (0.0, 0.0, 0.02))
    rail = ds.Joint("rail", "prismatic", (1.0, 0.0, 0.0), **joint)
    inertia = ds.Inertia(2.0, (1e-3,) * 3)
    link = ds.Link("tip", rail, None, (0.5, 0.5, height), inertia=inertia, geometries=(geometry,))
    return ds.Articulation("arm", (link,))


def servo(gain: float, damping: float = 0.0) -> ds.Articulation:
    return dataclasses.replace(arm(0.5), actuators=(ds.Actuator("servo", "rail", "position", gain=gain, damping=damping),))


def tendon(k: float, c: float = 0.0, *, limit: float | None = None, coefficient: float = 1.0) -> ds.Articulation:
    limits = None if limit is None else (-0.1, 0.1)
    cord = ds.Tendon("cord", {"rail": coefficient}, stiffness=k, damping=c, limits=limits, limit_stiffness=limit)
    return dataclasses.replace(arm(0.5), tendons=(cord,))


def tool(at, half=0.05) -> ds.Tool:
    return ds.Tool("tool", ds.Box((half, 0.05, 0.05)), at)


def wall(at, half=0.05) -> ds.Obstacle:
    return ds.Obstacle("wall", ds.Box((half, 0.05, 0.05)), at)


def compliant(k: float) -> ds.ContactModel:
    return ds.ContactModel(smoothing=1e-3, stiffness=k)


def drum(x: float) -> ds.Obstacle:
    """Of a shape that soft bodies meet particle by particle."""
    return ds.Obstacle("drum", ds.Cylinder(0.1, 0.05), (x, 0.5, 0.3))


def of_stiffness(E: float) -> ds.Scene:
    return soft(cube(material=ds.Elastic(E)))


def at_distance(x: float) -> ds.Scene:
    return soft(cube((0.5 + x, 0.5, 0.3)), lower=(x, 0.0, 0.0), upper=(x + 1.0, 1.0, 1.0))


def with_limit(k: float) -> ds.Scene:
    return ds.Scene(articulations=(arm(0.5, limits=(-0.1, 0.1), limit_stiffness=k),))


AWAY_BOX = box((0.2, 0.2, 0.2))
CUBES, BOXES, TIP, RAIL = "SoftBody 'cube'", "RigidBody 'box'", "Link 'arm.tip'", "Joint 'arm.rail'"
TOOL, WALL = "Tool 'tool'", "Obstacle 'wall'"
AWAY, STEP = "outside the domain", "time step"
CORNER = (0.2, 0.2, 0.2)

# what is found, of which thing, how bad it is; a scene with a number at which it has it, and with one at which it has not
CASES: dict[str, tuple[str, str, str, Callable[..., ds.Scene], float, float]] = {
    "sparse": ("particles a cell", CUBES, "warning", lambda n: soft(cube(particles=n)), 8, 216),
    "sheet": ("thickness", CUBES, "warning", lambda h: soft(cube(shape=ds.Box((0.1, 0.1, h)))), 0.005, 0.06),
    "thin tool": ("thickness", TOOL, "warning", lambda h: soft(tools=(tool(CORNER, h),)), 0.01, 0.05),
    "thin wall": ("thickness", WALL, "warning", lambda h: soft(obstacles=(wall(CORNER, h),)), 0.01, 0.05),
    "tool away": (AWAY, TOOL, "warning", lambda z: soft(tools=(tool((0.2, 0.2, z)),)), 1.2, 0.2),
    "wall away": (AWAY, WALL, "warning", lambda z: soft(obstacles=(wall((0.2, 0.2, z)),)), 1.2, 0.2),
    "box away": (AWAY, BOXES, "note", lambda z: soft(rigid_bodies=(box((0.2, 0.2, z)),)), 1.2, 0.2),
    "soft on soft": ("overlap", CUBES, "warning", lambda z: soft(cube(), cube((0.5, 0.5, z), name="other")), 0.4, 0.43),
    "soft on wall": ("overlap", CUBES, "warning", lambda z: soft(obstacles=(wall((0.5, 0.5, z)),)), 0.38, 0.42),
    "soft on drum": ("overlap", CUBES, "warning", lambda x: soft(obstacles=(drum(x),), rigid_bodies=(AWAY_BOX,)), 0.55, 0.62),
    "soft on box": ("overlap", CUBES, "warning", lambda z: soft(rigid_bodies=(box((0.5, 0.5, z)),)), 0.38, 0.42),
    "soft on link": ("overlap", CUBES, "warning", lambda z: soft(articulations=(arm(z),)), 0.36, 0.4),
    "soft in tool": ("overlap", CUBES, "note", lambda z: soft(tools=(tool((0.5, 0.5, z)),)), 0.38, 0.42),
    "box on box": ("overlap", BOXES, "warning", lambda z: rigid(box((0.5,) * 3), box((0.5, 0.5, z), name="b")), 0.58, 0.602),
    "box in ground": ("overlap", BOXES, "warning", lambda z: rigid(box((0.5, 0.5, z))), 0.02, 0.05),
    "box below": ("overlap", BOXES, "warning", lambda z: rigid(box((0.5, 0.5, z))), -0.3, 0.05),
    "box in tool": ("overlap", BOXES, "warning", lambda z: rigid(tools=(tool((0.5, 0.5, z)),)), 0.12, 0.16),
    "box in wall": ("overlap", BOXES, "warning", lambda z: rigid(obstacles=(wall((0.5, 0.5, z)),)), 0.12, 0.16),
    "link in ground": ("overlap", TIP, "warning", lambda z: ds.Scene(articulations=(arm(z),)), 0.0, 0.03),
    "tool in ground": ("overlap", TOOL, "note", lambda z: rigid(tools=(tool((0.2, 0.2, z)),)), 0.02, 0.05),
    "tool in wall": (
        "overlap", TOOL, "note", lambda x: rigid(tools=(tool(CORNER),), obstacles=(wall((x, 0.2, 0.2)),)), 0.25, 0.32
    ),
    "stiff": (STEP, CUBES, "warning", of_stiffness, 1e6, 1e5),
    "too stiff": (STEP, CUBES, "error", of_stiffness, 1e8, 1e5),
    "viscous": (STEP, CUBES, "warning", lambda eta: soft(cube(material=ds.Liquid(viscosity=eta))), 500, 50),
    "servo": (STEP, RAIL, "warning", lambda k: ds.Scene(articulations=(servo(k),)), 1.2e7, 6e6),
    "spring": (STEP, RAIL, "error", lambda k: ds.Scene(articulations=(arm(0.5, spring_stiffness=k),)), 1e8, 6e6),
    "limit": (STEP, RAIL, "warning", with_limit, 2e7, 1e7),
    "tendon": (STEP, RAIL, "warning", lambda k: ds.Scene(articulations=(tendon(k),)), 1.2e7, 6e6),
    "tendon's limit": (STEP, RAIL, "warning", lambda k: ds.Scene(articulations=(tendon(0.0, limit=k),)), 2e7, 1e7),
    "contact": (STEP, "Link 'box'", "warning", lambda k: rigid(contact=compliant(k)), 2e6, 2e5),
    "light": ("lightness", BOXES, "warning", lambda m: soft(rigid_bodies=(box((0.2, 0.2, 0.2), mass=m),)), 0.05, 0.5),
    "rather light": ("lightness", BOXES, "note", lambda m: soft(rigid_bodies=(box((0.2, 0.2, 0.2), mass=m),)), 0.15, 0.5),
    "shaking": ("f32", CUBES, "warning", of_stiffness, 1e12, 1e6),
    "rounded": ("f32", CUBES, "note", of_stiffness, 1e10, 1e6),
    "far": ("f32", "the domain", "warning", at_distance, 1e4, 1.0),
    "trembling": ("f32", "contact of rigid things", "warning", lambda x: rigid(box((x, 0.5, 0.05))), 100.0, 0.5),
}  # fmt: skip
SHORT = {"shaking": 1e-9, "rounded": 1e-9, "trembling": 1e-4}  # substeps, s


@pytest.mark.parametrize("case", CASES)
def test_what_a_scene_has_is_found_in_it_alone(case):
    what, name, severity, make, having, lacking = CASES[case]
    dt = SHORT.get(case, 1e-3)
    report = ds.check(make(having), dt)
    (own,) = (finding for finding in report.of(what) if finding.name == name and finding.severity != "fine")
    assert own.severity == severity
    assert "'" not in name or name.split("'")[1] in own.text
    assert own.advice or what == "overlap"
    assert str(own) in str(report)
    assert report.worst == own
    assert report.ok == (severity == "note")
    clean = ds.check(make(lacking), dt)
    assert clean.worst is None


def test_f64_knows_no_last_places():
    assert not ds.check(of_stiffness(1e12), dt=1e-9, dtype=F64).of("f32")


def test_the_allowed_value_is_where_it_becomes_fine():
    """The spring's bound in closed form, k dt^2 - 2 c dt = 4 m, and the Courant number's. A tendon that is twice the
    coordinate is four times as stiff there."""
    m, k, c = 2.0, 1.2e7, 500.0
    for own_arm in (servo(k, c), tendon(k / 4.0, c / 4.0, coefficient=2.0)):
        (own,) = ds.check(ds.Scene(articulations=(own_arm,))).of("time step")
        assert own.allowed == pytest.approx((c + math.sqrt(c * c + 4.0 * m * k)) / k, rel=1e-6)
    (own,) = ds.check(soft(cube(material=ds.Elastic(1e6)))).of("time step")
    assert own.allowed == pytest.approx(0.5 * DX / ds.Elastic(1e6).wave_speed, rel=1e-12)
    assert ds.check(soft(cube(material=ds.Elastic(1e6))), dt=own.allowed).ok


def test_coupled_springs_have_the_step_of_their_fastest_mode():
    """Two masses on springs, the frequencies (3 -+ sqrt 5) / 2 k / m."""
    M, K = 2.0 * np.eye(2), 1e6 * np.array([[2.0, -1.0], [-1.0, 1.0]])
    fastest = math.sqrt((3.0 + math.sqrt(5.0)) / 2.0 * 1e6 / 2.0)
    allowed, _mode = largest_step(M, K, np.zeros((2, 2)))
    assert allowed == pytest.approx(2.0 / fastest, rel=1e-9)


def test_the_report_is_a_frozen_record_that_prints_as_a_table():
    report = ds.check(soft(cube(particles=8), tools=(tool((0.2,) * 3, 0.01),)), num_envs=3)
    assert [finding.severity for finding in report.findings[:2]] == ["warning", "warning"]
    assert [finding.rank for finding in report.findings] == sorted((f.rank for f in report.findings), reverse=True)
    printed = str(report)
    for part in ("SoftBody 'cube'", "Tool 'tool'", "particles a cell", "thickness", "largest stable dt", "a state", "thread"):
        assert part in printed
    assert max(map(len, printed.splitlines()[: len(report.findings) + 1])) <= 140
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.findings = ()
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.findings[0].value = 0.0
    assert ds.check(rigid()).largest_dt == math.inf  # implicit contact bears any


def test_wrong_arguments_are_refused_as_the_simulator_refuses_them():
    with refused("scene must be a diffsim.Scene", "3"):
        ds.check(3)
    with refused("dt must be a positive number of seconds", "-1"):
        ds.check(soft(), dt=-1)
    with refused("num_envs=1000000000000", "GB"):
        ds.check(soft(), num_envs=10**12)


def test_what_does_not_fit_is_an_error(monkeypatch):
    assert ds.check(soft()).of("memory")[0].severity == "fine"
    monkeypatch.setattr("diffsim.checks.scene_report.machine_memory", lambda: 1e5)
    (own,) = ds.check(soft()).of("memory")
    assert own.severity == "error"
    assert own.value > own.allowed == 1e-4


def test_the_simulator_warns_of_the_worst_by_name_and_counts_the_others(caplog):
    tools = tuple(ds.Tool(f"blade {n}", ds.Box((0.001, 0.05, 0.05)), (0.1 * n, 0.9, 0.9)) for n in range(1, 9))
    scene = soft(cube(material=ds.Elastic(1e8)), tools=tools)
    with caplog.at_level(logging.WARNING, "diffsim"):
        ds.Simulator(scene)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == WARNED_OF + 1
    assert "SoftBody 'cube': its pressure waves" in messages[0]  # an error comes first
    assert all("blade" in message for message in messages[1:-1])
    assert messages[-1].startswith("3 more")
    caplog.clear()
    with caplog.at_level(logging.WARNING, "diffsim"):
        ds.check(scene)
    assert not caplog.records


def test_nothing_is_compiled():
    code = (
        "import sys, diffsim as ds\n"
        "body = ds.SoftBody('a', ds.Sphere(0.1), (0.5, 0.5, 0.3))\n"
        "box = ds.RigidBody('b', ds.Sphere(0.1), (0.2, 0.2, 0.3))\n"
        "ds.check(ds.Scene((body,), rigid_bodies=(box,)))\n"
        "print('taichi' in sys.modules, 'quadrants' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False False"


# the largest substep is true

MATERIALS = {
    "elastic": ds.Elastic(5e3, 0.3),
    "neo_hookean": ds.NeoHookean(5e3, 0.3),
    "mooney_rivlin": ds.MooneyRivlin(800.0, 300.0, 6e3),
    "kelvin_voigt": ds.KelvinVoigt(ds.Elastic(5e3, 0.3), 0.5, 0.2),
    "plastic": ds.ElastoPlastic(5e3, 0.3, yield_stress=150.0, hardening=300.0),
    "liquid": ds.Liquid(bulk_modulus=5e3),
    "sand": ds.Sand(5e3, 0.3, 1e3),
    "snow": ds.Snow(5e3, 0.3, 1e3),
}
# soft ones beside the body that is looked at, so that all scenes share the kernels
IDLE = {
    "viscous": ds.KelvinVoigt(ds.Elastic(10.0), 1e-3),
    "flowing": ds.Liquid(bulk_modulus=10.0),
    "other": ds.MooneyRivlin(1.0, 1.0, 10.0),
}


def block(material: ds.Material) -> ds.Scene:
    """A block on the ground."""
    bodies = [cube((0.2, 0.3, 0.1), name="block", shape=ds.Box((0.08,) * 3), material=material, particles=343)]
    for n, (name, own) in enumerate(IDLE.items()):
        bodies.append(cube((0.45 + 0.25 * n, 0.3, 0.7), name=name, shape=ds.Box((0.05,) * 3), material=own, particles=27))
    return ds.Scene(tuple(bodies), upper=(1.2, 0.6, 0.9), grid_spacing=DX)


@pytest.mark.slow
@pytest.mark.parametrize("name", MATERIALS)
def test_a_soft_body_bears_the_largest_step_and_bursts_at_three_times_it(name):
    scene = block(MATERIALS[name])
    allowed = min(finding.allowed for finding in ds.check(scene).of("time step") if finding.name == "SoftBody 'block'")

    def run(dt: float) -> float:
        """The largest speed after 200 substeps."""
        sim = ds.Simulator(scene, dt=dt, substeps=50)
        state = sim.reset()
        noise = torch.randn(state.v.shape, generator=torch.Generator().manual_seed(0))
        state = sim.rollout(state.replace(v=state.v + 0.02 * noise), torch.zeros(4, 1, 0))[-1]
        return float(state.v[:, sim.particle_slice("block")].norm(dim=-1).max())

    assert run(0.9 * allowed) < 1.0
    with pytest.raises(ds.SimulationError) as caught:
        run(3.0 * allowed)
    assert caught.value.name == "block"


@pytest.mark.slow
@pytest.mark.parametrize("make", [servo, pytest.param(tendon, marks=pytest.mark.long)])
@pytest.mark.parametrize("damping", [0.0, 300.0])
def test_a_spring_is_stable_up_to_the_largest_step_and_not_beyond(make, damping):
    scene = ds.Scene(articulations=(make(1e5, damping),), ground=None, gravity=(0.0, 0.0, 0.0))
    allowed = ds.check(scene).largest_dt

    def run(dt: float) -> float:
        """The largest distance from its rest in the last of 400 substeps, over that at first."""
        sim = ds.Simulator(scene, dt=dt, substeps=40, dtype=F64)
        state = sim.reset()
        states = sim.rollout(state.replace(q=state.q + 0.1), torch.zeros(10, 1, sim.action_dim, dtype=F64))
        return max(float(each.q.abs().max()) for each in states[-3:]) / 0.1

    assert run(0.97 * allowed) < 10.0
    with pytest.raises(ds.SimulationError):
        run(1.03 * allowed)


@pytest.mark.slow
def test_memory_is_that_of_the_buffers_within_a_factor_of_two():
    scene = soft(cube(shape=ds.Box((0.15,) * 3), particles=3000))
    costs = ds.check(scene, num_envs=2, dt=5e-4).costs
    sim = ds.Simulator(scene, num_envs=2, dt=5e-4)
    state = sim.reset()
    assert costs.state_bytes == sum(tensor.numel() * tensor.element_size() for tensor in state.tensors().values())
    v = state.v.clone().requires_grad_()
    sim.step(state.replace(v=v), torch.zeros(2, 0)).x.sum().backward()
    held = sim._soft.solver._schedule._buffers._held  # type: ignore[attr-defined]
    grids = ("grid", "velocity", "grid bar")  # pages of which the particles touch a part
    kept = sum(each.numel() * each.element_size() for name, each in held.items() if name not in grids)
    assert 0.5 < costs.backward_bytes / kept < 2.0


def test_an_obstacle_of_several_parts_overlaps_by_its_own_name():
    boards = ds.Compound(((ds.Box((0.05, 0.05, 0.05)), (0.0, 0.0, 0.05)), (ds.Box((0.05, 0.05, 0.05)), (0.2, 0.0, 0.05))))
    scene = ds.Scene(
        obstacles=(ds.Obstacle("boards", boards, (0.0, 0.0, 0.0)), ds.Obstacle("post", ds.Sphere(0.05), (1.0, 1.0, 0.05))),
        rigid_bodies=(
            ds.RigidBody("one", ds.Sphere(0.05), (0.2, 0.0, 0.06)),
            ds.RigidBody("other", ds.Sphere(0.05), (1.0, 1.0, 0.07)),
        ),
    )
    found = [finding.text for finding in ds.check(scene).of("overlap")]
    assert len(found) == 2
    assert any("'one' reaches" in text and "Obstacle 'boards'" in text for text in found)
    assert any("'other' reaches" in text and "Obstacle 'post'" in text for text in found)
