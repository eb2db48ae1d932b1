"""How many threads work on one environment: it has a fixed number of parts, with one thread for each or one for all."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

# a team that got less than this part of its threads' time would wait at its barriers most of the time
LEAST_SHARE = 0.75
LONGEST_PAUSE = 1024


class Teams:
    """Assigns ``lanes`` threads to environments.

    The number of parts depends on the batch and the number of lanes alone, and the result on the number of parts alone. Workers
    spin at barriers: fast when every worker has a core, very slow when other programs use the cores. Therefore the CPU time
    of each team is measured. After a launch that got too little of it, one worker does all parts for a number of launches,
    which doubles with every further such launch. One worker also does all parts where the compiler has fewer than ``lanes``
    ``threads``: a team would wait for a worker that never comes.
    """

    def __init__(self, lanes: int, threads: int):
        self.lanes = lanes
        self._together = lanes <= threads
        self._pause = 0
        self._next_pause = 8
        self._known: set[str] = set()

    def parts(self, num_envs: int) -> int:
        """Into how many parts an environment's particles are cut."""
        return max(self.lanes // num_envs, 1)

    @contextmanager
    def at_work(self, kernel: str, parts: int) -> Iterator[tuple[int, int]]:
        """(lanes, workers in a team) for one launch. A kernel's first launch compiles it and is not judged."""
        teams = self.lanes // parts
        if parts == 1 or not self._together or self._pause > 0:
            self._pause = max(self._pause - 1, 0)
            yield teams, 1
            return
        wall, cpu = time.perf_counter(), time.process_time()
        yield teams * parts, parts
        if kernel not in self._known:
            self._known.add(kernel)
            return
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        if wall > 2e-3 and cpu < LEAST_SHARE * wall * teams * parts:
            self._pause, self._next_pause = self._next_pause, min(2 * self._next_pause, LONGEST_PAUSE)
        elif wall > 2e-3:
            self._next_pause = 8
