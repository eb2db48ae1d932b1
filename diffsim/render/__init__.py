"""Pictures and videos without a screen. Taichi starts at the first picture."""

from diffsim.render.camera import Camera
from diffsim.render.geometry import GroundMarker, GroundPlane, ParticleCloud, TriangleMesh
from diffsim.render.rasterizer import Rasterizer
from diffsim.render.scene_renderer import SceneRenderer
from diffsim.render.skin import Skin
from diffsim.render.video import caption, side_by_side, write_gif, write_png, write_video

__all__ = [
    "Camera",
    "GroundMarker",
    "GroundPlane",
    "ParticleCloud",
    "Rasterizer",
    "SceneRenderer",
    "Skin",
    "TriangleMesh",
    "caption",
    "side_by_side",
    "write_gif",
    "write_png",
    "write_video",
]
