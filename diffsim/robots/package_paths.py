"""Files that a robot description names: URIs become paths, URDF becomes a text that MuJoCo reads whole."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np

from diffsim.errors import InputError

PathLike = str | os.PathLike[str]

# besides some .stl; everything else goes through trimesh
NATIVE_MESHES = (".obj", ".msh")
SEARCH_VARIABLES = ("ROS_PACKAGE_PATH", "GAZEBO_MODEL_PATH", "GZ_SIM_RESOURCE_PATH")
COMPILER_OPTIONS = {"strippath": "false", "discardvisual": "false", "fusestatic": "false"}
# unless the file says otherwise. A URDF's link without <inertial> has no mass; MuJoCo would infer one from its shapes, and
# refuses zero, so it gets a bound below any rounding
COMPILER_DEFAULTS = {"inertiafromgeom": "false", "boundmass": "2e-15", "boundinertia": "2e-15"}
LEAST_MOMENT = 1e-13  # kg m^2


class Mimic(NamedTuple):
    """A joint that a URDF says is multiplier * leader + offset."""

    joint: str
    leader: str
    multiplier: float
    offset: float


def _shares() -> list[Path]:
    """Folders in which installed packages keep the folders that URIs name."""
    bases = [Path(entry) for entry in sys.path if entry] + [Path(sys.prefix)]
    prefixes = [Path(entry) for entry in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if entry]
    return [*(base / "cmeel.prefix" / "share" for base in bases), *(base / "share" for base in [*bases, *prefixes]), *bases]


def resolve(uri: str, folder: Path, package_paths: Mapping[str, PathLike] | None = None, meshdir: str = "") -> Path:
    """The file that ``uri`` names.

    ``package://name/rest`` and ``model://name/rest`` are looked for in ``package_paths[name]``, in the parents of ``folder``
    (one called ``name``, or one that holds a folder called so), in the folders of ROS_PACKAGE_PATH, GAZEBO_MODEL_PATH and
    GZ_SIM_RESOURCE_PATH, and in the share folders of installed packages, in this order. ``file://`` and plain paths are
    taken as they are, relative ones from ``folder`` or from its subfolder ``meshdir``.

    Raises:
        InputError: there is no such file; names the URI and the places looked in.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        scheme, rest = "file", uri
    rest = unquote(rest)
    name, _, inner = rest.partition("/")
    hint = ""
    if scheme == "file":
        candidates = [folder / rest]
        if meshdir:
            candidates += [folder / meshdir / rest, folder / meshdir / Path(rest).name]
    elif scheme in ("package", "model"):
        candidates = [Path(package_paths[name]) / inner] if package_paths and name in package_paths else []
        for parent in (folder, *folder.parents):
            candidates += [parent / inner] if parent.name == name else []
            candidates.append(parent / name / inner)
        for variable in SEARCH_VARIABLES:
            for entry in filter(None, os.environ.get(variable, "").split(os.pathsep)):
                candidates += [Path(entry) / inner] if Path(entry).name == name else []
                candidates.append(Path(entry) / name / inner)
        candidates += [share / name / inner for share in _shares()]
        hint = f"; give package_paths={{'{name}': its folder}}"
    else:
        raise InputError(f"mesh '{uri}': its scheme must be package, model or file, got '{scheme}'")
    for candidate in candidates:
        if candidate.is_file():
            return candidate.resolve()
    raise InputError(f"mesh '{uri}' is not there{hint}; looked for {', '.join(dict.fromkeys(map(str, candidates)))}")


def _raise_inertia(inertia: ElementTree.Element) -> bool:
    """Raises principal moments that are not positive, which MuJoCo refuses, to about zero; whether there were any."""
    names = ("ixx", "iyy", "izz", "ixy", "ixz", "iyz")
    rows, columns = (0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2)
    tensor = np.zeros((3, 3))
    try:
        tensor[columns, rows] = [float(inertia.get(name, 0.0)) for name in names]
    except ValueError:
        return False  # MuJoCo says what is wrong
    moments, axes = np.linalg.eigh(tensor)
    if moments[0] > LEAST_MOMENT:
        return False
    raised = axes @ np.diag(np.maximum(moments, 2.0 * LEAST_MOMENT)) @ axes.T
    for name, value in zip(names, raised[rows, columns], strict=True):
        inertia.set(name, repr(float(value)))
    return True


def urdf_text(
    path: Path,
    package_paths: Mapping[str, PathLike] | None = None,
    visuals: bool = True,
    note: Callable[[str, str], None] = lambda reason, name: None,
) -> tuple[str, dict[str, Path], list[Mimic]]:
    """The URDF at ``path`` with the compiler options with which MuJoCo keeps all of it, its mesh files, and its <mimic>
    elements, which are taken out: before 4.0 MuJoCo skips them.

    The text names each mesh file anew, and the dictionary says where it is: MuJoCo names a mesh by its file's stem and, before
    4.0, takes a second file of that stem for the same mesh.

    Args:
        visuals: without it the <visual> elements are taken out, and their files are not looked for.
        note: called with what had to be changed, and in which link.

    Raises:
        InputError: the file is not XML, is no URDF, or names a mesh that is not there.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise InputError(f"model file '{path}' is not well-formed XML: {error}") from error
    if root.tag != "robot":
        raise InputError(f"model file '{path}' is no URDF: its root must be <robot>, got <{root.tag}>")
    extension = root.find("mujoco")
    if extension is None:
        extension = ElementTree.Element("mujoco")
        root.insert(0, extension)
    compiler = extension.find("compiler")
    if compiler is None:
        compiler = ElementTree.SubElement(extension, "compiler")
    meshdir = compiler.attrib.pop("meshdir", "")
    for option, value in COMPILER_OPTIONS.items():
        compiler.set(option, value)
    for option, value in COMPILER_DEFAULTS.items():
        compiler.attrib.setdefault(option, value)
    for link in root.iter("link"):
        for visual in [] if visuals else link.findall("visual"):
            link.remove(visual)
        for inertia in link.iterfind("inertial/inertia"):
            mass = link.find("inertial/mass")
            if _raise_inertia(inertia) and mass is not None and mass.get("value", "").strip("0. "):
                note("moments of inertia <= 0 raised to about 0", link.get("name", ""))
    mimics = [_taken_mimic(path, joint, mimic) for joint in root.iter("joint") for mimic in joint.findall("mimic")]
    names: dict[tuple[Path, str], str] = {}
    for mesh in root.iter("mesh"):
        if "filename" not in mesh.attrib:
            raise InputError(f"model file '{path}': a <mesh> has no filename")
        try:
            file = resolve(mesh.attrib["filename"], path.parent, package_paths, meshdir)
        except InputError as error:
            raise InputError(f"model file '{path}': {error}") from error
        key = file, mesh.get("scale", "")
        if key not in names:
            taken = {Path(name).stem for name in names.values()}
            stem = file.stem if file.stem not in taken else f"{file.stem}_{len(names)}"
            names[key] = f"{stem}{file.suffix}"
        mesh.set("filename", names[key])
    return ElementTree.tostring(root, encoding="unicode"), {name: file for (file, _), name in names.items()}, mimics


def _taken_mimic(path: Path, joint: ElementTree.Element, mimic: ElementTree.Element) -> Mimic:
    """A joint's <mimic>, which is taken out of it.

    Raises:
        InputError: it names no joint, or its numbers are none.
    """
    joint.remove(mimic)
    name, leader = joint.get("name", ""), mimic.get("joint")
    try:
        multiplier, offset = float(mimic.get("multiplier", "1")), float(mimic.get("offset", "0"))
    except ValueError as error:
        raise InputError(f"model file '{path}': the <mimic> of joint '{name}' has no number: {error}") from error
    if not leader:
        raise InputError(f"model file '{path}': the <mimic> of joint '{name}' names no joint")
    return Mimic(name, leader, multiplier, offset)


def several_groups(path: Path) -> bool:
    """Whether this is an OBJ file with triangles in more than one group or object: MuJoCo reads those of the first."""
    if path.suffix.lower() != ".obj":
        return False
    groups = re.split(rb"(?m)^[ \t]*[go]\s", path.read_bytes())
    return sum(re.search(rb"(?m)^[ \t]*f\s", group) is not None for group in groups) > 1


def native(path: Path) -> bool:
    """Whether MuJoCo reads the whole of this mesh itself: MSH, OBJ of one group, binary STL of up to 200000 triangles."""
    if path.suffix.lower() != ".stl":
        return path.suffix.lower() in NATIVE_MESHES and not several_groups(path)
    with path.open("rb") as file:
        header = file.read(84)
    count = int.from_bytes(header[80:84], "little")
    return path.stat().st_size == 84 + 50 * count and count <= 200000
