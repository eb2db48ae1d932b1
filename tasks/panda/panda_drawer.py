"""Close one of four drawers."""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor

import diffsim as ds
from diffsim.render import Camera
from tasks.episode import Episode, Transition
from tasks.panda.panda_task import PandaHandTask, plain_panda, tilted
from tasks.registry import register

OPEN, CLOSED = 0.17, 0.03  # m, how far the drawers are open at the start, and may be at the end
CENTRE = (0.74, 0.0, 0.58)  # of the four fronts when closed, m
ASIDE, APART = 0.185, 0.1  # of a front's middle from the centre, along y and z, m
FRONT = ds.Box((0.012, 0.165, 0.085), rounding=0.003)
BODY = ds.Compound(
    (
        (ds.Box((0.11, 0.145, 0.004)), (0.12, 0.0, -0.06)),
        (ds.Box((0.11, 0.004, 0.04)), (0.12, 0.145, -0.02)),
        (ds.Box((0.11, 0.004, 0.04)), (0.12, -0.145, -0.02)),
    )
)
KNOB = ds.Sphere(0.014)
START = (0.42, 0.0, 0.58)  # of the fingertips, m
TILT = 1.3  # of the hand, rad from looking down to looking ahead


@register("PandaDrawer")
class PandaDrawer(PandaHandTask):
    """A Panda closes one of four open drawers, two beside and two above each other.

    Task: push any of the drawers shut. All four are equally good, so there are four distinct optima. The layout is that of
        DDiffPG's Drawer-close (arXiv 2406.00681).
    Randomisation: the hand starts up to 1.5 cm from the middle of the four along each axis; each drawer is open by 14.5 to
        17 cm, and slides with its own damping.
    Success: at the end a drawer is open by 3 cm or less.
    """

    horizon = 24
    outcome_names = ("upper left", "upper right", "lower left", "lower right")
    optimizer_settings = MappingProxyType(
        {"iterations": 50, "posterior_stride": 2, "std": (0.3, 0.02), "num_latents": 8, "beta": (0.6, 0.05)}
    )
    reward_bound = 1.0

    def scene(self) -> ds.Scene:
        self.robot = plain_panda(opening=0.0, friction=0.3, visuals=self.visuals)
        links = []
        for n, name in enumerate(self.outcome_names):
            x, y, z = self.fronts()[n]
            joint = ds.Joint(name, "prismatic", (-1.0, 0.0, 0.0), limits=(0.0, OPEN + 0.005), damping=8.0, initial=(OPEN,))
            shapes = (
                ds.Geometry(FRONT, friction=0.3, contact_points=1, color=(0.75, 0.55, 0.35)),
                ds.Geometry(BODY, collides=False, color=(0.8, 0.68, 0.5)),
                ds.Geometry(KNOB, (-0.022, 0.0, 0.0), collides=False, color=(0.3, 0.3, 0.32)),
            )
            inertia = ds.Inertia(0.5, (5e-3, 5e-3, 5e-3))
            links.append(ds.Link(name, joint, position=(x, y, z), inertia=inertia, geometries=shapes, gravity_compensation=1.0))
        return ds.Scene(articulations=(self.robot.articulation, ds.Articulation("chest", tuple(links))))

    @staticmethod
    def fronts() -> list[tuple[float, float, float]]:
        """Middles of the closed fronts, m, in the order of ``outcome_names``; left is +y."""
        x, y, z = CENTRE
        return [(x, y + ASIDE * side, z + APART * height) for height in (1.0, -1.0) for side in (1.0, -1.0)]

    def randomize(self, generator: torch.Generator) -> Episode:
        state = self.sim.reset()
        hand = state.q.new_tensor(START) + 0.015 * self.uniform(generator, 3)
        state = self.posed(state, hand, tilted(hand, TILT), opening=0.0)
        q = state.q.clone()
        q[:, self.drawers] -= self.uniform(generator, 4, low=0.0, high=0.025)
        damping = self.uniform(generator, 4, low=4.0, high=12.0)
        names = [f"chest.{name}.damping" for name in self.outcome_names]
        parameters = {name: damping[:, n] for n, name in enumerate(names)}
        return self.episode(state.replace(q=q), parameters=parameters)

    @property
    def drawers(self) -> list[int]:
        """Entries of the drawers in ``state.q``."""
        return [self.sim.joint(f"chest.{name}").coordinates.start for name in self.outcome_names]

    def reward(self, step: Transition) -> Tensor:
        opening = step.after.q[:, self.drawers]
        fronts = opening.new_tensor(self.fronts()) - torch.nn.functional.pad(opening[..., None], (0, 2))
        gap = self.hand(step.after)[:, None] - fronts
        reached = 1.0 / (1.0 + gap.square().sum(dim=2) / 0.12**2)
        shut = 1.0 - opening / OPEN
        return 0.1 * torch.logsumexp((0.3 * reached + 0.7 * shut) / 0.1, dim=1) - 0.1

    def success(self, episode: Episode) -> Tensor:
        return episode.state.q[:, self.drawers].amin(dim=1) < CLOSED

    def outcome(self, episode: Episode) -> Tensor:
        opening, drawer = episode.state.q[:, self.drawers].min(dim=1)
        return torch.where(opening < 0.5 * OPEN, drawer, -1)

    def camera(self) -> Camera:
        return Camera(position=(-0.35, -0.75, 1.25), target=(0.45, 0.05, 0.5), vertical_fov_degrees=48)
