"""Tasks of other packages that the paper of model-based RPG has: `python -m benchmarks.real_tasks`."""
