"""The interface of an environment, differentiable or not. `rpg` knows nothing else about a task.

`Environment` is the general form: episodes of any length that end and begin one by one. `FixedHorizonEnvironment` is the short
form for B episodes of T steps that begin and end together; it is what the tasks speak. Each can be had as the other:
`rpg.from_fixed_horizon` and `rpg.environments.whole_episodes`.
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

Observation = Tensor | dict[str, Tensor]
"""(B, *shape) of a `Box`, or one such tensor for each name of a `DictSpace`."""


class ProtocolError(ValueError):
    """An environment breaks the protocol. One line: names what it gave and what is expected."""


# Spaces -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Box:
    """Tensors of one shape and dtype, between two bounds. An image is a Box of uint8 (H, W, C)."""

    shape: tuple[int, ...]
    """Without the batch's dimension."""
    low: Any = -math.inf
    """Lower bound, a number or anything that broadcasts to `shape`; a tensor of that shape once made."""
    high: Any = math.inf
    """Upper bound, likewise."""
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        if not isinstance(self.shape, tuple | list | torch.Size) or not all(_is_int(size) and size >= 0 for size in self.shape):
            raise ProtocolError(f"Box.shape is {self.shape!r}; expected a tuple of whole numbers, as (3,)")
        object.__setattr__(self, "shape", tuple(self.shape))
        if not isinstance(self.dtype, torch.dtype):
            raise ProtocolError(f"Box.dtype is {self.dtype!r}; expected a torch.dtype, as torch.float32")
        for name in ("low", "high"):
            try:
                bound = torch.as_tensor(getattr(self, name), dtype=torch.float64)
            except (TypeError, ValueError, RuntimeError):
                raise ProtocolError(f"Box.{name} is {getattr(self, name)!r}; expected numbers") from None
            try:
                object.__setattr__(self, name, bound.expand(self.shape))
            except RuntimeError:
                raise ProtocolError(f"Box.{name} has shape {tuple(bound.shape)}; expected {self.shape}") from None
        if not bool((self.low < self.high).all()):
            raise ProtocolError(f"Box was given low {self.low.tolist()}, high {self.high.tolist()}; expected low < high")

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)

    @property
    def is_image(self) -> bool:
        """Whether it holds images, (H, W, C) bytes."""
        return self.dtype == torch.uint8 and len(self.shape) == 3


@dataclass(frozen=True, eq=False)
class DictSpace:
    """Several boxes by name, such as an image and joint angles."""

    boxes: Mapping[str, Box]

    def __post_init__(self) -> None:
        boxes = self.boxes
        named = isinstance(boxes, Mapping) and all(isinstance(n, str) and isinstance(b, Box) for n, b in boxes.items())
        if not named or not boxes:
            raise ProtocolError(f"DictSpace.boxes is {boxes!r}; expected an rpg.Box for each of some names")


Space = Box | DictSpace


def named_boxes(space: Space) -> dict[str, Box]:
    """The boxes of a space by name; that of a `Box` is ""."""
    return {"": space} if isinstance(space, Box) else dict(space.boxes)


def mapped(function: Callable[..., Tensor], *observations: Observation) -> Observation:
    """`function` of each tensor of an observation, or of the tensors of the same name of several."""
    first = observations[0]
    if isinstance(first, dict):
        return {name: function(*(each[name] for each in observations)) for name in first}  # type: ignore[index]
    return function(*observations)


def is_flat(space: Space) -> bool:
    """Whether observations can be joined to one vector: all boxes are of floating point."""
    return all(box.dtype.is_floating_point for box in named_boxes(space).values())


def flat_size(space: Space) -> int:
    """Width of the joined vector."""
    return sum(box.size for box in named_boxes(space).values())


def flattened(observation: Observation) -> Tensor:
    """(B, O) all tensors of an observation side by side, in the space's order."""
    if isinstance(observation, dict):
        return torch.cat([each.reshape(len(each), -1) for each in observation.values()], dim=1)
    return observation if observation.ndim == 2 else observation.reshape(len(observation), -1)


# Environments -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class EnvironmentSpec:
    """What is known about an environment before it runs."""

    observation: Space
    action: Box
    """(A,) with the true, finite bounds. Actions are given in [-1, 1]; the environment maps them onto these bounds."""
    time_limit: int | None = None
    """Largest number of steps of an episode; None if there is no limit."""
    differentiable: bool = False
    """Whether gradients flow from rewards and observations back to earlier actions. Declared, and checked in the first step."""
    finite_horizon: bool = False
    """Whether the time limit is part of the problem: it then terminates an episode, and values depend on the time. Otherwise it
    only truncates."""
    outcome_names: Sequence[str] = ()
    """Names of the outcome labels 0, 1, 2, ..."""
    outcome_radius: float | None = None
    """Episodes without a label count as one solution within this distance of their outcome features."""
    observation_points: tuple[int, int] | None = None
    """(N, D) if the first N x D entries of the joined observation are a set of N points, for point-set encoders."""

    def __post_init__(self) -> None:
        if not isinstance(self.observation, Box | DictSpace):
            raise ProtocolError(f"spec.observation is a {type(self.observation).__name__}; expected a Box or a DictSpace")
        if not isinstance(self.action, Box) or len(self.action.shape) != 1 or not self.action.dtype.is_floating_point:
            raise ProtocolError(f"spec.action is {self.action}; expected a Box of floating point and shape (A,)")
        if not bool((self.action.low.isfinite() & self.action.high.isfinite()).all()):
            given = f"{self.action.low.tolist()}, {self.action.high.tolist()}"
            raise ProtocolError(f"spec.action has the bounds {given}; expected finite ones")
        for name in ("differentiable", "finite_horizon"):
            if not isinstance(getattr(self, name), bool):
                raise ProtocolError(f"spec.{name} is {getattr(self, name)!r}; expected True or False")
        names = self.outcome_names
        if not isinstance(names, Sequence) or isinstance(names, str) or not all(isinstance(name, str) for name in names):
            raise ProtocolError(f"spec.outcome_names is {names!r}; expected a tuple of words")
        radius = self.outcome_radius
        if radius is not None and not (isinstance(radius, int | float) and 0.0 < radius < math.inf):
            raise ProtocolError(f"spec.outcome_radius is {radius!r}; expected a positive number or None")
        points = self.observation_points
        if points is not None and not (
            isinstance(points, tuple) and len(points) == 2 and all(_is_int(n) and n > 0 for n in points)
        ):
            raise ProtocolError(f"spec.observation_points is {points!r}; expected two positive whole numbers (N, D) or None")
        if self.time_limit is not None:
            _check_positive_int("spec.time_limit", self.time_limit)
        elif self.finite_horizon:
            raise ProtocolError("spec.finite_horizon is True with time_limit None; expected a time_limit")

    @property
    def action_dim(self) -> int:
        """A, the width of an action."""
        return self.action.shape[0]


class Step(NamedTuple):
    """The result of one step of B environments."""

    state: Any
    """The next states, opaque to `rpg`."""
    observation: Observation
    """Of the next states: at an episode's end the final observation, before any reset."""
    reward: Tensor
    """(B,)."""
    terminated: Tensor
    """(B,) bool: the episode ended for good, nothing more can be earned (no bootstrap)."""
    truncated: Tensor
    """(B,) bool: it was cut off, by a time limit for example; its value is that of the final state (bootstrap)."""
    info: Mapping[str, Any] = {}
    """May hold "success" (B,) bool, "outcome" (B,) int64, a label of the solution that the episode followed or -1, and
    "outcome_features" (B, F), as if the episodes ended here, and "stiffness" (B,), how stiff the dynamics were in this step
    (see `rpg.algorithms.ahac`). Anything else is for the environment's own users."""


@runtime_checkable
class Environment(Protocol):
    """B environments side by side, each with episodes, and a random generator, of its own.

    States are values: a step from an older state continues from there, if the environment can (see `snapshot`). All tensors
    are on one device, and rewards and observations of floating point share one dtype, which the optimiser adopts.
    """

    @property
    def spec(self) -> EnvironmentSpec:
        """Spaces, time limit and the like."""

    @property
    def num_envs(self) -> int:
        """B, the number of environments."""

    def reset(self, seed: int | None = None, *, state: Any = None, where: Tensor | None = None) -> tuple[Any, Observation]:
        """(state, observation) after a reset of the environments `where` (B,) bool of `state`; by default of all.

        `seed` seeds the generators of these environments, each in its own way; None goes on with them, or seeds them from
        the operating system if there is no `state`. What is reset where does not change what the others draw.
        """

    def step(self, state: Any, action: Tensor) -> Step:
        """One step under `action` (B, A) in [-1, 1]. An environment whose episode has ended must bear further steps until it is
        reset; nobody uses what it then gives."""

    def snapshot(self, state: Any) -> Any:
        """`state` and its generators as tensors, numbers, strings, and lists and dicts of them, for a checkpoint.

        Raises ProtocolError if the environment cannot be brought back to a state.
        """

    def restore(self, snapshot: Any) -> tuple[Any, Observation]:
        """(state, observation): the inverse. What follows is the same bit for bit."""


@runtime_checkable
class FixedHorizonEnvironment(Protocol):
    """B episodes of T steps each, which begin and end together: the short form of an environment.

    All tensors share one floating dtype and one device, which the optimiser adopts.

    Optional attributes:
        differentiable (bool): whether gradients flow from `reward` and `observe(state)` back to every earlier `action`; True if
            it is missing. Where no gradient flows to some action dimension, RPG estimates it by the score function instead.
        finite_horizon (bool): whether the horizon is part of the problem, as in `EnvironmentSpec`; True if it is missing.
        outcome_names, outcome_radius, observation_points: as in `EnvironmentSpec`.
        observation_shape: (H, W, C) where `observe` gives images, bytes (B, H, W, C); only `rpg.from_fixed_horizon` takes them.

    The command line builds an environment as `Class(num_envs=..., **parameters)`. It uses, if they exist, the class attributes
    `name` (str) and `optimizer_settings` (settings of the algorithm by name; a schedule is (start, end) or (start, end, begin,
    finish)), the class method `parameter_type()`, and the methods of `VideoEnvironment` and `ViewerEnvironment`.
    `parameter_type()` returns a frozen dataclass; its fields, all with defaults, are keyword arguments of the constructor, are
    set by `--task.NAME`, belong to the run's identity, and are kept in its result.json. Of a field of type Path the file's
    content counts.

    The command line reports a ValueError from the constructor or the first step as the user's mistake, and a
    FloatingPointError as a failed simulation, each in one line.
    """

    @property
    def num_envs(self) -> int:
        """B, the number of episodes run side by side."""

    @property
    def horizon(self) -> int:
        """T, the number of steps of an episode."""

    @property
    def action_dim(self) -> int:
        """A, the width of an action."""

    @property
    def observation_dim(self) -> int:
        """O, the width of an observation."""

    def reset(self, seed: int | None = None) -> Any:
        """The first state of an episode, opaque to `rpg`. The same seed must give the same B episodes."""

    def observe(self, state: Any) -> Tensor:
        """(B, O) features of the state, differentiable."""

    def step(self, state: Any, action: Tensor) -> tuple[Any, Tensor, dict[str, Any]]:
        """One step under `action` (B, A) in [-1, 1]: (next state, reward (B,), info), the info as in `Step`. At the last step
        it should say "success" and "outcome". Where episodes end early it may say how, by "terminated" and "truncated" (B,)
        bool of this step and "running" (B,) bool, whether an episode had not ended before it."""


@runtime_checkable
class VideoEnvironment(Protocol):
    """An optional part: an environment that can show its solutions. Without it the command line writes no video.

    It may also have a method `check_rendering()`, which draws something small and raises whatever is wrong: the command line
    calls it before training, so that a video does not fail after it.
    """

    def write_video(self, modes: Sequence[Any], path: Path) -> None:
        """Write an MP4 of `modes` (`rpg.Mode`) to `path`.

        A mode's episode is replayed by `reset(mode.seed)` and one `step` for each of `mode.actions` (T, A), applied to the
        environment with index `mode.environment`.

        It may take two keyword arguments more, which are passed on only if the user gives them: `camera`, anything that the
        environment draws with (of the command line: (eye, target) or (eye, target, opening angle in degrees), a point being
        three numbers), and `size`, (width, height) in pixels.
        """


@runtime_checkable
class ViewerEnvironment(Protocol):
    """An optional part: an environment that can show its solutions on an interactive page, for `diffsim-rpg view`.

    Modes are those of `VideoEnvironment`. What is wrong for the user to mend, such as a package that is not installed, it
    raises as a ValueError.
    """

    def serve_viewer(self, modes: Sequence[Any], *, host: str, port: int, ready: Callable[[str], None]) -> None:
        """Serve a page of `modes` (`rpg.Mode`) at `host` and `port`, or the next free port, until a KeyboardInterrupt, which it
        passes on; call `ready` with the page's address once it can be opened."""

    def write_viewer_page(self, modes: Sequence[Any], path: Path, *, arrows: bool, say: Callable[[str], None]) -> None:
        """Write one file of HTML to `path` that shows `modes` without a server, with `arrows` for forces and the like or not;
        `say` takes a line for the user."""


@runtime_checkable
class ShardableEnvironment(Protocol):
    """An optional part of the fixed-horizon form: an environment whose batch several processes can share."""

    def shard(self, first: int, count: int) -> FixedHorizonEnvironment:
        """An environment of ``count`` episodes: those from ``first`` on of every batch that `reset` gives here."""


# Checks -----------------------------------------------------------------------------------------------------


class EpisodeEnd(NamedTuple):
    """What the info of an episode's last step says about the episode."""

    success: Tensor
    """(B,) bool; False where the environment does not say."""
    outcome: Tensor
    """(B,) int64; -1 where the environment does not say."""
    features: Tensor | None
    """(B, F), or None where the environment gives none."""


def episode_end(info: Mapping[str, Any], like: Tensor) -> EpisodeEnd:
    """The known entries of an episode's last info, detached; `like` is a tensor (B, ...) on the same device.

    Raises ProtocolError if an entry is not as `Step` says.
    """
    check_info(info, len(like))
    features = info.get("outcome_features")
    return EpisodeEnd(
        success=info["success"].detach() if "success" in info else like.new_zeros(len(like), dtype=torch.bool),
        outcome=info["outcome"].detach() if "outcome" in info else like.new_full((len(like),), -1, dtype=torch.int64),
        features=None if features is None else features.detach(),
    )


def check_info(info: object, num_envs: int) -> None:
    """Raise ProtocolError unless the entries of `info` that `Step` names are as it says; others are not looked at."""
    if not isinstance(info, Mapping):
        raise ProtocolError(f"info is a {type(info).__name__}; expected a dict")
    for key, dtype in (("success", torch.bool), ("outcome", torch.int64)):
        if key in info:
            _check_tensor(f"info[{key!r}]", info[key], (num_envs,))
            if info[key].dtype != dtype:
                raise ProtocolError(f"info[{key!r}] has dtype {info[key].dtype}; expected {dtype}")
    features = info.get("outcome_features")
    if features is not None:
        if not isinstance(features, Tensor):
            raise ProtocolError(f"info['outcome_features'] is a {type(features).__name__}; expected a tensor (B, F)")
        if features.ndim != 2 or len(features) != num_envs:
            raise ProtocolError(f"info['outcome_features'] has shape {tuple(features.shape)}; expected ({num_envs}, F)")


def is_environment(env: object) -> bool:
    """Whether `env` has the general form, `Environment`.

    Raises ProtocolError if it has neither form.
    """
    if isinstance(getattr(env, "spec", None), EnvironmentSpec):
        return True
    if missing := [name for name in ("reset", "observe", "step") if not callable(getattr(env, name, None))]:
        hint = "; wrap it by rpg.from_gymnasium" if hasattr(env, "action_space") else ""
        given = f"environment is a {type(env).__name__} without spec (EnvironmentSpec) and without {', '.join(missing)}"
        raise ProtocolError(f"{given}; expected an rpg.Environment or an rpg.FixedHorizonEnvironment{hint}")
    return False


def check_environment(env: Any, *, seed: int = 0) -> Tensor:
    """Run one step of an environment of either form and check it against the protocol.

    Returns the first observation (B, O), whose dtype and device the optimiser adopts; of images, zeros (B, 1) with those of the
    reward. Raises ProtocolError, in one line that names what was given and what is expected. Warns if a fixed-horizon
    environment that does not say whether it is differentiable gives no gradient.
    """
    if not _is_int(seed) or seed < 0:
        raise ProtocolError(f"seed is {seed!r}; expected a whole number >= 0")
    if is_environment(env):
        return _check_general(env, seed)
    if getattr(env, "observation_shape", None) is not None:
        raise ProtocolError("observe(state) gives images; expected vectors, or rpg.from_fixed_horizon(environment)")
    for name in ("num_envs", "horizon", "action_dim", "observation_dim"):
        _check_positive_int(f"environment.{name}", getattr(env, name, None))
    with torch.no_grad():
        state = env.reset(seed)
        observation = env.observe(state)
    _check_box("observe(state)", observation, env.num_envs, Box((env.observation_dim,), dtype=torch.float32))
    action = observation.new_zeros(env.num_envs, env.action_dim).requires_grad_()
    state, reward, info = _returned(env.step(state, action), 3, "(state, reward, info)")
    _check_reward(reward, observation, env.num_envs)
    check_info(info, env.num_envs)
    declared = getattr(env, "differentiable", None)
    if declared is None and not reward.requires_grad and not env.observe(state).requires_grad:
        warnings.warn(
            f"{type(env).__name__}: no gradient flows from the reward or from observe(state) to the action; if that is meant, "
            "give the environment the attribute differentiable = False",
            stacklevel=2,
        )
    _check_gradient(bool(declared), reward)
    return observation


def _check_general(env: Environment, seed: int) -> Tensor:
    _check_positive_int("environment.num_envs", env.num_envs)
    spec, count = env.spec, env.num_envs
    with torch.no_grad():
        state, observation = _returned(env.reset(seed), 2, "(state, observation)")
    _check_observation("the observation of reset", observation, spec.observation, count)
    boxes = [box for box in named_boxes(spec.observation).values() if box.dtype.is_floating_point]
    like = flattened(observation) if is_flat(spec.observation) else None
    device = next(iter(observation.values())).device if isinstance(observation, dict) else observation.device
    dtype = boxes[0].dtype if boxes else torch.float32
    action = torch.zeros(count, spec.action_dim, dtype=dtype, device=device)
    step = env.step(state, action.requires_grad_(spec.differentiable))
    if not isinstance(step, Step):
        raise ProtocolError(f"step returned a {type(step).__name__}; expected an rpg.protocol.Step")
    _check_observation("the observation of step", step.observation, spec.observation, count)
    _check_reward(step.reward, action, count)
    for name in ("terminated", "truncated"):
        value = getattr(step, name)
        _check_tensor(name, value, (count,))
        if value.dtype != torch.bool:
            raise ProtocolError(f"{name} has dtype {value.dtype}; expected torch.bool")
    check_info(step.info, count)
    _check_gradient(spec.differentiable, step.reward)
    return step.reward.detach().new_zeros(count, 1) if like is None else like


def _check_gradient(declared: bool, reward: Tensor) -> None:
    if declared and not reward.requires_grad:
        raise ProtocolError(
            "the reward has no gradient with respect to the action; expected one, as differentiable is True (is it detached?)"
        )


def _check_observation(name: str, observation: object, space: Space, num_envs: int) -> None:
    if isinstance(space, Box):
        _check_box(name, observation, num_envs, space, exact=True)
        return
    if not isinstance(observation, dict) or list(observation) != list(space.boxes):
        given = list(observation) if isinstance(observation, dict) else f"a {type(observation).__name__}"
        raise ProtocolError(f"{name} is {given}; expected a dict of {list(space.boxes)}, in this order")
    for key, box in space.boxes.items():
        _check_box(f"{name}[{key!r}]", observation[key], num_envs, box, exact=True)


def _check_box(name: str, value: object, num_envs: int, box: Box, *, exact: bool = False) -> None:
    """Shape, dtype (`exact`, or any of floating point) and finiteness."""
    _check_tensor(name, value, (num_envs, *box.shape))
    assert isinstance(value, Tensor)
    if value.dtype != box.dtype if exact else not value.is_floating_point():
        raise ProtocolError(f"{name} has dtype {value.dtype}; expected {box.dtype if exact else 'a floating dtype'}")
    if not bool(value.isfinite().all()):
        raise ProtocolError(f"{name} is not finite just after reset; expected finite numbers")


def _check_reward(reward: object, like: Tensor, num_envs: int) -> None:
    _check_tensor("reward", reward, (num_envs,))
    assert isinstance(reward, Tensor)
    if reward.dtype != like.dtype or reward.device != like.device:
        given, expected = f"{reward.dtype} on {reward.device}", f"{like.dtype} on {like.device}"
        raise ProtocolError(f"reward is {given}; expected {expected}, like the observation")


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_positive_int(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ProtocolError(f"{name} is {value!r}; expected a positive int")


def _check_tensor(name: str, value: object, shape: tuple[int, ...]) -> None:
    if not isinstance(value, Tensor):
        raise ProtocolError(f"{name} is a {type(value).__name__}; expected a tensor of shape {shape}")
    if tuple(value.shape) != shape:
        raise ProtocolError(f"{name} has shape {tuple(value.shape)}; expected {shape}")


def _returned(value: object, count: int, form: str) -> Any:
    if not isinstance(value, tuple) or len(value) != count:
        raise ProtocolError(f"the environment returned a {type(value).__name__}; expected a tuple {form}")
    return value
