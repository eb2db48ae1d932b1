"""Are known rewards recovered from preferences, and by which answers? (`rpg/preferences`)

    python -m benchmarks.preferences --row detour:weighted_chosen --seeds 5     # runs of one row
    python -m benchmarks.preferences --all --jobs 2                             # every row that is missing
    python -m benchmarks.preferences --summary --json                           # counts from the stored results; runs nothing
    python -m benchmarks.preferences --table docs/preferences.md                # the tables, from the stored results

A teacher that knows an environment's reward answers 300 queries. The learned reward is judged by Spearman's rank correlation
with the true one, over segments that nobody was asked about: "held out" are fresh ones by the policies that collected, equally
many of each round; "true run" those of an RPG run on the true reward, at four moments of it. Rows are
PROBLEM:ARM, and PROBLEM:ARM+rpg for RPG trained anew on the reward that the arm learned, judged by the true success.
Results are lines of JSON in benchmarks/results/preferences; a run that was stopped goes on from its last round.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import tyro
from rich.console import Console
from scipy.stats import spearmanr

from benchmarks.processes import append_line, one_thread, print_table, read_lines, run_jobs
from rpg import FixedHorizonEnvironment, RPGConfig, Schedule, Trainer, check_environment, expected_success, policy_success
from rpg.algorithms import build_algorithm
from rpg.algorithms.rpg import RPG
from rpg.preferences import LearnedReward, PreferenceConfig, RewardLearning, Segments, Teacher, learn_reward
from rpg.preferences.segments import collected_segments, joined
from rpg.training.checkpoint import CHECKPOINT_NAME
from rpg.training.whole_files import whole_file

RESULTS = Path(__file__).resolve().parent / "results" / "preferences"
FIRST_SEED, HELD_OUT = 100, 90
ARMS: Mapping[str, dict[str, Any]] = {
    "weighted_chosen": {"weighted": True, "selection": "gradient"},
    "unweighted_chosen": {"weighted": False, "selection": "gradient"},
    "weighted_random": {"weighted": True, "selection": "random"},
    "unweighted_random": {"weighted": False, "selection": "random"},
}
ON_TOP = "+rpg"


@dataclass(frozen=True)
class Problem:
    """An environment with a known reward."""

    environment: Callable[[], FixedHorizonEnvironment]
    learning: PreferenceConfig
    reference: RPGConfig
    """Of the run on the true reward that the held-out segments come from."""
    solver: RPGConfig
    """Of the runs on learned rewards."""
    solved: tuple[str, ...]
    """The arms whose rewards are solved."""


def four_goals() -> FixedHorizonEnvironment:
    from rpg.environments.multigoal import MultiGoal

    return MultiGoal(16)


def detour() -> FixedHorizonEnvironment:
    from tasks import Detour

    return Detour(16)


WIDE = Schedule.constant(0.3)
LEARNING = PreferenceConfig(members=1)
PROBLEMS: Mapping[str, Problem] = {
    "four_goals": Problem(
        four_goals, LEARNING, RPGConfig(iterations=150, std=WIDE), RPGConfig(iterations=150), solved=("weighted_chosen",)
    ),
    "detour": Problem(
        detour,
        replace(LEARNING, iterations=10, episode_batches=3, policy=RPGConfig(std=WIDE, posterior_stride=2)),
        RPGConfig(iterations=30, std=WIDE, posterior_stride=2),
        RPGConfig(iterations=90, posterior_stride=2),
        solved=("weighted_chosen",),
    ),
}
ROWS: tuple[str, ...] = tuple(
    f"{name}:{row}" for name, problem in PROBLEMS.items() for row in (*ARMS, *(f"{arm}{ON_TOP}" for arm in problem.solved))
)


@dataclass(frozen=True)
class Options:
    """What to do."""

    row: tuple[str, ...] = ()
    """Rows to run, as PROBLEM:ARM or PROBLEM:ARM+rpg."""
    all: bool = False
    """Run every row that is missing."""
    summary: bool = False
    """Run nothing."""
    seeds: int = 5
    """Seeds of each row."""
    first: int = FIRST_SEED
    """The first of them; settings were chosen on seeds below 100."""
    jobs: int = os.cpu_count() or 1
    """Rows side by side, one thread each."""
    runs: Path = Path("runs/benchmarks/preferences")
    """Folder of the learned rewards, which rows on top of others read, and of the runs under way."""
    out: Path = RESULTS
    """Folder of the results."""
    table: Path | None = None
    """Markdown file for the tables, in which they replace earlier ones."""
    json: bool = False
    """Print one JSON object on the last line."""
    single: str | None = None
    """One row, in this process."""


# Runs -------------------------------------------------------------------------------------------------------


def held_out(name: str, env: FixedHorizonEnvironment, folder: Path) -> Segments:
    """Segments of RPG on the true reward, from its start, after a third, two thirds and all of its run; made once."""
    path = folder / f"{name}-held-out.pt"
    if path.exists():
        return Segments(**torch.load(path, weights_only=True))
    config = replace(PROBLEMS[name].reference, seed=HELD_OUT)
    algorithm, found = build_algorithm(env, config, check_environment(env)), []
    assert isinstance(algorithm, RPG)
    generator, length = torch.Generator().manual_seed(HELD_OUT), PROBLEMS[name].learning.segment_length
    for iteration in range(config.iterations + 1):
        if iteration % (config.iterations // 3) == 0:
            seed = algorithm.episode_seed(10**6 + iteration)
            found.append(collected_segments(env, algorithm, iteration=iteration, seed=seed, length=length, generator=generator))
        if iteration < config.iterations:
            algorithm.iterate(iteration)
    segments = joined(found)
    with whole_file(path) as partial:
        torch.save(segments.tensors(), partial)
    return segments


def correlation(learning: RewardLearning, segments: Segments) -> float:
    """Spearman's, of the segments' sums of learned and true rewards."""
    assert learning.model is not None
    return float(spearmanr(learning.model.of(segments).sum(0).numpy(), segments.true_returns.numpy()).statistic)


def fresh_segments(learning: RewardLearning, env: FixedHorizonEnvironment) -> Segments:
    """A batch of episodes that the learning does not see, by the policy that collected in its last round."""
    config, number = learning.config, learning.rounds - 1
    settings = replace(config.policy, seed=config.seed, iterations=max(1, config.iterations * (config.rounds - 1)))
    algorithm = build_algorithm(env, settings, check_environment(env))
    assert isinstance(algorithm, RPG)
    assert learning.policy is not None
    algorithm.restore(learning.policy)
    seed, generator = algorithm.episode_seed(2 * 10**6 + number), torch.Generator().manual_seed(number)
    iteration = config.iterations * number
    return collected_segments(env, algorithm, iteration=iteration, seed=seed, length=config.segment_length, generator=generator)


def learned(name: str, arm: str, seed: int, env: FixedHorizonEnvironment, folder: Path) -> RewardLearning:
    """The reward that an arm learns; what is there already is not done again. Each round adds a line, and its fresh segments,
    to files beside it."""
    config, test = replace(PROBLEMS[name].learning, seed=seed, **ARMS[arm]), held_out(name, env, folder)
    path = folder / f"{name}-{arm}-{seed}.pt"

    def note(learning: RewardLearning) -> None:
        with whole_file(path.with_suffix(f".fresh{learning.rounds}")) as partial:
            torch.save(fresh_segments(learning, env).tensors(), partial)
        record = {**learning.history[-1], "true_run": correlation(learning, test)}
        append_line(path.with_suffix(".jsonl"), {**record, "cpu_seconds": time.process_time() - began})

    began = time.process_time()
    path.parent.mkdir(parents=True, exist_ok=True)
    teacher = Teacher(budget=config.rounds * config.queries)
    return learn_reward(env, teacher, config, path=path, resume=path.exists(), on_round=note)


def learned_row(name: str, arm: str, seed: int, env: FixedHorizonEnvironment, folder: Path) -> dict[str, Any]:
    """What came of an arm, in plain numbers."""
    learning = learned(name, arm, seed, env, folder)
    rounds = {each["asked"]: each for each in read_lines(folder / f"{name}-{arm}-{seed}.jsonl")}
    curve = [[int(asked), round(each["true_run"], 4)] for asked, each in sorted(rounds.items())]
    files = [folder / f"{name}-{arm}-{seed}.fresh{number + 1}" for number in range(learning.rounds)]
    fresh = joined([Segments(**torch.load(each, weights_only=True)) for each in files])
    last = learning.history[-1]
    return {
        "correlation": round(correlation(learning, fresh), 4),
        "true_run": curve[-1][1],
        "curve": curve,
        "queries": len(learning.answers),
        **{key: round(last[key], 4) for key in ("agreement", "loss", "reward", "weight")},
        "cpu_seconds": round(rounds[last["asked"]]["cpu_seconds"], 1),
    }


def solved_row(name: str, arm: str, seed: int, env: FixedHorizonEnvironment, folder: Path) -> dict[str, Any]:
    """What RPG reaches on the reward that an arm learned."""
    learning = learned(name, arm, seed, env, folder)
    assert learning.model is not None
    began, run_dir = time.process_time(), folder / f"{name}-{arm}-{seed}-rpg"
    resume = (run_dir / CHECKPOINT_NAME).exists()
    trainer = Trainer(
        LearnedReward(env, learning.model), replace(PROBLEMS[name].solver, seed=seed), run_dir=run_dir, resume=resume
    )
    done = trainer.train()
    if done.interrupted:
        raise KeyboardInterrupt
    return {
        "success": policy_success(done.evaluations),
        "expected_success": expected_success(done.evaluations),
        "ways": sorted({each.outcome for each in done.evaluations if each.succeeded and each.outcome >= 0}),
        "cpu_seconds": round(time.process_time() - began, 1),
    }


def setting_of(name: str, row: str) -> dict[str, Any]:
    """What a stored run must agree with to count."""
    problem, arm = PROBLEMS[name], row.removesuffix(ON_TOP)
    values = {"learning": replace(problem.learning, **ARMS[arm]).to_dict(), "reference": problem.reference.to_dict()}
    if row.endswith(ON_TOP):
        values["solver"] = problem.solver.to_dict()
    return json.loads(json.dumps(values))


def stored_runs(row: str, options: Options) -> dict[int, dict[str, Any]]:
    """The runs of a row at its present setting by seed, of those that are wanted."""
    name, arm = row.split(":")
    setting = setting_of(name, arm)
    wanted = range(options.first, options.first + options.seeds)
    lines = read_lines(options.out / f"{row.replace(':', '-')}.jsonl")
    return {run["seed"]: run for run in lines if run["setting"] == setting and run["seed"] in wanted}


def run_single(row: str, options: Options) -> None:
    """The seeds of a row that are missing; each is stored as it ends."""
    name, arm = row.split(":")
    stored, env = stored_runs(row, options), PROBLEMS[name].environment()
    for seed in range(options.first, options.first + options.seeds):
        if seed in stored:
            continue
        begun = time.monotonic()
        run = solved_row if arm.endswith(ON_TOP) else learned_row
        found = run(name, arm.removesuffix(ON_TOP), seed, env, options.runs)
        entry = {"row": row, "seed": seed, **found, "seconds": round(time.monotonic() - begun, 1)}
        append_line(options.out / f"{row.replace(':', '-')}.jsonl", {**entry, "setting": setting_of(name, arm)})
        shown = f"correlation {found['correlation']:.3f}" if "correlation" in found else f"success {found['success']:.2f}"
        print(f"{row} seed {seed}: {shown}, {entry['seconds']:.0f} s", flush=True)


def run_rows(rows: tuple[str, ...], options: Options) -> None:
    """Those rows that are not complete, each in a process of its own; rows on top of others after these."""

    def job(row: str) -> None:
        if len(stored_runs(row, options)) == options.seeds:
            return
        command = [sys.executable, "-m", "benchmarks.preferences", "--single", row, "--seeds", str(options.seeds)]
        command += ["--first", str(options.first), "--runs", str(options.runs), "--out", str(options.out)]
        subprocess.run(command, check=True, env=one_thread())

    for later in (False, True):
        run_jobs(job, [row for row in rows if row.endswith(ON_TOP) == later], jobs=options.jobs)


# Results ----------------------------------------------------------------------------------------------------


def mean(values: list[float]) -> float | None:
    """Their mean, None if there are none."""
    return statistics.fmean(values) if values else None


def summary(options: Options) -> dict[str, Any]:
    """Counts, and the mean rank correlation and success of the rows that have runs."""
    stored = {row: stored_runs(row, options) for row in ROWS}
    answer: dict[str, Any] = {
        "rows": len(ROWS),
        "runs": sum(map(len, stored.values())),
        "missing": sum(options.seeds - len(runs) for runs in stored.values()),
    }
    for name in PROBLEMS:
        arms = {arm: [run["correlation"] for run in stored[f"{name}:{arm}"].values()] for arm in ARMS}
        answer[name] = {arm: mean(values) for arm, values in arms.items()}
        for arm in PROBLEMS[name].solved:
            answer[name][arm + ON_TOP] = mean([run["success"] for run in stored[f"{name}:{arm}{ON_TOP}"].values()])
    means = [[answer[name][arm] for arm in ARMS if answer[name][arm] is not None] for name in PROBLEMS]
    answer["rank_correlation"] = min(map(max, means)) if all(means) else None
    return answer


LEARNED_HEADINGS = (
    "problem",
    "weights",
    "queries",
    "held out",
    "single seeds",
    "above .9",
    "true run",
    "single seeds",
    "CPU s",
)
SOLVED_HEADINGS = ("problem", "reward learned with", "success", "single seeds", "ways or goals found", "CPU s")


def learned_rows(options: Options) -> list[tuple[str, ...]]:
    """A row for each arm on each problem."""
    rows: list[tuple[str, ...]] = []
    for name in PROBLEMS:
        for arm in ARMS:
            runs = [run for _, run in sorted(stored_runs(f"{name}:{arm}", options).items())]
            weights, queries = arm.split("_")
            head = (name.replace("_", " "), {"weighted": "pi / pi_b", "unweighted": "1"}[weights], queries)
            if not runs:
                rows.append((*head, "not run", "", "", "", "", ""))
                continue
            own, other = ([run[key] for run in runs] for key in ("correlation", "true_run"))
            rows.append((
                *head,
                f"**{mean(own):.3f}**",
                ", ".join(f"{each:.2f}" for each in own),
                f"{sum(each > 0.9 for each in own)} of {len(own)}",
                f"{mean(other):.3f}",
                ", ".join(f"{each:.2f}" for each in other),
                f"{mean([run['cpu_seconds'] for run in runs]):.0f}",
            ))  # fmt: skip
    return rows


def solved_rows(options: Options) -> list[tuple[str, ...]]:
    """A row for each arm whose reward was solved."""
    rows: list[tuple[str, ...]] = []
    for name, problem in PROBLEMS.items():
        for arm in problem.solved:
            runs = [run for _, run in sorted(stored_runs(f"{name}:{arm}{ON_TOP}", options).items())]
            head = (name.replace("_", " "), arm.replace("_", ", "))
            if not runs:
                rows.append((*head, "not run", "", "", ""))
                continue
            rows.append((
                *head,
                f"**{mean([run['success'] for run in runs]):.2f}**",
                ", ".join(f"{run['success']:.2f}" for run in runs),
                ", ".join(str(len(run["ways"])) for run in runs),
                f"{mean([run['cpu_seconds'] for run in runs]):.0f}",
            ))  # fmt: skip
    return rows


def main(options: Options) -> int:
    torch.set_num_threads(1)
    for row in (*options.row, *([options.single] if options.single else [])):
        if row not in ROWS:
            print(f"error: '{row}' was given; allowed are {', '.join(ROWS)}", file=sys.stderr)
            return 2
    if options.single is not None:
        run_single(options.single, options)
        return 0
    if options.all or options.row:
        run_rows(ROWS if options.all else options.row, options)
    console = Console(highlight=False, soft_wrap=True, stderr=True)
    print_table(LEARNED_HEADINGS, learned_rows(options), console, options.table, "preferences")
    print_table(SOLVED_HEADINGS, solved_rows(options), console, options.table, "preferences_solved")
    if options.summary or options.json:
        answer = summary(options)
        print(json.dumps(answer) if options.json else json.dumps(answer, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
