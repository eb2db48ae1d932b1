"""A run of one process or, under torchrun, of several; what it learned goes to a file.

python -m torch.distributed.run --standalone --nproc-per-node 2 -m tests.rpg.ranked_run FOLDER CONFIG ... [--resume]
"""

import argparse
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import torch

import rpg
from rpg.environments.gap_maze import GapMaze
from rpg.training.ranks import RankError, Ranks, joined_ranks

SMALL = {"hidden": (16, 16), "memory": 16, "state_dim": 8, "novelty_hidden": (16, 16)}
CONFIGS = {
    "rpg": rpg.RPGConfig(num_latents=4, posterior_stride=1),
    "score": rpg.RPGConfig(num_latents=4, posterior_stride=1, action_gradient="mixed"),
    "shac": rpg.SHACConfig(window=3, policy_hidden=(16,), value_hidden=(16,)),
    "mbrpg": rpg.ModelBasedRPGConfig(**SMALL, batch_size=32, random_steps=60, buffer_size=1000, steps=10, beta=0.1),
    "maze": rpg.ModelBasedRPGConfig(**SMALL, batch_size=32, random_steps=60, buffer_size=1000, steps=10, latent="categorical"),
}


class Slide:
    """A point on ice, from places and towards goals that are drawn anew. Where it `fails`, the second half of a batch does."""

    horizon, action_dim, observation_dim = 6, 2, 6

    def __init__(self, num_envs: int, *, fails: bool = False, whole: "tuple[Slide, int] | None" = None) -> None:
        self.num_envs, self.fails, self._whole = num_envs, fails, whole

    def shard(self, first: int, count: int) -> "Slide":
        return Slide(count, fails=self.fails, whole=(self, first))

    def reset(self, seed=None):
        if self._whole is not None:
            whole, first = self._whole
            return tuple(each[first : first + self.num_envs] for each in whole.reset(seed))
        generator = torch.Generator().manual_seed(seed)
        place, goal = torch.rand(2, self.num_envs, 2, generator=generator, dtype=torch.float64)
        return place, torch.zeros_like(place), goal, torch.zeros(self.num_envs, dtype=torch.int64)

    def observe(self, state):
        return torch.cat(state[:3], dim=1)

    def step(self, state, action):
        place, speed, goal, age = state
        if self.fails and self._whole is not None and self._whole[1] > 0:
            raise FloatingPointError("the ice broke")
        speed = 0.9 * speed + 0.2 * action
        place = place + speed
        distance = (place - goal).norm(dim=1)
        near = distance < 0.3
        return (place, speed, goal, age + 1), -distance, {"success": near, "outcome": (place[:, 0] > goal[:, 0]).long()}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("configs", nargs="+", choices=CONFIGS)
    parser.add_argument("--iterations", type=int, default=4)
    parser.add_argument("--num-envs", type=int, default=8)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--fails", action="store_true")
    parser.add_argument("--dies-at", type=int, default=-1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    ranks = joined_ranks()
    return max(trained(name, options, ranks) for name in options.configs)


def trained(name: str, options: argparse.Namespace, ranks: Ranks | None) -> int:
    config, folder = replace(CONFIGS[name], iterations=options.iterations), options.folder / name
    env = Slide(options.num_envs, fails=options.fails)
    if name == "maze":
        env = GapMaze(dtype=torch.float64)  # which cannot be parted

    def after(metrics):
        if metrics.iteration == options.dies_at and ranks is not None and not ranks.leads:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        trainer = rpg.Trainer(env, config, run_dir=folder, resume=options.resume, checkpoint_interval=1, ranks=ranks)
        result = trainer.train(after)
    except (RankError, FloatingPointError, rpg.SettingError, rpg.Terminated) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return 3
    if ranks is None or ranks.leads:
        learned = {part: module.state_dict() for part, module in trainer.algorithm.modules.items()}
        returns = [each.return_mean for each in result.history]
        torch.save({"learned": learned, "returns": returns}, folder / "learned.pt")
    return 0


if __name__ == "__main__":
    sys.exit(main())
