"""How the kernels' arrays are laid out, in one place. All are flat and contiguous: the memory of torch tensors.

records     a particle: RECORD vectors of four: x (3), v (3), C (9), 0, F (9), a, 0, 0; matrices row-major. What goes into a
            control step and what comes out
tape        within a control step: a row holds the tiles of all particles, a tile COMPONENTS vectors of one entry a particle:
            component c of tile n in row r is tape[(r * tiles + n) * COMPONENTS + c]
frames      the rotation R of `constitutive.py`, FRAME such vectors a tile
boxes       per substep (low corner 3, high corner 3) of the nodes that the particles touch, high exclusive
grid        nodes of a box, in its own row-major order, from an offset on
parameters  per environment and body: mass, volume of a particle, five constitutive parameters, 0
world       per environment: gravity (3), ground friction
colliders   shape (core half extents 3, radius, radius of the bounding sphere); friction, position, rotation (9),
            velocity, spin per environment
tiles       first particle, how many, body
"""

RECORD = 7
# components on the tape
AT_X, AT_V, AT_C, AT_F, AT_A, COMPONENTS = 0, 3, 6, 15, 24, 25
FRAME = 9
# particles of a tile, by schedule
LANE_WIDTH, SHARED_WIDTH = 16, 1
# entries of `domain` (reals)
DT, DX, ORIGIN, LOWER, UPPER, GROUND, LAYER = 0, 1, 2, 5, 8, 11, 12
# entries of `sizes` (integers)
PARTICLES, BODIES, SUBSTEPS, COLLIDERS, COUNTS = 0, 1, 2, 3, 4
PARAMETERS = 8  # row length of `parameters`
SHAPE = 5  # row length of `collider_shape`
WORLD = 4  # row length of `world`

# what a status row's first entry says; then substep, particle, and the number of inverted elements met
LEFT_GRID, WILD_VELOCITY, WILD_DEFORMATION, OUTGROWN = 1, 2, 3, 4
QUANTITIES = {
    LEFT_GRID: ("position", "left the grid or is not finite"),
    WILD_VELOCITY: ("velocity", "is not finite or above 1e6 m/s"),
    WILD_DEFORMATION: ("deformation gradient", "is not finite or above 1e6"),
    OUTGROWN: ("position", "covers more of the grid than in the forward pass; was a tensor of the state changed in place?"),
}
STATUS = 4  # row length of `status`
