"""How the memory that the soft bodies' host code and kernels share is laid out. All arrays are flat and contiguous.

records     `ParticleRecord` of every particle, in vectors of four: what goes into a control step and what comes out
tape        within a control step: a row holds the tiles of all particles, a tile `Component.SIZE` vectors of one entry a
            particle: component c of tile n in row r is tape[(r * tiles + n) * Component.SIZE + c]
frames      a `Frame` of such vectors for each tile
boxes       a `Box` per substep: the nodes that the particles touch
grid        nodes of a box, in its own row-major order, from an offset on, in `grid_layers` layers
inputs      what drives a control step, a row for each environment: `WorldInputs`; `BodyInputs` of each body; each collider's
            friction; `ColliderTwist` of each collider; `ColliderPose` of each collider for each substep; the strength of each
            attachment for each substep; the tension of each muscle. Where the parts begin says `InputLayout`. Where impulses
            are recorded, there stands behind those of all environments a row of sums for each of their parts, or of the sums'
            adjoints for each environment: an `ImpulseSum` of each collider, the ground, the walls, and in scenes with rigid
            bodies each geometry
inputs_bar  adjoints, in rows like those of the inputs
constants   reals: `Constants`, then `ColliderShape` of each collider, then `PinConstants` of each pinned particle, then,
            where there are muscles, `Fibre` of each particle
sizes       integers: `Sizes`, then `Tile` of each tile, then `Pin` of each pinned particle, then, where there are muscles,
            the number of each particle's muscle, or -1
velocity    nodes of a box as the particles gather them; behind all boxes, the impulse of each pinned particle, N s (a vector)
status      `Status` of each environment

Taichi takes 20 us to pass an array to a kernel, hence few arrays with many parts.
"""

from __future__ import annotations

from typing import NamedTuple

from diffsim.records import Record, field


class ParticleRecord(Record):
    """A particle between control steps. It fills whole vectors of four."""

    x = field(3, "m", "position")
    v = field(3, "m/s", "velocity")
    C = field(9, "1/s", "affine velocity field, by rows")
    gap = field(1, "1", "0")
    F = field(9, "1", "deformation gradient, by rows")
    internal = field(1, "1", "the law's internal variable")
    end = field(2, "1", "0")


VECTORS = ParticleRecord.SIZE // 4  # of four numbers, in a particle's record


class Component(Record):
    """What the tape holds of a particle."""

    x = field(3, "m", "position")
    v = field(3, "m/s", "velocity")
    C = field(9, "1/s", "affine velocity field, by rows")
    F = field(9, "1", "deformation gradient in its frame, G = F R, by rows")
    internal = field(1, "1", "the law's internal variable")
    stress = field(3, "Pa", "principal elastic Kirchhoff stresses that belong to F")


# from a place in a particle's record to its component on the tape
ON_TAPE = {
    place: component
    for name in ("x", "v", "C", "F", "internal")
    for place, component in zip(ParticleRecord.columns(name), Component.columns(name), strict=True)
}
# particles of a tile, by schedule
LANE_WIDTH, SHARED_WIDTH = 16, 1


class Frame(Record):
    """What a particle carries from substep to substep beside the tape."""

    rotation = field(9, "1", "R of `constitutive.py`, by rows")
    F = field(9, "1", "deformation gradient in the world, by rows; in f32 alone")


class Box(Record):
    """Grid nodes in a box, integers."""

    low = field(3, "cells", "low corner")
    high = field(3, "cells", "high corner, exclusive")


def grid_layers(flowing: bool) -> int:
    """Layers of nodes in a box: momentum and mass of all bodies, and, where bodies flow, of those before any force."""
    return 2 if flowing else 1


class Constants(Record):
    """Reals that a scene fixes."""

    dt = field(1, "s", "length of a substep")
    dx = field(1, "m", "grid spacing")
    origin = field(3, "m", "of node (0, 0, 0)")
    lower = field(3, "m", "nodes at or below are on the domain's low walls")
    upper = field(3, "m", "nodes at or above are on its high walls")
    ground = field(1, "m", "nodes at or below are on the ground")
    layer = field(1, "m", "distance from a collider's surface at which contact begins")
    decay = field(1, "1/m", "rate at which it fades outside the surface; 0: a smooth step from -layer to layer")


class ColliderShape(Record):
    """A collider: a rounded box, or a torus."""

    core = field(3, "m", "half extents of the box before rounding")
    circle = field(1, "m", "radius of a torus's centre circle; 0: a box")
    radius = field(1, "m", "of the rounding, or of a torus's tube")
    reach = field(1, "m", "radius of the bounding sphere")


class Sizes(Record):
    """Integers that a scene fixes."""

    particles = field(1, "1", "in an environment")
    substeps = field(1, "1", "of a control step")
    colliders = field(1, "1", "tools and obstacles")
    counts = field(3, "1", "nodes along the axes")
    inputs = field(1, "1", "length of a row of inputs")
    frictions = field(1, "1", "where the colliders' frictions begin in it")
    twists = field(1, "1", "where their twists begin")
    poses = field(1, "1", "where their poses begin")
    strengths = field(1, "1", "where the attachments' strengths begin")
    attachments = field(1, "1", "how many they are")
    pins = field(1, "1", "pinned particles")
    first_pin = field(1, "1", "where the first `Pin` begins among these integers")
    pin_constants = field(1, "1", "where the first `PinConstants` begin among the constants")
    tensions = field(1, "1", "where the muscles' tensions begin in a row of inputs")
    first_muscle = field(1, "1", "where the numbers of the particles' muscles begin among these integers")
    fibres = field(1, "1", "where the first `Fibre` begins among the constants")


class Tile(Record):
    """A tile of particles of one body, integers."""

    first = field(1, "1", "number of its first particle")
    count = field(1, "1", "how many they are")
    body = field(1, "1", "number of their body")
    law = field(1, "1", "index of its law")


WORLD, TOOL, LINK = 0, 1, 2  # what a particle is pinned to


class Pin(Record):
    """A pinned particle, integers."""

    tile = field(1, "1", "where it is")
    lane = field(1, "1", "within the tile")
    attachment = field(1, "1", "number of its attachment")
    kind = field(1, "1", "what it is pinned to: WORLD, TOOL, LINK")
    holder = field(1, "1", "number of the tool among the colliders, or of the link")


class PinConstants(Record):
    """A pinned particle. `diffsim.soft.kernels.pinned_particles` says what they do."""

    place = field(3, "m", "of its anchor in the frame that it is pinned to")
    recoil = field(1, "1/kg", "change of the link's velocity at the anchor by an impulse on each of the link's particles")
    yielding = field(1, "1/kg", "time of the grip over (mass of the particle, substep)")
    grip_time = field(1, "s", "within which a grip of half the strength stops a motion")
    reach = field(1, "m", "distance from the anchor at which it is let go")


class Fibre(Record):
    """A particle of a muscle; of others zeros."""

    direction = field(3, "1", "of the fibres in the world at rest, or zero")
    pressure = field(1, "1", "1 where the muscle has no fibres and contracts alike in every direction, else 0")


class WorldInputs(Record):
    """The first part of a row of inputs."""

    gravity = field(3, "m/s^2", "acceleration of free fall")
    ground_friction = field(1, "1", "coefficient of the ground")


LAW_PARAMETERS = 5  # at most


class BodyInputs(Record):
    """A body in a row of inputs."""

    mass = field(1, "kg", "of a particle")
    volume = field(1, "m^3", "of a particle at rest")
    parameters = field(LAW_PARAMETERS, "the law's", "its parameters, then zeros")
    shear_viscosity = field(1, "Pa s", "of the viscous Kirchhoff stress")
    bulk_viscosity = field(1, "Pa s", "of the viscous Kirchhoff stress")
    velocity_share = field(1, "1", "of what the grid does not see of a particle's velocity, what a substep leaves")


class ColliderTwist(Record):
    """A collider's motion over the control step."""

    velocity = field(3, "m/s", "of its origin")
    angular_velocity = field(3, "rad/s", "in the world")


class ColliderPose(Record):
    """A collider at a substep."""

    position = field(3, "m", "of its origin")
    rotation = field(9, "1", "matrix, by rows")


class ImpulseSum(Record):
    """What soft bodies did to a thing in a control step."""

    impulse = field(3, "N s", "on it")
    moment = field(3, "N m s", "about a collider's origin, a link's centre of mass, the world's origin")


BOUNDS = 2  # what has a sum after the colliders: the ground, the walls


class InputLayout(NamedTuple):
    """Where the parts of a row of inputs begin, and its length ``size``."""

    bodies: int
    frictions: int
    twists: int
    poses: int
    strengths: int
    tensions: int
    size: int

    @staticmethod
    def of(bodies: int, colliders: int, substeps: int, attachments: int = 0, muscles: int = 0) -> InputLayout:
        """For so many of each."""
        frictions = WorldInputs.SIZE + BodyInputs.SIZE * bodies
        twists = frictions + colliders
        poses = twists + ColliderTwist.SIZE * colliders
        strengths = poses + ColliderPose.SIZE * colliders * substeps
        tensions = strengths + attachments * substeps
        return InputLayout(WorldInputs.SIZE, frictions, twists, poses, strengths, tensions, tensions + muscles)


class Status(Record):
    """What a pass noted of an environment, integers; and its number of control steps before."""

    failure = field(1, "1", "the first failure, a key of `FAILURES`, or 0")
    substep = field(1, "1", "of the failure")
    particle = field(1, "1", "of the failure")
    inverted = field(1, "1", "how many inverted elements were met")
    time_step = field(1, "1", "control steps before this one, set by the host")


LEFT_GRID, WILD_VELOCITY, WILD_DEFORMATION, OUTGROWN = 1, 2, 3, 4
WILD = 1e6  # velocities (m/s) and deformation gradients above it are failures
FAILURES = {
    LEFT_GRID: ("position", "left the grid or is not finite"),
    WILD_VELOCITY: ("velocity", "is not finite or above 1e6 m/s"),
    WILD_DEFORMATION: ("deformation gradient", "is not finite or above 1e6"),
    OUTGROWN: ("position", "covers more of the grid than in the forward pass; was a tensor of the state changed in place?"),
}
