"""How the kernels' arrays are laid out, in one place. All are flat and contiguous: the memory of torch tensors.

records     a particle: RECORD vectors of four: x (3), v (3), C (9), 0, F (9), a, 0, 0; matrices row-major. What goes into a
            control step and what comes out
tape        within a control step: a row holds the tiles of all particles, a tile COMPONENTS vectors of one entry a particle:
            component c of tile n in row r is tape[(r * tiles + n) * COMPONENTS + c]; x, v, C, F, a and the principal stresses
            that belong to F
frames      the rotation R of `constitutive.py`, FRAME such vectors a tile
boxes       per substep (low corner 3, high corner 3) of the nodes that the particles touch, high exclusive
grid        nodes of a box, in its own row-major order, from an offset on
inputs      what drives a control step, a row for each environment: gravity (3) and ground friction; BODY numbers a body: mass
            and volume of a particle, five constitutive parameters, 0; each collider's friction; TWIST numbers a collider:
            velocity (3), spin (3); POSE numbers a collider for each substep: position (3), rotation (9)
inputs_bar  adjoints, in rows like those of the inputs
constants   reals: the entries below, then SHAPE numbers a collider: core half extents (3), radius, the bounding sphere's radius
sizes       integers: the entries below, then TILE numbers a tile: first particle, how many, body, law

Taichi takes 20 us to pass an array to a kernel, hence few arrays with many parts.
"""

RECORD = 7
# components on the tape
AT_X, AT_V, AT_C, AT_F, AT_A, AT_STRESS, COMPONENTS = 0, 3, 6, 15, 24, 25, 28
FRAME = 9
# particles of a tile, by schedule
LANE_WIDTH, SHARED_WIDTH = 16, 1
# entries of `constants`; shapes begin at SHAPES
DT, DX, ORIGIN, LOWER, UPPER, GROUND, LAYER, SHAPES = 0, 1, 2, 5, 8, 11, 12, 13
SHAPE = 5
# entries of `sizes`: INPUTS is the length of a row of inputs, FRICTIONS, TWISTS and POSES say where these begin in it
PARTICLES, SUBSTEPS, COLLIDERS, COUNTS, INPUTS, FRICTIONS, TWISTS, POSES, TILES = 0, 1, 2, 3, 6, 7, 8, 9, 10
TILE = 4
# parts of a row of inputs
WORLD, BODY, TWIST, POSE = 4, 8, 6, 12
GROUND_FRICTION, BODIES = 3, WORLD

# what a status row's first entry says; then substep, particle, and the number of inverted elements met
LEFT_GRID, WILD_VELOCITY, WILD_DEFORMATION, OUTGROWN = 1, 2, 3, 4
QUANTITIES = {
    LEFT_GRID: ("position", "left the grid or is not finite"),
    WILD_VELOCITY: ("velocity", "is not finite or above 1e6 m/s"),
    WILD_DEFORMATION: ("deformation gradient", "is not finite or above 1e6"),
    OUTGROWN: ("position", "covers more of the grid than in the forward pass; was a tensor of the state changed in place?"),
}
STATUS = 4  # row length of `status`
