"""An arm and a sliding box, as plain numbers and as MuJoCo's XML. Only numpy is needed: a peer may run elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

DT = 0.002
GRAVITY = 9.81


@dataclass(frozen=True)
class ArmLink:
    """A link in its parent's frame, turned by a revolute joint at its origin; quaternions are (w, x, y, z)."""

    axis: np.ndarray
    position: np.ndarray
    rotation: np.ndarray
    mass: float
    center: np.ndarray
    moments: np.ndarray
    principal: np.ndarray


@dataclass(frozen=True)
class Arm:
    """Seven links in a chain with nothing aligned, so that no implementation profits from zeros."""

    damping: float = 0.1
    armature: float = 0.01
    dofs: int = 7

    @cached_property
    def links(self) -> list[ArmLink]:
        rng = np.random.default_rng(0)

        def direction(n: int) -> np.ndarray:
            x = rng.normal(size=n)
            return x / np.linalg.norm(x)

        return [
            ArmLink(
                direction(3), 0.2 * rng.normal(size=3), direction(4), rng.uniform(0.5, 2.0), 0.05 * rng.normal(size=3),
                np.array([0.02, 0.025, 0.03]) * rng.uniform(0.5, 2.0), direction(4),
            )
            for _ in range(self.dofs)
        ]  # fmt: skip

    @cached_property
    def start(self) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(1)
        return rng.normal(size=self.dofs), rng.normal(size=self.dofs)

    def torques(self, steps: int) -> np.ndarray:
        """(steps, dofs), N m."""
        return 0.5 * np.random.default_rng(2).normal(size=(steps, self.dofs))

    @property
    def mjcf(self) -> str:
        opened = "".join(
            f'<body name="l{i}" pos="{text(link.position)}" quat="{text(link.rotation)}">'
            f'<joint name="j{i}" axis="{text(link.axis)}" damping="{self.damping}" armature="{self.armature}"/>'
            f'<inertial pos="{text(link.center)}" quat="{text(link.principal)}" mass="{link.mass!r}" '
            f'diaginertia="{text(link.moments)}"/>'
            for i, link in enumerate(self.links)
        )
        motors = "".join(f'<motor joint="j{i}"/>' for i in range(self.dofs))
        return (
            f'<mujoco><option timestep="{DT}"/><worldbody>{opened}{"</body>" * self.dofs}</worldbody>'
            f"<actuator>{motors}</actuator></mujoco>"
        )


@dataclass(frozen=True)
class Box:
    """A box on a table under a constant force along x, or (``push`` 0) before a ball on a rail that goes at ``speed``.

    The force is a gravity that leans forward, a little above what friction holds.
    """

    push: float = 0.0  # of the box's weight
    speed: float = 0.0
    half: float = 0.05
    mass: float = 1.0
    friction: float = 0.5
    ball: float = 0.03  # radius; its mass is the box's
    gap: float = 1e-4
    gain: float = 200.0  # N s/m, of the ball's velocity actuator

    @property
    def gravity(self) -> tuple[float, float, float]:
        return (self.push * GRAVITY, 0.0, -GRAVITY)

    @property
    def ball_position(self) -> tuple[float, float, float]:
        return (-self.half - self.ball - self.gap, 0.0, self.half)

    def distance(self, time: float) -> float:
        """Of Coulomb's block; before the ball, what the ball leaves it once its actuator holds against friction."""
        if self.speed:
            return (self.speed - self.friction * self.mass * GRAVITY / self.gain) * time - self.gap
        return 0.5 * (self.push - self.friction) * GRAVITY * time**2

    @property
    def mjcf(self) -> str:
        friction = f'friction="{self.friction} 0.005 0.0001"'  # the last two are MuJoCo's defaults
        pusher = motor = ""
        if self.speed:
            pusher = (
                f'<body pos="{text(self.ball_position)}"><joint name="rail" type="slide" axis="1 0 0"/>'
                f'<geom type="sphere" size="{self.ball}" mass="{self.mass}" {friction}/></body>'
            )
            motor = f'<actuator><velocity joint="rail" kv="{self.gain}"/></actuator>'
        return (
            f'<mujoco><option timestep="{DT}" gravity="{text(self.gravity)}"/><worldbody>'
            f'<geom type="plane" size="1 1 1" {friction}/><body pos="0 0 {self.half}"><freejoint/>'
            f'<geom type="box" size="{text([self.half] * 3)}" mass="{self.mass}" {friction}/></body>{pusher}</worldbody>{motor}'
            "</mujoco>"
        )


BOXES = {"box under a force": Box(push=0.55), "box before a pusher": Box(speed=0.1)}


def text(values: Iterable[float]) -> str:
    return " ".join(repr(float(value)) for value in values)
