"""Paths of the files in ``assets/``: beside the packages in a checkout, inside `tasks` in an installed wheel."""

from __future__ import annotations

from pathlib import Path

from diffsim import InputError

_PACKAGE = Path(__file__).resolve().parent
_FOLDERS = (_PACKAGE.parent / "assets", _PACKAGE / "assets")


def asset(name: str) -> Path:
    """Path of the asset file ``name``.

    Raises:
        InputError: there is no such asset.
    """
    for folder in _FOLDERS:
        if (folder / name).is_file():
            return folder / name
    known = sorted(path.name for folder in _FOLDERS if folder.is_dir() for path in folder.glob("*.obj"))
    raise InputError(f"there is no asset '{name}'; assets: {', '.join(known) or 'none'}")
