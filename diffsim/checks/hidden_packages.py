"""A user's own ``tasks.py`` or ``rpg.py`` beside a script, which Python finds in place of the package of that name."""

from __future__ import annotations

import logging
import sys
from importlib.util import find_spec
from pathlib import Path

logger = logging.getLogger(__name__)

BESIDE = ("tasks", "rpg")  # what is installed together with diffsim


def warn_of_hidden_packages() -> None:
    """Say which of our packages ``import`` would not find, and what hides it. Nothing is imported."""
    ours = Path(__file__).resolve().parents[2]
    for name in BESIDE:
        package = ours / name / "__init__.py"
        found = _found(name)
        if found is not None and package.is_file() and found != package:
            logger.warning(
                "'%s' hides the package '%s' of diffsim-rpg: 'import %s' finds that file; rename it to use the package",
                found, name, name,
            )  # fmt: skip


def _found(name: str) -> Path | None:
    """The file that ``import`` takes for a package."""
    try:
        loaded = sys.modules.get(name)
        origin = getattr(loaded, "__file__", None) if loaded else getattr(find_spec(name), "origin", None)
    except (ImportError, ValueError):  # it is half imported
        return None
    return None if origin is None else Path(origin).resolve()
