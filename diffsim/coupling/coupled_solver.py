"""Soft and rigid bodies together as a plain function of tensors and its adjoint."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch import Tensor

from diffsim import runtime
from diffsim.compiler import kernel_options
from diffsim.coupling.coupled_records import SWEPT, ContactWork, Listed, ListHeader, Shell
from diffsim.errors import InputError
from diffsim.gradients.kept_memory import KeptMemory, KeptStep
from diffsim.gradients.recompute import chunk_size, chunks
from diffsim.rigid.multibody_solver import RigidSolver, flat
from diffsim.rigid.rigid_records import Wrench
from diffsim.scene.scene import Scene
from diffsim.soft.launch_schedules import Buffers, Layout, Tape, TapeShape, lane_tape, largest_boxes, with_sums
from diffsim.soft.mpm_solver import TRAJECTORY_BYTES, MPMSolver, outgrown, pack, roomier, unpack
from diffsim.soft.soft_records import LANE_WIDTH, Component, ImpulseSum
from diffsim.state import Particles

# Damping of a contact over its stiffness, in times that a wave takes from a particle's centre to its surface: with one of them
# the contact swallows waves that meet it (its damping is the impedance density * speed * area).
DELAY = 1.0
MORE_CONTACTS = 16  # for which a kept step has room beside those of the step before


class Inputs(NamedTuple):
    """What drives a control step: the soft solver's rows (B, ...), the rigid solver's, and its controls (B, ...)."""

    soft: Tensor
    rigid: Tensor
    controls: Tensor


class Wrenches(NamedTuple):
    """Means over a control step of contact wrenches, or their adjoints: of rigid contact on each thing that can be touched
    (B, K, 6); of soft bodies on the colliders, the ground, the walls and each geometry, as `ImpulseSum` refers them
    (B, touched, 6)."""

    rigid: Tensor
    soft: Tensor


class FirstSubstep(NamedTuple):
    """What a substep of one environment leaves in memory that the next launch uses: the tape, with the grid before contact; the
    contacts' lists, impulses and work (`coupled_records`); the rigid solver's scratch (1, work); the velocities v + h a
    (1, dofs)."""

    tape: Tape
    lists: Tensor
    impulses: Tensor
    contact_work: Tensor
    rigid_work: Tensor
    rates: Tensor


class CoupledTape(NamedTuple):
    """What a forward pass leaves: the tapes of the particles and of the rigid things, the contacts (`_contact_room`) and how
    many have room, the rigid status, and how many contacts an environment had at most (B,)."""

    tape: Tape
    rows: Tensor
    contacts: tuple[Tensor, ...]
    most: int
    rigid_status: Tensor
    longest: Tensor


class CoupledSolver:
    """One control step of a scene with soft and rigid bodies, and its adjoint.

    An environment runs on one core. CPU only.

    Attributes:
        radii: of the shells of each body's particles, m (`Shell`).

    Raises:
        InputError: the device is not the CPU.
    """

    def __init__(self, scene: Scene, soft: MPMSolver, rigid: RigidSolver, *, dt: float):
        if soft.device != "cpu":
            raise InputError(f"device must be 'cpu' for a scene with both soft and rigid bodies, got '{soft.device}'")
        from diffsim.coupling.kernels.coupled_lanes import coupled_kernels  # imports Taichi

        self.soft, self.rigid = soft, rigid
        self._made = partial(
            runtime.compiled, coupled_kernels, runtime.precision(soft.dtype), soft.layout.features,
            rigid.model.further_shapes, rigid.model.joint_kinds, rigid.model.constraints.any,
        )  # fmt: skip
        self._buffers = Buffers(soft.layout)
        self._memory = KeptMemory(dtype=soft.dtype, device=soft.device)
        self._room: tuple[int, int] | None = None  # nodes and contacts of the next step that is kept; known after the first
        self._lists = torch.empty(0, dtype=torch.int32)
        self._count = sum(len(body.rest_particles) for body in scene.soft_bodies)
        self._geometries = len(rigid.model.coupled)
        self._touched = soft.layout.touched + len(rigid.model.geometries) * soft.layout.recording
        self._duration = dt * soft.substeps
        shells = []
        for body in scene.soft_bodies:
            spacing = body.particle_spacing
            speed, density = body.material.wave_speed, body.material.parameters["density"]
            # the outer half of a particle, of area spacing^2 and length spacing / 2, under a modulus density * speed^2
            stiffness = 2.0 * density * speed**2 * spacing
            radius = spacing * body.material.CONTACT_RADIUS
            shells += Shell.row(stiffness=stiffness, delay=DELAY * 0.5 * spacing / speed, radius=radius)
        self._shells = torch.tensor(shells, dtype=soft.dtype)
        self.radii = self._shells.view(-1, Shell.SIZE)[:, Shell.radius]

    @property
    def _kernels(self) -> SimpleNamespace:
        """Those of the present contact model."""
        return self._made(self.rigid.stepping)

    def _scratch(self, name: str, size: int) -> Tensor:
        return self._buffers.empty(name, size, 1).view(-1)

    def _row(self) -> int:
        return self.rigid.row + Wrench.SIZE * len(self.rigid.model.links)

    def _kept_rows(self, num_envs: int, substeps: int, lanes: int) -> int:
        """Numbers of the rigid things' rows of all substeps, with the lanes' factors behind them."""
        return num_envs * (substeps + 1) * self._row() + lanes * self.rigid.factors

    def _contact_room(self, lanes: int, kept: int, most: int, impulses: Tensor | None) -> tuple[Tensor, ...]:
        """Lists and impulses of ``kept`` substeps, and the lanes' scratch: work and crowds; with room for ``most`` contacts
        each. With memory for the ``impulses``, the lists have memory of their own, too."""
        size = kept * (ListHeader.SIZE + Listed.SIZE * most)
        if impulses is None and len(self._lists) < size:
            self._lists = torch.empty(size, dtype=torch.int32)
        return (
            self._lists if impulses is None else torch.empty(size, dtype=torch.int32),
            self._scratch("impulses", kept * most * SWEPT) if impulses is None else impulses,
            self._scratch("contact work", lanes * most * ContactWork.SIZE),
            self._buffers.zeros("crowds", lanes * self.soft.layout.nodes, 1).view(-1),
        )

    def _kept_sizes(self, num_envs: int, sizes: tuple[int, int]) -> list[int]:
        """Numbers of the memory that keeps a control step: the particles' tape, the rigid things' rows, the impulses."""
        layout, lanes, (capacity, most) = self.soft.layout, min(num_envs, runtime.num_threads()), sizes
        rows = self._kept_rows(num_envs, layout.substeps, lanes)
        return [TapeShape(layout, lanes, num_envs, capacity).size, rows, num_envs * layout.substeps * most * SWEPT]

    def _forward(
        self,
        records: Tensor,
        q: Tensor,
        v: Tensor,
        inputs: Inputs,
        time_step: Tensor,
        sizes: tuple[int, int] | None,
        *,
        layout: Layout | None = None,
        memory: Tensor | None = None,
    ) -> CoupledTape:
        """With the ``sizes`` of the largest box and of the longest list everything is kept until the next launch, and records,
        q and v stay; with ``memory`` (`_kept_sizes`) too everything is kept there, and they are advanced in place; without
        both nothing is kept, and they are."""
        layout, num_envs, keep = layout or self.soft.layout, len(records), sizes is not None
        self.rigid.expect(inputs.controls)
        lanes = min(num_envs, runtime.num_threads())
        capacity, most = sizes if sizes is not None else (None, self._count * self._geometries)
        driven, sums = with_sums(inputs.soft, inputs.soft.new_zeros(num_envs, self._touched, ImpulseSum.SIZE))
        tape_memory, own_rows, impulses = None, None, None
        if memory is not None and sizes is not None:
            split = self._kept_sizes(num_envs, sizes)
            tape_memory, own_rows, impulses = memory[: sum(split)].split(split)
        tape = lane_tape(self._buffers, layout, lanes, time_step, capacity, sums, memory=tape_memory)
        rigid_status = self.rigid.first_status(time_step)
        numbers = self._kept_rows(num_envs, layout.substeps, lanes) if keep else lanes * self._row()
        rows = self._scratch("rigid rows", numbers) if own_rows is None else own_rows
        contacts = self._contact_room(lanes, num_envs * layout.substeps if keep else lanes, most, impulses)
        longest = torch.zeros(num_envs, dtype=torch.int32)
        with kernel_options():
            self._kernels.forward(
                lanes, num_envs, layout.tile_count, keep + (memory is not None), tape.capacity, layout.nodes,
                records.view(-1, 4), tape.rows, tape.frames, layout.constants, layout.sizes, driven, tape.boxes,
                tape.grid, self._buffers.zeros("velocity", lanes * layout.velocities, 4), tape.status.view(-1),
                most, *contacts, self._shells, longest,
                self.rigid.integers, self.rigid.reals, self.rigid.grids, flat(inputs.rigid), flat(inputs.controls),
                q.view(-1), v.view(-1), rows,
                self._buffers.zeros("rigid work", lanes * self.rigid.work, 1).view(-1), rigid_status.view(-1),
            )  # fmt: skip
        return CoupledTape(tape, rows, contacts, most, rigid_status, longest)

    def advance(
        self, particles: Particles, q: Tensor, v: Tensor, inputs: Inputs, time_step: Tensor, *, keep: bool = False
    ) -> tuple[Particles, Tensor, Tensor, Wrenches, Tensor, KeptStep[CoupledTape] | None]:
        """Particles, q and v one control step later, the mean contact wrenches, and what ``adjoint`` wants: the sizes (2, B),
        nodes of each environment's largest box and contacts in its longest list; and the substeps, if it is asked to ``keep``
        them, there is room, and no rigid contact is recorded.

        Raises:
            SimulationError: a particle left the grid or something is not finite.
        """
        inputs = inputs._replace(controls=self.rigid.room(inputs.controls))
        if not len(q):
            wrenches = Wrenches(self.rigid.contact_wrenches(inputs.controls), q.new_zeros(0, self._touched, ImpulseSum.SIZE))
            after = Particles(*(each.detach().clone() for each in particles))
            return after, q.detach().clone(), v.detach().clone(), wrenches, time_step.new_zeros(2, 0), None

        def first() -> tuple[Tensor, Tensor, Tensor]:
            return pack(particles), q.detach().clone().contiguous(), v.detach().clone().contiguous()

        state, sizes, memory = first(), self._room, None
        if keep and sizes is not None and not self.rigid.recorded:
            memory = self._memory.take(sum(self._kept_sizes(len(q), sizes)))
        if memory is not None:
            made = self._forward(*state, inputs, time_step, sizes, memory=memory.memory)
            if outgrown(made.tape):
                memory.release()
                memory, state = None, first()
        if memory is None:
            made = self._forward(*state, inputs, time_step, None)
        self.rigid.check(made.rigid_status, time_step)
        self.soft.check(made.tape.status, time_step, 0)
        nodes = largest_boxes(made.tape, len(q), self.soft.layout)
        if keep:
            most = min(roomier(int(made.longest.max())) + MORE_CONTACTS, self._count * self._geometries)
            self._room = (min(roomier(int(nodes.max())), self.soft.layout.nodes), most)
        wrenches = Wrenches(self.rigid.contact_wrenches(inputs.controls), made.tape.sums / self._duration)
        kept = None if memory is None else KeptStep(made, memory)
        return unpack(state[0]), *state[1:], wrenches, torch.stack([nodes, made.longest]), kept

    def first_substep(self, particles: Particles, q: Tensor, v: Tensor, inputs: Inputs, time_step: Tensor) -> FirstSubstep:
        """Of one environment, the first substep of a control step with what it leaves. Arguments as of ``advance``.

        Raises:
            SimulationError: as ``advance``.
        """
        layout, rigid = self.soft.first_layout(), self.rigid.model
        sizes = (layout.nodes, self._count * self._geometries)
        inputs = inputs._replace(controls=self.rigid.room(inputs.controls))
        made = self._forward(pack(particles), flat(q), flat(v), inputs, time_step, sizes, layout=layout)
        self.rigid.check(made.rigid_status, time_step)
        self.soft.check(made.tape.status, time_step, 0)
        old, acceleration = made.rows[rigid.coordinates :][: 2 * rigid.dofs].view(2, rigid.dofs)  # none where only tools move
        work = self._scratch("rigid work", self.rigid.work)
        lists, impulses, contact_work, _crowds = made.contacts
        return FirstSubstep(
            made.tape, lists, impulses, contact_work, work[None, : self.rigid.work], (old + rigid.dt * acceleration)[None]
        )

    def adjoint(
        self, particles: Particles, q: Tensor, v: Tensor, inputs: Inputs, time_step: Tensor, sizes: Tensor,
        particle_bars: Particles, q_bar: Tensor, v_bar: Tensor, wrench_bars: Wrenches,
        kept: KeptStep[CoupledTape] | None = None,
    ) -> tuple[Particles, Tensor, Tensor, Inputs]:  # fmt: skip
        """Adjoints of the particles, q, v and the inputs, given those of the outputs of ``advance``. A control step that was
        not kept is recomputed, a chunk of environments at a time."""
        layout, num_envs = self.soft.layout, len(q)
        if not num_envs:
            return particle_bars, q_bar, v_bar, Inputs(*(torch.zeros_like(each) for each in inputs))
        capacity, most = (int(largest) for largest in sizes.max(dim=1).values)
        bars, q_bar, v_bar = pack(particle_bars), q_bar.clone().contiguous(), v_bar.clone().contiguous()
        actuators = inputs.controls.shape[1]  # and external wrenches
        inputs = inputs._replace(controls=self.rigid.room(inputs.controls, wrench_bars.rigid))
        input_bars, sum_bars = Inputs(*(torch.zeros_like(each) for each in inputs)), wrench_bars.soft / self._duration
        input_bars.controls[:, actuators:] = inputs.controls[:, actuators:]
        environment = (layout.substeps + 1) * (layout.tile_count * Component.SIZE * LANE_WIDTH + self._row())
        environment += layout.substeps * (capacity * 4 + most * (SWEPT + Listed.SIZE))
        lanes = min(num_envs, runtime.num_threads())
        size = chunk_size(environment * layout.dtype.itemsize, TRAJECTORY_BYTES, multiple=lanes)
        for chunk in chunks(num_envs, size if kept is None else num_envs):
            own, own_bars = Inputs(*(each[chunk] for each in inputs)), Inputs(*(each[chunk] for each in input_bars))
            if kept is not None:
                made = kept.tape
                self.rigid.expect(own.controls)
            else:
                records = pack(Particles(*(each[chunk] for each in particles)))
                own_q, own_v = flat(q[chunk]), flat(v[chunk])
                made = self._forward(records, own_q, own_v, own, time_step[chunk], (capacity, most))
            tape, rows, contacts, most_listed = made.tape, made.rows, made.contacts, made.most
            with kernel_options():
                self._kernels.adjoint(
                    lanes, len(own.rigid), layout.tile_count, tape.capacity, layout.nodes,
                    tape.rows, tape.frames, bars[chunk].view(-1, 4),
                    self._buffers.empty("row bars", lanes * layout.tile_count * Component.SIZE, LANE_WIDTH),
                    layout.constants, layout.sizes, with_sums(own.soft, sum_bars[chunk])[0], flat(own_bars.soft),
                    tape.boxes, tape.grid,
                    self._buffers.zeros("velocity", lanes * layout.velocities, 4),
                    self._buffers.zeros("grid bar", lanes * layout.nodes, 4),
                    self._buffers.empty("before", lanes * max(layout.colliders, 1), 4),
                    most_listed, *contacts, self._shells,
                    self.rigid.integers, self.rigid.reals, self.rigid.grids, flat(own.rigid), flat(own_bars.rigid),
                    flat(own.controls), flat(own_bars.controls), q_bar[chunk].view(-1), v_bar[chunk].view(-1), rows,
                    self._buffers.zeros("rigid work", lanes * self.rigid.work, 1).view(-1),
                )  # fmt: skip
        return unpack(bars), q_bar, v_bar, input_bars._replace(controls=input_bars.controls[:, :actuators])
