"""The scene as an episode begins, for the simulator's own checks of scenes: overlaps, and what lies outside the domain."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

import diffsim as ds

if TYPE_CHECKING:
    from torch import Tensor

FREE = 7  # coordinates of a rigid body: its origin and its quaternion


def start_scene(simulator: ds.Simulator, state: ds.State, environment: int) -> ds.Scene:
    """The scene with its bodies and tools where one environment's first state has them. A soft body is moved as a whole, by the
    mean displacement of its particles; articulations stay as declared."""
    scene = simulator.scene
    soft = []
    for body in scene.soft_bodies:
        particles = state.x[environment, simulator.particle_slice(body.name)].double().cpu().numpy()
        soft.append(replace(body, position=_vector(np.asarray(body.position) + (particles - body.rest_particles).mean(axis=0))))
    rigid = [
        replace(body, position=_vector(pose[:3]), rotation=_vector(pose[3:]))
        for body, pose in zip(scene.rigid_bodies, _rows(state.q[environment], len(scene.rigid_bodies)), strict=True)
    ]
    tools = [
        replace(tool, position=_vector(position), rotation=_vector(rotation / np.linalg.norm(rotation)))
        for tool, position, rotation in zip(
            scene.tools,
            state.tool_position[environment].double().cpu().numpy(),
            state.tool_rotation[environment].double().cpu().numpy(),
            strict=True,
        )
    ]
    return replace(scene, soft_bodies=tuple(soft), rigid_bodies=tuple(rigid), tools=tuple(tools))


def _rows(q: Tensor, count: int) -> np.ndarray:
    """Poses (count, 7) of the rigid bodies, which come first."""
    rows = q[: FREE * count].double().cpu().numpy().reshape(count, FREE).copy()
    rows[:, 3:] /= np.linalg.norm(rows[:, 3:], axis=1, keepdims=True)
    return rows


def _vector(values: np.ndarray) -> tuple:
    return tuple(float(value) for value in values)
