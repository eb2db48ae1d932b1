"""Warnings of what the grid and the particles of a scene do not resolve: thin or sparse soft bodies, thin tools and obstacles;
and of tools and obstacles off the grid."""

from __future__ import annotations

import logging

import numpy as np
from scipy.spatial import cKDTree

from diffsim.scene.bodies import SoftBody
from diffsim.scene.rotations import rotation_matrix
from diffsim.scene.scene import Scene

logger = logging.getLogger(__name__)

LEAST_CELLS, LEAST_PARTICLES = 1.0, 2.0  # across a soft body: with fewer it tears, and drops out of a grip
# across a tool or an obstacle: nodes on both sides act on the same particles. Swept through a cube, one of 0.06, 0.6, 1.3, 2
# and 2.6 cells left 71%, 38%, 8%, 0 to 1% and none of it behind
LEAST_PER_CELL = 1.0  # particles of a body: with fewer, cells within it are empty, and stretching leaves them so
LEAST_COLLIDER_CELLS, TIGHT_COLLIDER_CELLS = 1.3, 2.6
# across a tool or an obstacle off the grid, in particles' spacings: water of 600 particles in a cup that moves at .5 m/s is
# pressed into the wall by up to a sixth of a spacing; through walls of .04, .17 and .41 spacings went 1.9%, .2% and none. A
# plate pushed a cube of 8 particles a cell along however thin it was; one of 2 a cell lost 3% below a quarter of a spacing
LEAST_WALL = 0.5
COUPLED_FACTOR = "1.1 to 1.4"  # forward and backward on one core: a cylinder for a capsule on 1,500 and on 700 particles
LOOKED_AT = 512  # particles, of which the thickest place of a body is found


def thickness(body: SoftBody) -> float | None:
    """Twice the depth of the deepest point in metres; None of a shape without a signed distance. Between the layers of a
    lattice, or on the middle one, the deepest points are particles or the middles between two neighbours."""
    points = (body.rest_particles - np.asarray(body.position)) @ rotation_matrix(body.rotation)
    some = points[:: max(1, len(points) // LOOKED_AT)]
    _, near = cKDTree(points).query(some, k=min(7, len(points)))
    candidates = 0.5 * (some[:, None] + points[near.reshape(len(some), -1)]).reshape(-1, 3)
    try:
        return -2.0 * float(np.min(body.shape.signed_distance(candidates)))
    except TypeError:
        return None


def warn_of_thin_things(scene: Scene) -> None:
    """By name, with the grid spacing or the number of particles that would do."""
    dx = scene.grid_spacing
    for body in scene.soft_bodies:
        _warn_of_few_particles(body, dx)
        thick = thickness(body)
        if thick is None or thick <= 0.0:
            continue
        spacing = (body.shape.volume / len(body.rest_particles)) ** (1.0 / 3.0)
        cells, particles = thick / dx, thick / spacing
        if cells < 0.99 * LEAST_CELLS or particles < 0.99 * LEAST_PARTICLES:
            logger.warning(
                "SoftBody '%s' is %.3g m thick, %.2g grid cells and %.2g particles: it can tear, and drop out of a grip; use "
                "grid_spacing <= %.2e m and particles >= %d",
                body.name,
                thick,
                cells,
                particles,
                min(dx, thick / LEAST_CELLS),
                max(len(body.rest_particles), int(np.ceil(body.shape.volume / (thick / LEAST_PARTICLES) ** 3))),
            )
    for thing in (*scene.grid_tools, *scene.grid_obstacles):
        thick = thing.shape.thickness
        if thick < 0.99 * LEAST_COLLIDER_CELLS * dx:
            logger.warning(
                "%s '%s' is %.3g m thick, %.2g grid cells: it cuts through soft bodies; use grid_spacing <= %.2e m, or make it "
                "%.2g m thick",
                type(thing).__name__,
                thing.name,
                thick,
                thick / dx,
                thick / TIGHT_COLLIDER_CELLS,
                TIGHT_COLLIDER_CELLS * dx,
            )


def warn_of_thin_walls(scene: Scene) -> None:
    """By name: tools and obstacles off the grid that are thin for the particles that meet them one by one."""
    spacings = {body.name: (body.shape.volume / len(body.rest_particles)) ** (1.0 / 3.0) for body in scene.soft_bodies}
    widest = max(spacings, key=lambda name: spacings[name])
    body = next(body for body in scene.soft_bodies if body.name == widest)
    for thing in scene.off_grid:
        thick, least = thing.shape.thickness, LEAST_WALL * spacings[widest]
        if 0.0 < thick < 0.99 * least:
            logger.warning(
                "%s '%s' is %.3g m thick, %.2g of the spacing of the particles of SoftBody '%s': they can pass through it; use "
                "particles >= %d, or make it %.2g m thick",
                type(thing).__name__,
                thing.name,
                thick,
                thick / spacings[widest],
                widest,
                int(np.ceil(body.shape.volume / (thick / LEAST_WALL) ** 3)),
                least,
            )


def warn_of_coupling(scene: Scene) -> None:
    """That shapes which the grid does not know make a scene of soft bodies a coupled one, and by which tool or obstacle."""
    if scene.off_grid and not scene.moving_articulations:
        names = ", ".join(f"{type(thing).__name__} '{thing.name}' ({type(thing.shape).__name__})" for thing in scene.off_grid)
        logger.warning(
            "particles meet %s one by one, as the grid knows spheres, capsules and boxes alone: this makes a coupled scene, "
            "which is %s times slower and runs on a CPU, an environment a core",
            names,
            COUPLED_FACTOR,
        )


def warn_of_things_off_the_grid(scene: Scene) -> None:
    """By name: tools and obstacles wholly outside the domain, where no soft body is."""
    lower, upper = np.asarray(scene.lower), np.asarray(scene.upper)
    for thing in (*scene.tools, *scene.obstacles):
        if not thing.shape.bounded:
            continue
        position = np.asarray(thing.position)
        if float(np.linalg.norm(position - position.clip(lower, upper))) > thing.shape.bounding_radius:
            logger.warning(
                "%s '%s' at %s lies outside the domain (%s to %s): soft bodies cannot reach it; move it, or enlarge the domain",
                type(thing).__name__,
                thing.name,
                *(tuple(float(f"{value:.4g}") for value in values) for values in (position, lower, upper)),
            )


def _warn_of_few_particles(body: SoftBody, dx: float) -> None:
    count, volume = len(body.rest_particles), body.shape.volume
    per_cell = count * dx**3 / volume
    if per_cell < 0.99 * LEAST_PER_CELL:
        logger.warning(
            "SoftBody '%s' has %.2g particles in a grid cell: it can tear where it is stretched; use particles >= %d (8 a cell "
            "are %d) or a coarser grid",
            body.name,
            per_cell,
            int(np.ceil(LEAST_PER_CELL * volume / dx**3)),
            int(np.ceil(8.0 * volume / dx**3)),
        )
