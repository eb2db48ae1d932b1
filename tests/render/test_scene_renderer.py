"""Whole scenes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import diffsim as ds
from diffsim.render import Camera, GroundMarker, SceneRenderer, arrow_marker, ball_marker, path_marker
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


def masks(image: np.ndarray) -> dict[str, np.ndarray]:
    """Where a picture is clearly red, blue, magenta, green."""
    r, g, b = (image[..., i].astype(int) for i in range(3))
    return {
        "cube": (r > g + 60) & (r > b + 60),
        "finger": (b > r + 60) & (b > g + 30),
        "wall": (r > g + 40) & (b > g + 40),
        "marker": (g > r + 40) & (g > b + 40),
    }


def hues(image: np.ndarray) -> dict[str, int]:
    """How many pixels each of these has."""
    return {name: int(mask.sum()) for name, mask in masks(image).items()}


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


def test_how_materials_are_drawn():
    def frame(material: ds.Material, mode: str) -> np.ndarray:
        body = ds.SoftBody("body", ds.Sphere(0.1), (0.5, 0.5, 0.3), material=material, particles=300)
        scene = ds.Scene((body,), grid_spacing=0.05)
        sim = ds.Simulator(scene)
        return SceneRenderer(scene, width=96, height=72, colors={"body": (0.9, 0.1, 0.1)}).frame(sim.reset(), mode=mode)

    surface: dict[type, np.ndarray] = {}
    particles: dict[type, np.ndarray] = {}
    reconstruction: dict[type, np.ndarray] = {}
    for material in (ds.Elastic(), ds.Liquid(), ds.Snow(), ds.Sand()):
        for frames, mode in ((surface, "surface"), (particles, "particles"), (reconstruction, "reconstruction")):
            frames[type(material)] = frame(material, mode)
    grains, skinned = ds.Sand, ds.Elastic
    assert np.array_equal(surface[grains], particles[grains])
    assert np.array_equal(reconstruction[grains], particles[grains])
    for pours in (ds.Liquid, ds.Snow):
        assert np.array_equal(surface[pours], reconstruction[pours])
        assert not np.array_equal(surface[pours], particles[pours])
    assert len({surface[skinned].tobytes(), particles[skinned].tobytes(), reconstruction[skinned].tobytes()}) == 3
    # what is see-through lets the ground show
    assert hues(surface[ds.Snow])["cube"] > 50
    assert (
        surface[ds.Liquid][surface[ds.Snow][..., 1] < 100].mean() > surface[ds.Snow][surface[ds.Snow][..., 1] < 100].mean() + 10
    )


def test_declared_colours_and_opacity():
    red, blue = (0.9, 0.1, 0.1), (0.1, 0.2, 0.9)
    scene = ds.Scene(
        soft_bodies=(ds.SoftBody("cube", ds.Box((0.08, 0.08, 0.08)), (0.3, 0.45, 0.09), particles=400, color=red),),
        tools=(ds.Tool("finger", ds.Capsule(0.08, 0.03), (0.3, 0.45, 0.3), color=blue),),
        obstacles=(ds.Obstacle("wall", ds.Box((0.04, 0.16, 0.08)), (0.65, 0.45, 0.08), color=(0.7, 0.1, 0.8)),),
        upper=(1.2, 0.9, 0.5),
    )
    solid = hues(SceneRenderer(scene, width=320, height=240).frame(state_of(scene)))
    assert min(solid[name] for name in ("cube", "finger", "wall")) > 100
    clear = replace(scene, obstacles=(replace(scene.obstacles[0], opacity=0.1),))
    assert hues(SceneRenderer(clear, width=320, height=240).frame(state_of(scene)))["wall"] < 0.2 * solid["wall"]
    given = hues(SceneRenderer(scene, width=320, height=240, colors={"cube": blue}).frame(state_of(scene)))
    assert given["cube"] < 0.2 * solid["cube"]
    for option, value in (("opacity", 1.5), ("color", (2.0, 0.0, 0.0))):
        with pytest.raises(ds.InputError, match=f"'t': {option}"):
            ds.Tool("t", ds.Sphere(0.1), (0, 0, 0), **{option: value})


def test_a_goal_is_a_ghost_and_marks_stand_in_space(scene):
    renderer = SceneRenderer(scene, width=320, height=240, colors=COLORS)
    bare = renderer.frame(state_of(scene))
    goal = renderer.frame(state_of(scene), ghost=state_of(scene, shift=(0.5, -0.2, 0.1)))
    changed = (bare != goal).any(axis=2)
    assert 0.005 < changed.mean() < 0.2
    faint, full = (goal.astype(int) - bare)[changed], renderer.frame(state_of(scene, shift=(0.5, -0.2, 0.1))).astype(int) - bare
    assert np.abs(faint).mean() < 0.7 * np.abs(full[changed]).mean()
    marks = (
        ball_marker((0.9, 0.2, 0.3), 0.05, GREEN),
        arrow_marker((0.9, 0.6, 0.1), (0.9, 0.6, 0.4), GREEN),
        path_marker([(0.7, 0.8, 0.1), (0.9, 0.8, 0.3), (0.9, 0.8, 0.3), (1.0, 0.8, 0.1)], GREEN, radius=0.01),
    )
    for mark in marks:
        center = renderer.camera_at(state_of(scene)).project(mark.vertices, 320, 240)[:, :2]
        green = np.argwhere(masks(renderer.frame(state_of(scene), markers=(mark,)))["marker"])[:, ::-1]
        assert len(green) > 30
        np.testing.assert_allclose(green.min(axis=0), center.min(axis=0), atol=3.0)
        np.testing.assert_allclose(green.max(axis=0), center.max(axis=0), atol=3.0)
        volume = np.linalg.det(mark.vertices[mark.faces]).sum() / 6.0
        assert volume > 0.0  # the faces look outward
    with pytest.raises(ds.InputError, match="markers"):
        renderer.frame(state_of(scene), markers=("goal",))


def test_particles_are_coloured_by_a_number(scene):
    renderer = SceneRenderer(scene, width=320, height=240)
    state = state_of(scene)
    colors = np.where(state.x[0, :, :1].numpy() > 0.3, (0.9, 0.1, 0.1), (0.1, 0.8, 0.2))
    for mode in ("surface", "particles", "reconstruction"):
        image = renderer.frame(state, mode=mode, particle_colors=colors)
        red, green = np.argwhere(masks(image)["cube"]), np.argwhere(masks(image)["marker"])
        assert min(len(red), len(green)) > 100
        assert red[:, 1].mean() > green[:, 1].mean() + 5
    with pytest.raises(ds.InputError, match="particle_colors"):
        renderer.frame(state, particle_colors=colors[:5])


def test_depth_and_segmentation_agree_with_the_picture(scene):
    renderer = SceneRenderer(scene, width=320, height=240, colors=COLORS)
    images = renderer.sensor_images(state_of(scene))
    image = renderer.frame(state_of(scene))
    for name, seen in (("cube", masks(image)["cube"]), ("ground", None), ("obstacles", None), ("finger", None)):
        mask = images.segmentation == images.names.index(name)
        assert mask.sum() > 100
        if seen is not None:
            assert (mask & seen).sum() > 0.8 * mask.sum()
    assert np.array_equal(np.isfinite(images.depth), images.segmentation > 0)
    above = Camera((0.6, -2.0, 0.3), (0.6, 0.0, 1.0))
    assert set(np.unique(renderer.sensor_images(state_of(scene), camera=above).segmentation)) == {0}
    tip = np.array([[0.3, 0.45, 0.3 + 0.08 + 0.03]])
    top = renderer.camera_at(state_of(scene)).project(tip, 320, 240)[0]
    assert images.depth[int(top[1]) + 3, int(top[0])] == pytest.approx(top[2], abs=0.03)


def test_moving_cameras(scene):
    camera = SceneRenderer(scene, width=320, height=240).camera_at(state_of(scene))
    turned = camera.orbited(360.0)
    np.testing.assert_allclose(turned.position, camera.position, atol=1e-9)
    half = camera.orbited(180.0)
    np.testing.assert_allclose(np.add(half.position, camera.position)[:2] / 2.0, camera.target[:2], atol=1e-9)
    quarter = camera.orbited(90.0)
    np.testing.assert_allclose(camera.between(quarter, 0.5).position, np.add(quarter.position, camera.position) / 2.0)
    assert camera.between(quarter, 0.0) == camera
    renderer = SceneRenderer(scene, width=320, height=240)
    assert not np.array_equal(renderer.frame(state_of(scene)), renderer.frame(state_of(scene), camera=half))
