"""Roll a block of plasticine out."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

import diffsim as ds
from diffsim.scene.rotations import quaternion_to_matrix
from tasks.plasticine.action_script import action_script
from tasks.plasticine.plasticine_block import PlasticineBlockTask
from tasks.registry import register

RADIUS, HALF_LENGTH = 0.03, 0.15
# of each variant: travel to each side of the middle in actions of 2 cm, the side it starts to, depth in m, turn in rad
ROLLS = ((5, 1, 0.033, 0.0), (6, -1, 0.036, 0.0), (5, -1, 0.03, 0.0), (4, 1, 0.024, 0.0), (5, 1, 0.03, 0.35))


@register("PlasticineRollingPin")
class PlasticineRollingPin(PlasticineBlockTask):
    """A rolling pin on a block of plasticine (PlasticineLab's RollingPin).

    Task: roll the block out into lips on both sides. The pin rolls without slipping, turns about the vertical, and goes up or
        down.
    Randomisation: none; the variants are rolled further, deeper, from the other side, or askew.
    Success: after 50 actions the normalised incremental IoU with the target is at least 0.6.
    """

    ground_friction = 1.5
    scale = (0.6667, 0.06667, 0.001)  # rad about its axis, rad about the vertical, m upwards
    action_dim = 3

    def manipulators(self) -> tuple[ds.Tool, ...]:
        lying, control = (0.5**0.5, -(0.5**0.5), 0.0, 0.0), ("x", "y", "z", "rx", "ry", "rz")
        pin = ds.Capsule(HALF_LENGTH, RADIUS)
        return (self.tool("pin", pin, (0.5, 0.5, 0.123), rotation=lying, control=control),)

    def controls(self, state: ds.State, action: Tensor, last: Tensor | None = None) -> Tensor:
        """Twist of the pin (B, 6): it rolls by the first component, turns by the second, rises by the third."""
        roll, turn, rise = (action * action.new_tensor(self.scale) / self.sim.control_dt).unbind(dim=1)
        axis = quaternion_to_matrix(state.tool_rotation[:, 0])[:, :, 2]
        way = RADIUS * roll[:, None] * torch.linalg.cross(axis, axis.new_tensor([[0.0, 0.0, 1.0]]).expand_as(axis))
        spin = roll[:, None] * axis
        return torch.cat([way[:, :2], rise[:, None], spin[:, :2], (spin[:, 2] + turn)[:, None]], dim=1)

    def script(self) -> np.ndarray:
        """To one side, from there to the other and back, going down in the first 36 actions."""
        travel, side, depth, turn = ROLLS[self.variant - 1]
        rows, x, way = [], 0, side
        for action in range(50):
            sinks = -depth / 36.0 if action < 36 else 0.0
            rows.append(((way * self.scale[0], turn / 50.0, sinks), 1))
            x += way
            way = -way if abs(x) == travel else way
        return action_script(rows, self.scale, 50)
