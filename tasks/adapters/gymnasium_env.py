"""Tasks as environments of Gymnasium: numpy, no gradients. Importing this needs the extra `baselines`.

``gymnasium.make("diffsim/Detour-v0")`` and ``gymnasium.make_vec("diffsim/Detour-v0", num_envs=8)`` make them once `tasks` is
imported; docs/gymnasium.md.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray
from torch import Tensor

import diffsim as ds
from diffsim.render import write_video
from tasks.adapters.running_episodes import EpisodePictures, RunningEpisodes, Stepped, TimeLimitMode, made_task

RENDER_MODES = ["rgb_array"]
Seen = Any
"""An observation: an array of a Box, or the arrays of a Dict by name."""


class TaskEnv(gymnasium.Env[Seen, NDArray[np.float32]]):
    """One environment of a task.

    Observations are a Box (O,) of float32, in the mode "points" a Dict of "points" (n, 3) and "state" (O,), in the mode "image"
    a Box (H, W, 3) of bytes. Actions are a Box (A,) in [-1, 1]; what is outside is clamped. An info holds "is_success",
    "outcome", and "episode_seed": the episode begins as row 0 of ``env.unwrapped.task.reset(episode_seed)``.

    Args:
        task: a task of one environment, its class, its registered name, or "module:Class".
        render_mode: "rgb_array", or None, where `render` cannot be called.
        render_size: height and width of pictures, pixels.
        time_limit: whether the horizon truncates episodes or terminates them.
        parameters: of the task's class, such as ``horizon=20``.

    Raises:
        InputError: an argument is wrong, or the task cannot be drawn.
    """

    metadata = {"render_modes": RENDER_MODES, "render_fps": 30}  # noqa: RUF012

    def __init__(
        self,
        task: Any,
        *,
        render_mode: str | None = None,
        render_size: tuple[int, int] = (480, 640),
        time_limit: TimeLimitMode = "truncation",
        **parameters: Any,
    ) -> None:
        self.task = made_task(task, 1, parameters)
        self.horizon: int = self.task.horizon
        self.render_mode = render_mode
        self.metadata = _metadata(self.task)
        self.observation_space, self.action_space = observation_space(self.task), action_space(self.task)
        self._pictures = _pictures(self.task, render_mode, render_size)
        self._running = RunningEpisodes(self.task, time_limit)
        self._needs_reset = True

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Seen, dict[str, Any]]:
        """A new episode: (observation, info). ``seed`` starts the sequence of episodes anew, None goes on in it."""
        super().reset(seed=seed)
        self._running.begin(np.ones(1, dtype=bool), [self.np_random])
        self._needs_reset = False
        return _row(_seen(self._running), 0), {"episode_seed": int(self._running.seeds[0])}

    @torch.no_grad()
    def step(self, action: NDArray[np.float32]) -> tuple[Seen, float, bool, bool, dict[str, Any]]:
        """(observation, reward, terminated, truncated, info).

        Raises:
            gymnasium.error.ResetNeeded: the episode has ended, or none has begun.
        """
        if self._needs_reset:
            raise gymnasium.error.ResetNeeded("the episode has ended, or none has begun; call reset() first")
        stepped = self._running.step(_tensor(self._running, np.asarray(action)[None]))
        terminated, truncated = bool(stepped.terminated), bool(stepped.truncated)
        self._needs_reset = terminated or truncated
        info = {name: value[0].item() for name, value in _infos(self._running, stepped).items()}
        return _row(_seen(self._running), 0), float(stepped.reward), terminated, truncated, info

    def render(self) -> NDArray[np.uint8] | None:
        """An sRGB picture (H, W, 3); None without a render mode.

        Raises:
            gymnasium.error.ResetNeeded: no episode has begun.
        """
        return None if self._pictures is None else _drawn(self._running, self._pictures)[0]


class TaskVectorEnv(gymnasium.vector.VectorEnv[Seen, NDArray[np.float32], NDArray[Any]]):
    """B environments of a task, in one simulator.

    Spaces and infos are those of `TaskEnv`, batched; ``infos["_name"]`` says in which environments ``infos["name"]`` is given.

    With an int as ``seed``, environment n begins with row n of ``task.reset(infos["episode_seed"][n])``, and all draw that seed
    alike; environment 0 does what `TaskEnv` does with this seed. A sequence gives each environment its own seed.
    ``reset(options={"reset_mask": mask})`` begins new episodes in some environments only.

    Args:
        task: a task or `Variants`, its class, its registered name, or "module:Class".
        num_envs: B.
        autoreset_mode: "NextStep" (the step after an end begins a new episode, whatever its action, with reward 0), "SameStep"
            (the last step begins it; ``infos["final_obs"]`` and ``infos["final_info"]`` hold what was seen before) or
            "Disabled"; or an `AutoresetMode`.
        render_mode, render_size, time_limit, parameters: as of `TaskEnv`.
        max_episode_steps: the horizon, as `gymnasium.make` calls it.

    Raises:
        InputError: an argument is wrong, or the task cannot be drawn.
    """

    def __init__(
        self,
        task: Any,
        num_envs: int | None = None,
        *,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        render_size: tuple[int, int] = (480, 640),
        time_limit: TimeLimitMode = "truncation",
        max_episode_steps: int | None = None,
        **parameters: Any,
    ) -> None:
        if max_episode_steps is not None:
            parameters["horizon"] = max_episode_steps
        try:
            self.autoreset_mode = AutoresetMode(autoreset_mode)
        except ValueError:
            modes = ", ".join(repr(mode.value) for mode in AutoresetMode)
            raise ds.InputError(f"autoreset_mode is {autoreset_mode!r}; allowed are {modes}") from None
        self.task = made_task(task, num_envs, parameters)
        self.num_envs = self.task.num_envs
        self.horizon: int = self.task.horizon
        self.render_mode = render_mode
        self.metadata = {**_metadata(self.task), "autoreset_mode": self.autoreset_mode}
        self.single_observation_space, self.single_action_space = observation_space(self.task), action_space(self.task)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._pictures = _pictures(self.task, render_mode, render_size)
        self._running = RunningEpisodes(self.task, time_limit)
        self._generators: list[np.random.Generator] = []
        self._ended = np.ones(self.num_envs, dtype=bool)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Seen, dict[str, Any]]:
        """New episodes: (observations, infos). ``seed`` starts sequences of episodes anew, None goes on in them.

        Raises:
            InputError: the number of seeds or the mask is wrong.
            gymnasium.error.ResetNeeded: ``reset_mask`` leaves out an environment in which none has begun.
        """
        where = self._reset_mask((options or {}).get("reset_mask"))
        if self._running.episode is None and not where.all():
            raise gymnasium.error.ResetNeeded("reset_mask was given before a reset of all environments")
        self._seed(seed, where)
        self._running.begin(where, self._generators)
        self._ended &= ~where
        seeds = np.where(where, self._running.seeds, 0)
        return _seen(self._running), {"episode_seed": seeds, "_episode_seed": where}

    @torch.no_grad()
    def step(
        self, actions: NDArray[np.float32]
    ) -> tuple[Seen, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """(observations, rewards (B,), terminations (B,), truncations (B,), infos).

        Raises:
            gymnasium.error.ResetNeeded: no episodes have begun, or, where autoreset is disabled, one has ended.
        """
        running, begins = self._running, self._ended.copy()
        if running.episode is None or (self.autoreset_mode == AutoresetMode.DISABLED and begins.any()):
            raise gymnasium.error.ResetNeeded(
                f"no episode runs in environments {np.flatnonzero(begins).tolist()}; call reset()"
            )
        begun = None
        if begins.any():  # autoreset at the next step
            running.begin(begins, self._generators)
            begun = running.episode
        if begins.all():
            self._ended = ~begins
            empty = np.zeros(self.num_envs, dtype=bool)
            infos = {"episode_seed": running.seeds.copy(), "_episode_seed": begins}
            return _seen(running), np.zeros(self.num_envs), empty, empty.copy(), infos
        stepped = running.step(_tensor(running, actions))
        if begun is not None:  # that step was not theirs
            running.episode = begun.merged(torch.from_numpy(begins), running.episode)
        rewards = np.where(begins, 0.0, stepped.reward.double().cpu().numpy())
        terminations, truncations = (stepped[n].cpu().numpy() & ~begins for n in (1, 2))
        self._ended = terminations | truncations
        infos = {}
        for name, value in _infos(running, stepped).items():
            infos[name], infos[f"_{name}"] = value, np.ones_like(begins) if name == "episode_seed" else ~begins
        if self.autoreset_mode == AutoresetMode.SAME_STEP and self._ended.any():
            infos = self._same_step(infos)
        return _seen(running), rewards, terminations, truncations, infos

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """An sRGB picture (H, W, 3) of each environment; None without a render mode."""
        return None if self._pictures is None else tuple(_drawn(self._running, self._pictures))

    def _same_step(self, infos: dict[str, Any]) -> dict[str, Any]:
        """Begin new episodes where some have ended; infos with what was seen at the ends."""
        ended, seen = self._ended, _seen(self._running)
        final = np.full(self.num_envs, None, dtype=object)
        for n in np.flatnonzero(ended):
            final[n] = _row(seen, int(n))
        last = {name: ended.copy() if name.startswith("_") else value.copy() for name, value in infos.items()}
        self._running.begin(ended, self._generators)
        self._ended = np.zeros_like(ended)
        infos["episode_seed"] = self._running.seeds.copy()
        return {**infos, "final_obs": final, "_final_obs": ended.copy(), "final_info": last, "_final_info": ended.copy()}

    def _seed(self, seed: int | Sequence[int | None] | None, where: NDArray[np.bool_]) -> None:
        """Seed the generators ``where``."""
        if seed is None and self._generators:
            return
        if seed is None or isinstance(seed, int | np.integer):
            super().reset(seed=None if seed is None else int(seed))
            seeds: list[int | None] = [self.np_random_seed if seed is None else int(seed)] * self.num_envs
        else:
            seeds = list(seed)
        if len(seeds) != self.num_envs:
            raise ds.InputError(f"seed has {len(seeds)} entries; allowed are an int, or one for each of {self.num_envs}")
        if not self._generators:
            self._generators = [seeding.np_random()[0] for _ in range(self.num_envs)]
        for n in np.flatnonzero(where):
            if seeds[n] is not None:
                self._generators[n] = seeding.np_random(seeds[n])[0]

    def _reset_mask(self, mask: Any) -> NDArray[np.bool_]:
        if mask is None:
            return np.ones(self.num_envs, dtype=bool)
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (self.num_envs,) or not mask.any():
            given = f"{mask.dtype} of shape {mask.shape}" if isinstance(mask, np.ndarray) else f"a {type(mask).__name__}"
            raise ds.InputError(f"options['reset_mask'] is {given}; allowed is a bool array ({self.num_envs},), True somewhere")
        return mask.copy()


class RecordVideo(gymnasium.wrappers.RecordVideo):
    """As Gymnasium's wrapper of this name, without MoviePy: MP4 (H.264, yuv420p) of pictures of any size; odd ones get their
    last row or column twice."""

    def __init__(self, env: Any, video_folder: str, **options: Any) -> None:
        if options.get("episode_trigger") is None and options.get("step_trigger") is None:
            options["episode_trigger"] = _is_shown  # Gymnasium's own comes from a module that needs MoviePy
        with contextlib.suppress(gymnasium.error.DependencyNotInstalled):  # of MoviePy, the last thing that it looks for
            super().__init__(env, video_folder, **options)

    def stop_recording(self) -> None:
        """Write the video of what was recorded."""
        frames: list[Any] = self.recorded_frames
        if frames:
            write_video(f"{self.video_folder}/{self._video_name}.mp4", map(_even, frames), fps=self.frames_per_sec)
        self.recorded_frames: list[Any] = []
        self.recording = False


def observation_space(task: Any) -> spaces.Box | spaces.Dict:
    """What one environment of a task shows, in the task's observation mode."""
    image, points = getattr(task, "observation_shape", None), getattr(task, "observation_points", None)
    if image is not None:
        return spaces.Box(0, 255, tuple(image), np.uint8)
    if points is None:
        return _unbounded(task.observation_dim)
    width = task.observation_dim - points[0] * points[1]
    return spaces.Dict({"points": _unbounded(*points), "state": _unbounded(width)})


def action_space(task: Any) -> spaces.Box:
    """Actions of one environment."""
    return spaces.Box(-1.0, 1.0, (task.action_dim,), np.float32)


def _unbounded(*shape: int) -> spaces.Box:
    return spaces.Box(-np.inf, np.inf, shape, np.float32)


def _metadata(task: Any) -> dict[str, Any]:
    first = getattr(task, "tasks", [task])[0]
    return {"render_modes": RENDER_MODES, "render_fps": max(1, round(1.0 / (first.dt * first.substeps)))}


def _pictures(task: Any, mode: str | None, size: tuple[int, int]) -> EpisodePictures | None:
    if mode not in (None, *RENDER_MODES):
        raise ds.InputError(f"render_mode is {mode!r}; allowed are None and 'rgb_array'")
    return None if mode is None else EpisodePictures(task, (size[0], size[1]))


def _drawn(running: RunningEpisodes, pictures: Callable[[Any], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    if running.episode is None:
        raise gymnasium.error.ResetNeeded("no episode has begun; call reset() before render()")
    return pictures(running.episode)


def _tensor(running: RunningEpisodes, actions: NDArray[Any]) -> Tensor:
    """Actions (B, A) on the task's device.

    Raises:
        InputError: the shape is another one.
    """
    first, shape = getattr(running.task, "tasks", [running.task])[0], (running.num_envs, running.task.action_dim)
    given = torch.as_tensor(actions).to(first.sim.device, first.sim.dtype)
    if given.shape != shape:
        raise ds.InputError(f"actions have shape {tuple(given.shape)}; allowed is {shape}")
    return given


@torch.no_grad()
def _seen(running: RunningEpisodes) -> Seen:
    """Batched observations, which nobody else holds."""
    arrays: dict[str, NDArray[Any]] = {}
    for name, value in running.observed().items():
        arrays[name] = value.cpu().numpy() if value.dtype == torch.uint8 else value.cpu().numpy().astype(np.float32)
    return arrays if len(arrays) > 1 else next(iter(arrays.values()))


def _row(seen: Seen, n: int) -> Seen:
    return {name: value[n].copy() for name, value in seen.items()} if isinstance(seen, dict) else seen[n].copy()


def _infos(running: RunningEpisodes, stepped: Stepped) -> dict[str, NDArray[Any]]:
    success, outcome = (value.cpu().numpy().copy() for value in (stepped.success, stepped.outcome))
    return {"is_success": success, "outcome": outcome, "episode_seed": running.seeds.copy()}


def _is_shown(episode: int) -> bool:
    """Gymnasium's schedule: the episodes 0, 1, 8, 27, ... below 1000, then every 1000th."""
    return round(episode ** (1.0 / 3.0)) ** 3 == episode if episode < 1000 else episode % 1000 == 0


def _even(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture with even height and width, as H.264 takes it."""
    return np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge")
