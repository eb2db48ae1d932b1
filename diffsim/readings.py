"""What can be read of a simulator: what its scene holds, by name, and what a state says of it."""

from __future__ import annotations

import torch
from torch import Tensor

from diffsim.checks.penetration_depths import PenetrationDepths
from diffsim.checks.simulator_checks import StateChecks
from diffsim.errors import InputError
from diffsim.forces.contact_wrenches import ContactWrenches
from diffsim.rigid.joint_info import ActuatorInfo, JointInfo, named_actuator, named_joint
from diffsim.rigid.link_info import LinkInfo
from diffsim.rigid.rigid_dynamics import Links, RigidDynamics
from diffsim.rigid.wrenches import Wrench
from diffsim.scene.scene import Scene
from diffsim.soft.soft_dynamics import SoftDynamics
from diffsim.state import State
from diffsim.tools.deepest_points import Pose


class Readings:
    """The part of a `diffsim.Simulator` that simulates nothing."""

    scene: Scene
    dtype: torch.dtype
    device: str
    _soft: SoftDynamics | None
    _rigid: RigidDynamics | None
    _checks: StateChecks
    _wrenches: ContactWrenches
    _depths: PenetrationDepths | None = None

    @property
    def num_particles(self) -> int:
        return len(self._soft.rest) if self._soft else 0

    @property
    def particle_mass(self) -> Tensor:
        """Mass of each particle by the scene's densities, kg, (N,)."""
        return self._soft.per_particle("mass") if self._soft else torch.zeros(0, dtype=self.dtype)

    @property
    def particle_volume(self) -> Tensor:
        """Rest volume of each particle, m^3, (N,)."""
        return self._soft.per_particle("volume") if self._soft else torch.zeros(0, dtype=self.dtype)

    def particle_slice(self, body: str) -> slice:
        """The particles of a soft body: ``state.x[:, sim.particle_slice("duck")]``.

        Raises:
            InputError: there is no such body.
        """
        slices = self._soft.slices if self._soft else {}
        if body not in slices:
            raise InputError(f"there is no soft body '{body}'; soft bodies: {', '.join(slices) or 'none'}")
        return slices[body]

    def tool_index(self, name: str) -> int:
        """Index of a tool in ``state.tool_position``.

        Raises:
            InputError: there is no such tool.
        """
        names = [tool.name for tool in self.scene.tools]
        if name not in names:
            raise InputError(f"there is no tool '{name}'; tools: {', '.join(names) or 'none'}")
        return names.index(name)

    def link_index(self, name: str) -> int:
        """Index of a link in `links`: "<rigid body>", "<articulation>.<link>", or "world" (0).

        Raises:
            InputError: there is no such link.
        """
        if self._rigid is None:
            raise InputError(f"there is no link '{name}'; the scene has no rigid bodies or articulations")
        return self._rigid.link_index(name)

    @property
    def link_infos(self) -> tuple[LinkInfo, ...]:
        """Names, parents and joints of the links of `links`, and where the joints stand in ``state.q`` and ``state.qd``; empty
        without rigid bodies and articulations."""
        return self._rigid.link_infos if self._rigid else ()

    def joint(self, name: str) -> JointInfo:
        """The joint "<articulation>.<joint>", or that of a rigid body: its entries of ``state.q`` and ``state.qd``, its limits,
        and the actuators that drive it.

        Raises:
            InputError: there is no such joint.
        """
        return named_joint(name, self.link_infos, self.scene)

    def actuator(self, name: str) -> ActuatorInfo:
        """The actuator "<articulation>.<actuator>", and its entry of an action.

        Raises:
            InputError: there is no such actuator.
        """
        return named_actuator(name, self.scene)

    def links(self, state: State) -> Links:
        """Poses and motions of all links in the world; differentiable in ``state.q`` and ``state.qd``.

        Raises:
            InputError: the scene has none.
        """
        if self._rigid is None:
            raise InputError("the scene has no rigid bodies or articulations, and so no links")
        self._checks.check(state)
        return self._rigid.links(state.q, state.qd)

    def constraint_errors(self, state: State) -> dict[str, Tensor]:
        """By how much the constraints are violated, by "<articulation>.<constraint>"; differentiable in ``state.q``.

        Of a `JointEquality` y - p(x), (B,); of a `Connect` the vector between its points, m, (B, 3); of a `Weld` that and the
        rotation vector from the rotation that is held, rad, (B, 6); vectors in the world's frame.
        """
        self._checks.check(state)
        return self._rigid.constraint_errors(state.q, state.qd) if self._rigid else {}

    @property
    def contact_names(self) -> tuple[str, ...]:
        """What can be touched: "ground", obstacles, tools, links (of a rigid body, its name); the rows of
        ``state.contact_wrench``."""
        return self._wrenches.names

    def contact_wrench(self, state: State, name: str) -> Wrench:
        """What touched one of `contact_names` over the control step before ``state``: the mean of the sum of all contact forces
        on it, of rigid and soft bodies, and of their torques about its centre of mass (a link), its origin (a tool, an
        obstacle) or the point of the ground below the world's origin; (B, 3) each, in the world's axes, differentiable.

        Raises:
            InputError: there is no such thing, or the simulator does not record forces.
        """
        return self._wrenches.of(state, name)

    def penetration(self, state: State) -> dict[tuple[str, str], Tensor]:
        """How deep things are in each other, by the names of two that may touch: m, (B,), and 0 where they are apart.

        Of soft bodies it is the deepest particle below a surface: of the ground, an obstacle, a tool, a rigid body, or a link
        ("<articulation>.<link>"). Of rigid things and tools it is the deepest of the points that stand for either
        (`Shape.stopping_points`). Not differentiable.
        """
        self._checks.check(state)
        if self._depths is None:
            slices, model = self._soft.slices if self._soft else {}, self._rigid.model if self._rigid else None
            self._depths = PenetrationDepths(self.scene, model, slices, dtype=self.dtype, device=self.device)
        links = self._rigid.links(state.q, state.qd) if self._rigid else None
        return self._depths.of(state, Pose(links.position, links.rotation) if links else None)
