"""Memory and seconds of a control step, estimated from counts: nothing is run but a calibration of some milliseconds.

The constants are CPU times on one core of an AMD EPYC (Zen 4); `python -m benchmarks.step_estimates` prints estimates beside
what steps take. A machine's speed is that of `machine_factor`. Caches, contact and the particles' spread make estimates wrong
by a factor of two.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from diffsim import runtime
from diffsim.checks.simulator_checks import PARTICLE as PARTICLE_NUMBERS
from diffsim.coupling.coupled_records import SWEPT, Listed
from diffsim.gradients.recompute import chunk_size
from diffsim.rigid.rigid_model import RigidModel
from diffsim.rigid.rigid_records import EVENTS_LENGTH, Wrench
from diffsim.scene.rotations import rotation_matrix
from diffsim.scene.scene import Scene
from diffsim.soft.mpm_solver import TRAJECTORY_BYTES
from diffsim.soft.soft_records import LANE_WIDTH, Component, Frame, ParticleRecord, grid_layers

UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (0.0, "B"))
SPREAD = 3  # nodes of a box of particles beyond their extent in cells
CALIBRATION = 2.19e-5  # s, `_calibrate` on the machine of the constants

# s a substep: of a particle, how much more one takes that flows, and of a node of the particles' box; forward, and forward +
# backward
PARTICLE = {torch.float32: (6.9e-8, 2.5e-7), torch.float64: (1.25e-7, 4.4e-7)}
FLOWING = (0.07, 0.3)
NODE = (7.4e-9, 1.9e-8)
# s a substep of rigid things: at all, by degrees of freedom and the squares of each articulation's, by pairs, and by the points
# of those that are near each other
RIGID, DOF, DOF_SQUARED, PAIR, POINT = 1e-7, 8e-8, 1.2e-8, 5e-8, 6e-8
RIGID_BACKWARD = 3.8  # forward + backward over forward
BESIDE = (1e-8, 3e-8)  # s a substep of a particle for each geometry that it may meet
COUPLED = (1.5, 1.35)  # what else of a particle in a coupled scene
# s a control step, of Python and launches: of a rollout of rigid things alone; of soft ones and of tools, which need one a step
ROLLOUT_LAUNCH, SOFT_LAUNCH, TOOL_LAUNCH = (9e-5, 2.5e-4), (8e-4, 2.5e-3), (2e-4, 4e-4)


@dataclass(frozen=True)
class CostEstimate:
    """What control steps of all environments take, about.

    Attributes:
        state_bytes: of a state of all environments; a rollout of T control steps keeps T + 1 of them for its gradient. (And
            the substeps, in ``DIFFSIM_KEPT_MB`` megabytes at most, see docs/running.md.)
        forward_bytes: of a control step's scratch memory.
        backward_bytes: of scratch memory and the recomputed substeps of a control step. (Of a rollout of rigid bodies alone,
            several control steps are recomputed at once, up to 64 MB of them.)
        forward_seconds: of a control step.
        backward_seconds: of a control step and its gradient.
        threads: that it is spread over.
    """

    state_bytes: int
    forward_bytes: int
    backward_bytes: int
    forward_seconds: float
    backward_seconds: float
    threads: int

    def memory(self) -> str:
        """In words."""
        return (
            f"about {_size(self.state_bytes)} a state, {_size(self.forward_bytes)} for a control step, "
            f"{_size(self.backward_bytes)} with its gradient"
        )

    def __str__(self) -> str:
        return (
            f"{self.memory()}; about {self.forward_seconds:.2g} s a control step of all "
            f"environments, {self.backward_seconds:.2g} s with its gradient, on {self.threads} "
            f"thread{'s' if self.threads > 1 else ''} (estimates, right within a factor of about two)"
        )


def _size(size: int) -> str:
    scale, unit = next((scale, unit) for scale, unit in UNITS if size >= scale)
    return f"{size / (scale or 1.0):.3g} {unit}"


def estimate_costs(scene: Scene, model: RigidModel | None, *, substeps: int, num_envs: int, dtype: torch.dtype) -> CostEstimate:
    """Of a scene; ``model`` is that of its rigid things, if there are any."""
    threads = min(runtime.num_threads(), num_envs if model is not None else max(num_envs, runtime.num_threads()))
    row = 0 if model is None else _tape_row(model)
    soft = _Particles.of(scene)
    forward, backward = _memory(soft, model, row, substeps, num_envs, threads)
    seconds = [_seconds(scene, soft, model, substeps, dtype, backward=each) for each in (False, True)]
    factor = machine_factor()
    launches = (ROLLOUT_LAUNCH, *[SOFT_LAUNCH] * bool(soft.count), *[TOOL_LAUNCH] * bool(scene.tools))
    launch = [sum(each) for each in zip(*launches, strict=True)]
    batch = factor * num_envs / threads
    own = (model.coordinates + model.dofs) if model is not None else 0
    numbers = PARTICLE_NUMBERS * soft.count + 7 * len(scene.tools) + own
    return CostEstimate(
        state_bytes=num_envs * (numbers * dtype.itemsize + 8),
        forward_bytes=forward * dtype.itemsize,
        backward_bytes=backward * dtype.itemsize,
        forward_seconds=factor * launch[0] + batch * substeps * seconds[0],
        backward_seconds=factor * launch[1] + batch * substeps * seconds[1],
        threads=threads,
    )


@dataclass(frozen=True)
class _Particles:
    """Counts of the soft bodies: particles, those that flow, tiles, nodes of the box about them."""

    count: int
    flowing: int
    tiles: int
    nodes: int

    @classmethod
    def of(cls, scene: Scene) -> _Particles:
        counts = [len(body.rest_particles) for body in scene.soft_bodies]
        if not counts:
            return cls(0, 0, 0, 0)
        points = np.concatenate([body.rest_particles for body in scene.soft_bodies])
        box = int(np.prod(np.ceil(np.ptp(points, axis=0) / scene.grid_spacing) + SPREAD))
        flowing = sum(n for n, body in zip(counts, scene.soft_bodies, strict=True) if body.material.FLOWING)
        return cls(sum(counts), flowing, sum(-(-n // LANE_WIDTH) for n in counts), box * grid_layers(flowing > 0))


def _memory(
    soft: _Particles, model: RigidModel | None, row: int, substeps: int, num_envs: int, threads: int
) -> tuple[int, int]:
    """Numbers of a control step's scratch memory, forward and with its gradient: the buffers of `LaneSchedule`, `RigidSolver`
    and `CoupledSolver`."""
    tile_row, frames = soft.tiles * Component.SIZE * LANE_WIDTH, num_envs * soft.tiles * Frame.SIZE * LANE_WIDTH
    records = 2 * num_envs * soft.count * ParticleRecord.SIZE
    links, contacts = 0, 0
    if model is not None and soft.count:
        links, contacts = Wrench.SIZE * len(model.links), soft.count // 4
    forward = records + frames + threads * (tile_row + 3 * soft.nodes * 4) + threads * (row + links)
    kept = (substeps + 1) * (tile_row + row + links) + substeps * (soft.nodes * 4 + contacts * (SWEPT + Listed.SIZE))
    if soft.count:
        chunk = min(chunk_size(kept * 8, TRAJECTORY_BYTES, multiple=threads), num_envs)
        return forward, forward + chunk * kept + threads * (tile_row + 4 * soft.nodes * 4)
    return forward, forward + num_envs * (substeps + 1) * row


def _seconds(
    scene: Scene, soft: _Particles, model: RigidModel | None, substeps: int, dtype: torch.dtype, *, backward: bool
) -> float:
    """CPU seconds of a substep of one environment on the machine of the constants."""
    n = int(backward)
    particles = PARTICLE[dtype][n] * (soft.count + FLOWING[n] * soft.flowing) + NODE[n] * soft.nodes
    if model is None:
        return particles
    squares = sum(sum(link.joint.type.dofs for link in each.links) ** 2 for each in model.articulations)
    rigid = RIGID + DOF * model.dofs + DOF_SQUARED * squares + PAIR * len(model.pairs) + POINT * _near_points(model)
    rigid *= RIGID_BACKWARD if backward else 1.0
    if not soft.count:
        return rigid
    return COUPLED[n] * particles + BESIDE[n] * soft.count * len(model.coupled) + rigid


def _tape_row(model: RigidModel) -> int:
    """Numbers of a substep on the tape: coordinates before and in the middle, velocities, the factors of the solve, events."""
    return 2 * model.coordinates + model.dofs + model.unknowns * (2 + model.unknowns) + EVENTS_LENGTH * model.events


def _near_points(model: RigidModel) -> int:
    """Contact points of the pairs whose bounding spheres meet at reset."""
    positions, rotations = model.forward_kinematics(model.initial)
    points = 0
    for a, b in model.pairs:
        own, other = model.geometries[a], model.geometries[b]
        centers = [
            positions[link] + rotations[link] @ np.asarray(geometry.position)
            for geometry, link in ((own, model.geometry_links[a]), (other, model.geometry_links[b]))
        ]
        if other.shape.bounded:
            apart = float(np.linalg.norm(centers[0] - centers[1])) - other.shape.bounding_radius
        else:
            frame = rotations[model.geometry_links[b]] @ rotation_matrix(other.rotation)
            apart = float(other.shape.signed_distance(((centers[0] - centers[1]) @ frame)[None])[0])
        if apart < own.shape.bounding_radius:
            points += len(own.shape.contact_points(own.contact_points))
    return points


@cache
def machine_factor() -> float:
    """How much slower than the machine of the constants this one is, by a short computation in numpy."""
    return max(_calibrate() / CALIBRATION, 0.1)


def _calibrate() -> float:
    """CPU seconds of some transcendental functions on one thread, the best of several."""
    x = np.linspace(0.1, 1.0, 4096)
    best = float("inf")
    for _ in range(20):
        begin = time.thread_time()
        np.sqrt(np.cumsum(np.exp(x))).sum()
        best = min(best, time.thread_time() - begin)
    return best
