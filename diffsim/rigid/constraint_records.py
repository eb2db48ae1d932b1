"""The rows of constraints and tendons in the rigid kernels' arrays (`rigid_records` says which array is which)."""

from __future__ import annotations

from diffsim.records import Record, field

# integers: rows


class EqualityIndices(Record):
    """Of an equality: the length y is a polynomial of the length x."""

    first_term = field(meaning="of y")
    first_leader_term = field(meaning="of x, one past the last of y")
    end_term = field(meaning="one past the last of x")


class ClosureIndices(Record):
    """Of a closed loop."""

    link = field()
    other = field(meaning="the other link, 0: the world")
    first_row = field(meaning="its equations among those of all constraints")
    turns = field(meaning="1 if the relative rotation is held, too: six equations instead of three")


class TendonIndices(Record):
    """Of a tendon."""

    first_term = field()
    end_term = field(meaning="one past its last term")


# reals: rows


class EqualityConstants(Record):
    """Of an equality."""

    slopes = field(4, "as y / x^n", "the polynomial's coefficients from the linear one on")
    compliance = field(1, "m/(N s) or rad/(N m s)", "rate by which the equation is missed for a unit of force")


class ClosureConstants(Record):
    """Of a closed loop."""

    point = field(3, "m", "in the link's frame")
    other_point = field(3, "m", "in the other link's frame")
    rotation = field(9, "1", "that is held: of the link's frame in the other one's, by rows")
    compliance = field(1, "m/(N s)", "rate by which an equation is missed for a unit of force")
    turn_compliance = field(1, "rad/(N m s)", "likewise, of the relative rotation")


class TendonConstants(Record):
    """Of a tendon."""

    low = field(1, "m or rad", "limit of the length")
    high = field(1, "m or rad", "limit of the length")
    limit_smoothing = field(1, "m or rad", "length over which a limit sets in")
    rest_low = field(1, "m or rad", "between this length ...")
    rest_high = field(1, "m or rad", "... and this one the spring exerts nothing")


# inputs: rows


class EqualityInputs(Record):
    """Of an equality."""

    offset = field(1, "m or rad", "the polynomial's value at x = 0")


class TendonInputs(Record):
    """Of a tendon."""

    stiffness = field(1, "N/m or N m/rad")
    damping = field(1, "N s/m or N m s")
    limit_stiffness = field(1, "N/m or N m/rad")


# unknowns: rows


class ClosureForces(Record):
    """Of a closed loop, in the world's frame; without the torque where the relative rotation is free."""

    force = field(3, "N", "on the link, at its point")
    torque = field(3, "N m", "on the link")
