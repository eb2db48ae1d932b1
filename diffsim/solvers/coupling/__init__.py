"""Soft and rigid bodies in one scene: smooth contact of particles with the rigid geometries, and the joint schedule."""
