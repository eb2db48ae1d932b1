"""The tasks of other packages: what is seen, what counts as solved, and that episodes can be played again."""

import importlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.real_tasks.__main__ import Options, curve_of, main, summary, table_rows
from benchmarks.real_tasks.registry import NUM_ENVS, SIZES, TASKS, made, settings
from rpg.algorithms import build_algorithm
from rpg.protocol import check_environment
from rpg.settings_checks import SettingError
from rpg.training.metrics import IterationMetrics

OTHERS = pytest.mark.robot_models
PACKAGED = [name for name in TASKS if name != "visual_push"]  # its images are in test_images.py
NAMES = [name if name.startswith("ant") else pytest.param(name, marks=OTHERS) for name in PACKAGED]


def single(name):
    """The Gymnasium environment of one task."""
    if TASKS[name].module != "ant_push":
        pytest.importorskip("metaworld" if TASKS[name].module == "meta_world" else "gymnasium_robotics")
    return importlib.import_module(f"benchmarks.real_tasks.{TASKS[name].module}").made(name)


@pytest.mark.parametrize("name", NAMES)
def test_an_older_state_goes_on_as_it_did(name):
    single(name)
    env = made(name, 2)
    check_environment(env)
    draws = torch.Generator().manual_seed(0)
    state, first = env.reset(3)
    _, other = env.reset(4)
    _, again = env.reset(3)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert bool(first.isfinite().all())
    seen: list[object] = []
    actions = [2 * torch.rand(2, env.spec.action_dim, generator=draws) - 1 for _ in range(6)]
    state, _ = env.reset(3)
    state, _ = env.reset(state=state, where=torch.tensor([False, True]))  # which draws on
    for action in actions[:3]:
        state = env.step(state, action).state
    snapshot = env.snapshot(state)
    for action in actions[3:]:
        step = env.step(state, action)
        state, seen = step.state, [*seen, step.observation]
    state, _ = env.restore(snapshot)
    for action, expected in zip(actions[3:], seen, strict=True):
        step = env.step(state, action)
        state = step.state
        assert torch.equal(step.observation, expected)
    assert env.spec.time_limit == TASKS[name].limit
    env.close()


@pytest.mark.parametrize("name", NAMES)
def test_settings_fit(name):
    single(name)
    env = made(name)
    like = check_environment(env)
    for arm in TASKS[name].arms:
        config = settings(name, arm, "small", seed=1, steps=3 * TASKS[name].limit * NUM_ENVS)
        assert config.iterations == 3
        build_algorithm(env, replace(config, buffer_size=1000), like)
    env.close()


# Ant push ---------------------------------------------------------------------------------------------------


def pushed(env, force):
    """Where the block gets in ten seconds under a force along x and y, N, that lets it have 1 m/s."""
    env.reset(seed=0)
    wrench = env.data.xfrc_applied[env.data.body("block").id]
    for _ in range(100):
        wrench[:2] = force if np.linalg.norm(env.data.qvel[-2:]) < 1 else (0.0, 0.0)
        env.step(np.zeros(8))
    wrench[:] = 0
    return env.block[:2].copy()


def test_the_block_goes_aside_and_jams_the_passage():
    env = single("ant_push")
    x, y = pushed(env, (1.0, 0.0))
    assert x > 6
    assert abs(y - 8) < 0.1
    x, y = pushed(env, (0.0, 1.0))
    assert y > 14  # its lower edge is in the passage, from y = 12 to 20
    assert abs(x) < 0.1
    walls = [env.model.geom(n).name for n in range(env.model.ngeom) if env.model.geom(n).name.startswith("wall")]
    assert len(walls) == 19


def test_the_ant_is_rewarded_near_the_goal():
    sparse, dense = single("ant_push"), single("ant_push_dense")
    for env in (sparse, dense):
        env.reset(seed=1)
        found = []
        for place in ((0.0, 0.0), (0.5, 14.5), (0.0, 0.0)):
            q = env.data.qpos.copy()
            q[:2] = place
            env.set_state(q, 0 * env.data.qvel)
            seen, reward, terminated, truncated, info = env.step(np.zeros(8))
            assert not terminated
            assert not truncated
            found.append((reward, info["success"]))
        assert [success for _, success in found] == [False, True, True]  # in the episode
        rewards = [reward for reward, _ in found]
        if env is sparse:
            assert rewards == [0, 1, 0]
            np.testing.assert_allclose(seen[:15], env.data.qpos[:15] / 10)
            np.testing.assert_allclose(seen[15:18], env.block - (0, 8, 2))
            np.testing.assert_allclose(0.05 * seen[18:20], 0.01 * env.data.qpos[:2])
            np.testing.assert_allclose(0.05 * seen[20:33], 0.1 * env.data.qpos[2:15])
        else:
            assert rewards[0] == pytest.approx(-1.9, abs=0.02)
            assert seen[29] == pytest.approx(0.003)
        assert not env.reset(seed=1)[1].get("success", False)
        assert env.step(np.zeros(8))[4]["success"] is False


# Adroit -----------------------------------------------------------------------------------------------------


@OTHERS
def test_the_door_is_open_at_one_radian():
    env = single("door")
    seen, _ = env.reset(seed=2)
    hand = env.unwrapped
    handle, palm = hand.data.site_xpos[hand.handle_site_id], hand.data.site_xpos[hand.grasp_site_id]
    np.testing.assert_allclose(seen[:7], [hand.data.qpos[hand.door_hinge_addrs], *handle, *(palm - handle)])
    np.testing.assert_allclose(seen[7:], [*hand.data.qpos[1:28], *palm])
    assert env.step(np.zeros(28))[1] == 0
    q = hand.data.qpos.copy()
    q[hand.door_hinge_addrs] = 1.1
    hand.set_state(q, 0 * hand.data.qvel)
    _, reward, _, _, info = env.step(np.zeros(28))
    assert reward == 1
    assert info["success"]


@OTHERS
def test_the_nail_is_in():
    env = single("hammer")
    seen, _ = env.reset(seed=2)
    hand = env.unwrapped
    palm, hammer = hand.data.site_xpos[hand.S_grasp_site_id], hand.data.xpos[hand.obj_body_id]
    np.testing.assert_allclose(seen[:9], [*palm, *hammer, *hand.data.site_xpos[hand.target_obj_site_id]])
    nail = hand.model.jnt_qposadr[hand.model.body_jntadr[hand.model.site_bodyid[hand.target_obj_site_id]]]
    found = []
    for depth in (0.0, 0.075, 0.09):
        q = hand.init_qpos.copy()
        q[nail] = depth
        hand.set_state(q, 0 * hand.data.qvel)
        found.append((env.step(np.zeros(26))[1], float(np.linalg.norm(_gap(hand)))))
    assert [reward for reward, _ in found] == [float(gap <= 0.02) for _, gap in found]
    assert found[0][0] == 0
    assert found[-1][0] == 1


def _gap(hand):
    return hand.data.site_xpos[hand.target_obj_site_id] - hand.data.site_xpos[hand.goal_site_id]


# Metaworld --------------------------------------------------------------------------------------------------


@OTHERS
@pytest.mark.parametrize(("name", "policy"), [("stick_pull", "StickPull"), ("basketball", "Basketball")])
def test_metaworlds_own_policy_is_rewarded(name, policy):
    env = single(name)
    scripted = getattr(importlib.import_module("metaworld.policies"), f"Sawyer{policy}V3Policy")()
    seen, _ = env.reset(seed=0)
    assert seen.shape == (46,)
    rewards, success = [], []
    for _ in range(100):
        raw = seen[7:].copy()
        seen, reward, terminated, truncated, info = env.step(np.clip(scripted.get_action(raw), -1, 1))
        rewards.append(reward)
        success.append(info["success"])
        assert not terminated
        assert not truncated
    assert set(rewards) == {0, 1}
    assert success == list(np.maximum.accumulate(rewards).astype(bool))
    raw, fingers = seen[7:], env.env.tcp_center
    apart = raw[4:7] - raw[11:14] if name == "stick_pull" else fingers - raw[4:7]
    np.testing.assert_allclose(np.expm1(np.abs(seen[:3])), np.abs(apart) / 0.4)
    assert seen[6] == raw[3]
    assert np.abs(raw[36:39]).max() > 0.1  # the goal is seen


# The benchmark ----------------------------------------------------------------------------------------------


def test_a_missing_package_is_named(monkeypatch, capsys):
    def importing(module):
        raise ModuleNotFoundError("no", name="metaworld.env_dict" if module.endswith("meta_world") else "pettingzoo")

    monkeypatch.setattr("benchmarks.real_tasks.registry.importlib.import_module", importing)
    with pytest.raises(SettingError, match=r"stick_pull needs metaworld; allowed after pip install .*metaworld"):
        made("stick_pull")
    with pytest.raises(SettingError, match=r"door needs gymnasium_robotics; .*gymnasium-robotics.* pettingzoo"):
        made("door")
    assert main(Options(single="door:none:100")) == 2
    assert "door needs gymnasium_robotics" in capsys.readouterr().err
    assert main(Options(row=("door:both",))) == 2
    assert "'door:both' was given; allowed are stick_pull:gaussian" in capsys.readouterr().err


def test_stored_results(tmp_path):
    options = Options(out=tmp_path)
    assert summary(options)["door:none"] is None
    assert all("not run" in row for row in table_rows(options))
    history = [
        IterationMetrics(return_mean=2.0 * n, return_best=0, success=n / 4, distinct_outcomes=0, simulator_steps=500 * (n + 1))
        for n in range(4)
    ]
    curve = curve_of(history, 2)
    assert curve == [[1000, 0.125, 1.0], [2000, 0.375, 3.0]]
    run = {"task": "door", "arm": "none", "size": "small", "seed": 100, "steps": 2000, "success": 0.375, "curve": curve}
    run |= {"cpu_seconds": 120.0, "resumed_at": 0.0}
    longer = {**run, "steps": 300_000, "success": 0.5}
    other = {**longer, "size": "paper", "success": 0.7}
    lines = [json.dumps(each) for each in (run, longer, other)]
    (tmp_path / "door-none.jsonl").write_text("\n".join(lines) + '\n{"task": "do')
    assert summary(options)["door:none"] == 0.5
    assert summary(options)["seeds"]["door:none"] == 1
    assert summary(replace(options, size="paper"))["door:none"] == 0.7
    row = next(each for each in table_rows(options) if each[:2] == ("door", "none"))
    assert row[3:] == ("300,000 of 300,000", "0.50", "0.03", "2")
    assert set(SIZES) == {"small", "paper"}
