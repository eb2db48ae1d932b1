"""Press dents into the sides of a cube of plasticine."""

from __future__ import annotations

import numpy as np

import diffsim as ds
from tasks.plasticine.action_script import action_script, waypoints
from tasks.plasticine.plasticine_task import Manipulated, PlasticineTask
from tasks.registry import register

START = (0.5, 0.5, 0.35)
# places that the sphere goes to in each variant, m
DENTS = (
    ((0.468, 0.68, 0.35), (0.468, 0.68, 0.149), (0.468, 0.58, 0.149), (0.468, 0.66, 0.149), (0.54, 0.66, 0.129),
     (0.54, 0.61, 0.129), (0.54, 0.68, 0.129)),
    ((0.49, 0.57, 0.21), (0.49, 0.57, 0.28), (0.68, 0.47, 0.28), (0.68, 0.47, 0.143), (0.58, 0.47, 0.143), (0.68, 0.47, 0.143)),
    ((0.53, 0.68, 0.35), (0.53, 0.68, 0.137), (0.50, 0.585, 0.137), (0.57, 0.585, 0.137), (0.57, 0.68, 0.137)),
    ((0.44, 0.51, 0.185), (0.44, 0.51, 0.28), (0.488, 0.68, 0.28), (0.488, 0.68, 0.133), (0.488, 0.577, 0.133),
     (0.488, 0.68, 0.133)),
    ((0.571, 0.558, 0.215), (0.571, 0.558, 0.28), (0.68, 0.5, 0.28), (0.68, 0.5, 0.12), (0.58, 0.5, 0.12), (0.68, 0.5, 0.12)),
)  # fmt: skip


@register("PlasticinePinch")
class PlasticinePinch(PlasticineTask):
    """A sphere over a cube of plasticine that sticks to the floor (PlasticineLab's Pinch).

    Task: press one or two round dents, 2 to 6 cm deep, into the cube's sides and top. Unlike the original's, the targets hold
        as much as the cube.
    Randomisation: none; the variants have other dents.
    Success: after 50 actions the normalised incremental IoU with the target is at least 0.6.
    """

    particles: int = 6_000
    scale = (0.02, 0.02, 0.02)
    view = ((1.15, 1.15, 0.75), (0.5, 0.5, 0.1))

    def solids(self) -> tuple[Manipulated, ...]:
        return ((ds.Box((0.1, 0.1, 0.1)), (0.5, 0.5, 0.1), 6_000),)

    def manipulators(self) -> tuple[ds.Tool, ...]:
        return (self.tool("sphere", ds.Sphere(0.04), START, lower=(0.1, 0.1, 0.1), upper=(0.9, 0.9, 0.9)),)

    def script(self) -> np.ndarray:
        """Round the cube, pressing."""
        return action_script(waypoints(START, DENTS[self.variant - 1], self.scale[0]), self.scale, 50)
