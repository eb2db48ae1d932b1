"""The command line ``diffsim-rpg``: the only place that knows the simulator, the tasks and the optimiser."""
