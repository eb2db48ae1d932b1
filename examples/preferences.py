"""Learn a reward from answers to "which of these two is better?", then a policy from the reward.

python examples/preferences.py                        # 300 answers about a point between four goals
python examples/preferences.py --mistakes 0.1         # of a teacher who errs
python examples/preferences.py --selection random     # about pairs drawn at random

The teacher is a script that knows the reward. What is printed last is what RPG, which knows only the answers, finds; and
preferences.png shows the learned reward with its ways. It takes about 20 s on one core.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import torch
from scipy.stats import spearmanr

import rpg
from rpg.environments.multigoal import MultiGoal
from rpg.preferences import LearnedReward, PreferenceConfig, RewardLearning, Teacher, learn_reward
from rpg.preferences.reward_model import RewardModel


def draw(model: RewardModel, modes: Sequence[rpg.Mode], env: MultiGoal, path: str) -> None:
    """What a step that ends at a place is worth, without motion; the goals, and the recorded episode of each mode."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    line = torch.linspace(-1.3, 1.3, 60)
    places = torch.cartesian_prod(line, line).flip(1)  # in units of 5 m, as the environment shows them
    with torch.no_grad():
        reward = model(places, torch.zeros_like(places)).reshape(60, 60)
    figure, ax = plt.subplots(figsize=(4.6, 4.0), layout="constrained")
    figure.colorbar(ax.contourf(5.0 * line, 5.0 * line, reward, levels=20), label="learned reward")
    ax.plot(*env.goals().T, "*", color="red", markersize=14)
    for mode in modes:
        ax.plot(*(5.0 * mode.observations).T, color="white", marker=".")
    ax.set(aspect="equal", xlabel="m", ylabel="m")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6, help="of 50 questions each")
    parser.add_argument("--mistakes", type=float, default=0.0, help="share of wrong answers")
    parser.add_argument("--equal-within", type=float, default=0.02, help="returns that differ by less are equal to the teacher")
    parser.add_argument("--selection", default="gradient", help="of questions: gradient, disagreement or random")
    parser.add_argument("--iterations", type=int, default=150, help="of RPG on the learned reward")
    parser.add_argument("--out", type=Path, default=Path("preferences.pt"), help="the reward and the answers; goes on if there")
    parser.add_argument("--picture", default="preferences.png")
    options = parser.parse_args()
    torch.set_num_threads(1)

    env = MultiGoal(16)
    teacher = Teacher(budget=50 * options.rounds, mistakes=options.mistakes, equal_within=options.equal_within)
    config = PreferenceConfig(rounds=options.rounds, selection=options.selection)

    def report(learning: RewardLearning) -> None:
        assert learning.model is not None
        assert learning.segments is not None
        last = learning.history[-1]
        rank = spearmanr(learning.model.of(learning.segments).sum(0), learning.segments.true_returns).statistic
        print(f"{last['asked']:4.0f} answers  agreement {last['agreement']:.2f}  rank correlation {rank:.2f}", flush=True)

    learning = learn_reward(env, teacher, config, path=options.out, resume=options.out.exists(), on_round=report)
    assert learning.model is not None
    trainer = rpg.Trainer(LearnedReward(env, learning.model), rpg.RPGConfig(iterations=options.iterations))
    modes = trainer.train().modes
    for mode in modes:
        print(f"{mode.name:6s} success {mode.success:.2f}")
    draw(learning.model, modes, env, options.picture)
    print(f"wrote {options.picture}")


if __name__ == "__main__":
    main()
