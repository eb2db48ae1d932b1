"""A tile of particles in the kernels' memory: who is in it, its records, its places on the tape, its body's inputs."""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any

from diffsim.compiler import ti
from diffsim.soft.soft_records import (
    LAW_PARAMETERS,
    ON_TAPE,
    VECTORS,
    BodyInputs,
    Component,
    Frame,
    Sizes,
    Status,
    Tile,
    WorldInputs,
)


def tile_memory(real: Any, tile: SimpleNamespace) -> SimpleNamespace:
    """The device functions for scalar type ``real`` and the tile arrays ``tile``."""
    width, single = tile.width, real == ti.f32
    vec4 = ti.types.vector(4, real)

    @ti.func
    def report(status: ti.template(), environment, substep, particle, failure):
        """Keep an environment's first failure."""
        row = environment * Status.SIZE
        if status[row + Status.failure] == 0:
            status[row + Status.failure] = failure
            status[row + Status.substep] = substep
            status[row + Status.particle] = particle

    @ti.func
    def members(sizes: ti.template(), tile_index):
        """A tile's first particle, how many, their body and its law."""
        at = Sizes.SIZE + Tile.SIZE * tile_index
        return sizes[at + Tile.first], sizes[at + Tile.count], sizes[at + Tile.body], sizes[at + Tile.law]

    @ti.func
    def body_inputs(sizes: ti.template(), environment, body):
        """Where a body's inputs begin."""
        return environment * sizes[Sizes.inputs] + WorldInputs.SIZE + BodyInputs.SIZE * body

    @ti.func
    def law_inputs(inputs: ti.template(), at):
        """A body's law parameters (5) and its two viscosities."""
        parameters = [inputs[at + BodyInputs.parameters + n] for n in ti.static(range(LAW_PARAMETERS))]
        return parameters, inputs[at + BodyInputs.shear_viscosity], inputs[at + BodyInputs.bulk_viscosity]

    # Lanes beyond a tile's ``count`` repeat its last particle. They go to no grid, no record and no sum.

    @ti.func
    def load(tape: ti.template(), begin, target: ti.template()):
        """Consecutive components from index ``begin`` on."""
        for c in ti.static(range(len(target))):
            lanes = tape[begin + c]
            for t in range(width):
                target[c][t] = lanes[t]

    @ti.func
    def store(tape: ti.template(), begin, source: ti.template()):
        for c in ti.static(range(len(source))):
            tape[begin + c] = source[c]

    @ti.func
    def enter(
        records: ti.template(), tape: ti.template(), frames: ti.template(), sizes: ti.template(), tile_index, record_row,
        place, frame, turn: ti.template(),
    ):  # fmt: skip
        """A tile's records onto the tape; with ``turn``, F into its frame, F R; without, in f32, F to the frames too."""
        ti.static(tile.release())
        first, count, _body, _law_index = members(sizes, tile_index)
        D, R, turned = ti.static(tile.local(Component.stress), tile.local(9), tile.local(9))
        for t in range(width):
            n = (record_row + first + ti.min(t, count - 1)) * VECTORS
            for r in ti.static(range(VECTORS)):
                record = records[n + r]
                for c in ti.static(range(4)):
                    if ti.static(4 * r + c in ON_TAPE):
                        D[ON_TAPE[4 * r + c]][t] = record[c]
        store(tape, place, D)
        if ti.static(not turn and single):
            store(frames, frame + Frame.F, ti.static(D[Component.F : Component.F + 9]))
        if ti.static(turn):
            load(frames, frame + Frame.rotation, R)
            for t in range(width):
                for i, j in ti.static(ti.ndrange(3, 3)):
                    turned[3 * i + j][t] = (
                        D[Component.F + 3 * i][t] * R[j][t]
                        + D[Component.F + 3 * i + 1][t] * R[3 + j][t]
                        + D[Component.F + 3 * i + 2][t] * R[6 + j][t]
                    )
            store(tape, place + Component.F, turned)

    @ti.func
    def leave(
        records: ti.template(), tape: ti.template(), frames: ti.template(), sizes: ti.template(), tile_index, record_row,
        place, frame, turn: ti.template(),
    ):  # fmt: skip
        """A tile from the tape to its records; with ``turn``, F out of its frame: F R^T, in f32 that of the frames."""
        ti.static(tile.release())
        first, count, _body, _law_index = members(sizes, tile_index)
        D, R, G = ti.static(tile.local(Component.stress), tile.local(9), tile.local(9))
        load(tape, place, D)
        if ti.static(turn and single):
            load(frames, frame + Frame.F, ti.static(D[Component.F : Component.F + 9]))
        elif ti.static(turn):
            load(frames, frame + Frame.rotation, R)
            load(tape, place + Component.F, G)
            for t in range(width):
                for i, j in ti.static(ti.ndrange(3, 3)):
                    D[Component.F + 3 * i + j][t] = (
                        G[3 * i][t] * R[3 * j][t] + G[3 * i + 1][t] * R[3 * j + 1][t] + G[3 * i + 2][t] * R[3 * j + 2][t]
                    )
        for t in range(count):
            n = (record_row + first + t) * VECTORS
            for r in ti.static(range(VECTORS)):
                record = vec4(0.0)
                for c in ti.static(range(4)):
                    if ti.static(4 * r + c in ON_TAPE):
                        record[c] = D[ON_TAPE[4 * r + c]][t]
                records[n + r] = record

    return SimpleNamespace(
        report=report, members=members, body_inputs=body_inputs, law_inputs=law_inputs, load=load, store=store, enter=enter,
        leave=leave,
    )  # fmt: skip
