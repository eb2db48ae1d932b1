"""Several runs: compared, and swept over seeds and settings."""

import json
import signal
import sys
import time

import pytest

from rpg import RunLock, RunLockedError, Trainer
from rpg.runs.comparison import grouped_runs, run_folders
from rpg.settings_checks import SettingError
from tests.cli.command_line import SMALL, WALL, assert_refused, json_line, optimize, process, result_of, run

SHORT = (*SMALL, "--iterations", 2)


def test_runs_are_grouped_by_what_they_share(tmp_path, capsys):
    for seed in (0, 1):
        for beta in (0.3, 0.1):
            out = tmp_path / "runs" / f"b{beta}-s{seed}"
            assert optimize(WALL, *SHORT, "--seed", seed, "--beta", beta, "--quiet", "--out", out) == 0
    other = ("--algo", "cem", "--num-envs", 4, "--iterations", 2, "--quiet", "--out", tmp_path / "runs" / "cem")
    assert optimize(WALL, *other) == 0
    plot = tmp_path / "plots" / "compare.png"
    assert run("compare", tmp_path / "runs", "--metric", "return_best", "--out", plot, "--json") == 0
    captured = capsys.readouterr().out
    assert plot.read_bytes().startswith(b"\x89PNG")
    groups = {group["label"]: group for group in json.loads(captured.strip().splitlines()[-1])["groups"]}
    expected = {"rpg beta=0.3:0:0.3:0.8": 2, "rpg beta=0.1:0:0.3:0.8": 2, "cem": 1}
    assert {label: group["runs"] for label, group in groups.items()} == expected
    folders = [tmp_path / "runs" / f"b0.3-s{seed}" for seed in (0, 1)]
    (group,) = grouped_runs(folders)
    returns = [result_of(folder)["return"] for folder in folders]
    assert group.row()["return"] == pytest.approx(sum(returns) / 2)
    assert group.row()["return_std"] == pytest.approx(abs(returns[0] - returns[1]) / 2)
    steps, values = group.curve("return_mean")
    assert (steps[0], steps[-1]) == (12, 24)
    assert values[:, 0].tolist() == [own.metrics[0].return_mean for own in group.runs]
    assert values[:, -1].tolist() == [own.metrics[1].return_mean for own in group.runs]
    with pytest.raises(SettingError, match="metric was given 'magic'; allowed are return_mean"):
        group.curve("magic")
    assert len(run_folders([tmp_path / "runs", folders[0]])) == 5
    assert_refused(capsys, run("compare", tmp_path / "plots"), "holds no run")


@pytest.mark.slow
def test_a_sweep_runs_everything_once_and_goes_on(tmp_path, capsys):
    out = tmp_path / "sweep"
    arguments = ("sweep", WALL, *SMALL[:2], "--seeds", 1, "--vary", "num-latents", 1, 2, "--out", out, "--jobs", 2)
    assert run(*arguments, "--iterations", 1, "--json") == 0
    printed = json_line(capsys)
    assert (printed["runs"], printed["failed"]) == (2, {})
    names = [f"num-latents={latents}/seed1" for latents in (1, 2)]
    rows = json.loads((out / "sweep.json").read_text())
    assert [row["name"] for row in rows["runs"]] == names
    assert {row["label"]: row["runs"] for row in printed["groups"]} == {"num_latents=1": 1, "num_latents=2": 1}
    assert (out / "compare.png").read_bytes().startswith(b"\x89PNG")
    alone = tmp_path / "alone"
    assert optimize(WALL, *SMALL, "--seed", 1, "--iterations", 1, "--quiet", "--out", alone) == 0
    assert result_of(out / names[1])["modes"] == result_of(alone)["modes"]

    when = (out / names[0] / "checkpoint.pt").stat().st_mtime_ns
    assert run(*arguments, "--iterations", 1) == 0  # nothing is left
    assert "2 runs, 0 left" in capsys.readouterr().out
    assert (out / names[0] / "checkpoint.pt").stat().st_mtime_ns == when
    assert run(*arguments, "--iterations", 2, "--quiet") == 0  # all are extended
    assert {result_of(out / name)["iterations"] for name in names} == {2}
    assert_refused(capsys, run(*arguments, "--iterations", 2, "--beta", 0.1, "--quiet"), "has beta", "choose another --out")


@pytest.mark.slow
def test_a_run_of_a_sweep_that_fails_is_named(tmp_path, capsys):
    trap = WALL.replace(":Wall", ":WallWithTrap")  # of seed 0
    options = (*SMALL, "--iterations", 4, "--seeds", 0, 1, "--out", tmp_path / "sweep")
    assert run("sweep", trap, *options, "--json") == 1
    printed = json_line(capsys)
    assert list(printed["failed"]) == ["seed0"]
    assert "optimisation failed: iteration 2" in printed["failed"]["seed0"]
    assert result_of(tmp_path / "sweep" / "seed1")["status"] == "done"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--vary", "num-latents"), ("--vary", "num-latents", "its values")),
        (("--vary", "seed", "1", "2"), ("--vary", "seed", "--seeds")),
        (("--vary", "beta", "1", "--vary", "beta", "2"), ("beta", "twice")),
        (("--seeds", "1", "1"), ("--seeds", "different")),
        (("--seed", "1"), ("--seed", "a sweep sets it")),
        (("--resume",), ("--resume", "a sweep sets it")),
        (("--asha", "3"), ("--asha was given 3 without --ray",)),
        (("--retries", "-1"), ("--retries was given -1",)),
        (("--jobs", "0"), ("--jobs", "0", ">= 1")),
        (("--vary", "num-latents", "1", "0"), ("num_latents", "0", ">= 1")),
    ],
)
def test_mistakes_of_a_sweep_are_one_line_before_anything_runs(tmp_path, capsys, monkeypatch, arguments, words):
    monkeypatch.setattr(Trainer, "__init__", None)
    assert_refused(capsys, run("sweep", WALL, *arguments, "--quiet", "--out", tmp_path / "sweep"), *words)
    assert not (tmp_path / "sweep").exists()


@pytest.mark.slow
def test_a_sweep_that_is_interrupted_saves_its_runs(tmp_path):
    out = tmp_path / "sweep"
    options = ("--iterations", 100_000, "--policy", "table", "--seeds", 0, 1, 2, "--jobs", 2, "--out", out)
    running = process("sweep", WALL, *SMALL, *options)
    until = time.monotonic() + 120
    files = [out / f"seed{seed}" / "checkpoint.pt" for seed in (0, 1)]
    while running.poll() is None and time.monotonic() < until and not all(file.exists() for file in files):
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    printed, errors = running.communicate(timeout=120)
    assert (running.returncode, errors) == (130, "interrupted\n")
    assert "the same command goes on" in printed
    assert [result_of(file.parent)["status"] for file in files] == ["terminated"] * 2
    assert not (out / "seed2").exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="processes end with their parent on Linux")
def test_a_sweep_that_is_killed_takes_its_runs_along_and_goes_on(tmp_path):
    out = tmp_path / "sweep"
    options = ("--iterations", 200, "--seeds", 0, 1, "--out", out, "--jobs", 2, "--checkpoint-every", 5, "--quiet")
    running = process("sweep", WALL, *SMALL, *options)
    folders = [out / f"seed{seed}" for seed in (0, 1)]
    _until(lambda: all((folder / "checkpoint.pt").exists() for folder in folders))
    running.send_signal(signal.SIGKILL)
    running.wait(10)
    _until(lambda: all(_is_free(folder) for folder in folders))
    assert all(result_of(folder)["status"] == "terminated" for folder in folders)
    assert run("sweep", WALL, *SMALL, *options) == 0
    assert all(result_of(folder)["status"] == "done" for folder in folders)
    rows = json.loads((out / "sweep.json").read_text())
    assert (len(rows["runs"]), rows["failed"], rows["ended_early"]) == (2, {}, [])


def _is_free(folder):
    try:
        with RunLock(folder):
            return True
    except RunLockedError:
        return False


def _until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)
