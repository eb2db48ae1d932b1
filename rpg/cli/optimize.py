"""``diffsim-rpg optimize``: trains a policy on a task, from the task's name to a video of its distinct solutions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from rich.console import Console
from rich.table import Table

from rpg.cli.progress import TrainingProgress
from rpg.cli.run_report import RESULT_NAME, run_result, write_result
from rpg.cli.run_settings import RunSettings, branched_run, new_run, parsed_settings, resumed_run
from rpg.cli.task_lookup import built_environment, setting_errors, task_class
from rpg.protocol import VideoEnvironment
from rpg.settings_checks import SettingError
from rpg.training.checkpoint import CHECKPOINT_NAME
from rpg.training.continuation import Branch
from rpg.training.evaluation import LatentEvaluation
from rpg.training.modes import Mode
from rpg.training.plots import plot_run
from rpg.training.run_lock import LOCK_NAME, RunLock
from rpg.training.termination import EXIT_CODE, Terminated
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
    branch_from: Path | None = None,
    restart_schedules: bool = False,
    mesh: Path | None = None,
    num_envs: int | None = None,
    evaluate_every: int | None = None,
    on_nan: str = "stop",
    video: bool = True,
) -> int:
    """Optimise a task and write metrics, checkpoints, plot and video to a folder.

    The folder receives metrics.jsonl, tensorboard/, checkpoint.pt, best.pt, result.json, plot.png, modes.mp4 and modes.png.
    Ctrl-C and SIGTERM leave a usable run: --resume continues from its last complete iteration.

    Args:
        task: A registered task (see `diffsim-rpg tasks`), one of your own: module:Class or path/to/file.py:Class, or one of
            Gymnasium's: gymnasium:Hopper-v5.
        settings: Settings of the algorithm.
        out: Folder of the run.
        resume: Continue the run in the folder, with its settings; --iterations may be more, to extend it.
        branch_from: Begin where this run stands (a folder, or one of its checkpoints), with its settings but for those given.
        restart_schedules: Begin the schedules of a branch anew, over the iterations that are left.
        mesh: Mesh file (OBJ, STL, GLB, PLY) of the body, in place of the task's own.
        num_envs: Episodes simulated side by side; 32 if not given.
        evaluate_every: Evaluate every latent on held-out first states every so many iterations; best.pt is then the best of
            these evaluations.
        on_nan: "stop", or "retry:N" to try an iteration that is not finite again, up to N times, with other seeds and half the
            step.
        video: Whether to render the video.
    """
    console = Console(highlight=False, soft_wrap=True)
    found = task_class(task)
    retries = _retries(on_nan)
    _check_writable(out)
    with RunLock(out):  # a word now rather than after compiling
        run = _settings(
            out, found, resume, branch_from, restart_schedules, {"mesh": mesh, "num_envs": num_envs, **settings.given()}
        )
    branch = None if branch_from is None else Branch(branch_from, restart_schedules)
    # the tensors are small: more threads only wait for each other, and a simulator wants the cores
    torch.set_num_threads(1)
    config = run.config
    environment = built_environment(found, run.num_envs, mesh=mesh)
    with setting_errors():
        trainer = Trainer(
            environment,
            config,
            run_dir=out,
            identity=run.identity,
            resume=resume,
            branch=branch,
            evaluation_interval=evaluate_every,
            retries=retries,
        )
    console.print(
        f"{run.identity['task']}: {run.num_envs} environments, horizon {trainer.env.horizon}, {config.algorithm}, "
        f"seed {config.seed} -> {out}"
    )
    assert trainer.lock is not None
    with trainer.lock:  # until everything is written
        try:
            with TrainingProgress(console, iterations=config.iterations, done=trainer.iteration) as progress:
                result = trainer.train(progress.update)
        except Terminated:
            console.print(_ended("terminated", trainer))
            return EXIT_CODE
        except FloatingPointError:
            if trainer.iteration > 0:
                console.print("--resume goes past the failure with other seeds and half the step (--on-nan retry:N by itself)")
            raise
        if result.interrupted and trainer.iteration == 0:
            console.print(_ended("interrupted", trainer))
            return 130
        modes = report(
            trainer, environment, out, console, video=video and not result.interrupted, evaluations=result.evaluations
        )
    if result.interrupted:
        console.print(_ended("interrupted", trainer))
        return 130
    _print_modes(console, modes, out)
    return 0


def report(
    trainer: Trainer,
    environment: Any,
    out: Path,
    console: Console,
    *,
    video: bool,
    evaluations: Sequence[LatentEvaluation] = (),
) -> list[Mode]:
    """Write result.json, the plot and, if the environment can draw one, the video; the distinct modes. The run is evaluated
    first if it has not been."""
    with console.status("evaluating every latent ..."):
        evaluations = list(evaluations) or trainer.evaluate()
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


def _settings(
    out: Path, task: type[Any], resume: bool, branch_from: Path | None, restart: bool, given: dict[str, Any]
) -> RunSettings:
    if resume and branch_from is not None:
        raise SettingError("--resume was given with --branch-from; allowed is one of them")
    if restart and branch_from is None:
        raise SettingError("--restart-schedules was given without --branch-from; allowed with it")
    if resume:
        return resumed_run(out, task, **given)
    if (out / CHECKPOINT_NAME).exists():
        raise SettingError(f"'{out}' already holds a run; continue it with --resume or choose another --out")
    return new_run(task, **given) if branch_from is None else branched_run(branch_from, task, **given)


def _retries(on_nan: str) -> int:
    kind, _, count = on_nan.partition(":")
    if kind == "retry" and count.isdecimal():
        return int(count)
    if on_nan != "stop":
        raise SettingError(f"--on-nan was given '{on_nan}'; allowed are stop and retry:N")
    return 0


def _ended(how: str, trainer: Trainer) -> str:
    if trainer.iteration == 0:
        return f"{how} before the first iteration was done; nothing to keep"
    return f"{how} after iteration {trainer.iteration}; continue with --resume"


def _check_writable(out: Path) -> None:
    probe = out / ".writable"
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise SettingError(f"output folder '{out}' cannot be written: {error.strerror}; choose another --out") from error


def _print_modes(console: Console, modes: list[Mode], out: Path) -> None:
    title = "distinct solutions" if modes[0].success > 0 else "no latent succeeds; what they do"
    table = Table("mode", "return", "shown", "success", "pi(z)", "latent", title=title, title_justify="left")
    for mode in modes:
        table.add_row(
            mode.name,
            f"{mode.episode_return:.2f}",
            f"{mode.shown_return:.2f}",
            f"{mode.success:.0%}",
            f"{mode.probability:.0%}",
            str(mode.latent),
        )
    console.print(table)
    console.print(f"wrote {out}/: " + ", ".join(sorted(path.name for path in out.iterdir() if path.name != LOCK_NAME)))
