"""Stamp a ring into a block of plasticine."""

from __future__ import annotations

import numpy as np

import diffsim as ds
from tasks.plasticine.action_script import action_script
from tasks.plasticine.plasticine_block import PlasticineBlockTask
from tasks.registry import register

RINGS = ((0.428, 0.456), (0.584, 0.416), (0.580, 0.568), (0.584, 0.472), (0.456, 0.588))  # (x, y) of the dent, m


@register("PlasticineTorus")
class PlasticineTorus(PlasticineBlockTask):
    """A torus over a block of plasticine that sticks to the floor (PlasticineLab's Torus).

    Task: stamp one ring-shaped dent into the block, 4 to 10 cm off its middle.
    Randomisation: none; the variants have other places of the dent.
    Success: after 50 actions the normalised incremental IoU with the target is at least 0.6.
    """

    scale = (0.004, 0.004, 0.004)

    def manipulators(self) -> tuple[ds.Tool, ...]:
        return (self.tool("torus", ds.Torus(0.05, 0.03), (0.5, 0.5, 0.2), lower=(0.0, 0.0, 0.05)),)

    def script(self) -> np.ndarray:
        """Over the place of the dent, down to 7 cm, up again."""
        x, y = RINGS[self.variant - 1]
        legs = [((x - 0.5, y - 0.5, -0.065), 22), ((0.0, 0.0, -0.062), 16), ((0.0, 0.0, 0.048), 12)]
        return action_script(legs, self.scale, 50)
