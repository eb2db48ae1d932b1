"""Looks that several tasks share."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

GREEN = (0.2, 0.75, 0.35)
"""Of goals."""
GLASS_LOOK: Mapping[str, Any] = MappingProxyType({"color": (0.72, 0.84, 0.9), "opacity": 0.4})
"""Of vessels that one looks into, as arguments of a declaration."""
