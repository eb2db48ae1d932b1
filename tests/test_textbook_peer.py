"""The textbook peer of the soft-body benchmark: its gradient is the slope of its loss."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent


def last_line(program: str, *arguments: str) -> dict[str, Any]:
    """What a Python program prints on its last line, in JSON."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])  # type: ignore[no-any-return]


# in a process of its own: the peer initialises Taichi
MEASURE = """
import json
import numpy as np
from benchmarks.soft.problem import problem
from benchmarks.soft.textbook import Textbook

q = problem(216, control_steps=2, substeps=10)
peer = Textbook(q, precision="f64", tuned=True)
x, gradient = peer.forward_backward()
again = peer.forward_backward()[1]
sigma = peer.sigma.to_numpy()
strain = np.log(sigma) - np.log(sigma).mean(-1, keepdims=True)
slope, h = np.zeros_like(gradient), 1e-6
for at in np.ndindex(gradient.shape):
    for sign in (1.0, -1.0):
        velocity = q.capsule_velocity.copy()
        velocity[at] += sign * h
        peer.velocity.from_numpy(velocity)
        slope[at] += sign * (q.weight * peer.forward()).sum() / (2.0 * h)
print(json.dumps({
    "moved": float(abs(x - q.x).max()),
    "yielded": int((2.0 * q.mu * np.linalg.norm(strain, axis=-1) > q.yield_limit).sum()),
    "gradient": gradient.tolist(), "again": again.tolist(), "slope": slope.tolist(),
}))
"""


def test_gradient_is_the_slope_of_the_loss():
    result = last_line(MEASURE)
    gradient, slope = np.array(result["gradient"]), np.array(result["slope"])
    print(gradient, slope, result["yielded"], sep="\n")
    assert result["yielded"] > 0
    assert result["moved"] > 1e-3
    np.testing.assert_allclose(result["again"], gradient, rtol=1e-12)
    assert (abs(slope) > 1e-5).all()  # both capsules touch, in every control step
    np.testing.assert_allclose(gradient, slope, rtol=1e-4)


# likewise, each side in a process of its own
TASK_GRADIENT = """
import json, sys
import torch
from benchmarks.time_to_solution import our_evaluation, textbook_evaluation
from tasks import find_task

task = find_task("PlasticineRollingPin")(1, cells=32, particles=400, horizon=3)
evaluate = our_evaluation(task) if sys.argv[1] == "ours" else textbook_evaluation(task)
torch.manual_seed(1)
loss, gradient, score = evaluate(2.0 * torch.rand(task.horizon, task.action_dim) - 1.0)
print(json.dumps({"loss": loss, "gradient": gradient.tolist(), "score": score}))
"""


MOVE_GRADIENT = TASK_GRADIENT.replace('"PlasticineRollingPin"', '"PlasticineMove"').replace(
    "cells=32, particles=400, horizon=3", "horizon=1"
)


@pytest.mark.long
def test_nodes_of_hardly_any_mass_have_a_gradient_at_the_full_setting():
    ours, textbook = last_line(MOVE_GRADIENT, "ours"), last_line(MOVE_GRADIENT, "textbook")
    gradient = np.array(ours["gradient"])
    np.testing.assert_allclose(np.array(textbook["gradient"]), gradient, atol=1e-2 * abs(gradient).max())


@pytest.mark.long
def test_a_task_of_plasticinelab_is_the_same_on_both_sides():
    ours, textbook = last_line(TASK_GRADIENT, "ours"), last_line(TASK_GRADIENT, "textbook")
    assert ours["loss"] == pytest.approx(textbook["loss"], rel=1e-5)
    gradient = np.array(ours["gradient"])
    np.testing.assert_allclose(np.array(textbook["gradient"]), gradient, atol=1e-2 * abs(gradient).max())
