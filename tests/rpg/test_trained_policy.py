"""Policies in use: loaded without their environment, on other batches, sampled, exported; what is wrong is said in words."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rpg
from rpg import CONFIGS, RPGConfig, Trainer
from rpg.environments.wall import PointMassWall

ROOT = Path(__file__).parents[2]
SMALL = RPGConfig(num_latents=3, iterations=3, policy="mlp", policy_hidden=(8,), posterior_hidden=(8,), seed=1)
VARIANTS = {
    "mlp": SMALL,
    "gaussian latent": replace(SMALL, latent="gaussian"),
    "mixture of s1": replace(SMALL, latent="mixture", latent_hidden=(8,)),
    "returns": replace(SMALL, latent="returns"),
    "sequence": replace(SMALL, latent_segments=2, policy="table"),
    "gaussian sequence": replace(SMALL, latent="gaussian", latent_segments=2, latent_dim=3),
    "categorical of s1": replace(SMALL, latent_hidden=(8,)),
    "learned std": replace(SMALL, learn_std=True),
}


class Points(PointMassWall):
    """Observations that are a set of two points."""

    observation_points = (2, 2)


def environment(points: bool = False) -> PointMassWall:
    return (Points if points else PointMassWall)(num_envs=8, horizon=6)


def trained(config, folder: Path, env=None) -> Trainer:
    trainer = Trainer(env or environment(), config, run_dir=folder)
    trainer.train()
    return trainer


def config_of(name: str):
    if name in VARIANTS:
        return VARIANTS[name]
    if name == "points":
        return replace(SMALL, policy="points")
    if name in ("gaussian", "reinforce"):
        return getattr(replace(SMALL, policy="table"), name)()
    if name == "ppo":
        pytest.importorskip("stable_baselines3")
    if name in ("sac", "sql", "hmc", "langevin"):
        kind: Any = CONFIGS[name]
        return kind(iterations=2, hidden=(8,), random_steps=16, batch_size=16)
    if name == "diffusion":
        return rpg.DiffusionPolicyConfig(iterations=2, hidden=(8,), random_steps=16, batch_size=16, denoising_steps=1)
    if name == "mbrpg":
        return rpg.ModelBasedRPGConfig(iterations=2, hidden=(8,), memory=8, state_dim=4, random_steps=16, batch_size=16)
    return replace(CONFIGS[name](algorithm=name), iterations=2)


ALL = [*CONFIGS, *VARIANTS, "points"]


@pytest.mark.parametrize("name", ALL)
def test_a_loaded_policy_acts_as_the_trained_one_on_any_batch(tmp_path, name):
    trainer = trained(config_of(name), tmp_path, environment(name == "points"))
    policy, own = rpg.load_policy(tmp_path), trainer.algorithm.policy
    latents, _ = trainer.algorithm.candidates()
    seen = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    z = latents[:, torch.arange(20) % latents.shape[1]]
    given = z[0] if policy.latent_shape == latents.shape[2:] else z.movedim(1, 0)
    for t in (0, 5):
        member = z[t * len(z) // 6]
        with torch.no_grad():
            expected = torch.tanh(own.mean(seen, member, t))
        torch.testing.assert_close(policy.act(seen, given, t), expected)
        torch.testing.assert_close(policy.act(seen[3], given[3], t), expected[3], atol=1e-6, rtol=1e-5)
        as_numpy = policy.act(seen.numpy().astype(np.float64), given.numpy(), t)
        np.testing.assert_allclose(as_numpy, expected.numpy(), atol=1e-6)
    # each episode at a time of its own
    times = torch.arange(20) % 6
    mixed = policy.act(seen, given, times)
    rows = torch.stack([policy.act(seen[n], given[n], int(times[n])) for n in range(20)])
    torch.testing.assert_close(mixed, rows, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_latents_are_drawn_with_their_probabilities(tmp_path, name):
    trained(config_of(name), tmp_path, environment(name == "points"))
    policy = rpg.load_policy(tmp_path)
    first = torch.zeros(4000, 4)
    z = policy.sample_latent(first, torch.Generator().manual_seed(0))
    assert z.shape == (4000, *policy.latent_shape)
    assert torch.equal(z, policy.sample_latent(first, torch.Generator().manual_seed(0)))
    assert policy.act(first, z, 0).shape == (4000, 2)
    log_prob = policy.latent_log_prob(z, first)
    assert log_prob.shape == (4000,)
    if policy.num_latents is not None and policy.latent_shape == ():
        probs = policy.latent_probs(first)
        assert probs.shape == (4000, policy.num_latents)
        torch.testing.assert_close(probs.sum(1), torch.ones(4000))
        torch.testing.assert_close(probs.gather(1, z.unsqueeze(1)).squeeze(1), log_prob.exp())
        drawn = torch.bincount(z, minlength=policy.num_latents) / 4000
        torch.testing.assert_close(drawn, probs[0], atol=0.04, rtol=0)
    else:
        with pytest.raises(ValueError, match="use latent_log_prob"):
            policy.latent_probs(first)


@pytest.mark.parametrize("name", ALL)
def test_actions_are_drawn_as_in_training(tmp_path, name):
    trainer = trained(config_of(name), tmp_path, environment(name == "points"))
    policy = rpg.load_policy(tmp_path)
    seen = torch.zeros(4000, 4)
    z = policy.sample_latent(seen[:1]).expand(4000, *policy.latent_shape)
    mean = policy.act(seen, z, 2)
    drawn = policy.act(seen, z, 2, deterministic=False, generator=torch.Generator().manual_seed(0))
    assert torch.equal(drawn, policy.act(seen, z, 2, deterministic=False, generator=torch.Generator().manual_seed(0)))
    assert bool((drawn.abs() <= 1).all())
    config = trainer.config
    if name in ("adam", "multistart"):  # without noise
        assert torch.equal(drawn, mean)
    elif isinstance(config, RPGConfig) and not config.learn_std:
        before = torch.atanh(drawn) - torch.atanh(mean)
        torch.testing.assert_close(before.std(0), torch.full((2,), config.std.end), atol=0.01, rtol=0)
    else:
        assert bool((torch.atanh(drawn.clamp(-0.9999, 0.9999)).std(0) > 0.01).all())


@pytest.mark.parametrize("name", ALL)
def test_an_exported_policy_gives_the_same_actions(tmp_path, name):
    trained(config_of(name), tmp_path, environment(name == "points"))
    policy = rpg.load_policy(tmp_path)
    policy.export(tmp_path / "policy.pt2")
    exported = torch.export.load(tmp_path / "policy.pt2").module()
    for batch in (1, 7):
        seen = torch.randn(batch, 4, generator=torch.Generator().manual_seed(batch))
        z, t = policy.sample_latent(seen, torch.Generator().manual_seed(batch)), torch.arange(batch) % 6
        torch.testing.assert_close(exported(seen, z, t), policy.act(seen, z, t), atol=1e-6, rtol=1e-5)


def test_in_another_process_without_the_environment(tmp_path):
    """The class of the environment is not there, and the exported policy needs no rpg either."""
    trainer = trained(SMALL, tmp_path)
    trainer.policy().export(tmp_path / "policy.pt2")
    seen = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    expected = trainer.policy().act(seen, 1, 3)
    torch.save({"seen": seen}, tmp_path / "seen.pt")
    code = f"""
import sys, torch
folder = {str(tmp_path)!r}
seen = torch.load(folder + "/seen.pt")["seen"]
exported = torch.export.load(folder + "/policy.pt2").module()
actions = [exported(seen, torch.ones(5, dtype=torch.int64), torch.full((5,), 3))]
assert "rpg" not in sys.modules
import rpg
actions.append(rpg.load_policy(folder).act(seen, z=1, t=3))
assert "rpg.environments.wall" not in sys.modules
torch.save(actions, folder + "/actions.pt")
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    for actions in torch.load(tmp_path / "actions.pt"):
        torch.testing.assert_close(actions, expected, atol=1e-6, rtol=1e-5)


def test_what_is_wrong_is_said_in_words(tmp_path):
    trained(SMALL, tmp_path)
    policy = rpg.load_policy(tmp_path)
    seen = torch.zeros(5, 4)
    for arguments, message in [
        ((torch.zeros(5, 3), 0, 0), r"observation has shape \(5, 3\); expected \(B, 4\) or \(4,\)"),
        ((torch.zeros(2, 5, 4), 0, 0), r"observation has shape \(2, 5, 4\)"),
        ((torch.zeros(5, 4, dtype=torch.int64), 0, 0), "observation has dtype torch.int64; expected a floating dtype"),
        (([0.0] * 4, 0, 0), "observation is a list"),
        ((seen, None, 0), r"z is missing; expected a latent of shape \(\), 0 to 2"),
        ((seen, 3, 0), "z has values from 3 to 3; allowed are 0 to 2"),
        ((seen, torch.tensor([0, 1, 2, 0, -1]), 0), "z has values from -1 to 2; allowed are 0 to 2"),
        ((seen, 0.5, 0), "z has dtype torch.float32; expected whole numbers"),
        ((seen, torch.zeros(4).long(), 0), r"z has shape \(4,\); expected \(\) or \(5,\)"),
        ((seen, 0, None), "t is missing; expected the step of the episode, 0 to 5"),
        ((seen, 0, 6), "t has values from 6 to 6; allowed are 0 to 5"),
        ((seen, 0, 1.5), "t has dtype torch.float32; expected whole numbers"),
        ((seen, 0, torch.zeros(4).long()), r"t has shape \(4,\); expected \(\) or \(5,\)"),
    ]:
        with pytest.raises(ValueError, match=message) as error:
            policy.act(*arguments)
        assert "\n" not in str(error.value)
    continuous = Trainer(environment(), replace(SMALL, latent="gaussian")).policy()
    with pytest.raises(ValueError, match=r"z is missing; expected a latent of shape \(2,\), 2 numbers"):
        continuous.act(seen, None, 0)
    with pytest.raises(ValueError, match=r"z has dtype torch\.int64; expected a floating dtype"):
        continuous.act(seen, torch.zeros(2).long(), 0)
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        rpg.load_policy(tmp_path / "nowhere")
    (tmp_path / "checkpoint.pt").write_bytes(b"noise")
    with pytest.raises(rpg.CheckpointError, match="no readable checkpoint"):
        rpg.load_policy(tmp_path)


def test_a_policy_keeps_its_precision(tmp_path):
    trained(SMALL, tmp_path, PointMassWall(num_envs=8, horizon=6, dtype=torch.float64))
    assert rpg.load_policy(tmp_path).act(torch.zeros(3, 4), 0, 0).dtype == torch.float64


def test_a_policy_without_time_needs_none(tmp_path, monkeypatch):
    trained(SMALL, tmp_path)
    policy = rpg.load_policy(tmp_path)
    monkeypatch.setattr(type(policy.algorithm.policy), "uses_time", False)
    assert torch.equal(policy.act(torch.zeros(3, 4), 0), policy.act(torch.zeros(3, 4), 0, 0))


class Endless(PointMassWall):
    """The horizon only cuts episodes off, and values do not depend on the time."""

    finite_horizon = False


@pytest.mark.parametrize("general", [True, False])
def test_where_the_time_does_not_matter_none_is_needed(tmp_path, general):
    env = Endless(num_envs=8, horizon=6)
    trainer = Trainer(rpg.from_fixed_horizon(env) if general else env, config_of("sac"), run_dir=tmp_path)
    trainer.train()
    policy, seen = rpg.load_policy(tmp_path), torch.ones(5, 4)
    with torch.no_grad():
        mean, _ = trainer.algorithm.policy.mean_and_log_std(seen)  # of the observation alone
    torch.testing.assert_close(policy.act(seen), torch.tanh(mean))
    assert torch.equal(policy.act(seen, t=3), policy.act(seen))
    policy.export(tmp_path / "policy.pt2")
    exported = torch.export.load(tmp_path / "policy.pt2").module()
    zeros = torch.zeros(5, dtype=torch.int64)
    torch.testing.assert_close(exported(seen, zeros, zeros), policy.act(seen))


@pytest.mark.parametrize("latent", ["categorical", "gaussian"])
def test_the_members_of_a_chain_are_drawn_when_their_turn_comes(tmp_path, latent):
    config = replace(SMALL, latent=latent, latent_segments=2, latent_chain=True, latent_hidden=(8,))
    trainer = trained(config, tmp_path)
    policy, prior = rpg.load_policy(tmp_path), trainer.algorithm.prior
    seen = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    assert policy.draw_steps == (0, 3)
    z = policy.sample_latent(seen, torch.Generator().manual_seed(1))
    assert torch.equal(z, prior.sample_member(0, seen, None, torch.Generator().manual_seed(1)))
    after = policy.sample_latent(seen, torch.Generator().manual_seed(2), t=3, before=z)
    assert torch.equal(after, prior.sample_member(1, seen, z, torch.Generator().manual_seed(2)))
    with torch.no_grad():
        expected = prior.member_log_prob(1, after, seen, z)
        action = torch.tanh(trainer.algorithm.policy.mean(seen, after, 3))
    torch.testing.assert_close(policy.latent_log_prob(after, seen, t=3, before=z), expected)
    torch.testing.assert_close(policy.act(seen, after, 3), action)
    for arguments, message in [
        ({"t": 1}, "t was given 1; allowed are the steps at which z is drawn, 0, 3"),
        ({"t": 3}, "before was not given at t = 3"),
        ({"t": 0, "before": z}, "before was given at t = 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            policy.sample_latent(seen, **arguments)


def test_it_does_not_change_with_further_training(tmp_path):
    trainer = Trainer(environment(), SMALL)
    policy = trainer.policy()
    before = policy.act(torch.ones(3, 4), 0, 0)
    trainer.train()
    assert torch.equal(policy.act(torch.ones(3, 4), 0, 0), before)
    assert not torch.equal(trainer.policy().act(torch.ones(3, 4), 0, 0), before)
