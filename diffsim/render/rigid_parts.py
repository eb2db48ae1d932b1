"""What the pictures show of a scene's rigid bodies, articulations and obstacles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from diffsim.errors import InputError
from diffsim.render.decimation import Surface, simplified, surface_of
from diffsim.render.geometry import Color, ColoredMesh
from diffsim.render.packing import hemisphere
from diffsim.rigid.rigid_model import PlacedLink, RigidModel
from diffsim.scene.articulation import Articulation, Geometry
from diffsim.scene.rotations import rotation_matrix
from diffsim.scene.scene import Scene
from diffsim.scene.shapes import Plane

RIGID_COLORS: tuple[Color, ...] = (
    (0.16, 0.6, 0.66),
    (0.9, 0.45, 0.2),
    (0.5, 0.66, 0.26),
    (0.76, 0.38, 0.56),
    (0.92, 0.76, 0.3),
)
ROBOT_COLORS: tuple[Color, ...] = ((0.84, 0.85, 0.86), (0.58, 0.67, 0.78), (0.83, 0.74, 0.62))
OBSTACLE_COLOR: Color = (0.3, 0.33, 0.39)
EVERY_OTHER = 0.86  # brightness of every second link of a robot: neighbours can be told apart
BRIGHTEST = 0.86  # sRGB: the shading of a surface that reflects all light would be lost in white
MAX_TRIANGLES = 80_000  # of all rigid things together; more make a frame slow
PLANE_CELLS = 8  # along an edge of a plane's square: a triangle that reaches behind the eye is not drawn


@dataclass(frozen=True)
class _Drawn:
    """A geometry that is drawn: its link's number in the model, its colour, and whether that is no more than the palette's."""

    link: int
    geometry: Geometry
    color: Color
    default: bool


@dataclass(frozen=True)
class _Part:
    """All that is drawn of one link in one opacity, in the link's frame: vertices, normals, colours (V, 3), faces (F, 3).

    falls: whether the link may fall, being on a free joint or carried by one.
    """

    link: int
    falls: bool
    opacity: float
    vertices: np.ndarray
    normals: np.ndarray
    colors: np.ndarray
    faces: np.ndarray


class RigidParts:
    """Triangle meshes of all rigid things except the ground and the tools, at any coordinates.

    Args:
        scene: what to draw.
        colors: sRGB in [0, 1] by the name of a rigid body, an articulation, a link ("<articulation>.<link>") or an obstacle.
            They take precedence over the colours of the geometries, these over those of mesh files, these over the palette.
    """

    def __init__(self, scene: Scene, colors: Mapping[str, Color]):
        self._model = RigidModel([_bare(each) for each in scene.moving_articulations], (), scene.contact, dt=1.0)
        self.coordinates = self._model.coordinates
        drawn = _drawn(scene, self._model, colors)
        solids = [item for item in drawn if not isinstance(item.geometry.shape, Plane)]
        shapes = {id(item.geometry.shape): item.geometry.shape for item in solids}  # several geometries may share one
        self._solids = solids
        self._surfaces = {key: surface_of(shape.surface_mesh()) for key, shape in shapes.items()}
        self._parts = _parts(self._model, solids, self._surfaces)
        self._planes = [item for item in drawn if isinstance(item.geometry.shape, Plane)]

    def simplify(self, detail: float) -> None:
        """Leave out what is smaller than ``detail`` metres."""
        keys = [id(item.geometry.shape) for item in self._solids]
        uses = [keys.count(key) for key in self._surfaces]
        coarse = simplified(list(self._surfaces.values()), uses, detail, MAX_TRIANGLES)
        self._parts = _parts(self._model, self._solids, dict(zip(self._surfaces, coarse, strict=True)))

    @staticmethod
    def names(scene: Scene) -> list[str]:
        """What can be given a colour."""
        names = [thing.name for thing in (*scene.obstacles, *scene.rigid_bodies)]
        for articulation in scene.articulations:
            names += [articulation.name, *(f"{articulation.name}.{link.name}" for link in articulation.links)]
        return names

    def meshes(self, q: np.ndarray) -> tuple[list[ColoredMesh], list[ColoredMesh]]:
        """The obstacles and the links in the world at the coordinates q (coordinates,)."""
        positions, rotations = self._model.forward_kinematics(q)
        still: list[ColoredMesh] = []
        links: list[ColoredMesh] = []
        for part in self._parts:
            turn = rotations[part.link].T
            vertices, normals = part.vertices @ turn + positions[part.link], part.normals @ turn
            mesh = ColoredMesh(vertices, part.faces, part.colors, normals=normals, opacity=part.opacity)
            (links if part.link else still).append(mesh)
        return still, links

    @property
    def drawn_links(self) -> list[int]:
        """The links, by number in the model, in the order in which `meshes` lists what is drawn of them."""
        return [part.link for part in self._parts if part.link]

    def link_names(self) -> list[str]:
        """Of all links by number in the model; the first is the world."""
        return [placed.name for placed in self._model.links]

    def link_pose(self, name: str, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """World position (3,) and rotation matrix (3, 3) of a link ("<articulation>.<link>") at the coordinates q.

        Raises:
            InputError: there is no such link.
        """
        names = self.link_names()
        if name not in names[1:]:
            raise InputError(f"camera: there is no link '{name}'; links: {', '.join(names[1:]) or 'none'}")
        positions, rotations = self.link_poses(q)
        return positions[names.index(name)], rotations[names.index(name)]

    @property
    def initial(self) -> np.ndarray:
        """The initial coordinates."""
        return self._model.initial

    def link_meshes(self) -> list[tuple[int, ColoredMesh]]:
        """What is drawn of each link in the link's own frame, with the link's number; 0 stands still: the obstacles."""
        return [
            (part.link, ColoredMesh(part.vertices, part.faces, part.colors, normals=part.normals, opacity=part.opacity))
            for part in self._parts
        ]

    def link_poses(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions (L, 3), m, and rotation matrices (L, 3, 3) of all links in the world at the coordinates q."""
        positions, rotations = self._model.forward_kinematics(q)
        return np.asarray(positions), np.asarray(rotations)

    def points(self, floor: float | None) -> tuple[np.ndarray, np.ndarray]:
        """Outermost points (N, 3) of the obstacles, and those of the links in their initial poses.

        A link that may fall also counts where it would lie on the floor below.
        """
        still, links = self.meshes(self._model.initial)
        found = [np.zeros((0, 3)), *(_outermost(mesh) for mesh in links)]
        falling = [part.falls for part in self._parts if part.link]
        for mesh, falls in zip(links, falling, strict=True):
            if falls and floor is not None:
                found.append(_outermost(mesh) * (1.0, 1.0, 0.0) + (0.0, 0.0, floor))
        return np.concatenate([np.zeros((0, 3)), *(_outermost(mesh) for mesh in still)]), np.concatenate(found)

    def floor(self, ground: float | None) -> float | None:
        """Height of the highest horizontal plane, the ground's given height among them; None: there is none."""
        heights = [position[2] for position, rotation, _ in self._placed_planes() if _is_floor(rotation)]
        return max([*heights, *([] if ground is None else [ground])], default=None)

    def walls(self, eye: np.ndarray, center: np.ndarray, radius: float) -> list[ColoredMesh]:
        """Square meshes for the planes that are not floors, left out where the eye is behind them.

        Each is wide enough to back a sphere of this center and radius (metres).
        """
        found = []
        for position, rotation, color in self._placed_planes():
            if _is_floor(rotation) or (eye - position) @ rotation[:, 2] <= 0.0:
                continue
            middle = (center - position) @ rotation
            line = np.linspace(-1.5 * radius, 1.5 * radius, PLANE_CELLS + 1)
            x, y = np.meshgrid(middle[0] + line, middle[1] + line, indexing="ij")
            vertices = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1) @ rotation.T + position
            a = (np.arange(PLANE_CELLS)[:, None] * (PLANE_CELLS + 1) + np.arange(PLANE_CELLS)).ravel()
            b, c, d = a + PLANE_CELLS + 1, a + PLANE_CELLS + 2, a + 1
            faces = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
            found.append(ColoredMesh(vertices, faces, color))
        return found

    def _placed_planes(self) -> list[tuple[np.ndarray, np.ndarray, Color]]:
        """World position (3,), rotation (3, 3) and colour of the planes, all of which stand still."""
        if not self._planes:  # every frame asks
            return []
        positions, rotations = self._model.forward_kinematics(self._model.initial)
        placed = []
        for item in self._planes:
            turn = rotations[item.link]
            position = positions[item.link] + turn @ np.asarray(item.geometry.position)
            placed.append((position, turn @ rotation_matrix(item.geometry.rotation), item.color))
        return placed


def _outermost(mesh: ColoredMesh) -> np.ndarray:
    """The farthest vertices in many directions: they stand for the mesh in a frame."""
    directions = hemisphere(60)
    reach = mesh.vertices @ np.concatenate([directions, -directions, np.eye(3), -np.eye(3)]).T
    return mesh.vertices[np.unique(reach.argmax(axis=0))]


def _is_floor(rotation: np.ndarray) -> bool:
    return bool(rotation[2, 2] > 1.0 - 1e-6)


def _bare(articulation: Articulation) -> Articulation:
    """The articulation without geometries: the model is asked for poses only, and need not list contact pairs."""
    return replace(articulation, links=tuple(replace(link, geometries=()) for link in articulation.links))


def _drawn(scene: Scene, model: RigidModel, colors: Mapping[str, Color]) -> list[_Drawn]:
    """All visible geometries of the obstacles and of the links, in the model's order."""
    drawn = []
    for obstacle in scene.obstacles:
        given = colors.get(obstacle.name, obstacle.color)
        drawn.append(_Drawn(0, obstacle.geometry, OBSTACLE_COLOR if given is None else given, given is None))
    articulations, bodies = scene.moving_articulations, len(scene.rigid_bodies)
    first = {placed.articulation: number for number, placed in reversed(list(enumerate(model.links)))}
    for number, placed in enumerate(model.links[1:], start=1):
        owner = articulations[placed.articulation]
        if placed.articulation < bodies:
            palette: Color = RIGID_COLORS[placed.articulation % len(RIGID_COLORS)]
        else:
            shade = EVERY_OTHER if _depth(model.links, number) % 2 else 1.0
            r, g, b = ROBOT_COLORS[(placed.articulation - bodies) % len(ROBOT_COLORS)]
            palette = (shade * r, shade * g, shade * b)
        chosen = colors.get(placed.name, colors.get(owner.name))
        for geometry in owner.links[number - first[placed.articulation]].geometries:
            if geometry.visible:
                given = geometry.color if chosen is None else chosen
                drawn.append(_Drawn(number, geometry, palette if given is None else given, given is None))
    return drawn


def _depth(links: list[PlacedLink], number: int) -> int:
    """Moving joints between a link and the world."""
    depth = 0
    while number:
        depth += links[number].kind.dofs > 0
        number = links[number].parent
    return depth


def _parts(model: RigidModel, drawn: list[_Drawn], surfaces: Mapping[int, Surface]) -> list[_Part]:
    """One part for each link and opacity in which there is something to draw. surfaces: by the id of their shape."""
    parts = []
    for link, opacity in dict.fromkeys((item.link, _opacity(item)) for item in drawn):
        vertices, normals, colors, faces, count = [], [], [], [], 0
        for item in drawn:
            surface = surfaces[id(item.geometry.shape)]
            if (item.link, _opacity(item)) != (link, opacity) or len(surface.faces) == 0:
                continue
            turn = rotation_matrix(item.geometry.rotation).T
            vertices.append(surface.vertices @ turn + np.asarray(item.geometry.position))
            normals.append(surface.normals @ turn)
            own = surface.colors is not None and item.default
            colors.append(np.broadcast_to(_reflected(surface.colors if own else item.color), surface.vertices.shape))
            faces.append(surface.faces + count)
            count += len(surface.vertices)
        if faces:
            stacks = (np.concatenate(arrays) for arrays in (vertices, normals, colors, faces))
            parts.append(_Part(link, _falls(model.links, link), opacity, *stacks))
    return parts


def _opacity(item: _Drawn) -> float:
    return 1.0 if item.geometry.opacity is None else item.geometry.opacity


def _reflected(color: np.ndarray | Color | None) -> np.ndarray:
    """Colours (..., 3) as bright as a surface in full light may be, of the same hue."""
    array = np.clip(np.asarray(color, dtype=np.float32), 0.0, 1.0)
    return array * np.minimum(1.0, BRIGHTEST / np.maximum(array.max(axis=-1, keepdims=True), 1e-6))


def _falls(links: list[PlacedLink], number: int) -> bool:
    """Whether a link belongs to a tree on a free joint."""
    while number:
        if links[number].kind.root_only:
            return True
        number = links[number].parent
    return False
