"""Rigid dynamics as a plain function of tensors and its adjoint; scratch memory lives here, state does not."""

from __future__ import annotations

import logging
from functools import partial
from types import SimpleNamespace

import torch
from torch import Tensor

from diffsim import runtime
from diffsim.compiler import kernel_options
from diffsim.errors import InputError, SimulationError
from diffsim.gradients.kept_memory import Kept, KeptMemory
from diffsim.gradients.recompute import chunk_size, chunks_from_the_end
from diffsim.rigid.model_arrays import model_arrays
from diffsim.rigid.rigid_model import RigidModel
from diffsim.rigid.rigid_records import (
    EVENTS_LENGTH,
    QUANTITIES,
    ContactWrench,
    Header,
    LinkPose,
    PairIndices,
    SceneConstants,
    Status,
)
from diffsim.rigid.time_stepping import TimeStepping
from diffsim.scene.contact_model import ContactModel

logger = logging.getLogger(__name__)

TAPE_BYTES = 64 * 1024 * 1024  # what recomputed substeps may take
BLOCK = 512  # Taichi hands a CPU thread so many consecutive iterations at least


class RigidSolver:
    """Compiled dynamics of one scene: ``advance`` over whole rollouts, and its ``adjoint``."""

    def __init__(
        self, model: RigidModel, *, substeps: int, dtype: torch.dtype, device: str = "cpu", integrator: str = "midpoint",
        recorded: int = 0,
    ):  # fmt: skip
        from diffsim.rigid.kernels.link_poses import pose_kernels  # they import Taichi
        from diffsim.rigid.kernels.rigid_rollout import rollout_kernels

        self.model = model
        self.substeps = substeps
        self.integrator = integrator
        self.recorded = recorded  # contact wrenches in a state
        self.dtype = dtype
        self.device = device
        integers, reals, grids = model_arrays(model, substeps)
        self.integers = torch.as_tensor(integers, device=device)
        self.reals = torch.as_tensor(reals, dtype=dtype, device=device)
        self.grids = torch.as_tensor(grids, dtype=dtype, device=device)
        precision = runtime.precision(dtype)
        self._made = partial(
            runtime.compiled,
            rollout_kernels,
            precision,
            model.joint_kinds,
            model.tools > 0,
            model.further_shapes,
            model.constraints.any,
        )
        self._pose_kernels = runtime.compiled(pose_kernels, precision, model.joint_kinds)
        self.work = int(integers[Header.work])
        self._controls = len(model.actuators)  # length of a row of controls in the last launch
        self._held: dict[str, Tensor] = {}
        self._memory = KeptMemory(dtype=dtype, device=device)
        self._unsolved = False  # whether it was warned of
        self._penetrations = model.penetration_report()

    @property
    def event(self) -> bool:
        """Whether fast impacts are events."""
        return self.model.events

    @property
    def _kernels(self) -> SimpleNamespace:
        """Those of the present contact model."""
        return self._made(self.stepping)

    @property
    def stepping(self) -> TimeStepping:
        """How a substep is made, by the integrator and the present contact model."""
        return TimeStepping.of(self.integrator, event=self.event, recording=self.recorded > 0)

    @property
    def factors(self) -> int:
        """Numbers of a substep's factors."""
        return self.model.unknowns * (1 + self.model.unknowns)

    def _kept_size(self, num_envs: int, steps: int, lanes: int) -> int:
        """Numbers of a tape of all substeps of so many control steps."""
        return num_envs * (steps * self.substeps + 1) * self.row + lanes * self.factors

    @property
    def row(self) -> int:
        """Length of a row of the tape."""
        coordinates, dofs, unknowns = self.model.coordinates, self.model.dofs, self.model.unknowns
        numbers = coordinates * (1 + self.stepping.middle) + dofs + unknowns + self.factors
        return numbers + EVENTS_LENGTH * self.event + dofs * self.stepping.recording

    def set_contact(self, contact: ContactModel) -> None:
        """Another contact model from now on. Backward recomputes: call it for earlier rollouts first."""
        self.model.set_contact(contact)
        first = int(self.integers[Header.pair_indices]) + PairIndices.events
        flags = torch.tensor([self.model.has_events(a, b) for a, b in self.model.pairs], dtype=torch.int32)
        self.integers[first : first + PairIndices.SIZE * len(flags) : PairIndices.SIZE] = flags.to(self.device)
        for name, value in self.model.scene_constants().items():
            self.reals[getattr(SceneConstants, name)] = value

    def check_contact(self, used: ContactModel) -> None:
        """That the contact model is still that of a rollout which backward() is about to recompute.

        Raises:
            InputError: it was changed.
        """
        if self.model.contact is not used:
            raise InputError(
                "simulator.contact was changed between a rollout and its backward(), which recomputes it; call backward() first"
            )

    def expect(self, controls: Tensor) -> None:
        """Tell the kernels how long the rows of these controls (..., actuators [+ external wrenches]) with `room` are, before a
        launch with them."""
        if controls.shape[-1] != self._controls:
            self._controls = controls.shape[-1]
            self.integers[Header.controls] = self._controls
            self.integers[Header.contact_wrenches] = self._controls - ContactWrench.SIZE * self.recorded

    def room(self, controls: Tensor, wrenches: Tensor | None = None) -> Tensor:
        """Rows of controls (..., C) with contact wrenches (..., recorded, 6) at their end, or zeros: of sums over the substeps,
        so the means that states hold are divided by those, as are their adjoints. What is not recorded needs no room."""
        if not self.recorded:
            return controls.detach()
        if wrenches is None:
            wrenches = controls.new_zeros((*controls.shape[:-1], self.recorded, ContactWrench.SIZE))
        return torch.cat([controls.detach(), wrenches.detach().flatten(-2) / self.substeps], dim=-1)

    def contact_wrenches(self, controls: Tensor) -> Tensor:
        """Means over the control step (..., recorded, 6), of rows with `room` that kernels have summed up."""
        sums = controls[..., controls.shape[-1] - ContactWrench.SIZE * self.recorded :]
        return sums.unflatten(-1, (self.recorded, ContactWrench.SIZE)) / self.substeps

    def _scratch(self, name: str, size: int) -> Tensor:
        if name not in self._held or self._held[name].numel() < size:
            self._held[name] = torch.zeros(max(size, 1), dtype=self.dtype, device=self.device)
        return self._held[name]

    def _lanes(self, num_envs: int) -> tuple[int, int]:
        if self.device == "cpu":
            return min(num_envs, runtime.num_threads()), BLOCK
        return num_envs, 1

    def advance(
        self, q: Tensor, v: Tensor, controls: Tensor, inputs: Tensor, time_step: Tensor, *, keep: bool = False
    ) -> tuple[Tensor, Tensor, Tensor, Kept | None]:
        """States after each of T control steps.

        Args:
            q, v: coordinates (B, nq) and velocities (B, nv) before the first.
            controls: (T, B, actuators), or (T, B, actuators + wrenches), see `diffsim.rigid.wrenches`.
            inputs: (B, inputs), as `RigidModel.inputs`, then the tools' motion, which is the same in every control step.
            time_step: control steps made before, (B,), for messages and the rounding of f32.
            keep: the substeps for ``adjoint``, if there is room, and no contact wrenches are recorded.

        Returns:
            (T + 1, B, nq) and (T + 1, B, nv), the given ones first; the mean contact wrenches of the control steps,
            (T, B, recorded, 6); the substeps, or None.

        Raises:
            SimulationError: something is not finite, or a mass matrix is singular.
        """
        steps, num_envs = controls.shape[0], len(q)
        states_q = q.new_empty((steps + 1, *q.shape))
        states_v = v.new_empty((steps + 1, *v.shape))
        states_q[0], states_v[0] = q.detach(), v.detach()
        controls = self.room(controls)
        if not num_envs:
            return states_q, states_v, self.contact_wrenches(controls), None
        self.expect(controls)
        lanes, block = self._lanes(num_envs)
        status = self.first_status(time_step)
        keep = keep and not self.recorded  # the tape of recorded wrenches holds their adjoints' power, which is not known yet
        kept = self._memory.take(self._kept_size(num_envs, steps, lanes)) if keep else None
        tape = self._scratch("row", lanes * self.row) if kept is None else kept.memory
        with kernel_options():
            self._kernels.forward(
                lanes, block, num_envs, steps, self.substeps, 0 if kept is None else 2, self.integers, self.reals, self.grids,
                flat(inputs), flat(controls), states_q.view(-1), states_v.view(-1),
                tape, self._scratch("work", lanes * self.work), status.view(-1),
            )  # fmt: skip
        self.check(status, time_step)
        return states_q, states_v, self.contact_wrenches(controls), kept

    def adjoint(
        self, q: Tensor, v: Tensor, controls: Tensor, inputs: Tensor, time_step: Tensor, q_bar: Tensor, v_bar: Tensor,
        wrenches_bar: Tensor, kept: Kept | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
        """Adjoints of all states by themselves and all that follows (as q, v), of the controls and of the inputs.

        Args:
            q, v: all states, as ``advance`` returned them.
            time_step: as it was given.
            q_bar, v_bar: adjoints of all states by themselves alone, shaped as q and v.
            wrenches_bar: adjoints of the contact wrenches (T, B, recorded, 6).
            kept: the substeps; None recomputes them, so many control steps at a time as fit in `TAPE_BYTES`.
        """
        steps, num_envs = controls.shape[0], q.shape[1]
        q, v = q.contiguous(), v.contiguous()
        q_bar, v_bar = q_bar.clone().contiguous(), v_bar.clone().contiguous()
        actuators, controls = controls.shape[-1], self.room(controls, wrenches_bar)  # and external wrenches
        controls_bar = torch.zeros(controls.shape, dtype=self.dtype, device=self.device)
        controls_bar[..., actuators:] = controls[..., actuators:]
        inputs_bar = torch.zeros(inputs.shape, dtype=self.dtype, device=self.device)
        if not num_envs:
            return q_bar, v_bar, controls_bar[..., :actuators], inputs_bar
        self.expect(controls)
        step_bytes = num_envs * self.row * self.dtype.itemsize * self.substeps
        window = steps if kept is not None else min(steps, chunk_size(step_bytes, TAPE_BYTES))
        lanes, block = self._lanes(num_envs)
        tape = kept.memory if kept is not None else self._scratch("tape", self._kept_size(num_envs, window, lanes))
        work = self._scratch("work", lanes * self.work)
        common = (self.integers, self.reals, self.grids, flat(inputs))
        for chunk in chunks_from_the_end(steps, window):
            size = (lanes, block, num_envs, chunk.stop - chunk.start, self.substeps)
            own, own_bar = flat(controls[chunk]), flat(controls_bar[chunk])
            states = slice(chunk.start, chunk.stop + 1)
            if kept is None:
                status = self.first_status(time_step + chunk.start).view(-1)  # the forward pass has been sound
                with kernel_options():
                    self._kernels.forward(*size, 1, *common, own, q[states].view(-1), v[states].view(-1), tape, work, status)
            with kernel_options():
                self._kernels.adjoint(
                    *size, *common, own, q_bar[states].view(-1), v_bar[states].view(-1), inputs_bar.view(-1), own_bar,
                    tape, work,
                )  # fmt: skip
        return q_bar, v_bar, controls_bar[..., :actuators], inputs_bar

    def substep(self, q: Tensor, v: Tensor, controls: Tensor, inputs: Tensor, time_step: Tensor) -> tuple[Tensor, Tensor]:
        """The first substep of a control step, each environment on a lane of its own: the lanes' scratch after it (B, work),
        and the velocities v + h a (B, dofs). Arguments are those of ``advance``, the controls (B, ...) of one control step.

        Raises:
            SimulationError: as ``advance``.
        """
        num_envs, row, (coordinates, dofs) = len(q), self.row, (self.model.coordinates, self.model.dofs)
        controls = self.room(controls)
        self.expect(controls)
        tape, work = q.new_zeros(num_envs * (2 * row + self.factors)), q.new_zeros((num_envs, self.work))
        status = self.first_status(time_step)
        with kernel_options():
            self._kernels.forward(
                num_envs, self._lanes(num_envs)[1], num_envs, 1, 1, 1, self.integers, self.reals, self.grids, flat(inputs),
                flat(controls), flat(q), flat(v), tape, work.view(-1), status.view(-1),
            )  # fmt: skip
        self.check(status, time_step)
        first = tape[: num_envs * 2 * row].view(num_envs, 2, row)[:, 0]
        old_v, a = first[:, coordinates : coordinates + 2 * dofs].split(dofs, dim=1)
        return work, old_v + self.model.dt * a

    def poses(self, q: Tensor, v: Tensor, inputs: Tensor) -> Tensor:
        """Of the world and all links but tools: position, rotation by rows, velocity of the origin, angular
        velocity, all in the world's frame, (B, links, 18)."""
        num_envs, links = len(q), len(self.model.links) - self.model.tools
        poses = torch.empty((num_envs, links, LinkPose.SIZE), dtype=self.dtype, device=self.device)
        if not num_envs:
            return poses
        states = torch.cat([q.detach(), v.detach()], dim=1)
        with kernel_options():
            self._pose_kernels.forward(
                num_envs, self.integers, self.reals, flat(inputs), flat(states),
                self._scratch("pose work", num_envs * self.work), poses.view(-1),
            )  # fmt: skip
        return poses

    def poses_adjoint(self, q: Tensor, v: Tensor, inputs: Tensor, poses_bar: Tensor) -> tuple[Tensor, Tensor]:
        """Adjoints of q and v."""
        num_envs = len(q)
        if not num_envs:
            return torch.zeros_like(q), torch.zeros_like(v)
        states = torch.cat([q, v], dim=1)
        states_bar = torch.zeros_like(states)
        with kernel_options():
            self._pose_kernels.adjoint(
                num_envs, self.integers, self.reals, flat(inputs), flat(states),
                self._scratch("pose work", num_envs * self.work), flat(poses_bar), states_bar.view(-1),
                torch.zeros_like(inputs).view(-1),
            )  # fmt: skip
        q_bar, v_bar = states_bar.split((self.model.coordinates, self.model.dofs), dim=1)
        return q_bar, v_bar

    def first_status(self, time_step: Tensor) -> Tensor:
        """Rows of `Status` (B, Status.SIZE) before a control step that ``time_step`` others (B,) preceded."""
        status = torch.zeros((len(time_step), Status.SIZE), dtype=torch.int32, device=self.device)
        status[:, Status.clock] = (time_step * self.substeps) & 0x7FFFFFFF
        return status

    def _warn_of_unsolved(self, status: Tensor, time_step: Tensor) -> None:
        """Once, of contact that Newton's method did not solve: bodies that jam, or far too long a substep."""
        count = status[:, Status.unsolved]
        if self._unsolved or not int(count.max() if len(count) else 0):
            return
        self._unsolved = True
        environment = int(count.argmax())
        logger.warning(
            "contact was not solved to its tolerance in %d substeps, in environment %d, last in control step %d: bodies jam, "
            "or dt is too long; this is said once",
            int(count[environment]), environment, int(time_step[environment]) + int(status[environment, Status.unsolved_step]),
        )  # fmt: skip

    def check(self, status: Tensor, time_step: Tensor) -> None:
        """Warn of penetrations and raise what else a pass noted."""
        if not status[:, : Status.clock].any():  # one operation in place of five
            return
        self._penetrations.read(status, time_step, self.integers, self.reals)
        self._warn_of_unsolved(status, time_step)
        failed = torch.nonzero(status[:, Status.kind])
        if len(failed):
            environment = int(failed[0, 0])
            kind, step, substep, link = status[environment, : Status.link + 1].tolist()
            quantity, detail = QUANTITIES[kind]
            raise SimulationError(
                step=int(time_step[environment]) + step,
                substep=substep,
                environment=environment,
                kind="tool" if link >= len(self.model.links) - self.model.tools else "link",
                name=self.model.links[link].name,
                quantity=quantity,
                detail=detail,
            )


def flat(tensor: Tensor) -> Tensor:
    """Contiguous and never empty, which Taichi refuses."""
    flat = tensor.detach().contiguous().view(-1)
    return flat if flat.numel() else flat.new_zeros(1)
