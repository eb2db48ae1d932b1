"""The command line ``diffsim-rpg``. It knows a task by `rpg.protocol` only, and finds tasks by the entry points of installed
packages or by a name such as ``my_package:MyTask``."""
