"""How the kernels' arrays are laid out, in one place. All are flat and contiguous: the memory of torch tensors.

integers  the model: HEADER counts and section offsets, then the sections, rows of LINK_INTS, DOF_INTS, ...
reals     the model's constants: SCENE_REALS of the scene, then sections likewise
inputs    a row per environment, differentiable: gravity (3), then a section per kind of thing; at the end, for one control
          step, the tools' twists, and the poses of all tools for each substep
grids     the numbers of all shapes, among them the B-spline coefficients of distance grids
tape      a row per substep: q, v, a, the factor of A, with soft bodies an external wrench per link (force, torque about
          the link's origin), and in event mode how many events there were and a record of each
work      scratch of a lane: LINK reals per link, an axis per dof, the right-hand side and adjoints, Jacobian columns

Every lane has its own part of what it writes to. Sums in inner loops are written out, x[i] = x[i] + y: Taichi makes x[i] += y a
slow atomic operation.

Link 0 is the world. Every other link has one joint. Parents stand before children, so a dof's ancestors have lower numbers.
The last links are the tools: their motion is among the inputs, so they have neither coordinates nor dofs.
"""

# integers: header
(
    LINKS, COORDINATES, DOFS, ACTUATORS, TERMS, GEOMETRIES, PAIRS, WORK, INPUTS,
    LINK_AT, DOF_AT, ACTUATOR_AT, TERM_AT, GEOMETRY_AT, PAIR_AT,
    R_LINK_AT, R_ACTUATOR_AT, R_TERM_AT, R_GEOMETRY_AT, R_POINT_AT,
    I_LINK_AT, I_ACTUATOR_AT, I_GEOMETRY_AT, W_DOF_AT, W_VECTOR_AT, W_COLUMN_AT, COUPLED, COUPLED_AT, TOOLS, I_TOOL_AT,
) = range(30)  # fmt: skip
HEADER = 32
# integers: rows
LINK_INTS = 4  # parent, joint kind, first coordinate, first dof
DOF_INTS = 2  # link, whether angular
ACTUATOR_INTS = 3  # kind, first term, end of terms
TERM_INTS = 2  # coordinate, dof
GEOMETRY_INTS = 9  # link, distance kind, first point, end of points, place of numbers, 0 (3), end of those that meet planes
PAIR_INTS = 3  # geometry of the points, geometry of the distance, whether its fast impacts can be events
COUPLED_INTS = 1  # a geometry that soft bodies touch
# joint kinds
FIXED, REVOLUTE, PRISMATIC, BALL, FREE = range(5)
KINEMATIC = -1  # a tool's; below those of the joints that have coordinates, which are asked for as kind > 0
# a geometry's kind of distance is its place in `diffsim.scene.shapes.distance_kinds.ALWAYS`, of which the first is
PLANE = 0

# reals: of the scene
H, SMOOTHING, SLIP_SPEED, RESTITUTION_SPEED, EVENT_SPEED = range(5)
SCENE_REALS = 8
# reals: rows
LINK_REALS = 20  # position (3), rotation (9), axis (3), low and high limit, limit smoothing, spring rest, 0
ACTUATOR_REALS = 5  # lowest and highest force, lowest and highest control, control scale
TERM_REALS = 1  # coefficient
GEOMETRY_REALS = 22  # position (3), rotation (9), 0 (4), radius of points, bounding radius or top, 0 (4)
POINT_REALS = 3  # in the link's axes, from the geometry's origin

# inputs: rows, after gravity
LINK_INPUTS = 15  # mass, centre (3), inertia (xx, yy, zz, yz, xz, xy), damping, armature, dry friction, spring, limit stiffness
MASS, CENTER, INERTIA, DAMPING, ARMATURE, FRICTION_LOSS, SPRING, LIMIT = 0, 1, 4, 10, 11, 12, 13, 14
ACTUATOR_INPUTS = 3  # gain of the control, stiffness by length, damping by rate
GEOMETRY_INPUTS = 4  # friction, restitution, stiffness, scale
TOOL_TWIST = 6  # velocity of the origin, angular velocity, in the world's frame
TOOL_POSE = 12  # position, rotation by rows

# work: a link's block. Poses and motions, then what only one direction needs
R, P, OMEGA, U, ALPHA, A = 0, 9, 12, 15, 18, 21
F, N, C_MASS, C_FIRST, C_INERTIA = 24, 27, 30, 31, 34  # forward: bias wrench, composite inertia
OMEGA_NEW, U_NEW, ETA, W = 24, 27, 30, 33  # adjoint: motions under v + h a and under lambda
# adjoints: of rotation (as an infinitesimal world rotation), position, and the motions
THETA_BAR, P_BAR, OMEGA_BAR, U_BAR, ALPHA_BAR, A_BAR, OMEGA_NEW_BAR, U_NEW_BAR, ETA_BAR, W_BAR = range(36, 66, 3)
LINK = 66
POSE = 18  # what is told of a link: position, rotation by rows, velocity of the origin, angular velocity, in the world's frame
COLUMN = 7  # a column of a contact's Jacobian: dof, linear and angular velocity

CUTOFF = 40.0  # contacts and limits beyond so many smoothing lengths are left out

# event mode: the compliant law of pairs that have events sees surfaces so many smoothing lengths deeper, so that at the surface
# itself its force is nothing (e^-20)
EVENT_SHIFT = 20.0
MAX_EVENTS = 8  # in a substep
# an event's record: links of both geometries, pair, point, time in the substep, that time's adjoint, then q (7) and v (6) of
# both links just after it
EVENT_LINKS, EVENT_PAIR, EVENT_POINT, EVENT_TIME, EVENT_TIME_BAR, EVENT_STATES = 0, 2, 3, 4, 5, 6
EVENT_STATE = 13
EVENT = EVENT_STATES + 2 * EVENT_STATE
EVENTS = 1 + MAX_EVENTS * EVENT

# what a status row's first entry says; then control step, substep, link
WILD_VELOCITY, NOT_POSITIVE = 1, 2
QUANTITIES = {
    WILD_VELOCITY: ("velocity", "is not finite or above 1e8"),
    NOT_POSITIVE: ("mass matrix", "is not positive definite: a link has no inertia, or a contact is far too stiff for dt"),
}
STATUS = 4
