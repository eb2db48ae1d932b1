"""By how much the constraints of a scene are violated, in torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from diffsim.scene.rotations import rotation_vectors

if TYPE_CHECKING:
    from diffsim.rigid.constraint_model import ConstraintModel, Term


def constraint_errors(constraints: ConstraintModel, q: Tensor, position: Tensor, rotation: Tensor) -> dict[str, Tensor]:
    """Violations by name, differentiable: of an equality y - p(x), with p as declared (B,), of a `Connect` the vector from the
    other link's point to the link's (B, 3), m, of a `Weld` that and the rotation vector from the rotation that is held (B, 6),
    rad; vectors in the world's frame.

    Args:
        q: coordinates (B, coordinates).
        position, rotation: of the links, the world first (B, L, 3), (B, L, 3, 3).
    """
    errors: dict[str, Tensor] = {}
    for each in constraints.equalities:
        x, p = _length(q, each.leader_terms), torch.zeros_like(q[:, 0])
        for coefficient in each.coefficients[::-1].tolist():
            p = p * x + coefficient
        errors[each.name] = _length(q, each.terms) - p
    for closure in constraints.closures:
        ends = [
            position[:, number] + rotation[:, number] @ torch.as_tensor(point).to(q)
            for number, point in ((closure.link, closure.point), (closure.other, closure.other_point))
        ]
        error = ends[0] - ends[1]
        if closure.rotation is not None:
            held = rotation[:, closure.other] @ torch.as_tensor(closure.rotation).to(q)
            error = torch.cat([error, rotation_vectors(rotation[:, closure.link] @ held.mT)], dim=1)
        errors[closure.name] = error
    return errors


def _length(q: Tensor, terms: list[Term]) -> Tensor:
    length = torch.zeros_like(q[:, 0])
    for term in terms:
        length = length + term.coefficient * q[:, term.coordinate]
    return length
