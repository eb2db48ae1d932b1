"""The summary of a run, result.json."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rpg.training.evaluation import LatentEvaluation
from rpg.training.modes import Mode, expected_success, policy_success
from rpg.training.trainer import Trainer

RESULT_NAME = "result.json"


def run_result(trainer: Trainer, evaluations: Sequence[LatentEvaluation], modes: Sequence[Mode]) -> dict[str, Any]:
    """The results of a run as plain values: its policy's success without noise, and its distinct modes."""
    return {
        **trainer.identity,
        "config": trainer.config.to_dict(),
        "iterations": trainer.iteration,
        "simulator_steps": trainer.history[-1].simulator_steps if trainer.history else 0,
        "evaluation_steps": trainer.record.evaluation_steps,
        "seconds": trainer.history[-1].seconds if trainer.history else 0.0,
        "events": [text for _, text in trainer.record.events],
        "best": {
            "score": trainer.record.best_score,
            "by": trainer.record.best_by,
            "iterations": trainer.record.best_iteration,
        },
        "policy_success": policy_success(evaluations),
        "expected_success": expected_success(evaluations),
        "modes": [
            {**asdict(mode), "actions": mode.actions.tolist(), "observations": mode.observations.tolist()} for mode in modes
        ],
    }


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Write ``result`` as JSON, atomically."""
    partial = path.with_name(path.name + ".tmp")
    partial.write_text(json.dumps(result, indent=1) + "\n")
    partial.replace(path)
