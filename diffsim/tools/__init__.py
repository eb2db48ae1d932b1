"""Kinematic tools: their motion over a control step, and what stops them."""
