"""``diffsim-rpg optimize``: trains a policy on a task, from the task's name to a video of its distinct solutions."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from rich.console import Console
from rich.table import Table

from rpg.cli.progress import TrainingProgress
from rpg.cli.run_report import RESULT_NAME, run_result, write_result
from rpg.cli.run_settings import new_run, parsed_settings, resumed_run
from rpg.cli.task_lookup import built_environment, setting_errors, task_class
from rpg.protocol import VideoEnvironment
from rpg.settings_checks import SettingError
from rpg.training.checkpoint import CHECKPOINT_NAME
from rpg.training.modes import Mode
from rpg.training.plots import plot_run
from rpg.training.trainer import Trainer

PLOT_NAME, VIDEO_NAME = "plot.png", "modes.mp4"


@dataclass(frozen=True)
class AlgorithmOptions:
    """Settings of the algorithm."""

    algo: str | None = None
    """rpg (if not given), its baselines gaussian and reinforce (the same policy without a latent), or any other: see
    `diffsim-rpg algorithms`."""
    seed: int | None = None
    """Seed of everything random; 0 if not given."""
    iterations: int | None = None
    """Gradient steps; the task's own number if not given."""
    num_latents: int | None = None
    """Number of latents, each of which can learn a solution; the task's own number if not given."""
    beta: float | None = None
    """Weight of the posterior bonus at the start of the run; 0 turns it off."""
    policy: Literal["table", "mlp", "points"] | None = None
    """Open-loop action table or closed-loop network; the task's own if not given."""
    set: tuple[str, ...] = ()
    """Any other settings of the algorithm, as name=value; of a schedule, name=start,end or name=start,end,begin,finish."""

    def given(self) -> dict[str, Any]:
        """All settings by name; None for those that were not given."""
        named = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "set"}
        return {**named, **parsed_settings(self.set)}


def optimize(
    task: Annotated[str, tyro.conf.Positional],
    /,
    settings: Annotated[AlgorithmOptions, tyro.conf.arg(name="")],
    out: Path = Path("runs/latest"),
    resume: bool = False,
    mesh: Path | None = None,
    num_envs: int | None = None,
    video: bool = True,
) -> int:
    """Optimise a task and write metrics, checkpoint, plot and video to a folder.

    The folder receives metrics.jsonl, tensorboard/, checkpoint.pt, result.json, plot.png, modes.mp4 and modes.png. Ctrl-C
    leaves a usable run: --resume continues from its last complete iteration.

    Args:
        task: A registered task (see `diffsim-rpg tasks`), one of your own: module:Class or path/to/file.py:Class, or one of
            Gymnasium's: gymnasium:Hopper-v5.
        settings: Settings of the algorithm.
        out: Folder of the run.
        resume: Continue the run in the folder, with its settings.
        mesh: Mesh file (OBJ, STL, GLB, PLY) of the body, in place of the task's own.
        num_envs: Episodes simulated side by side; 32 if not given.
        video: Whether to render the video.
    """
    console = Console(highlight=False, soft_wrap=True)
    found = task_class(task)
    _check_writable(out)
    given = settings.given()
    if resume:
        run = resumed_run(out, found, mesh=mesh, num_envs=num_envs, **given)
    else:
        if (out / CHECKPOINT_NAME).exists():
            raise SettingError(f"'{out}' already holds a run; continue it with --resume or choose another --out")
        run = new_run(found, mesh=mesh, num_envs=num_envs, **given)
    # the tensors are small: more threads only wait for each other, and a simulator wants the cores
    torch.set_num_threads(1)
    config = run.config
    environment = built_environment(found, run.num_envs, mesh=mesh)
    with setting_errors():
        trainer = Trainer(environment, config, run_dir=out, identity=run.identity, resume=resume)
    console.print(
        f"{run.identity['task']}: {run.num_envs} environments, horizon {trainer.env.horizon}, {config.algorithm}, "
        f"seed {config.seed} -> {out}"
    )
    with TrainingProgress(console, iterations=config.iterations, done=trainer.iteration) as progress:
        result = trainer.train(progress.update)
    if result.interrupted and trainer.iteration == 0:
        console.print("interrupted before the first iteration was done; nothing to keep")
        return 130
    modes = report(trainer, environment, out, console, video=video and not result.interrupted)
    if result.interrupted:
        console.print(f"interrupted after iteration {trainer.iteration}; continue with --resume")
        return 130
    _print_modes(console, modes, out)
    return 0


def report(trainer: Trainer, environment: Any, out: Path, console: Console, *, video: bool) -> list[Mode]:
    """Evaluate the run and write result.json, the plot and, if the environment can draw one, the video; the distinct modes."""
    with console.status("evaluating every latent ..."):
        evaluations = trainer.evaluate()
        modes = trainer.modes(evaluations)
        write_result(out / RESULT_NAME, run_result(trainer, evaluations, modes))
        plot_run(
            out / PLOT_NAME,
            trainer.history,
            evaluations,
            modes,
            title=f"{trainer.identity['task']} ({trainer.config.algorithm})",
        )
    if video and isinstance(environment, VideoEnvironment):
        with console.status("rendering the modes ..."):
            environment.write_video(modes, out / VIDEO_NAME)
    elif video:
        console.print(f"no video: {trainer.identity['task']} has no method write_video (rpg.protocol.VideoEnvironment)")
    return modes


def _check_writable(out: Path) -> None:
    probe = out / ".writable"
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise SettingError(f"output folder '{out}' cannot be written: {error.strerror}; choose another --out") from error


def _print_modes(console: Console, modes: list[Mode], out: Path) -> None:
    title = "distinct solutions" if modes[0].success > 0 else "no solution; the best failure"
    table = Table("mode", "return", "success", "pi(z)", "latent", title=title, title_justify="left")
    for mode in modes:
        table.add_row(
            mode.name,
            f"{mode.episode_return:.2f}",
            f"{mode.success:.0%}",
            f"{mode.probability:.0%}",
            str(mode.latent),
        )
    console.print(table)
    console.print(f"wrote {out}/: " + ", ".join(sorted(path.name for path in out.iterdir())))
