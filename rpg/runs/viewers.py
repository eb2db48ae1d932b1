"""How a run asks an environment for an interactive page; `rpg.protocol.ViewerEnvironment` says what it must have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rpg.protocol import ViewerEnvironment
from rpg.settings_checks import SettingError
from rpg.training.modes import Mode


def serve_viewer(environment: Any, modes: Sequence[Mode], *, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Let `environment` serve its page until an interrupt.

    Raises:
        SettingError: it has none, or something is missing for it.
    """
    _check(environment)
    try:
        environment.serve_viewer(modes, host=host, port=port, ready=ready)
    except ValueError as error:
        raise SettingError(str(error)) from error


def write_viewer_page(environment: Any, modes: Sequence[Mode], path: Path, *, arrows: bool, say: Callable[[str], None]) -> None:
    """Let `environment` write its page into one file.

    Raises:
        SettingError: it has none, or something is missing for it.
    """
    _check(environment)
    try:
        environment.write_viewer_page(modes, path, arrows=arrows, say=say)
    except ValueError as error:
        raise SettingError(str(error)) from error


def _check(environment: Any) -> None:
    if not isinstance(environment, ViewerEnvironment):
        name = getattr(environment, "name", "") or type(environment).__name__
        raise SettingError(f"{name} has no methods serve_viewer and write_viewer_page (rpg.protocol.ViewerEnvironment)")
