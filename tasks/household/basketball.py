"""Throw a ball into a basket."""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor

import diffsim as ds
from diffsim.render import Camera
from tasks.action_spaces import JointVelocity
from tasks.base import Task
from tasks.episode import Episode, Transition
from tasks.household.gantry import gantry
from tasks.household.package_meshes import package_mesh
from tasks.measures import soft_norm
from tasks.registry import register

BALL = 0.03  # its radius, m
RIM, RING = 0.075, 0.006  # radii of the hoop and of its wire, m
HOOP = (0.0, 0.78, 0.25)  # mean place of the hoop's middle; its backboard stands behind it, m
BOARD = (0.1, 0.01, 0.07)  # half extents of the backboard, m
BEHIND, ABOVE = RIM + RING + BOARD[1] + 0.005, 0.045  # of its middle from the hoop's, m
BOWL, HAND = 0.05, (0.0, 0.45, 0.1)  # radius of the bowl that throws, and where it stands at the start
NET = 0.09  # depth of the net, m
ORANGE, RED, WHITE = (0.9, 0.45, 0.1), (0.75, 0.15, 0.12), (0.9, 0.9, 0.9)


@register("Basketball")
class Basketball(Task):
    """A bowl on rails with a ball in it, before a basket with a backboard.

    Task: throw the ball into the basket, which has a net that holds it. Ball, hoop and backboard have about the sizes of
        metaworld's, whose meshes are drawn with ``meshes``; the hoop is wider by a half.
    Randomisation: bowl and ball start up to 5 cm off their place along x and 3 cm along y.
    Success: at the end the ball lies in the net: its centre is within 7.5 cm of the hoop's axis, below the hoop, and less than
        the net's depth below.
    Ways: straight into the hoop, or off the backboard.

    Attributes:
        meshes: whether hoop, backboard and pole are drawn with metaworld's meshes, which must then be installed.
    """

    horizon, dt, substeps = 36, 2e-3, 12
    outcome_names = ("straight", "off the backboard")
    optimizer_settings = MappingProxyType({"iterations": 100, "posterior_stride": 3, "start_spread": 0.7})
    meshes: bool = False

    def scene(self) -> ds.Scene:
        x, y, z = HOOP
        wire = ds.Geometry(ds.Torus(RIM + RING, RING), HOOP, collides=False, color=RED, visible=not self.meshes)
        net = ds.Geometry(ds.Cup(0.5 * NET, RIM + RING, RING), (x, y, z - 0.5 * NET), friction=0.2, color=WHITE)
        board = ds.Geometry(
            ds.Box(BOARD, rounding=0.002), (x, y + BEHIND, z + ABOVE), restitution=0.5, color=WHITE, visible=not self.meshes
        )
        pole = ds.Geometry(
            ds.Cylinder(0.5 * z, 0.012),
            (x, y + BEHIND, 0.5 * z),
            collides=False,
            color=(0.5, 0.5, 0.55),
            visible=not self.meshes,
        )
        pictures = self._drawn() if self.meshes else ()
        stand = ds.Link("stand", ds.Joint("bolt", "fixed"), geometries=(wire, net, board, pole, *pictures))
        bowl = ds.Geometry(ds.Bowl(BOWL, 0.006, 1.3), friction=0.0, color=(0.35, 0.45, 0.6))
        ball = ds.RigidBody(
            "ball", ds.Sphere(BALL), (HAND[0], HAND[1], HAND[2] + 0.022), mass=0.1, friction=0.0, restitution=0.3, color=ORANGE
        )
        limits = {"z": (-0.04, 0.25), "y": (-0.15, 0.17)}
        hand = gantry("hand", "xyz", HAND, (bowl,), mass=0.5, gain=20.0, force=15.0, limits=limits)
        return ds.Scene(
            rigid_bodies=(ball,),
            articulations=(ds.Articulation("basket", (stand,)), hand),
            ground=ds.Ground(),
            contact=ds.ContactModel(stiffness=3e3, smoothing=3e-3, restitution_speed=0.5),
        )

    def _drawn(self) -> tuple[ds.Geometry, ...]:
        x, y, z = HOOP
        wide = 1.5
        return (
            package_mesh("Basketball", "basketball/hoop.stl", HOOP, color=RED, scale=wide),
            package_mesh("Basketball", "basketball/backboard.stl", (x, y + BEHIND, z + ABOVE), color=WHITE),
            package_mesh("Basketball", "basketball/pole.stl", (x, y + BEHIND, 0.0), color=(0.5, 0.5, 0.55)),
        )

    def actions(self) -> tuple[JointVelocity, ...]:
        return (JointVelocity("hand", limit=(0.6, 2.0, 2.5)),)

    def randomize(self, generator: torch.Generator) -> Episode:
        state = self.sim.reset()
        shift = state.q.new_tensor([0.05, 0.03]) * self.uniform(generator, 2)
        q = state.q.clone()
        q[:, :2] += shift
        q[:, 7:9] += shift
        return self.episode(state.replace(q=q))

    def observation(self, episode: Episode) -> Tensor:
        """Positions, then velocities, of the ball and the bowl; how the ball is turned does not matter."""
        q, qd = episode.state.q, episode.state.qd
        return torch.cat([q[:, :3], q[:, 7:], qd[:, :3], qd[:, 6:]], dim=1)

    def to_hoop(self, place: Tensor) -> tuple[Tensor, Tensor]:
        """Distance of the ball's centre (B, 3) from the hoop's axis and its height above the hoop, m, (B,) each."""
        to_hoop = place - place.new_tensor(HOOP)
        return soft_norm(to_hoop[:, :2]), to_hoop[:, 2]

    def reward(self, step: Transition) -> Tensor:
        aside, above = self.to_hoop(step.after.q[:, :3])
        arc = 0.15 * (1.0 - torch.exp(-((aside / 0.06).square()))) - 0.04  # it has to come from above
        gap = (aside.square() + (above - arc).square() + 1e-6).sqrt()
        return 1.0 - gap / (0.2 + 0.5 * gap)

    def success(self, episode: Episode) -> Tensor:
        aside, above = self.to_hoop(episode.state.q[:, :3])
        return (aside < RIM) & (above < 0.0) & (above > -NET)

    def outcome(self, episode: Episode) -> Tensor:
        y, z = episode.history[..., 1], episode.history[..., 2]
        touches = (y > HOOP[1] + BEHIND - BOARD[1] - BALL - 0.004) & (z > HOOP[2])
        return touches.any(dim=0).long()

    def camera(self) -> Camera:
        return Camera(position=(1.05, -0.05, 0.55), target=(0.0, 0.62, 0.2), vertical_fov_degrees=38)
