"""The benchmarks run, and print what their users parse."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import house
from benchmarks.processes import append_line, read_table, write_table

ROOT = Path(__file__).parent.parent


def test_a_table_is_read_as_it_was_written_into_its_place(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- other -->\n<!-- end -->\n<!-- own -->\nold\n<!-- end -->\nafter\n")
    rows = [("a", "1"), ("b", "-")]
    write_table(page, "own", ("name", "value"), rows)
    assert read_table(page, "own") == [["name", "value"], *map(list, rows)]
    assert read_table(page, "other") == read_table(page, "none") == read_table(tmp_path / "no page.md", "own") == []
    assert page.read_text().startswith("before\n<!-- other -->\n<!-- end -->\n<!-- own -->\n| name |")
    assert page.read_text().endswith("<!-- end -->\nafter\n")


def test_the_maze_is_summed_up_from_stored_lines(tmp_path):
    """The longest line of a run counts, lines that were cut off do not, and runs that have not got so far are left out."""
    from benchmarks.maze import ARMS, EXPERIMENT, SUMMARY, Options, summary, table_rows
    from benchmarks.rpg.streaming_runs import stored_runs

    def line(arm, seed, steps, visited):
        first = [1 + n % 10 if n < visited else None for n in range(100)]
        common = {"cpu_seconds": 60.0, "seconds": 70.0, "resumed_at": 0.0}
        return {"arm": arm, "seed": seed, "steps": steps, "first_visits": first, **common}

    for arm in SUMMARY:
        append_line(tmp_path / f"{arm}.jsonl", line(arm, 100, 60_000, 50))
    append_line(tmp_path / "gaussian.jsonl", line("gaussian", 100, 30_000, 20))
    append_line(tmp_path / "gaussian.jsonl", line("gaussian", 101, 60_000, 70))
    with (tmp_path / "none.jsonl").open("a") as file:
        file.write('{"arm": "none", "seed": 101, "st')
    assert stored_runs(EXPERIMENT, tmp_path)["gaussian", 100]["steps"] == 60_000
    expected = {**dict.fromkeys(SUMMARY, 0.5), "gaussian": 0.6}
    assert summary(Options(out=tmp_path, steps=60_000)) == {**expected, "seeds": 1, "steps": 60_000}
    # half of these cells were visited by then
    assert summary(Options(out=tmp_path, steps=5000))["gaussian"] == pytest.approx((0.25 + 0.35) / 2)
    assert summary(Options(out=tmp_path, steps=240_000))["gaussian"] is None
    rows = {row[0]: row for row in table_rows(Options(out=tmp_path, steps=60_000))}
    assert rows.keys() == ARMS.keys()
    assert rows["beta_0"][3] == "not run"
    assert rows["gaussian"][3:5] == ("**0.60**", "0.50, 0.70")


def test_preferences_are_summed_up_from_stored_lines(tmp_path, capsys):
    """Runs at other settings, other seeds, and lines that were cut off do not count; the last of a seed does."""
    from benchmarks.preferences import ROWS, Options, main, setting_of

    def store(row, seed, value, **changes):
        name, arm = row.split(":")
        own = {"success": value, "ways": [1]} if arm.endswith("+rpg") else {"correlation": value, "true_run": 0.5}
        line = {"row": row, "seed": seed, **own, "cpu_seconds": 1.0, "setting": {**setting_of(name, arm), **changes}}
        append_line(tmp_path / f"{row.replace(':', '-')}.jsonl", line)

    store("detour:weighted_chosen", 100, 0.2)
    for row in ROWS:
        store(row, 100, 0.9)
        store(row, 101, 0.7)
        store(row, 99, 0.0)
        store(row, 101, 0.0, learning={})
    with (tmp_path / "detour-weighted_chosen.jsonl").open("a") as file:
        file.write('{"row": "detour:weighted_chosen", "se')
    assert main(Options(out=tmp_path, seeds=3, summary=True, json=True)) == 0
    result = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert (result["rows"], result["runs"], result["missing"]) == (len(ROWS), 2 * len(ROWS), len(ROWS))
    assert result["rank_correlation"] == pytest.approx(0.8)
    assert result["detour"]["weighted_chosen+rpg"] == pytest.approx(0.8)
    assert main(Options(row=("detour:none",))) == 2


def test_soft_q_learning_is_summed_up_from_stored_lines(tmp_path):
    """Runs that have not got to the end are left out; arms without runs are in the table all the same."""
    from benchmarks.soft_q_learning import EXPERIMENTS, Options, goal_rows, rows_of, summary

    common = {"success": 1.0, "return": -200.0, "held": 4, "cpu_seconds": 10.0, "curve": [[800, 0.5, 1.0], [1600, 1.0, 2.0]]}
    whole = EXPERIMENTS["four_goals"].steps
    for seed, steps, goals in ((100, whole, 4), (101, whole, 3), (102, whole // 2, 1)):
        append_line(
            tmp_path / "four_goals_sql.jsonl", {"arm": "four_goals_sql", "seed": seed, "steps": steps, "goals": goals, **common}
        )
    run = {"arm": "hallway_sql", "seed": 100, "steps": EXPERIMENTS["hallway"].steps, "quarters": [0], **common}
    append_line(tmp_path / "hallway_sql.jsonl", run)
    options = Options(out=tmp_path)
    assert summary(options) == {
        "four_goals": {"four_goals_sql": {"seeds": 2, "goals": 3.5, "all_four": 0.5}},
        "hallway": {"hallway_sql": 1.0},
        "swimmer": {},
    }
    rows = {row[0]: row for row in goal_rows(options)}
    assert rows["four_goals_sql"][2:6] == ("2", "4, 3", "**1/2**", "4, 4")
    assert rows["four_goals_deterministic"][2] == "not run"
    assert {row[0]: row for row in rows_of("hallway", options)}["hallway_sql"][2:6] == ("**1.00**", "1.00", "1.6", "1")


@pytest.mark.slow
def test_rpg_sac_runs_both_and_sums_up(tmp_path):
    """Random steps of both, other runs as if they had been made before; the last line is one JSON object."""
    for seed, last in ((1, -150.0), (2, -100.0)):
        run = {"problem": "hopper", "method": "ours", "seed": seed, "cpu_seconds": 1.0, "done": seed > 0}
        run["curve"] = [[10000 * n, 900.0 + 100 * n + last] for n in range(1, 11)]
        (tmp_path / f"hopper-ours-{seed}.json").write_text(json.dumps(run))
    command = [
        sys.executable,
        "-m",
        "benchmarks.rpg_sac",
        "--problems",
        "pendulum",
        "--seeds",
        "1",
        "--steps",
        "1000",
        "--json",
    ]
    command += ["--steps", "1000", "--out", str(tmp_path), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.strip().splitlines()[-1])
    assert set(result) == {*(f"{p}_{m}" for p in ("pendulum", "hopper", "cheetah") for m in ("ours", "sb3")), "speed"}
    assert result["cheetah_sb3"] is None
    for method in ("ours", "sb3"):
        assert result[f"pendulum_{method}"]["steps"] == 1000
        assert -2000 < result[f"pendulum_{method}"]["mean"] < 0
    hopper = result["hopper_ours"]
    assert (hopper["seeds"], hopper["mean"], hopper["solved_after"]) == (2, 1725.0, [30000, 20000])


@pytest.mark.slow
def test_soft_speed_compares_equals():
    """The textbook's implementation and ours give the same positions and gradient; what is timed is the same physics."""
    from benchmarks.soft_speed import Worker, agree, interleaved

    workers = [Worker(name, particles=300, precision="f64") for name in ("ours", "textbook")]
    agree(workers[0], workers[1], "f64")
    times = interleaved(workers, "forward_backward", 2)
    assert [len(each) for each in times] == [2, 2]
    assert min(times[0]) > 0.0
    for worker in workers:
        worker.close()


@pytest.mark.slow
def test_the_limit_in_cpp_is_the_same_physics(monkeypatch):
    """Without a compiler it says so."""
    from benchmarks.soft import limit
    from benchmarks.soft_speed import Worker

    if limit.compiler() is None:
        pytest.skip("there is no g++ on this machine")
    workers = [Worker(name, particles=300) for name in ("ours", "limit")]
    ours, theirs = (np.array(worker.ask("result")["x"]) for worker in workers)
    for worker in workers:
        worker.close()
    assert np.abs(ours - theirs).max() < 1e-4 * np.abs(ours - ours.mean(axis=0)).max()
    monkeypatch.setattr(limit.shutil, "which", lambda name: None)
    with pytest.raises(RuntimeError, match="no g"):
        limit.library()


@pytest.mark.long
def test_memory_of_a_rollout_is_measured():
    command = [sys.executable, "-m", "benchmarks.soft.memory", "--particles", "300", "--substeps", "100", "--window", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.strip().splitlines()[-1])
    assert result["substeps"] == 100
    assert 0.0 <= result["rss_gb"] < 0.2


@pytest.mark.long
def test_rigid_speed_compares_equals_and_prints_one_json_object_last():
    """It stops where the arm's trajectory is not MuJoCo's, or the box comes to rest elsewhere."""
    pytest.importorskip("mujoco")
    command = [sys.executable, "-m", "benchmarks.rigid_speed", "--quick", "--json", "--no-whole", "--rounds", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.strip().splitlines()[-1])
    assert set(result) == {"arm_vs_mujoco", "box_vs_mujoco", "backward_over_forward"}
    assert min(result.values()) > 0.0


@pytest.mark.slow
@pytest.mark.parametrize("baseline", ["rpg", "gaussian", "reinforce"])
def test_seeds_at_once_are_single_runs(baseline):
    from dataclasses import replace

    from benchmarks.rpg_bandit import RPG, pulls_at_once
    from rpg import Trainer, train_seeds

    config = {"rpg": RPG, "gaussian": RPG.gaussian(), "reinforce": RPG.reinforce()}[baseline]
    config = replace(config, iterations=30)
    for seed, run in zip((3, 5), train_seeds(pulls_at_once, config, (3, 5), num_envs=16), strict=True):
        trainer = Trainer(pulls_at_once(16), replace(config, seed=seed))
        result = trainer.train()
        assert list(run.returns) == pytest.approx([row.return_mean for row in result.history], abs=1e-4)
        expected = trainer.evaluate()
        assert [e.probability for e in run.evaluations] == pytest.approx([e.probability for e in expected], abs=1e-4)
        assert [e.episode_return for e in run.evaluations] == pytest.approx([e.episode_return for e in expected], abs=1e-3)
        assert run.simulator_steps == result.history[-1].simulator_steps


@pytest.mark.slow
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


HOUSE = {
    "functions_over_12_parameters", "bare_offsets", "loose_files_diffsim", "loose_files_rpg", "repeated_module_names",
    "files_to_add_a_joint", "files_to_add_a_law", "files_to_add_a_shape",
}  # fmt: skip


def tree(folder: Path, files: dict[str, str]) -> Path:
    """A folder with empty packages diffsim, rpg and tasks, and these files."""
    for name, text in ({f"{package}/__init__.py": "" for package in ("diffsim", "rpg", "tasks")} | files).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_house_prints_one_json_object_last():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.house", "--json"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    result = json.loads(done.stdout.strip().splitlines()[-1])
    assert set(result) == HOUSE
    assert all(type(value) is int for value in result.values())


def test_the_house_stays_in_order():
    """Ceilings for this repository: what a change may not make worse."""
    counts = house.examine(ROOT).counts()
    assert counts["functions_over_12_parameters"] == counts["bare_offsets"] == counts["repeated_module_names"] == 0
    assert counts["loose_files_diffsim"] <= 8
    assert counts["loose_files_rpg"] <= 4
    assert max(counts[f"files_to_add_a_{name}"] for name in ("joint", "law", "shape")) <= 2


def test_house_of_an_empty_tree(tmp_path, capsys):
    found = house.examine(tree(tmp_path, {}))
    assert found.counts() == {name: int(name.startswith("files_to_add")) for name in HOUSE}
    house.report(found)
    assert "bare offsets: 0" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="has no diffsim, rpg, tasks"):
        house.examine(tmp_path / "diffsim")


def test_house_counts_parameters_and_files(tmp_path):
    twelve = ", ".join(f"a{n}" for n in range(12))
    code = (
        f"import taichi as ti\n"
        f"def fits({twelve}): ...\n"
        f"def long({twelve}, *, b=0): ...\n"
        f"class A:\n    def fits(self, {twelve}): ...\n    def long(self, {twelve}, *rest): ...\n"
        f"def outer():\n    def inner({twelve}, **rest): ...\n"
        f"@ti.kernel\ndef entry({twelve}, b, c): ...\n"
        f"@ti.func\ndef device({twelve}, b, c): ...\n"
    )
    files = {"rpg/a.py": code, "rpg/b/one.py": "", "tasks/one.py": "", "diffsim/b.py": "", "diffsim/c.py": "", "tasks/d.py": ""}
    found = house.examine(tree(tmp_path, files))
    assert [place.what.split()[0] for place in found.functions] == ["long", "device", "long", "inner"]
    assert [place.line for place in found.functions] == [3, 12, 6, 8]
    counts = found.counts()
    assert (counts["functions_over_12_parameters"], counts["loose_files_diffsim"], counts["loose_files_rpg"]) == (4, 2, 1)
    assert found.repeated == {"one": ["rpg/b/one.py", "tasks/one.py"]}


OFFSETS = """
from diffsim.compiler import ti
from diffsim.records import LinkConstants

COUNTS = 3

@ti.func
def load(array: ti.template(), at):
    return vec3(array[at], array[at + 1], array[at + 2])  # one vector

@ti.func
def column(tile: ti.template(), j: ti.template()):
    return tile[3 + j][0], tile[6 + j][0]  # j is a constant in all calls

class Place(NamedTuple):
    number: Any
    row: Any

@ti.func
def entry(memory: ti.template(), place: ti.template()):
    return memory.reals[place.row]

@ti.func
def read(reals: ti.template(), sizes: ti.template(), own, tile: ti.template()):
    a = reals[own + 15]  # 1
    b = reals[own + LinkConstants.rotation]
    c = reals[own + LinkConstants.rotation + 4]  # 2
    d = load(reals, own + 3)  # 3
    at = own + 7  # 4
    at = at + 1  # a step
    e = load(reals, at)
    v = vec3(0.0, 0.0, 0.0)
    f = v[2]
    for i in ti.static(range(3)):
        f = f + tile[3 * i + 1][0] + reals[own + 9 + i]  # 5
    g = reals[(own + 1) * COUNTS]  # a row's number
    h = sizes[COUNTS] + sizes[own] + sizes[COUNTS + 1]  # 6
    k = reals[own + ti.static(15 if f > 0 else 16)]  # 7, 8
    n = sizes[2]  # 9
    place = Place(own + 1, own + 6)  # 10
    return a, b, c, d, e, f, g, h, k, n, place, ti.max(own + 3, 5), column(tile, 1), column(tile, 2)
"""


def test_house_counts_bare_offsets(tmp_path):
    found = house.examine(tree(tmp_path, {"diffsim/soft/kernels.py": OFFSETS, "diffsim/host.py": "x = a[b + 3]"}))
    marked = [n for n, line in enumerate(OFFSETS.splitlines(), 1) for mark in line.split("# ")[1:] if mark[0].isdigit()]
    assert sorted({place.line for place in found.offsets}) == marked
    assert len(found.offsets) == 10
    assert {place.file for place in found.offsets} == {"diffsim/soft/kernels.py"}
    assert found.left_out["entries of one vector"] == 2
    assert found.left_out["literals inside a product"] == 1
    assert found.left_out["steps of counters"] == 1


def test_house_counts_files_to_add_a_member(tmp_path):
    scattered = {
        "diffsim/joints.py": 'SIZES = {"fixed": 0, "revolute": 1, "ball": 3}',
        "diffsim/a.py": "def f(kind):\n    if kind == BALL or kind == FREE: ...",
        "diffsim/b.py": "def f(kind):\n    return 'free' == kind or kind != FIXED",  # general
        "diffsim/c.py": "def f(joint):\n    match joint:\n        case RevoluteJoint(): ...",
        "diffsim/d.py": "x = ds.Joint('a', 'revolute')\ny = f(BALL)",  # makes them
        "diffsim/e.py": "def f(shape):\n    return isinstance(shape, Box | Torus)",
        "diffsim/f.py": "def f(shape: Box | Torus) -> tuple[Box, Torus]:\n    return isinstance(shape, Plane)",
        "diffsim/h.py": "def f(shape):\n    if not isinstance(shape, RoundedBox):\n        raise ValueError",  # refuses
        "diffsim/__init__.py": "from diffsim.soft import Elastic, Sand\n__all__ = ['Elastic', 'Sand']",  # public names
        "diffsim/robots/reader.py": "import mujoco\nKINDS = ('ball', 'revolute')",  # of a file format
        "diffsim/soft/__init__.py": "from diffsim.materials import Elastic, Sand",
        "diffsim/g.py": "def f(x):\n    return sizes['prismatic'] + stress['snow']",
        "rpg/a.py": "x = kind == 'ball'",
    }
    found = house.examine(tree(tmp_path, scattered))
    files = {name: sorted({Path(place.file).stem for place in places}) for name, places in found.family.items()}
    assert files == {"joint": ["a", "c", "g", "joints"], "law": ["__init__", "g"], "shape": ["e"]}
    assert found.left_out["laws' names that decide nothing"] == 2
    assert found.left_out["joints' names that decide nothing"] == 1
    counts = found.counts()
    assert [counts[f"files_to_add_a_{name}"] for name in ("joint", "law", "shape")] == [5, 3, 2]


def test_house_asks_for_one_file_where_each_member_has_its_own(tmp_path):
    files = {
        "diffsim/joints/registry.py": "JOINTS = {}\ndef register(joint):\n    JOINTS[joint.kind] = joint",
        "diffsim/joints/ball.py": "@register\nclass Ball(Joint):\n    kind = 'ball'",
        "diffsim/joints/revolute.py": "@register\nclass Revolute(Joint):\n    kind = 'revolute'",
        "diffsim/shapes/torus.py": "from diffsim.shapes import Box\n@dataclass\nclass Torus(Shape): ...",
    }
    counts = house.examine(tree(tmp_path, files)).counts()
    assert [counts[f"files_to_add_a_{name}"] for name in ("joint", "law", "shape")] == [1, 1, 1]


# physics


def test_physics_lists_its_cases():
    from benchmarks.physics.__main__ import SUBJECTS, chosen, registered

    known = registered()
    assert {each.subject for each in known.values()} == set(SUBJECTS)
    assert {each.point for each in known.values()} == {1, 2, 3, 4, 5, 6, 7, 8, 10}
    named = ("slope_sticks", "tower", "many_bounces", "stiff_incompressible", "fast_thin_blade", "batch_determinism")
    assert set(named) <= set(known)
    assert chosen(("gyroscope", "forces"))[0].name == "gyroscope"
    with pytest.raises(SystemExit, match="no experiment or subject nothing"):
        chosen(("nothing",))


def test_physics_counts_what_raises_and_what_is_no_number():
    from benchmarks.physics.registry import Experiment, Results, about, within

    def run() -> Results:
        yield "near", 1.01
        yield "nan", float("nan")
        yield "far", 1.1
        raise RuntimeError("no more")

    expected = {name: within(1.0, 0.02, "m") for name in ("near", "nan", "far")} | {"never": about(0.0, 1.0)}
    near, nan, far, never = Experiment("e", "subject", 1, run, expected).records()
    assert near == {
        "name": "e: near", "point": 1, "measured": 1.01, "expected": 1.0, "tolerance": 0.02, "unit": "m", "pass": True
    }  # fmt: skip
    assert not nan["pass"]
    assert nan["measured"] is None
    assert not far["pass"]
    assert never["measured"] is None
    assert not never["pass"]
    assert never["error"] == "RuntimeError: no more"


@pytest.mark.slow
def test_physics_prints_one_json_object_last(tmp_path):
    command = [
        sys.executable,
        "-m",
        "benchmarks.physics",
        "--json",
        "--only",
        "free box",
        "--table",
        str(tmp_path / "table.md"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.strip().splitlines()[-1])
    assert set(result) == {"cases", "passed", "of"}
    assert result["of"] == len(result["cases"]) == 3
    assert result["passed"] == sum(each["pass"] for each in result["cases"])
    for each in result["cases"]:
        assert set(each) - {"error"} == {"name", "point", "measured", "expected", "tolerance", "unit", "pass"}
    assert "| free box: 20 rad/s" in (tmp_path / "table.md").read_text()


# gradients


@pytest.mark.long
def test_differentiability_finds_every_input_of_a_rigid_scene_at_work(monkeypatch):
    from benchmarks import differentiability

    monkeypatch.setattr(differentiability, "single_precision_error", lambda scene: 0.0)
    cells = differentiability.column(differentiability.SCENES["rigid, events"](), 1)
    assert cells.pop(("state", "time_step")) == "an integer"
    assert cells.pop(("state", "contact_wrench")) == "not read by a step"
    rows = {name for _kind, name in cells}
    assert {"q", "qd", "tool_position", "torque control", "external force", "restitution", "gravity"} <= rows
    assert {"offset", "tendon_stiffness", "tendon_damping", "tendon_limit_stiffness", "gravity_compensation"} <= rows
    assert max(float(cell) for cell in cells.values()) < 1e-5
