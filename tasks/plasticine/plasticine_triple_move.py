"""Carry three cubes of plasticine through the air at once."""

from __future__ import annotations

from torch import Tensor

import diffsim as ds
from tasks.plasticine.plasticine_task import Manipulated, PlasticineTask
from tasks.registry import register

STARTS = (0.3, 0.5, 0.7)  # x of the cubes, m
# where the cubes shall be, m
VARIANTS = (
    ((0.2000, 0.5029, 0.2000), (0.8000, 0.2000, 0.2000), (0.6254, 0.2002, 0.3436)),
    ((0.3825, 0.8000, 0.2701), (0.2509, 0.3691, 0.2000), (0.7381, 0.5139, 0.3657)),
    ((0.4194, 0.3318, 0.4701), (0.3663, 0.2000, 0.2000), (0.8000, 0.2930, 0.3636)),
    ((0.6056, 0.6315, 0.2374), (0.5102, 0.5248, 0.4784), (0.8000, 0.7008, 0.2000)),
    ((0.5741, 0.5874, 0.2000), (0.8000, 0.5803, 0.2255), (0.8000, 0.4781, 0.2000)),
)


@register("PlasticineTripleMove")
class PlasticineTripleMove(PlasticineTask):
    """Six spheres hold three cubes of plasticine, two each (PlasticineLab's TripleMove).

    Task: carry the three cubes to their places, most of them in the air. Any of them may go to any place.
    Randomisation: none; the variants have other places.
    Success: after 50 actions the normalised incremental IoU with the target is at least 0.6.
    """

    particles: int = 9_999
    yield_stress, ground_friction = 200.0, 1.5
    view = ((0.5, -0.95, 1.15), (0.5, 0.5, 0.2))

    def solids(self) -> tuple[Manipulated, ...]:
        return tuple((ds.Box((0.05, 0.05, 0.05)), (x, 0.5, 0.05), 3333) for x in STARTS)

    def manipulators(self) -> tuple[ds.Tool, ...]:
        places = [(x + side, 0.5, 0.05) for x in STARTS for side in (-0.07, 0.07)]
        return tuple(self.tool(f"sphere_{n}", ds.Sphere(0.03), place) for n, place in enumerate(places, 1))

    def target_points(self) -> Tensor:
        """The cubes' own particles, moved."""
        cubes = self.sim.reset().x[:1].unflatten(1, (3, -1))
        moved = cubes.new_tensor(VARIANTS[self.variant - 1]) - cubes.new_tensor([(x, 0.5, 0.05) for x in STARTS])
        return (cubes + moved[None, :, None]).flatten(1, 2)
