"""What MuJoCo says of a model, what an articulation says in plain numpy, and small models, for the tests of model files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from diffsim.robots.model_files import load_articulation
from diffsim.scene.articulation import Articulation
from diffsim.scene.rotations import rotation_matrix

mujoco = pytest.importorskip("mujoco")

EXACT: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-9}


def reference(path: Path, options: str = ""):
    """The model as MuJoCo loads it by itself, static bodies kept; ``options``: attributes of a URDF's compiler element."""
    if path.suffix == ".xml":
        return mujoco.MjModel.from_xml_path(str(path))
    extension = f'<mujoco><compiler strippath="false" fusestatic="false" {options}/></mujoco>'
    text = re.sub(r"(<robot[^>]*>)", rf"\1{extension}", path.read_text(), count=1)
    share = str(path).partition("example-robot-data")[0]
    return mujoco.MjModel.from_xml_string(text.replace("package://example-robot-data", f"{share}example-robot-data"))


def turned(axis: np.ndarray, angle: float) -> np.ndarray:
    """Rotation matrix by Rodrigues' formula."""
    x, y, z = axis
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * k + (1.0 - np.cos(angle)) * k @ k


class Kinematics:
    """Forward kinematics and mass matrix of an articulation in its own frame, in numpy.

    Args:
        coordinates: of each joint by its name, (1,), (4,) or (7,).
    """

    def __init__(self, articulation: Articulation, coordinates: dict[str, np.ndarray]):
        self.frames: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        # velocities move a link: per column the angular and the linear part (at the world's origin), and who they move
        columns: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
        index: dict[str, list[int]] = {}
        armature: list[float] = []
        zero = np.zeros(3)
        for link in articulation.links:
            origin, axes = self.frames[link.parent] if link.parent else (zero, np.eye(3))
            place, turn = origin + axes @ link.position, axes @ rotation_matrix(link.rotation)
            joint, own = link.joint, []
            if joint.kind != "fixed":
                q = coordinates[joint.name]
            if joint.kind == "revolute":
                turn = turn @ turned(np.array(joint.axis), q[0])
                axis = turn @ joint.axis
                own = [(axis, np.cross(place, axis))]
            elif joint.kind == "prismatic":
                axis = turn @ joint.axis
                place = place + q[0] * axis
                own = [(zero, axis)]
            elif joint.kind == "ball":
                turn = turn @ rotation_matrix(q)
                own = [(axis, np.cross(place, axis)) for axis in turn.T]
            elif joint.kind == "free":
                place, turn = q[:3], rotation_matrix(q[3:])
                own = [(zero, axis) for axis in np.eye(3)] + [(axis, np.cross(place, axis)) for axis in turn.T]
            self.frames[link.name] = place, turn
            above = (columns[link.parent], index[link.parent]) if link.parent else ([], [])
            columns[link.name] = above[0] + own
            index[link.name] = above[1] + list(range(len(armature), len(armature) + len(own)))
            armature += [joint.armature] * len(own)
        self.mass_matrix = np.diag(armature).astype(float)
        for link in articulation.links:
            if link.inertia is None or not columns[link.name]:
                continue
            place, turn = self.frames[link.name]
            center = place + turn @ link.inertia.center
            principal = turn @ rotation_matrix(link.inertia.rotation)
            inertia = principal @ np.diag(link.inertia.moments) @ principal.T
            spin = np.array([angular for angular, _ in columns[link.name]]).T
            move = np.array([linear + np.cross(angular, center) for angular, linear in columns[link.name]]).T
            at = np.ix_(index[link.name], index[link.name])
            self.mass_matrix[at] += link.inertia.mass * move.T @ move + spin.T @ inertia @ spin

    def points(self, link: str, points: np.ndarray) -> np.ndarray:
        place, turn = self.frames[link]
        return place + turn @ points


SIZES = {0: 7, 1: 4, 2: 1, 3: 1}  # coordinates by mjtJoint
DOFS = {"revolute": 1, "prismatic": 1, "ball": 3, "free": 6, "fixed": 0}
MESH = int(mujoco.mjtGeom.mjGEOM_MESH)


def random_state(model, seed: int):
    """MuJoCo's data at a random configuration and velocity."""
    rng = np.random.default_rng(seed)
    data = mujoco.MjData(model)
    data.qpos[:] = rng.normal(size=model.nq)
    for j in np.flatnonzero(model.jnt_limited):
        if SIZES[int(model.jnt_type[j])] == 1:
            data.qpos[model.jnt_qposadr[j]] = rng.uniform(*model.jnt_range[j])
    for j in range(model.njnt):
        if (size := SIZES[int(model.jnt_type[j])]) > 1:
            at = model.jnt_qposadr[j] + size
            data.qpos[at - 4 : at] /= np.linalg.norm(data.qpos[at - 4 : at])
    data.qvel[:] = rng.normal(size=model.nv)
    data.ctrl[:] = 2.0 * rng.normal(size=model.nu)
    # forces of springs, limits and contacts of a random pose would only overflow
    mujoco.mj_fwdPosition(model, data)
    mujoco.mj_fwdVelocity(model, data)
    mujoco.mj_fwdActuation(model, data)
    return data


def coordinates(model, data) -> dict[str, np.ndarray]:
    """By joint name; unnamed joints are called as `load_articulation` does."""
    by_name = {}
    for j in range(model.njnt):
        at = model.jnt_qposadr[j]
        by_name[model.joint(j).name or f"joint{j}"] = data.qpos[at : at + SIZES[int(model.jnt_type[j])]].copy()
    return by_name


def full_mass(model, data) -> np.ndarray:
    """Mass matrix (nv, nv)."""
    columns = np.zeros((model.nv, model.nv))
    for column, unit in zip(columns, np.eye(model.nv), strict=True):
        mujoco.mj_mulM(model, data, column, unit)
    return columns


def check_motion(articulation: Articulation, model, seeds: int = 5) -> None:
    """Frames of all bodies, places of all shapes that collide, and the mass matrix, at random configurations."""
    assert sum(DOFS[link.joint.kind] for link in articulation.links) == model.nv
    total = sum(link.inertia.mass for link in articulation.links if link.inertia)
    assert total == pytest.approx(model.body_mass[1:].sum(), rel=1e-12)
    links = {link.name: link for link in articulation.links}
    for seed in range(seeds):
        data = random_state(model, seed)
        ours = Kinematics(articulation, coordinates(model, data))
        np.testing.assert_allclose(ours.mass_matrix, full_mass(model, data), **EXACT)
        for i in range(1, model.nbody):
            name = model.body(i).name or f"body{i}"
            last = model.body_jntadr[i] + model.body_jntnum[i] - 1
            anchor = model.jnt_pos[last] if model.body_jntnum[i] else np.zeros(3)
            np.testing.assert_allclose(ours.points(name, -anchor), data.xpos[i], **EXACT, err_msg=name)
            np.testing.assert_allclose(ours.frames[name][1], data.xmat[i].reshape(3, 3), **EXACT, err_msg=name)
            geoms = range(model.body_geomadr[i], model.body_geomadr[i] + model.body_geomnum[i])
            touching = [g for g in geoms if model.geom_contype[g] or model.geom_conaffinity[g]]
            shapes = [geometry for geometry in links[name].geometries if geometry.collides]
            for g, geometry in zip(touching, shapes, strict=True):
                turn = ours.frames[name][1] @ rotation_matrix(geometry.rotation)
                place = ours.points(name, geometry.position)
                if int(model.geom_type[g]) == MESH and int(mujoco.__version__.split(".")[0]) < 4:
                    continue  # MuJoCo took one file at two scales for one mesh
                if int(model.geom_type[g]) == MESH:  # whose own frame is anybody's choice, and its numbers f32
                    theirs = mesh_vertices(model, int(model.geom_dataid[g])) @ data.geom_xmat[g].reshape(3, 3).T
                    mine = geometry.shape.surface_mesh().vertices @ turn.T + place
                    bounds = [theirs.min(axis=0) + data.geom_xpos[g], theirs.max(axis=0) + data.geom_xpos[g]]
                    np.testing.assert_allclose([mine.min(axis=0), mine.max(axis=0)], bounds, atol=1e-5)
                else:
                    np.testing.assert_allclose(place, data.geom_xpos[g], **EXACT)
                    np.testing.assert_allclose(turn, data.geom_xmat[g].reshape(3, 3), **EXACT)


def mesh_vertices(model, mesh: int) -> np.ndarray:
    return model.mesh_vert[model.mesh_vertadr[mesh] :][: model.mesh_vertnum[mesh]].astype(float)


def actuator_forces(articulation: Articulation, model, data) -> tuple[np.ndarray, np.ndarray]:
    """Forces (nu,) of the actuators and (nv,) on the joints, as `diffsim.Actuator` defines them."""
    forces, on_joints = [], np.zeros(model.nv)
    joints = {model.joint(j).name or f"joint{j}": j for j in range(model.njnt)}
    for k, actuator in enumerate(articulation.actuators):
        at = [(c, model.jnt_qposadr[joints[name]], model.jnt_dofadr[joints[name]]) for name, c in actuator.joints.items()]
        length = sum(c * data.qpos[q] for c, q, _ in at)
        rate = sum(c * data.qvel[v] for c, _, v in at)
        u = np.clip(data.ctrl[k], *actuator.control_limits) * actuator.control_scale
        error = {"torque": u, "position": u - length, "velocity": u - rate}[actuator.kind]
        force = np.clip(actuator.gain * error - actuator.damping * rate, *actuator.force_limits)
        forces.append(force)
        for c, _, v in at:
            on_joints[v] += c * force
    return np.array(forces), on_joints


def mjcf(tmp_path: Path, body: str, rest: str = "", name: str = "model.xml") -> Path:
    path = tmp_path / name
    path.write_text(f'<mujoco model="test"><compiler angle="radian"/><worldbody>{body}</worldbody>{rest}</mujoco>')
    return path


def check(path: Path, **options) -> Articulation:
    articulation = load_articulation(path, **options)
    check_motion(articulation, reference(path))
    return articulation


BALL = '<geom size="0.1" mass="2"/>'


INERTIAL = '<inertial><mass value="2"/><inertia ixx="1" iyy="1" izz="1" ixy="0" ixz="0" iyz="0"/></inertial>'


def urdf(folder: Path, base: str = "", arm: str = INERTIAL, more: str = "", joint: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "robot.urdf"
    path.write_text(f"""<?xml version="1.0"?><robot name="bot"><link name="base">{base}</link><link name="arm">{arm}</link>
        <joint name="shoulder" type="revolute"><parent link="base"/><child link="arm"/><origin xyz="0 0 1" rpy="0.1 0.2 0.3"/>
        <axis xyz="0 1 0"/><limit lower="-1" upper="2" effort="5" velocity="1"/>{joint}</joint>{more}</robot>""")
    return path


def mesh_element(uri: str, kind: str = "collision") -> str:
    return f'<{kind}><geometry><mesh filename="{uri}"/></geometry></{kind}>'


def corner() -> trimesh.Trimesh:
    """An L of two unit cubes' height: not convex, closed."""
    outline = np.array([[0, 0], [2, 0], [2, 1], [1, 1], [1, 2], [0, 2]], dtype=float)
    faces = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 5]])
    return trimesh.creation.extrude_triangulation(outline, faces, 1.0)


def meshed(tmp_path: Path, file: str) -> Path:
    body = '<body name="b"><joint/><geom type="mesh" mesh="m"/><geom type="mesh" mesh="m" contype="0" conaffinity="0"/></body>'
    return mjcf(tmp_path, body, f'<asset><mesh name="m" file="{file}"/></asset>')
