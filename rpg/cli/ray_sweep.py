"""Runs of a sweep on Ray: trials of Ray Tune, on this machine or on a cluster, with early ends (ASHA).

A trial starts the same `optimize` that a sweep on this machine starts, in the same folder, and reports its metrics. What is
done stands in the folders, so that a trial whose worker died, and a sweep whose driver died, go on from there.
"""

from __future__ import annotations

import logging
import math
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # which cannot be kept quiet

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from rpg.cli.swept_run import LOG_NAME, ended_badly, has_checkpoint
from rpg.training.metrics import read_metrics
from rpg.training.run_lock import RunLock, RunLockedError
from rpg.training.termination import EXIT_CODE, environment_of_a_child

LOCAL = "local"
REPORTED = 0.5  # s between looks at a run's metrics
SAVING = 60.0  # s that a run may take to save itself


@dataclass(frozen=True)
class Trial:
    """A run as a trial, in plain values that a worker elsewhere understands.

    Attributes:
        name: of the run.
        folder: where it is, on a file system that all machines see.
        command: of its process, when it begins.
        directory: where that is started.
        iterations: of the whole run.
    """

    name: str
    folder: str
    command: tuple[str, ...]
    directory: str
    iterations: int

    @property
    def log(self) -> Path:
        """What its process prints."""
        return Path(self.folder) / LOG_NAME


class RunTrial(tune.Trainable):
    """One trial. Its checkpoint is the run's own folder."""

    def setup(self, config: dict[str, Any]) -> None:
        self._trial: Trial = config["trial"]
        self._seen = 0
        _wait_for(Path(self._trial.folder))
        Path(self._trial.folder).mkdir(parents=True, exist_ok=True)
        resume = ["--resume"] if has_checkpoint(Path(self._trial.folder)) else []
        with self._trial.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._trial.command, *resume], cwd=self._trial.directory, stdout=log, stderr=log, start_new_session=True,
                env=environment_of_a_child(),
            )  # fmt: skip

    def step(self) -> dict[str, Any]:
        """The metrics once there are new iterations, or the run has ended.

        Raises:
            RuntimeError: its process was ended from outside; Ray tries again, as often as the sweep says.
        """
        while True:
            code = self._process.poll()  # before the metrics, which are then complete
            rows = read_metrics(Path(self._trial.folder))
            if code is None and len(rows) <= self._seen:
                time.sleep(REPORTED)
                continue
            if code is not None and (code < 0 or code == EXIT_CODE):
                raise RuntimeError(ended_badly(code, self._trial.log))
            self._seen = len(rows)
            return {
                "iteration": len(rows),
                "return_mean": rows[-1].return_mean if rows else -math.inf,
                "done": code is not None,
                "by_itself": code is not None,  # Ray says done of what it ends, too
                "failure": ended_badly(code, self._trial.log) if code else "",
            }

    def cleanup(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(SAVING)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"iteration": self._seen}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Nothing to load: `optimize --resume` does."""


class Told(tune.Callback):
    """Tells the sweep of each trial that ends: its name, what failed (None: nothing), and whether it was ended early."""

    def __init__(self, ended: Callable[[str, str | None, bool], None]) -> None:
        self._ended = ended

    def __reduce__(self) -> tuple[Any, ...]:
        """Ray stores its callbacks, and a sweep cannot be stored; nor is it needed, as a sweep goes on from its folders."""
        return Told, (_unheard,)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        last = trial.last_result or {}
        self._ended(trial.config["trial"].name, last.get("failure") or None, not last.get("by_itself", False))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        own = trial.config["trial"]
        if trial.status == "ERROR":  # for good
            self._ended(own.name, ended_badly(None, own.log), False)


def run_trials(
    trials: list[Trial],
    ended: Callable[[str, str | None, bool], None],
    *,
    address: str,
    folder: Path,
    jobs: int | None,
    threads: int,
    retries: int,
    asha: int | None,
) -> None:
    """Run trials until all have ended, or Ctrl-C, after which Ray returns without an error.

    Args:
        ended: told the name of a trial that ended, what failed (None: nothing), and whether ASHA ended it early.
        address: "local", or that of a Ray cluster.
        jobs, threads: trials at once, None for as many as there are cores; cores of each.
        retries: how often a trial is begun again when its process or its worker died.
        asha: iterations that every trial may do before the worse two thirds of them are ended; None: all do all.
    """
    for name in ("ray.tune", "ray.air"):  # what failed is told in one line
        logging.getLogger(name).setLevel(logging.CRITICAL)
    ray.init(
        address=None if address == LOCAL else address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
    )
    scheduler = None
    if asha is not None:
        longest = max(trial.iterations for trial in trials)
        scheduler = ASHAScheduler(time_attr="iteration", max_t=longest + 1, grace_period=asha, reduction_factor=3)
    try:
        tune.Tuner(
            tune.with_resources(RunTrial, {"cpu": threads}),
            param_space={"trial": tune.grid_search(trials)},
            tune_config=tune.TuneConfig(metric="return_mean", mode="max", scheduler=scheduler, max_concurrent_trials=jobs),
            run_config=tune.RunConfig(
                name="ray",
                storage_path=str(folder.resolve()),
                failure_config=tune.FailureConfig(max_failures=retries),
                callbacks=[Told(ended)],
                verbose=0,
            ),
        ).fit()
    finally:
        ray.shutdown()


def _unheard(name: str, failure: str | None, early: bool) -> None:
    """Nobody is told."""


def _wait_for(folder: Path) -> None:
    """Until an earlier process of the run, whose worker died, has saved itself."""
    until = time.monotonic() + SAVING
    while folder.exists():
        try:
            with RunLock(folder):
                return
        except RunLockedError:
            if time.monotonic() > until:
                raise
            time.sleep(REPORTED)
