"""What a compiled MuJoCo model says about equality constraints and fixed tendons."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.polynomial import Polynomial

from diffsim.robots.mujoco_import import Notes, fixed_tendon, label
from diffsim.scene.articulation import Link
from diffsim.scene.constraints import Connect, Constraint, JointEquality, Tendon, Weld
from diffsim.scene.rotations import quaternion_of, rotation_matrix


def read_constraints(model: Any, anchors: np.ndarray, notes: Notes) -> list[Constraint]:
    """The active equalities of joints and fixed tendons, and those that connect or weld bodies or sites, as stiff as all
    constraints here: their ``solref`` and ``solimp`` are not read.

    Args:
        anchors: (bodies, 3), origins of the links' frames in the bodies'.
    """
    import mujoco

    kinds, found = mujoco.mjtEq, list[Constraint]()
    for i in range(model.neq):
        if not model.eq_active0[i]:
            continue
        kind = kinds(int(model.eq_type[i]))
        one, other, data = int(model.eq_obj1id[i]), int(model.eq_obj2id[i]), model.eq_data[i]
        name = label(model.equality, i, "equality")
        if kind == kinds.mjEQ_JOINT:
            found.append(_joint_equality(model, name, one, other, data))
        elif kind == kinds.mjEQ_TENDON and all(fixed_tendon(model, end) is not None for end in (one, other) if end >= 0):
            found.append(_tendon_equality(model, name, one, other, data))
        elif kind in (kinds.mjEQ_CONNECT, kinds.mjEQ_WELD):
            sites = model.eq_objtype[i] == int(mujoco.mjtObj.mjOBJ_SITE)
            bodies = tuple(int(model.site_bodyid[end]) for end in (one, other)) if sites else (one, other)
            if any(model.body_mocapid[body] >= 0 for body in bodies):
                notes.add("equality constraint with a mocap body left out", name)
            elif bodies[0] == bodies[1]:
                notes.add("equality constraint of a body with itself left out", name)
            else:
                ends = _site_ends(model, (one, other)) if sites else _body_ends(data, kind == kinds.mjEQ_WELD)
                found.append(_closure(model, name, kind == kinds.mjEQ_WELD, bodies, ends, anchors))
        else:
            notes.add(f"{kind.name.removeprefix('mjEQ_').lower()} equality constraint left out", name)
    return found


def _shifted(data: np.ndarray, x0: float, y0: float) -> tuple[float, ...]:
    """Coefficients in x of y0 + the sum of data[n] (x - x0)^n."""
    shifted = Polynomial(data[:5])(Polynomial([-x0, 1.0])) + y0
    coefficients = np.pad(shifted.coef, (0, 5 - len(shifted.coef)))
    last = int(np.flatnonzero(coefficients).max(initial=0))
    return tuple(coefficients[: last + 1].tolist())


def _joint_equality(model: Any, name: str, joint: int, leader: int, data: np.ndarray) -> JointEquality:
    y0 = float(model.qpos0[model.jnt_qposadr[joint]])
    if leader < 0:
        return JointEquality(name, label(model.joint, joint, "joint"), None, (y0 + float(data[0]),))
    x0 = float(model.qpos0[model.jnt_qposadr[leader]])
    names = label(model.joint, joint, "joint"), label(model.joint, leader, "joint")
    return JointEquality(name, *names, _shifted(data, x0, y0))


def _tendon_equality(model: Any, name: str, tendon: int, leader: int, data: np.ndarray) -> JointEquality:
    joints = fixed_tendon(model, tendon)
    assert joints is not None
    y0 = float(model.tendon_length0[tendon])
    if leader < 0:
        return JointEquality(name, joints, None, (y0 + float(data[0]),))
    return JointEquality(name, joints, fixed_tendon(model, leader), _shifted(data, float(model.tendon_length0[leader]), y0))


class _Ends(NamedTuple):
    """Of a closure: points in the two bodies' frames (2, 3), and the first frame's rotation in the second's (3, 3)."""

    points: np.ndarray
    rotation: np.ndarray


def _site_ends(model: Any, sites: tuple[int, int]) -> _Ends:
    first, second = (_matrix(model.site_quat[site]) for site in sites)
    return _Ends(model.site_pos[list(sites)], second @ first.T)


def _body_ends(data: np.ndarray, welded: bool) -> _Ends:
    points = data[:6].reshape(2, 3)
    return _Ends(points[::-1], _matrix(data[6:10]).T) if welded else _Ends(points, np.eye(3))


def _closure(model: Any, name: str, welded: bool, bodies: tuple[int, ...], ends: _Ends, anchors: np.ndarray) -> Connect | Weld:
    points, rotation = ends
    if bodies[0] == 0:
        bodies, points, rotation = bodies[::-1], points[::-1], rotation.T
    place, other_place = (tuple((point - anchors[body]).tolist()) for body, point in zip(bodies, points, strict=True))
    link = label(model.body, bodies[0], "body")
    other = label(model.body, bodies[1], "body") if bodies[1] else None
    if not welded:
        return Connect(name, link, other, point=place, other_point=other_place)
    return Weld(name, link, other, point=place, other_point=other_place, rotation=quaternion_of(rotation))


def _matrix(quaternion: np.ndarray) -> np.ndarray:
    w, x, y, z = (quaternion / np.linalg.norm(quaternion)).tolist()
    return rotation_matrix((w, x, y, z))


def read_tendons(model: Any, notes: Notes) -> list[Tendon]:
    """The fixed tendons that pull by themselves: by a spring, a damper or limits."""
    read: list[Tendon] = []
    for i in range(model.ntendon):
        name, joints = label(model.tendon, i, "tendon"), fixed_tendon(model, i)
        if joints is None:
            notes.add("spatial tendon left out", name)
            continue
        rest = ("frictionloss", "armature", "actfrclimited")
        if any(getattr(model, f"tendon_{field}", np.zeros(model.ntendon))[i] for field in rest):
            notes.add("tendon's dry friction, armature and limit of the actuators' force left out", name)
        if any(np.any(getattr(model, f"tendon_{kind}poly", np.zeros(model.ntendon))[i]) for kind in ("stiffness", "damping")):
            notes.add("nonlinear spring or damper of a tendon taken as linear", name)
        stiffness, damping = float(model.tendon_stiffness[i]), float(model.tendon_damping[i])
        limits = tuple(model.tendon_range[i].tolist()) if model.tendon_limited[i] else None
        if stiffness or damping or limits:
            low, high = model.tendon_lengthspring[i].tolist()
            read.append(Tendon(name, joints, stiffness=stiffness, rest=(low, high), damping=damping, limits=limits))
    return read


def mimic_equalities(mimics: Sequence[tuple[str, str, float, float]], model: Any, notes: Notes) -> list[JointEquality]:
    """Of a URDF's <mimic> elements (joint, leader, multiplier, offset): joint = multiplier leader + offset."""
    import mujoco

    scalar = (int(mujoco.mjtJoint.mjJNT_HINGE), int(mujoco.mjtJoint.mjJNT_SLIDE))
    moving = {label(model.joint, j, "joint") for j in range(model.njnt) if model.jnt_type[j] in scalar}
    found: list[JointEquality] = []
    for joint, leader, multiplier, offset in mimics:
        if joint in moving and leader in moving and joint != leader:
            found.append(JointEquality(joint, joint, leader, (offset, multiplier)))
        elif joint in moving:
            notes.add("joint mimics one that is no moving joint of one coordinate, so it moves freely", joint)
    return found


def following(links: Iterable[Link], constraints: Iterable[Constraint]) -> list[Link]:
    """The links with the joints that equalities determine left without coordinates of their own at reset."""
    sums = [each.joints for each in constraints if isinstance(each, JointEquality)]
    followers = {name for joints in sums if len(joints) == 1 for name in joints}
    return [replace(link, joint=replace(link.joint, initial=None)) if link.joint.name in followers else link for link in links]
