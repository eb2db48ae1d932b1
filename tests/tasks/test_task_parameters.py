"""A task's parameters: declared once, set by keyword, listed for a command line."""

import dataclasses
from pathlib import Path
from typing import ClassVar, Literal

import pytest

import diffsim as ds
from tasks import Detour, Task, task_parameters
from tests.tasks.ball import Ball

COMMON = (
    "horizon", "dt", "substeps", "tool_speed", "mesh", "ends_on_success", "reward_mode", "observation_mode",
    "observation_particles", "image_size",
)  # fmt: skip


class Many(Task):
    """A class of constants and parameters.

    Attributes:
        count, ratio: how many,
            and how large.
    """

    constant = 3
    shared: ClassVar[int] = 4
    _hidden: int = 5
    names: dict[str, int] = {}  # noqa: RUF012
    count: int = 1
    ratio: float = 2
    file: Path | None = None
    side: Literal["left", "right"] = "left"
    place: tuple[float, ...] = (1, 2.5)

    def scene(self):
        raise RuntimeError("nothing is built")


def test_parameters_are_the_annotated_attributes_of_plain_types():
    kind = task_parameters(Many)
    assert [field.name for field in dataclasses.fields(kind)] == [*COMMON, "count", "ratio", "file", "side", "place"]
    made = kind()
    assert (made.ratio, made.place, made.horizon) == (2.0, (1.0, 2.5), Task.horizon)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.count = 2
    assert task_parameters(Many) is kind


def test_defaults_are_the_classs_own():
    made = task_parameters(Detour)()
    assert (made.horizon, made.dt, made.mesh, made.goal_spread) == (Detour.horizon, Detour.dt, Detour.mesh, 0.0)


def test_docstrings_say_what_they_are():
    texts = {field.name: field.metadata["help"] for field in dataclasses.fields(task_parameters(Many))}
    assert texts["ratio"] == texts["count"] == "how many, and how large."
    assert texts["horizon"] == "control steps of an episode, T."
    assert texts["side"] == ""
    assert "goal_spread: how far the goal" in task_parameters(Detour).__doc__


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"horizn": 3}, r"task Ball has no parameter 'horizn'; parameters: horizon, .*; did you mean 'horizon'\?"),
        ({"name": "x"}, "has no parameter 'name'"),
        ({"horizon": "20"}, "task Ball: horizon must be int, got '20'"),
        ({"horizon": 2.0}, r"horizon must be int, got 2\.0"),
        ({"horizon": True}, "horizon must be int, got True"),
        ({"spread": True}, "spread must be float, got True"),
        ({"start": (0.0, 1.0, 2.0)}, r"start must be tuple\[float, float\], got \(0\.0, 1\.0, 2\.0\)"),
        ({"label": 3}, "label must be str or None, got 3"),
        ({"reward_mode": "none"}, "reward_mode must be one of 'dense', 'sparse', 'normalised', got 'none'"),
    ],
)
def test_a_wrong_parameter_is_one_line(given, message):
    with pytest.raises(ds.InputError, match=message) as caught:
        Ball(1, **given)
    assert "\n" not in str(caught.value)


def test_a_default_of_another_type_is_the_authors_mistake():
    wrong = type("Wrong", (Many,), {"count": "many"})
    with pytest.raises(ds.InputError, match="task Wrong: count must be int, got 'many'"):
        task_parameters(wrong)


@pytest.mark.slow
def test_a_task_is_made_with_them():
    task = Ball(1, horizon=3, spread=1, start=[0.1, 0.2], dt=Ball.dt)
    assert (task.horizon, task.spread, task.start) == (3, 1.0, (0.1, 0.2))
    assert isinstance(task.spread, float)
    assert task.sim.reset().q[0].tolist() == pytest.approx([0.1, 0.2])
    assert task.parameters == {"horizon": 3, "spread": 1.0, "start": (0.1, 0.2)}  # dt is the class's
    assert Ball.horizon == 6
