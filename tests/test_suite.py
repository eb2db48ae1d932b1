"""The suite's bookkeeping: stored runs and solutions, counts, verdicts."""

import json

import pytest
import torch

from benchmarks.suite import tables
from benchmarks.suite.families import TASKS
from benchmarks.suite.gallery import section
from benchmarks.suite.methods import ON_FOUR, SINGLE_MODE, method_config, methods_of
from benchmarks.suite.scripts import SCRIPTS, along
from benchmarks.suite.single_runs import bench_environment, one_run
from benchmarks.suite.solving import replayed, solve
from benchmarks.suite.store import append_run, runs_file, solution_file, store_solution, stored_runs, stored_solution
from benchmarks.suite.suite_task import SuiteTask
from diffsim import InputError
from rpg import SettingError
from tasks import find_task

TASK = SuiteTask("TripleMove", ways=3, compared=True)


def run_of(method, seed, *, success=1.0, ways=(0,), total=5.0):
    return {
        "task": TASK.key, "method": method, "seed": seed, "success": success, "ways": list(ways), "return": total,
        "idle_return": 1.0, "simulator_steps": 100, "backward_steps": 100, "processor_seconds": 2.0, "peak_mib": 300,
        "setting": TASK.bench_setting,
    }  # fmt: skip


@pytest.fixture
def one_task(monkeypatch):
    monkeypatch.setattr(tables, "TASKS", {TASK.key: TASK})
    return TASK


def test_the_last_run_of_a_seed_counts_and_broken_or_old_ones_do_not(tmp_path):
    append_run(TASK, run_of("rpg", 100, total=1.0), tmp_path)
    append_run(TASK, run_of("rpg", 100, total=2.0), tmp_path)
    append_run(TASK, {**run_of("rpg", 101), "setting": {"parameters": {}, "num_envs": 4, "iterations": 50}}, tmp_path)
    with runs_file(TASK, tmp_path).open("a") as file:
        file.write('{"task": "TripleMove", "met')
    found = stored_runs(TASK, tmp_path)
    assert list(found) == [("rpg", 100)]
    assert found["rpg", 100]["return"] == 2.0
    assert stored_runs(SuiteTask("Detour"), tmp_path) == {}


def test_claims_ask_for_complete_rows_and_for_every_single_mode_method(one_task, tmp_path):
    for method in methods_of(one_task):
        for seed in tables.seeds_of():
            several = method in ("rpg", "multistart")
            append_run(
                one_task,
                run_of(method, seed, ways=(0, 2) if several else (1,), success=float(several or seed == 100)),
                tmp_path,
            )
    rows = tables.rows_of([one_task], folder=tmp_path)
    assert [claim.holds_on for claim in tables.claims(rows)] == [["TripleMove"], ["TripleMove"]]
    assert all(claim.verdict.startswith("FAILED") for claim in tables.claims(rows))  # one task is not enough
    counted = tables.summary(tmp_path)
    assert counted == {
        "tasks": 1, "solved": 0, "tasks_with_ways": 1, "rpg_two_ways": 1, "rpg_only": 1, "rows": 10, "missing": 0,
    }  # fmt: skip
    append_run(one_task, run_of("sac", 100, ways=(0, 1)), tmp_path)
    append_run(one_task, run_of("sac", 101, ways=(0, 1)), tmp_path)
    append_run(one_task, run_of("sac", 102, ways=(0, 1)), tmp_path)
    rows = tables.rows_of([one_task], folder=tmp_path)
    assert [claim.holds_on for claim in tables.claims(rows)] == [[], []]
    del rows["TripleMove", "cem"]
    assert [claim.holds_on for claim in tables.claims(rows)] == [[], []]


def test_a_row_that_was_not_run_says_so(one_task, tmp_path):
    append_run(one_task, run_of("rpg", 100, ways=(0, 1)), tmp_path)
    (line,) = tables.matrix_rows(tables.rows_of([one_task], folder=tmp_path), [one_task], ("rpg", "cem"))
    assert line == ("TripleMove", "3", "100%, 2 (1 seeds)", "not run")
    assert tables.summary(tmp_path)["missing"] == 10


def test_restarts_win_where_they_are_better(one_task, tmp_path):
    for seed in tables.seeds_of():
        append_run(one_task, run_of("rpg", seed, total=5.0), tmp_path)
        append_run(one_task, run_of("multistart", seed, total=6.0), tmp_path)
    rows = tables.rows_of([one_task], folder=tmp_path)
    assert "restarts 1 (TripleMove)" in tables.against_restarts(rows, [one_task])
    assert tables.normalised(rows, "TripleMove", rows["TripleMove", "rpg"]) == pytest.approx(0.8)


def test_every_method_has_settings_for_every_compared_task():
    for task in tables.compared_tasks():
        for method in methods_of(task):
            config = method_config(task, method, seed=3, num_envs=4, iterations=7)
            assert (config.seed, config.iterations) == (3, 7)
    assert set(ON_FOUR) < set(SINGLE_MODE)
    with pytest.raises(SettingError, match="allowed are"):
        method_config(TASK, "nonsense", seed=0, num_envs=4, iterations=1)


@pytest.mark.slow
def test_methods_spend_the_same_simulator_steps():
    task = SuiteTask("CupTrap", ways=2, bench_envs=4, bench_iterations=1)
    environment = bench_environment(task)
    runs = {method: one_run(task, environment, method, 100) for method in ("rpg", "multistart", "cem")}
    assert {run["simulator_steps"] for run in runs.values()} == {4 * environment.horizon}
    assert [run["backward_steps"] for run in runs.values()] == [160, 160, 0]
    assert all(0.0 <= run["success"] <= 1.0 and set(run["ways"]) <= {0, 1} for run in runs.values())


def test_a_solution_is_played_again(tmp_path):
    task = find_task("TripleMove")(2)
    actions = torch.zeros(task.horizon, 2, 2)
    actions[:, 1, 1] = 1.0
    episode, total = task.reset(5), 0.0
    for action in actions:
        episode, reward, info = task.step(episode, action)
        total += float(reward[1])
    stored = {
        "task": "TripleMove", "parameters": {}, "method": "by hand", "seconds": 0.0, "simulator_steps": 0,
        "solutions": [{"outcome": 0, "seed": 5, "environment": 1, "return": total, "actions": actions[:, 1].tolist()}],
    }  # fmt: skip
    store_solution(TASK, stored, tmp_path)
    assert json.loads(solution_file(TASK, tmp_path).read_text()) == stored_solution(TASK, tmp_path)
    again = replayed(TASK, stored)
    assert again.total == pytest.approx(total, rel=1e-3)
    assert again.success == bool(info["success"][1])
    assert again.outcome == int(info["outcome"][1])
    assert len(again.episodes) == task.horizon + 1


def test_a_script_is_followed_and_what_it_finds_is_stored_once_for_each_way(tmp_path):
    task = SuiteTask("TwoBlockPush", ways=2, full_envs=2, solver="script")
    found = solve(task, folder=tmp_path)
    assert found["method"] == "script"
    assert sorted(each["outcome"] for each in found["solutions"]) == [0, 1]
    assert stored_solution(task, tmp_path) == json.loads(json.dumps(found))
    with pytest.raises(InputError, match="there is no script for task 'TripleMove'; scripts: PandaPickPlace"):
        solve(TASK, method="script", folder=tmp_path)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.robot_models) if name.startswith(("Panda", "Hand")) else name for name in SCRIPTS],
)
def test_scripts_act_within_the_actions_of_their_tasks(name):
    task = find_task(name)(1, **TASKS[name].bench)
    episode = task.reset(0)
    for script in SCRIPTS[name]:
        action = script(task, episode)(episode, 0)
        assert action.shape == (1, task.action_dim)
        assert bool(action.isfinite().all())


def test_the_path_of_a_script_ends_at_its_last_point():
    path = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [1.0, 2.0]]])
    for distance, point in ((0.0, (0.0, 0.0)), (0.5, (0.5, 0.0)), (2.0, (1.0, 1.0)), (9.0, (1.0, 2.0))):
        torch.testing.assert_close(along(path, torch.tensor([distance])), torch.tensor([point]))


def test_sections_of_a_docstring_are_read_whole():
    text = """A thing.

    Task: bring it there, and
        then back.
    Randomisation: none.
    Success: within 6 cm | or so.

    Attributes:
        spread: of starts.
    """
    assert section(text, "Task") == "bring it there, and then back."
    assert section(text, "Success") == r"within 6 cm \| or so."
    assert section(text, "Nothing") == ""
