"""This library's SAC and that of stable-baselines3 on environments of Gymnasium.

    python -m benchmarks.rpg_sac --problems pendulum --seeds 5 --json
    python -m benchmarks.rpg_sac --problems hopper cheetah --seeds 3 --json     about 5 minutes a run on an idle core
    python -m benchmarks.rpg_sac --speed 20 --json                              time of a step, both in turn in one process
    python -m benchmarks.rpg_sac --summary --json                               what the stored results say; runs nothing

Both have the same networks, learning rate, batch, random steps and update interval. A run is evaluated without noise now and
then, in 10 episodes of environments of its own; its score is the mean of the evaluations in the last fifth. Results are written
to runs/benchmarks/rpg_sac as they come, and runs that are there are not run again. Ours go on from their checkpoint; those of
stable-baselines3 begin anew.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import tyro
from rich.console import Console

import rpg
from benchmarks.processes import print_table, write_result
from rpg.algorithms import build_algorithm
from rpg.algorithms.sac import SACConfig
from rpg.environments.whole_episodes import whole_episodes
from rpg.training.checkpoint import CHECKPOINT_NAME
from rpg.training.evaluation import evaluate_latents
from rpg.training.metrics import IterationMetrics
from rpg.training.trainer import Trainer

EPISODES = 10
METHODS = ("ours", "sb3")


@dataclass(frozen=True)
class Problem:
    """An environment, and the settings that both methods have there."""

    environment: str
    steps: int
    evaluate_every: int
    config: SACConfig
    good: float
    """Return from which on the problem counts as solved."""


MUJOCO = SACConfig(iterations=50, steps=2000, update_interval=4, random_steps=10_000)
PROBLEMS = {
    "pendulum": Problem(
        "Pendulum-v1", 20_000, 1000, SACConfig(iterations=20, steps=1000, hidden=(64, 64), learning_rate=0.001), -200.0
    ),
    "hopper": Problem("Hopper-v5", 100_000, 10_000, MUJOCO, 1000.0),
    "cheetah": Problem("HalfCheetah-v5", 100_000, 10_000, MUJOCO, 2000.0),
}


@dataclass(frozen=True)
class Options:
    """What to run."""

    problems: tuple[str, ...] = tuple(PROBLEMS)
    methods: tuple[str, ...] = METHODS
    seeds: int = 3
    """Seeds of each method, 0, 1, ..."""
    steps: int | None = None
    """Fewer steps than the problem asks for, to try the script itself."""
    speed: int = 0
    """Measure the time of a step instead, in so many rounds of 400 steps of each method in turn."""
    summary: bool = False
    """Run nothing."""
    out: Path = Path("runs/benchmarks/rpg_sac")
    table: Path | None = None
    """Markdown file for the tables, in which they replace earlier ones."""
    json: bool = False
    """Print one JSON object on the last line."""


class Record:
    """A run's result file, rewritten at every evaluation."""

    def __init__(self, out: Path, problem: str, method: str, seed: int) -> None:
        self.path = out / f"{problem}-{method}-{seed}.json"
        fresh = {"problem": problem, "method": method, "seed": seed, "curve": [], "cpu_seconds": 0.0, "done": False}
        self.values: dict[str, Any] = json.loads(self.path.read_text()) if self.path.exists() else fresh
        self._began = time.process_time()

    def evaluated(self, steps: int, value: float) -> None:
        """Add the evaluation after so many steps, in place of later ones."""
        now = time.process_time()
        self.values["cpu_seconds"] += now - self._began
        self._began = now
        self.values["curve"] = [point for point in self.values["curve"] if point[0] < steps] + [[steps, value]]
        self.write()
        print(f"{self.path.stem}: {steps} steps, return {value:.1f}", flush=True)

    def write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_result(self.path, self.values)


def run_ours(problem: Problem, steps: int, seed: int, record: Record, folder: Path) -> None:
    """Train, from the checkpoint in `folder` if there is one."""
    assert problem.config.steps is not None
    config = replace(problem.config, seed=seed, iterations=math.ceil(steps / problem.config.steps))
    trainer = Trainer(
        rpg.from_gymnasium(problem.environment, 1),
        config,
        run_dir=folder,
        resume=(folder / CHECKPOINT_NAME).exists(),
        checkpoint_interval=5,
    )
    test = whole_episodes(rpg.from_gymnasium(problem.environment, EPISODES))

    def evaluate(metrics: IterationMetrics) -> None:
        if metrics.simulator_steps % problem.evaluate_every == 0:
            latents, probs = trainer.algorithm.candidates()
            (result,) = evaluate_latents(test, trainer.algorithm.policy, latents, probs)
            record.evaluated(metrics.simulator_steps, result.episode_return)

    if trainer.train(evaluate).interrupted:
        raise KeyboardInterrupt


def sb3_model(problem: Problem, seed: int) -> Any:
    """stable-baselines3's SAC with the same settings."""
    from stable_baselines3 import SAC

    config = problem.config
    return SAC(
        "MlpPolicy",
        problem.environment,
        learning_rate=config.learning_rate,
        buffer_size=config.buffer_size,
        learning_starts=config.random_steps,
        batch_size=config.batch_size,
        tau=config.target_rate,
        gamma=config.discount,
        train_freq=config.update_interval,
        gradient_steps=config.updates,
        policy_kwargs={"net_arch": list(config.hidden)},
        seed=seed,
        device="cpu",
    )


def run_sb3(problem: Problem, steps: int, seed: int, record: Record) -> None:
    """Train from the start."""
    import gymnasium
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.monitor import Monitor

    model, test = sb3_model(problem, seed), Monitor(gymnasium.make(problem.environment))
    for done in range(problem.evaluate_every, steps + 1, problem.evaluate_every):
        model.learn(problem.evaluate_every, reset_num_timesteps=False)
        value, _spread = evaluate_policy(model, test, n_eval_episodes=EPISODES)
        record.evaluated(done, float(value))


def run(name: str, method: str, seed: int, options: Options) -> None:
    """One run, unless its result is there."""
    problem = PROBLEMS[name]
    record = Record(options.out, name, method, seed)
    if record.values["done"]:
        return
    steps = options.steps or problem.steps
    if method == "ours":
        run_ours(problem, steps, seed, record, options.out / f"{name}-{seed}")
    else:
        run_sb3(problem, steps, seed, record)
    record.values["done"] = True
    record.write()


def step_times(name: str, rounds: int) -> dict[str, Any]:
    """CPU milliseconds a step (collection, updates) of both methods, the medians over rounds of 400 steps each in turn."""
    problem = replace(PROBLEMS[name], config=replace(PROBLEMS[name].config, random_steps=400, steps=400, iterations=rounds + 1))
    env = rpg.from_gymnasium(problem.environment, 1)
    algorithm = build_algorithm(env, problem.config, rpg.check_environment(env))
    model = sb3_model(problem, 0)
    times: dict[str, list[float]] = {method: [] for method in METHODS}
    for iteration in range(rounds + 2):
        began = time.process_time()
        algorithm.iterate(iteration)
        middle = time.process_time()
        model.learn(400, reset_num_timesteps=False)
        if iteration > 1:  # random steps, and the first updates
            times["ours"].append((middle - began) / 0.4)
            times["sb3"].append((time.process_time() - middle) / 0.4)
    medians = {method: statistics.median(own) for method, own in times.items()}
    return {**medians, "ratio": medians["ours"] / medians["sb3"]}


def score(result: dict[str, Any]) -> float:
    """Mean of the evaluations in the last fifth of a run."""
    last = result["curve"][-1][0]
    return statistics.mean(value for steps, value in result["curve"] if steps > 0.8 * last)


def solved_after(result: dict[str, Any], good: float) -> int | None:
    """Steps of the first evaluation that is good."""
    return next((steps for steps, value in result["curve"] if value >= good), None)


def summary(out: Path) -> dict[str, Any]:
    """What the stored results say. A run that is not done counts as missing."""
    found: dict[str, Any] = {}
    for name, problem in PROBLEMS.items():
        for method in METHODS:
            results = [json.loads(path.read_text()) for path in sorted(out.glob(f"{name}-{method}-*.json"))]
            results = [result for result in results if result["done"]]
            if not results:
                found[f"{name}_{method}"] = None
                continue
            scores = [score(result) for result in results]
            after = [solved_after(result, problem.good) for result in results]
            found[f"{name}_{method}"] = {
                "seeds": len(results),
                "steps": results[0]["curve"][-1][0],
                "mean": statistics.mean(scores),
                "spread": statistics.stdev(scores) if len(scores) > 1 else 0.0,
                "scores": scores,
                "solved": sum(each is not None for each in after),
                "solved_after": after,
                "cpu_seconds": statistics.mean(result["cpu_seconds"] for result in results),
            }
    path = out / "speed.json"
    return {**found, "speed": json.loads(path.read_text()) if path.exists() else None}


RETURN_HEADINGS = ("problem", "method", "seeds", "steps", "return", "single seeds", "solved", "CPU s a run")
SPEED_HEADINGS = ("problem", "ours, ms a step", "stable-baselines3", "ratio")


def return_rows(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """Of the table of returns."""
    rows: list[tuple[str, ...]] = []
    for name, problem in PROBLEMS.items():
        for method in METHODS:
            own = found[f"{name}_{method}"]
            if own is None:
                rows.append((problem.environment, method, "0", "not run", "", "", "", ""))
                continue
            singles = ", ".join(f"{each:.0f}" for each in own["scores"])
            solved = f"{own['solved']}/{own['seeds']} at {problem.good:.0f}"
            cells = (problem.environment, method, own["seeds"], own["steps"], f"{own['mean']:.0f} ± {own['spread']:.0f}")
            rows.append(tuple(map(str, (*cells, singles, solved, round(own["cpu_seconds"])))))
    return rows


def speed_rows(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """Of the table of times."""
    return [
        (PROBLEMS[name].environment, f"{own['ours']:.2f}", f"{own['sb3']:.2f}", f"{own['ratio']:.2f}")
        for name, own in (found["speed"] or {}).items()
    ]


def main(options: Options) -> int:
    for given, allowed in ((options.problems, PROBLEMS), (options.methods, METHODS)):
        for each in given:
            if each not in allowed:
                print(f"error: '{each}' was given; allowed are {', '.join(allowed)}", file=sys.stderr)
                return 2
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    if options.speed:
        times = {name: step_times(name, options.speed) for name in options.problems}
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "speed.json").write_text(json.dumps(times) + "\n")
    elif not options.summary:
        for seed in range(options.seeds):  # seed by seed, so that an early look compares both
            for name in options.problems:
                for method in options.methods:
                    run(name, method, seed, options)
    found = summary(options.out)
    console = Console(highlight=False, soft_wrap=True)
    print_table(RETURN_HEADINGS, return_rows(found), console, options.table, "rpg_sac")
    if found["speed"]:
        print_table(SPEED_HEADINGS, speed_rows(found), console, options.table, "rpg_sac_speed")
    if options.json:
        print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
