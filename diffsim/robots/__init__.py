"""Robots: URDF and MJCF files to articulations, and inverse kinematics."""
