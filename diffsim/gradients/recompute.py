"""Backward recomputes what forward did not keep, a chunk at a time, so that what it keeps meanwhile fits in a budget."""

from __future__ import annotations

from collections.abc import Iterator


def chunk_size(unit: int, budget: int, *, multiple: int = 1) -> int:
    """How many things of ``unit`` bytes each fit in ``budget`` bytes: a multiple of ``multiple``, and that at least."""
    return max(budget // unit // multiple, 1) * multiple


def chunks(count: int, size: int) -> Iterator[slice]:
    """0 to ``count`` in slices of ``size``, the last one shorter: for things that do not depend on each other."""
    for begin in range(0, count, size):
        yield slice(begin, min(begin + size, count))


def chunks_from_the_end(count: int, size: int) -> Iterator[slice]:
    """0 to ``count`` in slices of ``size``, last to first: for steps, each of which depends on those before."""
    for end in range(count, 0, -size):
        yield slice(max(end - size, 0), end)
