"""Questions about the units of a mesh: files of most kinds do not say in which unit they are drawn."""

from __future__ import annotations

import numpy as np

LARGEST = 10.0  # m; CAD programs export millimetres, so that a bolt of 10 mm is 10 m long
SMALLEST = 1e-4  # m; what was scaled twice
HEAVIEST = 1e4  # kg


def extents_in_words(extents: np.ndarray) -> str:
    """Edges (3,) of a bounding box in metres, the longest first."""
    return " x ".join(f"{edge:.3g}" for edge in sorted(extents, reverse=True)) + " m"


def doubtful_size(extents: np.ndarray, mass: float) -> str | None:
    """A question about a mesh whose size or mass nothing that moves is likely to have; None if both are plausible.

    Args:
        extents: (3,) edges of its bounding box, metres.
        mass: of the body, kg.
    """
    longest = float(np.max(extents))
    size = extents_in_words(extents)
    if longest > LARGEST or mass > HEAVIEST:
        return (
            f"a mesh of {size} on a body of {float(f'{mass:.3g}'):,.10g} kg: is it drawn in millimetres? Then scale it by 0.001"
        )
    if longest < SMALLEST:
        return f"a mesh of {size} on a body of {mass:.3g} kg: was it scaled twice? Lengths are in metres"
    return None
