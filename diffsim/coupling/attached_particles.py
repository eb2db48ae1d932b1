"""The attachments of a scene in the simulator: which particles are pinned to what, and how strong each grip is in a substep.

Both follow from the scene's declaration, ``State.time_step`` and the action: no state is kept.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from diffsim.rigid.rigid_model import RigidModel
from diffsim.scene.rotations import rotation_matrix
from diffsim.scene.scene import Scene
from diffsim.soft.mpm_solver import PinnedParticle
from diffsim.soft.soft_records import LINK, TOOL, WORLD

GRIP_TIME = 0.01  # s: a grip of strength 1/2 stops a motion within it
RELEASED = -1.0  # a strength below zero: the solver leaves the particles alone


class AttachedParticles:
    """Pins and grips of a scene's attachments.

    Args:
        model: of the scene's rigid things, if it has any.

    Attributes:
        pins: every pinned particle, attachment by attachment.
    """

    def __init__(self, scene: Scene, model: RigidModel | None, *, dt: float, substeps: int, dtype: torch.dtype, device: str):
        attachments = scene.attachments
        pins = [pin for number in range(len(attachments)) for pin in _pins(scene, model, number, dt)]
        self.pins = tuple(pins[place] for place in np.random.default_rng(0).permutation(len(pins)))
        self._substeps = substeps
        never = torch.iinfo(torch.int64).max
        times = [never if each.release_time is None else round(each.release_time / dt) for each in attachments]
        self._release = torch.tensor(times, dtype=torch.int64, device=device)  # substeps that hold
        self._controlled = [number for number, each in enumerate(attachments) if each.controlled]
        self._like = torch.zeros(0, dtype=dtype, device=device)

    def strengths(self, time_step: Tensor, grips: Tensor) -> Tensor | None:
        """In each substep of a control step, (B, substeps * attachments), given the control steps before it (B,) and the
        action's part for the controlled ones (B, C); None without attachments. Differentiable in ``grips``."""
        count = len(self._release)
        if not count:
            return None
        strength = self._like.new_ones((len(time_step), count))
        if self._controlled:
            strength = strength.index_copy(1, self._numbers(), grips.clamp(0.0, 1.0))
        substep = time_step[:, None] * self._substeps + torch.arange(self._substeps, device=time_step.device)
        held = substep[:, :, None] < self._release
        return torch.where(held, strength[:, None], self._like.new_tensor(RELEASED)).flatten(1)

    def _numbers(self) -> Tensor:
        return torch.tensor(self._controlled, dtype=torch.int64, device=self._release.device)


def _pins(scene: Scene, model: RigidModel | None, number: int, dt: float) -> list[PinnedParticle]:
    """The particles of one attachment."""
    attachment = scene.attachments[number]
    names = [body.name for body in scene.soft_bodies]
    body = scene.soft_bodies[names.index(attachment.body)]
    first = sum(len(each.rest_particles) for each in scene.soft_bodies[: names.index(attachment.body)])
    chosen = attachment.chosen(body)
    points = body.rest_particles[chosen]
    tools = {tool.name: place for place, tool in enumerate(scene.grid_tools)}  # others are links of the model
    kind, holder, origin, axes, recoil = WORLD, 0, np.zeros(3), np.eye(3), np.zeros(len(points))
    if attachment.to in tools:
        tool = scene.grid_tools[tools[attachment.to]]
        kind, holder = TOOL, tools[attachment.to]
        origin, axes = np.asarray(tool.position), rotation_matrix(tool.rotation)
    elif attachment.to != "world":
        assert model is not None
        kind, holder = LINK, [link.name for link in model.links].index(attachment.to)
        positions, rotations = model.forward_kinematics(model.initial)
        origin, axes = positions[holder], rotations[holder]
        recoil = len(points) * _mobility(model, holder, points)
    mass = body.material.parameters["density"] * body.shape.volume / len(body.rest_particles)
    places = (points - origin) @ axes
    return [
        PinnedParticle(
            first + int(particle), number, kind, holder,
            {
                "place": place, "recoil": change, "yielding": GRIP_TIME / (mass * dt), "grip_time": GRIP_TIME,
                "reach": scene.grid_spacing,
            },
        )
        for particle, place, change in zip(chosen, places, recoil, strict=True)
    ]  # fmt: skip


def _mobility(model: RigidModel, number: int, points: np.ndarray) -> np.ndarray:
    """How much an impulse on a link at points (P, 3) of the world at reset changes the velocity there at most, 1/kg (P,):
    as if the link, with what is welded to it, were free. What it hangs by only makes it less."""
    root = model.weld(number)
    if not model.links[root].kind.dofs:
        return np.zeros(len(points))
    positions, rotations = model.forward_kinematics(model.initial)
    inertias = [
        (link.link.inertia, positions[other], rotations[other])
        for other, link in enumerate(model.links)
        if link.link is not None and link.link.inertia is not None and model.weld(other) == root
    ]
    mass = sum(inertia.mass for inertia, _position, _rotation in inertias)
    if not mass > 0.0:
        return np.zeros(len(points))
    centers = [position + rotation @ np.asarray(inertia.center) for inertia, position, rotation in inertias]
    center = sum(inertia.mass * at for (inertia, _p, _r), at in zip(inertias, centers, strict=True)) / mass
    moment = np.zeros((3, 3))
    for (inertia, _position, rotation), at in zip(inertias, centers, strict=True):
        axes, arm = rotation @ rotation_matrix(inertia.rotation), at - center
        moment += axes @ np.diag(inertia.moments) @ axes.T + inertia.mass * (arm @ arm * np.eye(3) - np.outer(arm, arm))
    turns = np.linalg.pinv(moment)
    crosses = np.cross((points - center)[:, None], np.eye(3)[None])  # rows r x e_i: an impulse's moments
    return 1.0 / mass + np.linalg.eigvalsh(crosses @ turns @ crosses.transpose(0, 2, 1))[:, -1]
