"""Environments of Gymnasium: spaces, ends, resets one by one, and states as values."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import rpg
from rpg.cli.main import main
from rpg.environments.gymnasium_environment import environment_seeds
from rpg.protocol import Box, DictSpace, ProtocolError, check_environment
from rpg.runs.task_lookup import built_environment, task_class, task_name
from rpg.training.trainer import Trainer

gymnasium = pytest.importorskip("gymnasium")


class Counter(gymnasium.Env):  # type: ignore[name-defined]
    """Counts up from a random number below `spread` to 10, by 1 + what the action rounds to; the goal is above 9."""

    observation_space = gymnasium.spaces.Dict(
        {
            "image": gymnasium.spaces.Box(0, 255, (4, 4, 3), np.uint8),
            "inner": gymnasium.spaces.Dict({"count": gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float64)}),
        }
    )
    action_space = gymnasium.spaces.Box(np.array([[0.0], [-4.0]], np.float32), np.array([[2.0], [8.0]], np.float32))

    def __init__(self, spread=3):
        self.spread = spread

    def seen(self):
        return {"image": np.full((4, 4, 3), self.count % 256, np.uint8), "inner": {"count": np.array([self.count], np.float64)}}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = int(self.np_random.integers(self.spread))
        self.last = None
        return self.seen(), {}

    def step(self, action):
        assert self.count < 10, "stepped after the end"
        self.last = action
        self.count += 1 + round(float(action[0, 0])) + int(self.np_random.integers(2))
        return self.seen(), float(action[1, 0]), self.count >= 10, False, {"is_success": float(self.count > 10)}


def counters(num_envs=3, **options):
    return rpg.from_gymnasium(Counter, num_envs, **options)


def test_spaces_bounds_and_ends():
    env = counters(time_limit=7)
    assert isinstance(env.spec.observation, DictSpace)
    assert list(env.spec.observation.boxes) == ["image", "inner/count"]
    assert env.spec.observation.boxes["image"].is_image
    assert env.spec.action.low.tolist() == [0.0, -4.0]
    assert env.spec.time_limit == 7
    assert not env.spec.differentiable
    check_environment(env)

    state, seen = env.reset(0)
    assert seen["image"].dtype == torch.uint8
    assert seen["image"].shape == (3, 4, 4, 3)
    step = env.step(state, torch.tensor([[-1.0, -1.0], [1.0, 1.0], [0.0, 0.0]]))
    assert step.reward.tolist() == [-4.0, 8.0, 2.0]  # the true bounds
    state = step.state
    for _ in range(6):
        step = env.step(state, torch.tensor([[-1.0, 0.0]] * 2 + [[1.0, 0.0]]))
        state = step.state
    # the last one ended long ago, and keeps its final observation; the others may have been cut off in the 7th step
    assert bool(step.terminated[2])
    assert float(step.observation["inner/count"][2]) >= 10
    assert float(step.reward[2]) == 0.0
    assert not bool((step.terminated & step.truncated).any())
    assert bool((step.terminated | step.truncated).all())
    assert step.info["success"].dtype == torch.bool


def test_resets_by_mask_keep_to_their_own_generators():
    env = counters(num_envs=4)
    first = {name: each.clone() for name, each in env.reset(5)[1].items()}
    seen = env.reset(5)[1]
    assert torch.equal(seen["inner/count"], first["inner/count"])
    assert environment_seeds(5, 2) != environment_seeds(6, 2)
    assert not set(environment_seeds(5, 4)) & set(environment_seeds(6, 4))

    def draws(masks):
        """The counts after resets by these masks."""
        state, seen = env.reset(5)
        for mask in masks:
            state, seen = env.reset(state=state, where=torch.tensor(mask))
        return seen["inner/count"].squeeze(1).tolist()

    env = rpg.from_gymnasium(lambda: Counter(1000), 4)
    once = draws([[True] * 4])
    assert draws([[True, False, False, False], [False, True, True, True]]) == once
    assert draws([[False, True, False, False], [True, False, True, True]]) == once
    twice = draws([[True] * 4, [True] * 4])
    assert draws([[True, False, False, False]] * 2) == [twice[0], *draws([])[1:]]


def test_states_are_values_and_snapshots_round_trip():
    env = counters(num_envs=2, time_limit=5)
    generator = torch.Generator().manual_seed(0)

    def go(env, state, steps, actions):
        seen = []
        for action in actions[:steps]:
            step = env.step(state, action)
            state, ended = step.state, step.terminated | step.truncated
            if bool(ended.any()):
                state, _ = env.reset(state=state, where=ended)
            seen.append(step.observation["inner/count"].squeeze(1).tolist())
        return state, seen

    actions = torch.rand(40, 2, 2, generator=generator) - 0.8
    middle, _ = go(env, env.reset(1)[0], 13, actions)
    _, onward = go(env, middle, 20, actions[13:])
    _, again = go(env, middle, 20, actions[13:])  # from an older state
    assert again == onward
    snapshot = env.snapshot(middle)
    other = counters(num_envs=2, time_limit=5)
    restored, _ = other.restore(snapshot)
    assert go(other, restored, 20, actions[13:])[1] == onward


def test_a_checkpoint_can_hold_a_snapshot(tmp_path):
    env = counters()
    state, _ = env.reset(0)
    state, _ = env.reset(state=state)  # with generators' states
    torch.save(env.snapshot(env.step(state, torch.zeros(3, 2)).state), tmp_path / "snapshot.pt")
    env.restore(torch.load(tmp_path / "snapshot.pt", weights_only=True))


def test_an_interrupted_step_is_played_again():
    class Interrupted(Counter):
        stop = -1

        def step(self, action):
            result = super().step(action)
            Interrupted.stop -= 1
            if Interrupted.stop == 0:
                raise KeyboardInterrupt
            return result

    env = rpg.from_gymnasium(Interrupted, 3)
    state, _ = env.reset(0)
    action = torch.full((3, 2), -1.0)
    expected = env.step(state, action).observation["inner/count"]
    state, _ = env.reset(0)
    Interrupted.stop = 2
    with pytest.raises(KeyboardInterrupt):
        env.step(state, action)
    assert torch.equal(env.step(state, action).observation["inner/count"], expected)


@pytest.mark.parametrize("name", ["Hopper-v5", "HalfCheetah-v5"])
def test_mujoco_goes_on_bit_for_bit(name):
    pytest.importorskip("mujoco")
    env = rpg.from_gymnasium(name, 2)
    assert env.spec.time_limit == 1000
    state, _ = env.reset(0)
    noise = torch.rand(60, 2, env.spec.action_dim, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def go(env, state, actions):
        seen = []
        for action in actions:
            step = env.step(state, action)
            seen.append(step.observation)
            state, _ = env.reset(state=step.state, where=step.terminated | step.truncated)
        return state, torch.stack(seen)

    state, _ = go(env, state, noise[:40])
    snapshot = env.snapshot(state)
    _, expected = go(env, state, noise[40:])
    other = rpg.from_gymnasium(name, 2)
    _, found = go(other, other.restore(snapshot)[0], noise[40:])
    assert torch.equal(found, expected)


def test_what_cannot_be_wrapped_is_named():
    with pytest.raises(ProtocolError, match=r"the action space is Discrete\(2\); expected a Box"):
        rpg.from_gymnasium("CartPole-v1")
    with pytest.raises(rpg.SettingError, match="Gymnasium cannot make 'Nowhere-v0'"):
        rpg.from_gymnasium("Nowhere-v0")
    with pytest.raises(ProtocolError, match=r"expected AutoresetMode\.DISABLED"):
        rpg.from_gymnasium(gymnasium.make_vec("Pendulum-v1", num_envs=2))
    with pytest.raises(ProtocolError, match=r"wrap it by rpg\.from_gymnasium"):
        Trainer(gymnasium.make("Pendulum-v1"), rpg.CEMConfig())
    asynchronous = gymnasium.vector.AsyncVectorEnv(
        [lambda: gymnasium.make("Pendulum-v1")] * 2, autoreset_mode=gymnasium.vector.AutoresetMode.DISABLED
    )
    env = rpg.from_gymnasium(asynchronous)
    state, _ = env.reset(0)
    assert bool(env.step(state, torch.zeros(2, 1)).reward.isfinite().all())
    with pytest.raises(ProtocolError, match="AsyncVectorEnv cannot go on from another state"):
        env.snapshot(state)
    env.close()


def test_whole_episode_algorithms_and_the_command_line_take_it():
    task = task_class("gymnasium:Pendulum-v1")
    assert task_name(task) == "gymnasium:Pendulum-v1"
    env = built_environment(task, 2)
    assert isinstance(env.spec.observation, Box)
    env = rpg.from_gymnasium("Pendulum-v1", 8, time_limit=10)
    result = Trainer(env, rpg.CEMConfig(iterations=2)).train()
    assert len(result.history) == 2
    result = Trainer(env, rpg.RPGConfig(iterations=2, num_latents=2)).train()
    assert result.history[-1].terms["pathwise_share"] == 0.0
    with pytest.raises(rpg.SettingError, match="'adam', which needs gradients"):
        Trainer(env, rpg.AdamConfig())


def test_the_documented_examples_run():
    text = (Path(rpg.__file__).parent.parent / "docs" / "environments.md").read_text()
    scope: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(block, scope)
    env = scope["Reach"]()
    state, first = env.reset(3)
    assert torch.equal(env.reset(3)[1], first)
    step = env.step(state, torch.full((8, 1), 0.5))
    restored, seen = env.restore(env.snapshot(step.state))
    assert torch.equal(seen, step.observation)
    where = torch.arange(8) < 3
    a, b = (env.reset(state=each, where=where)[1] for each in (step.state, restored))
    assert torch.equal(a, b)
    assert torch.equal(a[3:], seen[3:])
    assert scope["streaming"].history[-1].terms["episodes"] >= 8
    assert len(scope["pathwise"].history) == 3


@pytest.mark.slow
def test_the_command_line_trains_sac(tmp_path, capsys):
    arguments = ["optimize", "gymnasium:Pendulum-v1", "--algo", "sac", "--iterations", "2", "--num-envs", "2"]
    options = ["--steps", "40", "--random-steps", "40", "--hidden", "16", "16", "--out", str(tmp_path)]
    assert main([*arguments, *options]) == 0
    assert "gymnasium:Pendulum-v1: 2 environments, horizon 200, sac" in capsys.readouterr().out
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["simulator_steps"] == 160
    assert (tmp_path / "replay" / "steps.reward.bin").stat().st_size == 4 * 160
    assert main([*arguments, *options, "--resume"]) == 0
