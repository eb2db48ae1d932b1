"""Reward modes and observation modes."""

import pytest
import torch

import diffsim as ds
from diffsim.render import LinkCamera
from rpg import RPGConfig, Trainer, from_fixed_horizon
from rpg.protocol import Box, ProtocolError, check_environment
from tasks import Detour, TripleMove
from tasks.task_renderer import TaskRenderer
from tests.tasks.ball import Ball, played

pytestmark = pytest.mark.slow


def test_sparse_and_normalised_rewards_are_made_of_success_and_the_dense_one():
    actions = torch.zeros(6, 2, 2)
    actions[:, 0, 0] = 2.5
    dense, infos, _ = played(Ball(2, spread=0.0), actions)
    sparse, _, _ = played(Ball(2, spread=0.0, reward_mode="sparse"), actions)
    success = torch.stack([info["success"] for info in infos])
    assert success.any()
    assert torch.equal(sparse, success.float())
    normalised, _, _ = played(Ball(2, spread=0.0, reward_mode="normalised"), actions)
    assert torch.equal(normalised, dense / Ball.reward_bound)


def test_modes_say_what_they_need():
    unbounded = type("Unbounded", (Ball,), {"reward_bound": None})
    message = "reward_mode of task Unbounded is 'normalised'; allowed where it declares reward_bound"
    with pytest.raises(ds.InputError, match=message):
        unbounded(1, reward_mode="normalised")
    message = r"observation_particles is 64; allowed are 1 to 0, the particles of the scene's soft bodies"
    with pytest.raises(ds.InputError, match=message):
        Ball(1, observation_mode="points")


def test_a_sparse_reward_is_declared_without_gradient_and_trains():
    task = Ball(4, reward_mode="sparse")
    assert task.differentiable is False
    assert Ball(4).differentiable is True
    check_environment(task)
    result = Trainer(task, RPGConfig(iterations=2, num_latents=2)).train()
    assert 0.0 <= result.modes[0].episode_return <= task.horizon


def test_points_are_particles_in_front_of_the_features():
    task = Detour(2, observation_mode="points", observation_particles=16)
    plain = Detour(2)
    assert task.observation_points == (16, 3)
    assert task.observation_dim == 48 + plain.observation_dim
    episode = task.reset(0)
    seen = task.observe(episode)
    points = seen[:, :48].view(2, 16, 3)
    assert (points[:, :, None] == episode.state.x[:, None]).all(dim=3).any(dim=2).all()
    assert torch.equal(seen[:, 48:], plain.observe(plain.reset(0)))
    spread = torch.cdist(points[0], points[0]) + torch.eye(16)
    assert float(spread.min()) > 0.03  # none close to another: the duck is 28 cm long
    action = torch.zeros(2, 2, requires_grad=True)
    following, _, info = task.step(episode, action)
    task.observe(following)[:, :48].sum().backward()
    assert action.grad.any()
    assert info["outcome"].tolist() == [-1, -1]  # of the features, whatever the optimiser sees
    result = Trainer(
        Detour(2, observation_mode="points", observation_particles=16, horizon=2),
        RPGConfig(iterations=1, num_latents=2, policy="points"),
    ).train()
    assert len(result.history) == 1


def test_images_come_from_the_tasks_camera_in_the_general_form():
    task = Ball(2, observation_mode="image", image_size=(24, 32), horizon=2)
    episode = task.reset(0)
    image = task.observe(episode)
    assert (image.dtype, image.shape) == (torch.uint8, (2, 24, 32, 3))
    moved, _, _ = task.step(episode, torch.ones(2, 2))
    assert bool((task.observe(moved) != image).any())
    assert task.differentiable is False
    env = from_fixed_horizon(task)
    assert isinstance(env.spec.observation, Box)
    assert env.spec.observation.is_image
    check_environment(env)
    with pytest.raises(ProtocolError, match=r"gives images; expected vectors, or rpg\.from_fixed_horizon\(environment\)"):
        check_environment(task)


def test_bodies_are_drawn_as_their_task_says(monkeypatch):
    task = TripleMove(1)
    episode = task.reset(0)

    def picture(drawn_as):
        monkeypatch.setattr(type(task), "drawn_as", drawn_as)
        return TaskRenderer(task, 48, 36).frame(episode)

    assert (picture("surface") != picture("particles")).any()
    with pytest.raises(ds.InputError, match="'dots'"):
        picture("dots")


def test_a_policys_camera_is_not_the_videos_and_a_ghost_is_drawn():
    class Watched(Ball):
        def observation_camera(self):
            return LinkCamera("robot.ball", position=(0.0, 0.0, 0.5), target=(0.0, 0.0, 0.0), up=(0.0, 1.0, 0.0))

        def ghost(self, episode, environment):
            return episode.state.replace(q=episode.state.q + torch.tensor([0.04] + [0.0] * (episode.state.q.shape[1] - 1)))

    own, watched = (kind(1, observation_mode="image", image_size=(24, 32)) for kind in (Ball, Watched))
    episode = watched.reset(0)
    assert (watched.observe(episode) != own.observe(own.reset(0))).any()
    bare, ghostly = TaskRenderer(own, 64, 48).frame(own.reset(0)), TaskRenderer(watched, 64, 48).frame(episode)
    assert 0.0 < (bare != ghostly).any(axis=2).mean() < 0.5  # the camera is the same, and something is there in addition


def test_rendering_is_tried_before_training():
    Ball(2).check_rendering()

    class Unseen(Ball):
        def markers(self, episode, environment):
            return [episode["gaol"][environment]]

    with pytest.raises(ds.InputError, match="no value 'gaol'"):
        Unseen(2).check_rendering()


def test_the_gradient_report_is_of_the_tasks_own_actions():
    task = Ball(2)
    actions = torch.full((task.horizon, 2, 2), 0.3)
    report = task.gradient_report(actions, seed=4)
    leaf = actions.clone().requires_grad_()
    rewards, _, _ = played(task, leaf, seed=4)
    rewards.sum().backward()
    assert report.objective == pytest.approx(float(rewards.detach().sum()), rel=1e-6)
    torch.testing.assert_close(report.action, leaf.grad.norm(dim=2))
    assert report.growth.shape == (task.horizon, 2)
    with pytest.raises(ds.InputError, match=r"actions must have shape \(steps, 2, 2\)"):
        task.gradient_report(actions[:, :1])
