"""MCMC policy optimisation against SAC: returns, whether the divergence is held at its target, and how many modes are kept.

    python -m benchmarks.mcmc_policies --row pendulum_hmc bandit_hmc --seeds 3   rows; goes on where it was stopped
    python -m benchmarks.mcmc_policies --all --jobs 2                            every row that is missing
    python -m benchmarks.mcmc_policies --summary --json                          what the stored results say; runs nothing
    python -m benchmarks.mcmc_policies --table docs/mcmc_policies.md             its tables, from the stored results
    python -m benchmarks.mcmc_policies --speed --table docs/mcmc_policies.md     CPU milliseconds of an update, on one thread

A row is a problem and a method. All methods have the same networks, batches, steps and updates on a problem; on Hopper,
HalfCheetah and Ant they are chosen so that a run of SAC takes a quarter of an hour on an idle core at most. Runs are in
runs/benchmarks/mcmc_policies, with checkpoints, lines of results in benchmarks/results/mcmc_policies.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
import tyro
from rich.console import Console

import rpg
from benchmarks.processes import print_table
from benchmarks.rpg import methods, streaming_runs
from benchmarks.rpg.streaming_runs import Experiment, cpu_milliseconds, reached, run_processes, run_single
from rpg.algorithms import build_algorithm
from rpg.algorithms.hmc_policy import HMCPolicyConfig
from rpg.algorithms.langevin_flow import LangevinFlowConfig
from rpg.algorithms.sac import SAC, SACConfig
from rpg.algorithms.transported_actor import TransportedActorConfig
from rpg.environments.bandit import Bandit
from rpg.environments.multigoal import MultiGoal
from rpg.environments.whole_episodes import whole_episodes
from rpg.protocol import episode_end
from rpg.training.evaluation import EVALUATION_SEED, evaluate_latents
from rpg.training.trainer import Trainer

METHODS: Mapping[str, type[SACConfig]] = MappingProxyType(
    {"sac": SACConfig, "hmc": HMCPolicyConfig, "langevin": LangevinFlowConfig}
)
MEANING = {"sac": "SAC", "hmc": "HMC policy", "langevin": "Langevin flow"}
KEPT = 0.05
"""Share of the episodes from which on a mode counts as kept."""
PAPER = {"hopper": 0.22, "cheetah": 0.12, "ant": 0.16}
"""Relative gain over SAC in the paper's Table 1; of which of its two methods it does not say."""


@dataclass(frozen=True)
class Problem:
    """An environment, and how all methods are run on it."""

    title: str
    environment: Callable[[int | None], Any]
    """With so many episodes side by side; None: as training has them."""
    settings: Mapping[str, Any]
    """Of all methods."""
    steps: int
    """Of a run."""
    block: int
    """Steps of an iteration."""
    seeds: int = 3
    modes: int = 0
    """How many the problem has, if they are counted."""


def gymnasium_problem(name: str) -> Callable[[int | None], Any]:
    """An environment of Gymnasium, one unless more are wanted."""
    return lambda count: rpg.from_gymnasium(name, count or 1)


def sized(kind: type) -> Callable[[int | None], Any]:
    """An environment of this library."""
    return lambda count: kind() if count is None else kind(num_envs=count)


MUJOCO: Mapping[str, Any] = MappingProxyType(
    {"steps": 2000, "update_interval": 2, "random_steps": 10_000, "hidden": (128, 128)}
)
PENDULUM: Mapping[str, Any] = MappingProxyType({"steps": 500, "update_interval": 2, "hidden": (64, 64), "learning_rate": 0.001})
PROBLEMS: Mapping[str, Problem] = MappingProxyType({
    "pendulum": Problem("Pendulum-v1", gymnasium_problem("Pendulum-v1"), PENDULUM, 6_000, 500),
    "bandit": Problem("bandit", sized(Bandit), {**methods.SAC, "updates": 8}, 128 * 200, 128, modes=2),
    "four_goals": Problem("four goals", sized(MultiGoal), methods.SAC, 480 * 150, 480, modes=4),
    "hopper": Problem("Hopper-v5", gymnasium_problem("Hopper-v5"), MUJOCO, 300_000, 2000),
    "cheetah": Problem("HalfCheetah-v5", gymnasium_problem("HalfCheetah-v5"), MUJOCO, 300_000, 2000),
    "ant": Problem("Ant-v5", gymnasium_problem("Ant-v5"), MUJOCO, 300_000, 2000, seeds=1),
})  # fmt: skip
COMPARED = ("hopper", "cheetah", "ant")


@dataclass(frozen=True)
class Options(streaming_runs.Options):
    """What to do."""

    speed: bool = False
    """Measure updates instead."""


# Runs -------------------------------------------------------------------------------------------------------


@torch.no_grad()
def modes_of(trainer: Trainer, problem: Problem, count: int = 256) -> list[float]:
    """Share of the episodes, with the policy's noise, that succeed with each outcome; of the bandit those whose reward is above
    0.9, on the peak, or that end on the upper part of the hill."""
    env = problem.environment(count)
    policy, generator = trainer.algorithm.policy, torch.Generator().manual_seed(EVALUATION_SEED)
    state, latent, info = env.reset(EVALUATION_SEED), torch.zeros(count, dtype=torch.int64), {}
    for step in range(env.horizon):
        noise = torch.randn(count, env.action_dim + policy.extra_noise, generator=generator)
        state, _, info = env.step(state, policy(env.observe(state), latent, step, 1.0, noise).action)
    end = episode_end(info, torch.zeros(count))
    if isinstance(env, Bandit):
        arm = env.observe(state)[:, 0]
        return [float(each.double().mean()) for each in ((arm > 0.43) & (arm < 0.875), end.success)]
    return [float((end.success & (end.outcome == mode)).double().mean()) for mode in range(problem.modes)]


def measured(problem: Problem) -> Callable[[Trainer, int], dict[str, Any]]:
    """What a line holds: the mean return of the episodes that training collected in the last fifth of the steps so far, the
    return of 10 episodes without noise now, the divergence's target and [steps, return, divergence, beta] of each iteration."""

    def of(trainer: Trainer, steps: int) -> dict[str, Any]:
        names = ("divergence", "beta", "alpha", "policy_entropy", "moved")
        curve = [
            [row.simulator_steps, round(row.return_mean, 3), *map(row.terms.get, names)]  # None before the first update
            for row in trainer.history
        ]
        late = [row.return_mean for row in trainer.history if row.simulator_steps > 0.8 * steps]
        test = whole_episodes(problem.environment(10))
        latents, probs = trainer.algorithm.candidates()
        (played,) = evaluate_latents(test, trainer.algorithm.policy, latents, probs)
        config = trainer.config
        target = config.divergence * test.action_dim if isinstance(config, TransportedActorConfig) else None
        run = {"return": float(np.mean(late)), "played": played.episode_return, "target": target, "curve": curve}
        return {**run, "modes": modes_of(trainer, problem)} if problem.modes else run

    return of


def experiment(name: str) -> Experiment:
    """The rows of a problem."""
    problem = PROBLEMS[name]
    iterations = problem.steps // problem.block
    return Experiment(
        name="mcmc_policies",
        arms={f"{name}_{method}": kind(iterations=iterations, **problem.settings) for method, kind in METHODS.items()},
        environment=lambda arm: problem.environment(None),
        measured=measured(problem),
        summary=tuple(f"{name}_{method}" for method in METHODS),
        steps=problem.steps,
        quick=2 * problem.block,
        block=problem.block,
        stored=problem.block * max(1, iterations // 4),
    )


EXPERIMENTS: Mapping[str, Experiment] = MappingProxyType({name: experiment(name) for name in PROBLEMS})


# Results ----------------------------------------------------------------------------------------------------


def runs_of(name: str, method: str, options: streaming_runs.Options) -> list[dict[str, Any]]:
    """The stored runs of a row that have got to their end."""
    return reached(EXPERIMENTS[name], options)[f"{name}_{method}"]


def divergence_error(run: Mapping[str, Any]) -> float:
    """Mean of |D - target| / target over the iterations of a run's last half."""
    half = [row[2] for row in run["curve"] if row[0] > run["steps"] / 2 and row[2] is not None]
    return float(np.mean([abs(each - run["target"]) / run["target"] for each in half]))


def gain(name: str, method: str, options: streaming_runs.Options) -> float | None:
    """Relative gain of the mean return over SAC's on the seeds that both have; None where none is there."""
    own, base = ({run["seed"]: run["return"] for run in runs_of(name, each, options)} for each in (method, "sac"))
    seeds = own.keys() & base.keys()
    if not seeds:
        return None
    ours, theirs = (float(np.mean([found[seed] for seed in seeds])) for found in (own, base))
    return (ours - theirs) / abs(theirs)


def summary(options: streaming_runs.Options) -> dict[str, float | None]:
    """Gains of the HMC policy over SAC, and the error of its divergence on Pendulum; None where nothing was run."""
    errors = [divergence_error(run) for run in runs_of("pendulum", "hmc", options)]
    gains = {f"{name}_gain": gain(name, "hmc", options) for name in COMPARED}
    return {**gains, "kl_error": float(np.mean(errors)) if errors else None}


RETURN_HEADINGS = (
    "problem", "method", "steps", "seeds", "return", "single seeds", "without noise", "gain", "paper", "CPU minutes a run"
)  # fmt: skip
DIVERGENCE_HEADINGS = ("problem", "method", "seeds", "target", "divergence", "error", "beta", "step in std")
MODE_HEADINGS = ("problem", "method", "seeds", "modes kept", "of", "shares of the first seed", "return without noise")


def return_rows(options: streaming_runs.Options) -> list[tuple[str, ...]]:
    """A row for each problem and method."""
    rows: list[tuple[str, ...]] = []
    for name, problem in PROBLEMS.items():
        if problem.modes:
            continue
        for method in METHODS:
            runs = runs_of(name, method, options)
            paper = f"{PAPER[name]:+.0%}" if name in PAPER and method != "sac" else ""
            head = (problem.title, MEANING[method], f"{EXPERIMENTS[name].steps_of(options):,}")
            if not runs:
                rows.append((*head, f"0 of {problem.seeds}", "not run", "", "", "", paper, ""))
                continue
            own = None if method == "sac" else gain(name, method, options)
            whole = [run["cpu_seconds"] / 60 for run in runs if run["resumed_at"] == 0]
            values = [run["return"] for run in runs]
            rows.append((
                *head,
                f"{len(runs)} of {problem.seeds}",
                f"**{np.mean(values):.0f}**",
                ", ".join(f"{each:.0f}" for each in values),
                ", ".join(f"{run['played']:.0f}" for run in runs),
                "" if own is None else f"{own:+.0%}",
                paper,
                f"{np.mean(whole):.1f}" if whole else "",
            ))  # fmt: skip
    return rows


def divergence_rows(options: streaming_runs.Options) -> list[tuple[str, ...]]:
    """Of the runs that are there, over their last half."""
    rows: list[tuple[str, ...]] = []
    for name, problem in PROBLEMS.items():
        for method in METHODS:
            runs = [] if method == "sac" else runs_of(name, method, options)
            if not runs:
                continue
            late = np.array([
                np.mean([[row[2], row[3], row[6]] for row in run["curve"] if row[0] > run["steps"] / 2], axis=0) for run in runs
            ])  # fmt: skip
            error = np.mean([divergence_error(run) for run in runs])
            divergence, beta, moved = (f"{each:.3g}" for each in late.mean(0))
            head = (problem.title, MEANING[method], str(len(runs)), f"{runs[0]['target']:.3g}")
            rows.append((*head, divergence, f"**{error:.1%}**", beta, moved))
    return rows


def mode_rows(options: streaming_runs.Options) -> list[tuple[str, ...]]:
    """Of the problems whose modes are counted."""
    rows: list[tuple[str, ...]] = []
    for name, problem in PROBLEMS.items():
        for method in METHODS if problem.modes else ():
            runs = runs_of(name, method, options)
            head = (problem.title, MEANING[method], f"{len(runs)} of {problem.seeds}")
            if not runs:
                rows.append((*head, "not run", str(problem.modes), "", ""))
                continue
            kept = [sum(share >= KEPT for share in run["modes"]) for run in runs]
            shares = ", ".join(f"{each:.2f}" for each in runs[0]["modes"])
            played = ", ".join(f"{run['played']:.2f}" for run in runs)
            rows.append((*head, f"**{np.mean(kept):.1f}**", str(problem.modes), shares, played))
    return rows


def report(options: Options) -> None:
    """The tables, and with --json the summary."""
    console = Console(highlight=False, soft_wrap=True)
    print_table(RETURN_HEADINGS, return_rows(options), console, options.table, "mcmc_returns")
    print_table(DIVERGENCE_HEADINGS, divergence_rows(options), console, options.table, "mcmc_divergence")
    print_table(MODE_HEADINGS, mode_rows(options), console, options.table, "mcmc_modes")
    if options.json:
        print(json.dumps(summary(options)))


# Speed ------------------------------------------------------------------------------------------------------


def update_time(name: str, method: str, updates: int = 40) -> dict[str, float]:
    """CPU milliseconds of an update, and of a step of the environment with the choice of its action."""
    problem = PROBLEMS[name]
    config = replace(EXPERIMENTS[name].arms[f"{name}_{method}"], steps=300, update_interval=1, random_steps=300)
    env = problem.environment(None)
    algorithm = build_algorithm(env, config, rpg.check_environment(env))
    assert isinstance(algorithm, SAC)
    algorithm.iterate(0)

    def collect() -> None:
        algorithm.collector.step(algorithm.choose(algorithm.collector.situation))

    return cpu_milliseconds({"update": lambda: algorithm.update(1), "collection": collect}, updates)


def speed_rows() -> list[tuple[str, ...]]:
    """On Hopper, of each method."""
    rows: list[tuple[str, ...]] = []
    problem = PROBLEMS["hopper"]
    for method in METHODS:
        own = update_time("hopper", method)
        updates = problem.steps / problem.settings["update_interval"]
        minutes = (updates * own["update"] + problem.steps * own["collection"]) / 60_000
        rows.append((MEANING[method], f"{own['update']:.1f}", f"{own['collection']:.2f}", f"{minutes:.0f}"))
    return rows


SPEED_HEADINGS = ("method", "update, ms", "collection, ms", "a run, minutes")


# The command ------------------------------------------------------------------------------------------------


def main(options: Options) -> int:
    arms = {arm: each for each in EXPERIMENTS.values() for arm in each.arms}
    for arm in (*options.row, *([] if options.single is None else [options.single.split(":")[0]])):
        if arm not in arms:
            print(f"error: '{arm}' was given; allowed are {', '.join(arms)}", file=sys.stderr)
            return 2
    torch.set_num_threads(1)
    if options.speed:
        print_table(SPEED_HEADINGS, speed_rows(), Console(highlight=False, soft_wrap=True), options.table, "mcmc_speed")
        return 0
    if options.single is not None:
        arm, seed = options.single.split(":")
        run_single(arms[arm], arm, int(seed), options)
        return 0
    for name, each in EXPERIMENTS.items():
        wanted = [arm for arm in each.arms if options.all or arm in options.row]
        if wanted:
            run_processes(each, wanted, replace(options, seeds=min(options.seeds, PROBLEMS[name].seeds)))
    report(options)
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
