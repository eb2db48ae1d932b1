"""Push a ring from within onto any of three pads."""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor

import diffsim as ds
from diffsim.render import Camera, GroundMarker
from tasks.base import Task
from tasks.episode import Episode, Transition
from tasks.registry import register
from tasks.small.three_goals import ThreeGoals

MAJOR, MINOR = 0.09, 0.02  # radii of the ring and of its tube, m


@register("ThreeWayPush")
class ThreeWayPush(Task):
    """A rigid finger stands in a rigid ring on the floor, and pushes it with 2 cm of play.

    Task: push the ring's centre onto any of three pads. The pads are equally near and equally good, so there are three distinct
        optima.
    Randomisation: the ring and the finger each start up to 5 mm off the middle of the pads.
    Success: at the end the ring's centre is within 5 cm of a pad's centre.
    """

    horizon = 24
    dt, substeps = 2.5e-3, 20
    tool_speed = 0.5
    goals = ThreeGoals((0.0, 0.0), radius=0.25)
    outcome_names = tuple(f"the pad {name}" for name in goals.names)
    optimizer_settings = MappingProxyType({"iterations": 50, "posterior_stride": 2})

    def scene(self) -> ds.Scene:
        ring = ds.RigidBody("ring", ds.Torus(MAJOR, MINOR), (0.0, 0.0, MINOR + 0.004), mass=0.2, color=(0.95, 0.6, 0.15))
        rod = ds.Geometry(ds.Cylinder(half_length=0.06, radius=0.05, rounding=0.01), friction=0.2, color=(0.35, 0.45, 0.6))
        joints = [ds.Joint(axis, "prismatic", axis=direction) for axis, direction in (("x", (1, 0, 0)), ("y", (0, 1, 0)))]
        finger = ds.Articulation(
            "finger",
            (
                ds.Link("slide", joints[0], position=(0.0, 0.0, 0.075)),
                ds.Link("rod", joints[1], "slide", inertia=ds.Inertia(0.2, (1e-4, 1e-4, 1e-4)), geometries=(rod,)),
            ),
            tuple(ds.Actuator(f"drive_{joint.name}", joint.name, "velocity", gain=20.0) for joint in joints),
        )
        return ds.Scene(
            rigid_bodies=(ring,),
            articulations=(finger,),
            ground=ds.Ground(friction=0.4),
            contact=ds.ContactModel(stiffness=2e3, smoothing=1.5e-3),
        )

    def randomize(self, generator: torch.Generator) -> Episode:
        state, shift = self.sim.reset(), self.uniform(generator, 4, low=-5e-3, high=5e-3)
        q = state.q.clone()
        q[:, :2] += shift[:, :2]
        q[:, 7:] += shift[:, 2:]
        return self.episode(state.replace(q=q))

    def observation(self, episode: Episode) -> Tensor:
        """Positions of the ring and the finger, then their velocities, x and y each; the ring's rotation does not matter."""
        state = episode.state
        return torch.cat([state.q[:, :2], state.q[:, 7:], state.qd[:, :2], state.qd[:, 6:]], dim=1)

    def reward(self, step: Transition) -> Tensor:
        return self.goals.reward(step.after.q[:, :2])

    def success(self, episode: Episode) -> Tensor:
        return self.goals.distances(episode.state.q[:, :2]).amin(dim=1) < 0.05

    def outcome(self, episode: Episode) -> Tensor:
        return self.goals.nearest(episode.state.q[:, :2])

    def camera(self) -> Camera:
        return Camera(position=(0.0, -0.85, 0.85), target=(0.0, 0.04, 0.0), vertical_fov_degrees=38)

    def markers(self, episode: Episode, environment: int) -> tuple[GroundMarker, ...]:
        return self.goals.markers(radius=0.05)
