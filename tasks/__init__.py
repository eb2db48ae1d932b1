"""Manipulation tasks, each a short class. Importing this package registers its own tasks."""

from tasks.base import Episode, Task
from tasks.cup_trap import CupTrap
from tasks.detour import Detour
from tasks.registry import find_task, register, task_names
from tasks.three_way_push import ThreeWayPush
from tasks.triple_move import TripleMove

__all__ = ["CupTrap", "Detour", "Episode", "Task", "ThreeWayPush", "TripleMove", "find_task", "register", "task_names"]
