"""A run of the past, opened again: replayed, rendered, evaluated, its policy used.

run = rpg.open_run("runs/demo")
episode = run.replay(0)  # the best solution, step by step
run.render("left.mp4", camera=...)
print(run.evaluate(n=256).success)
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from rpg.algorithms import config_from_dict
from rpg.algorithms.algorithm import AlgorithmConfig
from rpg.environments.whole_episodes import whole_episodes
from rpg.protocol import Environment, FixedHorizonEnvironment, check_environment
from rpg.runs.environment_parameters import given_parameters, restored_parameters
from rpg.runs.run_result import read_result, stored_modes
from rpg.runs.task_lookup import TaskSource, built_environment, task_class, task_name
from rpg.runs.videos import VIDEO_NAME, write_video
from rpg.settings_checks import SettingError, check_int
from rpg.training.checkpoint import CHECKPOINT_NAME, CheckpointError, RunRecord, checkpoint_path, load_checkpoint
from rpg.training.evaluation import EVALUATION_SEED, LatentEvaluation, chosen_latent, evaluate_latents
from rpg.training.metrics import IterationMetrics, read_metrics
from rpg.training.modes import Mode, distinct_modes, expected_success, policy_success
from rpg.training.trained_policy import TrainedPolicy, policy_of

AnyEnvironment = Environment | FixedHorizonEnvironment
REPLAY_TOLERANCE = 1e-4
"""A replay agrees with the run if its return does so to this part of the stored one, or of 1 if that is less."""


@dataclass(frozen=True)
class Replay:
    """An episode simulated once more with the actions that the run stored."""

    states: tuple[Any, ...]
    """T + 1 states of the whole batch, as the environment gives them."""
    environment: int
    """Index of the episode in the batch; in the others action 0 was taken."""
    observations: Tensor
    """(T + 1, O)."""
    rewards: Tensor
    """(T,)."""
    stored_return: float
    """The sum of rewards in the run."""

    @property
    def episode_return(self) -> float:
        """The sum of rewards now."""
        return float(self.rewards.double().sum())

    @property
    def agrees(self) -> bool:
        """Whether both are the same up to `REPLAY_TOLERANCE`."""
        return abs(self.episode_return - self.stored_return) <= REPLAY_TOLERANCE * max(1.0, abs(self.stored_return))


@dataclass(frozen=True)
class RunEvaluation:
    """A policy's episodes without noise."""

    episodes: int
    """Number of first states, the same for every latent."""
    evaluations: tuple[LatentEvaluation, ...]
    """Of every latent."""
    modes: tuple[Mode, ...]
    """The distinct solutions among them, best first."""

    @property
    def episode_return(self) -> float:
        """Mean return of the most probable latent."""
        return chosen_latent(self.evaluations).episode_return

    @property
    def success(self) -> float:
        """Fraction of its episodes that succeeded."""
        return policy_success(self.evaluations)

    @property
    def expected_success(self) -> float:
        """Mean success under pi(z)."""
        return expected_success(self.evaluations)


class Run:
    """A run's folder, read. `rpg.open_run` makes one."""

    def __init__(self, path: Path, which: Literal["last", "best"] = "last") -> None:
        self.path = path
        """The folder."""
        self._checkpoint = load_checkpoint(checkpoint_path(path, which))
        self.config: AlgorithmConfig = config_from_dict(self._checkpoint.config)
        """The algorithm's settings."""
        self.identity: dict[str, str] = self._checkpoint.identity
        """What the run is of: the task's name, the number of environments, the task's parameters as texts."""
        self.iteration: int = self._checkpoint.iteration
        """Number of iterations that are done."""
        self.record: RunRecord = self._checkpoint.record
        """What happened to it."""

    @cached_property
    def result(self) -> dict[str, Any]:
        """The content of result.json; empty if a program that trained by `rpg.Trainer` wrote none."""
        return read_result(self.path)

    @cached_property
    def metrics(self) -> list[IterationMetrics]:
        """Of every iteration."""
        return read_metrics(self.path)[: self.iteration]

    @property
    def history(self) -> list[IterationMetrics]:
        """The metrics, under the name that `rpg.Trainer` has for them."""
        return self.metrics

    @cached_property
    def modes(self) -> list[Mode]:
        """The distinct solutions that the run found, best first: from result.json, or evaluated now if none are there."""
        return stored_modes(self.result) or list(self.evaluate().modes)

    def policy(self) -> TrainedPolicy:
        """The policy, for use without the environment."""
        return policy_of(self._checkpoint)

    def task(self) -> type[Any]:
        """The class of the environment, from where the run found it. Warns if its file has changed since.

        Raises:
            SettingError: it is not there.
        """
        if "task_reference" not in self.result:
            raise SettingError(f"the run in '{self.path}' does not say where its task is; give the task or an environment")
        stored = self.result["task_file"] or {}
        source = TaskSource(self.result["task_reference"], stored.get("path"), stored.get("sha256"))
        if source.changed():
            warnings.warn(f"{source.file} has changed since the run in '{self.path}'", RuntimeWarning, stacklevel=2)
        return source.loaded()

    def parameters(self, task: type[Any] | None = None) -> Any | None:
        """The task's parameters, as an instance of its dataclass; None if it declares none."""
        return restored_parameters(task or self.task(), self.result.get("task_parameters", {}))

    def environment(self, num_envs: int | None = None, *, task: type[Any] | str | None = None) -> AnyEnvironment:
        """The environment built anew with the run's parameters, of `num_envs` episodes or as many as the run had; of `task`, a
        class or what the command line calls it, in place of the run's own.

        Raises:
            SettingError: the task is not to be found, or has another name than the run's.
        """
        kind = self.task() if task is None else task_class(task) if isinstance(task, str) else task
        given = given_parameters(kind, self.parameters(kind)) if task_name(kind) == self.identity.get("task") else {}
        return built_environment(kind, self._num_envs if num_envs is None else num_envs, given)

    def replay(self, mode: Mode | int | str = 0, *, environment: AnyEnvironment | None = None) -> Replay:
        """The episode that the run stored of a solution (an `rpg.Mode`, its number or its name), simulated once more.

        Raises:
            SettingError: there is no such solution, or `environment` has fewer episodes than the run.
        """
        shown = self.mode(mode)
        env = whole_episodes(self._own if environment is None else environment)
        if shown.environment >= env.num_envs:
            raise SettingError(
                f"environment has num_envs {env.num_envs}; the episode is number {shown.environment} of its batch"
            )
        with torch.no_grad():
            state = env.reset(shown.seed)
            states, observations, rewards = [state], [env.observe(state)[shown.environment]], []
            for values in torch.from_numpy(shown.actions).to(observations[0]):
                action = values.new_zeros(env.num_envs, env.action_dim)
                action[shown.environment] = values
                state, reward, _ = env.step(state, action)
                states.append(state)
                observations.append(env.observe(state)[shown.environment])
                rewards.append(reward[shown.environment])
        return Replay(tuple(states), shown.environment, torch.stack(observations), torch.stack(rewards), shown.shown_return)

    def render(
        self,
        path: Path | str | None = None,
        *,
        modes: Sequence[Mode | int | str] | None = None,
        camera: Any = None,
        size: tuple[int, int] | None = None,
        environment: AnyEnvironment | None = None,
    ) -> Path:
        """Write an MP4 of the solutions, of all or of `modes`, and return its path: modes.mp4 in the run's folder, if none is
        given. `camera` is whatever the environment draws with, `size` the picture's width and height in pixels.

        Raises:
            SettingError: the environment has no video, or takes no such option.
        """
        target = self.path / VIDEO_NAME if path is None else Path(path)
        shown = self.modes if modes is None else [self.mode(mode) for mode in modes]
        write_video(self._own if environment is None else environment, shown, target, camera=camera, size=size)
        return target

    def evaluate(
        self, task: type[Any] | str | AnyEnvironment | None = None, n: int | None = None, *, seed: int = EVALUATION_SEED
    ) -> RunEvaluation:
        """The policy's episodes without noise from `n` first states, which `seed` draws: of the run's task, of another one, or
        in an environment. As many as the run trained with if `n` is not given; the result of the run itself is that.

        Raises:
            SettingError: `n` is not the number of an environment's episodes, or there is no such task.
            ProtocolError: the environment does not fit the policy.
        """
        if n is not None:
            check_int("n", n, at_least=1)
        if task is None and n in (None, self._num_envs):
            env = self._own
        elif task is None or isinstance(task, str | type):
            env = self.environment(n, task=task)
        else:
            env = task
            if n is not None and n != env.num_envs:
                raise SettingError(f"n was given {n}; the environment has num_envs {env.num_envs}")
        check_environment(env)
        whole, policy = whole_episodes(env), self.policy()
        for name in ("action_dim", "observation_dim", "horizon"):
            given, own = getattr(whole, name), getattr(policy.shape, name)
            if given != own and (name != "horizon" or given > own):
                raise SettingError(f"the environment has {name} {given}; the policy was trained with {own}")
        policy.algorithm.env = whole
        evaluations = evaluate_latents(whole, policy.algorithm.policy, *policy.algorithm.candidates(), seed=seed)
        modes = distinct_modes(
            evaluations,
            outcome_names=getattr(whole, "outcome_names", ()),
            outcome_radius=getattr(whole, "outcome_radius", None),
        )
        return RunEvaluation(whole.num_envs, tuple(evaluations), tuple(modes))

    def mode(self, mode: Mode | int | str) -> Mode:
        """A solution by its number from 0, or its name. Raises SettingError if there is no such."""
        if isinstance(mode, Mode):
            return mode
        names = [each.name for each in self.modes]
        if isinstance(mode, str) and mode in names:
            return self.modes[names.index(mode)]
        if isinstance(mode, int) and 0 <= mode < len(names):
            return self.modes[mode]
        listed = ", ".join(f"{number} ({name})" for number, name in enumerate(names))
        raise SettingError(f"mode was given {mode!r}; the run in '{self.path}' has {listed}")

    @property
    def _num_envs(self) -> int:
        return int(self._checkpoint.environment["num_envs"])

    @cached_property
    def _own(self) -> AnyEnvironment:
        return self.environment()


def open_run(path: Path | str, which: Literal["last", "best"] = "last") -> Run:
    """The run in the folder `path`, as of its last or its best iteration.

    Raises:
        SettingError: the folder holds no run.
        CheckpointError: the run cannot be read.
    """
    folder = Path(path)
    if not (folder / CHECKPOINT_NAME).is_file():
        raise SettingError(f"'{folder}' holds no run: there is no {CHECKPOINT_NAME}")
    try:
        return Run(folder, which)
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"'{folder}' holds no run of this version ({type(error).__name__}: {error})") from error
