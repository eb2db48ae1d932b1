"""``diffsim-rpg render``: render a finished or interrupted run again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import tyro
from rich.console import Console

from diffsim import InputError
from rpg.checkpoint import CHECKPOINT_NAME, load_checkpoint
from rpg.cli.optimize import report
from rpg.cli.settings import resumed_run
from rpg.cli.tasks import task_class
from rpg.trainer import Trainer


def render(
    run: Annotated[Path, tyro.conf.Positional],
    /,
    task: str | None = None,
    mesh: Path | None = None,
) -> int:
    """Evaluate a run's checkpoint and write its result.json, plot and video again.

    Args:
        run: Folder of the run.
        task: The task, where it is one of your own (path/to/file.py:Name).
        mesh: The mesh file the run was given, if it was given one.
    """
    if not (run / CHECKPOINT_NAME).exists():
        raise InputError(f"'{run}' holds no run: there is no {CHECKPOINT_NAME}")
    torch.set_num_threads(1)
    checkpoint = load_checkpoint(run / CHECKPOINT_NAME)
    found = task_class(task or checkpoint.identity["task"])
    settings = resumed_run(run, found, mesh=mesh, num_envs=None)
    environment = found(settings.num_envs, mesh=mesh)
    trainer = Trainer(environment, settings.config, run_dir=run, identity=settings.identity, resume=True)
    report(trainer, environment, run, Console(highlight=False), video=True)
    return 0
