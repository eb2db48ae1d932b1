"""The MPM solver as a plain function of tensors and its adjoint; private buffers live here, state does not."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffsim.errors import SimulationError
from diffsim.gradients.kept_memory import Kept, KeptMemory, KeptStep
from diffsim.gradients.recompute import chunks
from diffsim.scene.muscle import Muscle, particle_muscles
from diffsim.scene.scene import Scene
from diffsim.soft.launch_schedules import LaneSchedule, Layout, Schedule, SharedSchedule, Tape
from diffsim.soft.laws import laws_of
from diffsim.soft.soft_records import (
    FAILURES,
    OUTGROWN,
    ColliderShape,
    Constants,
    Fibre,
    ImpulseSum,
    InputLayout,
    ParticleRecord,
    Pin,
    PinConstants,
    Sizes,
    Status,
    Tile,
)
from diffsim.state import Particles

logger = logging.getLogger(__name__)

# what the recomputed substeps of the environments in flight may take; the batch is cut into chunks to respect it
TRAJECTORY_BYTES = 64 * 1024 * 1024
ON_WALL = 1e-3  # a node within so many cells of a wall or the ground is on it, whatever rounding says
PADDING = 3  # grid cells outside the domain on each side


class PinnedParticle(NamedTuple):
    """A particle that an attachment holds: its number in the state, the attachment's, and `PinConstants` by name; ``kind`` and
    ``holder`` as of `Pin`."""

    particle: int
    attachment: int
    kind: int
    holder: int
    constants: dict[str, object]


def roomier(nodes: int) -> int:
    """A little more, one of a few sizes, so that memory for boxes that grow and shrink is used again: at least an eighth more,
    at most a third."""
    return int(2.0 ** (math.ceil(6.0 * math.log2(1.125 * nodes)) / 6.0)) if nodes else 0


def outgrown(tape: Tape) -> bool:
    """Whether something had no room in a tape."""
    return bool((tape.status[:, Status.failure] == OUTGROWN).any())


def _fibre(muscle: Muscle) -> list[float]:
    """`Fibre` of a muscle's particles."""
    direction = np.zeros(3) if muscle.direction is None else np.asarray(muscle.direction)
    return Fibre.row(direction=direction, pressure=float(muscle.direction is None))


def pack(particles: Particles) -> Tensor:
    """Records (B, N, ParticleRecord.SIZE) of particles."""
    x, v, C, F, internal = (tensor.detach() for tensor in particles)
    parts = {"x": x, "v": v, "C": C.flatten(2), "F": F.flatten(2), "internal": internal.unsqueeze(-1)}
    columns = [
        parts[name] if name in parts else x.new_zeros((*x.shape[:2], part.size)) for name, part in ParticleRecord.FIELDS.items()
    ]
    return torch.cat(columns, dim=-1)


def unpack(records: Tensor) -> Particles:
    """The inverse of `pack`, as tensors of their own."""
    split = records.split([part.size for part in ParticleRecord.FIELDS.values()], dim=-1)
    parts = dict(zip(ParticleRecord.FIELDS, split, strict=True))
    square = (*records.shape[:2], 3, 3)
    C, F = parts["C"].reshape(square), parts["F"].reshape(square)
    return Particles(parts["x"].contiguous(), parts["v"].contiguous(), C, F, parts["internal"].squeeze(-1).contiguous())


class MPMSolver:
    """Compiled MPM for one scene: ``advance`` and its ``adjoint``, each over one control step of all environments.
    ``recording``: with the mean wrenches of contact."""

    def __init__(
        self,
        scene: Scene,
        *,
        dt: float,
        substeps: int,
        dtype: torch.dtype,
        device: str = "cpu",
        recording: bool = False,
        schedule: Callable[[Layout], Schedule] | None = None,
        pins: Sequence[PinnedParticle] = (),
    ):
        self.dtype = dtype
        self.substeps = substeps
        self._duration = dt * substeps
        self.device = device
        dx = scene.grid_spacing
        lower, upper = np.asarray(scene.lower), np.asarray(scene.upper)
        counts = np.ceil((upper - lower) / dx - 1e-6).astype(int) + 1 + 2 * PADDING
        colliders = (*scene.grid_tools, *scene.grid_obstacles)
        make = schedule or (LaneSchedule if device == "cpu" else SharedSchedule)
        width = make.width  # type: ignore[attr-defined]

        self._bodies = [body.name for body in scene.soft_bodies]
        particles = [len(body.rest_particles) for body in scene.soft_bodies]
        self._body_ends = np.cumsum(particles)
        materials = [body.material for body in scene.soft_bodies]
        laws = laws_of(materials)
        tiles = [
            Tile.row(first=begin, count=min(width, int(end) - begin), body=body, law=laws.index(materials[body].law))
            for body, end in enumerate(self._body_ends)
            for begin in range(int(end) - particles[body], int(end), width)
        ]
        constants = Constants.row(
            dt=dt,
            dx=dx,
            origin=lower - PADDING * dx,
            lower=lower + ON_WALL * dx,
            upper=upper - ON_WALL * dx,
            ground=-1e30 if scene.ground is None else scene.ground.height + scene.ground.layer + ON_WALL * dx,
            layer=scene.contact.grid_layer(dx),
            decay=scene.contact.grid_decay or 0.0,
        )
        for thing in colliders:
            core, circle, radius = thing.shape.grid_sizes
            constants += ColliderShape.row(core=core, circle=circle, radius=radius, reach=thing.shape.bounding_radius)
        pin_constants = len(constants)
        for pin in pins:
            constants += PinConstants.row(**pin.constants)
        first_fibre = len(constants)
        owners = particle_muscles(scene.muscles, scene.soft_bodies).tolist() if scene.muscles else []
        fibres = [*map(_fibre, scene.muscles), [0.0] * Fibre.SIZE]  # -1, no muscle, is the last
        for muscle in owners:
            constants += fibres[muscle]
        row = InputLayout.of(len(particles), len(colliders), substeps, len(scene.attachments), len(scene.muscles))
        sizes = Sizes.row(
            particles=self._body_ends[-1],
            substeps=substeps,
            colliders=len(colliders),
            counts=counts,
            inputs=row.size,
            frictions=row.frictions,
            twists=row.twists,
            poses=row.poses,
            strengths=row.strengths,
            attachments=len(scene.attachments),
            pins=len(pins),
            first_pin=Sizes.SIZE + Tile.SIZE * len(tiles),
            pin_constants=pin_constants,
            tensions=row.tensions,
            first_muscle=Sizes.SIZE + Tile.SIZE * len(tiles) + Pin.SIZE * len(pins),
            fibres=first_fibre,
        )
        for tile in tiles:
            sizes += tile
        firsts = [tile[Tile.first] for tile in tiles]
        for pin in pins:
            own = int(np.searchsorted(firsts, pin.particle, side="right")) - 1
            lane = pin.particle - firsts[own]
            sizes += Pin.row(tile=own, lane=lane, attachment=pin.attachment, kind=pin.kind, holder=pin.holder)
        sizes += owners
        self.layout = Layout(
            dtype=dtype,
            device=device,
            laws=laws,
            viscous=any(material.VISCOUS for material in materials),
            flowing=any(material.FLOWING for material in materials),
            recording=recording,
            substeps=substeps,
            counts=tuple(counts.tolist()),
            tile_count=len(tiles),
            colliders=len(colliders),
            pins=len(pins),
            muscles=len(scene.muscles),
            constants=torch.tensor(constants, dtype=dtype, device=device),
            sizes=torch.tensor(sizes, dtype=torch.int32, device=device),
        )
        self._make: Callable[[Layout], Schedule] = make
        self._schedule = make(self.layout)
        self._memory = KeptMemory(dtype=dtype, device=device)
        self._room = 0  # nodes for the boxes of the next step that is kept: a little more than the last one took
        self._inverted_reported = False

    def check(self, status: Tensor, time_step: Tensor, first: int) -> None:
        """Raise or warn of what a pass noted; ``first`` is the number of its first environment."""
        failure, inverted = status[:, Status.failure], status[:, Status.inverted]
        if not (failure.any() or inverted.any()):
            return
        if failure.any():
            environment = int(failure.nonzero()[0, 0])
            particle = int(status[environment, Status.particle])
            quantity, detail = FAILURES[int(failure[environment])]
            raise SimulationError(
                step=int(time_step[environment]),
                substep=int(status[environment, Status.substep]),
                environment=first + environment,
                kind="body",
                name=self._bodies[int(np.searchsorted(self._body_ends, particle, side="right"))],
                quantity=quantity,
                detail=detail,
            )
        if not self._inverted_reported:
            environment = int(inverted.argmax())
            logger.warning(
                "Elements were inverted (det F <= 0) in control step %d of environment %d, or some liquid's volume halved: the "
                "time step is too large for the deformation, or a body is crushed. Their stress is continued as "
                "docs/materials.md says.",
                int(time_step[environment]),
                first + environment,
            )
            self._inverted_reported = True

    def advance(
        self, particles: Particles, inputs: Tensor, time_step: Tensor, *, keep: bool = False
    ) -> tuple[Particles, Tensor, Tensor, KeptStep[Tape] | None]:
        """The particles one control step later, the mean wrenches on the colliders, the ground and the walls, force and torque
        as `ImpulseSum` refers it (B, touched, 6), and what ``adjoint`` wants: the size of each environment's largest box of
        nodes, and the substeps, if it is asked to ``keep`` them and there is room. Rows of inputs (B, K) are laid out as
        `diffsim/soft/soft_records.py` says; all arguments are untouched.

        Raises:
            SimulationError: a particle left the grid or something is not finite.
        """
        num_envs = len(particles.x)
        if not num_envs:
            nothing = inputs.new_zeros(0, self.layout.touched, ImpulseSum.SIZE)
            return Particles(*(tensor.detach().clone() for tensor in particles)), nothing, time_step.new_zeros(0), None
        inputs, records = inputs.detach(), pack(particles)
        capacity = self._room
        memory = self._memory_for(num_envs, capacity) if keep else None
        if memory is not None:
            tape = self._schedule.forward(records, inputs, time_step, batch=num_envs, capacity=capacity, memory=memory.memory)
            if outgrown(tape):
                memory.release()
                memory, records = None, pack(particles)
        if memory is None:
            tape = self._schedule.forward(records, inputs, time_step, batch=num_envs, capacity=None)
        self.check(tape.status, time_step, 0)
        sums = tape.sums.unflatten(0, (num_envs, self._schedule.parts(num_envs))).sum(dim=1)
        box_nodes = self._schedule.box_nodes(tape, num_envs)
        if keep:
            self._room = min(roomier(int(box_nodes.max())), self.layout.nodes)
        return unpack(records), sums / self._duration, box_nodes, None if memory is None else KeptStep(tape, memory)

    def _memory_for(self, num_envs: int, capacity: int) -> Kept | None:
        """That of a control step which is kept, with boxes of so many nodes at most."""
        size = self._schedule.kept_size(num_envs, capacity) if capacity else None
        return None if size is None else self._memory.take(size)

    def first_layout(self) -> Layout:
        """That of a control step's first substep by itself; the inputs are those of the control step."""
        sizes = self.layout.sizes.clone()
        sizes[Sizes.substeps] = 1
        return replace(self.layout, substeps=1, sizes=sizes)

    def first_substep(self, particles: Particles, inputs: Tensor, time_step: Tensor) -> Tape:
        """Of one environment, the first substep with all that it leaves: the grid before contact. Arguments as of ``advance``.

        Raises:
            SimulationError: as ``advance``.
        """
        layout = self.first_layout()
        tape = self._make(layout).forward(pack(particles), inputs.detach(), time_step, batch=1, capacity=layout.nodes)
        self.check(tape.status, time_step, 0)
        return tape

    def adjoint(
        self,
        particles: Particles,
        inputs: Tensor,
        time_step: Tensor,
        box_nodes: Tensor,
        output_bars: Particles,
        wrench_bars: Tensor,
        tape: Tape | None = None,
    ) -> tuple[Particles, Tensor]:
        """Adjoints of the particles and of the inputs, given those of the outputs of ``advance``.

        Without a ``tape`` of the substeps, the control step is recomputed from its input; only its own substeps are held in
        memory, a chunk of environments at a time.
        """
        num_envs = len(particles.x)
        if not num_envs:
            return output_bars, torch.zeros_like(inputs)
        bars, sum_bars = pack(output_bars), wrench_bars / self._duration
        capacity = int(box_nodes.max())
        parts = self._schedule.parts(num_envs)
        inputs_bar = inputs.new_zeros((num_envs, parts, inputs.shape[1]))
        if tape is not None:
            self._schedule.adjoint(tape, bars, sum_bars, inputs, inputs_bar, batch=num_envs)
            return unpack(bars), inputs_bar.sum(dim=1)
        size = self._schedule.chunk(capacity, TRAJECTORY_BYTES)
        for chunk in chunks(num_envs, size):
            records = pack(Particles(*(tensor[chunk] for tensor in particles)))
            tape = self._schedule.forward(records, inputs[chunk], time_step[chunk], batch=num_envs, capacity=capacity)
            self.check(tape.status, time_step[chunk], chunk.start)
            self._schedule.adjoint(tape, bars[chunk], sum_bars[chunk], inputs[chunk], inputs_bar[chunk], batch=num_envs)
        return unpack(bars), inputs_bar.sum(dim=1)
