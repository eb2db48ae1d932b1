"""The metrics of each iteration, and the files they are written to: JSON lines and TensorBoard."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

METRICS_NAME = "metrics.jsonl"


@dataclass(frozen=True)
class IterationReport:
    """An algorithm's report of one iteration, measured on its batch before the update.

    A quantity that an algorithm does not have is 0.
    """

    return_mean: float
    """Mean over the batch of the sum of rewards."""
    return_best: float
    """The same for the best of the latents, starts or candidates in the batch."""
    success: float
    """Fraction of the batch that succeeded."""
    distinct_outcomes: int
    """Number of distinct outcome labels among the successful episodes."""
    simulator_steps: int
    """Environment steps: of this iteration in a report, of the run so far in its metrics."""
    objective: float = 0.0
    """Mean of the objective, such as the weighted bound."""
    action_entropy: float = 0.0
    """Entropy of the actions after squashing, nats per step."""
    latent_entropy: float = 0.0
    """Entropy of pi(z), nats."""
    grad_norm: float = 0.0
    """Norm of the policy's gradient before clipping."""
    gradient_snr: float = 0.0
    """Signal-to-noise ratio of the batch's mean action gradient (`rpg.training.gradient_estimators.signal_to_noise`)."""
    latent_probs: tuple[float, ...] = ()
    """Probability of each latent, start or component, (K,)."""
    terms: dict[str, float] = field(default_factory=dict)
    """Further values by name, such as losses and schedules."""


@dataclass(frozen=True)
class IterationMetrics(IterationReport):
    """One line of a run's metrics."""

    iteration: int = 0
    """Counted from 0."""
    seconds: float = 0.0
    """Wall time of the run so far, resumed parts included."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "IterationMetrics":
        """The inverse of `to_dict`."""
        return cls(**{**values, "latent_probs": tuple(values["latent_probs"])})


def read_metrics(run_dir: Path) -> list[IterationMetrics]:
    """The metrics of a run, up to the first incomplete line; none if there is no file."""
    path = run_dir / METRICS_NAME
    rows: list[IterationMetrics] = []
    if not path.exists():
        return rows
    for line in path.read_text().splitlines():
        try:
            rows.append(IterationMetrics.from_dict(json.loads(line)))
        except (json.JSONDecodeError, KeyError, TypeError):
            break
    return rows


class MetricsWriter:
    """Appends one JSON line per iteration, flushed at once, and the same scalars to TensorBoard.

    Opening it for iteration n keeps the lines of the iterations 0..n-1 and removes later ones. Raises ValueError if some of
    those are missing.
    """

    def __init__(self, run_dir: Path, *, first_iteration: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter  # takes a second: not at import

        self.kept = [row for row in read_metrics(run_dir) if row.iteration < first_iteration]
        if [row.iteration for row in self.kept] != list(range(first_iteration)):
            path, found = run_dir / METRICS_NAME, len(self.kept)
            raise ValueError(f"{path} holds {found} iterations; expected the checkpoint's {first_iteration}")
        run_dir.mkdir(parents=True, exist_ok=True)
        path, partial = run_dir / METRICS_NAME, run_dir / (METRICS_NAME + ".tmp")
        partial.write_text("".join(_json_line(row) for row in self.kept))
        os.replace(partial, path)
        self._file = path.open("a")
        self._board = SummaryWriter(str(run_dir / "tensorboard"), purge_step=first_iteration)

    def write(self, metrics: IterationMetrics) -> None:
        """Append one iteration."""
        self._file.write(_json_line(metrics))
        self._file.flush()
        values = metrics.to_dict()
        for name, value in {**values, **values["terms"]}.items():
            if isinstance(value, int | float) and name != "iteration":
                self._board.add_scalar(name, value, metrics.iteration)

    def close(self) -> None:
        """Flush and close both files."""
        self._file.close()
        self._board.close()


def _json_line(metrics: IterationMetrics) -> str:
    return json.dumps(metrics.to_dict()) + "\n"
