"""Push a leg of a table of plasticine outwards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import diffsim as ds
from tasks.action_spaces import ActionSpace, ToolVelocity
from tasks.plasticine.action_script import action_script
from tasks.plasticine.plasticine_task import Manipulated, PlasticineTask
from tasks.registry import register

LEG = 0.075  # of a leg from the middle, along x and y, m
# how far the sphere goes along x and y in each variant, m
PUSHES = ((0.045, -0.045), (-0.05, 0.046), (0.031, 0.031), (0.034, 0.041), (-0.052, 0.052))


@register("PlasticineTable")
class PlasticineTable(PlasticineTask):
    """A sphere between the legs of a table of plasticine (PlasticineLab's Table).

    Task: push one leg outwards, by 1 to 6 cm, and leave the others. The sphere moves along the ground.
    Randomisation: none; the variants have other legs and distances.
    Success: after 50 actions the normalised incremental IoU with the target is at least 0.6.
    """

    poissons_ratio, ground_friction = 0.05, 0.3
    scale = (0.03, 0.03)
    view = ((0.95, -0.2, 0.55), (0.5, 0.5, 0.1))

    def solids(self) -> tuple[Manipulated, ...]:
        places = [(0.5 + LEG * i, 0.5 + LEG * j, 0.1) for i in (1, -1) for j in (1, -1)]
        legs = tuple((ds.Box((0.02, 0.02, 0.05)), place, 2_000) for place in places)
        return (*legs, (ds.Box((0.1, 0.1, 0.025)), (0.5, 0.5, 0.18), 2_000))

    def manipulators(self) -> tuple[ds.Tool, ...]:
        return (self.tool("sphere", ds.Sphere(0.04), (0.5, 0.5, 0.06), control=("x", "y")),)

    def actions(self) -> Sequence[ActionSpace]:
        return [ToolVelocity("sphere", self.scale[0] / self.sim.control_dt)]

    def script(self) -> np.ndarray:
        """Out to the leg and on, slowly: a fast push takes the whole table along, or the leg off."""
        return action_script([(PUSHES[self.variant - 1], 40)], self.scale, 50)
