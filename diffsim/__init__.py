"""diffsim: a differentiable simulator of soft, rigid and articulated bodies in Taichi whose steps are torch functions."""

from diffsim.errors import InputError, SimulationError
from diffsim.gradients.gradcheck import gradcheck
from diffsim.gradients.gradient_report import GradientReport, gradient_report
from diffsim.gradients.smoothing_schedule import SmoothingSchedule
from diffsim.robots.inverse_kinematics import EndEffector
from diffsim.robots.model_files import load_articulation
from diffsim.scene.articulation import Actuator, Articulation, Geometry, Inertia, Joint, Link
from diffsim.scene.bodies import Ground, Obstacle, RigidBody, SoftBody, Tool
from diffsim.scene.contact_model import ContactModel
from diffsim.scene.materials import Elastic, ElastoPlastic, Liquid, Material, NeoHookean, Sand, Snow
from diffsim.scene.scene import Scene
from diffsim.scene.shapes import Box, Capsule, Cylinder, MeshShape, Plane, Shape, Sphere, Torus, TriangleMesh
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
    "Shape",
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
