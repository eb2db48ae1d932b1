"""Every kind of latent with every kind of policy on a tiny environment: runs, determinism, resumption, evaluation, modes."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from rpg.algorithms.rpg import RPGConfig
from rpg.training.evaluation import evaluate_latents
from rpg.training.modes import distinct_modes
from rpg.training.rollout import rolled_out
from rpg.training.schedules import Schedule
from rpg.training.trainer import Trainer


class Ring:
    """A set of three points in the plane that an action moves all together, from the origin to anywhere on the unit circle.

    No end has a label: solutions are told apart by the centre's place.
    """

    num_envs, horizon, action_dim, observation_dim = 12, 5, 2, 6
    observation_points = (3, 2)
    outcome_radius = 0.7

    def reset(self, seed=None):
        numbers = torch.Generator().manual_seed(seed or 0)
        triangle = torch.tensor([[0.1, 0.0], [-0.05, 0.08], [-0.05, -0.08]])
        return triangle + 0.02 * torch.randn(self.num_envs, 1, 2, generator=numbers)

    def observe(self, state):
        return state.flatten(1)

    def step(self, state, action):
        state = state + 0.4 * action.unsqueeze(1)
        center = state.mean(1)
        miss = (center.square().sum(-1) + 1e-6).sqrt() - 1
        info = {
            "success": (miss.abs() < 0.25).detach(),
            "outcome": torch.full((self.num_envs,), -1),
            "outcome_features": center,
        }
        return state, -miss.square(), info


ENV = Ring()
SMALL = RPGConfig(
    num_latents=3,
    iterations=6,
    seed=2,
    policy="mlp",
    policy_hidden=(8,),
    posterior_hidden=(8,),
    posterior_stride=2,
)
LATENTS = {
    "categorical": {"latent": "categorical"},
    "gaussian": {"latent": "gaussian"},
    "mixture": {"latent": "mixture"},
    "returns": {"latent": "returns"},
    "sequence": {"latent": "categorical", "latent_segments": 2},
    "gaussian sequence": {"latent": "gaussian", "latent_segments": 3},
    "returns sequence": {"latent": "returns", "latent_segments": 2},
    "conditional": {"latent": "mixture", "latent_hidden": (8,)},
}
CASES = [(name, policy) for name in LATENTS for policy in ("table", "mlp", "points")]
CASES = [(name, policy) for name, policy in CASES if policy != "table" or LATENTS[name]["latent"] in ("categorical", "returns")]


def without_time(rows):
    return [replace(row, seconds=0.0) for row in rows]


def parameters(trainer: Trainer) -> dict[str, torch.Tensor]:
    modules = trainer.algorithm.modules.items()
    return {f"{name}.{key}": value for name, module in modules for key, value in module.state_dict().items()}


def stop_after(iteration: int):
    def on_iteration(metrics):
        if metrics.iteration == iteration:
            raise KeyboardInterrupt

    return on_iteration


@pytest.mark.parametrize(("latent", "policy"), CASES)
def test_runs_repeats_resumes_and_evaluates(tmp_path, latent, policy):
    inputs = {"table": "states", "mlp": "state_actions", "points": "points"}
    config = replace(SMALL, **LATENTS[latent], policy=policy, posterior_input=inputs[policy])
    torch.manual_seed(0)
    whole = Trainer(ENV, config)
    expected = whole.train()
    assert len(expected.history) == config.iterations
    assert all(math.isfinite(value) for row in expected.history for value in (row.objective, *row.terms.values()))

    torch.manual_seed(1)  # the global generator plays no part
    Trainer(ENV, config, run_dir=tmp_path).train(stop_after(2))
    resumed = Trainer(ENV, config, run_dir=tmp_path, resume=True)
    result = resumed.train()
    assert without_time(result.history) == without_time(expected.history)
    ours, theirs = parameters(resumed), parameters(whole)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)

    evaluations = whole.evaluate()
    assert [e.latent for e in evaluations] == list(range(len(evaluations)))
    if config.latent_segments == 1 and config.latent in ("categorical", "returns"):
        assert len(evaluations) == config.num_latents
    assert sum(e.probability for e in evaluations) <= 1 + 1e-5
    for e in evaluations:
        assert e.actions.shape == (5, 2)
        assert e.observations.shape == (6, 6)
        assert e.outcome == -1
        np.testing.assert_allclose(e.outcome_features, e.observations[-1].reshape(3, 2).mean(0), atol=1e-6)
    again = resumed.evaluate()
    assert [e.episode_return for e in again] == [e.episode_return for e in evaluations]
    assert whole.modes(evaluations)


@pytest.mark.parametrize("latent", ["categorical", "gaussian", "gaussian sequence"])
def test_spread_is_measured_where_no_latent_comes_twice_too(latent):
    """Else a mixed gradient of continuous latents would be the score function's alone."""
    config = replace(SMALL, **LATENTS[latent], action_gradient="mixed")
    history = Trainer(ENV, config).train().history
    assert all(row.terms["pathwise_share"] > 0.5 for row in history)
    assert any(row.gradient_snr > 0 for row in history)


class Line(Ring):
    """A point on a line that feeds back into a closed-loop policy."""

    num_envs, horizon, action_dim, observation_dim = 20_000, 2, 1, 1

    def reset(self, seed=None):
        return torch.zeros(self.num_envs, 1)

    def step(self, state, action):
        state = state + action
        info = {"success": torch.ones(self.num_envs, dtype=torch.bool), "outcome": torch.zeros(self.num_envs).long()}
        return state, -((state[:, 0] - 0.5) ** 2), info


def test_all_estimators_agree_on_the_gradient_of_a_learned_std():
    """With an entropy bonus, whose gradient by the std must count once however the estimators are put together."""
    gradients = []
    for kind in ("pathwise", "mixed", "score"):
        config = replace(
            SMALL.gaussian(),
            action_gradient=kind,
            learn_std=True,
            std=Schedule.constant(0.5),
            alpha=Schedule.constant(0.7),
            grad_clip=1e9,
        )
        trainer = Trainer(Line(), config)
        algorithm = trainer.algorithm
        algorithm.optimizers["policy"] = torch.optim.SGD(algorithm.policy.parameters(), lr=0.0)
        algorithm.iterate(0)
        gradients.append(torch.cat([p.grad.flatten() for p in algorithm.policy.parameters()]))
    for other in gradients[1:]:
        torch.testing.assert_close(other, gradients[0], atol=0.04, rtol=0)


def test_an_evaluation_is_its_latents_noiseless_episode():
    """Seven latents in twelve environments, and fourteen: returns, success and the replay are right."""
    for count in (7, 14):
        trainer = Trainer(ENV, replace(SMALL, num_latents=count, iterations=3))
        trainer.train()
        policy = trainer.algorithm.policy
        latents, probs = trainer.algorithm.candidates()
        for e in evaluate_latents(ENV, policy, latents, probs, seed=11):
            with torch.no_grad():
                all_alike = rolled_out(
                    ENV, policy, torch.full((1, 12), e.latent), state=ENV.reset(11), std=1.0, noise=torch.zeros(5, 12, 2)
                )
            replayed = all_alike.observations[:, e.environment].double().numpy()
            np.testing.assert_allclose(e.observations, replayed, atol=1e-5)
            assert e.episode_return == pytest.approx(float(all_alike.rewards.sum(0).mean()), abs=1e-5)
            assert e.shown_return == pytest.approx(float(all_alike.rewards[:, e.environment].sum()), abs=1e-5)
            assert e.success == pytest.approx(float(all_alike.success.double().mean()))


def test_latents_that_do_the_same_are_judged_alike():
    """All start from the same states, so their returns differ by what they do alone."""
    policy = Trainer(ENV, replace(SMALL, num_latents=5, policy="table")).algorithm.policy
    with torch.no_grad():
        policy.table.fill_(0.3)
    evaluations = evaluate_latents(ENV, policy, torch.arange(5).unsqueeze(0), torch.full((5,), 0.2))
    assert len({(e.episode_return, e.environment) for e in evaluations}) == 1


def test_unlabelled_ways_are_counted_by_clusters_of_their_ends():
    config = replace(
        SMALL,
        num_latents=6,
        iterations=80,
        policy="table",
        beta=Schedule(1.0, 0.0, 0.4, 0.7),
        alpha_z=Schedule.constant(0.3),
        posterior_hidden=(16,),
    )
    trainer = Trainer(ENV, config)
    result = trainer.train()
    evaluations = trainer.evaluate()
    ends = np.stack([e.outcome_features for e in evaluations if e.succeeded])
    np.testing.assert_allclose(np.linalg.norm(ends, axis=-1), 1.0, atol=0.25)
    angles = np.sort(np.arctan2(ends[:, 1], ends[:, 0]))
    gaps = np.diff([*angles, angles[0] + 2 * np.pi])
    assert (gaps > 2 * np.arcsin(ENV.outcome_radius)).sum() <= len(result.modes)  # what is so far apart is never merged
    assert len(result.modes) >= 3
    assert all(mode.outcome == -1 and mode.name == "unlabelled" and mode.success >= 0.5 for mode in result.modes)
    assert [m.episode_return for m in result.modes] == sorted((m.episode_return for m in result.modes), reverse=True)
    total = sum(e.probability for e in evaluations if e.succeeded)
    assert sum(mode.probability for mode in result.modes) == pytest.approx(total)


def test_clusters_by_hand():
    trainer = Trainer(ENV, replace(SMALL, num_latents=6, iterations=1))
    places = [(1.0, 0.0), (0.9, 0.2), (-1.0, 0.0), (0.0, 1.0), (-0.9, 0.1), (1.0, 0.0)]
    evaluations = [
        replace(e, success=1.0 if n < 5 else 0.0, outcome_features=np.array(place), episode_return=-float(n), probability=1 / 6)
        for n, (e, place) in enumerate(zip(trainer.evaluate(), places, strict=True))
    ]
    modes = distinct_modes(evaluations, outcome_radius=0.7)
    assert [m.latent for m in modes] == [0, 2, 3]
    assert [m.probability for m in modes] == pytest.approx([2 / 6, 2 / 6, 1 / 6])  # the failed one does not count
    assert len(distinct_modes(evaluations, outcome_radius=5.0)) == 1
    assert len(distinct_modes(evaluations, outcome_radius=0.01)) == 5
    assert len(distinct_modes(evaluations)) == 1  # nothing to tell them apart by
    failed = [replace(e, success=0.0) for e in evaluations]
    assert [m.latents for m in distinct_modes(failed, outcome_radius=0.7)] == [(0, 1, 5), (2, 4), (3,)]
    labelled = [replace(evaluations[0], outcome=1), *evaluations[1:]]
    assert [m.name for m in distinct_modes(labelled, outcome_radius=0.7, outcome_names=("a", "b"))] == [
        "b",
        *["unlabelled"] * 3,
    ]
