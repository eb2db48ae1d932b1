"""The debiased Sinkhorn divergence of two point clouds, in blocks, so that memory does not grow with N x M.

The symmetric iteration with annealing of Feydy (2020, "Geometric data analysis, beyond convolutions", Algorithm 3.5), which
geomloss has as well. Without KeOps, which compiles C++ at run time, geomloss stores whole N x M matrices: 3.1 GB and 45 s in
f32 at 10,000 x 10,000 points on one thread, where this takes 4 MB and 4 s. tests/tasks/test_losses.py compares the two.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from diffsim.gradients.first_order import first_derivatives_only

BLOCK = 2**18  # distances at once: they stay in the cache
LEAST = -80.0  # exponents below it count as it: subnormal numbers take ten times as long
PRODUCT_ERROR = 1e-3  # of an exponent, where squares are multiplied out


class SinkhornSettings(NamedTuple):
    """See `tasks.losses.earth_mover`."""

    p: int
    blur: float
    scaling: float
    iterations: int


def sinkhorn_divergence(x: Tensor, y: Tensor, settings: SinkhornSettings) -> Tensor:
    """S(x, y) as `tasks.losses.earth_mover` defines it, for x (N, D) and y (M, D): ()."""
    return _Divergence.apply(x, y, settings)


class _Divergence(torch.autograd.Function):
    """Value and gradient are computed together, so that backward needs neither plan nor distances."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, settings: SinkhornSettings) -> Tensor:
        of_x, of_y = ctx.needs_input_grad[:2]
        p = settings.p
        epsilon = settings.blur**p
        across, back, within_x, within_y = _potentials(x, y, settings)
        # one more round all at once; its slopes are those of the transport costs, by the envelope theorem
        f, f_slope = _softmin(x, y, back, epsilon, p, slope=of_x)
        g, g_slope = _softmin(y, x, across, epsilon, p, slope=of_y)
        own_f, own_f_slope = _softmin(x, x, within_x, epsilon, p, slope=of_x)
        own_g, own_g_slope = _softmin(y, y, within_y, epsilon, p, slope=of_y)
        x_bar = (f_slope - own_f_slope) * (p / len(x))  # empty where it is not needed
        y_bar = (g_slope - own_g_slope) * (p / len(y))
        ctx.save_for_backward(x_bar, y_bar, x, y)
        return p * ((f - own_f).mean() + (g - own_g).mean())

    @staticmethod
    @first_derivatives_only
    def backward(ctx: Any, saved: tuple[Tensor, ...], bar: Tensor) -> tuple[Tensor | None, ...]:
        of_x, of_y = ctx.needs_input_grad[:2]
        return bar * saved[0] if of_x else None, bar * saved[1] if of_y else None, None


def _schedule(x: Tensor, y: Tensor, settings: SinkhornSettings) -> list[float]:
    """Blurs from the clouds' common diameter down to the last, which is repeated ``iterations`` times."""
    lower, upper = torch.minimum(x.amin(0), y.amin(0)), torch.maximum(x.amax(0), y.amax(0))
    ratio = float((upper - lower).norm()) / settings.blur
    steps = math.ceil(math.log(ratio) / -math.log(settings.scaling)) if ratio > 1.0 else 0
    falling = [settings.blur * ratio * settings.scaling**step for step in range(steps)]
    return [*falling, *[settings.blur] * (1 + settings.iterations)]


def _potentials(x: Tensor, y: Tensor, settings: SinkhornSettings) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of OT(x, y) on x and on y, of OT(x, x), of OT(y, y): averages of successive rounds, which do not oscillate."""
    p = settings.p
    across, within_x, back, within_y = x.new_zeros(len(x)), x.new_zeros(len(x)), y.new_zeros(len(y)), y.new_zeros(len(y))
    for round_, blur in enumerate(_schedule(x, y, settings)):
        epsilon, old = blur**p, 0.5 if round_ else 0.0
        new_across, new_back = _softmin(x, y, back, epsilon, p)[0], _softmin(y, x, across, epsilon, p)[0]
        new_x, new_y = _softmin(x, x, within_x, epsilon, p)[0], _softmin(y, y, within_y, epsilon, p)[0]
        across, back = old * across + (1.0 - old) * new_across, old * back + (1.0 - old) * new_back
        within_x, within_y = old * within_x + (1.0 - old) * new_x, old * within_y + (1.0 - old) * new_y
    return across, back, within_x, within_y


def _softmin(
    points: Tensor, others: Tensor, potential: Tensor, epsilon: float, p: int, *, slope: bool = False
) -> tuple[Tensor, Tensor]:
    """f_i = -epsilon log mean_j exp((g_j - |x_i - y_j|^p / p) / epsilon), (N,), and its derivative by x_i, (N, D) or empty.

    For p = 2 the squares of the differences are multiplied out, three times as fast, where rounding allows it.

    Args:
        potential: g, (M,).
    """
    values, slopes = points.new_empty(len(points)), points.new_empty(len(points) if slope else 0, points.shape[1])
    center = others.mean(dim=0)
    points, others = points - center, others - center
    square, other_square = points.square().sum(dim=1), others.square().sum(dim=1)
    largest_square = float(torch.maximum(square.max(), other_square.max()))
    products = p == 2 and torch.finfo(points.dtype).eps * largest_square <= PRODUCT_ERROR * epsilon
    row = (potential - 0.5 * other_square if products else potential) / epsilon
    columns = (others / epsilon).T.contiguous()
    rows = max(1, BLOCK // len(others))
    for start in range(0, len(points), rows):
        part = slice(start, start + rows)
        if products:
            weights = torch.addmm(row, points[part], columns)  # the exponents but for a term of x alone
        else:
            distance = torch.cdist(points[part], others, compute_mode="donot_use_mm_for_euclid_dist")
            weights = distance.square().mul_(-0.5 / epsilon) if p == 2 else distance * (-1.0 / epsilon)
            weights += row
        largest = weights.amax(dim=1, keepdim=True)
        total = weights.sub_(largest).clamp_(min=LEAST).exp_().sum(dim=1, keepdim=True)
        values[part] = -epsilon * (largest + total.log() - math.log(len(others)))[:, 0]
        if slope:
            weights /= total
            if p == 1:  # of a length: the unit vector, and nothing where it is zero
                weights = torch.where(distance > 0.0, weights / distance, 0.0)
            slopes[part] = weights.sum(dim=1, keepdim=True) * points[part] - weights @ others
    return (values + 0.5 * square if products else values), slopes
