"""Cut a bar and push one part of it aside."""

from __future__ import annotations

from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor

import diffsim as ds
from diffsim.render import Camera
from tasks.action_spaces import ToolVelocity
from tasks.episode import Episode
from tasks.measures import soft_norm, which_smallest
from tasks.registry import register
from tasks.rpg_papers.soft_table import GRAVITY, SoftTable

HALF, BOTTOM = (0.3, 0.05, 0.05), 0.001  # the bar's half edges, and its height over the table, m
MIDDLE, END = 0.7, 0.2  # the bar's middle along x, and from where on a part counts, from the middle, m
DISTANCE, REACHED = 0.2, 0.06  # m


@register("CutBar")
class CutBar(SoftTable):
    """A blade over a bar of plasticine, 60 cm long and 10 cm thick.

    Task: move the bar's last 10 cm at one end 20 cm outwards, which takes a cut and a push from within.
    Randomisation: the tool's start, by 5 mm along x and y.
    Success: at the end the particles of one of the ends are within 6 cm of their goals in the mean.
    Ways: the right end to the right, or the left one to the left.

    Huang et al., the task cut: bar, yield stress, blade, limits of its speed, and the loss, 10 times the blade's
    distance to the nearest particle plus 500 times the mean distance of the end's particles to their goals; here
    divided by 100, so that the whole way is worth 1. The original names the end; here the one that is nearer to its
    goal counts, unless `end` names it. The domain is wider, as an end would meet its wall.

    Attributes:
        particles: about how many represent the bar.
        cells: of the grid in a metre.
        start_spread: how far the tool may start from its place, along x and y, m.
        stiffness: Young's modulus of the plasticine, Pa.
        end: which end is to be moved.
    """

    outcome_names = ("the right end", "the left end")
    optimizer_settings = MappingProxyType({"iterations": 50, "posterior_stride": 4})
    drawn_as = "reconstruction"  # the bar's own surface would hide the cut
    particles: int = 3000
    end: Literal["right", "left", "either"] = "either"

    def scene(self) -> ds.Scene:
        place = (MIDDLE, 0.3, HALF[2] + BOTTOM)
        bar = ds.SoftBody("bar", ds.Box(HALF), place, material=self.plasticine(30.0), particles=self.particles)
        shape = ds.Box((0.03, 0.1, 0.1))
        blade = ds.Tool("blade", shape, (MIDDLE, 0.3, 0.27), lower=(0.1, 0.2, 0.101), upper=(1.3, 0.4, 0.4), friction=0.9)
        return ds.Scene(
            (bar,), tools=(blade,), ground=ds.Ground(friction=1.0), upper=(1.4, 0.6, 0.5), grid_spacing=1.0 / self.cells,
            gravity=GRAVITY,
        )  # fmt: skip

    def actions(self) -> list[ToolVelocity]:
        return [ToolVelocity("blade", speed, (axis,)) for axis, speed in (("x", 6.0), ("y", 1.0), ("z", 6.0))]

    def missing(self, state: ds.State, episode: Episode) -> Tensor:
        """Mean distance of the particles of the right and of the left end to their goals, m, (B, 2)."""
        start = episode["start"]
        x = start[0, :, 0] - MIDDLE
        errors = []
        for part, side in ((x > END, 1.0), (x < -END, -1.0)):
            gap = state.x[:, part] - start[:, part] - start.new_tensor([side * DISTANCE, 0.0, 0.0])
            errors.append(soft_norm(gap).mean(dim=1))
        return torch.stack(errors, dim=1)

    def worst(self, state: ds.State, episode: Episode) -> Tensor:
        missing = self.missing(state, episode)
        return missing.amin(dim=1) if self.end == "either" else missing[:, int(self.end == "left")]

    def loss(self, state: ds.State, episode: Episode) -> Tensor:
        return 0.1 * self.tool_gap(state) + 5.0 * self.worst(state, episode)

    def success(self, episode: Episode) -> Tensor:
        return self.worst(episode.state, episode) < REACHED

    def outcome(self, episode: Episode) -> Tensor:
        return which_smallest(self.missing(episode.state, episode), 0.6 * DISTANCE)

    def camera(self) -> Camera:
        return Camera(position=(0.7, -0.6, 0.7), target=(0.7, 0.3, 0.05), vertical_fov_degrees=42)
