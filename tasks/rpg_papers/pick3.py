"""Grasp any of three spheres and lift it."""

from __future__ import annotations

import math
from types import MappingProxyType

import torch
from torch import Tensor

import diffsim as ds
from diffsim.render import Camera
from tasks.action_spaces import JointVelocity
from tasks.base import Task
from tasks.episode import Episode, Transition
from tasks.measures import which_largest
from tasks.registry import register

RADIUS, DISTANCE, HEIGHT = 0.2, 1.0, 0.9  # of a sphere; of the spheres and the gripper from the world's origin, m
SPHERES = ("front", "left", "right")
PLACES = tuple((DISTANCE * math.sin(n * math.tau / 3), -DISTANCE * math.cos(n * math.tau / 3)) for n in (0, 2, 1))
RAIL, FINGER = 5.0, 20.0 / 3.0  # m/s, 1/40 and 1/30 m in 5 ms
OPEN, CLOSED = 0.65, 0.5  # from the fingers' middles to the gripper's at coordinate 0, and how far they close, m
LIFTED = 0.2  # m
# compliant and slipping a little, as jammed hard spheres have gradients without bound; a sphere then rests a little over the
# ground, where half of k d log(1 + exp(-gap / d)) is its weight
CONTACT = ds.ContactModel(stiffness=5e3, smoothing=0.01, slip_speed=0.01)
HOVER = -0.01 * math.log(math.expm1(2.0 * 0.5 / (5e3 * 0.01)))  # m
Axis = tuple[float, float, float]


def _rail(name: str, axis: Axis, limits: tuple[float, float], parent: str | None, *shapes: ds.Geometry) -> ds.Link:
    mass = 0.2 if shapes and shapes[0].collides else 0.5  # fingers are lighter
    inertia = ds.Inertia(mass, (0.01 * mass, 0.01 * mass, 0.01 * mass))
    joint = ds.Joint(name, "prismatic", axis, limits=limits)
    return ds.Link(name, joint, parent, inertia=inertia, geometries=shapes, gravity_compensation=1.0)


@register("Pick3")
class Pick3(Task):
    """A gripper with two fingers on a gantry over three spheres, equally far from it.

    Task: in the first three quarters of 0.6 s go to a sphere with open fingers, then close them and lift it.
    Randomisation: the gripper's start, by 2 cm along x and y.
    Success: at the end a sphere's centre is at least 20 cm higher than at rest.
    Ways: each sphere is one.

    Huang et al., Pick3Cube: five coordinates, 1/40 and 1/30 m a step of 5 ms, 120 steps, a gravity of 1 m/s^2,
    friction 1, and the reward: minus 20 (q3^2 + q4^2) of the fingers while t < 89; 10 w `near` at 89; then w `near` +
    4 h + 10 [h > 20 cm] - 20 ((q3 - 0.5)^2 + (q4 + 0.5)^2) with the height h by which the highest sphere is lifted
    and `near`, minus the least squared distance of a sphere; here all of it times 0.1. Places, sizes, limits, masses
    (0.5 kg), the fingers' force (40 N) and contact that gives way by centimetres are ours, as is w (0.2 in
    the original, where hovering over a sphere costs next to nothing), and spheres do not rebound (0.1 in the
    original).

    Attributes:
        start_spread: how far the gripper may start from the middle, along x and y, m.
        reach_weight: w.
    """

    horizon, dt, substeps = 120, 2.5e-3, 2
    outcome_names = tuple(f"the sphere {'in' if name == 'front' else 'on the'} {name}" for name in SPHERES)
    optimizer_settings = MappingProxyType({"iterations": 60, "posterior_stride": 5})
    start_spread: float = 0.02
    reach_weight: float = 4.0

    def scene(self) -> ds.Scene:
        spheres = [
            ds.RigidBody(name, ds.Sphere(RADIUS), (*place, RADIUS + HOVER), mass=0.5, friction=1.0)
            for name, place in zip(SPHERES, PLACES, strict=True)
        ]
        blue, grey = (0.25, 0.45, 0.85), (0.5, 0.55, 0.6)
        palm = ds.Geometry(ds.Box((OPEN, 0.06, 0.04)), (0.0, 0.0, 0.3), collides=False, color=blue)

        def finger(side: float) -> ds.Geometry:
            shape = ds.Box((0.05, 0.12, 0.2), rounding=0.02)
            return ds.Geometry(shape, (side * OPEN, 0.0, 0.0), friction=1.0, color=grey)

        links = (
            _rail("x", (1, 0, 0), (-1.5, 1.5), None),
            _rail("y", (0, 1, 0), (-1.5, 1.5), "x"),
            _rail("z", (0, 0, 1), (-0.68, 0.5), "y", palm),
            _rail("finger3", (1, 0, 0), (-0.05, CLOSED + 0.05), "z", finger(-1.0)),
            _rail("finger4", (1, 0, 0), (-CLOSED - 0.05, 0.05), "z", finger(1.0)),
        )
        motors = [ds.Actuator(name, name, "velocity", gain=100.0, force_limits=(-150.0, 150.0)) for name in "xyz"]
        grip = [ds.Actuator(f"finger{n}", f"finger{n}", "velocity", gain=20.0, force_limits=(-40.0, 40.0)) for n in (3, 4)]
        gantry = ds.Articulation("gantry", links, (*motors, *grip), position=(0.0, 0.0, HEIGHT), self_collisions=False)
        return ds.Scene(
            rigid_bodies=tuple(spheres),
            articulations=(gantry,),
            ground=ds.Ground(friction=1.0),
            contact=CONTACT,
            gravity=(0.0, 0.0, -1.0),
        )

    def actions(self) -> list[JointVelocity]:
        return [JointVelocity("gantry", limit=(RAIL, RAIL, RAIL, FINGER, FINGER))]

    def randomize(self, generator: torch.Generator) -> Episode:
        state, q = self.sim.reset(), self.sim.reset().q.clone()
        q[:, 21:23] += self.start_spread * self.uniform(generator, 2)
        return self.episode(state.replace(q=q))

    def spheres(self, state: ds.State) -> Tensor:
        """Their centres, m, (B, 3, 3)."""
        return torch.stack([state.q[:, 7 * n : 7 * n + 3] for n in range(3)], dim=1)

    def observation(self, episode: Episode) -> Tensor:
        """Centres and velocities of the spheres, coordinates and velocities of the gantry, whether half of the time is left."""
        q, qd = episode.state.q, episode.state.qd
        flag = (episode.steps < self.horizon // 2).to(q)[:, None]
        moving = [qd[:, 6 * n : 6 * n + 3] for n in range(3)]
        return torch.cat([self.spheres(episode.state).flatten(1), q[:, 21:], *moving, qd[:, 18:], flag], dim=1)

    def lift(self, state: ds.State) -> Tensor:
        """How much each sphere is lifted, m, (B, 3)."""
        return self.spheres(state)[..., 2] - RADIUS - HOVER

    def reward(self, step: Transition) -> Tensor:
        q = step.after.q[:, 21:]
        gripper = q[:, :3] + q.new_tensor([0.0, 0.0, HEIGHT])
        near = -(self.spheres(step.after) - gripper[:, None]).square().sum(dim=2).amin(dim=1)
        lift = self.lift(step.after).amax(dim=1)
        switch = round(0.75 * self.horizon)
        opened = -20.0 * q[:, 3:].square().sum(dim=1)
        shut = -20.0 * (q[:, 3:] - q.new_tensor([CLOSED, -CLOSED])).square().sum(dim=1)
        closing = self.reach_weight * near + 4.0 * lift + 10.0 * (lift > LIFTED) + shut
        late = torch.where(step.episode.steps == switch, 10.0 * self.reach_weight * near, closing)
        return 0.1 * torch.where(step.episode.steps < switch, opened, late)

    def success(self, episode: Episode) -> Tensor:
        return self.lift(episode.state).amax(dim=1) > LIFTED

    def outcome(self, episode: Episode) -> Tensor:
        return which_largest(self.lift(episode.state), 0.3 * LIFTED)

    def camera(self) -> Camera:
        return Camera(position=(0.0, -4.2, 2.6), target=(0.0, 0.0, 0.45), vertical_fov_degrees=38)
