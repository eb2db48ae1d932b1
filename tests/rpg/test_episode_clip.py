"""The limit on an episode's pathwise gradient, in an environment in which one of 16 episodes has a gradient of 1e8."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from rpg import train_seeds
from rpg.algorithms import build_algorithm
from rpg.algorithms.rpg import RPG, RPGConfig
from rpg.protocol import check_environment
from rpg.training.gradient_estimators import limited_episodes
from rpg.training.schedules import Schedule
from rpg.training.trainer import Trainer

EPISODES, STEPS, BAD = 16, 6, 5
CONFIG = RPGConfig(num_latents=1, policy="mlp", policy_hidden=(8,), iterations=30).gaussian()


class Jammed:
    """x' = 0.9 x + 0.5 a from x0 = -1..1, reward -(x' - 1)^2; the episode BAD is also paid sin(jam x') / 10, which is small and
    of slope `jam` / 10."""

    horizon, action_dim, observation_dim = STEPS, 1, 1

    def __init__(self, jam: float = 1e9, num_envs: int = EPISODES) -> None:
        self.jam, self.num_envs = jam, num_envs

    def reset(self, seed=None):
        start = torch.linspace(-1, 1, EPISODES, dtype=torch.float64)
        return start.repeat(self.num_envs // EPISODES).unsqueeze(1)

    def observe(self, state):
        return state

    def step(self, state, action):
        state = 0.9 * state + 0.5 * action
        x, bad = state.squeeze(-1), torch.arange(self.num_envs) % EPISODES == BAD
        reward = -(x - 1).square() + torch.where(bad, torch.sin(self.jam * x) / 10, 0.0)
        label = torch.zeros(self.num_envs, dtype=torch.int64)
        return state, reward, {"success": label.bool(), "outcome": label}


def built(env: Jammed, **settings) -> RPG:
    algorithm = build_algorithm(env, replace(CONFIG, **settings), check_environment(env))
    assert isinstance(algorithm, RPG)
    return algorithm


def one_step(env: Jammed, **settings) -> tuple[Tensor, list[Tensor], list[float], float]:
    """RPG's gradient of the policy's parameters in the first iteration, as `grad_clip` left it; each episode's, and the norm of
    that by its actions, from backward passes of their own; and the share of the episodes limited."""
    algorithm = built(env, normalize_returns=False, **settings)
    policy, drawn, draw = copy.deepcopy(algorithm.policy), [], algorithm.standard_normal
    algorithm.standard_normal = lambda *shape: drawn.append(draw(*shape)) or drawn[-1]
    report = algorithm.iterate(0)
    grad = torch.cat([parameter.grad.flatten() for parameter in algorithm.policy.parameters()])

    z, x, total, shifts = torch.zeros(EPISODES, dtype=torch.int64), env.reset(), 0.0, 0.1 * drawn[0].detach()
    shifts.requires_grad_()
    for t in range(STEPS):
        x, reward, _ = env.step(x, torch.tanh(policy.mean(x, z, t) + shifts[t]))
        total = total + reward / STEPS
    each = [torch.autograd.grad(-value, [shifts, *policy.parameters()], retain_graph=True) for value in total]
    return (
        grad,
        [torch.cat([g.flatten() for g in own[1:]]) for own in each],
        [float(own[0].norm()) for own in each],
        (report.terms["limited_share"]),
    )


def test_episodes_above_the_limit_are_scaled_as_a_whole_and_the_others_are_kept():
    gradients = torch.randn(5, 16, 3, generator=torch.Generator().manual_seed(0))
    same, outliers = limited_episodes(gradients, 10.0)
    assert torch.equal(same, gradients)
    assert not outliers.any()

    jammed = gradients.clone()
    jammed[:, 4] *= 1e8
    jammed[:, 9] *= 1e30  # the squares overflow
    limited, outliers = limited_episodes(jammed, 10.0)
    norms = limited.norm(dim=(0, 2))
    assert outliers.nonzero().flatten().tolist() == [4, 9]
    assert torch.equal(limited[:, ~outliers], gradients[:, ~outliers])
    assert float(norms[4]) == pytest.approx(10 * float(jammed.norm(dim=(0, 2)).median()))
    assert float(norms[9]) == 0.0
    torch.testing.assert_close(limited[:, 4] / norms[4], gradients[:, 4] / gradients[:, 4].norm())

    few = gradients.clone()
    few[:, 3:] = 0.0  # where most episodes have no gradient, those that have one are kept
    assert torch.equal(limited_episodes(few, 10.0)[0], few)
    assert torch.equal(limited_episodes(torch.zeros(5, 16, 3), 10.0)[0], torch.zeros(5, 16, 3))


@pytest.mark.parametrize("policy", ["mlp", "feedback", "table"])
def test_the_step_is_that_of_the_limited_episodes(policy):
    """The policy's gradient is sum_b w_b grad J_b / B, w_b = min(1, 10 median / |dJ_b/du|), also by what it sees."""
    env = Jammed()
    grad, each, norms, share = one_step(env, policy=policy, grad_clip=1e9)
    limit = 10 * sorted(norms)[(EPISODES - 1) // 2]
    assert max(norms) > 1e7
    assert share == 1 / EPISODES
    expected = sum(min(1.0, limit / norm) * own for norm, own in zip(norms, each, strict=True)) / EPISODES
    torch.testing.assert_close(grad, expected, rtol=1e-6, atol=1e-9)


def test_an_exploding_episode_spoils_the_step_of_the_others_only_without_a_limit():
    def others_share(episode_clip: float | None) -> float:
        """The length, along the gradient of the other episodes, of the step that `grad_clip` leaves."""
        grad, each, _, _ = one_step(Jammed(), episode_clip=episode_clip)
        others = sum(own for number, own in enumerate(each) if number != BAD)
        outlier = each[BAD] / each[BAD].norm()
        rest = grad - (grad @ outlier) * outlier
        return float(rest @ others / others.norm())

    assert abs(others_share(None)) < 1e-4
    assert others_share(10.0) > 0.1


def test_the_others_learn_beside_an_exploding_episode():
    def others_return(jam: float, episode_clip: float | None) -> float:
        env = Jammed(jam)
        config = replace(CONFIG, episode_clip=episode_clip, std=Schedule.constant(0.05))
        trainer = Trainer(env, config)
        trainer.train()
        x, total, z = env.reset(), 0.0, torch.zeros(EPISODES, dtype=torch.int64)
        with torch.no_grad():
            for t in range(STEPS):
                x, reward, _ = env.step(x, torch.tanh(trainer.algorithm.policy.mean(x, z, t)))
                total = total + reward
        return float(total[torch.arange(EPISODES) != BAD].mean())

    free, limited, spoilt = others_return(0.0, 10.0), others_return(1e9, 10.0), others_return(1e9, None)
    assert limited > spoilt + 0.8 * (free - spoilt)


@pytest.mark.parametrize("learn_std", [False, True])
def test_nothing_changes_where_no_episode_is_an_outlier(learn_std):
    weights = []
    for episode_clip in (10.0, None):
        algorithm = built(Jammed(0.0), episode_clip=episode_clip, learn_std=learn_std, alpha=Schedule.constant(0.01))
        assert all(algorithm.iterate(number).terms["limited_share"] == 0.0 for number in range(5))
        weights.append(list(algorithm.policy.state_dict().values()))
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


def test_seeds_at_once_limit_as_single_runs_do():
    config = replace(CONFIG, policy="table", iterations=5)
    for seed, run in zip((3, 5), train_seeds(lambda n: Jammed(num_envs=n), config, (3, 5), num_envs=EPISODES), strict=True):
        history = Trainer(Jammed(), replace(config, seed=seed)).train().history
        assert all(row.terms["limited_share"] == 1 / EPISODES for row in history)
        assert list(run.returns) == pytest.approx([row.return_mean for row in history], abs=0.1)  # the sine is not resolved


def test_it_may_be_none_but_not_zero():
    assert RPGConfig(episode_clip=None).episode_clip is None
    for bad in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="episode_clip"):
            RPGConfig(episode_clip=bad)
