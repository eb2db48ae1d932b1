"""Soft and rigid bodies together as a plain function of tensors and its adjoint."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch import Tensor

from diffsim import runtime
from diffsim.compiler import kernel_options
from diffsim.coupling.coupled_records import CONTACT, ContactBars, Grip, MotionBars
from diffsim.errors import InputError
from diffsim.gradients.recompute import chunk_size, chunks
from diffsim.rigid.multibody_solver import RigidSolver, flat
from diffsim.rigid.rigid_records import Status as RigidStatus
from diffsim.rigid.rigid_records import Wrench
from diffsim.scene.scene import Scene
from diffsim.soft.launch_schedules import Buffers, Tape, lane_tape, largest_boxes
from diffsim.soft.mpm_solver import TRAJECTORY_BYTES, MPMSolver, pack, unpack
from diffsim.soft.soft_records import LANE_WIDTH, Component
from diffsim.state import Particles

# Stiffness of a contact as a share of density * (particles' spacing)^2 * (grid spacing) / dt^2: what is pushed is not
# the particle alone but the layer of a grid cell behind it, with which it moves. Three times as much ran stably.
GRIP_SHARE = 0.1


class Inputs(NamedTuple):
    """What drives a control step: the soft solver's rows (B, ...), the rigid solver's, and the actuators' controls (B, ...)."""

    soft: Tensor
    rigid: Tensor
    controls: Tensor


class CoupledSolver:
    """One control step of a scene with soft and rigid bodies, and its adjoint.

    An environment runs on one core. CPU only.

    Raises:
        InputError: the device is not the CPU.
    """

    def __init__(self, scene: Scene, soft: MPMSolver, rigid: RigidSolver, *, dt: float):
        if soft.device != "cpu":
            raise InputError(f"device must be 'cpu' for a scene with both soft and rigid bodies, got '{soft.device}'")
        from diffsim.coupling.kernels.coupled_lanes import coupled_kernels  # imports Taichi

        self.soft, self.rigid = soft, rigid
        self._made = partial(
            runtime.compiled, coupled_kernels, runtime.precision(soft.dtype), soft.layout.laws, soft.layout.viscous,
            rigid.model.further_shapes, rigid.model.joint_kinds,
        )  # fmt: skip
        self._buffers = Buffers(soft.layout)
        self._count = sum(len(body.rest_particles) for body in scene.soft_bodies)
        grips = []
        for body in scene.soft_bodies:
            spacing = (body.shape.volume / len(body.rest_particles)) ** (1.0 / 3.0)
            layer = body.material.parameters["density"] * spacing**2 * scene.grid_spacing
            grips += Grip.row(stiffness=GRIP_SHARE * layer / dt**2, radius=0.5 * spacing)
        self._grips = torch.tensor(grips, dtype=soft.dtype)

    @property
    def _kernels(self) -> SimpleNamespace:
        """Those of the present contact model."""
        return self._made(self.rigid.event)

    def _scratch(self, name: str, size: int) -> Tensor:
        return self._buffers.empty(name, size, 1).view(-1)

    def _row(self) -> int:
        return self.rigid.row + Wrench.SIZE * len(self.rigid.model.links)

    def _forward(
        self, records: Tensor, q: Tensor, v: Tensor, inputs: Inputs, time_step: Tensor, capacity: int | None
    ) -> tuple[Tape, Tensor, Tensor, Tensor]:
        """The tapes of the particles, of the rigid things and of the contacts, and the rigid status; records, q and v are
        advanced in place unless a ``capacity`` asks to keep everything."""
        layout, num_envs, keep = self.soft.layout, len(records), capacity is not None
        lanes = min(num_envs, runtime.num_threads())
        tape = lane_tape(self._buffers, layout, lanes, time_step, capacity)
        rigid_status = torch.zeros((num_envs, RigidStatus.SIZE), dtype=torch.int32)
        rows = self._scratch("rigid rows", (num_envs * (layout.substeps + 1) if keep else lanes) * self._row())
        contacts = self._scratch("contacts", (num_envs * layout.substeps if keep else lanes) * self._count * CONTACT)
        with kernel_options(flow_analysis=False, subexpressions=False):
            self._kernels.forward(
                lanes, num_envs, layout.tile_count, int(keep), tape.capacity, layout.nodes,
                records.view(-1, 4), tape.rows, tape.frames, layout.constants, layout.sizes, flat(inputs.soft), tape.boxes,
                tape.grid, self._buffers.zeros("velocity", lanes * layout.nodes, 4), tape.status.view(-1),
                contacts, self._grips,
                self.rigid.integers, self.rigid.reals, self.rigid.grids, flat(inputs.rigid), flat(inputs.controls),
                q.view(-1), v.view(-1), rows,
                self._buffers.zeros("rigid work", lanes * self.rigid.work, 1).view(-1), rigid_status.view(-1),
            )  # fmt: skip
        return tape, rows, contacts, rigid_status

    def advance(
        self, particles: Particles, q: Tensor, v: Tensor, inputs: Inputs, time_step: Tensor
    ) -> tuple[Particles, Tensor, Tensor, Tensor]:
        """Particles, q and v one control step later, and the nodes of each environment's largest box, which ``adjoint`` wants.

        Raises:
            SimulationError: a particle left the grid or something is not finite.
        """
        q, v = q.detach().clone().contiguous(), v.detach().clone().contiguous()
        if not len(q):
            return Particles(*(each.detach().clone() for each in particles)), q, v, time_step.new_zeros(0)
        records = pack(particles)
        tape, _rows, _contacts, rigid_status = self._forward(records, q, v, inputs, time_step, None)
        self.rigid.check(rigid_status, time_step)
        self.soft.check(tape.status, time_step, 0)
        return unpack(records), q, v, largest_boxes(tape, len(q), self.soft.layout.substeps)

    def adjoint(
        self, particles: Particles, q: Tensor, v: Tensor, inputs: Inputs, time_step: Tensor, box_nodes: Tensor,
        particle_bars: Particles, q_bar: Tensor, v_bar: Tensor,
    ) -> tuple[Particles, Tensor, Tensor, Inputs]:  # fmt: skip
        """Adjoints of the particles, q, v and the inputs, given those of the outputs of ``advance``. The control step is
        recomputed, a chunk of environments at a time."""
        layout, num_envs = self.soft.layout, len(q)
        if not num_envs:
            return particle_bars, q_bar, v_bar, Inputs(*(torch.zeros_like(each) for each in inputs))
        capacity = int(box_nodes.max())
        bars, q_bar, v_bar = pack(particle_bars), q_bar.detach().clone().contiguous(), v_bar.detach().clone().contiguous()
        input_bars = Inputs(*(torch.zeros_like(each) for each in inputs))
        environment = (layout.substeps + 1) * (layout.tile_count * Component.SIZE * LANE_WIDTH + self._row())
        environment += layout.substeps * (capacity * 4 + self._count * CONTACT)
        lanes = min(num_envs, runtime.num_threads())
        for chunk in chunks(num_envs, chunk_size(environment * layout.dtype.itemsize, TRAJECTORY_BYTES, multiple=lanes)):
            own, own_bars = Inputs(*(each[chunk] for each in inputs)), Inputs(*(each[chunk] for each in input_bars))
            records = pack(Particles(*(each[chunk] for each in particles)))
            own_q, own_v = flat(q[chunk]), flat(v[chunk])
            tape, rows, contacts, _status = self._forward(records, own_q, own_v, own, time_step[chunk], capacity)
            with kernel_options(flow_analysis=False, subexpressions=False):
                self._kernels.adjoint(
                    lanes, len(records), layout.tile_count, capacity, layout.nodes,
                    tape.rows, tape.frames, bars[chunk].view(-1, 4),
                    self._buffers.empty("row bars", lanes * layout.tile_count * Component.SIZE, LANE_WIDTH),
                    layout.constants, layout.sizes, flat(own.soft), flat(own_bars.soft), tape.boxes, tape.grid,
                    self._buffers.zeros("velocity", lanes * layout.nodes, 4),
                    self._buffers.zeros("grid bar", lanes * layout.nodes, 4),
                    self._buffers.empty("before", lanes * max(layout.colliders, 1), 4),
                    contacts, self._scratch("contact bars", lanes * self._count * (ContactBars.SIZE + MotionBars.SIZE)),
                    self._grips,
                    self.rigid.integers, self.rigid.reals, self.rigid.grids, flat(own.rigid), flat(own_bars.rigid),
                    flat(own.controls), flat(own_bars.controls), q_bar[chunk].view(-1), v_bar[chunk].view(-1), rows,
                    self._buffers.zeros("rigid work", lanes * self.rigid.work, 1).view(-1),
                )  # fmt: skip
        return unpack(bars), q_bar, v_bar, input_bars
