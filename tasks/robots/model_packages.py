"""Files of the PyPI packages whose robots `tasks.robots` reads. Nothing of them is part of this repository."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import Any

import diffsim as ds
from diffsim.robots.package_paths import resolve

WHEELS = {  # what to install, by the package's name in Python
    "gymnasium_robotics": "pip install --no-deps gymnasium-robotics==1.4.2",
    "gymnasium": "pip install gymnasium",
    "example-robot-data": "pip install --no-deps example-robot-data==6.0.0",
    "rewarped": "pip install --no-deps rewarped==1.3.3",
    "metaworld": "pip install --no-deps metaworld==3.1.1",
}


def package_file(robot: str, package: str, path: str) -> Path:
    """A file of an installed package, which is not imported.

    Args:
        robot: of `tasks.robots`, whose file it is, for the error; or the whole name of what else reads it, such as a task's.
        package: one of `WHEELS`.
        path: within the package.

    Raises:
        InputError: it is not there; says what to install.
    """
    try:
        if package == "example-robot-data":  # a folder of files only, below share
            return resolve(f"package://{package}/{path}", Path())
        found = importlib.util.find_spec(package)
        for folder in (found.submodule_search_locations or ()) if found else ():
            if (Path(folder) / path).is_file():
                return Path(folder) / path
    except ds.InputError:
        pass
    reader = robot if "." in robot else f"tasks.robots.{robot}"
    raise ds.InputError(f"{reader} reads {path} of the package {package}, which is not there: {WHEELS[package]}")


def load_quietly(path: Path, **options: Any) -> ds.Articulation:
    """`diffsim.load_articulation` without the warning of what the file has besides the robot, which the robots here leave out
    on purpose."""
    reader = logging.getLogger("diffsim.robots.mujoco_import")

    def drop(record: logging.LogRecord) -> bool:
        return record.levelno > logging.WARNING

    reader.addFilter(drop)
    try:
        return ds.load_articulation(path, **options)
    finally:
        reader.removeFilter(drop)
