"""Rigid bodies, articulations and obstacles in pictures."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh

import diffsim as ds
from diffsim.render import Camera, LinkCamera, SceneRenderer
from diffsim.render.decimation import clustered, simplified, surface_of
from diffsim.scene.rotations import rotation_matrix

pytestmark = pytest.mark.slow

RED, GREEN = (0.9, 0.1, 0.1), (0.1, 0.8, 0.2)
CAMERA = Camera((0.0, -2.0, 0.6), (0.0, 0.0, 0.3), vertical_fov_degrees=40.0)
WIDTH, HEIGHT = 320, 240


def state_at(q, tools: int = 0) -> ds.State:
    """A state of rigid things only, at coordinates q."""
    return ds.State(
        x=torch.zeros(1, 0, 3),
        v=torch.zeros(1, 0, 3),
        C=torch.zeros(1, 0, 3, 3),
        F=torch.zeros(1, 0, 3, 3),
        internal_variable=torch.zeros(1, 0),
        tool_position=torch.zeros(1, tools, 3),
        tool_rotation=torch.zeros(1, tools, 4),
        q=torch.tensor([q], dtype=torch.float64).reshape(1, -1),
        qd=torch.zeros(1, 0),
        time_step=torch.zeros(1, dtype=torch.int64),
    )


def mask(image: np.ndarray, channel: int) -> np.ndarray:
    """Pixels in which a colour channel clearly outshines the others."""
    pixels = image.astype(int)
    others = np.delete(pixels, channel, axis=2).max(axis=2)
    return pixels[..., channel] > others + 50


def middle(pixels: np.ndarray) -> np.ndarray:
    """Mean pixel x and y of a mask."""
    return np.argwhere(pixels).mean(axis=0)[::-1] + 0.5


def renderer(scene: ds.Scene, **options) -> SceneRenderer:
    return SceneRenderer(scene, width=WIDTH, height=HEIGHT, **{"camera": CAMERA, **options})


def box_scene(**options) -> ds.Scene:
    return ds.Scene(rigid_bodies=(ds.RigidBody("box", ds.Box((0.1, 0.1, 0.1)), (0.0, 0.0, 0.3), color=RED),), **options)


def arm(link: ds.Geometry) -> ds.Articulation:
    """A pendulum about the world's y axis, 0.6 m up, with a box of 1 kg."""
    inertia = ds.Inertia(1.0, (0.01, 0.01, 0.01))
    joint = ds.Joint("hinge", "revolute", axis=(0.0, 1.0, 0.0))
    return ds.Articulation("arm", (ds.Link("bar", joint, position=(0.0, 0.0, 0.6), inertia=inertia, geometries=(link,)),))


def test_a_box_appears_where_it_projects_and_moves_with_q():
    drawn = renderer(box_scene())
    for place in ((0.0, 0.0, 0.3), (0.3, 0.2, 0.5), (-0.25, 0.0, 0.1)):
        found = middle(mask(drawn.frame(state_at([*place, 1.0, 0.0, 0.0, 0.0])), 0))
        corners = np.asarray(place) + 0.1 * np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, -1).T
        pixels = CAMERA.project(corners, WIDTH, HEIGHT)[:, :2]
        hull = trimesh.Trimesh(*_outline(pixels), process=False)
        assert found == pytest.approx(hull.centroid[:2], abs=2.0)


def _outline(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The convex hull of points (N, 2) as a flat mesh."""
    from scipy.spatial import ConvexHull

    ring = pixels[ConvexHull(pixels).vertices]
    fan = [(0, i, i + 1) for i in range(1, len(ring) - 1)]
    return np.concatenate([ring, np.zeros((len(ring), 1))], axis=1), np.array(fan)


def test_a_turned_box_is_wider():
    drawn = renderer(box_scene())
    half = np.pi / 8  # 45 degrees round z
    straight = mask(drawn.frame(state_at([0.0, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0])), 0)
    turned = mask(drawn.frame(state_at([0.0, 0.0, 0.3, np.cos(half), 0.0, 0.0, np.sin(half)])), 0)
    widths = [np.ptp(np.argwhere(pixels)[:, 1]) for pixels in (straight, turned)]
    assert widths[1] > 1.2 * widths[0]


def test_a_link_swings_and_its_geometry_keeps_its_place_on_it():
    weight = ds.Geometry(ds.Sphere(0.06), position=(0.0, 0.0, -0.3), color=GREEN)
    drawn = renderer(ds.Scene(articulations=(arm(weight),)))
    for angle in (0.0, 0.6, -1.2):
        place = (-0.3 * np.sin(angle), 0.0, 0.6 - 0.3 * np.cos(angle))
        expected = CAMERA.project(np.array([place]), WIDTH, HEIGHT)[0, :2]
        assert middle(mask(drawn.frame(state_at([angle])), 1)) == pytest.approx(expected, abs=1.5)


def test_what_is_not_visible_is_not_drawn():
    shown, hidden = (ds.Geometry(ds.Sphere(0.1), color=GREEN, visible=visible) for visible in (True, False))
    assert mask(renderer(ds.Scene(articulations=(arm(shown),))).frame(state_at([0.0])), 1).sum() > 200
    assert mask(renderer(ds.Scene(articulations=(arm(hidden),))).frame(state_at([0.0])), 1).sum() == 0


def test_colours_by_name_go_before_those_of_the_geometries():
    scene = ds.Scene(articulations=(arm(ds.Geometry(ds.Sphere(0.1), color=RED)),))
    for name in ("arm", "arm.bar"):
        image = renderer(scene, colors={name: GREEN}).frame(state_at([0.0]))
        assert mask(image, 1).sum() > 200
        assert mask(image, 0).sum() == 0
    with pytest.raises(ds.InputError, match=r"nothing is named 'leg'; the scene has arm, arm\.bar"):
        renderer(scene, colors={"leg": GREEN})


@pytest.mark.parametrize("ground", [ds.Ground(), None])
def test_a_scene_without_soft_bodies_is_framed_whole(ground):
    far = ds.RigidBody("far", ds.Sphere(0.2), (5.0, 3.0, 1.0), color=RED)
    near = ds.Articulation("robot", arm(ds.Geometry(ds.Box((0.05, 0.05, 0.3)), color=GREEN)).links, position=(3.5, 3.0, 0.0))
    scene = ds.Scene(rigid_bodies=(far,), articulations=(near,), ground=ground)
    sim = ds.Simulator(scene)
    image = SceneRenderer(scene, width=WIDTH, height=HEIGHT).frame(sim.reset())
    for channel in (0, 1):
        rows, columns = np.nonzero(mask(image, channel))
        assert len(rows) > 150
        assert rows.min() > 0
        assert columns.min() > 0
        assert rows.max() < HEIGHT - 1
        assert columns.max() < WIDTH - 1


def test_robots_are_drawn_one_by_one_and_a_wrong_q_is_refused():
    spec = arm(ds.Geometry(ds.Sphere(0.08), color=GREEN))
    twins = tuple(ds.Articulation(f"robot{i}", spec.links, position=(0.5 * i - 0.25, 0.0, 0.0)) for i in range(2))
    drawn = renderer(ds.Scene(articulations=twins))
    columns = np.flatnonzero(mask(drawn.frame(state_at([0.0, 0.0])), 1).any(axis=0))
    assert (np.diff(columns) > 20).sum() == 1
    with pytest.raises(ds.InputError, match=r"x, tool_position and q must have the shapes \(0, 3\), \(0, 3\), \(2,\)"):
        drawn.frame(state_at([0.0]))


def test_a_mesh_obstacle_is_drawn():
    ring = trimesh.creation.annulus(0.1, 0.2, 0.1)
    shape = ds.TriangleMesh(np.asarray(ring.vertices), np.asarray(ring.faces))
    obstacle = ds.Obstacle("ring", shape, (-0.3, 0.0, 0.4), rotation=(np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0))
    image = renderer(box_scene(obstacles=(obstacle,)), colors={"ring": GREEN}).frame(state_at([0.4, 0, 0.1, 1, 0, 0, 0]))
    pixels = mask(image, 1)
    x, y = CAMERA.project(np.array([[-0.3, 0.0, 0.4]]), WIDTH, HEIGHT)[0, :2].astype(int)
    assert not pixels[y, x]  # the hole
    assert pixels[y, x - 25 : x + 25].sum() > 15


def test_ellipsoid_cone_and_terrain_are_drawn():
    hills = ds.HeightField(0.05 * np.sin(np.arange(9)[:, None] + np.arange(7)), 0.2)
    scene = ds.Scene(
        rigid_bodies=(
            ds.RigidBody("egg", ds.Ellipsoid((0.15, 0.1, 0.08)), (-0.3, 0.0, 0.3)),
            ds.RigidBody("cone", ds.Cone(0.12, 0.12, rounding=0.01), (0.3, 0.0, 0.3)),
        ),
        obstacles=(ds.Obstacle("hills", hills, (0.0, 0.0, 0.05)),), ground=None,
    )  # fmt: skip
    state = state_at([-0.3, 0.0, 0.3, 1, 0, 0, 0, 0.3, 0.0, 0.3, 1, 0, 0, 0])
    image = renderer(scene, colors={"egg": RED, "cone": GREEN}).frame(state)
    assert mask(image, 0).sum() > 500
    assert mask(image, 1).sum() > 300
    bare = renderer(replace(scene, obstacles=()), colors={"egg": RED, "cone": GREEN}).frame(state)
    assert (np.abs(image.astype(int) - bare).max(axis=2) > 20).mean() > 0.1


def test_planes_are_floors_or_walls():
    wall = ds.Obstacle("wall", ds.Plane(), (0.0, 0.5, 0.0), rotation=(np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0))  # faces the eye
    behind = ds.Obstacle("behind", ds.Plane(), (0.0, -0.5, 0.0), rotation=(np.sqrt(0.5), -np.sqrt(0.5), 0.0, 0.0))
    floor = ds.Obstacle("floor", ds.Plane(), (0.0, 0.0, 0.1))
    state = state_at([0.0, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0])
    images = [
        renderer(box_scene(obstacles=things, ground=None), colors={thing.name: GREEN for thing in things}).frame(state)
        for things in ((wall,), (behind,), (floor,), ())
    ]
    assert mask(images[0], 1).sum() > 5000
    assert all(mask(image, 0).sum() > 200 for image in images)
    assert np.array_equal(images[1], images[3])  # what the eye looks at from within is left out
    assert not np.array_equal(images[2], images[3])
    level = renderer(box_scene(ground=ds.Ground(height=0.1))).frame(state)
    assert np.array_equal(level, images[2])


def test_soft_and_rigid_things_share_a_picture():
    soft = ds.SoftBody("soft", ds.Sphere(0.1), (0.3, 0.5, 0.2), particles=200)
    body = ds.RigidBody("box", ds.Box((0.08, 0.08, 0.08)), (0.7, 0.5, 0.2))
    scene = ds.Scene((soft,), rigid_bodies=(body,))
    sim = ds.Simulator(scene)
    colors = {"soft": RED, "box": GREEN}
    image = SceneRenderer(scene, width=WIDTH, height=HEIGHT, colors=colors).frame(sim.reset())
    assert mask(image, 0).sum() > 200
    assert mask(image, 1).sum() > 200


def test_a_shadow_follows_a_body_that_leaves():
    drawn = renderer(box_scene(), camera=Camera((4.0, -3.0, 2.0), (4.0, 0.0, 0.0), vertical_fov_degrees=30.0))
    away = drawn.frame(state_at([4.0, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0]))
    gone = drawn.frame(state_at([40.0, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0]))
    darker = gone.astype(int).sum(axis=2) - away.astype(int).sum(axis=2)
    assert drawn.framing.shadow_box([])[1][0] < 4.0
    assert ((darker > 60) & ~mask(away, 0)).sum() > 100


def test_a_camera_that_goes_along_sees_the_same_far_from_the_start():
    along = LinkCamera("box.box", position=(0.5, -2.0, 0.8), target=(0.0, 0.0, 0.0), turns=False)
    drawn = renderer(box_scene(), camera=along)
    here, far = (drawn.frame(state_at([x, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0])).astype(int) for x in (0.0, 40.0))
    assert np.abs(far - here).max() <= 40  # of 255: the map of shadows lies anew on the ground
    assert (np.abs(far - here).max(axis=2) > 8).mean() < 2e-3
    ground = here[HEIGHT * 3 // 4 :]
    assert (ground.max(axis=2) < np.median(ground) - 15).sum() > 50  # lines are among it


@pytest.mark.parametrize("cell", [0.01, 0.03])
def test_fewer_triangles_look_the_same(cell):
    mesh = trimesh.creation.box((0.4, 0.3, 0.2))
    for _ in range(5):
        mesh = mesh.subdivide()
    mesh.apply_transform(trimesh.transformations.random_rotation_matrix(np.array([0.1, 0.5, 0.8])))
    fine = surface_of(mesh)
    coarse = clustered(fine, cell)
    assert len(coarse.faces) < 0.8 * len(fine.faces)
    rebuilt = trimesh.Trimesh(coarse.vertices, coarse.faces)
    assert rebuilt.volume == pytest.approx(0.4 * 0.3 * 0.2, rel=0.01)  # the edges stay where they are
    tips = coarse.vertices[coarse.faces]
    normals = np.cross(tips[:, 1] - tips[:, 0], tips[:, 2] - tips[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    agree = np.einsum("fi,fki->fk", normals, coarse.normals[coarse.faces])
    assert np.mean(agree > 0.9) > 0.97
    assert np.linalg.norm(coarse.normals, axis=1) == pytest.approx(1.0)


def test_a_budget_is_kept_and_small_meshes_stay_whole():
    ball, box = surface_of(trimesh.creation.icosphere(5)), surface_of(trimesh.creation.box((0.01, 0.01, 0.01)))
    few = simplified([ball, box], [2, 30], 1e-6, 4000)
    assert 1000 < 2 * len(few[0].faces) <= 4000
    assert len(few[1].faces) == 12
    same = simplified([ball], [1], 1e-6, 10**6)
    assert len(same[0].faces) == len(ball.faces)


def test_an_open_surface_is_lit_from_both_sides():
    """A tray whose inner side is seen through its opening is no darker than its outer side in the same light."""
    sheet = ds.TriangleMesh(np.array([(-1, -1, 0), (1, -1, 0), (1, 1, 0), (-1, 1, 0)]) * 0.3, np.array([(0, 1, 2), (0, 2, 3)]))
    bright = []
    for flip in (0.0, np.pi):
        turn = (np.cos(0.5 * (0.9 + flip)), np.sin(0.5 * (0.9 + flip)), 0.0, 0.0)  # leans towards the eye
        assert abs(rotation_matrix(turn)[2, 2]) > 0.5
        scene = box_scene(obstacles=(ds.Obstacle("sheet", sheet, (0.0, 0.0, 0.3), turn),), ground=None)
        image = renderer(scene, colors={"sheet": GREEN}).frame(state_at([9.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]))
        bright.append(image[mask(image, 1)].astype(float).mean())
    assert bright[0] == pytest.approx(bright[1], abs=2.0)


def test_a_camera_on_a_link_sees_what_is_in_front_of_it():
    """A pendulum's eye looks along the link's x axis: at rest along the world's, and down at a quarter turn about y."""
    scene = ds.Scene(
        articulations=(arm(ds.Geometry(ds.Box((0.02, 0.02, 0.02)), (0.0, 0.0, -0.3))),),
        obstacles=(
            ds.Obstacle("ahead", ds.Sphere(0.2), (2.0, 0.0, 0.6), color=RED),
            ds.Obstacle("below", ds.Sphere(0.4), (0.0, 0.0, -1.4), color=GREEN),
        ),
        ground=None,
    )
    eye = LinkCamera("arm.bar", position=(0.1, 0.0, 0.0), target=(1.0, 0.0, 0.0))
    drawn = SceneRenderer(scene, camera=eye, width=80, height=60)
    ahead, below = drawn.frame(state_at([0.0])), drawn.frame(state_at([np.pi / 2.0]))
    assert mask(ahead, 0)[30, 40]
    assert not mask(ahead, 1).any()
    assert mask(below, 1)[30, 40]
    assert not mask(below, 0).any()
    assert drawn.sensor_images(state_at([0.0])).depth[30, 40] == pytest.approx(1.7, abs=0.01)
    beside = LinkCamera("arm.bar", position=(0.1, 0.0, 0.0), target=(1.0, 0.0, 0.0), turns=False)  # as it is at rest
    assert mask(SceneRenderer(scene, camera=beside, width=80, height=60).frame(state_at([np.pi / 2.0])), 0)[30, 40]
    with pytest.raises(ds.InputError, match="turns must be True or False, got 1"):
        LinkCamera("arm.bar", (0, 0, 0), (1, 0, 0), turns=1)
    with pytest.raises(ds.InputError, match=r"no link 'hand'; links: arm\.bar"):
        SceneRenderer(scene, camera=LinkCamera("hand", (0, 0, 0), (1, 0, 0)))
    with pytest.raises(ds.InputError, match="not along up"):
        LinkCamera("arm.bar", (0, 0, 0), (0, 0, 1))


def test_a_mesh_file_keeps_its_colours_on_a_rigid_body(tmp_path):
    mesh = trimesh.creation.icosphere(subdivisions=2, radius=0.15)
    colors = np.where(mesh.vertices[:, :1] > 0.0, (230, 25, 25, 255), (25, 205, 50, 255)).astype(np.uint8)
    trimesh.Trimesh(mesh.vertices, mesh.faces, vertex_colors=colors, process=False).export(tmp_path / "ball.ply")
    shape = ds.TriangleMesh.from_file(tmp_path / "ball.ply")
    frames = []
    for color in (None, RED):
        scene = ds.Scene(rigid_bodies=(ds.RigidBody("ball", shape, (0.0, 0.0, 0.3), color=color),))
        frames.append(renderer(scene).frame(state_at([0.0, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0])))
    painted, plain = frames
    assert middle(mask(painted, 0))[0] > WIDTH / 2 > middle(mask(painted, 1))[0]
    assert not mask(plain, 1).any()


def test_a_texture_colours_the_vertices(tmp_path):
    from PIL import Image

    mesh = trimesh.creation.box((0.3, 0.3, 0.3))
    picture = Image.fromarray(np.array([[[230, 25, 25], [25, 205, 50]]], dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1))
    uv = np.stack([np.where(mesh.vertices[:, 0] > 0.0, 0.1, 0.9), np.full(len(mesh.vertices), 0.5)], axis=1)
    material = trimesh.visual.material.SimpleMaterial(image=picture)
    textured = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    textured.visual = trimesh.visual.TextureVisuals(uv=uv, material=material)
    textured.export(tmp_path / "box.glb")
    shape = ds.TriangleMesh.from_file(tmp_path / "box.glb")
    scene = ds.Scene(rigid_bodies=(ds.RigidBody("box", shape, (0.0, 0.0, 0.3)),))
    image = renderer(scene).frame(state_at([0.0, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0]))
    assert middle(mask(image, 0))[0] > WIDTH / 2 > middle(mask(image, 1))[0]
