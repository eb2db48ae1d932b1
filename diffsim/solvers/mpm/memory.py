"""How the kernels' arrays are laid out, in one place. All are flat and contiguous: the memory of torch tensors.

particles   x, v (3), C, F (9, row-major), a (1) of particle p in row r:  array[(r + p) * width + component]
boxes       per substep (low corner 3, high corner 3) of the nodes that the particles touch, high exclusive
grid        nodes of a box, in its own row-major order, from an offset on
parameters  per environment and body: mass, volume of a particle, five constitutive parameters, 0
world       per environment: gravity (3), ground friction
colliders   shape (core half extents 3, radius, radius of the bounding sphere); friction, position, rotation (9),
            velocity, spin per environment
tiles       first particle, how many, body
"""

RECORD, MOTION, FRAME = 7, 4, 3
# entries of `domain` (reals)
DT, DX, ORIGIN, LOWER, UPPER, GROUND, LAYER = 0, 1, 2, 5, 8, 11, 12
# entries of `sizes` (integers)
PARTICLES, BODIES, SUBSTEPS, COLLIDERS, COUNTS = 0, 1, 2, 3, 4
PARAMETERS = 8  # row length of `parameters`
SHAPE = 5  # row length of `collider_shape`
WORLD = 4  # row length of `world`

# what a status row's first entry says; then substep, particle, and the number of inverted elements met
LEFT_GRID, WILD_VELOCITY, WILD_DEFORMATION = 1, 2, 3
QUANTITIES = {
    LEFT_GRID: ("position", "left the grid or is not finite"),
    WILD_VELOCITY: ("velocity", "is not finite or above 1e6 m/s"),
    WILD_DEFORMATION: ("deformation gradient", "is not finite or above 1e6"),
}
STATUS = 4  # row length of `status`
