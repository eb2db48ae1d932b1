"""Manipulation tasks, each a short class. Importing this package registers its own tasks."""

from tasks import robots
from tasks.action_spaces import (
    ActionSpace,
    AllControls,
    AttachmentStrength,
    EndEffectorDelta,
    Gripper,
    JointPosition,
    JointVelocity,
    ToolVelocity,
)
from tasks.base import Task
from tasks.cup_trap import CupTrap
from tasks.detour import Detour
from tasks.episode import Episode, Transition
from tasks.registry import find_task, register, task_names
from tasks.task_parameters import task_parameters
from tasks.three_way_push import ThreeWayPush
from tasks.triple_move import TripleMove
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
    "JointVelocity",
    "Task",
    "ThreeWayPush",
    "ToolVelocity",
    "Transition",
    "TripleMove",
    "Variants",
    "find_task",
    "register",
    "robots",
    "task_names",
    "task_parameters",
]
