"""The arrays of the rigid kernels by name, where an environment's parts begin in them, and the rows of the model.

Kernels make the bundles with `ti.static` from arrays and plain local variables, and pass them to device functions as templates:
a field is then the array or variable itself. (An expression in a bundle would be evaluated again at each use.)
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any, NamedTuple

from diffsim.compiler import ti
from diffsim.rigid.rigid_records import (
    EVENTS_LENGTH,
    LINK_BLOCK,
    DofIndices,
    DofWork,
    GeometryConstants,
    GeometryIndices,
    GeometryInputs,
    Header,
    LinkConstants,
    LinkIndices,
    LinkInputs,
    PairIndices,
    PairWork,
    Wrench,
)


class RigidMemory(NamedTuple):
    """The arrays of `rigid_records`; a kernel has those that it needs."""

    integers: Any
    reals: Any
    inputs: Any
    tape: Any
    work: Any
    grids: Any = None
    controls: Any = None
    status: Any = None
    inputs_bar: Any = None
    controls_bar: Any = None


class RigidPlace(NamedTuple):
    """Where the parts of an environment begin in a substep."""

    inputs: Any  # its row of inputs, and of their adjoints
    q: Any  # coordinates at which forces act, in tape
    v: Any  # velocities, in tape
    a: Any  # accelerations, in tape
    work: Any  # the lane's scratch
    vector: Any  # right-hand side, accelerations, or virtual velocities, in work
    q_bar: Any  # adjoint of q, in work
    v_bar: Any  # adjoint of v, in work
    substep: Any
    controls: Any = None  # its row of controls, and of their adjoints
    matrix: Any = None  # the factors, in tape
    wrenches: Any = None  # external wrenches, in tape
    events: Any = None  # in tape
    new: Any = None  # the row of the next substep in tape, which may be this one
    environment: Any = None
    step: Any = None
    start: Any = None  # coordinates at the start of the substep, in tape
    chord: Any = None  # the factors that corrections begin with, in tape: those of the row, unless every row keeps its own


class JointPlace(NamedTuple):
    """Where the parts of a link's joint begin."""

    constants: Any  # its LinkConstants, in reals
    q: Any  # its coordinates, in tape
    v: Any  # its velocities, in tape
    a: Any  # its accelerations, in tape
    block: Any  # the link's LinkWork, in work
    axes: Any  # its rows of DofWork, in work
    virtual: Any  # its virtual velocities, in work
    q_bar: Any  # adjoint of its coordinates, in work
    v_bar: Any  # adjoint of its velocities, in work
    new_q: Any = None  # coordinates to which it moves, in tape
    ahead: Any = None  # s; of a product of velocities one factor is v, the other v + ahead a


def model_rows() -> SimpleNamespace:
    """Device functions that find rows of the model: where link ``i``, dof ``k``, geometry ``g`` or a pair stands."""

    @ti.func
    def link_indices(m: ti.template(), i):
        return m.integers[Header.link_indices] + LinkIndices.SIZE * i

    @ti.func
    def link_constants(m: ti.template(), i):
        return m.integers[Header.link_constants] + LinkConstants.SIZE * i

    @ti.func
    def link_inputs(m: ti.template(), at: ti.template(), i):
        return at.inputs + m.integers[Header.link_inputs] + LinkInputs.SIZE * i

    @ti.func
    def link_block(at: ti.template(), i):
        return at.work + LINK_BLOCK * i

    @ti.func
    def end_dof(m: ti.template(), i):
        """One past the last dof of link ``i``."""
        end = m.integers[Header.dofs]
        if i + 1 < m.integers[Header.links]:
            end = m.integers[link_indices(m, i + 1) + LinkIndices.dof]
        return end

    @ti.func
    def dof_indices(m: ti.template(), k):
        return m.integers[Header.dof_indices] + DofIndices.SIZE * k

    @ti.func
    def dof_work(m: ti.template(), at: ti.template(), k):
        return at.work + m.integers[Header.dof_work] + DofWork.SIZE * k

    @ti.func
    def geometry_indices(m: ti.template(), g):
        return m.integers[Header.geometry_indices] + GeometryIndices.SIZE * g

    @ti.func
    def geometry_constants(m: ti.template(), g):
        return m.integers[Header.geometry_constants] + GeometryConstants.SIZE * g

    @ti.func
    def geometry_inputs(m: ti.template(), at: ti.template(), g):
        return at.inputs + m.integers[Header.geometry_inputs] + GeometryInputs.SIZE * g

    @ti.func
    def pair_indices(m: ti.template(), pair):
        return m.integers[Header.pair_indices] + PairIndices.SIZE * pair

    @ti.func
    def pair_places(m: ti.template(), at: ti.template(), pair):
        """Where the `PairWork` of a pair, its columns and its points in contact stand in work."""
        indices = pair_indices(m, pair)
        pair_work = at.work + m.integers[Header.pair_work] + PairWork.SIZE * pair
        columns = at.work + m.integers[Header.contact_columns] + m.integers[indices + PairIndices.first_column]
        return pair_work, columns, at.work + m.integers[Header.point_work] + m.integers[indices + PairIndices.first_contact]

    @ti.func
    def dry_friction(m: ti.template(), at: ti.template(), k):
        """Where the dry friction of dof ``k`` stands in inputs, and in their adjoints."""
        return link_inputs(m, at, m.integers[dof_indices(m, k) + DofIndices.link]) + LinkInputs.friction_loss

    @ti.func
    def smooth_matrix(m: ti.template(), at: ti.template()):
        """Where the matrix without contact stands in work."""
        return at.work + m.integers[Header.smooth_matrix]

    @ti.func
    def row_parts(m: ti.template(), row, loaded: ti.template(), middle: ti.template()):
        """Of a row of the tape: where the coordinates at which forces act (the start's, or with ``middle`` the middle's), v, a,
        the factors, the external wrenches (if ``loaded``) and the events begin."""
        coordinates, size = m.integers[Header.coordinates], m.integers[Header.unknowns]
        v = row + coordinates
        a = v + m.integers[Header.dofs]
        matrix = a + size
        wrenches = matrix + size * (size + 1)
        q = row
        if ti.static(middle):
            q = wrenches
            wrenches = wrenches + coordinates
        events = wrenches
        if ti.static(loaded):
            events = wrenches + Wrench.SIZE * m.integers[Header.links]
        return q, v, a, matrix, wrenches, events

    @ti.func
    def row_length(m: ti.template(), loaded: ti.template(), scheme: ti.template()):
        """Of a row of the tape."""
        _q, _v, _a, _matrix, _wrenches, events = row_parts(m, 0, loaded, scheme.middle)
        end = events + ti.static(EVENTS_LENGTH if scheme.event else 0)
        if ti.static(scheme.recording):
            end = end + m.integers[Header.dofs]
        return end

    @ti.func
    def chord_place(m: ti.template(), matrix, keep, rows, lane):
        """Where the factors for corrections stand: in the lane's only row of the tape, or behind all ``rows`` that are kept."""
        size = m.integers[Header.unknowns]
        return ti.select(keep == 0, matrix, rows + lane * size * (size + 1))

    @ti.func
    def scratch_parts(m: ti.template(), base):
        """Of a lane's scratch: where the vector and the adjoints of q and v begin."""
        vector = base + m.integers[Header.vector]
        q_bar = vector + m.integers[Header.unknowns]
        return vector, q_bar, q_bar + m.integers[Header.coordinates]

    @ti.func
    def subtract_bar(m: ti.template(), place, x):
        """From the adjoint of an input."""
        m.inputs_bar[place] = m.inputs_bar[place] - x

    return SimpleNamespace(
        link_indices=link_indices, link_constants=link_constants, link_inputs=link_inputs, link_block=link_block,
        end_dof=end_dof, dof_indices=dof_indices, dof_work=dof_work, geometry_indices=geometry_indices,
        geometry_constants=geometry_constants, geometry_inputs=geometry_inputs, pair_indices=pair_indices,
        pair_places=pair_places, dry_friction=dry_friction, smooth_matrix=smooth_matrix,
        row_parts=row_parts, row_length=row_length, chord_place=chord_place, scratch_parts=scratch_parts,
        subtract_bar=subtract_bar,
    )  # fmt: skip
