"""Pictures against geometry."""

import math
import subprocess
import sys

import numpy as np
import pytest
import trimesh

from diffsim import InputError
from diffsim.render import Camera, ColoredMesh, GroundMarker, GroundPlane, Lighting, ParticleCloud, Rasterizer
from diffsim.render.packing import box_corners, light_maps, shadow_on_ground
from diffsim.render.render_records import LightMap

pytestmark = pytest.mark.slow

RED, BLUE = (0.9, 0.1, 0.1), (0.1, 0.2, 0.9)
WHITE = (1.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def rasterizer() -> Rasterizer:
    return Rasterizer(320, 240, supersampling=2)


def ball(centre, radius, color, **options) -> ColoredMesh:
    mesh = trimesh.creation.icosphere(subdivisions=5, radius=radius)
    return ColoredMesh(mesh.vertices + np.asarray(centre), mesh.faces, color, **options)


def redness(image: np.ndarray) -> np.ndarray:
    """How much of each pixel is red rather than grey, 0 to 1, for shapes that are saturated red."""
    pixels = image.astype(float)
    return (pixels[..., 0] - pixels[..., 2] > 40.0).astype(float)


def silhouette_area(camera: Camera, centre, radius, height: int) -> float:
    """Pixels inside the image of a sphere: its outline is an ellipse, pi a b at unit depth."""
    x, y, z = camera.to_camera(np.asarray([centre]))[0]
    side = x * x + y * y
    distance = math.sqrt(side + z * z)
    off, spread = math.atan2(math.sqrt(side), z), math.asin(radius / distance)
    near, far = math.tan(off - spread), math.tan(off + spread)
    long = 0.5 * (far - near)
    # the cone x^2 + y^2 <= ... cut at unit depth: the short half axis follows from the cone's quadratic form
    middle = 0.5 * (far + near)
    along = (middle * math.sin(off) + math.cos(off)) ** 2
    short = math.sqrt(along / math.cos(spread) ** 2 - 1.0 - middle**2)
    return math.pi * long * short * (0.5 * height / camera.half_height) ** 2


@pytest.mark.parametrize("centre", [(0.0, 0.0, 0.0), (0.25, 0.1, 0.12)])
def test_sphere_silhouette_is_the_analytic_ellipse(rasterizer, centre):
    camera = Camera((0.0, -1.0, 0.0), (0.0, 0.0, 0.0), vertical_fov_degrees=50.0)
    expected = silhouette_area(camera, centre, 0.2, 240)
    rasterizer.render(camera, particles=[ParticleCloud([centre], 0.2, RED)])
    splat = rasterizer._primitive >= 0
    assert splat.sum() / 4.0 == pytest.approx(expected, rel=0.005)
    rasterizer.render(camera, meshes=[ball(centre, 0.2, RED)])
    mesh = rasterizer._primitive >= 0
    assert mesh.sum() / 4.0 == pytest.approx(expected, rel=0.01)
    assert (mesh ^ splat).sum() < 0.02 * splat.sum()


def test_splats_and_meshes_have_the_same_depth_and_colour(rasterizer):
    camera = Camera((0.3, -1.0, 0.4), (0.0, 0.0, 0.0))
    first = rasterizer.render(camera, particles=[ParticleCloud([(0, 0, 0)], 0.2, RED)]).astype(int)
    depth = rasterizer._depth.copy()
    second = rasterizer.render(camera, meshes=[ball((0, 0, 0), 0.2, RED)]).astype(int)
    both = (depth > 0) & (rasterizer._depth > 0)
    assert np.abs(1.0 / depth[both] - 1.0 / rasterizer._depth[both]).max() < 0.02
    assert np.abs(first - second).mean() < 1.0


@pytest.mark.parametrize("order", [1, -1])
def test_nearer_hides_farther(rasterizer, order):
    camera = Camera((0.0, -1.0, 0.0), (0.0, 0.0, 0.0))
    things = [ball((0, -0.2, 0), 0.1, RED), ball((0, 0.2, 0), 0.12, BLUE)][::order]
    middle = rasterizer.render(camera, meshes=things)[120, 160].astype(int)
    assert middle[0] > middle[2] + 50
    cloud = ParticleCloud([(0, -0.6, 0)], 0.05, BLUE)
    middle = rasterizer.render(camera, meshes=things, particles=[cloud])[120, 160].astype(int)
    assert middle[2] > middle[0] + 50


def test_interpolation_is_perspective_correct(rasterizer):
    # a plank that runs away from the eye, black at its near end, white at its far end
    vertices = np.array([[-0.3, 0, 0], [0.3, 0, 0], [0.3, 4, 0], [-0.3, 4, 0]], dtype=float)
    color = np.array([(0, 0, 0), (0, 0, 0), WHITE, WHITE], dtype=float)
    camera = Camera((0.0, -0.7, 0.8), (0.0, 1.2, 0.0), vertical_fov_degrees=60.0)
    mesh = ColoredMesh(vertices, [[0, 1, 2], [0, 2, 3]], color, smooth=False)
    image = rasterizer.render(camera, meshes=[mesh]).astype(float)
    where = camera.project(np.array([[0, 1.0, 0], [0, 2.0, 0], [0, 3.0, 0]]), 320, 240)
    values = [image[round(y), round(x), 1] / 255 for x, y, _ in where]
    linear = [((v + 0.055) / 1.055) ** 2.4 for v in values]
    # colours interpolate in linear light, and stay below the tone curve's shoulder here
    assert linear[0] / linear[1] == pytest.approx(0.5, abs=0.06)


def test_shadow_falls_where_geometry_says(rasterizer):
    # seen from above, a ball at height h shadows a spot h (sun_x, sun_y) / sun_z away from its foot
    camera = Camera((0.0, -0.01, 3.0), (0.0, 0.0, 0.0), vertical_fov_degrees=40.0)
    ground = GroundPlane(extent=(3.0, 3.0), spacing=0.0)
    sun, height, radius = np.array([-0.8, -0.4, 1.0]), 0.6, 0.1
    things = {"meshes": [ball((-0.2, -0.1, height), radius, RED)], "ground": ground}
    image = rasterizer.render(camera, lighting=Lighting(sun), **things).astype(float)
    bare = rasterizer.render(camera, lighting=Lighting(sun), ground=ground).astype(float)
    dark = (bare.mean(axis=2) - image.mean(axis=2) > 40.0) & (redness(image) == 0)
    rows, columns = np.nonzero(dark)
    expected = np.array([[-0.2 - height * sun[0] / sun[2], -0.1 - height * sun[1] / sun[2], 0.0]])
    x, y, _ = camera.project(expected, 320, 240)[0]
    assert abs(columns.mean() + 0.5 - x) < 1.5
    assert abs(rows.mean() + 0.5 - y) < 1.5
    metre = 0.5 * 240 / camera.half_height / 3.0
    expected_area = math.pi * radius**2 * np.linalg.norm(sun) / sun[2] * metre**2
    assert len(rows) == pytest.approx(expected_area, rel=0.15)


@pytest.mark.parametrize("towards", [(0.0, 0.0, 1.0), (0.8, -0.3, 0.4), (-0.1, 1.0, 0.02)])
def test_the_ground_is_lit_only_where_nothing_can_shade_it(towards):
    # points of the box, moved along the light onto the ground, stay within the rectangle, and its edges are as near as that
    direction = np.array(towards) / np.linalg.norm(towards)
    low, high, height = np.array([-0.3, 0.2, 0.1]), np.array([0.4, 0.9, 0.7]), -0.05
    (light_map,) = light_maps(direction[None], box_corners(low, high), 256)
    lower, upper = shadow_on_ground(light_map, (low, high), height)
    points = np.concatenate([np.random.default_rng(0).uniform(low, high, (1000, 3)), box_corners(low, high)])
    shaded = points[:, :2] - ((points[:, 2] - height) / direction[2])[:, None] * direction[:2]
    soft = 12 * light_map[LightMap.texel] / direction[2]
    np.testing.assert_allclose(shaded.min(0) - soft, lower, atol=1e-4)
    np.testing.assert_allclose(shaded.max(0) + soft, upper, atol=1e-4)


def test_light_along_the_ground_shades_all_of_it():
    box = np.zeros(3), np.ones(3)
    (light_map,) = light_maps(np.array([[1.0, 0.0, 0.0]]), box_corners(*box), 256)
    lower, upper = shadow_on_ground(light_map, box, 0.0)
    assert (lower < -1e6).all()
    assert (upper > 1e6).all()


def test_no_shadow_acne_on_a_lit_ball(rasterizer):
    camera = Camera((-0.6, -0.8, 1.0), (0.0, 0.0, 0.0))
    image = rasterizer.render(camera, meshes=[ball((0, 0, 0), 0.25, (0.6, 0.6, 0.6))], lighting=Lighting((-0.6, -0.8, 1)))
    lit = image[90:150, 130:190, 1].astype(float)  # the middle of the disc, seen along the light
    assert np.abs(np.diff(lit, axis=0)).max() <= 4
    assert np.abs(np.diff(lit, axis=1)).max() <= 4


def test_marker_is_painted_where_it_is(rasterizer):
    camera = Camera((0.0, -0.01, 3.0), (0.0, 0.0, 0.0), vertical_fov_degrees=40.0)
    ring = GroundMarker((0.4, 0.2), 0.2, color=RED, width=0.05, opacity=1.0)
    image = rasterizer.render(camera, ground=GroundPlane(extent=(3, 3), spacing=0.0, markers=(ring,)))
    points = np.array([[0.4, 0.2, 0], [0.4 + 0.175, 0.2, 0], [0.4, 0.2 - 0.175, 0], [0.4 + 0.23, 0.2, 0]])
    seen = [redness(image)[int(y), int(x)] for x, y, _ in camera.project(points, 320, 240)]
    assert seen == [0, 1, 1, 0]


def flat(y: float, color, opacity: float, half: float = 1.0) -> ColoredMesh:
    """A square that faces a camera on the negative y axis, at y."""
    corners = [[-half, y, -half], [half, y, -half], [half, y, half], [-half, y, half]]
    return ColoredMesh(corners, [[0, 1, 2], [0, 2, 3]], color, opacity=opacity)


def test_see_through_layers_are_blended_front_to_back(rasterizer):
    """Behind layers of opacity a and b, what is behind both counts (1 - a) (1 - b), in linear light."""
    camera, plain = (
        Camera((0.0, -3.0, 0.0), (0.0, 0.0, 0.0)),
        Lighting(sun=(0, 0, 0), sky=(0.5, 0.5, 0.5), bounce=(0.5, 0.5, 0.5)),
    )

    def linear(*meshes: ColoredMesh) -> np.ndarray:
        pixel = rasterizer.render(camera, meshes=meshes, lighting=plain)[120, 160] / 255.0
        return np.where(pixel <= 0.04045, pixel / 12.92, ((pixel + 0.055) / 1.055) ** 2.4)

    far, near = (linear(flat(0.0, color, 1.0)) for color in (RED, BLUE))
    wall = linear(flat(0.5, (0.6, 0.6, 0.6), 1.0))
    both = linear(flat(0.5, (0.6, 0.6, 0.6), 1.0), flat(0.0, RED, 0.5), flat(-0.5, BLUE, 0.25))
    expected = 0.25 * near + 0.75 * (0.5 * far + 0.5 * wall)
    np.testing.assert_allclose(both, expected, atol=0.03)
    # the order in which they are given does not matter, nor that a solid thing is in between
    again = linear(flat(-0.5, BLUE, 0.25), flat(0.0, RED, 0.5), flat(0.5, (0.6, 0.6, 0.6), 1.0))
    np.testing.assert_array_equal(both, again)
    hidden = linear(flat(0.0, RED, 1.0), flat(0.2, BLUE, 0.5))
    np.testing.assert_array_equal(hidden, far)


def test_see_through_things_let_some_of_the_sun_through(rasterizer):
    camera = Camera((0.0, -2.0, 2.0), (0.0, 0.0, 0.0), vertical_fov_degrees=60.0)
    ground, sun = GroundPlane(extent=(3, 3), spacing=0.0), Lighting(sun_direction=(0.0, 0.0, 1.0))
    box = ((-2.0, -2.0, 0.0), (2.0, 2.0, 1.5))

    def beneath(opacity: float) -> float:
        square = ColoredMesh(
            [[-0.4, -0.4, 1], [0.4, -0.4, 1], [0.4, 0.4, 1], [-0.4, 0.4, 1]], [[0, 1, 2], [0, 2, 3]], opacity=opacity
        )
        meshes = [square] if opacity else []
        image = rasterizer.render(camera, meshes=meshes, ground=ground, lighting=sun, shadow_bounds=box)
        x, y, _ = camera.project(np.zeros((1, 3)), 320, 240)[0]
        return float(image[int(y), int(x)].mean())

    dark, half, light = beneath(1.0), beneath(0.5), beneath(0.0)
    assert dark + 15 < half < light - 15


def test_depth_and_what_is_seen():
    rasterizer = Rasterizer(320, 240, supersampling=1)
    camera = Camera((0.0, -3.0, 0.5), (0.0, 0.0, 0.5))
    seen = rasterizer.visibility(
        camera,
        meshes=[flat(1.0, RED, 1.0), ball((0, 0, 0.5), 0.2, BLUE, opacity=0.3)],
        particles=[ParticleCloud([(0.7, 0.0, 0.5)], 0.1)],
        ground=GroundPlane(-1.5),
    )
    assert seen.depth[120, 160] == pytest.approx(2.8, abs=1e-3)
    assert seen.mesh[120, 160] == 1  # a see-through thing counts
    x, y, depth = camera.project(np.array([[0.7, 0.0, 0.5]]), 320, 240)[0]
    assert seen.cloud[int(y), int(x)] == 0
    assert seen.depth[int(y), int(x)] == pytest.approx(depth * (1.0 - 0.1 / np.hypot(0.7, 3.0)), abs=1e-3)
    x, y, depth = camera.project(np.array([[-0.7, 1.0, 0.2]]), 320, 240)[0]
    assert seen.mesh[int(y), int(x)] == 0
    assert seen.depth[int(y), int(x)] == pytest.approx(depth, rel=1e-4)
    covered = (seen.mesh >= 0) | (seen.cloud >= 0) | seen.ground
    assert np.array_equal(np.isfinite(seen.depth), covered)


def test_same_frame_twice_is_bit_identical(rasterizer):
    random = np.random.default_rng(0)
    camera = Camera((0.6, -1.5, 0.9), (0.0, 0.0, 0.1))
    cloud = ParticleCloud(random.uniform((-0.3, -0.3, 0.0), (0.3, 0.3, 0.6), (2000, 3)), 0.02, random.uniform(0, 1, (2000, 3)))
    things = {"meshes": [ball((0.1, 0, 0.2), 0.2, RED)], "particles": [cloud], "ground": GroundPlane()}
    first = rasterizer.render(camera, **things)
    assert first.dtype == np.uint8
    assert first.shape == (240, 320, 3)
    for _ in range(3):
        assert np.array_equal(first, rasterizer.render(camera, **things))
    assert np.array_equal(first, Rasterizer(320, 240, 2).render(camera, **things))


def test_what_is_behind_the_eye_is_left_out(rasterizer):
    camera = Camera((0.0, -1.0, 0.0), (0.0, 0.0, 0.0))
    empty = rasterizer.render(camera)
    through_the_eye = ColoredMesh([[-1, -2, 0.1], [1, -2, 0.1], [0, 1, 0.1]], [[0, 1, 2]], RED)
    assert (empty == np.round(255 * np.array([0.93, 0.94, 0.955]))).all()
    behind = rasterizer.render(camera, meshes=[ball((0, -1.5, 0), 0.2, RED), through_the_eye])
    clouds = [ParticleCloud([(0, -1.5, 0), (0, -1.05, 0)], 0.1, RED)]
    assert np.array_equal(empty, behind)
    assert np.array_equal(empty, rasterizer.render(camera, particles=clouds))


def test_bad_arguments():
    with pytest.raises(InputError, match="width"):
        Rasterizer(0, 10)
    with pytest.raises(InputError, match="faces must index 3 vertices"):
        ColoredMesh(np.zeros((3, 3)), [[0, 1, 3]])
    with pytest.raises(InputError, match="color"):
        ColoredMesh(np.zeros((3, 3)), [[0, 1, 2]], color=(255, 0, 0))
    with pytest.raises(InputError, match="radius"):
        ParticleCloud(np.zeros((3, 3)), 0.0)
    with pytest.raises(InputError, match="sun_direction"):
        Lighting(sun_direction=(0, 0, -1))
    with pytest.raises(InputError, match="opacity"):
        ParticleCloud(np.zeros((3, 3)), 0.1, opacity=1.5)
    with pytest.raises(InputError, match="supersampling must be 1"):
        Rasterizer(8, 8).visibility(Camera((1, 1, 1), (0, 0, 0)))


def test_importing_does_not_import_taichi():
    code = "import sys, diffsim.render; sys.exit('taichi' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
