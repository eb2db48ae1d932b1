"""Gather scattered pieces of dough into either of two heaps."""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn.functional import pad

import diffsim as ds
from diffsim.render import Camera, GroundMarker
from tasks.base import Task
from tasks.episode import Episode, Transition
from tasks.goal_markers import goal_markers
from tasks.measures import soft_norm, which_largest
from tasks.registry import register

HALF, RADIUS = 0.035, 0.17  # half a piece's edge, and a region's radius, m
REGIONS = ((0.7, 0.88), (0.7, 0.32))
PLACES = ((0.42, 0.6), (0.42, 0.51), (0.5, 0.7), (0.52, 0.5), (0.55, 0.61))  # of the pieces, before they are scattered


@register("GatherPieces")
class GatherPieces(Task):
    """A scraper, a blade with a wing at each end, on a board with five pieces of dough.

    Task: gather all pieces in one of two regions, ahead on the left or on the right. They are equally good, and straight on is
        neither, so there are two ways. After PlasticineLab's and FluidLab's gathering tasks.
    Randomisation: each piece lies up to 3 cm off its place along x and y.
    Success: at the end 90% of the dough is within 17 cm of the middle of one region, on the ground plane.

    Attributes:
        particles: number of particles of all pieces.
        grid_spacing: of the background grid, m.
    """

    horizon = 30
    dt, substeps = 2e-3, 12
    tool_speed = 1.0
    action_dim = 2
    particles: int = 2500
    grid_spacing: float = 0.0175
    outcome_names = ("the left region", "the right region")
    optimizer_settings = MappingProxyType({"iterations": 60, "posterior_stride": 2})

    def scene(self) -> ds.Scene:
        dough = ds.Elastic(youngs_modulus=5e3, poissons_ratio=0.3)
        pieces = tuple(
            ds.SoftBody(
                f"piece_{i}", ds.Box((HALF,) * 3), (x, y, HALF + 0.001), material=dough,
                particles=self.particles // len(PLACES),
            )
            for i, (x, y) in enumerate(PLACES)
        )  # fmt: skip
        # three boxes, which keep to the fast solver as a compound of them would not; they are driven as one
        sizes = {"blade": ((0.04, 0.24, 0.05), 0.0, 0.0), "left_wing": ((0.15, 0.04, 0.05), 0.18, 0.2)}
        sizes["right_wing"] = ((0.15, 0.04, 0.05), 0.18, -0.2)
        scraper = tuple(
            ds.Tool(
                name, ds.Box(half, rounding=0.02), (0.28 + x, 0.6 + y, 0.056), control=("x", "y"), friction=0.3, stops_at=(),
                lower=(0.1 + x, 0.25 + y, None), upper=(0.8 + x, 0.95 + y, None),
            )
            for name, (half, x, y) in sizes.items()
        )  # fmt: skip
        return ds.Scene(
            pieces, tools=scraper, ground=ds.Ground(friction=0.3), upper=(1.2, 1.2, 0.3), grid_spacing=self.grid_spacing
        )

    def controls(self, state: ds.State, action: Tensor, last: Tensor | None = None) -> Tensor:
        return (self.tool_speed * action).repeat(1, 3)

    def randomize(self, generator: torch.Generator) -> Episode:
        state = self.sim.reset()
        shifts = pad(self.uniform(generator, len(PLACES), 2, low=-0.03, high=0.03), (0, 1))
        slices = [self.sim.particle_slice(body.name) for body in self.sim.scene.soft_bodies]
        moved = [state.x[:, part] + shifts[:, i, None] for i, part in enumerate(slices)]
        return self.episode(state.replace(x=torch.cat(moved, dim=1)))

    def distances(self, state: ds.State) -> Tensor:
        """Of each particle to the middle of each region, m, (B, 2, N)."""
        to_regions = state.x[:, None, :, :2] - state.x.new_tensor(REGIONS)[:, None]
        return soft_norm(to_regions)

    def gathered(self, state: ds.State) -> Tensor:
        """Share of the dough in each region, (B, 2)."""
        return (self.distances(state) < RADIUS).to(state.x).mean(dim=2)

    def reward(self, step: Transition) -> Tensor:
        nearest = -0.03 * torch.logsumexp(-self.distances(step.after).mean(dim=2) / 0.03, dim=1)
        gap = step.after.tool_position[:, 0, :2] - step.after.x[..., :2].mean(dim=1)
        return 1.0 - nearest / 0.4 - 0.1 * (gap / 0.25).square().sum(dim=1)

    def success(self, episode: Episode) -> Tensor:
        return self.gathered(episode.state).amax(dim=1) >= 0.9

    def outcome(self, episode: Episode) -> Tensor:
        return which_largest(self.gathered(episode.state), 0.5)

    def camera(self) -> Camera:
        return Camera(position=(-0.55, 0.6, 1.1), target=(0.55, 0.6, 0.0), vertical_fov_degrees=38)

    def markers(self, episode: Episode, environment: int) -> tuple[GroundMarker, ...]:
        return tuple(mark for region in REGIONS for mark in goal_markers(region, RADIUS))
