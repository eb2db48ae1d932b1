"""Every example runs as its docstring says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
SHORT = {"push_to_goal.py": ["--iterations", "6"], "check_gradients.py": []}


def run_example(name: str, *arguments: str, cwd: Path) -> str:
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_tested():
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(SHORT)


def test_push_to_goal_improves_and_leaves_a_video(tmp_path):
    output = run_example("push_to_goal.py", *SHORT["push_to_goal.py"], cwd=tmp_path)
    returns = [float(value) for value in re.findall(r"return\s+(-?[\d.]+)", output)]
    assert len(returns) == 6
    assert returns[-1] > returns[0] + 1.0
    assert (tmp_path / "push_to_goal.mp4").stat().st_size > 1000


def test_check_gradients_prints_agreeing_derivatives(tmp_path):
    output = run_example("check_gradients.py", cwd=tmp_path)
    pairs = re.findall(r"adjoint\s+(\S+)\s+finite differences\s+(\S+)", output)
    assert len(pairs) == 6
    for adjoint, finite in pairs:
        assert float(adjoint) == pytest.approx(float(finite), rel=1e-4, abs=1e-9)
