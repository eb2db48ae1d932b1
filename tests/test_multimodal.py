"""The contest of ways to several modes: clusters of curves, archives, budgets, what is stored and summed up, and small runs."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.multimodal import single_runs
from benchmarks.multimodal.__main__ import found_row, listed, write_tables
from benchmarks.multimodal.archive import Played, cells, measures, qd_score
from benchmarks.multimodal.clusters import clusters, distances, midpoint, moving_part, resampled
from benchmarks.multimodal.methods import GRADIENT_FREE, METHODS, budgets_of, gradient_budget, is_there, method_config
from benchmarks.multimodal.problems import PROBLEMS, switching
from benchmarks.multimodal.quality_diversity import found_by
from benchmarks.multimodal.store import PICTURED, append_run, stored_runs
from benchmarks.multimodal.tables import ELSEWHERE, Row, every_row, missing_seeds, summary, table_row
from rpg import SettingError
from rpg.environments.six_goals import SixGoals

ROOT = Path(__file__).parent.parent
SIX = replace(PROBLEMS["six_goals"], num_envs=8, iterations=4, gradient_steps=20, updates=1)


def arc(turn: float, *, points: int = 20, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """A curve from (-1, 0) to (1, 0) over or under the origin, by the sign of `turn`."""
    angle = np.linspace(np.pi, 0.0, points)
    curve = np.stack([np.cos(angle), turn * np.sin(angle)], axis=1)
    return curve + noise * np.random.default_rng(seed).standard_normal(curve.shape)


def test_curves_are_told_apart_by_their_way_and_not_by_their_speed():
    pytest.importorskip("dtaidistance")
    slow = np.concatenate([np.repeat(arc(1.0)[:1], 15, axis=0), arc(1.0, points=25)])  # waits, then goes the same way
    apart = distances([arc(1.0), slow, arc(-1.0)])
    assert apart.shape == (3, 3)
    assert apart[0, 1] < 0.1
    assert apart[0, 2] > 1.0
    np.testing.assert_allclose(apart, apart.T)
    # a shift of all points is its length
    shifted = distances([np.zeros((10, 2)), np.full((10, 2), [3.0, 4.0])])
    assert shifted[0, 1] == pytest.approx(5.0)
    paths = [arc((-1.0) ** n, points=15 + n, noise=0.05, seed=n) for n in range(8)]
    numbers = clusters([*paths, np.zeros((9, 2))], 0.5)
    assert len(set(numbers)) == 3
    assert set(numbers[0:8:2]) != set(numbers[1:8:2])
    assert len(set(numbers[0:8:2])) == len(set(numbers[1:8:2])) == 1


def test_few_curves_midpoints_and_resampling():
    assert clusters([], 1.0).tolist() == []
    assert clusters([arc(1.0)], 1.0).tolist() == [0]
    np.testing.assert_allclose(midpoint(arc(1.0, points=101)), [0.0, 1.0], atol=1e-3)
    assert moving_part(np.array([[0.0], [2.0], [4.0], [4.1], [4.0], [4.0]]), 0.2)[:, 0].tolist() == [0.0, 2.0, 4.0]
    assert len(moving_part(np.zeros((9, 2)), 0.2)) == 2
    standing = np.concatenate([arc(1.0, points=101), np.repeat([[1.0, 0.0]], 50, axis=0)])
    np.testing.assert_allclose(midpoint(standing), [0.0, 1.0], atol=1e-3)
    np.testing.assert_allclose(resampled(np.array([[0.0], [2.0], [4.0]]), 5)[:, 0], [0, 1, 2, 3, 4])
    switched = switching(np.zeros((5, 1)), np.array([[0.5], [0.5], [-0.5], [0.5]]))
    assert switched.tolist() == [[0, 0], [1, 0], [2, 0], [2, -1], [2, 0]]


def test_the_archive_keeps_the_best_of_each_cell():
    ends = np.array([[-6.0, -6.0], [-5.9, -5.5], [5.9, 5.9], [99.0, 99.0]])
    played = Played(
        paths=[np.stack([np.zeros(2), end]) for end in ends],
        success=np.array([True, False, True, True]),
        outcome=np.array([0, 1, 2, -1]),
        returns=np.array([-12.0, 4.0, -4.0, -100.0]),  # worth 0, 1, 0.5 and 0
    )
    np.testing.assert_allclose(measures(SIX, played.paths), ends)
    assert cells(SIX, ends).tolist() == [0, 0, 99, 99]
    assert qd_score(SIX, played) == pytest.approx(1.5)
    found = single_runs.counts(SIX, played)
    assert (found["labels"], found["good"], found["episodes"]) == ([0, 2], 3, 4)


def test_rows_budgets_and_settings():
    rows = every_row()
    assert len(rows) == len(PROBLEMS) * (2 * len(METHODS) - len(GRADIENT_FREE))
    assert {row.name for row in rows} >= {"four_goals:rpg", "detour:sac:gradients"}
    assert found_row("maze_v1:cem") == Row(PROBLEMS["maze_v1"], "cem", "steps")
    for name, words in (
        ("maze:cem", "no problem 'maze'"),
        ("detour:x", "no method 'x'"),
        ("detour:cem:gradients", "detour:cem"),
    ):
        with pytest.raises(SystemExit, match=words):
            found_row(name)
    assert not is_there("no such")
    # gradient steps: one a round, or one an episode where that is too often
    assert gradient_budget(1000, 20, 32) == {"random_steps": 640, "update_interval": 1, "updates": 1, "iterations": 51}
    assert gradient_budget(50, 25, 16) == {"random_steps": 400, "update_interval": 25, "updates": 1, "iterations": 51}
    env = SixGoals(8)
    for method in ("rpg", "mixture", "multistart", "cem", "sac", "diffusion"):
        for budget in budgets_of(method):
            config = method_config(SIX, method, env, budget=budget, seed=7)
            assert (config.algorithm, config.seed) == (method, 7)
            if method in ("rpg", "multistart"):
                assert config.iterations == {"steps": 4, "gradients": 20}[budget]
    lqr = method_config(PROBLEMS["switched_lqr"], "rpg", env, budget="steps", seed=0)
    assert lqr.to_dict()["policy"] == "mlp"
    assert method_config(PROBLEMS["detour"], "sac", env, budget="steps", seed=0).to_dict()["updates"] == 2


def run_of(method="rpg", seed=100, problem=SIX, **changes):
    run = {
        "problem": problem.name, "method": method, "budget": "steps", "seed": seed, "setting": problem.setting,
        "success": 1.0, "return": 2.5, "steps": 480, "gradient_steps": 4, "seconds": 1.0, "processor_seconds": 1.0,
        "episodes": 8, "good": 4, "labels": [0, 3], "clusters": 2, "qd_score": 3.25, "paths": [[[0.0, 0.0], [1.0, 2.0]]],
    }  # fmt: skip
    return {**run, **changes}


def test_what_is_stored_is_counted_and_summed_up(tmp_path, monkeypatch):
    for problem in PROBLEMS.values():  # nothing else is run for the summary
        assert not stored_runs(problem, tmp_path)
    monkeypatch.setattr("benchmarks.multimodal.tables.ELSEWHERE", {"nosuchmodule": ("a",)})
    four = PROBLEMS["four_goals"]
    for seed in (100, 101, 102):
        append_run(four, run_of(seed=seed, problem=four, labels=list(range(seed - 99))), tmp_path)
    append_run(four, run_of("sac", problem=four), tmp_path)
    append_run(four, run_of("cem", problem=four, setting={"num_envs": 1}), tmp_path)
    append_run(four, {**run_of("hmc", problem=four), "cannot": "no gradient"}, tmp_path)
    assert missing_seeds(Row(four, "sac", "steps"), [100, 101], tmp_path) == [101]
    told = summary(tmp_path)
    assert (told["problems"], told["methods"], told["rows"]) == (8, 11, 1)
    assert told["missing"] == len(every_row()) - 1
    assert told["four_goals"] == {"rpg": 2.0, "sac": 2.0}
    assert told["a"] is None
    assert table_row(Row(four, "rpg", "steps"), tmp_path)[:6] == ["four_goals", "rpg", "3", "1, 2, 3 of 4", "2, 2, 2", "1.00"]
    assert table_row(Row(four, "cem", "steps"), tmp_path)[3] == "not run"
    assert table_row(Row(four, "hmc", "steps"), tmp_path)[3] == "cannot run: no gradient"
    assert "paths" not in stored_runs(four, tmp_path)["rpg", "steps", 100]
    pictured = PROBLEMS[PICTURED[0]]
    append_run(pictured, run_of(problem=pictured), tmp_path)
    assert "paths" in stored_runs(pictured, tmp_path)["rpg", "steps", 100]
    page = tmp_path / "page.md"
    page.write_text("".join(f"<!-- multimodal{end} -->\n<!-- end -->\n" for end in ("", "_steps", "_gradients")))
    write_tables(page, tmp_path)
    assert "| four_goals | 4 | 2.0 (1.00) | not run |" in page.read_text()
    assert listed(tmp_path)["problems"][0]["runs"] == 3 + 2
    from benchmarks.multimodal.picture import draw

    draw(tmp_path / "picture.png", tmp_path)
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_the_summary_of_nothing_has_all_its_keys(tmp_path):
    command = [sys.executable, "-m", "benchmarks.multimodal", "--summary", "--json", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.strip().splitlines()[-1])
    elsewhere = {name for names in ELSEWHERE.values() for name in names}
    assert set(told) == {"problems", "methods", "rows", "missing", "four_goals"} | elsewhere
    assert (told["rows"], told["four_goals"]) == (0, {})


@pytest.mark.parametrize(("method", "budget"), [("rpg", "steps"), ("cem", "steps"), ("diffusion", "gradients")])
def test_a_small_run(method, budget):
    pytest.importorskip("dtaidistance")
    run = single_runs.one_run(SIX, method, budget, 0)
    assert json.loads(json.dumps(run)) == run
    assert run["steps"] == {"steps": 4 * 8 * 15, "gradients": 21 * 8 * 15}[budget]
    assert run["gradient_steps"] == {"rpg": 4, "cem": 0, "diffusion": 21}[method]
    assert run["episodes"] >= 8
    assert 0.0 <= run["success"] <= 1.0


def test_a_method_that_cannot_run_says_why(monkeypatch):
    def refuse(*arguments, **settings):
        raise SettingError("algorithm was given 'mixture', which needs gradients")

    monkeypatch.setattr(single_runs, "Trainer", refuse)
    run = single_runs.one_run(SIX, "mixture", "steps", 0)
    assert run["cannot"] == "algorithm was given 'mixture', which needs gradients"


@pytest.mark.parametrize("method", ["map_elites", "cma_me"])
def test_quality_diversity_fills_the_archive(method):
    pytest.importorskip("ribs")
    found = found_by(SIX, SixGoals(8), method, iterations=4, seed=0)
    again = found_by(SIX, SixGoals(8), method, iterations=4, seed=0)
    assert found.steps == 4 * 8 * 15
    assert 4 < len(found.elites.paths) <= 32
    np.testing.assert_array_equal(found.elites.returns, again.elites.returns)
    assert found.chosen_return >= float(np.median(found.elites.returns)) - 1.0
    assert len({len(each) for each in (found.elites.paths, *found.elites[1:])}) == 1
