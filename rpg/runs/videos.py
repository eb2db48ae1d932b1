"""How a run asks an environment for pictures; `rpg.protocol.VideoEnvironment` says what it must have."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rpg.protocol import VideoEnvironment
from rpg.settings_checks import SettingError
from rpg.training.modes import Mode

VIDEO_NAME = "modes.mp4"


def has_video(environment: Any) -> bool:
    """Whether `environment` can show its solutions."""
    return isinstance(environment, VideoEnvironment)


def check_video(environment: Any, *, camera: Any = None, size: tuple[int, int] | None = None) -> None:
    """Try what a video needs: the options, and the environment's own check, if it has one.

    Raises:
        SettingError: it takes no such option. Whatever `check_rendering` raises.
    """
    _options(environment, camera, size)
    check = getattr(environment, "check_rendering", None)
    if callable(check):
        check()


def write_video(
    environment: Any, modes: Sequence[Mode], path: Path, *, camera: Any = None, size: tuple[int, int] | None = None
) -> None:
    """Let `environment` write the video of `modes`, from its own camera and in its own size unless they are given.

    Raises:
        SettingError: it has no video, or takes no such option.
    """
    options = _options(environment, camera, size)
    environment.write_video(modes, path, **options)


def _options(environment: Any, camera: Any, size: tuple[int, int] | None) -> dict[str, Any]:
    name = getattr(environment, "name", "") or type(environment).__name__
    if not has_video(environment):
        raise SettingError(f"{name} has no method write_video (rpg.protocol.VideoEnvironment)")
    given = {option: value for option, value in (("camera", camera), ("size", size)) if value is not None}
    known = inspect.signature(environment.write_video).parameters
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in known.values())
    if unknown := [option for option in given if option not in known and not takes_any]:
        raise SettingError(f"the video of {name} takes no {unknown[0]} (rpg.protocol.VideoEnvironment)")
    return given
