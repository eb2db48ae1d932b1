"""Every example runs as its docstring says."""

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from rpg.runs.task_lookup import task_class

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parent.parent / "examples"
SHORT = {
    "push_to_goal.py": ["--iterations", "16"],
    "check_gradients.py": [],
    "identify_material.py": [],  # tests/diffsim/test_parameters.py runs it
    "robot_arm.py": ["--iterations", "60"],
    "pour_liquid.py": ["--particles", "600"],
    "cut_dough.py": ["--particles", "1000", "--steps", "60"],
    "panda_grasp.py": ["--steps", "40"],
    "panda_lift.py": [],
    "shape_plasticine.py": ["--particles", "300", "--iterations", "12"],
    "preferences.py": [],
    "own_policy.py": ["--iterations", "40"],
    "own_environment.py": ["--iterations", "60"],
    "urdf_robot.py": ["--iterations", "10"],
    "several_solutions.py": ["--task", "Move3", "--iterations", "30", "--num-envs", "16"],
    "learn_by_sb3.py": ["--steps", "16000"],
    "cleanrl_ppo.py": ["--num-envs", "4", "--num-steps", "20", "--total-steps", "240"],
}


TASKS = {"roll_dough.py": "RollDough", "lift_block.py": "LiftBlock", "drag_ring.py": "DragRing"}  # for the command line


def run_example(name: str, *arguments: str, cwd: Path) -> str:
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_tested_and_shown():
    from benchmarks.example_pictures import SECTIONS

    assert {path.name for path in EXAMPLES.glob("*.py")} == set(SHORT) | set(TASKS)
    shown = [each.file.name for section in SECTIONS.values() for each in section]
    assert sorted(shown) == sorted(path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb"))


def test_the_page_of_examples_is_that_of_the_files():
    from benchmarks.example_pictures import SECTIONS, row

    page = (EXAMPLES.parent / "docs" / "examples.md").read_text()
    for shown in (each for section in SECTIONS.values() for each in section):
        _, title, command, _ = row(shown, {})
        assert f"| {title} | {command} |" in page, "python -m benchmarks.example_pictures --no-run writes it anew"
        picture = EXAMPLES.parent / "docs" / "images" / "examples" / f"{shown.name}.jpg"
        assert (f"images/examples/{picture.name}" in page) == picture.exists()
        assert not picture.exists() or picture.stat().st_size < 30_000


def test_the_notebook_runs(tmp_path):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    notebook = nbformat.read(EXAMPLES / "first_steps.ipynb", as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in cells)  # stored without what it printed
    nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    printed = "".join(output.get("text", "") for cell in cells for output in cell.outputs)
    slope = re.search(r"by the finger's speed along x (-?[\d.]+)", printed)
    assert slope is not None, printed
    assert 0.1 < float(slope[1]) < 1.0  # m of the jelly per m/s of the finger, over 0.4 s
    away = [float(value) for value in re.findall(r"([\d.]+) cm from the goal", printed)]
    assert away[-1] < 1.5 < away[0]
    assert sum("image/png" in output.get("data", {}) for cell in cells for output in cell.outputs) == 3
    assert "Graphical python shell" not in printed  # nothing of the compiler's own


@pytest.mark.long
def test_own_policy_balances_the_pole(tmp_path):
    output = run_example("own_policy.py", *SHORT["own_policy.py"], cwd=tmp_path)
    up = [int(value) for value in re.findall(r"(\d+) of 16 poles", output)]
    assert up[0] == 0
    assert up[-1] >= 14
    frames = iio.imread(tmp_path / "own_policy.mp4", plugin="pyav")
    assert len(frames) == 76  # the start, and one a control step
    half = frames.shape[2] // 2
    assert np.abs(frames[0].astype(float) - frames[25])[:, :half].mean() > 0.5  # where it falls


def test_own_environment_has_four_ways_of_which_rpg_finds_several(tmp_path):
    output = run_example("own_environment.py", *SHORT["own_environment.py"], cwd=tmp_path)
    rows = re.findall(r"^(RPG|one Gaussian) +(far left|left|right|far right) +return +(-[\d.]+)  success +(\d+)%", output, re.M)
    found = {name for method, name, _, success in rows if method == "RPG" and int(success) >= 50}
    assert len(found) >= 3
    assert [method for method, *_ in rows].count("one Gaussian") == 1
    assert (tmp_path / "own_environment.png").stat().st_size > 10_000


def test_urdf_robot_follows_its_circle_better_once_tuned(tmp_path):
    output = run_example("urdf_robot.py", *SHORT["urdf_robot.py"], cwd=tmp_path)
    moved = dict(re.findall(r"joint (\w+) +moves small_arm.(\w+),", output))
    assert moved == {"turn": "turntable", "shoulder": "upper", "elbow": "lower"}
    gaps = [float(value) for value in re.findall(r"the tip is +([\d.]+) mm", output)]
    assert len(gaps) == 2
    assert gaps[1] < 0.4 * gaps[0]
    assert len(iio.imread(tmp_path / "urdf_robot.mp4", plugin="pyav")) == 51


@pytest.mark.long
def test_several_solutions_finds_goals_and_draws_a_row_for_each(tmp_path):
    output = run_example("several_solutions.py", *SHORT["several_solutions.py"], cwd=tmp_path)
    rows = re.findall(r"^(RPG|one Gaussian) +the goal (\S.*?)  +[\d.]+ +(\d+)% +\d+ +\d+%", output, re.M)
    found = {name for method, name, success in rows if method == "RPG" and int(success) >= 50}
    assert len(found) >= 2
    assert [method for method, *_ in rows].count("one Gaussian") == 1
    assert iio.imread(tmp_path / "several_solutions.png").shape == (180 * len(found), 4 * 240 + 3 * 4, 3)
    assert (tmp_path / "several_solutions.mp4").is_file()


@pytest.mark.long
def test_learn_by_sb3_opens_the_door_more_often(tmp_path):
    output = run_example("learn_by_sb3.py", *SHORT["learn_by_sb3.py"], cwd=tmp_path)
    returns = [float(value) for value in re.findall(r"return +(-?[\d.]+)", output)]
    assert returns[-1] > returns[0] + 5.0
    found = re.search(r"without noise (\d+) of 20", output)
    assert found is not None
    assert int(found[1]) >= 10
    assert len(iio.imread(tmp_path / "learn_by_sb3.mp4", plugin="pyav")) > 60


@pytest.mark.parametrize("name", TASKS)
def test_every_example_task_is_sound_and_gives_gradients(name):
    task = task_class(f"{EXAMPLES / name}:{TASKS[name]}")(2)
    horizon = min(task.horizon, 4)
    actions = torch.full((horizon, 2, task.action_dim), -0.5, requires_grad=True)
    episode, total = task.reset(seed=0), torch.zeros(2)
    for action in actions:
        episode, reward, info = task.step(episode, action)
        total = total + reward
    assert info["running"].all()
    assert not info["success"].any()
    total.sum().backward()
    assert actions.grad is not None
    assert actions.grad.isfinite().all()
    assert (actions.grad.abs().amax(dim=(0, 1)) > 0.0).all()  # every component of an action matters
    task.check_rendering()


def test_push_to_goal_improves_and_leaves_a_video(tmp_path):
    output = run_example("push_to_goal.py", *SHORT["push_to_goal.py"], cwd=tmp_path)
    returns = [float(value) for value in re.findall(r"return\s+(-?[\d.]+)", output)]
    assert len(returns) == 16
    assert returns[-1] > returns[0] + 5.0
    assert output.splitlines()[-2].endswith("[True]")  # and the block is at the goal
    frames = iio.imread(tmp_path / "push_to_goal.mp4", plugin="pyav")
    assert len(frames) == 20  # one a control step
    assert np.abs(frames[0].astype(float) - frames[-1]).mean() > 1.0


@pytest.mark.long
def test_robot_arm_brings_the_box_to_the_goal_and_leaves_a_video(tmp_path):
    output = run_example("robot_arm.py", *SHORT["robot_arm.py"], cwd=tmp_path)
    distances = [float(value) for value in re.findall(r"the box is ([\d.]+) cm", output)]
    assert len(distances) == 60
    assert distances[0] > 15.0
    assert distances[-1] < 2.0
    frames = iio.imread(tmp_path / "robot_arm.mp4", plugin="pyav")
    assert len(frames) == 61  # the start, and one a control step
    assert np.abs(frames[0].astype(float) - frames[-1]).mean() > 1.0


@pytest.mark.long
def test_pour_liquid_fills_the_bowl_and_leaves_a_video(tmp_path):
    output = run_example("pour_liquid.py", *SHORT["pour_liquid.py"], cwd=tmp_path)
    found = re.search(r"([\d.]+)% of the (\d+) particles", output)
    assert found is not None
    assert float(found[1]) > 90.0
    assert int(found[2]) > 500
    frames = iio.imread(tmp_path / "pour_liquid.mp4", plugin="pyav")
    assert len(frames) == 161  # the start, and one a control step
    assert np.abs(frames[0].astype(float) - frames[-1]).mean() > 1.0


@pytest.mark.long
def test_cut_dough_parts_it_and_leaves_a_video(tmp_path):
    output = run_example("cut_dough.py", *SHORT["cut_dough.py"], cwd=tmp_path)
    found = re.search(r"a gap of ([\d.]+) cm between (\d+) and (\d+) particles", output)
    assert found is not None
    assert float(found[1]) > 8.0
    assert min(int(found[2]), int(found[3])) > 400
    assert len(iio.imread(tmp_path / "cut_dough.mp4", plugin="pyav")) == 61


def test_shape_plasticine_comes_nearer_to_its_target(tmp_path):
    output = run_example("shape_plasticine.py", *SHORT["shape_plasticine.py"], cwd=tmp_path)
    found = [float(value) for value in re.findall(r"off by +([\d.]+) mm", output)]
    assert found[0] > 10.0
    assert found[-1] < 0.6 * found[0]
    assert (tmp_path / "shape_plasticine.png").is_file()


def test_cleanrl_ppo_steps_and_updates(tmp_path):
    output = run_example("cleanrl_ppo.py", *SHORT["cleanrl_ppo.py"], cwd=tmp_path)
    rows = re.findall(r"steps +(\d+)  return +(-?[\d.]+)  solved +(\d+)%", output)
    assert [int(steps) for steps, *_ in rows] == [80, 160, 240]
    assert len({value for _, value, _ in rows}) == 3
    assert -20.0 < float(rows[0][1]) < 5.0  # 20 steps of a policy that has learnt nothing


def test_preferences_learns_a_reward_and_reaches_a_goal(tmp_path):
    output = run_example("preferences.py", *SHORT["preferences.py"], cwd=tmp_path)
    rows = re.findall(r"(\d+) answers  agreement ([\d.]+)  rank correlation (-?[\d.]+)", output)
    assert [int(asked) for asked, *_ in rows] == [50, 100, 150, 200, 250, 300]
    assert float(rows[-1][2]) > 0.8
    found = re.findall(r"^(?:east|north|west|south) +success ([\d.]+)", output, flags=re.MULTILINE)
    assert max(map(float, found)) > 0.5  # a goal is reached by a policy that knows the answers alone
    assert (tmp_path / "preferences.pt").is_file()
    assert (tmp_path / "preferences.png").is_file()


@pytest.mark.long
@pytest.mark.robot_models
@pytest.mark.parametrize("option", ["--soft", "--no-soft"])
def test_panda_grasp_lifts_the_cube_and_leaves_a_video(tmp_path, option):
    try:
        importlib.metadata.distribution("example-robot-data")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("example-robot-data is not installed; make test installs it")
    output = run_example("panda_grasp.py", option, *SHORT["panda_grasp.py"], cwd=tmp_path)
    found = re.search(r"([\d.]+) m above where it lay", output)
    assert found is not None
    assert float(found[1]) > 0.12
    assert len(iio.imread(tmp_path / "panda_grasp.mp4", plugin="pyav")) == 41


@pytest.mark.long
@pytest.mark.robot_models
def test_panda_lift_solves_its_task_by_the_script(tmp_path):
    try:
        importlib.metadata.distribution("example-robot-data")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("example-robot-data is not installed; make test installs it")
    output = run_example("panda_lift.py", *SHORT["panda_lift.py"], cwd=tmp_path)
    found = re.search(r"([\d.]+) m; success: True", output)
    assert found is not None, output
    assert float(found[1]) > 0.18
    assert len(iio.imread(tmp_path / "panda_lift.mp4", plugin="pyav")) == 70


def test_check_gradients_prints_agreeing_derivatives(tmp_path):
    output = run_example("check_gradients.py", cwd=tmp_path)
    pairs = re.findall(r"adjoint\s+(\S+)\s+finite differences\s+(\S+)", output)
    assert len(pairs) == 6
    for adjoint, finite in pairs:
        assert float(adjoint) == pytest.approx(float(finite), rel=1e-4, abs=1e-9)
