"""Soft Q-learning: how many of four goals it keeps, what its Q looks like, and whether its pretraining is of use.

    python -m benchmarks.soft_q_learning --all --seeds 10 --problems four_goals     every run of four goals that is missing
    python -m benchmarks.soft_q_learning --row hallway_sql --seeds 3    rows; a fine-tuned run first needs its pretraining
    python -m benchmarks.soft_q_learning --quick --json                 one short seed of the first two arms; stores nothing
    python -m benchmarks.soft_q_learning --summary --json               what the stored results say; runs nothing
    python -m benchmarks.soft_q_learning --table docs/soft_q_learning.md    its tables and pictures, from the stored results

Three problems. four_goals: `rpg.environments.four_goals`, against a Gaussian policy at the same temperature and one that is
all but deterministic (this library's SAC). hallway: a point that was trained to move fast in any direction learns to leave a
hallway (`rpg.environments.hallway`), against one pretrained without entropy and one from scratch. swimmer: the swimmer of
Gymnasium with a finish line at one end. Runs are in runs/benchmarks/soft_q_learning, with checkpoints; lines of JSON go to
benchmarks/results/soft_q_learning. Settings were chosen on seeds below 100.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from rich.console import Console

from benchmarks.processes import print_table, write_between
from benchmarks.rpg import streaming_runs
from benchmarks.rpg.streaming_runs import FIRST_SEED, Experiment, command, reached
from benchmarks.soft_q_pictures import draw_curves, draw_four_goals
from rpg import from_gymnasium, load_checkpoint
from rpg.algorithms.sac import SACConfig
from rpg.algorithms.soft_q_learning import SoftQLearning, SoftQLearningConfig
from rpg.algorithms.streaming import StreamingAlgorithm
from rpg.environments.four_goals import FourGoals
from rpg.environments.hallway import Hallway
from rpg.environments.whole_episodes import whole_episodes
from rpg.training.evaluation import evaluate_latents
from rpg.training.trainer import Trainer

NAME = "soft_q_learning"
ROLLOUTS = 64
"""Evaluation episodes on four goals, with fresh noise, and as many without."""
DRAWN = 24
"""Of them in the picture."""
LOOKED_AT = ((-2.0, 0.0), (0.0, 0.0), (2.5, 2.5))
"""Where Q is drawn, m."""
GRID = 25
"""Actions of a drawn Q along each axis."""
SCALE = 0.1
"""Of the rewards of four goals, so that values are of order 1 to 10; the temperature 1 is the paper's 10."""

SOFT = SoftQLearningConfig(
    hidden=(64, 64), alpha=1.0, target_interval=250, value_samples=32, policy_learning_rate=0.001, random_steps=1000
)
GAUSSIAN = SACConfig(hidden=(64, 64), alpha=1.0, learning_rate=0.001, batch_size=64, random_steps=1000)
"""Of all arms, but for what follows."""
MEANING = {
    "four_goals_sql": "soft Q-learning, temperature 10",
    "four_goals_gaussian": "one Gaussian (SAC), temperature 10",
    "four_goals_deterministic": "one Gaussian (SAC), temperature 0.01",
    "hallway_pretraining_sql": "in the open: soft Q-learning, temperature 0.1",
    "hallway_pretraining_deterministic": "in the open: one Gaussian (SAC), temperature 0.001",
    "hallway_sql": "soft Q-learning, from its pretraining",
    "hallway_deterministic": "one Gaussian (SAC), from its pretraining",
    "hallway_scratch": "soft Q-learning from scratch",
    "swimmer_sql": "soft Q-learning",
    "swimmer_deterministic": "one Gaussian (SAC), temperature 0.001",
}


@dataclass(frozen=True)
class Options(streaming_runs.Options):
    """What to do."""

    problems: tuple[str, ...] = ()
    """With `--all`, and in tables, only these."""


# Four goals -------------------------------------------------------------------------------------------------


def goals_environment(arm: str) -> FourGoals:
    """Four of them."""
    return FourGoals(4, reward_scale=SCALE)


def rollouts(algorithm: StreamingAlgorithm[Any], *, noise: bool) -> dict[str, Any]:
    """Evaluation episodes on four goals, each from a start of its own: how many end at each goal, the mean return, and the
    paths (B, T+1, 2). Noise is drawn anew in every step."""
    env = whole_episodes(FourGoals(ROLLOUTS))
    generator = torch.Generator().manual_seed(0)
    state = env.reset(FIRST_SEED)
    path, returns = [env.observe(state)], torch.zeros(ROLLOUTS)
    latent = torch.zeros(ROLLOUTS, dtype=torch.int64)
    with torch.no_grad():
        for step in range(env.horizon):
            if noise:
                drawn = torch.randn(ROLLOUTS, env.action_dim, generator=generator)
                action = algorithm.policy(path[-1], latent, step, 1.0, drawn).action
            else:
                action = torch.tanh(algorithm.policy.mean(path[-1], latent, step))
            state, reward, info = env.step(state, action)
            returns += reward
            path.append(env.observe(state))
    counts = torch.bincount(info["outcome"][info["success"]], minlength=4).tolist()
    return {"counts": counts, "return": float(returns.mean()), "paths": torch.stack(path, dim=1)}


def q_map(algorithm: SoftQLearning, place: tuple[float, float]) -> list[list[float]]:
    """Q over the temperature at a place, [i][j] for actions on a grid of [-1, 1]^2, i along x."""
    axis = torch.linspace(-1, 1, GRID)
    actions = torch.cartesian_prod(axis, axis).unsqueeze(0)
    data = algorithm.inputs(torch.tensor([place]), torch.zeros(1))
    with torch.no_grad():
        values = algorithm.values(algorithm.critics, data, actions) / algorithm.config.alpha
    return [[round(each, 3) for each in row] for row in values.view(GRID, GRID).tolist()]


def measured_goals(trainer: Trainer, steps: int) -> dict[str, Any]:
    """Goals reached by evaluation episodes with fresh noise, without noise, and, where the policy has a latent, by its values
    held for an episode each."""
    algorithm = trainer.algorithm
    assert isinstance(algorithm, StreamingAlgorithm)
    noisy = rollouts(algorithm, noise=True)
    found: dict[str, Any] = {"goals": sum(each > 0 for each in noisy["counts"]), "counts": noisy["counts"]}
    found |= {"return": round(noisy["return"], 1), "success": sum(noisy["counts"]) / ROLLOUTS}
    if isinstance(algorithm, SoftQLearning):
        found["held"] = len([mode for mode in trainer.modes() if mode.success >= 0.5])
        if algorithm.config.seed == FIRST_SEED:
            found["maps"] = [q_map(algorithm, place) for place in LOOKED_AT]
    else:
        quiet = rollouts(algorithm, noise=False)
        found |= {"held": sum(each > 0 for each in quiet["counts"])}
    if algorithm.config.seed == FIRST_SEED:
        found["paths"] = [[[round(u, 2) for u in point] for point in path] for path in noisy["paths"][:DRAWN].tolist()]
    return found


# Hallway and swimmer ----------------------------------------------------------------------------------------


def hallway_environment(arm: str) -> Hallway:
    """Four of them, in the open for pretraining."""
    return Hallway(4, walls="pretraining" not in arm)


def from_pretraining(trainer: Trainer, arm: str, runs: Path) -> None:
    """Give a run in the hallway the networks of the pretraining with the same seed; the buffer is its own.

    Raises FileNotFoundError if that is not there.
    """
    if arm not in ("hallway_sql", "hallway_deterministic"):
        return
    kind, seed = arm.removeprefix("hallway_"), trainer.config.seed
    trainer.algorithm.restore_for_use(load_checkpoint(runs / f"hallway_pretraining_{kind}-{seed}").state)


def curve(trainer: Trainer) -> list[list[float]]:
    """[steps, success, return] of the collected episodes of each iteration."""
    rows = [row for row in trainer.history if row.terms.get("episodes")]
    return [[row.simulator_steps, round(row.success, 3), round(row.return_mean, 3)] for row in rows]


def measured_success(trainer: Trainer, steps: int) -> dict[str, Any]:
    """Success of the last fifth of the collected episodes, and the curve."""
    found = curve(trainer)
    late = [row[1] for row in found if row[0] > 0.8 * steps]
    return {"success": float(np.mean(late)) if late else 0.0, "curve": found}


def measured_hallway(trainer: Trainer, steps: int) -> dict[str, Any]:
    """That, and into which quarters of the plane the evaluation's episodes go."""
    latents, probs = trainer.algorithm.candidates()
    quarters = {each.outcome for each in evaluate_latents(trainer.env, trainer.algorithm.policy, latents, probs)}
    return {**measured_success(trainer, steps), "quarters": sorted(quarters)}


FINISH = 1.0
"""Where the swimmer's finish line is, m along x."""


def swimmer_environment(arm: str) -> Any:
    """The swimmer of Gymnasium without its reward for speed: 1 at the finish line along +x, where the episode terminates, 0.1
    for each metre of way along x in either direction."""
    import gymnasium

    class FinishLine(gymnasium.Wrapper):  # type: ignore[misc,name-defined,type-arg]
        """Success is to have crossed."""

        def reset(self, **options: Any) -> Any:
            seen, info = self.env.reset(**options)
            self.reached = 0.0
            return seen, info

        def step(self, action: Any) -> Any:
            seen, _, _, truncated, info = self.env.step(action)
            x = float(self.unwrapped.data.qpos[0])  # type: ignore[attr-defined]
            far, self.reached = abs(x) - self.reached, max(self.reached, abs(x))
            crossed = x >= FINISH
            return seen, 0.1 * max(far, 0.0) + float(crossed), crossed, truncated, {**info, "success": crossed}

    return from_gymnasium(lambda: FinishLine(gymnasium.make("Swimmer-v5")), 1, time_limit=500)


# The experiments --------------------------------------------------------------------------------------------


OPEN = replace(SOFT, steps=200, alpha=0.1, discount=0.95, target_interval=50, random_steps=800)
STRAIGHT = replace(GAUSSIAN, steps=200, alpha=0.001, discount=0.95, target_rate=0.02, random_steps=800)
"""Of the point in the open and in the hallway; a fine-tuned run has an episode of each environment at random, to learn from."""
EXPERIMENTS = {
    "four_goals": Experiment(
        name=NAME,
        arms={
            "four_goals_sql": replace(SOFT, steps=250),
            "four_goals_gaussian": replace(GAUSSIAN, steps=250),
            "four_goals_deterministic": replace(GAUSSIAN, steps=250, alpha=0.001),
        },
        environment=goals_environment,
        measured=measured_goals,
        summary=("four_goals_sql", "four_goals_gaussian"),
        steps=6000,
        quick=2000,
        block=1000,
        stored=6000,
    ),
    "hallway": Experiment(
        name=NAME,
        arms={
            "hallway_pretraining_sql": OPEN,
            "hallway_pretraining_deterministic": STRAIGHT,
            "hallway_sql": replace(OPEN, random_steps=160),
            "hallway_deterministic": replace(STRAIGHT, random_steps=160),
            "hallway_scratch": OPEN,
        },
        environment=hallway_environment,
        measured=measured_hallway,
        summary=("hallway_sql", "hallway_deterministic", "hallway_scratch"),
        steps=4000,
        quick=800,
        block=800,
        stored=4000,
        prepare=from_pretraining,
    ),
    "swimmer": Experiment(
        name=NAME,
        arms={
            "swimmer_sql": replace(SOFT, steps=2500, alpha=0.01, update_interval=5, random_steps=5000),
            "swimmer_deterministic": replace(GAUSSIAN, steps=2500, alpha=0.001, update_interval=5, random_steps=5000),
        },
        environment=swimmer_environment,
        measured=measured_success,
        summary=("swimmer_sql", "swimmer_deterministic"),
        steps=250_000,
        quick=5000,
        block=2500,
        stored=25_000,
    ),
}
"""By problem, which an arm's name begins with."""
ARMS = {arm: experiment for experiment in EXPERIMENTS.values() for arm in experiment.arms}
"""The experiment of each arm."""


# Results ----------------------------------------------------------------------------------------------------


def goal_runs(options: streaming_runs.Options) -> dict[str, list[dict[str, Any]]]:
    """The whole runs on four goals, by arm."""
    return reached(EXPERIMENTS["four_goals"], options)


def goals_summary(options: streaming_runs.Options) -> dict[str, Any]:
    """Of each arm with runs: seeds, the mean number of goals that its episodes reach, and the share of seeds with all four."""
    return {
        arm: {
            "seeds": len(runs),
            "goals": float(np.mean([run["goals"] for run in runs])),
            "all_four": float(np.mean([run["goals"] == 4 for run in runs])),
        }
        for arm, runs in goal_runs(options).items()
        if runs
    }


def summary(options: streaming_runs.Options) -> dict[str, Any]:
    """That of four goals, and of the other problems the mean success of each arm with runs."""
    found: dict[str, Any] = {"four_goals": goals_summary(options)}
    for problem in ("hallway", "swimmer"):
        runs = reached(EXPERIMENTS[problem], options)
        found[problem] = {arm: float(np.mean([run["success"] for run in own])) for arm, own in runs.items() if own}
    return found


def listed(runs: Sequence[Mapping[str, Any]], key: str, digits: int = 0) -> str:
    """The single seeds' numbers."""
    return ", ".join(f"{run[key]:.{digits}f}" for run in runs)


GOAL_HEADINGS = (
    "arm",
    "what it is",
    "seeds",
    "goals of 4",
    "all four",
    "without fresh noise",
    "success",
    "return",
    "CPU s a run",
)


def goal_rows(options: streaming_runs.Options) -> list[tuple[str, ...]]:
    """A row for each arm on four goals."""
    rows: list[tuple[str, ...]] = []
    for arm, runs in goal_runs(options).items():
        if not runs:
            rows.append((arm, MEANING[arm], "not run", *[""] * 6))
            continue
        four = sum(run["goals"] == 4 for run in runs)
        success, value, seconds = (np.mean([run[key] for run in runs]) for key in ("success", "return", "cpu_seconds"))
        counts = (listed(runs, "goals"), f"**{four}/{len(runs)}**", listed(runs, "held"))
        rows.append((arm, MEANING[arm], f"{len(runs)}", *counts, f"{success:.2f}", f"{value:.0f}", f"{seconds:.0f}"))
    return rows


HEADINGS = ("arm", "what it is", "success", "single seeds", "0.9 after thousand steps", "quarters", "CPU s a run")


def solved_after(run: Mapping[str, Any]) -> str:
    """In how many thousand steps an iteration's episodes first succeeded in 0.9."""
    return next((f"{row[0] / 1000:.1f}" for row in run["curve"] if row[1] >= 0.9), "never")


def rows_of(problem: str, options: streaming_runs.Options) -> list[tuple[str, ...]]:
    """A row for each arm of another problem."""
    rows: list[tuple[str, ...]] = []
    for arm, runs in reached(EXPERIMENTS[problem], options).items():
        if not runs:
            rows.append((arm, MEANING[arm], "not run", *[""] * 4))
            continue
        values = (f"**{np.mean([run['success'] for run in runs]):.2f}**", listed(runs, "success", 2))
        quarters = ", ".join(f"{len(run['quarters'])}" for run in runs if "quarters" in run)
        seconds = f"{np.mean([run['cpu_seconds'] for run in runs]):.0f}"
        rows.append((arm, MEANING[arm], *values, ", ".join(map(solved_after, runs)), quarters, seconds))
    return rows


def draw(page: Path, options: streaming_runs.Options) -> None:
    """The pictures in the page's folder, images/, and their places in the page, of the runs that there are."""
    goals = {arm: run for arm, runs in goal_runs(options).items() for run in runs if run["seed"] == FIRST_SEED}
    if "four_goals_sql" in goals:
        paths = {MEANING[arm]: np.array(run["paths"]) for arm, run in goals.items()}
        maps = {
            f"Q at ({x:g}, {y:g})": np.array(each)
            for (x, y), each in zip(LOOKED_AT, goals["four_goals_sql"]["maps"], strict=True)
        }
        draw_four_goals(page.parent / "images" / f"{NAME}.png", paths, maps)
        line = f"![evaluation episodes, and Q over actions at three places](images/{NAME}.png)\n"
        write_between(page, "soft_q_learning_picture", line)
    curves = {
        MEANING[arm]: [np.array(run["curve"]) for run in runs]
        for arm, runs in reached(EXPERIMENTS["hallway"], options).items()
        if runs and "pretraining" not in arm
    }
    if curves:
        draw_curves(page.parent / "images" / f"{NAME}_hallway.png", curves)
        line = f"![success in the hallway over steps](images/{NAME}_hallway.png)\n"
        write_between(page, "soft_q_learning_hallway_picture", line)


def report(options: streaming_runs.Options) -> None:
    """The tables, and with --json the summary."""
    console = Console(highlight=False, soft_wrap=True)
    print_table(GOAL_HEADINGS, goal_rows(options), console, options.table, NAME)
    for problem in ("hallway", "swimmer"):
        print_table(HEADINGS, rows_of(problem, options), console, options.table, f"{NAME}_{problem}")
    if options.table is not None:
        draw(options.table, options)
    if options.json:
        print(json.dumps(summary(options)))


def main(options: Options) -> int:
    arms = (options.single.partition(":")[0],) if options.single is not None else options.row
    for given, allowed in ((arms, ARMS), (options.problems, EXPERIMENTS)):
        for each in given:
            if each not in allowed:
                print(f"error: '{each}' was given; allowed are {', '.join(allowed)}", file=sys.stderr)
                return 2
    if options.single is not None or options.quick:
        return command(ARMS[arms[0]] if options.single else EXPERIMENTS["four_goals"], options, report)
    for problem, experiment in EXPERIMENTS.items():
        wanted = [arm for arm in experiment.arms if arm in options.row]
        if options.all and (not options.problems or problem in options.problems):
            wanted = list(experiment.arms)
        if wanted:
            streaming_runs.run_processes(experiment, wanted, options)
    report(options)
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
