"""Point 1: friction that sticks: on slopes, in joints, in grips."""

from __future__ import annotations

import math

import torch

import diffsim as ds
from benchmarks.physics.registry import Results, about, experiment, none, within, yes
from benchmarks.physics.worlds import (
    F64,
    G,
    derivative,
    fitted_rotation,
    leaf,
    rollout,
    simulator,
    tilted,
    turn_between,
)

MU = 0.5
MILLIMETRE = 1e-3
GRIP_SECONDS, GRIP_SETTLES = 30.0, 1.0


def downhill(degrees: float, mu: float = MU) -> float:
    """Acceleration of Coulomb's block on a slope, m/s^2."""
    return G * (math.sin(math.radians(degrees)) - mu * math.cos(math.radians(degrees)))


def box_on_ground(angles: int) -> tuple[ds.Simulator, ds.State]:
    """The 10 cm, 1 kg box, settled for .5 s under a gravity that does not lean."""
    box = ds.RigidBody("box", ds.Box((0.05,) * 3), (0.3, 0.5, 0.05), mass=1.0, friction=MU)
    sim = simulator(ds.Scene(rigid_bodies=(box,), ground=ds.Ground(friction=MU)), num_envs=angles)
    return sim, rollout(sim, 0.5)[-1]


@experiment(
    "slope_sticks", 1,
    {
        "20 deg, moved in 10 s": none(0.1 * MILLIMETRE, "m"),
        "26 deg, moved in 10 s": none(0.1 * MILLIMETRE, "m"),
        "27 deg, slid in 1 s": within(0.5 * downhill(27.0), 0.05, "m"),
        "35 deg, slid in 1 s": within(0.5 * downhill(35.0), 0.01, "m"),
        "35 deg, d slid / d mu": within(-0.5 * G * math.cos(math.radians(35.0)), 0.02, "m"),
        "20 deg, d moved / d mu": none(1e-3, "m"),
    },
)  # fmt: skip
def slope() -> Results:
    """x = g (sin a - mu cos a) t^2 / 2 where tan a > mu = tan 26.565 deg, else 0; box and ground both have mu, so dx/dmu is
    -g cos a t^2 / 2 or 0. What sticks is first left for 1 s under the leaning gravity."""
    sim, state = box_on_ground(2)
    lean = tilted(20.0, 26.0)
    settled = rollout(sim, 1.0, state, parameters={"gravity": lean})[-1]
    end = rollout(sim, 10.0, settled, parameters={"gravity": lean})[-1]
    moved = (end.q[:, :3] - settled.q[:, :3]).norm(dim=1)
    yield "20 deg, moved in 10 s", moved[0]
    yield "26 deg, moved in 10 s", moved[1]
    sim, state = box_on_ground(3)
    mu = leaf(MU)
    parameters = {"gravity": tilted(27.0, 35.0, 20.0), "box.friction": mu, "ground.friction": mu}
    slid = rollout(sim, 1.0, state, parameters=parameters)[-1].q[:, 0] - state.q[:, 0]
    yield "27 deg, slid in 1 s", slid[0].item()
    yield "35 deg, slid in 1 s", slid[1].item()
    for case, n in (("35 deg, d slid / d mu", 1), ("20 deg, d moved / d mu", 2)):
        (by_mu,) = torch.autograd.grad(slid[n], mu, retain_graph=True)
        yield case, by_mu.item()


@experiment(
    "slope_sticks soft",
    1,
    {"20 deg, moved in 10 s": none(MILLIMETRE, "m"), "35 deg, slid in 1 s": within(0.5 * downhill(35.0), 0.05, "m")},
)
def soft_slope() -> Results:
    """The same box as a soft body; it leans as it settles, so its drift is taken from the second second on."""
    body = ds.SoftBody("box", ds.Box((0.05,) * 3), (0.3, 0.5, 0.05), material=ds.Elastic(1e5, 0.3, 1000.0), particles=512)
    scene = ds.Scene((body,), ground=ds.Ground(friction=MU), upper=(2.0, 1.0, 0.4), grid_spacing=0.025)
    sim = simulator(scene, dt=5e-4)
    still = rollout(sim, 0.5)[-1]
    settled = rollout(sim, 1.0, still, parameters={"gravity": tilted(20.0)[0]})[-1]
    end = rollout(sim, 10.0, settled, parameters={"gravity": tilted(20.0)[0]})[-1]
    yield "20 deg, moved in 10 s", (end.x - settled.x).mean(dim=1).norm()
    slid = rollout(sim, 1.0, still, parameters={"gravity": tilted(35.0)[0]})[-1].x[0, :, 0].mean() - still.x[0, :, 0].mean()
    yield "35 deg, slid in 1 s", slid


LOSS = MU * G * math.cos(math.radians(20.0))


@experiment(
    "dry joint", 1,
    {
        "below its friction, moved in 10 s": none(0.1 * MILLIMETRE, "m"),
        "above it, slid in 1 s": within(0.5 * (G * math.sin(math.radians(35.0)) - LOSS), 0.01, "m"),
        "above it, d slid / d friction": within(-0.5, 0.02, "m/N"),
    },
)  # fmt: skip
def dry_joint() -> Results:
    """1 kg on a rail with 4.61 N of dry friction, pulled by gravity with g sin a: 3.36 N at 20 deg, 5.63 N at 35 deg; then
    x = (g sin a - loss) t^2 / 2."""
    rail = ds.Joint("rail", "prismatic", (1.0, 0.0, 0.0), friction_loss=LOSS)
    block = ds.Articulation("block", (ds.Link("body", rail, inertia=ds.Inertia(1.0, (1e-3,) * 3)),))
    sim = simulator(ds.Scene(articulations=(block,), ground=None), num_envs=2)
    loss = leaf(LOSS)
    parameters = {"gravity": tilted(20.0, 35.0), "block.rail.friction_loss": loss}
    settled = rollout(sim, 1.0, parameters=parameters)[-1].detach()
    yield (
        "below its friction, moved in 10 s",
        rollout(sim, 10.0, settled, parameters=parameters)[-1].q[0, 0].detach() - settled.q[0, 0],
    )
    slid = rollout(sim, 1.0, parameters=parameters)[-1].q[1, 0]
    yield "above it, slid in 1 s", slid.detach()
    yield "above it, d slid / d friction", derivative(slid, loss)[0]


def gripper(half: float) -> ds.Articulation:
    """A palm that a servo shakes along z and another turns about the grip's axis x, with a fixed pad at the left of a cube of
    this half extent about (.5, .5, .5), and a pad at the right that a torque actuator presses against it. The servos are soft:
    their targets jump with every control step, and must not jerk more than the grip bears."""
    pad, thick, heavy = ds.Box((0.01, 0.03, 0.03)), 0.01, ds.Inertia(1.0, (1e-2, 1e-2, 1e-2))
    left = ds.Geometry(pad, (-half - thick, 0.0, 0.0), friction=MU)
    right = ds.Geometry(pad, friction=MU)
    light = ds.Inertia(0.1, (1e-4, 1e-4, 1e-4))
    links = (
        ds.Link("shaker", ds.Joint("shake", "prismatic", (0.0, 0.0, 1.0)), None, (0.5, 0.5, 0.5), inertia=heavy),
        ds.Link("palm", ds.Joint("turn", "revolute", (1.0, 0.0, 0.0)), "shaker", inertia=heavy, geometries=(left,)),
        ds.Link(
            "finger", ds.Joint("close", "prismatic", (-1.0, 0.0, 0.0)), "palm", (half + thick, 0.0, 0.0),
            inertia=light, geometries=(right,),
        ),
    )  # fmt: skip
    servos = (
        ds.Actuator("shake", "shake", kind="position", gain=2000.0, damping=100.0),
        ds.Actuator("turn", "turn", kind="position", gain=10.0, damping=0.5),
        ds.Actuator("close", "close"),
    )
    return ds.Articulation("gripper", links, servos)


def grip_actions(sim: ds.Simulator, press: float, seconds: float) -> torch.Tensor:
    """Of three environments: held still; turned by 90 deg to and fro in 5 s; shaken by 1 cm at 2 Hz (a sixth of g). The motion
    starts after 1 s, and ends 1 s before the end."""
    time = (torch.arange(round(seconds / sim.control_dt), dtype=F64) + 1.0) * sim.control_dt
    actions = torch.zeros(len(time), 3, 3, dtype=F64)
    late = (time - GRIP_SETTLES).clamp_min(0.0)
    size = (late / 0.5).clamp_max(1.0) * ((seconds - 1.0 - time) / 0.5).clamp(0.0, 1.0)
    actions[:, 1, 1] = 0.5 * math.pi * torch.sin(2.0 * math.pi * late / 5.0) * size
    actions[:, 2, 0] = 0.01 * torch.sin(2.0 * math.pi * 2.0 * late) * size
    actions[:, :, 2] = press
    return actions


GRIPPED = ("held", "turned", "shaken")
GRIP_EXPECTED = {
    f"{how}, {what} in 30 s": none(limit, unit)
    for how in GRIPPED
    for what, limit, unit in (("slipped", 0.1 * MILLIMETRE, "m"), ("turned by", 0.2, "deg"))
}


@experiment("rigid grip", 1, GRIP_EXPECTED)
def rigid_grip() -> Results:
    """2 mu N = 5 W holds a 4 cm cube of 100 g; where it is in the palm's frame after 1 s it still is 30 s later."""
    half, mass = 0.02, 0.1
    cube = ds.RigidBody("cube", ds.Box((half,) * 3), (0.5, 0.5, 0.5), mass=mass, friction=MU)
    sim = simulator(ds.Scene(rigid_bodies=(cube,), articulations=(gripper(half),), ground=None), num_envs=3)
    press = 5.0 * mass * G / (2.0 * MU)
    states = sim.rollout(sim.reset(), grip_actions(sim, press, GRIP_SETTLES + GRIP_SECONDS))
    palm, own = sim.link_index("gripper.palm"), sim.link_index("cube")
    places, turns = [], []
    for state in (states[round(GRIP_SETTLES / sim.control_dt)], states[-1]):
        links = sim.links(state)
        back = links.rotation[:, palm].transpose(1, 2)
        places.append((back @ (links.position[:, own] - links.position[:, palm])[..., None])[..., 0])
        turns.append(back @ links.rotation[:, own])
    yield from grip_results((places[1] - places[0]).norm(dim=1), turn_between(*turns))


@experiment("soft grip", 1, GRIP_EXPECTED)
def soft_grip() -> Results:
    """The same with a soft cube of 6 cm (E = 50 kPa): its centre in the palm's frame, and the rotation that fits best."""
    half, density = 0.03, 500.0
    cube = ds.SoftBody("cube", ds.Box((half,) * 3), (0.5, 0.5, 0.5), material=ds.Elastic(5e4, 0.3, density), particles=125)
    scene = ds.Scene(
        (cube,), articulations=(gripper(half),), ground=None, lower=(0.3,) * 3, upper=(0.7,) * 3, grid_spacing=0.02
    )
    sim = simulator(scene, num_envs=3)
    press = 5.0 * density * (2.0 * half) ** 3 * G / (2.0 * MU)
    actions = grip_actions(sim, press, GRIP_SETTLES + GRIP_SECONDS)
    state, palm, seen = sim.reset(), sim.link_index("gripper.palm"), []
    for step, action in enumerate(actions):
        state = sim.step(state, action)
        if step + 1 in (round(GRIP_SETTLES / sim.control_dt), len(actions)):
            links = sim.links(state)
            back = links.rotation[:, palm].transpose(1, 2)
            seen.append((state.x - links.position[:, palm, None]) @ back.transpose(1, 2))
    slipped = (seen[1] - seen[0]).mean(dim=1).norm(dim=1)
    eye = torch.eye(3, dtype=F64)
    turned = torch.stack([turn_between(eye, fitted_rotation(*each)) for each in zip(*seen, strict=True)])
    yield from grip_results(slipped, turned)


def grip_results(slipped: torch.Tensor, turned: torch.Tensor) -> Results:
    for n, how in enumerate(GRIPPED):
        yield f"{how}, slipped in 30 s", slipped[n]
        yield f"{how}, turned by in 30 s", turned[n]


@experiment(
    "grip lets go", 1, {"2 mu N = .9 W, falls": yes(), "2 mu N = 1.1 W, slipped in 1 s": about(0.0, 0.1 * MILLIMETRE, "m")}
)
def weak_grip() -> Results:
    """The friction is Coulomb's and no glue: below its limit the cube falls."""
    half, mass = 0.02, 0.1
    cube = ds.RigidBody("cube", ds.Box((half,) * 3), (0.5, 0.5, 0.5), mass=mass, friction=MU)
    sim = simulator(ds.Scene(rigid_bodies=(cube,), articulations=(gripper(half),), ground=None), num_envs=2)
    settled = rollout(sim, 1.0, actions=(0.0, 0.0, 5.0 * mass * G / (2.0 * MU)))[-1]
    actions = torch.zeros(round(1.0 / sim.control_dt), 2, 3, dtype=F64)
    actions[:, :, 2] = torch.tensor([0.9, 1.1], dtype=F64) * mass * G / (2.0 * MU)
    fallen = settled.q[:, 2] - sim.rollout(settled, actions)[-1].q[:, 2]
    yield "2 mu N = .9 W, falls", float(fallen[0] > 0.01)
    yield "2 mu N = 1.1 W, slipped in 1 s", fallen[1]
