"""A video shows the episodes that were judged, whatever the task's step does."""

import warnings
from dataclasses import replace
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch

import diffsim as ds
from rpg import RPGConfig, Trainer, VideoEnvironment
from tasks import Task
from tasks.mode_video import FRAMES_PER_STEP, HELD_FRAMES, in_between, replayed_episode

pytestmark = pytest.mark.slow


class Wind(Task):
    """A block and a ball, under a wind that blows in steps of its own."""

    horizon, dt, substeps = 4, 2e-3, 5
    outcome_names = ("there",)
    action_dim = 2

    def scene(self):
        block = ds.SoftBody("block", ds.Box((0.06, 0.06, 0.06)), (0.3, 0.3, 0.061), particles=30)
        ball = ds.Tool("ball", ds.Sphere(0.05), (0.2, 0.3, 0.06), control=("x",))
        wall = ds.Obstacle("wall", ds.Box((0.02, 0.2, 0.1)), (0.12, 0.3, 0.1))
        return ds.Scene((block,), tools=(ball,), obstacles=(wall,), upper=(0.6, 0.6, 0.4), grid_spacing=0.05)

    def step(self, episode, action):
        """The action (B, 2) has a component more than the simulator's: the wind, which only this method knows."""
        state = episode.state
        wind = 2.0 * action[:, None, 1:] * state.v.new_tensor([0.0, 1.0, 0.0])
        return super().step(episode.replace(state=state.replace(v=state.v + wind)), action[:, :1])

    def reward(self, step):
        return step.after.x[..., 1].mean(dim=1)

    def success(self, episode):
        return torch.ones(episode.num_envs, dtype=torch.bool)


@pytest.fixture(scope="module")
def trained():
    task = Wind(2)  # an episode for each latent
    trainer = Trainer(task, RPGConfig(iterations=2, num_latents=2, start_spread=1.0))
    trainer.train()
    return task, trainer.modes()


def test_the_replay_is_the_judged_episode(trained):
    task, modes = trained
    for mode in modes:
        episodes, rewards = replayed_episode(task, mode)
        assert float(rewards.sum()) == pytest.approx(mode.episode_return, rel=1e-7)
        observed = torch.cat([task.observation(episode) for episode in episodes]).double()
        assert np.array_equal(observed.numpy(), mode.observations)


def test_a_replay_that_does_not_agree_says_so_with_both_numbers(trained):
    task, modes = trained
    stored = replace(modes[0], shown_return=modes[0].shown_return + 0.01)
    numbers = f"{modes[0].shown_return:.6g}, the run stored {stored.shown_return:.6g}"
    with pytest.warns(UserWarning, match=f"the replay of '.*' has a return of {numbers}: the task, its"):
        replayed_episode(task, stored)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        replayed_episode(task, modes[0])


def test_a_task_with_its_own_step_renders(trained, tmp_path: Path):
    task, modes = trained
    assert isinstance(task, VideoEnvironment)
    horizon = task.horizon  # type: ignore[attr-defined]
    task.write_video(modes, tmp_path / "modes.mp4")
    frames = iio.imread(tmp_path / "modes.mp4", plugin="pyav")
    assert len(frames) == 1 + horizon * FRAMES_PER_STEP + HELD_FRAMES
    assert (tmp_path / "modes.png").exists()


def test_frames_in_between_end_at_the_states(trained):
    task, modes = trained
    before, after = (episode.state for episode in replayed_episode(task, modes[0])[0][-2:])
    drawn = in_between(before, after, 1.0)
    for name in ("x", "q", "tool_position"):
        assert torch.equal(getattr(drawn, name), getattr(after, name))
    middle = in_between(before, after, 0.5)
    torch.testing.assert_close(middle.x, 0.5 * (before.x + after.x))
