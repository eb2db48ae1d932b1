"""Environments that differ in their scene: several instances of a task, each with its share of the batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

import diffsim as ds
from tasks.base import Task
from tasks.episode import Episode
from tasks.shown_modes import ShownModes


@dataclass(frozen=True)
class VariantEpisodes:
    """Running episodes of `Variants`: those of each variant, in order."""

    parts: tuple[Episode, ...]

    def detach(self) -> VariantEpisodes:
        """The same values, cut from the autograd graph."""
        return VariantEpisodes(tuple(part.detach() for part in self.parts))

    def merged(self, where: Tensor, old: VariantEpisodes) -> VariantEpisodes:
        """These episodes in the environments ``where`` (B,) bool, ``old`` ones elsewhere."""
        shares = where.split([part.num_envs for part in self.parts])
        pairs = zip(self.parts, shares, old.parts, strict=True)
        return VariantEpisodes(tuple(new.merged(share, other) for new, share, other in pairs))


class Variants(ShownModes):
    """A batch of environments, some of each variant of a task, such as other meshes or parameters: an environment as `rpg`
    expects it, with one simulator for each variant.

    ``Variants(Detour, 8, [{"mesh": "duck.obj"}, {"mesh": "bunny.obj"}])`` has four environments of each.

    Args:
        task: the class.
        num_envs: environments of all variants together, B; the first variants have one more where it cannot be divided.
        variants: parameters of each, as keyword arguments of the class.
        dtype, device, parameters: common to all.

    Raises:
        InputError: there are more variants than environments, or they differ in the width of actions or observations, or in
            the horizon.
    """

    def __init__(
        self,
        task: Callable[..., Task],
        num_envs: int,
        variants: Sequence[Mapping[str, Any]],
        *,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        **parameters: Any,
    ) -> None:
        if not 1 <= len(variants) <= num_envs:
            raise ds.InputError(f"variants must be 1 to {num_envs}, one environment each at least, got {len(variants)}")
        counts = [len(share) for share in np.array_split(np.arange(num_envs), len(variants))]
        self.tasks = tuple(
            task(count, dtype=dtype, device=device, **{**parameters, **variant})
            for count, variant in zip(counts, variants, strict=True)
        )
        first = self.tasks[0]
        for name in ("action_dim", "observation_dim", "horizon", "observation_mode"):
            values = [getattr(each, name) for each in self.tasks]
            if len(set(values)) > 1:
                raise ds.InputError(f"variants of task {type(first).__name__} must have one {name}, got {values}")
        self.num_envs, self._counts = num_envs, counts
        self.action_dim, self.observation_dim, self.horizon = first.action_dim, first.observation_dim, first.horizon
        self.name, self.outcome_names, self.differentiable = first.name, first.outcome_names, first.differentiable
        self.finite_horizon = first.finite_horizon
        self.optimizer_settings = dict(first.optimizer_settings)
        self.observation_points = getattr(first, "observation_points", None)
        self.observation_shape = getattr(first, "observation_shape", None)

    def reset(self, seed: int | None = None) -> VariantEpisodes:
        """B new episodes."""
        return VariantEpisodes(tuple(each.reset(_seed(seed, n)) for n, each in enumerate(self.tasks)))

    def observe(self, episodes: VariantEpisodes) -> Tensor:
        """(B, O)."""
        return torch.cat([each.observe(part) for each, part in zip(self.tasks, episodes.parts, strict=True)])

    def step(self, episodes: VariantEpisodes, action: Tensor) -> tuple[VariantEpisodes, Tensor, dict[str, Tensor]]:
        """One control step, as `Task.step`."""
        shares = zip(self.tasks, episodes.parts, action.split(self._counts), strict=True)
        parts, rewards, infos = zip(*(each.step(part, share) for each, part, share in shares), strict=True)
        info = {name: torch.cat([each[name] for each in infos]) for name in infos[0]}
        return VariantEpisodes(parts), torch.cat(rewards), info

    def located(self, environment: int, seed: int) -> tuple[Task, int, int]:
        """The task that an environment of ``reset(seed)`` runs in, its index there, and the seed to reset that task with."""
        number = int(np.searchsorted(np.cumsum(self._counts), environment, side="right"))
        return self.tasks[number], environment - sum(self._counts[:number]), _seed(seed, number)

    def check_rendering(self) -> None:
        """As `Task.check_rendering`, of every variant."""
        for each in self.tasks:
            each.check_rendering()


def _seed(seed: int | None, number: int) -> Any:
    """The seed of a variant's episodes: the first has the given one, the others draw other episodes."""
    if seed is None or number == 0:
        return seed
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> np.uint64(1))
