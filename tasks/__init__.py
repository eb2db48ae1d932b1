"""Manipulation tasks, each a short class. Importing this package registers its own tasks."""

from tasks import household, panda, plasticine, rewarped, robots, rpg_papers
from tasks.action_spaces import (
    ActionSpace,
    AllControls,
    AttachmentStrength,
    EndEffectorDelta,
    Gripper,
    JointPosition,
    JointTorque,
    JointVelocity,
    MuscleActivation,
    ToolVelocity,
)
from tasks.base import Task
from tasks.episode import Episode, Transition
from tasks.registry import find_task, register, task_names
from tasks.small import CupTrap, Detour, ThreeWayPush, TripleMove
from tasks.task_parameters import task_parameters
from tasks.variants import Variants

__all__ = [
    "ActionSpace",
    "AllControls",
    "AttachmentStrength",
    "CupTrap",
    "Detour",
    "EndEffectorDelta",
    "Episode",
    "Gripper",
    "JointPosition",
    "JointTorque",
    "JointVelocity",
    "MuscleActivation",
    "Task",
    "ThreeWayPush",
    "ToolVelocity",
    "Transition",
    "TripleMove",
    "Variants",
    "find_task",
    "household",
    "panda",
    "plasticine",
    "register",
    "rewarped",
    "robots",
    "rpg_papers",
    "task_names",
    "task_parameters",
]
