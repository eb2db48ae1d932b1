"""The author's contract: a manipulation task as a short class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor

import diffsim as ds
from diffsim.render import Camera, GroundMarker


@dataclass(frozen=True)
class Episode:
    """B running episodes: the physics, and what was observed so far (T' tensors (B, O), detached)."""

    state: ds.State
    observations: tuple[Tensor, ...]


class Task:
    """A batch of differentiable manipulation episodes. Subclass it, and register the class with ``@register("Name")``.

    An author writes `scene` and `reward`, and what is wanted of the rest; the docstring says under "Task:",
    "Randomisation:" and "Success:" what it is about. The object speaks `rpg`'s environment protocol.

    Attributes for the author:
        horizon: control steps of an episode, T.
        dt, substeps: length of a substep in s, and substeps of a control step.
        tool_speed: velocity (m/s, rad/s) that an action component of 1 stands for.
        outcome_names: names of the distinct ways through the task, by label 0, 1, ...
        optimizer_settings: what the task asks of the optimiser where its defaults do not fit, by the setting's name in
            `rpg.RPGConfig`; a schedule is (start, end) or (start, end, begin, finish).
        default_mesh: file of the manipulated body's mesh, for `scene` to use as ``self.mesh``.

    Args:
        num_envs: episodes side by side, B.
        mesh: a mesh file in place of ``default_mesh``.
        dtype: torch.float32 or torch.float64.

    Raises:
        diffsim.InputError: an argument is wrong, or the task's scene is.
    """

    name: ClassVar[str] = ""
    horizon: int = 20
    dt: float = 4e-3
    substeps: int = 10
    tool_speed: float = 1.0
    outcome_names: Sequence[str] = ("solved",)
    optimizer_settings: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    default_mesh: str | Path | None = None

    def __init__(
        self, num_envs: int = 1, *, mesh: str | Path | None = None, dtype: torch.dtype = torch.float32
    ) -> None:
        if mesh is not None and self.default_mesh is None:
            raise ds.InputError(f"task '{self.name or type(self).__name__}' takes no mesh, got '{mesh}'")
        self.mesh = mesh if mesh is not None else self.default_mesh
        self.sim = ds.Simulator(
            self.scene(), num_envs=num_envs, dt=self.dt, substeps=self.substeps, dtype=dtype
        )
        self.num_envs = num_envs
        self.action_dim = self.sim.action_dim
        with torch.no_grad():
            self.observation_dim = int(self.observation(self.sim.reset()[0]).shape[1])

    # What an author writes ---------------------------------------------------------------------------------------

    def scene(self) -> ds.Scene:
        """What stands in the world."""
        raise ds.InputError(f"task {type(self).__name__} must define scene()")

    def reward(self, state: ds.State, action: Tensor) -> Tensor:
        """Reward (B,) for having arrived at ``state`` with ``action`` (B, A) in [-1, 1]; differentiable, of order 1."""
        raise ds.InputError(f"task {type(self).__name__} must define reward()")

    def randomize(self, state: ds.State, generator: torch.Generator) -> ds.State:
        """The first state of an episode, from the scene's; nothing is randomised unless this is overridden."""
        return state

    def observation(self, state: ds.State) -> Tensor:
        """Features (B, O), differentiable: mean position and velocity of each soft body, the tools' positions, then the rigid
        things' coordinates and velocities."""
        features = []
        for body in self.sim.scene.soft_bodies:
            particles = self.sim.particle_slice(body.name)
            features += [state.x[:, particles].mean(dim=1), state.v[:, particles].mean(dim=1)]
        return torch.cat([*features, state.tool_position.flatten(1), state.q, state.qd], dim=1)

    def controls(self, action: Tensor) -> Tensor:
        """The simulator's action (B, sim.action_dim), m/s and rad/s, for ``action`` (B, A) in [-1, 1]."""
        return self.tool_speed * action

    def success(self, state: ds.State) -> Tensor:
        """Whether the episode that ends in ``state`` did what was wanted, bool (B,)."""
        return torch.zeros(state.num_envs, dtype=torch.bool)

    def outcome(self, observations: Tensor) -> Tensor:
        """Which of the distinct ways an episode took, int64 (B,), -1 for none, from its observations (T + 1, B, O)."""
        return torch.zeros(observations.shape[1], dtype=torch.int64)

    def camera(self) -> Camera | None:
        """Where a video looks from; ``None`` frames the scene's domain."""
        return None

    def markers(self) -> Sequence[GroundMarker]:
        """Marks on the ground of a video, such as a goal."""
        return ()

    # rpg's environment protocol ----------------------------------------------------------------------------------

    def reset(self, seed: int | None = None) -> Episode:
        """B new episodes; the same seed gives the same ones."""
        generator = torch.Generator()
        if seed is None:
            generator.seed()
        else:
            generator.manual_seed(seed)
        state = self.randomize(self.sim.reset(), generator)
        return Episode(state, (self.observation(state).detach(),))

    def observe(self, episode: Episode) -> Tensor:
        """Features (B, O)."""
        return self.observation(episode.state)

    def step(self, episode: Episode, action: Tensor) -> tuple[Episode, Tensor, dict[str, Tensor]]:
        """One control step under ``action`` (B, A) in [-1, 1]: (next episodes, reward (B,), info).

        ``info`` holds "success" and "outcome" of the episodes as they stand.
        """
        state = self.sim.step(episode.state, self.controls(action))
        reward = self.reward(state, action)
        observations = (*episode.observations, self.observation(state).detach())
        with torch.no_grad():
            success = self.success(state)
            outcome = torch.where(success, self.outcome(torch.stack(observations)), -1)
        return Episode(state, observations), reward, {"success": success, "outcome": outcome}
