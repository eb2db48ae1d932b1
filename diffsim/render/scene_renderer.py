"""Pictures of a scene's states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import trimesh

from diffsim.errors import InputError
from diffsim.render.camera import Camera
from diffsim.render.geometry import Color, ColoredMesh, GroundMarker, GroundPlane, ParticleCloud
from diffsim.render.rasterizer import Rasterizer
from diffsim.render.rigid_parts import RigidParts
from diffsim.render.skin import Skin
from diffsim.render.surfaces import rigid_surface, soft_surface, vertex_colors
from diffsim.scene.bodies import SoftBody, Tool
from diffsim.scene.rotations import rotation_matrix
from diffsim.scene.scene import Scene
from diffsim.scene.validation import instance, members, rgb
from diffsim.state import State

BODY_COLORS: tuple[Color, ...] = (
    (0.98, 0.72, 0.12),
    (0.93, 0.36, 0.36),
    (0.25, 0.7, 0.62),
    (0.62, 0.45, 0.83),
)
TOOL_COLORS: tuple[Color, ...] = ((0.17, 0.42, 0.84), (0.13, 0.62, 0.78), (0.45, 0.4, 0.85))
PARTICLE_SIZE = 0.56  # radius over the particles' spacing


@dataclass(frozen=True)
class _SoftPart:
    particles: slice
    radius: float
    skin: Skin
    faces: np.ndarray
    color: np.ndarray  # (3,), or one per vertex (V, 3)
    plain: np.ndarray  # (3,) of its particles
    shapeless: bool  # always drawn as particles


@dataclass(frozen=True)
class SceneParts:
    """What the pictures of a scene are made of, for other viewers.

    Attributes:
        soft: surfaces and particles of the soft bodies.
        tools: meshes of the tools in their own frames, each with its colour.
        rigid: the obstacles and the links.
        walls: planes that are not floors.
        ground: the ground without markers; None: there is none.
        box: lower and upper corner of where things may move, m, (2, 3).
        camera: that of the pictures.
    """

    soft: Sequence[_SoftPart]
    tools: Sequence[tuple[trimesh.Trimesh, Color]]
    rigid: RigidParts
    walls: Sequence[ColoredMesh]
    ground: GroundPlane | None
    box: np.ndarray
    camera: Camera


class SceneRenderer:
    """Draws the states of one scene, always from one camera and in one size.

    Args:
        scene: what to draw.
        camera: ``None`` takes one that sees the domain of the soft bodies and all rigid things in their initial poses.
        width, height: of the frames, pixels.
        colors: sRGB in [0, 1] by name, for soft bodies, tools, obstacles, rigid bodies, articulations and links
            ("<articulation>.<link>"). The others have the colours of their geometries or mesh files, or else of the palette.
        supersampling: samples a pixel along each axis.
    """

    def __init__(
        self,
        scene: Scene,
        *,
        camera: Camera | None = None,
        width: int = 480,
        height: int = 360,
        colors: Mapping[str, Color] | None = None,
        supersampling: int = 2,
    ):
        instance("SceneRenderer", "scene", scene, Scene, "a diffsim.Scene")
        if camera is not None:
            instance("SceneRenderer", "camera", camera, Camera, "a diffsim.render.Camera or None")
        if colors is not None and not isinstance(colors, Mapping):
            raise InputError(f"SceneRenderer: colors must be colours by name, got {colors!r}")
        self.scene = scene
        self._rasterizer = Rasterizer(width, height, supersampling)
        colors = {name: rgb("SceneRenderer", f"colors['{name}']", value) for name, value in (colors or {}).items()}  # type: ignore[misc]
        names = [thing.name for thing in (*scene.soft_bodies, *scene.tools)] + RigidParts.names(scene)
        for name in colors:
            if name not in names:
                raise InputError(f"colors: nothing is named '{name}'; the scene has {', '.join(names)}")
        self._soft: list[_SoftPart] = []
        start = 0
        for i, body in enumerate(scene.soft_bodies):
            mesh, rest = soft_surface(body.shape), body.rest_particles
            painted = None if body.name in colors else vertex_colors(mesh)
            plain = np.asarray(colors.get(body.name, BODY_COLORS[i % len(BODY_COLORS)]), dtype=float)
            if painted is not None:
                plain = np.median(painted, axis=0)
            self._soft.append(
                _SoftPart(
                    particles=slice(start, start + len(rest)),
                    radius=PARTICLE_SIZE * body.particle_spacing,
                    skin=Skin(body.to_world(np.asarray(mesh.vertices)), rest),
                    faces=np.asarray(mesh.faces),
                    color=plain if painted is None else painted,
                    plain=plain,
                    shapeless=body.material.SHAPELESS,
                )
            )
            start += len(rest)
        self._particles = start
        self._tools = [
            (rigid_surface(tool.shape), colors.get(tool.name, TOOL_COLORS[i % len(TOOL_COLORS)]))
            for i, tool in enumerate(scene.tools)
        ]
        self._rigid = RigidParts(scene, colors)
        self._floor = self._rigid.floor(scene.ground.height if scene.ground is not None else None)
        self._still_points, self._first_points = self._rigid.points(self._floor)
        self._box = self._whole_box()
        self.camera = camera if camera is not None else self._framing(width / height)
        eye, middle = np.asarray(self.camera.position), self._box.mean(axis=0)
        self._walls = self._rigid.walls(eye, middle, 0.5 * float(np.linalg.norm(self._box[1] - self._box[0])))
        nearest = float(np.linalg.norm(eye - np.clip(eye, *self._box)))
        pixel = 2.0 * self.camera.half_height / height * max(nearest, 0.1 * float(np.linalg.norm(eye - middle)))
        self._rigid.simplify(pixel)

    def frame(
        self,
        state: State,
        environment: int = 0,
        *,
        mode: Literal["surface", "particles"] = "surface",
        markers: Sequence[GroundMarker] = (),
    ) -> np.ndarray:
        """The picture of one environment, sRGB uint8 (height, width, 3).

        Args:
            state: of this scene, batch first.
            environment: index in the batch.
            mode: soft bodies as their skinned surfaces, or as the particles themselves, as liquids, sand and snow always are.
            markers: painted on the ground; where the scene has none, on a plane at height 0.
        """
        if mode not in ("surface", "particles"):
            raise InputError(f"mode must be 'surface' or 'particles', got {mode!r}")
        instance("frame", "state", state, State, "a diffsim.State")
        if isinstance(environment, bool) or not isinstance(environment, int | np.integer):
            raise InputError(f"environment must be an integer, got {environment!r}")
        members("frame", "markers", markers, GroundMarker)
        if not -state.num_envs <= environment < state.num_envs:
            raise InputError(f"environment must lie in [0, {state.num_envs}), got {environment}")
        x, position, rotation, q = (
            tensor[environment].detach().cpu().double().numpy()
            for tensor in (state.x, state.tool_position, state.tool_rotation, state.q)
        )
        expected = ((self._particles, 3), (len(self._tools), 3), (self._rigid.coordinates,))
        if (x.shape, position.shape, q.shape) != expected:
            raise InputError(
                "state: an environment's x, tool_position and q must have the shapes "
                f"{', '.join(map(str, expected))}, got {x.shape}, {position.shape}, {q.shape}"
            )
        still, links = self._rigid.meshes(q)
        meshes, clouds = [*self._walls, *still, *links], []
        for part in self._soft:
            particles = x[part.particles]
            if mode == "surface" and not part.shapeless:
                meshes.append(ColoredMesh(part.skin(particles), part.faces, part.color))
            else:
                clouds.append(ParticleCloud(particles, part.radius, part.plain))
        for (mesh, color), where, turn in zip(self._tools, position, rotation, strict=True):
            vertices = np.asarray(mesh.vertices) @ rotation_matrix(tuple(turn)).T + where
            meshes.append(ColoredMesh(vertices, np.asarray(mesh.faces), color))
        return self._rasterizer.render(
            self.camera,
            meshes=meshes,
            particles=clouds,
            ground=self._ground(markers),
            shadow_bounds=self._shadow_box(links),
        )

    def parts(self) -> SceneParts:
        """What the pictures are made of."""
        return SceneParts(self._soft, self._tools, self._rigid, self._walls, self._ground(()), self._box, self.camera)

    def _ground(self, markers: Sequence[GroundMarker]) -> GroundPlane | None:
        height = 0.0 if self._floor is None and markers else self._floor
        if height is None:
            return None
        (x0, y0, z0), (x1, y1, z1) = self._box
        center, extent = (0.5 * (x0 + x1), 0.5 * (y0 + y1)), (0.5 * (x1 - x0), 0.5 * (y1 - y0))
        if not self.scene.soft_bodies:  # there is no domain: as wide as the view and the shadows
            view = self.camera.half_height * float(np.linalg.norm(np.subtract(self.camera.target, self.camera.position)))
            extent = (max(*extent, 0.5 * (z1 - z0), 1.2 * view),) * 2
        spacing = float(10.0 ** np.floor(np.log10(max(extent))))
        if not self.scene.soft_bodies:
            x, y, _ = self.camera.target
            center = (spacing * round(x / spacing), spacing * round(y / spacing))
        return GroundPlane(height, center, extent, spacing=spacing, markers=tuple(markers))

    def _whole_box(self) -> np.ndarray:
        """Lower and upper corner, (2, 3), of where things may move: the soft bodies' domain, and room round the links."""
        scene = self.scene
        if scene.soft_bodies:
            corners = [np.array([scene.lower, scene.upper])]
        else:
            corners = [self._still_points, *(_corners(tool) for tool in scene.tools)]
        corners.append(_around(self._first_points, 0.4))
        points = np.concatenate([*corners, np.zeros((0, 3))])
        if len(points) == 0:  # nothing is visible
            points = np.array([[-0.5, -0.5, 0.0], [0.5, 0.5, 1.0]])
        box = np.array([points.min(axis=0), points.max(axis=0)])
        if self._floor is not None and not scene.soft_bodies:
            box[0, 2] = min(box[0, 2], self._floor)
        return box

    def _shadow_box(self, links: Sequence[ColoredMesh]) -> tuple[Sequence[float], Sequence[float]]:
        """Lower and upper corner of the box whose shadows are drawn.

        An axis doubles when links leave it, and does not change otherwise: the edges of shadows flicker when the box moves.
        """
        low, high = self._box
        points = [np.stack([mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)]) for mesh in links]
        far = np.abs(np.reshape(points, (-1, 3)) - 0.5 * (low + high)) / np.maximum(0.5 * (high - low), 1e-6)
        grown = 2.0 ** np.clip(np.ceil(np.log2(far.max(axis=0, initial=1.0) - 1e-6)), 0.0, 6.0)
        middle, half = 0.5 * (low + high), 0.5 * (high - low) * grown
        return (middle - half).tolist(), (middle + half).tolist()

    def _framing(self, aspect: float) -> Camera:
        """A camera that sees everything in its initial pose, and the domain's floor if there are soft bodies."""
        scene = self.scene
        points = [*map(_corners, scene.soft_bodies), *map(_corners, scene.tools)]
        points += [self._still_points, _around(self._first_points, 0.1)]
        if not any(len(part) for part in points):  # nothing is visible
            points.append(trimesh.bounds.corners(self._box))
        if not scene.soft_bodies:
            every = np.concatenate(points)
            wide, deep, high = np.ptp(every, axis=0)
            flat = 1.0 - min(1.0, 1.5 * high / max(wide, deep, 1e-9))  # what lies flat shows more from above
            return Camera.framing(every, aspect, azimuth_degrees=-60.0, elevation_degrees=22.0 + 20.0 * flat)
        lower, upper = np.asarray(scene.lower), np.asarray(scene.upper)
        floor = lower[2] if self._floor is None else self._floor
        middle, half = 0.5 * (lower + upper), 0.5 * (upper - lower)
        top = max(float(part[:, 2].max()) for part in points if len(part))
        for i, j in ((-1, -1), (-1, 1), (1, -1), (1, 1)):  # where the bodies and the tools may go
            for reach, z in ((0.42, floor), (0.3, top)):
                points.append(np.array([[middle[0] + 2 * reach * i * half[0], middle[1] + 2 * reach * j * half[1], z]]))
        return Camera.framing(np.concatenate(points), aspect, azimuth_degrees=-84.0, elevation_degrees=36.0)


def _around(points: np.ndarray, share: float) -> np.ndarray:
    """Room to move in: points (N, 3) shifted along the diagonals of x and y by a share of their box's length, (4 N, 3)."""
    reach = share * float(np.ptp(points, axis=0).max()) if len(points) else 0.0
    return np.concatenate([points + np.array([i * reach, j * reach, 0.0]) for i in (-1, 1) for j in (-1, 1)])


def _corners(thing: SoftBody | Tool) -> np.ndarray:
    """Corners of a body's bounding box, in the world, (8, 3)."""
    return thing.to_world(trimesh.bounds.corners(thing.shape.surface_mesh().bounds))
