"""Every task of the suite at its bench setting: what it says of itself, its first state, a step and its gradient."""

import pytest
import torch

from benchmarks.suite.families import CLOSED_LOOP, TASKS
from benchmarks.suite.pushes import PushedTask
from benchmarks.suite.solving import replayed
from benchmarks.suite.store import stored_solution
from tasks import find_task, task_names
from tests.tasks.every_task import every_task

EVERY = every_task(lambda task: task, compiled=False)


def test_the_suite_has_every_registered_task():
    own = {name for name in task_names() if find_task(name).__module__.startswith("tasks.")}
    assert set(TASKS) == own


@pytest.mark.parametrize("task", EVERY)
def test_a_task_says_its_ways_and_is_seen_from_somewhere(task):
    kind = find_task(task.name)
    assert len(kind.outcome_names) >= task.ways
    assert task.ways < 2 or len(set(kind.outcome_names)) == len(kind.outcome_names)
    assert "camera" in vars(kind) or any("camera" in vars(base) for base in kind.__mro__[1:-2] if base.__name__ != "Task")


@pytest.mark.parametrize("task", every_task(lambda task: task))
def test_a_task_begins_unsolved_and_its_reward_has_a_gradient(task):
    made = find_task(task.name)(2, **task.bench)
    episode = made.reset(seed=0)
    assert not bool(made.success(episode).any())
    action = torch.zeros(2, made.action_dim, dtype=made.sim.dtype, requires_grad=True)
    _, reward, info = made.step(episode, action)
    (gradient,) = torch.autograd.grad(reward.sum(), action)
    assert bool(reward.isfinite().all())
    assert not bool(info["success"].any())
    assert bool(gradient.isfinite().all())


@pytest.mark.long
@pytest.mark.parametrize("task", EVERY)
def test_doing_nothing_solves_no_task(task):
    made = find_task(task.name)(4, **task.bench)
    episode = made.reset(seed=1)
    with torch.no_grad():
        for _ in range(made.horizon):
            episode, _, info = made.step(episode, torch.zeros(4, made.action_dim, dtype=made.sim.dtype))
    assert not bool(info["success"].any())


@pytest.mark.parametrize(
    "name",
    [
        *("CupTrap", "Detour", "HammerNail", "Move1", "Move2", "Move3", "OpenDoor", "Pick3", "RodTurn", "ThreeWayPush"),
        *("TripleMove", pytest.param("PandaPickPlace", marks=[pytest.mark.robot_models, pytest.mark.long])),
    ],
)
def test_a_stored_solution_of_the_full_setting_still_succeeds(name, one_thread):
    stored = stored_solution(TASKS[name])
    best = stored["solutions"][0]
    replay = replayed(TASKS[name], stored)
    assert replay.success
    assert replay.outcome == best["outcome"]
    assert replay.total == pytest.approx(best["return"], rel=0.05)


def test_pushes_are_drawn_from_the_seed_and_act_as_part_of_the_action():
    task = find_task("TripleMove")(2)
    pushed = PushedTask(task, 0.25)
    state, again = pushed.reset(3), pushed.reset(3)
    assert torch.equal(state.pushes, again.pushes)
    assert not torch.equal(state.pushes, pushed.reset(4).pushes)
    assert state.pushes.shape == (2, task.horizon, task.action_dim)
    assert float(state.pushes.abs().max()) <= 0.25
    action = torch.full((2, task.action_dim), 0.5)
    after, reward, _ = pushed.step(state, action)
    plain, expected, _ = task.step(task.reset(3), 0.75 * action + state.pushes[:, 0])
    assert torch.equal(reward, expected)
    assert torch.equal(after.episode.state.x, plain.state.x)


def test_closed_loop_rows_stand_apart():
    assert not set(CLOSED_LOOP) & set(TASKS)
    assert all(task.name in TASKS for task in CLOSED_LOOP.values())
