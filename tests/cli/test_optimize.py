"""Training from the command line, on a task of the simulator small enough for a test."""

import json
import os
import subprocess
import sys
from pathlib import Path

import imageio.v3 as iio
import pytest
import torch

from rpg import open_run
from rpg.cli.progress import TrainingProgress
from rpg.training.metrics import read_metrics
from tasks import Task
from tests.cli.command_line import ROOT, assert_refused, optimize, run

pytestmark = pytest.mark.slow

TINY = '''
import torch
import diffsim as ds
from tasks import Task, register


@register("Tiny")
class Tiny(Task):
    """Push a block.

    Task: move it along x.
    Randomisation: none.
    Success: always.
    """

    horizon, dt, substeps = 4, 2e-3, 4
    outcome_names = ("only",)
    optimizer_settings = {"iterations": 3, "num_latents": 2}
    start = 0.3

    def scene(self):
        block = ds.SoftBody("block", ds.Box((0.06, 0.06, 0.06)), (self.start, 0.3, 0.061), particles=30)
        ball = ds.Tool("ball", ds.Sphere(0.05), (0.2, 0.3, 0.06), control=("x", "y"))
        return ds.Scene((block,), tools=(ball,), upper=(0.6, 0.6, 0.4), grid_spacing=0.05)

    def reward(self, step):
        return step.after.x[..., 0].mean(dim=1)

    def success(self, episode):
        return torch.ones(episode.num_envs, dtype=torch.bool)


@register("Outside")
class Outside(Tiny):
    """A block that does not fit.

    Task: none.
    Randomisation: none.
    Success: none.
    """

    start = 0.58


@register("Exploding")
class Exploding(Tiny):
    """A block under a time step far too long.

    Task: none.
    Randomisation: none.
    Success: none.
    """

    dt, substeps = 0.2, 20


@register("BadReward")
class BadReward(Tiny):
    """A reward without its batch axis.

    Task: none.
    Randomisation: none.
    Success: none.
    """

    def reward(self, step):
        return step.after.x.mean()
'''


@pytest.fixture
def tiny(tmp_path) -> str:
    path = tmp_path / "my_tasks.py"
    path.write_text(TINY)
    return str(path)


def test_two_processes_leave_the_same_run(tiny, tmp_path):
    """With a video, which shows episodes of both."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "rpg.cli.main"]
    command += ["optimize", f"{tiny}:Tiny", "--num-envs", "4", "--out", str(tmp_path / "two")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DIFFSIM_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("4 environments on 2 processes") == 1
    assert optimize(f"{tiny}:Tiny", "--num-envs", 4, "--out", tmp_path / "one") == 0
    for two, one in zip(read_metrics(tmp_path / "two"), read_metrics(tmp_path / "one"), strict=True):
        assert two.return_mean == pytest.approx(one.return_mean, rel=1e-6)
        assert two.grad_norm == pytest.approx(one.grad_norm, rel=1e-4)
    assert len(iio.imread(tmp_path / "two" / "modes.mp4", plugin="pyav")) >= 4 * 4
    written = {path.name for path in (tmp_path / "two").iterdir()}
    assert written == {path.name for path in (tmp_path / "one").iterdir()}


def test_a_run_leaves_everything(tiny, tmp_path, capsys):
    out = tmp_path / "run"
    assert optimize(f"{tiny}:Tiny", "--num-envs", 4, "--out", out) == 0
    names = {path.name for path in out.iterdir()}
    assert names == {
        *(
            "metrics.jsonl",
            "tensorboard",
            "checkpoint.pt",
            "best.pt",
            "result.json",
            "plot.png",
            "modes.mp4",
            "modes.png",
            ".lock",
        )
    }
    assert [row.iteration for row in read_metrics(out)] == [0, 1, 2]
    result = json.loads((out / "result.json").read_text())
    assert result["task"] == "Tiny"
    assert result["simulator_steps"] == 3 * 4 * 4
    assert [mode["name"] for mode in result["modes"]] == ["only"]
    assert len(result["modes"][0]["actions"]) == 4
    frames = iio.imread(out / "modes.mp4", plugin="pyav")
    assert frames.shape[0] >= 4 * 4
    assert frames[0].std() > 5.0
    printed = capsys.readouterr().out
    for word in ("iteration 3/3", "return", "success", "distinct outcomes", "left"):
        assert word in printed

    (out / "modes.mp4").unlink()
    assert run("render", out) == 0  # the run knows its file
    assert (out / "modes.mp4").exists()
    again = open_run(out)
    assert again.replay("only").agrees
    assert again.evaluate().episode_return == result["return"]
    capsys.readouterr()
    assert_refused(capsys, optimize(f"{tiny}:Tiny", "--out", out), out, "already holds a run", "--resume")
    code = optimize("Detour", "--out", out, "--resume")
    assert_refused(capsys, code, "task Tiny", "task Detour")
    code = optimize(f"{tiny}:Tiny", "--out", out, "--resume", "--seed", 7)
    assert_refused(capsys, code, "seed 0", "seed 7")


def test_interrupted_and_resumed_is_bitwise_the_same(tiny, tmp_path, capsys, monkeypatch):
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    assert optimize(f"{tiny}:Tiny", "--num-envs", 4, "--seed", 5, "--no-video", "--out", whole) == 0
    update = TrainingProgress.update

    def interrupting(self, metrics):
        update(self, metrics)
        if metrics.iteration == 0:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TrainingProgress, "update", interrupting)
        assert optimize(f"{tiny}:Tiny", "--num-envs", 4, "--seed", 5, "--no-video", "--out", halves) == 130
    assert "--resume" in capsys.readouterr().out
    assert {"checkpoint.pt", "metrics.jsonl", "plot.png", "result.json"} <= {path.name for path in halves.iterdir()}
    assert len(read_metrics(halves)) == 1
    assert optimize(f"{tiny}:Tiny", "--resume", "--no-video", "--out", halves) == 0
    for a, b in zip(read_metrics(whole), read_metrics(halves), strict=True):
        assert a.return_mean == b.return_mean
        assert a.grad_norm == b.grad_norm
    a, b = (torch.load(run / "checkpoint.pt", weights_only=True)["state"]["policy"] for run in (whole, halves))
    for name, tensor in a.items():
        assert torch.equal(tensor, b[name])


def policy_of(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoint.pt", weights_only=True)["state"]["policy"]


def test_interrupted_within_an_iteration_keeps_the_whole_ones(tiny, tmp_path, capsys, monkeypatch):
    run, whole = tmp_path / "run", tmp_path / "whole"
    assert optimize(f"{tiny}:Tiny", "--num-envs", 4, "--no-video", "--out", whole) == 0
    step, calls = Task.step, []

    def interrupting(self, episode, action):
        calls.append(1)
        if len(calls) == 1 + 2 * self.horizon + 3:  # the check of the protocol, two iterations, and part of the third
            raise KeyboardInterrupt
        return step(self, episode, action)

    with monkeypatch.context() as patch:
        patch.setattr(Task, "step", interrupting)
        assert optimize(f"{tiny}:Tiny", "--num-envs", 4, "--no-video", "--out", run) == 130
    assert "interrupted after iteration 2" in capsys.readouterr().out
    assert [row.iteration for row in read_metrics(run)] == [0, 1]
    assert json.loads((run / "result.json").read_text())["iterations"] == 2
    assert (run / "plot.png").stat().st_size > 1000
    assert optimize(f"{tiny}:Tiny", "--resume", "--no-video", "--out", run) == 0
    assert [row.iteration for row in read_metrics(run)] == [0, 1, 2]
    for name, tensor in policy_of(whole).items():
        assert torch.equal(tensor, policy_of(run)[name])

    # a run that is done goes on with nothing
    capsys.readouterr()
    assert optimize(f"{tiny}:Tiny", "--resume", "--no-video", "--out", run) == 0
    assert len(read_metrics(run)) == 3
    capsys.readouterr()
    code = optimize(f"{tiny}:Tiny", "--resume", "--iterations", 2, "--out", run)
    assert_refused(capsys, code, "iterations was given 2", "3 done")


def test_interrupted_before_the_first_iteration_leaves_the_folder_free(tiny, tmp_path, capsys, monkeypatch):
    def interrupting(self, episode, action):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Task, "step", interrupting)
        assert optimize(f"{tiny}:Tiny", "--num-envs", 4, "--out", tmp_path / "run") == 130
    assert not (tmp_path / "run" / "checkpoint.pt").exists()
    assert optimize(f"{tiny}:Tiny", "--num-envs", 4, "--no-video", "--out", tmp_path / "run") == 0


def test_physics_that_fails_is_one_line_and_exit_code_1(tiny, tmp_path, capsys):
    code = optimize(f"{tiny}:Exploding", "--num-envs", 2, "--out", tmp_path / "run")
    lines = [line for line in capsys.readouterr().err.splitlines() if "Courant" not in line]
    assert code == 1
    assert len(lines) == 1, lines
    assert lines[0].startswith("physics failed: ")
    for part in ("body 'block'", "environment", "control step", "substep"):
        assert part in lines[0]


def test_an_authors_mistakes_are_one_line(tiny, tmp_path, capsys):
    out = tmp_path / "run"
    code = optimize(f"{tiny}:BadReward", "--num-envs", 2, "--out", out)
    assert_refused(capsys, code, "reward() of task BadReward gave torch.float32 of shape ()", "(2,)")
    broken = tmp_path / "broken.py"
    broken.write_text("raise RuntimeError('first line\\nsecond line')\n")
    assert_refused(capsys, optimize(f"{broken}:Task", "--out", out), "broken.py", "first line")
    broken.write_text("def f(:\n")
    assert_refused(capsys, optimize(f"{broken}:Task", "--out", out), "broken.py", "SyntaxError")
    broken.write_text("from tasks import Task, register\n@register('NoScene')\nclass NoScene(Task):\n"
                      "    'Task: a. Randomisation: b. Success: c.'\n")  # fmt: skip
    assert_refused(capsys, optimize(f"{broken}:NoScene", "--out", out), "NoScene must define scene()")
