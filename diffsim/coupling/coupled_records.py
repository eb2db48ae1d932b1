"""Memory of the coupling, in flat arrays in addition to those of the two solvers.

lists     integers; for each substep: `ListHeader`, then a `Listed` of each contact
impulses  for each substep, of each contact: a `Swept` for each sweep
work      scratch of a lane: `ContactWork` of each contact
crowds    scratch of a lane: the crowd of each node; zero between substeps
shells    `Shell` of each soft body
"""

from __future__ import annotations

from diffsim.records import Record, field

# Of the sweeps of the impulses in a substep: how far beyond Jacobi's each goes (dyadic numbers). A Jacobi sweep removes the
# share r of an error, 0 < r <= 1; with these, (1 - r) (1 - 1.5 r)^2 of it is left, as after four plain sweeps at r = .2. The
# first balances a uniform load, r = 1, exactly. Longer steps (3.5, 1.375) left less of it, but friction crept: .5 mm in 6 s
# where a cube is held by whole faces, for .004 mm.
RELAXATION = (1.0, 1.5, 1.5)
SWEEPS = len(RELAXATION)


class ListHeader(Record):
    """Of a list of contacts, integers."""

    count = field(meaning="contacts in the list")


class Listed(Record):
    """A contact of a particle with a geometry, integers. Those of a tile stand together, tile after tile."""

    particle = field()
    body = field(meaning="the particle's soft body")
    geometry = field()
    node = field(meaning="the first of the particle's nodes, within the box")


class Swept(Record):
    """A contact after a sweep."""

    impulse = field(3, "N s")
    slip = field(1, "m/s", "left after it")


SWEPT = Swept.SIZE * SWEEPS  # numbers of a contact in a substep's impulses


class ContactWork(Record):
    """A contact within a substep; from ``slopes_x`` on, what only the adjoint needs."""

    position = field(3, "m", "of the particle")
    weights_x = field(3, "1", "of the particle's nodes along x")
    weights_y = field(3, "1", "along y")
    weights_z = field(3, "1", "along z")
    normal = field(3, "1", "of the surface")
    gap = field(1, "m", "from the particle's shell to the surface")
    arm = field(3, "m", "from the link's origin to the particle")
    surface_velocity = field(3, "m/s", "of the link at the particle")
    friction = field(1, "1", "of the geometry")
    share = field(1, "1", "of the contact in its nodes' crowds")
    response = field(1, "1/kg", "change of the particle's velocity by an impulse")
    slopes_x = field(3, "1/m", "of the weights")
    slopes_y = field(3, "1/m")
    slopes_z = field(3, "1/m")
    local = field(3, "m", "the particle in the geometry's frame")
    gradient = field(3, "1", "of the distance there")
    hessian = field(9, "1/m", "of the distance there, by rows")
    pressed = field(1, "1", "1 if it has an impulse after any sweep")
    velocity_bar = field(3, "s/m", "adjoint of the velocity that a sweep gathered")
    impulse_bar = field(3, "1/(N s)", "adjoints of the impulse after a sweep")
    response_bar = field(1, "kg", "and of the others by name")
    position_bar = field(3, "1/m")
    normal_bar = field(3, "1")
    gap_bar = field(1, "1/m")
    arm_bar = field(3, "1/m")
    surface_velocity_bar = field(3, "s/m")
    friction_bar = field(1, "1")
    share_bar = field(1, "1")


class Shell(Record):
    """A soft body's particles in contact: the outer half of a particle is the spring between its centre and its surface."""

    stiffness = field(1, "N/m", "of a particle's contact")
    delay = field(1, "s", "damping over stiffness")
    radius = field(1, "m", "the material's CONTACT_RADIUS times the particles' spacing")
