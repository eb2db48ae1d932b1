"""The contacts of soft bodies in a substep: grid nodes at colliders, the ground and the walls; particles at rigid geometries.

The kernels leave the grid's momentum before contact; what contact does to it (`diffsim/soft/kernels/grid_contact.py`) is done
once more here, in torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.linalg import cross

from diffsim.coupling.coupled_records import SWEEPS, SWEPT, ContactWork, Listed, ListHeader, Swept
from diffsim.coupling.coupled_solver import CoupledSolver, FirstSubstep, Inputs
from diffsim.forces.contacts import Contacts
from diffsim.rigid.contact_list import ContactList
from diffsim.scene.scene import Scene
from diffsim.scene.shapes.rounded_box import rounded_box_distance
from diffsim.scene.shapes.torus import ring_distance
from diffsim.soft.launch_schedules import Tape
from diffsim.soft.soft_dynamics import SoftDynamics
from diffsim.soft.soft_records import Box, ColliderPose, ColliderShape, ColliderTwist, Constants, WorldInputs
from diffsim.state import State


class SoftContacts:
    """Finds the contacts of a scene with soft bodies, one environment after the other.

    Args:
        coupled: what simulates soft and rigid bodies together, where there are any.
        names: as of `Contacts`: of what can be touched, then of the soft bodies.
    """

    def __init__(self, scene: Scene, soft: SoftDynamics, coupled: CoupledSolver | None, names: Sequence[str]):
        self._scene, self._soft, self._coupled, self._names = scene, soft, coupled, tuple(names)
        ends = [body.stop for body in soft.slices.values()]
        self._body_ends = torch.tensor(ends, device=soft.solver.layout.constants.device)
        self._colliders = [thing.name for thing in (*scene.grid_tools, *scene.grid_obstacles)]

    def find(self, state: State, inputs: Inputs | Tensor) -> Contacts:
        """All of the substep that starts at a state, under the solvers' inputs; without rigid bodies the soft ones alone."""
        found = Contacts.empty(self._names, state.x)
        with torch.no_grad():
            rows = inputs.soft if isinstance(inputs, Inputs) else inputs
            for e in range(state.num_envs):
                one, own = state[e], slice(e, e + 1)
                if self._coupled is None:
                    tape = self._soft.solver.first_substep(one.particles, rows[own], one.time_step)
                    some = self._on_grid(tape, rows[e], one.x[0])
                else:
                    coupled = self._coupled
                    substep = coupled.first_substep(
                        one.particles, one.q, one.qd, Inputs(*(each[own] for each in inputs)), one.time_step
                    )
                    rigid_contacts = ContactList(coupled.rigid, self._names).read(substep.rigid_work, substep.rates)
                    some = self._on_grid(substep.tape, rows[e], one.x[0]).joined(self._of_particles(coupled, substep))
                    some = some.joined(rigid_contacts)
                found = found.joined(replace(some, environment=torch.full_like(some.environment, e)))
        return found

    def _of_particles(self, coupled: CoupledSolver, substep: FirstSubstep) -> Contacts:
        """Of one environment's particles with geometries."""
        model = coupled.rigid.model
        rows = torch.tensor([self._names.index(name) for name in model.geometry_owners], dtype=torch.int64)
        count = int(substep.lists[ListHeader.count])
        listed = substep.lists[ListHeader.SIZE :][: count * Listed.SIZE].view(count, Listed.SIZE).long()
        particle, body, geometry = (listed[:, at] for at in (Listed.particle, Listed.body, Listed.geometry))
        work = substep.contact_work[: count * ContactWork.SIZE].view(count, ContactWork.SIZE).clone()
        swept = substep.impulses[: count * SWEPT].view(count, SWEEPS, Swept.SIZE)[:, -1]
        normal, gap = work[:, list(ContactWork.columns("normal"))], work[:, ContactWork.gap]
        point = work[:, list(ContactWork.columns("position"))] - (gap + coupled.radii[body])[:, None] * normal
        force = swept[:, list(Swept.columns("impulse"))] / model.dt
        return Contacts(self._names, torch.zeros_like(body), self._body(particle), rows[geometry], point, gap, normal, force)

    def _body(self, particle: Tensor) -> Tensor:
        """Indices into the names of the bodies of particles."""
        first = len(self._names) - len(self._body_ends)
        return first + torch.searchsorted(self._body_ends, particle.contiguous(), right=True)

    def _on_grid(self, tape: Tape, row: Tensor, x: Tensor) -> Contacts:
        """Of one environment's nodes, given its inputs (K,) and particles (N, 3). A node belongs to the body of the nearest
        particle."""
        layout, inputs = self._soft.solver.layout, self._soft.physics.layout
        constants, dt = layout.constants, layout.constants[Constants.dt]
        low, high = tape.boxes[: Box.SIZE].view(2, 3)
        place = torch.cartesian_prod(*(torch.arange(int(a), int(b), device=x.device) for a, b in zip(low, high, strict=True)))
        nodes = tape.grid[: len(place)].clone()
        place, nodes = place[nodes[:, 3] > 0.0], nodes[nodes[:, 3] > 0.0]
        mass = nodes[:, 3:]
        at = constants[list(Constants.columns("origin"))] + constants[Constants.dx] * place.to(x.dtype)
        v = nodes[:, :3] / mass + dt * row[list(WorldInputs.columns("gravity"))]
        parts: list[tuple[Tensor, ...]] = []

        def take(name: str, which: Tensor, gap: Tensor, normal: Tensor, after: Tensor) -> None:
            nonlocal v
            after = torch.where(which[:, None], after, v)
            second = torch.full((int(which.sum()),), self._names.index(name), device=x.device)
            parts.append((second, at[which], gap[which], normal[which], (mass * (after - v) / dt)[which]))
            v = after

        for m, name in enumerate(self._colliders):
            shape = constants[Constants.SIZE + ColliderShape.SIZE * m :][: ColliderShape.SIZE]
            pose = row[inputs.poses + ColliderPose.SIZE * m :][: ColliderPose.SIZE]
            velocity, spin = row[inputs.twists + ColliderTwist.SIZE * m :][: ColliderTwist.SIZE].split(3)
            arm, turn = at - pose[:3], pose[3:].view(3, 3)
            circle, radius = shape[ColliderShape.circle], shape[ColliderShape.radius]
            if circle > 0.0:
                gap, normal = ring_distance(arm @ turn, circle, radius)
            else:
                gap, normal = rounded_box_distance(arm @ turn, shape[:3], radius)
            weight = _contact_weight(gap, constants)[:, None]
            normal, r = normal @ turn.T, v - velocity - cross(spin.expand_as(arm), arm)
            after = v + weight * (_coulomb(r, normal, row[inputs.frictions + m]) - r)
            take(name, gap < constants[Constants.layer], gap, normal, after)
        up = x.new_tensor([0.0, 0.0, 1.0]).expand_as(at)
        if self._scene.ground is not None:
            below = at[:, 2] <= constants[Constants.ground]
            after = _coulomb(v, up, row[WorldInputs.ground_friction])
            take("ground", below, at[:, 2] - self._scene.ground.height, up, after)
        for i in range(3):
            walls = (
                (1.0, self._scene.lower[i], at[:, i] <= constants[Constants.lower + i]),
                (-1.0, self._scene.upper[i], at[:, i] >= constants[Constants.upper + i]),
            )
            for side, wall, behind in walls[i == 2 and self._scene.ground is not None :]:  # below the ground nothing comes
                inward = torch.zeros_like(at)
                inward[:, i] = side
                speed = side * v[:, i]
                after = v + (speed.clamp_min(0.0) - speed)[:, None] * inward
                take("walls", behind, side * (at[:, i] - wall), inward, after)
        second, *rest = (torch.cat(each) for each in zip(*parts, strict=True))
        first = self._body(torch.cdist(rest[0], x).argmin(dim=1)) if len(second) else second
        return Contacts(self._names, torch.zeros_like(second), first, second, *rest)


def _contact_weight(gap: Tensor, constants: Tensor) -> Tensor:
    """Weight (N,) of contact of nodes within its layer, as `diffsim/soft/kernels/grid_contact.py` has it."""
    decay, layer = constants[Constants.decay], constants[Constants.layer]
    if decay > 0.0:
        return (-decay * gap.clamp_min(0.0)).exp()
    s = ((layer - gap) / (2.0 * layer)).clamp(0.0, 1.0)
    return s * s * (3.0 - 2.0 * s)


def _coulomb(r: Tensor, normal: Tensor, friction: Tensor) -> Tensor:
    """Relative velocities (N, 3) after one-sided contact, as `diffsim/soft/kernels/grid_contact.py` has it."""
    rate = (r * normal).sum(dim=1, keepdim=True)
    tangent = r - rate * normal
    slip = tangent.norm(dim=1, keepdim=True) + 1e-20
    return torch.where(rate < 0.0, (1.0 + friction * rate / slip).clamp_min(0.0) * tangent, r)
