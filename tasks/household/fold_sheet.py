"""Fold a sheet of dough so that its halves meet."""

from __future__ import annotations

from functools import cached_property
from types import MappingProxyType

import torch
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn.functional import pad

import diffsim as ds
from diffsim.render import Camera
from tasks.base import Task
from tasks.episode import Episode, Transition
from tasks.measures import soft_norm
from tasks.registry import register

MIDDLE, LENGTH, WIDTH, THICKNESS = (0.5, 0.3), 0.4, 0.2, 0.04  # of the sheet on the board, m
HEIGHT, HANDS = 0.5 * THICKNESS + 0.001, 0.1  # of the sheet's middle, and of the hands along y: beside the sheet
SIDES, CLOSED = (-1.0, 1.0), 0.25  # the least angle between the hands, rad: they are then 5 cm apart


@register("FoldSheet")
class FoldSheet(Task):
    """Two hands hold the left and the right edge of a sheet of dough that lies on a board, as for a dumpling.

    Task: fold the sheet flat across its middle, so that each point of the left half lies on its mirror image in the right one.
        Each hand swings its edge about the middle line, as one turns a page; either half may be laid over the other.
        To lift both edges until they meet makes a tent, which is not flat.
    Randomisation: the sheet and the hands lie up to 2 cm off their place along y, and the stiffness varies by 30%.
    Success: at the end mirror images are on average within 4 cm of each other along the board, and the sheet's mean height is
        less than 8 cm (a folded sheet's is about 5 cm, a tent's 12 cm).

    Attributes:
        particles: number of particles of the sheet.
        grid_spacing: of the background grid, m.
    """

    horizon = 36
    dt, substeps = 2e-3, 12
    action_dim = 2
    swing = 5.0  # rad/s
    particles: int = 3600
    grid_spacing: float = 0.02
    outcome_names = ("the left half on top", "the right half on top")
    optimizer_settings = MappingProxyType({"iterations": 60, "posterior_stride": 2})

    def scene(self) -> ds.Scene:
        x, y = MIDDLE
        # unlike `ds.Elastic`'s, its stress stays bounded where a fold is pressed together
        dough = ds.NeoHookean(youngs_modulus=4e3, poissons_ratio=0.3, density=400.0)
        box = ds.Box((0.5 * LENGTH, 0.5 * WIDTH, 0.5 * THICKNESS))
        sheet = ds.SoftBody("sheet", box, (x, y, HEIGHT), material=dough, particles=self.particles)
        edge = ds.Box((sheet.particle_spacing, WIDTH, THICKNESS))
        hands, grips = [], []
        for name, side in zip(("left", "right"), SIDES, strict=True):
            end = x + 0.5 * side * LENGTH
            hands.append(ds.Tool(f"{name}_hand", ds.Sphere(0.02), (end, HANDS, HEIGHT), control=("x", "z", "ry"), stops_at=()))
            grips.append(ds.Attachment(f"{name}_grip", "sheet", f"{name}_hand", where=edge, position=(end, y, HEIGHT)))
        return ds.Scene(
            (sheet,), tools=tuple(hands), attachments=tuple(grips), ground=ds.Ground(friction=0.8), upper=(1.0, 0.6, 0.4),
            grid_spacing=self.grid_spacing,
        )  # fmt: skip

    def controls(self, state: ds.State, action: Tensor, last: Tensor | None = None) -> Tensor:
        seconds, sides = self.sim.control_dt, action.new_tensor(SIDES)
        arm = state.tool_position[..., [0, 2]] - action.new_tensor([MIDDLE[0], HEIGHT])
        angle = torch.atan2(arm[..., 1], sides * arm[..., 0])  # by which each edge is lifted, 0 on the board
        wanted = (angle + seconds * self.swing * action).clamp(0.0, torch.pi - CLOSED)
        # the hands do not pass each other: where they meet, both give way
        wanted = wanted - 0.5 * (wanted.sum(dim=1, keepdim=True) - torch.pi + CLOSED).clamp(min=0.0)
        place = 0.5 * LENGTH * torch.stack([sides * wanted.cos(), wanted.sin()], dim=2)
        turned = 2.0 * torch.atan2(state.tool_rotation[..., 2], state.tool_rotation[..., 0])
        return torch.cat([place - arm, (-sides * wanted - turned)[..., None]], dim=2).flatten(1) / seconds

    @cached_property
    def halves(self) -> tuple[Tensor, Tensor]:
        """Particles of the left half, and those that lie nearest to their mirror images, both (P,)."""
        rest = self.sim.scene.soft_bodies[0].rest_particles
        left = (rest[:, 0] < MIDDLE[0]).nonzero()[0]
        mirrored = rest[left] * (-1.0, 1.0, 1.0) + (2.0 * MIDDLE[0], 0.0, 0.0)
        right = cKDTree(rest).query(mirrored)[1]
        return torch.from_numpy(left).to(self.sim.device), torch.from_numpy(right).to(self.sim.device)

    def randomize(self, generator: torch.Generator) -> Episode:
        state = self.sim.reset()
        shift = pad(self.uniform(generator, 1, 1, low=-0.02, high=0.02), (1, 1))
        stiffness = 4e3 * self.uniform(generator, low=0.7, high=1.3)
        state = state.replace(x=state.x + shift, tool_position=state.tool_position + shift)
        return self.episode(state, parameters={"sheet.youngs_modulus": stiffness})

    def apart(self, state: ds.State) -> Tensor:
        """From each point of the left half to its mirror image, m, (B, P, 3)."""
        left, right = self.halves
        return state.x[:, right] - state.x[:, left]

    def reward(self, step: Transition) -> Tensor:
        distance = soft_norm(self.apart(step.after), 1e-2).mean(dim=1)
        return 1.0 - (distance + step.after.x[..., 2].mean(dim=1)) / (0.5 * LENGTH)

    def success(self, episode: Episode) -> Tensor:
        along = self.apart(episode.state)[..., :2].norm(dim=2).mean(dim=1)
        return (along < 0.04) & (episode.state.x[..., 2].mean(dim=1) < 0.08)

    def outcome(self, episode: Episode) -> Tensor:
        higher = self.apart(episode.state)[..., 2].mean(dim=1)  # of the right half over the left one
        return torch.where(higher.abs() > 0.02, (higher > 0.0).long(), -1)

    def camera(self) -> Camera:
        return Camera(position=(0.5, -0.55, 0.5), target=(0.5, 0.3, 0.06), vertical_fov_degrees=38)
