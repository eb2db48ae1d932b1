"""Pictures and videos without a screen. Taichi starts at the first picture."""

from diffsim.render.camera import Camera
from diffsim.render.geometry import ColoredMesh, GroundMarker, GroundPlane, ParticleCloud
from diffsim.render.rasterizer import Rasterizer
from diffsim.render.scene_renderer import SceneRenderer
from diffsim.render.skin import Skin
from diffsim.render.video import caption, side_by_side, write_gif, write_png, write_video

__all__ = [
    "Camera",
    "ColoredMesh",
    "GroundMarker",
    "GroundPlane",
    "ParticleCloud",
    "Rasterizer",
    "SceneRenderer",
    "Skin",
    "caption",
    "side_by_side",
    "write_gif",
    "write_png",
    "write_video",
]
