"""Wrong settings of every algorithm, and wrong arguments to spaces, environments, the trainer, policies and tasks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from typing import Any, get_type_hints

import numpy as np
import torch

import rpg
import tasks
from benchmarks.bad_inputs.judging import Lazy, Named, trials
from benchmarks.bad_inputs.scene_trials import INF, NAN, Row, folder
from rpg.environments.bandit import Bandit
from rpg.environments.generated import generated_problem
from rpg.environments.maze import Maze
from rpg.environments.multigoal import MultiGoal
from rpg.environments.wall import PointMassWall

CONFIGS = sorted(set(rpg.CONFIGS.values()), key=lambda config: config.__name__)
LIMITED = ("rate", "fraction", "discount", "trace", "lambda", "smoothing")  # names of numbers that have an upper bound


@cache
def policy() -> rpg.TrainedPolicy:
    """Of an untrained run."""
    return rpg.Trainer(Bandit(num_envs=4), rpg.RPGConfig(iterations=1)).policy()


def table() -> Iterator[Row]:
    """The rows."""
    for config in CONFIGS:
        yield _settings(config)
    yield from _training()
    yield from _protocol()
    yield from _environments()
    yield from _tasks()


def _settings(config: type[rpg.AlgorithmConfig]) -> Row:
    """Every field of an algorithm's settings with values of a wrong type, and with numbers no user means."""
    hints = get_type_hints(config)
    wrong = {field.name: _wrong(field.name, hints[field.name]) for field in fields(config)}
    wrong["seed"].append(2**70)
    return trials(config.__name__, config, {}, **{name: values for name, values in wrong.items() if values})


def _wrong(name: str, hint: Any) -> list[Any]:
    text = str(hint)
    if name == "algorithm":
        return ["sarsa", 3]
    if "Schedule" in text:
        return [1.0, "0.3", (0.3, 0.0), None]
    if "tuple" in text:
        return [64, ("64",), (0,)]
    if "bool" in text:
        return ["yes", 1]
    if "Literal" in text or hint is str:
        return ["magic", 3]
    if "float" in text:
        return ["0.1", NAN, True, INF, *([1e30] if any(part in name for part in LIMITED) else [])]
    return ["3", 1.5, True, -1]


def _training() -> Iterator[Row]:
    yield trials(
        "Schedule",
        rpg.Schedule,
        {"start": 1.0, "end": 0.0},
        start=["1", NAN, None, True],
        end=["0", INF],
        begin=[-0.1, "0", NAN],
        finish=[1.5, None],
    )
    yield trials("Schedule.constant", rpg.Schedule.constant, {"value": 1.0}, value=[Named("1", "start"), Named(NAN, "start")])
    yield trials(
        "RPGConfig sizes",
        lambda num_latents: rpg.Trainer(Maze(num_envs=4), rpg.RPGConfig(num_latents=num_latents)),
        {"num_latents": 2},
        num_latents=[10**6, 10**5],
    )
    run = {"env": Lazy(lambda: Bandit(num_envs=4)), "config": rpg.RPGConfig(iterations=1)}
    yield trials(
        "Trainer",
        rpg.Trainer,
        run,
        env=[Named("maze", "environment", "str"), Named(None, "environment", "NoneType"), Named(3, "environment", "int")],
        config=[{}, None, "rpg", rpg.RPGConfig],
        run_dir=[3, Named(str(folder() / "ball.obj"), given="ball.obj")],
        identity=["Detour", {"task": 3}, 3],
        resume=["yes", 1],
        branch=["runs/a", 3],
        checkpoint_interval=[0, 1.5, True, None],
        checkpoint_seconds=[0.0, "60", NAN, True],
        evaluation_interval=[0, "1", True],
        retries=[-1, "1", True],
    )
    yield trials(
        "Trainer.train",
        lambda on_iteration: (
            None if on_iteration is None else rpg.Trainer(Bandit(num_envs=4), rpg.RPGConfig(iterations=1)).train(on_iteration)
        ),
        {"on_iteration": None},
        on_iteration=[3, "print"],
    )
    yield trials(
        "config_from_dict",
        rpg.config_from_dict,
        {"values": {"algorithm": "rpg"}},
        values=[
            Named({"algorithm": "sarsa"}, "algorithm"),
            Named({"algorithm": "rpg", "beta_": 1}, "config", "beta_"),
            None,
            "rpg",
            Named({"algorithm": "rpg", "beta": {"a": 1}}, "beta", "a"),
            Named({"algorithm": "rpg", "beta": 1.0}, "beta", "1.0"),
        ],
    )
    yield trials("Branch", rpg.Branch, {"source": folder()}, source=[3, None])
    none = Named(folder() / "none", "checkpoint", "none")
    for name, load in (("load_policy", rpg.load_policy), ("load_checkpoint", rpg.load_checkpoint)):
        yield trials(
            name,
            lambda path, load=load: None if path is folder else load(path),
            {"path": folder},
            path=[none, Named(folder() / "empty.obj", "checkpoint", "empty.obj"), 3, None],
        )
    yield trials(
        "read_metrics",
        lambda run_dir: None if run_dir is folder else rpg.read_metrics(run_dir),
        {"run_dir": folder},
        run_dir=[Named(folder() / "none", "metrics", "none"), 3],
    )
    yield trials(
        "plot_run",
        lambda history: None if history is folder else rpg.plot_run(folder() / "a.png", history, [], []),
        {"history": folder},
        history=[Named([], given="0"), 3, ["a"]],
    )
    seeds = {
        "environment": lambda n: Bandit(num_envs=n),
        "config": rpg.RPGConfig(iterations=1, policy="table", num_latents=2),
        "seeds": (0, 1),
        "num_envs": 4,
    }
    yield trials(
        "train_seeds",
        lambda **given: rpg.train_seeds(**{**seeds, **given}) if given else None,
        {},
        environment=[3],
        config=[{}, rpg.PPOConfig()],
        seeds=[(), 3, ("a",)],
        num_envs=[0, "4"],
        snr_interval=[0, 1.5],
    )


def _protocol() -> Iterator[Row]:
    yield trials(
        "Box",
        rpg.Box,
        {"shape": (2,)},
        shape=[2, (-1,), "2", (1.5,), None],
        low=["a", INF, NAN, Named((1.0, 2.0, 3.0), given="(3,)")],
        high=[-INF, "b", None],
        dtype=["float32", None],
    )
    box = rpg.Box((2,), -1.0, 1.0)
    yield trials("DictSpace", rpg.DictSpace, {"boxes": {"a": box}}, boxes=[{}, {"a": 3}, box, None, {3: box}])
    yield trials(
        "EnvironmentSpec",
        rpg.EnvironmentSpec,
        {"observation": box, "action": box},
        observation=[Named("box", given="str"), Named(None, given="NoneType"), Named(3, given="int")],
        action=[Named(rpg.Box((2,)), given="inf"), rpg.Box((1, 2), -1, 1), 3, None],
        time_limit=[0, 1.5, "10", True],
        differentiable=["yes", 1],
        finite_horizon=[1, "no", True],
        outcome_names=[3, (1, 2)],
        outcome_radius=["1", -1.0, NAN],
        observation_points=[3, (0, 2), (1.5, 2)],
    )
    yield trials(
        "check_environment",
        lambda env, seed=0: rpg.check_environment(env, seed=seed),
        {"env": Lazy(Bandit)},
        env=[Named(3, "environment", "int"), Named(None, "environment", "NoneType")],
        seed=["a", -1, 1.5],
    )
    yield trials(
        "from_fixed_horizon",
        rpg.from_fixed_horizon,
        {"env": Lazy(Bandit)},
        env=[Named(3, "environment", "int"), Named(None, "environment", "NoneType")],
    )
    yield trials(
        "from_gymnasium",
        lambda **given: None if not given else rpg.from_gymnasium(**{"env": "Pendulum-v1", **given}),
        {},
        env=[Named("Nothing-v0", "Gymnasium"), Named(3, given="int"), Named(None, given="NoneType")],
        num_envs=[0, "2", True],
        time_limit=[0, "5"],
        dtype=["float32"],
    )
    seen = torch.zeros(1, 1)
    yield trials(
        "TrainedPolicy.act",
        lambda **given: policy().act(**{"observation": seen, "z": 0, "t": 0, **given}),
        {},
        observation=[Named(None, given="NoneType"), torch.zeros(1, 5), [0.0], torch.full((1, 1), NAN)],
        z=[99, "first", Named(0.5, given="torch.float32")],
        t=[99, -1, Named(0.5, given="torch.float32"), "now"],
        deterministic=["yes"],
    )
    yield trials("distinct_modes", rpg.distinct_modes, {"evaluations": []}, evaluations=[3, ["a"]], outcome_radius=["1", -1.0])


def _environments() -> Iterator[Row]:
    counts: list[Any] = [0, "4", 1.5, True]
    yield trials("Maze", Maze, {}, num_envs=counts, stride=[2.0, "1", NAN], start=[(9, 9), "01", 3], dtype=["float32"])
    for kind in (PointMassWall, Bandit, MultiGoal):
        yield trials(kind.__name__, kind, {}, num_envs=counts, dtype=["float32"])
    yield trials("generated_problem", generated_problem, {"seed": 1}, seed=["a", -1, 1.5], num_envs=counts)


def _tasks() -> Iterator[Row]:
    for kind in (tasks.Detour, tasks.CupTrap, tasks.ThreeWayPush, tasks.TripleMove):
        wrong: dict[str, list[Any]] = {"num_envs": [0, "4", 1.5, True], "dtype": ["float32"], "device": ["gpu"]}
        if kind.mesh is not None:
            wrong["mesh"] = ["none.obj", Named(folder() / "noise.glb", "mesh", "noise.glb"), 3]
        else:
            wrong["mesh"] = ["none.obj"]
        yield trials(kind.__name__, kind, {}, **wrong)
    yield trials("find_task", tasks.find_task, {"name": "Detour"}, name=[Named("Detou", "task", "Detou"), 3, None])
    yield trials(
        "register",
        lambda name, task=None: tasks.register(name)(tasks.Detour if task is None else task),
        {"name": "Detour"},
        name=[3, ""],
        task=[Named(3, "register", "3"), Named(dict, "register", "dict")],
    )
    yield trials("Task.reset", lambda seed: None if seed == 0 else _task().reset(seed), {"seed": 0}, seed=["a", 1.5, 2**70])
    yield trials(
        "Task.step",
        lambda action: None if action is folder else _task().step(_task().reset(0), action),
        {"action": folder},
        action=[None, np.zeros((1, 2)), torch.zeros(1, 9), torch.full((1, 2), NAN)],
    )


@cache
def _task() -> tasks.Task:
    return tasks.Detour()
