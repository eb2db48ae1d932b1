"""Tasks as environments of torchrl, with gradients from rewards to actions. Importing this needs the extra `torchrl`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from tensordict import TensorDict, TensorDictBase
from torchrl.data import Binary, Bounded, Composite, Unbounded
from torchrl.envs import EnvBase

from tasks.adapters.running_episodes import RunningEpisodes, TimeLimitMode, made_task

KEYS = {"state": "observation", "points": "points", "image": "pixels"}
"""torchrl's names for what a task's observation mode shows."""


class TaskTorchRLEnv(EnvBase):
    """B environments of a task, in one simulator; the batch size is (B,).

    A step's reward and observation carry gradients to this and all earlier actions of the episode. A reset cuts them, and so do
    `detach` and a step under ``torch.no_grad()``. The mode "image" has none.

    Tensordicts hold "observation" (B, O), in the mode "points" also "points" (B, n, 3), in the mode "image" only "pixels"
    (B, H, W, 3) bytes; "action" (B, A) in [-1, 1]; "reward", "done", "terminated", "truncated", "success" and "outcome" (B, 1).

    Args:
        task: a task or `Variants`, its class, its registered name, or "module:Class".
        num_envs: B.
        time_limit: whether the horizon truncates episodes or terminates them.
        parameters: of the task's class, such as ``horizon=20``.

    Raises:
        InputError: an argument is wrong.
    """

    def __init__(
        self, task: Any, num_envs: int | None = None, *, time_limit: TimeLimitMode = "truncation", **parameters: Any
    ) -> None:
        made = made_task(task, num_envs, parameters)
        simulator = getattr(made, "tasks", [made])[0].sim
        super().__init__(device=simulator.device, batch_size=torch.Size([made.num_envs]))
        self.task, self._running, self._dtype = made, RunningEpisodes(made, time_limit), simulator.dtype
        self._generators: list[np.random.Generator] = []
        self._set_seed(None)
        self._begin(np.ones(made.num_envs, dtype=bool))
        shapes = {KEYS[name]: value for name, value in self._running.observed().items()}
        count, column = made.num_envs, (made.num_envs, 1)
        labels = {
            "success": Binary(1, column, dtype=torch.bool, device=self.device),
            "outcome": Unbounded(column, dtype=torch.int64, device=self.device),
        }
        seen = {
            name: Bounded(0, 255, value.shape, dtype=torch.uint8, device=self.device)
            if value.dtype == torch.uint8
            else Unbounded(value.shape, dtype=value.dtype, device=self.device)
            for name, value in shapes.items()
        }
        self.observation_spec = Composite({**seen, **labels}, shape=(count,), device=self.device)
        self.action_spec = Bounded(-1.0, 1.0, (count, made.action_dim), dtype=self._dtype, device=self.device)
        self.reward_spec = Unbounded(column, dtype=self._dtype, device=self.device)
        ends = {name: Binary(1, column, dtype=torch.bool, device=self.device) for name in ("done", "terminated", "truncated")}
        self.done_spec = Composite(ends, shape=(count,), device=self.device)

    @property
    def episode_seeds(self) -> np.ndarray:
        """(B,): the present episode of environment n is row n of ``task.reset(episode_seeds[n])``."""
        return self._running.seeds.copy()

    def detach(self) -> None:
        """Cut the running episodes from the autograd graph: gradients of later steps end here."""
        self._running.episode = self._running.episode.detach()

    def _reset(self, tensordict: TensorDictBase | None = None, **_options: Any) -> TensorDict:
        where = None if tensordict is None else tensordict.get("_reset", None)
        mask = np.ones(self._running.num_envs, dtype=bool) if where is None else where.cpu().numpy().reshape(-1)
        self._begin(mask)
        none = torch.zeros(self._running.num_envs, 1, dtype=torch.bool, device=self.device)
        return self._seen(
            success=none.clone(),
            outcome=torch.full_like(none, -1, dtype=torch.int64),
            done=none,
            terminated=none.clone(),
            truncated=none.clone(),
        )

    def _step(self, tensordict: TensorDictBase) -> TensorDict:
        stepped = self._running.step(tensordict["action"].to(self._dtype))
        columns = {name: value[:, None] for name, value in stepped._asdict().items()}
        return self._seen(done=columns["terminated"] | columns["truncated"], **columns)

    def _set_seed(self, seed: int | None) -> None:
        used = np.random.SeedSequence(seed).entropy  # alike, so that one reset of the task begins all
        self._generators = [np.random.default_rng(used) for _ in range(self._running.num_envs)]

    def _begin(self, where: np.ndarray) -> None:
        self._running.begin(where, self._generators)

    def _seen(self, **entries: torch.Tensor) -> TensorDict:
        seen = {KEYS[name]: value for name, value in self._running.observed().items()}
        return TensorDict({**seen, **entries}, batch_size=self.batch_size, device=self.device)
