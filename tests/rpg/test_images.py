"""Model-based RPG from images: the encoder learns, frames are stacked, runs resume, and settings that do not fit are named."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch.nn import functional

import rpg
from rpg.algorithms import build_algorithm
from rpg.algorithms.model_based_rpg import ModelBasedRPGConfig
from rpg.environments.stacked_frames import StackedFrames
from rpg.environments.wall import PointMassWall
from rpg.models.image_encoder import SMALLEST, ImageEncoder, Thumbnails
from rpg.protocol import Box, EnvironmentSpec, ProtocolError, Step, check_environment
from rpg.settings_checks import SettingError
from rpg.training.schedules import Schedule
from rpg.training.trainer import Trainer
from tests.rpg.resuming import whole_and_resumed

SMALL = ModelBasedRPGConfig(
    hidden=(8,),
    memory=8,
    state_dim=4,
    channels=3,
    novelty_hidden=(8,),
    latent_dim=2,
    embedding=0,
    batch_size=8,
    random_steps=16,
    buffer_size=200,
    seed=1,
    iterations=4,
)


@dataclass(frozen=True)
class Spot:
    """A bright spot on a dark picture that an action moves along a row; the reward is its place. Episodes start anywhere and
    have 5 steps."""

    num_envs: int = 4
    size: int = 40
    finite_horizon: bool = False

    @property
    def spec(self):
        seen = Box((self.size, self.size, 3), 0, 255, torch.uint8)
        return EnvironmentSpec(seen, Box((2,), -1.0, 1.0), time_limit=5, finite_horizon=self.finite_horizon)

    def seen(self, place):
        picture = torch.zeros(self.num_envs, self.size, self.size, 3, dtype=torch.uint8)
        column = (place * (self.size - 8)).long()
        for n, first in enumerate(column.tolist()):
            picture[n, 16:24, first : first + 8] = torch.tensor([250, 120, 60], dtype=torch.uint8)
        return picture

    def reset(self, seed=None, *, state=None, where=None):
        if state is None:
            draws = torch.Generator().manual_seed(seed or 0)
            place, age = torch.rand(self.num_envs, generator=draws), torch.zeros(self.num_envs, dtype=torch.int64)
        else:
            start = (state[0] * 7.3) % 1.0
            place, age = torch.where(where, start, state[0]), torch.where(where, 0, state[1])
        return (place, age), self.seen(place)

    def step(self, state, action):
        place, age = (state[0] + 0.3 * action[:, 0]).clamp(0, 1), state[1] + 1
        ended, never = age >= 5, torch.zeros(self.num_envs, dtype=torch.bool)
        terminated, truncated = (ended, never) if self.finite_horizon else (never, ended)
        return Step((place, age), self.seen(place), place, terminated, truncated, {"success": place > 0.8})

    def snapshot(self, state):
        return {"place": state[0], "age": state[1]}

    def restore(self, snapshot):
        return (snapshot["place"], snapshot["age"]), self.seen(snapshot["place"])


def started(config=SMALL, env=None, iterations=2):
    env = env or StackedFrames(Spot())
    algorithm = build_algorithm(env, config, check_environment(env))
    for iteration in range(iterations):
        algorithm.iterate(iteration)
    return algorithm


def test_frames_are_stacked():
    env = StackedFrames(Spot(), 3)
    check_environment(env)
    state, first = env.reset(2)
    plain, picture = Spot().reset(2)
    assert env.spec.observation.shape == (40, 40, 9)
    assert torch.equal(first, torch.cat([picture] * 3, dim=-1))
    action = torch.full((4, 2), 0.5)
    states, pictures = [state], [picture, picture, picture]
    for _ in range(2):
        step, own = env.step(states[-1], action), Spot().step(plain, action)
        plain, pictures = own.state, [*pictures[1:], own.observation]
        states.append(step.state)
        assert torch.equal(step.observation, torch.cat(pictures, dim=-1))
    where = torch.tensor([True, False, True, False])
    _, seen = env.reset(state=states[-1], where=where)
    assert torch.equal(seen[1], states[-1].frames[1])
    assert torch.equal(seen[0, ..., :3], seen[0, ..., 6:])
    again, seen = env.restore(env.snapshot(states[1]))
    assert torch.equal(seen, states[1].frames)
    assert torch.equal(env.step(again, action).observation, states[2].frames)
    with pytest.raises(ProtocolError, match="frames are stacked"):
        StackedFrames(rpg.from_fixed_horizon(PointMassWall()))


def test_the_buffer_keeps_bytes_and_the_encoder_scales_them():
    algorithm = started()
    batch = algorithm.buffer.sample(5, torch.Generator().manual_seed(0))
    assert batch.observation.dtype == batch.next_observation.dtype == torch.uint8
    assert batch.observation.shape == (5, 40, 40, 6)
    encoder = ImageEncoder((40, 44, 2), 3, (8, 5), generator=torch.Generator().manual_seed(0))
    images = torch.randint(0, 256, (3, 40, 44, 2), dtype=torch.uint8)
    assert encoder.alone(images).shape == (3, 5)
    torch.testing.assert_close(encoder.alone(images), encoder.alone(images.float()))
    hidden = images.movedim(-1, 1) / 255 - 0.5
    for layer in range(4):
        weight, bias = getattr(encoder, f"weight{layer}"), getattr(encoder, f"bias{layer}")
        hidden = functional.silu(functional.conv2d(hidden, weight, bias, stride=2))
    torch.testing.assert_close(encoder.alone(images), encoder.network.alone(hidden.flatten(1)))
    with pytest.raises(SettingError, match=rf"38 x 44 pixels.* {SMALLEST} x {SMALLEST}"):
        ImageEncoder((38, 44, 2), 3, (8, 5), generator=torch.Generator())


def test_a_gradient_reaches_the_encoder_and_the_model_learns():
    weights = {"state_weight": 1.0, "reward_weight": 10.0, "value_weight": 0.0, "novelty": 0.0}
    config = replace(SMALL, learning_rate=0.01, reward_scale=Schedule.constant(1.0), hidden=(16,), memory=16, **weights)
    algorithm = started(replace(config, random_steps=120), iterations=6)
    encoder = algorithm.networks.model.encoder
    before = [each.detach().clone() for each in encoder.parameters()]
    losses = [algorithm._improve_model(3)["reward_loss"] for _ in range(80)]
    assert all(float(each.grad.abs().max()) > 0 for each in encoder.parameters())
    assert all(not torch.equal(a, b) for a, b in zip(before, encoder.parameters(), strict=True))
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])


def test_novelty_sees_what_moves():
    """Of small pictures; where they never change they are 0, and a spot in a new place is novel."""
    thumbnails = Thumbnails(3)
    env = Spot(num_envs=64)
    seen = env.seen(torch.rand(64, generator=torch.Generator().manual_seed(0)) * 0.5)
    small = thumbnails(seen, learn=True)
    assert small.shape == (64, 768)
    assert float(small.abs().max()) <= 5
    rows = small.view(64, 3, 16, 16)
    assert float(rows[:, :, :6].abs().max()) == float(rows[:, :, 10:].abs().max()) == 0
    assert float(thumbnails(env.seen(torch.full((64,), 0.9))).abs().max()) == 5
    algorithm = started(iterations=4)
    assert int(algorithm.novelty.count) == 20
    assert float(algorithm.thumbnails.normalizer.count) == 20 * 8


@pytest.mark.parametrize("latent", ["gaussian", "none"])
def test_a_run_with_images_resumes_bit_for_bit(tmp_path, latent):
    config = replace(SMALL, steps=4, latent=latent, learn_latent=latent != "none")  # iterations end within episodes

    def trainer(folder, resume=False):
        env = StackedFrames(Spot())
        return Trainer(env, config, run_dir=tmp_path / folder, resume=resume, checkpoint_interval=1)

    whole, resumed, _ = whole_and_resumed(trainer, stopped_after=1)
    for name, module in whole.algorithm.modules.items():
        for a, b in zip(resumed.algorithm.modules[name].state_dict().values(), module.state_dict().values(), strict=True):
            assert torch.equal(a, b), name
    policy = rpg.load_policy(tmp_path / "whole")
    first = StackedFrames(Spot()).reset(3)[1].flatten(1)
    z = policy.sample_latent(first.float(), torch.Generator().manual_seed(0))
    states = whole.algorithm.networks.model.encode(first.view(4, 40, 40, 6))
    mean = whole.algorithm.networks.actor.mean_and_std(states, z)[0]
    torch.testing.assert_close(policy.act(first.float(), z), mean.detach().tanh())


def test_settings_that_do_not_go_with_images():
    env = StackedFrames(Spot())
    for changes, words in (
        ({"embedding": 6}, "embedding was given 6; allowed with images is 0"),
        ({"latent_hidden": (8,)}, r"latent_hidden was given \(8,\); allowed with images is \(\)"),
        ({"normalize_observations": True}, "normalize_observations was given True; allowed with images is False"),
    ):
        with pytest.raises(SettingError, match=words):
            Trainer(env, replace(SMALL, **changes))
    with pytest.raises(SettingError, match="images were given with a finite horizon"):
        Trainer(Spot(finite_horizon=True), SMALL)
    with pytest.raises(SettingError, match=r"algorithm was given 'sac', which needs vectors; .* 'mbrpg'"):
        Trainer(env, rpg.SACConfig())
    with pytest.raises(SettingError, match="images of 16 x 16 pixels"):
        Trainer(Spot(size=16), SMALL)
    with pytest.raises(ValueError, match="channels was given 0"):
        replace(SMALL, channels=0)
