"""Things that overlap as they are declared: contact would throw them apart in the first step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from diffsim.checks.findings import Finding
from diffsim.scene.articulation import Geometry
from diffsim.scene.bodies import PlacedShape
from diffsim.scene.rotations import rotation_matrix
from diffsim.scene.scene import Scene
from diffsim.scene.shapes import Shape

if TYPE_CHECKING:
    from diffsim.rigid.rigid_model import RigidModel

DEPTH = 0.05  # of the smaller thing's radius; what is less may be meant to touch
POINTS = 200  # of a surface that are looked at, and as many halfway to its middle


@dataclass(frozen=True)
class _Thing:
    """A shape in the world, and what it belongs to: "RigidBody 'box'", "the ground"."""

    name: str
    shape: Shape
    position: np.ndarray
    rotation: np.ndarray

    @classmethod
    def of(cls, placed: PlacedShape) -> _Thing:
        name = f"{type(placed).__name__} '{placed.name}'"
        return cls(name, placed.shape, np.asarray(placed.position), rotation_matrix(placed.rotation))

    @classmethod
    def on(cls, name: str, geometry: Geometry, position: np.ndarray, rotation: np.ndarray) -> _Thing:
        """A geometry of a link that is there."""
        place = position + rotation @ np.asarray(geometry.position)
        return cls(name, geometry.shape, place, rotation @ rotation_matrix(geometry.rotation))

    @cached_property
    def points(self) -> np.ndarray:
        """Of the surface and of the inside, in the world, (P, 3)."""
        vertices = np.asarray(self.shape.fine_mesh(2 * POINTS).vertices)  # a box's corners alone may lie on another's faces
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


def overlap_findings(scene: Scene, model: RigidModel | None) -> Iterator[Finding]:
    """Of pairs that reach into each other by more than a share of the smaller one's radius, as far as the points of their
    surfaces tell; ``model`` is that of the scene's rigid things, if there are any. Links are looked at as they are at reset, in
    the pairs that may touch. A soft body may start within the tool that drags it, and tools in what they do not touch."""
    found: dict[tuple[str, str], tuple[float, float, bool]] = {}
    rigid = _geometries(scene, model) if model is not None else []
    pairs = [*_soft_pairs(scene, rigid), *_tool_pairs(scene), *(_rigid_pairs(model, rigid) if model is not None else ())]
    for one, other, meant in pairs:
        depth, limit = _depth(one, other), DEPTH * min(one.radius, other.radius)
        if depth > limit and depth > found.get((one.name, other.name), (0.0,))[0]:
            found[one.name, other.name] = (depth, limit, meant)
    for (one_name, other_name), (depth, limit, meant) in found.items():
        outcome = "is that meant so?" if meant else "contact will throw them apart"
        yield Finding(
            "note" if meant else "warning", "overlap", one_name, value=depth, allowed=limit, unit="m",
            text=f"{one_name} reaches {depth:.2g} m into {other_name} in the scene as declared: {outcome}",
        )  # fmt: skip


def _near(one: _Thing, others: Sequence[_Thing]) -> list[_Thing]:
    """Those whose bounding spheres meet that of ``one``."""
    if not others:
        return []
    positions, radii = np.array([each.position for each in others]), np.array([each.radius for each in others])
    near = np.linalg.norm(positions - one.position, axis=1) < radii + one.radius
    return [each for each, is_near in zip(others, near, strict=True) if is_near]


def _soft_pairs(scene: Scene, rigid: Sequence[_Thing]) -> Iterator[tuple[_Thing, _Thing, bool]]:
    """Soft bodies with each other, obstacles, links and tools. (One below the ground is refused by `Scene`.)"""
    bodies = [_Thing.of(body) for body in scene.soft_bodies]
    fixed = [_Thing.of(thing) for thing in scene.obstacles]
    tools = [_Thing.of(tool) for tool in scene.tools]
    moving = [thing for thing in rigid if thing.name.startswith(("RigidBody", "Link"))]
    for number, body in enumerate(bodies):
        yield from ((body, other, False) for other in _near(body, [*bodies[number + 1 :], *moving, *fixed]))
        yield from ((body, other, True) for other in _near(body, tools))


def _geometries(scene: Scene, model: RigidModel) -> list[_Thing]:
    """All colliding geometries of the model, in its order, at reset."""
    positions, rotations = model.forward_kinematics(model.initial)
    placed: tuple[PlacedShape, ...] = (*scene.obstacles, *scene.tools, *scene.rigid_bodies)
    kinds = {"ground": "the ground"} | {thing.name: f"{type(thing).__name__} '{thing.name}'" for thing in placed}
    names = [kinds.get(owner, f"Link '{owner}'") for owner in model.geometry_owners]
    return [
        _Thing.on(name, geometry, positions[number], rotations[number])
        for name, geometry, number in zip(names, model.geometries, model.geometry_links, strict=True)
    ]


def _rigid_pairs(model: RigidModel, things: Sequence[_Thing]) -> Iterator[tuple[_Thing, _Thing, bool]]:
    """Geometries that may touch, once each; what moves first."""
    for a, b in dict.fromkeys((min(pair), max(pair)) for pair in model.pairs):
        moves = model.links[model.weld(model.geometry_links[a])].kind.dofs
        one, other = (things[a], things[b]) if moves else (things[b], things[a])
        if _near(one, [other]):
            yield one, other, False


def _tool_pairs(scene: Scene) -> Iterator[tuple[_Thing, _Thing, bool]]:
    """Tools with each other, the obstacles and the ground."""
    tools = [_Thing.of(tool) for tool in scene.tools]
    fixed = [_Thing.of(thing) for thing in scene.obstacles]
    if scene.ground is not None:
        fixed.append(_Thing.on("the ground", scene.ground.geometry, np.zeros(3), np.eye(3)))
    for number, tool in enumerate(tools):
        yield from ((tool, other, True) for other in _near(tool, [*tools[number + 1 :], *fixed]))


def _depth(one: _Thing, other: _Thing) -> float:
    depths = [float(other.depths_of(one.points).max(initial=-np.inf))] if one.shape.bounded else []
    if other.shape.bounded:
        depths.append(float(one.depths_of(other.points).max(initial=-np.inf)))
    return max(depths)
