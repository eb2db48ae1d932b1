"""What the grid and the particles of a scene resolve: thin or sparse soft bodies, thin tools and obstacles; and tools and
obstacles off the grid."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from scipy.spatial import cKDTree

from diffsim.checks.findings import Finding
from diffsim.scene.bodies import SoftBody
from diffsim.scene.rotations import rotation_matrix
from diffsim.scene.scene import Scene

LEAST_CELLS, LEAST_PARTICLES = 1.0, 2.0  # across a soft body: with fewer it tears, and drops out of a grip
LEAST_PER_CELL = 1.0  # particles of a body: with fewer, cells within it are empty, and stretching leaves them so
# across a tool or an obstacle: nodes on both sides act on the same particles. Swept through a cube, one of 0.06, 0.6, 1.3, 2
# and 2.6 cells left 71%, 38%, 8%, 0 to 1% and none of it behind
LEAST_COLLIDER_CELLS, TIGHT_COLLIDER_CELLS = 1.3, 2.6
# across a tool or an obstacle off the grid, in particles' spacings: water of 600 particles in a cup that moves at .5 m/s is
# pressed into the wall by up to a sixth of a spacing; through walls of .04, .17 and .41 spacings went 1.9%, .2% and none. A
# plate pushed a cube of 8 particles a cell along however thin it was; one of 2 a cell lost 3% below a quarter of a spacing
LEAST_WALL = 0.5
COUPLED_FACTOR = 1.1, 1.4  # forward and backward on one core: a cylinder for a capsule on 1,500 and on 700 particles
ROUNDING = 0.99  # of a limit, which what is declared to meet it may miss
LOOKED_AT = 512  # particles, of which the thickest place of a body is found; drawn, as every 7th might be of one layer alone


def thickness(body: SoftBody) -> float | None:
    """Twice the depth of the deepest point in metres; None of a shape without a signed distance. Between the layers of a
    lattice, or on the middle one, the deepest points are particles or the middles between two neighbours."""
    points = (body.rest_particles - np.asarray(body.position)) @ rotation_matrix(body.rotation)
    some = np.random.default_rng(0).permutation(points)[:LOOKED_AT]
    _, near = cKDTree(points).query(some, k=min(7, len(points)))
    candidates = 0.5 * (some[:, None] + points[near.reshape(len(some), -1)]).reshape(-1, 3)
    try:
        return -2.0 * float(np.min(body.shape.signed_distance(candidates)))
    except TypeError:
        return None


def resolution_findings(scene: Scene) -> Iterator[Finding]:
    """Particles in a cell and thickness of soft bodies, thickness of what they meet on the grid; with the grid spacing or the
    number of particles that would do."""
    for body in scene.soft_bodies:
        yield _particles_a_cell(body, scene.grid_spacing)
        yield from _body_thickness(body, scene.grid_spacing)
    if scene.soft_bodies:
        yield from _collider_thickness(scene)
        yield from _wall_thickness(scene)


def _particles_a_cell(body: SoftBody, dx: float) -> Finding:
    count, volume = len(body.rest_particles), body.shape.volume
    per_cell, name = count * dx**3 / volume, f"SoftBody '{body.name}'"
    found = partial(Finding, what="particles a cell", name=name, value=per_cell, allowed=LEAST_PER_CELL)
    if per_cell >= ROUNDING * LEAST_PER_CELL:
        return found("fine")
    return found(
        "warning",
        text=f"{name} has {per_cell:.2g} particles in a grid cell: it can tear where it is stretched",
        advice=(
            f"use particles >= {int(np.ceil(LEAST_PER_CELL * volume / dx**3))} (8 a cell are "
            f"{int(np.ceil(8.0 * volume / dx**3))}) or a coarser grid"
        ),
    )  # fmt: skip


def _body_thickness(body: SoftBody, dx: float) -> Iterator[Finding]:
    thick, name = thickness(body), f"SoftBody '{body.name}'"
    if thick is None or thick <= 0.0:
        return
    cells, particles = thick / dx, thick / body.particle_spacing
    found = partial(Finding, what="thickness", name=name, value=cells, allowed=LEAST_CELLS, unit="cells")
    if cells >= ROUNDING * LEAST_CELLS and particles >= ROUNDING * LEAST_PARTICLES:
        yield found("fine")
        return
    wanted = max(len(body.rest_particles), int(np.ceil(body.shape.volume / (thick / LEAST_PARTICLES) ** 3)))
    yield found(
        "warning",
        text=(
            f"{name} is {thick:.3g} m thick, {cells:.2g} grid cells and {particles:.2g} particles: it can tear, and drop out "
            "of a grip"
        ),
        advice=f"use grid_spacing <= {min(dx, thick / LEAST_CELLS):.2e} m and particles >= {wanted}",
    )  # fmt: skip


def _collider_thickness(scene: Scene) -> Iterator[Finding]:
    dx = scene.grid_spacing
    for thing in (*scene.grid_tools, *scene.grid_obstacles):
        thick = thing.shape.thickness
        name = f"{type(thing).__name__} '{thing.name}'"
        found = partial(Finding, what="thickness", name=name, value=thick / dx, allowed=LEAST_COLLIDER_CELLS, unit="cells")
        if thick >= ROUNDING * LEAST_COLLIDER_CELLS * dx:
            yield found("fine")
            continue
        yield found(
            "warning",
            text=f"{name} is {thick:.3g} m thick, {thick / dx:.2g} grid cells: it cuts through soft bodies",
            advice=(
                f"use grid_spacing <= {thick / TIGHT_COLLIDER_CELLS:.2e} m, or make it {TIGHT_COLLIDER_CELLS * dx:.2g} m thick"
            ),
        )  # fmt: skip


def _wall_thickness(scene: Scene) -> Iterator[Finding]:
    """Tools and obstacles off the grid that are thin for the particles that meet them one by one."""
    body = max(scene.soft_bodies, key=lambda body: body.particle_spacing)
    spacing = body.particle_spacing
    for thing in scene.off_grid:
        thick, name = thing.shape.thickness, f"{type(thing).__name__} '{thing.name}'"
        if thick <= 0.0:
            continue
        found = partial(
            Finding, what="thickness", name=name, value=thick / spacing, allowed=LEAST_WALL, unit="particle spacings"
        )
        if thick >= ROUNDING * LEAST_WALL * spacing:
            yield found("fine")
            continue
        yield found(
            "warning",
            text=(
                f"{name} is {thick:.3g} m thick, {thick / spacing:.2g} of the spacing of the particles of SoftBody "
                f"'{body.name}': they can pass through it"
            ),
            advice=(
                f"use particles >= {int(np.ceil(body.shape.volume / (thick / LEAST_WALL) ** 3))}, or make it "
                f"{LEAST_WALL * spacing:.2g} m thick"
            ),
        )  # fmt: skip


def coupling_findings(scene: Scene) -> Iterator[Finding]:
    """That shapes which the grid does not know make a scene of soft bodies a coupled one, and by which tool or obstacle."""
    if scene.soft_bodies and scene.off_grid and not scene.moving_articulations:
        names = ", ".join(f"{type(thing).__name__} '{thing.name}' ({type(thing.shape).__name__})" for thing in scene.off_grid)
        yield Finding(
            "warning", "coupling", names, value=COUPLED_FACTOR[1], allowed=1.0, unit="times the time",
            text=(
                f"particles meet {names} one by one, as the grid knows spheres, capsules, boxes and tori alone: this makes a "
                f"coupled scene, {COUPLED_FACTOR[0]} to {COUPLED_FACTOR[1]} times slower, which runs on a CPU, an environment "
                "a core"
            ),
        )  # fmt: skip


def domain_findings(scene: Scene) -> Iterator[Finding]:
    """Tools, obstacles and rigid bodies wholly outside the domain, where no soft body is. (A soft body that reaches outside is
    refused by `Scene`.)"""
    if not scene.soft_bodies:
        return
    lower, upper = np.asarray(scene.lower), np.asarray(scene.upper)
    for thing in (*scene.tools, *scene.obstacles, *scene.rigid_bodies):
        if not thing.shape.bounded:
            continue
        position = np.asarray(thing.position)
        outside = float(np.linalg.norm(position - position.clip(lower, upper))) - thing.shape.bounding_radius
        name = f"{type(thing).__name__} '{thing.name}'"
        found = partial(Finding, what="outside the domain", name=name, value=outside, allowed=0.0, unit="m")
        if outside <= 0.0:
            yield found("fine")
            continue
        place, low, high = (tuple(float(f"{value:.4g}") for value in values) for values in (position, lower, upper))
        yield found(
            "note" if thing in scene.rigid_bodies else "warning",
            text=f"{name} at {place} lies outside the domain ({low} to {high}): soft bodies cannot reach it",
            advice="move it, or enlarge the domain",
        )  # fmt: skip
