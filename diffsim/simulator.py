"""The compiled simulator of one scene."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffsim import runtime
from diffsim.checks.findings import warn_of
from diffsim.checks.scene_report import scene_findings
from diffsim.checks.simulator_checks import (
    StateChecks,
    check_finite,
    check_settings,
    check_state,
)
from diffsim.compiler import check_process
from diffsim.coupling.attached_particles import AttachedParticles
from diffsim.coupling.coupled_autograd import coupled_step
from diffsim.coupling.coupled_solver import CoupledSolver, Inputs
from diffsim.errors import InputError
from diffsim.forces.contact_wrenches import ContactWrenches
from diffsim.forces.contacts import Contacts
from diffsim.forces.soft_contacts import SoftContacts
from diffsim.forces.soft_wrenches import SoftWrenches
from diffsim.gradients.rollout_windows import observed_in_windows
from diffsim.readings import Readings
from diffsim.rigid.rigid_dynamics import RigidDynamics
from diffsim.rigid.wrenches import Wrench
from diffsim.scene.contact_model import ContactModel
from diffsim.scene.scene import Scene
from diffsim.scene.validation import check_callable, check_mapping, check_positive_integer, flag
from diffsim.soft.soft_dynamics import SoftDynamics
from diffsim.soft.soft_inputs import SoftControls
from diffsim.state import State
from diffsim.tools.fast_tools import FastTools
from diffsim.tools.tool_motion import ToolKinematics


class Simulator(Readings):
    """Differentiable simulator of a batch of environments with the same scene.

    ``state = sim.step(state, action)`` is one autograd node for ``substeps`` substeps; gradients flow to the state and to the
    action, the first derivatives only. Memory for a rollout of T steps is T states. One soft environment on several threads is
    that on one thread up to rounding (a relative 1e-12 in f64, 1e-4 in f32): each thread's share of the grid is summed.
    Simulators pickle, and may be made and used on any thread.

    Args:
        scene: what is simulated.
        num_envs: environments in a batch, B.
        dt: length of a substep, s.
        substeps: substeps of one control step.
        dtype: ``torch.float32`` or ``torch.float64`` (for gradient checks).
        integrator: of rigid bodies and articulations: ``"midpoint"``, of second order, under which spins keep their energy, or
            ``"euler"``, of first order, which is MuJoCo's (docs/rigid.md).
        device: ``"cpu"`` or ``"cuda"``: where the states live. One a process. CUDA has not been tried on a device yet.
        record_forces: whether states hold the wrenches of contact (`contact_wrench`).

    Raises:
        InputError: an argument is wrong.
    """

    def __init__(
        self,
        scene: Scene,
        *,
        num_envs: int = 1,
        dt: float = 1e-3,
        substeps: int = 20,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        integrator: str = "midpoint",
        record_forces: bool = False,
    ):
        check_settings(scene, num_envs, dt, substeps, dtype, integrator)
        self.record_forces = flag("Simulator", "record_forces", record_forces)
        runtime.start(device)
        self.scene = scene
        self.num_envs = num_envs
        self.dt = dt
        self.substeps = substeps
        self.dtype = dtype
        self.device = str(device)
        self.integrator = integrator
        options = {"dt": dt, "substeps": substeps, "dtype": dtype, "device": self.device}
        self._wrenches = ContactWrenches(scene, recording=record_forces, dtype=dtype, device=self.device)
        rigid = scene.moving_articulations or scene.off_grid  # with these soft bodies have contact as with rigid ones
        rigid_options = {**options, "integrator": integrator, "recorded": self._wrenches.count}
        self._rigid = RigidDynamics(scene, **rigid_options) if rigid else None  # type: ignore[arg-type]
        self._attached = AttachedParticles(scene, self._rigid.model if self._rigid else None, **options)  # type: ignore[arg-type]
        options |= {"pins": self._attached.pins, "recording": record_forces}
        self._soft = SoftDynamics(scene, **options) if scene.soft_bodies else None  # type: ignore[arg-type]
        self._coupled = (
            CoupledSolver(scene, self._soft.solver, self._rigid.solver, dt=dt) if self._soft and self._rigid else None
        )
        model = self._rigid.model if self._rigid else None
        self._soft_wrenches = SoftWrenches(scene, model, self._wrenches.names, dtype=dtype, device=self.device)
        self._kinematics = ToolKinematics(scene, dt=dt, substeps=substeps, dtype=dtype, device=self.device)
        links = [info for info in self.link_infos if info.joint.type.rotates]
        self._checks = StateChecks(
            particles=self.num_particles,
            tools=len(scene.tools),
            coordinates=self._rigid.model.coordinates if self._rigid else 0,
            dofs=self._rigid.model.dofs if self._rigid else 0,
            wrenches=self._wrenches.count,
            quaternions=[info.coordinates.stop - 4 for info in links],
            dtype=dtype,
            device=self.device,
        )
        warn_of(scene_findings(scene, self._rigid.model if self._rigid else None, dt=dt, dtype=dtype))
        self._fast_tools = FastTools(scene, dt=dt, dtype=dtype, device=self.device)

    def __reduce__(self) -> tuple[Callable[..., Simulator], tuple[Any, ...]]:
        """Pickled are the scene and the settings; a loaded simulator starts the compiler in its own process."""
        names = ("num_envs", "dt", "substeps", "dtype", "device", "integrator", "record_forces")
        return _rebuilt, (self.scene, {name: getattr(self, name) for name in names}, self.contact)

    @property
    def control_dt(self) -> float:
        """Length of a control step, s."""
        return self.dt * self.substeps

    @property
    def contact(self) -> ContactModel:
        """The contact model of rigid things: the scene's at first. Setting it also changes the default of the parameters
        "<...>.stiffness" of geometries that declare none. Call ``backward()`` on earlier rollouts first.

        Raises:
            InputError: set to something that is no ContactModel, or in a scene without rigid bodies.
        """
        return self._rigid.model.contact if self._rigid else self.scene.contact

    @contact.setter
    def contact(self, contact: ContactModel) -> None:
        if not isinstance(contact, ContactModel):
            raise InputError(f"contact must be a diffsim.ContactModel, got {contact!r}")
        if self._rigid is None:
            raise InputError("contact can be set only in a scene with rigid bodies or articulations, and there are none")
        self._rigid.set_contact(contact)

    @property
    def action_dim(self) -> int:
        """Numbers in an action: the tools' velocity components, then the articulations' actuators, then the strengths of the
        controlled attachments, then the activations of the muscles, in scene order."""
        return self.scene.action_dim

    def reset(self) -> State:
        """The scene as declared, in every environment."""
        check_process()
        batch, count = self.num_envs, self.num_particles
        rest = self._soft.rest if self._soft else np.zeros((0, 3))
        velocities = [np.tile(body.velocity, (len(body.rest_particles), 1)) for body in self.scene.soft_bodies]
        velocity = np.concatenate([np.zeros((0, 3)), *velocities])
        q, qd = (self._rigid.initial, self._rigid.initial_velocities) if self._rigid else (torch.zeros(0), torch.zeros(0))
        tools = self.scene.tools

        def repeated(values: object, *shape: int) -> Tensor:
            return torch.tensor(np.asarray(values), dtype=self.dtype).reshape(shape).repeat(batch, *[1] * len(shape))

        return State(
            x=repeated(rest, count, 3),
            v=repeated(velocity, count, 3),
            C=torch.zeros((batch, count, 3, 3), dtype=self.dtype),
            F=torch.eye(3, dtype=self.dtype).repeat(batch, count, 1, 1),
            internal_variable=torch.zeros((batch, count), dtype=self.dtype),
            tool_position=repeated([tool.position for tool in tools], len(tools), 3),
            tool_rotation=repeated([tool.rotation for tool in tools], len(tools), 4),
            q=q.to(self.dtype).repeat(batch, 1),
            qd=qd.to(self.dtype).repeat(batch, 1),
            time_step=torch.zeros(batch, dtype=torch.int64),
            contact_wrench=self._wrenches.zeros(batch),
        ).to(self.device)

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The scene's physical parameters by name, as `step` takes them, in SI units; a new dictionary of copies every time.

        They are ``"gravity"`` (3,), ``"<soft body>.<field of its material>"``, ``"<collider>.friction"``,
        ``"ground.friction"``, ``"<muscle>.strength"``, and those of `diffsim.rigid.rigid_parameters.RigidPhysics`.
        """
        return {name: value.clone() for name, value in self._defaults().items()}

    def _defaults(self) -> dict[str, Tensor]:
        rigid = self._rigid.physics.defaults if self._rigid else {}
        soft = self._soft.physics.defaults if self._soft else {}
        return {**rigid, **soft}

    def _overrides(self, parameters: Mapping[str, Tensor] | None) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Those that the soft and those that the rigid solver takes."""
        check_mapping("parameters", parameters)
        known = self._defaults()
        for name in parameters or {}:
            if name not in known:
                raise InputError(f"there is no parameter '{name}'; parameters: {', '.join(sorted(known))}")
        values = dict(parameters or {})
        soft = {name: value for name, value in values.items() if self._soft and name in self._soft.physics.defaults}
        rigid = {name: value for name, value in values.items() if self._rigid and name in self._rigid.physics.defaults}
        return soft, rigid

    def contacts(self, state: State, action: Tensor | None = None, parameters: Mapping[str, Tensor] | None = None) -> Contacts:
        """The contacts in the substep that starts at ``state``, under an action (None: all controls are 0) and parameters as
        in `step`: points, gaps, normals, forces, and who touches. Not differentiable.

        Raises:
            InputError: as `step`.
        """
        check_state(state)
        action = state.x.new_zeros((state.num_envs, self.action_dim)) if action is None else action
        self._check(state, action)
        names = (*self.contact_names, *(body.name for body in self.scene.soft_bodies))
        soft, rigid = self._overrides(parameters)
        tools, actuators, soft_controls = self._parts(state, action)
        motion, *_poses = self._kinematics.motion(state.tool_position, state.tool_rotation, tools)
        if self._soft is None:
            assert self._rigid is not None
            return self._rigid.contacts(names, state, actuators, rigid, motion)
        rows = self._soft.inputs(motion, state.num_envs, soft, soft_controls)
        inputs = Inputs(rows, self._rigid.inputs(motion, state.num_envs, rigid), actuators) if self._rigid else rows
        return SoftContacts(self.scene, self._soft, self._coupled, names).find(state, inputs)

    def _loads(self, wrenches: Mapping[str, Wrench] | None, num_envs: int, steps: int | None = None) -> Tensor | None:
        """Rows of external wrenches (steps, B, ...), or None without any; of one step where ``steps`` is None."""
        check_mapping("wrenches", wrenches)
        if not wrenches:
            return None
        if self._rigid is None:
            names = ", ".join(wrenches)
            raise InputError(f"wrenches act on links, and the scene has no rigid bodies or articulations; got those of {names}")
        return self._rigid.wrenches(wrenches, num_envs, steps)

    def step(
        self,
        state: State,
        action: Tensor,
        parameters: Mapping[str, Tensor] | None = None,
        wrenches: Mapping[str, Wrench] | None = None,
    ) -> State:
        """One control step.

        Args:
            state: B environments; B need not be ``num_envs``, and may be 0.
            action: (B, action_dim): velocities, m/s and rad/s, in the order of the tools' ``control``, then the controls of the
                articulations' actuators, then the strengths of the controlled attachments, then the activations of the muscles.
            parameters: values that replace the scene's, some or all of `parameters`, each for all environments or with a
                leading axis of B; differentiable.
            wrenches: external forces and torques by the name of the rigid body or link ("<articulation>.<link>") that they act
                on, constant over the control step: ``{"box": ds.Wrench(force=push)}``; differentiable.

        Raises:
            InputError: the action's, a parameter's or a wrench's shape or dtype is wrong, it is not finite, or there is no
                such link.
            SimulationError: the physics left its domain of validity.
        """
        self._check(state, action)
        loads = self._loads(wrenches, state.num_envs)
        return self._advance(state, action, parameters, None if loads is None else loads[0])

    def _parts(self, state: State, action: Tensor) -> tuple[Tensor, Tensor, SoftControls]:
        """Of an action: the tools' velocities, the actuators' controls, and what soft bodies take."""
        tools, grips, muscles = self.scene.tool_action_dim, self.scene.grip_action_dim, len(self.scene.muscles)
        actuators = self.action_dim - tools - grips - muscles
        velocities, controls, grip, activations = action.split((tools, actuators, grips, muscles), dim=1)
        strengths = self._attached.strengths(state.time_step, grip)
        return velocities, controls, SoftControls(strengths, activations if muscles else None)

    def _advance(self, state: State, action: Tensor, parameters: Mapping[str, Tensor] | None, loads: Tensor | None) -> State:
        """One control step of checked inputs, with rows of external wrenches (B, ...)."""
        soft, rigid = self._overrides(parameters)
        tools, actuators, soft_controls = self._parts(state, action)
        controls = actuators if loads is None else torch.cat([actuators, loads], dim=1)
        motion, tool_position, tool_rotation = self._kinematics.motion(state.tool_position, state.tool_rotation, tools)
        if self._soft is not None:
            self._fast_tools.warn(motion)
        particles, q, qd, wrench = state.particles, state.q, state.qd, self._wrenches.zeros(state.num_envs)
        if self._coupled is not None and self._soft is not None and self._rigid is not None:
            inputs = Inputs(
                self._soft.inputs(motion, state.num_envs, soft, soft_controls),
                self._rigid.inputs(motion, state.num_envs, rigid),
                controls,
            )
            q, qd, both, particles = coupled_step(self._coupled, state.time_step, inputs, q, qd, particles)
            wrench = self._soft_wrenches.added_to(both.rigid, both.soft)
        elif self._soft is not None:
            particles, recorded = self._soft.step(state.time_step, particles, motion, soft, soft_controls)
            wrench = self._soft_wrenches.added_to(wrench, recorded)
        elif self._rigid is not None:
            states_q, states_qd, rows = self._rigid.rollout(state.time_step, q, qd, controls[None], rigid, motion)
            q, qd, wrench = states_q[1], states_qd[1], rows[0]
        return State(
            **particles._asdict(),
            tool_position=tool_position,
            tool_rotation=tool_rotation,
            q=q,
            qd=qd,
            time_step=state.time_step + 1,
            contact_wrench=wrench,
        )

    def rollout(
        self,
        state: State,
        actions: Tensor,
        parameters: Mapping[str, Tensor] | None = None,
        wrenches: Mapping[str, Wrench] | None = None,
    ) -> list[State]:
        """The states before and after each of T actions (T, B, action_dim): T + 1 states, of no actions the given one alone.
        Parameters as in `step`; wrenches too, the same in every control step or, of shape (T, B, 3), for each.

        Raises:
            InputError: ``actions`` has the wrong shape, or as `step`.
        """
        self._check_all(state, actions)
        return self._advance_through(state, actions, parameters, self._loads(wrenches, state.num_envs, len(actions)))

    def _advance_through(
        self, state: State, actions: Tensor, parameters: Mapping[str, Tensor] | None, loads: Tensor | None
    ) -> list[State]:
        """`rollout` with rows of external wrenches (T, B, ...)."""
        if not len(actions):
            return [state]
        if self._soft is None and self._rigid is not None and not self.scene.tools:
            return self._rigid_rollout(self._rigid, state, actions, parameters, loads)
        states = [state]
        for t, action in enumerate(actions):
            self._check(states[-1], action)
            states.append(self._advance(states[-1], action, parameters, None if loads is None else loads[t]))
        return states

    def _rigid_rollout(
        self,
        rigid: RigidDynamics,
        state: State,
        actions: Tensor,
        parameters: Mapping[str, Tensor] | None,
        loads: Tensor | None,
    ) -> list[State]:
        """All control steps in one launch, as one autograd node."""
        self._check(state, actions[0])
        check_finite(actions)
        controls = actions if loads is None else torch.cat([actions, loads], dim=2)
        states_q, states_qd, wrenches = rigid.rollout(
            state.time_step, state.q, state.qd, controls, self._overrides(parameters)[1]
        )
        steps = torch.arange(1, len(actions) + 1, device=state.time_step.device)
        changing = ("q", "qd", "time_step", "contact_wrench")
        later = (states_q[1:], states_qd[1:], state.time_step + steps[:, None], wrenches)
        rest = {name: each for name, each in state.tensors().items() if name not in changing}
        return [state, *State.sequence(rest, changing, zip(*(each.unbind(0) for each in later), strict=True))]

    def windowed_rollout(
        self,
        state: State,
        actions: Tensor,
        observe: Callable[[State], Tensor],
        *,
        window: int,
        parameters: Mapping[str, Tensor] | None = None,
        wrenches: Mapping[str, Wrench] | None = None,
    ) -> tuple[State, Tensor]:
        """A differentiable rollout that keeps one state in ``window`` control steps and recomputes the others in backward.

        Memory falls from T states to T / window + window, least at window = sqrt(T), for one more forward pass (Griewank 1992).

        Args:
            state: the first state.
            actions: (T, B, action_dim).
            observe: what the objective sees of a state, a tensor of the same shape every time.
            window: control steps between two states that are kept.
            parameters: as in `step`.
            wrenches: as in `rollout`.

        Returns:
            The last state, and the observations of the T states after the first, stacked (T, ...). Of no actions, the given
            state and (0, ...).

        Raises:
            InputError: ``window`` is not a positive integer, or as `rollout`.
        """
        check_positive_integer("window", window)
        check_callable("observe", observe)
        self._check_all(state, actions)
        if not len(actions):
            return state, observe(state).unsqueeze(0)[:0]
        loads = self._loads(wrenches, state.num_envs, len(actions))
        return observed_in_windows(self._advance_through, state, actions, parameters, loads, observe, window)

    def _check_all(self, state: State, actions: Tensor) -> None:
        check_process()  # first: after a fork torch's operations can hang too
        check_state(state)
        self._checks.check_actions(actions, state.num_envs, self.action_dim)

    def _check(self, state: State, action: Tensor) -> None:
        check_process()
        check_state(state)
        self._checks.check_action(action, state.num_envs, self.action_dim)
        self._checks.check(state)


def _rebuilt(scene: Scene, settings: dict[str, Any], contact: ContactModel) -> Simulator:
    """A simulator that was pickled."""
    simulator = Simulator(scene, **settings)
    if contact != simulator.contact:
        simulator.contact = contact
    return simulator
