"""Drive a nail with a hammer."""

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
from tasks.registry import register

BOARD = 0.1  # half of its width, m
SHAFT, HEAD = (0.06, 0.01), (0.009, 0.03)  # half length and radius of the nail's shaft and head, m
SHAFT_AT = 0.057  # of the shaft's middle behind the head's, m
STICKS_OUT = 0.11  # the head's middle in front of the board's face at the start, m
DEPTH, NEAR = 0.09, 0.02  # how far it is to be driven, and what may be left, m
MIDDLE = 0.17  # mean height of the nail, m
FACE = (0.016, 0.038)  # half length and radius of the hammer's striking face, m
REACH, AWAY = 0.072, 0.12  # of the hammer's face from its handle's axis; the face from the nail's head at the start, m
WOOD, STEEL, RED = (0.75, 0.6, 0.4), (0.6, 0.62, 0.66), (0.7, 0.15, 0.15)


@register("HammerNail")
class HammerNail(Task):
    """A hand moves a hammer before a nail in a board; the wood holds the nail by dry friction, more than the hand can push.

    Task: drive the nail in by strokes. The sizes are those of metaworld's hammer, and so is its look with ``meshes``.
    Randomisation: the height of the nail is 12 to 22 cm, and the hammer starts up to ``spread`` off its place.
    Success: at the end the nail's head is within 2 cm of where it is to be, 9 cm deeper, as in Huang et al. (ICML 2023).
    Ways: one.

    Attributes:
        spread: see above, m.
        resistance: force at which the nail gives, N.
        strength: of the hand, N, which is less.
        meshes: whether things are drawn with metaworld's meshes, which must then be installed; else as what they touch with.
    """

    horizon, dt, substeps = 40, 2e-3, 12
    outcome_names = ("driven",)
    optimizer_settings = MappingProxyType({"iterations": 80, "posterior_stride": 3})
    spread: float = 0.02
    resistance: float = 20.0
    strength: float = 15.0
    meshes: bool = False

    def scene(self) -> ds.Scene:
        plain = not self.meshes
        board = ds.Geometry(
            ds.Box((BOARD, BOARD, 0.11), rounding=0.004), (0.0, BOARD, 0.0), collides=False, color=WOOD, visible=plain
        )
        head = ds.Geometry(ds.Cylinder(*HEAD, rounding=0.004), rotation=AROUND_X, friction=0.3, color=STEEL, visible=plain)
        shaft = ds.Geometry(ds.Cylinder(*SHAFT), (0.0, SHAFT_AT, 0.0), AROUND_X, collides=False, color=STEEL, visible=plain)
        face = ds.Geometry(
            ds.Cylinder(*FACE, rounding=0.004), (0.0, REACH - FACE[0], 0.0), AROUND_X, friction=0.3, color=STEEL, visible=plain
        )
        back = ds.Geometry(
            ds.Cylinder(*FACE), (0.0, FACE[0] - REACH, 0.0), AROUND_X, collides=False, color=STEEL, visible=plain
        )
        neck = ds.Geometry(ds.Cylinder(0.05, 0.02), (0.0, 0.0, 0.0), AROUND_X, collides=False, color=STEEL, visible=plain)
        handle = ds.Geometry(ds.Capsule(0.14, 0.02), (-0.16, 0.0, 0.0), AROUND_Y, collides=False, color=RED)
        pictures = self._drawn() if self.meshes else ((), (), ())
        wood = ds.Link(
            "board",
            ds.Joint("height", "prismatic", (0.0, 0.0, 1.0), initial=(MIDDLE,)),
            inertia=ds.Inertia(1e3, (10.0, 10.0, 10.0)),
            geometries=(board, *pictures[0]),
            gravity_compensation=1.0,
        )
        slide = ds.Joint("slide", "prismatic", (0.0, 1.0, 0.0), limits=(0.0, 0.1), friction_loss=self.resistance, damping=2.0)
        nail = ds.Link(
            "nail", slide, "board", (0.0, -STICKS_OUT, 0.0), inertia=ds.Inertia(0.2, (1e-4, 1e-4, 1e-4)),
            geometries=(head, shaft, *pictures[1]),
        )  # fmt: skip
        start = (0.0, -STICKS_OUT - HEAD[0] - REACH - AWAY, 0.0)
        hammer = (face, back, neck, handle, *pictures[2])
        return ds.Scene(
            articulations=(
                ds.Articulation("target", (wood, nail)),
                gantry(
                    "hammer",
                    "yz",
                    start,
                    hammer,
                    mass=1.0,
                    gain=20.0,
                    force=self.strength,
                    start=(0.0, MIDDLE),
                    limits={"z": (0.06, 0.3)},
                ),
            ),
            ground=ds.Ground(),
            contact=ds.ContactModel(stiffness=1.5e4, smoothing=2e-3),
        )

    def _drawn(self) -> tuple[tuple[ds.Geometry, ...], ...]:
        """Of the board, the nail and the hammer."""
        board = package_mesh("HammerNail", "hammer/hammerblock.stl", (0.0, BOARD, 0.0), color=WOOD)
        nail = package_mesh("HammerNail", "hammer/nail.stl", (0.0, SHAFT_AT, 0.0), AROUND_X, color=STEEL)
        head = package_mesh("HammerNail", "hammer/hammerhead.stl", color=STEEL)
        return (board,), (nail,), (head,)

    def actions(self) -> tuple[JointVelocity, ...]:
        return (JointVelocity("hammer", limit=2.0),)

    def randomize(self, generator: torch.Generator) -> Episode:
        """The coordinates are the board's height, the nail's depth, and y and z of the hammer."""
        state, drawn = self.sim.reset(), self.uniform(generator, 3)
        q = state.q + torch.stack(
            [0.05 * drawn[:, 0], torch.zeros_like(drawn[:, 0]), *(self.spread * drawn[:, 1:]).unbind(1)], 1
        )
        return self.episode(state.replace(q=q))

    def reward(self, step: Transition) -> Tensor:
        height, depth, _, z = step.after.q.unbind(1)
        aside = ((z - height).square() + 1e-4).sqrt()
        return depth / DEPTH - aside / 0.1

    def success(self, episode: Episode) -> Tensor:
        return episode.state.q[:, 1] > DEPTH - NEAR

    def observation(self, episode: Episode) -> Tensor:
        q, qd = episode.state.q, episode.state.qd
        aside = (q[:, 3:] - q[:, :1]) / 0.05
        return torch.cat([aside, q[:, 1:3] / 0.1, qd[:, 1:]], dim=1)

    def camera(self) -> Camera:
        return Camera(position=(-0.75, -0.75, 0.5), target=(0.0, -0.12, 0.16), vertical_fov_degrees=36)
