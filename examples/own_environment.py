"""An environment of your own in plain torch, without the simulator, in which RPG finds several solutions.

    python examples/own_environment.py    # prints the ways that RPG and one Gaussian policy find, writes own_environment.png

A boat crosses a river to a jetty straight across. Three islands lie in the middle, so there are four gaps to go through, and
the current drifts it to the right. All that `rpg` asks of an environment stands in the class (rpg.FixedHorizonEnvironment; for
episodes that end one by one there is rpg.Environment, docs/environments.md). It takes about 15 s on one core.
"""

import argparse
from typing import NamedTuple

import matplotlib
import torch
from torch import Tensor

import rpg


class Boats(NamedTuple):
    """A state, anything that `step` needs: position and velocity (B, 2), m and m/s; whether it ran aground, its gap (B,)."""

    position: Tensor
    velocity: Tensor
    aground: Tensor
    gap: Tensor


class River:
    """B boats that cross a river 4 m wide, steered by an acceleration."""

    horizon, action_dim, observation_dim = 40, 2, 4
    outcome_names = ("far left", "left", "right", "far right")
    islands = torch.tensor([[-1.0, 2.0], [0.0, 2.0], [1.0, 2.0]])  # centres, m
    radius, jetty, seconds = 0.35, (0.0, 4.0), 0.1

    def __init__(self, num_envs: int = 32) -> None:
        self.num_envs = num_envs

    def reset(self, seed: int | None = None) -> Boats:
        """The same seed, the same B starts."""
        generator = torch.Generator().manual_seed(0 if seed is None else seed)
        position = 0.05 * torch.randn(self.num_envs, 2, generator=generator)
        nothing = torch.zeros(self.num_envs, dtype=torch.int64)
        return Boats(position, torch.zeros_like(position), nothing.bool(), nothing - 1)

    def observe(self, boats: Boats) -> Tensor:
        """(B, O), what a policy sees: numbers of order 1."""
        return torch.cat([boats.position - 2.0, boats.velocity], dim=1)

    def step(self, boats: Boats, action: Tensor) -> tuple[Boats, Tensor, dict[str, Tensor]]:
        """Actions (B, A) are in [-1, 1]. What the reward is made of stays differentiable; labels need not be."""
        current = torch.stack([0.3 * torch.ones(self.num_envs), torch.zeros(self.num_envs)], dim=1)
        velocity = boats.velocity + self.seconds * (6.0 * action - 2.0 * (boats.velocity - current))  # thrust and drag
        position = boats.position + self.seconds * velocity
        away = (position[:, None] - self.islands).norm(dim=2)  # (B, 3)
        to_jetty = ((position - torch.tensor(self.jetty)).square().sum(dim=1) + 1e-4).sqrt()
        reward = -to_jetty / 4.0 - 20.0 * (self.radius + 0.15 - away).clamp(min=0.0).square().sum(dim=1)
        with torch.no_grad():
            aground = boats.aground | (away < self.radius).any(dim=1)
            passing = (boats.position[:, 1] < 2.0) & (position[:, 1] >= 2.0)
            gap = torch.where(passing, (position[:, :1] > self.islands[:, 0]).sum(dim=1), boats.gap)
        info = {"success": ~aground & (to_jetty.detach() < 0.25), "outcome": gap}
        return Boats(position, velocity, aground, gap), reward, info


def draw(modes: dict[str, list[rpg.Mode]], path: str) -> None:
    """A map of the river for each method, with the recorded episode of each of its solutions."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(modes), figsize=(4.2 * len(modes), 4.2), sharey=True, layout="constrained")
    for ax, (method, found) in zip(axes, modes.items(), strict=True):
        ax.set(title=method, aspect="equal", xlim=(-2.4, 2.4), ylim=(-0.4, 4.4), xlabel="m", facecolor="#dceaf5")
        for island in River.islands.tolist():
            ax.add_patch(plt.Circle(island, River.radius, color="#b9a36b"))
        ax.plot(*River.jetty, "*", color="#c0392b", markersize=16)
        for mode in found:
            ax.plot(
                *(mode.observations[:, :2] + 2.0).T, linewidth=2, label=mode.name if mode.success else f"{mode.name} (fails)"
            )
        ax.legend(loc="lower right", fontsize=8)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--picture", default="own_environment.png")
    options = parser.parse_args()

    rpg.check_environment(River())  # one line that names what is wrong
    config = rpg.RPGConfig(iterations=options.iterations)
    modes = {}
    for method, settings in (("RPG", config), ("one Gaussian", config.gaussian())):
        modes[method] = list(rpg.Trainer(River(), settings).train().modes)
        for mode in modes[method]:
            print(f"{method:12s}  {mode.name:9s}  return {mode.episode_return:6.2f}  success {mode.success:4.0%}")
    draw(modes, options.picture)
    print(f"wrote {options.picture}")


if __name__ == "__main__":
    main()
