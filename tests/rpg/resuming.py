"""Runs that are broken off and go on, beside ones that were not."""

from collections.abc import Callable
from dataclasses import replace

from rpg import Trainer, TrainingResult
from rpg.training.metrics import IterationMetrics


def whole_and_resumed(trainer: Callable[..., Trainer], *, stopped_after: int) -> tuple[Trainer, Trainer, TrainingResult]:
    """Two runs with the same history, which is asserted: a whole one, and one that was stopped after that iteration and went
    on, with its result. ``trainer(folder, resume=False)`` makes one in a folder, "whole" or "broken"."""

    def stop(metrics: IterationMetrics) -> None:
        if metrics.iteration == stopped_after:
            raise KeyboardInterrupt

    whole = trainer("whole")
    expected = whole.train()
    assert trainer("broken").train(stop).interrupted
    resumed = trainer("broken", resume=True)
    result = resumed.train()
    for a, b in zip(result.history, expected.history, strict=True):
        assert replace(a, seconds=0.0) == replace(b, seconds=0.0)
    return whole, resumed, result
