"""The simulator's state: a frozen, batch-first record of torch tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from diffsim.errors import InputError


class Particles(NamedTuple):
    """The fields of a `State` that describe the N particles of the soft bodies; all in the world's frame."""

    x: Tensor
    v: Tensor
    C: Tensor
    F: Tensor
    internal_variable: Tensor


@dataclass(frozen=True)
class State:
    """State of B environments. State is passed, never hidden in the simulator: ``state = sim.step(state, action)``.

    Attributes:
        x: positions of the N particles in the world, m, (B, N, 3).
        v: their velocities, m/s, (B, N, 3).
        C: their affine velocity matrices (APIC; Jiang et al. 2015), the velocity's gradient in the world's frame, 1/s,
            (B, N, 3, 3).
        F: their elastic deformation gradients, from the rest shape to the world, dimensionless, (B, N, 3, 3).
        internal_variable: the scalar internal variable of each particle's law, dimensionless, (B, N). The material says what it
            is: accumulated plastic strain (`ElastoPlastic`), logarithm of the volume gained by parting (`Sand`, `Liquid`),
            logarithm of the plastic volume ratio (`Snow`); 0 for the others.
        tool_position: origins of the M tools in the world, m, (B, M, 3).
        tool_rotation: rotations of the tools' frames into the world's, unit quaternions (w, x, y, z), (B, M, 4).
        q: generalized coordinates of the rigid bodies, then of the articulations (B, nq), link by link: none of a fixed joint,
            m (prismatic), rad (revolute), a quaternion (w, x, y, z) (ball), world position in m and quaternion (free).
        qd: their generalized velocities (B, nv): m/s, rad/s, angular velocity in the link's frame in rad/s (ball), the origin's
            velocity in the world's frame in m/s and angular velocity in the link's frame in rad/s (free). `Simulator.links`
            has all velocities in the world's frame.
        time_step: control steps since ``reset``, int64 (B,).
        contact_wrench: mean over the last control step of what touched each of the K things of `Simulator.contact_names`:
            force, N, and torque, N m, in the world's axes, (B, K, 6); see `Simulator.contact_wrench`. Zero at reset, with no
            effect on the next step. K = 0 unless the simulator records forces, and where it is not given.

    States pickle, without the autograd graph, and ``torch.load`` reads them with ``weights_only``.
    A stack (`State.stack`) has one more axis in front of all these.
    """

    x: Tensor
    v: Tensor
    C: Tensor
    F: Tensor
    internal_variable: Tensor
    tool_position: Tensor
    tool_rotation: Tensor
    q: Tensor
    qd: Tensor
    time_step: Tensor
    contact_wrench: Tensor = None  # type: ignore[assignment]  # made by __post_init__

    def __post_init__(self) -> None:
        if self.contact_wrench is None:
            shape = self.time_step.shape if isinstance(self.time_step, Tensor) else (0,)
            like = self.x if isinstance(self.x, Tensor) else torch.zeros(0)
            object.__setattr__(self, "contact_wrench", like.new_zeros((*shape, 0, 6)))

    def __getstate__(self) -> dict[str, Tensor]:
        """Pickled are the values, cut from the autograd graph."""
        return self.detach().tensors()

    def __setstate__(self, tensors: dict[str, Tensor]) -> None:
        """Pickles of older versions have no contact wrenches."""
        vars(self).update(tensors)
        self.__post_init__()

    @property
    def num_envs(self) -> int:
        """Environments, B; of a stack too."""
        return self.time_step.shape[-1]

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.x.device

    @property
    def particles(self) -> Particles:
        """The particles' fields."""
        return Particles(self.x, self.v, self.C, self.F, self.internal_variable)

    def tensors(self) -> dict[str, Tensor]:
        """The fields by name."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    def map(self, function: Callable[[Tensor], Tensor]) -> State:
        """A new state with ``function`` applied to every tensor."""
        return State(**{name: function(tensor) for name, tensor in self.tensors().items()})

    def replace(self, **changes: Tensor) -> State:
        """A new state with some fields replaced.

        Raises:
            InputError: a value is no tensor.
            TypeError: there is no such field.
        """
        for name, value in changes.items():
            if not isinstance(value, Tensor):
                raise InputError(f"{name} must be a torch tensor, got {value!r}")
        return replace(self, **changes)

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor) -> State:
        """The chosen environments, of a stack too; an integer keeps the batch axis, so the result has one environment.

        Raises:
            InputError: an integer is out of range.
        """
        if isinstance(index, int):
            count = self.num_envs
            if not -count <= index < count:
                raise InputError(f"environment index must lie in [0, {count}), got {index}")
            index = [index]
        if index is None or isinstance(index, str | float):
            raise InputError(f"index must choose environments, as 0, 2:5, [0, 3] or a tensor do, got {index!r}")
        before = (slice(None),) * (self.time_step.ndim - 1)  # the axes of a stack
        return self.map(lambda tensor: tensor[(*before, index)])

    def detach(self) -> State:
        """The same values, cut from the autograd graph."""
        return self.map(Tensor.detach)

    def clone(self) -> State:
        """A copy, in the autograd graph."""
        return self.map(Tensor.clone)

    def to(self, device: str | torch.device) -> State:
        """The same state on a device."""
        return self.map(lambda tensor: tensor.to(device))

    @staticmethod
    def sequence(common: dict[str, Tensor], names: Sequence[str], rows: Iterable[tuple[Tensor, ...]]) -> list[State]:
        """A state for each row of the fields ``names``, which has the others in common: as State(...), in half the time."""
        states = []
        for row in rows:
            state = object.__new__(State)
            state.__dict__.update(common)
            state.__dict__.update(zip(names, row, strict=True))
            states.append(state)
        return states

    @staticmethod
    def stack(states: Sequence[State]) -> State:
        """States of one trajectory as one record whose fields have a leading time axis, (T, B, ...).

        Raises:
            InputError: there are no states.
        """
        if not isinstance(states, list | tuple) or not all(isinstance(state, State) for state in states):
            raise InputError(f"states must be a list of State, got {states!r}")
        if not states:
            raise InputError("states must hold at least one State, got []")
        return State(**{f.name: torch.stack([getattr(s, f.name) for s in states]) for f in fields(State)})

    def unstack(self) -> list[State]:
        """The states that `stack` joined.

        Raises:
            InputError: this is no stack.
        """
        if self.time_step.ndim < 2:
            raise InputError("unstack needs a State made by State.stack, got one without a time axis")
        parts = zip(*(tensor.unbind(0) for tensor in self.tensors().values()), strict=True)
        return [State(*tensors) for tensors in parts]

    def save(self, path: str | Path) -> None:
        """Write the tensors to ``path``."""
        torch.save({name: tensor.detach().cpu() for name, tensor in self.tensors().items()}, path)

    @staticmethod
    def load(path: str | Path, *, device: str | torch.device = "cpu") -> State:
        """Read what `save` wrote.

        Raises:
            InputError: the file is not a saved State.
        """
        if not isinstance(path, str | PathLike):
            raise InputError(f"path must be a state file's, got {path!r}")
        try:
            tensors = torch.load(path, map_location=device, weights_only=True)
            return State(**tensors)
        except FileNotFoundError as error:
            raise InputError(f"state file '{path}' does not exist") from error
        except Exception as error:  # torch.load raises whatever the bytes make it raise
            raise InputError(f"'{path}' is not a saved State: {' '.join(str(error).split())[:200]}") from error


torch.serialization.add_safe_globals([State])  # a record of tensors: torch.load may make one from a file
