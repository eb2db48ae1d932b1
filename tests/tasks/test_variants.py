"""Variants of a task side by side: other meshes and parameters, each with its share of the environments."""

import pickle

import imageio.v3 as iio
import pytest
import torch
import trimesh

import diffsim as ds
from rpg import RPGConfig, Trainer, VideoEnvironment, from_fixed_horizon
from rpg.protocol import check_environment
from tasks import Detour, Variants
from tasks.mode_video import replayed_episode
from tests.tasks.ball import Ball, played

pytestmark = pytest.mark.slow
STARTS = [{"start": (0.0, 0.0)}, {"start": (0.1, 0.0)}]


def test_each_variant_runs_as_it_does_alone():
    both = Variants(Ball, 3, STARTS, horizon=4)
    check_environment(both)
    assert both.num_envs == 3
    assert [task.num_envs for task in both.tasks] == [2, 1]
    actions = torch.linspace(-1.0, 1.0, 4 * 3 * 2).view(4, 3, 2)
    rewards, infos, episodes = played(both, actions, seed=3)
    assert infos[-1]["success"].shape == (3,)
    for task, part, share, number in zip(both.tasks, episodes.parts, actions.split([2, 1], dim=1), (0, 2), strict=True):
        own, environment, seed = both.located(number, 3)
        assert own is task
        assert environment == 0
        alone, _, last = played(type(task)(task.num_envs, **task.parameters), share, seed=seed)
        assert torch.equal(rewards[:, number : number + task.num_envs], alone)
        assert torch.equal(part.state.q, last.state.q)
    assert both.located(1, 3)[1] == 1
    assert torch.equal(pickle.loads(pickle.dumps(both)).observe(both.reset(3)), both.observe(both.reset(3)))


def test_they_end_as_their_task_does():
    class Endless(Ball):
        finite_horizon = False

    assert Variants(Ball, 2, STARTS).finite_horizon
    assert not Variants(Endless, 2, STARTS).finite_horizon


def test_they_train_and_their_modes_are_shown_in_their_own_scene(tmp_path):
    both = Variants(Ball, 4, STARTS, horizon=4)
    assert isinstance(both, VideoEnvironment)
    both.check_rendering()
    trainer = Trainer(both, RPGConfig(iterations=2, num_latents=2, start_spread=1.0))
    trainer.train()
    modes = trainer.modes()
    for mode in modes:
        episodes, rewards = replayed_episode(both, mode)
        assert float(rewards.sum()) == pytest.approx(mode.shown_return, rel=1e-6)
        assert episodes[0].num_envs == 1
    both.write_video(modes, tmp_path / "modes.mp4", size=(96, 64))
    assert len(iio.imread(tmp_path / "modes.mp4", plugin="pyav")) > 4


def test_meshes_with_other_numbers_of_particles_run_in_one_batch(tmp_path):
    for name, mesh in (("ball", trimesh.creation.icosphere(subdivisions=2)), ("box", trimesh.creation.box((1.0, 0.5, 0.5)))):
        mesh.export(tmp_path / f"{name}.stl")
    task = Variants(Detour, 2, [{"mesh": tmp_path / "ball.stl"}, {"mesh": tmp_path / "box.stl"}])
    first, second = (each.sim.num_particles for each in task.tasks)
    assert first != second
    action = torch.zeros(2, 2, requires_grad=True)
    _, reward, _ = task.step(task.reset(0), action)
    reward.sum().backward()
    assert action.grad.any(dim=1).all()


def test_single_environments_are_reset_in_the_general_form():
    env = from_fixed_horizon(Variants(Ball, 3, STARTS, horizon=4))
    state, first = env.reset(0)
    state = env.step(state, torch.ones(3, 2)).state
    moved = env.wrapped.observe(state.inner)
    where = torch.tensor([False, True, True])
    state, observation = env.reset(state=state, where=where)
    assert state.ages.tolist() == [1, 0, 0]
    assert torch.equal(observation[0], moved[0])
    assert torch.equal(observation[1:, :4], first[1:, :4])  # at the start again, with goals of their own
    assert not torch.equal(observation[1:, 4:], first[1:, 4:])


def test_variants_that_do_not_fit_are_one_line():
    with pytest.raises(ds.InputError, match="variants must be 1 to 1, one environment each at least, got 2"):
        Variants(Ball, 1, STARTS)
    with pytest.raises(ds.InputError, match=r"variants of task Ball must have one horizon, got \[3, 4\]"):
        Variants(Ball, 2, [{"horizon": 3}, {"horizon": 4}])
