"""The end of a run: result.json, the plot, the video, and what is printed of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rpg.cli.output import Output
from rpg.runs.run import Run
from rpg.runs.run_result import run_result, write_result
from rpg.runs.task_lookup import described_error
from rpg.runs.videos import VIDEO_NAME, has_video, write_video
from rpg.training.evaluation import LatentEvaluation
from rpg.training.modes import Mode
from rpg.training.plots import plot_run
from rpg.training.run_lock import LOCK_NAME
from rpg.training.trainer import Trainer

PLOT_NAME = "plot.png"
VIDEO_FAILED = 3
"""Exit code of a run that is complete but for its video."""


def write_report(
    run: Trainer | Run, folder: Path, evaluations: Sequence[LatentEvaluation], modes: Sequence[Mode], entries: dict[str, Any]
) -> dict[str, Any]:
    """Write result.json, with `entries`, and the plot; the result."""
    result = {**run_result(run, evaluations, modes), **entries}
    write_result(folder, result)
    title = f"{run.identity.get('task', '')} ({run.config.algorithm})"
    plot_run(folder / PLOT_NAME, run.history, evaluations, modes, title=title)
    return result


def try_video(
    environment: Any, modes: Sequence[Mode], path: Path, out: Output, *, camera: Any = None, size: tuple[int, int] | None = None
) -> str | None:
    """Render the video, if the environment can draw one; in words what failed, or None."""
    if not has_video(environment) and camera is None and size is None:
        name = getattr(environment, "name", "") or type(environment).__name__
        out.say(f"no video: {name} has no method write_video (rpg.protocol.VideoEnvironment)")
        return None
    try:
        with out.step(f"rendering {len(modes)} solution{'s' * (len(modes) != 1)} to {path}"):
            write_video(environment, modes, path, camera=camera, size=size)
    except Exception as error:  # the environment's own code can raise anything, and the run is kept
        words = described_error(error, Path.cwd())
        out.say(f"the run is complete, but its video failed: {words}; once that is mended: diffsim-rpg render {path.parent}")
        return words
    return None


def summary(result: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What a program wants to know of a run: numbers, without actions and observations."""
    config = result.get("config", {})
    names = ("task", "status", "iterations", "simulator_steps", "seconds", "return", "policy_success", "expected_success")
    shown = ("name", "episode_return", "shown_return", "success", "probability", "latent")
    video = folder / VIDEO_NAME
    return {
        "run": str(folder),
        "algorithm": config.get("algorithm"),
        "seed": config.get("seed"),
        **{name: result.get(name) for name in names},
        "modes": [{name: mode[name] for name in shown} for mode in result.get("modes", [])],
        "video": str(video) if video.exists() else None,
    }


def print_modes(out: Output, modes: Sequence[Mode]) -> None:
    """A table of the distinct solutions."""
    rows = [
        (
            mode.name,
            f"{mode.episode_return:.2f}",
            f"{mode.shown_return:.2f}",
            f"{mode.success:.0%}",
            f"{mode.probability:.0%}",
            str(mode.latent),
        )
        for mode in modes
    ]
    solved = bool(modes) and modes[0].success > 0
    title = "distinct solutions" if solved else "no latent succeeds; what they do"
    out.table(("mode", "return", "shown", "success", "pi(z)", "latent"), rows, title=title)


def print_files(out: Output, folder: Path) -> None:
    """What a run's folder holds."""
    out.say(f"wrote {folder}/: " + ", ".join(sorted(path.name for path in folder.iterdir() if path.name != LOCK_NAME)))
