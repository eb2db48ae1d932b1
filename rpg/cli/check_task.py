"""``diffsim-rpg check-task``: what is right and wrong with a task, a line for each check."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import tyro

from rpg.cli.output import Output, OutputOptions
from rpg.settings_checks import SettingError

PROG = "diffsim-rpg check-task"
DESCRIPTION = """Check a task before it is trained, a line for each check: pass, warn (it can be trained, but something is odd)
or fail (it cannot), and what to do.

TASK is a registered task, module:Class or path/to/file.py:Class; --task.NAME sets a parameter of the task, which
`diffsim-rpg check-task TASK --help` lists. The exit code is 0 if nothing failed, 1 if a check failed, and 2 if there
is no such task or an option is wrong."""
FAILED = 1
COLORS = {"pass": "green", "warn": "yellow", "fail": "red"}


@dataclass(frozen=True)
class CheckTaskOptions(OutputOptions):
    """The checks."""

    quick: bool = False
    """Short episodes only: leave out the search for a success, other batch sizes, and where gradients grow."""
    num_envs: int = 4
    """Environments of the episodes that are tried."""
    seconds: float = 60.0
    """How long a success is searched for."""
    threads: int | None = None
    """Threads of the simulator (DIFFSIM_NUM_THREADS)."""

    def check(self) -> None:
        """Raise SettingError if an option is wrong."""
        for name, value in (("num-envs", self.num_envs), ("threads", self.threads)):
            if value is not None and value < 1:
                raise SettingError(f"--{name} was given {value}; allowed are whole numbers >= 1")
        if not 0.0 <= self.seconds < float("inf"):
            raise SettingError(f"--seconds was given {self.seconds}; allowed are numbers >= 0")


class Finding(NamedTuple):
    """What one check found. An environment's class that has a class method ``check_task(quick=..., num_envs=...,
    seconds=..., **parameters)`` gives objects of these fields one by one; any other is checked against `rpg.protocol`."""

    check: str
    verdict: str  # "pass", "warn" or "fail"
    text: str
    advice: str = ""


def check_task(arguments: list[str]) -> Callable[[], int]:
    """Read the arguments; what is to be done then."""
    wants_help = any(argument in ("-h", "--help") for argument in arguments)
    given = [argument for argument in arguments if argument not in ("-h", "--help")]
    prog = f"{PROG} TASK"
    options, others = tyro.cli(CheckTaskOptions, args=given, prog=prog, description=DESCRIPTION, return_unknown_args=True)
    reference = next((each for each in others if not each.startswith("-")), None)
    if reference is None and wants_help:
        tyro.cli(CheckTaskOptions, args=["--help"], prog=prog, description=DESCRIPTION)
    if reference is None:
        raise SettingError(f"no task was given: {PROG} TASK (`diffsim-rpg tasks` lists the tasks)")
    options.check()
    out = Output(options)
    with out.step(f"loading torch and {reference}"):
        from rpg.cli.run_command import set_simulator_threads

        set_simulator_threads(options.threads)
        from rpg.cli.setting_options import combined_options, parsed_options
        from rpg.runs.environment_parameters import default_parameters
        from rpg.runs.task_lookup import task_class

        kind = task_class(reference)
    given.remove(reference)
    default = combined_options(options=CheckTaskOptions(), parameters=default_parameters(kind))
    prog = f"{PROG} {reference}"
    chosen = parsed_options(default, given + ["--help"] * wants_help, prog=prog, description=DESCRIPTION)
    return partial(_checked, kind, chosen.options, getattr(chosen, "parameters", None), out)


def _checked(kind: type[Any], options: CheckTaskOptions, parameters: Any | None, out: Output) -> int:
    from rpg.runs.environment_parameters import given_parameters
    from rpg.runs.task_lookup import task_name

    values = given_parameters(kind, parameters)
    name = task_name(kind)
    out.say(f"checking {name} ...")
    found: list[Any] = []
    findings = kind.check_task if inspect.ismethod(getattr(kind, "check_task", None)) else partial(_protocol_findings, kind)
    for finding in findings(quick=options.quick, num_envs=options.num_envs, seconds=options.seconds, **values):
        found.append(finding)
        color = COLORS[finding.verdict]
        out.console.print(f"[{color}]{finding.verdict}[/{color}]  {finding.check:<16}", end="")
        out.say(finding.text)
        if finding.advice:
            out.say(f"{'':<22}-> {finding.advice}")
    counts = Counter(each.verdict for each in found)
    code = FAILED if counts["fail"] else 0
    out.say(f"{name}: {counts['pass']} passed, {counts['warn']} warnings, {counts['fail']} failed")
    records = [{name: getattr(each, name) for name in Finding._fields} for each in found]
    out.finish({"task": name, "findings": records, **{verdict: counts[verdict] for verdict in COLORS}, "exit_code": code})
    return code


def _protocol_findings(kind: type[Any], *, quick: bool, num_envs: int, seconds: float, **values: Any) -> Iterator[Finding]:
    """Of an environment that does not check itself: whether it can be built, and keeps to the protocol for one step."""
    from rpg.protocol import check_environment
    from rpg.runs.task_lookup import built_environment, setting_errors

    try:
        environment = built_environment(kind, num_envs, values)
        with setting_errors(kind):
            check_environment(environment)
    except ValueError as error:  # SettingError, ProtocolError
        yield Finding("protocol", "fail", " ".join(str(error).split()))
        return
    yield Finding("protocol", "pass", "one step of it is as docs/environments.md says; its class has no checks of its own")
