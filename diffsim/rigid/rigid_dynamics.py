"""The rigid things of a scene in the simulator: their solver, parameters, and the poses of their links."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from diffsim.errors import InputError
from diffsim.forces.contacts import Contacts
from diffsim.gradients.recompute import chunks
from diffsim.rigid.contact_list import ContactList
from diffsim.rigid.link_info import LinkInfo
from diffsim.rigid.multibody_solver import RigidSolver
from diffsim.rigid.rigid_autograd import link_poses, rigid_rollout
from diffsim.rigid.rigid_model import RigidModel
from diffsim.rigid.rigid_parameters import RigidPhysics
from diffsim.rigid.rigid_records import LinkPose
from diffsim.rigid.wrenches import Wrench, wrench_rows
from diffsim.scene.contact_model import ContactModel
from diffsim.scene.scene import Scene
from diffsim.state import State
from diffsim.tool_motion import ColliderMotion

ENVIRONMENTS = 64  # whose contacts are found at a time: each needs scratch of its own
LINK_POSE = ("position", "rotation", "velocity", "angular_velocity")


@dataclass(frozen=True)
class Links:
    """Poses and motions of the chosen links in the world, batch first.

    Attributes:
        position: of the links' origins, m, (B, L, 3).
        rotation: matrices from the links' frames to the world's, (B, L, 3, 3).
        velocity: of the links' origins, m/s, (B, L, 3).
        angular_velocity: in the world's frame, rad/s, (B, L, 3).
    """

    position: Tensor
    rotation: Tensor
    velocity: Tensor
    angular_velocity: Tensor


class RigidDynamics:
    """What the simulator does with rigid bodies and articulations."""

    def __init__(
        self, scene: Scene, *, dt: float, substeps: int, dtype: torch.dtype, device: str, integrator: str, recorded: int = 0
    ):
        on_grid = len(scene.grid_obstacles) + (scene.ground is not None)
        world = scene.fixed_geometries
        tools = scene.tools if scene.moving_articulations else ()
        count = len(scene.rigid_bodies)
        self.model = RigidModel(
            scene.moving_articulations, tuple(world.values()), scene.contact, dt=dt, on_grid=on_grid, tools=tools,
            rigid_bodies=count, world_names=tuple(world),
        )  # fmt: skip
        self.solver = RigidSolver(
            self.model, substeps=substeps, dtype=dtype, device=device, integrator=integrator, recorded=recorded
        )
        self.physics = RigidPhysics(scene, self.model, dtype=dtype, device=device)
        self.initial = torch.tensor(self.model.initial, dtype=dtype, device=device)
        self.initial_velocities = torch.tensor(self.model.initial_velocities(), dtype=dtype, device=device)
        names = [articulation.name for articulation in self.model.articulations]
        self.link_infos = tuple(
            LinkInfo(
                link.name, names[link.articulation] if number else None, link.parent, link.joint, link.coordinates, link.dofs
            )
            for number, link in enumerate(self.model.links[: len(self.model.links) - self.model.tools])
        )
        self.link_names = [link.name for link in self.link_infos]

    def set_contact(self, contact: ContactModel) -> None:
        """Another contact model from now on."""
        self.solver.set_contact(contact)
        self.physics.refresh()

    def inputs(self, motion: ColliderMotion | None, num_envs: int, overrides: Mapping[str, Tensor] | None) -> Tensor:
        """The solver's rows (B, ...), see `RigidPhysics.rows`."""
        if motion is not None and self.solver.stepping.middle:
            motion = motion.later(0.5 * self.model.dt)
        return self.physics.rows(num_envs, overrides, motion, self.solver.substeps)

    def wrenches(self, wrenches: Mapping[str, Wrench], num_envs: int, steps: int | None) -> Tensor:
        """Those that act on the links but the world, see `wrench_rows`."""
        return wrench_rows(self.link_names[1:], wrenches, self.initial, num_envs, steps)

    def rollout(
        self, time_step: Tensor, q: Tensor, qd: Tensor, controls: Tensor, overrides: Mapping[str, Tensor] | None,
        motion: ColliderMotion | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """All states of T control steps (T + 1, B, nq), (T + 1, B, nv), and the steps' contact wrenches (T, B, K, 6), under
        controls (T, B, actuators [+ wrenches]). With tools T is 1: the motion is that of one control step."""
        assert not self.model.tools or (motion is not None and len(controls) == 1)
        return rigid_rollout(self.solver, time_step, q, qd, controls, self.inputs(motion, len(q), overrides))

    def contacts(
        self, names: tuple[str, ...], state: State, controls: Tensor, overrides: Mapping[str, Tensor] | None,
        motion: ColliderMotion,
    ) -> Contacts:  # fmt: skip
        """Those in the substep that starts at a state, see `Contacts`."""
        reader, found = ContactList(self.solver, names), Contacts.empty(names, self.initial)
        with torch.no_grad():
            inputs = self.inputs(motion, state.num_envs, overrides)
            for own in chunks(state.num_envs, ENVIRONMENTS):
                work, rates = self.solver.substep(state.q[own], state.qd[own], controls[own], inputs[own], state.time_step[own])
                some = reader.read(work, rates)
                found = found.joined(replace(some, environment=some.environment + own.start))
        return found

    def link_index(self, name: str) -> int:
        """Index of a link in `links`.

        Raises:
            InputError: there is no such link.
        """
        if name not in self.link_names:
            raise InputError(f"there is no link '{name}'; links: {', '.join(self.link_names)}")
        return self.link_names.index(name)

    def links(self, q: Tensor, qd: Tensor) -> Links:
        """Of all links, the world first; differentiable in both."""
        poses = link_poses(self.solver, q, qd, self.inputs(None, len(q), None))
        parts = (poses[..., list(LinkPose.columns(name))] for name in LINK_POSE)
        position, rotation, velocity, angular_velocity = parts
        return Links(position, rotation.unflatten(-1, (3, 3)), velocity, angular_velocity)
