"""Which of a scene's solvers lists its contacts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from diffsim.coupling.coupled_solver import CoupledSolver
from diffsim.forces.contacts import Contacts
from diffsim.forces.soft_contacts import SoftContacts
from diffsim.rigid.rigid_dynamics import RigidDynamics
from diffsim.scene.scene import Scene
from diffsim.soft.soft_dynamics import SoftDynamics
from diffsim.state import State
from diffsim.tool_motion import ColliderMotion


class Dynamics(NamedTuple):
    """What simulates a scene: its soft bodies, its rigid bodies, both together."""

    soft: SoftDynamics | None
    rigid: RigidDynamics | None
    coupled: CoupledSolver | None


def list_contacts(
    scene: Scene, dynamics: Dynamics, touchable: tuple[str, ...], state: State, motion: ColliderMotion, controls: Tensor,
    overrides: tuple[Mapping[str, Tensor], Mapping[str, Tensor]],
) -> Contacts:  # fmt: skip
    """The contacts in the substep that starts at a state, under the colliders' motion and the actuators' controls; with some
    parameters of the soft and of the rigid solver replaced. ``touchable`` is `Simulator.contact_names`."""
    names = (*touchable, *(body.name for body in scene.soft_bodies))
    soft, rigid, coupled = dynamics
    if soft is None:
        assert rigid is not None
        return rigid.contacts(names, state, controls, overrides[1], motion)
    with_rigid = (rigid, coupled) if rigid and coupled else None
    return SoftContacts(scene, soft, with_rigid, names).find(state, motion, controls, overrides)
