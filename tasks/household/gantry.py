"""Things on rails: the actors of the rigid household tasks, hands without an arm, and what slides along an axis."""

from __future__ import annotations

import math

import diffsim as ds

AXES = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}

Vector3 = tuple[float, float, float]


def rails(
    axes: str,
    position: Vector3,
    geometries: tuple[ds.Geometry, ...],
    *,
    mass: float = 0.5,
    damping: float = 0.0,
    prefix: str = "",
    start: tuple[float, ...] | None = None,
    limits: dict[str, tuple[float, float]] | None = None,
    limit_stiffness: float | None = None,
) -> tuple[ds.Link, ...]:
    """Links on prismatic joints, one on the other; they and their joints have the names of the axes.

    Args:
        axes: some of "xyz", in order; the last one's link carries the geometries and all the mass, as if weightless.
        position: of that link at the joints' zero, m.
        mass: kg.
        damping: of each joint, N s/m.
        prefix: of the names.
        start: coordinates at reset, m; None: zero.
        limits: lowest and highest coordinate by axis, m.
        limit_stiffness: N/m beyond these; as of `diffsim.Joint`.
    """
    links: list[ds.Link] = []
    for axis, initial in zip(axes, start or (0.0,) * len(axes), strict=True):
        last = axis == axes[-1]
        joint = ds.Joint(
            prefix + axis, "prismatic", AXES[axis], damping=damping, initial=(initial,), limits=(limits or {}).get(axis),
            limit_stiffness=limit_stiffness,
        )  # fmt: skip
        moment = 1e-3 * mass  # rails do not turn, so it does not matter
        links.append(
            ds.Link(
                prefix + axis,
                joint,
                links[-1].name if links else None,
                (0.0, 0.0, 0.0) if links else position,
                inertia=ds.Inertia(mass, (moment, moment, moment)) if last else None,
                geometries=geometries if last else (),
                gravity_compensation=1.0 if last else 0.0,
            )
        )
    return tuple(links)


def velocity_drives(joints: tuple[str, ...], gain: float, force: float = math.inf) -> tuple[ds.Actuator, ...]:
    """An actuator for each joint: ``gain`` N for each m/s that the velocity differs from the action, at most ``force`` N."""
    return tuple(ds.Actuator(name, name, "velocity", gain=gain, force_limits=(-force, force)) for name in joints)


def gantry(
    name: str,
    axes: str,
    position: Vector3,
    geometries: tuple[ds.Geometry, ...],
    *,
    mass: float = 0.5,
    gain: float = 50.0,
    force: float = math.inf,
    start: tuple[float, ...] | None = None,
    limits: dict[str, tuple[float, float]] | None = None,
    limit_stiffness: float | None = None,
) -> ds.Articulation:
    """A hand whose velocity along each of ``axes`` is the action: `rails` with `velocity_drives`."""
    links = rails(axes, position, geometries, mass=mass, start=start, limits=limits, limit_stiffness=limit_stiffness)
    return ds.Articulation(name, links, velocity_drives(tuple(axes), gain, force))
