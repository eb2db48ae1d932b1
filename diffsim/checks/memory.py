"""Memory of this machine, and requests that cannot fit it."""

from __future__ import annotations

import os
from pathlib import Path

from diffsim.errors import InputError

CONTAINER_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def machine_memory() -> float:
    """Bytes of memory that this process can have: the machine's, or its container's; infinite where neither is known."""
    found = [float("inf")]
    if hasattr(os, "sysconf"):
        found.append(float(os.sysconf("SC_PHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE"))
    for file in CONTAINER_LIMITS:
        try:
            found.append(float(file.read_text()))
        except (OSError, ValueError):  # there is none, or it is "max"
            continue
    return min(found)


def check_memory(request: str, needed: float, what: str) -> None:
    """That something of ``needed`` bytes fits this machine's memory.

    Args:
        request: what the user gave: "num_envs=1000000".
        what: what takes the memory: "a state".

    Raises:
        InputError: it does not.
    """
    memory = machine_memory()
    if needed > memory:
        raise InputError(f"{request} needs {needed / 1e9:.3g} GB for {what}, and this machine has {memory / 1e9:.3g} GB")
