"""Bodies that overlap as they are declared: contact would throw them apart in the first step."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from diffsim.scene.bodies import PlacedShape, RigidBody, SoftBody, Tool
from diffsim.scene.rotations import rotation_matrix
from diffsim.scene.scene import Scene
from diffsim.scene.shapes import Shape

logger = logging.getLogger(__name__)

DEPTH = 0.05  # of the smaller body's radius; what is less may be meant to touch
POINTS = 200  # of a surface that are looked at, and as many halfway to its middle
REPORTED = 5  # pairs


@dataclass(frozen=True)
class _Thing:
    """A shape in the world."""

    kind: str
    name: str
    shape: Shape
    position: np.ndarray
    rotation: np.ndarray

    @classmethod
    def of(cls, placed: PlacedShape) -> _Thing:
        rotation = rotation_matrix(placed.rotation)
        return cls(type(placed).__name__, placed.name, placed.shape, np.asarray(placed.position), rotation)

    @cached_property
    def points(self) -> np.ndarray:
        """Of the surface and of the inside, in the world, (P, 3)."""
        vertices = np.asarray(self.shape.surface_mesh().vertices)
        surface = vertices[:: max(1, len(vertices) // POINTS)]
        middle = 0.5 * (vertices.min(axis=0) + vertices.max(axis=0))
        own = np.concatenate([surface, 0.5 * (surface + middle), middle[None]])
        return (own @ self.rotation.T + self.position)[self.depths_of(own, local=True) >= -1e-6 * self.radius]

    @cached_property
    def radius(self) -> float:
        return self.shape.bounding_radius

    def depths_of(self, points: np.ndarray, *, local: bool = False) -> np.ndarray:
        """How far points (P, 3) of the world, or of the shape's own frame, lie below the surface, metres (P,)."""
        own = points if local else (points - self.position) @ self.rotation
        return -self.shape.signed_distance(own)


def warn_of_overlaps(scene: Scene) -> None:
    """Warn, with both names, of bodies that reach into each other, an obstacle or the ground, and of rigid ones that reach into
    a tool, as far as the points of their surfaces tell. Links of articulations are not looked at."""
    for number, (one, other, depth) in enumerate(_overlaps(scene)):
        if number == REPORTED:
            logger.warning("Further bodies overlap; only the first %d pairs are named", REPORTED)
            return
        logger.warning("%s reaches %.2g m into %s in the scene as declared: contact will throw them apart", one, depth, other)


def _overlaps(scene: Scene) -> Iterator[tuple[str, str, float]]:
    bodies = [_Thing.of(body) for body in (*scene.soft_bodies, *scene.rigid_bodies)]
    fixed = [_Thing.of(thing) for thing in (*scene.tools, *scene.obstacles)]
    if scene.ground is not None:
        for body in bodies:
            depth = scene.ground.height - float(body.position[2]) - body.radius
            if depth > -2.0 * body.radius and body.kind == RigidBody.__name__:
                depth = scene.ground.height - float(body.points[:, 2].min())
                if depth > DEPTH * body.radius:
                    yield f"{body.kind} '{body.name}'", "the ground", depth
    everything = [*bodies, *fixed]
    if not everything:
        return
    positions = np.array([thing.position for thing in everything])
    radii = np.array([thing.radius for thing in everything])
    for i, body in enumerate(bodies):
        near = np.linalg.norm(positions[i + 1 :] - body.position, axis=1) < radii[i + 1 :] + radii[i]
        for j in np.flatnonzero(near) + i + 1:
            other = everything[j]
            if body.kind == SoftBody.__name__ and other.kind == Tool.__name__:
                continue  # a tool may start within what it drags
            depth = _depth(body, other)
            if depth > DEPTH * min(body.radius, other.radius):
                yield f"{body.kind} '{body.name}'", f"{other.kind} '{other.name}'", depth


def _depth(one: _Thing, other: _Thing) -> float:
    depths = [float(other.depths_of(one.points).max(initial=-np.inf))]
    if other.shape.bounded:
        depths.append(float(one.depths_of(other.points).max(initial=-np.inf)))
    return max(depths)
