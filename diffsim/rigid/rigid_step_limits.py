"""The largest substep that the explicit forces of rigid things bear: springs, position servos and stiff limits of joints and
tendons, and compliant contact. All else is implicit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from diffsim.checks.findings import Finding
from diffsim.rigid.constraint_model import Term
from diffsim.rigid.rigid_model import RigidModel

STIFF_CONTACT = 1.0  # k dt^2 / m of compliant contact, which bears up to a few
# A spring k on a mass m that is damped by c, implicitly, is stable while k dt^2 - 2 c dt < 4 m (symplectic Euler, of which the
# midpoint rule is a shift in time)
SPRING_LIMIT = 4.0
LIMIT_SLOPE = 0.5  # of the force of a limit, over its stiffness, at rest (docs/rigid.md, Contact, e = 0)
HALVINGS = 60


def rigid_step_findings(model: RigidModel) -> Iterator[Finding]:
    """The model's substep against the joints' stiffness and that of compliant contact."""
    if model.dofs:
        yield from _joint_findings(model)
        if model.contact.compliant:
            yield from _contact_findings(model)


def joint_stiffness(model: RigidModel) -> tuple[np.ndarray, np.ndarray]:
    """Explicit stiffness and implicit damping (dofs, dofs) by springs, position servos and limits that a user declared, of
    joints and of tendons, all of which are taken to be at work."""
    K, D = np.zeros((2, model.dofs, model.dofs))
    for link in model.links[1:]:
        joint, own = link.joint, range(link.dofs.start, link.dofs.stop)
        D[own, own] += joint.damping
        if joint.type.coordinate_names:
            K[own, own] += joint.spring_stiffness
            for n, dof in enumerate(own):
                if joint.limits_of(n) is not None:
                    K[dof, dof] += LIMIT_SLOPE * (joint.limit_stiffness or 0.0)
    for index, articulation in enumerate(model.articulations):
        for actuator in articulation.actuators:
            c = _by_dof(model, model.terms(index, articulation.transmission(actuator)))
            if actuator.kind == "position":
                K += actuator.gain * np.outer(c, c)
            resists = actuator.damping * (actuator.kind != "torque") + actuator.gain * (actuator.kind == "velocity")
            D += resists * np.outer(c, c)
    for placed in model.constraints.tendons:
        tendon, c = placed.tendon, _by_dof(model, placed.terms)
        limits = LIMIT_SLOPE * (tendon.limit_stiffness or 0.0) if tendon.limits is not None else 0.0
        K += (tendon.stiffness + limits) * np.outer(c, c)
        D += tendon.damping * np.outer(c, c)
    return K, D


def _by_dof(model: RigidModel, terms: Iterable[Term]) -> np.ndarray:
    """Coefficients of a length (dofs,)."""
    c = np.zeros(model.dofs)
    for term in terms:
        c[term.dof] += term.coefficient
    return c


def _joint_findings(model: RigidModel) -> Iterator[Finding]:
    """Of each articulation that has stiff joints: they couple by its mass matrix alone."""
    M, (K, D) = model.mass_matrix(model.initial), joint_stiffness(model)
    for index in range(len(model.articulations)):
        links = [link for link in model.links if link.articulation == index and link.kind.dofs]
        dofs = [dof for link in links for dof in range(link.dofs.start, link.dofs.stop)]
        if not dofs or not K[np.ix_(dofs, dofs)].any():
            continue
        parts = (each[np.ix_(dofs, dofs)] for each in (M, K, D))
        allowed, mode = largest_step(*parts)
        dof = dofs[int(np.abs(mode).argmax())]
        link = next(link for link in links if link.dofs.start <= dof < link.dofs.stop)
        name = f"Joint '{model.articulations[index].name}.{link.joint.name}'"
        if model.dt <= allowed:
            yield Finding("fine", "time step", name, value=model.dt, allowed=allowed, unit="s")
            continue
        yield Finding(
            "error" if model.dt > 2.0 * allowed else "warning", "time step", name, value=model.dt, allowed=allowed, unit="s",
            text=f"{name}: its springs, tendons, position actuators or limits are too stiff at dt = {model.dt:.2e} s",
            advice=f"use dt <= {allowed:.2e} s, lower gains, or more damping or armature",
        )  # fmt: skip


def largest_step(M: np.ndarray, K: np.ndarray, D: np.ndarray) -> tuple[float, np.ndarray]:
    """The largest dt at which the largest eigenvalue of M^-1 (dt^2 K - 2 dt D) is no more than 4, and its mode there, scaled
    by the dofs' inertias."""
    inverse_root = np.linalg.inv(np.linalg.cholesky(M))

    def modes(dt: float) -> tuple[np.ndarray, np.ndarray]:
        return np.linalg.eigh(inverse_root @ (dt**2 * K - 2.0 * dt * D) @ inverse_root.T)  # type: ignore[no-any-return]

    high = 2.0 / np.sqrt(max(float(modes(1.0)[0][-1]), 1e-30)) if not D.any() else 1.0
    while modes(high)[0][-1] <= SPRING_LIMIT and high < 1e6:
        high *= 2.0
    low = 0.0
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if modes(middle)[0][-1] <= SPRING_LIMIT else (low, middle)
    return low, modes(low)[1][:, -1]


def _contact_findings(model: RigidModel) -> Iterator[Finding]:
    """Of each link, by the stiffest of its compliant contact points."""
    worst: dict[str, float] = {}
    for k, mass, number in zip(model.default_stiffness, model.least_masses, model.geometry_links, strict=True):
        if np.isfinite(mass):
            name = model.links[number].name
            worst[name] = max(worst.get(name, 0.0), float(k * model.dt**2 / mass))
    for name, share in worst.items():
        allowed = model.dt * (STIFF_CONTACT / share) ** 0.5
        if share <= STIFF_CONTACT:
            yield Finding("fine", "time step", f"Link '{name}'", value=model.dt, allowed=allowed, unit="s")
            continue
        yield Finding(
            "warning", "time step", f"Link '{name}'", value=model.dt, allowed=allowed, unit="s",
            text=(
                f"link '{name}': a contact point's stiffness times dt^2 over its effective mass is {share:.2g}, above "
                f"{STIFF_CONTACT:g}: contact may blow up"
            ),
            advice=f"use dt <= {allowed:.2g} s, a softer contact, or more mass or armature",
        )  # fmt: skip
