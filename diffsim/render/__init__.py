"""Pictures and videos without a screen. Taichi starts at the first picture."""

from diffsim.render.camera import Camera, LinkCamera
from diffsim.render.geometry import ColoredMesh, GroundMarker, GroundPlane, ParticleCloud
from diffsim.render.lighting import Lighting
from diffsim.render.particle_surface import ParticleSurface, particle_surface
from diffsim.render.rasterizer import Rasterizer, Visibility
from diffsim.render.scene_renderer import Mark, SceneRenderer, SensorImages
from diffsim.render.skin import Skin
from diffsim.render.space_markers import arrow_marker, ball_marker, path_marker, surface_marker
from diffsim.render.value_colors import particle_strain, value_colors
from diffsim.render.video import caption, side_by_side, write_gif, write_png, write_video

__all__ = [
    "Camera",
    "ColoredMesh",
    "GroundMarker",
    "GroundPlane",
    "Lighting",
    "LinkCamera",
    "Mark",
    "ParticleCloud",
    "ParticleSurface",
    "Rasterizer",
    "SceneRenderer",
    "SensorImages",
    "Skin",
    "Visibility",
    "arrow_marker",
    "ball_marker",
    "caption",
    "particle_strain",
    "particle_surface",
    "path_marker",
    "side_by_side",
    "surface_marker",
    "value_colors",
    "write_gif",
    "write_png",
    "write_video",
]
