"""Experiments on policies: what several modules `benchmarks.rpg_*` share."""
