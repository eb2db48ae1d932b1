"""Open one of a cabinet's two doors."""

from __future__ import annotations

import math
from types import MappingProxyType

import torch
from torch import Tensor

import diffsim as ds
from diffsim.render import Camera
from tasks.episode import Episode, Transition
from tasks.measures import soft_norm
from tasks.panda.panda_task import PandaHandTask, plain_panda, tilted
from tasks.registry import register

FACE_X, ASIDE, HEIGHT = 0.72, 0.34, 0.5  # of the hinges, and of the doors' middles above the ground, m
PANEL = ds.Box((0.01, 0.16, 0.2), rounding=0.004)
HANDLE, OFF = ds.Capsule(0.05, 0.01), (-0.075, -0.27)  # a bar along z, and where it is from the hinge of the left door, m
RANGE = 1.671  # rad
TARGET, OPENED = 0.9 * RANGE, 0.8  # an open door's angle, and the share of it that counts as open
VALUES = (2.0, 1.0)  # of an open door
HOLD = (-0.057, -0.289)  # where fingertips beside that bar press it outwards, from the hinge, m
UPRIGHT = ds.Capsule(0.03, 0.007)


@register("PandaCabinet")
class PandaCabinet(PandaHandTask):
    """A Panda opens one of the two doors of a cabinet, by their bar handles.

    Task: from between the two handles, pull either door open with closed fingers: sideways first, then round its edge. The
        right door is worth half as much as the left one and as near, so it is a local optimum, as in the Cabinet of model-based
        RPG (arXiv 2307.10710): open doors give 2 and 1, and the reaching term is of the nearer handle.
    Randomisation: the hand starts up to 2 cm aside along each axis; each hinge has its own damping, 0.5 to 1 N m s, and dry
        friction, 0.05 to 0.15 N m.
    Success: at the end a door is open by 1.2 rad or more.
    """

    horizon = 24
    outcome_names = ("left door", "right door")
    optimizer_settings = MappingProxyType(
        {"iterations": 40, "posterior_stride": 2, "std": (0.3, 0.02), "num_latents": 8, "beta": (0.6, 0.05), "policy": "table"}
    )
    reward_bound = 3.0
    start = (0.65, 0.0, HEIGHT)  # of the fingertips, m: between the bars

    def scene(self) -> ds.Scene:
        self.robot = plain_panda(opening=0.0, friction=0.0, visuals=self.visuals)
        doors = tuple(self.door(name, side) for name, side in (("left", 1.0), ("right", -1.0)))
        return ds.Scene(articulations=(self.robot.articulation, ds.Articulation("cabinet", doors)))

    @staticmethod
    def door(name: str, side: float) -> ds.Link:
        """A door whose hinge is on the ``side`` (1 left, -1 right), and which opens towards the robot."""
        x, y = OFF[0], side * OFF[1]
        along_x = (0.5**0.5, 0.0, 0.5**0.5, 0.0)
        shapes = [
            ds.Geometry(PANEL, (0.0, -0.165 * side, 0.0), friction=0.0, contact_points=1, color=(0.75, 0.55, 0.35)),
            ds.Geometry(HANDLE, (x, y, 0.0), friction=0.0, color=(0.3, 0.3, 0.32)),
        ]
        for z in (0.05, -0.05):
            shapes.append(ds.Geometry(UPRIGHT, (0.5 * x, y, z), along_x, collides=False, color=(0.3, 0.3, 0.32)))
        joint = ds.Joint(name, "revolute", (0.0, 0.0, -side), limits=(0.0, RANGE), damping=0.7, friction_loss=0.1)
        inertia = ds.Inertia(1.0, (0.02, 0.013, 0.01), (0.0, -0.165 * side, 0.0))
        return ds.Link(name, joint, position=(FACE_X, ASIDE * side, HEIGHT), inertia=inertia, geometries=tuple(shapes))

    def randomize(self, generator: torch.Generator) -> Episode:
        state = self.sim.reset()
        hand = state.q.new_tensor(self.start) + 0.02 * self.uniform(generator, 3)
        damping = self.uniform(generator, 2, low=0.5, high=1.0)
        friction = self.uniform(generator, 2, low=0.05, high=0.15)
        parameters = {f"cabinet.{name}.damping": damping[:, n] for n, name in enumerate(("left", "right"))}
        parameters |= {f"cabinet.{name}.friction_loss": friction[:, n] for n, name in enumerate(("left", "right"))}
        return self.episode(self.posed(state, hand, tilted(hand, 1.3, 0.5 * math.pi), opening=0.0), parameters=parameters)

    def angles(self, state: ds.State) -> Tensor:
        """Of the left and the right door, rad, (B, 2)."""
        return state.q[:, [self.sim.joint(f"cabinet.{name}").coordinates.start for name in ("left", "right")]]

    def opened(self, state: ds.State) -> Tensor:
        """Whether the left and the right door are open, bool (B, 2)."""
        return self.angles(state) > OPENED * TARGET

    def handle_offsets(self, state: ds.State) -> Tensor:
        """From the fingertips to where they hold the handles, m, (B, 2, 3)."""
        links, hand, found = self.sim.links(state), self.hand(state), []
        for name, side in (("left", 1.0), ("right", -1.0)):
            number = self.sim.link_index(f"cabinet.{name}")
            offset = links.rotation[:, number] @ state.q.new_tensor([HOLD[0], side * HOLD[1], 0.0])
            found.append(links.position[:, number] + offset - hand)
        return torch.stack(found, dim=1)

    def handle_distances(self, state: ds.State) -> Tensor:
        """Of the fingertips from where they hold the handles, m, (B, 2)."""
        return soft_norm(self.handle_offsets(state))

    def reward(self, step: Transition) -> Tensor:
        share = self.angles(step.after) / TARGET
        opened = torch.sigmoid((share - OPENED) / 0.05) * share.new_tensor(VALUES)
        return (share.clamp(0.0, 1.0) + opened).sum(dim=1) - 2.0 * self.handle_distances(step.after).amin(dim=1)

    def success(self, episode: Episode) -> Tensor:
        return self.opened(episode.state).any(dim=1)

    def outcome(self, episode: Episode) -> Tensor:
        angle, door = self.angles(episode.state).max(dim=1)
        return torch.where(angle > 0.3, door, -1)

    def camera(self) -> Camera:
        return Camera(position=(-0.3, -0.85, 1.25), target=(0.45, 0.0, 0.45), vertical_fov_degrees=48)
