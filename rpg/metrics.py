"""What a run reports of every iteration, and the files it reports into: JSONL, and TensorBoard beside."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

METRICS_NAME = "metrics.jsonl"


@dataclass(frozen=True)
class IterationMetrics:
    """One iteration, measured on its batch before the parameters changed."""

    iteration: int
    """Counted from 0."""
    return_mean: float
    """Mean over the batch of the sum of rewards."""
    return_best_latent: float
    """The same for the best of the latents in the batch."""
    success: float
    """Fraction of the batch that succeeded."""
    distinct_outcomes: int
    """Number of distinct outcome labels among the successful episodes."""
    bound: float
    """Mean of the weighted sum of the terms below."""
    reward_term: float
    posterior_term: float
    action_entropy_term: float
    latent_entropy_term: float
    latent_entropy: float
    """Entropy of pi(z), nats."""
    latent_probs: tuple[float, ...]
    """pi(z), (K,)."""
    posterior_loss: float
    """Cross entropy of the posterior, nats; 0 without one."""
    grad_norm: float
    """Norm of the policy's gradient before clipping."""
    latent_grad_norm: float
    """Norm of the latent logits' gradient before clipping."""
    std: float
    beta: float
    alpha: float
    alpha_z: float
    simulator_steps: int
    """Environment steps so far, B*T an iteration."""
    seconds: float
    """Wall time of the run so far, over all its resumptions."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "IterationMetrics":
        """The inverse of `to_dict`."""
        return cls(**{**values, "latent_probs": tuple(values["latent_probs"])})


def read_metrics(run_dir: Path) -> list[IterationMetrics]:
    """The whole lines of a run's metrics, up to the first that is cut short. No file counts as no lines."""
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
    """Appends one JSON line an iteration, flushed at once, and the same scalars to TensorBoard.

    Opening it for iteration n keeps the lines of the iterations 0..n-1 and drops what a lost continuation
    wrote past them. Raises ValueError if some of those are missing.
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
        for name, value in metrics.to_dict().items():
            if isinstance(value, int | float) and name != "iteration":
                self._board.add_scalar(name, value, metrics.iteration)

    def close(self) -> None:
        """Flush and close both files."""
        self._file.close()
        self._board.close()


def _json_line(metrics: IterationMetrics) -> str:
    return json.dumps(metrics.to_dict()) + "\n"
