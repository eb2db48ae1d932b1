"""A soft table that walks and jumps by its muscles."""

from __future__ import annotations

import math
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

import diffsim as ds
from diffsim.render import Camera
from tasks.base import Task
from tasks.episode import Episode, Transition
from tasks.registry import register

CELL = 0.3544  # m, edge of a leg: the table is 7 x 7 x 5 of them, a plate two thick on four legs
WIDTH, PLATE, LEG = 7.0 * CELL, 2.0 * CELL, 3.0 * CELL
DROP = 0.2  # m above the ground at rest
SCALE = 0.1  # of what the policy and the reward see
PHASES, FREQUENCY = 8, 5.0  # clocks, and rad/s of each
STRENGTH = 0.3e3  # Pa: activations of the original are within 0.3 times the first Lame parameter


@register("SoftJumper")
class SoftJumper(Task):
    """A table of soft matter, 2.5 m wide and 1.8 m high, whose body is divided into muscles without fibres.

    Not the same physics as Rewarped's: MPM with active stress in place of tetrahedral finite elements, of the same size, mass,
    stiffness and viscosity, with muscles that are compact where the original's join two of 444 tetrahedra by their numbers.

    Task: run along x as fast, and jump as high, as possible: reward v_x + 3 (height over that of the start) - .001 |action|^2,
        which is Rewarped's 10 and 30 times a tenth of these. It falls .2 m first.
    Randomisation: up to 80 cm along x and y and up to 40 cm upwards, then all coordinates by 0.9 to 1.1, so that the body
        starts strained.
    Success: at the end its centre is ``distance`` further along x than at the start, 4 m at the full length of 5 s.

    One way: forward. Rewarped (Xing et al., ICLR 2025) publishes returns of 1820 (SAPO), 853 (SHAC), 262 (PPO). What the
    policy set last is not among what it sees; there it is.

    Attributes:
        distance: m to travel.
        muscles: parts that contract alike, each by its component of the action.
        particles: about how many the table has.
        grid_spacing: m.
        seen_particles: how many particles the policy sees.
    """

    horizon = 300
    dt, substeps = 1.0 / 60.0 / 16.0, 16
    distance: float = 4.0
    muscles: int = 222
    particles: int = 2000
    grid_spacing: float = 0.18
    seen_particles: int = 204
    outcome_names = ("forward",)
    optimizer_settings = MappingProxyType({"policy": "mlp"})

    def scene(self) -> ds.Scene:
        side = 0.5 * (WIDTH - CELL)
        legs = [(x, y, 0.5 * LEG) for x in (-side, side) for y in (-side, side)]
        plate = (ds.Box((0.5 * WIDTH, 0.5 * WIDTH, 0.5 * PLATE)), (0.0, 0.0, LEG + 0.5 * PLATE))
        shape = ds.Compound((plate, *((ds.Box((0.5 * CELL, 0.5 * CELL, 0.5 * LEG)), leg) for leg in legs)))
        # Lame parameters of 1 kPa each; neo-Hookean, whose gradient stays bounded where an element is crushed
        material = ds.KelvinVoigt(ds.NeoHookean(2500.0, 0.25, density=1.0), shear_viscosity=1.0)
        table = ds.SoftBody("table", shape, (0.0, 0.0, DROP), material=material, particles=self.particles)
        groups = compact_groups(table.rest_particles, self.muscles)
        return ds.Scene(
            (table,),
            muscles=tuple(ds.Muscle(f"muscle{n}", "table", strength=STRENGTH, where=group) for n, group in enumerate(groups)),
            ground=ds.Ground(friction=0.7),
            lower=(-5.0, -6.0, 0.0),
            upper=(30.0, 6.0, 12.0),
            grid_spacing=self.grid_spacing,
        )

    def randomize(self, generator: torch.Generator) -> Episode:
        state = self.sim.reset()
        aside = self.uniform(generator, 1, 2, low=-0.8, high=0.8)
        up = self.uniform(generator, 1, 1, low=0.0, high=0.4)
        size = self.uniform(generator, 1, 1, low=0.9, high=1.1)
        x = size * (state.x + torch.cat([aside, up], dim=2))
        return self.episode(state.replace(x=x, F=size[..., None] * state.F), start=x.mean(dim=1))

    def reward(self, step: Transition) -> Tensor:
        (table,) = self.sim.scene.soft_bodies
        height = step.after.x[..., 2].mean(dim=1) - float(table.rest_particles[:, 2].mean())
        forward = step.after.v[..., 0].mean(dim=1)
        return 10.0 * SCALE * forward + 30.0 * SCALE * height - 1e-3 * step.action.square().sum(dim=1)

    def observation(self, episode: Episode) -> Tensor:
        """Clocks, the reference's loss, centre and its velocity, particles and their velocities."""
        x, v = SCALE * episode.state.x, SCALE * episode.state.v
        time = episode.steps.to(x)[:, None] * self.sim.control_dt
        clocks = (FREQUENCY * time + 2.0 * math.pi / PHASES * torch.arange(PHASES).to(x)).sin()
        centre, velocity = x.mean(dim=1), v.mean(dim=1)
        loss = velocity[:, 2].abs() + velocity[:, 1].abs() - velocity[:, 0]
        seen = torch.linspace(0, x.shape[1] - 1, min(self.seen_particles, x.shape[1]), device=x.device).long()
        return torch.cat([clocks, loss[:, None], centre, velocity, x[:, seen].flatten(1), v[:, seen].flatten(1)], dim=1)

    def success(self, episode: Episode) -> Tensor:
        return (episode.state.x.mean(dim=1) - episode["start"])[:, 0] > self.distance

    def camera(self) -> Camera:
        return Camera(position=(3.0, -11.0, 4.0), target=(3.0, 0.0, 1.2), vertical_fov_degrees=40)


def compact_groups(points: np.ndarray, count: int) -> list[tuple[int, ...]]:
    """Numbers of points (N, 3) in ``count`` compact groups of nearly equal size: each is cut across its longest side."""

    def cut(numbers: np.ndarray, parts: int) -> list[tuple[int, ...]]:
        if parts == 1:
            return [tuple(sorted(numbers.tolist()))]
        axis = int(np.ptp(points[numbers], axis=0).argmax())
        ordered = numbers[np.argsort(points[numbers, axis], kind="stable")]
        middle = len(ordered) * (parts // 2) // parts
        return cut(ordered[:middle], parts // 2) + cut(ordered[middle:], parts - parts // 2)

    return cut(np.arange(len(points)), count)
