"""The summary of a run, result.json: what the run is of, from its first moment on, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from rpg.algorithms.algorithm import AlgorithmConfig
from rpg.runs.environment_parameters import plain_parameters
from rpg.runs.task_lookup import TaskSource
from rpg.training.checkpoint import CheckpointError, RunRecord
from rpg.training.evaluation import LatentEvaluation, chosen_latent
from rpg.training.metrics import IterationMetrics
from rpg.training.modes import Mode, expected_success, policy_success
from rpg.training.whole_files import whole_file

RESULT_NAME = "result.json"


def task_entries(source: TaskSource, parameters: Any | None) -> dict[str, Any]:
    """What result.json says about the task beside its name, so that a run can be rendered and evaluated later."""
    return {
        "task_reference": source.reference,
        "task_file": None if source.file is None else {"path": source.file, "sha256": source.sha256},
        "task_parameters": plain_parameters(parameters),
    }


class TrainedRun(Protocol):
    """What is read of an `rpg.Trainer`, or of a run opened again."""

    identity: dict[str, str]
    config: AlgorithmConfig

    @property
    def iteration(self) -> int: ...

    @property
    def history(self) -> list[IterationMetrics]: ...

    @property
    def record(self) -> RunRecord: ...


def run_result(run: TrainedRun, evaluations: Sequence[LatentEvaluation], modes: Sequence[Mode]) -> dict[str, Any]:
    """The results of a run as plain values: its policy's success without noise, and its distinct modes with what was shown of
    each: the actions, the observations and the return of one episode."""
    return {
        **run.identity,
        "config": run.config.to_dict(),
        "iterations": run.iteration,
        "simulator_steps": run.history[-1].simulator_steps if run.history else 0,
        "evaluation_steps": run.record.evaluation_steps,
        "seconds": run.history[-1].seconds if run.history else 0.0,
        "events": [text for _, text in run.record.events],
        "best": {
            "score": run.record.best_score,
            "by": run.record.best_by,
            "iterations": run.record.best_iteration,
        },
        "return": chosen_latent(evaluations).episode_return,
        "policy_success": policy_success(evaluations),
        "expected_success": expected_success(evaluations),
        "modes": [
            {**asdict(mode), "actions": mode.actions.tolist(), "observations": mode.observations.tolist()} for mode in modes
        ],
    }


def stored_modes(result: dict[str, Any]) -> list[Mode]:
    """The modes of a result; none if it has none yet."""
    return [
        Mode(
            **{
                **values,
                "latents": tuple(values["latents"]),
                "actions": np.array(values["actions"]),
                "observations": np.array(values["observations"]),
            }
        )
        for values in result.get("modes", [])
    ]


def read_result(folder: Path) -> dict[str, Any]:
    """The result in a run's folder; empty if there is none.

    Raises:
        CheckpointError: the file is damaged.
    """
    path = folder / RESULT_NAME
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise CheckpointError(f"{path} is no readable result ({error})") from None
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} is no readable result (a {type(found).__name__})")
    return found


def write_result(folder: Path, result: dict[str, Any]) -> None:
    """Write the result into a run's folder, whole or not at all. Raises OSError, which names the file."""
    with whole_file(folder / RESULT_NAME) as partial:
        partial.write_text(json.dumps(result, indent=1) + "\n")
