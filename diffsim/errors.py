"""Errors: InputError for what a user gave, SimulationError where the physics became non-finite."""

from __future__ import annotations

import re
from typing import Literal


class InputError(ValueError):
    """A wrong argument. One line: names the argument, what was given and what is allowed."""

    def __init__(self, message: str):
        super().__init__(re.sub(r"\s*\n\s*", " ", message))  # arrays are printed in several


class SimulationError(FloatingPointError):
    """The physics left its domain of validity.

    Attributes:
        step: control step (0-based, counted from ``reset``) in which it began.
        substep: substep within that control step.
        environment: index in the batch.
        kind: of the thing in which it began: ``"body"`` (a soft body), ``"link"`` (also a rigid body's) or ``"tool"``.
        name: of that thing.
        quantity: what went wrong, for example ``"velocity"``.
    """

    def __init__(
        self,
        *,
        step: int,
        substep: int,
        environment: int,
        kind: Literal["body", "link", "tool"],
        name: str,
        quantity: str,
        detail: str,
    ):
        self.step = step
        self.substep = substep
        self.environment = environment
        self.kind = kind
        self.name = name
        self.quantity = quantity
        super().__init__(
            f"{quantity} of {kind} '{name}' {detail} in environment {environment}, control step {step}, substep {substep}"
        )
