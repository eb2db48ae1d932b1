"""How the rigid kernels' arrays are laid out, in one place. All are flat and contiguous: the memory of torch tensors.

integers  the model: a `Header`, then sections of rows (`LinkIndices`, `DofIndices`, ...); last the numbers of the geometries
that
          soft bodies touch
reals     the model's constants: `SceneConstants`, then sections of rows (`LinkConstants`, ...)
inputs    a row per environment, differentiable: `WorldInputs`, then sections of `LinkInputs`, `ActuatorInputs`,
          `GeometryInputs`, and those of `constraint_records`;
          at the end, for one control step, a `ToolTwist` for each tool, and for each substep a `ToolPose` for each tool
controls  a row per control step and environment: a control for each actuator; then, where a rollout has external wrenches, an
          `ExternalWrench` for each link but the world and the tools; last, where forces are recorded, a `ContactWrench` for
          each body, that is each thing that can be touched: sums over the substeps, which kernels write, and in backward
          their adjoints, which kernels read
grids     the numbers of all shapes, among them the B-spline coefficients of distance grids
tape      a row per substep: coordinates q and velocities v at its start, accelerations a and the constraints' forces, the
          factors of the matrix (unknowns, squared) and where their rows begin (unknowns); the coordinates in its middle, where
          a substep has one; with soft bodies an external `Wrench` per link; in event mode how many events there were and
          MAX_EVENTS rows of `Event`; and where forces are recorded, the accelerations' adjoints by that (dofs)
work      scratch of a lane: a `LinkForward` or `LinkAdjoint` per link, a `DofWork` per dof; the right-hand side (unknowns) and
          the adjoints of q and v; what the contacts' solve needs: see the end of `Header`
status    a `Status` per environment

Every lane has its own part of what it writes to. Sums in inner loops are written out, x[i] = x[i] + y: Taichi makes x[i] += y a
slow atomic operation.

Link 0 is the world. Every other link has one joint. Parents stand before children, so a dof's ancestors have lower numbers.
The last links are the tools: their motion is among the inputs, so they have neither coordinates nor dofs.
"""

from __future__ import annotations

from diffsim.records import Record, field

NO_LIMITS = (-1e30, 1e30)  # of a coordinate, a length, a control or a force
KINEMATIC = -1  # in place of a joint's kind: a tool, which moves as the inputs say
# how a dof moves its link: its axis slides, turns, or turns and slides at once
SLIDE, TURN, SCREW = range(3)
# a geometry's kind of distance is its place in `diffsim.scene.shapes.ALWAYS`, of which the first is
PLANE = 0


class Header(Record):
    """Counts, lengths of rows, and where sections begin."""

    links = field(meaning="links, the world and the tools included")
    coordinates = field(meaning="entries of q")
    dofs = field(meaning="entries of v")
    unknowns = field(meaning="of a substep: accelerations (dofs), then a force for each scalar equation of the constraints")
    actuators = field()
    terms = field(meaning="joint coordinates in all lengths of actuators, equalities and tendons")
    equalities = field(meaning="of joint coordinates")
    closures = field(meaning="of loops")
    tendons = field()
    geometries = field()
    pairs = field(meaning="pairs of geometries that may touch")
    coupled = field(meaning="geometries that soft bodies touch")
    tools = field()
    work = field(meaning="length of a lane's scratch")
    inputs = field(meaning="length of a row of inputs")
    controls = field(meaning="length of a row of controls")
    contact_wrenches = field(meaning="where those begin in a row of controls; its length where none are recorded")
    # sections of integers
    link_indices = field()
    dof_indices = field()
    actuator_indices = field()
    term_indices = field()
    geometry_indices = field()
    pair_indices = field()
    equality_indices = field()
    closure_indices = field()
    tendon_indices = field()
    coupled_geometries = field()
    # sections of reals
    link_constants = field()
    dof_constants = field()
    actuator_constants = field()
    term_constants = field()
    geometry_constants = field()
    pair_constants = field()
    equality_constants = field()
    closure_constants = field()
    tendon_constants = field()
    points = field()
    # sections of a row of inputs
    link_inputs = field()
    actuator_inputs = field()
    geometry_inputs = field()
    equality_inputs = field()
    tendon_inputs = field()
    tool_inputs = field()
    # sections of a lane's scratch
    dof_work = field()
    vector = field(meaning="the right-hand side, later the acceleration or its adjoint; then the adjoints of q and v")
    smooth_matrix = field(meaning="the matrix without contact (unknowns x unknowns), and where its rows begin")
    newton = field(
        meaning="right-hand side without contact, residual and then step, dry friction's w and rates (unknowns each); the set "
        "of points that press"
    )
    pair_work = field(meaning="a `PairWork` per pair")
    contact_columns = field(meaning="`ContactColumn` of all pairs")
    point_work = field(meaning="`PointWork` of all pairs")


# integers: rows


class LinkIndices(Record):
    """Of a link."""

    parent = field(meaning="number of the parent link")
    joint = field(meaning="the joint's kind: its place among the kinds that the kernels are compiled for, or KINEMATIC")
    coordinate = field(meaning="its joint's first entry of q")
    dof = field(meaning="its joint's first entry of v")


class DofIndices(Record):
    """Of a degree of freedom."""

    link = field(meaning="the link that it moves")
    motion = field(meaning="SLIDE, TURN or SCREW")
    coordinate = field(meaning="the entry of q of which it is the rate, or -1: then it has neither spring nor limits")


class ActuatorIndices(Record):
    """Of an actuator."""

    first_term = field()
    end_term = field(meaning="one past its last term")


class TermIndices(Record):
    """Of a joint coordinate in a length: a sum of coordinates that an actuator, an equality or a tendon has."""

    coordinate = field()
    dof = field()


class GeometryIndices(Record):
    """Of a geometry."""

    link = field()
    body = field(meaning="what contact with it touches: the row of `Simulator.contact_names`")
    distance = field(meaning="kind of its distance")
    first_point = field(meaning="of its sample points")
    end_point = field(meaning="one past its last point")
    end_plane_point = field(meaning="one past the last point that meets planes")
    numbers = field(meaning="where its shape's numbers begin in grids")


class PairIndices(Record):
    """Of two geometries that may touch."""

    points = field(meaning="the geometry whose points meet ...")
    surface = field(meaning="... this one's distance")
    events = field(meaning="1 where fast impacts are events, in event mode")
    first_column = field(meaning="of its part of contact_columns")
    first_contact = field(meaning="of its part of point_work")


# reals: rows


class SceneConstants(Record):
    """Of the scene."""

    dt = field(1, "s", "length h of a substep")
    smoothing = field(1, "m", "length d over which compliant contact sets in; 0: contact is implicit")
    slip_speed = field(1, "m/s", "below it friction fades")
    restitution_speed = field(1, "m/s", "over it the normal force changes from that of approach to that of separation")
    event_speed = field(1, "m/s", "faster impacts are events")


class LinkConstants(Record):
    """Of a link and its joint."""

    position = field(3, "m", "of the joint's frame in the parent link's frame")
    rotation = field(9, "1", "of the joint's frame, by rows")
    axis = field(3, "1", "of the joint, in the joint's frame")
    second_axis = field(3, "1", "of a joint that has two, in the joint's frame")
    joint_constants = field(4, "as the joint's kind says", "further numbers of the joint")


class DofConstants(Record):
    """Of a dof that is the rate of a coordinate."""

    low = field(1, "m or rad", "limit of the coordinate")
    high = field(1, "m or rad", "limit of the coordinate")
    limit_smoothing = field(1, "m or rad", "length over which a limit sets in")
    spring_rest = field(1, "m or rad", "coordinate at which the spring exerts nothing")


class ActuatorConstants(Record):
    """Of an actuator."""

    low_force = field(1, "N or N m")
    high_force = field(1, "N or N m")
    low_control = field()
    high_control = field()
    control_scale = field(1, "1", "multiplies the control after clipping")


class TermConstants(Record):
    """Of a joint coordinate in a length."""

    coefficient = field()


class GeometryConstants(Record):
    """Of a geometry."""

    position = field(3, "m", "in the link's frame")
    rotation = field(9, "1", "in the link's frame, by rows")
    reach = field(1, "m", "radius of the ball round the whole, or the top of a shape without end")
    reference = field(3, "m", "of one that never moves: the place of the thing that it is part of, to which torques refer")


class PairConstants(Record):
    """Of two geometries that may touch."""

    reported_depth = field(1, "m", "penetration above which it is noted in the status")


class Point(Record):
    """A point of a geometry, as of `diffsim.scene.shapes.contact_balls`."""

    kind = field(meaning="BALL, CENTER, DEEPEST or SPOKE")
    position = field(3, "m", "of the ball, or of the center it moves about, from the geometry's origin, in the link's axes")
    radius = field(1, "m", "of the ball")
    extent = field(3, "m", "semi-axes, or the spoke, in the geometry's frame")
    retreat = field(1, "1", "share of the spoke")
    shrinkage = field(1, "m", "of the ball, away from its circle")


# inputs: rows


class WorldInputs(Record):
    """What acts on everything."""

    gravity = field(3, "m/s^2")


class LinkInputs(Record):
    """Of a link and its joint."""

    mass = field(1, "kg")
    center = field(3, "m", "centre of mass in the link's frame")
    inertia = field(6, "kg m^2", "xx, yy, zz, yz, xz, xy about the centre of mass, in the link's axes")
    damping = field(1, "N s/m or N m s", "of every dof of the joint")
    armature = field(1, "kg or kg m^2", "of every dof of the joint")
    friction_loss = field(1, "N or N m", "dry friction of every dof of the joint")
    spring_stiffness = field(1, "N/m or N m/rad", "of every coordinate of the joint")
    limit_stiffness = field(1, "N/m or N m/rad", "of every coordinate of the joint")
    gravity_compensation = field(1, "", "share of the link's weight that is carried, at its centre of mass")


class ActuatorInputs(Record):
    """Of an actuator: its force is gain * control - stiffness * length - damping * rate."""

    gain = field(1, "N or N m per control")
    stiffness = field(1, "N/m or N m/rad")
    damping = field(1, "N s/m or N m s")


class GeometryInputs(Record):
    """Of a geometry."""

    friction = field()
    restitution = field()
    stiffness = field(1, "N/m", "of a contact point")
    scale = field()


class ToolTwist(Record):
    """Velocities of a tool over a control step, in the world's frame."""

    velocity = field(3, "m/s", "of its origin")
    angular_velocity = field(3, "rad/s")


class ToolPose(Record):
    """Pose of a tool in a substep."""

    position = field(3, "m")
    rotation = field(9, "1", "by rows")


# controls: rows


class ExternalWrench(Record):
    """On a link over a control step, in the world's frame."""

    force = field(3, "N", "at the link's centre of mass")
    torque = field(3, "N m")


class ContactWrench(Record):
    """Of contact on a thing that can be touched, in the world's frame."""

    force = field(3, "N")
    torque = field(3, "N m", "about a link's centre of mass, a tool's origin, the place of a geometry that never moves")


# tape: rows


class Wrench(Record):
    """Of contact with soft bodies on a link, in the world's frame."""

    force = field(3, "N")
    torque = field(3, "N m", "about the link's origin")


class FreeState(Record):
    """Of a free body."""

    position = field(3, "m")
    quaternion = field(4, "1", "w, x, y, z")
    velocity = field(3, "m/s")
    angular_velocity = field(3, "rad/s", "in the body's frame")


SPIN = FreeState.angular_velocity - FreeState.velocity  # of a free body: where the spin stands in its entries of v and a


class Event(Record):
    """An impact in a substep."""

    links = field(2, "1", "of both geometries")
    pair = field()
    point = field(1, "1", "of the first geometry")
    time = field(1, "s", "in the substep")
    time_bar = field(1, "1/s", "adjoint of the time")
    first_state = field(FreeState.SIZE, "FreeState", "of the first link just after the impact")
    second_state = field(FreeState.SIZE, "FreeState", "of the second link just after the impact")


class EventTape(Record):
    """The events of a substep."""

    count = field()
    # then MAX_EVENTS rows of Event


# work: rows


class LinkWork(Record):
    """Pose and motion of a link in the world's frame."""

    rotation = field(9, "1", "by rows")
    position = field(3, "m", "of the link's origin")
    angular_velocity = field(3, "rad/s")
    velocity = field(3, "m/s", "of the origin")
    angular_acceleration = field(3, "rad/s^2")
    acceleration = field(3, "m/s^2", "of the origin, minus gravity")


class LinkForward(LinkWork):
    """What the way down and up the tree needs further: bias wrench and composite inertia, about the link's origin."""

    force = field(3, "N")
    torque = field(3, "N m")
    mass = field(1, "kg")
    moment = field(3, "kg m", "mass times the centre of mass from the origin")
    inertia = field(6, "kg m^2", "as LinkInputs.inertia, about the origin, in the world's axes")
    momentum = field(3, "kg m/s")
    flux = field(9, "kg m^2/s", "by rows: sum over the mass of (velocity) (place from the origin)^T")


class LinkAdjoint(LinkWork):
    """What the adjoint needs further: motions under the new velocities v + h a and under the virtual ones, then adjoints."""

    new_angular_velocity = field(3, "rad/s")
    new_velocity = field(3, "m/s")
    virtual_angular_velocity = field(3, "rad/s")
    virtual_velocity = field(3, "m/s")
    # adjoints; that of the rotation is of an infinitesimal rotation in the world's frame
    rotation_bar = field(3)
    position_bar = field(3)
    angular_velocity_bar = field(3)
    velocity_bar = field(3)
    angular_acceleration_bar = field(3)
    acceleration_bar = field(3)
    new_angular_velocity_bar = field(3)
    new_velocity_bar = field(3)
    virtual_angular_velocity_bar = field(3)
    virtual_velocity_bar = field(3)


LINK_BLOCK = max(LinkForward.SIZE, LinkAdjoint.SIZE)  # of a link in a lane's scratch
FIRST_BAR = LinkAdjoint.rotation_bar  # adjoints stand from here to the end of a LinkAdjoint

# (angular velocity, velocity) of a LinkAdjoint, and their adjoints
MOTION = (LinkAdjoint.angular_velocity, LinkAdjoint.velocity)
NEW_MOTION = (LinkAdjoint.new_angular_velocity, LinkAdjoint.new_velocity)
VIRTUAL_MOTION = (LinkAdjoint.virtual_angular_velocity, LinkAdjoint.virtual_velocity)
MOTION_BAR = (LinkAdjoint.angular_velocity_bar, LinkAdjoint.velocity_bar)
NEW_MOTION_BAR = (LinkAdjoint.new_angular_velocity_bar, LinkAdjoint.new_velocity_bar)
VIRTUAL_MOTION_BAR = (LinkAdjoint.virtual_angular_velocity_bar, LinkAdjoint.virtual_velocity_bar)


class DofWork(Record):
    """How a link moves per unit of a dof's rate, in the world's frame."""

    axis = field(3, "1", "velocity of the origin where the dof slides, else angular velocity")
    slide = field(3, "m/rad", "velocity of the origin where the dof is a SCREW")
    axis_rate = field(3, "1/s", "of the axis, seen from the parent: of one that does not turn with the parent alone")
    later_angular = field(3, "1", "h later, if velocities last: angular velocity, and ...")
    later_linear = field(3, "1 or m/rad", "... velocity of the point that is then where the origin is now")


class ContactColumn(Record):
    """A column of a pair's Jacobian: the relative motion of two links per unit of a dof's rate."""

    dof = field()
    linear = field(3, "1 or m/rad", "velocity at the centre of the geometry that has the points")
    angular = field(3, "rad/m or 1")


class PairWork(Record):
    """A pair in a substep."""

    contacts = field(meaning="points in contact")
    columns = field(meaning="dofs that move one link against the other")
    friction = field()
    velocity = field(3, "m/s", "relative motion that is no dof's: a tool's, at the centre")
    angular_velocity = field(3, "rad/s")


class PointWork(Record):
    """A point in contact: see `diffsim.rigid.kernels.contact_point_law`."""

    arm = field(3, "m", "from the centre of the geometry that has the points")
    normal = field(3)
    base = field(1, "N", "normal force at the normal velocity 0")
    slope = field(1, "N s/m", "by which it falls per unit of the normal velocity")
    bound = field(1, "N", "normal force that bounds friction; negative: the one that acts")
    force = field(1, "N", "normal force where the equation was evaluated last; negative where the contact is open")
    slip = field(3, "m/s", "there")
    direction = field(3, "1", "of friction there: w")
    gap = field(1, "m", "for those who list contacts")


# results


class LinkPose(Record):
    """Pose and motion of a link in the world's frame, as `RigidSolver.poses` returns them."""

    position = field(3, "m")
    rotation = field(9, "1", "by rows")
    velocity = field(3, "m/s", "of the origin")
    angular_velocity = field(3, "rad/s")


class Status(Record):
    """What went wrong first in an environment, how deep geometries were in each other at worst, and its clock."""

    kind = field(meaning="0: nothing, else as QUANTITIES")
    step = field(meaning="control step")
    substep = field()
    link = field()
    depth = field(1, "um", "the deepest penetration above its pair's `PairConstants.reported_depth`, or 0")
    deep_pair = field(meaning="of that penetration")
    deep_step = field(meaning="its control step")
    unsolved = field(meaning="substeps in which contact was not solved to its tolerance")
    unsolved_step = field(meaning="the last control step with one")
    clock = field(meaning="number of the next substep since the first control step")


WILD_VELOCITY, NOT_POSITIVE = 1, 2
QUANTITIES = {
    WILD_VELOCITY: ("velocity", "is not finite or above 1e8"),
    NOT_POSITIVE: (
        "mass matrix",
        "is not positive definite: a link has no inertia or turns by over a radian in dt, or contact is far too stiff for dt",
    ),
}

CUTOFF = 40.0  # compliant contacts and limits beyond so many smoothing lengths are left out
RECOVERY = 4.0  # substeps over which an implicit contact undoes a penetration, and a constraint its violation

MAX_EVENTS = 8  # in a substep
EVENTS_LENGTH = EventTape.SIZE + MAX_EVENTS * Event.SIZE  # on the tape
