"""Pictures of a scene's states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import trimesh

from diffsim.errors import InputError
from diffsim.render.camera import Camera
from diffsim.render.geometry import Color, GroundMarker, GroundPlane, ParticleCloud, TriangleMesh
from diffsim.render.rasterizer import Rasterizer
from diffsim.render.skin import Skin
from diffsim.render.surfaces import rigid_surface, soft_surface, vertex_colors
from diffsim.scene import Scene, rotation_matrix
from diffsim.state import State

BODY_COLORS: tuple[Color, ...] = (
    (0.98, 0.72, 0.12),
    (0.93, 0.36, 0.36),
    (0.25, 0.7, 0.62),
    (0.62, 0.45, 0.83),
)
TOOL_COLORS: tuple[Color, ...] = ((0.17, 0.42, 0.84), (0.13, 0.62, 0.78), (0.45, 0.4, 0.85))
OBSTACLE_COLOR: Color = (0.3, 0.33, 0.39)
PARTICLE_SIZE = 0.56  # radius over the particles' spacing


@dataclass(frozen=True)
class _SoftPart:
    particles: slice
    radius: float
    skin: Skin
    faces: np.ndarray
    color: np.ndarray  # (3,), or one per vertex (V, 3)
    plain: np.ndarray  # (3,) of its particles
    shapeless: bool  # drawn as particles always


class SceneRenderer:
    """Draws the states of one scene, always from one camera and in one size.

    Args:
        scene: what to draw.
        camera: where from; ``None`` frames the scene's domain.
        width, height: of the frames, pixels.
        body_colors: sRGB in [0, 1] by name, for soft bodies, tools and obstacles; the others take theirs
            from the palette, or from the colours in a body's mesh file.
        supersampling: samples a pixel along each axis.
    """

    def __init__(
        self,
        scene: Scene,
        *,
        camera: Camera | None = None,
        width: int = 480,
        height: int = 360,
        body_colors: Mapping[str, Color] | None = None,
        supersampling: int = 2,
    ):
        self.scene = scene
        self._rasterizer = Rasterizer(width, height, supersampling)
        colors = dict(body_colors or {})
        names = [thing.name for thing in (*scene.soft_bodies, *scene.tools, *scene.obstacles)]
        for name in colors:
            if name not in names:
                raise InputError(f"body_colors: nothing is named '{name}'; the scene has {', '.join(names)}")
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
                    radius=PARTICLE_SIZE * (body.shape.volume / len(rest)) ** (1.0 / 3.0),
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
        self._still = []
        for obstacle in scene.obstacles:
            mesh = rigid_surface(obstacle.shape)
            vertices = obstacle.to_world(np.asarray(mesh.vertices))
            self._still.append(
                TriangleMesh(vertices, np.asarray(mesh.faces), colors.get(obstacle.name, OBSTACLE_COLOR))
            )
        self.camera = camera if camera is not None else self._framing(width / height)

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
            markers: painted on the ground.
        """
        if mode not in ("surface", "particles"):
            raise InputError(f"mode must be 'surface' or 'particles', got {mode!r}")
        if not -state.num_envs <= environment < state.num_envs:
            raise InputError(f"environment must lie in [0, {state.num_envs}), got {environment}")
        x, position, rotation = (
            tensor[environment].detach().cpu().double().numpy()
            for tensor in (state.x, state.tool_position, state.tool_rotation)
        )
        if x.shape != (self._particles, 3) or position.shape != (len(self._tools), 3):
            raise InputError(
                f"state: an environment's x and tool_position must be ({self._particles}, 3) and "
                f"({len(self._tools)}, 3), "
                f"got {x.shape} and {position.shape}"
            )
        meshes, clouds = list(self._still), []
        for part in self._soft:
            particles = x[part.particles]
            if mode == "surface" and not part.shapeless:
                meshes.append(TriangleMesh(part.skin(particles), part.faces, part.color))
            else:
                clouds.append(ParticleCloud(particles, part.radius, part.plain))
        for (mesh, color), where, turn in zip(self._tools, position, rotation, strict=True):
            vertices = np.asarray(mesh.vertices) @ rotation_matrix(tuple(turn)).T + where
            meshes.append(TriangleMesh(vertices, np.asarray(mesh.faces), color))
        return self._rasterizer.render(
            self.camera,
            meshes=meshes,
            particles=clouds,
            ground=self._ground(markers),
            shadow_bounds=(self.scene.lower, self.scene.upper),
        )

    def _ground(self, markers: Sequence[GroundMarker]) -> GroundPlane | None:
        if self.scene.ground is None:
            return None
        (x0, y0, _), (x1, y1, _) = self.scene.lower, self.scene.upper
        extent = (0.5 * (x1 - x0), 0.5 * (y1 - y0))
        spacing = 10.0 ** np.floor(np.log10(max(extent)))
        return GroundPlane(
            height=self.scene.ground.height,
            center=(0.5 * (x0 + x1), 0.5 * (y0 + y1)),
            extent=extent,
            spacing=float(spacing),
            markers=tuple(markers),
        )

    def _framing(self, aspect: float) -> Camera:
        """A camera that sees the domain's floor and everything in its first place."""
        lower, upper = np.asarray(self.scene.lower), np.asarray(self.scene.upper)
        floor = lower[2] if self.scene.ground is None else self.scene.ground.height
        middle, half = 0.5 * (lower + upper), 0.5 * (upper - lower)
        points = []
        for thing in (*self.scene.soft_bodies, *self.scene.tools, *self.scene.obstacles):
            box = trimesh.bounds.corners(thing.shape.surface_mesh().bounds)
            points.extend(thing.to_world(box).tolist())
        top = max(point[2] for point in points)
        for i, j in ((-1, -1), (-1, 1), (1, -1), (1, 1)):  # where the bodies and the tools may go
            for reach, z in ((0.42, floor), (0.3, top)):
                points.append([middle[0] + 2 * reach * i * half[0], middle[1] + 2 * reach * j * half[1], z])
        return Camera.framing(np.asarray(points), aspect, azimuth_degrees=-84.0, elevation_degrees=36.0)
