"""What a compiled MuJoCo model says about shapes and actuators, and what of it has no counterpart here.

MuJoCo's enumeration members do not equal the integers of a model's arrays: one of the two is always converted.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from diffsim.errors import InputError
from diffsim.scene.articulation import Actuator, Geometry
from diffsim.scene.meshes.convex_parts import convex_parts
from diffsim.scene.shapes import Box, Capsule, Cylinder, Ellipsoid, HeightField, Plane, Shape, Sphere, TriangleMesh

logger = logging.getLogger(__name__)

DECOMPOSITIONS = ("none", "hull", "coacd")
DEFAULT_RGBA = (0.5, 0.5, 0.5, 1.0)  # MuJoCo's, where a geom says nothing
HIDDEN_GROUP = 3  # MuJoCo's viewer hides geoms from this group on


class Notes:
    """Collects what a model has and we have not, for one warning."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = defaultdict(list)

    def add(self, reason: str, name: str) -> None:
        """``name``: of the element; ``reason``: what it is and what was done."""
        if name not in self._names[reason]:
            self._names[reason].append(name)

    def log(self, path: object) -> None:
        """Logs the warning, if there is anything to say."""
        if self._names:
            parts = (f"{reason}: {', '.join(names)}" for reason, names in self._names.items())
            logger.warning("model file '%s': %s", path, "; ".join(parts))

    @contextmanager
    def quiet_meshes(self) -> Iterator[None]:
        """Silences what `TriangleMesh` would say of one mesh after the other: for pictures it does not matter, and of those
        that touch it is noted."""

        def silence(record: logging.LogRecord) -> bool:
            return False

        shapes = logging.getLogger("diffsim.scene.shapes.triangle_mesh")
        shapes.addFilter(silence)
        try:
            yield
        finally:
            shapes.removeFilter(silence)


def label(items: Any, index: int, kind: str) -> str:
    """The name of an element of the model, or its kind and number."""
    return items(index).name or f"{kind}{index}"


class Shapes:
    """Reads geoms; a mesh that several geoms use is built once.

    Args:
        model: compiled (mujoco.MjModel).
        decompose: of meshes that collide: "none", "hull" or "coacd".
        hide_colliders: whether every shape that collides is invisible on a body that has visual ones (URDF), or only those of
            MuJoCo's hidden groups (MJCF).
        visuals: whether shapes that do not collide are read.
    """

    def __init__(self, model: Any, notes: Notes, decompose: str, hide_colliders: bool, visuals: bool):
        import mujoco

        self._kinds = mujoco.mjtGeom
        self._model, self._notes = model, notes
        self._decompose, self._hide_colliders, self._visuals = decompose, hide_colliders, visuals
        self._meshes: dict[int, TriangleMesh | None] = {}
        self._parts: dict[int, list[Shape]] = {}

    def collides(self, body: int) -> bool:
        """Whether the body has a geom that takes part in contact."""
        return any(self._model.geom_contype[i] or self._model.geom_conaffinity[i] for i in self._of(body))

    def read(self, body: int, anchor: np.ndarray, static: bool) -> tuple[Geometry, ...]:
        """The geometries of a body.

        Args:
            anchor: (3,) origin of the link's frame in the body's frame.
            static: whether the body stands still, so that it may have planes.
        """
        drawn = {i for i in self._of(body) if self._visible(i)}
        has_visuals = self._visuals and any(not self._touches(i) for i in drawn)
        geometries: list[Geometry] = []
        for i in self._of(body):
            plain = self._model.geom_matid[i] < 0 and (self._model.geom_rgba[i] == DEFAULT_RGBA).all()
            hidden = self._hide_colliders or self._model.geom_group[i] >= HIDDEN_GROUP or plain
            visible = i in drawn and not (self._touches(i) and has_visuals and hidden)
            if self._touches(i) or (visible and self._visuals):
                geometries += self._geometry(i, anchor, static, visible)
        return tuple(geometries)

    def _of(self, body: int) -> range:
        first = self._model.body_geomadr[body]
        return range(first, first + self._model.body_geomnum[body])

    def _touches(self, i: int) -> bool:
        return bool(self._model.geom_contype[i] or self._model.geom_conaffinity[i])

    def _visible(self, i: int) -> bool:
        """Colour not transparent; a shape only for pictures must also stand in a group that MuJoCo shows."""
        return self._rgba(i)[3] > 0.0 and (self._touches(i) or self._model.geom_group[i] < HIDDEN_GROUP)

    def _rgba(self, i: int) -> tuple[float, ...]:
        own, material = self._model.geom_rgba[i], self._model.geom_matid[i]
        # as MuJoCo draws it: a geom's own colour goes before its material's
        return tuple(map(float, own if material < 0 or tuple(own) != DEFAULT_RGBA else self._model.mat_rgba[material]))

    def _geometry(self, i: int, anchor: np.ndarray, static: bool, visible: bool) -> list[Geometry]:
        model = self._model
        touches, rgba = self._touches(i), self._rgba(i)
        uncolored = model.geom_matid[i] < 0 and rgba == DEFAULT_RGBA
        common = {
            "position": model.geom_pos[i] - anchor,
            "rotation": model.geom_quat[i],
            "friction": float(model.geom_friction[i, 0]),
            "collision_group": int(model.geom_contype[i]),
            "collision_mask": int(model.geom_conaffinity[i]),
            "color": None if uncolored else np.clip(rgba[:3], 0.0, 1.0).tolist(),
            "opacity": None if rgba[3] >= 1.0 else float(rgba[3]),
        }
        shape = self._shape(i, static)
        if shape is None:
            return []
        if not touches or not isinstance(shape, TriangleMesh) or self._decompose == "none":
            return [Geometry(shape, collides=touches, visible=visible, **common)]
        pictures = [Geometry(shape, collides=False, **common)] if visible else []
        return pictures + [Geometry(part, visible=False, **common) for part in self._convex(i, shape)]

    def _shape(self, i: int, static: bool) -> Shape | None:
        kind, size = self._kinds(int(self._model.geom_type[i])), self._model.geom_size[i].tolist()
        name = label(self._model.geom, i, "geom")
        if kind == self._kinds.mjGEOM_SPHERE:
            return Sphere(size[0])
        if kind == self._kinds.mjGEOM_CAPSULE:
            return Capsule(size[1], size[0])
        if kind == self._kinds.mjGEOM_CYLINDER:
            return Cylinder(size[1], size[0])
        if kind == self._kinds.mjGEOM_BOX:
            return Box((size[0], size[1], size[2]))
        if kind == self._kinds.mjGEOM_ELLIPSOID:
            return Ellipsoid((size[0], size[1], size[2]))
        if kind == self._kinds.mjGEOM_MESH:
            return self._mesh(int(self._model.geom_dataid[i]), self._touches(i))
        if kind == self._kinds.mjGEOM_PLANE and static:
            return Plane()
        if kind == self._kinds.mjGEOM_HFIELD and static:
            return self._height_field(int(self._model.geom_dataid[i]))
        what = kind.name.removeprefix("mjGEOM_").lower()
        if kind in (self._kinds.mjGEOM_PLANE, self._kinds.mjGEOM_HFIELD):
            what += " on a moving body"
        self._notes.add(f"geom ({what}) left out", name)
        return None

    def _height_field(self, field: int) -> HeightField:
        model = self._model
        rows, columns = int(model.hfield_nrow[field]), int(model.hfield_ncol[field])
        first = int(model.hfield_adr[field])
        half_x, half_y, highest, _base = model.hfield_size[field].tolist()
        heights = highest * np.asarray(model.hfield_data[first : first + rows * columns], dtype=float)
        spacing = (2.0 * half_x / (columns - 1), 2.0 * half_y / (rows - 1))
        return HeightField(heights.reshape(rows, columns).T, spacing)  # a row runs along x

    def _mesh(self, mesh: int, touches: bool) -> TriangleMesh | None:
        model = self._model
        name = label(model.mesh, mesh, "mesh")
        if mesh not in self._meshes:
            vertices = model.mesh_vert[model.mesh_vertadr[mesh] :][: model.mesh_vertnum[mesh]]
            faces = model.mesh_face[model.mesh_faceadr[mesh] :][: model.mesh_facenum[mesh]]
            try:
                self._meshes[mesh] = TriangleMesh(vertices.astype(float), faces, name)
            except InputError as error:
                self._notes.add(f"mesh left out ({error})", name)
                self._meshes[mesh] = None
        shape = self._meshes[mesh]
        if shape is not None and touches and self._decompose == "none":
            if shape.mended:
                self._notes.add(f"mesh mended ({', '.join(shape.mended)})", name)
            if not shape.is_closed:
                self._notes.add("mesh not watertight, so winding numbers define its inside", name)
        return shape

    def _convex(self, i: int, shape: TriangleMesh) -> list[Shape]:
        mesh = int(self._model.geom_dataid[i])
        if mesh not in self._parts:
            self._parts[mesh] = [
                TriangleMesh(part.vertices, part.faces, f"{shape.name}_{number}")
                for number, part in enumerate(convex_parts(shape.mesh, self._decompose))
            ]
        return self._parts[mesh]


def tendon_joints(model: Any, tendon: int) -> list[tuple[int, float]] | None:
    """The joints of a fixed tendon and their coefficients, or None of another tendon."""
    import mujoco

    wraps = range(model.tendon_adr[tendon], model.tendon_adr[tendon] + model.tendon_num[tendon])
    if any(model.wrap_type[w] != int(mujoco.mjtWrap.mjWRAP_JOINT) for w in wraps):
        return None
    return [(int(model.wrap_objid[w]), float(model.wrap_prm[w])) for w in wraps]


def fixed_tendon(model: Any, tendon: int) -> dict[str, float] | None:
    """The coefficient by joint name of a fixed tendon's length, or None of another tendon."""
    joints = tendon_joints(model, tendon)
    if joints is None:
        return None
    coefficients: dict[str, float] = defaultdict(float)
    for joint, coefficient in joints:
        coefficients[label(model.joint, joint, "joint")] += coefficient
    return dict(coefficients)


def transmission(model: Any, index: int, notes: Notes) -> dict[str, float] | None:
    """The coefficient by joint name of an actuator's length, or None (noted) where that is no sum of joint coordinates."""
    import mujoco

    kind, target = mujoco.mjtTrn(int(model.actuator_trntype[index])), int(model.actuator_trnid[index, 0])
    gear = float(model.actuator_gear[index, 0])
    joints: list[tuple[int, float]] = []
    if kind in (mujoco.mjtTrn.mjTRN_JOINT, mujoco.mjtTrn.mjTRN_JOINTINPARENT):
        joints = [(target, 1.0)]
        through = "on joint"
    elif kind == mujoco.mjtTrn.mjTRN_TENDON:
        joints = tendon_joints(model, target) or []
        through = "on tendon"
    else:
        through = "on " + kind.name.removeprefix("mjTRN_").lower()
    scalar = (int(mujoco.mjtJoint.mjJNT_HINGE), int(mujoco.mjtJoint.mjJNT_SLIDE))
    if not joints or any(model.jnt_type[joint] not in scalar for joint, _ in joints):
        notes.add(
            f"actuator {through} that is no hinge, slide or fixed tendon left out", label(model.actuator, index, "actuator")
        )
        return None
    coefficients: dict[str, float] = defaultdict(float)
    for joint, coefficient in joints:
        coefficients[label(model.joint, joint, "joint")] += gear * coefficient
    return dict(coefficients)


def reflected(model: Any, field: str, joint: int) -> float:
    """The "armature" or "damping" that actuators add to a hinge or slide joint (MuJoCo from 4.0)."""
    import mujoco

    values = getattr(model, f"actuator_{field}", None)
    if values is None:
        return 0.0
    on_joint = np.isin(model.actuator_trntype, (int(mujoco.mjtTrn.mjTRN_JOINT), int(mujoco.mjtTrn.mjTRN_JOINTINPARENT)))
    own = on_joint & (model.actuator_trnid[:, 0] == joint)
    return float((model.actuator_gear[own, 0] ** 2 * values[own]).sum())


def read_actuators(model: Any, notes: Notes) -> list[Actuator]:
    """The actuators whose force is affine in control, length and velocity.

    A filtered control acts at once. A joint's own limit of actuator force becomes its actuator's, if it has just that one.
    """
    import mujoco

    read: list[tuple[int, dict[str, float], dict[str, Any]]] = []
    for i in range(model.actuator_gear.shape[0]):
        name = label(model.actuator, i, "actuator")
        dynamics, bias = mujoco.mjtDyn(int(model.actuator_dyntype[i])), mujoco.mjtBias(int(model.actuator_biastype[i]))
        several = hasattr(model, "actuator_ctrlnum") and int(model.actuator_ctrlnum[i]) != 1
        if (
            mujoco.mjtGain(int(model.actuator_gaintype[i])) != mujoco.mjtGain.mjGAIN_FIXED
            or bias not in (mujoco.mjtBias.mjBIAS_NONE, mujoco.mjtBias.mjBIAS_AFFINE)
            or several
        ):
            notes.add("actuator whose force is not affine (muscle, damper, ...) left out", name)
            continue
        if dynamics in (mujoco.mjtDyn.mjDYN_FILTER, mujoco.mjtDyn.mjDYN_FILTEREXACT):
            notes.add("actuator's filter left out: its control acts at once", name)
        elif dynamics != mujoco.mjtDyn.mjDYN_NONE:
            notes.add("actuator with an activation state left out", name)
            continue
        joints = transmission(model, i, notes)
        if joints is None:
            continue
        affine = bias == mujoco.mjtBias.mjBIAS_AFFINE
        constant, by_length, by_rate = model.actuator_biasprm[i, :3].tolist() if affine else (0.0, 0.0, 0.0)
        gain = float(model.actuator_gainprm[i, 0])
        fields: dict[str, Any] = {"name": name}
        if by_length:
            fields |= {"kind": "position", "gain": -by_length, "damping": -by_rate, "control_scale": gain / -by_length}
        elif by_rate:
            fields |= {"kind": "velocity", "gain": -by_rate, "control_scale": gain / -by_rate}
        else:
            fields |= {"kind": "torque", "gain": gain}
        if by_rate > 0.0:
            notes.add("actuator that amplifies velocities left out", name)
            continue
        if constant:
            notes.add("actuator's constant force left out", name)
        if getattr(model, "actuator_delay", np.zeros(i + 1))[i]:
            notes.add("actuator's delay left out", name)
        if model.actuator_trntype[i] == int(mujoco.mjtTrn.mjTRN_TENDON) and any(
            getattr(model, f"actuator_{field}", np.zeros(i + 1))[i] for field in ("armature", "damping")
        ):
            notes.add("armature and damping of an actuator on a tendon left out", name)
        if model.actuator_forcelimited[i]:
            fields["force_limits"] = tuple(model.actuator_forcerange[i].tolist())
        if model.actuator_ctrllimited[i]:
            fields["control_limits"] = tuple(model.actuator_ctrlrange[i].tolist())
        read.append((i, joints, fields))
    for j in np.flatnonzero(model.jnt_actfrclimited):
        joint = label(model.joint, int(j), "joint")
        drivers = [(joints, fields) for _, joints, fields in read if joint in joints]
        if len(drivers) == 1 and len(drivers[0][0]) == 1 and drivers[0][0][joint]:
            coefficient, fields = drivers[0][0][joint], drivers[0][1]
            low, high = sorted((model.jnt_actfrcrange[j] / coefficient).tolist())
            old = fields.get("force_limits", (-np.inf, np.inf))
            fields["force_limits"] = (max(low, old[0]), min(high, old[1]))
        elif drivers:
            notes.add("limit of the actuators' total force on a joint left out", joint)
    return [Actuator(joints=joints, **fields) for _, joints, fields in read]


def note_unsupported(model: Any, notes: Notes) -> None:
    """Notes the elements of a model that act on its motion and have no counterpart here, beside equality constraints and
    tendons (`diffsim.robots.mujoco_constraints`)."""
    for i in range(model.npair):
        bodies = (label(model.geom, int(g), "geom") for g in (model.pair_geom1[i], model.pair_geom2[i]))
        notes.add("contact pair left out", "-".join(bodies))
    for count, what in ((model.nflex, "flex"), (model.nskin, "skin"), (model.nplugin, "plugin")):
        if count:
            notes.add("deformables and plugins left out", f"{count} {what}")
    if model.opt.density or model.opt.viscosity:
        notes.add("fluid forces left out", "option density, viscosity")
    for i in range(model.nbody):
        name = label(model.body, i, "body")
        if model.body_mocapid[i] >= 0:
            notes.add("mocap body kept fixed", name)
