"""The integrators of rigid bodies: spins and chains keep their energy, and errors fall with the order of the method."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

import diffsim as ds
from benchmarks.rigid.ours import arm_scene
from benchmarks.rigid.problems import Arm
from tests.diffsim.rigid_scenes import inertia

F64 = torch.float64
G = 9.81


def simulator(articulation: ds.Articulation, *, dt: float = 1e-3, substeps: int = 50, gravity: float = G, **options):
    scene = ds.Scene(articulations=(articulation,), ground=None, gravity=(0.0, 0.0, -gravity))
    return ds.Simulator(scene, dt=dt, substeps=substeps, dtype=F64, **options)


def states_of(sim: ds.Simulator, time: float, **start) -> list[ds.State]:
    """After 0, 1, ... control steps, without controls; ``start`` replaces parts of the state at reset."""
    actions = torch.zeros(round(time / sim.control_dt), 1, sim.action_dim, dtype=F64)
    start = {name: torch.tensor(np.array([value]), dtype=F64) for name, value in start.items()}
    return sim.rollout(sim.reset().replace(**start), actions)


def energies(sim: ds.Simulator, states: list[ds.State]) -> tuple[torch.Tensor, torch.Tensor]:
    """Kinetic and potential energy (T,) of all links."""
    parameters, kinetic, potential = sim.parameters, [], []
    for state in states:
        links, T, V = sim.links(state), torch.zeros((), dtype=F64), torch.zeros((), dtype=F64)
        for n, info in enumerate(sim.link_infos[1:], start=1):
            mass, center = parameters[f"{info.name}.mass"], parameters[f"{info.name}.center"]
            xx, yy, zz, yz, xz, xy = parameters[f"{info.name}.inertia"].tolist()
            I = torch.tensor([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]], dtype=F64)
            R, spin = links.rotation[0, n], links.angular_velocity[0, n]
            velocity, local = links.velocity[0, n] + torch.linalg.cross(spin, R @ center), R.T @ spin
            T = T + 0.5 * (mass * velocity @ velocity + local @ I @ local)
            V = V - mass * parameters["gravity"] @ (links.position[0, n] + R @ center)
        kinetic.append(T)
        potential.append(V)
    return torch.stack(kinetic), torch.stack(potential)


def change_of_energy(sim: ds.Simulator, states: list[ds.State]) -> float:
    """The largest change of the energy, relative to the largest kinetic one."""
    kinetic, potential = energies(sim, states)
    total = kinetic + potential
    return float((total - total[0]).abs().max() / kinetic.max())


def free_body(*moments: float) -> ds.Articulation:
    return ds.Articulation("body", (ds.Link("body", ds.Joint("free", "free"), inertia=ds.Inertia(1.0, moments)),))


@pytest.mark.parametrize("speed", [20.0, 50.0, 100.0])
def test_a_spinning_box_keeps_its_energy_and_angular_momentum(speed):
    spin = speed * np.array([1.0, 0.5, 0.7]) / np.linalg.norm([1.0, 0.5, 0.7])
    box = ds.RigidBody("box", ds.Box((0.05, 0.1, 0.15)), (0.0, 0.0, 0.0), mass=1.0, angular_velocity=tuple(spin))
    sim = ds.Simulator(ds.Scene(rigid_bodies=(box,), ground=None, gravity=(0.0, 0.0, 0.0)), substeps=50, dtype=F64)
    states = states_of(sim, 5.0)
    assert change_of_energy(sim, states) < 1e-3
    moments = sim.parameters["box.inertia"][:3]
    turned = [sim.links(state).rotation[0, 1] @ (moments * state.qd[0, 3:]) for state in states]
    assert max(float((L - turned[0]).norm() / turned[0].norm()) for L in turned) < 1e-3
    assert float((states[-1].qd - states[0].qd)[0, 3:].norm()) > 0.1 * speed  # it tumbles


def test_a_gyroscope_precesses():
    """A fast heavy top precesses at m g l / (C w)."""
    mass, radius, length, spin = 1.0, 0.05, 0.05124, 200.0
    C = 0.5 * mass * radius**2
    disc = ds.Inertia(mass, (0.5 * C, 0.5 * C, C), (0.0, 0.0, length))
    sim = simulator(ds.Articulation("top", (ds.Link("top", ds.Joint("tip", "ball"), inertia=disc),)), substeps=5)
    lying = (math.sqrt(0.5), math.sqrt(0.5), 0.0, 0.0)  # its axis along -y
    states = states_of(sim, 1.0, q=lying, qd=(0.0, 0.0, spin))
    axes = torch.stack([sim.links(state).rotation[0, 1, :, 2] for state in states]).numpy()
    turned = np.unwrap(np.arctan2(axes[:, 1], axes[:, 0]))
    assert turned[-1] - turned[0] == pytest.approx(mass * G * length / (C * spin), rel=0.03)  # 2.01 rad
    assert np.abs(axes[:, 2]).max() < 0.1
    assert change_of_energy(sim, states) < 1e-3


def test_the_dzhanibekov_top_keeps_its_energy():
    sim = simulator(free_body(1e-2, 2e-2, 3e-2), gravity=0.0)
    states = states_of(sim, 10.0, qd=(0.0, 0.0, 0.0, 0.01, 10.0, 0.01))
    assert change_of_energy(sim, states) < 1e-3
    spin = torch.cat([state.qd[:, 4] for state in states])
    assert float(spin.min()) < -9.9 < 9.9 < float(spin.max())  # it turns over


def chain(kind: str, count: int) -> ds.Articulation:
    """Rods of 1 kg and 0.3 m, stretched out along x."""
    length = 0.3
    rod = ds.Inertia(1.0, (1e-3, length**2 / 12, length**2 / 12), (0.5 * length, 0.0, 0.0))
    joints = [ds.Joint(f"j{n}", kind, **({"axis": (0.0, 1.0, 0.0)} if kind == "revolute" else {})) for n in range(count)]
    links = [
        ds.Link(f"l{n}", joint, f"l{n - 1}" if n else None, (length if n else 0.0, 0.0, 0.0), inertia=rod)
        for n, joint in enumerate(joints)
    ]
    return ds.Articulation("chain", tuple(links))


@pytest.mark.parametrize("speed", [0.0, 2.0])
def test_a_chain_of_ball_joints_keeps_its_energy(speed):
    sim = simulator(chain("ball", 12))
    qd = speed * np.random.default_rng(0).normal(size=36)
    assert change_of_energy(sim, states_of(sim, 1.0, qd=qd)) < 0.01


def test_a_chain_of_hinges_keeps_its_energy_for_half_a_minute():
    sim = simulator(chain("revolute", 5))
    assert change_of_energy(sim, states_of(sim, 30.0)) < 0.05


KINDS = ("free", "revolute", "ball", "prismatic", "universal", "planar", "revolute")


def tree(kinds=KINDS, **joint) -> ds.Articulation:
    """One chain of joints of those kinds; nothing is aligned."""
    rng, links = np.random.default_rng(3), []
    for n, kind in enumerate(kinds):
        axis, other = np.linalg.qr(rng.normal(size=(3, 2)))[0].T
        second = {"second_axis": tuple(other)} if kind in ("universal", "planar") else {}
        place, turn = tuple(0.2 * rng.normal(size=3)), tuple(rng.normal(size=4))
        own = ds.Joint(f"j{n}", kind, axis=tuple(axis), **second, **joint)
        links.append(ds.Link(f"l{n}", own, f"l{n - 1}" if n else None, place, turn, inertia=inertia(rng)))
    return ds.Articulation("tree", tuple(links))


@pytest.mark.slow
@pytest.mark.parametrize(("integrator", "order"), [("midpoint", 2), ("euler", 1)])
def test_errors_fall_with_the_order_of_the_integrator(integrator, order):
    """Differences of runs at dt and dt / 2, so that no exact solution is needed."""
    ends = []
    for n in (1, 2, 4, 8):
        sim = simulator(tree(), dt=2e-3 / n, substeps=25 * n, integrator=integrator)
        last = states_of(sim, 0.1, qd=1.5 * np.random.default_rng(4).normal(size=sim.reset().qd.shape[1]))[-1]
        ends.append(torch.cat([last.q, last.qd], dim=1))
    apart = [float((coarse - fine).norm()) for coarse, fine in pairwise(ends)]
    for coarse, fine in pairwise(apart):
        assert coarse / fine == pytest.approx(2.0**order, rel=0.1)


@pytest.mark.slow
def test_the_midpoint_rule_is_reversible():
    sim = simulator(tree(), substeps=100)
    start = sim.reset().replace(qd=torch.tensor(np.random.default_rng(5).normal(size=(1, sim.reset().qd.shape[1]))))
    none = torch.zeros(2, 1, sim.action_dim, dtype=F64)
    there = sim.rollout(start, none)[-1]
    back = sim.rollout(there.replace(qd=-there.qd), none)[-1]
    assert float((there.q - start.q).norm()) > 0.1
    assert float((back.q - start.q).abs().max()) < 1e-9
    assert float((back.qd + start.qd).abs().max()) < 1e-8


@pytest.mark.parametrize("damping", [0.0, 0.1])
def test_the_jacobian_of_an_arm_s_tip_is_exact_to_a_percent(damping):
    """By the start after 1 s of fall; the exact one is extrapolated from much shorter steps. Euler's is 5 to 11% off."""
    arm = Arm(damping=damping, armature=0.0)

    def jacobian(parts: int) -> torch.Tensor:
        sim = ds.Simulator(arm_scene(arm), dt=1e-3 / parts, substeps=100 * parts, dtype=F64)
        q, qd = (torch.tensor(x)[None].requires_grad_() for x in arm.start)
        end = sim.links(sim.rollout(sim.reset().replace(q=q, qd=qd), torch.zeros(10, 1, 7, dtype=F64))[-1])
        tip = end.position[0, -1] + end.rotation[0, -1, :, 2] * 0.1
        return torch.stack([torch.cat(torch.autograd.grad(x, (q, qd), retain_graph=True), dim=1)[0] for x in tip])

    coarse, fine = jacobian(8), jacobian(16)
    exact = 2.0 * fine - coarse if damping else (4.0 * fine - coarse) / 3.0  # damping is implicit, of first order
    assert float((jacobian(1) - exact).norm() / exact.norm()) < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("integrator", ["midpoint", "euler"])
def test_gradients_of_every_kind_of_joint(integrator):
    sim = simulator(tree(damping=0.02, armature=0.01), dt=5e-3, substeps=4, integrator=integrator)
    state = sim.reset()
    rng = np.random.default_rng(6)

    def value(q, qd, gravity, mass, center, moments):
        given = {"gravity": gravity, "tree.l2.mass": mass, "tree.l4.center": center, "tree.l5.inertia": moments}
        states = sim.rollout(state.replace(q=q, qd=qd), torch.zeros(3, 1, sim.action_dim, dtype=F64), given)
        links = sim.links(states[-1])
        return states[-1].q.square().sum() + (links.position * links.velocity).sum() + states[1].qd.sum()

    defaults = sim.parameters
    inputs = {"q": state.q, "qd": torch.tensor(4.0 * rng.normal(size=state.qd.shape)), "gravity": defaults["gravity"]}
    inputs |= {"mass": defaults["tree.l2.mass"], "center": defaults["tree.l4.center"], "moments": defaults["tree.l5.inertia"]}
    ds.gradcheck(value, inputs, directions=2)


@pytest.mark.slow
def test_event_mode_keeps_the_energy_of_spins():
    spin = (40.0, 60.0, 20.0)
    box = ds.RigidBody("box", ds.Box((0.05, 0.1, 0.15)), (0.0, 0.0, 0.0), mass=1.0, angular_velocity=spin)
    scene = ds.Scene(
        rigid_bodies=(box,), ground=None, gravity=(0.0, 0.0, 0.0), contact=ds.ContactModel(impact="event")
    )  # fmt: skip
    sim = ds.Simulator(scene, substeps=50, dtype=F64)
    assert change_of_energy(sim, states_of(sim, 5.0)) < 1e-3


def test_an_unknown_integrator_is_refused():
    with pytest.raises(ds.InputError, match="integrator must be one of midpoint, euler"):
        simulator(free_body(0.01, 0.01, 0.01), integrator="leapfrog")
