"""What a scene's contact model leaves open: stiffness and smoothing by the bodies' masses and dt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from diffsim.rigid.rigid_model import RigidModel

# default stiffness of a contact point against something fixed, as a share of mass / dt^2: implicit contact sinks in by gravity
# dt^2 / 20 at most; a compliant one lasts 20 substeps
IMPLICIT_SHARE = 20.0
COMPLIANT_SHARE = (np.pi / 20.0) ** 2
FIXED_SHARE = 1e4  # of what has no mass, against the stiffest other one
FALL = 4.4  # m/s, speed after falling 1 m: the default smoothing length is passed in a substep


def least_masses(model: RigidModel) -> np.ndarray:
    """The least mass (geometries,) that a geometry's centre shows in any direction; infinite where nothing moves it."""
    masses = np.full(len(model.geometries), np.inf)
    if not model.dofs:
        return masses
    _positions, rotations, linear, angular = model.jacobians(model.initial)
    inverse = np.linalg.inv(model.mass_matrix(model.initial))
    for n, (geometry, number) in enumerate(zip(model.geometries, model.geometry_links, strict=True)):
        J = linear[number] + np.cross(angular[number].T, rotations[number] @ np.asarray(geometry.position)).T
        largest = float(np.linalg.eigvalsh(J @ inverse @ J.T)[-1])
        if largest > 1e-12:
            masses[n] = 1.0 / largest
    return masses


def stiffnesses(model: RigidModel) -> np.ndarray:
    """Of a contact point of each geometry, N/m (geometries,), as declared or from masses and dt. A pair takes the harmonic
    mean 2 ka kb / (ka + kb): twice the softer one's where the other one is fixed."""
    share = COMPLIANT_SHARE if model.contact.compliant else IMPLICIT_SHARE
    derived = 0.5 * share * model.least_masses / model.dt**2
    moving = derived[np.isfinite(derived)]
    derived[~np.isfinite(derived)] = FIXED_SHARE * (moving.max() if len(moving) else 1.0)
    if model.contact.stiffness is not None:
        derived[:] = model.contact.stiffness
    declared = [geometry.stiffness for geometry in model.geometries]
    return np.array([own if given is None else given for own, given in zip(derived, declared, strict=True)])


def smoothing_length(model: RigidModel) -> float:
    """Length over which compliant contact sets in, m; 0 where contact is implicit."""
    if not model.contact.compliant:
        return 0.0
    return FALL * model.dt if model.contact.smoothing is None else model.contact.smoothing
