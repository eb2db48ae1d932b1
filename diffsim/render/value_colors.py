"""Colours of numbers: speed, strain or stress of particles in a picture."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from diffsim.errors import InputError
from diffsim.scene.validation import instance, number


def value_colors(
    values: np.ndarray | Tensor, *, low: float | None = None, high: float | None = None, colormap: str = "viridis"
) -> np.ndarray:
    """sRGB in [0, 1] for numbers, (N, 3): for `SceneRenderer.frame`'s ``particle_colors``.

        speed = state.v[0].norm(dim=1)
        renderer.frame(state, particle_colors=value_colors(speed, low=0.0, high=2.0))

    Args:
        values: (N,).
        low, high: the numbers at both ends of the colours; ``None``: the least and the greatest of the values. Give both for a
            video, or colours change their meaning from frame to frame.
        colormap: the name of one of matplotlib's.

    Raises:
        InputError: ``values`` are no row of numbers, ``low`` is not below ``high``, or there is no such colormap.
    """
    from matplotlib import colormaps

    array = np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values, dtype=float)
    if array.ndim != 1:
        raise InputError(f"value_colors: values must have shape (N,), got {array.shape}")
    if not np.isfinite(array).all():
        raise InputError(f"value_colors: {int((~np.isfinite(array)).sum())} of {len(array)} values are not finite numbers")
    least = number("value_colors", "low", low) if low is not None else float(array.min(initial=0.0))
    most = number("value_colors", "high", high) if high is not None else float(array.max(initial=least))
    if low is not None and high is not None and not least < most:
        raise InputError(f"value_colors: low must be below high, got {low!r} and {high!r}")
    if colormap not in colormaps:
        raise InputError(f"value_colors: colormap must be one of matplotlib's, for example viridis, got {colormap!r}")
    share = np.clip((array - least) / max(most - least, 1e-12), 0.0, 1.0)
    return np.asarray(colormaps[colormap](share))[:, :3]


def particle_strain(deformation_gradient: Tensor) -> Tensor:
    """Equivalent strain sqrt(2/3) |dev log s| of deformation gradients (..., 3, 3) with singular values s, (...).

    It is von Mises' measure on Hencky's logarithmic strain, 0 where a particle is only turned or changes its volume alone.

    Of a body that yields it is the elastic part, and so proportional to the von Mises stress of small strains.

    Raises:
        InputError: the shape is another.
    """
    instance("particle_strain", "deformation_gradient", deformation_gradient, Tensor, "a tensor")
    if deformation_gradient.ndim < 2 or deformation_gradient.shape[-2:] != (3, 3):
        raise InputError(f"particle_strain: deformation_gradient must be (..., 3, 3), got {tuple(deformation_gradient.shape)}")
    from torch.linalg import svdvals

    log = svdvals(deformation_gradient).clamp(min=1e-6).log()
    return (2.0 / 3.0) ** 0.5 * (log - log.mean(dim=-1, keepdim=True)).norm(dim=-1)
