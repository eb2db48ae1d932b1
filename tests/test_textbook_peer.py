"""The textbook peer of the soft-body benchmark: its gradient is the slope of its loss."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent

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
    done = subprocess.run(
        [sys.executable, "-c", MEASURE],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.strip().splitlines()[-1])
    gradient, slope = np.array(result["gradient"]), np.array(result["slope"])
    print(gradient, slope, result["yielded"], sep="\n")
    assert result["yielded"] > 0
    assert result["moved"] > 1e-3
    np.testing.assert_allclose(result["again"], gradient, rtol=1e-12)
    assert (abs(slope) > 1e-5).all()  # both capsules touch, in every control step
    np.testing.assert_allclose(gradient, slope, rtol=1e-4)
