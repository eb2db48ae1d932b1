"""Attachments: particles of soft bodies that are held by the world, a tool or a link. Plain frozen records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

import numpy as np

from diffsim.errors import InputError
from diffsim.scene.bodies import SoftBody
from diffsim.scene.particle_choice import Choice, checked_choice, chosen_particles
from diffsim.scene.rotations import Quaternion
from diffsim.scene.validation import checked_name, flag, number, unit, vector

Vector3 = tuple[float, float, float]


@dataclass(frozen=True)
class Attachment:
    """Particles of a soft body that move with something else: a rope's end, a cloth's edge, a cube in a suction cup.

    Each chosen particle is held where it stands at reset, in the frame of what holds it; a link is pulled at in turn.
    A particle that is carried more than a grid cell away from there is let go.

    Args:
        name: unique among the attachments.
        body: the soft body's name.
        to: "world", or the name of a tool, of a rigid body or of a link ("<articulation>.<link>").
        where: the particles: those within a shape, which stands in the world at ``position`` with ``rotation``; or those that a
            function of the body's particles in the world at reset (N, 3) chooses, (N,) of bool; or such a mask; or their
            numbers within the body.
        position, rotation: of the shape, metres and a unit quaternion (w, x, y, z).
        release_time: seconds since ``reset`` (`State.time_step`) after which nothing is held; None: never.
        controlled: whether the action has an entry for it, after those of the tools and actuators: the strength of the grip,
            1 to hold and 0 to let go, held within [0, 1] (docs/attachments.md).

    Raises:
        InputError: a field is wrong.
    """

    name: str
    body: str
    to: str = "world"
    _: KW_ONLY
    where: Choice
    position: Vector3 = (0.0, 0.0, 0.0)
    rotation: Quaternion = (1.0, 0.0, 0.0, 0.0)
    release_time: float | None = None
    controlled: bool = False

    def __post_init__(self) -> None:
        checked_name("Attachment", self.name, dots=False)
        owner = f"Attachment '{self.name}'"
        for field in ("body", "to"):
            if not isinstance(getattr(self, field), str):
                raise InputError(f"{owner}: {field} must be a name, got {getattr(self, field)!r}")
        object.__setattr__(self, "position", vector(owner, "position", self.position))
        object.__setattr__(self, "rotation", unit(owner, "rotation", self.rotation, 4))
        object.__setattr__(self, "where", checked_choice(owner, self.where))
        if self.release_time is not None:
            object.__setattr__(self, "release_time", number(owner, "release_time", self.release_time, 0.0))
        object.__setattr__(self, "controlled", flag(owner, "controlled", self.controlled))

    def chosen(self, body: SoftBody) -> np.ndarray:
        """Numbers of the particles within their body, ascending (P,).

        Raises:
            InputError: there are none, or ``where`` does not fit the body.
        """
        return chosen_particles(f"Attachment '{self.name}'", body, self.where, self.position, self.rotation)


def check_attachments(
    attachments: Sequence[Attachment], bodies: Sequence[SoftBody], tools: Sequence[str], links: Sequence[str]
) -> None:
    """That attachments fit the things of their scene, given by name.

    Raises:
        InputError: two have the same name, there is no such body or nothing of that name to be held by, no particle is chosen.
    """
    names = [attachment.name for attachment in attachments]
    by_name = {body.name: body for body in bodies}
    holders = ("world", *tools, *links)
    for attachment in attachments:
        owner = f"Attachment '{attachment.name}'"
        if names.count(attachment.name) > 1:
            raise InputError(f"Scene: the attachment '{attachment.name}' is there {names.count(attachment.name)} times")
        if attachment.body not in by_name:
            known = ", ".join(by_name) or "none"
            raise InputError(f"{owner}: body must be a soft body of the scene, got '{attachment.body}'; soft bodies: {known}")
        if attachment.to not in holders:
            raise InputError(f"{owner}: to must be one of {', '.join(holders)}, got '{attachment.to}'")
        attachment.chosen(by_name[attachment.body])
