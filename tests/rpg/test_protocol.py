"""The protocol: what is refused before an episode is spent, and both forms of an environment as each other."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from rpg.algorithms import CONFIGS
from rpg.algorithms.adam import AdamConfig
from rpg.algorithms.cem import CEMConfig
from rpg.algorithms.rpg import RPGConfig
from rpg.algorithms.shac import SHACConfig
from rpg.environments.fixed_horizon import batch_seed, from_fixed_horizon, general, merged
from rpg.environments.wall import PointMassWall
from rpg.environments.whole_episodes import WholeEpisodes, whole_episodes
from rpg.protocol import Box, DictSpace, EnvironmentSpec, ProtocolError, Step, check_environment
from rpg.settings_checks import SettingError
from rpg.training.rollout import rolled_out
from rpg.training.trainer import Trainer

FIXED = PointMassWall(num_envs=4, horizon=5)


SPEC = EnvironmentSpec(DictSpace({"x": Box((1,)), "steps": Box((1,))}), Box((1,), -1.0, 1.0), time_limit=6, differentiable=True)


@dataclass
class Walk:
    """x += a / 4 from x = 0; terminates above `limit`. The reward is a, and the observation holds x and the steps so far."""

    num_envs: int = 3
    spec: EnvironmentSpec = SPEC
    limit: float = 0.9

    def reset(self, seed=None, *, state=None, where=None):
        x = torch.zeros(self.num_envs, 2)
        if state is not None and where is not None:
            x = torch.where(where[:, None], x, state)
        return x, self.seen(x)

    def seen(self, x):
        return {"x": x[:, :1], "steps": x[:, 1:]}

    def step(self, state, action):
        x = torch.cat([state[:, :1] + action / 4, state[:, 1:] + 1], dim=1)
        terminated = x[:, 0] > self.limit
        info = {"success": terminated, "outcome": x[:, 1].long().detach(), "anything": "else"}
        return Step(x, self.seen(x), action[:, 0], terminated, (x[:, 1] >= 6) & ~terminated, info)

    def snapshot(self, state):
        return state

    def restore(self, snapshot):
        return snapshot, self.seen(snapshot)


def changed(**changes):
    """A Walk whose step is changed."""

    class Changed(Walk):
        def step(self, state, action):
            return super().step(state, action)._replace(**changes)

    return Changed()


@pytest.mark.parametrize(
    ("env", "words"),
    [
        (changed(reward=torch.zeros(3, 1)), r"reward has shape \(3, 1\); expected \(3,\)"),
        (changed(reward=torch.zeros(3)), "reward has no gradient .* as differentiable is True"),
        (changed(reward=torch.zeros(3, dtype=torch.float64)), "reward is torch.float64 .* expected torch.float32"),
        (changed(terminated=torch.zeros(3)), "terminated has dtype torch.float32; expected torch.bool"),
        (changed(truncated=False), r"truncated is a bool; expected a tensor of shape \(3,\)"),
        (changed(observation=torch.zeros(3, 2)), r"observation of step is a Tensor; expected a dict of \['x', 'steps'\]"),
        (changed(observation={"x": torch.zeros(3, 1), "steps": torch.zeros(3, 1).long()}), "dtype torch.int64; expected"),
        (changed(info=None), "info is a NoneType; expected a dict"),
        (changed(info={"success": torch.ones(3)}), r"info\['success'\] has dtype torch.float32; expected torch.bool"),
        (changed(info={"success": 1.0}), r"info\['success'\] is a float; expected a tensor of shape \(3,\)"),
        (changed(info={"outcome_features": torch.ones(3)}), r"outcome_features'\] has shape \(3,\); expected \(3, F\)"),
        (Walk(num_envs=0), "num_envs is 0; expected a positive int"),
        (object(), "object without spec .* reset, observe, step; expected an rpg.Environment or"),
    ],
)
def test_errors_of_the_general_form_come_in_the_first_step(env, words):
    with pytest.raises(ProtocolError, match=words) as error:
        check_environment(env)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Box((2,), 0.0, [1.0, 0.0]), r"low \[0.0, 0.0\], high \[1.0, 0.0\]; expected low < high"),
        (lambda: Box((2,), [0.0, 1.0, 2.0]), r"Box.low has shape \(3,\); expected \(2,\)"),
        (lambda: EnvironmentSpec(Box((2,)), Box((2,))), r"spec.action has the bounds .*inf.*; expected finite"),
        (lambda: EnvironmentSpec(Box((2,)), Box((2, 2), -1.0, 1.0)), r"expected a Box of floating point and shape \(A,\)"),
        (lambda: EnvironmentSpec(Box((2,)), Box((2,), -1.0, 1.0), time_limit=0), "time_limit is 0; expected a positive int"),
        (lambda: EnvironmentSpec((2,), Box((2,), -1.0, 1.0)), "spec.observation is a tuple; expected a Box or a DictSpace"),
        (lambda: EnvironmentSpec(Box((2,)), Box((2,), -1.0, 1.0), finite_horizon=True), "expected a time_limit"),
    ],
)
def test_errors_of_specs(make, words):
    with pytest.raises(ProtocolError, match=words):
        make()


def test_errors_of_the_fixed_horizon_form():
    class Float(PointMassWall):
        def step(self, state, action):
            state, reward, info = super().step(state, action)
            return state, reward, {**info, "success": info["success"].float()}

    class Detached(PointMassWall):
        differentiable = True

        def step(self, state, action):
            state, reward, info = super().step(state, action)
            return state, reward.detach(), info

    class Blunt(PointMassWall):
        def step(self, state, action):
            return super().step(state, action.detach())

    with pytest.raises(ProtocolError, match=r"info\['success'\] has dtype torch.float32; expected torch.bool"):
        Trainer(Float(num_envs=2), RPGConfig())
    with pytest.raises(ProtocolError, match="reward has no gradient"):
        Trainer(Detached(num_envs=2), RPGConfig())
    with pytest.warns(UserWarning, match="Blunt: no gradient flows .* differentiable = False"):
        check_environment(Blunt(num_envs=2))


@pytest.mark.parametrize("config", [AdamConfig(), SHACConfig(window=3)])
def test_what_needs_gradients_says_so_at_once(config):
    class Blunt(PointMassWall):
        differentiable = False

        def step(self, state, action):
            return super().step(state, action.detach())

    with pytest.raises(SettingError, match=f"'{config.algorithm}', which needs gradients; allowed .* 'cem'"):
        Trainer(Blunt(num_envs=8, horizon=6), config)
    Trainer(Blunt(num_envs=8, horizon=6), RPGConfig(iterations=1)).train()


def test_whole_episodes_end_where_the_episode_does():
    view = whole_episodes(Walk())
    assert isinstance(view, WholeEpisodes)
    assert (view.horizon, view.action_dim, view.observation_dim, view.differentiable) == (6, 1, 2, True)
    assert general(view) is view.environment
    state = view.reset(0)
    actions = torch.tensor([[1.0], [0.5], [0.0]], requires_grad=True)
    total = torch.zeros(3)
    for _ in range(6):
        state, reward, info = view.step(state, actions)
        total = total + reward
    assert total.tolist() == [4.0, 3.0, 0.0]  # the first ends after 4 steps, x = 1
    assert state.running.tolist() == [False, False, False]
    assert view.observe(state).tolist() == [[1.0, 4.0], [0.75, 6.0], [0.0, 6.0]]
    assert info["success"].tolist() == [True, False, False]
    assert info["outcome"].tolist() == [4, 6, 6]
    (gradient,) = torch.autograd.grad(total.sum(), actions)
    assert gradient.squeeze(1).tolist() == [4.0, 6.0, 6.0]


def test_views_that_need_what_is_not_there():
    endless = Walk(spec=EnvironmentSpec(SPEC.observation, SPEC.action))
    with pytest.raises(ProtocolError, match="time_limit is None"):
        Trainer(endless, CEMConfig())
    image = Walk(spec=EnvironmentSpec(Box((4, 4, 3), dtype=torch.uint8), SPEC.action, time_limit=5))
    assert image.spec.observation.is_image
    assert whole_episodes(image).observation_dim == 48  # pixels, for algorithms that take images
    mixed = Walk(spec=EnvironmentSpec(DictSpace({"image": Box((4, 4, 3), dtype=torch.uint8)}), SPEC.action, time_limit=5))
    with pytest.raises(ProtocolError, match="holds integers"):
        whole_episodes(mixed).reset(0)


@pytest.mark.parametrize("name", [n for n in CONFIGS if n not in ("ppo", "sac", "sql", "hmc", "langevin", "diffusion")])
def test_every_whole_episode_algorithm_takes_the_general_form(name):
    kind = CONFIGS[name]
    options = {"window": 3} if name in ("shac", "sapo") else {}
    fixed = {"num_latents": 1} if name in ("gaussian", "reinforce") else {}
    config = kind(algorithm=name, iterations=3, **options, **fixed)
    result = Trainer(Walk(num_envs=8), config).train()
    assert len(result.history) == 3
    assert np.isfinite([row.return_mean for row in result.history]).all()


def test_a_fixed_horizon_environment_in_the_general_form_is_the_same():
    env = from_fixed_horizon(FIXED)
    check_environment(env)
    assert env.spec.finite_horizon
    policy = Trainer(FIXED, RPGConfig(num_latents=2)).algorithm.policy
    latent, noise = torch.zeros(1, 4, dtype=torch.int64), torch.randn(5, 4, 2)
    direct = rolled_out(FIXED, policy, latent, state=FIXED.reset(3), std=0.3, noise=noise)
    view = WholeEpisodes(env)
    wrapped = rolled_out(view, policy, latent, state=view.reset(3), std=0.3, noise=noise)
    for name in ("observations", "rewards", "success", "outcome"):
        assert torch.equal(getattr(direct, name), getattr(wrapped, name)), name
    grads = [torch.autograd.grad(t.rewards.sum(), policy.table)[0] for t in (direct, wrapped)]
    assert torch.equal(*grads)
    # the horizon ends an episode for good
    state, _ = env.reset(3)
    ends = []
    for _ in range(5):
        step = env.step(state, torch.zeros(4, 2))
        state = step.state
        ends.append((step.terminated.tolist(), step.truncated.any().item()))
    assert ends == [([False] * 4, False)] * 4 + [([True] * 4, False)]
    # unless it is said to be none of the problem's
    cut = from_fixed_horizon(type("Cut", (PointMassWall,), {"finite_horizon": False})(num_envs=4, horizon=1))
    step = cut.step(cut.reset(3)[0], torch.zeros(4, 2))
    assert (bool(step.terminated.any()), bool(step.truncated.all())) == (False, True)
    assert not WholeEpisodes(cut).finite_horizon


def test_a_reset_of_one_does_not_change_the_draws_of_another():
    env = from_fixed_horizon(replace(FIXED, spread=1.0))
    state, first = env.reset(7)
    again, second = env.reset(state=state)  # all
    assert not torch.equal(first, second)
    assert torch.equal(second, env.wrapped.observe(env.wrapped.reset(batch_seed(7, 1))))
    where = torch.tensor([True, False, False, True])
    partly, seen = env.reset(state=state, where=where)
    assert torch.equal(seen[where], second[where])
    assert torch.equal(seen[~where], first[~where])
    moved = env.step(partly, torch.ones(4, 2)).state
    assert moved.ages.tolist() == [1, 1, 1, 1]
    later, seen = env.reset(state=moved, where=~where)  # the second draw of the others, whenever it comes
    assert torch.equal(seen[~where], second[~where])
    assert later.ages.tolist() == [1, 0, 0, 1]
    _, third = env.reset(state=later)
    assert torch.equal(third, env.reset(state=again)[1])
    reseeded, seen = env.reset(9, state=later, where=where)
    assert torch.equal(seen[where], env.reset(9)[1][where])
    # and a snapshot brings all of that back
    snapshot = env.snapshot(reseeded)
    restored, seen_again = from_fixed_horizon(env.wrapped).restore(snapshot)
    assert torch.equal(seen, seen_again)
    a, b = (env.step(each, torch.full((4, 2), 0.3)) for each in (reseeded, restored))
    assert torch.equal(a.observation, b.observation)
    assert torch.equal(env.reset(state=a.state)[1], env.reset(state=b.state)[1])


def test_states_that_cannot_be_reset_one_by_one_are_named():
    where = torch.tensor([True, False])
    a, b = {"x": torch.zeros(2, 3), "t": 1}, {"x": torch.ones(2, 3), "t": 1}
    assert merged(where, a, b)["x"].tolist() == [[0.0] * 3, [1.0] * 3]
    with pytest.raises(ProtocolError, match="a state holds a int that cannot be reset for some environments alone"):
        merged(where, a, {**b, "t": 2})
