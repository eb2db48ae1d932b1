"""Lift a rope of plasticine with chopsticks."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

import diffsim as ds
from diffsim.scene.rotations import quaternion_exponential, quaternion_product, quaternion_to_matrix
from tasks.plasticine.action_script import action_script
from tasks.plasticine.plasticine_task import Manipulated, PlasticineTask
from tasks.registry import register

LENGTH, RADIUS, GAP = 0.2, 0.02, 0.06  # of a stick, and between the middles of both at the start, which is the least, m
GRIP = (0.5, 0.5, 0.15)
# of each variant: where the grip goes after it has risen by 8 cm (x and y, m), its turn about the vertical, rad
LIFTS = ((0.18, 0.106, 0.5), (0.0, 0.22, 0.0), (0.19, 0.06, 0.8), (-0.10, 0.156, -0.5), (-0.14, 0.12, -0.5))


@register("PlasticineChopsticks")
class PlasticineChopsticks(PlasticineTask):
    """A pair of chopsticks holds the middle of a rope of plasticine on a slippery floor, at 150 m/s^2 of gravity
    (PlasticineLab's Chopsticks).

    Task: lift the rope and carry it to where the target hangs. The pair moves, turns in its own frame, and opens and closes.
    Randomisation: none; the variants have other targets.
    Success: after 50 actions the normalised incremental IoU with the target is at least 0.6.
    """

    yield_stress, ground_friction, gravity = 200.0, 0.0, 150.0
    scale = (0.02, 0.02, 0.02, 0.04, 0.04, 0.04, 0.02)  # m, rad about the pair's own axes, m by which it closes
    action_dim = 7
    view = ((1.3, -0.35, 0.8), (0.5, 0.55, 0.08))

    def solids(self) -> tuple[Manipulated, ...]:
        return ((ds.Box((0.02, 0.3, 0.02)), (0.5, 0.5, 0.02), 10_000),)

    def manipulators(self) -> tuple[ds.Tool, ...]:
        """They hang from the grip; their limits are the grip's, which `controls` keeps to."""
        stick, control, x, y, z = ds.Capsule(0.5 * LENGTH, RADIUS), ("x", "y", "z", "rx", "ry", "rz"), *GRIP
        places = {"left": (x - 0.5 * GAP, y, z - 0.5 * LENGTH), "right": (x + 0.5 * GAP, y, z - 0.5 * LENGTH)}
        return tuple(
            self.tool(name, stick, place, friction=10.0, control=control, lower=None, upper=None)
            for name, place in places.items()
        )

    def controls(self, state: ds.State, action: Tensor, last: Tensor | None = None) -> Tensor:
        """Twists of both sticks (B, 12)."""
        time = self.sim.control_dt
        way, turn, closing = (action * action.new_tensor(self.scale)).split((3, 3, 1), dim=1)
        rotation, place = state.tool_rotation[:, 0], state.tool_position
        before = quaternion_to_matrix(rotation)
        after = quaternion_to_matrix(quaternion_product(rotation, quaternion_exponential(turn)))
        down = place.new_tensor([0.0, 0.0, -0.5 * LENGTH])
        grip = (place.mean(dim=1) - before @ down + way).clamp(0.0, 1.0)
        gap = ((place[:, 1] - place[:, 0]).norm(dim=1, keepdim=True) - closing).clamp_min(GAP)
        aside = 0.5 * gap * after[:, :, 0]
        spin = (before @ turn[:, :, None])[:, :, 0] / time
        ends = (grip + after @ down - aside, grip + after @ down + aside)
        return torch.cat([part for n, end in enumerate(ends) for part in ((end - place[:, n]) / time, spin)], dim=1)

    def script(self) -> np.ndarray:
        """Up by 8 cm, then up by 8 more while it goes aside and turns; the rest is for the rope to settle."""
        x, y, turn = LIFTS[self.variant - 1]
        legs = [((0.0, 0.0, 0.08, 0.0, 0.0, 0.0, 0.0), 6), ((x, y, 0.08, 0.0, 0.0, turn, 0.0), 24)]
        return action_script(legs, self.scale, 50)
