"""Small pictures that look as they did: a change of the renderer that is meant must be looked at and stored.

UPDATE_GOLDEN=1 python -m pytest tests/render/test_golden_images.py
"""

import os
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch

import diffsim as ds
from diffsim.render import Camera, GroundMarker, Lighting, SceneRenderer, arrow_marker, value_colors, write_png

pytestmark = pytest.mark.slow

GOLDEN = Path(__file__).parent / "golden"
SIZE = {"width": 160, "height": 120}
MEAN, FAR = 1.5, 0.01  # of the differences, of 255; share of the pixels that may differ by more than 30


def things(material: ds.Material, **options) -> ds.Scene:
    """A ball of a material between a glass box and a red one."""
    return ds.Scene(
        (ds.SoftBody("ball", ds.Sphere(0.12), (0.5, 0.5, 0.13), material=material, particles=1500),),
        tools=(ds.Tool("finger", ds.Capsule(0.08, 0.03), (0.5, 0.5, 0.4)),),
        obstacles=(
            ds.Obstacle("glass", ds.Box((0.02, 0.2, 0.15)), (0.28, 0.4, 0.16), color=(0.7, 0.85, 0.9), opacity=0.3),
            ds.Obstacle("box", ds.Box((0.06, 0.06, 0.06), rounding=0.01), (0.78, 0.6, 0.071), color=(0.85, 0.2, 0.15)),
        ),
        upper=(1.0, 1.0, 0.6),
        grid_spacing=0.05,
        **options,
    )


def picture(name: str) -> np.ndarray:
    camera = Camera((0.1, -0.9, 0.8), (0.5, 0.5, 0.12), vertical_fov_degrees=34.0)
    material = {"liquid": ds.Liquid(), "snow": ds.Snow(), "sand": ds.Sand()}.get(name, ds.Elastic())
    scene = things(material)
    state = ds.Simulator(scene).reset()
    # a fixed bend, so that no rounding of a simulation shows
    x = state.x.clone()
    x[..., 0] += 0.05 * torch.sin(12.0 * x[..., 2])
    state = state.replace(x=x)
    lighting = Lighting(sun_direction=(0.5, -0.6, 0.9), zenith=(0.5, 0.68, 0.9)) if name == "sky" else Lighting()
    renderer = SceneRenderer(scene, camera=camera, lighting=lighting, **SIZE)
    if name == "depth":
        images = renderer.sensor_images(state)
        near = np.where(np.isfinite(images.depth), 255.0 * np.exp(-images.depth), 0.0)
        return np.stack([near, 40.0 * images.segmentation, near], axis=2).astype(np.uint8)
    marks = (GroundMarker((0.8, 0.3), 0.1), arrow_marker((0.5, 0.5, 0.3), (0.7, 0.5, 0.35)))
    options = {
        "speed": {"mode": "particles", "particle_colors": value_colors(state.x[0, :, 2], low=0.0, high=0.25)},
        "marks": {"markers": marks, "ghost": state.replace(x=state.x + torch.tensor([0.2, -0.2, 0.0]))},
        "dough": {"mode": "reconstruction"},
    }
    return renderer.frame(state, **options.get(name, {}))


@pytest.mark.parametrize("name", ["skin", "liquid", "snow", "sand", "dough", "speed", "marks", "sky", "depth"])
def test_a_picture_looks_as_it_did(name):
    found, path = picture(name), GOLDEN / f"{name}.png"
    if os.environ.get("UPDATE_GOLDEN"):
        write_png(path, found)
    difference = np.abs(found.astype(int) - iio.imread(path))
    assert difference.mean() < MEAN, f"'{name}' differs by {difference.mean():.2f} of 255 on average"
    assert (difference.max(axis=2) > 30).mean() < FAR
