"""What the soft bodies' device functions work at, by name: arrays (`diffsim/soft/soft_records.py`) and places in them.

Kernels make these tuples at compile time, ``soft = ti.static(SoftMemory(tape, frames, ...))``, and device functions take them
as ``ti.template()``: they cost nothing. Their fields are arrays and local variables, never expressions, which would be
evaluated again at each use. A function reads some of the fields; a kernel fills those that its functions read.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from diffsim.compiler import compile_time


@compile_time
class SoftMemory(NamedTuple):
    """The arrays of a pass."""

    tape: Any = None
    frames: Any = None
    constants: Any = None
    sizes: Any = None
    inputs: Any = None
    boxes: Any = None
    grid: Any = None
    velocity: Any = None
    status: Any = None


@compile_time
class SoftBars(NamedTuple):
    """The arrays of adjoints: of the tape (one row), of the inputs and of the grid; and scratch."""

    tape: Any = None
    inputs: Any = None
    grid: Any = None
    before: Any = None


@compile_time
class TilePlace(NamedTuple):
    """A tile of particles.

    tile: its index; now, new: where it stands on the tape before and after the substep; frame: in the frames;
    bar: in the tape's adjoints.
    """

    tile: Any = None
    now: Any = None
    new: Any = None
    frame: Any = None
    bar: Any = None


@compile_time
class SubstepPlace(NamedTuple):
    """A substep of an environment.

    box: place of its box; next_box: of the box that holds the particles after it; grid, velocity, grid_bar: where the box's
    nodes begin in these arrays; inputs_bar: row of the inputs' adjoints; before: row of the scratch; sums: where the sums of
    impulses begin, or their adjoints; pulls: where the impulses of the pinned particles begin in the velocities.
    """

    environment: Any = None
    substep: Any = None
    box: Any = None
    next_box: Any = None
    grid: Any = None
    velocity: Any = None
    grid_bar: Any = None
    inputs_bar: Any = None
    before: Any = None
    sums: Any = None
    pulls: Any = None
