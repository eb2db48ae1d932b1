"""Wrong arguments are refused clearly: the trials of `benchmarks.bad_inputs` that build no simulator; and its rules."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.bad_inputs import optimiser_trials, scene_trials
from benchmarks.bad_inputs.judging import Trial, judged

ROOT = Path(__file__).parent.parent
BUILDING = ("sizes", "rigid bodies", "soft bodies", "Trainer", "Task", "Detour", "CupTrap", "ThreeWayPush", "TripleMove")
ROWS = [rows for table in (scene_trials.table, optimiser_trials.table) for _call, rows in table()]
CHEAP = {rows[0].target: rows for rows in ROWS if not rows[0].target.startswith(BUILDING)}


@pytest.mark.parametrize("target", CHEAP)
def test_wrong_arguments_are_refused_clearly(target):
    for trial in CHEAP[target]:
        verdict, said = judged(trial)
        assert verdict == "clear", f"{trial.label}: {said}"


def refuse(error: Exception):
    def call() -> None:
        raise error

    return call


def test_the_judge_knows_clear_silent_and_ugly():
    def verdict(call) -> str:
        return judged(Trial("Ball", "radius", call, "big")).verdict

    assert verdict(refuse(ValueError("radius must be a number, got 'big'"))) == "clear"
    assert verdict(lambda: None) == "silent"
    assert verdict(refuse(ValueError("radius must be a number"))) == "ugly"  # what was given?
    assert verdict(refuse(ValueError("must be a number, got 'big'"))) == "ugly"  # which argument?
    assert verdict(refuse(ValueError("radius must be a number,\ngot 'big'"))) == "ugly"
    assert verdict(refuse(KeyError("radius 'big'"))) == "ugly"
    assert verdict(refuse(RuntimeError("radius 'big'"))) == "ugly"


@pytest.mark.slow
def test_the_benchmark_prints_one_json_object_last():
    command = [sys.executable, "-m", "benchmarks.bad_inputs", "--only", "Sphere", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.strip().splitlines()[-1])
    assert set(result) == {"tried", "clear", "silent", "ugly", "hang"}
    assert result["tried"] == result["clear"] > 5
