"""Learning a reward from preferences: the weighted loss, which questions are asked, the teacher, recovery, and files."""

import math
import re
from dataclasses import replace

import pytest
import torch
from scipy.stats import spearmanr

import rpg
from rpg.algorithms import build_algorithm
from rpg.environments.multigoal import MultiGoal
from rpg.preferences import (
    BudgetError,
    LearnedReward,
    PreferenceConfig,
    RewardModel,
    Segments,
    Teacher,
    learn_reward,
    load_learning,
    preference_loss,
)
from rpg.preferences.bradley_terry import preference_logit
from rpg.preferences.query_selection import drawn_pairs, expected_gradient, selected
from rpg.preferences.reward_learning import fitted_reward
from rpg.preferences.segments import collected_segments, importance_weights
from rpg.training.checkpoint import CheckpointError, CheckpointMismatch

QUICK = PreferenceConfig(rounds=3, queries=8, candidates=2, episode_batches=1, iterations=2, members=2, hidden=(8,), passes=3)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=seeded(seed))


def segments_of(after, rewards):
    """Segments with these observations (L, N, O) and rewards, of random actions that played no part."""
    length, count, _ = after.shape
    steps = torch.arange(length).unsqueeze(1).expand(length, count)
    unsquashed = torch.randn(length, count, 2, dtype=after.dtype, generator=seeded(9))
    log_probs, latents = torch.zeros(length, count, dtype=after.dtype), torch.zeros_like(steps)
    return Segments(after, after, unsquashed, log_probs, latents, steps, torch.ones_like(steps, dtype=torch.bool), rewards)


# The loss ---------------------------------------------------------------------------------------------------


def test_the_gradient_of_the_weighted_loss_is_the_one_on_paper():
    """dL/dr_1t = -A_1t (1 - P) and dL/dr_2t = +A_2t (1 - P) where the first is preferred, by autograd and by differences."""
    first, second = drawn(4, 6).requires_grad_(), drawn(4, 6, seed=1).requires_grad_()
    weights = drawn(2, 4, 6, seed=2).exp()
    loss = preference_loss(first, second, torch.ones(6).double(), first_weights=weights[0], second_weights=weights[1])
    P = torch.sigmoid((weights[0] * first).sum(0) - (weights[1] * second).sum(0)).detach()
    torch.testing.assert_close(loss.detach(), -P.log())
    by_first, by_second = torch.autograd.grad(loss.sum(), (first, second))
    torch.testing.assert_close(by_first, -weights[0] * (1 - P))
    torch.testing.assert_close(by_second, weights[1] * (1 - P))
    answers = torch.tensor([1.0, 0.0, 0.5, 1.0, 0.5, 0.0]).double()
    assert torch.autograd.gradcheck(
        lambda r, s: preference_loss(r, s, answers, first_weights=weights[0], second_weights=weights[1]), (first, second)
    )


def test_without_weights_they_are_one_and_equal_answers_count_half():
    first, second = drawn(3, 4, 6), drawn(3, 4, 6, seed=1)  # of an ensemble of three
    ones, answers = torch.ones(4, 6).double(), torch.tensor([1.0, 0.0, 0.5, 0.5, 1.0, 0.0]).double()
    loss = preference_loss(first, second, answers)
    assert torch.equal(loss, preference_loss(first, second, answers, first_weights=ones, second_weights=ones))
    P = torch.sigmoid(first.sum(1) - second.sum(1))
    torch.testing.assert_close(loss, -answers * P.log() - (1 - answers) * (1 - P).log())
    equal = preference_loss(first, first, torch.full((6,), 0.5).double())
    torch.testing.assert_close(equal, torch.full_like(equal, math.log(2)))


def test_the_weights_are_ratios_of_densities():
    env = MultiGoal(8, dtype=torch.float64)
    config = rpg.RPGConfig(std=rpg.Schedule.constant(0.3), num_latents=4)
    algorithm = build_algorithm(env, config, rpg.check_environment(env))
    found = collected_segments(env, algorithm, iteration=0, seed=3, length=5, generator=seeded())
    same = importance_weights(found, algorithm.policy, 0.3, log_ratio_range=(-1.0, 1.0))
    torch.testing.assert_close(same, torch.ones_like(same))
    with torch.no_grad():
        algorithm.policy.table.add_(0.1)
    weights = importance_weights(found, algorithm.policy, 0.4, log_ratio_range=(-2.0, 0.5))
    mean = algorithm.policy.mean(found.observations, found.latents, found.steps).detach()
    old, new = (torch.distributions.Normal(m, s) for m, s in ((mean - 0.1, 0.3), (mean, 0.4)))
    u = torch.atanh(found.actions)
    ratio = (new.log_prob(u) - old.log_prob(u)).sum(-1)
    torch.testing.assert_close(weights, ratio.clamp(-2.0, 0.5).exp(), rtol=1e-5, atol=1e-5)
    assert (ratio > 0.5).any()
    ended = replace(found, counted=torch.zeros_like(found.counted))
    assert not importance_weights(ended, algorithm.policy, 0.4, log_ratio_range=(-2.0, 0.5)).any()


def test_segments_are_pieces_of_episodes():
    env = MultiGoal(4, horizon=13, dtype=torch.float64)
    algorithm = build_algorithm(env, rpg.RPGConfig(num_latents=4), rpg.check_environment(env))
    found = collected_segments(env, algorithm, iteration=0, seed=3, length=4, generator=seeded())
    assert len(found) == 12
    assert torch.equal(found.observations[1:], found.after[:-1])
    torch.testing.assert_close(found.after - found.observations, found.actions / 5)
    nearest = (5 * found.after.unsqueeze(2) - env.goals()).square().sum(-1).amin(-1)
    torch.testing.assert_close(found.true_rewards, -nearest / 25 - 0.1 * found.actions.square().sum(-1))
    assert (found.steps[1:] - found.steps[:-1] == 1).all()
    assert found.steps[0].unique().tolist() in [[0, 4, 8], [1, 5, 9]]


# The teacher and the questions --------------------------------------------------------------------------------


def test_the_teacher_errs_ties_and_tires():
    first, second = drawn(20_000), drawn(20_000, seed=1)
    right = (first > second).double()
    assert torch.equal(Teacher(budget=20_000).ask(first, second, asked=0, generator=seeded()), right)
    answers = Teacher(budget=20_000, mistakes=0.1).ask(first, second, asked=0, generator=seeded())
    assert float((answers != right).double().mean()) == pytest.approx(0.1, abs=0.007)
    answers = Teacher(budget=20_000, mistakes=1.0, equal_within=0.5).ask(first, second, asked=0, generator=seeded())
    near = (first - second).abs() <= 0.5
    assert torch.equal(answers == 0.5, near)
    assert torch.equal(answers[~near], 1 - right[~near])
    teacher = Teacher(budget=10)
    assert len(teacher.ask(first[:4], second[:4], asked=6, generator=seeded())) == 4
    with pytest.raises(BudgetError, match=r"^the teacher was asked 4 queries; of its budget of 10, 3 are left$"):
        teacher.ask(first[:4], second[:4], asked=7, generator=seeded())


def test_the_chosen_questions_have_the_largest_expected_gradient():
    """|A (1 - P)|: the norm of the loss's gradient in the rewards, by autograd, averaged over the answers that are expected."""
    rewards, weights = 2 * drawn(1, 4, 30), drawn(4, 30, seed=1).exp()
    pairs = drawn_pairs(30, 40, seeded(2))

    def size(pair):
        a, b = pair.tolist()
        r, s = (rewards[0, :, [n]].clone().requires_grad_() for n in (a, b))
        given = {"first_weights": weights[:, [a]], "second_weights": weights[:, [b]]}
        P, expected = torch.sigmoid(preference_logit(r, s, *given.values())).item(), 0.0
        for answer, probability in ((1.0, P), (0.0, 1 - P)):
            loss = preference_loss(r, s, torch.tensor([answer]).double(), **given).sum()
            expected += probability * torch.cat(torch.autograd.grad(loss, (r, s))).norm().item()
        return expected

    sizes = torch.tensor([size(pair) for pair in pairs]).double()
    first, second = pairs.unbind(1)
    score = expected_gradient(rewards[..., first], rewards[..., second], weights[:, first], weights[:, second])
    torch.testing.assert_close(score, sizes)
    best = pairs[sizes.argsort(descending=True)[:7]]
    assert torch.equal(selected("gradient", pairs, 7, rewards, weights), best)
    assert torch.equal(selected("random", pairs, 7, rewards, weights), pairs[:7])
    ensemble = torch.cat([rewards, rewards])
    ensemble[1, :, 3] += 5.0  # the members disagree about what segment 3 is in
    assert (selected("disagreement", pairs, 2, ensemble, weights) == 3).any(1).all()


def test_candidates_hold_every_segment_equally_often():
    pairs = drawn_pairs(10, 15, seeded())
    assert pairs.shape == (15, 2)
    assert (pairs.flatten().bincount() == 3).all()
    assert (pairs[:, 0] != pairs[:, 1]).all()


# Recovery ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
def test_a_linear_reward_is_recovered(weighted):
    """From 200 answers about segments of a reward in closed form; the ranks of others agree, and so does the direction. With
    weights, if the teacher judges by the weighted sums, as the model says."""
    slope = torch.tensor([1.0, -2.0, 0.0, 0.5])
    after, weights = torch.randn(5, 400, 4, generator=seeded()), torch.ones(5, 400)
    if weighted:
        weights = (0.5 * torch.randn(5, 400, generator=seeded(1))).clamp(-1, 1).exp()
    found = segments_of(after, after @ slope)
    pairs = drawn_pairs(200, 200, seeded(1))
    judged = (weights * found.true_rewards).sum(0)
    answers = Teacher().ask(judged[pairs[:, 0]], judged[pairs[:, 1]], asked=0, generator=seeded())
    config = replace(QUICK, hidden=(), passes=60, learning_rate=0.02)
    model, loss = fitted_reward(found, pairs, answers, weights, config, seeded(2))
    held_out = torch.arange(200, 400)
    correlation = spearmanr(model.of(found).sum(0)[held_out], found.true_returns[held_out]).statistic
    assert correlation > 0.95
    assert loss < 0.3
    earned = model.of(found)
    assert float(earned.mean()) == pytest.approx(0.0, abs=1e-4)
    assert float(earned.std(correction=0)) == pytest.approx(1.0, abs=1e-4)


def test_resumed_learning_is_the_same_to_the_last_bit(tmp_path):
    env, teacher = MultiGoal(8, horizon=10), Teacher(mistakes=0.1, equal_within=0.05)

    def stop(learning):
        if learning.rounds == 2:
            raise KeyboardInterrupt

    whole = learn_reward(env, teacher, QUICK, path=tmp_path / "whole.pt")
    with pytest.raises(KeyboardInterrupt):
        learn_reward(env, teacher, QUICK, path=tmp_path / "broken.pt", on_round=stop)
    half = load_learning(tmp_path / "broken.pt")
    assert (half.rounds, len(half.answers)) == (2, 16)
    resumed = learn_reward(env, teacher, QUICK, path=tmp_path / "broken.pt", resume=True)
    again = load_learning(tmp_path / "broken.pt")
    assert whole.history == resumed.history == again.history
    for other in (resumed, again):
        assert torch.equal(whole.pairs, other.pairs)
        assert torch.equal(whole.answers, other.answers)
        for a, b in zip(whole.model.state_dict().values(), other.model.state_dict().values(), strict=True):
            assert torch.equal(a, b)
    assert [record["asked"] for record in whole.history] == [8, 16, 24]
    assert len(whole.segments) == 3 * 16
    assert resumed.policy["generator"].equal(whole.policy["generator"])


@pytest.mark.long
def test_the_reward_of_four_goals_is_recovered():
    env = MultiGoal(16)
    algorithm = build_algorithm(env, rpg.RPGConfig(std=rpg.Schedule.constant(0.5)), rpg.check_environment(env))
    found = learn_reward(env, Teacher(), replace(PreferenceConfig(members=1), weighted=False, selection="random"))
    test = collected_segments(env, algorithm, iteration=0, seed=123, length=5, generator=seeded())
    assert spearmanr(found.model.of(test).sum(0), test.true_returns).statistic > 0.9
    assert found.history[-1]["reward"] > found.history[0]["reward"]


# The environment ----------------------------------------------------------------------------------------------


def learned_environment(dtype=torch.float64):
    env = MultiGoal(6, horizon=5, dtype=dtype)
    model = RewardModel(2, 2, members=2, hidden=(8,), generator=seeded()).to(dtype)
    model.normalizer.update(torch.randn(50, 2, generator=seeded(1)).to(dtype))
    return env, model, LearnedReward(env, model)


def test_the_learned_reward_is_an_environment_with_a_gradient():
    env, model, learned = learned_environment()
    rpg.check_environment(learned)
    assert learned.outcome_names == env.outcome_names

    def total(actions):
        state, _ = learned.reset(3)
        rewards = []
        for action in actions:
            step = learned.step(state, action)
            state = step.state
            rewards.append(step.reward)
        assert "success" in step.info
        assert step.terminated.all()
        return torch.stack(rewards).sum(0)

    actions = (0.3 * drawn(5, 6, 2)).requires_grad_()
    assert torch.autograd.gradcheck(total, (actions,))
    assert all(p.grad is None for p in model.parameters())
    state, _ = learned.reset(3)
    step = learned.step(state, actions[0])
    torch.testing.assert_close(step.reward, model(step.observation, actions[0]))


@pytest.mark.parametrize(
    "config",
    [
        rpg.RPGConfig(iterations=2, num_latents=2),
        rpg.SACConfig(iterations=2, hidden=(8,), batch_size=8, random_steps=12),
        rpg.SHACConfig(iterations=2),
    ],
)
def test_algorithms_run_on_it_unchanged(config):
    _, model, learned = learned_environment(torch.float32)
    result = rpg.Trainer(learned, config).train()
    actions, seen = (
        torch.as_tensor(each).float() for each in (result.evaluations[0].actions, result.evaluations[0].observations)
    )
    assert float(model(seen[1:], actions).sum()) == pytest.approx(result.evaluations[0].shown_return, abs=1e-3)


def test_no_gradient_is_given_where_the_dynamics_have_none():
    env = MultiGoal(4, horizon=5)
    object.__setattr__(env, "differentiable", False)
    model = RewardModel(2, 2, members=1, hidden=(4,), generator=seeded())
    learned = LearnedReward(env, model)
    state, _ = learned.reset(0)
    assert not learned.step(state, torch.zeros(4, 2, requires_grad=True)).reward.requires_grad


# Errors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"queries": 0}, "queries was given 0; allowed are whole numbers >= 1"),
        ({"selection": "best"}, "selection was given 'best'; allowed are 'gradient', 'disagreement', 'random'"),
        ({"log_ratio_range": (0.5, 1.0)}, "log_ratio_range was given (0.5, 1.0); allowed are ranges that hold 0"),
        ({"log_ratio_range": 1.0}, "log_ratio_range was given 1.0; allowed are two numbers, as (-1.0, 1.0)"),
        ({"weighted": 1}, "weighted was given 1; allowed are True and False"),
        ({"policy": rpg.SACConfig()}, "allowed are an rpg.RPGConfig without latent_chain"),
    ],
)
def test_wrong_settings_are_named(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        PreferenceConfig(**changes)
    assert "\n" not in str(error.value)


def test_wrong_teachers_are_named():
    with pytest.raises(ValueError, match=r"mistakes was given 1\.5; allowed are numbers from 0 to 1"):
        Teacher(mistakes=1.5)
    with pytest.raises(ValueError, match="budget was given 0"):
        Teacher(budget=0)


def test_what_cannot_be_begun_or_gone_on_with_is_named(tmp_path):
    env, path = MultiGoal(4, horizon=6), tmp_path / "reward.pt"
    config = replace(QUICK, rounds=1)
    with pytest.raises(BudgetError, match="asked 8 queries; of its budget of 7, 7 are left"):
        learn_reward(env, Teacher(budget=7), config, path=path)
    with pytest.raises(rpg.SettingError, match="segment_length was given 7; allowed are <= 6"):
        learn_reward(env, Teacher(), replace(config, segment_length=7))
    with pytest.raises(FileNotFoundError, match="no learned reward at"):
        learn_reward(env, Teacher(), config, path=path, resume=True)
    learn_reward(env, Teacher(), config, path=path)
    with pytest.raises(FileExistsError, match="give resume=True or another path"):
        learn_reward(env, Teacher(), config, path=path)
    with pytest.raises(CheckpointMismatch, match=r"config 'passes': .* has 3, this call was given 4"):
        learn_reward(env, Teacher(), replace(config, passes=4), path=path, resume=True)
    with pytest.raises(CheckpointMismatch, match=r"teacher 'mistakes': .* has 0.0, this call was given 0.2"):
        learn_reward(env, Teacher(mistakes=0.2), config, path=path, resume=True)
    path.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="is no readable learned reward"):
        load_learning(path)
