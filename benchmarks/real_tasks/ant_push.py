"""AntPush: an ant must push a block out of its way, sideways, to reach a room (Nachum et al. 2018; here as in the paper of
model-based RPG). Pushed straight on, the block jams the passage."""

from __future__ import annotations

import xml.etree.ElementTree as xml
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np
from gymnasium.envs.mujoco import MujocoEnv
from numpy.typing import NDArray

CELL, HEIGHT = 8.0, 4.0
"""Of the maze's cells and walls, m."""
CELLS = ("#####", "#.r##", "#.M.#", "##.##", "#####")
"""Row by row along y, in each row along x: wall, free, where the ant starts (the origin), the block that it can move."""
BLOCK_MASS = 2e-4
"""kg."""
BLOCK_START = (0.0, CELL)
"""Centre of the block, m."""
GOAL, NEAR = (0.0, 19.0), 5.0
"""Success is within this distance of the goal, m."""
TORQUE = 30.0
"""Largest at a joint, N m."""
NOISE = 0.1
"""Of the ant's first coordinates (uniform) and velocities (normal)."""
ANT_Q, ANT_V = 15, 14
"""Coordinates and velocities of the ant."""


def ant_push_model() -> str:
    """The ant of Gymnasium, with the weaker motors of the original, in a maze with a block that slides along x and y."""
    path = Path(gymnasium.__file__).parent / "envs/mujoco/assets/ant.xml"
    root = xml.parse(path).getroot()
    root.set("model", "ant_push")
    found = {name: root.find(name) for name in ("option", "worldbody", "actuator")}
    assert all(each is not None for each in found.values())
    option, world, actuator = (each for each in found.values() if each is not None)
    option.set("timestep", "0.02")
    for motor in actuator:
        motor.set("gear", f"{TORQUE}")
    half = f"{CELL / 2} {CELL / 2} {HEIGHT / 2}"
    rows = [(row, column, sign) for row, line in enumerate(CELLS) for column, sign in enumerate(line)]
    origin = next((row, column) for row, column, sign in rows if sign == "r")
    for row, column, sign in rows:
        at = f"{CELL * (column - origin[1])} {CELL * (row - origin[0])} {HEIGHT / 2}"
        touch = {"type": "box", "size": half, "contype": "1", "conaffinity": "1"}
        if sign == "#":
            xml.SubElement(world, "geom", {"name": f"wall_{row}_{column}", "pos": at, **touch})
        if sign == "M":
            block = xml.SubElement(world, "body", {"name": "block", "pos": at})
            xml.SubElement(block, "geom", {"name": "block", "mass": f"{BLOCK_MASS}", "rgba": "0.9 0.4 0.3 1", **touch})
            for name, axis in (("x", "1 0 0"), ("y", "0 1 0")):
                joint = {"name": f"block_{name}", "type": "slide", "axis": axis, "armature": "0", "damping": "0"}
                xml.SubElement(block, "joint", {**joint, "limited": "false", "margin": "0.01"})
    return xml.tostring(root, encoding="unicode")


class AntPush(MujocoEnv):
    """Episodes never end early. The info's "success" is whether the ant ever was near the goal in the episode.

    An observation of the sparse task, whose reward is 1 near the goal, is what the paper embeds, the ant's 15 coordinates over
    10 and how far the block has moved, 18 numbers, then all 33 of the dense task, scaled. An observation of the dense task,
    whose reward is -0.1 times the distance to the goal in m, is coordinates, velocities, the time (0.001 a step), and the
    block's position.
    """

    metadata = {"render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, *, dense: bool) -> None:
        self.dense, self._solved, self._steps = dense, False, 0
        space = gymnasium.spaces.Box(-np.inf, np.inf, (33 if dense else 51,), np.float64)
        super().__init__("ant.xml", 5, space)

    def _initialize_simulation(self) -> tuple[mujoco.MjModel, mujoco.MjData]:
        model = mujoco.MjModel.from_xml_string(ant_push_model())
        return model, mujoco.MjData(model)

    def reset_model(self) -> NDArray[np.float64]:
        self._solved, self._steps = False, 0
        q, v = self.init_qpos.copy(), self.init_qvel.copy()
        q[:ANT_Q] += self.np_random.uniform(-NOISE, NOISE, ANT_Q)
        v[:ANT_V] += NOISE * self.np_random.standard_normal(ANT_V)
        self.set_state(q, v)
        return self._seen()

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float64], float, bool, bool, dict[str, Any]]:
        self.do_simulation(action, self.frame_skip)
        self._steps += 1
        distance = float(np.linalg.norm(self.data.qpos[:2] - GOAL))
        self._solved |= distance < NEAR
        reward = -0.1 * distance if self.dense else float(distance < NEAR)
        return self._seen(), reward, False, False, {"success": self._solved}

    @property
    def block(self) -> NDArray[np.float64]:
        """(3,) centre of the block, m."""
        return self.data.body("block").xpos

    def _seen(self) -> NDArray[np.float64]:
        q, v = self.data.qpos[:ANT_Q], self.data.qvel[:ANT_V]
        everything = np.concatenate([q, v, [0.001 * self._steps], self.block])
        if self.dense:
            return everything
        # after the embedding's factor of 0.05 on these, the paper's 0.01 of the position and 0.1 of the rest
        scaled = np.concatenate([0.2 * everything[:2], 2.0 * everything[2:]])
        return np.concatenate([q / 10, self.block - (*BLOCK_START, HEIGHT / 2), scaled])


def made(name: str) -> gymnasium.Env:
    """The task "ant_push" or "ant_push_dense"."""
    return AntPush(dense=name == "ant_push_dense")
