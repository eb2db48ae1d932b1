"""Collecting steps from environments whose episodes end one by one, each with a latent of its own."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rpg.protocol import Environment, Observation, ProtocolError, Step, episode_end, mapped
from rpg.training.replay_buffer import ReplayBuffer, Transitions


class Situation(NamedTuple):
    """What a policy sees in each of B environments."""

    observation: Observation
    """(B, *shape)."""
    latent: Tensor
    """(B,) int64 or (B, D): z of the episode."""
    age: Tensor
    """(B,) int64, steps since the episode began."""


class Choice(NamedTuple):
    """What it does."""

    action: Tensor
    """(B, A) in [-1, 1]."""
    log_prob: Tensor
    """(B,) its log density."""


class Episodes(NamedTuple):
    """N episodes that have ended."""

    returns: Tensor
    """(N,) sums of rewards."""
    lengths: Tensor
    """(N,) int64."""
    success: Tensor
    """(N,) bool."""
    outcome: Tensor
    """(N,) int64, -1 for none."""


Draw = Callable[[Observation], Tensor]
"""z for the first observations (B, *shape): (B,) int64 or (B, D)."""


class Collector:
    """Steps through `env` and remembers where it is. At an episode's end the environment is reset and draws a new z, which it
    keeps until its own end.
    """

    def __init__(self, env: Environment, *, draw_latent: Draw | None = None) -> None:
        """Without `draw_latent`, z is 0."""
        self.env = env
        self._draw = draw_latent or (lambda seen: _like(seen).new_zeros(env.num_envs, dtype=torch.int64))
        self._state: Any = None
        self._situation: Situation | None = None
        self._episode = torch.arange(env.num_envs)
        self._began = env.num_envs  # episodes so far
        self._returns = torch.zeros(env.num_envs)

    @property
    def situation(self) -> Situation:
        """Where the environments are. Raises RuntimeError before `start`."""
        if self._situation is None:
            raise RuntimeError("the collector was not started")
        return self._situation

    @property
    def started(self) -> bool:
        return self._situation is not None

    def start(self, seed: int) -> None:
        """Begin an episode in every environment."""
        self._state, observation = self.env.reset(seed)
        like = _like(observation)
        count = self.env.num_envs
        self._situation = Situation(observation, self._draw(observation), like.new_zeros(count, dtype=torch.int64))
        self._episode = self._began - count + like.new_ones(count, dtype=torch.int64).cumsum(0) - 1
        self._returns = torch.zeros(count, device=like.device)

    @torch.no_grad()
    def step(self, choice: Choice) -> tuple[Transitions, Episodes | None]:
        """One step of every environment: what happened, (B, ...), and the episodes that ended with it, if any."""
        seen = self.situation
        step: Step = self.env.step(self._state, choice.action)
        transitions = Transitions(
            observation=seen.observation,
            action=choice.action,
            reward=step.reward,
            next_observation=step.observation,
            terminated=step.terminated,
            truncated=step.truncated,
            latent=seen.latent,
            episode=self._episode,
            age=seen.age,
            log_prob=choice.log_prob,
        )
        self._returns = self._returns + step.reward
        age = seen.age + 1
        ended = step.terminated | step.truncated
        if not bool(ended.any()):
            self._state, self._situation = step.state, Situation(step.observation, seen.latent, age)
            return transitions, None
        end = episode_end(step.info, step.reward)
        episodes = Episodes(self._returns[ended], age[ended], end.success[ended], end.outcome[ended])
        self._begin_anew(step, ended, age)
        return transitions, episodes

    def _begin_anew(self, step: Step, ended: Tensor, age: Tensor) -> None:
        """Reset the environments that `ended` (B,), draw their z, and number their new episodes."""
        self._state, observation = self.env.reset(state=step.state, where=ended)
        drawn, latent = self._draw(observation), self.situation.latent
        latent = torch.where(ended if latent.ndim == 1 else ended.unsqueeze(1), drawn, latent)
        self._situation = Situation(observation, latent, torch.where(ended, 0, age))
        self._episode = torch.where(ended, self._began + ended.cumsum(0) - 1, self._episode)
        self._began += int(ended.sum())
        self._returns = torch.where(ended, 0.0, self._returns)

    def collect(self, choose: Callable[[Situation], Choice], buffer: ReplayBuffer, steps: int) -> list[Episodes]:
        """`steps` steps of every environment into `buffer`; the episodes that ended."""
        ended = []
        for _ in range(steps):
            transitions, episodes = self.step(choose(self.situation))
            buffer.add(transitions)
            if episodes is not None:
                ended.append(episodes)
        return ended

    def state(self) -> dict[str, Any]:
        """For a checkpoint. Without the environments' own state if they cannot give a snapshot: `restore` then begins new
        episodes."""
        if self._situation is None:
            return {"started": False}
        try:
            snapshot = self.env.snapshot(self._state)
        except ProtocolError:
            snapshot = None
        seen = self._situation
        return {
            "started": True,
            "snapshot": snapshot,
            "latent": seen.latent,
            "age": seen.age,
            "episode": self._episode,
            "began": self._began,
            "returns": self._returns,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state`. Raises ProtocolError if that is of another number of environments."""
        if not state["started"]:
            self._situation, self._began = None, self.env.num_envs
            return
        if len(state["latent"]) != self.env.num_envs:
            given = f"the episodes under way are those of {len(state['latent'])} environments"
            raise ProtocolError(f"{given}; expected {self.env.num_envs}")
        self._began = state["began"]
        if state["snapshot"] is None:
            self._began += self.env.num_envs
            self.start(self._began)
            return
        self._state, observation = self.env.restore(state["snapshot"])
        observation = mapped(torch.Tensor.detach, observation)
        like = _like(observation)
        self._situation = Situation(observation, state["latent"].to(like.device), state["age"].to(like.device))
        self._episode, self._returns = state["episode"].to(like.device), state["returns"].to(like.device)


def _like(observation: Observation) -> Tensor:
    return next(iter(observation.values())) if isinstance(observation, dict) else observation
