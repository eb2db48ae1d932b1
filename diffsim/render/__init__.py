"""Pictures and videos without a screen: camera, rasterizer, scene renderer, video writer."""

from diffsim.render.camera import Camera
from diffsim.render.geometry import GroundMarker, GroundPlane, ParticleCloud, TriangleMesh
from diffsim.render.rasterizer import Rasterizer

__all__ = ["Camera", "GroundMarker", "GroundPlane", "ParticleCloud", "Rasterizer", "TriangleMesh"]
