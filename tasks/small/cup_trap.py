"""Move a ball out of a cup and round it, to a goal behind."""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor

import diffsim as ds
from diffsim.render import Camera, GroundMarker
from tasks.base import Task
from tasks.episode import Episode, Transition
from tasks.goal_markers import goal_markers
from tasks.measures import soft_norm, when_passing
from tasks.registry import register

MOUTH, BOTTOM, GOAL = 0.1, 0.6, 1.0  # along x, m; the ball starts at 0
HALF_WIDTH, HALF_THICKNESS, HEIGHT, RADIUS = 0.3, 0.03, 0.06, 0.05


@register("CupTrap")
class CupTrap(Task):
    """A ball on a table, driven in x and y, and a cup of three walls that opens towards it.

    Task: bring the ball to the goal behind the cup. The straight path leads into the cup, and the return has a deep local
        optimum at its bottom: on the way out the reward decreases until the ball has passed the cup's opening and its sides.
    Randomisation: the ball starts up to 1 cm off the middle.
    Success: at the end the ball's centre is within 8 cm of the goal.
    """

    horizon = 40
    dt, substeps = 5e-3, 10
    tool_speed = 1.5
    outcome_names = ("past the cup's left", "past the cup's right")
    # a table: a network shared by all latents pulls the routes that are found late back into the cup
    optimizer_settings = MappingProxyType({"iterations": 150, "posterior_stride": 2, "policy": "table"})

    def scene(self) -> ds.Scene:
        joints = [ds.Joint(axis, "prismatic", axis=direction) for axis, direction in (("x", (1, 0, 0)), ("y", (0, 1, 0)))]
        ball = ds.Geometry(ds.Sphere(RADIUS), friction=0.0, color=(0.95, 0.6, 0.15))
        inertia = ds.Inertia(0.1, (1e-4, 1e-4, 1e-4))
        robot = ds.Articulation(
            "robot",
            (
                ds.Link("slide", joints[0], position=(0.0, 0.0, HEIGHT)),
                ds.Link("ball", joints[1], "slide", inertia=inertia, geometries=(ball,)),
            ),
            tuple(ds.Actuator(f"drive_{joint.name}", joint.name, "velocity", gain=2.0) for joint in joints),
        )

        def wall(name: str, x: float, y: float, half_x: float, half_y: float) -> ds.Obstacle:
            shape = ds.Box((half_x, half_y, HEIGHT), rounding=HALF_THICKNESS)
            return ds.Obstacle(name, shape, (x, y, HEIGHT), friction=0.0)

        middle, half_depth = 0.5 * (MOUTH + BOTTOM), 0.5 * (BOTTOM - MOUTH)
        return ds.Scene(
            articulations=(robot,),
            obstacles=(
                wall("bottom", BOTTOM - HALF_THICKNESS, 0.0, HALF_THICKNESS, HALF_WIDTH),
                wall("left", middle, HALF_WIDTH - HALF_THICKNESS, half_depth, HALF_THICKNESS),
                wall("right", middle, HALF_THICKNESS - HALF_WIDTH, half_depth, HALF_THICKNESS),
            ),
            ground=ds.Ground(friction=0.0),
            contact=ds.ContactModel(stiffness=1e3, smoothing=8e-3),
        )

    def randomize(self, generator: torch.Generator) -> Episode:
        state = self.sim.reset()
        return self.episode(state.replace(q=state.q + self.uniform(generator, 2, low=-0.01, high=0.01)))

    def distance(self, state: ds.State) -> Tensor:
        """Distance of the ball's centre to the goal, m, (B,)."""
        to_goal = state.q - state.q.new_tensor([GOAL, 0.0])
        return soft_norm(to_goal)

    def reward(self, step: Transition) -> Tensor:
        return 1.0 - self.distance(step.after) / GOAL

    def success(self, episode: Episode) -> Tensor:
        return self.distance(episode.state) < 0.08

    def outcome(self, episode: Episode) -> Tensor:
        x, y = episode.history[..., :2].unbind(2)
        aside = when_passing(x - BOTTOM, y)
        return torch.where(aside.abs() > HALF_WIDTH - RADIUS, (aside < 0.0).long(), -1)

    def camera(self) -> Camera:
        return Camera(position=(0.5, -1.1, 1.6), target=(0.5, 0.04, 0.0), vertical_fov_degrees=33)

    def markers(self, episode: Episode, environment: int) -> tuple[GroundMarker, ...]:
        return goal_markers((GOAL, 0.0), 0.08)
