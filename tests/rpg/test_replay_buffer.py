"""The replay buffer and the collector: what is drawn, what is kept, and where episodes begin and end."""

import pytest
import torch

from rpg.environments.fixed_horizon import from_fixed_horizon
from rpg.environments.wall import PointMassWall
from rpg.protocol import Box, EnvironmentSpec, Step
from rpg.training.collector import Choice, Collector
from rpg.training.replay_buffer import ReplayBuffer, Transitions


class Uneven:
    """Environment n terminates after n + 2 steps; others are cut off after 4. The observation is [n, age, episode]."""

    num_envs = 4
    spec = EnvironmentSpec(Box((3,)), Box((1,), -1.0, 1.0), time_limit=4)

    def seen(self, state):
        return torch.stack([torch.arange(4.0), *state.unbind(1)], dim=1)

    def reset(self, seed=None, *, state=None, where=None):
        if state is None:
            state = torch.tensor([[0.0, -1.0]]).repeat(4, 1)
            where = torch.ones(4, dtype=torch.bool)
        begun = torch.stack([torch.zeros(4), state[:, 1] + 1], dim=1)
        state = torch.where(where[:, None], begun, state)
        return state, self.seen(state)

    def step(self, state, action):
        state = state + torch.tensor([1.0, 0.0])
        terminated = state[:, 0] == torch.arange(4) + 2
        truncated = (state[:, 0] == 4) & ~terminated
        info = {"success": terminated, "outcome": torch.arange(4)}
        return Step(state, self.seen(state), action[:, 0], terminated, truncated, info)

    def snapshot(self, state):
        return state

    def restore(self, snapshot):
        return snapshot, self.seen(snapshot)


def collected(steps, capacity=1000, slack=8):
    """A collector whose z counts its draws, and what it collected."""
    draws = iter(range(100))
    collector = Collector(Uneven(), draw_latent=lambda seen: torch.full((4,), next(draws)))
    collector.start(0)
    buffer = ReplayBuffer(capacity, num_envs=4, slack=slack)
    ended = collector.collect(lambda seen: Choice(torch.full((4, 1), 0.5), seen.age + 0.25), buffer, steps)
    return collector, buffer, ended


def test_collecting_resets_and_draws_anew_where_an_episode_ends_and_only_there():
    collector, buffer, ended = collected(9)
    everything = buffer.recent(36)
    by_env = {name: each.unflatten(0, (9, 4)) for name, each in everything._asdict().items()}
    assert by_env["age"][:, 0].tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 0]
    assert by_env["age"][:, 1].tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2]
    assert by_env["age"][:, 3].tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0]
    assert by_env["terminated"][:, 1].tolist() == [False, False, True] * 3
    assert by_env["truncated"][:, 3].tolist() == [False, False, False, True] * 2 + [False]
    assert by_env["latent"][:, 0].tolist() == [0, 0, 1, 1, 3, 3, 4, 4, 5]  # a draw at the ends of any environment
    assert by_env["latent"][:, 3].tolist() == [0, 0, 0, 0, 3, 3, 3, 3, 5]
    # observations are those before and after each step: at an end the final one, not that of the next episode
    assert torch.equal(by_env["observation"][..., 1], by_env["age"].float())
    assert torch.equal(by_env["next_observation"][..., 1], by_env["age"].float() + 1)
    assert buffer._finals.total == 10  # only these are stored, but for that of the newest step
    assert torch.equal(by_env["log_prob"], by_env["age"] + 0.25)
    # an episode's number is its own
    pairs = {(int(e), int(o[0]), int(o[2])) for e, o in zip(everything.episode, everything.observation, strict=True)}
    assert len({e for e, _, _ in pairs}) == len(pairs)
    assert sorted(e for e, _, _ in pairs) == list(range(len(pairs)))
    returns = torch.cat([each.returns for each in ended])
    lengths = torch.cat([each.lengths for each in ended])
    assert torch.equal(returns, 0.5 * lengths)
    assert lengths.tolist() == [2, 3, 2, 4, 4, 2, 3, 2, 4, 4, 3]
    assert torch.cat([each.outcome for each in ended]).tolist() == [0, 1, 0, 2, 3, 0, 1, 0, 2, 3, 1]
    assert collector.situation.age.tolist() == [1, 0, 1, 1]


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_segments_never_cross_episodes(length):
    _, buffer, _ = collected(41, capacity=60)  # wraps around
    generator = torch.Generator().manual_seed(0)
    drawn = buffer.segments(length, 500, generator)
    assert drawn.reward.shape == (length, 500)
    assert drawn.observation.shape == (length, 500, 3)
    assert bool((drawn.episode == drawn.episode[0]).all())
    assert bool((drawn.observation[..., 0] == drawn.observation[0, :, 0]).all())
    assert bool((drawn.age == drawn.age[0] + torch.arange(length).unsqueeze(1)).all())
    kept = buffer.recent(60)
    assert int(drawn.episode.min()) >= int(kept.episode.min())
    whole = {int(e) for e in kept.episode.unique() if int((kept.episode == e).sum()) >= length}
    assert {int(e) for e in drawn.episode.unique()} == whole
    with pytest.raises(ValueError, match="length was given 5"):
        buffer.segments(5, 1, generator)


def test_samples_are_uniform_over_what_is_kept_and_relabelled():
    _, buffer, _ = collected(30, capacity=40)
    kept = buffer.recent(1000)
    assert len(kept.reward) == len(buffer) == 40
    buffer.relabels = [lambda t: t.reward + t.age, lambda t: 10 * t.reward]
    drawn = buffer.sample(20000, torch.Generator().manual_seed(0))
    assert torch.equal(drawn.reward, 10 * (0.5 + drawn.age))
    keys = 1000 * drawn.episode + drawn.age
    counts = torch.stack([(keys == key).sum() for key in 1000 * kept.episode + kept.age])
    assert counts.sum() == 20000
    assert float((counts / 500 - 1).abs().max()) < 0.2  # 4.5 standard deviations
    drawn = buffer.segments(2, 9, torch.Generator())
    assert torch.equal(drawn.reward, 10 * (0.5 + drawn.age))


def step_of(number, num_envs=2):
    """A step of dict observations with recognisable contents."""
    value = torch.arange(num_envs) + 10 * number
    no = torch.zeros(num_envs, dtype=torch.bool)
    seen = {"image": value.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 2, 2, 3), "x": value.double().unsqueeze(1)}
    return Transitions(seen, value.float().unsqueeze(1), value.float(), seen, no, ~no, value, value, value, value.float())


def contents(buffer):
    recent = buffer.recent(1 << 30)
    return {
        **recent._asdict(),
        **{f"{k}/{n}": v for k in ("observation", "next_observation") for n, v in getattr(recent, k).items()},
    }


def assert_same(a, b):
    for name, each in contents(a).items():
        if isinstance(each, torch.Tensor):
            other = contents(b)[name]
            assert each.dtype == other.dtype, name
            assert torch.equal(each, other), name


@pytest.mark.parametrize("capacity", [6, 100])
def test_files_are_only_appended_to_and_restored_bit_for_bit(tmp_path, capacity):
    buffer = ReplayBuffer(capacity, num_envs=2, slack=4)
    buffer.attach(tmp_path)
    for number in range(7):
        buffer.add(step_of(number))
    buffer.flush()
    saved = buffer.state()
    files = sorted((tmp_path / "replay").glob("*.bin"))
    assert len(files) == 13
    before = {path: path.read_bytes() for path in files}
    assert (
        before[tmp_path / "replay" / "steps.reward.bin"]
        == torch.tensor([x + 10.0 * n for n in range(7) for x in (0, 1)]).numpy().tobytes()
    )

    reference = ReplayBuffer(capacity, num_envs=2, slack=4)
    for number in range(7):
        reference.add(step_of(number))
    again = ReplayBuffer(capacity, num_envs=2, slack=4)
    again.attach(tmp_path)
    again.restore(saved)
    assert len(again) == min(capacity, 14)
    assert_same(again, reference)
    drawn = [each.sample(50, torch.Generator().manual_seed(1)).reward for each in (again, reference)]
    assert torch.equal(*drawn)

    # what is added later is appended; what was added after a checkpoint that is gone back to is cut off
    for number in range(7, 40):
        again.add(step_of(number))
    again.flush()
    assert all(path.read_bytes().startswith(old) for path, old in before.items())
    third = ReplayBuffer(capacity, num_envs=2, slack=4)
    third.attach(tmp_path)
    third.restore(saved)
    assert_same(third, reference)
    third.add(step_of(99))
    third.flush()
    assert len((tmp_path / "replay" / "steps.reward.bin").read_bytes()) == 16 * 4

    branch = ReplayBuffer(capacity, num_envs=2, slack=4)
    branch.attach(tmp_path / "branch", source=tmp_path)
    branch.restore(saved)
    assert_same(branch, reference)

    (tmp_path / "replay" / "steps.age.bin").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"age\.bin holds fewer than the checkpoint's 14 rows"):
        ReplayBuffer.restore(attached(capacity, tmp_path), saved)


def attached(capacity, folder):
    buffer = ReplayBuffer(capacity, num_envs=2, slack=4)
    buffer.attach(folder)
    return buffer


def test_the_last_steps_can_be_undone_in_memory():
    buffer, reference = (ReplayBuffer(6, num_envs=2, slack=4) for _ in range(2))
    for number in range(9):
        buffer.add(step_of(number))
        reference.add(step_of(number))
    state = buffer.state()
    buffer.add(step_of(50))
    buffer.add(step_of(51))
    buffer.restore(state)
    assert_same(buffer, reference)
    for number in range(60, 63):
        buffer.add(step_of(number))
    with pytest.raises(FileNotFoundError, match="not attached to a folder"):
        buffer.restore(state)


def test_a_collector_goes_on_where_it_was():
    env = from_fixed_horizon(PointMassWall(num_envs=3, horizon=5))
    noise = torch.randn(20, 3, 2, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)

    def go(collector, steps):
        return [collector.step(Choice(a, torch.zeros(3)))[0] for a in noise[steps]]

    collector = Collector(env, draw_latent=lambda seen: seen[:, :2].clone())
    collector.start(3)
    go(collector, slice(0, 8))
    state = collector.state()
    expected = go(collector, slice(8, 20))
    other = Collector(from_fixed_horizon(env.wrapped), draw_latent=lambda seen: seen[:, :2].clone())
    other.restore(state)
    for a, b in zip(go(other, slice(8, 20)), expected, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
