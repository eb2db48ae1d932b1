"""A scripted teacher: it compares segments by the environment's own reward, and errs, ties and tires as people do."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rpg.settings_checks import check_fraction, check_int, check_not_negative


class BudgetError(RuntimeError):
    """The teacher was asked more than its budget allows. One line: names the budget and what was asked."""


@dataclass(frozen=True)
class Teacher:
    """Says which of two segments it prefers: the one with the larger sum of the environment's own rewards."""

    budget: int = 300
    """Number of queries that it answers in all."""
    mistakes: float = 0.0
    """Share of the answers that are the wrong way round; equal ones are never wrong."""
    equal_within: float = 0.0
    """Sums that differ by no more than this are equal to it."""

    def __post_init__(self) -> None:
        check_int("budget", self.budget, at_least=1)
        check_fraction("mistakes", self.mistakes)
        check_not_negative("equal_within", self.equal_within)

    def check_budget(self, queries: int, *, asked: int = 0) -> None:
        """Raise BudgetError unless `queries` more can be asked after `asked` ones."""
        if asked + queries > self.budget:
            left = self.budget - asked
            raise BudgetError(f"the teacher was asked {queries} queries; of its budget of {self.budget}, {left} are left")

    def ask(self, first: Tensor, second: Tensor, *, asked: int, generator: torch.Generator) -> Tensor:
        """(N,) answers about sums of rewards (N,) of first and second segments: 1 where it prefers the first, 0 where the
        second, 0.5 where they are equal to it. `asked` is the number of earlier queries.

        Raises BudgetError.
        """
        self.check_budget(len(first), asked=asked)
        difference = first.double() - second.double()
        answers = (difference > 0).double()
        wrong = torch.rand(len(first), generator=generator, dtype=torch.float64).to(answers.device) < self.mistakes
        answers = torch.where(wrong, 1 - answers, answers)
        return torch.where(difference.abs() <= self.equal_within, 0.5, answers).to(first)
