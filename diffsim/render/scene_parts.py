"""All that is drawn of a scene's states, and what it is part of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import trimesh

from diffsim.errors import InputError
from diffsim.render.geometry import Color, ColoredMesh, ParticleCloud
from diffsim.render.rigid_parts import RigidParts
from diffsim.render.soft_parts import SOFT_MODES, SoftMode, SoftParts
from diffsim.render.surfaces import rigid_surface
from diffsim.scene.rotations import rotation_matrix
from diffsim.scene.scene import Scene
from diffsim.scene.validation import instance
from diffsim.state import State

TOOL_COLORS: tuple[Color, ...] = ((0.17, 0.42, 0.84), (0.13, 0.62, 0.78), (0.45, 0.4, 0.85))


class Things(NamedTuple):
    """What is drawn of a state.

    Attributes:
        meshes, clouds: of all.
        mesh_names, cloud_names: what each is part of, as an index in `SceneParts.names`.
        links: the meshes of links and rigid bodies, which are among ``meshes``.
        still: how many of the meshes, the first ones, are of what never moves.
    """

    meshes: list[ColoredMesh]
    clouds: list[ParticleCloud]
    mesh_names: list[int]
    cloud_names: list[int]
    links: list[ColoredMesh]
    still: int


class ToolPart(NamedTuple):
    """A tool: its surface in its own frame, its colour and opacity."""

    surface: trimesh.Trimesh
    color: Color
    opacity: float


class SceneParts:
    """Meshes and particles of everything in a scene but the ground and planes.

    Args:
        scene: what to draw.
        colors: sRGB in [0, 1] by name.

    Attributes:
        soft: of the soft bodies.
        tools: of the tools.
        rigid: of the obstacles, rigid bodies and articulations.
        names: "background", "ground", then soft bodies, tools, "obstacles" (all together), rigid bodies and links.
    """

    def __init__(self, scene: Scene, colors: Mapping[str, Color]) -> None:
        moving = [thing.name for thing in (*scene.soft_bodies, *scene.tools)]
        allowed = moving + RigidParts.names(scene)
        for name in colors:
            if name not in allowed:
                raise InputError(f"colors: nothing is named '{name}'; the scene has {', '.join(allowed)}")
        self.soft, self.rigid = SoftParts(scene, colors), RigidParts(scene, colors)
        self.tools = [
            ToolPart(
                rigid_surface(tool.shape),
                colors.get(tool.name) or tool.color or TOOL_COLORS[number % len(TOOL_COLORS)],
                1.0 if tool.opacity is None else tool.opacity,
            )
            for number, tool in enumerate(scene.tools)
        ]
        self.names = ("background", "ground", *moving, "obstacles", *self.rigid.link_names()[1:])
        self._bodies = len(scene.soft_bodies)

    def things(self, state: State, environment: int, mode: SoftMode, colors: np.ndarray | None) -> Things:
        """What is drawn of one environment of a state.

        Args:
            colors: sRGB of the particles, (N, 3), in place of the bodies' colours.

        Raises:
            InputError: of an argument, named as in `SceneRenderer.frame`.
        """
        if mode not in SOFT_MODES:
            raise InputError(f"mode must be {' or '.join(map(repr, SOFT_MODES))}, got {mode!r}")
        x, position, rotation, q = self._of(state, environment)
        if colors is not None:
            colors = np.asarray(colors, dtype=np.float32)
            if colors.shape != x.shape or not ((colors >= 0.0) & (colors <= 1.0)).all():
                raise InputError(f"particle_colors must be sRGB in [0, 1] of shape {x.shape}, got {colors.shape}")
        obstacles, links = self.rigid.meshes(q)
        names = {name: number for number, name in enumerate(self.names)}
        first_link = names["obstacles"]  # links are numbered from 1, the world being 0
        meshes, mesh_names = [*obstacles, *links], [first_link] * len(obstacles)
        mesh_names += [first_link + link for link in self.rigid.drawn_links]
        clouds, cloud_names = [], []
        for number, drawn in enumerate(self.soft.drawn(x, mode, colors)):
            if isinstance(drawn, ColoredMesh):
                meshes.append(drawn)
                mesh_names.append(2 + number)
            else:
                clouds.append(drawn)
                cloud_names.append(2 + number)
        for number, ((mesh, color, opacity), where, turn) in enumerate(zip(self.tools, position, rotation, strict=True)):
            vertices = np.asarray(mesh.vertices) @ rotation_matrix(tuple(turn)).T + where
            meshes.append(ColoredMesh(vertices, np.asarray(mesh.faces), color, opacity=opacity))
            mesh_names.append(2 + self._bodies + number)
        return Things(meshes, clouds, mesh_names, cloud_names, links, len(obstacles))

    def coordinates(self, state: State, environment: int) -> np.ndarray:
        """Generalized coordinates of one environment, (coordinates,)."""
        return self._of(state, environment)[3]

    def _of(self, state: State, environment: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Particles, tool positions and rotations, and coordinates of one environment."""
        instance("frame", "state", state, State, "a diffsim.State")
        if isinstance(environment, bool) or not isinstance(environment, int | np.integer):
            raise InputError(f"environment must be an integer, got {environment!r}")
        if not -state.num_envs <= environment < state.num_envs:
            raise InputError(f"environment must lie in [0, {state.num_envs}), got {environment}")
        x, position, rotation, q = (
            tensor[environment].detach().cpu().double().numpy()
            for tensor in (state.x, state.tool_position, state.tool_rotation, state.q)
        )
        expected = ((self.soft.count, 3), (len(self.tools), 3), (self.rigid.coordinates,))
        if (x.shape, position.shape, q.shape) != expected:
            raise InputError(
                "state: an environment's x, tool_position and q must have the shapes "
                f"{', '.join(map(str, expected))}, got {x.shape}, {position.shape}, {q.shape}"
            )
        return x, position, rotation, q
