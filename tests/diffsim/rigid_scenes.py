"""Small scenes of rigid bodies for the tests, together with every feature of docs/rigid.md."""

from __future__ import annotations

import numpy as np

from diffsim.scene.articulation import Actuator, Articulation, Geometry, Inertia, Joint, Link
from diffsim.scene.shapes import Box, Capsule, Cylinder, Shape, Sphere, Torus


def inertia(rng: np.random.Generator, mass: float = 1.0) -> Inertia:
    moments = mass * 0.02 * rng.uniform(1.0, 1.6, 3)
    return Inertia(mass, tuple(moments), tuple(0.03 * rng.normal(size=3)), tuple(rng.normal(size=4)))


def free_body(name: str, shape: Shape, position=(0.0, 0.0, 0.0), *, seed: int = 0, mass: float = 1.0, **geometry):
    """One body on a free joint, its geometry turned and off the centre."""
    rng = np.random.default_rng(seed)
    body = Geometry(shape, position=tuple(0.01 * rng.normal(size=3)), rotation=tuple(rng.normal(size=4)), **geometry)
    link = Link(name, Joint("free", "free"), position=position, inertia=inertia(rng, mass), geometries=(body,))
    return Articulation(name, (link,))


def arm(name: str = "arm", *, seed: int = 1, geometries: bool = False) -> Articulation:
    """Every kind of joint, limits, dry friction, springs, dampers, and an actuator of every kind."""
    rng = np.random.default_rng(seed)
    kinds = ("revolute", "prismatic", "ball", "fixed", "revolute", "revolute")
    links = []
    for i, kind in enumerate(kinds):
        scalar = kind in ("revolute", "prismatic")
        joint = Joint(
            f"j{i}", kind, axis=tuple(rng.normal(size=3)), damping=0.05 * (i + 1), armature=0.01, friction_loss=0.02 * i,
            spring_stiffness=0.3 * scalar, spring_rest=0.1 * scalar,
            limits=(-0.3, 0.25) if scalar else None, limit_stiffness=5.0, limit_smoothing=0.05,
        )  # fmt: skip
        own = (Geometry(Capsule(0.05, 0.03), friction=0.4, restitution=0.3),) if geometries and i > 2 else ()
        place, turn = tuple(0.15 * rng.normal(size=3)), tuple(rng.normal(size=4))
        links.append(Link(f"l{i}", joint, f"l{i - 1}" if i else None, place, turn, inertia=inertia(rng), geometries=own))
    actuators = (
        Actuator("torque", "j0", gain=1.5, control_limits=(-1.0, 1.0)),
        Actuator("position", "j1", kind="position", gain=20.0, damping=0.5, force_limits=(-50.0, 50.0)),
        Actuator("both", {"j4": 0.7, "j5": -0.4}, kind="position", gain=3.0, damping=0.2, control_scale=2.0),
        Actuator("velocity", "j5", kind="velocity", gain=0.3),
        Actuator("clipped", "j4", kind="position", gain=50.0, force_limits=(-0.1, 0.1)),
    )
    return Articulation(name, tuple(links), actuators, position=(0.1, 0.2, 0.3), rotation=tuple(rng.normal(size=4)))


SHAPES = {
    "sphere": Sphere(0.1),
    "capsule": Capsule(0.1, 0.05),
    "box": Box((0.1, 0.08, 0.06)),
    "rounded box": Box((0.1, 0.08, 0.06), rounding=0.02),
    "cylinder": Cylinder(0.08, 0.06),
    "rounded cylinder": Cylinder(0.08, 0.06, rounding=0.02),
    "torus": Torus(0.1, 0.03),
}
