"""Distances between point clouds (B, N, D) and (B, M, D): Chamfer and Earth Mover's. One result (B,) for each environment.

The second cloud's batch may be 1: all environments share it. Memory is bounded: no N x M matrix is stored but by the exact
Earth Mover's distance, which is for small sets. At B = 1, N = M = 10,000 in f32 forward + backward add 2 MB (`chamfer`) and
6 MB (`earth_mover`), by `python -m benchmarks.shape_losses`.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree
from torch import Tensor

from diffsim.errors import InputError
from diffsim.scene.validation import number
from tasks.losses.loss_inputs import check_pair, check_points
from tasks.losses.sinkhorn import SinkhornSettings, sinkhorn_divergence

MOST_EXACT = 4000  # points: the matrix of distances has 128 MB


def chamfer(x: Tensor, y: Tensor, *, squared: bool = True, two_sided: bool = True) -> Tensor:
    """Mean distance of every point to the nearest one of the other set:

        mean_i min_j |x_i - y_j|^2 + mean_j min_i |x_i - y_j|^2

    The gradient is that of the pairs found; it is exact wherever nearest points are unique. The search is by k-d trees, on the
    CPU: O((N + M) log) time, O(N + M) memory.

    Args:
        x: (B, N, D), for example metres.
        y: (B, M, D) or (1, M, D).
        squared: squared distances (m^2), or distances (m), whose gradient has length 1/N however near a point is.
        two_sided: both sums, or the first alone: then parts of ``y`` far from all of ``x`` cost nothing.

    Returns:
        (B,)

    Raises:
        InputError: an argument has the wrong shape or dtype, or is not finite.
    """
    check_points("x", x)
    check_points("y", y)
    check_pair("x", x, "y", y, common=2)
    y = y.expand(len(x), -1, -1)
    power = 2 if squared else 1
    there, back = _nearest(x, y, both=two_sided)
    loss = _mean_power(x - _chosen(y, there), power)
    return loss if back is None else loss + _mean_power(_chosen(x, back) - y, power)


def _nearest(x: Tensor, y: Tensor, *, both: bool) -> tuple[Tensor, Tensor | None]:
    """Which point of y is nearest to each of x (B, N), and the reverse (B, M)."""
    pairs = list(zip(x.detach().cpu().numpy(), y.detach().cpu().numpy(), strict=True))
    there = [cKDTree(b).query(a)[1] for a, b in pairs]
    back = [cKDTree(a).query(b)[1] for a, b in pairs] if both else None
    return _indices(there, x), None if back is None else _indices(back, x)


def _indices(rows: list[np.ndarray], like: Tensor) -> Tensor:
    return torch.from_numpy(np.stack(rows)).to(like.device)


def _chosen(points: Tensor, indices: Tensor) -> Tensor:
    return points.gather(1, indices[:, :, None].expand(-1, -1, points.shape[2]))


def _mean_power(difference: Tensor, power: int) -> Tensor:
    """Mean over points of the length to a power; its gradient is zero where a length is zero."""
    if power == 2:
        return difference.square().sum(dim=2).mean(dim=1)
    return torch.linalg.vector_norm(difference, dim=2).mean(dim=1)


def earth_mover(
    x: Tensor,
    y: Tensor,
    *,
    p: int = 2,
    method: str = "sinkhorn",
    blur: float = 0.01,
    scaling: float = 0.5,
    iterations: int = 0,
) -> Tensor:
    """Cost of carrying one set of equal weights onto the other: mean of |x - y|^p over the cheapest plan.

    "sinkhorn" is the debiased Sinkhorn divergence (Feydy et al. 2019, "Interpolating between optimal transport and MMD"),

        S(x, y) = OT(x, y) - OT(x, x) / 2 - OT(y, y) / 2,

    where OT has the entropy epsilon KL(plan, independent) with epsilon = blur^p, for the cost |x - y|^p / p; then S is
    multiplied by p. It is 0 for equal sets and p/2 |t|^2 -> |t|^2 for a set and its translation by t (p = 2). Potentials come
    from annealing epsilon down to ``blur``; the gradient is that of the plan (envelope theorem), exact as ``iterations`` grow.
    Distances are computed in blocks of rows, in forward alone: backward multiplies a stored gradient.

    "exact" solves the assignment (scipy), O(N^3): for sets of equal size up to a few thousand. The gradient is that of the
    matched differences.

    Args:
        x: (B, N, D), for example metres.
        y: (B, M, D) or (1, M, D).
        p: 1 (m, gradients of length 1/N) or 2 (m^2, gradients that shrink with the distance).
        method: "sinkhorn" or "exact".
        blur: of "sinkhorn": length below which sets are not told apart, metres; smaller is nearer to "exact" and converges
            slower.
        scaling: of "sinkhorn": ratio of successive blurs in annealing, 0 to 1; larger is more exact and slower.
        iterations: of "sinkhorn": further ones at the last blur.

    Returns:
        (B,)

    Raises:
        InputError: an argument has the wrong shape or dtype, is not finite or out of range, or "exact" is asked for sets
            of different sizes or too large.
    """
    check_points("x", x)
    check_points("y", y)
    check_pair("x", x, "y", y, common=2)
    if p not in (1, 2):
        raise InputError(f"p must be 1 or 2, got {p!r}")
    if method == "exact":
        return _exact(x, y.expand(len(x), -1, -1), p)
    if method != "sinkhorn":
        raise InputError(f"method must be 'sinkhorn' or 'exact', got {method!r}")
    number("earth_mover", "blur", blur, 1e-9)
    number("earth_mover", "scaling", scaling, 0.05, 0.99)
    if isinstance(iterations, bool) or not isinstance(iterations, int) or iterations < 0:
        raise InputError(f"iterations must be an integer >= 0, got {iterations!r}")
    settings = SinkhornSettings(p, blur, scaling, iterations)
    rows = range(len(x))
    return torch.stack([sinkhorn_divergence(x[row], y[row if len(y) > 1 else 0], settings) for row in rows])


def _exact(x: Tensor, y: Tensor, p: int) -> Tensor:
    count = x.shape[1]
    if y.shape[1] != count:
        raise InputError(f"y must have as many points as x for method 'exact', {count}, got {y.shape[1]}; use 'sinkhorn'")
    if count > MOST_EXACT:
        raise InputError(f"x must have at most {MOST_EXACT} points for method 'exact', got {count}; use 'sinkhorn'")
    matched = []
    for a, b in zip(x.detach().cpu().double(), y.detach().cpu().double(), strict=True):
        distance = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
        matched.append(linear_sum_assignment((distance**p).numpy())[1])
    return _mean_power(x - _chosen(y, _indices(matched, x)), p)
