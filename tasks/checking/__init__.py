"""Checks of a whole task: `Task.check`, and `diffsim-rpg check-task`."""
