"""``diffsim-rpg render``: the video of a run again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from rpg.cli.output import Output
from rpg.cli.run_options import camera_of, checked_size
from rpg.cli.stored_modes import StoredModesOptions, shown_modes
from rpg.cli.stored_run import built, opened

if TYPE_CHECKING:
    from rpg.runs.run import Run

DESCRIPTION = """Render a finished or interrupted run: the solutions that it stored, replayed step by step.

A run that was ended before it was evaluated is evaluated first, which writes its result.json and plot, too."""


@dataclass(frozen=True)
class RenderOptions(StoredModesOptions):
    """The run and its video."""

    out: Path | None = None
    """The video's file, .mp4; modes.mp4 in the run's folder if not given."""
    video_size: tuple[int, int] | None = None
    """Width and height in pixels; the task's own if not given."""
    camera: tuple[float, ...] | None = None
    """x y z of the eye, x y z of what is in the middle of the picture, m, and perhaps the vertical opening angle in degrees."""


def render(arguments: list[str]) -> Callable[[], int]:
    """Read the arguments; what is to be done then."""
    options = tyro.cli(RenderOptions, args=arguments, prog="diffsim-rpg render", description=DESCRIPTION)
    camera_of(options.camera)
    checked_size(options.video_size)
    out = Output(options)
    run = opened(options, out)
    return partial(_rendered, options, out, run)


def _rendered(options: RenderOptions, out: Output, run: Run) -> int:
    from rpg.cli.run_report import VIDEO_FAILED, try_video
    from rpg.runs.videos import VIDEO_NAME, has_video

    environment = built(run, options, out)
    modes = shown_modes(options, out, run, environment)
    for mode in modes if has_video(environment) else ():
        with out.step(f"replaying '{mode.name}'"):
            replay = run.replay(mode, environment=environment)
        if replay.agrees:
            out.say(f"'{mode.name}' replays to the stored return, {replay.stored_return:.4g}")
        else:
            out.say(
                f"note: '{mode.name}' replays to return {replay.episode_return:.4g}, stored was {replay.stored_return:.4g}: "
                "the task, the machine or the number of threads is another one"
            )
    target = options.out or run.path / VIDEO_NAME
    failure = try_video(environment, modes, target, out, camera=camera_of(options.camera), size=options.video_size)
    written = has_video(environment) and failure is None
    if written:
        out.say(f"wrote {target}")
    out.finish({"run": str(run.path), "video": str(target) if written else None, "video_error": failure})
    return 0 if failure is None else VIDEO_FAILED
