"""Benchmarks of long runs: they go on where they were stopped, and sum up what is stored."""

import json
from dataclasses import replace

import pytest

from benchmarks import dense_cabinet, maze, sparse_push
from benchmarks.processes import append_line
from benchmarks.rpg.streaming_runs import reached, run_single
from benchmarks.rpg.success_runs import late, main, solved_after, summary
from rpg.environments.block_push import BlockPush

TINY = replace(
    sparse_push.SMALL, hidden=(8, 8), memory=8, state_dim=6, novelty_hidden=(8, 8), batch_size=8, steps=30, random_steps=140
)
EXPERIMENT = replace(
    sparse_push.EXPERIMENT,
    arms={"gaussian": TINY, "none": replace(TINY, latent="none")},
    environment=lambda arm: BlockPush(num_envs=2, horizon=10),
    block=60,
    stored=60,
)


def test_a_run_goes_on_where_it_was_stopped(tmp_path):
    options = sparse_push.Options(runs=tmp_path / "runs", out=tmp_path / "out")
    for steps in (120, 180):
        run_single(EXPERIMENT, "gaussian", 3, replace(options, steps=steps))
    lines = [json.loads(line) for line in (tmp_path / "out" / "gaussian.jsonl").read_text().splitlines()]
    assert [line["steps"] for line in lines] == [60, 120, 180]
    assert [line["resumed_at"] > 0 for line in lines] == [False, False, True]
    assert [row[0] for row in lines[-1]["curve"]] == [60, 120, 180]
    found = reached(EXPERIMENT, replace(options, steps=180))
    assert [run["seed"] for run in found["gaussian"]] == [3]
    assert found["none"] == []


def stored(folder, arm, seed, successes):
    curve = [[3000 * (n + 1), success, 10 * success] for n, success in enumerate(successes)]
    run = {"arm": arm, "seed": seed, "steps": curve[-1][0], "curve": curve, "cpu_seconds": 60.0, "resumed_at": 0.0}
    append_line(folder / f"{arm}.jsonl", run)
    return run


def test_success_is_that_of_the_last_thirty_thousand_steps(tmp_path, capsys):
    run = stored(tmp_path, "gaussian", 100, [0.0] * 10 + [1.0] * 10)
    assert late(run, 60_000) == 1.0
    assert late(run, 45_000) == 0.5
    assert late(run, 60_000, 2) == 10.0
    assert solved_after(run) == 57_000
    stored(tmp_path, "gaussian", 101, [0.0] * 20)
    with (tmp_path / "gaussian.jsonl").open("a") as file:
        file.write('{"arm": "gauss')  # cut off
    page = tmp_path / "page.md"
    page.write_text("<!-- sparse_push -->\n<!-- end -->\n")
    options = sparse_push.Options(out=tmp_path, steps=60_000, table=page, json=True)
    assert main(sparse_push.EXPERIMENT, options) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"gaussian": 0.5, "none": None, "seeds": 0, "steps": 60_000}
    rows = page.read_text().splitlines()
    assert rows[3].split(" | ")[2:6] == ["1.00", "**0.50**", "1.00, 0.00", "57, never"]
    assert all("not run" in row for row in rows[4:7])
    assert (tmp_path / "images" / "sparse_push.png").stat().st_size > 5000
    assert main(sparse_push.EXPERIMENT, replace(options, row=("other",))) == 2


@pytest.mark.parametrize(
    "experiment", [maze.EXPERIMENT, sparse_push.EXPERIMENT, dense_cabinet.EXPERIMENT], ids=lambda e: e.name
)
def test_experiments_fit_together(experiment):
    assert set(experiment.summary) <= set(experiment.arms)
    assert (
        experiment.stored % experiment.block == experiment.quick % experiment.block == experiment.steps % experiment.block == 0
    )
    for config in experiment.arms.values():
        assert config.steps is not None
        assert 5 * config.steps == experiment.block


def test_nothing_is_stored_before_a_run(tmp_path):
    found = summary(dense_cabinet.EXPERIMENT, dense_cabinet.Options(out=tmp_path))
    assert found == {"gaussian": None, "none": None, "seeds": 0, "steps": 800_000}
