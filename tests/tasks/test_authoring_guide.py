"""The guide's examples run as they are printed."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from rpg.protocol import check_environment
from tasks import Task, registry, task_parameters

pytestmark = pytest.mark.slow
GUIDE = (Path(__file__).parents[2] / "docs" / "authoring.md").read_text()


def test_the_example_is_a_whole_task(capsys, monkeypatch):
    monkeypatch.setattr(registry, "_tasks", dict(registry._tasks))
    example, gentle, variants = re.findall(r"```python\n(.*?)```", GUIDE, flags=re.DOTALL)
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(example, space)
    assert "largest growth" in capsys.readouterr().out
    gradient = space["actions"].grad
    assert torch.isfinite(gradient).all()
    assert gradient[0].any(dim=1).all()
    assert len(space["episode"]["goal"].unique(dim=0)) == 2
    assert len(space["episode"].parameters["ground.friction"].unique()) == 2
    sweep = space["Sweep"]
    check_environment(sweep(2))
    assert "Young's modulus" in task_parameters(sweep).__doc__
    exec(gentle, space)
    task = space["GentleSweep"](2, horizon=2)
    episode, reward, _info = task.step(task.reset(seed=0), torch.zeros(2, task.action_dim))
    assert torch.isfinite(reward).all()
    assert episode.state.contact_wrench.shape == (2, len(task.sim.contact_names), 6)
    exec(variants, space)
    assert [each.stiffness for each in space["task"].tasks] == [1e4, 4e4]
    check_environment(space["task"])


def test_the_table_of_methods_is_whole():
    rows = re.findall(r"^\| ([^|]+)\|[^|]+\|[^|]+\|$", GUIDE, flags=re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)\(", row)}
    assert named >= {"scene", "reward", "randomize", "success", "failure", "outcome", "observation", "actions", "controls"}
    assert all(callable(getattr(Task, name)) for name in named)
