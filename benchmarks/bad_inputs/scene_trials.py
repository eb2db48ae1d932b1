"""Wrong shapes, materials, bodies, joints, scenes, and files of meshes and robots."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

import diffsim as ds
from benchmarks.bad_inputs.judging import Named, Trial, trials

NAN, INF = math.nan, math.inf
LENGTHS = ["0.1", NAN, -0.1, 0.0, True, None, (0.1,)]
NUMBERS = ["1", NAN, INF, True, None, [1.0]]
NAMES = [3, "", "a.b", "a\nb", " ", None]
PART_NAMES = [3, "", "a\nb", " ", None]  # of joints, links and actuators, which model files may give dots
VECTORS = ["123", (0.0, 1.0), (0.0, 0.0, NAN), 0.3, None, (True, 0.0, 0.0), ("1", "2", "3")]
ROTATIONS = [(0.0, 0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (NAN, 0.0, 0.0, 0.0), "1000"]

MODEL = """<mujoco model="arm"><worldbody><body name="upper"><joint name="hinge" type="hinge" axis="0 1 0"/>
<geom type="sphere" size="0.1" mass="1"/></body></worldbody></mujoco>"""
CROWD = MODEL.replace("<body", '<replicate count="1000000" offset="1 0 0"><body').replace("</body>", "</body></replicate>")

Row = tuple[Callable[[], Any], list[Trial]]


@cache
def folder() -> Path:
    """A folder with files, right and wrong."""
    made = Path(tempfile.gettempdir()) / "diffsim_bad_inputs"
    made.mkdir(exist_ok=True)
    trimesh.creation.icosphere(1, 0.1).export(made / "ball.obj")
    (made / "noise.glb").write_bytes(b"this is no mesh")
    (made / "empty.obj").touch()
    (made / "nan.obj").write_text("v nan 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 2 3\nf 1 2 4\nf 2 3 4\nf 1 3 4\n")
    (made / "arm.xml").write_text(MODEL)
    (made / "crowd.xml").write_text(CROWD)
    (made / "broken.xml").write_text("<mujoco><worldbody>")
    (made / "arm.urdf").write_text("<robot name='r'><link name='a'/></nothing>")
    return made


def body(name: str = "jelly", position: Any = (0.5, 0.5, 0.5), **changes: Any) -> ds.SoftBody:
    """A right soft body."""
    return ds.SoftBody(name, ds.Sphere(0.1), position, **{"particles": 30, **changes})


def ball(name: str = "ball", position: Any = (0.0, 0.0, 0.5), **changes: Any) -> ds.RigidBody:
    """A right rigid body."""
    return ds.RigidBody(name, ds.Sphere(0.1), position, **changes)


def link(**changes: Any) -> ds.Link:
    """A right link on a hinge."""
    inertia = ds.Inertia(1.0, (0.1, 0.1, 0.1))
    return ds.Link(**{"name": "arm", "joint": ds.Joint("hinge", "revolute"), "inertia": inertia, **changes})


def mesh(vertices: Any = None, faces: Any = None, **changes: Any) -> ds.TriangleMesh:
    """A right mesh."""
    sphere = trimesh.creation.icosphere(1, 0.1)
    return ds.TriangleMesh(
        sphere.vertices if vertices is None else vertices, sphere.faces if faces is None else faces, **changes
    )


def scene_of(bodies: tuple[ds.RigidBody, ...]) -> Any:
    """A simulator of rigid bodies above the ground."""
    return ds.Simulator(ds.Scene(rigid_bodies=bodies))


def table() -> Iterator[Row]:
    """The rows."""
    yield from _shapes()
    yield from _materials()
    yield from _bodies()
    yield from _articulations()
    yield from _scenes()
    yield from _files()


def _shapes() -> Iterator[Row]:
    yield trials("Sphere", ds.Sphere, {"radius": 0.1}, radius=["a", *LENGTHS])
    yield trials("Capsule", ds.Capsule, {"half_length": 0.1, "radius": 0.1}, half_length=LENGTHS[:4], radius=LENGTHS)
    yield trials(
        "Box",
        ds.Box,
        {"half_extents": (0.1, 0.1, 0.1), "rounding": 0.01},
        half_extents=[0.1, (0.1, 0.1), (0.1, -0.1, 0.1), ("a", 0.1, 0.1), None, "123"],
        rounding=["0", NAN, -0.1, 0.2, True],
    )
    yield trials("Cylinder", ds.Cylinder, {"half_length": 0.1, "radius": 0.1}, half_length=LENGTHS[:4], radius=LENGTHS)
    yield trials(
        "Cone",
        ds.Cone,
        {"half_length": 0.1, "radius": 0.1},
        half_length=LENGTHS[:3],
        radius=LENGTHS[:3],
        top_radius=["0", NAN, 0.2, True],
    )
    yield trials("Ellipsoid", ds.Ellipsoid, {"semi_axes": (0.1, 0.2, 0.3)}, semi_axes=[0.1, "123", (0.1, 0.0, 0.1), None])
    yield trials(
        "Torus", ds.Torus, {"major_radius": 0.2, "minor_radius": 0.1}, major_radius=LENGTHS, minor_radius=["0.1", 0.3, NAN]
    )
    yield trials(
        "HeightField",
        ds.HeightField,
        {"heights": np.zeros((3, 3)), "spacing": 0.1},
        heights=[np.zeros(3), "flat", np.full((2, 2), NAN), None],
        spacing=["0.1", 0.0, (0.1, 0.1, 0.1), None, True],
    )
    yield trials(
        "TriangleMesh",
        mesh,
        {},
        vertices=[
            np.zeros((3, 2)),
            Named(np.full((4, 3), NAN), given="not finite"),
            "vertices",
            Named(np.zeros((4, 3)), given="4"),
        ],
        faces=[
            Named(np.array([[0, 1, 999]]), given="999"),
            Named(np.zeros((0, 3), dtype=int), "triangles", "no"),
            np.array([[0.5, 1.0, 2.0]]),
            Named(np.array([[0, 1, -1]]), given="-1"),
        ],
        scale=["2", 0.0, NAN, (1.0, 2.0), True],
        name=[3, None],
    )


def _materials() -> Iterator[Row]:
    yield trials(
        "Elastic",
        ds.Elastic,
        {},
        youngs_modulus=["5e3", -1.0, NAN, INF, True, None],
        poissons_ratio=["0.3", 0.5, -0.1, True],
        density=["1", 0.0, None],
    )
    yield trials("NeoHookean", ds.NeoHookean, {}, youngs_modulus=["5e3", 0.0], poissons_ratio=[0.6])
    yield trials("MooneyRivlin", ds.MooneyRivlin, {}, c1=["1", -1.0], c2=[-1.0, None], bulk_modulus=[1.0, NAN, "1"])
    yield trials("ElastoPlastic", ds.ElastoPlastic, {}, yield_stress=["1", -1.0, NAN, True])
    yield trials("Liquid", ds.Liquid, {}, bulk_modulus=["1", 0.0], viscosity=[-1.0, "1", NAN])
    yield trials("Sand", ds.Sand, {}, friction_angle=["30", -1.0, NAN, True])
    yield trials("Snow", ds.Snow, {}, youngs_modulus=["1", NAN])
    yield trials("KelvinVoigt", ds.KelvinVoigt, {}, elastic=[ds.Liquid(), 5e3, None], shear_viscosity=["1", -1.0, True])


def _bodies() -> Iterator[Row]:
    surface: dict[str, list[Any]] = {
        "friction": ["0.5", -0.1, NAN, 1e9, True, None],
        "restitution": [1.5, "0", True],
        "stiffness": [0.0, "1", NAN],
    }
    placed: dict[str, list[Any]] = {"name": NAMES, "shape": [0.1, None, "sphere"], "position": VECTORS, "rotation": ROTATIONS}
    right = {"name": "thing", "shape": ds.Sphere(0.1), "position": (0.5, 0.5, 0.5)}
    yield trials(
        "SoftBody",
        ds.SoftBody,
        {**right, "particles": 30},
        **placed,
        material=["elastic", None, 5e3],
        velocity=["123", 1.0],
        particles=[0, "30", 1.5, True, None],
    )
    yield trials(
        "RigidBody",
        ds.RigidBody,
        right,
        **placed,
        **surface,
        velocity=["123", (0.0, NAN, 0.0)],
        angular_velocity=[1.0],
        density=["1", 0.0, True],
        mass=["1", 0.0, -1.0, True],
        contact_points=[0, 1.5, True],
        color=["red", (2.0, 0.0, 0.0), (-1.0, 0.0, 0.0)],
    )
    yield trials("RigidBody both", ds.RigidBody, {**right, "mass": 1.0}, density=[500.0])
    yield trials(
        "Tool",
        ds.Tool,
        right,
        **placed,
        **surface,
        control=[("w",), (), ("x", "x"), 3, "rq", None],
        stops_at_obstacles=["no", 1],
        contact_points=[0],
    )
    yield trials("Obstacle", ds.Obstacle, right, **placed, **surface, contact_points=[0, "8"])
    yield trials("Ground", ds.Ground, {}, height=["0", NAN, True, None], **surface)
    yield trials(
        "ContactModel",
        ds.ContactModel,
        {},
        stiffness=["1", 0.0, True],
        smoothing=[-1.0, NAN],
        slip_speed=[0.0, None],
        restitution_speed=["1"],
        impact=["hard", None],
        event_speed=[-1.0],
    )


def _articulations() -> Iterator[Row]:
    yield trials(
        "Inertia",
        ds.Inertia,
        {"mass": 1.0, "moments": (0.1, 0.1, 0.1)},
        mass=["1", -1.0, NAN, True],
        moments=[(0.1, 0.1), (-0.1, 0.1, 0.1), Named((1.0, 0.1, 0.1), "moment"), "123"],
        center=VECTORS[:3],
        rotation=ROTATIONS[:2],
    )
    yield trials(
        "Geometry",
        ds.Geometry,
        {"shape": ds.Sphere(0.1)},
        shape=["sphere", None],
        position=VECTORS[:2],
        friction=["1", 1e9, -1.0],
        collides=["yes", None],
        visible=["no"],
        collision_group=["1", 1.5, True],
        collision_mask=[-2.5],
        color=[(2.0, 0.0, 0.0), "red"],
        contact_points=[0],
    )
    yield trials(
        "Joint",
        ds.Joint,
        {"name": "hinge", "kind": "revolute"},
        name=PART_NAMES,
        kind=["hinge", None, 3],
        axis=[(0.0, 0.0, 0.0), "123", (1.0, 0.0)],
        limits=[(1.0, -1.0), 1.0, "12", (NAN, 1.0)],
        damping=["1", -1.0, NAN, True],
        armature=[-1.0],
        friction_loss=["0"],
        spring_stiffness=[-1.0],
        initial=[(1.0, 2.0), "1", (NAN,)],
        initial_velocity=[1.0],
        second_axis=[(1.0, 0.0, 0.0)],
        constants=[(1.0,)],
        limit_smoothing=[0.0],
    )
    yield trials(
        "Link",
        link,
        {},
        name=PART_NAMES,
        joint=["hinge", None],
        parent=[3, ""],
        position=VECTORS[:2],
        rotation=ROTATIONS[:2],
        inertia=[1.0, (0.1, 0.1, 0.1)],
        geometries=[ds.Geometry(ds.Sphere(0.1)), ["a"], 3],
    )
    yield trials(
        "Actuator",
        ds.Actuator,
        {"name": "motor", "joints": "hinge"},
        name=PART_NAMES,
        joints=[3, {}, {"hinge": "1"}, {3: 1.0}],
        kind=["servo", None],
        gain=["1", NAN, True],
        damping=[-1.0],
        force_limits=[(1.0, -1.0), 5.0, "12", (NAN, 1.0)],
        control_limits=[(0.0, 0.0), None],
        control_scale=[NAN],
    )
    yield trials(
        "Articulation",
        ds.Articulation,
        {"name": "robot", "links": (link(),)},
        name=NAMES,
        links=[
            Named((), given="none"),
            link(),
            ("arm",),
            3,
            Named((link(), link()), given="arm"),
            Named((link(parent="base"),), given="base"),
        ],
        actuators=[Named((ds.Actuator("motor", "elbow"),), "actuator", "elbow"), "motor"],
        position=VECTORS[:2],
        rotation=ROTATIONS[:2],
        excluded=["arm", (("arm", "leg"),), 3],
        self_collisions=["no", None],
    )


def _scenes() -> Iterator[Row]:
    tools = [Named((ds.Tool("t", ds.Sphere(0.05), (0.5, 0.5, 0.9)),) * 2, "names", "t"), "tool", ds.Ground()]
    yield trials(
        "Scene",
        ds.Scene,
        {"soft_bodies": (body(),)},
        soft_bodies=[
            Named((), given="none"),
            body(),
            ("jelly",),
            3,
            (body(), ball()),
            Named((body(), body()), "name", "jelly"),
            Named((body("ground"),), "name", "ground"),
            Named((body(position=(0.5, 0.5, 0.05)),), "jelly", "0.0"),
        ],
        tools=tools,
        obstacles=[3],
        ground=[True, 0.0, "floor", Named(ds.Ground(2.0), given="2.0")],
        lower=["12", (0.0, 0.0)],
        upper=[(0.0, 1.0, 1.0), (NAN, 1.0, 1.0), None],
        grid_spacing=["x", 0.0, NAN, True, None, 0.9],
        gravity=["123", 9.81, None],
        rigid_bodies=[ball(), ("ball",)],
        articulations=["robot"],
        contact=["smooth", None],
    )
    yield trials(
        "soft Sphere",
        lambda radius: ds.Scene((ds.SoftBody("jelly", ds.Sphere(radius), (0.5, 0.5, 0.5), particles=30),)),
        {"radius": 0.1},
        radius=[Named(1e-20, given="1e-20")],
    )
    below, above = ball("low", (0.0, 0.0, -1.0)), ball("ball")
    yield trials(
        "rigid bodies",
        scene_of,
        {"bodies": (above,)},
        bodies=[
            Named((below,), "low", "ground", warned=True),
            Named((above, ball("twin")), "ball", "twin", warned=True),
            Named((above, ball("near", (0.05, 0.0, 0.5))), "ball", "near", warned=True),
            Named((ball("deep", (0.0, 0.0, 0.02)),), "deep", "ground", warned=True),
        ],
    )
    soft = lambda soft_bodies: ds.Simulator(ds.Scene(soft_bodies))  # noqa: E731
    yield trials(
        "soft bodies",
        soft,
        {"soft_bodies": (body(),)},
        soft_bodies=[Named((body(), body("twin", (0.5, 0.5, 0.55))), "jelly", "twin", warned=True)],
    )
    sized = lambda particles=30, **changes: ds.Simulator(ds.Scene((body(particles=particles),), **changes))  # noqa: E731
    yield trials(
        "sizes",
        sized,
        {},
        upper=[Named((1e6, 1e6, 1e6), given="GB")],
        grid_spacing=[Named(1e-4, given="GB")],
        particles=[Named(10**10, given="GB")],
    )
    yield trials(
        "register_joint", lambda kind: None if kind is None else ds.register_joint(kind), {"kind": None}, kind=["hinge", 3]
    )


def _files() -> Iterator[Row]:
    file = {"path": folder() / "ball.obj"}
    files = ["none.obj", folder() / "noise.glb", folder() / "empty.obj", folder() / "nan.obj", folder(), 3, None, "duck.txt"]
    paths = [Named(each, "mesh", str(each)) if isinstance(each, str | Path) else each for each in files]
    yield trials(
        "TriangleMesh.from_file",
        ds.TriangleMesh.from_file,
        file,
        path=paths,
        size=["1", 0.0, NAN, True, -1],
        scale=["1", 0.0, NAN, True, (1, 2)],
    )
    right = {"path": folder() / "arm.xml"}
    models = ["none.xml", folder() / "broken.xml", folder() / "arm.urdf", "arm.txt", folder(), 3, None]
    paths = [Named(each, "model", str(each)) if isinstance(each, str | Path) else each for each in models]
    yield trials(
        "load_articulation",
        ds.load_articulation,
        right,
        path=[*paths, Named(folder() / "crowd.xml", "replicate", "GB")],
        name=[3, ""],
        position=["123"],
        rotation=[(0.0,) * 4],
        fixed_base=["yes", 1],
        keyframe=["home", 5, 1.5],
        decompose=["all", None],
        visuals=["no"],
        self_collisions=["no"],
        actuators=[("motor",), "motor"],
        package_paths=["here", 3],
    )
