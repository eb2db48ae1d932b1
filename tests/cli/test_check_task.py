"""``check-task`` and ``new-task`` as commands, and tasks of installed packages."""

import json

import pytest

from rpg.runs.task_lookup import registered_tasks, task_class
from tests.cli.command_line import WALL, assert_refused, json_line, optimize, run

pytestmark = pytest.mark.slow

CHECKED = """
from tests.cli.small_tasks import Wall
from rpg.cli.check_task import Finding

class Checked(Wall):
    @classmethod
    def check_task(cls, quick, num_envs, seconds, **parameters):
        yield Finding("given", "pass", f"{quick} {num_envs} {seconds:g} {parameters}")
        yield Finding("odd", "warn", "something [red]odd[/red]", "change it")
        if parameters:
            yield Finding("broken", "fail", "something broken")
"""


def test_findings_are_lines_and_one_object(tmp_path, capsys):
    path = tmp_path / "checked.py"
    path.write_text(CHECKED)
    assert run("check-task", f"{path}:Checked", "--quick", "--json") == 0
    found = json_line(capsys)
    assert (found["pass"], found["warn"], found["fail"], found["exit_code"]) == (1, 1, 0, 0)
    assert found["findings"][0] == {"check": "given", "verdict": "pass", "text": "True 4 60 {}", "advice": ""}
    assert run("check-task", f"{path}:Checked", "--num-envs", 2, "--seconds", 1, "--task.horizon", 5) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "pass  given           False 2 1 {'horizon': 5}" in lines
    assert "warn  odd             something [red]odd[/red]" in lines
    assert " " * 22 + "-> change it" in lines
    assert lines[-1].endswith("1 passed, 1 warnings, 1 failed")
    assert run("check-task", f"{path}:Checked", "--quiet", "--task.horizon", 5) == 1
    assert capsys.readouterr().out == ""


def test_an_environment_without_checks_is_checked_against_the_protocol(capsys):
    assert run("check-task", WALL) == 0
    assert "pass  protocol" in capsys.readouterr().out
    assert run("check-task", WALL, "--task.horizon", 0) == 1
    assert "fail  protocol" in capsys.readouterr().out


def test_wrong_arguments_are_one_line(tmp_path, capsys):
    assert_refused(capsys, run("check-task"), "no task was given", "diffsim-rpg check-task TASK")
    assert_refused(capsys, run("check-task", "--num-envs", 0, WALL), "--num-envs was given 0")
    assert_refused(capsys, run("check-task", tmp_path / "none.py"), "none.py' does not exist")
    assert_refused(capsys, run("check-task", WALL.rpartition(":")[0]), "was given without a class", WALL)


def test_a_new_task_passes_its_check_and_can_be_optimised(tmp_path, capsys):
    path = tmp_path / "folder" / "pour_tea.py"
    assert run("new-task", "PourTea", "--path", path, "--json") == 0
    assert json_line(capsys) == {"file": str(path), "task": f"{path}:PourTea"}
    before = path.read_text()
    assert_refused(capsys, run("new-task", "Other", "--path", path), path, "exists", "nothing was written")
    assert path.read_text() == before
    assert run("check-task", path, "--num-envs", 2, "--json") == 0
    found = json_line(capsys)
    assert (found["task"], found["warn"], found["fail"]) == ("PourTea", 0, 0), found
    short = ("--num-envs", 2, "--num-latents", 2, "--iterations", 2, "--task.horizon", 4, "--no-video", "--quiet")
    assert optimize(f"{path}:PourTea", *short, "--out", tmp_path / "run") == 0
    assert json.loads((tmp_path / "run" / "result.json").read_text())["status"] == "done"


def test_the_file_of_a_new_task_is_named_after_it(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("new-task", "PourTea2Cups") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["pour_tea2_cups.py"]
    for name in ("pour-tea", "class", "Task", "2Cups", ""):
        assert_refused(capsys, run("new-task", name), f"name was given '{name}'")
    assert_refused(capsys, run("new-task", "Pour", "--path", "pour.txt"), "end in .py")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package that offers two tasks, one of them by a function, and one that is broken."""
    (tmp_path / "fake_tasks.py").write_text(
        "from tests.cli.small_tasks import PlainWall, Wall\n\ndef offered():\n    return {'FakeWall': Wall}\n"
    )
    folder = tmp_path / "fake_tasks-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-tasks\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(
        "[rpg.tasks]\nPlainFake = fake_tasks:PlainWall\nmany = fake_tasks:offered\nbroken = fake_tasks:nothing\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


def test_packages_offer_tasks_by_entry_point(package, capsys):
    with pytest.warns(UserWarning, match=r"broken = fake_tasks:nothing are left out: AttributeError"):
        names = list(registered_tasks())
    assert {"FakeWall", "PlainFake", "Detour"} <= set(names)
    with pytest.warns(UserWarning, match="broken"):
        assert task_class("PlainFake").__name__ == "PlainWall"
    with pytest.warns(UserWarning, match="broken"):
        assert run("check-task", "FakeWall") == 0
    assert "pass  protocol" in capsys.readouterr().out
