"""How a goal is drawn on the ground."""

from __future__ import annotations

from collections.abc import Sequence

from diffsim.render import GroundMarker
from tasks.looks import GREEN


def goal_markers(
    center: Sequence[float], radius: float, color: tuple[float, float, float] = GREEN
) -> tuple[GroundMarker, GroundMarker]:
    """A faint disc of ``radius`` metres about ``center`` (x, y, ...), and its edge."""
    x, y = center[:2]
    disc = GroundMarker(center=(x, y), radius=radius, color=color, opacity=0.25)
    return disc, GroundMarker(center=(x, y), radius=radius, color=color, width=0.012)
