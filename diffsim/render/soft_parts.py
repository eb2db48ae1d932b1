"""What the pictures show of a scene's soft bodies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy.spatial import cKDTree

from diffsim.render.geometry import Color, ColoredMesh, ParticleCloud
from diffsim.render.particle_surface import particle_surface
from diffsim.render.skin import Skin
from diffsim.render.surfaces import soft_surface, vertex_colors
from diffsim.scene.bodies import SoftBody
from diffsim.scene.materials import MaterialLook
from diffsim.scene.scene import Scene

SoftMode = Literal["surface", "particles", "reconstruction"]
SOFT_MODES: tuple[str, ...] = get_args(SoftMode)

BODY_COLORS: tuple[Color, ...] = (
    (0.98, 0.72, 0.12),
    (0.93, 0.36, 0.36),
    (0.25, 0.7, 0.62),
    (0.62, 0.45, 0.83),
)
PARTICLE_SIZE = 0.56  # radius over the particles' spacing


@dataclass(frozen=True)
class SoftPart:
    """A soft body: its particles among all, their spacing (m), what moves its surface and that surface's faces.

    color: of the surface, (3,), or one per vertex (V, 3); plain: (3,) of the particles.
    """

    particles: slice
    spacing: float
    skin: Skin | None
    faces: np.ndarray
    color: np.ndarray
    plain: np.ndarray
    opacity: float
    grains: bool


class SoftParts:
    """Meshes and particles of all soft bodies.

    Args:
        scene: what to draw.
        colors: sRGB in [0, 1] by body. They take precedence over the bodies' own, these over the colours of their mesh files,
            and these over those of the materials and the palette.

    Attributes:
        parts: a part for each body.
        count: of all particles.
    """

    def __init__(self, scene: Scene, colors: Mapping[str, Color]):
        self.parts: list[SoftPart] = []
        self.count = 0
        for number, body in enumerate(scene.soft_bodies):
            part = _part(body, self.count, BODY_COLORS[number % len(BODY_COLORS)], colors.get(body.name, body.color))
            self.parts.append(part)
            self.count = part.particles.stop

    def drawn(
        self, particles: np.ndarray, mode: SoftMode, colors: np.ndarray | None = None
    ) -> list[ColoredMesh | ParticleCloud]:
        """Each body's mesh or cloud.

        Args:
            particles: (N, 3), metres.
            colors: sRGB of each particle, (N, 3), in place of the bodies' colours.
        """
        found: list[ColoredMesh | ParticleCloud] = []
        for part in self.parts:
            own = particles[part.particles]
            paint = None if colors is None else colors[part.particles]
            if mode == "particles" or part.grains:
                found.append(ParticleCloud(own, PARTICLE_SIZE * part.spacing, part.plain if paint is None else paint))
            else:
                found.append(_mesh(part, own, paint, mode))
        return found


def _part(body: SoftBody, start: int, palette: Color, chosen: Color | None) -> SoftPart:
    mesh, rest = soft_surface(body.shape), body.rest_particles
    look = body.material.LOOK or MaterialLook(palette)
    painted = None if chosen is not None else vertex_colors(mesh)
    plain = np.asarray(look.color if chosen is None else chosen, dtype=float)
    if painted is not None:
        plain = np.median(painted, axis=0)
    return SoftPart(
        particles=slice(start, start + len(rest)),
        spacing=body.particle_spacing,
        skin=None if body.material.SHAPELESS else Skin(body.to_world(np.asarray(mesh.vertices)), rest),
        faces=np.asarray(mesh.faces),
        color=plain if painted is None else painted,
        plain=plain,
        opacity=look.opacity if body.opacity is None else body.opacity,
        grains=look.grains,
    )


def _mesh(part: SoftPart, particles: np.ndarray, paint: np.ndarray | None, mode: SoftMode) -> ColoredMesh:
    """A body's surface at its particles (n, 3), painted by their colours (n, 3) if given."""
    if mode == "reconstruction" or part.skin is None:
        vertices, faces, normals = particle_surface(particles, part.spacing)
        color = part.plain if paint is None else paint[cKDTree(particles).query(vertices)[1]]
        return ColoredMesh(vertices, faces, color, normals=normals, opacity=part.opacity)
    color = part.color if paint is None else np.clip(part.skin(paint), 0.0, 1.0)
    return ColoredMesh(part.skin(particles), part.faces, color, opacity=part.opacity)
