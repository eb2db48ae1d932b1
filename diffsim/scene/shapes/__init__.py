"""Shapes, one file each: what a scene and a picture need in numpy, and the signed distance of the kernels."""

from diffsim.scene.shapes.compound import Compound, OpenBox
from diffsim.scene.shapes.cone import Cone
from diffsim.scene.shapes.contact_balls import ContactPoints
from diffsim.scene.shapes.cylinder import Cylinder
from diffsim.scene.shapes.ellipsoid import Ellipsoid
from diffsim.scene.shapes.height_field import HeightField
from diffsim.scene.shapes.plane import Plane
from diffsim.scene.shapes.rounded_box import Box, Capsule, RoundedBox, Sphere
from diffsim.scene.shapes.shape import Part, Shape
from diffsim.scene.shapes.torus import Torus
from diffsim.scene.shapes.triangle_mesh import TriangleMesh
from diffsim.scene.shapes.vessel import Bowl, Cup, Vessel

# the kernels of every scene hold these distances, in this order; any other shape is compiled for the scenes that use it
ALWAYS: tuple[type[Shape], ...] = (Plane, RoundedBox, Cylinder, Torus, TriangleMesh)

__all__ = [
    "ALWAYS",
    "Bowl",
    "Box",
    "Capsule",
    "Compound",
    "Cone",
    "ContactPoints",
    "Cup",
    "Cylinder",
    "Ellipsoid",
    "HeightField",
    "OpenBox",
    "Part",
    "Plane",
    "RoundedBox",
    "Shape",
    "Sphere",
    "Torus",
    "TriangleMesh",
    "Vessel",
]
