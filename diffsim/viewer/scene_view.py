"""Looking at trajectories from a script or a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diffsim.errors import InputError
from diffsim.render.camera import Camera
from diffsim.scene.validation import file_path, instance
from diffsim.simulator import Simulator
from diffsim.state import State
from diffsim.viewer.arrows import Arrows, force_arrows
from diffsim.viewer.live_viewer import LiveViewer
from diffsim.viewer.page_export import write_page
from diffsim.viewer.tracks import Track
from diffsim.viewer.viser_server import LOOPBACK, require_viser


def view(
    sim: Simulator,
    states: Sequence[State] | State,
    environment: int = 0,
    *,
    actions: Tensor | None = None,
    forces: bool = False,
    rewards: Sequence[float] | Tensor | None = None,
    camera: Camera | None = None,
    html: Path | str | None = None,
    host: str = LOOPBACK,
    port: int = 8080,
) -> LiveViewer | None:
    """Show a trajectory on a page that a browser opens (package viser, extra ``viewer``), or write it into one.

    The page is served by a thread of this process: the last line of a script is ``ds.view(sim, states).wait()``.

    Args:
        states: batch first, a control step apart, as `Simulator.rollout` gives them; or their `State.stack`; or one.
        environment: which of the batch.
        actions: (T, B, action_dim), under which contact forces are computed; without them under action 0.
        forces: whether to compute contact forces at every state, for arrows.
        rewards: of the T steps, for a chart of the return.
        camera: of the page when it opens; None frames the scene.
        html: a file to write in place of serving; below 10 MB.
        host, port: where to listen; 127.0.0.1 can be reached from this machine only.

    Returns:
        The page, with ``url``, ``time``, ``wait()`` and ``stop()``; None if a file was written.

    Raises:
        InputError: an argument is wrong, or viser is not installed.
    """
    require_viser()
    instance("view", "sim", sim, Simulator, "a diffsim.Simulator")
    rows = _environment(states, environment)
    given = None if rewards is None else _numbers(rewards, len(rows) - 1)
    arrows = _forces(sim, rows, environment, actions) if forces else None
    track = Track(
        sim.scene, rows, sim.control_dt, rewards=given, camera=camera, title="" if given is None else "return",
        forces=None if arrows is None else lambda: arrows,
    )  # fmt: skip
    if html is not None:
        write_page([track], file_path("html", html))
        return None
    viewer = LiveViewer([track], host=host, port=port)
    viewer.start()
    print(f"viewer: {viewer.url}")
    return viewer


def _environment(states: Sequence[State] | State, environment: int) -> list[State]:
    """One environment's states, each a batch of one."""
    if isinstance(states, State):
        states = states.unstack() if states.time_step.ndim > 1 else [states]
    if not isinstance(states, list | tuple) or not states or not all(isinstance(each, State) for each in states):
        raise InputError(f"states must be a list of diffsim.State, at least one, got {states!r:.200}")
    return [each[environment].detach() for each in states]


def _numbers(rewards: Sequence[float] | Tensor, steps: int) -> np.ndarray:
    found = torch.as_tensor(rewards, dtype=torch.float64).detach().cpu().numpy()
    if found.shape != (steps,):
        raise InputError(f"rewards must have shape ({steps},), one for each step between the states, got {found.shape}")
    return found


def _forces(sim: Simulator, rows: list[State], environment: int, actions: Tensor | None) -> list[Arrows]:
    if actions is not None and (actions.ndim != 3 or len(actions) != len(rows) - 1):
        raise InputError(f"actions must have shape ({len(rows) - 1}, B, {sim.action_dim}), got {tuple(actions.shape)}")
    found = []
    for step, state in enumerate(rows):
        acting = None if actions is None or step == len(actions) else actions[step, environment][None]
        found.append(force_arrows(sim.contacts(state, acting)))
    return found
