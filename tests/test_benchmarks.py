"""The benchmarks run, and print what their users parse."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_main_job_prints_one_json_object_last(tmp_path):
    command = [sys.executable, "-m", "benchmarks.main_job", "--seeds", "1", "--iterations", "1", "--num-envs", "8"]
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
