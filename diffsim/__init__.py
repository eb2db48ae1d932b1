"""diffsim: a differentiable soft-body simulator in Taichi whose steps are torch functions."""

from diffsim.errors import InputError, SimulationError
from diffsim.gradcheck import gradcheck
from diffsim.materials import Elastic, ElastoPlastic
from diffsim.scene import Ground, Obstacle, Scene, SoftBody, Tool
from diffsim.shapes import Box, Capsule, MeshShape, Sphere
from diffsim.simulator import Simulator
from diffsim.state import State

__all__ = [
    "Box",
    "Capsule",
    "Elastic",
    "ElastoPlastic",
    "Ground",
    "InputError",
    "MeshShape",
    "Obstacle",
    "Scene",
    "SimulationError",
    "Simulator",
    "SoftBody",
    "Sphere",
    "State",
    "Tool",
    "gradcheck",
]
