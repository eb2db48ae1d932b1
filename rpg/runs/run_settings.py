"""The settings of a run: from the task, from the user, or from a run to be continued.

Each of the three functions below gives settings to start from; what the user sets replaces theirs, and `check_resumed` refuses
what a resumed run must keep.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from rpg.algorithms import CONFIGS, config_from_dict
from rpg.algorithms.algorithm import AlgorithmConfig
from rpg.algorithms.rpg import RPGConfig
from rpg.runs.environment_parameters import default_parameters, parameter_identity, restored_parameters
from rpg.runs.run_result import read_result
from rpg.runs.task_lookup import task_name
from rpg.settings_checks import SettingError
from rpg.training.checkpoint import CHECKPOINT_NAME, checkpoint_path, load_checkpoint
from rpg.training.schedules import Schedule

DEFAULT_NUM_ENVS = 32


@dataclass(frozen=True)
class RunSettings:
    """A run: the algorithm's settings, the number of environments, and the task's parameters (None if it declares none)."""

    config: AlgorithmConfig
    num_envs: int = DEFAULT_NUM_ENVS
    parameters: Any | None = None

    def identity(self, task: type[Any]) -> dict[str, str]:
        """What a checkpoint must match beside the configuration.

        Raises:
            SettingError: num_envs is wrong, or a parameter names a file that is not there.
        """
        if self.num_envs < 1:
            raise SettingError(f"num_envs was given {self.num_envs}; allowed are whole numbers >= 1")
        own = parameter_identity(self.parameters)
        return {"task": task_name(task), "num_envs": str(self.num_envs), **own}


def new_run(task: type[Any], algo: str | None) -> RunSettings:
    """What a new run has if nothing else is set."""
    return RunSettings(task_config(task, algo), parameters=default_parameters(task))


def resumed_run(folder: Path, task: type[Any], algo: str | None) -> RunSettings:
    """The settings of the run in `folder`.

    Raises:
        SettingError: there is no run, or it is another task's or algorithm's.
        CheckpointError: the checkpoint cannot be read.
    """
    if not (folder / CHECKPOINT_NAME).exists():
        raise SettingError(f"--resume: there is no {CHECKPOINT_NAME} in '{folder}'; start without --resume")
    return _settings_of(folder, task, algo, option="--resume")


def branched_run(source: Path, task: type[Any], algo: str | None) -> RunSettings:
    """The settings of the run in `source`, a folder or a checkpoint file.

    Raises:
        SettingError: it is another task's or algorithm's run.
        FileNotFoundError, CheckpointError: there is no run, or its checkpoint cannot be read.
    """
    return _settings_of(source, task, algo, option="--branch-from")


def check_resumed(folder: Path, task: type[Any], old: RunSettings, new: RunSettings) -> None:
    """Raise SettingError unless `new` differs from the run's own settings by the number of iterations only."""
    before = {**vars(old.config), **old.identity(task)}
    for name, value in {**vars(new.config), **new.identity(task)}.items():
        if name != "iterations" and value != before[name]:
            raise SettingError(f"--resume: the run in '{folder}' has {name} {before[name]}, this command {name} {value}")


def task_config(task: type[Any], algo: str | None = None, **settings: Any) -> AlgorithmConfig:
    """The algorithm's settings for a task: the defaults, overridden by the task's, overridden by `settings`, in which None means
    not given. A schedule is given whole, as a tuple, or as a number (see `adjusted_schedule`).

    A task's settings are those of RPG; another algorithm uses the ones that it has, too.

    Raises:
        SettingError: a setting is wrong, or the algorithm does not have it.
    """
    name = algo or "rpg"
    if name not in CONFIGS:
        raise SettingError(f"--algo was given '{name}'; allowed are {', '.join(CONFIGS)}")
    kind = CONFIGS[name]
    known = {field.name for field in fields(kind)}
    own = {option: value for option, value in getattr(task, "optimizer_settings", {}).items() if option in known}
    baselines = {"gaussian": RPGConfig.gaussian, "reinforce": RPGConfig.reinforce}
    try:
        config = changed_config(kind() if name in baselines else kind(algorithm=name), own)
        if name in baselines:
            assert isinstance(config, RPGConfig)
            config = baselines[name](config)
        return changed_config(config, {option: value for option, value in settings.items() if value is not None})
    except (TypeError, ValueError) as error:
        raise SettingError(str(error)) from error


def changed_config(config: AlgorithmConfig, settings: Mapping[str, Any]) -> AlgorithmConfig:
    """`config` with other settings, as in `task_config`.

    Raises:
        SettingError: a setting is wrong, or the algorithm does not have it.
    """
    changed: dict[str, Any] = {}
    known = {field.name for field in fields(config)}
    try:
        for name, value in settings.items():
            if name not in known:
                raise SettingError(f"{name} was given {value!r}; algorithm '{config.algorithm}' has no such setting")
            old = getattr(config, name)
            if isinstance(old, Schedule) and not isinstance(value, Schedule):
                value = adjusted_schedule(old, value if isinstance(value, tuple | list) else (value,))
            changed[name] = value
        return replace(config, **changed)
    except (TypeError, ValueError) as error:
        raise SettingError(str(error)) from error


def adjusted_schedule(old: Schedule, numbers: tuple[float, ...] | list[float]) -> Schedule:
    """`old` with another start, with another start and end, or all four: start, end, begin, finish. A constant that gets another
    start stays constant.

    Raises:
        ValueError: there are three numbers or none, or they are no schedule.
    """
    if len(numbers) not in (1, 2, 4) or not all(isinstance(number, int | float) for number in numbers):
        given = " ".join(map(str, numbers))
        raise ValueError(f"a schedule was given {given!r}; allowed are START, START END, or START END BEGIN FINISH")
    values = [float(number) for number in numbers]
    if len(values) == 1 and old.start == old.end:
        values *= 2
    return Schedule(*values, *(old.start, old.end, old.begin, old.finish)[len(values) :])


def _settings_of(source: Path, task: type[Any], algo: str | None, *, option: str) -> RunSettings:
    file = checkpoint_path(source)
    checkpoint = load_checkpoint(file)
    config, identity = config_from_dict(checkpoint.config), checkpoint.identity
    for name, old, new in (
        ("task", identity.get("task"), task_name(task)),
        ("algo", config.algorithm, algo or config.algorithm),
    ):
        if old != new:
            raise SettingError(f"{option}: the run in '{source}' has {name} {old}, this command {name} {new}")
    stored = read_result(file.parent).get("task_parameters", {})
    return RunSettings(config, int(identity.get("num_envs", DEFAULT_NUM_ENVS)), restored_parameters(task, stored))
