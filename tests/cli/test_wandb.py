"""Logging to Weights & Biases, with a module in its place that keeps what it is told."""

import sys
from types import SimpleNamespace

from rpg.training.metrics import read_metrics
from tests.cli.command_line import SMALL, WALL, optimize


class FakeRun:
    def __init__(self) -> None:
        self.rows: list[tuple[int, dict]] = []
        self.ended: list[int] = []

    def log(self, numbers, step):
        self.rows.append((step, numbers))

    def finish(self, exit_code):
        self.ended.append(exit_code)


def test_every_iteration_is_logged_and_a_resumed_run_goes_on(tmp_path, monkeypatch):
    run, out = FakeRun(), tmp_path / "run"
    calls: list[dict] = []

    def init(**given):
        calls.append(given)
        return run

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    options = ("--wandb", "walls", "--evaluate-every", 2, "--quiet", "--out", out)
    assert optimize(WALL, *SMALL, "--iterations", 2, "--beta", 0.2, *options) == 0
    assert optimize(WALL, "--iterations", 3, "--resume", *options) == 0
    assert [call["project"] for call in calls] == ["walls", "walls"]
    assert calls[0]["id"] == calls[1]["id"]
    assert calls[0]["resume"] == "allow"
    assert calls[0]["config"]["task"] == "Wall"
    assert calls[0]["config"]["beta"]["start"] == 0.2
    assert calls[0]["config"]["task_parameters"]["horizon"] == 3
    assert run.ended == [0, 0]
    rows = read_metrics(out)
    assert [step for step, _ in run.rows] == [0, 1, 2]
    assert [numbers["return_mean"] for _, numbers in run.rows] == [row.return_mean for row in rows]
    assert run.rows[1][1]["evaluation/return"] == rows[1].evaluation["return"]
    assert run.rows[0][1]["std"] == rows[0].terms["std"]
