"""Every mistake of an author is one line that names the class and the method, what it gave and what is allowed."""

import warnings
from typing import Any

import pytest
import torch

import diffsim as ds
from tasks import AllControls, Task
from tests.tasks.ball import Ball

pytestmark = pytest.mark.slow

MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "reward detached": (
        {"reward": lambda self, step: 1.0 - self.distance(step.episode).detach()},
        r"reward\(\) of task Mistake gave a tensor without a gradient; allowed is .*differentiable = False",
    ),
    "reward of lists": (
        {"reward": lambda self, step: torch.tensor(self.distance(step.episode).tolist())},
        r"reward\(\) of task Mistake gave a tensor without a gradient",
    ),
    "reward of the wrong shape": (
        {"reward": lambda self, step: self.distance(step.episode).mean()},
        r"reward\(\) of task Mistake gave torch.float32 of shape \(\); allowed is torch.float32 of shape \(2,\)",
    ),
    "reward a number": ({"reward": lambda self, step: 1.0}, r"reward\(\) of task Mistake gave a float; allowed is"),
    "reward forgotten": (
        {"reward": lambda self, step: None},
        r"reward\(\) of task Mistake gave None \(is a return missing\?\)",
    ),
    "observation of one axis": (
        {"observation": lambda self, episode: episode.state.q[:, 0]},
        r"observation\(\) of task Mistake gave torch.float32 of shape \(2,\); allowed is .* of shape \(2, features\)",
    ),
    "randomize returns nothing": (
        {"randomize": lambda self, generator: None},
        r"randomize\(\) of task Mistake gave None \(is a return missing\?\); .* return self\.episode\(state\)",
    ),
    "randomize returns a state": (
        {"randomize": lambda self, generator: self.sim.reset()},
        r"randomize\(\) of task Mistake gave a State; allowed is an Episode of 2 environments",
    ),
    "a goal for all": (
        {"randomize": lambda self, generator: self.episode(self.sim.reset(), goal=(0.3, 0.0))},
        r"episode\(\) of task Mistake got goal: a tuple; allowed is a tensor with a row for each of the 2 environments",
    ),
    "a value that nobody began with": (
        {"advance": lambda self, step: {"count": step.episode.steps}},
        r"advance\(\) of task Mistake gave 'count'; allowed is what randomize\(\) gave to episode\(\): goal",
    ),
    "a value of another shape": (
        {"advance": lambda self, step: {"goal": step.action[:, :1]}},
        r"advance\(\) of task Mistake gave goal: torch.float32 of shape \(2, 1\); allowed is torch.float32 of shape \(2, 2\)",
    ),
    "success of floats": (
        {"success": lambda self, episode: self.distance(episode)},
        r"success\(\) of task Mistake gave torch.float32 of shape \(2,\); allowed is torch.bool of shape \(2,\)",
    ),
    "failure of one": (
        {"failure": lambda self, episode: torch.tensor(False)},
        r"failure\(\) of task Mistake gave torch.bool of shape \(\); allowed is torch.bool of shape \(2,\)",
    ),
    "outcome of floats": (
        {"outcome": lambda self, episode: torch.zeros(2)},
        r"outcome\(\) of task Mistake gave torch.float32 of shape \(2,\); allowed is torch.int64 of shape \(2,\)",
    ),
    "controls too narrow": (
        {"controls": lambda self, state, action: action[:, :1]},
        r"controls\(\) of task Mistake gave torch.float32 of shape \(2, 1\); allowed is \(2, 2\): a number for each control",
    ),
    "actions that are none": (
        {"actions": lambda self: ["x"]},
        r"actions\(\) of task Mistake gave \['x'\]; allowed is a list of action spaces, at least one",
    ),
    "actions that overlap": (
        {"actions": lambda self: [AllControls(), AllControls(2.0)]},
        r"actions\(\) of task Mistake: AllControls\(scale=1.0\) and AllControls\(scale=2.0\) drive the same control",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(mistake):
    members, message = MISTAKES[mistake]

    def first_step():
        task = type("Mistake", (Ball,), members)(2)
        task.step(task.reset(0), torch.zeros(2, 2, requires_grad=True))

    with pytest.raises(ds.InputError, match=message) as caught:
        first_step()
    assert "\n" not in str(caught.value)


def test_an_action_of_another_width_is_one_line():
    task = Ball(2)
    with pytest.raises(ds.InputError, match=r"action of task Ball has shape \(2, 3\); allowed is \(2, 2\)"):
        task.step(task.reset(0), torch.zeros(2, 3))


def test_a_task_may_say_that_its_reward_is_not_differentiable():
    made = type("Lists", (Ball,), {"differentiable": False, "reward": MISTAKES["reward of lists"][0]["reward"]})(2)
    _, reward, _ = made.step(made.reset(0), torch.zeros(2, 2, requires_grad=True))
    assert not reward.requires_grad


def test_success_that_is_not_defined_is_said_once_and_reads_zero():
    class Aimless(Ball):
        success = Task.success

    with pytest.warns(UserWarning, match=r"task Aimless does not define success\(\): success will read 0") as caught:
        task = Aimless(2)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, _, info = task.step(task.reset(0), torch.zeros(2, 2))
    assert not info["success"].any()
