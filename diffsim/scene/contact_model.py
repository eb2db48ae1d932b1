"""Contact of the things of a scene."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass

from diffsim.errors import InputError
from diffsim.scene.validation import choice, number

IMPACTS = ("auto", "smooth", "event")
LEAST_WEIGHT = 0.1  # of contact that fades by exp(-grid_decay d): below it there is none


@dataclass(frozen=True)
class ContactModel:
    """The scene's contact (docs/rigid.md).

    By default contact is *implicit*: hardly any body sinks in or hovers, friction sticks, and nothing is unstable, whatever the
    masses, the sizes and dt. Gradients know of a contact only while it lasts. *Compliant* contact sets in smoothly over a
    length, so that gradients see it coming; choose it by ``smoothing`` or ``impact="smooth"``.

    Args:
        stiffness: of a contact point, N/m, where a geometry declares none. None: from the bodies' masses and dt.
        smoothing: length d over which compliant contact sets in, metres: at least about (impact speed) times (substep), or
            gradients through impacts turn to noise. None: contact is implicit, or with ``impact="smooth"`` d follows from dt.
        slip_speed: speed eps below which friction fades, m/s: bodies at rest creep by no more than a few of it.
        restitution_speed: implicit: slower impacts do not rebound. Compliant: speed s over which the force changes from that of
            approach to that of separation: above the change of speed in a substep of an impact, or the gradients of bounces
            turn to noise; an impact well above it has the restitution e. m/s.
        impact: "event": free bodies that hit fixed geometry or each other faster than ``event_speed`` rebound in an instant,
            at the exact time of the impact, with Newton's restitution and Coulomb's friction; slower contact, and that of
            links on joints, is implicit. "smooth": all contact is compliant. "auto": "smooth" if ``smoothing`` is given;
            otherwise impacts of pairs that declare a restitution are events.
        event_speed: speed of approach above which impacts are events, m/s; at least gravity times dt / 2.
        grid_decay: of soft bodies with tools and obstacles on their grid: at a distance d outside a surface contact has the
            weight exp(-grid_decay d), as far as that is above 0.1, and 1 within: the "softness" of PlasticineLab (Huang et al.
            2021), 1/m. None: a smooth step over a layer of one cell about the surface.

    Raises:
        InputError: a value is out of range, or ``smoothing`` is given for events.
    """

    _: KW_ONLY
    stiffness: float | None = None
    smoothing: float | None = None
    slip_speed: float = 2e-6
    restitution_speed: float = 0.1
    impact: str = "auto"
    event_speed: float = 0.05
    grid_decay: float | None = None

    def __post_init__(self) -> None:
        choice("ContactModel", "impact", self.impact, IMPACTS)
        for name in ("stiffness", "smoothing", "slip_speed", "restitution_speed", "event_speed", "grid_decay"):
            value = getattr(self, name)
            if value is not None or name not in ("stiffness", "smoothing", "grid_decay"):
                object.__setattr__(self, name, number("ContactModel", name, value, 1e-12))
        if self.impact == "event" and self.smoothing is not None:
            raise InputError(
                f"ContactModel: smoothing is a length of compliant contact, and with impact='event' contact is implicit; got "
                f"{self.smoothing:g}: leave it out, or use impact='smooth'"
            )

    @property
    def compliant(self) -> bool:
        """Whether contact sets in over a length."""
        return self.impact == "smooth" or self.smoothing is not None

    def grid_layer(self, grid_spacing: float) -> float:
        """Distance from a surface, m, at which nodes of the soft bodies' grid begin to touch it."""
        return 0.5 * grid_spacing if self.grid_decay is None else -math.log(LEAST_WEIGHT) / self.grid_decay
