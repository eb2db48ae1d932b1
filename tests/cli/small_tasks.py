"""Environments small enough for the tests of the command line, in a file as a user would write it."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from rpg.environments.wall import PointMassWall


@dataclass(frozen=True)
class WallParameters:
    """Parameters of the wall."""

    horizon: int = 3
    """Steps of an episode."""
    half_width: float = 0.5
    """Half of the wall's width, m."""
    mesh: Path | None = None
    """A file, which is not read."""


class Wall(PointMassWall):
    """A point mass goes round a wall.

    Task: reach the goal.
    Randomisation: the first position.
    Success: within 10 cm of the goal.
    """

    @classmethod
    def parameter_type(cls) -> type[WallParameters]:
        return WallParameters

    def __init__(self, num_envs: int, horizon: int = 3, half_width: float = 0.5, mesh: Path | None = None) -> None:
        super().__init__(num_envs=num_envs, horizon=horizon, half_width=half_width)


class PlainWall(PointMassWall):
    """The same without parameters."""

    def __init__(self, num_envs: int) -> None:
        super().__init__(num_envs=num_envs, horizon=3)


class WallWithTrap(PlainWall):
    """Gives NaN in the third iteration of seed 0 as it is drawn first."""

    sprung = False

    def reset(self, seed=None):
        object.__setattr__(self, "sprung", seed == 2)
        return super().reset(seed)

    def step(self, state, action):
        state, reward, info = super().step(state, action)
        return state, reward * torch.nan if self.sprung else reward, info


class ShownWall(Wall):
    """The wall with a video, a text, which fails as the variable SHOWN_WALL says."""

    name = "ShownWall"

    def check_rendering(self) -> None:
        if os.environ.get("SHOWN_WALL") == "check":
            raise RuntimeError("no font\nfor captions")

    def write_video(self, modes, path, *, camera=None, size=None) -> None:
        if os.environ.get("SHOWN_WALL") == "video":
            raise RuntimeError("velocity must be (8, 3)")
        path.write_text(f"{[mode.name for mode in modes]} {camera} {size}")

    def serve_viewer(self, modes, *, host, port, ready) -> None:
        if os.environ.get("SHOWN_WALL") == "viewer":
            raise ValueError("needs a package")
        ready(f"http://{host}:{port}/{len(modes)}")
        raise KeyboardInterrupt

    def write_viewer_page(self, modes, path, *, arrows, say) -> None:
        say("smaller than asked for")
        path.write_text(f"{[mode.name for mode in modes]} {arrows}")


class FixedCameraWall(PlainWall):
    """A wall whose video takes no options."""

    def write_video(self, modes, path) -> None:
        path.write_text("video")


class Incompressible(PlainWall):
    """A wall whose parameters lack a default."""

    @classmethod
    def parameter_type(cls):
        @dataclass(frozen=True)
        class Needy:
            horizon: int

        return Needy
