"""Does RPG need its rewards, actions, observations or horizon scaled? Three problems, and variants that should be as easy.

    python -m benchmarks.rpg_scales --seeds 5 --json

Variants of the wall, the four goals and the bandit, all with RPG's defaults:
    as_it_is
    rewards_times_100, rewards_times_0.01
    horizon_200        the same motion in 200 steps (not the bandit, which has one)
    actions_20         20 actions, of which all but those that move only cost 0.01 a^2 each
    actions_20_averaged   20 actions, of whose means the motion is made: random starts and noise nearly average out
    nuisance_20        20 observations of noise, drawn anew in every step; nuisance_20_times_1000 of standard deviation 1000
A run succeeds if the solution it would be asked to play does from at least half of the held-out first states; it covers the
outcomes that any of its latents reaches so. Results are written as they come, and kept with --resume.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from rich.console import Console
from torch import Tensor

from benchmarks.processes import print_table, write_result
from rpg import FixedHorizonEnvironment, RPGConfig, Trainer, policy_success
from rpg.environments.bandit import Bandit
from rpg.environments.multigoal import MultiGoal
from rpg.environments.seeding import episode_generator
from rpg.environments.wall import PointMassWall

ACTIONS, NUISANCE = 20, 20


@dataclass
class Variant:
    """An environment with its rewards multiplied, with more actions, or with noise beside its observations."""

    env: Any
    reward_scale: float = 1.0
    actions: int | None = None
    averaged: bool = False
    """Whether an action of the inner environment is the mean of several, or the first ones move and the others cost."""
    nuisance: float | None = None
    """Standard deviation of the noise."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.env, name)

    @property
    def action_dim(self) -> int:
        return self.actions or self.env.action_dim

    @property
    def observation_dim(self) -> int:
        return self.env.observation_dim + (0 if self.nuisance is None else NUISANCE)

    def reset(self, seed: int | None = None) -> Any:
        noise = torch.randn(self.env.horizon + 1, self.env.num_envs, NUISANCE, generator=episode_generator(seed))
        return self.env.reset(seed), noise, 0

    def observe(self, state: Any) -> Tensor:
        own, noise, step = state
        observation = self.env.observe(own)
        if self.nuisance is None:
            return observation
        return torch.cat([observation, self.nuisance * noise[step].to(observation)], dim=-1)

    def step(self, state: Any, action: Tensor) -> tuple[Any, Tensor, dict[str, Any]]:
        own, noise, step = state
        idle = action[:, self.env.action_dim :]
        if self.averaged:
            action, idle = action.unflatten(1, (-1, self.env.action_dim)).mean(1), idle[:, :0]
        own, reward, info = self.env.step(own, action[:, : self.env.action_dim])
        return (own, noise, step + 1), self.reward_scale * (reward - 0.01 * idle.square().sum(1)), info


PROBLEMS: dict[str, Callable[..., FixedHorizonEnvironment]] = {"wall": PointMassWall, "four_goals": MultiGoal, "bandit": Bandit}
VARIANTS: dict[str, dict[str, Any]] = {
    "as_it_is": {},
    "rewards_times_100": {"reward_scale": 100.0},
    "rewards_times_0.01": {"reward_scale": 0.01},
    "horizon_200": {},
    "actions_20": {"actions": ACTIONS},
    "actions_20_averaged": {"actions": ACTIONS, "averaged": True},
    "nuisance_20": {"nuisance": 1.0},
    "nuisance_20_times_1000": {"nuisance": 1000.0},
}


@dataclass(frozen=True)
class Options:
    """What to run."""

    seeds: int = 5
    """Seeds of each."""
    first: int = 100
    """The first of them; RPG's defaults were chosen on others."""
    json: bool = False
    """Print one JSON object on the last line."""
    out: Path = Path("runs/benchmarks/rpg_scales")
    """Folder of the single results."""
    resume: bool = False
    """Keep the results that are there."""
    iterations: int | None = None
    """Fewer iterations, to try the script itself."""
    table: Path | None = None
    """Markdown file for the table, in which it replaces an earlier one."""


def run(problem: str, variant: str, seed: int, iterations: int | None) -> dict[str, Any]:
    """One run in plain numbers."""
    inner = PROBLEMS[problem](horizon=200) if variant == "horizon_200" else PROBLEMS[problem]()
    usual = 1500 if problem == "bandit" else 150
    result = Trainer(Variant(inner, **VARIANTS[variant]), RPGConfig(iterations=iterations or usual, seed=seed)).train()
    if result.interrupted:
        raise KeyboardInterrupt
    covered = {each.outcome for each in result.evaluations if each.succeeded}
    return {"success": policy_success(result.evaluations), "covered": len(covered), "seconds": result.history[-1].seconds}


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    torch.set_num_threads(1)
    console = Console(stderr=options.json, highlight=False)
    options.out.mkdir(parents=True, exist_ok=True)
    summary: dict[str, dict[str, Any]] = {}
    rows = []
    for problem in PROBLEMS:
        for variant in VARIANTS:
            if problem == "bandit" and variant == "horizon_200":
                continue
            own = []
            for seed in range(options.first, options.first + options.seeds):
                path = options.out / f"{problem}-{variant}-{seed}.json"
                if not (options.resume and path.exists()):
                    write_result(path, run(problem, variant, seed, options.iterations))
                own.append(json.loads(path.read_text()))
            succeeded, covered = sum(each["success"] >= 0.5 for each in own), [each["covered"] for each in own]
            summary.setdefault(problem, {})[variant] = {"succeeded": succeeded, "covered": covered}
            seconds = sum(each["seconds"] for each in own) / len(own)
            rows.append((problem, variant, f"{succeeded}/{len(own)}", " ".join(map(str, covered)), f"{seconds:.1f}"))
            console.print(*rows[-1])
    print_table(
        ("problem", "variant", "runs that succeed", "outcomes covered, run by run", "s a run"),
        rows,
        console,
        options.table,
        "rpg_scales",
    )
    if options.json:
        print(json.dumps({**summary, "seeds": options.seeds}))


if __name__ == "__main__":
    main()
