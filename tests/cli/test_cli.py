"""The command line end to end, on a task small enough for a test."""

import json
import subprocess
import sys
from pathlib import Path

import imageio.v3 as iio
import pytest
import torch
import trimesh

from rpg.cli.main import main
from rpg.cli.progress import TrainingProgress
from rpg.environments.wall import PointMassWall
from rpg.training.metrics import read_metrics
from tasks import Task, find_task

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


def optimize(*arguments: object) -> int:
    return main(["optimize", *[str(argument) for argument in arguments]])


def assert_refused(capsys, code: int, *parts: object) -> None:
    """Exit code 2 and one line of error that holds all ``parts``."""
    lines = capsys.readouterr().err.strip().splitlines()
    assert code == 2
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    for part in parts:
        assert str(part) in lines[0], lines[0]


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
    assert main(["render", str(out), "--task", f"{tiny}:Tiny"]) == 0
    assert (out / "modes.mp4").exists()
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


def test_a_checkpoint_of_another_mesh_is_refused(tmp_path, capsys, monkeypatch):
    for name, subdivisions in (("a.stl", 1), ("b.stl", 2)):
        trimesh.creation.icosphere(subdivisions=subdivisions).export(tmp_path / name)
    out = tmp_path / "run"
    monkeypatch.setattr(find_task("Detour"), "horizon", 2)
    options = ("--out", out, "--no-video", "--num-envs", 2)
    assert optimize("Detour", "--mesh", tmp_path / "a.stl", "--iterations", 1, *options) == 0
    capsys.readouterr()
    code = optimize("Detour", "--mesh", tmp_path / "b.stl", "--resume", *options)
    assert_refused(capsys, code, "mesh a.stl", "mesh b.stl")
    assert optimize("Detour", "--mesh", tmp_path / "a.stl", "--resume", *options) == 0


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
    assert_refused(capsys, code, "reward() of task BadReward", "of shape ()", "(2,)")
    broken = tmp_path / "broken.py"
    broken.write_text("raise RuntimeError('first line\\nsecond line')\n")
    assert_refused(capsys, optimize(f"{broken}:Task", "--out", out), "broken.py", "first line")
    broken.write_text("def f(:\n")
    assert_refused(capsys, optimize(f"{broken}:Task", "--out", out), "broken.py", "SyntaxError")
    broken.write_text("from tasks import Task, register\n@register('NoScene')\nclass NoScene(Task):\n"
                      "    'Task: a. Randomisation: b. Success: c.'\n")  # fmt: skip
    assert_refused(capsys, optimize(f"{broken}:NoScene", "--out", out), "NoScene must define scene()")


def test_mistakes_are_one_line_and_exit_code_2(tiny, tmp_path, capsys):
    out = tmp_path / "run"
    assert_refused(capsys, optimize("Detur", "--out", out), "unknown task 'Detur'", "did you mean 'Detour'")
    assert_refused(capsys, optimize("nowhere.py:Task", "--out", out), "nowhere.py", "does not exist")
    broken = tmp_path / "broken.py"
    broken.write_text("1 / 0\n")
    assert_refused(capsys, optimize(f"{broken}:Task", "--out", out), "broken.py", "ZeroDivisionError")
    assert_refused(capsys, optimize(f"{tiny}:Other", "--out", out), "unknown task 'Other'", "Tiny")
    code = optimize(f"{tiny}:Outside", "--out", out)
    assert_refused(capsys, code, "'block' reaches outside the domain", "allowed is")

    file = tmp_path / "file"
    file.touch()
    assert_refused(capsys, optimize("Detour", "--out", file / "run"), file / "run", "cannot be written", "--out")
    assert_refused(capsys, optimize("Detour", "--out", file), file, "cannot be written")

    assert_refused(capsys, optimize("Detour", "--mesh", "no.obj", "--out", out), "no.obj", "does not exist")
    empty, opened = tmp_path / "empty.obj", tmp_path / "open.stl"
    empty.touch()
    assert_refused(capsys, optimize("Detour", "--mesh", empty, "--out", out), "empty.obj", "no triangles")
    mesh = trimesh.creation.box()
    mesh.update_faces([True] * 11 + [False])
    mesh.export(opened)
    assert_refused(capsys, optimize("Detour", "--mesh", opened, "--out", out), "open.stl", "not watertight")

    assert_refused(capsys, optimize("Detour", "--iterations", 0, "--out", out), "iterations", "0", ">= 1")
    assert_refused(capsys, optimize("Detour", "--num-envs", 0, "--out", out), "num_envs", "0")
    assert_refused(capsys, optimize("Detour", "--num-latents", -1, "--out", out), "num_latents", "-1")
    assert_refused(capsys, optimize("Detour", "--seed", -1, "--out", out), "seed", "-1", ">= 0")
    assert_refused(capsys, optimize("Detour", "--beta", -1, "--out", out), "beta", "-1")
    assert_refused(capsys, optimize("Detour", "--algo", "magic", "--out", out), "magic", "rpg", "gaussian")
    code = optimize("Detour", "--algo", "cem", "--num-latents", 3, "--out", out)
    assert_refused(capsys, code, "num_latents", "3", "'cem' has no such setting")
    assert_refused(capsys, optimize("Detour", "--set", "std", "--out", out), "--set", "'std'", "name=value")
    assert_refused(capsys, optimize("Detour", "--set", "std=1,2,3", "--out", out), "schedule", "(1, 2, 3)", "start,end")
    assert_refused(capsys, optimize("Detour", "--set", "window=x", "--out", out), "window", "'x'", ">= 1")
    assert_refused(capsys, optimize("Detour", "--resume", "--out", out), "no checkpoint.pt")
    (out / "checkpoint.pt").write_bytes(b"noise")
    assert_refused(capsys, optimize("Detour", "--resume", "--out", out), "checkpoint.pt")
    assert_refused(capsys, main(["render", str(tmp_path / "nothing")]), "holds no run")


WALL = """
from rpg.environments.wall import PointMassWall

class Wall(PointMassWall):
    def __init__(self, num_envs):
        super().__init__(num_envs=num_envs, horizon=3)

class NoEnvironment:
    pass
"""


def test_a_module_in_the_current_directory_and_no_video(tmp_path, capsys, monkeypatch):
    (tmp_path / "wall_package").mkdir()
    (tmp_path / "wall_package" / "walls.py").write_text(WALL)
    (tmp_path / "wall_package" / "broken.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    out = tmp_path / "run"
    assert optimize("wall_package.walls:Wall", "--num-envs", 4, "--iterations", 2, "--out", out) == 0
    assert "no video: Wall has no method write_video" in capsys.readouterr().out
    assert json.loads((out / "result.json").read_text())["task"] == "Wall"
    assert (out / "plot.png").exists()
    assert not (out / "modes.mp4").exists()
    assert main(["render", str(out), "--task", "wall_package.walls:Wall"]) == 0
    capsys.readouterr()
    other = ("--out", tmp_path / "other")
    assert_refused(capsys, optimize("wall_package.walls:Wal", *other), "unknown task 'Wal'", "NoEnvironment, Wall")
    assert_refused(capsys, optimize("wall_package.walls:NoEnvironment", *other), "lacks reset, observe, step")
    assert_refused(capsys, optimize("wall_package.nowhere:Wall", *other), "there is no module 'wall_package.nowhere'")
    assert_refused(capsys, optimize("wall_package.broken:Wall", *other), "wall_package.broken", "ZeroDivisionError")
    mesh = tmp_path / "mesh.stl"
    trimesh.creation.box().export(mesh)
    code = optimize("wall_package.walls:Wall", "--mesh", mesh, *other)
    assert_refused(capsys, code, "'Wall' takes no mesh", mesh)


class Wall(PointMassWall):
    """For the command line."""

    def __init__(self, num_envs):
        super().__init__(num_envs=num_envs, horizon=3)


class WallWithTrap(Wall):
    """Gives NaN in the third iteration of seed 0 as it is drawn first."""

    sprung = False

    def reset(self, seed=None):
        object.__setattr__(self, "sprung", seed == 2)
        return super().reset(seed)

    def step(self, state, action):
        state, reward, info = super().step(state, action)
        return state, reward * torch.nan if self.sprung else reward, info


def result_of(run: Path) -> dict:
    return json.loads((run / "result.json").read_text())


def test_runs_are_extended_and_branched(tmp_path, capsys):
    wall, run, branch = f"{__file__}:Wall", tmp_path / "run", tmp_path / "branch"
    small = ("--num-envs", 4, "--num-latents", 2)
    assert optimize(wall, *small, "--iterations", 3, "--evaluate-every", 2, "--out", run) == 0
    assert result_of(run)["best"]["by"] == "evaluation"
    assert result_of(run)["evaluation_steps"] == 2 * 4 * 3
    assert optimize(wall, "--iterations", 5, "--resume", "--out", run) == 0
    assert [row.iteration for row in read_metrics(run)] == list(range(5))
    assert result_of(run)["events"] == ["iterations changed from 3 to 5"]
    assert result_of(run)["config"]["iterations"] == 5

    options = ("--iterations", 8, "--beta", 0.5, "--set", "policy_learning_rate=0.02", "std=0.2,0.1")
    assert optimize(wall, "--branch-from", run, "--restart-schedules", *options, "--out", branch) == 0
    rows = read_metrics(branch)
    assert [row.return_mean for row in rows[:5]] == [row.return_mean for row in read_metrics(run)]
    assert rows[5].events[0].startswith(f"branched from {run} after iteration 5: beta 0.3,0.0,0.3,0.8 -> 0.5,0.0,0.3,0.8, ")
    assert [row.terms["std"] for row in rows[5:]] == pytest.approx([0.2, 0.15, 0.1])
    assert result_of(branch)["config"]["policy_learning_rate"] == 0.02

    other = ("--out", tmp_path / "other")
    capsys.readouterr()
    refused = optimize(wall, "--branch-from", run, "--num-latents", 3, *other)
    assert_refused(capsys, refused, "cannot be branched", "num_latents 2 -> 3")
    assert_refused(capsys, optimize(wall, "--branch-from", run, "--algo", "cem", *other), "has algo rpg", "cem")
    assert_refused(capsys, optimize(wall, "--branch-from", run, "--set", "noise=1", *other), "noise", "no such setting")
    assert_refused(capsys, optimize("Detour", "--branch-from", run, *other), "has task Wall", "Detour")
    assert_refused(capsys, optimize(wall, "--branch-from", run, "--resume", "--out", run), "--resume", "--branch-from")
    assert_refused(capsys, optimize(wall, "--restart-schedules", *other), "--restart-schedules", "--branch-from")
    assert_refused(capsys, optimize(wall, "--branch-from", tmp_path / "none", *other), "no checkpoint at", "none")
    assert_refused(capsys, optimize(wall, "--evaluate-every", 0, *other), "evaluation_interval", ">= 1")


def test_nan_stops_a_run_which_is_resumed_past_it_or_is_tried_again(tmp_path, capsys):
    trap, run = f"{__file__}:WallWithTrap", tmp_path / "run"
    small = ("--num-envs", 4, "--num-latents", 2, "--iterations", 4)
    assert optimize(trap, *small, "--out", run) == 1
    captured = capsys.readouterr()
    assert captured.err.strip() == "optimisation failed: iteration 2: the reward is not finite in environments [0, 1, 2, 3]"
    assert "--resume goes past the failure" in captured.out
    with pytest.warns(RuntimeWarning, match="iteration 2: the reward is not finite"):
        assert optimize(trap, "--resume", "--out", run) == 0
    assert [row.step_scale for row in read_metrics(run)] == pytest.approx([1, 1, 0.5, 0.5 * 2**0.1])
    with pytest.warns(RuntimeWarning, match="iteration 2: the reward is not finite"):
        assert optimize(trap, *small, "--on-nan", "retry:2", "--out", tmp_path / "again") == 0
    assert "iteration 2: the reward is not finite" in result_of(tmp_path / "again")["events"][0]
    capsys.readouterr()
    assert_refused(capsys, optimize(trap, "--on-nan", "skip", "--out", tmp_path / "other"), "--on-nan", "'skip'", "retry:N")


def test_an_installation_without_entry_points_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("rpg.cli.task_lookup.entry_points", lambda group: ())
    assert_refused(capsys, optimize("Detour", "--out", tmp_path / "run"), "'rpg.tasks'", "reinstall", "pip install -e .")


def test_wrong_options_exit_with_2():
    with pytest.raises(SystemExit) as caught:
        optimize("Detour", "--policy", "magic")
    assert caught.value.code == 2


def test_tasks_are_listed(capsys):
    assert main(["tasks"]) == 0
    printed = capsys.readouterr().out
    for word in ("Detour", "Task:", "Randomisation:", "Success:"):
        assert word in printed


def test_the_first_help_names_the_commands():
    command = [sys.executable, "-m", "rpg.cli.main", "--help"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    for name in ("optimize", "render", "tasks"):
        assert name in done.stdout


def test_help_from_a_shell():
    command = [sys.executable, "-m", "rpg.cli.main", "optimize", "--help"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    for option in ("--algo", "--seed", "--out", "--resume", "--mesh"):
        assert option in done.stdout
