"""The metrics of each iteration, and the files they are written to: JSON lines and TensorBoard."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rpg.training.whole_files import whole_file

METRICS_NAME, TENSORBOARD = "metrics.jsonl", "tensorboard"


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
    """Wall time of the run so far, resumed parts and evaluations included."""
    evaluation: dict[str, float] = field(default_factory=dict)
    """Of an evaluation after this iteration, on first states held out from training: "return" (of the most probable latent),
    "return_best", "success" and "expected_success" (where the environment has a notion of success), "modes" (their number)."""
    evaluation_steps: int = 0
    """Environment steps of the run's evaluations so far, which `simulator_steps` does not count."""
    step_scale: float = 1.0
    """Factor on all learning rates: below 1 after an iteration that was not finite."""
    events: tuple[str, ...] = ()
    """What happened to the run just before this iteration, a line each: extended, branched, or tried again."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "IterationMetrics":
        """The inverse of `to_dict`."""
        return cls(**{**values, "latent_probs": tuple(values["latent_probs"]), "events": tuple(values["events"])})


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

    Opening it writes `kept`, the metrics of the iterations before `first_iteration`, in place of what the file holds. With
    `copied` they are another run's, and TensorBoard gets them too. Raises ValueError if some of them are missing.
    """

    def __init__(
        self, run_dir: Path, kept: Sequence[IterationMetrics] = (), *, first_iteration: int = 0, copied: bool = False
    ) -> None:
        from torch.utils.tensorboard import SummaryWriter  # takes a second: not at import

        path = run_dir / METRICS_NAME
        if [row.iteration for row in kept] != list(range(first_iteration)):
            raise ValueError(f"{path} holds {len(kept)} iterations; expected the checkpoint's {first_iteration}")
        with whole_file(path) as partial:
            partial.write_text("".join(_json_line(row) for row in kept))
        self._path, self._file = path, path.open("a")
        self._board = SummaryWriter(str(run_dir / TENSORBOARD), purge_step=first_iteration)
        for row in kept if copied else ():
            self._draw(row)

    def write(self, metrics: IterationMetrics) -> None:
        """Append one iteration. Raises OSError, which names the file, if it cannot be written."""
        try:
            self._file.write(_json_line(metrics))
            self._file.flush()
            self._draw(metrics)
        except OSError as error:
            raise type(error)(error.errno, error.strerror or str(error), str(self._path)) from error

    def close(self) -> None:
        """Close both files. What could not be written has been reported by `write`."""
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self._board.close()

    def _draw(self, metrics: IterationMetrics) -> None:
        values = metrics.to_dict()
        evaluation = {f"evaluation/{name}": value for name, value in metrics.evaluation.items()}
        for name, value in {**values, **values["terms"], **evaluation}.items():
            if isinstance(value, int | float) and name != "iteration":
                self._board.add_scalar(name, value, metrics.iteration)
        for text in metrics.events:
            self._board.add_text("events", text, metrics.iteration)


def _json_line(metrics: IterationMetrics) -> str:
    return json.dumps(metrics.to_dict()) + "\n"
