"""The last few pictures as one, so that a policy sees what moves."""

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rpg.protocol import Box, Environment, EnvironmentSpec, ProtocolError, Step
from rpg.settings_checks import check_int


class StackedState(NamedTuple):
    """Where B episodes are."""

    inner: Any
    """The wrapped environment's state."""
    frames: Tensor
    """(B, H, W, C) bytes: the observation."""


@dataclass(frozen=True)
class StackedFrames:
    """`environment`, whose observations are images (H, W, c), with the last `count` of them side by side, the oldest first:
    (H, W, count c). At an episode's start the first one stands for those before it.

    Raises ProtocolError if observations are no images.
    """

    environment: Environment
    count: int = 2
    spec: EnvironmentSpec = field(init=False)

    def __post_init__(self) -> None:
        check_int("count", self.count, at_least=1)
        spec = self.environment.spec
        seen = spec.observation
        if not isinstance(seen, Box) or not seen.is_image:
            raise ProtocolError(f"spec.observation is {seen}; expected a Box of bytes (H, W, C), as frames are stacked")
        height, width, channels = seen.shape
        stacked = Box((height, width, channels * self.count), 0, 255, torch.uint8)
        object.__setattr__(self, "spec", replace(spec, observation=stacked))

    @property
    def num_envs(self) -> int:
        return self.environment.num_envs

    def reset(
        self, seed: int | None = None, *, state: StackedState | None = None, where: Tensor | None = None
    ) -> tuple[StackedState, Tensor]:
        inner, seen = self.environment.reset(seed, state=None if state is None else state.inner, where=where)
        assert isinstance(seen, Tensor)
        frames = seen.repeat(1, 1, 1, self.count)
        if state is not None and where is not None:
            frames = torch.where(where.to(frames.device).view(-1, 1, 1, 1), frames, state.frames)
        return StackedState(inner, frames), frames

    def step(self, state: StackedState, action: Tensor) -> Step:
        step = self.environment.step(state.inner, action)
        assert isinstance(step.observation, Tensor)
        oldest = step.observation.shape[-1]
        frames = torch.cat([state.frames[..., oldest:], step.observation], dim=-1)
        return step._replace(state=StackedState(step.state, frames), observation=frames)

    def snapshot(self, state: StackedState) -> dict[str, Any]:
        return {"inner": self.environment.snapshot(state.inner), "frames": state.frames}

    def restore(self, snapshot: dict[str, Any]) -> tuple[StackedState, Tensor]:
        inner, _ = self.environment.restore(snapshot["inner"])
        return StackedState(inner, snapshot["frames"]), snapshot["frames"]
