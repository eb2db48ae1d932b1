"""``diffsim-rpg optimize``: the main job, from a task's name to a video of its distinct solutions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from rich.console import Console
from rich.table import Table

from diffsim import InputError
from rpg.checkpoint import CHECKPOINT_NAME
from rpg.cli.progress import TrainingProgress
from rpg.cli.report import RESULT_NAME, run_result, write_result
from rpg.cli.settings import new_run, parsed_settings, resumed_run
from rpg.cli.tasks import task_class
from rpg.cli.video import write_modes_video
from rpg.modes import Mode
from rpg.plots import plot_run
from rpg.trainer import Trainer
from tasks import Task

PLOT_NAME, VIDEO_NAME = "plot.png", "modes.mp4"


def optimize(
    task: Annotated[str, tyro.conf.Positional],
    /,
    algo: str | None = None,
    seed: int | None = None,
    out: Path = Path("runs/latest"),
    resume: bool = False,
    mesh: Path | None = None,
    num_envs: int | None = None,
    iterations: int | None = None,
    num_latents: int | None = None,
    beta: float | None = None,
    policy: Literal["table", "mlp", "points"] | None = None,
    set: tuple[str, ...] = (),
    video: bool = True,
) -> int:
    """Optimise a task and write metrics, checkpoint, plot and video to a folder.

    The folder receives metrics.jsonl, tensorboard/, checkpoint.pt, result.json, plot.png, modes.mp4 and modes.png. Ctrl-C
    leaves a usable run: --resume goes on from its last whole iteration.

    Args:
        task: A registered task (see `diffsim-rpg tasks`), or path/to/file.py:Name for one of your own.
        algo: rpg (if not given), its baselines gaussian and reinforce (the same policy without a latent), or any other: see
            `diffsim-rpg algorithms`.
        seed: Seed of everything random; 0 if not given.
        out: Folder of the run.
        resume: Go on with the run in the folder, with its settings.
        mesh: Mesh file (OBJ, STL, GLB, PLY) of the body, in place of the task's own.
        num_envs: Episodes simulated side by side; 32 if not given.
        iterations: Gradient steps; the task's own number if not given.
        num_latents: How many ways the policy may try; the task's own number if not given.
        beta: Weight of the posterior bonus at the start of the run; 0 turns it off.
        policy: Open-loop action table or closed-loop network; the task's own if not given.
        set: Any other settings of the algorithm, as name=value; of a schedule, name=start,end or name=start,end,begin,finish.
        video: Whether to render the video.
    """
    console = Console(highlight=False, soft_wrap=True)
    found = task_class(task)
    _check_writable(out)
    given = {
        "algo": algo,
        "seed": seed,
        "iterations": iterations,
        "num_latents": num_latents,
        "beta": beta,
        "policy": policy,
        **parsed_settings(set),
    }
    if resume:
        settings = resumed_run(out, found, mesh=mesh, num_envs=num_envs, **given)
    else:
        if (out / CHECKPOINT_NAME).exists():
            raise InputError(f"'{out}' already holds a run; continue it with --resume or choose another --out")
        settings = new_run(found, mesh=mesh, num_envs=num_envs, **given)
    # the tensors are small: more threads only wait for each other, and Taichi wants the cores
    torch.set_num_threads(1)
    config = settings.config
    environment = found(settings.num_envs, mesh=mesh)
    trainer = Trainer(environment, config, run_dir=out, identity=settings.identity, resume=resume)
    console.print(
        f"{found.name}: {environment.sim.num_particles} particles, {settings.num_envs} environments, horizon "
        f"{environment.horizon}, {config.algorithm}, seed {config.seed} -> {out}"
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


def report(trainer: Trainer, environment: Task, out: Path, console: Console, *, video: bool) -> list[Mode]:
    """Evaluate the run and write result.json, the plot and the video; returns the distinct modes."""
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
    if video:
        with console.status("rendering the modes ..."):
            write_modes_video(environment, modes, out / VIDEO_NAME)
    return modes


def _check_writable(out: Path) -> None:
    probe = out / ".writable"
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"output folder '{out}' cannot be written: {error.strerror}; choose another --out"
        ) from error


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
