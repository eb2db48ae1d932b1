"""Before anything is trained: help, version, commands, and signals while modules are imported."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from rpg.cli.main import COMMANDS, main
from tests.cli.command_line import ROOT, WALL, assert_refused, finished, process, run


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)], ids=" ".join)
def test_help_needs_no_torch(arguments):
    code = (
        "import sys\nfrom rpg.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as done:\n    assert not done.code\n"
        "print('torch' in sys.modules, 'taichi' in sys.modules)"
    )
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False False", done.stdout


def test_importing_rpg_imports_no_torch_and_has_every_name():
    code = (
        "import sys, rpg\nassert 'torch' not in sys.modules\nassert set(rpg.__all__) <= set(dir(rpg))\n"
        "rpg.Trainer, rpg.training.trainer, rpg.open_run\nassert 'torch' in sys.modules\n"
        "try:\n    rpg.nothing\nexcept AttributeError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "module 'rpg' has no attribute 'nothing'"


def test_the_overview_names_every_command(capsys):
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    for name in (*COMMANDS, "--version", "--json", "--quiet", "completion --help"):
        assert name in printed
    assert main([]) == 2
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("diffsim-rpg 0.")


def test_an_unknown_command_is_one_line(capsys):
    assert_refused(capsys, run("optimise", "Detour"), "unknown command 'optimise'", "did you mean 'optimize'")
    assert_refused(capsys, run("optimize"), "no task was given", "diffsim-rpg optimize TASK")
    assert_refused(capsys, run("compare"), "no run was given")


def test_help_of_a_task_has_its_settings_and_parameters(capsys):
    def told(*arguments: str) -> str:
        with pytest.raises(SystemExit) as done:
            run(*arguments, "--help")
        assert done.value.code == 0
        return capsys.readouterr().out

    words = told("optimize", WALL)
    for option in (
        "--seed INT",
        "--num-latents {None}|INT",
        "--beta START [END [BEGIN FINISH]]",
        "--task.half-width",
        "--out",
        "--algo",
    ):
        assert option in words
    assert "Half of the wall's width, m. (default: 0.5)" in " ".join(words.replace("│", " ").split())
    words = told("optimize", WALL, "--algo", "cem")
    assert "--elite-fraction" in words
    assert "--num-latents {None}|INT" not in words
    assert "--learning-rate" in told("optimize", "--algo", "adam")  # without a task


def test_a_package_adds_a_command(capsys, monkeypatch):
    class Offer:
        name = "polish-task"

        def load(self):
            return lambda arguments: lambda: print("checked", *arguments) or 7

    monkeypatch.setattr("rpg.cli.main._other_commands", lambda: {"polish-task": Offer()})
    assert main(["polish-task", "a.py:A"]) == 7
    assert capsys.readouterr().out == "checked a.py:A\n"
    assert main(["--help"]) == 0
    assert "polish-task" in capsys.readouterr().out


@pytest.mark.parametrize(("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")])
def test_a_signal_while_modules_are_imported_is_one_line(tmp_path, number, code, word):
    (tmp_path / "slow.py").write_text(f"open({str(tmp_path / 'began')!r}, 'w').close()\nimport time\ntime.sleep(60)\n")
    running = process("optimize", f"{tmp_path / 'slow.py'}:Task", cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
    until = time.monotonic() + 120
    while not (tmp_path / "began").exists() and running.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    running.send_signal(number)
    _, errors = running.communicate(timeout=60)
    assert (running.returncode, errors) == (code, f"{word}\n")
    assert not (tmp_path / "runs").exists()


def test_a_reader_that_goes_away_is_no_traceback():
    running = process("algorithms")
    running.stdout.close()
    running.stdout = None
    _, errors = running.communicate(timeout=120)
    assert "Traceback" not in errors


def test_errors_are_json_too(tmp_path):
    code, out, err = finished(
        "optimize", "nowhere.py:Task", "--json", "--quiet", cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert (code, err) == (2, "error: task file 'nowhere.py' does not exist\n")
    assert json.loads(out) == {"error": "task file 'nowhere.py' does not exist", "exit_code": 2}


def test_the_shell_completes_options(capsys):
    assert run("completion", "bash") == 0
    script = capsys.readouterr().out
    for word in ("--num-latents", "--task", "--vary", "sweep", "feedback"):
        assert word in script
