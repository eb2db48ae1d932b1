"""PPO of stable-baselines3 (needs the extra `baselines`): on-policy reinforcement learning without simulator gradients.

An iteration is one episode of every environment and the library's updates on it. The library uses the global random
generators of Python, numpy and torch; for each iteration they are seeded from the algorithm's own generator, and restored
after it, so a run depends on its seed only.
"""

import importlib
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from rpg.algorithms.algorithm import Algorithm, AlgorithmConfig, NotFiniteError
from rpg.models.action_policy import ActionPolicy, ActionSample
from rpg.models.latent import LatentSpace
from rpg.protocol import FixedHorizonEnvironment
from rpg.settings_checks import SettingError, check_fraction, check_int, check_not_negative, check_positive
from rpg.training.metrics import IterationReport

_CONSTANT = ("learning_rate", "clip_range", "n_updates")  # not reported: meaningless here, or not restored on resuming


@dataclass(frozen=True)
class PPOConfig(AlgorithmConfig):
    """Settings of proximal policy optimisation (Schulman et al. 2017). Their defaults assume rewards of order 1 per step."""

    names: ClassVar[tuple[str, ...]] = ("ppo",)

    policy_hidden: tuple[int, ...] = (64, 64)
    """Hidden widths of the policy and of the values."""
    learning_rate: float = 0.001
    """Adam step of the policy and of the values."""
    discount: float = 0.99
    """Discount per step."""
    normalize_observations: bool = True
    """Whether observations are normalised to mean 0 and standard deviation 1, by running statistics."""
    start_std: float = 0.5
    """Initial standard deviation of the actions; it is learned."""
    epochs: int = 10
    """Epochs on each batch."""
    minibatches: int = 4
    """Minibatches per epoch, one gradient step each."""
    gae_lambda: float = 0.95
    """lambda of generalised advantage estimation: 1 has the least bias, 0 the least variance."""
    clip_range: float = 0.2
    """Clipping range of the probability ratio."""
    entropy_weight: float = 0.0
    """Weight of the action entropy."""
    normalize_rewards: bool = True
    """Whether rewards are divided by the running standard deviation of the discounted returns; reported returns are not."""
    grad_clip: float = 0.5
    """Largest gradient norm."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_int("epochs", self.epochs, at_least=1)
        check_int("minibatches", self.minibatches, at_least=1)
        for name in ("learning_rate", "start_std", "clip_range", "grad_clip"):
            check_positive(name, getattr(self, name))
        check_fraction("discount", self.discount)
        check_fraction("gae_lambda", self.gae_lambda)
        check_not_negative("entropy_weight", self.entropy_weight)


class LibraryPolicy(ActionPolicy):
    """The library's policy as an `ActionPolicy`, with one latent."""

    def __init__(self, network: nn.Module, algorithm: "PPO") -> None:
        super().__init__(LatentSpace(True, 1))
        self.network, self._features = network, algorithm.features

    def mean(self, observation: Tensor, latent: Tensor, step: int | Tensor) -> Tensor:
        return self._before_squashing(self._acted(observation, step, observation.new_zeros(())))

    def forward(
        self, observation: Tensor, latent: Tensor, step: int | Tensor, std: Tensor | float, noise: Tensor
    ) -> ActionSample:
        """A sample with the library's own std; its log density is not known here (NaN)."""
        action = self._acted(observation, step, noise)
        return ActionSample(action, torch.full_like(action[:, 0], torch.nan), self._before_squashing(action))

    def _acted(self, observation: Tensor, step: int | Tensor, noise: Tensor) -> Tensor:
        """Actions (B, A) with standard normal `noise` (B, A), of which zeros mean the mode."""
        network: Any = self.network
        mean = network.action_net(network.mlp_extractor.forward_actor(self._features(observation, step)))
        return (mean + network.log_std.exp() * noise.float()).clamp(-1, 1).to(observation)

    @staticmethod
    def _before_squashing(action: Tensor) -> Tensor:
        limit = 1 - 1e-6  # beyond it atanh is not finite in single precision
        return torch.atanh(action.clamp(-limit, limit))


class PPO(Algorithm[PPOConfig]):
    """Proximal policy optimisation. Its Gaussian is not squashed: actions are clipped."""

    def __init__(self, env: FixedHorizonEnvironment, config: PPOConfig, like: Tensor) -> None:
        super().__init__(env, config, like)
        try:
            sb3 = importlib.import_module("stable_baselines3")
            vector_env = importlib.import_module("rpg.training.vector_env")
        except ModuleNotFoundError as error:
            raise SettingError(
                f"algorithm was given {config.algorithm!r}, which needs {error.name}; allowed after "
                "pip install 'diffsim-rpg[baselines]'"
            ) from error
        if env.num_envs * env.horizon < 2:
            raise SettingError(f"algorithm was given {config.algorithm!r}; allowed with 2 steps an iteration or more")
        self.vector_env = vector_env.VectorEnv(env, self.episode_seed)
        self.normalizer = sb3.common.vec_env.VecNormalize(
            self.vector_env,
            norm_obs=config.normalize_observations,
            norm_reward=config.normalize_rewards,
            gamma=config.discount,
        )
        with self._seeded(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on the sizes of mini-batches and on small networks on a GPU
            self.model = self._build(sb3)
        self.model.set_logger(sb3.common.logger.Logger(folder=None, output_formats=[]))
        self.policy = LibraryPolicy(self.model.policy, self)
        self.modules["policy"] = self.policy
        self.optimizers["policy"] = self.model.policy.optimizer

    def _build(self, sb3: Any) -> Any:
        """The library's algorithm."""
        config = self.config
        return sb3.PPO(
            "MlpPolicy",
            self.normalizer,
            learning_rate=config.learning_rate,
            gamma=config.discount,
            n_steps=self.env.horizon,
            batch_size=max(2, -(-self.env.num_envs * self.env.horizon // config.minibatches)),
            n_epochs=config.epochs,
            gae_lambda=config.gae_lambda,
            clip_range=config.clip_range,
            ent_coef=config.entropy_weight,
            max_grad_norm=config.grad_clip,
            policy_kwargs={"net_arch": list(config.policy_hidden), "log_std_init": float(np.log(config.start_std))},
            device=self.like.device,
        )

    def iterate(self, iteration: int) -> IterationReport:
        env, model = self.env, self.model
        steps = env.num_envs * env.horizon
        self.vector_env.start(iteration)
        model.num_timesteps = iteration * steps
        model._last_obs = None  # so that `learn` begins with a reset
        model.lr_schedule = lambda remaining: self.config.learning_rate * self.step_scale
        model.logger.name_to_value.clear()
        with self._seeded():
            model.learn(steps, reset_num_timesteps=False)
        # of the Gaussian after the iteration's updates, before clipping
        entropy = float((model.policy.log_std.detach() + 0.5 * np.log(2 * np.pi * np.e)).sum())
        if not all(bool(value.isfinite().all()) for value in self.policy.state_dict().values()):
            raise NotFiniteError(f"iteration {iteration}: the policy is not finite")
        returns, end = self.vector_env.last_returns, self.vector_env.last_end
        assert end is not None
        logged = {key.removeprefix("train/"): float(value) for key, value in model.logger.name_to_value.items()}
        return IterationReport(
            return_mean=float(returns.mean()),
            return_best=float(returns.mean()),
            success=float(end.success.double().mean()),
            distinct_outcomes=int(end.outcome[end.success].unique().numel()),
            simulator_steps=steps,
            objective=float(returns.mean()) / env.horizon,
            action_entropy=entropy,
            latent_probs=(1.0,),
            terms={key: value for key, value in logged.items() if key not in _CONSTANT},
        )

    def candidates(self) -> tuple[Tensor, Tensor]:
        """There is one latent only."""
        return torch.zeros(1, 1, dtype=torch.int64, device=self.like.device), self.like.new_ones(1)

    def extra_state(self) -> dict[str, Any]:
        return {name: _moments(statistics) for name, statistics in self._statistics.items()}

    def restore_extra_state(self, state: dict[str, Any]) -> None:
        for name, statistics in self._statistics.items():
            statistics.count = state[name]["count"]
            statistics.mean, statistics.var = (np.array(state[name][key]) for key in ("mean", "var"))

    @property
    def _statistics(self) -> dict[str, Any]:
        """The running statistics that normalise observations and rewards."""
        observations = {"observations": self.normalizer.obs_rms} if self.config.normalize_observations else {}
        return {**observations, "returns": self.normalizer.ret_rms}

    def features(self, observation: Tensor, step: int | Tensor) -> Tensor:
        """(B, O + 1) the networks' input for `observation` (B, O) at `step`, a number or (B,)."""
        time = torch.as_tensor(2 * step / self.env.horizon - 1).to(observation).expand(observation.shape[0])
        seen = torch.cat([observation, time.unsqueeze(1)], dim=1)
        if self.config.normalize_observations:
            statistics, limit = self.normalizer.obs_rms, self.normalizer.clip_obs
            mean, variance = (torch.as_tensor(value).to(seen) for value in (statistics.mean, statistics.var))
            seen = ((seen - mean) / (variance + self.normalizer.epsilon).sqrt()).clamp(-limit, limit)
        return seen.float()

    def action_std(self, iteration: int) -> float:
        return 1.0  # the library's own is used

    @contextmanager
    def _seeded(self) -> Iterator[None]:
        """Seed the global generators and that of the random actions from our own; restore the global ones at the end."""
        seed = int(torch.randint(2**31 - 1, (1,), generator=self.generator))
        python, numpy = random.getstate(), np.random.get_state()
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            try:
                random.seed(seed)
                np.random.seed(seed)
                torch.manual_seed(seed)
                self.normalizer.action_space.seed(seed)
                yield
            finally:
                random.setstate(python)
                np.random.set_state(numpy)


def _moments(statistics: Any) -> dict[str, Any]:
    """Running statistics as tensors and a number."""
    mean, var = (torch.tensor(value, dtype=torch.float64) for value in (statistics.mean, statistics.var))
    return {"mean": mean, "var": var, "count": float(statistics.count)}
