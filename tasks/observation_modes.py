"""What an optimiser sees of an episode in place of the features alone: particles as points, or pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

import diffsim as ds
from tasks.episode import Episode
from tasks.task_renderer import TaskRenderer

if TYPE_CHECKING:
    from tasks.base import Task

ObservationMode = Literal["state", "points", "image"]


class ParticlePoints:
    """The positions of some particles of the soft bodies, in front of the features.

    Args:
        count: number of particles, spread evenly over the bodies' rest shapes.

    Raises:
        InputError: the scene has fewer particles.
    """

    def __init__(self, simulator: ds.Simulator, count: int) -> None:
        if not 1 <= count <= simulator.num_particles:
            allowed = f"1 to {simulator.num_particles}, the particles of the scene's soft bodies"
            raise ds.InputError(f"observation_particles is {count}; allowed are {allowed}")
        self._index = torch.tensor(_spread(simulator.reset().x[0].double().cpu().numpy(), count), device=simulator.device)

    def __call__(self, episode: Episode, features: Tensor) -> Tensor:
        """(B, 3 n + O): n points in the world, m, then the features (B, O)."""
        return torch.cat([episode.state.x[:, self._index].flatten(1), features], dim=1)


class Pictures:
    """Pictures of the episodes, from the task's `observation_camera`."""

    def __init__(self, task: Task, size: tuple[int, int]) -> None:
        height, width = size
        self._renderer = TaskRenderer(task, width, height, camera=task.observation_camera(), supersampling=1)

    def __call__(self, episode: Episode) -> Tensor:
        """sRGB bytes (B, H, W, 3)."""
        frames = [self._renderer.frame(episode, environment) for environment in range(episode.num_envs)]
        return torch.from_numpy(np.stack(frames)).to(episode.steps.device)


def _spread(points: np.ndarray, count: int) -> list[int]:
    """Indices of ``count`` points (N, 3), each the farthest from those before it (Gonzalez 1985), the first at one end."""
    chosen = [0]
    nearest = np.linalg.norm(points - points[0], axis=1)
    while len(chosen) < count:
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return chosen
