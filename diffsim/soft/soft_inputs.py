"""What drives a control step of the soft bodies, in rows: the scene's parameters, by name, and the colliders' motion.

`Simulator.step` differentiates the parameters beside state and action.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from diffsim.errors import InputError
from diffsim.records import Record
from diffsim.scene.materials import NOT_NEGATIVE, Range
from diffsim.scene.scene import Scene
from diffsim.scene.validation import LARGEST_FRICTION, check_parameter
from diffsim.soft.soft_records import LAW_PARAMETERS, BodyInputs, InputLayout, WorldInputs
from diffsim.tools.tool_motion import ColliderMotion

FRICTION: Range = (0.0, LARGEST_FRICTION, f"in [0, {LARGEST_FRICTION:g})")


class SoftControls(NamedTuple):
    """What an action says to soft bodies: the strengths of the attachments in every substep (B, substeps * attachments), and
    the activations of the muscles (B, muscles); None without any."""

    strengths: Tensor | None = None
    activations: Tensor | None = None


NO_CONTROLS = SoftControls()


class SoftInputs:
    """Names, defaults and rows of what drives the solver.

    The parameters' names are ``"<soft body>.<field of its material>"``, ``"<collider>.friction"``, ``"ground.friction"``,
    ``"<muscle>.strength"`` and ``"gravity"``.

    Attributes:
        layout: where the parts of a row begin.
        defaults: the parameters' values in the scene, by name.
    """

    def __init__(self, scene: Scene, *, dt: float, substeps: int, dtype: torch.dtype, device: str):
        self._scene, self._dt = scene, dt
        self._colliders = (*scene.grid_tools, *scene.grid_obstacles)
        tools = [n for n, tool in enumerate(scene.tools) if tool.shape.meets_grid]
        on_grid = [*tools, *range(len(scene.tools), len(scene.tools) + len(scene.grid_obstacles))]
        self._on_grid = None if len(tools) == len(scene.tools) else on_grid  # of the colliders of a motion
        self.layout = InputLayout.of(
            len(scene.soft_bodies), len(self._colliders), substeps, len(scene.attachments), len(scene.muscles)
        )
        self._like: dict[str, Any] = {"dtype": dtype, "device": device}
        values: dict[str, object] = {"gravity": scene.gravity}
        for body in scene.soft_bodies:
            values |= {f"{body.name}.{field}": value for field, value in body.material.parameters.items()}
        for thing in self._colliders:
            values[f"{thing.name}.friction"] = thing.friction
        if scene.ground is not None:
            values["ground.friction"] = scene.ground.friction
        for muscle in scene.muscles:
            values[f"{muscle.name}.strength"] = muscle.strength
        self._ranges = {
            f"{body.name}.{field}": body.material.ranges[field]
            for body in scene.soft_bodies
            for field in body.material.parameters
        } | {f"{muscle.name}.strength": NOT_NEGATIVE for muscle in scene.muscles}
        self.defaults = {name: torch.tensor(value, **self._like) for name, value in values.items()}
        self._cached: tuple[int, Tensor] | None = None
        self._muscle_strengths = torch.tensor([muscle.strength for muscle in scene.muscles], **self._like)

    def rows(
        self,
        motion: ColliderMotion,
        num_envs: int,
        overrides: Mapping[str, Tensor] | None,
        controls: SoftControls = NO_CONTROLS,
    ) -> Tensor:
        """The solver's inputs (B, layout.size), with some parameters replaced.

        Raises:
            InputError: an override's type, shape or value is wrong. Names are `Simulator`'s to check.
        """
        # a motion has its numbers in the order of `ColliderTwist` and `ColliderPose`
        twist, pose = motion.twist, motion.pose
        if self._on_grid is not None:
            twist, pose = twist[:, self._on_grid], pose[:, :, self._on_grid]
        parts = [self._parameters(num_envs, overrides), twist.flatten(1), pose.flatten(1)]
        if controls.strengths is not None:
            parts.append(controls.strengths)
        if controls.activations is not None:
            parts.append(controls.activations * self._tensions(num_envs, overrides))
        rows = torch.cat(parts, dim=1)
        assert rows.shape[1] == self.layout.size
        return rows

    def per_body(self, field: str) -> Tensor:
        """A field of `BodyInputs` of each body as the scene declares it, (bodies, numbers of the field)."""
        bodies = self._parameters(1, None)[0, self.layout.bodies : self.layout.frictions]
        return bodies.view(-1, BodyInputs.SIZE)[:, BodyInputs.columns(field)]

    def _parameters(self, num_envs: int, overrides: Mapping[str, Tensor] | None) -> Tensor:
        """The part of the rows up to the colliders' motion (B, layout.twists)."""
        if not overrides:
            if self._cached is None or self._cached[0] != num_envs:
                self._cached = (num_envs, self._assemble(num_envs, self.defaults))
            return self._cached[1]
        return self._assemble(num_envs, {**self.defaults, **self._checked(num_envs, overrides)})

    def _tensions(self, num_envs: int, overrides: Mapping[str, Tensor] | None) -> Tensor:
        """What the muscles bring at an activation of 1, Pa, (muscles,) or (B, muscles)."""
        names = [f"{muscle.name}.strength" for muscle in self._scene.muscles]
        if not any(name in (overrides or {}) for name in names):
            return self._muscle_strengths
        values = {**self.defaults, **(overrides or {})}
        return torch.stack([values[name].expand(num_envs) for name in names], dim=-1)

    def _checked(self, num_envs: int, overrides: Mapping[str, Tensor]) -> dict[str, Tensor]:
        for name, value in overrides.items():
            check_parameter(name, value, self.defaults[name], num_envs)
            if name != "gravity":
                low, high, allowed = self._ranges.get(name, FRICTION)
                if bool((value < low).any()) or bool((value >= high).any()):
                    raise InputError(f"parameter '{name}' must be {allowed}, got {value.detach().tolist()}")
        return dict(overrides)

    def _assemble(self, num_envs: int, values: Mapping[str, Tensor]) -> Tensor:
        zero = torch.zeros((num_envs,), **self._like)

        def filled(record: type[Record], **fields: tuple[Tensor, ...]) -> list[Tensor]:
            """Columns of a record; what is left out is zero."""
            columns = [zero] * record.SIZE
            for name, numbers in fields.items():
                begin = record.columns(name).start
                assert len(numbers) <= len(record.columns(name))
                columns[begin : begin + len(numbers)] = numbers
            return columns

        columns = filled(
            WorldInputs,
            gravity=values["gravity"].expand(num_envs, 3).unbind(-1),
            ground_friction=(values.get("ground.friction", zero).expand(num_envs),),
        )
        for body in self._scene.soft_bodies:
            own = {field: values[f"{body.name}.{field}"].expand(num_envs) for field in body.material.parameters}
            volume = body.shape.volume / len(body.rest_particles)
            shear, bulk = body.material.viscosities(own) if body.material.VISCOUS else (zero, zero)
            share = (-self._dt * own["relaxation_rate"]).exp() if body.material.FLOWING else zero
            parameters = body.material.law_parameters(own)
            if len(parameters) > LAW_PARAMETERS:
                raise InputError(f"{type(body.material).__name__}: a law takes at most {LAW_PARAMETERS} parameters")
            columns += filled(
                BodyInputs,
                mass=(own["density"] * volume,),
                volume=(zero + volume,),
                parameters=parameters,
                shear_viscosity=(shear,),
                bulk_viscosity=(bulk,),
                velocity_share=(share,),
            )
        columns += [values[f"{thing.name}.friction"].expand(num_envs) for thing in self._colliders]
        return torch.stack(columns, dim=-1)
