"""Pull a flask by its handle with a stick."""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor

import diffsim as ds
from diffsim.render import Camera, GroundMarker
from tasks.action_spaces import JointVelocity
from tasks.base import Task
from tasks.episode import Episode, Transition
from tasks.goal_markers import goal_markers
from tasks.household.gantry import gantry, rails
from tasks.household.package_meshes import AROUND_X, AROUND_Y, package_mesh
from tasks.registry import register

# Of metaworld's thermos.xml, in the flask's frame on the table, m: its handle is a bow on its front.
BODY, BODY_Z = (0.12, 0.06), 0.12
GRIP_Y, GRIP_Z, GRIP = -0.135, 0.132, 0.058  # of the handle's bar: place, height of its middle, half length
STICK = (0.1, 0.012)  # half length and radius, m
REACH = 0.08  # the hand's y, m, that it cannot pass
START, FLASK = (0.0, -0.07, 0.12), (0.0, 0.15)
GOAL_Y, NEAR = -0.14, 0.03  # of the handle, m
ACROSS, UP = 0.04, 0.06  # how near the stick must be to the handle to be in it, m
GREEN, STEEL, BLUE = (0.2, 0.5, 0.35), (0.65, 0.66, 0.7), (0.15, 0.3, 0.5)


@register("StickPull")
class StickPull(Task):
    """A hand that cannot reach round a flask holds a stick in the middle; the flask's handle, a bow, faces it.

    Task: pass an end of the stick through the handle, from the left or from the right, and pull the flask to the line. After
        metaworld's stick pull, whose flask this is, drawn with its meshes with ``meshes``.
    Randomisation: the flask stands up to 4 cm off its place along x and 2 cm along y, and the stick up to 2 cm along x.
    Success: at the end the handle is within 3 cm of the line y = -14 cm, with the stick in it: as metaworld has it, an end is
        beyond the handle and the stick within 4 cm of it along y and 6 cm along z.
    Ways: from the left, or from the right.

    Attributes:
        meshes: whether the flask is drawn with metaworld's meshes, which must then be installed.
    """

    horizon, dt, substeps = 40, 2.5e-3, 10
    outcome_names = ("from the left", "from the right")
    optimizer_settings = MappingProxyType({"iterations": 100, "posterior_stride": 3, "start_spread": 0.5})
    meshes: bool = False

    def scene(self) -> ds.Scene:
        plain = not self.meshes
        bow = [
            ds.Geometry(ds.Capsule(GRIP, 0.007), (0.0, GRIP_Y, GRIP_Z), friction=0.0, color=STEEL, visible=plain),
            *(
                ds.Geometry(
                    ds.Capsule(0.035, 0.006),
                    (0.0, -0.09, GRIP_Z + side * GRIP),
                    AROUND_X,
                    friction=0.0,
                    color=STEEL,
                    visible=plain,
                )
                for side in (-1.0, 1.0)
            ),
        ]
        inner = ds.Geometry(ds.Capsule(0.06, BODY[1]), (0.0, 0.0, BODY_Z), friction=0.0, visible=False)
        body = ds.Geometry(ds.Cylinder(*BODY), (0.0, 0.0, BODY_Z), collides=False, color=GREEN, visible=plain)
        cap = ds.Geometry(ds.Cylinder(0.04, 0.045), (0.0, 0.0, 0.28), collides=False, color=STEEL, visible=plain)
        parts = (*bow, inner, body, cap, *(self._drawn() if self.meshes else ()))
        flask = rails("xy", (0.0, 0.0, 0.0), parts, mass=0.5, damping=5.0, start=FLASK)
        stick = ds.Geometry(ds.Capsule(*STICK), (0.0, 0.0, 0.0), AROUND_Y, friction=0.0, color=BLUE)
        palm = ds.Geometry(ds.Box((0.02, 0.02, 0.03)), (0.0, 0.0, 0.03), collides=False, color=STEEL)
        limits = {"y": (-0.5, REACH), "z": (STICK[1], 0.3)}
        hand = gantry("hand", "xyz", (0.0, 0.0, 0.0), (stick, palm), mass=0.3, gain=30.0, force=8.0, start=START, limits=limits)
        return ds.Scene(
            articulations=(ds.Articulation("flask", flask), hand), contact=ds.ContactModel(stiffness=1e3, smoothing=2e-3)
        )

    def _drawn(self) -> tuple[ds.Geometry, ...]:
        parts = (
            ("base", 0.02, STEEL, 0.0),
            ("body", 0.14, GREEN, 0.0),
            ("handle", GRIP_Z, STEEL, GRIP_Y),
            ("trim", 0.285, STEEL, 0.0),
        )
        return tuple(
            package_mesh("StickPull", f"thermos/therm_{name}.stl", (0.0, y, z), color=color) for name, z, color, y in parts
        )

    def actions(self) -> tuple[JointVelocity, ...]:
        return (JointVelocity("hand", limit=0.6),)

    def randomize(self, generator: torch.Generator) -> Episode:
        """The coordinates are x and y of the flask, and the hand's."""
        state = self.sim.reset()
        spread = state.q.new_tensor([0.04, 0.02, 0.02, 0.0, 0.0])
        return self.episode(state.replace(q=state.q + spread * self.uniform(generator, 5)))

    def to_stick(self, q: Tensor) -> Tensor:
        """From the middle of the handle's bar to that of the stick, m, (..., 3)."""
        return q[..., 2:] - torch.stack([q[..., 0], q[..., 1] + GRIP_Y, torch.full_like(q[..., 0], GRIP_Z)], dim=-1)

    def reward(self, step: Transition) -> Tensor:
        q = step.after.q
        x, y, z = self.to_stick(q).unbind(-1)
        front = torch.sigmoid(-y / 0.008)  # in front of the bar the way leads round it, 8 cm farther out
        out = (0.6 + 0.8 * front) * STICK[0]
        rest = (y - 0.012).square() + z.square() + 1e-4
        gaps = torch.stack([((x + side * out).square() + rest).sqrt() for side in (1.0, -1.0)], dim=1)
        nearer = -0.03 * torch.logsumexp(-gaps / 0.03, dim=1) + out - 0.6 * STICK[0]
        left = ((q[:, 1] + GRIP_Y - GOAL_Y).square() + 1e-4).sqrt()
        return 1.0 - left / 0.15 - 4.0 * nearer

    def success(self, episode: Episode) -> Tensor:
        q = episode.state.q
        x, y, z = self.to_stick(q).unbind(-1)
        there = (q[:, 1] + GRIP_Y - GOAL_Y).abs() < NEAR
        return there & (x.abs() < STICK[0]) & (y.abs() < ACROSS) & (z.abs() < UP)

    def outcome(self, episode: Episode) -> Tensor:
        q = episode.state.q
        return torch.where(
            (self.to_stick(q)[:, 0].abs() < STICK[0]) & (q[:, 1] < FLASK[1] - 0.05), (q[:, 2] > q[:, 0]).long(), -1
        )

    def camera(self) -> Camera:
        return Camera(position=(0.55, -0.85, 0.75), target=(0.0, -0.03, 0.1), vertical_fov_degrees=36)

    def markers(self, episode: Episode, environment: int) -> tuple[GroundMarker, ...]:
        return goal_markers((episode.state.q[environment, 0].item(), GOAL_Y), NEAR)
