"""Episodes: what is drawn for each environment, early ends, and resets of some of them."""

import pickle

import pytest
import torch

import diffsim as ds
from rpg import RPGConfig, Trainer, from_fixed_horizon
from rpg.protocol import check_environment
from rpg.training.collector import Choice, Collector
from rpg.training.rollout import detached
from tests.tasks.ball import Ball, played

pytestmark = pytest.mark.slow


class Fragile(Ball):
    """Fails beyond y = 2 cm, and ends at the goal."""

    horizon = 8
    spread = 0.0
    ends_on_success = True

    def failure(self, episode):
        return episode.state.q[:, 1] > 0.02


def test_every_environment_has_its_goal_whatever_the_batch():
    many, few = Ball(5).reset(3), Ball(2).reset(3)
    assert len(many["goal"].unique(dim=0)) == 5
    assert torch.equal(many["goal"][:2], few["goal"])
    task = Ball(5)
    assert torch.equal(task.observe(task.reset(3))[:, -2:], many["goal"])
    with pytest.raises(ds.InputError, match="has no value 'gaol'; values: goal"):
        many["gaol"]


def test_values_change_with_a_step_until_an_episode_ends():
    class Chase(Fragile):
        def randomize(self, generator):
            drawn = super().randomize(generator)
            return drawn.replace(values={**drawn.values, "last": torch.zeros(self.num_envs, 2)})

        def advance(self, step):
            assert torch.equal(step.after.q, step.episode.state.q)
            away = step.episode["goal"] + 0.1
            return {
                "goal": torch.where(self.distance(step.episode)[:, None] < 0.2, away, step.episode["goal"]),
                "last": step.action,
            }

        def reward(self, step):
            return super().reward(step) + step.episode["last"][:, 0]

    task = Chase(2)
    actions = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).expand(8, 2, 2).clone().requires_grad_()
    rewards, infos, episode = played(task, actions)
    assert [info["terminated"][1].item() for info in infos].index(True) < 7
    assert episode["last"].tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert torch.equal(episode["goal"][1], task.reset(0)["goal"][1])
    assert float(episode["goal"][0, 0]) > 0.35  # reached within 20 cm, and gone on
    still, _, _ = task.step(episode.replace(ended=torch.tensor([False, True])), torch.zeros(2, 2))
    assert still["last"].tolist() == [[0.0, 0.0], [0.0, 1.0]]
    rewards[0, 0].backward()
    assert float(actions.grad[0, 0, 0]) > 0.9  # through the value, too
    assert torch.equal(task.observe(episode)[:, -2:], episode["last"])


def test_later_draws_do_not_depend_on_the_batch_either():
    def draws(count):
        task, generator = Ball(count), torch.Generator().manual_seed(5)
        return [task.uniform(generator, 3, low=1.0, high=2.0) for _ in range(3)]

    for alone, batch in zip(draws(1), draws(7), strict=True):
        assert torch.equal(alone[0], batch[0])
    first, second, third = draws(7)
    drawn = torch.cat([first, second, third])
    assert drawn.unique().numel() == drawn.numel()
    assert bool(((drawn >= 1.0) & (drawn < 2.0)).all())


def test_physical_parameters_may_differ_by_environment():
    class Sluggish(Ball):
        def randomize(self, generator):
            gain = torch.tensor([20.0, 1.0, 0.1])
            return self.episode(self.sim.reset(), parameters={"robot.drive_x.gain": gain}, goal=torch.ones(3, 2))

    task = Sluggish(3)
    push = torch.ones(task.horizon, 3, 2)
    _, _, episode = played(task, push)
    x = episode.state.q[:, 0].tolist()
    assert x[0] > 1.1 * x[1] > 1.1 * x[2] > 0.0
    shared = task.episode(task.sim.reset(), parameters={"gravity": torch.tensor([0.0, 0.0, -1.6])}, goal=torch.ones(3, 2))
    assert shared.parameters["gravity"].shape == (3, 3)
    with pytest.raises(ds.InputError, match=r"there is no parameter 'robot\.gian'; parameters: "):
        task.episode(task.sim.reset(), parameters={"robot.gian": torch.ones(2)})
    with pytest.raises(ds.InputError, match="parameter 'gravity' must be a torch tensor, got list"):
        task.episode(task.sim.reset(), parameters={"gravity": [0.0, 0.0, -1.6]})  # type: ignore[dict-item]


def test_an_episode_ends_at_failure_and_at_success():
    task = Fragile(3)
    actions = torch.zeros(task.horizon, 3, 2)
    actions[:, 0, 1] = 1.0  # up, out of bounds
    actions[:, 1, 0] = 3.0  # to the goal, and on
    actions.requires_grad_()
    rewards, infos, episode = played(task, actions)
    ends = torch.stack([info["terminated"] for info in infos])
    running = torch.stack([info["running"] for info in infos])
    assert ends.sum(dim=0).tolist() == [1, 1, 0]
    first = ends.int().argmax(dim=0)
    for n in range(2):
        step = int(first[n])
        assert 0 < step < task.horizon - 1
        assert running[:, n].tolist() == [t <= step for t in range(task.horizon)]
        assert rewards[step, n] != 0.0
        assert not rewards[step + 1 :, n].any()
    assert infos[-1]["truncated"].tolist() == [False, False, True]
    assert infos[-1]["success"].tolist() == [False, True, False]  # as it was when the episode ended
    assert episode.ended.tolist() == [True, True, False]
    assert episode.steps.tolist() == [int(first[0]) + 1, int(first[1]) + 1, task.horizon]
    rewards.sum().backward()
    assert torch.isfinite(actions.grad).all()
    assert not actions.grad[int(first[0]) + 1 :, 0].any()
    assert actions.grad[0].any(dim=1).all()


def test_an_outcome_is_named_on_failures_too_and_success_alone_counts():
    task = Fragile(2)
    down = torch.zeros(task.horizon, 2, 2)
    down[:, :, 1] = -1.0
    _, infos, _ = played(task, down)
    assert infos[-1]["outcome"].tolist() == [1, 1]
    assert not infos[-1]["success"].any()


def test_environments_are_reset_one_by_one_where_episodes_end_early():
    task = Fragile(3)
    env = from_fixed_horizon(task)
    check_environment(env)
    collector = Collector(env)
    collector.start(0)
    action = torch.tensor([[0.0, 1.0], [3.0, 0.0], [0.0, 0.0]])
    lengths: dict[int, list[int]] = {0: [], 1: [], 2: []}
    for _ in range(2 * task.horizon):
        before = collector.situation.age.clone()
        transitions, _ = collector.step(Choice(action, torch.zeros(3)))
        for n in (transitions.terminated | transitions.truncated).nonzero().flatten().tolist():
            lengths[n].append(int(before[n]) + 1)
    assert lengths[2] == [task.horizon] * 2
    for n in (0, 1):
        assert len(lengths[n]) > 2
        assert len(set(lengths[n])) == 1  # every new episode runs as the first did
    snapshot = collector.state()
    again = Collector(env)
    again.restore(snapshot)
    assert torch.equal(again.situation.observation, collector.situation.observation)


def test_a_younger_episode_repeats_its_first_observation():
    task = Ball(2)
    _, _, old = played(task, torch.ones(4, 2, 2))
    both = task.reset(1).merged(torch.tensor([True, False]), old)
    assert both.history.shape == (5, 2, task.observation_dim)
    assert torch.equal(both.history[:, 1], old.history[:, 1])
    assert torch.equal(both.history[:, 0], task.reset(1).history[:, 0].expand(5, -1))
    assert both.steps.tolist() == [0, 4]
    assert torch.equal(both["goal"][0], task.reset(1)["goal"][0])


def test_episodes_are_cut_from_the_graph_for_windows():
    task = Ball(2)
    episode, _, _ = task.step(task.reset(0), torch.zeros(2, 2, requires_grad=True))
    assert episode.state.q.requires_grad
    cut = detached(episode)
    assert not cut.state.q.requires_grad
    assert torch.equal(cut["goal"], episode["goal"])
    assert len(cut.observations) == 2


def test_a_task_pickles_as_its_class_and_parameters():
    task = Ball(2, horizon=4, spread=0.2)
    copy = pickle.loads(pickle.dumps(task))
    assert (copy.num_envs, copy.horizon, copy.spread, copy.parameters) == (2, 4, 0.2, {"horizon": 4, "spread": 0.2})
    assert torch.equal(copy.reset(1)["goal"], task.reset(1)["goal"])
    rewards = [played(each, torch.ones(4, 2, 2))[0] for each in (task, copy)]
    assert torch.equal(*rewards)


def test_a_shard_has_the_same_episodes_as_the_whole_batch():
    whole = Ball(5, spread=0.2)
    part = whole.shard(2, 3)
    assert (part.num_envs, part.parameters) == (3, {"spread": 0.2})
    assert torch.equal(part.reset(7)["goal"], whole.reset(7)["goal"][2:])
    actions = torch.randn(4, 5, 2, generator=torch.Generator().manual_seed(0)).tanh()
    torch.testing.assert_close(played(part, actions[:, 2:], seed=7)[0], played(whole, actions, seed=7)[0][:, 2:])


def test_training_counts_successes_as_solutions():
    result = Trainer(Ball(4, horizon=5), RPGConfig(iterations=2, num_latents=2)).train()
    assert all(mode.outcome in (0, 1) for mode in result.modes)
