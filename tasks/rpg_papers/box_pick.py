"""Pick one of three soft boxes and push it away."""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor

import diffsim as ds
from diffsim.render import Camera
from tasks.episode import Episode
from tasks.measures import which_largest
from tasks.registry import register
from tasks.rpg_papers.soft_table import GRAVITY, SoftTable

PLACES = {"middle": 0.5, "right": 0.7, "left": 0.3}  # along x, m
HALF, BOTTOM = 0.05, 0.001  # a box's half edge, and its height over the table, m
FAR = 0.15  # m


@register("BoxPick")
class BoxPick(SoftTable):
    """A capsule in front of three boxes of plasticine, 10 cm each, in a row.

    Task: push a box away, along +y.
    Randomisation: the tool's start, by 5 mm along x and y.
    Success: at the end a box's centre is at least 15 cm further along y than at the start.
    Ways: each box is one; the middle box is straight ahead.

    Huang et al., the task box_pick: the boxes and their yield stress, the tool's place, and the loss, the tool's
    distance to the nearest particle minus the mean y of all particles, times 10. The capsule's size and the number of
    particles are ours.

    Attributes:
        particles: about how many represent each box.
        cells: of the grid in a metre.
        start_spread: how far the tool may start from its place, along x and y, m.
        stiffness: Young's modulus of the plasticine, Pa.
    """

    outcome_names = tuple(f"the {name} box" for name in PLACES)
    optimizer_settings = MappingProxyType({"iterations": 50, "posterior_stride": 4})

    def scene(self) -> ds.Scene:
        boxes = [
            ds.SoftBody(
                name,
                ds.Box((HALF, HALF, HALF)),
                (x, 0.5, HALF + BOTTOM),
                material=self.plasticine(200.0),
                particles=self.particles,
            )
            for name, x in PLACES.items()
        ]
        shape = ds.Capsule(half_length=0.03, radius=0.03)
        tool = ds.Tool("tool", shape, (0.5, 0.35, 0.07), lower=(0.05, 0.05, 0.061), upper=(0.95, 0.95, 0.3), friction=0.9)
        return ds.Scene(
            tuple(boxes), tools=(tool,), ground=ds.Ground(friction=1.0), upper=(1.0, 1.2, 0.5), grid_spacing=1.0 / self.cells,
            gravity=GRAVITY,
        )  # fmt: skip

    def loss(self, state: ds.State, episode: Episode) -> Tensor:
        return 10.0 * (self.tool_gap(state) - state.x[..., 1].mean(dim=1))

    def moved(self, episode: Episode) -> Tensor:
        """How far each box has moved along y, m, (B, 3)."""
        y = (episode.state.x - episode["start"])[..., 1]
        return torch.stack([y[:, self.sim.particle_slice(name)].mean(dim=1) for name in PLACES], dim=1)

    def success(self, episode: Episode) -> Tensor:
        return self.moved(episode).amax(dim=1) > FAR

    def outcome(self, episode: Episode) -> Tensor:
        return which_largest(self.moved(episode), 0.3 * FAR)

    def camera(self) -> Camera:
        return Camera(position=(0.5, -0.5, 0.9), target=(0.5, 0.6, 0.03), vertical_fov_degrees=34)
