"""Trials in a process that is started anew where one hangs or dies."""

from __future__ import annotations

import logging
import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.loading.model_packages import Model

START_SECONDS = 300.0  # until a process's first answer: imports and compiled kernels, on a busy machine
EXACT, CONSTRAINED = 1e-9, 1e-6  # how far apart robots may be from MuJoCo's, without and with constraints

Result = dict[str, Any]


def results(models: Sequence[Model], seconds: float) -> Iterator[Result]:
    """Of each model as it ends: "verdict" is "loaded", "refused" (with one line of reason), "crashed" or "hung"."""
    wanted = list(models)
    context = multiprocessing.get_context("spawn")
    while wanted:
        ours, theirs = context.Pipe()
        worker = context.Process(target=_work, args=(theirs, wanted), daemon=True)
        worker.start()
        theirs.close()
        limit = START_SECONDS
        try:
            while wanted:
                model, began = wanted[0], time.perf_counter()
                result: Result = {"kind": model.kind, "package": model.package, "name": model.name}
                alive = False
                if not ours.poll(limit):
                    result |= {"verdict": "hung", "reason": f"no answer in {limit:g} s"}
                else:
                    try:
                        result |= ours.recv()
                        alive = True
                    except EOFError:
                        result |= {"verdict": "crashed", "reason": "the process died"}
                del wanted[0]
                yield result | {"seconds": round(time.perf_counter() - began, 2)}
                limit = seconds
                if not alive:
                    break
        finally:
            worker.kill()
            worker.join()


def _work(answers: Connection, wanted: Sequence[Model]) -> None:
    os.environ.setdefault("DIFFSIM_NUM_THREADS", "1")
    import torch

    torch.set_num_threads(1)
    for model in wanted:
        answers.send(trial(model))


class _Warnings(logging.Handler):
    """Those of diffsim."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def trial(model: Model) -> Result:
    """Loads a model, and compares it with MuJoCo if it is a robot."""
    import diffsim as ds

    heard = _Warnings()
    logger = logging.getLogger("diffsim")
    logger.addHandler(heard)
    logger.propagate = False
    try:
        try:
            if model.kind == "mesh":
                ds.TriangleMesh.from_file(model.path)
                return {"verdict": "loaded", "warnings": heard.texts}
            ds.load_articulation(model.path)
        except ds.InputError as error:
            verdict = "refused" if "\n" not in str(error) and str(error) else "crashed"
            return {"verdict": verdict, "reason": str(error)}
        except Exception as error:
            return {"verdict": "crashed", "reason": f"{type(error).__name__}: {error}"}
        warnings = list(heard.texts)
        return {"verdict": "loaded", "warnings": warnings, **_compared(model)}
    finally:
        logger.removeHandler(heard)


def _compared(model: Model) -> Result:
    import diffsim as ds
    from benchmarks.loading.mujoco_agreement import NoReferenceError, disagreement

    result: Result = {}
    articulation = ds.load_articulation(model.path, visuals=False, exact_masses=False)
    names = [("apart", "not_compared", False)]
    if articulation.constraints:
        names.append(("constrained_apart", "constrained_not_compared", True))
    for name, missing, constrained in names:
        try:
            result[name] = disagreement(model.path, articulation, constrained=constrained)
        except NoReferenceError as error:
            result[missing] = str(error)
        except ds.InputError as error:
            result |= {missing: f"refused here: {error}", "not_simulated": True}
        except Exception as error:  # a robot that loads and does not run
            result |= {name: float("inf"), "failed": f"{type(error).__name__}: {error}"}
    return result
