"""What is computed once for a mesh and kept in files: the folder $DIFFSIM_CACHE, or ~/.cache/diffsim; delete it at will."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import trimesh

logger = logging.getLogger(__name__)

VERSION = 1  # part of the key: raise it when what is computed changes


def cached(
    kind: str, mesh: trimesh.Trimesh, options: str, compute: Callable[[], np.ndarray], fits: Callable[[np.ndarray], bool]
) -> np.ndarray:
    """What ``compute`` returns, from a file where an earlier call for the same mesh left it.

    Args:
        kind: of what is computed, the beginning of the file's name.
        options: on which it depends beside the mesh.
        fits: whether values from a file are of the right form; not finite ones never are.
    """
    digest = hashlib.sha256(f"{VERSION} {options} {len(mesh.vertices)}".encode())
    digest.update(np.ascontiguousarray(mesh.vertices, dtype="<f8").tobytes())
    digest.update(np.ascontiguousarray(mesh.faces, dtype="<i8").tobytes())
    folder = Path(os.environ.get("DIFFSIM_CACHE") or Path.home() / ".cache" / "diffsim")
    path = folder / f"{kind}-{digest.hexdigest()[:32]}.npz"
    values = _read(path)
    if values is None or not fits(values) or not np.isfinite(values).all():
        values = compute()
        _write(path, values)
    return values


def _read(path: Path) -> np.ndarray | None:
    """The cached values, or None where there are none or the file is damaged."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return stored["values"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        logger.info("the cached file %s is damaged (%s); computing it again", path, error)
        return None


def _write(path: Path, values: np.ndarray) -> None:
    """Writes under another name first, so that a reader never sees half a file. A cache that cannot be written is no error."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez_compressed(file, values=values)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        logger.info("the file could not be cached at %s: %s", path, error)
