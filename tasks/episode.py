"""What a task's methods are given: running episodes, and one step of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

import diffsim as ds


@dataclass(frozen=True)
class Episode:
    """B running episodes, a value: `Task.randomize` makes them, `Task.step` gives the next ones.

    Attributes:
        state: the simulator's state.
        steps: control steps since the episodes began, int64 (B,); they stop at an early end.
        ended: whether an episode has ended early, by success or failure, bool (B,). Its state stays as it was at that moment.
        parameters: physical parameters in place of the scene's, as `diffsim.Simulator.step` takes them, each (B, ...); or None.
        values: anything else that the author drew, such as goals, (B, ...), by name; read as ``episode["goal"]``.
        observations: what `Task.observation` gave so far, one detached tensor (B, O) a step, that of the first state included.
        controls: where an action space counts from what it set last, the simulator's action (B, sim.action_dim) of the last
            step and, before the first, that under which the robot stays where it is. Differentiable. None elsewhere.
    """

    state: ds.State
    steps: Tensor
    ended: Tensor
    parameters: Mapping[str, Tensor] | None = None
    values: Mapping[str, Tensor] = field(default_factory=dict)
    observations: tuple[Tensor, ...] = ()
    controls: Tensor | None = None

    @property
    def num_envs(self) -> int:
        """B."""
        return len(self.steps)

    @property
    def history(self) -> Tensor:
        """The observations so far, (t + 1, B, O). Episodes that began later than others in the batch repeat their first one."""
        return torch.stack(self.observations)

    def __getitem__(self, name: str) -> Tensor:
        """One of the author's values.

        Raises:
            InputError: there is none of that name.
        """
        if name not in self.values:
            raise ds.InputError(f"the episode has no value '{name}'; values: {', '.join(self.values) or 'none'}")
        return self.values[name]

    def replace(self, **changes: Any) -> Episode:
        """New episodes with some fields replaced."""
        return replace(self, **changes)

    def environment(self, index: int) -> Episode:
        """The episode of one environment, as a batch of one.

        Raises:
            InputError: there is no such environment.
        """
        count = self.num_envs
        if not -count <= index < count:
            raise ds.InputError(f"environment index must lie in [0, {count}), got {index}")
        return self.environments(index % count, index % count + 1)

    def environments(self, first: int, end: int) -> Episode:
        """The episodes of the environments from ``first`` to before ``end``."""

        def row(tensor: Tensor) -> Tensor:
            return tensor[first:end]

        return Episode(
            state=self.state[first:end],
            steps=row(self.steps),
            ended=row(self.ended),
            parameters=None if self.parameters is None else _mapped(row, self.parameters),
            values=_mapped(row, self.values),
            observations=tuple(map(row, self.observations)),
            controls=None if self.controls is None else row(self.controls),
        )

    def detach(self) -> Episode:
        """The same values, cut from the autograd graph."""
        return Episode(
            state=self.state.detach(),
            steps=self.steps,
            ended=self.ended,
            parameters=None if self.parameters is None else _mapped(Tensor.detach, self.parameters),
            values=_mapped(Tensor.detach, self.values),
            observations=self.observations,
            controls=None if self.controls is None else self.controls.detach(),
        )

    def merged(self, where: Tensor, old: Episode) -> Episode:
        """These episodes in the environments ``where`` (B,) bool, ``old`` ones elsewhere; both of one task.

        Of the shorter history, the first observation is repeated in front.
        """

        def chosen(new: Tensor, other: Tensor) -> Tensor:
            return torch.where(where.to(new.device).view(-1, *[1] * (new.ndim - 1)), new, other)

        def padded(observations: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return (*[observations[0]] * (length - len(observations)), *observations)

        steps = chosen(self.steps, old.steps)
        length = 1 + int(steps.max()) if len(self.observations) and len(old.observations) else 0
        mine, others = padded(self.observations)[-length:], padded(old.observations)[-length:]
        parameters = None
        if self.parameters is not None and old.parameters is not None:
            parameters = {name: chosen(value, old.parameters[name]) for name, value in self.parameters.items()}
        return Episode(
            state=self.state.replace(
                **{name: chosen(value, getattr(old.state, name)) for name, value in self.state.tensors().items()}
            ),
            steps=steps,
            ended=chosen(self.ended, old.ended),
            parameters=parameters,
            values={name: chosen(value, old.values[name]) for name, value in self.values.items()},
            observations=tuple(map(chosen, mine, others)) if length else (),
            controls=None if self.controls is None or old.controls is None else chosen(self.controls, old.controls),
        )


class Transition(NamedTuple):
    """One control step, as `Task.reward` sees it."""

    before: ds.State
    """The state that the step began in."""
    action: Tensor
    """(B, A) in [-1, 1]."""
    after: ds.State
    """The state that it ended in."""
    episode: Episode
    """The episodes after it: what was randomised, the observations so far, and ``after`` once more."""


def _mapped(function: Any, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: function(tensor) for name, tensor in tensors.items()}
