"""What ``diffsim-rpg optimize`` does once its arguments are read: from the environment to a video of the distinct solutions."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rpg.cli.output import Output
from rpg.cli.progress import TrainingProgress
from rpg.cli.run_command import RunCommand
from rpg.cli.run_options import camera_of
from rpg.cli.run_report import VIDEO_FAILED, print_files, print_modes, summary, try_video, write_report
from rpg.cli.wandb_log import WandbLog, wandb_module
from rpg.runs.environment_parameters import given_parameters
from rpg.runs.run_folder import check_writable, discard_unless_begun, new_run_folder
from rpg.runs.run_result import read_result, task_entries, write_result
from rpg.runs.task_lookup import author_errors, built_environment, described_error, setting_errors, task_name
from rpg.runs.videos import VIDEO_NAME, check_video, has_video
from rpg.settings_checks import SettingError
from rpg.training.checkpoint import CHECKPOINT_NAME
from rpg.training.continuation import Branch
from rpg.training.metrics import IterationMetrics
from rpg.training.ranks import Ranks, joined_ranks
from rpg.training.run_lock import RunLock
from rpg.training.termination import EXIT_CODE, Terminated
from rpg.training.trainer import Trainer, TrainingResult

INTERRUPTED = 130
"""Exit code of a run that Ctrl-C ended."""


def train(command: RunCommand) -> int:
    """Train, and write everything to the run's folder; the exit code."""
    options, config = command.options, command.settings.config
    if options.wandb is not None:
        wandb_module()
    ranks = joined_ranks()
    if ranks is not None and not ranks.leads:
        return _helped(command, Path(ranks.words("")[0]), ranks)
    folder = options.out or new_run_folder(task_name(command.task), config.algorithm, config.seed)
    if ranks is not None:
        ranks.words(str(folder))
    check_writable(folder)
    lock = RunLock(folder)
    with lock:  # a word now rather than after compiling; until everything is written
        if not options.resume and (folder / CHECKPOINT_NAME).exists():
            raise SettingError(f"'{folder}' already holds a run; continue it with --resume or choose another --out")
        try:
            return _trained_run(command, folder, lock, ranks)
        finally:
            discard_unless_begun(folder)


def _helped(command: RunCommand, folder: Path, ranks: Ranks) -> int:
    """Train as a process that helps another one: in step with it, without a word or a file."""
    _, trainer = _built(command, folder, ranks)
    return INTERRUPTED if trainer.train().interrupted else 0


def _built(command: RunCommand, folder: Path, ranks: Ranks | None) -> tuple[Any, Trainer]:
    """The environment and its trainer."""
    options, settings = command.options, command.settings
    environment = built_environment(command.task, settings.num_envs, given_parameters(command.task, settings.parameters))
    with setting_errors(command.task):
        return environment, Trainer(
            environment,
            settings.config,
            run_dir=folder,
            identity=settings.identity(command.task),
            resume=options.resume,
            branch=None if options.branch_from is None else Branch(options.branch_from, options.restart_schedules),
            checkpoint_interval=options.checkpoint_every,
            evaluation_interval=options.evaluate_every,
            retries=options.retries(),
            ranks=ranks,
        )


def _trained_run(command: RunCommand, folder: Path, lock: RunLock, ranks: Ranks | None) -> int:
    options, settings, out = command.options, command.settings, Output(command.options)
    config, name = settings.config, task_name(command.task)
    with out.step(f"building {settings.num_envs} environments of {name}"):
        environment, trainer = _built(command, folder, ranks)
    trainer.lock = lock
    if options.video and (has_video(environment) or options.camera or options.video_size):
        _try_rendering(environment, command, out)
    shared = "" if ranks is None else f" on {ranks.count} processes"
    out.say(
        f"{name}: {settings.num_envs} environments{shared}, horizon {trainer.env.horizon}, {config.algorithm}, "
        f"seed {config.seed} -> {folder}"
    )
    entries = task_entries(command.source, settings.parameters)
    write_result(
        folder,
        {**read_result(folder), **trainer.identity, **entries, "config": config.to_dict(), "status": "running"},
    )
    log = None if options.wandb is None else WandbLog(options.wandb, folder, name, {**entries, **config.to_dict()})
    status, result = "failed", None
    try:
        with author_errors(command.task):
            result = _trained_result(trainer, out, log)
        status = "interrupted" if result.interrupted else "done"
    except Terminated:
        status = "terminated"
        out.say(_ended("terminated", trainer))
        return EXIT_CODE
    except FloatingPointError:
        if trainer.iteration > 0:
            out.say("--resume goes past the failure with other seeds and half the step (--on-nan retry:N by itself)")
        raise
    finally:
        if log is not None:
            log.finish(failed=status != "done")
        if status != "done" and trainer.iteration > 0:
            write_result(folder, {**read_result(folder), "status": status})
    if result.interrupted and (trainer.iteration == 0 or ranks is not None):  # the others do not evaluate any more
        out.say(_ended("interrupted", trainer))
        return INTERRUPTED
    with out.step("evaluating every latent"):
        evaluations = result.evaluations or trainer.evaluate()
        modes = trainer.modes(list(evaluations))
        content = write_report(trainer, folder, evaluations, modes, {**entries, "status": status})
    code, failure = INTERRUPTED if result.interrupted else 0, None
    if result.interrupted:
        out.say(_ended("interrupted", trainer))
    else:
        if options.video:
            camera, size = camera_of(options.camera), options.video_size
            failure = try_video(environment, modes, folder / VIDEO_NAME, out, camera=camera, size=size)
            code = 0 if failure is None else VIDEO_FAILED
        print_modes(out, modes)
        print_files(out, folder)
    out.finish({**summary(content, folder), "video_error": failure, "exit_code": code})
    return code


def _trained_result(trainer: Trainer, out: Output, log: WandbLog | None) -> TrainingResult:
    with (
        _reported_once(),
        TrainingProgress(out.console, iterations=trainer.config.iterations, done=trainer.iteration) as progress,
    ):

        def update(metrics: IterationMetrics) -> None:
            progress.update(metrics)
            if log is not None:
                log.write(metrics)

        return trainer.train(update)


@contextmanager
def _reported_once() -> Iterator[None]:
    """A file that TensorBoard's thread cannot write is an error of the next iteration; the thread shall not print it, too."""
    before = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        if not issubclass(arguments.exc_type, OSError):
            before(arguments)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


def _try_rendering(environment: Any, command: RunCommand, out: Output) -> None:
    """What would fail after training shall fail now.

    Raises:
        SettingError: it does.
    """
    with out.step("trying the rendering"):
        try:
            check_video(environment, camera=camera_of(command.options.camera), size=command.options.video_size)
        except SettingError:
            raise
        except Exception as error:  # the environment's own code can raise anything
            words = described_error(error, Path.cwd() if command.source.file is None else Path(command.source.file).parent)
            raise SettingError(f"rendering fails, so nothing was trained: {words}; --no-video trains without it") from error


def _ended(how: str, trainer: Trainer) -> str:
    if trainer.iteration == 0:
        return f"{how} before the first iteration was done; nothing to keep"
    return f"{how} after iteration {trainer.iteration}; continue with --resume --out {trainer.run_dir}"
