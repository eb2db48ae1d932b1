"""Contact smoothing that is annealed over an optimisation."""

from __future__ import annotations

from dataclasses import dataclass

from diffsim.errors import InputError
from diffsim.scene.contact_model import ContactModel


@dataclass(frozen=True)
class SmoothingSchedule:
    """Contact that goes geometrically from coarse to fine over the iterations of an optimisation.

    Coarse contact (soft, smoothed over a large length and speed) has gradients that say something about a whole
    neighbourhood; fine contact is the physics that is wanted. Before the end ``impact`` is that of ``coarse``::

        coarse = ContactModel(stiffness=1e3, smoothing=1e-2, slip_speed=0.1, restitution_speed=0.5)
        schedule = SmoothingSchedule(coarse, scene.contact, iterations=100)
        for iteration in range(120):
            simulator.contact = schedule.at(iteration)

    Args:
        coarse: at the first iteration.
        fine: at iteration ``iterations`` and after.
        iterations: from the one to the other, positive.

    Raises:
        InputError: an argument is wrong, or a contact model leaves its stiffness or smoothing open.
    """

    coarse: ContactModel
    fine: ContactModel
    iterations: int

    def __post_init__(self) -> None:
        for name in ("coarse", "fine"):
            if not isinstance(getattr(self, name), ContactModel):
                raise InputError(f"SmoothingSchedule: {name} must be a diffsim.ContactModel, got {getattr(self, name)!r}")
            if None in (getattr(self, name).stiffness, getattr(self, name).smoothing):
                raise InputError(f"SmoothingSchedule: {name} must have a stiffness and a smoothing, got {getattr(self, name)!r}")
        if not isinstance(self.iterations, int) or self.iterations < 1:
            raise InputError(f"SmoothingSchedule: iterations must be a positive integer, got {self.iterations!r}")

    def at(self, iteration: int) -> ContactModel:
        """The contact model of an iteration, from 0; before the first it is ``coarse``, after the last ``fine``."""
        if iteration <= 0:
            return self.coarse
        if iteration >= self.iterations:
            return self.fine
        share = iteration / self.iterations

        def between(name: str) -> float:
            first, last = getattr(self.coarse, name), getattr(self.fine, name)
            return float(first ** (1.0 - share) * last**share)

        names = ("stiffness", "smoothing", "slip_speed", "restitution_speed", "event_speed")
        return ContactModel(**{name: between(name) for name in names}, impact=self.coarse.impact)
