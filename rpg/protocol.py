"""The interface of an environment. `rpg` knows nothing else about a task."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor


class ProtocolError(ValueError):
    """An environment breaks the protocol. One line: names what it gave and what is expected."""


@runtime_checkable
class Environment(Protocol):
    """A batch of B differentiable episodes of T steps each, run side by side.

    Gradients must flow from `reward` and `observe(state)` back to every earlier `action`. All tensors share
    one floating dtype and one device, which the optimiser adopts. Where no gradient flows to some action
    dimension, the optimiser estimates it by the score function instead.

    Optional attributes:
        outcome_names (Sequence[str]): names of the outcome labels 0, 1, 2, ...
        outcome_radius (float): successful episodes without a label count as one solution within this distance (see `step`).
        observation_points ((int, int)): (N, D) if the first N x D entries of an observation are a set of N points, for
            point-set encoders.

    The command line builds an environment as `Class(num_envs=...)`, with `mesh=path` if the user names a mesh. It uses, if
    they exist, the class attributes `name` (str) and `optimizer_settings` (settings of the algorithm by name; a schedule is
    (start, end) or (start, end, begin, finish)), and the method of `VideoEnvironment`. It reports a ValueError from the
    constructor or the first step as the user's mistake, and a FloatingPointError as a failed simulation, each in one line.
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

    def step(self, state: Any, action: Tensor) -> tuple[Any, Tensor, dict[str, Tensor]]:
        """One step under `action` (B, A) in [-1, 1]: (next state, reward (B,), info).

        At the last step of an episode, `info` must hold "success" (B,) bool, whether the episode reached its
        goal, and "outcome" (B,) int64, a label of the solution that the episode followed, or -1 for none. It may
        hold "outcome_features" (B, F), a description of the episode such as where it ended: successful episodes
        without a label are grouped by clusters of these, of radius `outcome_radius`.
        """


@runtime_checkable
class VideoEnvironment(Protocol):
    """An optional part: an environment that can show its solutions. Without it the command line writes no video."""

    def write_video(self, modes: Sequence[Any], path: Path) -> None:
        """Write an MP4 of `modes` (`rpg.Mode`) to `path`.

        A mode's episode is replayed by `reset(mode.seed)` and one `step` for each of `mode.actions` (T, A), applied to the
        environment with index `mode.environment`.
        """


def check_environment(env: Environment, *, seed: int = 0) -> Tensor:
    """Run one step and check it against the protocol.

    Returns the first observation (B, O), whose dtype and device the optimiser adopts. Raises ProtocolError, in one line
    that names what was given and what is expected.
    """
    for name in ("num_envs", "horizon", "action_dim", "observation_dim"):
        value = getattr(env, name, None)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ProtocolError(f"environment.{name} is {value!r}; expected a positive int")
    with torch.no_grad():
        state = env.reset(seed)
        observation = env.observe(state)
        _check_tensor("observe(state)", observation, (env.num_envs, env.observation_dim))
        if not observation.is_floating_point():
            raise ProtocolError(f"observe(state) has dtype {observation.dtype}; expected a floating dtype")
        if not bool(observation.isfinite().all()):
            raise ProtocolError("observe(state) is not finite just after reset; expected finite numbers")
        _, reward, info = env.step(state, observation.new_zeros(env.num_envs, env.action_dim))
    _check_tensor("reward", reward, (env.num_envs,))
    if reward.dtype != observation.dtype or reward.device != observation.device:
        given, expected = f"{reward.dtype} on {reward.device}", f"{observation.dtype} on {observation.device}"
        raise ProtocolError(f"reward is {given}; expected {expected}, like the observation")
    if not isinstance(info, dict):
        raise ProtocolError(f"info is a {type(info).__name__}; expected a dict of (B,) tensors")
    for key, value in info.items():
        if key != "outcome_features":
            _check_tensor(f"info[{key!r}]", value, (env.num_envs,))
    return observation


def check_last_info(info: dict[str, Tensor], num_envs: int) -> None:
    """Raise ProtocolError unless the info of an episode's last step holds "success" and "outcome" as the protocol says."""
    for key, dtype in (("success", torch.bool), ("outcome", torch.int64)):
        if key not in info:
            raise ProtocolError(f"info of the last step has keys {sorted(info)}; expected {key!r} among them")
        _check_tensor(f"info[{key!r}]", info[key], (num_envs,))
        if info[key].dtype != dtype:
            raise ProtocolError(f"info[{key!r}] has dtype {info[key].dtype}; expected {dtype}")
    features = info.get("outcome_features")
    if features is not None and (features.ndim != 2 or len(features) != num_envs):
        raise ProtocolError(f"info['outcome_features'] has shape {tuple(features.shape)}; expected ({num_envs}, F)")


def _check_tensor(name: str, value: object, shape: tuple[int, ...]) -> None:
    if not isinstance(value, Tensor):
        raise ProtocolError(f"{name} is a {type(value).__name__}; expected a tensor of shape {shape}")
    if tuple(value.shape) != shape:
        raise ProtocolError(f"{name} has shape {tuple(value.shape)}; expected {shape}")
