"""A point that can move fast in any direction, in the open or in a hallway with one way out: the pretraining of soft Q-learning
(Haarnoja et al. 2017), with a point in the place of the paper's ant."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from rpg.settings_checks import check_batch, check_bool, check_int

TOP_SPEED = 0.5
"""m a step."""
DRAG = 0.2
"""Share of the velocity that a step loses, and of the wanted velocity that it gains."""
LENGTH, HALF_WIDTH, BACK = 6.0, 0.75, -0.75
"""Of the hallway, from the start to its end, from its axis to its walls, and where it is closed behind the start, m."""
FRICTION = 0.5
"""Share of the velocity that is left where the point rubs along a wall."""


class HallwayState(NamedTuple):
    """B points; m and m a step."""

    position: Tensor
    """(B, 2)."""
    velocity: Tensor
    """(B, 2)."""


@dataclass(frozen=True)
class Hallway:
    """An action of length 1 or more holds the top speed of 0.5 m a step; all directions are alike. In the open the reward is
    the speed, in units of the top speed. With `walls` it is 1 in every step that ends beyond the end of a hallway along x, 0
    elsewhere; walls stop the velocity towards them and halve the other. Episodes are cut off, not ended, after `horizon` steps.

    An observation is the position over the hallway's length and the velocity over the top speed. The outcome in the open is the
    quarter of the plane that the point ends in: east, north, west, south.
    """

    num_envs: int = 4
    horizon: int = 40
    walls: bool = True
    dtype: torch.dtype = torch.float32
    action_dim: int = 2
    observation_dim: int = 4
    differentiable: bool = False
    finite_horizon: bool = False
    outcome_names: tuple[str, ...] = ("east", "north", "west", "south")

    def __post_init__(self) -> None:
        check_batch(self.num_envs, self.dtype)
        check_int("horizon", self.horizon, at_least=1)
        check_bool("walls", self.walls)

    def reset(self, seed: int | None = None) -> HallwayState:
        """All at rest at the origin: nothing is random."""
        zeros = torch.zeros(self.num_envs, 2, dtype=self.dtype)
        return HallwayState(zeros, zeros)

    def observe(self, state: HallwayState) -> Tensor:
        """(B, 4)."""
        return torch.cat([state.position / LENGTH, state.velocity / TOP_SPEED], dim=1)

    def step(self, state: HallwayState, action: Tensor) -> tuple[HallwayState, Tensor, dict[str, Tensor]]:
        """Push towards `action` (B, 2)."""
        action = action.detach()
        wanted = TOP_SPEED * action / action.norm(dim=1, keepdim=True).clamp_min(1.0)
        velocity = (1 - DRAG) * state.velocity + DRAG * wanted
        position = state.position + velocity
        if self.walls:
            low, high = position.new_tensor([BACK, -HALF_WIDTH]), position.new_tensor([torch.inf, HALF_WIDTH])
            met = (position < low) | (position > high)
            position = torch.minimum(torch.maximum(position, low), high)
            velocity = torch.where(met, 0.0, torch.where(met.flip(1), FRICTION * velocity, velocity))
            success = position[:, 0] >= LENGTH
            reward = success.to(position)
        else:
            reward = velocity.norm(dim=1) / TOP_SPEED
            success = position.norm(dim=1) >= LENGTH
        quarter = torch.atan2(position[:, 1], position[:, 0]) / (torch.pi / 2)
        info = {"success": success, "outcome": quarter.round().long() % 4}
        return HallwayState(position, velocity), reward, info
