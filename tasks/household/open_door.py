"""Open a door that stands ajar."""

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
from tasks.household.package_meshes import AROUND_X, AROUND_Y, package_mesh
from tasks.measures import soft_norm
from tasks.registry import register

# Of metaworld's doorlockB.xml, in the frame of the hinge: x along the closed door, y into the cupboard, z up. m.
HINGE = (-0.185, 0.0, 0.15)
PANEL, PANEL_AT = (0.18, 0.01, 0.123), (0.185, 0.0, 0.0)
LEVER_Y, LEVER_X = -0.12, (0.325, 0.45)  # the handle's lever lies along x, and reaches beyond the door's edge
WALLS = (  # half extents and places of the cupboard's
    ((0.016, 0.106, 0.15), (-0.019, 0.1, 0.0)),
    ((0.016, 0.106, 0.15), (0.389, 0.1, 0.0)),
    ((0.188, 0.106, 0.012), (0.185, 0.1, 0.138)),
    ((0.189, 0.106, 0.012), (0.185, 0.1, -0.138)),
    ((0.188, 0.012, 0.126), (0.185, 0.194, 0.0)),
)
GRIPS = ((0.4, -0.06, 0.0), (0.35, 0.035, 0.0))  # where a finger pulls: behind the lever, behind the door's edge
START = (0.27, -0.06)  # of the finger, world
OPEN = 1.0  # rad
STEEL, PAINT = (0.6, 0.62, 0.66), (0.35, 0.45, 0.6)


@register("OpenDoor")
class OpenDoor(Task):
    """A finger on rails before a cupboard whose door stands ajar, with a handle that reaches beyond the door's edge.

    Task: open the door. The sizes are those of metaworld's door (doorlockB.xml), and so is its look with ``meshes``.
    Randomisation: the door is ajar by 0.2 to 0.3 rad, and the finger starts up to ``spread`` off its place along x and y.
    Success: at the end the door stands open by at least 1 rad, as in Adroit's door in Huang et al. (ICML 2023).
    Ways: pull the handle, from behind its lever, or pull the door by its edge, from within.

    Attributes:
        spread: see above, m.
        meshes: whether the door is drawn with metaworld's meshes, which must then be installed; else with boxes.
    """

    horizon, dt, substeps = 40, 2.5e-3, 12
    outcome_names = ("by the handle", "by the edge")
    optimizer_settings = MappingProxyType({"iterations": 80, "policy": "table", "posterior_stride": 3})
    spread: float = 0.02
    meshes: bool = False

    def scene(self) -> ds.Scene:
        drawn = not self.meshes
        door = ds.Link(
            "door",
            ds.Joint(
                "hinge", "revolute", (0.0, 0.0, -1.0), limits=(0.0, 2.0), damping=0.05, friction_loss=0.05, initial=(0.25,)
            ),
            "cupboard",
            inertia=ds.Inertia(1.0, (5e-3, 1.6e-2, 1.1e-2), PANEL_AT),
            geometries=(
                ds.Geometry(ds.Box(PANEL, rounding=0.008), PANEL_AT, friction=0.3, color=PAINT, visible=drawn),
                ds.Geometry(ds.Capsule(0.05, 0.013), (0.325, -0.065, 0.0), AROUND_X, friction=0.3, color=STEEL, visible=drawn),
                ds.Geometry(ds.Capsule(0.06, 0.02), (0.387, LEVER_Y, 0.0), AROUND_Y, friction=0.3, color=STEEL, visible=drawn),
                *(self._drawn() if self.meshes else ()),
            ),
        )
        walls = tuple(ds.Geometry(ds.Box(half), at, friction=0.3, color=STEEL) for half, at in WALLS)
        cupboard = ds.Link("cupboard", ds.Joint("bolt", "fixed"), geometries=walls)
        finger = ds.Geometry(ds.Capsule(0.06, 0.012), friction=0.3, color=(0.95, 0.6, 0.15))
        return ds.Scene(
            articulations=(
                ds.Articulation("cupboard", (cupboard, door), position=HINGE),
                gantry("finger", "xy", (0.0, 0.0, HINGE[2]), (finger,), mass=0.3, gain=40.0, force=10.0, start=START),
            ),
            contact=ds.ContactModel(stiffness=4e3, smoothing=2e-3),
        )

    def _drawn(self) -> tuple[ds.Geometry, ...]:
        return (
            package_mesh("OpenDoor", "doorlock/door.stl", PANEL_AT, color=PAINT),
            package_mesh("OpenDoor", "doorlock/door_handle.stl", (0.325, -0.062, 0.0), AROUND_X, color=STEEL),
            package_mesh("OpenDoor", "doorlock/handle_base.stl", (0.325, -0.006, 0.0), color=STEEL),
        )

    def actions(self) -> tuple[JointVelocity, ...]:
        return (JointVelocity("finger", limit=0.6),)

    def randomize(self, generator: torch.Generator) -> Episode:
        state = self.sim.reset()
        spread = state.q.new_tensor([0.05, self.spread, self.spread])
        return self.episode(state.replace(q=state.q + spread * self.uniform(generator, 3)))

    def grips(self, q: Tensor) -> Tensor:
        """The two places to pull at, on the ground plane, m, (..., 2, 2), of the coordinates (..., 3)."""
        cos, sin = torch.cos(q[..., :1]), torch.sin(q[..., :1])
        x, y = q.new_tensor(GRIPS)[:, :2].unbind(1)
        return torch.stack([HINGE[0] + cos * x + sin * y, HINGE[1] - sin * x + cos * y], dim=-1)

    def gaps(self, q: Tensor) -> Tensor:
        """Distances of the finger to these, m, (..., 2)."""
        return soft_norm(self.grips(q) - q[..., None, 1:], 1e-2)

    def reward(self, step: Transition) -> Tensor:
        q = step.after.q
        nearer = -0.05 * torch.logsumexp(-self.gaps(q) / 0.05, dim=1)
        return q[:, 0].clamp(max=1.1 * OPEN) / OPEN - nearer

    def success(self, episode: Episode) -> Tensor:
        return episode.state.q[:, 0] >= OPEN

    def outcome(self, episode: Episode) -> Tensor:
        """Where the finger was nearer while the door turned; -1 if it did not."""
        q = episode.history[..., :3]
        turned = (q[1:, :, :1] - q[:-1, :, :1]).clamp(min=0.0)
        side = (turned * self.gaps(q[1:])).sum(dim=0).argmin(dim=1)
        return torch.where(q[-1, :, 0] - q[0, :, 0] > 0.2, side, -1)

    def camera(self) -> Camera:
        return Camera(position=(0.35, -0.95, 0.85), target=(0.02, -0.1, 0.12), vertical_fov_degrees=36)
