"""Muscles: particles of soft bodies whose stress the action drives. Plain frozen records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

import numpy as np

from diffsim.errors import InputError
from diffsim.scene.bodies import SoftBody
from diffsim.scene.particle_choice import Choice, checked_choice, chosen_particles
from diffsim.scene.rotations import Quaternion
from diffsim.scene.validation import checked_name, number, unit, vector

Vector3 = tuple[float, float, float]


@dataclass(frozen=True)
class Muscle:
    """Particles of a soft body that contract as the action says.

    To the Kirchhoff stress of its particles a muscle adds activation * strength * (F m)(F m)^T, m the direction of its fibres
    at rest; without a direction activation * strength * J 1, J = det F, which contracts alike in every direction. The
    activation is the muscle's entry of the action, after those of the attachments: any number, positive to contract,
    negative to lengthen (docs/muscles.md).

    Args:
        name: unique in the scene; "<name>.strength" is a parameter of the simulator.
        body: the soft body's name; its material is a solid that keeps its shape.
        direction: of the fibres in the world at reset, a unit vector; None: alike in every direction.
        strength: stress at an activation of 1, Pa.
        where: the particles, as of `Attachment`: a shape at ``position`` with ``rotation``, a function, a mask or numbers;
            None: all of the body's. A particle belongs to one muscle at most.
        position, rotation: of the shape, metres and a unit quaternion (w, x, y, z).

    Raises:
        InputError: a field is wrong.
    """

    name: str
    body: str
    direction: Vector3 | None = None
    _: KW_ONLY
    strength: float
    where: Choice | None = None
    position: Vector3 = (0.0, 0.0, 0.0)
    rotation: Quaternion = (1.0, 0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        checked_name("Muscle", self.name, dots=False)
        owner = f"Muscle '{self.name}'"
        if not isinstance(self.body, str):
            raise InputError(f"{owner}: body must be a name, got {self.body!r}")
        if self.direction is not None:
            object.__setattr__(self, "direction", unit(owner, "direction", self.direction, 3))
        object.__setattr__(self, "strength", number(owner, "strength", self.strength, 0.0))
        if self.where is not None:
            object.__setattr__(self, "where", checked_choice(owner, self.where))
        object.__setattr__(self, "position", vector(owner, "position", self.position))
        object.__setattr__(self, "rotation", unit(owner, "rotation", self.rotation, 4))

    def chosen(self, body: SoftBody) -> np.ndarray:
        """Numbers of the particles within their body, ascending (P,).

        Raises:
            InputError: there are none, or ``where`` does not fit the body.
        """
        if self.where is None:
            return np.arange(len(body.rest_particles))
        return chosen_particles(f"Muscle '{self.name}'", body, self.where, self.position, self.rotation)


def particle_muscles(muscles: Sequence[Muscle], bodies: Sequence[SoftBody]) -> np.ndarray:
    """The number of the muscle of every particle of the scene, -1 of those without one, (N,).

    Raises:
        InputError: there is no such body, its material does not keep a shape, no particle is chosen, or one by two muscles.
    """
    by_name = {body.name: body for body in bodies}
    ends = np.cumsum([len(body.rest_particles) for body in bodies])
    firsts = {body.name: int(end) - len(body.rest_particles) for body, end in zip(bodies, ends, strict=True)}
    owners = np.full(int(ends[-1]) if len(ends) else 0, -1)
    for place, muscle in enumerate(muscles):
        owner = f"Muscle '{muscle.name}'"
        if muscle.body not in by_name:
            known = ", ".join(by_name) or "none"
            raise InputError(f"{owner}: body must be a soft body of the scene, got '{muscle.body}'; soft bodies: {known}")
        material = by_name[muscle.body].material
        if material.SHAPELESS:
            raise InputError(f"{owner}: body must be of a solid that keeps its shape, and '{muscle.body}' is of {material!r}")
        chosen = firsts[muscle.body] + muscle.chosen(by_name[muscle.body])
        taken = owners[chosen]
        if (taken >= 0).any():
            other = muscles[int(taken[taken >= 0][0])].name
            raise InputError(
                f"{owner}: where must choose particles of no other muscle, got {int((taken >= 0).sum())} that belong to one, "
                f"the first to '{other}'"
            )
        owners[chosen] = place
    return owners
