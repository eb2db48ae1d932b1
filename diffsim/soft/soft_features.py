"""What the kernels of soft bodies are compiled for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class SoftFeatures(NamedTuple):
    """What a scene's soft bodies need of their kernels; scenes that need the same share them."""

    laws: tuple[Callable[..., Any], ...]
    """Those that the kernels compile (`diffsim.soft.laws.laws_of`)."""
    viscous: bool = False
    """Whether some material is VISCOUS."""
    flowing: bool = False
    """Whether some body keeps a share of its particles' own velocities (FLOWING)."""
    recording: bool = False
    """Whether the impulses of contact are added up (`impulse_sums`)."""
    pinned: bool = False
    """Whether particles are pinned (`pinned_particles`)."""
    muscled: bool = False
    """Whether some particles have an `active_stress`."""
