"""The contacts of a substep as a flat record."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from diffsim.errors import InputError

TENSORS = ("environment", "first", "second", "point", "gap", "normal", "force")


@dataclass(frozen=True)
class Contacts:
    """N contacts in the substep that starts at a state, those of all environments one after the other. Not differentiable:
    rewards take `Simulator.contact_wrench`.

    Attributes:
        names: of what can touch: those of `Simulator.contact_names`, then the soft bodies.
        environment: in which each is, int64 (N,).
        first, second: who touches, as indices into ``names``, int64 (N,).
        point: where, in the world, m, (N, 3).
        gap: from surface to surface, m, negative within, (N,).
        normal: of the surface of the second, from it to the first, (N, 3).
        force: on the first, N, (N, 3); that on the second is opposite.
    """

    names: tuple[str, ...]
    environment: Tensor
    first: Tensor
    second: Tensor
    point: Tensor
    gap: Tensor
    normal: Tensor
    force: Tensor

    @classmethod
    def empty(cls, names: tuple[str, ...], like: Tensor) -> Contacts:
        """None at all; tensors of the dtype and on the device of ``like``."""
        indices, vectors = torch.zeros(0, dtype=torch.int64, device=like.device), like.new_zeros((0, 3))
        return cls(names, indices, indices, indices, vectors, like.new_zeros(0), vectors, vectors)

    def __len__(self) -> int:
        return len(self.environment)

    def joined(self, other: Contacts) -> Contacts:
        """These, then those of another record of the same names, environment by environment."""
        parts = (torch.cat([getattr(self, name), getattr(other, name)]) for name in TENSORS)
        both = Contacts(self.names, *parts)
        return both._chosen(both.environment.argsort(stable=True))

    def in_environment(self, environment: int) -> Contacts:
        """Those of one environment."""
        return self._chosen(self.environment == environment)

    def of(self, name: str) -> Contacts:
        """Those of one thing, which comes first in each: the forces are on it.

        Raises:
            InputError: there is no such thing.
        """
        if name not in self.names:
            raise InputError(f"nothing that can touch is called '{name}'; there are: {', '.join(self.names)}")
        index = self.names.index(name)
        return self._chosen((self.first == index) | (self.second == index))._with_first(index)

    def between(self, first: str, second: str) -> Contacts:
        """Those of two things; ``first`` comes first in each: the forces are on it.

        Raises:
            InputError: there is no such thing.
        """
        if second not in self.names:
            raise InputError(f"nothing that can touch is called '{second}'; there are: {', '.join(self.names)}")
        found = self.of(first)
        return found._chosen(found.second == self.names.index(second))

    def _chosen(self, which: Tensor) -> Contacts:
        return Contacts(self.names, *(getattr(self, name)[which] for name in TENSORS))

    def _with_first(self, index: int) -> Contacts:
        """With ``index`` first in each contact; the others are turned round."""
        turn = self.first != index
        sign = torch.where(turn, -1.0, 1.0).to(self.force.dtype)[:, None]
        first, second = torch.where(turn, self.second, self.first), torch.where(turn, self.first, self.second)
        return replace(self, first=first, second=second, normal=sign * self.normal, force=sign * self.force)
