"""Checks of a whole task: `Task.check_task`, and `diffsim-rpg check-task`."""
