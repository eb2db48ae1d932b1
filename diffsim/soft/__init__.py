"""Soft bodies by MLS-MPM: a scene's particles and parameters, the solver, its autograd node, laws and kernels."""
