"""The algorithm's settings and the task's parameters as typed options."""

from dataclasses import fields, replace
from typing import Any

import pytest

from rpg import CONFIGS, RPGConfig, Schedule, SettingError
from rpg.algorithms import SUMMARIES
from rpg.cli.run_command import run_command
from rpg.cli.run_options import RunOptions
from rpg.cli.setting_options import chosen_config, setting_options
from rpg.runs.run_settings import adjusted_schedule, task_config
from tests.cli.command_line import SMALL, WALL, assert_parser_refuses, assert_refused, optimize, result_of


def config(*arguments: object) -> Any:
    return run_command([WALL, *map(str, arguments), "--quiet"]).settings.config


@pytest.mark.parametrize("name", CONFIGS)
def test_every_algorithm_has_options_that_change_nothing_by_themselves(name):
    default = task_config(object, name)
    assert config("--algo", name) == default
    assert chosen_config(default, setting_options(default)) == default
    names = {field.name for field in fields(RunOptions)} | {"task", "help"}
    assert not names & {field.name for field in fields(default) if field.name != "algorithm"}
    assert SUMMARIES.keys() == CONFIGS.keys()


def test_settings_are_typed():
    given = ("--seed", 3, "--num-latents", 5, "--policy", "table", "--policy-hidden", 32, 16, "--learn-std", "--window", "None")
    found = config(*given, "--alpha", 0.1, "--policy-learning-rate", 0.02)
    expected = replace(
        RPGConfig(seed=3, num_latents=5, policy="table", policy_hidden=(32, 16)),
        learn_std=True,
        alpha=Schedule.constant(0.1),
        policy_learning_rate=0.02,
    )
    assert found == expected
    assert config("--algo", "gaussian", "--iterations", 7) == RPGConfig(iterations=7).gaussian()


def test_what_a_schedule_leaves_out_stays():
    old = Schedule(0.3, 0.0, 0.3, 0.8)
    assert adjusted_schedule(old, (0.5,)) == Schedule(0.5, 0.0, 0.3, 0.8)
    assert adjusted_schedule(old, (0.5, 0.1)) == Schedule(0.5, 0.1, 0.3, 0.8)
    assert adjusted_schedule(old, (0.5, 0.1, 0.0, 1.0)) == Schedule(0.5, 0.1, 0.0, 1.0)
    assert adjusted_schedule(Schedule.constant(0.2), (0.5,)) == Schedule.constant(0.5)
    for wrong in ((), (1.0, 2.0, 3.0), (1.0, 0.0, 0.9, 0.1)):
        with pytest.raises(ValueError, match="chedule"):
            adjusted_schedule(old, wrong)
    assert config("--beta", "0.5", "0", "0.2", "0.9").beta == Schedule(0.5, 0.0, 0.2, 0.9)


def test_settings_from_python():
    assert task_config(object, beta=0.5, std=(0.2, 0.1), seed=None) == RPGConfig(
        beta=Schedule(0.5, 0.0, 0.3, 0.8), std=Schedule(0.2, 0.1)
    )
    with pytest.raises(SettingError, match="'cem' has no such setting"):
        task_config(object, "cem", num_latents=3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--seed", "99999999999999999999999"), ("seed", "99999999999999999999999", "<= 9223372036854775807")),
        (("--seed", "-1"), ("seed", "-1", ">= 0")),
        (("--iterations", "0"), ("iterations", "0", ">= 1")),
        (("--num-envs", "0"), ("num_envs", "0", ">= 1")),
        (("--num-latents", "-1"), ("num_latents", "-1")),
        (("--beta", "-1"), ("beta", "-1")),
        (("--std", "0.1", "nan"), ("--std", "end", "nan")),
        (("--beta", "1", "2", "3"), ("--beta", "1.0 2.0 3.0", "START END BEGIN FINISH")),
        (("--beta", "1", "0", "0.9", "0.1"), ("--beta", "begin=0.9", "finish=0.1")),
        (("--policy-hidden", "0"), ("policy_hidden", "0", ">= 1")),
        (("--iterations", "3", "--iterations=4"), ("--iterations", "2 times")),
        (("--algo", "magic"), ("magic", "rpg", "gaussian")),
        (("--algo", "gaussian", "--num-latents", "3"), ("num_latents", "3", "gaussian")),
        (("--on-nan", "skip"), ("--on-nan", "'skip'", "retry:N")),
        (("--threads", "0"), ("--threads", "0", ">= 1")),
        (("--checkpoint-every", "0"), ("--checkpoint-every", "0", ">= 1")),
        (("--evaluate-every", "0"), ("--evaluate-every", "0", ">= 1")),
        (("--camera", "1", "2"), ("--camera", "1.0 2.0", "6 or 7 numbers")),
        (("--video-size", "640", "0"), ("--video-size", "640 0", ">= 16")),
        (("--resume", "--branch-from", "x"), ("--resume", "--branch-from")),
        (("--restart-schedules",), ("--restart-schedules", "--branch-from")),
        (("--task.mesh", "no.obj"), ("task.mesh", "no.obj", "does not exist")),
        (("--resume",), ("no checkpoint.pt", "run")),
        (("--branch-from", "none"), ("no checkpoint at", "none")),
        (("--wandb", "p"), ("pip install 'diffsim-rpg[wandb]'",)),
    ],
)
def test_wrong_values_are_one_line(tmp_path, capsys, monkeypatch, arguments, words):
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)  # as if it were not installed
    assert_refused(capsys, optimize(WALL, *arguments, "--quiet", "--out", tmp_path / "run"), *words)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--beta", "1,2,3"), ("--beta", "1,2,3")),
        (("--policy", "magic"), ("magic", "table", "feedback")),
        (("--num-envs", "many"), ("--num-envs", "many")),
        (("--windoww", "3"), ("--windoww",)),
        (("--algo", "cem", "--num-latents", "3"), ("--num-latents",)),
        (("--mesh", "a.stl"), ("--mesh",)),
        (("--set", "std=1"), ("--set",)),
        (("--task.horizont", "3"), ("--task.horizont",)),
        (("--task.horizon", "x"), ("--task.horizon", "x")),
    ],
)
def test_the_parser_names_what_it_does_not_understand(capsys, arguments, words):
    assert_parser_refuses(capsys, ("optimize", WALL, *arguments, "--quiet"), *words)


def test_a_tasks_parameters_are_set_kept_and_part_of_the_run(tmp_path, capsys):
    out, (a, b) = tmp_path / "run", (tmp_path / "a.stl", tmp_path / "b.stl")
    a.write_text("one")
    b.write_text("another")
    assert optimize(WALL, *SMALL, "--iterations", 1, "--task.horizon", 5, "--task.mesh", a, "--out", out) == 0
    result = result_of(out)
    assert result["task_parameters"] == {"horizon": 5, "half_width": 0.5, "mesh": str(a)}
    assert result["task.horizon"] == "5"
    assert result["task.mesh"].startswith("a.stl (")
    assert len(result["modes"][0]["actions"]) == 5
    capsys.readouterr()
    assert_refused(capsys, optimize(WALL, "--resume", "--task.mesh", b, "--out", out), "task.mesh a.stl", "task.mesh b.stl")
    assert_refused(capsys, optimize(WALL, "--resume", "--task.horizon", 4, "--out", out), "task.horizon 5", "task.horizon 4")
    assert optimize(WALL, "--resume", "--iterations", 2, "--out", out) == 0  # they need not be given again
    a.write_text("changed")
    assert_refused(capsys, optimize(WALL, "--resume", "--out", out), "task.mesh")
    no_default = WALL.replace(":Wall", ":Incompressible")
    assert_refused(
        capsys, optimize(no_default, "--out", tmp_path / "x"), "parameters of Incompressible need defaults", "horizon"
    )
