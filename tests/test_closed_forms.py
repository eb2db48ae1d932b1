"""The simulator against the closed forms: values and derivatives."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.closed_forms import ours
from benchmarks.closed_forms.__main__ import worst
from benchmarks.closed_forms.cases import CASES

pytestmark = pytest.mark.slow

TOLERANCE = {"double pendulum": 0.01}


def test_every_form_has_a_simulation():
    assert list(ours.FORMS) == list(CASES)


@pytest.mark.parametrize("name", CASES)
def test_values_and_derivatives(name):
    obtained = ours.simulate(name)
    assert set(obtained) == set(CASES[name].expected)
    for quantity, expected in CASES[name].expected.items():
        tolerance = TOLERANCE.get(name, 0.05)
        assert obtained[quantity] == pytest.approx(expected, rel=tolerance, abs=0.0 if expected else 0.01), quantity


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) if name == "wall" else name for name in ours.EVENT_FORMS]
)
def test_values_and_derivatives_in_event_mode(name):
    obtained = ours.simulate_events(name)
    assert set(obtained) == set(CASES[name].expected)
    for quantity, expected in CASES[name].expected.items():
        assert obtained[quantity] == pytest.approx(expected, rel=1e-6, abs=0.0 if expected else 1e-6), quantity


@pytest.mark.parametrize("name", ["wall", "bounce e=0.6", "slide to rest", "double pendulum"])
def test_errors_shrink_with_stiffness_and_substep(name):
    assert worst(name, 1.0) < 0.7 * worst(name, 0.5)


@pytest.mark.long
def test_json_is_printed_last():
    command = [sys.executable, "-m", "benchmarks.closed_forms", "--json", "--refinement", "0.5"]
    done = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.strip().splitlines()[-1])
    assert set(result) == {*CASES, *(f"{name}, event mode" for name in ours.EVENT_FORMS)}
    for name, quantities in result.items():
        event = name.endswith(", event mode")
        assert set(quantities) == set(CASES[name.removesuffix(", event mode")].expected)
        for quantity, row in quantities.items():
            assert row["expected"] == pytest.approx(CASES[name.removesuffix(", event mode")].expected[quantity])
            assert row["relative_error"] < (1e-6 if event else 0.1)
