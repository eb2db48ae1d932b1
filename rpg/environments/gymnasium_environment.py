"""Environments of Gymnasium (the extra `baselines`) in the form of `rpg.protocol.Environment`."""

import importlib
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rpg.protocol import Box, DictSpace, EnvironmentSpec, Observation, ProtocolError, Space, Step, mapped
from rpg.settings_checks import SettingError, check_batch, check_int

SUCCESS_KEYS = ("success", "is_success")
"""Names that environments use in their info for whether an episode has reached its goal."""


class Start(NamedTuple):
    """How an episode began: a reset with `seed`, or one with the generator in the state `generator`."""

    seed: int | None
    generator: dict[str, Any] | None


class GymnasiumState(NamedTuple):
    """Where B episodes are: how each began, and the actions since. The simulators themselves hold the latest state only; from
    an older one they go on after playing it again."""

    starts: tuple[Start, ...]
    """(B)."""
    offsets: NDArray[np.int64]
    """(B,) the place in `actions` at which each episode began."""
    actions: list[NDArray[np.float32]]
    """Actions (B, A), shared with later states: this state has `length` of them."""
    length: int
    ended: NDArray[np.bool_]
    """(B,) whether the episode has ended."""
    observation: Observation
    success: NDArray[np.bool_] | None
    """(B,), None if the environment has not said."""


class GymnasiumEnvironment:
    """The environments of a Gymnasium VectorEnv whose autoreset is disabled; see `from_gymnasium`.

    A state is a value, although the simulators change in place: a step from another state than the latest, or from a restored
    one, first plays that state's episodes again from their starts. This needs simulators in the same process that are
    deterministic given their `np_random`, and takes as long as the episodes did.
    """

    def __init__(self, vector: Any, spec: EnvironmentSpec) -> None:
        self.vector, self.spec = vector, spec
        self.num_envs = int(vector.num_envs)
        low, high = spec.action.low.numpy(), spec.action.high.numpy()
        self._middle, self._half = (high + low) / 2, (high - low) / 2
        self._action_type = vector.single_action_space.dtype
        self._action_shape = vector.single_action_space.shape
        self._latest: GymnasiumState | None = None

    def reset(
        self, seed: int | None = None, *, state: GymnasiumState | None = None, where: Tensor | None = None
    ) -> tuple[GymnasiumState, Observation]:
        count = self.num_envs
        if state is None:
            mask = np.ones(count, dtype=bool)
            starts = [Start(own, None) for own in environment_seeds(seed, count)]
            observation, _info = self.vector.reset(seed=[start.seed for start in starts])
            new = self._begun(
                GymnasiumState(tuple(starts), np.zeros(count, np.int64), [], 0, ~mask, {}, None), observation, mask
            )
            return new, new.observation
        mask = np.ones(count, dtype=bool) if where is None else where.cpu().numpy().astype(bool)
        if not mask.any():
            return state, state.observation
        self._go_to(state)
        starts = list(state.starts)
        seeds = environment_seeds(seed, count) if seed is not None else [None] * count
        for n in np.flatnonzero(mask):
            starts[n] = Start(seeds[n], None if seeds[n] is not None else self._generator_state(int(n)))
        self._latest = None
        observation, _info = self.vector.reset(seed=seeds, options={"reset_mask": mask})
        offsets = np.where(mask, state.length, state.offsets)
        actions, oldest = state.actions, int(offsets.min())
        if len(actions) > state.length or oldest > 1000:  # a branch, or much that is no longer needed
            actions, offsets = actions[oldest : state.length], offsets - oldest
        before = state._replace(starts=tuple(starts), offsets=offsets, actions=actions, length=len(actions))
        new = self._begun(before, observation, mask)
        return new, new.observation

    def _begun(self, state: GymnasiumState, observation: Any, mask: NDArray[np.bool_]) -> GymnasiumState:
        """`state` after a reset where `mask`, which gave `observation`."""
        seen = self._tensors(observation)
        if state.ended.any():  # where nothing was reset, the final observation stays
            seen = _chosen(mask | ~state.ended, seen, state.observation)
        success = None if state.success is None else state.success & ~mask
        self._latest = state._replace(ended=state.ended & ~mask, observation=seen, success=success)
        return self._latest

    def step(self, state: GymnasiumState, action: Tensor) -> Step:
        self._go_to(state)
        given = action.detach().cpu().numpy().astype(np.float32)
        actions = state.actions if len(state.actions) == state.length else state.actions[: state.length]
        actions.append(given)
        self._latest = None  # an interruption leaves the simulators somewhere
        observation, reward, terminated, truncated, info = self._stepped(given, state.ended)
        seen, success = self._tensors(observation), _success(info, state.success)
        if state.ended.any():  # what has ended keeps its final observation
            seen = _chosen(~state.ended, seen, state.observation)
            reward, terminated = np.where(state.ended, 0.0, reward), terminated | state.ended
            success = None if success is None or state.success is None else np.where(state.ended, state.success, success)
        ended = terminated | truncated
        new = GymnasiumState(state.starts, state.offsets, actions, state.length + 1, ended, seen, success)
        self._latest = new
        known = {} if success is None else {"success": torch.from_numpy(success)}
        return Step(
            new,
            seen,
            torch.from_numpy(reward.astype(np.float32)),
            torch.from_numpy(terminated),
            torch.from_numpy(truncated & ~terminated),
            known,
        )

    def _stepped(self, action: NDArray[np.float32], ended: NDArray[np.bool_]) -> tuple[Any, ...]:
        """One step of all simulators; those whose episode has ended begin another one, which nobody sees."""
        if ended.any():
            self.vector.reset(options={"reset_mask": ended.copy()})
        true = self._middle + self._half * np.clip(action, -1.0, 1.0)
        return self.vector.step(true.reshape(self.num_envs, *self._action_shape).astype(self._action_type))

    def _go_to(self, state: GymnasiumState) -> None:
        """Bring the simulators to `state`, unless they are there."""
        if self._latest is state:
            return
        envs, self._latest = self._simulators(), None
        for n, (env, start, offset) in enumerate(zip(envs, state.starts, state.offsets, strict=True)):
            if start.generator is not None:
                env.unwrapped.np_random.bit_generator.state = _numbers(start.generator)
            seen, _info = env.reset(seed=start.seed)
            over = False
            for action in state.actions[offset : state.length]:
                if not over:  # what came after an episode's end is not part of it
                    true = (self._middle + self._half * np.clip(action[n], -1.0, 1.0)).reshape(self._action_shape)
                    seen, _reward, terminated, truncated, _info = env.step(true.astype(self._action_type))
                    over = terminated or truncated
            self.vector._env_obs[n] = seen
            same = mapped(lambda a, b, n=n: (a == b[n]).all(), self._tensors(seen), state.observation)
            if not all(bool(each) for each in (same.values() if isinstance(same, dict) else [same])):
                raise ProtocolError(
                    f"environment {n} came to another observation when its episode was played again; expected a deterministic "
                    "environment, as it goes on from an older state"
                )
        self.vector._autoreset_envs[:] = False
        self._latest = state

    def snapshot(self, state: GymnasiumState) -> dict[str, Any]:
        self._simulators()
        first = int(state.offsets.min())
        actions = state.actions[first : state.length]
        return {
            "starts": [{"seed": start.seed, "generator": _texts(start.generator)} for start in state.starts],
            "offsets": (state.offsets - first).tolist(),
            "actions": torch.from_numpy(np.stack(actions)) if actions else torch.zeros(0, self.num_envs, self.spec.action_dim),
            "ended": state.ended.tolist(),
            "observation": state.observation,
            "success": None if state.success is None else state.success.tolist(),
        }

    def restore(self, snapshot: dict[str, Any]) -> tuple[GymnasiumState, Observation]:
        state = GymnasiumState(
            starts=tuple(Start(each["seed"], each["generator"]) for each in snapshot["starts"]),
            offsets=np.array(snapshot["offsets"], dtype=np.int64),
            actions=list(snapshot["actions"].numpy()),
            length=len(snapshot["actions"]),
            ended=np.array(snapshot["ended"], dtype=bool),
            observation=snapshot["observation"],
            success=None if snapshot["success"] is None else np.array(snapshot["success"], dtype=bool),
        )
        self._go_to(state)
        return state, state.observation

    def close(self) -> None:
        """Close the simulators."""
        self.vector.close()

    def _simulators(self) -> list[Any]:
        """The environments one by one, if they can be brought back to a state."""
        envs = getattr(self.vector, "envs", None)
        if envs is None:
            kind = type(self.vector).__name__
            raise ProtocolError(f"a {kind} cannot go on from another state than its latest; expected a SyncVectorEnv for that")
        for env in envs:
            if env.spec is not None and env.spec.nondeterministic:
                raise ProtocolError(
                    f"{env.spec.id} is nondeterministic and cannot go on from another state than its latest; expected a "
                    "deterministic environment for that"
                )
        return envs

    def _generator_state(self, n: int) -> dict[str, Any] | None:
        envs = getattr(self.vector, "envs", None)
        return None if envs is None else dict(envs[n].unwrapped.np_random.bit_generator.state)

    def _tensors(self, observation: Any) -> Observation:
        """A copy."""
        if isinstance(self.spec.observation, Box):
            return _tensor(observation, self.spec.observation.dtype)
        flat = dict(_named(observation))
        return {name: _tensor(flat[name], box.dtype) for name, box in self.spec.observation.boxes.items()}


def from_gymnasium(
    env: Any, num_envs: int | None = None, *, time_limit: int | None = None, dtype: torch.dtype = torch.float32, **options: Any
) -> GymnasiumEnvironment:
    """`num_envs` (1 if not given) environments of Gymnasium side by side.

    `env` is an environment's id ("Hopper-v5"; `options` go to `gymnasium.make`), an environment that is registered, a function
    that makes one, or a VectorEnv with autoreset disabled. `time_limit` replaces the environment's own. Observations are Boxes
    and Dicts of Boxes; of floating point they become `dtype`, images stay bytes. Actions in [-1, 1] are mapped onto the action
    Box. An info's "success" or "is_success" is the episode's success.

    Raises SettingError if Gymnasium is not installed or does not know the id, ProtocolError if spaces are of other kinds.
    """
    try:
        gymnasium = importlib.import_module("gymnasium")
    except ModuleNotFoundError as error:
        raise SettingError("from_gymnasium needs gymnasium; allowed after pip install 'diffsim-rpg[baselines]'") from error
    if isinstance(env, gymnasium.vector.VectorEnv):
        mode = gymnasium.vector.AutoresetMode.DISABLED
        if env.metadata.get("autoreset_mode") != mode:
            given = env.metadata.get("autoreset_mode")
            raise ProtocolError(f"the VectorEnv has autoreset_mode {given}; expected AutoresetMode.DISABLED")
        if num_envs not in (None, env.num_envs) or options or time_limit is not None:
            raise ProtocolError(f"options were given with a VectorEnv of {env.num_envs}; expected the VectorEnv alone")
        spec = getattr(env, "spec", None) or getattr(getattr(env, "envs", [None])[0], "spec", None)
        limit = getattr(spec, "max_episode_steps", None) or getattr(env, "horizon", None)
        return GymnasiumEnvironment(env, _spec(env, limit, dtype))
    count = 1 if num_envs is None else num_envs
    check_int("num_envs", count, at_least=1)
    if time_limit is not None:
        check_int("time_limit", time_limit, at_least=1)
    check_batch(count, dtype)
    limits = {} if time_limit is None else {"max_episode_steps": time_limit}
    if isinstance(env, gymnasium.Env):
        if count > 1 and env.spec is None:
            raise ProtocolError(f"num_envs was given {count} with an environment that is not registered; expected a function")
        if time_limit is not None:
            env = gymnasium.wrappers.TimeLimit(env, time_limit)
        first, made = env, env.spec
        makers: list[Callable[[], Any]] = [lambda: first, *[lambda: gymnasium.make(made)] * (count - 1)]
    elif isinstance(env, str):
        makers = [lambda: _made(gymnasium, env, {**limits, **options})] * count
    elif callable(env):
        makers = [(lambda: gymnasium.wrappers.TimeLimit(env(), time_limit)) if time_limit is not None else env] * count
    else:
        given = type(env).__name__
        raise ProtocolError(f"env is a {given}; expected an id, an environment, a function that makes one, or a VectorEnv")
    vector = _sync_vector(gymnasium, makers)
    return GymnasiumEnvironment(vector, _spec(vector, _time_limit(gymnasium, vector.envs[0]), dtype))


def environment_seeds(seed: int | None, count: int) -> list[int]:
    """A seed for each environment; different for each `seed`. None draws them from the operating system."""
    words = np.random.SeedSequence(seed).generate_state(count)
    return [int(word) % (2**31 - 1) for word in words]


def _made(gymnasium: Any, name: str, options: dict[str, Any]) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that there is a newer version
            return gymnasium.make(name, **options)
    except gymnasium.error.Error as error:
        raise SettingError(f"Gymnasium cannot make '{name}': {' '.join(str(error).split())}") from error


def _sync_vector(gymnasium: Any, makers: list[Callable[[], Any]]) -> Any:
    class SyncVector(gymnasium.vector.SyncVectorEnv):  # type: ignore[misc,name-defined]
        """Gathers only the entries of infos that are used, which takes a quarter of a step otherwise."""

        def _add_info(self, vector_infos: dict[str, Any], env_info: dict[str, Any], env_num: int) -> dict[str, Any]:
            known = {key: env_info[key] for key in SUCCESS_KEYS if key in env_info}
            return super()._add_info(vector_infos, known, env_num) if known else vector_infos

    return SyncVector(makers, copy=False, autoreset_mode=gymnasium.vector.AutoresetMode.DISABLED)


def _time_limit(gymnasium: Any, env: Any) -> int | None:
    """That of the wrapper, if there is one, else the registered one, else the environment's attribute `horizon`."""
    layer = env
    while isinstance(layer, gymnasium.Wrapper):
        if isinstance(layer, gymnasium.wrappers.TimeLimit):
            return int(layer._max_episode_steps)
        layer = layer.env
    registered = None if env.spec is None else env.spec.max_episode_steps
    return getattr(env.unwrapped, "horizon", None) if registered is None else registered


def _spec(vector: Any, time_limit: int | None, dtype: torch.dtype) -> EnvironmentSpec:
    action = vector.single_action_space
    if type(action).__name__ != "Box":
        raise ProtocolError(f"the action space is {action}; expected a Box")
    bounds = Box((int(np.prod(action.shape)),), action.low.reshape(-1).copy(), action.high.reshape(-1).copy(), dtype)
    return EnvironmentSpec(_space(vector.single_observation_space, dtype), bounds, time_limit)


def _space(space: Any, dtype: torch.dtype) -> Space:
    named = dict(_named(space))
    for name, each in named.items():
        if type(each).__name__ != "Box":
            where = f" '{name}'" if name else ""
            raise ProtocolError(f"the observation space{where} is {each}; expected a Box, or a Dict of Boxes")
    boxes = {
        name: Box(each.shape, dtype=torch.from_numpy(np.zeros((), each.dtype)).dtype if each.dtype.kind in "iub" else dtype)
        for name, each in named.items()
    }
    return boxes[""] if "" in boxes else DictSpace(boxes)


def _named(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """The leaves of a Dict space or observation by name, those of inner ones as "outer/inner"; of anything else itself, ""."""
    inner = value if isinstance(value, dict) else getattr(value, "spaces", None)
    if not isinstance(inner, dict):
        return [(prefix, value)]
    return [pair for name, each in inner.items() for pair in _named(each, f"{prefix}/{name}" if prefix else name)]


def _tensor(value: Any, dtype: torch.dtype) -> Tensor:
    return torch.tensor(np.asarray(value), dtype=dtype)


def _chosen(where: NDArray[np.bool_], new: Observation, old: Observation) -> Observation:
    mask = torch.from_numpy(where)
    return mapped(lambda a, b: torch.where(mask.view(-1, *[1] * (a.ndim - 1)), a, b), new, old)


def _success(info: dict[str, Any], before: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
    for key in SUCCESS_KEYS:
        if key in info:
            return np.asarray(info[key]) > 0.5
    return before


def _texts(generator: dict[str, Any] | None) -> dict[str, Any] | None:
    """A generator's state with its large integers as text, which a checkpoint can hold."""
    if generator is None:
        return None
    return {k: _texts(v) if isinstance(v, dict) else str(v) if isinstance(v, int) else v for k, v in generator.items()}


def _numbers(generator: dict[str, Any]) -> dict[str, Any]:
    """The inverse."""
    return {
        k: _numbers(v) if isinstance(v, dict) else int(v) if isinstance(v, str) and v.isdigit() else v
        for k, v in generator.items()
    }
