"""Memory of the coupling: what it stores for each particle, in flat arrays in addition to those of the two solvers.

contacts      for each substep: the shares of all particles, their own parts of the response, then their impulses (3) after
              each sweep
contact_bars  scratch of a lane: for all particles the adjoints of impulse (3) and response, then those of the velocity (3) that
              a sweep gathered, and 0
grips         of a soft body: stiffness of a particle's contact (N/m), radius of a particle (m)
"""

SWEEPS = 4  # of the impulses in a substep
PLACES = 2 + 3 * SWEEPS
BARS = 8
GRIP = 2
