"""Scenes whose right outcome is known, at the simulator's default settings: `python -m benchmarks.physics`."""
