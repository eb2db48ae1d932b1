"""The wrenches that contact exerts on each thing that can be touched, recorded over control steps in `State.contact_wrench`."""

from __future__ import annotations

import torch
from torch import Tensor

from diffsim.errors import InputError
from diffsim.rigid.wrenches import Wrench
from diffsim.scene.scene import Scene
from diffsim.state import State

WRENCH = 6  # numbers: force, torque


def contact_names(scene: Scene) -> tuple[str, ...]:
    """What can be touched: "ground" where there is one, the obstacles (those of `Scene.grid_obstacles` first), the tools, the
    links but the world: "<rigid body>" and "<articulation>.<link>"; and, by soft bodies alone, the domain's "walls"."""
    links = [f"{robot.name}.{link.name}" for robot in scene.articulations for link in robot.links]
    tools, bodies = (tool.name for tool in scene.tools), (body.name for body in scene.rigid_bodies)
    walls = ("walls",) if scene.soft_bodies else ()
    return (*scene.fixed_geometries, *tools, *bodies, *links, *walls)


class ContactWrenches:
    """What the simulator knows of the recorded wrenches.

    Args:
        recording: whether control steps record them.

    Attributes:
        names: of the things that can be touched, in the order of the rows.
        count: rows of `State.contact_wrench`, K: one for each name, or none.
    """

    def __init__(self, scene: Scene, *, recording: bool, dtype: torch.dtype, device: str):
        self.names = contact_names(scene)
        self.count = len(self.names) if recording else 0
        self._dtype, self._device = dtype, device

    def zeros(self, num_envs: int) -> Tensor:
        """Of nothing that touches: (B, K, 6)."""
        return torch.zeros((num_envs, self.count, WRENCH), dtype=self._dtype, device=self._device)

    def of(self, state: State, name: str) -> Wrench:
        """Of one thing: force and torque (B, 3), of a stack (T, B, 3).

        Raises:
            InputError: there is no such thing, or the state holds no wrenches.
        """
        if name not in self.names:
            raise InputError(f"nothing that can be touched is called '{name}'; there are: {', '.join(self.names) or 'none'}")
        if not isinstance(state, State):
            raise InputError(f"state must be a diffsim.State, got {state!r}")
        rows = state.contact_wrench
        if not self.count:
            raise InputError("contact forces are not recorded; make the simulator with record_forces=True")
        if rows.shape[-2:] != (self.count, WRENCH):
            raise InputError(
                f"state.contact_wrench must have shape (B, {self.count}, {WRENCH}), as states of this simulator have, got "
                f"{tuple(rows.shape)}"
            )
        force, torque = rows[..., self.names.index(name), :].split(3, dim=-1)
        return Wrench(force, torque)
