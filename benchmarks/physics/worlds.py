"""What the experiments share: rollouts without actions, tilted gravity, energies, and ears for warnings."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

import diffsim as ds

Tensor = torch.Tensor
F64 = torch.float64
G = 9.81
ALONG_Y = (math.sqrt(0.5), math.sqrt(0.5), 0.0, 0.0)  # turns a shape's z axis into -y


def simulator(scene: ds.Scene, **options: Any) -> ds.Simulator:
    """At dt = 1 ms and 20 substeps, in f64, unless said."""
    return ds.Simulator(scene, **{"dt": 1e-3, "substeps": 20, "dtype": F64, **options})


def rollout(
    sim: ds.Simulator,
    seconds: float,
    state: ds.State | None = None,
    actions: Sequence[float] | None = None,
    parameters: Mapping[str, Tensor] | None = None,
    **options: Any,
) -> list[ds.State]:
    """States before and after each control step of so many seconds, from ``state`` or the scene's, under a constant action."""
    state = sim.reset() if state is None else state
    action = torch.zeros(sim.action_dim, dtype=sim.dtype) if actions is None else torch.tensor(actions, dtype=sim.dtype)
    steps = round(seconds / sim.control_dt)
    return sim.rollout(state, action.expand(steps, state.num_envs, -1), parameters, **options)


def tilted(*degrees: float) -> Tensor:
    """Gravity (B, 3) on slopes of these angles, whose plane is the ground and whose fall line is x."""
    angles = torch.deg2rad(torch.tensor(degrees, dtype=F64))
    return G * torch.stack([torch.sin(angles), torch.zeros_like(angles), -torch.cos(angles)], dim=-1)


def leaf(value: float) -> Tensor:
    """A scalar to differentiate by."""
    return torch.tensor(value, dtype=F64, requires_grad=True)


def derivative(value: Tensor, *leaves: Tensor) -> list[float]:
    """Of a scalar by scalars."""
    return [float(each) for each in torch.autograd.grad(value, leaves)]


def mechanical_energy(sim: ds.Simulator, state: ds.State) -> Tensor:
    """Kinetic energy of all links and potential energy of their weight, J, (B,)."""
    links, parameters = sim.links(state), sim.parameters
    gravity, energy = parameters["gravity"], torch.zeros(state.num_envs, dtype=sim.dtype)
    for number, info in enumerate(sim.link_infos):
        if f"{info.name}.mass" not in parameters:
            continue
        mass, center = parameters[f"{info.name}.mass"], parameters[f"{info.name}.center"]
        xx, yy, zz, yz, xz, xy = parameters[f"{info.name}.inertia"].tolist()
        inertia = torch.tensor([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]], dtype=sim.dtype)
        rotation, omega = links.rotation[:, number], links.angular_velocity[:, number]
        arm = rotation @ center
        velocity = links.velocity[:, number] + torch.linalg.cross(omega, arm)
        spin = (rotation.transpose(1, 2) @ omega[..., None])[..., 0]
        energy = energy + 0.5 * mass * velocity.square().sum(-1) + 0.5 * (spin @ inertia * spin).sum(-1)
        energy = energy - mass * (links.position[:, number] + arm) @ gravity
    return energy.detach()


def turn_between(one: Tensor, other: Tensor) -> Tensor:
    """Angle of the rotation from one matrix (..., 3, 3) to another, degrees, from its sine, which small angles need."""
    R = one.transpose(-1, -2) @ other
    axial = torch.stack([R[..., 2, 1] - R[..., 1, 2], R[..., 0, 2] - R[..., 2, 0], R[..., 1, 0] - R[..., 0, 1]], dim=-1)
    trace = R.diagonal(dim1=-2, dim2=-1).sum(-1)
    return torch.rad2deg(torch.atan2(axial.norm(dim=-1), trace - 1.0))


def fitted_rotation(before: Tensor, after: Tensor) -> Tensor:
    """The rotation (3, 3) that takes points (N, 3) about their centre nearest to others (Kabsch 1976)."""
    U, _s, Vt = np.linalg.svd((after - after.mean(0)).T.numpy() @ (before - before.mean(0)).numpy())
    return torch.tensor(U @ np.diag([1.0, 1.0, np.linalg.det(U @ Vt)]) @ Vt)


class _Ear(logging.Handler):
    def __init__(self, messages: list[str]):
        super().__init__(logging.WARNING)
        self.messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextmanager
def warnings_heard() -> Iterator[list[str]]:
    """The simulator's warnings within, in a list that grows."""
    messages: list[str] = []
    ear, logger = _Ear(messages), logging.getLogger("diffsim")
    logger.addHandler(ear)
    try:
        yield messages
    finally:
        logger.removeHandler(ear)
