"""What a viewer shows: plain records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from diffsim.render.camera import Camera, LinkCamera
from diffsim.render.in_between import in_between
from diffsim.render.scene_renderer import Mark
from diffsim.render.soft_parts import SoftMode
from diffsim.scene.scene import Scene
from diffsim.state import State
from diffsim.viewer.arrows import Arrows


@dataclass(frozen=True, eq=False)
class Track:
    """One trajectory of one environment.

    Attributes:
        scene: what the states are of.
        states: T + 1 of them, each of one environment.
        control_dt: between two of them, s.
        title, detail: what stands above it; the title alone in the chart of returns.
        rewards: of the T steps, (T,); None: there are none.
        markers: painted on the ground, or standing in space.
        drawn_as: soft bodies as their "surface", or as particles, as what flows or tears always is here.
        camera: of the page when it opens; None frames the scene.
        forces: gives the contact forces at each state, T + 1; called when they are first shown, and once. None: there are none.
        gradients: gives the gradients of the return at each state, likewise.
    """

    scene: Scene
    states: Sequence[State]
    control_dt: float
    title: str = ""
    detail: str = ""
    rewards: np.ndarray | None = None
    markers: Sequence[Mark] = ()
    drawn_as: SoftMode = "surface"
    camera: Camera | LinkCamera | None = None
    forces: Callable[[], Sequence[Arrows]] | None = None
    gradients: Callable[[], Sequence[Arrows]] | None = None

    def __post_init__(self) -> None:
        for name in ("forces", "gradients"):  # a page that is written again, smaller, asks again
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, cache(given))

    @property
    def duration(self) -> float:
        """From the first to the last state, s."""
        return self.control_dt * (len(self.states) - 1)

    def step_at(self, time: float) -> int:
        """The number of the last state that is not after ``time``, s."""
        return max(0, min(int(time / self.control_dt + 1e-6), len(self.states) - 1))

    def state_at(self, time: float) -> State:
        """The state to be drawn at ``time``, s; between two of them on straight lines, after the last one that."""
        step = self.step_at(time)
        fraction = time / self.control_dt - step
        if step + 1 == len(self.states) or fraction < 1e-6:
            return self.states[step]
        return in_between(self.states[step], self.states[step + 1], fraction)


@dataclass(frozen=True)
class NumberParameter:
    """A number that can be changed on the page: its name, its value, where it may lie, and what it means."""

    name: str
    value: float
    low: float
    high: float
    step: float
    text: str = ""


@dataclass(frozen=True)
class Resimulation:
    """How trajectories change with parameters.

    Attributes:
        parameters: those that can be changed.
        tracks: the trajectories anew, as many as before, for values by name. What it raises as a ValueError or a
            FloatingPointError is said on the page.
    """

    parameters: Sequence[NumberParameter]
    tracks: Callable[[Mapping[str, float]], Sequence[Track]]
