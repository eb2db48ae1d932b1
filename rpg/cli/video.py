"""Replays the distinct modes of a run and renders them side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

import diffsim as ds
from diffsim.render import SceneRenderer, caption, side_by_side, write_png, write_video
from rpg.evaluation import EVALUATION_SEED
from rpg.modes import Mode
from tasks import Task

MOST_PANELS = 4
FRAMES_PER_SECOND = 30
HELD_FRAMES = 20  # the last frame stays, so that the outcome can be seen


def replayed_states(task: Task, modes: Sequence[Mode], *, frames_per_step: int) -> Iterator[ds.State]:
    """States of all modes side by side, (modes, ...), ``frames_per_step`` of them in each control step.

    The substeps are those of the run; a frame is only a finer cut through the control step.
    """
    if task.substeps % frames_per_step:
        raise ValueError(
            f"frames_per_step {frames_per_step} does not divide the task's {task.substeps} substeps"
        )
    sim = ds.Simulator(
        task.sim.scene,
        num_envs=len(modes),
        dt=task.dt,
        substeps=task.substeps // frames_per_step,
        dtype=task.sim.dtype,
    )
    state = task.reset(EVALUATION_SEED).state[[mode.environment for mode in modes]]
    actions = torch.from_numpy(np.stack([mode.actions for mode in modes])).to(task.sim.dtype)
    yield state
    with torch.no_grad():
        for step in range(actions.shape[1]):
            for _ in range(frames_per_step):
                state = sim.step(state, task.controls(actions[:, step]))
                yield state


def write_modes_video(task: Task, modes: Sequence[Mode], path: Path) -> None:
    """One MP4 with a captioned panel a mode, and beside it a PNG of the last frame."""
    modes = modes[:MOST_PANELS]
    frames_per_step = next(n for n in (5, 4, 3, 2, 1) if task.substeps % n == 0)
    panel_width = 640 if len(modes) == 1 else 480
    renderer = SceneRenderer(task.sim.scene, camera=task.camera(), width=panel_width, height=360)
    markers = task.markers()
    titles = []
    for mode in modes:
        name = mode.name if mode.success > 0.0 else "no success"
        titles.append(
            (
                name,
                f"return {mode.episode_return:.1f}, success {mode.success:.0%}, pi(z) {mode.probability:.0%}",
            )
        )

    def frames() -> Iterator[np.ndarray]:
        for state in replayed_states(task, modes, frames_per_step=frames_per_step):
            panels = [
                caption(renderer.frame(state, index, markers=markers), title, detail, top=True)
                for index, (title, detail) in enumerate(titles)
            ]
            frame = side_by_side(panels)
            yield frame
        write_png(path.with_suffix(".png"), frame)
        for _ in range(HELD_FRAMES):
            yield frame

    write_video(path, frames(), fps=FRAMES_PER_SECOND)
