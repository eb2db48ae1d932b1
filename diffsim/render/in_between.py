"""States between two control steps, to be drawn."""

from __future__ import annotations

import torch
from torch import Tensor

from diffsim.state import State


def in_between(before: State, after: State, fraction: float) -> State:
    """A state to draw between two states of an episode: positions, coordinates and quaternions on straight lines (within one
    control step the quaternions hardly differ; they are normalised again)."""

    def mixed(a: Tensor, b: Tensor) -> Tensor:
        return torch.lerp(a, b, fraction)

    rotation = mixed(before.tool_rotation, after.tool_rotation)
    return after.replace(
        x=mixed(before.x, after.x),
        tool_position=mixed(before.tool_position, after.tool_position),
        tool_rotation=rotation / rotation.norm(dim=-1, keepdim=True),
        q=mixed(before.q, after.q),
    )
