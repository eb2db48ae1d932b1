"""Replays the distinct solutions (modes) of a run and renders them side by side."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffsim.render import Camera, caption, side_by_side, write_png, write_video
from diffsim.render.in_between import in_between
from tasks.episode import Episode
from tasks.task_renderer import TaskRenderer

if TYPE_CHECKING:
    from tasks.shown_modes import ShownModes

MAX_PANELS = 4
FRAMES_PER_STEP = 4
FRAMES_PER_SECOND = 30
HELD_FRAMES = 20  # the last frame stays, so that the outcome can be seen
Point = tuple[float, float, float]
View = Camera | tuple[Point, Point] | tuple[Point, Point, float]
AGREEMENT = 1e-4  # of two returns, relative to the sum of the rewards' sizes: rounding, no more


class RecordedMode(Protocol):
    """What is read of an `rpg.Mode`."""

    @property
    def name(self) -> str:
        """Name of the solution."""

    @property
    def episode_return(self) -> float: ...

    @property
    def shown_return(self) -> float:
        """Sum of rewards of the recorded episode."""

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
def replayed_episode(task: ShownModes, mode: RecordedMode) -> tuple[list[Episode], Tensor]:
    """The mode's episode once more, by the task's own `reset` and `step`: T + 1 episodes of one environment, and T rewards.

    The other environments of the batch do nothing meanwhile (action 0). Warns, with both numbers, if the rewards do not add up
    to the mode's return.
    """
    task, environment, seed = task.located(mode.environment, mode.seed)
    actions = torch.zeros(len(mode.actions), task.num_envs, task.action_dim, dtype=task.sim.dtype)
    actions[:, environment] = torch.from_numpy(mode.actions).to(task.sim.dtype)
    episode = task.reset(seed)
    episodes, rewards = [episode.environment(environment)], []
    for action in actions.to(task.sim.device):
        episode, reward, _ = task.step(episode, action)
        episodes.append(episode.environment(environment))
        rewards.append(reward[environment])
    played = torch.stack(rewards)
    total = float(played.double().sum())
    if not abs(total - mode.shown_return) <= AGREEMENT * max(1.0, float(played.double().abs().sum())):
        warnings.warn(
            f"the replay of '{mode.name}' has a return of {total:.6g}, the run stored {mode.shown_return:.6g}: the task, its "
            "parameters or the number of threads have changed since, and the video shows another episode than was judged",
            stacklevel=2,
        )
    return episodes, played


def write_modes_video(
    task: ShownModes,
    modes: Sequence[RecordedMode],
    path: Path,
    *,
    camera: View | None = None,
    size: tuple[int, int] | None = None,
) -> None:
    """One MP4 with a captioned panel for each mode, and beside it a PNG of the last frame.

    A control step's end is drawn as it was; frames between two of them are interpolated.

    Args:
        camera: in place of the task's: a Camera, (position, target), or
            (position, target, vertical opening angle in degrees).
        size: width and height of a panel, pixels.
    """
    modes = modes[:MAX_PANELS]
    width, height = size or (640 if len(modes) == 1 else 480, 360)
    if isinstance(camera, tuple):
        camera = Camera(*camera)
    panels = [_Panel(task, mode, camera, width, height) for mode in modes]

    def frames() -> Iterator[np.ndarray]:
        frame = side_by_side([panel.drawn(0, 1.0) for panel in panels])
        yield frame
        for step in range(1, len(panels[0].episodes)):
            for part in range(1, FRAMES_PER_STEP + 1):
                frame = side_by_side([panel.drawn(step, part / FRAMES_PER_STEP) for panel in panels])
                yield frame
        write_png(path.with_suffix(".png"), frame)
        for _ in range(HELD_FRAMES):
            yield frame

    write_video(path, frames(), fps=FRAMES_PER_SECOND)


class _Panel:
    """A mode's episode and its picture."""

    def __init__(self, task: ShownModes, mode: RecordedMode, camera: Camera | None, width: int, height: int) -> None:
        self.episodes, _ = replayed_episode(task, mode)
        self._renderer = TaskRenderer(task.located(mode.environment, mode.seed)[0], width, height, camera=camera)
        self._title = mode.name if mode.success > 0.0 else "no success"
        self._detail = f"return {mode.episode_return:.1f}, success {mode.success:.0%}, pi(z) {mode.probability:.0%}"

    def drawn(self, step: int, fraction: float) -> np.ndarray:
        """The captioned picture at a fraction of a control step."""
        episode = self.episodes[step]
        state = episode.state if fraction == 1.0 else in_between(self.episodes[step - 1].state, episode.state, fraction)
        return caption(self._renderer.frame(episode, state=state), self._title, self._detail, top=True)
