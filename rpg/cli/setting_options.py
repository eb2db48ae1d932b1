"""An algorithm's settings and a task's parameters as typed options of the command line, made from their dataclasses."""

from __future__ import annotations

from dataclasses import field, fields, make_dataclass
from typing import Annotated, Any, get_type_hints

import tyro

from rpg.algorithms.algorithm import AlgorithmConfig
from rpg.cli.field_docs import field_docs
from rpg.runs.run_settings import adjusted_schedule, changed_config
from rpg.settings_checks import SettingError
from rpg.training.schedules import Schedule

TASK_PREFIX = "task"


def setting_options(config: AlgorithmConfig) -> Any:
    """An instance of a dataclass whose fields are an algorithm's settings as options, with those of `config` as defaults."""
    hints = get_type_hints(type(config), include_extras=True)
    docs = field_docs(type(config))
    options = []
    for each in fields(config):
        if each.name == "algorithm":  # --algo
            continue
        value, kind = getattr(config, each.name), hints[each.name]
        help_ = tyro.conf.arg(help=docs.get(each.name, ""))
        if kind is Schedule:
            option: Any = Annotated[Schedule, _schedule_option(each.name, value), help_]
        else:
            option = Annotated[kind, help_]
            if kind is float and value is not None:
                value = float(value)
        options.append((each.name, option, field(default=value)))
    made = make_dataclass(type(config).__name__, options, frozen=True)
    made.__doc__ = f"Settings of {config.algorithm}. Schedules are START [END [BEGIN FINISH]]: what is left out stays."
    return made()


def chosen_config(config: AlgorithmConfig, options: Any) -> AlgorithmConfig:
    """`config` with the settings of `options`, as `setting_options` made them. Raises SettingError if they are wrong."""
    return changed_config(config, {name: value for name, value in vars(options).items() if value != getattr(config, name)})


def combined_options(**groups: Any) -> Any:
    """An instance of one dataclass with each of `groups`, instances of dataclasses, as a field, whose options bear no prefix;
    only those of "parameters" are --task.NAME. A group of None is left out."""
    parts = []
    for name, group in groups.items():
        if group is not None:
            prefix = TASK_PREFIX if name == "parameters" else ""
            parts.append((name, Annotated[type(group), tyro.conf.arg(name=prefix)], field(default=group)))
    return make_dataclass("Options", parts, frozen=True)()


def parsed_options(default: Any, arguments: list[str], *, prog: str, description: str) -> Any:
    """`default` with what `arguments` set. A parser's error, and ``--help``, end the process; raises SettingError if a
    schedule is wrong."""
    try:
        return tyro.cli(type(default), default=default, args=arguments, prog=prog, description=description)
    except _WrongScheduleError as error:
        raise SettingError(str(error)) from error


def schedule_text(schedule: Schedule) -> list[str]:
    """A schedule as its option takes it: one number if it is constant."""
    values = [f"{number:g}" for number in (schedule.start, schedule.end, schedule.begin, schedule.finish)]
    return values[:1] if schedule.start == schedule.end else values


class _WrongScheduleError(Exception):
    """No ValueError, which the parser would make a page of."""


def _schedule_option(name: str, default: Schedule) -> Any:
    def parsed(texts: list[str]) -> Schedule:
        numbers = [float(text) for text in texts]
        try:
            return adjusted_schedule(default, numbers)
        except ValueError as error:
            raise _WrongScheduleError(f"--{name.replace('_', '-')}: {error}") from error

    return tyro.constructors.PrimitiveConstructorSpec(
        nargs="*",
        metavar="START [END [BEGIN FINISH]]",
        instance_from_str=parsed,
        is_instance=lambda value: isinstance(value, Schedule),
        str_from_instance=schedule_text,
    )
