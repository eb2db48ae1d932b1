"""The distinct solutions (modes) of a run on an interactive page: replays, forces, gradients, other parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

import diffsim as ds
from diffsim.viewer import Arrows, LiveViewer, NumberParameter, Resimulation, Track, write_page
from diffsim.viewer.arrows import force_arrows, gradient_arrows, has_gradient_arrows
from diffsim.viewer.viser_server import LOOPBACK, require_viser
from tasks.episode import Episode
from tasks.mode_video import MAX_PANELS, RecordedMode, replayed_episode
from tasks.return_gradients import state_gradients

if TYPE_CHECKING:
    from tasks.base import Task
    from tasks.shown_modes import ShownModes

NOT_SEEN = ("observation_particles",)  # parameters that change what the optimiser sees, and no episode
LESS, MORE = 0.25, 2.0  # of a number: where its slider begins and ends


def serve_modes(
    task: ShownModes,
    modes: Sequence[RecordedMode],
    *,
    host: str = LOOPBACK,
    port: int = 8080,
    ready: Callable[[str], None] = print,
) -> None:
    """Serve a page with the modes side by side until an interrupt; ``ready`` is told its address."""
    require_viser()
    tracks = mode_tracks(task, modes)
    viewer = LiveViewer(tracks, host=host, port=port, resimulation=_resimulation(task, modes, tracks))
    try:
        ready(viewer.url)
        viewer.run()
    finally:
        viewer.stop()


def write_modes_page(
    task: ShownModes,
    modes: Sequence[RecordedMode],
    path: Path,
    *,
    arrows: bool = True,
    say: Callable[[str], None] = print,
) -> None:
    """Write one page of HTML, below 10 MB, with the modes side by side; ``say`` is told what had to be left out.

    Args:
        arrows: whether forces and gradients are on it, which are simulated once more, with their own kernels.
    """
    require_viser()
    write_page(mode_tracks(task, modes), path, arrows=("forces", "gradients") if arrows else (), say=say)


def mode_tracks(task: ShownModes, modes: Sequence[RecordedMode]) -> list[Track]:
    """The modes' replayed episodes, the first few of them."""
    shown = []
    for mode in modes[:MAX_PANELS]:
        own, _, _ = task.located(mode.environment, mode.seed)
        episodes, rewards = replayed_episode(task, mode)
        shown.append(_PlayedMode(own, own.parameters, mode, episodes, rewards).track())
    return shown


@dataclass(frozen=True, eq=False)
class _PlayedMode:
    """An episode of a mode: T + 1 batches of one environment, and T rewards.

    parameters: of the task that it was played with.
    """

    task: Task
    parameters: Mapping[str, Any]
    mode: RecordedMode
    episodes: list[Episode]
    rewards: Tensor

    def track(self) -> Track:
        """What is shown of it."""
        task, mode = self.task, self.mode
        return Track(
            scene=task.sim.scene,
            states=[episode.state.detach() for episode in self.episodes],
            control_dt=task.sim.control_dt,
            title=mode.name,
            detail=f"success {mode.success:.0%}, pi(z) {mode.probability:.0%}",
            rewards=self.rewards.detach().cpu().double().numpy(),
            markers=task.markers(self.episodes[0], 0),
            drawn_as=task.drawn_as,
            camera=task.camera(),
            forces=self._forces,
            gradients=self._gradients if task.differentiable and has_gradient_arrows(task.sim) else None,
        )

    @property
    def _actions(self) -> Tensor:
        """(T, 1, A)."""
        state = self.episodes[0].state
        return torch.from_numpy(self.mode.actions[: len(self.rewards)]).to(state.x)[:, None]

    @cached_property
    def _alone(self) -> Task:
        """The task with one environment, which the episodes go on in."""
        return _built(self.task, 1, self.parameters)

    @torch.no_grad()
    def _forces(self) -> list[Arrows]:
        """Contact forces at each state, under the action that the robot took there."""
        found, controls = [], None
        actions = [*self._actions, None]
        for episode, action in zip(self.episodes, actions, strict=True):
            if action is not None:
                controls = self._controls(episode, action)
            found.append(force_arrows(self._alone.sim.contacts(episode.state.detach(), controls, episode.parameters)))
        return found

    def _controls(self, episode: Episode, action: Tensor) -> Tensor | None:
        """The simulator's action; None for a task whose own `step` takes actions that `controls` does not understand."""
        last = () if episode.controls is None else (episode.controls,)
        try:
            return self._alone.controls(episode.state, action, *last)
        except ds.InputError:
            return None

    def _gradients(self) -> list[Arrows]:
        """The return's gradient at each state, by the positions of particles, tools and free bodies."""
        found = state_gradients(self._alone, self.episodes[0], self._actions)
        sim = self._alone.sim
        return [gradient_arrows(sim, episode.state, gradient) for episode, gradient in zip(self.episodes, found, strict=True)]


def _resimulation(task: ShownModes, modes: Sequence[RecordedMode], played: Sequence[Track]) -> Resimulation:
    """The modes' stored actions with other parameters of the task, from the first states that the same seed gives then."""
    shown = modes[:MAX_PANELS]
    parameters = _number_parameters(task.located(shown[0].environment, shown[0].seed)[0], len(shown[0].actions))
    own = {each.name: each.value for each in parameters}

    def tracks(values: Mapping[str, float]) -> Sequence[Track]:
        changed = {name: value for name, value in values.items() if value != own[name]}
        return [_played_again(task, mode, changed).track() for mode in shown] if changed else played

    return Resimulation(parameters, tracks)


@torch.no_grad()
def _played_again(task: ShownModes, mode: RecordedMode, changed: Mapping[str, float]) -> _PlayedMode:
    """The stored actions of a mode with other parameters."""
    own, environment, seed = task.located(mode.environment, mode.seed)
    parameters = {**own.parameters, **changed}
    alone = _built(own, 1, parameters)
    batch = alone if environment == 0 else _built(own, environment + 1, parameters)
    episode = batch.reset(seed).environment(environment)
    episodes, rewards = [episode], []
    for action in torch.from_numpy(mode.actions[: alone.horizon]).to(episode.state.x):
        episode, reward, _ = alone.step(episode, action[None])
        episodes.append(episode)
        rewards.append(reward[0])
    return _PlayedMode(alone, parameters, mode, episodes, torch.stack(rewards))


def _built(task: Task, num_envs: int, parameters: Mapping[str, Any]) -> Task:
    """The task once more, of so many environments."""
    return type(task)(num_envs, dtype=task.sim.dtype, device=task.sim.device, **parameters)


def _number_parameters(task: Task, steps: int) -> list[NumberParameter]:
    """The parameters that are numbers, each with a range round its value; the horizon is at most that of the actions."""
    found = []
    for each in fields(type(task).parameter_type()):
        value = getattr(task, each.name)
        if isinstance(value, bool) or not isinstance(value, int | float) or each.name in NOT_SEEN:
            continue
        low, high = (LESS * value, MORE * value) if value > 0 else (MORE * value, LESS * value)
        if value == 0:
            low, high = -1.0, 1.0
        if isinstance(value, int):
            low, high = np.floor(low), np.ceil(high)
            low, high = (max(1, int(low)), int(high)) if value > 0 else (int(low), int(high))
            high = min(high, steps) if each.name == "horizon" else high
            high = max(high, value)
        step = 1 if isinstance(value, int) else (high - low) / 200.0
        found.append(NumberParameter(each.name, value, low, high, step, each.metadata.get("help", "")))
    return found
