"""A run's metrics on Weights & Biases. Whether they are sent, and where, is set by its own variables, such as WANDB_MODE."""

from __future__ import annotations

import hashlib
import importlib
from pathlib import Path
from typing import Any

from rpg.settings_checks import SettingError
from rpg.training.metrics import IterationMetrics


def wandb_module() -> Any:
    """The package.

    Raises:
        SettingError: it is not installed.
    """
    try:
        return importlib.import_module("wandb")
    except ImportError as error:
        raise SettingError("--wandb needs wandb; allowed after pip install 'diffsim-rpg[wandb]'") from error


class WandbLog:
    """A run of `project`. A resumed run goes on in the same one: its id follows from the folder."""

    def __init__(self, project: str, folder: Path, task: str, config: dict[str, Any]) -> None:
        self._run = wandb_module().init(
            project=project,
            name=f"{task} {folder.name}",
            id=hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16],
            resume="allow",
            dir=str(folder),
            config={"task": task, **config},
        )

    def write(self, metrics: IterationMetrics) -> None:
        """One iteration: every number, under the names of metrics.jsonl."""
        values = metrics.to_dict()
        evaluation = {f"evaluation/{name}": value for name, value in metrics.evaluation.items()}
        flat = {**values, **values["terms"], **evaluation}
        numbers = {name: value for name, value in flat.items() if isinstance(value, int | float) and name != "iteration"}
        self._run.log(numbers, step=metrics.iteration)

    def finish(self, *, failed: bool) -> None:
        """Call at the end."""
        self._run.finish(exit_code=int(failed))
