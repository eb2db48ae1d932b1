"""PPO and SAC of stable-baselines3 (needs the extra `baselines`): reinforcement learning without simulator gradients.

An iteration is one episode of every environment and the library's updates on it. The library uses the global random
generators of Python, numpy and torch; for each iteration they are seeded from the algorithm's own generator, and restored
after it, so a run depends on its seed only.
"""

import importlib
import random
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from rpg.algorithms.algorithm import Algorithm, AlgorithmConfig, NotFiniteError
from rpg.models.action_policy import ActionPolicy
from rpg.models.latent import LatentSpace
from rpg.protocol import FixedHorizonEnvironment
from rpg.settings_checks import SettingError, check_fraction, check_int, check_not_negative, check_positive
from rpg.training.metrics import IterationReport

_CONSTANT = ("learning_rate", "clip_range", "n_updates")  # not reported: meaningless here, or not restored on resuming


@dataclass(frozen=True)
class SB3Config(AlgorithmConfig):
    """The settings that PPO and SAC share. Their defaults assume rewards of order 1 per step."""

    policy_hidden: tuple[int, ...] = (64, 64)
    """Hidden widths of the policy and of the values."""
    learning_rate: float = 0.001
    """Adam step of the policy and of the values."""
    discount: float = 0.99
    """Discount per step."""
    normalize_observations: bool = True
    """Whether observations are normalised to mean 0 and standard deviation 1, by running statistics."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for width in self.policy_hidden:
            check_int("policy_hidden", width, at_least=1)
        check_positive("learning_rate", self.learning_rate)
        check_fraction("discount", self.discount)


@dataclass(frozen=True)
class PPOConfig(SB3Config):
    """Settings of proximal policy optimisation (Schulman et al. 2017)."""

    names: ClassVar[tuple[str, ...]] = ("ppo",)

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
        for name in ("start_std", "clip_range", "grad_clip"):
            check_positive(name, getattr(self, name))
        check_fraction("gae_lambda", self.gae_lambda)
        check_not_negative("entropy_weight", self.entropy_weight)


@dataclass(frozen=True)
class SACConfig(SB3Config):
    """Settings of the soft actor-critic (Haarnoja et al. 2018), with the temperature adapted to an entropy of -A nats. The
    replay buffer keeps all steps of the run: 4 (2 O + A + 5) bytes each.
    """

    names: ClassVar[tuple[str, ...]] = ("sac",)

    random_iterations: int = 2
    """Iterations at the start with uniform random actions and without updates."""
    gradient_steps: int = 64
    """Gradient steps per iteration."""
    batch_size: int = 256
    """Steps drawn from the replay buffer for each gradient step."""
    target_rate: float = 0.005
    """Fraction of the way that the target network moves to the value network with each gradient step."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_int("random_iterations", self.random_iterations, at_least=0)
        check_int("gradient_steps", self.gradient_steps, at_least=1)
        check_int("batch_size", self.batch_size, at_least=1)
        check_fraction("target_rate", self.target_rate)


class MeanAction(ActionPolicy):
    """The library's deterministic policy as an `ActionPolicy`, with one latent."""

    def __init__(self, network: nn.Module, act: Callable[[Tensor], Tensor], features: Callable[[Tensor, int], Tensor]) -> None:
        super().__init__(LatentSpace(True, 1))
        self.network, self._act, self._features = network, act, features

    def mean(self, observation: Tensor, latent: Tensor, step: int) -> Tensor:
        limit = 1 - 1e-6  # beyond it atanh is not finite in single precision
        return torch.atanh(self._act(self._features(observation, step)).clamp(-limit, limit)).to(observation)


Config = TypeVar("Config", bound=SB3Config)


class SB3(Algorithm[Config]):
    """The parts that PPO and SAC share."""

    def __init__(self, env: FixedHorizonEnvironment, config: Config, like: Tensor) -> None:
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
        self._with_time = vector_env.with_time
        self.vector_env = vector_env.VectorEnv(env, self.episode_seed)
        self.normalizer = sb3.common.vec_env.VecNormalize(
            self.vector_env,
            norm_obs=config.normalize_observations,
            norm_reward=getattr(config, "normalize_rewards", False),
            gamma=config.discount,
        )
        with self._seeded(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on the sizes of mini-batches and on small networks on a GPU
            self.model = self._build(sb3)
        self.model.set_logger(sb3.common.logger.Logger(folder=None, output_formats=[]))

    @abstractmethod
    def _build(self, sb3: Any) -> Any:
        """The library's algorithm."""

    @abstractmethod
    def _entropy(self) -> float:
        """Entropy of the latest batch's actions, nats per step."""

    @property
    def _common(self) -> dict[str, Any]:
        """The shared settings, by their names in the library."""
        config = self.config
        return {
            "learning_rate": config.learning_rate,
            "gamma": config.discount,
            "policy_kwargs": {"net_arch": list(config.policy_hidden)},
            "device": self.like.device,
        }

    def iterate(self, iteration: int) -> IterationReport:
        env, model = self.env, self.model
        steps = env.num_envs * env.horizon
        self.vector_env.start(iteration)
        model.num_timesteps = iteration * steps
        model._last_obs = None  # so that `learn` begins with a reset
        model.logger.name_to_value.clear()
        with self._seeded():
            model.learn(steps, reset_num_timesteps=False)
            entropy = self._entropy()
        for name, module in self.modules.items():
            if not all(bool(value.isfinite().all()) for value in module.state_dict().values()):
                raise NotFiniteError(f"iteration {iteration}: the {name} is not finite")
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

    def _features(self, observation: Tensor, step: int) -> Tensor:
        """(B, O + 1) the networks' input for `observation` (B, O)."""
        seen = self.normalizer.normalize_obs(self._with_time(observation, step, self.env.horizon))
        return torch.as_tensor(seen, device=self.like.device)

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


class PPO(SB3[PPOConfig]):
    """Proximal policy optimisation. Its Gaussian is not squashed: actions are clipped."""

    def __init__(self, env: FixedHorizonEnvironment, config: PPOConfig, like: Tensor) -> None:
        super().__init__(env, config, like)
        network = self.model.policy
        self.policy = MeanAction(network, lambda seen: network._predict(seen, deterministic=True), self._features)
        self.modules["policy"] = self.policy
        self.optimizers["policy"] = network.optimizer

    def _build(self, sb3: Any) -> Any:
        config, common = self.config, self._common
        common["policy_kwargs"]["log_std_init"] = float(np.log(config.start_std))
        return sb3.PPO(
            "MlpPolicy",
            self.normalizer,
            n_steps=self.env.horizon,
            batch_size=max(2, -(-self.env.num_envs * self.env.horizon // config.minibatches)),
            n_epochs=config.epochs,
            gae_lambda=config.gae_lambda,
            clip_range=config.clip_range,
            ent_coef=config.entropy_weight,
            max_grad_norm=config.grad_clip,
            **common,
        )

    def _entropy(self) -> float:
        """Entropy of the Gaussian after the iteration's updates, before clipping."""
        return float((self.model.policy.log_std.detach() + 0.5 * np.log(2 * np.pi * np.e)).sum())


class SAC(SB3[SACConfig]):
    """The soft actor-critic. Its replay buffer is as large as the run, so its contents are never overwritten."""

    def __init__(self, env: FixedHorizonEnvironment, config: SACConfig, like: Tensor) -> None:
        super().__init__(env, config, like)
        model = self.model
        self.policy = MeanAction(model.actor, lambda seen: model.actor(seen, deterministic=True), self._features)
        self.modules = {"policy": self.policy, "values": model.critic, "target values": model.critic_target}
        self.optimizers = {"policy": model.actor.optimizer, "values": model.critic.optimizer}

    def _build(self, sb3: Any) -> Any:
        config, env = self.config, self.env
        steps = env.num_envs * env.horizon
        return sb3.SAC(
            "MlpPolicy",
            self.normalizer,
            buffer_size=config.iterations * steps + env.num_envs,  # one more than is filled, so that it never wraps
            learning_starts=config.random_iterations * steps,
            train_freq=(env.horizon, "step"),
            gradient_steps=config.gradient_steps,
            batch_size=config.batch_size,
            tau=config.target_rate,
            **self._common,
        )

    def _entropy(self) -> float:
        """Entropy of the policy after the iteration's updates, at the states of the batch."""
        buffer = self.model.replay_buffer
        seen = buffer.observations[buffer.pos - self.env.horizon : buffer.pos].reshape(-1, self.env.observation_dim + 1)
        with torch.no_grad():
            normal = torch.as_tensor(self.normalizer.normalize_obs(seen), device=self.like.device)
            return -float(self.model.actor.action_log_prob(normal)[1].mean())

    def extra_state(self) -> dict[str, Any]:
        model = self.model
        return {
            **super().extra_state(),
            "log_temperature": model.log_ent_coef.detach(),
            "temperature_optimizer": model.ent_coef_optimizer.state_dict(),
        }

    def restore_extra_state(self, state: dict[str, Any]) -> None:
        super().restore_extra_state(state)
        with torch.no_grad():
            self.model.log_ent_coef.copy_(state["log_temperature"])
        self.model.ent_coef_optimizer.load_state_dict(state["temperature_optimizer"])

    def state(self) -> dict[str, Any]:
        """The replay buffer is referenced, not copied: rows are only ever added to it."""
        buffer = self.model.replay_buffer
        replay = {name: torch.from_numpy(array[: buffer.pos]) for name, array in _arrays(buffer).items()}
        return {**super().state(), "replay": replay}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        buffer = self.model.replay_buffer
        buffer.pos = len(state["replay"]["rewards"])
        for name, array in _arrays(buffer).items():
            array[: buffer.pos] = state["replay"][name].numpy()


def _moments(statistics: Any) -> dict[str, Any]:
    """Running statistics as tensors and a number."""
    mean, var = (torch.tensor(value, dtype=torch.float64) for value in (statistics.mean, statistics.var))
    return {"mean": mean, "var": var, "count": float(statistics.count)}


def _arrays(buffer: Any) -> dict[str, Any]:
    """The arrays of a replay buffer, (steps, B, ...) each, without time-outs, of which there are none."""
    names = ("observations", "next_observations", "actions", "rewards", "dones")
    return {name: getattr(buffer, name) for name in names}
