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
from diffsim.rigid import rigid_records as m
from diffsim.rigid.rigid_model import RigidModel
from diffsim.scene.scene import Scene
from diffsim.scene.validation import check_parameter

LINK_FIELDS = {"mass": (m.MASS, 1), "center": (m.CENTER, 3), "inertia": (m.INERTIA, 6)}
JOINT_FIELDS = {
    "damping": m.DAMPING, "armature": m.ARMATURE, "friction_loss": m.FRICTION_LOSS, "spring_stiffness": m.SPRING,
    "limit_stiffness": m.LIMIT,
}  # fmt: skip
LEAST = 1e-9  # of what is divided by
GEOMETRY_FIELDS = ("friction", "restitution", "stiffness", "scale")


@dataclass(frozen=True)
class _Place:
    """Where a parameter's value goes: it is written into the columns ``at`` of a row."""

    at: tuple[int, ...]
    low: float = -math.inf
    high: float = math.inf


class RigidPhysics:
    """Names, defaults and rows of the parameters of a scene's rigid things.

    Names are "<link>.mass" (kg), "<link>.center" (3, m), "<link>.inertia" (6: xx, yy, zz, yz, xz, xy about the centre, in the
    link's axes, kg m^2), "<joint>.damping" and so on, "<actuator>.gain", "<actuator>.actuator_damping", and for the colliding
    geometries of a link "<link>.friction", ".restitution", ".stiffness", ".scale", of shape () or, for several, (G,). A link,
    joint or actuator of an articulation is named "<articulation>.<its name>", a rigid body by its name alone. Obstacles,
    tools and the ground have ".friction", ".restitution" and ".stiffness", obstacles ".scale" too.
    """

    def __init__(self, scene: Scene, model: RigidModel, *, dtype: torch.dtype, device: str):
        self._like: dict[str, Any] = {"dtype": dtype, "device": device}
        self._model, self._gravity = model, scene.gravity
        self._places: dict[str, _Place] = {"gravity": _Place((0, 1, 2))}
        self._gains: dict[str, tuple[int, str]] = {}
        bodies = {body.name for body in scene.rigid_bodies}
        geometry_at = int(3 + m.LINK_INPUTS * len(model.links) + m.ACTUATOR_INPUTS * len(model.actuators))
        for number, name in enumerate(scene.fixed_geometries):
            self._add_geometries(name, [geometry_at + m.GEOMETRY_INPUTS * number], scaled=name != "ground")
        tools = len(model.links) - model.tools
        for tool in model.links[tools:]:  # soft bodies on the grid see no scale
            self._add_geometries(tool.name, [geometry_at + m.GEOMETRY_INPUTS * n for n in tool.geometries], scaled=False)
        for number, link in enumerate(model.links[1:tools], start=1):
            articulation = model.articulations[link.articulation].name
            at = 3 + m.LINK_INPUTS * number
            if link.link is not None and link.link.inertia is not None:
                for field, (place, size) in LINK_FIELDS.items():
                    low = 0.0 if field == "mass" else -math.inf
                    self._places[f"{link.name}.{field}"] = _Place(tuple(range(at + place, at + place + size)), low)
            if link.joint.kind != "fixed" and articulation not in bodies:
                for field, place in JOINT_FIELDS.items():
                    if field == "spring_stiffness" and link.joint.kind not in ("revolute", "prismatic"):
                        continue
                    if field == "limit_stiffness" and link.joint.limits is None:
                        continue
                    self._places[f"{articulation}.{link.joint.name}.{field}"] = _Place((at + place,), 0.0)
            self._add_geometries(link.name, [geometry_at + m.GEOMETRY_INPUTS * n for n in link.geometries])
        actuator_at = 3 + m.LINK_INPUTS * len(model.links)
        for number, (index, name) in enumerate(model.actuators):
            articulation_of = model.articulations[index]
            kind = next(each.kind for each in articulation_of.actuators if each.name == name)
            at = actuator_at + m.ACTUATOR_INPUTS * number
            full = f"{articulation_of.name}.{name}"
            self._places[f"{full}.gain"] = _Place((at,))
            self._gains[f"{full}.gain"] = (at, kind)
            if kind != "torque":
                self._places[f"{full}.actuator_damping"] = _Place((at + 2,), 0.0)
        self.refresh()

    def refresh(self) -> None:
        """Defaults and rows anew, from the model as it is now."""
        row = self._model.inputs(self._gravity)
        self._row = torch.tensor(row, **self._like)
        self.defaults = {name: self._value(row, name) for name in self._places}

    def _add_geometries(self, prefix: str, places: list[int], *, scaled: bool = True) -> None:
        for n, field in enumerate(GEOMETRY_FIELDS if scaled else GEOMETRY_FIELDS[:3]):
            if places:
                high = 1.0 if field == "restitution" else math.inf
                low = LEAST if field in ("stiffness", "scale") else 0.0
                self._places[f"{prefix}.{field}"] = _Place(tuple(place + n for place in places), low, high)

    def _value(self, row: np.ndarray, name: str) -> Tensor:
        value = torch.tensor(row[list(self._places[name].at)], **self._like)
        if name.endswith(".actuator_damping"):
            gain_at, kind = self._gains[name.removesuffix(".actuator_damping") + ".gain"]
            value = value - (float(row[gain_at]) if kind == "velocity" else 0.0)
        return value[0] if len(value) == 1 else value

    def rows(self, num_envs: int, overrides: Mapping[str, Tensor] | None) -> Tensor:
        """The solver's inputs (B, ...), differentiable in the overrides.

        Raises:
            InputError: an override's type, shape or value is wrong.
        """
        rows = self._row.expand(num_envs, -1)
        if not overrides:
            return rows
        rows = rows.clone()
        for name, value in overrides.items():
            self._check(name, value, num_envs)
            place = self._places[name].at
            wide = value.expand((num_envs, *self.defaults[name].shape)).reshape(num_envs, len(place))
            if name.endswith(".actuator_damping"):
                continue
            rows[:, list(place)] = wide
            if name in self._gains and self._gains[name][1] == "position":
                rows[:, place[0] + 1] = wide[:, 0]
        for name, (at, kind) in self._gains.items():  # a velocity actuator resists with its gain and its damping
            damping = name.removesuffix(".gain") + ".actuator_damping"
            if damping in overrides or (name in overrides and kind == "velocity"):
                own = overrides.get(damping, self.defaults.get(damping, self._row.new_zeros(()))).expand(num_envs)
                rows[:, at + 2] = own + (rows[:, at].clone() if kind == "velocity" else 0.0)
        return rows

    def _check(self, name: str, value: Tensor, num_envs: int) -> None:
        check_parameter(name, value, self.defaults[name], num_envs)
        place = self._places[name]
        if not bool(((value >= place.low) & (value <= place.high)).all()):
            allowed = f"within [{place.low:g}, {place.high:g}]"
            raise InputError(f"parameter '{name}' must be {allowed}, got {value.detach().tolist()}")
