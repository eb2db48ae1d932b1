"""Trials in a process of their own each group, so that one which hangs or takes all memory ends alone."""

from __future__ import annotations

import multiprocessing
import os
import resource
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.bad_inputs.judging import Trial, Verdict, judged
from benchmarks.bad_inputs.tables import all_trials

MEMORY = 12 * 2**30  # bytes that a worker may have
START_SECONDS = 240.0  # until its first answer: imports, on a busy machine


def results(seconds: float, only: str = "") -> Iterator[tuple[Trial, Verdict]]:
    """Every trial, and how it was judged; those that take longer than `seconds` hang. `only` is part of their targets' names.

    Raises:
        RuntimeError: a call with right arguments failed, which the trials start from.
    """
    wanted = [number for number, trial in enumerate(all_trials()[1]) if only in trial.target]
    trials = all_trials()[1]
    context = multiprocessing.get_context("spawn")
    while wanted:
        ours, theirs = context.Pipe()
        worker = context.Process(target=_work, args=(theirs, wanted, only), daemon=True)
        worker.start()
        theirs.close()
        try:
            limit = START_SECONDS
            while wanted:
                if not ours.poll(limit):
                    yield trials[wanted.pop(0)], Verdict("hang", f"no answer in {limit:g} s")
                    break
                try:
                    answer: Any = ours.recv()
                except EOFError:
                    yield trials[wanted.pop(0)], Verdict("ugly", "the process died")
                    break
                if isinstance(answer, str):
                    if answer != "ready":
                        raise RuntimeError(f"a call with right arguments failed: {answer}")
                    limit = seconds
                    continue
                yield trials[wanted.pop(0)], Verdict(*answer)
        finally:
            worker.kill()
            worker.join()


def _work(answers: Connection, wanted: Sequence[int], only: str) -> None:
    os.environ.setdefault("DIFFSIM_NUM_THREADS", "1")
    import logging

    import torch

    logging.getLogger().addHandler(logging.NullHandler())  # warnings of the right calls
    torch.set_num_threads(1)
    right, trials = all_trials()
    failed = ""
    for target, call in right.items():
        if only in target and not failed:
            try:
                call()
            except Exception as error:
                failed = f"{target}: {type(error).__name__}: {error}"
    answers.send(failed or "ready")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for number in wanted:
        answers.send(tuple(judged(trials[number])))
