"""Contact of the rigid things of a scene."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from diffsim.errors import InputError
from diffsim.scene.validation import number

IMPACTS = ("smooth", "event")


@dataclass(frozen=True)
class ContactModel:
    """The scene's contact (docs/rigid.md).

    Args:
        stiffness: of a contact point, N/m, where a geometry declares none.
        smoothing: length d over which a contact sets in, metres: at least about (impact speed) times (substep), or
            gradients through impacts turn to noise.
        slip_speed: speed eps below which friction fades, m/s.
        restitution_speed: speed s over which the force changes from that of approach to that of separation, m/s: above
            the change of speed in a substep of an impact, or the gradients of bounces turn to noise; an impact well above it
            has the restitution e.
        impact: "smooth": all contact is compliant. "event": free bodies that hit fixed geometry or each other faster than
            ``event_speed`` rebound in an instant, at the exact time of the impact, with Newton's restitution and Coulomb's
            friction; slower contact, and that of links on joints, stays compliant, and free bodies sink in by up to 20
            smoothing lengths before it carries them (docs/rigid.md, "Event mode").
        event_speed: speed of approach above which impacts are events, m/s; at least gravity times dt / 2.
    """

    _: KW_ONLY
    stiffness: float = 1e4
    smoothing: float = 1e-3
    slip_speed: float = 1e-2
    restitution_speed: float = 0.1
    impact: str = "smooth"
    event_speed: float = 0.05

    def __post_init__(self) -> None:
        if self.impact not in IMPACTS:
            raise InputError(f"ContactModel: impact must be one of {', '.join(IMPACTS)}, got {self.impact!r}")
        for name in ("stiffness", "smoothing", "slip_speed", "restitution_speed", "event_speed"):
            object.__setattr__(self, name, number("ContactModel", name, getattr(self, name), 1e-12))
