"""Put a ball of plasticine onto a box of plasticine."""

from __future__ import annotations

import numpy as np

import diffsim as ds
from tasks.plasticine.action_script import action_script
from tasks.plasticine.plasticine_task import Manipulated, PlasticineTask
from tasks.registry import register

SQUEEZE = (0.018, 0.012, 0.006, 0.009, 0.015)  # by which each sphere closes first, in each variant, m


@register("PlasticineAssembly")
class PlasticineAssembly(PlasticineTask):
    """Two spheres hold a ball of plasticine beside a box of it (PlasticineLab's Assembly).

    Task: lift the ball over the box's edge and put it onto the middle of its top, 30 cm away.
    Randomisation: none; in the variants the ball is squeezed more or less.
    Success: after 50 actions the normalised incremental IoU with the target is at least 0.6.
    """

    yield_stress = 100.0
    scale = (0.009, 0.009, 0.009)
    view = ((0.5, -0.55, 0.65), (0.47, 0.5, 0.12))

    def solids(self) -> tuple[Manipulated, ...]:
        return ((ds.Box((0.08, 0.08, 0.08)), (0.6, 0.5, 0.08), 6_000), (ds.Sphere(0.06), (0.3, 0.5, 0.06), 4_000))

    def manipulators(self) -> tuple[ds.Tool, ...]:
        return tuple(self.tool(name, ds.Sphere(0.04), (x, 0.5, 0.06)) for name, x in (("right", 0.38), ("left", 0.22)))

    def script(self) -> np.ndarray:
        """Squeeze, up, across, down, let go."""
        squeeze = SQUEEZE[self.variant - 1]
        legs = [
            ((-squeeze, 0.0, 0.027, squeeze, 0.0, 0.027), 3),
            ((0.0, 0.0, 0.072) * 2, 8),
            ((0.07, 0.0, 0.072) * 2, 8),
            ((0.23, 0.0, 0.0) * 2, 26),
            ((0.0, 0.0, -0.009) * 2, 1),
            ((0.036, 0.0, 0.0, -0.036, 0.0, 0.0), 4),
        ]
        return action_script(legs, 2 * self.scale, 50)
