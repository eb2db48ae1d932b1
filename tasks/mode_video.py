"""Replays the distinct solutions (modes) of a run and renders them side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import diffsim as ds
from diffsim.render import SceneRenderer, caption, side_by_side, write_png, write_video

if TYPE_CHECKING:
    from tasks.base import Task

MAX_PANELS = 4
FRAMES_PER_STEP = 4
FRAMES_PER_SECOND = 30
HELD_FRAMES = 20  # the last frame stays, so that the outcome can be seen


class RecordedMode(Protocol):
    """What is read of an `rpg.Mode`."""

    @property
    def name(self) -> str:
        """Name of the solution."""

    @property
    def episode_return(self) -> float: ...

    @property
    def success(self) -> float:
        """Fraction of its episodes that succeeded."""

    @property
    def probability(self) -> float:
        """pi(z) of all its latents."""

    @property
    def actions(self) -> NDArray[np.float64]:
        """(T, A) in [-1, 1]."""

    @property
    def environment(self) -> int:
        """Index of its episode in the batch."""

    @property
    def seed(self) -> int:
        """Seed of the batch."""


@torch.no_grad()
def replayed_episode(task: Task, mode: RecordedMode) -> tuple[list[ds.State], Tensor]:
    """The mode's episode once more, by the task's own `reset` and `step`: T + 1 states of one environment, and T rewards.

    The other environments of the batch do nothing meanwhile (action 0).
    """
    actions = torch.zeros(len(mode.actions), task.num_envs, task.action_dim, dtype=task.sim.dtype)
    actions[:, mode.environment] = torch.from_numpy(mode.actions).to(task.sim.dtype)
    episode = task.reset(mode.seed)
    states, rewards = [episode.state[mode.environment]], []
    for action in actions.to(task.sim.device):
        episode, reward, _ = task.step(episode, action)
        states.append(episode.state[mode.environment])
        rewards.append(reward[mode.environment])
    return states, torch.stack(rewards)


def in_between(before: ds.State, after: ds.State, fraction: float) -> ds.State:
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


def write_modes_video(task: Task, modes: Sequence[RecordedMode], path: Path) -> None:
    """One MP4 with a captioned panel for each mode, and beside it a PNG of the last frame.

    A control step's end is drawn as it was; frames between two of them are interpolated.
    """
    modes = modes[:MAX_PANELS]
    panel_width = 640 if len(modes) == 1 else 480
    renderer = SceneRenderer(task.sim.scene, camera=task.camera(), width=panel_width, height=360)
    markers = task.markers()
    episodes = [replayed_episode(task, mode)[0] for mode in modes]
    titles = [
        (
            mode.name if mode.success > 0.0 else "no success",
            f"return {mode.episode_return:.1f}, success {mode.success:.0%}, pi(z) {mode.probability:.0%}",
        )
        for mode in modes
    ]

    def drawn(states: Sequence[ds.State]) -> np.ndarray:
        panels = [
            caption(renderer.frame(state, markers=markers), title, detail, top=True)
            for state, (title, detail) in zip(states, titles, strict=True)
        ]
        return side_by_side(panels)

    def frames() -> Iterator[np.ndarray]:
        frame = drawn([states[0] for states in episodes])
        yield frame
        for step in range(len(episodes[0]) - 1):
            for part in range(1, FRAMES_PER_STEP + 1):
                frame = drawn([in_between(states[step], states[step + 1], part / FRAMES_PER_STEP) for states in episodes])
                yield frame
        write_png(path.with_suffix(".png"), frame)
        for _ in range(HELD_FRAMES):
            yield frame

    write_video(path, frames(), fps=FRAMES_PER_SECOND)
