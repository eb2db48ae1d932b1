"""Cut a bar of dough into parts."""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn.functional import pad

import diffsim as ds
from diffsim.render import Camera
from tasks.base import Task
from tasks.episode import Episode, Transition
from tasks.registry import register

MIDDLE, HALF = (0.5, 0.3), (0.24, 0.06, 0.04)  # of the bar on the board, m
BLADE, LIFTED, DOWN = (0.028, 0.11, 0.07), 0.18, 0.09  # half sizes, and heights of the blade's middle, m
CUTS, STRIP = (0.35, 0.65), 0.07  # shares of the dough on the left of a cut, and beside it what is looked at
WANTED, CLEAN = 0.05, 0.04  # width of the gap, m, and the share of the dough that may be left in it


@register("CutIntoParts")
class CutIntoParts(Task):
    """A blade stands over the middle of a bar of plastic dough on a board.

    Task: cut the bar into a part of about a third and one of two thirds. The third may be cut off on the left or on the right;
        where the blade starts it makes two halves. After the cutting tasks of DiffSkill and RPG.
    Randomisation: the bar lies up to 2 cm off its place along x, and its yield stress varies by 30%.
    Success: at the end there is a gap of 5 cm along the bar with less than 4% of the dough in it, and on one side of it are
        between 28% and 42% of the dough.

    Attributes:
        particles: number of particles of the bar.
        grid_spacing: of the background grid, m.
    """

    horizon = 30
    dt, substeps = 1e-3, 24
    tool_speed = 0.6
    particles: int = 3600
    grid_spacing: float = 0.016
    outcome_names = ("a third on the left", "a third on the right")
    optimizer_settings = MappingProxyType({"iterations": 60, "posterior_stride": 2})
    drawn_as = "reconstruction"  # the bar's own surface would hide the cut

    def scene(self) -> ds.Scene:
        clay = ds.ElastoPlastic(youngs_modulus=1e4, poissons_ratio=0.3, yield_stress=400.0)
        place = (*MIDDLE, HALF[2] + 0.001)
        bar = ds.SoftBody("bar", ds.Box(HALF), place, material=clay, particles=self.particles)
        blade = ds.Tool(
            "blade", ds.Box(BLADE, rounding=0.02), (*MIDDLE, LIFTED), control=("x", "z"), friction=0.1,
            lower=(0.15, None, BLADE[2] + 0.005), upper=(0.85, None, LIFTED),
        )  # fmt: skip
        return ds.Scene(
            (bar,), tools=(blade,), ground=ds.Ground(friction=0.3), upper=(1.0, 0.6, 0.3), grid_spacing=self.grid_spacing
        )

    def randomize(self, generator: torch.Generator) -> Episode:
        state = self.sim.reset()
        shift = pad(self.uniform(generator, 1, 1, low=-0.02, high=0.02), (0, 2))
        softness = 400.0 * self.uniform(generator, low=0.7, high=1.3)
        return self.episode(state.replace(x=state.x + shift), parameters={"bar.yield_stress": softness})

    def widened(self, state: ds.State) -> Tensor:
        """By how much the dough beside each cut has parted along x, m, (B, 2)."""
        along, count = state.x[..., 0].sort(dim=1).values, state.x.shape[1]

        def mean(low: float, high: float) -> Tensor:
            return along[:, round(low * count) : round(high * count)].mean(dim=1)

        return torch.stack([mean(cut, cut + STRIP) - mean(cut - STRIP, cut) - 2.0 * STRIP * HALF[0] for cut in CUTS], dim=1)

    def gaps(self, state: ds.State) -> Tensor:
        """Whether there is a gap between a part of about a third on the left, or on the right, and the rest, bool (B, 2)."""
        along, count = state.x[..., 0].sort(dim=1).values, state.x.shape[1]
        within = max(round(CLEAN * count), 1)
        wide = along[:, within:] - along[:, :-within] > WANTED
        first = [round((cut - STRIP) * count) for cut in CUTS]
        return torch.stack([wide[:, at : at + round(2.0 * STRIP * count)].any(dim=1) for at in first], dim=1)

    def reward(self, step: Transition) -> Tensor:
        widened = self.widened(step.after)
        along = step.after.x[..., 0].detach().sort(dim=1).values
        sites = torch.stack([along[:, round(cut * along.shape[1])] for cut in CUTS], dim=1)
        place = step.after.tool_position[:, 0, None]
        away = ((place[..., 0] - sites).square() + (place[..., 2] - DOWN).square() + 1e-4).sqrt()
        worth = (widened / WANTED).clamp(max=1.5) - away / 0.15
        return 0.5 * (0.2 * torch.logsumexp(worth / 0.2, dim=1) + 1.0)

    def success(self, episode: Episode) -> Tensor:
        return self.gaps(episode.state).any(dim=1)

    def outcome(self, episode: Episode) -> Tensor:
        gaps = self.gaps(episode.state)
        return torch.where(gaps.any(dim=1), gaps[:, 1].long(), -1)

    def camera(self) -> Camera:
        return Camera(position=(0.5, -0.5, 0.6), target=(0.5, 0.3, 0.04), vertical_fov_degrees=38)
