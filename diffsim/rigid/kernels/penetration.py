"""Notes how deep geometries are in each other, for `diffsim.rigid.penetration_report`."""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace

from diffsim.compiler import ti
from diffsim.rigid.rigid_records import Header, PairConstants, Status

MICROMETRES = 1e6  # in a metre
DEEPEST = 2e9  # that fits an integer


def penetration_stage(real) -> SimpleNamespace:
    """``limit`` of a pair, and ``note`` beyond it."""

    @ti.func
    def limit(m: ti.template(), pair):
        """The depth above which a pair's penetration is noted, m."""
        return m.reals[m.integers[Header.pair_constants] + PairConstants.SIZE * pair + PairConstants.reported_depth]

    @ti.func
    def note(m: ti.template(), at: ti.template(), pair, depth):
        """Of a depth beyond the pair's limit: keeps the deepest of the launch in the environment's status."""
        status = at.environment * Status.SIZE
        whole = ti.cast(ti.min(depth * MICROMETRES, DEEPEST), ti.i32)
        if whole > m.status[status + Status.depth]:
            m.status[status + Status.depth] = whole
            m.status[status + Status.deep_pair] = pair
            m.status[status + Status.deep_step] = at.step

    return SimpleNamespace(limit=limit, note=note)
