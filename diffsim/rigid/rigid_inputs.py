"""The solver's row of differentiable inputs: where things stand in it, its values as declared, and the tools' motion at its
end."""

from __future__ import annotations

import numpy as np
from torch import Tensor, cat
from torch.nn.functional import pad

from diffsim.records import Record
from diffsim.rigid.constraint_records import EqualityInputs, TendonInputs
from diffsim.rigid.rigid_records import ActuatorInputs, GeometryInputs, LinkInputs, ToolPose, ToolTwist, WorldInputs
from diffsim.scene.articulation import Actuator, Geometry, Joint, Link
from diffsim.scene.rotations import rotation_matrix
from diffsim.tools.tool_motion import ColliderMotion


class InputLayout:
    """Sections of a row of inputs, for so many links (the world and the tools included), actuators, geometries, equalities,
    tendons and tools.

    Attributes:
        links, actuators, geometries, equalities, tendons, tools: where the sections begin.
    """

    def __init__(self, links: int, actuators: int, geometries: int, equalities: int, tendons: int, tools: int):
        self.links = WorldInputs.SIZE
        self.actuators = self.links + LinkInputs.SIZE * links
        self.geometries = self.actuators + ActuatorInputs.SIZE * actuators
        self.equalities = self.geometries + GeometryInputs.SIZE * geometries
        self.tendons = self.equalities + EqualityInputs.SIZE * equalities
        self.tools = self.tendons + TendonInputs.SIZE * tendons
        self._tool_count = tools

    def length(self, substeps: int) -> int:
        """Of a row, with the tools' motion in so many substeps."""
        return self.tools + self._tool_count * (ToolTwist.SIZE + ToolPose.SIZE * substeps)

    def gravity(self) -> range:
        """Columns of the gravity."""
        return WorldInputs.columns("gravity")

    def link(self, number: int, name: str) -> range:
        """Columns of a field of `LinkInputs`."""
        return _columns(LinkInputs, self.links, number, name)

    def actuator(self, number: int, name: str) -> int:
        """Column of a field of `ActuatorInputs`."""
        return _columns(ActuatorInputs, self.actuators, number, name).start

    def geometry(self, number: int, name: str) -> int:
        """Column of a field of `GeometryInputs`."""
        return _columns(GeometryInputs, self.geometries, number, name).start

    def equality(self, number: int, name: str) -> int:
        """Column of a field of `EqualityInputs`."""
        return _columns(EqualityInputs, self.equalities, number, name).start

    def tendon(self, number: int, name: str) -> int:
        """Column of a field of `TendonInputs`."""
        return _columns(TendonInputs, self.tendons, number, name).start

    def with_motion(self, rows: Tensor, motion: ColliderMotion | None, substeps: int) -> Tensor:
        """Whole rows (B, length), from those without the tools' motion; without a motion that part is zero."""
        tools = self._tool_count
        if not tools:
            return rows
        if motion is None:
            return pad(rows, (0, self.length(substeps) - self.tools))
        return cat([rows, motion.twist[:, :tools].flatten(1), motion.pose[:, :, :tools].flatten(1)], dim=1)


def _columns(record: type[Record], section: int, number: int, name: str) -> range:
    own = record.columns(name)
    begin = section + record.SIZE * number
    return range(begin + own.start, begin + own.stop)


def link_row(link: Link | None, joint: Joint, limit_stiffness: float) -> list[float]:
    """`LinkInputs` as declared."""
    inertia = link.inertia if link else None
    body = {}
    if inertia is not None:
        axes = rotation_matrix(inertia.rotation)
        I = axes @ np.diag(inertia.moments) @ axes.T
        entries = (I[0, 0], I[1, 1], I[2, 2], I[1, 2], I[0, 2], I[0, 1])
        body = {"mass": inertia.mass, "center": inertia.center, "inertia": entries}
    carried = link.gravity_compensation if link else 0.0
    return LinkInputs.row(
        **body, damping=joint.damping, armature=joint.armature, friction_loss=joint.friction_loss,
        spring_stiffness=joint.spring_stiffness, limit_stiffness=limit_stiffness,
        gravity_compensation=carried,
    )  # fmt: skip


def actuator_row(actuator: Actuator) -> list[float]:
    """`ActuatorInputs` as declared."""
    position, velocity = actuator.kind == "position", actuator.kind == "velocity"
    damping = 0.0 if actuator.kind == "torque" else actuator.damping
    return ActuatorInputs.row(
        gain=actuator.gain, stiffness=actuator.gain * position, damping=damping + actuator.gain * velocity
    )


def geometry_row(geometry: Geometry, stiffness: float) -> list[float]:
    """`GeometryInputs` as declared, with the stiffness of a contact point."""
    return GeometryInputs.row(
        friction=geometry.friction, restitution=geometry.restitution,
        stiffness=stiffness, scale=1.0,
    )  # fmt: skip
