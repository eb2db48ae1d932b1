"""A gradient checker for users: directional finite differences against the adjoint, naming the tensor that disagrees."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffsim.errors import InputError
from diffsim.scene.validation import check_callable, check_count, check_positive_integer, number, numbers_of


@dataclass(frozen=True)
class DirectionCheck:
    """One tensor along one random direction: derivative by the adjoint and by finite differences."""

    name: str
    adjoint: float
    finite_difference: float
    relative_error: float


def _error(check: DirectionCheck) -> float:
    return check.relative_error


class GradientError(AssertionError):
    """The adjoint and finite differences disagree."""


def _unit(tensor: Tensor, generator: torch.Generator) -> Tensor:
    direction = torch.randn(tensor.shape, dtype=tensor.dtype, generator=generator)
    return direction / direction.norm().clamp_min(1e-300)


def gradcheck(
    function: Callable[..., Tensor],
    inputs: Mapping[str, Tensor],
    *,
    directions: int = 3,
    steps: Sequence[float] = (1e-5, 1e-6, 1e-7, 1e-4, 1e-3),
    tolerance: float = 1e-6,
    seed: int = 0,
) -> list[DirectionCheck]:
    """Check the gradient of ``function(**inputs) -> scalar`` along random unit directions of each input.

    Finite differences are central with Richardson extrapolation, (4 D(h/2) - D(h)) / 3, error O(h^4). One h is seldom good
    for all of a simulator's inputs (too large crosses a contact's kink, too small loses digits), so the steps are tried in
    order until one agrees. The relative error is |adjoint - fd| / max(|adjoint|, |fd|, 1e-2 |gradient|): a direction nearly
    orthogonal to the gradient is not held to digits that cancellation took.

    Args:
        inputs: float64 tensors by name.
        directions: random directions for each input.
        steps: finite-difference steps h along a unit direction.
        tolerance: largest relative error allowed.

    Returns:
        Every direction's check.

    Raises:
        InputError: an input is not float64, or the function's value is not a finite scalar.
        GradientError: names the input that disagrees, and both derivatives.
    """
    number("gradcheck", "tolerance", tolerance, 0.0)
    checks = direction_checks(function, inputs, directions=directions, steps=steps, enough=tolerance, seed=seed)
    worst = max(checks, key=_error)
    if not worst.relative_error <= tolerance:
        raise GradientError(
            f"gradient with respect to '{worst.name}' is wrong: adjoint {worst.adjoint:.12g}, "
            f"finite differences {worst.finite_difference:.12g}, relative error {worst.relative_error:.2e} > {tolerance:g}"
        )
    return checks


def direction_checks(
    function: Callable[..., Tensor],
    inputs: Mapping[str, Tensor],
    *,
    directions: int,
    steps: Sequence[float],
    enough: float,
    seed: int = 0,
) -> list[DirectionCheck]:
    """What `gradcheck` finds, whether it agrees or not; steps are tried until the relative error is ``enough``.

    Raises:
        InputError: as `gradcheck`.
    """
    check_callable("function", function)
    if not isinstance(inputs, Mapping) or not inputs:
        raise InputError(f"inputs must be float64 tensors by name, at least one, got {inputs!r}")
    check_positive_integer("directions", directions)
    if not numbers_of(steps) or min(numbers_of(steps)) <= 0.0:
        raise InputError(f"steps must be positive numbers, at least one, got {steps!r}")
    check_count("seed", seed, 0)
    for name, tensor in inputs.items():
        if not isinstance(tensor, Tensor):
            raise InputError(f"inputs['{name}'] must be a float64 tensor, got {tensor!r}")
        if tensor.dtype != torch.float64:
            raise InputError(f"gradcheck needs float64 inputs; '{name}' is {tensor.dtype}")
    generator = torch.Generator().manual_seed(seed)
    leaves = {name: tensor.detach().clone().requires_grad_() for name, tensor in inputs.items()}
    value = function(**leaves)
    if value.ndim != 0 or not torch.isfinite(value):
        raise InputError(
            f"gradcheck needs a finite scalar, the function returned {value.tolist()} of shape {tuple(value.shape)}"
        )
    gradients = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
    plain = {name: leaf.detach() for name, leaf in leaves.items()}

    def difference(name: str, direction: Tensor, h: float) -> float:
        with torch.no_grad():
            above = function(**{**plain, name: plain[name] + h * direction})
            below = function(**{**plain, name: plain[name] - h * direction})
        return float(above - below) / (2.0 * h)

    checks = []
    for (name, leaf), gradient in zip(leaves.items(), gradients, strict=True):
        gradient = torch.zeros_like(leaf) if gradient is None else gradient
        for _ in range(directions):
            direction = _unit(leaf, generator)
            adjoint = float((gradient * direction).sum())
            best = DirectionCheck(name, adjoint, float("nan"), float("inf"))
            for step in steps:
                fd = (4.0 * difference(name, direction, 0.5 * step) - difference(name, direction, step)) / 3.0
                scale = max(abs(adjoint), abs(fd), 1e-2 * float(gradient.norm()), 1e-300)
                best = min(best, DirectionCheck(name, adjoint, fd, abs(adjoint - fd) / scale), key=_error)
                if best.relative_error <= enough:
                    break
            checks.append(best)
    return checks
