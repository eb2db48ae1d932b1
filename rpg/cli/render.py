"""``diffsim-rpg render``: the video of a run again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from rpg.cli.output import Output
from rpg.cli.run_options import camera_of, checked_size
from rpg.cli.stored_run import StoredRunOptions, built, opened
from rpg.settings_checks import SettingError

if TYPE_CHECKING:
    from rpg.runs.run import Run
    from rpg.training.modes import Mode

TASK_ENTRIES = ("task_reference", "task_file", "task_parameters")
"""What result.json says about the task from the run's first moment on."""

DESCRIPTION = """Render a finished or interrupted run: the solutions that it stored, replayed step by step.

A run that was ended before it was evaluated is evaluated first, which writes its result.json and plot, too."""


@dataclass(frozen=True)
class RenderOptions(StoredRunOptions):
    """The run and its video."""

    out: Path | None = None
    """The video's file, .mp4; modes.mp4 in the run's folder if not given."""
    modes: tuple[int, ...] = ()
    """Numbers of the solutions to be shown, from 0, the best; all if none are given."""
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
    modes = _modes(options, out, run, environment)
    if options.modes:
        modes = [_numbered(modes, number) for number in options.modes]
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


def _modes(options: RenderOptions, out: Output, run: Run, environment: Any) -> list[Mode]:
    """The stored solutions, if they are of this iteration; else evaluated ones, stored unless they are of best.pt."""
    from rpg.cli.run_report import write_report
    from rpg.training.run_lock import RunLock

    if "modes" in run.result and run.result["iterations"] == run.iteration:
        return run.modes
    with out.step("evaluating every latent"):
        found = run.evaluate(environment)
    if not options.best:
        with RunLock(run.path):
            entries = {name: run.result[name] for name in TASK_ENTRIES if name in run.result}
            write_report(run, run.path, found.evaluations, found.modes, {**entries, "status": "interrupted"})
    return list(found.modes)


def _numbered(modes: list[Mode], number: int) -> Mode:
    if not 0 <= number < len(modes):
        raise SettingError(f"--modes was given {number}; the run has {len(modes)} solutions, numbered from 0")
    return modes[number]
