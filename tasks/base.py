"""The base class of a manipulation task."""

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
from tasks.mode_video import RecordedMode, write_modes_video


@dataclass(frozen=True)
class Episode:
    """B running episodes: the simulator's state, and the observations so far (one detached tensor (B, O) a step)."""

    state: ds.State
    observations: tuple[Tensor, ...]


class Task:
    """A batch of differentiable manipulation episodes. Subclass it, and register the class with ``@register("Name")``.

    An author defines `scene` and `reward`, and overrides the other methods as needed; the docstring describes the task under
    "Task:", "Randomisation:" and "Success:". An instance is an environment as `rpg` expects it.

    Attributes for the author:
        horizon: control steps of an episode, T.
        dt, substeps: length of a substep in s, and substeps of a control step.
        tool_speed: velocity (m/s, rad/s) that an action component of 1 stands for.
        outcome_names: names of the task's distinct solutions, by label 0, 1, ...
        optimizer_settings: settings of the optimiser that differ from its defaults, by their name in `rpg.RPGConfig`; a
            schedule is (start, end) or (start, end, begin, finish).
        default_mesh: file of the manipulated body's mesh, for `scene` to use as ``self.mesh``.

    Args:
        num_envs: episodes side by side, B.
        mesh: a mesh file in place of ``default_mesh``.
        dtype: torch.float32 or torch.float64.
        device: "cpu" or "cuda", where states and rewards live; as of `diffsim.Simulator`.

    Raises:
        diffsim.InputError: an argument or the task's scene is wrong.
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
        self,
        num_envs: int = 1,
        *,
        mesh: str | Path | None = None,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
    ) -> None:
        if mesh is not None and self.default_mesh is None:
            raise ds.InputError(f"task '{self.name or type(self).__name__}' takes no mesh, got '{mesh}'")
        self.mesh = mesh if mesh is not None else self.default_mesh
        self.sim = ds.Simulator(self.scene(), num_envs=num_envs, dt=self.dt, substeps=self.substeps, dtype=dtype, device=device)
        self.num_envs = num_envs
        self.action_dim = self.sim.action_dim
        with torch.no_grad():
            self.observation_dim = int(self.observation(self.sim.reset()[0]).shape[1])

    # For the author to define or override ------------------------------------------------------------------------

    def scene(self) -> ds.Scene:
        """The bodies, tools, obstacles and robots of the task."""
        raise ds.InputError(f"task {type(self).__name__} must define scene()")

    def reward(self, state: ds.State, action: Tensor) -> Tensor:
        """Reward (B,) for having arrived at ``state`` with ``action`` (B, A) in [-1, 1]; differentiable, of order 1."""
        raise ds.InputError(f"task {type(self).__name__} must define reward()")

    def randomize(self, state: ds.State, generator: torch.Generator) -> ds.State:
        """The first state of an episode, from the scene's; nothing is randomised unless this is overridden."""
        return state

    def observation(self, state: ds.State) -> Tensor:
        """Features (B, O), differentiable: mean position and velocity of each soft body, the tools' positions, then the
        coordinates and velocities of rigid bodies and articulations."""
        features = []
        for body in self.sim.scene.soft_bodies:
            particles = self.sim.particle_slice(body.name)
            features += [state.x[:, particles].mean(dim=1), state.v[:, particles].mean(dim=1)]
        return torch.cat([*features, state.tool_position.flatten(1), state.q, state.qd], dim=1)

    def controls(self, action: Tensor) -> Tensor:
        """The simulator's action (B, sim.action_dim), m/s and rad/s, for ``action`` (B, A) in [-1, 1]."""
        return self.tool_speed * action

    def success(self, state: ds.State) -> Tensor:
        """Whether an episode that ends in ``state`` reached its goal, bool (B,)."""
        return torch.zeros(state.num_envs, dtype=torch.bool, device=state.time_step.device)

    def outcome(self, observations: Tensor) -> Tensor:
        """Label of the solution that an episode followed, int64 (B,), -1 for none, from its observations (T + 1, B, O)."""
        return torch.zeros(observations.shape[1], dtype=torch.int64, device=observations.device)

    def camera(self) -> Camera | None:
        """The video's camera; ``None`` frames the whole scene."""
        return None

    def markers(self) -> Sequence[GroundMarker]:
        """Marks on the ground in the video, such as a goal."""
        return ()

    # rpg's environment protocol ----------------------------------------------------------------------------------

    def reset(self, seed: int | None = None) -> Episode:
        """B new episodes; the same seed gives the same ones. The first of them begin as in a batch of another size if
        `randomize` draws a row for each with ``torch.rand``, as the tasks here do."""
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

        ``info`` holds "success" and "outcome" as if the episodes ended here.
        """
        state = self.sim.step(episode.state, self.controls(action))
        reward = self.reward(state, action)
        observations = (*episode.observations, self.observation(state).detach())
        with torch.no_grad():
            success = self.success(state)
            if success.dtype != torch.bool or success.shape != (self.num_envs,):
                given = f"{success.dtype} of shape {tuple(success.shape)}"
                raise ds.InputError(f"success() of task {type(self).__name__} gave {given}; allowed is torch.bool (B,)")
            outcome = torch.where(success, self.outcome(torch.stack(observations)), -1)
        return Episode(state, observations), reward, {"success": success, "outcome": outcome}

    def write_video(self, modes: Sequence[RecordedMode], path: Path) -> None:
        """Write an MP4 of a run's distinct solutions side by side, and a PNG of its last frame beside it."""
        write_modes_video(self, modes, path)
