"""Pictures of a task's episodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import diffsim as ds
from diffsim.render import Camera, LinkCamera, SceneRenderer
from tasks.episode import Episode

if TYPE_CHECKING:
    from tasks.base import Task


class TaskRenderer:
    """Draws episodes as the task says that they look: its camera, its marks, its ghost, and what its soft bodies are
    ``drawn_as``.

    Args:
        width, height: of the frames, pixels.
        camera: in place of the task's.
        supersampling: samples a pixel along each axis.
    """

    def __init__(
        self, task: Task, width: int, height: int, *, camera: Camera | LinkCamera | None = None, supersampling: int = 2
    ) -> None:
        self._task = task
        self._renderer = SceneRenderer(
            task.sim.scene, camera=camera or task.camera(), width=width, height=height, supersampling=supersampling
        )

    def frame(self, episode: Episode, environment: int = 0, *, state: ds.State | None = None) -> np.ndarray:
        """The picture of one environment, sRGB uint8 (height, width, 3); of ``state`` in place of the episode's own if given.

        Raises:
            InputError: the task's marks, or what its bodies are drawn as, are none that there are.
        """
        return self._renderer.frame(
            episode.state if state is None else state,
            environment,
            mode=self._task.drawn_as,
            markers=self._task.markers(episode, environment),
            ghost=self._task.ghost(episode, environment),
        )
