"""Soft and rigid bodies in one scene: contact of particles with rigid geometries, and their joint control step."""
