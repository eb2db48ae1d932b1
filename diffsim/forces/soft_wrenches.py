"""From the wrenches that the solvers of soft bodies record to the rows of `State.contact_wrench`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffsim.rigid.rigid_model import RigidModel
from diffsim.scene.scene import Scene


class SoftWrenches:
    """Finds the row of each thing that soft bodies touch, and refers its torque to that thing's own point.

    The solvers record the colliders (tools, then obstacles, on the grid), the ground and the walls, and in scenes with
    rigid bodies the geometries of their ``model``. Torques on the ground, the walls and other obstacles are about the world's
    origin there.

    Args:
        names: of the rows, as `Simulator.contact_names`.
    """

    def __init__(self, scene: Scene, model: RigidModel | None, names: Sequence[str], *, dtype: torch.dtype, device: str):
        touched = [thing.name for thing in (*scene.grid_tools, *scene.grid_obstacles)] + ["ground", "walls"]
        own_origins = len(touched) - 2  # the colliders' torques are about these
        if model is not None:
            touched += model.geometry_owners
        places = [
            scene.fixed_places.get(name, (0.0, 0.0, 0.0)) if number >= own_origins else (0.0, 0.0, 0.0)
            for number, name in enumerate(touched)
        ]
        # without a ground nothing touches it
        rows = [names.index(name) if name in names else 0 for name in touched]
        self._rows = torch.tensor(rows, dtype=torch.int64, device=device)
        self._places = torch.tensor(places, dtype=dtype, device=device)

    def added_to(self, wrenches: Tensor, recorded: Tensor) -> Tensor:
        """Rows (B, K, 6) and, added to them, what a control step recorded (B, touched, 6), if it did."""
        if not recorded.shape[1]:
            return wrenches
        force, torque = recorded.split(3, dim=-1)
        torque = torque - torch.linalg.cross(self._places.expand_as(force), force)
        return wrenches.index_add(1, self._rows, torch.cat([force, torque], dim=-1))
