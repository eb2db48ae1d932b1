"""Write into a block of plasticine with a pen."""

from __future__ import annotations

import numpy as np

import diffsim as ds
from tasks.plasticine.action_script import action_script, waypoints
from tasks.plasticine.plasticine_block import PlasticineBlockTask
from tasks.registry import register

PEN = (0.5, 0.5, 0.13)
UP, DOWN = 0.19, 0.115  # heights of the pen above the block, and in a groove
# the strokes of each variant: places (x, y, height of the pen) that it goes to, m
STROKES = (
    ((0.5, 0.5, UP), (0.41, 0.58, UP), (0.41, 0.58, DOWN), (0.56, 0.48, DOWN), (0.56, 0.48, UP)),
    ((0.5, 0.5, DOWN), (0.56, 0.62, DOWN), (0.62, 0.63, DOWN), (0.41, 0.61, DOWN), (0.41, 0.61, UP)),
    ((0.5, 0.5, DOWN), (0.55, 0.49, DOWN), (0.46, 0.57, DOWN), (0.41, 0.52, DOWN), (0.41, 0.52, UP)),
    ((0.5, 0.5, DOWN), (0.42, 0.39, DOWN), (0.40, 0.38, DOWN), (0.53, 0.39, DOWN), (0.54, 0.49, DOWN), (0.54, 0.49, UP)),
    ((0.5, 0.5, DOWN), (0.42, 0.53, DOWN), (0.51, 0.58, DOWN), (0.53, 0.36, DOWN), (0.53, 0.36, UP)),
)


@register("PlasticineWriter")
class PlasticineWriter(PlasticineBlockTask):
    """A pen whose tip is 3 cm deep in a block of plasticine that sticks to the floor (PlasticineLab's Writer).

    Task: draw grooves: a diagonal, an arrow, a hook, a triangle, a V.
    Randomisation: none; the variants have other strokes.
    Success: after 50 actions the normalised incremental IoU with the target is at least 0.6.
    """

    def manipulators(self) -> tuple[ds.Tool, ...]:
        return (self.tool("pen", ds.Capsule(half_length=0.03, radius=0.03), PEN, friction=0.0, lower=(0.0, 0.0, 0.05)),)

    def script(self) -> np.ndarray:
        """The strokes, then up."""
        return action_script(waypoints(PEN, STROKES[self.variant - 1], self.scale[0]), self.scale, 50)
