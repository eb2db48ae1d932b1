"""The training loop around every algorithm: iterations, metrics, checkpoints, interruption and resumption."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from rpg.algorithms import build_algorithm
from rpg.algorithms.algorithm import AlgorithmConfig
from rpg.environments.whole_episodes import whole_episodes
from rpg.protocol import Environment, FixedHorizonEnvironment, check_environment
from rpg.training.checkpoint import CHECKPOINT_NAME, Checkpoint, load_checkpoint, save_checkpoint
from rpg.training.evaluation import LatentEvaluation, evaluate_latents
from rpg.training.metrics import IterationMetrics, MetricsWriter, read_metrics
from rpg.training.modes import Mode, distinct_modes


@dataclass(frozen=True)
class TrainingResult:
    """The result of `Trainer.train`."""

    history: tuple[IterationMetrics, ...]
    """One record per iteration, including those before a resumption."""
    modes: tuple[Mode, ...]
    """The distinct solutions, best first; empty if interrupted."""
    interrupted: bool
    """Whether Ctrl-C ended it early; the checkpoint then holds the last complete iteration."""


class Trainer:
    """Trains one environment with the algorithm of `config`.

    `run_dir` receives metrics.jsonl, tensorboard/ and checkpoint.pt (every `checkpoint_interval` iterations and at the end);
    None keeps everything in memory. `identity` names what is optimised (the task, its version) and must equal a checkpoint's.
    With `resume` the run in `run_dir` continues, bit-identical to one without a break if the environment is deterministic.

    Raises FileExistsError if `run_dir` holds a run and `resume` is False, FileNotFoundError if it holds none
    and `resume` is True, CheckpointMismatch if it is another run, ValueError if `env` breaks the protocol or a setting does not
    fit it.
    """

    def __init__(
        self,
        env: Environment | FixedHorizonEnvironment,
        config: AlgorithmConfig,
        *,
        run_dir: Path | None = None,
        identity: dict[str, str] | None = None,
        resume: bool = False,
        checkpoint_interval: int = 10,
    ) -> None:
        if resume and run_dir is None:
            raise ValueError("resume was given True with run_dir None; allowed with a run_dir only")
        if run_dir is not None and not resume and (run_dir / CHECKPOINT_NAME).exists():
            raise FileExistsError(f"{run_dir} already holds a run; give resume=True or another run_dir")
        self.env, self.config, self.run_dir = whole_episodes(env), config, run_dir
        self.identity = dict(identity or {})
        self.checkpoint_interval = checkpoint_interval
        self.algorithm = build_algorithm(env, config, check_environment(env))
        if run_dir is not None:
            self.algorithm.attach(run_dir)
        self._config_dict = config.to_dict()
        self.iteration = 0
        self.history: list[IterationMetrics] = []
        self._seconds = 0.0
        self._last_whole = self._snapshot()
        if resume and run_dir is not None:
            checkpoint = load_checkpoint(run_dir / CHECKPOINT_NAME)
            checkpoint.check_matches(config=config.to_dict(), identity=self.identity)
            self._restore(checkpoint)
            self.history = read_metrics(run_dir)[: self.iteration]

    def train(self, on_iteration: Callable[[IterationMetrics], None] | None = None) -> TrainingResult:
        """Run the remaining iterations, calling `on_iteration` after each, then evaluate.

        Ctrl-C saves a checkpoint of the last complete iteration and returns. A loss or a gradient that is not finite saves
        the same checkpoint and raises NotFiniteError.
        """
        writer = None if self.run_dir is None else MetricsWriter(self.run_dir, first_iteration=self.iteration)
        if writer is not None:
            self.history = list(writer.kept)
        interrupted = False
        try:
            while self.iteration < self.config.iterations:
                self._complete_iteration(writer)
                if on_iteration is not None:
                    on_iteration(self.history[-1])
        except KeyboardInterrupt:
            interrupted = True
        finally:
            self._restore(self._last_whole)
            self._save()
            if writer is not None:
                writer.close()
        modes = () if interrupted else tuple(self.modes())
        return TrainingResult(history=tuple(self.history), modes=modes, interrupted=interrupted)

    def evaluate(self) -> list[LatentEvaluation]:
        """The noiseless episodes of every candidate (usually a latent)."""
        latents, probs = self.algorithm.candidates()
        return evaluate_latents(self.env, self.algorithm.policy, latents, probs)

    def modes(self, evaluations: list[LatentEvaluation] | None = None) -> list[Mode]:
        """The distinct solutions so far, from `evaluations` or from a new `evaluate()`."""
        return distinct_modes(
            evaluations or self.evaluate(),
            outcome_names=getattr(self.env, "outcome_names", ()),
            outcome_radius=getattr(self.env, "outcome_radius", None),
        )

    # Whole iterations, and what is kept of them -------------------------------------------------------------

    def _complete_iteration(self, writer: MetricsWriter | None) -> None:
        """One iteration; an interruption before its end undoes it."""
        began = time.perf_counter()
        report = self.algorithm.iterate(self.iteration)
        before = self.history[-1].simulator_steps if self.history else 0
        metrics = IterationMetrics(
            **vars(replace(report, simulator_steps=before + report.simulator_steps)),
            iteration=self.iteration,
            seconds=self._seconds + time.perf_counter() - began,
        )
        if writer is not None:
            writer.write(metrics)
        self.history.append(metrics)
        self._seconds = metrics.seconds
        self.iteration += 1
        self._last_whole = self._snapshot()
        if self.iteration % self.checkpoint_interval == 0:
            self._save()

    def _snapshot(self) -> Checkpoint:
        return Checkpoint(
            iteration=self.iteration,
            seconds=self._seconds,
            config=self._config_dict,
            identity=self.identity,
            state=self.algorithm.state(),
        )

    def _restore(self, checkpoint: Checkpoint) -> None:
        self.algorithm.restore(checkpoint.state)
        self.iteration, self._seconds = checkpoint.iteration, checkpoint.seconds
        self.history = self.history[: self.iteration]
        self._last_whole = checkpoint

    def _save(self) -> None:
        if self.run_dir is not None and self._last_whole.iteration > 0:
            self.algorithm.flush()
            save_checkpoint(self.run_dir / CHECKPOINT_NAME, self._last_whole)
