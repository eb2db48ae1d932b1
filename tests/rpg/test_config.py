"""Settings and their errors: one line that names the argument, the value given and what is allowed."""

import json
from dataclasses import replace

import pytest
import torch

import rpg
from rpg import RPGConfig
from rpg.models.network import RunningNormalizer
from rpg.training.schedules import Schedule


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_latents": 0}, ("num_latents", "0", ">= 1")),
        ({"iterations": -3}, ("iterations", "-3", ">= 1")),
        ({"policy": "lstm"}, ("policy", "'lstm'", "'table'", "'mlp'")),
        ({"algorithm": "ppo"}, ("algorithm", "'ppo'", "'rpg'")),
        ({"grad_clip": float("nan")}, ("grad_clip", "nan", "finite numbers")),
        ({"policy_learning_rate": -1.0}, ("policy_learning_rate", "-1.0", "> 0")),
        ({"std": Schedule(0.3, 0.0)}, ("std.end", "0.0", "> 0")),
        ({"beta": Schedule(-1.0, 0.0)}, ("beta", "-1.0", ">= 0")),
        ({"posterior_hidden": (64, 0)}, ("posterior_hidden", "0", ">= 1")),
        ({"algorithm": "gaussian"}, ("num_latents", "None", "1")),
        ({"seed": 1.5}, ("seed", "1.5", "whole numbers")),
    ],
)
def test_errors_name_argument_value_and_allowed(arguments, words):
    with pytest.raises(ValueError, match=words[0]) as error:
        RPGConfig(**arguments)
    message = str(error.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_every_config_and_every_error_is_exported():
    names = {kind.__name__ for kind in rpg.CONFIGS.values()}
    names |= {"CheckpointError", "CheckpointMismatch", "NotFiniteError", "ProtocolError", "SettingError"}
    assert names <= set(rpg.__all__)
    assert all(hasattr(rpg, name) for name in rpg.__all__)  # ruff's RUF022 keeps it sorted


def test_schedule():
    schedule = Schedule(1.0, 0.0, 0.3, 0.8)
    values = [schedule.value(p) for p in (0.0, 0.3, 0.55, 0.8, 1.0)]
    assert values == pytest.approx([1.0, 1.0, 0.5, 0.0, 0.0])
    assert Schedule.constant(0.3).value(0.7) == 0.3
    assert Schedule(1.0, 2.0, 0.5, 0.5).value(0.6) == 2.0
    with pytest.raises(ValueError, match=r"begin=0\.9"):
        Schedule(1.0, 0.0, 0.9, 0.8)


def test_round_trip_through_json():
    config = RPGConfig(policy="mlp", seed=3, policy_hidden=(32,))
    assert RPGConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(ValueError, match="'momentum'"):
        RPGConfig.from_dict({"momentum": 0.9})


def test_gaussian_is_the_same_run_with_one_latent():
    config = RPGConfig(policy="mlp", seed=4)
    baseline = config.gaussian()
    assert baseline.num_latents == 1
    names = ("algorithm", "num_latents", "start_spread", "beta", "alpha_z")
    assert replace(baseline, **{name: getattr(config, name) for name in names}) == config


def test_running_normalizer_matches_all_the_data():
    data = torch.randn(300, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 2.0, 0.5]) + 5
    normalizer = RunningNormalizer(3)
    torch.testing.assert_close(normalizer(data[:2]), data[:2].clamp(-10, 10))
    for part in data.split([10, 90, 200]):
        normalizer.update(part)
    torch.testing.assert_close(normalizer.mean, data.mean(0))
    torch.testing.assert_close(normalizer.variance, data.var(0, correction=0))


def test_features_of_any_scale_are_normalised_alike_and_rounding_is_not_blown_up():
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(200, 3, generator=generator) * torch.tensor([1e-4, 1.0, 1e4])
    data = torch.cat([data, torch.full((200, 1), 0.5) + 1e-7 * torch.randn(200, 1, generator=generator)], -1)
    normalizer = RunningNormalizer(4)
    normalizer.update(data)
    torch.testing.assert_close(normalizer(data).std(0)[:3], torch.ones(3), rtol=0.05, atol=0)
    assert float(normalizer(data)[:, 3].abs().max()) < 0.1
