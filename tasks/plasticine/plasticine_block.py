"""The block that three of PlasticineLab's tasks begin with."""

from __future__ import annotations

import diffsim as ds
from tasks.plasticine.plasticine_task import Manipulated, PlasticineTask


class PlasticineBlockTask(PlasticineTask):
    """A block of plasticine, 30 cm long and wide and 10 cm thick, in the middle of the floor."""

    view = ((0.5, -0.2, 0.85), (0.5, 0.5, 0.05))

    def solids(self) -> tuple[Manipulated, ...]:
        return ((ds.Box((0.15, 0.15, 0.05)), (0.5, 0.5, 0.05), 10_000),)
