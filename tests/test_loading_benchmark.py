"""benchmarks.loading counts what loads, and what hangs; its reference is MuJoCo."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import trimesh

from benchmarks.loading.__main__ import summary
from benchmarks.loading.model_packages import Model, folders
from benchmarks.loading.trials import results, trial

pytest.importorskip("mujoco")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
GRIPPER = """<robot name="gripper"><link name="palm"/>{links}</robot>"""
FINGER = """<link name="{name}"><inertial><origin xyz="0 0 .05"/><mass value=".1"/>
<inertia ixx="1e-3" iyy="2e-3" izz="1.5e-3" ixy="0" ixz="0" iyz="0"/></inertial></link>
<joint name="{name}_joint" type="revolute"><parent link="palm"/><child link="{name}"/><axis xyz="0 1 0"/>
<dynamics damping=".01"/><limit lower="-1" upper="1" effort="1" velocity="1"/>{mimic}</joint>"""


def mesh(path: Path, subdivisions: int) -> Model:
    trimesh.creation.icosphere(subdivisions).export(path)
    return Model("mesh", "own", path, path.name)


def test_a_trial_that_takes_too_long_hangs_and_the_others_go_on(tmp_path):
    models = [mesh(tmp_path / "a.stl", 1), mesh(tmp_path / "b.stl", 7), mesh(tmp_path / "c.stl", 1)]
    verdicts = [result["verdict"] for result in results(models, seconds=0.02)]
    assert verdicts == ["loaded", "hung", "loaded"]


def test_what_is_no_robot_is_refused_with_a_reason(tmp_path):
    path = tmp_path / "broken.urdf"
    path.write_text("<robot>")
    result = trial(Model("robot", "own", path, path.name))
    assert result["verdict"] == "refused"
    assert "not well-formed XML" in result["reason"]
    counts = summary([{"kind": "robot", "name": "broken.urdf", **result}])
    assert (counts["robots"], counts["loaded"], counts["refused_with_reason"], counts["crashed"]) == (1, 0, 1, 0)


def test_trees_and_constraints_agree_with_mujoco(tmp_path):
    path = tmp_path / "gripper.urdf"
    mimic = '<mimic joint="left_joint" multiplier="-.8" offset="0"/>'
    fingers = FINGER.format(name="left", mimic="") + FINGER.format(name="right", mimic=mimic)
    path.write_text(GRIPPER.format(links=fingers))
    result = trial(Model("robot", "own", path, path.name))
    assert result["verdict"] == "loaded"
    assert result["apart"] < 1e-9
    assert result["constrained_apart"] < 1e-6


@pytest.mark.robot_models
def test_it_prints_one_json_object_last_and_resumes(tmp_path):
    try:
        folders()
    except SystemExit:
        pytest.skip("the packages of models are not installed; make test installs them")
    out = tmp_path / "out.jsonl"
    command = [sys.executable, "-m", "benchmarks.loading", "--json", "--only", "double_pendulum_description"]
    command += ["--out", str(out), "--table", str(tmp_path / "table.md")]
    for more in ([], ["--resume"]):
        done = subprocess.run([*command, *more], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        counts = json.loads(done.stdout.strip().splitlines()[-1])
        assert (counts["robots"], counts["loaded"], counts["compared"], counts["agree"]) == (3, 3, 3, 3)
        assert counts["crashed"] == counts["hung"] == 0
        assert len(out.read_text().splitlines()) == counts["robots"] + counts["meshes"]
    assert "example-robot-data" in (tmp_path / "table.md").read_text()
