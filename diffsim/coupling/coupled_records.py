"""Memory of the coupling: what it stores for each particle, in flat arrays in addition to those of the two solvers.

contacts      for each substep: the shares of all particles (N), their own parts of the response (N), then their impulses (3 N)
              after each sweep
contact_bars  scratch of a lane: `ContactBars` of all particles, then `MotionBars` of all particles
grips         `Grip` of each soft body
"""

from __future__ import annotations

from diffsim.records import Record, field

SWEEPS = 4  # of the impulses in a substep
CONTACT = 2 + 3 * SWEEPS  # numbers of a particle in a substep's contacts


class ContactBars(Record):
    """Adjoints of a particle's contact."""

    impulse = field(3, "1/(N s)", "of the impulse after a sweep")
    response = field(1, "kg", "of the response")


class MotionBars(Record):
    """Adjoint of the velocity that a sweep gathered for a particle, a vector of four."""

    velocity = field(3, "s/m", "of the gathered velocity")
    zero = field(1, "1", "0")


class Grip(Record):
    """A soft body's particles in contact."""

    stiffness = field(1, "N/m", "of a particle's contact")
    radius = field(1, "m", "of a particle")
