"""Robots and mechanisms from files: MJCF and URDF, read through MuJoCo's compiler."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import numpy as np

from diffsim.checks.memory import check_memory
from diffsim.errors import InputError
from diffsim.rigid.joints import joint_kind
from diffsim.robots.mesh_masses import ask_about_units, make_exact, meshes_with_mass
from diffsim.robots.mujoco_constraints import following, mimic_equalities, read_constraints, read_tendons
from diffsim.robots.mujoco_import import DECOMPOSITIONS, Notes, Shapes, label, note_unsupported, read_actuators, reflected
from diffsim.robots.package_paths import LEAST_MOMENT, Mimic, PathLike, native, several_groups, urdf_text
from diffsim.scene.articulation import Actuator, Articulation, Inertia, Joint, Link, Quaternion, Vector3
from diffsim.scene.meshes.mesh_files import read_triangles
from diffsim.scene.rotations import rotation_matrix
from diffsim.scene.validation import checked_name, choice, file_path, flag, members, unit, vector

NO_MASS = 1e-14  # kg; see `diffsim.robots.package_paths.COMPILER_DEFAULTS`
KINDS = ("free", "ball", "prismatic", "revolute")  # in the order of mujoco.mjtJoint


def load_articulation(
    path: PathLike,
    *,
    name: str | None = None,
    position: Vector3 = (0.0, 0.0, 0.0),
    rotation: Quaternion = (1.0, 0.0, 0.0, 0.0),
    fixed_base: bool | None = None,
    package_paths: Mapping[str, PathLike] | None = None,
    actuators: Sequence[Actuator] = (),
    keyframe: str | int | None = None,
    decompose: str = "none",
    visuals: bool = True,
    self_collisions: bool = True,
    exact_masses: bool = True,
) -> Articulation:
    """The articulation that a MJCF (.xml) or URDF (.urdf) file describes.

    Every body becomes a link of its name; one with several joints a chain of massless links, the last of which has its name.
    A link's frame is the body's, moved to the anchor of its (last) joint. Joint coordinates are MuJoCo's. Shapes of the world
    become a fixed root link "world". Equality constraints of joints, fixed tendons, bodies and sites are rigid, whatever
    ``solref`` says, and a joint that follows another starts where that one's coordinate says. Not read, as they do not move
    anything: sites, sensors, cameras, lights, options. All else that has no counterpart here is named in one warning. Friction
    is MuJoCo's sliding coefficient.

    Args:
        path: the file. MJCF may include others.
        name: of the articulation. None: the file's.
        position, rotation: of the file's frame in the world, metres and quaternion (w, x, y, z).
        fixed_base: True makes free roots fixed, False makes the fixed root free (there must be just one with mass). None: as
            the file says; a URDF's root is fixed.
        package_paths: folders of the packages that ``package://`` and ``model://`` URIs name; where else they are looked for:
            `diffsim.robots.package_paths.resolve`.
        actuators: added to the file's (a URDF has none; its effort limits are not put on these).
        keyframe: name or index of the keyframe whose configuration is the initial one, also of joints that follow others.
            None: the file's reference.
        decompose: of meshes that collide: "none", "hull" (MuJoCo's own contact is with the hulls) or "coacd" (convex parts).
        visuals: whether to read shapes that are only drawn.
        self_collisions: whether links may touch each other; the file's exclusions hold, and MuJoCo's that a body touches none
            that is fixed to it or to its moving parent.
        exact_masses: whether a mesh that a mass is inferred from has that of its mended inside; False: MuJoCo's estimate, which
            is too much for hollow and winding meshes. A mesh's ``inertia`` in the file goes before.

    Raises:
        InputError: the file or one that it names is missing or wrong, an argument is, or mujoco is not installed.
    """
    file = file_path("path", path)
    if file.suffix.lower() not in (".xml", ".urdf"):
        hint = "; expand it to a URDF with xacro first" if file.suffix.lower() == ".xacro" else ""
        raise InputError(f"path: a model file ends in .xml (MJCF) or .urdf, got '{path}'{hint}")
    if not file.is_file():
        raise InputError(f"path: model file '{path}' does not exist")
    if fixed_base is not None and not isinstance(fixed_base, bool):
        raise InputError(f"fixed_base must be True, False or None, got {fixed_base!r}")
    owner = "load_articulation"
    choice(owner, "decompose", decompose, DECOMPOSITIONS)
    flag(owner, "visuals", visuals)
    flag(owner, "self_collisions", self_collisions)
    flag(owner, "exact_masses", exact_masses)
    if package_paths is not None and not isinstance(package_paths, Mapping):
        raise InputError(f"package_paths must be folders by the packages' names, got {package_paths!r}")
    actuators = members(owner, "actuators", actuators, Actuator)
    if name is not None:
        checked_name(owner, name, dots=False)
    position, rotation = vector(owner, "position", position), unit(owner, "rotation", rotation, 4)  # type: ignore[assignment]
    mujoco = _mujoco()
    file = file.resolve()
    urdf = file.suffix.lower() == ".urdf" or _is_urdf(file)
    notes = Notes()
    with _own_warnings(mujoco, notes):
        model, title, mimics = _compile(mujoco, file, urdf, package_paths, visuals, exact_masses, notes)
    note_unsupported(model, notes)
    with notes.quiet_meshes():
        shapes = Shapes(model, notes, decompose, hide_colliders=urdf, visuals=visuals)
        tree = _Tree(model, shapes, _configuration(model, keyframe, file), fixed_base, notes)
        links = tree.links()
    ask_about_units(links, notes)
    if not links:
        raise InputError(f"model file '{file}' describes no body")
    driven = read_actuators(model, notes)
    constraints = [*read_constraints(model, tree.anchors, notes), *mimic_equalities(mimics, model, notes)]
    tendons = read_tendons(model, notes)
    notes.log(file)
    return Articulation(
        name=name if name is not None else title,
        links=tuple(links if keyframe is not None else following(links, constraints)),
        actuators=(*driven, *actuators),
        position=position,
        rotation=rotation,
        self_collisions=self_collisions,
        excluded=tree.excluded(links),
        constraints=tuple(constraints),
        tendons=tuple(tendons),
    )


def _mujoco() -> ModuleType:
    try:
        import mujoco
    except ImportError as error:
        raise InputError("load_articulation needs the package mujoco: pip install diffsim-rpg[robots]") from error
    return mujoco


@contextmanager
def _own_warnings(mujoco: ModuleType, notes: Notes) -> Iterator[None]:
    """Notes MuJoCo's warnings, which it would print and write to a file in the working directory."""
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda text: notes.add("MuJoCo warns", text.strip()))
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(before)


def _is_urdf(file: Path) -> bool:
    text = re.sub(r"<!--.*?-->", "", file.read_text(errors="replace"), flags=re.DOTALL)
    root = re.search(r"<([A-Za-z_]\w*)", text)
    return root is not None and root.group(1) == "robot"


def _compile(
    mujoco: ModuleType,
    file: Path,
    urdf: bool,
    package_paths: Mapping[str, PathLike] | None,
    visuals: bool,
    exact_masses: bool,
    notes: Notes,
) -> tuple[Any, str, list[Mimic]]:
    """The compiled model, its name, and the <mimic> elements of a URDF."""
    mimics: list[Mimic] = []
    try:
        if urdf:
            text, files, mimics = urdf_text(file, package_paths, visuals, notes.add)
            spec = mujoco.MjSpec.from_string(text)
            for mesh in spec.meshes:
                mesh.file = str(files[mesh.file])
        else:
            _check_replicas(file)
            spec = mujoco.MjSpec.from_file(str(file))
        spec.compiler.fusestatic = False  # names of links stay
        bodies = list(_depth_first(spec.worldbody))
        _name("body", bodies)
        _name("joint", [joint for body in bodies for joint in body.joints])
        _name("actuator", spec.actuators)
        massive = meshes_with_mass(spec) if exact_masses else set()
        for mesh in list(spec.meshes):
            meshdir = mesh.compiler.meshdir if hasattr(mesh, "compiler") else spec.meshdir  # old MuJoCo
            try:
                _prepare_mesh(mujoco, mesh, file.parent / meshdir, urdf and mesh.name not in massive, notes)
                if mesh.name in massive:
                    make_exact(mesh, file.parent / meshdir / mesh.file if mesh.file else None, notes)
            except InputError as error:  # no reason to refuse a robot, if it is for pictures alone
                if not _leave_out(spec, mesh, bodies):
                    raise
                notes.add("mesh of a shape that is only drawn left out", str(error))
        try:
            model = spec.compile()
        except ValueError as error:
            if "balanceinertia" not in str(error):
                raise
            # an inertia that no body can have: common in URDF
            first = _line(error).partition("name '")[2].partition("'")[0]
            notes.add("moments of inertia A + B < C replaced by their mean", f"{first} and perhaps others")
            spec.compiler.balanceinertia = True
            model = spec.compile()
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"model file '{file}': {_line(error)}") from error
    title = spec.modelname
    title = title if title not in ("", "MuJoCo Model") else file.stem
    return model, title.strip().replace(".", "_"), mimics  # a dot divides it from its links' names


def _check_replicas(file: Path) -> None:
    """That the file's <replicate> elements make no more than this machine can hold.

    Raises:
        InputError: they do.
    """
    try:
        root = ElementTree.parse(file).getroot()
    except (ElementTree.ParseError, UnicodeDecodeError):  # MuJoCo says where
        return
    joints, most = _replicated(root)
    if most > 1:
        needed = 2.0 * (6.0 * joints) ** 2 * 4.0  # mass matrices of free joints
        check_memory(f"path: model file '{file}': replicate count={most:g}", needed, f"the mass matrix of {joints:.3g} joints")


def _replicated(element: ElementTree.Element) -> tuple[float, float]:
    """Joints below an element, each as often as it is repeated, and the largest count of a <replicate>."""
    found = [_replicated(child) for child in element]
    joints = sum(count for count, _ in found) + (element.tag in ("joint", "freejoint"))
    most = max([most for _, most in found], default=1.0)
    if element.tag != "replicate":
        return joints, most
    try:
        count = float(element.get("count", "1"))
    except ValueError:
        return joints, most
    return joints * count, max(most, count)


def _depth_first(body: Any) -> Iterator[Any]:
    """A body of the spec and all below it, in the order that they have once compiled."""
    yield body
    for child in body.bodies:
        yield from _depth_first(child)


def _name(kind: str, elements: Sequence[Any]) -> None:
    """Names the unnamed: kind and number."""
    taken = {element.name for element in elements}
    for number, element in enumerate(elements):
        if not element.name:
            name = f"{kind}{number}"
            while name in taken:
                name += "_"
            taken.add(name)
            element.name = name


def _line(error: Exception) -> str:
    return "; ".join(part.strip() for part in str(error).splitlines() if part.strip())


def _prepare_mesh(mujoco: ModuleType, mesh: Any, folder: Path, massless: bool, notes: Notes) -> None:
    """Gives MuJoCo the triangles of a file that it does not read itself, or not whole."""
    if massless:
        # its volume is not needed, and flat meshes have none
        mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL
    if not mesh.file:
        return
    path = folder / mesh.file
    if not path.is_file() or native(path):
        return  # MuJoCo reads it, or says what is missing
    if several_groups(path) and not massless:  # a mass inferred from it differs
        notes.add("OBJ file read with all of its groups, where MuJoCo takes the first", path.name)
    triangles = read_triangles(path)
    triangles.merge_vertices(merge_tex=True, merge_norm=True)
    mesh.uservert = np.asarray(triangles.vertices, dtype=np.float32).ravel()
    mesh.userface = np.asarray(triangles.faces, dtype=np.int32).ravel()
    mesh.file = ""


def _leave_out(spec: Any, mesh: Any, bodies: Sequence[Any]) -> bool:
    """Takes a mesh and its geoms out of the model, if none of these collides; whether it did."""
    geoms = [geom for body in bodies for geom in body.geoms if geom.meshname == mesh.name]
    if any(geom.contype or geom.conaffinity for geom in geoms):
        return False
    for element in (*geoms, mesh):
        spec.delete(element)
    return True


def _configuration(model: Any, keyframe: str | int | None, file: Path) -> np.ndarray:
    """Coordinates (nq,) of the keyframe, or the reference ones."""
    if keyframe is None:
        return model.qpos0
    names = [model.key(i).name for i in range(model.nkey)]
    if isinstance(keyframe, str) and keyframe in names:
        return model.key_qpos[names.index(keyframe)]
    if isinstance(keyframe, int) and not isinstance(keyframe, bool) and 0 <= keyframe < model.nkey:
        return model.key_qpos[keyframe]
    allowed = ", ".join(name or str(i) for i, name in enumerate(names)) or "none"
    raise InputError(f"keyframe: model file '{file}' has {allowed}; got {keyframe!r}")


def _product(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Product (4,) of two quaternions (w, x, y, z)."""
    return np.array([p[0] * q[0] - p[1:] @ q[1:], *(p[0] * q[1:] + q[0] * p[1:] + np.cross(p[1:], q[1:]))])


class _Tree:
    """Turns bodies with any number of joints into links with one each."""

    def __init__(self, model: Any, shapes: Shapes, start: np.ndarray, fixed_base: bool | None, notes: Notes):
        self._model, self._shapes, self._start, self._notes = model, shapes, start, notes
        self._names = [label(model.body, i, "body") for i in range(model.nbody)]
        self._taken = set(self._names) | {label(model.joint, i, "joint") for i in range(model.njnt)}
        self.anchors = np.zeros((model.nbody, 3))  # origins of the bodies' links in the bodies' frames
        # the joints of each body, "fixed" and "free" as fixed_base wants them; None stands for a joint that the file has not
        self._joints: list[list[int | None]] = []
        for i in range(model.nbody):
            first = model.body_jntadr[i]
            self._joints.append(list(range(first, first + model.body_jntnum[i])))
        if fixed_base is True:
            self._joints = [[j for j in joints if self._kind(j) != "free"] for joints in self._joints]
        elif fixed_base is False:
            self._free_the_base()
        # the body that moves each body, 0: it stands still
        self._mover = [0] * model.nbody
        for i in range(1, model.nbody):
            self._mover[i] = i if self._joints[i] else self._mover[model.body_parentid[i]]

    def _free_the_base(self) -> None:
        model = self._model
        roots = [i for i in range(1, model.nbody) if model.body_parentid[i] == 0 and model.body_subtreemass[i] > NO_MASS]
        if any(self._kind(j) == "free" for i in roots for j in self._joints[i]) and len(roots) == 1:
            return
        fixed = [i for i in roots if not self._joints[i]]
        if len(fixed) != 1:
            found = ", ".join(self._names[i] for i in fixed) or "none"
            raise InputError(f"fixed_base=False needs a model with one fixed root that has mass, but this one has {found}")
        self._joints[fixed[0]] = [None]

    def _kind(self, joint: int | None) -> str:
        return "free" if joint is None else KINDS[int(self._model.jnt_type[joint])]

    def _unique(self, name: str) -> str:
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name

    def links(self) -> list[Link]:
        """All links, parents first."""
        model = self._model
        links: list[Link] = []
        world = self._shapes.read(0, np.zeros(3), static=True)
        if world:
            links.append(Link("world", Joint(self._unique("world_fixed"), "fixed"), geometries=world))
        for i in range(1, model.nbody):
            parent = int(model.body_parentid[i])
            above = self._names[parent] if parent else None
            place, turn = model.body_pos[i] - self.anchors[parent], model.body_quat[i]
            joints = self._joints[i]
            if not joints:
                if model.body_jntnum[i]:  # its free joint was taken away
                    place, turn = self._free_pose(i)
                self._link(links, i, Joint(self._unique(f"{self._names[i]}_fixed"), "fixed"), above, place, turn)
            for position, j in enumerate(joints):
                last = position == len(joints) - 1
                joint, forward, zero = self._joint(i, j)
                if joint.kind == "free" and j is not None:
                    place, turn = self._free_pose(i)
                # the next frame stands at its own anchor, turned and moved so that the coordinate's zero is MuJoCo's
                move = (model.jnt_pos[j] if j is not None else 0.0) - (self.anchors[i] if position else 0.0) + forward
                place, turn = place + rotation_matrix(tuple(turn)) @ (move * np.ones(3)), _product(turn, zero)
                self.anchors[i] = model.jnt_pos[j] if j is not None else 0.0
                if last:
                    self._link(links, i, joint, above, place, turn)
                else:
                    middle = self._unique(f"{self._names[i]}:{joint.name}")
                    links.append(Link(middle, joint, above, tuple(place), tuple(turn)))
                    above, place, turn = middle, np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0])
        return links

    def _free_pose(self, body: int) -> tuple[np.ndarray, np.ndarray]:
        first = self._model.jnt_qposadr[self._model.body_jntadr[body]]
        return self._start[first : first + 3], self._start[first + 3 : first + 7]

    def _link(
        self, links: list[Link], body: int, joint: Joint, parent: str | None, place: np.ndarray, turn: np.ndarray
    ) -> None:
        model, anchor = self._model, self.anchors[body]
        mass = float(model.body_mass[body])
        inertia = None
        if mass > NO_MASS or model.body_inertia[body].max() > 4.0 * LEAST_MOMENT:
            center = tuple((model.body_ipos[body] - anchor).tolist())
            inertia = Inertia(mass, tuple(model.body_inertia[body].tolist()), center, tuple(model.body_iquat[body].tolist()))
        if joint.type.dofs and joint.armature == 0.0 and model.body_subtreemass[body] < NO_MASS:
            self._notes.add("link moves without mass or armature, left so (the mass matrix is singular)", self._names[body])
        geometries = self._shapes.read(body, anchor, static=self._mover[body] == 0)
        frame = tuple(place.tolist()), tuple(turn.tolist())
        carried = float(model.body_gravcomp[body])
        links.append(
            Link(
                self._names[body], joint, parent, *frame,
                inertia=inertia, geometries=geometries, gravity_compensation=carried,
            )
        )  # fmt: skip

    def _joint(self, body: int, j: int | None) -> tuple[Joint, np.ndarray, np.ndarray]:
        """The joint; translation (3,) and rotation (4,) that take MuJoCo's reference, where it keeps frames, to the zero."""
        forward, zero = np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0])
        if j is None:
            return Joint(self._unique(f"{self._names[body]}_free"), "free"), forward, zero
        model, kind = self._model, self._kind(j)
        name, at, dof = label(model.joint, j, "joint"), int(model.jnt_qposadr[j]), int(model.jnt_dofadr[j])
        fields: dict[str, Any] = {
            "damping": float(model.dof_damping[dof]) + reflected(model, "damping", j),
            "armature": float(model.dof_armature[dof]) + reflected(model, "armature", j),
            "friction_loss": float(model.dof_frictionloss[dof]),
        }
        for what, values in (("damping", "dof_dampingpoly"), ("spring", "jnt_stiffnesspoly"), ("spring", "jnt_springyield")):
            if np.any(getattr(model, values, np.zeros(model.nv + model.njnt))[dof if values.startswith("dof") else j]):
                self._notes.add(f"nonlinear {what} of a joint taken as linear", name)
        if joint_kind(kind).coordinate_names:
            axis, reference = model.jnt_axis[j], float(model.qpos0[at])
            if kind == "prismatic":
                forward = -reference * axis
            else:
                zero = np.array([np.cos(0.5 * reference), *(-np.sin(0.5 * reference) * axis)])
            fields |= {
                "axis": tuple(axis.tolist()),
                "spring_stiffness": float(model.jnt_stiffness[j]),
                "spring_rest": float(model.qpos_spring[at]),
                "initial": (float(self._start[at]),),
            }
            if model.jnt_limited[j]:
                low, high = model.jnt_range[j].tolist()
                # short ranges (the fingers of a gripper) need limits that set in later
                fields |= {"limits": (low, high), "limit_smoothing": min(1e-2, 0.02 * (high - low))}
        else:
            if kind == "ball":
                fields["initial"] = tuple(self._start[at : at + 4].tolist())
            if model.jnt_limited[j] or model.jnt_stiffness[j]:
                self._notes.add(f"limit and spring of a {kind} joint left out", name)
        return Joint(name, kind, **fields), forward, zero

    def excluded(self, links: list[Link]) -> tuple[tuple[str, str], ...]:
        """Pairs that never touch, beyond a link and its parent."""
        model, names, present = self._model, self._names, {link.name: link.parent for link in links}
        pairs: dict[tuple[str, str], None] = {}
        for signature in model.exclude_signature:
            a, b = names[int(signature) >> 16], names[int(signature) & 0xFFFF]
            if a in present and b in present:
                pairs[a, b] = None
        # MuJoCo: nothing touches what is fixed to it, or to its parent if that moves
        parents = [self._mover[model.body_parentid[mover]] for mover in self._mover]
        solid = [i for i in range(1, model.nbody) if self._mover[i] and self._shapes.collides(i)]
        for at, i in enumerate(solid):
            for k in solid[at + 1 :]:
                a, b = names[i], names[k]
                near = self._mover[k] in (self._mover[i], parents[i]) or self._mover[i] == parents[k]
                if near and present[a] != b and present[b] != a and (b, a) not in pairs:
                    pairs[a, b] = None
        return tuple(pairs)
