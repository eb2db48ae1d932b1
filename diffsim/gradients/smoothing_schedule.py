"""Contact smoothing that is annealed over an optimisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from diffsim.errors import InputError
from diffsim.scene.contact_model import ContactModel
from diffsim.scene.validation import check_count, number


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
        InputError: an argument is wrong, or only one contact model gives a stiffness or a smoothing.
    """

    coarse: ContactModel
    fine: ContactModel
    iterations: int

    def __post_init__(self) -> None:
        for name in ("coarse", "fine"):
            if not isinstance(getattr(self, name), ContactModel):
                raise InputError(f"SmoothingSchedule: {name} must be a diffsim.ContactModel, got {getattr(self, name)!r}")
        for name in ("stiffness", "smoothing"):
            if (getattr(self.coarse, name) is None) != (getattr(self.fine, name) is None):
                raise InputError(
                    f"SmoothingSchedule: coarse and fine must both give a {name}, or both leave it open, got "
                    f"{getattr(self.coarse, name)} and {getattr(self.fine, name)}"
                )
        check_count("SmoothingSchedule: iterations", self.iterations, 1)

    def at(self, iteration: int) -> ContactModel:
        """The contact model of an iteration, from 0; before the first it is ``coarse``, after the last ``fine``."""
        number("SmoothingSchedule", "iteration", iteration)
        if iteration <= 0:
            return self.coarse
        if iteration >= self.iterations:
            return self.fine
        share = iteration / self.iterations

        def between(name: str) -> float | None:
            first, last = getattr(self.coarse, name), getattr(self.fine, name)
            return None if first is None else float(first ** (1.0 - share) * last**share)

        names = ("stiffness", "smoothing", "slip_speed", "restitution_speed", "event_speed")
        values: dict[str, Any] = {name: between(name) for name in names}
        return ContactModel(**values, impact=self.coarse.impact)
