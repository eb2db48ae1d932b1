"""The benchmarks run, and print what their users parse."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_detour_prints_one_json_object_last(tmp_path):
    command = [sys.executable, "-m", "benchmarks.detour", "--seeds", "1", "--iterations", "1", "--num-envs", "8"]
    command += ["--out", str(tmp_path / "out"), "--table", str(tmp_path / "table.md"), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.strip().splitlines()[-1])
    assert set(result) == {"rpg_success", "gaussian_success", "rpg_beta0_success", "seeds", "simulator_steps"}
    assert result["seeds"] == 1
    assert result["simulator_steps"] == 8 * 25
    assert len((tmp_path / "table.md").read_text().splitlines()) == 5
    # equal simulator steps for all methods
    steps = {json.loads(path.read_text())["simulator_steps"] for path in (tmp_path / "out").glob("*.json")}
    assert steps == {200}


def test_rpg_tasks_sums_up_what_is_there(tmp_path):
    """Two short runs, the others as if they had been made before; then the last line is one JSON object."""
    from benchmarks.rpg_tasks import METHODS, Options, run_single

    short = Options(num_envs=4, iterations=1)
    runs = {method: run_single(f"CupTrap:{method}:0", short) for method in ("rpg", "multistart")}
    for method in METHODS["CupTrap"]:
        run = runs.get(method, runs["rpg"])
        assert run["simulator_steps"] == 4 * 40
        (tmp_path / f"CupTrap-{method}-0.json").write_text(json.dumps({**run, "method": method}))
    command = [sys.executable, "-m", "benchmarks.rpg_tasks", "--task", "CupTrap", "--seeds", "1", "--json"]
    command += ["--out", str(tmp_path), "--table", str(tmp_path / "table.md"), "--resume"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.strip().splitlines()[-1])
    assert set(result) == {"seeds", *(f"CupTrap_{method}" for method in METHODS["CupTrap"])}
    assert result["CupTrap_rpg"] == {"succeeded": 0, "outcomes": [0], "simulator_steps": 160}
    assert len((tmp_path / "table.md").read_text().splitlines()) == 2 + len(METHODS["CupTrap"])


def test_soft_speed_compares_equals():
    """The textbook's implementation and ours give the same positions and gradient; what is timed is the same physics."""
    from benchmarks.soft_speed import Worker, agree, interleaved

    workers = [Worker(name, particles=300, precision="f64") for name in ("ours", "textbook")]
    agree(*workers, "f64")
    times = interleaved(workers, "forward_backward", 2)
    assert [len(each) for each in times] == [2, 2]
    assert min(times[0]) > 0.0
    for worker in workers:
        worker.close()


def test_memory_of_a_rollout_is_measured():
    command = [sys.executable, "-m", "benchmarks.soft.memory", "--particles", "300", "--substeps", "100", "--window", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.strip().splitlines()[-1])
    assert result["substeps"] == 100
    assert 0.0 <= result["rss_gb"] < 0.2


def test_rigid_speed_compares_equals_and_prints_one_json_object_last():
    """It stops where the arm's trajectory is not MuJoCo's, or the box comes to rest elsewhere."""
    pytest.importorskip("mujoco")
    command = [sys.executable, "-m", "benchmarks.rigid_speed", "--quick", "--json", "--rounds", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.strip().splitlines()[-1])
    assert set(result) == {"arm_vs_mujoco", "box_vs_mujoco", "backward_over_forward"}
    assert min(result.values()) > 0.0


@pytest.mark.parametrize("baseline", ["rpg", "gaussian", "reinforce"])
def test_seeds_at_once_are_single_runs(baseline):
    from dataclasses import replace

    from benchmarks.rpg.seeds import train_seeds
    from benchmarks.rpg_bandit import RPG, pulls_at_once
    from rpg import Trainer

    config = {"rpg": RPG, "gaussian": RPG.gaussian(), "reinforce": RPG.reinforce()}[baseline]
    config = replace(config, iterations=30)
    for seed, run in zip((3, 5), train_seeds(pulls_at_once, config, (3, 5), num_envs=16), strict=True):
        trainer = Trainer(pulls_at_once(16), replace(config, seed=seed))
        result = trainer.train()
        assert run["returns"] == pytest.approx([row.return_mean for row in result.history], abs=1e-4)
        expected = trainer.evaluate()
        assert [e.probability for e in run["evaluations"]] == pytest.approx([e.probability for e in expected], abs=1e-4)
        assert [e.episode_return for e in run["evaluations"]] == pytest.approx([e.episode_return for e in expected], abs=1e-3)
        assert run["simulator_steps"] == result.history[-1].simulator_steps


@pytest.mark.parametrize(("name", "keys"), [
    ("rpg_bandit", {"rpg", "gaussian", "reinforce", "rpg_beta0"}),
    ("rpg_multigoal", {"rpg", "rpg_min", "gaussian", "gaussian_min"}),
    ("rpg_wall", {f"{method}_{policy}" for method in ("rpg", "gaussian", "rpg_beta0") for policy in ("table", "mlp")}),
])  # fmt: skip
def test_policy_experiments_print_one_json_object_last(tmp_path, name, keys):
    command = [sys.executable, "-m", f"benchmarks.{name}", "--seeds", "2", "--iterations", "2", "--json", "--jobs", "1"]
    command += ["--out", str(tmp_path / "out"), "--table", str(tmp_path / "t.md"), "--plot", str(tmp_path / "p.png")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.strip().splitlines()[-1])
    assert set(result) == keys | {"seeds", "simulator_steps"}
    steps = {json.loads(path.read_text())["simulator_steps"] for path in (tmp_path / "out").glob("*.json")}
    assert steps == {result["simulator_steps"]}
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    if name == "rpg_multigoal":
        again = subprocess.run([*command, "--resume"], cwd=ROOT, capture_output=True, text=True, check=True)
        assert json.loads(again.stdout.strip().splitlines()[-1]) == result
