"""What the coupling keeps of each particle, in flat arrays beside those of the two solvers.

contacts      for each substep the sections of `ContactSections`, each over all particles
contact_bars  scratch of a lane: an `ImpulseBar` for each particle, then a `MotionBar` for each
grips         a `Grip` for each soft body
"""

from __future__ import annotations

from diffsim.records import Record, field

SWEEPS = 4  # of the impulses in a substep


class ContactSections(Record):
    """Of a substep: a field is so many numbers a particle, and stands before the next one for all particles."""

    share = field(1, "1", "how much of a particle touches anything")
    own_part = field(1, "1", "of the particle's response to its impulse: that of itself, not of the crowd")
    impulses = field(3 * SWEEPS, "N s", "after each sweep, in the order of the sweeps")


class ImpulseBar(Record):
    """Adjoints of a particle's impulse and response."""

    impulse = field(3)
    response = field()


class MotionBar(Record):
    """Adjoint of the velocity that a sweep gathered."""

    velocity = field(3)
    unused = field()


CONTACT_BARS = ImpulseBar.SIZE + MotionBar.SIZE  # a particle


class Grip(Record):
    """Of a soft body."""

    stiffness = field(1, "N/m", "of a particle's contact")
    radius = field(1, "m", "of a particle")
