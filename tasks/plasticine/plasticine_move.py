"""Carry a ball of plasticine through the air."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

import diffsim as ds
from tasks.plasticine.drawn_solid import DrawnSolid
from tasks.plasticine.plasticine_task import Manipulated, PlasticineTask
from tasks.registry import register

# centre and radius of the ball, centre of the target, m
VARIANTS = (
    ((0.6757, 0.7516, 0.5619), 0.10245, (0.7966, 0.8002, 0.8001)),
    ((0.4801, 0.2150, 0.6114), 0.11064, (0.2675, 0.2006, 0.7427)),
    ((0.5953, 0.3652, 0.7804), 0.10759, (0.7859, 0.2002, 0.5667)),
    ((0.5608, 0.4708, 0.5151), 0.11572, (0.5818, 0.7830, 0.4320)),
    ((0.2958, 0.7462, 0.5385), 0.11863, (0.6296, 0.6726, 0.7709)),
)
BOX_TARGET = 2  # the variant whose target is a box, with these edges, m
EDGES = (0.2213, 0.2424, 0.2207)


@register("PlasticineMove")
class PlasticineMove(PlasticineTask):
    """Two spheres hold a ball of plasticine in the air, between them (PlasticineLab's Move).

    Task: carry the ball to a place up to 40 cm away, where it must stay in the air.
    Randomisation: none; the variants have other balls, places and targets. That of the second is a box.
    Success: after 50 actions the normalised incremental IoU with the target is at least 0.6.
    """

    yield_stress, ground_friction = 200.0, 1.5
    view = ((0.5, -1.3, 1.25), (0.5, 0.5, 0.55))

    def solids(self) -> tuple[Manipulated, ...]:
        center, radius, _target = VARIANTS[self.variant - 1]
        return ((ds.Sphere(radius), center, 10_000),)

    def manipulators(self) -> tuple[ds.Tool, ...]:
        (x, y, z), _radius, _target = VARIANTS[self.variant - 1]
        sphere = ds.Sphere(0.03)
        return self.tool("left", sphere, (x + 0.1, y, z)), self.tool("right", sphere, (x - 0.1, y, z))

    def target_points(self) -> Tensor:
        """The ball's own particles, moved; in the second variant those of a box drawn like it."""
        center, _radius, target = VARIANTS[self.variant - 1]
        start = self.sim.reset().x[:1]
        if self.variant != BOX_TARGET:
            return start + start.new_tensor(target) - start.new_tensor(center)
        box = ds.Box((0.5 * EDGES[0], 0.5 * EDGES[1], 0.5 * EDGES[2]))
        drawn = DrawnSolid([(box, target, start.shape[1])]).volume_samples(1)
        return torch.from_numpy(np.ascontiguousarray(drawn))[None].to(start)
