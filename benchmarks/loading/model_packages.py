"""Which files are robots and meshes in the packages of models that `make test` installs."""

from __future__ import annotations

import importlib.util
import re
import sysconfig
from pathlib import Path
from typing import NamedTuple

MESHES = (".obj", ".stl", ".dae", ".ply", ".msh", ".glb", ".gltf", ".off")
PYTHON_PACKAGES = ("gymnasium_robotics", "metaworld", "robosuite")  # example-robot-data is a folder of files alone
DATA_FOLDER = "cmeel.prefix/share/example-robot-data"


class Model(NamedTuple):
    """A file to load."""

    kind: str
    """"robot" or "mesh"."""
    package: str
    path: Path
    name: str
    """The package and the file's path within it."""


def folders() -> dict[str, Path]:
    """Where the packages' files are.

    Raises:
        SystemExit: one is not installed.
    """
    found: dict[str, Path] = {}
    for package in PYTHON_PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            found[package] = Path(next(iter(spec.submodule_search_locations)))
    data = Path(sysconfig.get_paths()["purelib"]) / DATA_FOLDER
    if data.is_dir():
        found["example-robot-data"] = data
    missing = [name for name in (*PYTHON_PACKAGES, "example-robot-data") if name not in found]
    if missing:
        raise SystemExit(
            f"packages of models are missing: {', '.join(missing)}; `make test` installs them (MODELS in the Makefile)"
        )
    return found


def is_model(path: Path) -> bool:
    """Whether a file describes a mechanism: URDF, or MJCF with <mujoco> as its root. (Fragments that others include have
    <mujocoinclude> or are refused with MuJoCo's reason.)"""
    if path.suffix == ".urdf":
        return True
    if path.suffix != ".xml":
        return False
    text = re.sub(r"<!--.*?-->", "", path.read_text(errors="replace"), flags=re.DOTALL)
    root = re.search(r"<([A-Za-z_]\w*)", text)
    return root is not None and root.group(1) == "mujoco"


def models() -> list[Model]:
    """All robots, then all meshes, by package and path."""
    found: list[Model] = []
    for package, folder in folders().items():
        for path in sorted(folder.rglob("*")):
            kind = "mesh" if path.suffix.lower() in MESHES else "robot" if is_model(path) else ""
            if kind and path.is_file():
                found.append(Model(kind, package, path, f"{package}/{path.relative_to(folder)}"))
    return sorted(found, key=lambda model: (model.kind != "robot", model.name))
