"""Bodies that are lighter than the soft layer that they touch: a link moves by the forces of the substep before."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from diffsim.checks.findings import Finding
from diffsim.rigid.rigid_model import RigidModel
from diffsim.scene.scene import Scene

# mass of a body's face over that of a soft layer of the same face, a cell thick. Plates that lay on a falling block (Courant
# numbers .05 to .45) were thrown up by metres at 0.014 and 0.05, by centimetres to decimetres at 0.14, by one centimetre at
# 0.5, and stayed at 2
NOTED_LIGHTNESS, LEAST_LIGHTNESS = 0.5, 0.25


def light_body_findings(scene: Scene, model: RigidModel | None) -> Iterator[Finding]:
    """Of each rigid body and link that can meet the scene's soft bodies, by the lightest of its geometries."""
    if model is None or not scene.soft_bodies or not model.dofs:
        return
    layer = max(body.material.parameters["density"] for body in scene.soft_bodies) * scene.grid_spacing
    lightest: dict[int, float] = {}
    for n in model.coupled:
        shape, mass, link = model.geometries[n].shape, float(model.least_masses[n]), model.geometry_links[n]
        if np.isfinite(mass) and shape.bounded:
            extents = np.sort(np.ptp(np.asarray(shape.surface_mesh().vertices), axis=0))
            lightest[link] = min(lightest.get(link, np.inf), mass / float(extents[1] * extents[2]))
    for link, face in lightest.items():
        own = model.links[link]
        name = f"{'RigidBody' if own.articulation < model.rigid_bodies else 'Link'} '{own.name}'"
        share = face / layer
        found = partial(Finding, what="lightness", name=name, value=share, allowed=NOTED_LIGHTNESS)
        if share >= NOTED_LIGHTNESS:
            yield found("fine")
            continue
        yield found(
            "note" if share >= LEAST_LIGHTNESS else "warning",
            text=(
                f"{name} weighs {face:.2g} kg/m^2 across, {share:.2g} of a soft layer a cell thick: soft bodies can throw it up"
            ),
            advice=f"make it heavier, or use grid_spacing <= {scene.grid_spacing * share / NOTED_LIGHTNESS:.2e} m",
        )
