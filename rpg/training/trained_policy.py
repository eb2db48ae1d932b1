"""A trained policy on its own: loaded from a checkpoint, in any process, without the environment that it was trained in.

policy = rpg.load_policy("runs/wall")
z = policy.sample_latent(observation, generator)  # one for each episode, at its start
action = policy.act(observation, z, t)
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rpg.algorithms import build_algorithm, config_from_dict
from rpg.algorithms.algorithm import Algorithm
from rpg.models.action_policy import ActionPolicy
from rpg.protocol import FixedHorizonEnvironment
from rpg.settings_checks import check_bool, checked_path
from rpg.training.checkpoint import Checkpoint, CheckpointError, checkpoint_path, load_checkpoint
from rpg.training.continuation import set_schedules
from rpg.training.objective import member_starts

Array = Tensor | NDArray[Any]


@dataclass(frozen=True)
class EnvironmentShape:
    """What algorithms read of an environment when they are built; stands in for it where a policy is loaded."""

    num_envs: int
    horizon: int
    action_dim: int
    observation_dim: int
    observation_points: tuple[int, int] | None
    finite_horizon: bool
    dtype: str
    observation_shape: tuple[int, ...] | None = None
    """(H, W, C) of images."""

    @classmethod
    def of(cls, env: FixedHorizonEnvironment, like: Tensor) -> "EnvironmentShape":
        """The shape of `env`, whose observations are like `like`."""
        return cls(
            num_envs=env.num_envs,
            horizon=env.horizon,
            action_dim=env.action_dim,
            observation_dim=env.observation_dim,
            observation_points=getattr(env, "observation_points", None),
            finite_horizon=getattr(env, "finite_horizon", True),
            dtype=str(like.dtype).removeprefix("torch."),
            observation_shape=getattr(env, "observation_shape", None),
        )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "EnvironmentShape":
        """The inverse of `to_dict`."""
        shapes = {name: values.get(name) for name in ("observation_points", "observation_shape")}
        return cls(**{**values, **{name: each if each is None else tuple(each) for name, each in shapes.items()}})

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for checkpoints."""
        values = asdict(self)
        return {name: each for name, each in values.items() if name != "observation_shape" or each is not None}

    @property
    def torch_dtype(self) -> torch.dtype:
        """Of observations and parameters."""
        return getattr(torch, self.dtype)

    def reset(self, seed: int | None = None) -> None:
        """There is no state."""

    def observe(self, state: None) -> Tensor:
        """(B, O) zeros, or images (B, H, W, C)."""
        if self.observation_shape is not None:
            return torch.zeros(self.num_envs, *self.observation_shape, dtype=torch.uint8)
        return self.like()

    def like(self) -> Tensor:
        """(B, O) zeros of the parameters' dtype."""
        return torch.zeros(self.num_envs, self.observation_dim, dtype=self.torch_dtype)

    def step(self, state: Any, action: Tensor) -> NoReturn:
        """Raises RuntimeError."""
        raise RuntimeError("a loaded policy has no environment to step")


class TrainedPolicy:
    """pi(z|s1) and pi(a|s,z) of an algorithm, for use: batches of any size B, inputs checked.

    Observations are (B, O), or (O,) for a single one; tensors or numpy arrays, and results are of the same kind and rank.
    Everything wrong with an input is a ValueError in one line that names what was given and what is expected.
    """

    def __init__(self, algorithm: Algorithm, shape: EnvironmentShape, iteration: int) -> None:
        self.algorithm, self.shape = algorithm, shape
        self.iteration = iteration
        """Number of iterations that it was trained for."""
        self._policy: ActionPolicy = algorithm.policy
        self._space = algorithm.policy.space
        self._chain = algorithm.prior is not None and algorithm.prior.chain
        # of a chain one member at a time is given and drawn
        self._segments = 1 if algorithm.prior is None or self._chain else algorithm.prior.segments
        self._device = algorithm.like.device

    @property
    def horizon(self) -> int:
        """T, the number of steps of an episode."""
        return self.shape.horizon

    @property
    def num_latents(self) -> int | None:
        """K, the number of values of z; None if z is continuous."""
        return self._space.size if self._space.categorical else None

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of one z: () for one of K, (D,) for D numbers, and (S,) or (S, D) for a sequence of S."""
        return (() if self._segments == 1 else (self._segments,)) + (() if self._space.categorical else (self._space.size,))

    @property
    def draw_steps(self) -> tuple[int, ...]:
        """The steps at which a z is drawn: 0, and for a chain those at which its further members begin."""
        segments = self.algorithm.prior.segments if self._chain and self.algorithm.prior is not None else 1
        return tuple(member_starts(segments, self.horizon))

    @torch.no_grad()
    def act(
        self,
        observation: Array,
        z: Array | int | None = None,
        t: Array | int | None = None,
        *,
        deterministic: bool = True,
        generator: torch.Generator | None = None,
    ) -> Any:
        """Actions in [-1, 1], (B, A) or (A,).

        `z` is one latent for all, of `latent_shape`, or one for each observation, (B, *latent_shape); of a sequence it is the
        whole sequence, of a chain the member that t falls into. It may be left out if there is one latent only. `t` is the step
        in 0..T-1, a number or (B,); it may be left out if the policy does not depend on it. Without `deterministic` actions are
        drawn as in the last iteration of training, with `generator` on the CPU.
        """
        check_bool("deterministic", deterministic)
        seen = self._observations(observation)
        steps = self._steps(t, len(seen))
        latent = member_at(self._latents(z, len(seen)), steps, self.horizon)
        if deterministic:
            action = torch.tanh(self._policy.mean(seen, latent, steps))
        else:
            action = self._sampled(seen, latent, steps, generator)
        return _like(action, observation)

    @torch.no_grad()
    def sample_latent(
        self,
        observation: Array,
        generator: torch.Generator | None = None,
        *,
        t: int = 0,
        before: Array | int | None = None,
    ) -> Any:
        """(B, *latent_shape) draws of z for episodes that begin with `observation` (B, O), with `generator` on the CPU. Of a
        chain, draws of the member that begins at step `t` of `draw_steps` with `observation`, after the member `before`.
        """
        seen = self._observations(observation)
        member, last = self._member(t, before, len(seen))
        drawn = self.algorithm.sample_latent(seen, _generator(generator), member, last).movedim(0, 1)
        return _like(drawn.squeeze(1) if self._segments == 1 else drawn, observation)

    @torch.no_grad()
    def latent_log_prob(self, z: Array | int, observation: Array, *, t: int = 0, before: Array | int | None = None) -> Any:
        """(B,) log pi(z|s1), a density if z is continuous; `z` as in `act`, `t` and `before` as in `sample_latent`."""
        seen = self._observations(observation)
        member, last = self._member(t, before, len(seen))
        return _like(self.algorithm.latent_log_prob(self._latents(z, len(seen)), seen, member, last), observation)

    @torch.no_grad()
    def latent_probs(self, observation: Array, *, t: int = 0, before: Array | int | None = None) -> Any:
        """(B, K) the probability of each z, given the first `observation` (B, O); `t` and `before` as in `sample_latent`."""
        if self.num_latents is None or self._segments > 1:
            raise ValueError(f"z has shape {self.latent_shape} and no list of values; use latent_log_prob")
        seen = self._observations(observation)
        member, last = self._member(t, before, len(seen))
        values = [seen.new_full((1, len(seen)), z).long() for z in range(self.num_latents)]
        each = [self.algorithm.latent_log_prob(z, seen, member, last) for z in values]
        return _like(torch.stack(each, dim=1).exp(), observation)

    def export(self, path: Path | str) -> None:
        """Write `act`'s deterministic actions as a program of torch.export (a .pt2 file), for plain torch:

            actions = torch.export.load(path).module()(observation, z, t)

        with `observation` (B, O), `z` (B, *latent_shape) and `t` (B,) int64, for any B. The inputs are not checked.
        """
        module = ExportedActions(self._policy, self._segments, self.horizon).eval()
        first = torch.zeros(3, self.shape.observation_dim, dtype=self.shape.torch_dtype, device=self._device)
        z = torch.zeros(3, *self.latent_shape, device=self._device)
        z = z.long() if self._space.categorical else z.to(first)
        t = torch.zeros(3, dtype=torch.int64, device=self._device)
        batch = {0: torch.export.Dim("batch", min=1)}
        with torch.no_grad():
            program = torch.export.export(module, (first, z, t), dynamic_shapes=(batch, batch, batch), strict=False)
        torch.export.save(program, path)

    # Inputs, checked ----------------------------------------------------------------------------------------

    def _sampled(self, seen: Tensor, latent: Tensor, steps: Tensor, generator: torch.Generator | None) -> Tensor:
        std = self.algorithm.action_std(self.iteration)
        if isinstance(std, Tensor):
            std = std[steps]
        elif std == 0:
            return torch.tanh(self._policy.mean(seen, latent, steps))
        width = self.shape.action_dim + self._policy.extra_noise
        noise = torch.randn(len(seen), width, generator=_generator(generator)).to(seen)
        return self._policy(seen, latent, steps, std, noise).action

    def _observations(self, given: Array) -> Tensor:
        """(B, O), of the policy's dtype and on its device."""
        if not isinstance(given, Tensor | np.ndarray):
            raise ValueError(f"observation is a {type(given).__name__}; expected a tensor or a numpy array")
        seen, width = torch.as_tensor(given), self.shape.observation_dim
        if seen.ndim not in (1, 2) or seen.shape[-1] != width:
            raise ValueError(f"observation has shape {tuple(seen.shape)}; expected (B, {width}) or ({width},)")
        if not seen.is_floating_point():
            raise ValueError(f"observation has dtype {seen.dtype}; expected a floating dtype, such as {self.shape.dtype}")
        if not bool(seen.isfinite().all()):
            raise ValueError(f"observation is not finite: {seen.tolist()}; expected finite numbers")
        return seen.reshape(-1, width).to(self._device, self.shape.torch_dtype)

    def _steps(self, given: Array | int | None, batch: int) -> Tensor:
        """(B,) int64."""
        if given is None and not self._policy.uses_time:
            return torch.zeros(batch, dtype=torch.int64, device=self._device)
        if given is None:
            raise ValueError(
                f"t is missing; expected the step of the episode, 0 to {self.horizon - 1}, as actions depend on it"
            )
        steps = _tensor("t", given)
        if steps.is_floating_point() or steps.is_complex() or steps.dtype == torch.bool:
            raise ValueError(f"t has dtype {steps.dtype}; expected whole numbers")
        if tuple(steps.shape) not in ((), (batch,)):
            raise ValueError(f"t has shape {tuple(steps.shape)}; expected () or ({batch},), as the observation")
        if bool(((steps < 0) | (steps >= self.horizon)).any()):
            raise ValueError(f"t has values from {int(steps.min())} to {int(steps.max())}; allowed are 0 to {self.horizon - 1}")
        return steps.to(self._device, torch.int64).expand(batch)

    def _member(self, t: int, before: Array | int | None, batch: int) -> tuple[int, Tensor | None]:
        """The number of the member that begins at `t`, and the member before it, (B, ...)."""
        if t not in self.draw_steps:
            raise ValueError(
                f"t was given {t}; allowed are the steps at which z is drawn, {', '.join(map(str, self.draw_steps))}"
            )
        if (before is None) != (t == 0):
            raise ValueError(
                f"before was {'not ' if before is None else ''}given at t = {t}; expected from the second member on"
            )
        return self.draw_steps.index(t), None if before is None else self._latents(before, batch)[0]

    def _latents(self, given: Array | int | None, batch: int) -> Tensor:
        """(S, B) int64 or (S, B, D)."""
        space, shape = self._space, self.latent_shape
        if given is None:
            if space.categorical and space.size == 1:
                return torch.zeros(self._segments, batch, dtype=torch.int64, device=self._device)
            kind = f"0 to {space.size - 1}" if space.categorical else f"{space.size} numbers"
            raise ValueError(f"z is missing; expected a latent of shape {shape}, {kind}, as from sample_latent(observation)")
        z = _tensor("z", given)
        if z.shape not in (shape, (batch, *shape)):
            raise ValueError(f"z has shape {tuple(z.shape)}; expected {shape} or {(batch, *shape)}")
        if space.categorical:
            if z.is_floating_point() or z.is_complex() or z.dtype == torch.bool:
                raise ValueError(f"z has dtype {z.dtype}; expected whole numbers")
            if bool(((z < 0) | (z >= space.size)).any()):
                raise ValueError(f"z has values from {int(z.min())} to {int(z.max())}; allowed are 0 to {space.size - 1}")
        elif not z.is_floating_point():
            raise ValueError(f"z has dtype {z.dtype}; expected a floating dtype")
        z = z.to(self._device, torch.int64 if space.categorical else self.shape.torch_dtype).expand(batch, *shape)
        return z.unsqueeze(0) if self._segments == 1 else z.movedim(1, 0)


class ExportedActions(nn.Module):
    """Deterministic actions as a function of tensors alone: observation (B, O), z (B, [S,] [D]) and t (B,) int64."""

    def __init__(self, policy: ActionPolicy, segments: int, horizon: int) -> None:
        super().__init__()
        self.policy, self.segments, self.horizon = policy, segments, horizon

    def forward(self, observation: Tensor, z: Tensor, t: Tensor) -> Tensor:
        latent = z.unsqueeze(0) if self.segments == 1 else z.movedim(1, 0)
        return torch.tanh(self.policy.mean(observation, member_at(latent, t, self.horizon), t))


def load_policy(
    path: Path | str, which: Literal["last", "best"] = "last", *, device: torch.device | str = "cpu"
) -> TrainedPolicy:
    """The policy of a run: of its folder, with `which` of its two checkpoints, or of a checkpoint file.

    Raises FileNotFoundError or CheckpointError, in one line.
    """
    file = checkpoint_path(checked_path("path", path), which)
    checkpoint = load_checkpoint(file)
    try:
        return policy_of(checkpoint, device)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{file} holds no policy of this version ({type(error).__name__}: {reason})") from error


def policy_of(checkpoint: Checkpoint, device: torch.device | str = "cpu") -> TrainedPolicy:
    """The policy of a checkpoint, built without the environment."""
    shape = EnvironmentShape.from_dict(checkpoint.environment)
    algorithm = build_algorithm(shape, config_from_dict(checkpoint.config), shape.like().to(device))
    algorithm.restore_for_use(checkpoint.state)
    set_schedules(algorithm, checkpoint.record)
    return TrainedPolicy(algorithm, shape, checkpoint.iteration)


def member_at(latent: Tensor, steps: Tensor, horizon: int) -> Tensor:
    """(B, ...) the member of each sequence in `latent` (S, B, ...) that is used at its step (B,)."""
    if len(latent) == 1:
        return latent[0]
    return latent[steps * len(latent) // horizon, torch.arange(latent.shape[1], device=latent.device)]


def _tensor(name: str, given: Any) -> Tensor:
    try:
        return torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{name} was given {given!r}; expected a number, a tensor or an array") from None


def _generator(given: torch.Generator | None) -> torch.Generator:
    return torch.default_generator if given is None else given


def _like(result: Tensor, observation: Array) -> Any:
    """`result` (B, ...) for a batch, its only row for a single observation; numpy for numpy."""
    row = result[0] if observation.ndim == 1 else result
    return row if isinstance(observation, Tensor) else row.cpu().numpy()
