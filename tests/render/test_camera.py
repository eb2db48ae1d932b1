"""The camera against closed forms."""

import math

import numpy as np
import pytest

from diffsim import InputError
from diffsim.render import Camera


def test_projection_closed_form():
    # the eye at (0, -2, 0) looks along +y; half the image's height at depth 2 is 2 tan(30 deg)
    camera = Camera((0.0, -2.0, 0.0), (0.0, 0.0, 0.0), vertical_fov_degrees=60.0)
    half = 2.0 * math.tan(math.radians(30.0))
    points = np.array([[0, 0, 0], [0, 0, half], [half, 0, 0], [half, 2, -half]], dtype=float)
    expected = [[200, 100, 2], [200, 0, 2], [300, 100, 2], [250, 150, 4]]
    assert np.allclose(camera.project(points, width=400, height=200), expected, atol=1e-9)


def test_view_is_a_rigid_motion():
    camera = Camera((1.0, 2.0, 3.0), (0.2, -0.4, 0.5))
    assert np.allclose(camera.view[:3, :3] @ camera.view[:3, :3].T, np.eye(3))
    assert np.allclose(camera.view @ [1.0, 2.0, 3.0, 1.0], [0, 0, 0, 1])
    assert np.linalg.det(np.stack([camera.axes[0], camera.axes[1], -camera.axes[2]])) == pytest.approx(1.0)


def test_framing_touches_the_margins():
    points = np.random.default_rng(0).uniform((0, 0, 0), (1.2, 0.9, 0.2), (50, 3))
    camera = Camera.framing(points, 4 / 3, margin=0.1)
    pixels = camera.project(points, 400, 300)[:, :2] / [400, 300]
    assert ((pixels > 0.0499) & (pixels < 0.9501)).all()
    assert min((pixels - 0.05).min(), (0.95 - pixels).min()) < 1e-3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"position": (0, 0, 1), "target": (0, 0, 0)}, "not along up"),
        ({"position": (0, 1), "target": (0, 0, 0)}, "position must be 3 finite numbers"),
        ({"position": (0, 1, 1), "target": (0, 0, 0), "vertical_fov_degrees": 180.0}, "vertical_fov_degrees"),
    ],
)
def test_bad_cameras(arguments, message):
    with pytest.raises(InputError, match=message):
        Camera(**arguments)
