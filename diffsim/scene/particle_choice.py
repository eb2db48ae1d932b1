"""Which particles of a soft body something means: attachments and muscles choose alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from diffsim.errors import InputError
from diffsim.scene.bodies import SoftBody
from diffsim.scene.rotations import Quaternion, rotation_matrix
from diffsim.scene.shapes import Shape

Vector3 = tuple[float, float, float]
# a shape; a function of the body's particles in the world at reset (N, 3), to (N,) of bool; such a mask; or their numbers
Choice = Shape | Callable[[np.ndarray], np.ndarray] | Sequence[int] | Sequence[bool] | np.ndarray


def checked_choice(owner: str, value: Any) -> Any:
    """A choice as a record keeps it; numbers of particles, or a mask, as a tuple: records compare and pickle.

    Raises:
        InputError: it is none.
    """
    if isinstance(value, Shape) or callable(value):
        return value
    try:
        choice = np.asarray(value)
    except (TypeError, ValueError):
        choice = np.asarray(None)
    if choice.ndim != 1 or not (choice.dtype == bool or np.issubdtype(choice.dtype, np.integer) or not choice.size):
        raise InputError(
            f"{owner}: where must be a diffsim shape, a function, or numbers or a mask of particles, got {value!r}"
        )
    return tuple(choice.tolist())


def chosen_particles(owner: str, body: SoftBody, where: Choice, position: Vector3, rotation: Quaternion) -> np.ndarray:
    """Numbers of the chosen particles within their body, ascending (P,); a shape stands in the world at ``position`` with
    ``rotation``.

    Raises:
        InputError: there are none, or ``where`` does not fit the body.
    """
    points = body.rest_particles
    if isinstance(where, Shape):
        try:
            own = (points - np.asarray(position)) @ rotation_matrix(rotation)
            numbers = np.flatnonzero(where.contains(own))
        except TypeError as error:
            raise InputError(f"{owner}: where must be a shape with a signed distance, got {where!r}") from error
    else:
        choice = np.asarray(where(points.copy()) if callable(where) else where)
        if choice.dtype == bool:
            if choice.shape != (len(points),):
                raise InputError(
                    f"{owner}: where must choose among the {len(points)} particles of '{body.name}', got a mask of shape "
                    f"{choice.shape}"
                )
            numbers = np.flatnonzero(choice)
        elif callable(where):
            raise InputError(f"{owner}: where must return a bool for each particle, got {choice.dtype} {choice.shape}")
        else:
            numbers = np.unique(choice.astype(int))
            if len(numbers) and (numbers[0] < 0 or numbers[-1] >= len(points)):
                raise InputError(
                    f"{owner}: where must hold numbers in [0, {len(points)}), of the particles of '{body.name}', got "
                    f"{int(numbers[0])} to {int(numbers[-1])}"
                )
    if not len(numbers):
        low, high = np.round(points.min(axis=0), 4).tolist(), np.round(points.max(axis=0), 4).tolist()
        raise InputError(
            f"{owner}: where must choose particles of '{body.name}', got none of them; they lie within {low} to {high}"
        )
    return numbers
