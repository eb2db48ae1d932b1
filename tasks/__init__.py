"""Manipulation tasks, each a short class. Importing this package registers the ones that come with it."""

from tasks.base import Episode, Task
from tasks.detour import Detour
from tasks.registry import find_task, register, task_names

__all__ = ["Detour", "Episode", "Task", "find_task", "register", "task_names"]
