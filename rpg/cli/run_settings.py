"""The settings of a run: from the task, from the user, or from a run to be continued."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from rpg.algorithms import CONFIGS, config_from_dict
from rpg.algorithms.algorithm import AlgorithmConfig
from rpg.algorithms.rpg import RPGConfig
from rpg.cli.task_lookup import task_name
from rpg.settings_checks import SettingError
from rpg.training.checkpoint import CHECKPOINT_NAME, checkpoint_path, load_checkpoint
from rpg.training.schedules import Schedule

DEFAULT_NUM_ENVS = 32


@dataclass(frozen=True)
class RunSettings:
    """A run: the algorithm's settings, and the identity that a checkpoint must match."""

    config: AlgorithmConfig
    identity: dict[str, str]

    @property
    def num_envs(self) -> int:
        return int(self.identity["num_envs"])


def new_run(task: type[Any], *, mesh: Path | None, num_envs: int | None, **options: Any) -> RunSettings:
    """Settings of a new run; an option of ``None`` was not given.

    Raises:
        SettingError: a setting is wrong.
    """
    identity = {
        "task": task_name(task),
        "mesh": mesh_identity(mesh),
        "num_envs": str(_checked_num_envs(DEFAULT_NUM_ENVS if num_envs is None else num_envs)),
    }
    return RunSettings(task_config(task, **options), identity)


def resumed_run(
    folder: Path,
    task: type[Any],
    *,
    mesh: Path | None,
    num_envs: int | None,
    iterations: int | None = None,
    **options: Any,
) -> RunSettings:
    """Settings of the run in ``folder``; options from the user must agree with them, but for the number of iterations.

    Raises:
        SettingError: there is no run, it is another task's, or an option that was given differs from the run's.
        CheckpointError: the checkpoint cannot be read.
    """
    if not (folder / CHECKPOINT_NAME).exists():
        raise SettingError(f"--resume: there is no {CHECKPOINT_NAME} in '{folder}'; start without --resume")
    checkpoint = load_checkpoint(folder / CHECKPOINT_NAME)
    config, identity = config_from_dict(checkpoint.config), checkpoint.identity
    if iterations is not None:
        config = _changed(config, iterations=iterations)
    given = {"task": task_name(task), "mesh": mesh_identity(mesh), "num_envs": num_envs, **options}
    own = {
        **identity,
        "algo": config.algorithm,
        "beta": config.beta.start if isinstance(config, RPGConfig) else None,
    }
    for name, value in given.items():
        if value is None:
            continue
        if name not in own and not hasattr(config, name):
            raise SettingError(f"--resume: {name} was given; algorithm '{config.algorithm}' has no such setting")
        own.setdefault(name, getattr(config, name, None))
        wanted = _schedule(value) if isinstance(own[name], Schedule) else value
        if str(wanted) != str(own[name]):
            raise SettingError(f"--resume: the run in '{folder}' has {name} {own[name]}, this command {name} {value}")
    return RunSettings(config, identity)


def branched_run(source: Path, task: type[Any], *, mesh: Path | None, num_envs: int | None, **options: Any) -> RunSettings:
    """Settings of a branch of the run in ``source`` (a folder or a checkpoint file): that run's, but for what is given.

    Raises:
        SettingError: it is another task's run, or a setting is wrong.
        FileNotFoundError, CheckpointError: there is no run, or its checkpoint cannot be read.
    """
    checkpoint = load_checkpoint(checkpoint_path(source))
    config, identity = config_from_dict(checkpoint.config), dict(checkpoint.identity)
    if identity["task"] != task_name(task):
        raise SettingError(f"--branch-from: the run in '{source}' has task {identity['task']}, this command {task_name(task)}")
    identity["mesh"] = mesh_identity(mesh)
    if num_envs is not None:
        identity["num_envs"] = str(_checked_num_envs(num_envs))
    given = {name: value for name, value in options.items() if value is not None}
    algo = given.pop("algo", config.algorithm)
    if algo != config.algorithm:
        raise SettingError(f"--branch-from: the run in '{source}' has algo {config.algorithm}, this command {algo}")
    beta = given.pop("beta", None)
    if beta is not None:
        if not isinstance(config, RPGConfig):
            raise SettingError(f"beta was given {beta!r}; algorithm '{algo}' has no such setting")
        given["beta"] = replace(config.beta, start=float(beta)) if isinstance(beta, int | float) else beta
    return RunSettings(_changed(config, **given), identity)


def parsed_settings(texts: Sequence[str]) -> dict[str, Any]:
    """Values of "name=value" texts: numbers, words, true, false, none, or several separated by commas.

    Raises:
        SettingError: a text is not of that form.
    """
    words = {"true": True, "false": False, "none": None}

    def value(text: str) -> Any:
        try:
            return words[text.lower()] if text.lower() in words else ast.literal_eval(text)
        except (ValueError, SyntaxError):
            return text

    settings: dict[str, Any] = {}
    for text in texts:
        name, equals, rest = text.partition("=")
        if not (name and equals and rest):
            raise SettingError(f"--set was given '{text}'; allowed is name=value")
        settings[name] = value(rest)
    return settings


def task_config(
    task: type[Any],
    *,
    algo: str | None = None,
    beta: float | None = None,
    **overrides: Any,
) -> AlgorithmConfig:
    """The algorithm's settings for a task: the defaults, overridden by the task's, overridden by the user's.

    A task's settings are those of RPG; another algorithm uses the ones that it has, too.

    Raises:
        SettingError: a setting is wrong, or the algorithm does not have it.
    """
    name = algo or "rpg"
    if name not in CONFIGS:
        raise SettingError(f"--algo was given '{name}'; allowed are {', '.join(CONFIGS)}")
    kind = CONFIGS[name]
    given = {option: value for option, value in {**overrides, "beta": beta}.items() if value is not None}
    known = {field.name for field in fields(kind)}
    if unknown := [option for option in given if option not in known]:
        raise SettingError(f"{unknown[0]} was given {given[unknown[0]]!r}; algorithm '{name}' has no such setting")
    schedules = {field.name for field in fields(kind) if field.type in (Schedule, "Schedule")}
    own = {option: value for option, value in getattr(task, "optimizer_settings", {}).items() if option in known}
    settings: dict[str, Any] = {option: Schedule(*value) if option in schedules else value for option, value in own.items()}
    try:
        settings.update(
            {option: _schedule(value) if option in schedules else value for option, value in given.items() if option != "beta"}
        )
        if kind is not RPGConfig:
            return kind(algorithm=name, **settings)
        config = RPGConfig(**settings)
        if beta is not None:
            config = replace(config, beta=replace(config.beta, start=float(beta)))
        baselines = {"gaussian": config.gaussian, "reinforce": config.reinforce}
        return baselines[name]() if name in baselines else config
    except (TypeError, ValueError) as error:
        raise SettingError(str(error)) from error


def _changed(config: AlgorithmConfig, **settings: Any) -> AlgorithmConfig:
    """`config` with other settings; a SettingError if one is wrong or the algorithm does not have it."""
    for name, value in settings.items():
        if not hasattr(config, name):
            raise SettingError(f"{name} was given {value!r}; algorithm '{config.algorithm}' has no such setting")
    try:
        changed: dict[str, Any] = {
            name: _schedule(value) if isinstance(getattr(config, name), Schedule) and not isinstance(value, Schedule) else value
            for name, value in settings.items()
        }
        return replace(config, **changed)
    except (TypeError, ValueError) as error:
        raise SettingError(str(error)) from error


def _checked_num_envs(given: int) -> int:
    if given < 1:
        raise SettingError(f"num_envs must be at least 1, got {given}")
    return given


def _schedule(value: Any) -> Schedule:
    """A constant, or (start, end) or (start, end, begin, finish)."""
    numbers = value if isinstance(value, tuple) else (value, value)
    if len(numbers) not in (2, 4) or not all(isinstance(number, int | float) for number in numbers):
        raise ValueError(f"a schedule was given {value!r}; allowed are a number, start,end or start,end,begin,finish")
    return Schedule(*map(float, numbers))


def mesh_identity(mesh: Path | None) -> str:
    """A mesh's identity in a checkpoint: the file's name and the start of its hash.

    Raises:
        SettingError: there is no such file.
    """
    if mesh is None:
        return "the task's own"
    if not mesh.is_file():
        raise SettingError(f"mesh '{mesh}' does not exist; give a path to a closed triangle mesh")
    return f"{mesh.name} ({hashlib.sha256(mesh.read_bytes()).hexdigest()[:12]})"
