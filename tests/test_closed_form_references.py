"""The closed forms' references against published digits, and against finite differences of their own values."""

import inspect
from typing import Any

import numpy as np
import pytest

from benchmarks.closed_forms import references
from benchmarks.closed_forms.cases import CASES

# to the digits given
KNOWN: dict[str, dict[str, float]] = {
    "wall": {"dx/dx0": -1, "dx/dv0": -1},
    "bounce e=1": {"z": 1.048636, "dz/dz0": 0.927922, "dz/dv0": -0.109307},
    "bounce e=0.6": {"z": 0.238909, "dz/dz0": 0.942338, "dz/dv0": 0.072554},
    "slide to rest": {"d": 0.666667, "dd/dv0": 0.666667, "dd/dmu": -2.222222},
    "head-on e=1": {"dv1'/dv1": -1 / 3, "dv1'/dv2": 4 / 3, "dv2'/dv1": 2 / 3, "dv2'/dv2": 1 / 3, "dv1'/dx1": 0, "dv2'/dx1": 0},
    "head-on e=0.5": {"dv1'/dv1": 0, "dv1'/dv2": 1, "dv2'/dv1": 0.5, "dv2'/dv2": 0.5, "dv1'/dx1": 0, "dv2'/dx1": 0},
    "double pendulum": {"q1": -0.25865734, "q2": -1.00504953},
    "billiard": {
        "x2": 0.541618, "dx2/dx1": 0.97115, "dx2/dy1": -3.50666, "dx2/dvx1": 0.86503, "dx2/dvy1": -1.38424,
        "y2": -0.257856, "dy2/dx1": -0.27391, "dy2/dy1": -2.0994, "dy2/dvx1": -0.35163, "dy2/dvy1": -0.54484,
    },
    "grasp": {"drop": 4.911e-4, "ddrop/dfn": -2.461e-5},
}  # fmt: skip
TOLERANCE = {"double pendulum": 1e-8, "billiard": 1e-5, "grasp": 1e-8}

# reference, arguments, and where an input's label stands among them
REFERENCES: dict[str, tuple[Any, dict[str, float], dict[str, tuple[Any, ...]]]] = {
    "wall": (references.wall, {"e": 0.7}, {"x0": ("x0",), "v0": ("v0",)}),
    "bounce": (references.bounce, {"e": 0.7}, {"z0": ("z0",), "v0": ("v0",)}),
    "slide": (references.slide, {}, {"v0": ("v0",), "mu": ("mu",)}),
    "head_on": (references.head_on, {"e": 0.7}, {"v1": ("v1",), "v2": ("v2",)}),
    "double_pendulum": (references.double_pendulum, {"T": 1.3}, {"theta1": ("theta", 0), "theta2": ("theta", 1)}),
    "billiard": (
        references.billiard, {"e": 0.7}, {"x1": ("p1", 0), "y1": ("p1", 1), "vx1": ("v1", 0), "vy1": ("v1", 1)},
    ),
    "grasp": (references.grasp, {}, {"fn": ("fn",)}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_known_digits(name):
    for quantity, value in KNOWN[name].items():
        assert CASES[name].expected[quantity] == pytest.approx(value, abs=TOLERANCE.get(name, 1e-6)), quantity


@pytest.mark.parametrize("name", REFERENCES)
def test_derivatives_are_those_of_the_values(name):
    function, fixed, places = REFERENCES[name]
    defaults = {key: parameter.default for key, parameter in inspect.signature(function).parameters.items()}
    expected = function(**fixed)
    checked = 0
    for label, (argument, *index) in places.items():
        ends = []
        for sign in (1.0, -1.0):
            value = np.array(defaults[argument], dtype=float)
            value[tuple(index)] += sign * 1e-5
            ends.append(function(**{**fixed, argument: value if value.ndim else float(value)}))
        for quantity, derivative in expected.items():
            if quantity.startswith("d") and quantity.endswith(f"/d{label}"):
                output = quantity[1:].split("/")[0]
                numeric = (ends[0][output] - ends[1][output]) / 2e-5
                assert derivative == pytest.approx(numeric, rel=1e-6, abs=1e-9), quantity
                checked += 1
    assert checked == len(places) * sum("/" not in quantity for quantity in expected)


def test_the_grasp_as_an_equation_of_motion():
    """The closed form leaves out the start: the motion itself agrees to the digits that the case gives."""
    m, mu, eps, fn, g = 0.1, 0.5, 0.01, 20.0, 9.81
    v, h = 0.0, 1e-6
    drop = 0.0
    for _ in range(2000):  # 2 ms, many times the start's 50 us
        v += h * (g - 2 * mu * fn / m * v / np.hypot(v, eps))
        drop += h * v
    assert drop + v * (1.0 - 2e-3) == pytest.approx(references.grasp()["drop"], rel=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_naive_simulators_answer_the_same_questions(name):
    case = CASES[name]
    for answer in (case.naive_penalty(), case.naive_impulse()):
        assert answer.keys() == case.expected.keys()


def test_naive_impulses_get_the_wall_wrong_and_head_on_balls_right():
    wall = CASES["wall"].naive_impulse()
    assert wall["dx/dx0"] == pytest.approx(1.0)
    assert wall["dx/dv0"] == pytest.approx(0.0, abs=5e-3)
    assert wall["x"] == pytest.approx(CASES["wall"].expected["x"], abs=2e-3)
    assert CASES["head-on e=0.5"].naive_impulse() == pytest.approx(CASES["head-on e=0.5"].expected, abs=1e-12)


def test_naive_pendulum_is_close():
    assert CASES["double pendulum"].naive_penalty() == pytest.approx(CASES["double pendulum"].expected, rel=2e-2)
