"""The simulator's state: a frozen, batch-first record of torch tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from torch import Tensor

from diffsim.errors import InputError


@dataclass(frozen=True)
class State:
    """State of B environments. State is passed, never hidden in the simulator: ``state = sim.step(state, action)``.

    Attributes:
        x: particle positions, m, (B, N, 3).
        v: particle velocities, m/s, (B, N, 3).
        C: affine velocity field (APIC), 1/s, (B, N, 3, 3).
        F: elastic deformation gradient, (B, N, 3, 3).
        plastic_strain: accumulated plastic strain, (B, N): the length of plastic flow in log strain (`ElastoPlastic`), the
            volume still to be paid back (`Sand`), the plastic volume's logarithm (`Snow`); 0 for the others.
        tool_position: (B, M, 3), m.
        tool_rotation: unit quaternions (w, x, y, z), (B, M, 4).
        q: generalized coordinates of the rigid bodies, then of the articulations (B, nq); docs/rigid.md.
        qd: their generalized velocities (B, nv).
        time_step: control steps since ``reset``, int64 (B,).
    """

    x: Tensor
    v: Tensor
    C: Tensor
    F: Tensor
    plastic_strain: Tensor
    tool_position: Tensor
    tool_rotation: Tensor
    q: Tensor
    qd: Tensor
    time_step: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """The fields by name."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    def map(self, function: Callable[[Tensor], Tensor]) -> State:
        """A new state with ``function`` applied to every tensor."""
        return State(**{name: function(tensor) for name, tensor in self.tensors().items()})

    def replace(self, **changes: Tensor) -> State:
        """A new state with some fields replaced."""
        return replace(self, **changes)

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor) -> State:
        """The chosen environments; an integer keeps the batch axis, so the result is a State of one environment."""
        if isinstance(index, int):
            count = self.num_envs
            if not -count <= index < count:
                raise InputError(f"environment index must lie in [0, {count}), got {index}")
            index = [index]
        return self.map(lambda tensor: tensor[index])

    @property
    def num_envs(self) -> int:
        return self.x.shape[0]

    def detach(self) -> State:
        """The same values, cut from the autograd graph."""
        return self.map(Tensor.detach)

    def clone(self) -> State:
        return self.map(Tensor.clone)

    def to(self, device: str | torch.device) -> State:
        return self.map(lambda tensor: tensor.to(device))

    @staticmethod
    def stack(states: Sequence[State]) -> State:
        """States of one trajectory as one record with a leading time axis."""
        return State(**{f.name: torch.stack([getattr(s, f.name) for s in states]) for f in fields(State)})

    def save(self, path: str | Path) -> None:
        """Write the tensors to ``path``."""
        torch.save({name: tensor.detach().cpu() for name, tensor in self.tensors().items()}, path)

    @staticmethod
    def load(path: str | Path, *, device: str | torch.device = "cpu") -> State:
        """Read what `save` wrote.

        Raises:
            InputError: the file is not a saved State.
        """
        try:
            tensors = torch.load(path, map_location=device, weights_only=True)
            return State(**tensors)
        except FileNotFoundError as error:
            raise InputError(f"state file '{path}' does not exist") from error
        except Exception as error:  # torch.load raises whatever the bytes make it raise
            raise InputError(f"'{path}' is not a saved State: {str(error).splitlines()[0]}") from error
