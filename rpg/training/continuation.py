"""How a run goes on from a checkpoint: as it was, with more iterations, as a branch with other settings, or past an iteration
that failed.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rpg.algorithms.algorithm import Algorithm, AlgorithmConfig
from rpg.settings_checks import check_bool, checked_path
from rpg.training.checkpoint import Checkpoint, CheckpointMismatch, RunRecord

RECOVERY = 2.0 ** (1 / 10)
"""Factor by which the learning rates come back with each iteration after a failed one: a halving takes ten."""


@dataclass(frozen=True)
class Branch:
    """Where a new run begins: `source`, a run's folder or a checkpoint file of it.

    Schedules go on as in that run, to the same ends at the same iterations. With `restart_schedules` they begin anew and are
    fractions of the iterations that are left.
    """

    source: Path
    restart_schedules: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", checked_path("source", self.source))
        check_bool("restart_schedules", self.restart_schedules)


def apply_checkpoint(algorithm: Algorithm, checkpoint: Checkpoint) -> None:
    """Bring `algorithm` to the state of `checkpoint`."""
    algorithm.restore(checkpoint.state)
    set_schedules(algorithm, checkpoint.record)
    algorithm.step_scale = checkpoint.record.step_scale
    algorithm.try_differently(checkpoint.iteration, checkpoint.record.attempt)


def set_schedules(algorithm: Algorithm, record: RunRecord) -> None:
    """Let the schedules of `algorithm` begin and end where `record` says."""
    algorithm.schedule_start, algorithm.schedule_iterations = record.schedule_start, record.schedule_iterations


def extended(checkpoint: Checkpoint, config: AlgorithmConfig) -> Checkpoint:
    """The same run with the number of iterations of `config`; its schedules stay where they are."""
    given = config.to_dict()
    if checkpoint.config == given:
        return checkpoint
    text = f"iterations changed from {checkpoint.config['iterations']} to {config.iterations}"
    record = checkpoint.record
    return replace(checkpoint, config=given, record=replace(record, events=record.with_event(checkpoint.iteration, text)))


def branched(
    checkpoint: Checkpoint, algorithm: Algorithm, branch: Branch, *, identity: dict[str, str], environment: dict[str, Any]
) -> Checkpoint:
    """The first checkpoint of a branch, for `algorithm` as it was built from the branch's settings: the parent's parameters and
    moments, the branch's learning rates, and noise of its own if it has another seed.

    Raises CheckpointMismatch if the parameters have other shapes, or more iterations are done than the branch has.
    """
    config = algorithm.config
    checkpoint.check_iterations(config.iterations)
    changes = checkpoint.changes(config=config.to_dict(), identity=identity)
    if checkpoint.config["algorithm"] != config.algorithm:
        raise CheckpointMismatch(f"a branch of '{branch.source}' has the same algorithm; changed were {changes}")
    fresh, state = algorithm.state(), dict(checkpoint.state)
    if difference := shape_difference(state, fresh):
        raise CheckpointMismatch(f"'{branch.source}' cannot be branched with these settings: {difference} ({changes})")
    for name in algorithm.optimizers:
        key = name + "_optimizer"
        groups = zip(state[key]["param_groups"], fresh[key]["param_groups"], strict=True)
        state[key] = {**state[key], "param_groups": [{**new, "params": old["params"]} for old, new in groups]}
    if checkpoint.config["seed"] != config.seed:
        state["generator"] = torch.Generator().manual_seed(config.seed).get_state()
    done, record = checkpoint.iteration, checkpoint.record
    start, length = record.schedule_start, record.schedule_iterations
    if branch.restart_schedules:
        start, length = done, config.iterations - done
    text = f"branched from {branch.source} after iteration {done}: {changes}"
    record = RunRecord(
        schedule_iterations=length,
        schedule_start=start,
        running_return=record.running_return,
        evaluation_interval=record.evaluation_interval,
        evaluation_steps=record.evaluation_steps,
        attempt=record.attempt,
        step_scale=record.step_scale,
        events=record.with_event(done, text),
    )
    return Checkpoint(done, checkpoint.seconds, config.to_dict(), identity, environment, state, record)


def failed(checkpoint: Checkpoint, error: FloatingPointError, seconds: float) -> Checkpoint:
    """The same state, from which the next iteration, which failed after so many seconds, is tried with other seeds and half the
    learning rates."""
    record = checkpoint.record
    attempt, scale = record.attempt + 1, record.step_scale / 2
    reason = " ".join(str(error).split())
    text = f"{reason}; attempt {attempt + 1} with other seeds and learning rates times {scale:.3g}"
    events = record.with_event(checkpoint.iteration, text)
    record = replace(record, attempt=attempt, step_scale=scale, events=events)
    return replace(checkpoint, seconds=checkpoint.seconds + seconds, record=record)


def shape_difference(old: Any, new: Any, name: str = "") -> str:
    """In words, the first part of two nested states whose keys or tensors' shapes differ; "" if there is none. Replay buffers
    and optimisers, which have shapes after their first step only, are not looked at.
    """
    if isinstance(old, Tensor) and isinstance(new, Tensor) and old.shape != new.shape:
        return f"{name} has shape {tuple(old.shape)} there, {tuple(new.shape)} here"
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys(), key=str):
            if str(key).endswith("_optimizer") or key == "replay":
                continue
            if name.startswith("extra") and not (key in old and key in new):
                continue  # there are such from the first iteration on, too
            if key not in old or key not in new:
                return f"{name}.{key}".lstrip(".") + f" is only {'there' if key in old else 'here'}"
            if found := shape_difference(old[key], new[key], f"{name}.{key}".lstrip(".")):
                return found
    return ""
