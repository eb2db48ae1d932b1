"""Where a scene's pictures are taken from, and how far they reach."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import trimesh

from diffsim.render.camera import Camera
from diffsim.render.geometry import ColoredMesh, GroundMarker, GroundPlane
from diffsim.render.rigid_parts import RigidParts
from diffsim.scene.bodies import SoftBody, Tool
from diffsim.scene.scene import Scene


class SceneFraming:
    """The part of the world that a scene's pictures show.

    Args:
        scene: what is drawn.
        rigid: its rigid things.

    Attributes:
        box: lower and upper corner of where things may move, m, (2, 3).
    """

    def __init__(self, scene: Scene, rigid: RigidParts) -> None:
        self.scene, self._rigid = scene, rigid
        self._floor = rigid.floor(scene.ground.height if scene.ground is not None else None)
        self._still_points, self._first_points = rigid.points(self._floor)
        self.box = self._whole_box()

    def walls(self, camera: Camera) -> list[ColoredMesh]:
        """The planes that are not floors, as a camera sees them."""
        reach = 0.5 * float(np.linalg.norm(self.box[1] - self.box[0]))
        return self._rigid.walls(np.asarray(camera.position), self.box.mean(axis=0), reach)

    def pixel(self, camera: Camera, height: int) -> float:
        """About how large a pixel is where things are nearest to a camera, metres."""
        eye, middle = np.asarray(camera.position), self.box.mean(axis=0)
        nearest = float(np.linalg.norm(eye - np.clip(eye, *self.box)))
        return 2.0 * camera.half_height / height * max(nearest, 0.1 * float(np.linalg.norm(eye - middle)))

    def ground(self, camera: Camera, markers: Sequence[GroundMarker]) -> GroundPlane | None:
        """The floor with marks on it, as a camera sees it; marks without a floor are on a plane at height 0."""
        height = 0.0 if self._floor is None and markers else self._floor
        if height is None:
            return None
        (x0, y0, z0), (x1, y1, z1) = self.box
        center, extent = (0.5 * (x0 + x1), 0.5 * (y0 + y1)), (0.5 * (x1 - x0), 0.5 * (y1 - y0))
        if not self.scene.soft_bodies:  # there is no domain: as wide as the view and the shadows
            view = camera.half_height * float(np.linalg.norm(np.subtract(camera.target, camera.position)))
            extent = (max(*extent, 0.5 * (z1 - z0), 1.2 * view),) * 2
        spacing = float(10.0 ** np.floor(np.log10(max(extent))))
        if not self.scene.soft_bodies:
            x, y, _ = camera.target
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

    def shadow_box(self, links: Sequence[ColoredMesh], moving: Camera | None = None) -> tuple[Sequence[float], Sequence[float]]:
        """Lower and upper corner of the box whose shadows are drawn.

        An axis doubles when links leave it, and does not change otherwise: the edges of shadows flicker when its size changes.

        Args:
            links: as they are now.
            moving: a camera that goes along with a link: the box follows what it looks at, over the ground, so that shadows
                far from the start are as sharp as there.
        """
        low, high = self.box
        if moving is not None:
            near = 0.25 * (high - low)
            away = np.asarray(moving.target) - np.clip(moving.target, low + near, high - near)
            low, high = low + away * (1.0, 1.0, 0.0), high + away * (1.0, 1.0, 0.0)
        points = [np.stack([mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)]) for mesh in links]
        far = np.abs(np.reshape(points, (-1, 3)) - 0.5 * (low + high)) / np.maximum(0.5 * (high - low), 1e-6)
        grown = 2.0 ** np.clip(np.ceil(np.log2(far.max(axis=0, initial=1.0) - 1e-6)), 0.0, 6.0)
        middle, half = 0.5 * (low + high), 0.5 * (high - low) * grown
        return (middle - half).tolist(), (middle + half).tolist()

    def camera(self, aspect: float) -> Camera:
        """A camera that sees everything in its initial pose, and the domain's floor if there are soft bodies."""
        scene = self.scene
        points = [*map(_corners, scene.soft_bodies), *map(_corners, scene.tools)]
        points += [self._still_points, _around(self._first_points, 0.1)]
        if not any(len(part) for part in points):  # nothing is visible
            points.append(trimesh.bounds.corners(self.box))
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
