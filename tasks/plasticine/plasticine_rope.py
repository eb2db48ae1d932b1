"""Wind a rope of plasticine round a pillar."""

from __future__ import annotations

import math

import torch
from torch import Tensor

import diffsim as ds
from tasks.plasticine.plasticine_task import Manipulated, PlasticineTask
from tasks.registry import register

PILLARS = ((0.3919, 0.4991), (0.4828, 0.5725), (0.4895, 0.5199), (0.4697, 0.3868), (0.4933, 0.5946))  # (x, y), m
LENGTH, HALF_THICKNESS = 0.6, 0.03
INNER, OUTER = 0.105, 0.165  # radii of the ring, m


@register("PlasticineRope")
class PlasticineRope(PlasticineTask):
    """Two spheres behind a rope of plasticine, and a pillar in front of it (PlasticineLab's Rope).

    Task: lay the rope round the pillar, as a closed ring. The ring holds more than the rope, so it is never quite filled.
    Randomisation: none; the variants have other places of the pillar.
    Success: after 50 actions the normalised incremental IoU with the target is at least 0.45; a rope of its first density that
        lies within the ring has about 0.77.
    """

    ground_friction, success_score = 0.3, 0.45
    view = ((0.5, -0.05, 1.35), (0.5, 0.55, 0.02))

    def solids(self) -> tuple[Manipulated, ...]:
        half = (0.5 * LENGTH, HALF_THICKNESS, HALF_THICKNESS)
        return ((ds.Box(half), (0.5, 0.73, HALF_THICKNESS), 10_000),)

    def manipulators(self) -> tuple[ds.Tool, ...]:
        return tuple(self.tool(name, ds.Sphere(0.03), (x, 0.82, 0.015)) for name, x in (("left", 0.22), ("right", 0.78)))

    def pillars(self) -> tuple[ds.Obstacle, ...]:
        """A capsule, which up to 20 cm is the original's cylinder."""
        place = (*PILLARS[self.variant - 1], 0.0)
        return (ds.Obstacle("pillar", ds.Capsule(half_length=0.2, radius=0.1), place, friction=0.9),)

    def target_points(self) -> Tensor:
        """A ring round the pillar, even in angle and section, of the rope's own particles."""
        start = self.sim.reset().x[:1]
        x, across, z = (start - start.new_tensor([0.5, 0.73, 0.0])).unbind(dim=2)
        angle, share = 2.0 * math.pi * x / LENGTH, 0.5 + 0.5 * across / HALF_THICKNESS
        radius = (INNER**2 + (OUTER**2 - INNER**2) * share).sqrt()
        middle = PILLARS[self.variant - 1]
        return torch.stack([middle[0] + radius * angle.cos(), middle[1] + radius * angle.sin(), z], dim=2)
