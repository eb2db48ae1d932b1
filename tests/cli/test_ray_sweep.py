"""Sweeps on Ray: trials that fail and go on, early ends, results in run folders like any other."""

import json
import sys

import pytest

pytest.importorskip("ray")
from rpg.cli.ray_sweep import RunTrial, Trial
from rpg.training.metrics import read_metrics
from tests.cli.command_line import ROOT, SMALL, WALL, json_line, result_of, run

pytestmark = pytest.mark.slow


def reported(trial):
    """What a trial reports until it is done."""
    rows: list[dict] = []
    while not rows or not rows[-1]["done"]:
        rows.append(trial.train())
    return rows


def test_a_trial_whose_process_dies_goes_on_in_its_folder(tmp_path):
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "rpg.cli.main", "optimize", WALL, *map(str, SMALL), "--iterations", "60", "--no-video"]
    command += ["--out", str(folder), "--quiet", "--checkpoint-every", "1"]
    config = {"trial": Trial("one", str(folder), tuple(command), str(ROOT), 60)}
    first = RunTrial(config)
    assert 0 < first.train()["iteration"] < 60
    first._process.kill()
    with pytest.raises(RuntimeError, match="exit code -9"):
        reported(first)
    first.stop()
    done = len(read_metrics(folder))
    second = RunTrial(config)
    rows = reported(second)
    second.stop()
    assert rows[0]["iteration"] >= done
    assert (rows[-1]["iteration"], rows[-1]["failure"]) == (60, "")
    assert rows[-1]["return_mean"] == read_metrics(folder)[-1].return_mean
    assert result_of(folder)["status"] == "done"


@pytest.mark.long
def test_asha_ends_the_worse_runs_early_and_the_sweep_goes_on_without_them(tmp_path, capsys):
    out = tmp_path / "sweep"
    varied = ("--seeds", 0, 1, "--vary", "policy-learning-rate", "1e-6", "0.3", "--iterations", 120)
    arguments = ("sweep", WALL, *SMALL, *varied, "--out", out, "--ray", "local", "--jobs", 2, "--asha", 4, "--json")
    assert run(*arguments) == 0
    assert json_line(capsys)["failed"] == {}
    stored = json.loads((out / "sweep.json").read_text())
    assert len(stored["runs"]) + len(stored["ended_early"]) == 4
    assert stored["ended_early"]
    for name in stored["ended_early"]:
        assert 4 <= len(read_metrics(out / name)) < 120
        assert result_of(out / name)["status"] == "terminated"
    for row in stored["runs"]:
        assert result_of(out / row["name"])["status"] == "done"
        assert len(read_metrics(out / row["name"])) == 120

    assert run(*arguments) == 0
    assert "4 runs, 0 left" in capsys.readouterr().out
