"""How the tests of this folder call the command line."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rpg.cli.main import main

ROOT = Path(__file__).parents[2]
WALL = f"{Path(__file__).parent / 'small_tasks.py'}:Wall"
SHOWN = f"{Path(__file__).parent / 'small_tasks.py'}:ShownWall"
SMALL = ("--num-envs", 4, "--num-latents", 2)


def run(*arguments: object) -> int:
    """The exit code of diffsim-rpg with these arguments, in this process."""
    return main([str(argument) for argument in arguments])


def optimize(*arguments: object) -> int:
    return run("optimize", *arguments)


STARTED: list[subprocess.Popen[str]] = []
"""Processes of the running test; what a failing one leaves is killed (conftest.py)."""


def process(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    """The same in a process of its own, which Ctrl-C interrupts even if these tests run in the background."""
    command = [sys.executable, "-m", "rpg.cli.main", *(str(argument) for argument in arguments)]
    options = {"cwd": ROOT, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    options.setdefault("preexec_fn", lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    STARTED.append(subprocess.Popen(command, **options))
    return STARTED[-1]


def finished(*arguments: object, **options: Any) -> tuple[int, str, str]:
    """Its exit code, output and errors."""
    done = process(*arguments, **options)
    out, err = done.communicate(timeout=300)
    return done.returncode, out, err


def assert_refused(capsys: Any, code: int, *parts: object) -> None:
    """Exit code 2 and one line of error that holds all ``parts``."""
    lines = capsys.readouterr().err.strip().splitlines()
    assert code == 2
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    for part in parts:
        assert str(part) in lines[0], lines[0]


def assert_parser_refuses(capsys: Any, arguments: tuple[object, ...], *parts: object) -> None:
    """Exit code 2 of the options' parser, whose message holds all ``parts``."""
    with pytest.raises(SystemExit) as done:
        run(*arguments)
    assert done.value.code == 2
    told = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert "Traceback" not in told
    for part in parts:
        assert str(part) in told, told


def result_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text())


def json_line(capsys: Any) -> dict[str, Any]:
    """The object on the last line of the output."""
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])
