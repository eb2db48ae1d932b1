"""Two blocks and a pusher on a table, in closed form: the sparse block push of the model-based Reparameterized Policy Gradient
(Huang et al., ICML 2023), for tests and experiments without a simulator.

Three squares do not turn and have no inertia: the pusher goes where it is told, and moves whatever is in its way by as much as
it would otherwise penetrate, directly or through the other block, until the last of them meets the wall. A step is eight short
moves along x, each followed by one along y, so that the side that is met first decides which way a block goes.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from rpg.settings_checks import check_batch

EDGE = 0.4
"""Of the pusher and the blocks, m."""
REACH = 1.8
"""Largest coordinate of a centre, m."""
SPEED = 4.0
"""Of the pusher along each axis, for an action of 1, m/s."""
DURATION, MOVES = 0.08, 8
"""Of a step, s, and the moves along each axis that it is made of."""
NEAR = 0.2
"""A block counts as there within this distance of its goal, m."""
PUSHER, BLOCKS = (0.0, -1.4), ((-1.2, 0.0), (0.0, 0.0))
"""Where they start, m."""
GOALS = ((-1.4, 1.4), (0.0, 1.4))
"""Of the left and the right block, m."""
_TOUCHING = 1e-9
"""Bodies side by side overlap by no more than rounding, m."""


def slid(along: Tensor, across: Tensor, by: Tensor) -> Tensor:
    """Displacements (B, 3) along an axis of pusher, left and right block, at `along` (B, 3) on this axis and `across` (B, 3) on
    the other one, when the pusher is moved `by` (B,)."""
    sign = torch.where(by < 0, -1.0, 1.0).to(along).unsqueeze(1)
    ahead = sign * along
    gap = ahead.unsqueeze(1) - ahead.unsqueeze(2) - EDGE  # from i to j
    meets = ((across.unsqueeze(1) - across.unsqueeze(2)).abs() < EDGE - _TOUCHING) & (gap > -EDGE / 2)
    gap = torch.where(meets, gap.clamp_min(0.0), torch.inf)
    through = gap[:, 0, 1:].flip(1) + torch.stack([gap[:, 2, 1], gap[:, 1, 2]], 1)  # by way of the other block
    slack = torch.minimum(gap[:, 0, 1:], through)
    room = torch.minimum(REACH - ahead[:, 0], (REACH - ahead[:, 1:] + slack).amin(1)).clamp_min(0.0)
    distance = torch.minimum(by.abs(), room).unsqueeze(1)
    return sign * torch.cat([distance, (distance - slack).clamp_min(0.0)], 1)


class BlockPushState(NamedTuple):
    """B tables."""

    place: Tensor
    """(B, 3, 2) float64, of pusher, left and right block, m."""
    velocity: Tensor
    """(B, 3, 2) float64, mean over the last step, m/s."""
    first: Tensor
    """(B,) int64: which block was there first, 0 the left one, 1 the right one, -1 none yet."""


@dataclass(frozen=True)
class BlockPush:
    """Push each block to its own goal. An action is the pusher's velocity over 4 m/s. The reward is 1 in every step that ends
    with both blocks within 0.2 of their goals, and 0 otherwise. Episodes are cut off, not ended, after `horizon` steps; nothing
    is random.

    An observation starts with the six coordinates of left block, right block and pusher over 2, all of order 1. Then come the
    blocks' velocities, what they still have to go, and the pusher's velocity, all times 2.
    """

    num_envs: int = 5
    horizon: int = 60
    dtype: torch.dtype = torch.float32
    action_dim: int = 2
    observation_dim: int = 16
    differentiable: bool = False
    finite_horizon: bool = False
    outcome_names: tuple[str, ...] = ("the left block first", "the right block first")

    def __post_init__(self) -> None:
        check_batch(self.num_envs, self.dtype)

    def reset(self, seed: int | None = None) -> BlockPushState:
        """All at their places: nothing is random."""
        place = torch.tensor([PUSHER, *BLOCKS], dtype=torch.float64).repeat(self.num_envs, 1, 1)
        return BlockPushState(place, torch.zeros_like(place), torch.full((self.num_envs,), -1))

    def observe(self, state: BlockPushState) -> Tensor:
        """(B, 16)."""
        pusher, blocks = state.place[:, 0], state.place[:, 1:]
        rest = (state.velocity[:, 1:], blocks.new_tensor(GOALS) - blocks, state.velocity[:, :1])
        parts = [blocks.flatten(1) / 2, pusher / 2, *(2 * each.flatten(1) for each in rest)]
        return torch.cat(parts, 1).to(self.dtype)

    def step(self, state: BlockPushState, action: Tensor) -> tuple[BlockPushState, Tensor, dict[str, Tensor]]:
        """Push for 0.08 s with the velocity 4 `action` (B, 2)."""
        x, y = state.place.unbind(2)
        by = SPEED * DURATION / MOVES * action.detach().double().clamp(-1, 1)
        for _ in range(MOVES):
            x = x + slid(x, y, by[:, 0])
            y = y + slid(y, x, by[:, 1])
        place = torch.stack([x, y], 2)
        there = (place[:, 1:] - place.new_tensor(GOALS)).norm(dim=2) < NEAR
        first = torch.where((state.first < 0) & there.any(1), there.int().argmax(1), state.first)
        success = there.all(1)
        following = BlockPushState(place, (place - state.place) / DURATION, first)
        return following, success.to(self.dtype), {"success": success, "outcome": first}
