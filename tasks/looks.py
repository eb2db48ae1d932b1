"""Colours that several tasks share."""

GREEN = (0.2, 0.75, 0.35)
"""Of goals."""
GLASS_COLOR, GLASS_OPACITY = (0.72, 0.84, 0.9), 0.4
"""Of vessels that one looks into."""
