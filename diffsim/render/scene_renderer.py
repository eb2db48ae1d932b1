"""Pictures of a scene's states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from diffsim.errors import InputError
from diffsim.render.camera import Camera, LinkCamera
from diffsim.render.geometry import Color, ColoredMesh, GroundMarker, ParticleCloud
from diffsim.render.lighting import DAYLIGHT, Lighting
from diffsim.render.rasterizer import Rasterizer
from diffsim.render.scene_framing import SceneFraming
from diffsim.render.scene_parts import SceneParts
from diffsim.render.soft_parts import SoftMode
from diffsim.scene.scene import Scene
from diffsim.scene.validation import instance, number, rgb
from diffsim.state import State

Mark = GroundMarker | ColoredMesh | ParticleCloud
"""What can be marked in a picture."""


class SensorImages(NamedTuple):
    """What a depth camera and a perfect segmentation see.

    Attributes:
        depth: metres along the viewing direction, infinite where there is nothing, (H, W), float32.
        segmentation: what each pixel sees, an index in ``names``, (H, W), int32.
        names: "background", "ground", then soft bodies, tools, "obstacles" (all together), rigid bodies and links.
    """

    depth: np.ndarray
    segmentation: np.ndarray
    names: tuple[str, ...]


class SceneRenderer:
    """Draws the states of one scene in one size.

    Args:
        scene: what to draw.
        camera: ``None`` takes one that sees the domain of the soft bodies and all rigid things in their initial poses.
        width, height: of the frames, pixels.
        colors: sRGB in [0, 1] by name, for soft bodies, tools, obstacles, rigid bodies, articulations and links
            ("<articulation>.<link>"). The others have their own colours, or those of their mesh files, or else of the palette.
        supersampling: samples a pixel along each axis.
        lighting: sun, sky and background.

    Attributes:
        parts: what is drawn, for other viewers.
        framing: how far the pictures reach.
    """

    def __init__(
        self,
        scene: Scene,
        *,
        camera: Camera | LinkCamera | None = None,
        width: int = 480,
        height: int = 360,
        colors: Mapping[str, Color] | None = None,
        supersampling: int = 2,
        lighting: Lighting = DAYLIGHT,
    ):
        instance("SceneRenderer", "scene", scene, Scene, "a diffsim.Scene")
        instance("SceneRenderer", "lighting", lighting, Lighting, "a diffsim.render.Lighting")
        if colors is not None and not isinstance(colors, Mapping):
            raise InputError(f"SceneRenderer: colors must be colours by name, got {colors!r}")
        self.scene = scene
        self._lighting = lighting
        self._rasterizer = Rasterizer(width, height, supersampling)
        self._sensor: Rasterizer | None = None
        colors = {name: rgb("SceneRenderer", f"colors['{name}']", value) for name, value in (colors or {}).items()}  # type: ignore[misc]
        self.parts = SceneParts(scene, colors)
        self.framing = SceneFraming(scene, self.parts.rigid)
        self.camera = _camera("SceneRenderer", camera) if camera is not None else self.framing.camera(width / height)
        self.parts.rigid.simplify(self.framing.pixel(self.first_camera, height))

    def frame(
        self,
        state: State,
        environment: int = 0,
        *,
        mode: SoftMode = "surface",
        markers: Sequence[Mark] = (),
        camera: Camera | LinkCamera | None = None,
        ghost: State | None = None,
        ghost_opacity: float = 0.3,
        particle_colors: np.ndarray | None = None,
    ) -> np.ndarray:
        """The picture of one environment, sRGB uint8 (height, width, 3).

        Args:
            state: of this scene, batch first.
            environment: index in the batch.
            mode: soft bodies as "surface": their skin, or a surface round the particles of liquids and snow; as "particles"; or
                as a "reconstruction": a surface round the particles of all of them, which tears and merges. Sand always looks
                like its particles.
            markers: painted on the ground, or meshes and particles in space (`ball_marker`, `arrow_marker`, `path_marker`).
                Where the scene has no ground, marks on it are on a plane at height 0.
            camera: in place of the renderer's own.
            ghost: another state, drawn see-through: a goal.
            ghost_opacity: how much it hides, 0 to 1.
            particle_colors: sRGB of each particle, (N, 3), in place of the bodies' colours (`value_colors`).

        Raises:
            InputError: of an argument, or the state is not of this scene.
        """
        placed = self.camera_at(state, environment, camera)
        goes_along = isinstance(camera or self.camera, LinkCamera)
        things = self.parts.things(state, environment, mode, particle_colors)
        painted, meshes, clouds = _sorted_marks(markers)
        number("frame", "ghost_opacity", ghost_opacity, 0.0, 1.0)
        if ghost is not None:
            goal = self.parts.things(ghost, environment, mode, None)
            meshes += [replace(mesh, opacity=ghost_opacity * mesh.opacity) for mesh in goal.meshes[goal.still :]]
            clouds += [replace(cloud, opacity=ghost_opacity) for cloud in goal.clouds]
        return self._rasterizer.render(
            placed,
            meshes=[*self.framing.walls(placed), *things.meshes, *meshes],
            particles=[*things.clouds, *clouds],
            ground=self.framing.ground(placed, painted),
            lighting=self._lighting,
            shadow_bounds=self.framing.shadow_box(things.links, placed if goes_along else None),
        )

    def sensor_images(
        self, state: State, environment: int = 0, *, mode: SoftMode = "surface", camera: Camera | LinkCamera | None = None
    ) -> SensorImages:
        """Depth and segmentation of one environment, by the middle of each pixel; see-through things count as solid.

        Args:
            state, environment, mode, camera: as of `frame`.

        Raises:
            InputError: as of `frame`.
        """
        placed = self.camera_at(state, environment, camera)
        things = self.parts.things(state, environment, mode, None)
        if self._sensor is None:
            self._sensor = Rasterizer(self._rasterizer.width, self._rasterizer.height, 1)
        walls = self.framing.walls(placed)
        seen = self._sensor.visibility(
            placed, meshes=[*things.meshes, *walls], particles=things.clouds, ground=self.framing.ground(placed, ())
        )
        names = self.parts.names
        of_mesh = np.array([*things.mesh_names, *[names.index("obstacles")] * len(walls), 0], dtype=np.int32)
        of_cloud = np.array([*things.cloud_names, 0], dtype=np.int32)
        segmentation = of_mesh[seen.mesh] + of_cloud[seen.cloud] + seen.ground * np.int32(names.index("ground"))
        return SensorImages(seen.depth, segmentation.astype(np.int32), names)

    def camera_at(self, state: State, environment: int = 0, camera: Camera | LinkCamera | None = None) -> Camera:
        """Where the renderer's camera, or another, is in one environment of a state."""
        own = self.camera if camera is None else _camera("frame", camera)
        return own if isinstance(own, Camera) else self._placed(own, self.parts.coordinates(state, environment))

    @property
    def first_camera(self) -> Camera:
        """Where the camera is at the scene's start."""
        return self._placed(self.camera, self.parts.rigid.initial)

    def _placed(self, camera: Camera | LinkCamera, q: np.ndarray) -> Camera:
        """The camera in the world at generalized coordinates (coordinates,)."""
        return camera if isinstance(camera, Camera) else camera.at(*self.parts.rigid.link_pose(camera.link, q))


def _camera(owner: str, camera: object) -> Camera | LinkCamera:
    if not isinstance(camera, Camera | LinkCamera):
        raise InputError(f"{owner}: camera must be a diffsim.render.Camera, a LinkCamera or None, got {camera!r}")
    return camera


def _sorted_marks(markers: Sequence[Mark]) -> tuple[list[GroundMarker], list[ColoredMesh], list[ParticleCloud]]:
    """Marks on the ground, meshes and particles."""
    if not isinstance(markers, Sequence):
        raise InputError(f"frame: markers must be a tuple, got {markers!r}")
    painted, meshes, clouds = [], [], []
    for mark in markers:
        if isinstance(mark, GroundMarker):
            painted.append(mark)
        elif isinstance(mark, ColoredMesh):
            meshes.append(mark)
        elif isinstance(mark, ParticleCloud):
            clouds.append(mark)
        else:
            raise InputError(f"frame: markers must be GroundMarkers, ColoredMeshes or ParticleClouds, got {mark!r}")
    return painted, meshes, clouds
