"""The physics, one folder a solver."""
