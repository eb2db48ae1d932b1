"""Live progress of a run: a bar on a terminal, occasional lines elsewhere."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from rpg.training.metrics import IterationMetrics

LINES_OF_A_RUN = 15  # lines printed per run without a terminal


class TrainingProgress:
    """Context manager; call ``update`` after each iteration."""

    def __init__(self, console: Console, *, iterations: int, done: int):
        self._console = console
        self._iterations = iterations
        self._progress = Progress(
            TextColumn("iteration"),
            MofNCompleteColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
        )
        self._bar = self._progress.add_task("", total=iterations, completed=done, status="first iteration ...")

    def __enter__(self) -> TrainingProgress:
        if self._console.is_terminal:
            self._progress.start()
        else:
            self._console.print("first iteration (a simulator may compile its kernels, once) ...")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._progress.stop()

    def update(self, metrics: IterationMetrics) -> None:
        done = metrics.iteration + 1
        status = (
            f"return {metrics.return_mean:6.2f}  success {metrics.success:4.0%}  distinct outcomes {metrics.distinct_outcomes}"
        )
        self._progress.update(self._bar, completed=done, status=status)
        interval = max(1, self._iterations // LINES_OF_A_RUN)
        if not self._console.is_terminal and (done % interval == 0 or done == self._iterations):
            left = metrics.seconds / done * (self._iterations - done)
            self._console.print(f"iteration {done}/{self._iterations}  {status}  left {left:.0f} s")
