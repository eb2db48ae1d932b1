"""The nodes of one scene in viser's tree, and where they are at a state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from diffsim.render.geometry import ColoredMesh, GroundMarker, ParticleCloud
from diffsim.render.scene_renderer import Mark, SceneRenderer
from diffsim.render.soft_parts import PARTICLE_SIZE, SoftPart
from diffsim.scene.rotations import quaternion_of
from diffsim.state import State

if TYPE_CHECKING:
    import viser

SHADES = 8  # steps of each colour component where a mesh has a colour for each vertex: a node has one colour
RING = 48  # corners of a disc
DISTINCT = 4000  # places along the box that the vertices of deforming bodies are rounded to, which files compress well
LIFT = 2e-3  # of the box's size: height of a mark over the ground


class SceneNodes:
    """Everything of a scene under one node.

    Args:
        server: viser's.
        root: name of that node, as "/left".
        renderer: whose pictures it shall look like.
        particles: whether soft bodies are drawn as particles, as what flows always is.
        points: most particles of a body that are drawn.
    """

    def __init__(self, server: viser.ViserServer, root: str, renderer: SceneRenderer, *, particles: bool, points: int) -> None:
        self._scene, self._root, parts, camera = server.scene, root, renderer.parts, renderer.first_camera
        self._rigid, self._soft, self._points = parts.rigid, parts.soft.parts, points
        self._ground = renderer.framing.ground(camera, ())
        low, high = renderer.framing.box
        self._size = float(np.linalg.norm(high - low))
        self._grid = 2.0 ** np.floor(np.log2(self._size / DISTINCT))
        self._frame = server.scene.add_frame(root, show_axes=False)
        self._links: list[tuple[int, viser.FrameHandle]] = []
        for number, mesh in parts.rigid.link_meshes():
            frame = server.scene.add_frame(f"{root}/link {number}", show_axes=False)
            self._links.append((number, frame))
            self._add(f"{root}/link {number}/mesh {len(self._links)}", mesh)
        for number, wall in enumerate(renderer.framing.walls(camera)):
            self._add(f"{root}/wall {number}", wall)
        self._tools = []
        for number, tool in enumerate(parts.tools):
            self._tools.append(server.scene.add_frame(f"{root}/tool {number}", show_axes=False))
            vertices, faces = np.asarray(tool.surface.vertices), np.asarray(tool.surface.faces)
            self._add(f"{root}/tool {number}/mesh", ColoredMesh(vertices, faces, tool.color, opacity=tool.opacity))
        self._skins: list[tuple[int, np.ndarray, viser.MeshHandle]] = []
        self._clouds: list[tuple[np.ndarray, viser.PointCloudHandle]] = []
        for number, part in enumerate(self._soft):
            if part.skin is None or particles:
                self._clouds.append(self._cloud(f"{root}/body {number}", part))
            else:
                vertices = np.zeros((part.skin.matrix.shape[0], 3))
                rest = ColoredMesh(vertices, part.faces, part.color, opacity=part.opacity)
                for used, handle in self._meshes(f"{root}/body {number}", rest):
                    self._skins.append((number, used, handle))

    def show(self, state: State) -> None:
        """Bring all to a state of one environment."""
        x, position, rotation, q = (
            each[0].detach().cpu().double().numpy() for each in (state.x, state.tool_position, state.tool_rotation, state.q)
        )
        places, turns = self._rigid.link_poses(q)
        for number, frame in self._links:
            frame.position, frame.wxyz = places[number], np.array(quaternion_of(turns[number]))
        for frame, place, turn in zip(self._tools, position, rotation, strict=True):
            frame.position, frame.wxyz = place, turn
        surfaces: dict[int, np.ndarray] = {}
        for number, used, handle in self._skins:
            if number not in surfaces:
                part = self._soft[number]
                assert part.skin is not None
                surfaces[number] = np.round(part.skin(x[part.particles]) / self._grid) * self._grid
            handle.vertices = surfaces[number][used].astype(np.float32)
        for chosen, cloud in self._clouds:
            cloud.points = (np.round(x[chosen] / self._grid) * self._grid).astype(np.float32)

    def mark(self, markers: Sequence[Mark]) -> None:
        """Paint marks on the ground, and put those in space there."""
        height = (0.0 if self._ground is None else self._ground.height) + LIFT * self._size
        for number, marker in enumerate(markers):
            if isinstance(marker, ColoredMesh):
                self._add(f"{self._root}/marker {number}", marker)
                continue
            if isinstance(marker, ParticleCloud):
                points, colors = marker.positions.astype(np.float32), _each_bytes(np.asarray(marker.color))
                self._scene.add_point_cloud(
                    f"{self._root}/marker {number}", points, colors, point_size=2.0 * marker.radius, point_shape="circle",
                    precision="float32",
                )  # fmt: skip
                continue
            vertices, faces = _disc(marker, height + 0.1 * LIFT * self._size * number)
            self._scene.add_mesh_simple(
                f"{self._root}/marker {number}", vertices, faces, color=_bytes(np.asarray(marker.color)), side="double",
                opacity=marker.opacity, cast_shadow=False, receive_shadow=False,
            )  # fmt: skip

    def remove(self) -> None:
        """Take them all away."""
        self._frame.remove()

    def _cloud(self, name: str, part: SoftPart) -> tuple[np.ndarray, viser.PointCloudHandle]:
        """The particles that are drawn, and their node; where some are left out, the others are larger."""
        every = np.arange(part.particles.start, part.particles.stop)
        chosen = every[np.linspace(0, len(every) - 1, min(self._points, len(every))).astype(int)]
        size = 2.0 * PARTICLE_SIZE * part.spacing * (len(every) / max(len(chosen), 1)) ** (1.0 / 3.0)
        cloud = self._scene.add_point_cloud(
            name, np.zeros((len(chosen), 3), np.float32), _bytes(part.plain), point_size=size, point_shape="circle",
            precision="float32",
        )  # fmt: skip
        return chosen, cloud

    def _add(self, name: str, mesh: ColoredMesh) -> None:
        for _ in self._meshes(name, mesh):
            pass

    def _meshes(self, name: str, mesh: ColoredMesh) -> Iterator[tuple[np.ndarray, viser.MeshHandle]]:
        """A mesh as a node for each of its colours: the vertices that it has, and the node."""
        vertices, faces, colors = mesh.vertices, mesh.faces, np.asarray(mesh.color)
        shades = np.round(colors[faces].mean(axis=1), 6)
        if len(np.unique(shades, axis=0)) > SHADES:
            shades = np.round(shades * SHADES) / SHADES
        for number, color in enumerate(np.unique(shades, axis=0)):
            chosen = faces[(shades == color).all(axis=1)]
            used, corners = np.unique(chosen, return_inverse=True)
            handle = self._scene.add_mesh_simple(
                f"{name} {number}",
                vertices[used].astype(np.float32),
                corners.reshape(-1, 3),
                color=_bytes(color),
                side="double",
                opacity=None if mesh.opacity >= 1.0 else mesh.opacity,
            )
            yield used, handle


def _disc(marker: GroundMarker, height: float) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and faces of a ring or a disc."""
    angles = np.linspace(0.0, 2.0 * np.pi, RING, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    inner = 0.0 if marker.width is None else max(0.0, marker.radius - marker.width)
    flat = np.concatenate([inner * circle, marker.radius * circle]) + np.asarray(marker.center)
    vertices = np.concatenate([flat, np.full((2 * RING, 1), height)], axis=1)
    i = np.arange(RING)
    j = (i + 1) % RING
    faces = np.concatenate([np.stack([i, i + RING, j + RING], axis=1), np.stack([i, j + RING, j], axis=1)])
    return vertices.astype(np.float32), faces


def _each_bytes(colors: np.ndarray) -> np.ndarray:
    return np.clip(np.round(255.0 * colors), 0, 255).astype(np.uint8)


def _bytes(color: np.ndarray) -> tuple[int, int, int]:
    r, g, b = _each_bytes(np.asarray(color)).tolist()
    return r, g, b
