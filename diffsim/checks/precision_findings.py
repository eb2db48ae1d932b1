"""What single precision makes of a scene: strains and positions near their last place. Small increments are no concern
(`diffsim/rounding.py`); what is left is the rounding of F, on which stresses act, and of positions, on which contact does.

Measured in f32 against f64: cubes of 10 cm (dx 31 mm) that lie on the ground, and boxes that slide to rest on it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import numpy as np

from diffsim.checks.findings import Finding, Severity
from diffsim.rigid.rigid_model import RigidModel
from diffsim.scene.bodies import SoftBody
from diffsim.scene.scene import Scene

LAST_PLACE = 2.0**-23  # of a number from 1 to 2
# a body's strain by its own weight, in last places of F. With 60 (E = 1e8 Pa) stresses are right within a tenth, with 0.6 (1e10
# Pa) strains are a hundred times too large, which still is 6e-5; at rest it creeps upwards by 4 mm/s with 0.06, by 3 cm/s with
# 0.02, and shakes at 1 m/s with 0.006 (1e12 Pa)
NOTED_STRAIN, LEAST_STRAIN = 10.0, 0.1
# last place of a coordinate in cells. With 2e-3 (at 1 km) a resting cube lies .05 mm off, with 3e-2 (at 10 km) 2 mm
NOTED_CELLS, MOST_CELLS = 1e-3, 1e-2
# last place of a coordinate over dt, m/s: a box at rest trembles at a third of it (3 mm/s at 10 m with dt = .1 ms)
NOTED_SPEED, MOST_SPEED = 1e-3, 1e-2


def precision_findings(scene: Scene, model: RigidModel | None, dt: float) -> Iterator[Finding]:
    """Of f32; ``model`` is that of the scene's rigid things."""
    gravity = math.hypot(*scene.gravity)
    for body in scene.soft_bodies:
        if gravity and not body.material.SHAPELESS:
            yield _strain(body, gravity)
    if scene.soft_bodies:
        yield _cells(scene)
    if model is not None and model.dofs and model.pairs:
        yield _speed(model, dt)


def _last_place(size: float) -> float:
    """Distance to the next number in f32."""
    return float(np.spacing(np.float32(size)))


def _severity(number: float, noted: float, most: float) -> Severity:
    return "fine" if number <= noted else "note" if number <= most else "warning"


def _strain(body: SoftBody, gravity: float) -> Finding:
    """By its own weight: density g height over the modulus of its pressure waves, density c^2."""
    height = float(np.ptp(body.rest_particles, axis=0).max())
    strain = gravity * height / body.material.wave_speed**2
    places, name = strain / LAST_PLACE, f"SoftBody '{body.name}'"
    severity = _severity(1.0 / places, 1.0 / NOTED_STRAIN, 1.0 / LEAST_STRAIN)
    found = partial(Finding, what="f32", name=name, value=places, allowed=NOTED_STRAIN, unit="last places")
    if severity == "fine":
        return found(severity)
    outcome = "they are lost, and it creeps or shakes" if severity == "warning" else "small strains are lost"
    return found(
        severity,
        text=f"{name} strains by {strain:.1g} under its own weight, {places:.2g} last places of f32: {outcome}",
        advice="use dtype=torch.float64, a softer material, or a RigidBody",
    )  # fmt: skip


def _cells(scene: Scene) -> Finding:
    farthest = float(np.abs([scene.lower, scene.upper]).max())
    place = _last_place(farthest)
    cells = place / scene.grid_spacing
    severity = _severity(cells, NOTED_CELLS, MOST_CELLS)
    found = partial(Finding, what="f32", name="the domain", value=cells, allowed=NOTED_CELLS, unit="cells")
    if severity == "fine":
        return found(severity)
    return found(
        severity,
        text=f"the domain reaches to {farthest:.3g} m, where positions in f32 are {place:.1g} m apart, {cells:.1g} cells",
        advice="move the scene to the origin, or use dtype=torch.float64",
    )  # fmt: skip


def _speed(model: RigidModel, dt: float) -> Finding:
    positions, _rotations = model.forward_kinematics(model.initial)
    moving = [number for number in range(1, len(model.links)) if model.links[model.weld(number)].kind.dofs]
    farthest = max(float(np.abs(positions[moving]).max()), 1e-3)
    place = _last_place(farthest)
    severity = _severity(place / dt, NOTED_SPEED, MOST_SPEED)
    found = partial(Finding, what="f32", name="contact of rigid things", value=place / dt, allowed=NOTED_SPEED, unit="m/s")
    if severity == "fine":
        return found(severity)
    return found(
        severity,
        text=(
            f"positions in f32 are {place:.1g} m apart {farthest:.3g} m from the origin: with dt = {dt:.1e} s things at rest "
            f"tremble at up to {place / dt:.1g} m/s"
        ),
        advice="move the scene to the origin, use a larger dt, or dtype=torch.float64",
    )  # fmt: skip
