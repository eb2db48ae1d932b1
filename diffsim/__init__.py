"""diffsim: a differentiable simulator of soft, rigid and articulated bodies in Taichi whose steps are torch functions."""

from diffsim.articulation import Actuator, Articulation, ContactModel, Geometry, Inertia, Joint, Link
from diffsim.control import EndEffector
from diffsim.errors import InputError, SimulationError
from diffsim.gradcheck import gradcheck
from diffsim.gradient_report import GradientReport, SmoothingSchedule, gradient_report
from diffsim.materials import Elastic, ElastoPlastic, Liquid, Material, NeoHookean, Sand, Snow
from diffsim.model_files import load_articulation
from diffsim.scene import Ground, Obstacle, RigidBody, Scene, SoftBody, Tool
from diffsim.shapes import Box, Capsule, Cylinder, MeshShape, Plane, Sphere, Torus, TriangleMesh
from diffsim.simulator import Simulator
from diffsim.state import State

__all__ = [
    "Actuator",
    "Articulation",
    "Box",
    "Capsule",
    "ContactModel",
    "Cylinder",
    "Elastic",
    "ElastoPlastic",
    "EndEffector",
    "Geometry",
    "GradientReport",
    "Ground",
    "Inertia",
    "InputError",
    "Joint",
    "Link",
    "Liquid",
    "Material",
    "MeshShape",
    "NeoHookean",
    "Obstacle",
    "Plane",
    "RigidBody",
    "Sand",
    "Scene",
    "SimulationError",
    "Simulator",
    "SmoothingSchedule",
    "Snow",
    "SoftBody",
    "Sphere",
    "State",
    "Tool",
    "Torus",
    "TriangleMesh",
    "gradcheck",
    "gradient_report",
    "load_articulation",
]
