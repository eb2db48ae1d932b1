"""Stein variational gradient descent (Liu and Wang 2016): particles that follow a density's score and repel one another."""

import math

import torch
from torch import Tensor

SMALLEST_BANDWIDTH = 1e-3


def median_bandwidth(distances: Tensor) -> Tensor:
    """(..., 1, 1) h = median |x - y|^2 / log(K + 1) of squared distances (..., K, M) from K particles: the kernels of a
    particle's K neighbours then sum to about 1. At least 0.001."""
    median = distances.detach().flatten(-2).median(dim=-1).values
    return (median / math.log(distances.shape[-2] + 1)).clamp_min(SMALLEST_BANDWIDTH)[..., None, None]


def rbf_kernel(x: Tensor, y: Tensor, bandwidth: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """kappa(x_k, y_m) = exp(-|x_k - y_m|^2 / h) and its gradient with respect to x_k, (..., K, M) and (..., K, M, D), of `x`
    (..., K, D) and `y` (..., M, D); h is `bandwidth` (..., 1, 1), by default `median_bandwidth`."""
    difference = x.unsqueeze(-2) - y.unsqueeze(-3)
    distances = difference.square().sum(-1)
    width = median_bandwidth(distances) if bandwidth is None else bandwidth
    kernel = torch.exp(-distances / width)
    return kernel, (-2 / width * kernel).unsqueeze(-1) * difference


def stein_direction(particles: Tensor, scores: Tensor, moved: Tensor, bandwidth: Tensor | None = None) -> Tensor:
    """(..., M, D) the direction in which the particles `moved` (..., M, D) lower their divergence from a density fastest:

        mean_k [kappa(x_k, y) grad log p(x_k) + grad_{x_k} kappa(x_k, y)]

    with `particles` x (..., K, D) that stand for the same distribution as `moved` (they may be the same) and their `scores`
    grad log p (..., K, D)."""
    kernel, slope = rbf_kernel(particles, moved, bandwidth)
    return (torch.einsum("...km,...kd->...md", kernel, scores) + slope.sum(-3)) / particles.shape[-2]
