"""The runs of one method on one problem, in a process of their own.

    python -m benchmarks.multimodal.single_runs PROBLEM METHOD BUDGET SEED [SEED ...]

Prints a line of JSON for each seed. A run is judged by the solution it would be asked to play, its most probable latent (the
best start, the best elite): success and return, without noise, from held-out first states. Ways are counted among the episodes
that it offers (`playing`), by their labels and by clusters of their curves; failed episodes count for the QD score alone.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
import torch

from benchmarks.multimodal.archive import Played, qd_score
from benchmarks.multimodal.clusters import clusters, resampled
from benchmarks.multimodal.methods import Budget, method_config
from benchmarks.multimodal.playing import played_by
from benchmarks.multimodal.problems import PROBLEMS, Problem
from benchmarks.multimodal.quality_diversity import QUALITY_DIVERSITY, found_by
from benchmarks.suite.single_runs import compile_kernels
from rpg import SettingError, Trainer, policy_success
from rpg.algorithms.streaming import StreamingConfig
from rpg.training.evaluation import chosen_latent

SHOWN, SHOWN_POINTS = 16, 24
"""Curves of a run that are stored for the picture, and points of each."""


def counts(problem: Problem, played: Played) -> dict[str, Any]:
    """Ways and the QD score of the episodes that a method offers."""
    good = played.success
    paths = [path for path, each in zip(played.paths, good, strict=True) if each]
    order = sorted(range(len(played.paths)), key=lambda n: not good[n])[:SHOWN]
    return {
        "episodes": len(good),
        "good": int(good.sum()),
        "labels": sorted({int(each) for each in played.outcome[good] if each >= 0}),
        "clusters": int(clusters(paths, problem.radius).max() + 1) if paths else 0,
        "qd_score": round(qd_score(problem, played), 3),
        "paths": [np.round(resampled(played.paths[n], SHOWN_POINTS), 2).tolist() for n in order],
    }


def one_run(problem: Problem, method: str, budget: Budget, seed: int) -> dict[str, Any]:
    """Train one method with one seed, and what came of it in plain numbers; or why it cannot run.

    Raises:
        KeyboardInterrupt: Ctrl-C; half a run is no result.
    """
    common: dict[str, Any] = {"problem": problem.name, "method": method, "budget": budget, "seed": seed}
    common["setting"] = problem.setting
    env = problem.make(problem.num_envs)
    if problem.task:
        compile_kernels(env)  # type: ignore[arg-type]
    begun, processor = time.monotonic(), time.process_time()
    if method in QUALITY_DIVERSITY:
        found = found_by(problem, env, method, iterations=problem.iterations, seed=seed)
        result = {"success": found.success, "return": found.chosen_return, "steps": found.steps, "gradient_steps": 0}
        played = found.elites
    else:
        try:
            trainer = Trainer(env, method_config(problem, method, env, budget=budget, seed=seed))
            done = trainer.train()
        except SettingError as error:
            return {**common, "cannot": str(error)}
        if done.interrupted:
            raise KeyboardInterrupt
        evaluations = list(done.evaluations)
        streams = isinstance(trainer.config, StreamingConfig)
        made = sum(row.terms.get("updates", 0.0) for row in done.history) if streams else len(done.history)
        result = {
            "success": policy_success(evaluations),
            "return": chosen_latent(evaluations).episode_return,
            "steps": done.history[-1].simulator_steps,
            "gradient_steps": 0 if method == "cem" else int(made),
        }
        played = played_by(problem, trainer, evaluations)
    spent = {"seconds": time.monotonic() - begun, "processor_seconds": time.process_time() - processor}
    rounded = {name: round(value, 2) for name, value in spent.items()}
    return {**common, **result, **rounded, **counts(problem, played)}


def main() -> None:
    name, method, budget, *seeds = sys.argv[1:]
    torch.set_num_threads(1)
    for seed in seeds:
        print(json.dumps(one_run(PROBLEMS[name], method, budget, int(seed))), flush=True)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
