"""The scene's physical parameters by name, as torch tensors: what `Simulator.step` differentiates beside state and action."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from diffsim.errors import InputError
from diffsim.scene.scene import Scene
from diffsim.scene.validation import check_parameter
from diffsim.soft.soft_records import BODIES, BODY


class ScenePhysics:
    """Names, defaults and the solver's tensors of a scene's parameters.

    Names are ``"<soft body>.<field of its material>"``, ``"<collider>.friction"``, ``"ground.friction"`` and ``"gravity"``.
    """

    def __init__(self, scene: Scene, *, dtype: torch.dtype, device: str):
        self._scene = scene
        self._like: dict[str, Any] = {"dtype": dtype, "device": device}
        values: dict[str, object] = {"gravity": scene.gravity}
        for body in scene.soft_bodies:
            values |= {f"{body.name}.{field}": value for field, value in body.material.parameters.items()}
        for thing in (*scene.tools, *scene.grid_obstacles):
            values[f"{thing.name}.friction"] = thing.friction
        if scene.ground is not None:
            values["ground.friction"] = scene.ground.friction
        self._ranges = {
            f"{body.name}.{field}": body.material.RANGES[field]
            for body in scene.soft_bodies
            for field in body.material.parameters
        }
        self.defaults = {name: torch.tensor(value, **self._like) for name, value in values.items()}
        self._cached: tuple[int, Tensor] | None = None

    def rows(self, num_envs: int, overrides: Mapping[str, Tensor] | None) -> Tensor:
        """The first part of the solver's inputs, world to frictions (`diffsim/soft/soft_records.py`), (B, 4 + 8 bodies + M).

        Raises:
            InputError: an override's type, shape or value is wrong. Names are `Simulator`'s to check.
        """
        if not overrides:
            if self._cached is None or self._cached[0] != num_envs:
                self._cached = (num_envs, self._assemble(num_envs, self.defaults))
            return self._cached[1]
        return self._assemble(num_envs, {**self.defaults, **self._checked(num_envs, overrides)})

    def _checked(self, num_envs: int, overrides: Mapping[str, Tensor]) -> dict[str, Tensor]:
        for name, value in overrides.items():
            check_parameter(name, value, self.defaults[name], num_envs)
            if name != "gravity":
                low, high, allowed = self._ranges.get(name, (0.0, math.inf, "a number >= 0"))
                if bool((value < low).any()) or bool((value >= high).any()):
                    raise InputError(f"parameter '{name}' must be {allowed}, got {value.detach().tolist()}")
        return dict(overrides)

    def _assemble(self, num_envs: int, values: Mapping[str, Tensor]) -> Tensor:
        zero = torch.zeros((num_envs,), **self._like)
        columns = [*values["gravity"].expand(num_envs, 3).unbind(-1), values.get("ground.friction", zero).expand(num_envs)]
        assert len(columns) == BODIES
        for body in self._scene.soft_bodies:
            own = {field: values[f"{body.name}.{field}"].expand(num_envs) for field in body.material.parameters}
            volume = body.shape.volume / len(body.rest_particles)
            row = [own["density"] * volume, zero + volume, *type(body.material).law_parameters(own)]
            columns += row + [zero] * (BODY - len(row))
        colliders = (*self._scene.tools, *self._scene.grid_obstacles)
        columns += [values[f"{thing.name}.friction"].expand(num_envs) for thing in colliders]
        return torch.stack(columns, dim=-1)
