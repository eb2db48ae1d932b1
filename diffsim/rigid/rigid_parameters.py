"""The rigid things' physical parameters by name, and the solver's rows of inputs made of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffsim.errors import InputError
from diffsim.rigid.rigid_model import RigidModel
from diffsim.scene.scene import Scene
from diffsim.scene.validation import LARGEST_FRICTION, check_parameter
from diffsim.tools.tool_motion import ColliderMotion

LINK_FIELDS = ("mass", "center", "inertia", "gravity_compensation")
JOINT_FIELDS = ("damping", "armature", "friction_loss", "spring_stiffness", "limit_stiffness")
LEAST = 1e-9  # of what is divided by
TENDON_FIELDS = ("stiffness", "damping", "limit_stiffness")
GEOMETRY_FIELDS = ("friction", "restitution", "stiffness", "scale")


@dataclass(frozen=True)
class _Gains:
    """Of an actuator: its kind, and the columns of its inputs."""

    kind: str
    gain: int
    stiffness: int
    damping: int


@dataclass(frozen=True)
class _Place:
    """Where a parameter's value goes: it is written into these columns of a row; one for all of them if ``shared``."""

    columns: tuple[int, ...]
    low: float = -math.inf
    high: float = math.inf
    shared: bool = False


class RigidPhysics:
    """Names, defaults and rows of the parameters of a scene's rigid things.

    Names are "<link>.mass" (kg), "<link>.center" (3, m), "<link>.inertia" (6: xx, yy, zz, yz, xz, xy about the centre, in the
    link's axes, kg m^2), "<link>.gravity_compensation", "<joint>.damping" and so on, "<actuator>.gain",
    "<actuator>.actuator_damping", and for the colliding geometries of a link "<link>.friction", ".restitution", ".stiffness",
    ".scale", of shape () or, for several, (G,). A link, joint or actuator of an articulation is named "<articulation>.<its
    name>", a rigid body by its name alone; likewise "<joint equality>.offset", the value of its polynomial at 0, and
    "<tendon>.tendon_stiffness", ".tendon_damping" and ".tendon_limit_stiffness". Obstacles, tools and the ground have
    ".friction", ".restitution" and ".stiffness", one for all their parts, and obstacles of one part ".scale" too.
    """

    def __init__(self, scene: Scene, model: RigidModel, *, dtype: torch.dtype, device: str):
        self._like: dict[str, Any] = {"dtype": dtype, "device": device}
        self._model, self._gravity = model, scene.gravity
        self._layout = layout = model.layout
        self._places: dict[str, _Place] = {"gravity": _Place(tuple(layout.gravity()))}
        self._gains: dict[str, _Gains] = {}  # by the name of the gain
        bodies = {body.name for body in scene.rigid_bodies}
        begin = 0
        for name, parts in scene.fixed_geometries.items():
            numbers, begin = list(range(begin, begin + len(parts))), begin + len(parts)
            self._add_geometries(name, numbers, scaled=name != "ground" and len(parts) == 1, shared=True)
        tools = len(model.links) - model.tools
        for tool in model.links[tools:]:  # soft bodies on the grid see no scale
            self._add_geometries(tool.name, tool.geometries, scaled=False, shared=True)
        for number, link in enumerate(model.links[1:tools], start=1):
            articulation = model.articulations[link.articulation].name
            if link.link is not None and link.link.inertia is not None:
                for field in LINK_FIELDS:
                    low = 0.0 if field == "mass" else -math.inf
                    self._places[f"{link.name}.{field}"] = _Place(tuple(layout.link(number, field)), low)
            if link.kind.dofs and articulation not in bodies:
                for field in JOINT_FIELDS:
                    if field == "spring_stiffness" and not link.kind.coordinate_names:
                        continue
                    if field == "limit_stiffness" and link.joint.limits is None:
                        continue
                    self._places[f"{articulation}.{link.joint.name}.{field}"] = _Place(tuple(layout.link(number, field)), 0.0)
            self._add_geometries(link.name, link.geometries)
        for number, (index, name) in enumerate(model.actuators):
            owner = model.articulations[index]
            kind = next(each.kind for each in owner.actuators if each.name == name)
            full = f"{owner.name}.{name}"
            gains = _Gains(kind, *(layout.actuator(number, field) for field in ("gain", "stiffness", "damping")))
            self._gains[f"{full}.gain"] = gains
            self._places[f"{full}.gain"] = _Place((gains.gain,))
            if kind != "torque":
                self._places[f"{full}.actuator_damping"] = _Place((gains.damping,), 0.0)
        for number, equality in enumerate(model.constraints.equalities):
            self._places[f"{equality.name}.offset"] = _Place((layout.equality(number, "offset"),))
        for number, tendon in enumerate(model.constraints.tendons):
            for field in TENDON_FIELDS:
                if field != "limit_stiffness" or tendon.tendon.limits is not None:
                    self._places[f"{tendon.name}.tendon_{field}"] = _Place((layout.tendon(number, field),), 0.0)
        self.refresh()

    def refresh(self) -> None:
        """Defaults and rows anew, from the model as it is now."""
        row = self._model.inputs(self._gravity)
        self._row = torch.tensor(row, **self._like)
        self.defaults = {name: self._value(row, name) for name in self._places}

    def _add_geometries(self, prefix: str, numbers: list[int], *, scaled: bool = True, shared: bool = False) -> None:
        for field in GEOMETRY_FIELDS if scaled else GEOMETRY_FIELDS[:3]:
            if numbers:
                high = {"restitution": 1.0, "friction": LARGEST_FRICTION}.get(field, math.inf)
                low = LEAST if field in ("stiffness", "scale") else 0.0
                columns = tuple(self._layout.geometry(number, field) for number in numbers)
                self._places[f"{prefix}.{field}"] = _Place(columns, low, high, shared)

    def _value(self, row: np.ndarray, name: str) -> Tensor:
        value = torch.tensor(row[list(self._places[name].columns)], **self._like)
        if name.endswith(".actuator_damping"):
            gains = self._gains[name.removesuffix(".actuator_damping") + ".gain"]
            value = value - (float(row[gains.gain]) if gains.kind == "velocity" else 0.0)
        return value[0] if len(value) == 1 or self._places[name].shared else value

    def rows(
        self, num_envs: int, overrides: Mapping[str, Tensor] | None, motion: ColliderMotion | None, substeps: int
    ) -> Tensor:
        """The solver's inputs (B, ...), differentiable in the overrides and in the tools' motion over a control step of so many
        substeps. Without a motion, which only contact asks for, the tools' part is zero.

        Raises:
            InputError: an override's type, shape or value is wrong.
        """
        return self._layout.with_motion(self._overridden(num_envs, overrides or {}), motion, substeps)

    def _overridden(self, num_envs: int, overrides: Mapping[str, Tensor]) -> Tensor:
        rows = self._row.expand(num_envs, -1)
        if not overrides:
            return rows
        rows = rows.clone()
        for name, value in overrides.items():
            self._check(name, value, num_envs)
            columns = list(self._places[name].columns)
            wide = (
                value.expand((num_envs, *self.defaults[name].shape))
                .reshape(num_envs, self.defaults[name].numel())
                .expand(-1, len(columns))
            )
            if name.endswith(".actuator_damping"):
                continue
            rows[:, columns] = wide
            if name in self._gains and self._gains[name].kind == "position":
                rows[:, self._gains[name].stiffness] = wide[:, 0]
        for name, gains in self._gains.items():  # a velocity actuator resists with its gain and its damping
            damping = name.removesuffix(".gain") + ".actuator_damping"
            if damping in overrides or (name in overrides and gains.kind == "velocity"):
                own = overrides.get(damping, self.defaults.get(damping, self._row.new_zeros(()))).expand(num_envs)
                rows[:, gains.damping] = own + (rows[:, gains.gain].clone() if gains.kind == "velocity" else 0.0)
        return rows

    def _check(self, name: str, value: Tensor, num_envs: int) -> None:
        check_parameter(name, value, self.defaults[name], num_envs)
        place = self._places[name]
        if not bool(((value >= place.low) & (value <= place.high)).all()):
            allowed = f"within [{place.low:g}, {place.high:g}]"
            raise InputError(f"parameter '{name}' must be {allowed}, got {value.detach().tolist()}")
