"""Which integrator advances the rigid things, and what of it the kernels are compiled for (docs/rigid.md)."""

from __future__ import annotations

from typing import NamedTuple

INTEGRATORS = ("midpoint", "euler")


class TimeStepping(NamedTuple):
    """How a substep is made.

    Attributes:
        polarised: velocity-dependent inertial forces are c(v, v+), linear in the new velocities, instead of c(v, v).
        middle: forces act at the coordinates in the middle of the substep, instead of at its start.
        event: fast impacts are events.
        recording: contact wrenches are recorded.
    """

    polarised: bool
    middle: bool
    event: bool
    recording: bool

    @classmethod
    def of(cls, integrator: str, *, event: bool, recording: bool = False) -> TimeStepping:
        """Of one of INTEGRATORS. Events divide a substep at the times of impacts, along paths that begin with it."""
        polarised = integrator == "midpoint"
        return cls(polarised=polarised, middle=polarised and not event, event=event, recording=recording)
