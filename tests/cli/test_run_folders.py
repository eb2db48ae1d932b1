"""Where runs go, and how they are continued."""

import json
import os

import pytest

from rpg.runs.run_folder import discard_unless_begun, latest_run, new_run_folder
from rpg.settings_checks import SettingError
from rpg.training.metrics import read_metrics
from tests.cli.command_line import ROOT, SMALL, WALL, assert_refused, finished, json_line, optimize, result_of, run

TRAP, PLAIN = WALL.replace(":Wall", ":WallWithTrap"), WALL.replace(":Wall", ":PlainWall")
SHORT = (*SMALL, "--iterations", 2, "--quiet")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_default_folders_do_not_collide_and_latest_points_to_the_last(tmp_path, capsys):
    for _ in range(2):
        assert optimize(WALL, *SHORT, "--json") == 0
    assert json_line(capsys)["run"] == "runs/Wall/rpg-seed0-2"
    assert optimize(WALL, "--num-envs", 4, "--iterations", 2, "--algo", "gaussian", "--seed", 3, "--quiet") == 0
    assert capsys.readouterr().out == ""  # quiet
    folders = sorted(path.name for path in (tmp_path / "runs" / "Wall").iterdir())
    assert folders == ["gaussian-seed3", "rpg-seed0", "rpg-seed0-2"]
    assert (tmp_path / "runs" / "latest").resolve().name == "gaussian-seed3"
    assert optimize(WALL, "--resume", "--iterations", 3, "--quiet") == 0
    assert result_of(tmp_path / "runs" / "Wall" / "gaussian-seed3")["iterations"] == 3
    code = optimize(PLAIN, "--resume", "--quiet")
    assert_refused(capsys, code, "has task Wall", "PlainWall")
    assert_refused(capsys, optimize(WALL, *SHORT, "--out", "runs/latest"), "runs/latest", "already holds a run", "--resume")


def test_a_task_that_fails_leaves_no_folder(tmp_path, capsys):
    source = "class Bad:\n    def __init__(self, num_envs):\n        raise ValueError('no scene')\n"
    (tmp_path / "bad.py").write_text(source + "    reset = observe = step = __init__\n")
    assert_refused(capsys, optimize("bad.py:Bad", "--quiet"), "no scene")
    assert not list((tmp_path / "runs").rglob("*seed*"))
    assert not (tmp_path / "runs" / "latest").is_symlink()
    assert_refused(capsys, optimize(WALL, "--resume", "--quiet"), "runs/latest", "--out")


def test_many_processes_get_folders_of_their_own(tmp_path):
    made = {new_run_folder("gymnasium:Hopper-v5", "sac", 0) for _ in range(3)}
    assert {path.as_posix() for path in made} == {
        "runs/gymnasium-Hopper-v5/sac-seed0",
        "runs/gymnasium-Hopper-v5/sac-seed0-2",
        "runs/gymnasium-Hopper-v5/sac-seed0-3",
    }
    assert latest_run() in made
    for path in made:
        discard_unless_begun(path)
        assert not path.exists()
    with pytest.raises(SettingError, match="runs/latest"):
        latest_run()
    os.rename(tmp_path / "runs", tmp_path / "old")
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(SettingError, match="cannot be made"):
        new_run_folder("Wall", "rpg", 0)


def test_a_folder_of_the_users_named_latest_is_left_alone(tmp_path):
    (tmp_path / "runs" / "latest").mkdir(parents=True)
    assert new_run_folder("Wall", "rpg", 0).is_dir()
    assert not (tmp_path / "runs" / "latest").is_symlink()


def test_runs_are_extended_and_branched(tmp_path, capsys):
    first, branch = tmp_path / "run", tmp_path / "branch"
    assert optimize(PLAIN, *SMALL, "--iterations", 3, "--evaluate-every", 2, "--out", first) == 0
    assert result_of(first)["best"]["by"] == "evaluation"
    assert result_of(first)["evaluation_steps"] == 2 * 4 * 3
    assert optimize(PLAIN, "--iterations", 5, "--resume", "--out", first) == 0
    assert [row.iteration for row in read_metrics(first)] == list(range(5))
    assert result_of(first)["events"] == ["iterations changed from 3 to 5"]
    assert result_of(first)["config"]["iterations"] == 5

    options = ("--iterations", 8, "--beta", 0.5, "--policy-learning-rate", 0.02, "--std", 0.2, 0.1)
    assert optimize(PLAIN, "--branch-from", first, "--restart-schedules", *options, "--out", branch) == 0
    rows = read_metrics(branch)
    assert [row.return_mean for row in rows[:5]] == [row.return_mean for row in read_metrics(first)]
    assert rows[5].events[0].startswith(f"branched from {first} after iteration 5: beta 0.3,0.0,0.3,0.8 -> 0.5,0.0,0.3,0.8, ")
    assert [row.terms["std"] for row in rows[5:]] == pytest.approx([0.2, 0.15, 0.1])
    assert result_of(branch)["config"]["policy_learning_rate"] == 0.02

    other = ("--out", tmp_path / "other")
    capsys.readouterr()
    refused = optimize(PLAIN, "--branch-from", first, "--num-latents", 3, *other)
    assert_refused(capsys, refused, "cannot be branched", "num_latents 2 -> 3")
    assert_refused(capsys, optimize(PLAIN, "--branch-from", first, "--algo", "cem", *other), "has algo rpg", "cem")
    assert_refused(capsys, optimize(WALL, "--branch-from", first, *other), "has task PlainWall", "Wall")
    assert_refused(capsys, optimize(PLAIN, "--resume", "--beta", 0.1, "--out", first), "has beta", "this command beta")
    assert_refused(capsys, optimize(PLAIN, "--resume", "--num-envs", 8, "--out", first), "num_envs 4", "num_envs 8")


def test_nan_stops_a_run_which_is_resumed_past_it_or_is_tried_again(tmp_path, capsys):
    first, small = tmp_path / "run", (*SMALL, "--iterations", 4)
    assert optimize(TRAP, *small, "--out", first) == 1
    captured = capsys.readouterr()
    assert captured.err.strip() == "optimisation failed: iteration 2: the reward is not finite in environments [0, 1, 2, 3]"
    assert "--resume goes past the failure" in captured.out
    assert result_of(first)["status"] == "failed"
    with pytest.warns(RuntimeWarning, match="iteration 2: the reward is not finite"):
        assert optimize(TRAP, "--resume", "--out", first) == 0
    assert [row.step_scale for row in read_metrics(first)] == pytest.approx([1, 1, 0.5, 0.5 * 2**0.1])
    assert result_of(first)["status"] == "done"
    with pytest.warns(RuntimeWarning, match="iteration 2: the reward is not finite"):
        assert optimize(TRAP, *small, "--on-nan", "retry:2", "--out", tmp_path / "again") == 0
    assert "iteration 2: the reward is not finite" in result_of(tmp_path / "again")["events"][0]


def test_a_module_in_the_current_directory_its_neighbours_and_mistakes(tmp_path, capsys, monkeypatch):
    import sys

    monkeypatch.setattr(sys, "path", list(sys.path))
    package = tmp_path / "wall_package"
    package.mkdir()
    source = "from rpg.environments.wall import PointMassWall\n\nclass {name}(PointMassWall):\n" \
             "    def __init__(self, num_envs):\n        super().__init__(num_envs=num_envs, horizon={horizon})\n"  # fmt: skip
    (package / "walls.py").write_text(source.format(name="Wall", horizon=3) + "\nclass NoEnvironment:\n    pass\n")
    (package / "horizons.py").write_text("HORIZON = 4\n")
    (package / "neighbour.py").write_text("from horizons import HORIZON\n" + source.format(name="Wall", horizon="HORIZON"))
    (package / "broken.py").write_text("\n1 / 0")
    out = tmp_path / "run"
    assert optimize("wall_package.walls:Wall", *SMALL, "--iterations", 2, "--out", out) == 0
    assert "no video: Wall has no method write_video" in capsys.readouterr().out
    assert result_of(out)["task"] == "Wall"
    assert (out / "plot.png").exists()
    assert not (out / "modes.mp4").exists()
    assert optimize("wall_package/neighbour.py:Wall", *SMALL, "--iterations", 1, "--out", tmp_path / "neighbour") == 0
    assert len(result_of(tmp_path / "neighbour")["modes"][0]["actions"]) == 4
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    code, printed, errors = finished("evaluate", out, "--json", "--quiet", cwd=tmp_path / "elsewhere",
                                     env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip
    assert (code, errors) == (0, "")  # found by its file
    assert json.loads(printed)["return"] == result_of(out)["return"]
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    other = ("--quiet", "--out", tmp_path / "other")
    assert_refused(capsys, optimize("wall_package.walls:Wal", *other), "unknown task 'Wal'", "NoEnvironment, Wall")
    assert_refused(capsys, optimize("wall_package.walls:NoEnvironment", *other), "lacks reset, observe, step")
    assert_refused(capsys, optimize("wall_package.nowhere:Wall", *other), "there is no module 'wall_package.nowhere'")
    assert_refused(capsys, optimize("wall_package.broken:Wall", *other), "wall_package.broken", "(broken.py, line 2)")
    assert_refused(capsys, optimize("wall_package/broken.py:Wall", *other), "ZeroDivisionError", "(broken.py, line 2)")
    assert_refused(capsys, optimize("Detur", *other), "unknown task 'Detur'", "did you mean 'Detour'")


def test_an_installation_without_entry_points_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("rpg.runs.task_lookup.entry_points", lambda group: ())
    assert_refused(capsys, optimize("Detour", "--out", tmp_path / "run"), "'rpg.tasks'", "reinstall", "pip install -e .")


def test_tasks_and_algorithms_are_listed(capsys):
    assert run("tasks") == 0
    printed = capsys.readouterr().out
    for word in ("Detour", "Task:", "Randomisation:", "Success:"):
        assert word in printed
    assert run("tasks", WALL, "--json") == 0
    printed = capsys.readouterr().out
    for word in ("A point mass goes round a wall.", "--task.half-width [0.5]  Half of the wall's width, m.", "left, right"):
        assert word in printed
    assert json.loads(printed.strip().splitlines()[-1])["tasks"][WALL]["parameters"]["horizon"] == 3
    assert run("algorithms", "--json") == 0
    printed = capsys.readouterr().out
    for word in ("cem", "the cross-entropy method", "sac", "reinforcement learning off policy"):
        assert word in printed
    assert run("algorithms", "cem") == 0
    assert "--elite-fraction [0.2]  Fraction of the population that are elites" in capsys.readouterr().out
    assert_refused(capsys, run("algorithms", "magic"), "unknown algorithm 'magic'", "cem")
    assert_refused(capsys, run("tasks", "Detur"), "unknown task 'Detur'")
