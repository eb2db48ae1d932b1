"""Several solutions of one task: RPG finds distinct ways, drawn side by side, where one Gaussian policy has one.

    python examples/several_solutions.py                                       # a door, opened by its handle or its edge
    python examples/several_solutions.py --task Basketball --iterations 100    # a ball, thrown straight or off the board

Each latent z of the policy can learn a way of its own. Afterwards every z plays the same episodes, and those that end in the
same way (a task's `outcome`) are one mode. several_solutions.mp4 shows the modes side by side, several_solutions.png some
moments of each. It takes about two minutes on one core.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import rpg
from diffsim.render import caption, side_by_side, write_png
from tasks import Task, find_task
from tasks.mode_video import replayed_episode
from tasks.task_renderer import TaskRenderer


def sheet(task: Task, modes: Sequence[rpg.Mode], moments: int = 4) -> NDArray[np.uint8]:
    """A row of moments, from the start to the end, for each mode."""
    renderer, rows = TaskRenderer(task, 240, 180), []
    for mode in modes:
        episodes, _ = replayed_episode(task, mode)
        times = np.linspace(0, len(episodes) - 1, moments).round().astype(int)
        frames = [renderer.frame(episodes[t]) for t in times]
        frames[0] = caption(frames[0], mode.name)
        rows.append(side_by_side(frames))
    return np.concatenate(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="OpenDoor", help="any name of diffsim-rpg list")
    parser.add_argument("--iterations", type=int, default=40)
    parser.add_argument("--num-envs", type=int, default=32, help="episodes at a time, and latents")
    parser.add_argument("--video", type=Path, default=Path("several_solutions.mp4"), help="the picture is written beside it")
    options = parser.parse_args()

    task = find_task(options.task)(options.num_envs)
    config = rpg.RPGConfig(**{**task.optimizer_settings, "iterations": options.iterations})

    def report(metrics: rpg.IterationMetrics) -> None:
        if metrics.iteration % 10 == 0:
            print(f"iteration {metrics.iteration:3d}  return {metrics.return_mean:6.2f}", flush=True)

    found = {}
    for method, settings in (("RPG", config), ("one Gaussian", config.gaussian())):
        found[method] = rpg.Trainer(task, settings).train(report if method == "RPG" else None).modes
    print(f"\n{'':14s}{'way':24s}{'return':>8s}{'success':>9s}{'latents':>9s}{'pi(z)':>7s}")
    for method, modes in found.items():
        for mode in modes:
            numbers = f"{mode.episode_return:8.2f}{mode.success:9.0%}{len(mode.latents):9d}{mode.probability:7.0%}"
            print(f"{method:14s}{mode.name:24s}{numbers}")

    task.write_video(found["RPG"], options.video)
    picture = options.video.with_suffix(".png")
    write_png(picture, sheet(task, found["RPG"]))
    print(f"wrote {options.video} and {picture}")


if __name__ == "__main__":
    main()
