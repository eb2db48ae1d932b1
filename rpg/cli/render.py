"""``diffsim-rpg render``: renders a finished or interrupted run again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import tyro
from rich.console import Console

from rpg.cli.optimize import report
from rpg.cli.run_settings import resumed_run
from rpg.cli.task_lookup import built_environment, setting_errors, task_class
from rpg.settings_checks import SettingError
from rpg.training.checkpoint import CHECKPOINT_NAME, load_checkpoint
from rpg.training.trainer import Trainer


def render(
    run: Annotated[Path, tyro.conf.Positional],
    /,
    task: str | None = None,
    mesh: Path | None = None,
) -> int:
    """Evaluate a run's checkpoint and write its result.json, plot and video again.

    Args:
        run: Folder of the run.
        task: The task, where it is one of your own (module:Class or path/to/file.py:Class).
        mesh: The mesh file of the run, if it had one.
    """
    if not (run / CHECKPOINT_NAME).exists():
        raise SettingError(f"'{run}' holds no run: there is no {CHECKPOINT_NAME}")
    torch.set_num_threads(1)
    checkpoint = load_checkpoint(run / CHECKPOINT_NAME)
    found = task_class(task or checkpoint.identity["task"])
    settings = resumed_run(run, found, mesh=mesh, num_envs=None)
    environment = built_environment(found, settings.num_envs, mesh=mesh)
    with setting_errors():
        trainer = Trainer(environment, settings.config, run_dir=run, identity=settings.identity, resume=True)
    report(trainer, environment, run, Console(highlight=False), video=True)
    return 0
