"""The runs of one method on one task, in a process of their own.

    python -m benchmarks.suite.single_runs TASK METHOD SEED [SEED ...]

Prints a line of JSON for each seed. A run is judged by the solution it would be asked to play: its most probable latent,
its start with the best return, the mean of its distribution. It succeeds if that one, without noise, does so from at least half
of the held-out first states. The ways are the outcomes of all candidates (latents, starts) that succeed so.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import Any

import torch

from benchmarks.suite.families import CLOSED_LOOP, TASKS
from benchmarks.suite.methods import method_config
from benchmarks.suite.pushes import PushedTask
from benchmarks.suite.suite_task import SuiteTask
from rpg import FixedHorizonEnvironment, Trainer, expected_success, policy_success
from rpg.training.evaluation import EVALUATION_SEED, chosen_latent
from tasks import find_task


def bench_environment(task: SuiteTask) -> FixedHorizonEnvironment:
    """The task at its bench setting."""
    made = find_task(task.name)(task.bench_envs, **task.bench)
    return PushedTask(made, task.pushes) if task.pushes else made


@torch.no_grad()
def idle_return(environment: FixedHorizonEnvironment) -> float:
    """The mean return of doing nothing, from the first states that runs are judged on."""
    state, total = environment.reset(EVALUATION_SEED), torch.zeros(environment.num_envs)
    for _ in range(environment.horizon):
        like = environment.observe(state)
        state, reward, _ = environment.step(state, like.new_zeros(environment.num_envs, environment.action_dim))
        total = total + reward
    return float(total.mean())


def compile_kernels(environment: FixedHorizonEnvironment) -> None:
    """Take one step and its gradient, so that no run's time contains the compiler's."""
    state = environment.reset(0)
    action = torch.zeros(environment.num_envs, environment.action_dim, requires_grad=True)
    _, reward, _ = environment.step(state, action)
    if reward.requires_grad:
        reward.sum().backward()


def one_run(task: SuiteTask, environment: FixedHorizonEnvironment, method: str, seed: int) -> dict[str, Any]:
    """Train one method with one seed, and what came of it in plain numbers.

    Raises:
        KeyboardInterrupt: Ctrl-C; half a run is no result.
    """
    config = method_config(task, method, seed=seed, num_envs=task.bench_envs, iterations=task.bench_iterations)
    trainer, begun = Trainer(environment, config), time.process_time()
    done = trainer.train()
    if done.interrupted:
        raise KeyboardInterrupt
    last, evaluations = done.history[-1], done.evaluations
    return {
        "method": method,
        "seed": seed,
        "success": policy_success(evaluations),
        "expected_success": expected_success(evaluations),
        "ways": sorted({each.outcome for each in evaluations if each.succeeded and each.outcome >= 0}),
        "return": chosen_latent(evaluations).episode_return,
        "simulator_steps": last.simulator_steps,
        "backward_steps": last.backward_steps,
        "seconds": round(last.seconds, 2),
        "processor_seconds": round(time.process_time() - begun, 2),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def main() -> None:
    key, method, *seeds = sys.argv[1:]
    torch.set_num_threads(1)
    task = {**TASKS, **CLOSED_LOOP}[key]
    environment = bench_environment(task)
    compile_kernels(environment)
    idle = idle_return(environment)
    for seed in seeds:
        run = one_run(task, environment, method, int(seed))
        print(json.dumps({"task": task.key, **run, "idle_return": idle, "setting": task.bench_setting}), flush=True)


if __name__ == "__main__":
    main()
