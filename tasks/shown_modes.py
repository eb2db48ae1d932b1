"""How tasks and their variants show the distinct solutions of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.mode_video import RecordedMode, View, write_modes_video
from tasks.mode_viewer import serve_modes, write_modes_page

if TYPE_CHECKING:
    from tasks.base import Task


class ShownModes:
    """What a `Task` and `Variants` have in common; of these, each mode is shown in the variant that it was recorded in."""

    if TYPE_CHECKING:

        def located(self, environment: int, seed: int) -> tuple[Task, int, int]:
            """The task that an environment of ``reset(seed)`` runs in, its index there, and the seed of that task's reset."""

    def write_video(
        self,
        modes: Sequence[RecordedMode],
        path: Path,
        *,
        camera: View | None = None,
        size: tuple[int, int] | None = None,
    ) -> None:
        """Write an MP4 of a run's distinct solutions side by side, and a PNG of its last frame beside it; see
        `tasks.mode_video`."""
        write_modes_video(self, modes, path, camera=camera, size=size)

    def serve_viewer(
        self,
        modes: Sequence[RecordedMode],
        *,
        host: str = "127.0.0.1",
        port: int = 8080,
        ready: Callable[[str], None] = print,
    ) -> None:
        """Serve an interactive page of a run's distinct solutions until an interrupt; see `tasks.mode_viewer`."""
        serve_modes(self, modes, host=host, port=port, ready=ready)

    def write_viewer_page(
        self,
        modes: Sequence[RecordedMode],
        path: Path,
        *,
        arrows: bool = True,
        say: Callable[[str], None] = print,
    ) -> None:
        """Write one page of HTML that shows them; see `tasks.mode_viewer`."""
        write_modes_page(self, modes, path, arrows=arrows, say=say)
