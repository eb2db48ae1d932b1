"""The training loop around every algorithm: iterations, metrics, checkpoints, evaluation, interruption and continuation."""

import math
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from rpg.algorithms import build_algorithm
from rpg.algorithms.algorithm import AlgorithmConfig
from rpg.algorithms.streaming import StreamingConfig
from rpg.environments.sharded_episodes import shared_episodes
from rpg.environments.whole_episodes import whole_episodes
from rpg.protocol import Environment, FixedHorizonEnvironment, check_environment
from rpg.settings_checks import SettingError, check_bool, check_function, check_int, check_positive, checked_path
from rpg.training.checkpoint import (
    BEST_NAME,
    CHECKPOINT_NAME,
    Checkpoint,
    CheckpointMismatch,
    RunRecord,
    checkpoint_path,
    load_checkpoint,
    save_checkpoint,
)
from rpg.training.continuation import RECOVERY, Branch, apply_checkpoint, branched, extended, failed
from rpg.training.evaluation import (
    EVALUATION_SEED,
    HELD_OUT_SEED,
    LatentEvaluation,
    chosen_latent,
    evaluate_latents,
    evaluation_steps,
)
from rpg.training.metrics import METRICS_NAME, IterationMetrics, MetricsWriter, read_metrics
from rpg.training.modes import Mode, distinct_modes, expected_success
from rpg.training.ranks import Ranks
from rpg.training.run_lock import RunLock
from rpg.training.termination import shielded, terminable
from rpg.training.trained_policy import EnvironmentShape, TrainedPolicy, policy_of

RUNNING_RATE = 0.1
"""Weight of the newest batch in the running return."""


class StopTraining(Exception):
    """Raised by a callback of `Trainer.train` to end the run early."""


@dataclass(frozen=True)
class TrainingResult:
    """The result of `Trainer.train`."""

    history: tuple[IterationMetrics, ...]
    """One record per iteration, including those before a resumption."""
    modes: tuple[Mode, ...]
    """The distinct solutions, best first; empty if interrupted."""
    evaluations: tuple[LatentEvaluation, ...]
    """Every candidate's noiseless episodes, which the modes come from; empty if interrupted."""
    interrupted: bool
    """Whether Ctrl-C ended it early; the checkpoint then holds the last complete iteration."""
    stopped: bool
    """Whether the callback ended it early."""


def _is_plain(identity: object) -> bool:
    """Whether it is a dictionary of words."""
    return isinstance(identity, dict) and all(isinstance(each, str) for pair in identity.items() for each in pair)


class Trainer:
    """Trains one environment with the algorithm of `config`.

    `run_dir` receives metrics.jsonl, tensorboard/, checkpoint.pt (after the first iteration, every `checkpoint_interval`, every
    `checkpoint_seconds`, and at the end) and best.pt, the checkpoint with the best score so far; None keeps everything in
    memory. The score is the return of the most probable latent on held-out first states, measured every `evaluation_interval`
    iterations, or the running mean of the batches' returns if that is None (of a run that goes on: the interval that it had).
    `identity` names what is optimised (the task, its version).

    With `resume` the run in `run_dir` continues, bit-identical to one without a break if the environment is deterministic. Its
    settings must be the same, but for the number of iterations. With `branch` a run in a new `run_dir` begins where another one
    stands, and keeps its metrics; all settings may differ that do not change the parameters' shapes.

    With `ranks` (`rpg.joined_ranks`) this is one of several processes that train the run together, each made with the same
    arguments. `env` is then a `ShardableEnvironment`, of whose episodes each process simulates its part; if it is none, each
    simulates all of them, and only algorithms that learn from a replay buffer take it. Process 0 alone writes to `run_dir`,
    which the others read when a run goes on.

    An iteration that is not finite is tried again up to `retries` times in a row, with other seeds and half the learning rates
    each time; then, or at once with 0, `train` raises. A run that is resumed, or trained again, after that does the same.

    Raises FileExistsError if `run_dir` holds a run and `resume` is False, FileNotFoundError if it holds none
    and `resume` is True, CheckpointMismatch if it is another run or cannot be branched like this, ValueError if `env` breaks
    the protocol or a setting does not fit it.
    """

    def __init__(
        self,
        env: Environment | FixedHorizonEnvironment,
        config: AlgorithmConfig,
        *,
        run_dir: Path | str | None = None,
        identity: dict[str, str] | None = None,
        resume: bool = False,
        branch: Branch | None = None,
        checkpoint_interval: int = 10,
        checkpoint_seconds: float = 60.0,
        evaluation_interval: int | None = None,
        retries: int = 0,
        ranks: Ranks | None = None,
    ) -> None:
        if not isinstance(config, AlgorithmConfig):
            raise SettingError(f"config was given {config!r}; allowed are the settings of an algorithm, as rpg.RPGConfig()")
        run_dir = None if run_dir is None else checked_path("run_dir", run_dir)
        if run_dir is not None and run_dir.exists() and not run_dir.is_dir():
            raise FileExistsError(f"run_dir was given '{run_dir}', which is a file; allowed are folders, new or there")
        if identity is not None and not _is_plain(identity):
            raise ValueError(f"identity was given {identity!r}; allowed are words by name")
        check_bool("resume", resume)
        if branch is not None and not isinstance(branch, Branch):
            raise ValueError(f"branch was given {branch!r}; allowed is an rpg.Branch")
        if resume and (run_dir is None or branch is not None):
            raise ValueError("resume was given True without a run_dir or with a branch; allowed with a run_dir only")
        writes = ranks is None or ranks.leads
        if run_dir is not None and writes and not resume and (run_dir / CHECKPOINT_NAME).exists():
            raise FileExistsError(f"{run_dir} already holds a run; give resume=True or another run_dir")
        check_int("checkpoint_interval", checkpoint_interval, at_least=1)
        check_positive("checkpoint_seconds", checkpoint_seconds)
        check_int("retries", retries, at_least=0)
        if evaluation_interval is not None:
            check_int("evaluation_interval", evaluation_interval, at_least=1)
        self.ranks = ranks
        env = shared_episodes(env, ranks, cheap=isinstance(config, StreamingConfig))
        self.env, self.config, self.run_dir = whole_episodes(env), config, run_dir if writes else None
        self.identity = dict(identity or {})
        self.checkpoint_interval, self.checkpoint_seconds = checkpoint_interval, checkpoint_seconds
        self.retries = retries
        self.lock = None if self.run_dir is None else RunLock(self.run_dir)
        """Held while the run trains; whoever writes to the folder afterwards may hold it longer."""
        like = check_environment(env)
        self.algorithm = build_algorithm(env, config, like)
        self.algorithm.ranks = ranks
        if branch is None:
            self._attach(run_dir if resume else None)
        self.history: list[IterationMetrics] = []
        self._shape = EnvironmentShape.of(self.env, like)
        self._last_whole = Checkpoint(
            iteration=0,
            seconds=0.0,
            config=config.to_dict(),
            identity=self.identity,
            environment=self._shape.to_dict(),
            state=self.algorithm.state(),
            record=RunRecord(schedule_iterations=config.iterations, evaluation_interval=evaluation_interval),
        )
        self._best: Checkpoint | None = None  # where it has not been written yet
        self._is_new_branch = branch is not None  # of which nothing has been written yet
        self._attempts_before = 0  # at the iteration at hand, by earlier calls of `train`
        self._saved_at, self._file = time.monotonic(), self._file_signature()
        if resume and run_dir is not None:
            self._continue(run_dir)
        elif branch is not None:
            self._begin_branch(branch)
        if evaluation_interval is not None:
            record = replace(self.record, evaluation_interval=evaluation_interval)
            self._last_whole = replace(self._last_whole, record=record)

    @property
    def iteration(self) -> int:
        """Number of completed iterations."""
        return self._last_whole.iteration

    @property
    def record(self) -> RunRecord:
        """What happened to the run so far."""
        return self._last_whole.record

    def train(self, on_iteration: Callable[[IterationMetrics], bool | None] | None = None) -> TrainingResult:
        """Run the remaining iterations, calling `on_iteration` after each, then evaluate. The callback ends the run early by
        returning True or raising StopTraining; the run can be resumed.

        Ctrl-C saves a checkpoint of the last complete iteration and returns. SIGTERM does the same and raises Terminated. A
        loss or a gradient that is not finite saves the same checkpoint and raises NotFiniteError, and so does a
        FloatingPointError of the environment. Raises RunLockedError if another process is writing to `run_dir`.
        """
        if on_iteration is not None:
            check_function("on_iteration", on_iteration)
        with self.lock or nullcontext(), terminable():
            self._check_file()
            interrupted, stopped = self._iterate(on_iteration)
            evaluations = [] if interrupted else self.evaluate()
            modes = self.modes(evaluations) if evaluations else []
        return TrainingResult(tuple(self.history), tuple(modes), tuple(evaluations), interrupted, stopped)

    def evaluate(self, seed: int = EVALUATION_SEED) -> list[LatentEvaluation]:
        """The noiseless episodes of every candidate (usually a latent), all from the first states of `seed`."""
        latents, probs = self.algorithm.candidates()
        return evaluate_latents(self.env, self.algorithm.policy, latents, probs, seed=seed)

    def modes(self, evaluations: list[LatentEvaluation] | None = None) -> list[Mode]:
        """The distinct solutions so far, from `evaluations` or from a new `evaluate()`."""
        return distinct_modes(
            evaluations or self.evaluate(),
            outcome_names=getattr(self.env, "outcome_names", ()),
            outcome_radius=getattr(self.env, "outcome_radius", None),
        )

    def policy(self) -> TrainedPolicy:
        """A copy of the policy so far, as `rpg.load_policy` gives it."""
        return policy_of(self._last_whole, self.algorithm.like.device)

    # Whole iterations, and what is kept of them -------------------------------------------------------------

    def _iterate(self, on_iteration: Callable[[IterationMetrics], bool | None] | None) -> tuple[bool, bool]:
        """The remaining iterations; whether they were interrupted, and whether the callback ended them."""
        writer, self._attempts_before = self._writer(), self.record.attempt
        interrupted = stopped = False
        try:
            if self._is_new_branch:
                self._is_new_branch = False
                self._save()
            while self.iteration < self.config.iterations and not stopped:
                if self.ranks is not None:
                    self.ranks.follow(self.algorithm.tensors())
                if self._complete_iteration(writer):
                    stopped = self._called(on_iteration)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            with shielded():
                if self.ranks is None:  # which would have to restore an environment's state together
                    self._restore(self._last_whole)
                try:
                    self._save()
                finally:
                    if writer is not None:
                        writer.close()
        return interrupted, stopped

    def _called(self, on_iteration: Callable[[IterationMetrics], bool | None] | None) -> bool:
        """Whether the callback ends the run, in this process or another."""
        try:
            stopped = on_iteration is not None and on_iteration(self.history[-1]) is True
        except StopTraining:
            stopped = True
        return stopped if self.ranks is None else self.ranks.any(stopped)

    def _complete_iteration(self, writer: MetricsWriter | None) -> bool:
        """One iteration; an interruption before its end undoes it, and so does a failure that may be tried again (False)."""
        began, before, record = time.perf_counter(), self._last_whole, self.record
        try:
            report = self.algorithm.iterate(self.iteration)
        except FloatingPointError as error:
            self._restore(failed(before, error, time.perf_counter() - began))
            if self.record.attempt - self._attempts_before > self.retries:
                raise
            warnings.warn(self.record.events[-1][1], RuntimeWarning, stacklevel=4)
            return False
        evaluation: dict[str, float] = {}
        if record.evaluation_interval is not None and (self.iteration + 1) % record.evaluation_interval == 0:
            evaluation, steps = self._held_out()
            record = replace(record, evaluation_steps=record.evaluation_steps + steps)
        so_far, backward = (self.history[-1].simulator_steps, self.history[-1].backward_steps) if self.history else (0, 0)
        metrics = IterationMetrics(
            **vars(
                replace(
                    report,
                    simulator_steps=so_far + report.simulator_steps,
                    backward_steps=backward + report.backward_steps,
                )
            ),
            iteration=self.iteration,
            seconds=before.seconds + time.perf_counter() - began,
            evaluation=evaluation,
            evaluation_steps=record.evaluation_steps,
            step_scale=record.step_scale,
            events=tuple(text for iteration, text in record.events if iteration == self.iteration),
        )
        record, is_best = self._scored(record, metrics)
        self._attempts_before = 0
        record = replace(record, attempt=0, step_scale=min(1.0, record.step_scale * RECOVERY))
        self.algorithm.step_scale = record.step_scale
        self.algorithm.try_differently(self.iteration + 1, 0)
        whole = replace(
            before, iteration=self.iteration + 1, seconds=metrics.seconds, state=self.algorithm.state(), record=record
        )
        with shielded():
            if writer is not None:
                writer.write(metrics)
            self.history.append(metrics)
            self._last_whole = whole
            if is_best:
                self._best = whole
            due = self.iteration % self.checkpoint_interval == 0 or self._file is None
            if due or time.monotonic() - self._saved_at >= self.checkpoint_seconds:
                self._save()
        return True

    def _held_out(self) -> tuple[dict[str, float], int]:
        """An evaluation on first states that training does not use, in numbers, and the environment steps it took."""
        evaluations = self.evaluate(HELD_OUT_SEED)
        chosen = chosen_latent(evaluations)
        numbers = {
            "return": chosen.episode_return,
            "return_best": max(e.episode_return for e in evaluations),
            "success": chosen.success,
            "expected_success": expected_success(evaluations),
            "modes": len([mode for mode in self.modes(evaluations) if mode.success >= 0.5]),
        }
        return numbers, evaluation_steps(self.env, evaluations)

    def _scored(self, record: RunRecord, metrics: IterationMetrics) -> tuple[RunRecord, bool]:
        """`record` with the score after this iteration, and whether that is the best so far."""
        old, new = record.running_return, metrics.return_mean
        record = replace(record, running_return=new if old is None else old + RUNNING_RATE * (new - old))
        by, score = "running return", record.running_return
        if record.evaluation_interval is not None:
            by, score = "evaluation", metrics.evaluation.get("return")
        first = record.best_score is None or record.best_by != by
        if score is None or not math.isfinite(score) or not (first or score > (record.best_score or 0.0)):
            return record, False
        return replace(record, best_score=score, best_iteration=self.iteration + 1, best_by=by), True

    # The run's folder ---------------------------------------------------------------------------------------

    def _attach(self, source: Path | None) -> None:
        """Let the algorithm keep large things in the run's folder, beginning with those of the run in `source`, if any. Of
        several processes, those that do not write the run have a copy of their own."""
        if self.run_dir is not None:
            self.algorithm.attach(self.run_dir, source=None if source == self.run_dir else source)
        elif self.ranks is not None and source is not None:
            self._scratch = TemporaryDirectory(prefix="diffsim-rpg-")
            self.algorithm.attach(Path(self._scratch.name), source=source)

    def _continue(self, run_dir: Path) -> None:
        checkpoint = load_checkpoint(run_dir / CHECKPOINT_NAME)
        checkpoint.check_matches(config=self.config.to_dict(), identity=self.identity)
        self.history = read_metrics(run_dir)
        if checkpoint.record.attempt > 0:
            warnings.warn(checkpoint.record.events[-1][1], RuntimeWarning, stacklevel=3)
        self._restore(extended(checkpoint, self.config))

    def _begin_branch(self, branch: Branch) -> None:
        file = checkpoint_path(branch.source)
        checkpoint = load_checkpoint(file)
        environment = self._shape.to_dict()
        self.history = read_metrics(file.parent)
        if len(self.history) < checkpoint.iteration:
            found = f"{len(self.history)} iterations; expected the checkpoint's {checkpoint.iteration}"
            raise CheckpointMismatch(f"{file.parent / METRICS_NAME} holds {found}")
        first = branched(checkpoint, self.algorithm, branch, identity=self.identity, environment=environment)
        try:
            self._attach(file.parent)
            self._restore(first)
        except (KeyError, RuntimeError, ValueError) as error:  # what else depends on the settings, such as a replay buffer
            reason = f"{' '.join(str(error).split())} ({first.record.events[-1][1]})"
            raise CheckpointMismatch(f"'{branch.source}' cannot be branched with these settings: {reason}") from error

    def _restore(self, checkpoint: Checkpoint) -> None:
        apply_checkpoint(self.algorithm, checkpoint)
        self.history = self.history[: checkpoint.iteration]
        self._last_whole = checkpoint

    def _writer(self) -> MetricsWriter | None:
        if self.run_dir is None:
            return None
        return MetricsWriter(self.run_dir, self.history, first_iteration=self.iteration, copied=self._is_new_branch)

    def _save(self) -> None:
        if self.run_dir is None or self.iteration == 0:
            return
        self.algorithm.flush()
        if self._best is not None:
            save_checkpoint(self.run_dir / BEST_NAME, self._best)
            self._best = None
        save_checkpoint(self.run_dir / CHECKPOINT_NAME, self._last_whole)
        self._saved_at, self._file = time.monotonic(), self._file_signature()

    def _file_signature(self) -> tuple[int, ...] | None:
        """What changes whenever the checkpoint is written; None if there is none."""
        try:
            found = (self.run_dir / CHECKPOINT_NAME).stat() if self.run_dir is not None else None
        except FileNotFoundError:
            return None
        return None if found is None else (found.st_ino, found.st_mtime_ns, found.st_size)

    def _check_file(self) -> None:
        if self._file_signature() != self._file:
            raise FileExistsError(f"{self.run_dir} was written by another process since this trainer was made; resume it anew")
