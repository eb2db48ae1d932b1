"""What is found in a scene before anything is simulated: records, and the warnings made of them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from typing import Literal

logger = logging.getLogger(__name__)

Severity = Literal["fine", "note", "warning", "error"]
SEVERITIES: tuple[Severity, ...] = ("fine", "note", "warning", "error")
WARNED_OF = 6  # findings that are named one by one


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        severity: "fine"; "note": may be meant so; "warning": results will be wrong or odd; "error": it cannot run.
        what: was looked at: "particles a cell", "overlap", "time step", ...
        name: of the thing: "SoftBody 'cube'".
        value: that was found.
        allowed: its least or largest value that raises no concern, in the same unit.
        unit: of both.
        text: what was found and what will come of it, one line; "" where it is fine.
        advice: what to do about it; "" where there is nothing to do.
    """

    severity: Severity
    what: str
    name: str
    _: KW_ONLY
    value: float
    allowed: float
    unit: str = "1"
    text: str = ""
    advice: str = ""

    @property
    def rank(self) -> int:
        """The higher, the worse."""
        return SEVERITIES.index(self.severity)

    def __str__(self) -> str:
        """Text and advice in one line."""
        return "; ".join(part for part in (self.text, self.advice) if part)


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """In the order of their severity, and of equal ones in the order given."""
    return sorted(findings, key=lambda finding: -finding.rank)


def warn_of(findings: Iterable[Finding]) -> None:
    """Log the warnings and errors among them, the worst by name and how many more there are."""
    told = [finding for finding in worst_first(findings) if finding.rank >= SEVERITIES.index("warning")]
    for finding in told[:WARNED_OF]:
        logger.warning("%s", finding)
    if len(told) > WARNED_OF:
        logger.warning("%d more of the kind: ds.check(scene, dt) lists them all", len(told) - WARNED_OF)
