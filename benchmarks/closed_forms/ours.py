"""The closed forms in diffsim, through its public interface; all derivatives are autograd's, in f64.

A rigid contact is the limit of a stiff one. `Settings.refined` goes there: with four times the stiffness a contact lasts half
as long, so the smoothing length is halved, and the speeds below which restitution and friction fade are halved too. Those need
twice the substeps in a contact (an impact's speed may change by no more than restitution_speed in one), so dt is quartered.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch

from benchmarks.closed_forms.naive import Quantities, derivatives, leaf
from diffsim import (
    Actuator,
    Articulation,
    Box,
    ContactModel,
    Geometry,
    Ground,
    Inertia,
    Joint,
    Link,
    RigidBody,
    Scene,
    Simulator,
    Sphere,
    State,
)

Tensor = torch.Tensor
RADIUS = 0.1
CONTROL_STEPS = 100


@dataclass(frozen=True)
class Settings:
    """Substep dt, and the contact's stiffness, smoothing length, restitution speed, slip speed and kind; SI units."""

    dt: float
    stiffness: float = 1e6
    smoothing: float = 3e-4
    restitution_speed: float = 0.1
    slip_speed: float = 0.01
    impact: str = "smooth"

    def refined(self, factor: float) -> Settings:
        """Contacts ``factor`` times as short."""
        return replace(
            self, dt=self.dt / factor**2, stiffness=self.stiffness * factor**2, smoothing=self.smoothing / factor,
            restitution_speed=self.restitution_speed / factor, slip_speed=self.slip_speed / factor,
        )  # fmt: skip

    @property
    def contact(self) -> ContactModel:
        return ContactModel(
            stiffness=self.stiffness,
            smoothing=None if self.impact == "event" else self.smoothing,
            slip_speed=self.slip_speed,
            restitution_speed=self.restitution_speed,
            impact=self.impact,
        )


def run(
    scene: Scene, settings: Settings, T: float, *, q: Tensor | None = None, qd: Tensor | None = None,
    actions: Tensor | None = None, parameters: Mapping[str, Tensor] | None = None,
) -> State:  # fmt: skip
    """The state at T, from q and qd (n,) in place of the scene's, under constant actions (m,)."""
    substeps = round(T / settings.dt / CONTROL_STEPS)
    simulator = Simulator(scene, dt=T / CONTROL_STEPS / substeps, substeps=substeps, dtype=torch.float64)
    state = simulator.reset()
    if q is not None:
        state = state.replace(q=q[None])
    if qd is not None:
        state = state.replace(qd=qd[None])
    controls = torch.zeros(simulator.action_dim, dtype=torch.float64) if actions is None else actions
    return simulator.rollout(state, controls.expand(CONTROL_STEPS, 1, -1), parameters)[-1]


def ball(name: str, x: float = 0.0, *, mass: float = 1.0, e: float = 1.0) -> RigidBody:
    """A ball without friction."""
    return RigidBody(name, Sphere(RADIUS), (x, 0.0, 0.0), mass=mass, restitution=e, friction=0.0)


def poses(*positions: Tensor | tuple[float, float, float]) -> Tensor:
    """Coordinates of unturned free bodies."""
    still = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    return torch.cat([part for each in positions for part in (torch.as_tensor(each, dtype=torch.float64), still)])


def motions(*velocities: Tensor) -> Tensor:
    """Velocities of free bodies that do not spin."""
    still = torch.zeros(3, dtype=torch.float64)
    return torch.cat([part for each in velocities for part in (each, still)])


def on_floor(settings: Settings, x0: float, v0: float, T: float, e: float, g: float, names: tuple[str, str, str]) -> Quantities:
    """A ball above the ground, its lowest point in the point's place."""
    ground = Ground(0.0, friction=0.0, restitution=e)
    scene = Scene(rigid_bodies=(ball("ball", e=e),), ground=ground, contact=settings.contact, gravity=(0.0, 0.0, -g))
    x, v = leaf(x0), leaf(v0)
    zero = torch.zeros(2, dtype=torch.float64)
    end = run(scene, settings, T, q=poses(torch.cat([zero, (x + RADIUS)[None]])), qd=motions(torch.cat([zero, v[None]])))
    return derivatives({names[0]: end.q[0, 2] - RADIUS}, {"x": x, "v": v}, {names[0]: {names[1]: ("x",), names[2]: ("v",)}})


def wall(settings: Settings) -> Quantities:
    return on_floor(settings, 0.5005, -1.0, 1.0, 1.0, 0.0, ("x", "x0", "v0"))


def bounce(settings: Settings, e: float) -> Quantities:
    return on_floor(settings, 1.0, -1.0, 0.8, e, 10.0, ("z", "z0", "v0"))


def slide(settings: Settings, speed: float = 2.0, mu_: float = 0.3, g: float = 10.0) -> Quantities:
    """A block on the ground, both of friction mu, from where the four corners under it carry its weight."""
    half, mass = 0.05, 1.0
    share = mass * g / 4.0 / (settings.stiffness * settings.smoothing)
    depth = settings.smoothing * math.log(math.expm1(share))
    body = RigidBody("block", Box((half, half, half)), (0.0, 0.0, half - depth), mass=mass)
    scene = Scene(rigid_bodies=(body,), contact=settings.contact, gravity=(0.0, 0.0, -g))
    v0, mu = leaf(speed), leaf(mu_)
    qd = torch.cat([v0[None], torch.zeros(5, dtype=torch.float64)])
    end = run(scene, settings, 1.2 * speed / (mu_ * g), qd=qd, parameters={"block.friction": mu, "ground.friction": mu})
    return derivatives({"d": end.q[0, 0]}, {"v0": v0, "mu": mu}, {"d": {"v0": ("v0",), "mu": ("mu",)}})


def head_on(settings: Settings, e: float) -> Quantities:
    bodies = (ball("1", mass=1.0, e=e), ball("2", mass=2.0, e=e))
    scene = Scene(rigid_bodies=bodies, ground=None, contact=settings.contact, gravity=(0.0, 0.0, 0.0))
    x, v = leaf(-0.5, 0.5), leaf(1.0, -0.5)
    along = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    end = run(scene, settings, 1.0, q=poses(x[0] * along, x[1] * along), qd=motions(v[0] * along, v[1] * along))
    labels = {"v1": ("v", 0), "v2": ("v", 1), "x1": ("x", 0)}
    return derivatives({"v1'": end.qd[0, 0], "v2'": end.qd[0, 6]}, {"x": x, "v": v}, {"v1'": labels, "v2'": labels})


def billiard(settings: Settings) -> Quantities:
    bodies = (ball("1"), ball("2"))
    scene = Scene(rigid_bodies=bodies, ground=None, contact=settings.contact, gravity=(0.0, 0.0, 0.0))
    p, u = leaf(-0.5, 0.07), leaf(1.0, 0.05)
    zero = torch.zeros(1, dtype=torch.float64)
    rest = torch.zeros(3, dtype=torch.float64)
    end = run(scene, settings, 1.0, q=poses(torch.cat([p, zero]), rest), qd=motions(torch.cat([u, zero]), rest))
    labels = {"x1": ("p", 0), "y1": ("p", 1), "vx1": ("v", 0), "vy1": ("v", 1)}
    return derivatives({"x2": end.q[0, 7], "y2": end.q[0, 8]}, {"p": p, "v": u}, {"x2": labels, "y2": labels})


def double_pendulum(settings: Settings, g: float = 9.81) -> Quantities:
    """Point masses on two links; the second joint's angle is against the first link."""
    mass = Inertia(1.0, (0.0, 0.0, 0.0), (0.0, 0.0, -1.0))
    axis = (0.0, -1.0, 0.0)
    upper = Link("upper", Joint("shoulder", "revolute", axis), inertia=mass)
    lower = Link("lower", Joint("elbow", "revolute", axis), "upper", (0.0, 0.0, -1.0), inertia=mass)
    scene = Scene(articulations=(Articulation("pendulum", (upper, lower)),), ground=None, gravity=(0.0, 0.0, -g))
    theta = leaf(1.0, 0.5)
    end = run(scene, settings, 1.0, q=torch.stack([theta[0], theta[1] - theta[0]])).q[0]
    labels = {"theta1": ("theta", 0), "theta2": ("theta", 1)}
    return derivatives({"q1": end[0], "q2": end[0] + end[1]}, {"theta": theta}, {"q1": labels, "q2": labels})


def grasp(settings: Settings, m: float = 0.1, mu: float = 0.5, eps: float = 0.01, g: float = 9.81) -> Quantities:
    """Two fingers on rails across, each pushed by a torque actuator; they close on the block before there is gravity."""
    half, thick, mass = 0.03, 0.01, 0.5
    fingers = []
    for name, side in (("left", -1.0), ("right", 1.0)):
        rail = Joint(f"{name} rail", "prismatic", (-side, 0.0, 0.0))
        pad = Geometry(Box((thick, 0.5 * half, 0.5 * half)), friction=mu)
        inertia = Inertia(mass, (1e-4, 1e-4, 1e-4))
        fingers.append(Link(name, rail, None, (side * (half + thick), 0.0, 0.5), inertia=inertia, geometries=(pad,)))
    hand = Articulation("hand", tuple(fingers), tuple(Actuator(f"{f.name} push", f.joint.name) for f in fingers))
    block = RigidBody("block", Box((half, half, half)), (0.0, 0.0, 0.5), mass=m, friction=mu)
    contact = replace(settings, slip_speed=eps).contact
    weightless = Scene(rigid_bodies=(block,), articulations=(hand,), ground=None, contact=contact, gravity=(0.0, 0.0, 0.0))
    fn = leaf(20.0)
    push = torch.stack([fn, fn])
    held = run(weightless, settings, 0.2, actions=push)
    scene = replace(weightless, gravity=(0.0, 0.0, -g))
    end = run(scene, settings, 1.0, q=held.q[0], qd=held.qd[0], actions=push)
    return derivatives({"drop": held.q[0, 2] - end.q[0, 2]}, {"fn": fn}, {"drop": {"fn": ("fn",)}})


FORMS: dict[str, tuple[Callable[[Settings], Quantities], Settings]] = {
    "wall": (wall, Settings(1e-5)),
    "bounce e=1": (partial(bounce, e=1.0), Settings(1e-5)),
    "bounce e=0.6": (partial(bounce, e=0.6), Settings(1e-5)),
    "slide to rest": (slide, Settings(2e-4, stiffness=1e4, smoothing=1e-4)),
    "head-on e=1": (partial(head_on, e=1.0), Settings(1e-5)),
    "head-on e=0.5": (partial(head_on, e=0.5), Settings(1e-5, restitution_speed=0.03)),
    "double pendulum": (double_pendulum, Settings(2e-4)),
    "billiard": (billiard, Settings(1e-5)),
    "grasp": (grasp, Settings(2e-4, stiffness=1e4, smoothing=1e-4)),
}


# in event mode: free flight and impacts are exact at any dt, so it is large
EVENT = Settings(5e-3, stiffness=1e4, smoothing=1e-4, impact="event")
EVENT_FORMS = ("wall", "bounce e=1", "bounce e=0.6", "head-on e=1", "head-on e=0.5", "billiard")


def simulate_events(name: str) -> Quantities:
    """The quantities of the closed form ``name``, one of EVENT_FORMS, in event mode."""
    return FORMS[name][0](EVENT)


def simulate(name: str, refinement: float = 1.0) -> Quantities:
    """The quantities of the closed form ``name``."""
    form, settings = FORMS[name]
    return form(settings.refined(refinement))
