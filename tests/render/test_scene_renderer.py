"""Whole scenes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import diffsim as ds
from diffsim.render import GroundMarker, SceneRenderer
from diffsim.render.surfaces import soft_surface, vertex_colors

pytestmark = pytest.mark.slow

DUCK = Path(__file__).resolve().parents[2] / "assets" / "duck.obj"
GREEN = (0.1, 0.8, 0.2)


def state_of(scene: ds.Scene, shift=(0.0, 0.0, 0.0)) -> ds.State:
    x = np.concatenate([body.rest_particles for body in scene.soft_bodies]) + shift
    points = torch.as_tensor(x, dtype=torch.float32)[None]
    count = points.shape[1]
    return ds.State(
        x=points,
        v=torch.zeros_like(points),
        C=torch.zeros(1, count, 3, 3),
        F=torch.eye(3).expand(1, count, 3, 3),
        internal_variable=torch.zeros(1, count),
        tool_position=torch.tensor([[tool.position for tool in scene.tools]]).reshape(1, -1, 3),
        tool_rotation=torch.tensor([[tool.rotation for tool in scene.tools]]).reshape(1, -1, 4),
        q=torch.zeros(1, 0),
        qd=torch.zeros(1, 0),
        time_step=torch.zeros(1, dtype=torch.int64),
    )


@pytest.fixture(scope="module")
def scene() -> ds.Scene:
    return ds.Scene(
        soft_bodies=(ds.SoftBody("cube", ds.Box((0.08, 0.08, 0.08)), (0.3, 0.45, 0.09), particles=400),),
        tools=(ds.Tool("finger", ds.Capsule(0.08, 0.03), (0.3, 0.45, 0.3)),),
        obstacles=(ds.Obstacle("wall", ds.Box((0.04, 0.16, 0.08), rounding=0.01), (0.65, 0.45, 0.08)),),
        upper=(1.2, 0.9, 0.5),
    )


COLORS = {"cube": (0.9, 0.1, 0.1), "finger": (0.1, 0.2, 0.9), "wall": (0.7, 0.1, 0.8)}


def hues(image: np.ndarray) -> dict[str, int]:
    """Pixels that are clearly red, blue, magenta, green."""
    r, g, b = (image[..., i].astype(int) for i in range(3))
    return {
        "cube": int(((r > g + 60) & (r > b + 60)).sum()),
        "finger": int(((b > r + 60) & (b > g + 30)).sum()),
        "wall": int(((r > g + 40) & (b > g + 40)).sum()),
        "marker": int(((g > r + 40) & (g > b + 40)).sum()),
    }


@pytest.mark.parametrize("mode", ["surface", "particles"])
def test_every_thing_shows_in_its_colour(scene, mode):
    renderer = SceneRenderer(scene, width=320, height=240, colors=COLORS)
    marker = GroundMarker((0.95, 0.45), 0.1, color=GREEN)
    image = renderer.frame(state_of(scene), mode=mode, markers=(marker,))
    assert image.shape == (240, 320, 3)
    assert image.dtype == np.uint8
    assert min(hues(image).values()) > 100, hues(image)
    assert hues(renderer.frame(state_of(scene), mode=mode))["marker"] == 0


def test_marks_show_where_the_scene_has_no_ground(scene):
    renderer = SceneRenderer(replace(scene, ground=None), width=320, height=240, colors=COLORS)
    marked = renderer.frame(state_of(scene), markers=(GroundMarker((0.95, 0.45), 0.1, color=GREEN),))
    assert hues(marked)["marker"] > 100
    bare = renderer.frame(state_of(scene))
    assert (bare != marked).any(axis=2).mean() > 0.3  # a plane for the marks alone


def test_the_body_moves_with_its_particles_and_the_tool_with_its_pose(scene):
    renderer = SceneRenderer(scene, width=320, height=240, colors=COLORS)
    before = renderer.frame(state_of(scene))
    state = state_of(scene, shift=(0.0, -0.2, 0.0))
    quarter = torch.tensor([[[np.sqrt(0.5), 0.0, np.sqrt(0.5), 0.0]]], dtype=torch.float32)  # round y
    after = renderer.frame(state.replace(tool_rotation=quarter))

    def red(image):
        return np.argwhere(image[..., 0].astype(int) > image[..., 2].astype(int) + 80).mean(axis=0)

    assert red(after)[0] > red(before)[0] + 15  # nearer the eye: lower in the picture
    blue = np.argwhere(after[..., 2].astype(int) > after[..., 0].astype(int) + 60)
    assert np.ptp(blue[:, 1]) > np.ptp(blue[:, 0])  # the finger lies


def test_default_palette_separates_the_things(scene):
    image = SceneRenderer(scene, width=240, height=180).frame(state_of(scene)).astype(int)
    spread = image.max(axis=2) - image.min(axis=2)
    assert ((spread > 100) & (image[..., 0] > image[..., 2])).sum() > 100  # the body: warm
    assert ((spread > 80) & (image[..., 2] > image[..., 0])).sum() > 50  # the tool: blue
    assert (image.max(axis=2) < 110).sum() > 100  # the wall: dark


def test_duck_asset_is_closed_coloured_and_stands():
    shape = ds.TriangleMesh.from_file(DUCK, size=0.18)
    mesh = shape.surface_mesh()
    assert mesh.is_watertight
    assert 2000 <= len(mesh.faces) <= 4000
    low = mesh.vertices[mesh.vertices[:, 2] < mesh.bounds[0, 2] + 0.002]
    assert np.ptp(low[:, 0]) > 0.03
    assert np.ptp(low[:, 1]) > 0.02
    colors = vertex_colors(soft_surface(shape))
    assert colors is not None
    assert len(np.unique(colors, axis=0)) == 3
    front = mesh.vertices[np.argmax(mesh.vertices[:, 0])]
    beak = vertex_colors(mesh)[np.argmax(mesh.vertices[:, 0])]
    assert beak[0] > 0.9
    assert beak[1] < 0.5
    assert abs(front[1]) < 0.02


def test_bad_arguments(scene):
    with pytest.raises(ds.InputError, match="nothing is named 'duck'"):
        SceneRenderer(scene, colors={"duck": (1, 0, 0)})
    renderer = SceneRenderer(scene, width=64, height=48)
    with pytest.raises(ds.InputError, match="mode"):
        renderer.frame(state_of(scene), mode="fancy")
    with pytest.raises(ds.InputError, match="environment"):
        renderer.frame(state_of(scene), 1)
    state = state_of(scene)
    with pytest.raises(ds.InputError, match="state: "):
        renderer.frame(state.replace(x=state.x[:, :10]))


def test_what_pours_is_drawn_as_particles():
    def frame(material: ds.Material, mode: str) -> np.ndarray:
        body = ds.SoftBody("body", ds.Sphere(0.1), (0.5, 0.5, 0.3), material=material, particles=100)
        scene = ds.Scene((body,))
        sim = ds.Simulator(scene)
        return SceneRenderer(scene, width=96, height=72).frame(sim.reset(), mode=mode)

    for material in (ds.Liquid(), ds.Sand(), ds.Snow()):
        assert np.array_equal(frame(material, "surface"), frame(material, "particles"))
    assert not np.array_equal(frame(ds.Elastic(), "surface"), frame(ds.Elastic(), "particles"))
