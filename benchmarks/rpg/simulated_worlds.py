"""The tasks of the model-based RPG paper's experiments as they are run on this repository's rigid simulator."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

import diffsim as ds
from rpg.environments.block_push import SPEED
from tasks.action_spaces import JointVelocity
from tasks.base import RewardMode
from tasks.episode import Episode
from tasks.household.two_block_push import TwoBlockPush
from tasks.panda.panda_cabinet import PandaCabinet

STIFFNESS = 6e3
"""Of the contact between pusher and blocks, N/m."""
NEARER = 0.02
"""How far to the right of the middle, towards the handle of the door that is worth less, the hand starts, m."""


class SparseBlockPush(TwoBlockPush):
    """`rpg.environments.block_push.BlockPush`, by contact forces and with a round pusher.

    Task: push each block to its own goal, at up to 4 m/s; the reward is 1 in every step with both blocks there.
    Randomisation: none.
    Success: at the end each block's centre is within 20 cm of its goal's.
    """

    finite_horizon = False
    spread: float = 0.0
    reward_mode: RewardMode = "sparse"

    def scene(self) -> ds.Scene:
        """Contact is stiffer, as the pusher is faster."""
        scene = super().scene()
        return dataclasses.replace(scene, contact=dataclasses.replace(scene.contact, stiffness=STIFFNESS))

    def actions(self) -> tuple[JointVelocity, ...]:
        return (JointVelocity("pusher", limit=SPEED),)

    def observation(self, episode: Episode) -> Tensor:
        """As `BlockPush.observe`: coordinates over 2, then, times 2, velocities and ways to go."""
        q, qd = episode.state.q, episode.state.qd
        blocks = q[:, :4]
        return torch.cat([q / 2, 2 * qd[:, :4], 2 * (q.new_tensor(self.goals).flatten() - blocks), 2 * qd[:, 4:]], dim=1)

    def outcome(self, episode: Episode) -> Tensor:
        return super().outcome(episode.replace(observations=tuple(2 * seen for seen in episode.observations)))


class DenseCabinet(PandaCabinet):
    """The local optimum of the paper's CabinetDense: near to the hand is the handle of the door that is worth less.

    Task: as PandaCabinet, in 60 steps.
    Randomisation: as PandaCabinet, but the hand starts 2 cm to the right.
    Success: at the end the left door, which is worth more, is open by 1.2 rad or more.
    """

    finite_horizon = False
    horizon: int = 60
    visuals: bool = False
    start = (PandaCabinet.start[0], PandaCabinet.start[1] - NEARER, PandaCabinet.start[2])

    def scene(self) -> ds.Scene:
        self._ready: Tensor | None = None
        return super().scene()

    def posed(self, state: ds.State, hand: Tensor, rotation: Tensor, opening: float = 0.04) -> ds.State:
        """Of poses near `start`, from one that inverse kinematics has had time for: on which side the hand is matters."""
        if self._ready is None:
            middle = hand.new_tensor(self.start).expand_as(hand)
            for _ in range(20):
                state = super().posed(state, middle, rotation, opening)
            self._ready = state.q
        return super().posed(state.replace(q=self._ready), hand, rotation, opening)

    def observation(self, episode: Episode) -> Tensor:
        """Coordinates, velocities over 4, and the ways from the fingertips to both handles times 4."""
        state = episode.state
        offsets = self.handle_offsets(state).flatten(1)
        return torch.cat([self.hand(state), state.q, 0.25 * state.qd, 4.0 * offsets], dim=1)

    def success(self, episode: Episode) -> Tensor:
        return self.opened(episode.state)[:, 0]
