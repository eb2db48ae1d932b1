"""diffsim: a differentiable simulator of soft, rigid and articulated bodies in Taichi whose steps are torch functions."""

from importlib import metadata

from diffsim.checks.findings import Finding
from diffsim.checks.hidden_packages import warn_of_hidden_packages
from diffsim.checks.scene_report import SceneReport, check
from diffsim.errors import InputError, SimulationError
from diffsim.forces.contacts import Contacts
from diffsim.gradients.gradcheck import DirectionCheck, GradientError, gradcheck
from diffsim.gradients.gradient_report import GradientReport, Jump, gradient_report
from diffsim.gradients.smoothing_schedule import SmoothingSchedule
from diffsim.rigid.joint_info import ActuatorInfo, JointInfo
from diffsim.rigid.joints import JointType, register_joint
from diffsim.rigid.link_info import LinkInfo
from diffsim.rigid.rigid_dynamics import Links
from diffsim.rigid.wrenches import Wrench
from diffsim.robots.controllers import EndEffectorController, JointController
from diffsim.robots.inverse_kinematics import EndEffector
from diffsim.robots.model_files import load_articulation
from diffsim.scene.articulation import Actuator, Articulation, Geometry, Inertia, Joint, Link
from diffsim.scene.attachment import Attachment
from diffsim.scene.bodies import Ground, Obstacle, RigidBody, SoftBody, Tool
from diffsim.scene.constraints import Connect, JointEquality, Tendon, Weld
from diffsim.scene.contact_model import ContactModel
from diffsim.scene.materials import Material
from diffsim.scene.muscle import Muscle
from diffsim.scene.scene import Scene
from diffsim.scene.shapes import (
    Bowl,
    Box,
    Capsule,
    Compound,
    Cone,
    ContactPoints,
    Cup,
    Cylinder,
    Ellipsoid,
    HeightField,
    OpenBox,
    Plane,
    Shape,
    Sphere,
    Torus,
    TriangleMesh,
    Vessel,
)
from diffsim.simulator import Simulator
from diffsim.soft.laws.elastic import Elastic
from diffsim.soft.laws.kelvin_voigt import KelvinVoigt
from diffsim.soft.laws.liquid import Liquid
from diffsim.soft.laws.mooney_rivlin import MooneyRivlin
from diffsim.soft.laws.neo_hookean import NeoHookean
from diffsim.soft.laws.sand import Sand
from diffsim.soft.laws.snow import Snow
from diffsim.soft.laws.von_mises import ElastoPlastic
from diffsim.state import Particles, State
from diffsim.viewer.scene_view import view

try:
    __version__ = metadata.version("diffsim-rpg")  # as pyproject.toml has it
except metadata.PackageNotFoundError:  # the source tree is on the path without being installed
    __version__ = "0+unknown"

warn_of_hidden_packages()

__all__ = [
    "Actuator",
    "ActuatorInfo",
    "Articulation",
    "Attachment",
    "Bowl",
    "Box",
    "Capsule",
    "Compound",
    "Cone",
    "Connect",
    "ContactModel",
    "ContactPoints",
    "Contacts",
    "Cup",
    "Cylinder",
    "DirectionCheck",
    "Elastic",
    "ElastoPlastic",
    "Ellipsoid",
    "EndEffector",
    "EndEffectorController",
    "Finding",
    "Geometry",
    "GradientError",
    "GradientReport",
    "Ground",
    "HeightField",
    "Inertia",
    "InputError",
    "Joint",
    "JointController",
    "JointEquality",
    "JointInfo",
    "JointType",
    "Jump",
    "KelvinVoigt",
    "Link",
    "LinkInfo",
    "Links",
    "Liquid",
    "Material",
    "MooneyRivlin",
    "Muscle",
    "NeoHookean",
    "Obstacle",
    "OpenBox",
    "Particles",
    "Plane",
    "RigidBody",
    "Sand",
    "Scene",
    "SceneReport",
    "Shape",
    "SimulationError",
    "Simulator",
    "SmoothingSchedule",
    "Snow",
    "SoftBody",
    "Sphere",
    "State",
    "Tendon",
    "Tool",
    "Torus",
    "TriangleMesh",
    "Vessel",
    "Weld",
    "Wrench",
    "__version__",
    "check",
    "gradcheck",
    "gradient_report",
    "load_articulation",
    "register_joint",
    "view",
]
