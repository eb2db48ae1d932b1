"""A scene's constraints and tendons as rows of `constraint_records`, and what they leave open: compliances, coordinates at
reset.

Each scalar equation of a constraint has a force of its own among the unknowns of a substep (docs/rigid.md).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from diffsim.rigid import constraint_records as records
from diffsim.rigid.constraint_errors import constraint_errors
from diffsim.rigid.rigid_records import NO_LIMITS
from diffsim.scene.articulation import Articulation
from diffsim.scene.constraints import MOST_COEFFICIENTS, Connect, JointEquality, JointSum, Tendon, Weld
from diffsim.scene.rotations import rotation_matrix

if TYPE_CHECKING:
    from diffsim.rigid.rigid_model import RigidModel

logger = logging.getLogger(__name__)

# an equation is missed by this share of the change of rate, per substep, that its force makes: far above the rounding of f32,
# with which equations that say the same twice would have no solution
COMPLIANCE_SHARE = 1e-5
VIOLATED = 1e-4  # m or rad at reset, above which a constraint is warned of


class Term(NamedTuple):
    """A coordinate in a length."""

    coordinate: int
    dof: int
    coefficient: float


@dataclass(frozen=True)
class PlacedEquality:
    """An equality of the scene; the name is "<articulation>.<constraint>"."""

    name: str
    terms: list[Term]
    leader_terms: list[Term]
    coefficients: np.ndarray

    def slope(self, q: np.ndarray) -> float:
        """Of the polynomial, at coordinates (coordinates,)."""
        x = sum(term.coefficient * q[term.coordinate] for term in self.leader_terms)
        return float(np.polynomial.polynomial.polyval(x, np.polynomial.polynomial.polyder(self.coefficients)))


@dataclass(frozen=True)
class PlacedClosure:
    """A closed loop of the scene: numbers of its links (0: the world), points in their frames, and the rotation that is held,
    (3, 3), or None."""

    name: str
    link: int
    other: int
    point: np.ndarray
    other_point: np.ndarray
    rotation: np.ndarray | None

    @property
    def rows(self) -> int:
        """Scalar equations."""
        return records.ClosureForces.torque if self.rotation is None else records.ClosureForces.SIZE


@dataclass(frozen=True)
class PlacedTendon:
    """A tendon of the scene; the name is "<articulation>.<tendon>"."""

    name: str
    terms: list[Term]
    tendon: Tendon


class ConstraintModel:
    """The constraints and tendons of a model's articulations.

    Args:
        model: with all its links placed; its ``initial`` coordinates, as the joints declare them, are then made to follow.
    """

    def __init__(self, model: RigidModel):
        self._model = model
        self.equalities = [
            PlacedEquality(
                f"{articulation.name}.{constraint.name}",
                self._terms(index, constraint.joints),
                self._terms(index, constraint.leader or {}),
                np.pad(constraint.coefficients, (0, MOST_COEFFICIENTS - len(constraint.coefficients))),
            )
            for index, articulation in enumerate(model.articulations)
            for constraint in articulation.constraints
            if isinstance(constraint, JointEquality)
        ]
        self.tendons = [
            PlacedTendon(f"{articulation.name}.{tendon.name}", self._terms(index, tendon.joints), tendon)
            for index, articulation in enumerate(model.articulations)
            for tendon in articulation.tendons
        ]
        self._follow(model.initial)
        self.closures = list(self._closures())
        self._warn_of_violations()

    def _terms(self, index: int, joints: JointSum) -> list[Term]:
        coordinates = self._model.articulations[index].coordinates(joints, "")
        return self._model.terms(index, coordinates)

    @property
    def any(self) -> bool:
        """Whether the kernels must know constraints and tendons."""
        return bool(self.equalities or self.closures or self.tendons)

    @property
    def rows(self) -> int:
        """Scalar equations."""
        return len(self.equalities) + sum(closure.rows for closure in self.closures)

    @property
    def joined_links(self) -> set[int]:
        """Links that closures join."""
        return {number for closure in self.closures for number in (closure.link, closure.other)} - {0}

    def _follow(self, q: np.ndarray) -> None:
        """Sets what no joint declares and an equality determines; chains of them in any order."""
        free = {link.coordinate for link in self._model.links if link.joint.initial is None}
        followers = [each for each in self.equalities if len(each.terms) == 1 and each.terms[0].coordinate in free]
        for _ in followers:
            for each in followers:
                x = sum(term.coefficient * q[term.coordinate] for term in each.leader_terms)
                value = float(np.polynomial.polynomial.polyval(x, each.coefficients))
                if each.terms[0].coefficient:
                    q[each.terms[0].coordinate] = value / each.terms[0].coefficient

    def _closures(self) -> Iterator[PlacedClosure]:
        model = self._model
        positions, rotations = model.forward_kinematics(model.initial)
        for index, articulation in enumerate(model.articulations):
            numbers = {link.link.name: n for n, link in enumerate(model.links) if link.articulation == index and link.link}
            for constraint in articulation.constraints:
                if not isinstance(constraint, Connect | Weld):
                    continue
                link = numbers[constraint.link]
                base, turn = _frame(articulation)
                other = 0
                if constraint.other is not None:
                    other, base, turn = numbers[constraint.other], np.zeros(3), np.eye(3)
                point = np.asarray(constraint.point)
                other_point = rotations[other].T @ (positions[link] + rotations[link] @ point - positions[other])
                if constraint.other_point is not None:
                    other_point = base + turn @ np.asarray(constraint.other_point)
                rotation = None
                if isinstance(constraint, Weld):
                    rotation = rotations[other].T @ rotations[link]
                    if constraint.rotation is not None:
                        rotation = turn @ rotation_matrix(constraint.rotation)
                yield PlacedClosure(f"{articulation.name}.{constraint.name}", link, other, point, other_point, rotation)

    def _warn_of_violations(self) -> None:
        """Of constraints that do not hold at reset."""
        places = (torch.tensor(each)[None] for each in self._model.forward_kinematics(self._model.initial))
        for name, error in constraint_errors(self, torch.tensor(self._model.initial)[None], *places).items():
            size = float(error.norm())
            if size > VIOLATED:
                logger.warning(
                    "constraint '%s' does not hold at reset: it is violated by %.3g (m or rad), and will be mended with a "
                    "jerk; declare initial coordinates at which it holds",
                    name, size,
                )  # fmt: skip

    def _compliances(self) -> tuple[list[float], list[tuple[float, float]]]:
        """Of the equalities and of the closures: their share of what a force changes, per substep, at reset."""
        model = self._model
        if not self.rows:
            return [], []
        inverse = np.linalg.pinv(model.mass_matrix(model.initial), hermitian=True)
        _positions, rotations, linear, angular = model.jacobians(model.initial)

        def share(J: np.ndarray) -> float:
            largest = float(np.linalg.eigvalsh(J @ inverse @ J.T)[-1])
            return COMPLIANCE_SHARE * model.dt * (largest if largest > 1e-12 else 1.0)

        equalities, closures = [], []
        for each in self.equalities:
            J = np.zeros((1, model.dofs))
            for terms, factor in ((each.terms, 1.0), (each.leader_terms, -each.slope(model.initial))):
                for term in terms:
                    J[0, term.dof] += factor * term.coefficient
            equalities.append(share(J))
        for closure in self.closures:
            J, turn = np.zeros((3, model.dofs)), angular[closure.link] - angular[closure.other]
            for number, point, sign in ((closure.link, closure.point, 1.0), (closure.other, closure.other_point, -1.0)):
                J += sign * (linear[number] + np.cross(angular[number].T, rotations[number] @ point).T)
            closures.append((share(J), share(turn)))
        return equalities, closures

    def arrays(self, first_term: int) -> tuple[dict[str, list[int]], dict[str, list[float]], list[Term]]:
        """Sections of integers and of reals by name, and the terms of all lengths, of which the first has that number."""
        terms: list[Term] = []

        def placed(own: list[Term]) -> int:
            begin = first_term + len(terms)
            terms.extend(own)
            return begin

        ints: dict[str, list[int]] = {"equality_indices": [], "closure_indices": [], "tendon_indices": []}
        reals: dict[str, list[float]] = {"equality_constants": [], "closure_constants": [], "tendon_constants": []}
        equality_compliances, closure_compliances = self._compliances()
        for each, compliance in zip(self.equalities, equality_compliances, strict=True):
            first, leader = placed(each.terms), placed(each.leader_terms)
            ints["equality_indices"] += records.EqualityIndices.integers(
                first_term=first, first_leader_term=leader, end_term=leader + len(each.leader_terms)
            )
            reals["equality_constants"] += records.EqualityConstants.row(slopes=each.coefficients[1:], compliance=compliance)
        row = len(self.equalities)
        for closure, (compliance, turn_compliance) in zip(self.closures, closure_compliances, strict=True):
            ints["closure_indices"] += records.ClosureIndices.integers(
                link=closure.link, other=closure.other, first_row=row, turns=closure.rotation is not None
            )
            reals["closure_constants"] += records.ClosureConstants.row(
                point=closure.point, other_point=closure.other_point,
                rotation=np.eye(3) if closure.rotation is None else closure.rotation,
                compliance=compliance, turn_compliance=turn_compliance,
            )  # fmt: skip
            row += closure.rows
        for tendon in self.tendons:
            first = placed(tendon.terms)
            ints["tendon_indices"] += records.TendonIndices.integers(first_term=first, end_term=first + len(tendon.terms))
            own = tendon.tendon
            low, high = np.clip(own.limits or NO_LIMITS, *NO_LIMITS)
            rest_low, rest_high = own.rest  # type: ignore[misc]
            reals["tendon_constants"] += records.TendonConstants.row(
                low=low, high=high, limit_smoothing=own.limit_smoothing, rest_low=rest_low, rest_high=rest_high
            )
        return ints, reals, terms

    def inputs(self, limit_stiffnesses: np.ndarray) -> list[float]:
        """The constraints' part of a row of differentiable inputs as declared; a joint limit's default stiffness is given for
        each dof (dofs,)."""
        row: list[float] = []
        for each in self.equalities:
            row += records.EqualityInputs.row(offset=each.coefficients[0])
        for tendon in self.tendons:
            own, stiffness = tendon.tendon, tendon.tendon.limit_stiffness
            if stiffness is None:  # the compliance of a sum is that of its terms
                soft = sum(term.coefficient**2 / max(limit_stiffnesses[term.dof], 1e-30) for term in tendon.terms)
                stiffness = 1.0 / soft if soft and own.limits else 0.0
            row += records.TendonInputs.row(stiffness=own.stiffness, damping=own.damping, limit_stiffness=stiffness)
        return row


def _frame(articulation: Articulation) -> tuple[np.ndarray, np.ndarray]:
    """Position (3,) and rotation (3, 3) of an articulation in the world."""
    return np.asarray(articulation.position), rotation_matrix(articulation.rotation)
