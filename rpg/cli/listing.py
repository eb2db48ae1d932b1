"""``diffsim-rpg tasks`` and ``diffsim-rpg algorithms``: what there is, and all about one of them."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, fields
from typing import Annotated, Any

import tyro

from rpg.cli.output import Output, OutputOptions


@dataclass(frozen=True)
class ListTasksOptions(OutputOptions):
    """The list."""

    name: Annotated[str | None, tyro.conf.Positional] = None
    """A registered task, module:Class or path/to/file.py:Class; all registered tasks if not given."""


@dataclass(frozen=True)
class ListAlgorithmsOptions(OutputOptions):
    """The list."""

    name: Annotated[str | None, tyro.conf.Positional] = None
    """An algorithm, to see its settings; all of them, a line each, if not given."""


def list_tasks(arguments: list[str]) -> int:
    """Print the tasks' docstrings, or everything about one task."""
    description = "The tasks: what is to be done, what is randomised, what counts as success. With a name, also its parameters."
    options = tyro.cli(ListTasksOptions, args=arguments, prog="diffsim-rpg tasks", description=description)
    out = Output(options)
    from rpg.runs.task_lookup import registered_tasks, task_class

    found = registered_tasks() if options.name is None else {options.name: task_class(options.name)}
    for name, task in found.items():
        out.console.print(f"[bold]{name}[/bold]")
        out.say(inspect.cleandoc(task.__doc__ or "(no description)"))
        if options.name is not None:
            _say_about(task, out)
        out.say("")
    out.finish({"tasks": {name: _facts(task) for name, task in found.items()}})
    return 0


def list_algorithms(arguments: list[str]) -> int:
    """Print a line for each algorithm, or the settings of one."""
    description = "The algorithms, a line each. With a name, all of its settings."
    options = tyro.cli(ListAlgorithmsOptions, args=arguments, prog="diffsim-rpg algorithms", description=description)
    out = Output(options)
    from rpg.algorithms import CONFIGS, SUMMARIES
    from rpg.settings_checks import SettingError

    if options.name is not None and options.name not in CONFIGS:
        raise SettingError(f"unknown algorithm '{options.name}'; algorithms: {', '.join(CONFIGS)}")
    if options.name is None:
        for name, text in SUMMARIES.items():
            out.console.print(f"[bold]{name:<12}[/bold]", end="")
            out.say(text)
        out.say(
            "\nThe settings of one: diffsim-rpg algorithms NAME. They are options of diffsim-rpg optimize TASK --algo NAME."
        )
        out.finish({"algorithms": SUMMARIES})
        return 0
    from rpg.runs.run_settings import task_config

    config = task_config(object, options.name)
    out.say(f"{SUMMARIES[options.name]}\n")
    settings = _fields(config)
    settings.pop("algorithm")
    _say_fields(settings, out, prefix="--")
    out.finish({"algorithm": options.name, "settings": {name: default for name, (default, _) in settings.items()}})
    return 0


def _say_about(task: type[Any], out: Output) -> None:
    from rpg.runs.environment_parameters import default_parameters

    facts = _facts(task)
    out.say("")
    for label in ("file", "solutions", "horizon", "settings of the algorithm"):
        if facts[label]:
            value = facts[label]
            text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
            out.say(f"{label}: {', '.join(text) if isinstance(text, list) else text}")
    parameters = default_parameters(task)
    if parameters is not None:
        out.say("parameters:")
        _say_fields(_fields(parameters), out, prefix="--task.")


def _facts(task: type[Any]) -> dict[str, Any]:
    """What a task's class says about itself, as values for JSON."""
    from rpg.runs.environment_parameters import default_parameters, plain_parameters
    from rpg.runs.task_lookup import TaskSource, task_name

    horizon = getattr(task, "horizon", None)
    names = getattr(task, "outcome_names", ())
    return {
        "name": task_name(task),
        "file": TaskSource.of("", task).file,
        "solutions": [str(name) for name in names] if isinstance(names, list | tuple) else [],
        "horizon": horizon if isinstance(horizon, int) else None,
        "settings of the algorithm": {name: str(value) for name, value in getattr(task, "optimizer_settings", {}).items()},
        "parameters": plain_parameters(default_parameters(task)),
    }


def _fields(instance: Any) -> dict[str, tuple[str, str]]:
    """Value and meaning of each field of a dataclass's instance."""
    from rpg.cli.field_docs import field_docs
    from rpg.cli.setting_options import schedule_text
    from rpg.training.schedules import Schedule

    docs = field_docs(type(instance))
    found = {}
    for each in fields(instance):
        value = getattr(instance, each.name)
        if isinstance(value, Schedule):
            value = " ".join(schedule_text(value))
        found[each.name] = (" ".join(map(str, value)) if isinstance(value, tuple) else str(value), docs.get(each.name, ""))
    return found


def _say_fields(values: dict[str, tuple[str, str]], out: Output, prefix: str) -> None:
    for name, (default, text) in values.items():
        out.say(f"  {prefix}{name.replace('_', '-')} [{default}]  {text}")
