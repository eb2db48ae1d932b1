"""diffsim: a differentiable soft-body simulator in Taichi whose steps are torch functions."""

from diffsim.errors import InputError, SimulationError
from diffsim.gradcheck import gradcheck
from diffsim.materials import Elastic, ElastoPlastic, Liquid, Material, NeoHookean, Sand, Snow
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
    "Liquid",
    "Material",
    "MeshShape",
    "NeoHookean",
    "Obstacle",
    "Sand",
    "Scene",
    "SimulationError",
    "Simulator",
    "Snow",
    "SoftBody",
    "Sphere",
    "State",
    "Tool",
    "gradcheck",
]
