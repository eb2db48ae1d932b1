"""Tasks as Gymnasium's environments: checkers, ends, seeds, resets one by one, pictures, other processes."""

import sys
import warnings

import imageio.v3 as iio
import numpy as np
import pytest
import torch

import diffsim as ds
import rpg
import tasks.registry
from tasks import Variants, register
from tests.tasks.ball import Ball
from tests.tasks.every_task import every_task

gymnasium = pytest.importorskip("gymnasium")
from tasks.adapters.gymnasium_env import RecordVideo, TaskEnv, TaskVectorEnv  # noqa: E402

pytestmark = pytest.mark.slow

FORWARD = np.array([1.0, 0.0], np.float32)


class Goals(Ball):
    """A ball that may reach its goal early.

    Task: that of Ball.
    Randomisation: that of Ball.
    Success: that of Ball, at once.
    """

    ends_on_success = True
    start = (0.18, 0.0)


@pytest.fixture
def ball_id():
    """The id of a task that a user registered."""
    register("A user's ball")(Ball)
    name = tasks.registry.gymnasium_id("A user's ball")
    yield name
    tasks.registry._tasks.pop("A user's ball")
    gymnasium.registry.pop(name)
    Ball.name = ""


def checked(env):
    """The environment, once both checkers have passed it."""
    from gymnasium.utils.env_checker import check_env
    from stable_baselines3.common.env_checker import check_env as sb3_check_env

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*Box observation space m.*imum value is -?infinity")
        warnings.filterwarnings("ignore", message="Your observation points has an unconventional shape")
        check_env(env.unwrapped)
        sb3_check_env(env.unwrapped, warn=True, skip_render_check=False)
    return env


def test_a_registered_task_passes_both_checkers(ball_id):
    env = checked(gymnasium.make(ball_id, render_mode="rgb_array", render_size=(47, 63)))
    assert env.spec.id == "diffsim/A-user-s-ball-v0"
    assert type(env.spec).from_json(env.spec.to_json()).make().unwrapped.task.horizon == Ball.horizon
    assert env.metadata["render_fps"] == 50
    env.reset()
    assert env.render().shape == (47, 63, 3)


@pytest.mark.parametrize("name", every_task())
def test_the_tasks_that_come_along_pass_them(name):
    env = checked(gymnasium.make(f"tasks:diffsim/{name}-v0", horizon=3))
    assert type(env.unwrapped.task) is tasks.find_task(name)
    assert env.unwrapped.horizon == 3


def test_gymnasium_is_not_needed(monkeypatch):
    monkeypatch.setattr(tasks.registry, "_tasks", {})
    monkeypatch.setitem(sys.modules, "gymnasium.envs.registration", None)
    register("Alone")(type("Alone", (Ball,), {"__doc__": Ball.__doc__}))
    assert tasks.task_names() == ["Alone"]
    assert "diffsim/Alone-v0" not in gymnasium.registry


def test_points_and_features_are_a_dict_and_pictures_are_bytes(ball_id):
    env = checked(gymnasium.make("diffsim/Detour-v0", observation_mode="points", observation_particles=16, horizon=3))
    seen, info = env.reset(seed=3)
    task, seed = env.unwrapped.task, info["episode_seed"]
    flat = np.concatenate([seen["points"].ravel(), seen["state"]])
    assert seen["points"].shape == (16, 3)
    assert np.array_equal(flat, task.observe(task.reset(seed))[0].numpy())

    env = checked(gymnasium.make(ball_id, observation_mode="image", image_size=(40, 48))).unwrapped
    seen, info = env.reset(seed=3)
    assert env.observation_space == gymnasium.spaces.Box(0, 255, (40, 48, 3), np.uint8)
    assert np.array_equal(seen, env.task.observe(env.task.reset(info["episode_seed"]))[0].numpy())


@pytest.mark.parametrize(("time_limit", "ends"), [("truncation", (False, True)), ("termination", (True, False))])
def test_the_horizon_truncates_or_terminates(time_limit, ends):
    env = TaskEnv(Ball, time_limit=time_limit, horizon=2)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(FORWARD)
    env.reset(seed=0)
    assert env.step(FORWARD)[2:4] == (False, False)
    assert env.step(FORWARD)[2:4] == ends
    with pytest.raises(gymnasium.error.ResetNeeded, match="the episode has ended"):
        env.step(FORWARD)


def test_a_step_is_that_of_the_task_and_success_terminates():
    env, task = TaskEnv(Goals, spread=0.0), Goals(1, spread=0.0)
    _seen, info = env.reset(seed=5)
    episode = task.reset(info["episode_seed"])
    for _ in range(Goals.horizon):
        seen, reward, terminated, truncated, info = env.step(3.0 * FORWARD)
        episode, expected, labels = task.step(episode, torch.from_numpy(FORWARD)[None])
        assert np.array_equal(seen, task.observe(episode)[0].numpy())
        assert reward == float(expected)
        assert info["is_success"] == terminated == bool(labels["terminated"])
        assert not truncated
        if terminated:
            break
    assert terminated


def test_seeds_repeat_episodes_one_by_one():
    env, again, other = (TaskEnv(Ball) for _ in range(3))
    starts = [each.reset(seed=seed)[0] for each, seed in ((env, 7), (again, 7), (other, 8))]
    assert np.array_equal(starts[0], starts[1])
    assert not np.array_equal(starts[0], starts[2])
    following = env.reset()[0]
    assert not np.array_equal(starts[0], following)
    assert np.array_equal(again.reset()[0], following)

    envs = TaskVectorEnv(Ball, 3)
    seen, infos = envs.reset(seed=7)
    assert np.array_equal(seen[0], starts[0])  # environment 0 does what the single one does
    assert np.array_equal(envs.reset()[0][0], following)
    assert len(np.unique(seen[:, 4])) == 3  # one seed, three goals
    expected = envs.task.observe(envs.task.reset(int(infos["episode_seed"][0])))
    assert np.array_equal(seen, expected.numpy())

    seen, _ = envs.reset(seed=[7, 1, 2])
    others, _ = envs.reset(seed=[7, 3, 2])
    assert (seen == others).all(axis=1).tolist() == [True, False, True]
    with pytest.raises(ds.InputError, match="seed has 2 entries; allowed are an int, or one for each of 3"):
        envs.reset(seed=[1, 2])


def test_some_environments_are_reset_and_the_others_go_on_as_if_nothing_had_been():
    actions = np.random.default_rng(0).uniform(-1, 1, (5, 3, 2)).astype(np.float32)
    envs, alone = (TaskVectorEnv(Ball, 3, autoreset_mode="Disabled") for _ in range(2))
    envs.reset(seed=1), alone.reset(seed=1)
    for action in actions[:2]:
        envs.step(action), alone.step(action)
    mask = np.array([False, True, False])
    seen, infos = envs.reset(options={"reset_mask": mask})
    assert infos["_episode_seed"].tolist() == mask.tolist()
    assert np.array_equal(seen[1], envs.task.observe(envs.task.reset(int(infos["episode_seed"][1])))[1].numpy())
    for action in actions[2:]:
        seen, *_rest = envs.step(action)
        expected = alone.step(action)[0]
        assert np.array_equal(seen[~mask], expected[~mask])
        assert not np.array_equal(seen[mask], expected[mask])
    envs.step(actions[0])
    with pytest.raises(gymnasium.error.ResetNeeded, match=r"no episode runs in environments \[0, 2\]"):
        envs.step(actions[0])
    for wrong in ([True], np.array([1, 0, 0]), np.zeros(3, bool)):
        with pytest.raises(ds.InputError, match=r"options\['reset_mask'\] is"):
            envs.reset(options={"reset_mask": wrong})


def unrolled(envs, steps, seed=2):
    """Observations before each step, results of each, of environments that drive forward."""
    seen, rows = envs.reset(seed=seed)[0], []
    for _ in range(steps):
        result = envs.step(np.tile(FORWARD, (envs.num_envs, 1)))
        rows.append((seen, *result))
        seen = result[0]
    return rows


def test_both_autoreset_modes_give_the_same_episodes():
    later, same = (
        TaskVectorEnv(Goals, 4, horizon=3, spread=0.08, autoreset_mode=mode)
        for mode in (gymnasium.vector.AutoresetMode.NEXT_STEP, "SameStep")
    )
    assert later.metadata["autoreset_mode"] == gymnasium.vector.AutoresetMode.NEXT_STEP
    assert same.metadata["autoreset_mode"] == gymnasium.vector.AutoresetMode.SAME_STEP
    episodes: dict = {later: [[] for _ in range(4)], same: [[] for _ in range(4)]}  # by environment: what each step came to
    terminated = 0
    for _before, seen, rewards, terminations, truncations, infos in unrolled(same, 12):
        ended = terminations | truncations
        assert not (terminations & truncations).any()
        assert ("final_obs" in infos) == ended.any()
        if ended.any():
            assert infos["_final_obs"].tolist() == infos["_final_info"].tolist() == ended.tolist()
            assert infos["final_info"]["is_success"][ended].tolist() == terminations[ended].tolist()
            assert all(each is None for each in infos["final_obs"][~ended])
            assert all(seen[n, 0] == np.float32(Goals.start[0]) for n in np.flatnonzero(ended))  # begun anew
        terminated += terminations.sum()
        for n in range(4):
            final = infos["final_obs"][n] if ended[n] else seen[n]
            episodes[same][n].append((final, rewards[n], terminations[n], truncations[n]))
    assert terminated > 0
    begins = np.zeros(4, bool)
    for _before, seen, rewards, terminations, truncations, infos in unrolled(later, 12):
        assert not rewards[begins].any()
        assert not (terminations | truncations)[begins].any()
        assert infos["_episode_seed"][begins].all()
        for n in np.flatnonzero(~begins).tolist():
            episodes[later][n].append((seen[n], rewards[n], terminations[n], truncations[n]))
        begins = terminations | truncations
    for n in range(4):
        assert len(episodes[later][n]) >= 8
        for one, two in zip(episodes[later][n], episodes[same][n], strict=False):
            assert np.allclose(one[0], two[0], atol=1e-6)
            assert one[1:] == pytest.approx(two[1:], abs=1e-6)


def test_make_vec_counts_episodes_with_gymnasiums_wrapper(ball_id):
    envs = gymnasium.make_vec(ball_id, num_envs=3, max_episode_steps=2, autoreset_mode="SameStep", label="x")
    assert isinstance(envs, TaskVectorEnv)
    assert envs.task.label == "x"
    wrapped = gymnasium.wrappers.vector.RecordEpisodeStatistics(envs)
    rows = unrolled(wrapped, 4)
    counted = rows[1][-1]["episode"]
    assert np.allclose(counted["r"], rows[0][2] + rows[1][2], atol=1e-6)
    assert counted["l"].tolist() == [2, 2, 2]
    assert gymnasium.make_vec(envs.spec).num_envs == 3


def test_variants_are_a_vector_env_too():
    task = Variants(Ball, 3, [{}, {"start": (0.1, 0.0)}])
    envs = TaskVectorEnv(task, autoreset_mode="SameStep", render_mode="rgb_array", render_size=(32, 40))
    rows = unrolled(envs, Ball.horizon)
    assert np.allclose(rows[0][0][:, 0], [0.0, 0.0, 0.1])
    assert np.allclose(rows[-1][1][:, 0], [0.0, 0.0, 0.1])
    frames = envs.render()
    assert [frame.shape for frame in frames] == [(32, 40, 3)] * 3


@pytest.mark.parametrize("size", [(479, 641), (48, 64)])
def test_videos_of_any_size_without_moviepy(tmp_path, size, monkeypatch):
    for name in list(sys.modules):
        if name.split(".")[0] == "moviepy" or name == "gymnasium.utils.save_video":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "moviepy", None)
    env = RecordVideo(TaskEnv(Ball, horizon=3, render_mode="rgb_array", render_size=size), str(tmp_path / "videos"))
    env.reset(seed=0)
    for _ in range(3):
        env.step(FORWARD)
    env.reset(), env.reset()  # the episodes 0, 1, 8, ... are shown
    env.close()
    assert sorted(path.name for path in (tmp_path / "videos").iterdir()) == [f"rl-video-episode-{n}.mp4" for n in (0, 1)]
    frames = iio.imread(tmp_path / "videos" / "rl-video-episode-0.mp4", plugin="pyav")
    assert frames.shape == (4, size[0] + size[0] % 2, size[1] + size[1] % 2, 3)
    assert np.abs(frames[0].astype(float) - frames[-1]).max() > 10.0


def test_gymnasiums_own_recorder(tmp_path):
    pytest.importorskip("moviepy")
    env = TaskEnv(Ball, horizon=3, render_mode="rgb_array", render_size=(479, 641))
    env = gymnasium.wrappers.RecordVideo(env, str(tmp_path / "videos"))
    env.reset(seed=0)
    env.step(FORWARD)
    env.close()
    assert len(iio.imread(tmp_path / "videos" / "rl-video-episode-0.mp4", plugin="pyav")) == 2


def test_wrong_arguments_are_named_when_the_environment_is_made():
    class Blind(Ball):
        def camera(self):
            return "in front"

    with pytest.raises(ds.InputError, match="render_mode is 'human'; allowed are None and 'rgb_array'"):
        TaskEnv(Ball, render_mode="human")
    with pytest.raises(Exception, match=r"camera|str"):  # not at the end of a training
        TaskEnv(Blind, render_mode="rgb_array")
    with pytest.raises(ds.InputError, match="time_limit is 'never'"):
        TaskEnv(Ball, time_limit="never")
    with pytest.raises(ds.InputError, match="autoreset_mode is 'Later'; allowed are 'NextStep', 'SameStep', 'Disabled'"):
        TaskVectorEnv(Ball, 2, autoreset_mode="Later")
    with pytest.raises(ds.InputError, match=r"unknown task 'Detuor'.*did you mean 'Detour'"):
        TaskEnv("Detuor")
    with pytest.raises(ds.InputError, match=r"task 'tests\.tasks\.ball:Bell' cannot be imported"):
        TaskEnv("tests.tasks.ball:Bell")
    with pytest.raises(ds.InputError, match="allowed is the task alone"):
        TaskVectorEnv(Ball(2), horizon=3)
    with pytest.raises(ds.InputError, match=r"has no parameter 'horizn'.*did you mean 'horizon'"):
        gymnasium.make("diffsim/Detour-v0", horizn=3)
    envs = TaskVectorEnv(Ball(2))
    envs.reset()
    with pytest.raises(ds.InputError, match=r"actions have shape \(2, 3\); allowed is \(2, 2\)"):
        envs.step(np.zeros((2, 3)))


def test_rpg_takes_them_back(ball_id):
    env = rpg.from_gymnasium(ball_id, 2)
    rpg.check_environment(env)
    assert env.spec.time_limit == Ball.horizon
    state, _seen = env.reset(3)
    action = torch.full((2, 2), 0.5)
    middle = env.step(state, action)
    last = env.step(middle.state, action)
    again = env.step(middle.state, action)  # its episodes are played again from their generators
    assert torch.equal(last.observation, again.observation)
    assert rpg.from_gymnasium(TaskVectorEnv(Ball, 2, autoreset_mode="Disabled")).spec.time_limit == Ball.horizon


def test_other_processes(ball_id):
    from stable_baselines3.common.vec_env import SubprocVecEnv

    single = TaskVectorEnv(Ball, 1)
    expected = [single.reset(seed=4)[0], single.step(FORWARD[None])[0]]
    # by spawn: a forked child cannot use the simulator that its parent has started
    envs = gymnasium.make_vec(ball_id, num_envs=1, vectorization_mode="async", vector_kwargs={"context": "spawn"})
    try:
        assert np.array_equal(envs.reset(seed=4)[0], expected[0])
        assert np.array_equal(envs.step(FORWARD[None])[0], expected[1])
    finally:
        envs.close()
    envs = SubprocVecEnv([lambda: TaskEnv(Ball)], start_method="spawn")
    try:
        envs.seed(4)
        assert np.array_equal(envs.reset(), expected[0])
        assert np.array_equal(envs.step(FORWARD[None])[0], expected[1])
    finally:
        envs.close()
