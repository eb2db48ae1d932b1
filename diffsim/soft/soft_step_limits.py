"""The largest substep that soft bodies bear, and what single precision makes of it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from diffsim.checks.findings import Finding, Severity
from diffsim.scene.bodies import SoftBody
from diffsim.scene.scene import Scene

# explicit MPM with quadratic splines was stable up to about 0.7 in `tests/diffsim/test_physics.py`'s bar; strain adds to it
LARGEST_COURANT_NUMBER = 0.5
UNSTABLE_COURANT_NUMBER = 1.5  # a block of any material bursts within 50 substeps (`tests/diffsim/test_scene_report.py`)
HOPELESS = 10.0  # times the largest: a body so stiff may be meant to be rigid
# explicit viscosity: noise in a block decays at 0.3 and grows at 0.4
LARGEST_VISCOUS_NUMBER = 0.2
UNSTABLE_VISCOUS_NUMBER = 0.4


def soft_step_findings(scene: Scene, dt: float) -> Iterator[Finding]:
    """The substep dt (s) against what the waves and the viscosity of each soft body's material allow."""
    for body in scene.soft_bodies:
        strengths = [muscle.strength for muscle in scene.muscles if muscle.body == body.name]
        yield _waves(body, max(strengths, default=0.0), dt, scene.grid_spacing)
        if body.material.kinematic_viscosity:
            yield _viscosity(body, dt, scene.grid_spacing)


def _severity(number: float, largest: float, unstable: float) -> Severity:
    return "fine" if number <= largest else "warning" if number < unstable else "error"


def _waves(body: SoftBody, strength: float, dt: float, dx: float) -> Finding:
    """Courant's number. A muscle at an activation of 1 adds twice its strength (Pa) to the stiffness along its fibres."""
    speed, name = body.material.wave_speed, f"SoftBody '{body.name}'"
    if strength:
        speed = math.sqrt(speed**2 + 2.0 * strength / body.material.parameters["density"])
    courant, allowed = speed * dt / dx, LARGEST_COURANT_NUMBER * dx / speed
    severity = _severity(courant, LARGEST_COURANT_NUMBER, UNSTABLE_COURANT_NUMBER)
    if severity == "fine":
        return Finding(severity, "time step", name, value=dt, allowed=allowed, unit="s")
    rigid = courant > HOPELESS * LARGEST_COURANT_NUMBER and not body.material.SHAPELESS
    return Finding(
        severity, "time step", name, value=dt, allowed=allowed, unit="s",
        text=(
            f"{name}: its pressure waves travel at {speed:.5g} m/s, and the Courant number is {courant:.2f}, above "
            f"{LARGEST_COURANT_NUMBER:.1f}"
        ),
        advice=f"use dt <= {allowed:.2e} s{', or a RigidBody if it need not deform' if rigid else ''}",
    )  # fmt: skip


def _viscosity(body: SoftBody, dt: float, dx: float) -> Finding:
    """The number of explicit diffusion."""
    number, name = body.material.kinematic_viscosity * dt / dx**2, f"SoftBody '{body.name}'"
    allowed = LARGEST_VISCOUS_NUMBER * dt / number
    severity = _severity(number, LARGEST_VISCOUS_NUMBER, UNSTABLE_VISCOUS_NUMBER)
    if severity == "fine":
        return Finding(severity, "time step", name, value=dt, allowed=allowed, unit="s")
    return Finding(
        severity, "time step", name, value=dt, allowed=allowed, unit="s",
        text=(
            f"{name}: the viscous number viscosity dt / (density dx^2) is {number:.2f}, above {LARGEST_VISCOUS_NUMBER:.1f}"
        ),
        advice=f"use dt <= {allowed:.2e} s",
    )  # fmt: skip
