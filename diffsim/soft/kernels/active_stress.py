"""The active stress of muscles, added to what a law says; forward beside adjoint.

    tau += T (d d^T + p J 1),   d = F m,   J = det F
T is the muscle's tension; m the direction of its fibres at rest and p = 0, or m = 0 and p = 1 for a muscle without fibres
(`Fibre`). The solver holds G = F R (`constitutive.py`): d = G n with n = R^T m, and J = det G. The adjoint goes back through
the substeps without R: R_new = R V, hence n = V n_new. R counts as constant, and so does n.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any, NamedTuple

from diffsim.compiler import compile_time, ti
from diffsim.soft.soft_records import Component, Fibre, Frame, Sizes

MUSCLE_ARRAYS = 24  # that a stage takes


@compile_time
class Contraction(NamedTuple):
    """A tile's muscles, tile arrays: G (9), n (3), d (3), p (1), T in Pa (1), where 0 says that a particle has none."""

    G: Any
    n: Any
    d: Any
    pressure: Any
    tension: Any


def active_stress(
    real: Any, tile: SimpleNamespace, memory: SimpleNamespace, muscled: bool, *, shared_grid: bool
) -> SimpleNamespace:
    """``contract`` for the way to the grid; ``orient``, ``recall`` and ``adjoint`` for the way back; of the tile arrays and
    `tile_memory`. ``muscled``: there are muscles; ``shared_grid``: several threads add to the adjoint of a tension."""
    width = tile.width

    @compile_time
    def contraction() -> Any:
        """Arrays for one, where there are muscles."""
        return muscled and Contraction(tile.local(9), tile.local(3), tile.local(3), tile.local(1), tile.local(1))

    @ti.func
    def muscle_of(sizes: ti.template(), particle):
        """The number of a particle's muscle, or -1."""
        return sizes[sizes[Sizes.first_muscle] + particle]

    @ti.func
    def tensions(soft: ti.template(), environment):
        """Where the muscles' tensions begin in rows of inputs or of their adjoints."""
        return environment * soft.sizes[Sizes.inputs] + soft.sizes[Sizes.tensions]

    @ti.func
    def load_tensions(soft: ti.template(), tile_index, environment, q: ti.template()):
        """p and T of a tile's particles. Returns how many of its lanes have a muscle."""
        first, count, _body, _law_index = memory.members(soft.sizes, tile_index)
        at, active = tensions(soft, environment), 0
        for t in range(width):
            particle = first + ti.min(t, count - 1)
            muscle = muscle_of(soft.sizes, particle)
            tension = ti.cast(0.0, real)
            if muscle >= 0:
                tension = soft.inputs[at + muscle]
                active += 1
            q.tension[0][t] = tension
            q.pressure[0][t] = soft.constants[soft.sizes[Sizes.fibres] + Fibre.SIZE * particle + Fibre.pressure]
        return active

    @ti.func
    def load_fibres(soft: ti.template(), tile_index, R: ti.template(), n: ti.template()):
        """n = R^T m."""
        first, count, _body, _law_index = memory.members(soft.sizes, tile_index)
        for t in range(width):
            at = soft.sizes[Sizes.fibres] + Fibre.SIZE * (first + ti.min(t, count - 1)) + Fibre.direction
            m = [soft.constants[at + d] for d in ti.static(range(3))]
            for i in ti.static(range(3)):
                n[i][t] = R[i][t] * m[0] + R[3 + i][t] * m[1] + R[6 + i][t] * m[2]

    @ti.func
    def determinant(G: ti.template(), t):
        return (
            G[0][t] * (G[4][t] * G[8][t] - G[5][t] * G[7][t])
            + G[1][t] * (G[5][t] * G[6][t] - G[3][t] * G[8][t])
            + G[2][t] * (G[3][t] * G[7][t] - G[4][t] * G[6][t])
        )

    @ti.func
    def add_stress(q: ti.template(), tau: ti.template()):
        G, n, d = ti.static(q.G, q.n, q.d)
        for t in range(width):
            for i in ti.static(range(3)):
                d[i][t] = G[3 * i][t] * n[0][t] + G[3 * i + 1][t] * n[1][t] + G[3 * i + 2][t] * n[2][t]
        for t in range(width):
            T = q.tension[0][t]
            all_round = T * q.pressure[0][t] * determinant(G, t)
            for i, j in ti.static(ti.ndrange(3, 3)):
                tau[3 * i + j][t] = tau[3 * i + j][t] + T * d[i][t] * d[j][t]
            for i in ti.static(range(3)):
                tau[4 * i][t] = tau[4 * i][t] + all_round

    @ti.func
    def contract(soft: ti.template(), at: ti.template(), step: ti.template(), G: ti.template(), R: ti.template(),
                 tau: ti.template()):  # fmt: skip
        """Add a tile's active stress to tau, given the new G and R."""
        q = ti.static(contraction())
        if load_tensions(soft, at.tile, step.environment, q) > 0:
            load_fibres(soft, at.tile, R, q.n)
            for t in range(width):
                for c in ti.static(range(9)):
                    q.G[c][t] = G[c][t]
            add_stress(q, tau)

    @ti.func
    def orient(soft: ti.template(), tape_bars: ti.template(), tile_index, bar, frame):
        """Before the way back: n as the control step left it to its place beside the tile's adjoints, which have no other use
        for it."""
        ti.static(tile.release())
        R, n = ti.static(tile.local(9), tile.local(3))
        memory.load(soft.frames, frame + Frame.rotation, R)
        load_fibres(soft, tile_index, R, n)
        memory.store(tape_bars, bar + Component.stress, n)

    @ti.func
    def recall(soft: ti.template(), bars: ti.template(), at: ti.template(), step: ti.template(), q: ti.template(),
               tau: ti.template()):  # fmt: skip
        """What ``contract`` did, into a `Contraction`. Returns how many of the tile's lanes have a muscle."""
        active = load_tensions(soft, at.tile, step.environment, q)
        if active > 0:
            memory.load(soft.tape, at.new + Component.F, q.G)
            memory.load(bars.tape, at.bar + Component.stress, q.n)
            add_stress(q, tau)
        return active

    @ti.func
    def adjoint(soft: ti.template(), bars: ti.template(), at: ti.template(), step: ti.template(), q: ti.template(),
                V: ti.template(), tau_bar: ti.template(), G_bar: ti.template()):  # fmt: skip
        """Reverse of ``contract``: adds to G_bar and to the tensions' adjoints, and carries n back over the substep."""
        G, n, d = ti.static(q.G, q.n, q.d)
        T_bar, d_bar = ti.static(tile.local(1), tile.local(3))
        for t in range(width):
            for i in ti.static(range(3)):
                d_bar[i][t] = (
                    (tau_bar[3 * i][t] + tau_bar[i][t]) * d[0][t]
                    + (tau_bar[3 * i + 1][t] + tau_bar[3 + i][t]) * d[1][t]
                    + (tau_bar[3 * i + 2][t] + tau_bar[6 + i][t]) * d[2][t]
                )
        for t in range(width):
            T, trace = q.tension[0][t], q.pressure[0][t] * (tau_bar[0][t] + tau_bar[4][t] + tau_bar[8][t])
            along = d_bar[0][t] * d[0][t] + d_bar[1][t] * d[1][t] + d_bar[2][t] * d[2][t]
            T_bar[0][t] = 0.5 * along + trace * determinant(G, t)
            # the derivative of J by G_ij is the cofactor
            for i, j in ti.static(ti.ndrange(3, 3)):
                a, b = ti.static((i + 1) % 3, (i + 2) % 3)
                k, m = ti.static((j + 1) % 3, (j + 2) % 3)
                cofactor = G[3 * a + k][t] * G[3 * b + m][t] - G[3 * a + m][t] * G[3 * b + k][t]
                G_bar[3 * i + j][t] = G_bar[3 * i + j][t] + T * (d_bar[i][t] * n[j][t] + trace * cofactor)
        first, count, _body, _law_index = memory.members(soft.sizes, at.tile)
        begin = tensions(soft, step.inputs_bar)
        for t in range(count):
            muscle = muscle_of(soft.sizes, first + t)
            if muscle >= 0:
                if ti.static(shared_grid):
                    ti.atomic_add(bars.inputs[begin + muscle], T_bar[0][t])
                else:
                    bars.inputs[begin + muscle] = bars.inputs[begin + muscle] + T_bar[0][t]
        for t in range(width):
            for i in ti.static(range(3)):
                d[i][t] = V[3 * i][t] * n[0][t] + V[3 * i + 1][t] * n[1][t] + V[3 * i + 2][t] * n[2][t]
        memory.store(bars.tape, at.bar + Component.stress, d)

    return SimpleNamespace(contraction=contraction, contract=contract, orient=orient, recall=recall, adjoint=adjoint)
