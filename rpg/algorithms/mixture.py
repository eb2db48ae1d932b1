"""A mixture of Gaussian policies with learned weights, without a posterior and hence without a bonus for diversity.

An iteration draws a component z for each environment, rolls out T steps, and takes one gradient step on

    E[ R/T ] + alpha_z H(weights)

(R in units of the returns' running spread) for the components through the simulator (pathwise) and for the weights by
REINFORCE. This is the Reparameterized Policy Gradient with beta = 0 from similar starts: comparing the two shows what the
posterior p_phi and different starts bring.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar, get_args

import torch
from torch import Tensor, nn

from rpg.algorithms.algorithm import Algorithm, AlgorithmConfig, bad_indices
from rpg.models.action_policy import PolicyName, configured_policy
from rpg.models.latent import LatentSpace, stratified_draws
from rpg.protocol import FixedHorizonEnvironment
from rpg.settings_checks import MOST_LATENTS, check_choice, check_int, check_positive, check_scale, check_weight
from rpg.training.gradient_estimators import pathwise_loss, score_function_loss, signal_to_noise
from rpg.training.metrics import IterationReport
from rpg.training.return_scale import ReturnScale
from rpg.training.rollout import rolled_out
from rpg.training.schedules import Schedule


@dataclass(frozen=True)
class MixtureConfig(AlgorithmConfig):
    """Settings of the mixture, named as those of RPG."""

    names: ClassVar[tuple[str, ...]] = ("mixture",)

    num_latents: int = 8
    """K, the number of components."""
    alpha_z: Schedule = field(default_factory=lambda: Schedule(0.3, 0.0, 0.3, 0.8))
    """Weight of the entropy of the mixture's weights, which keeps all components in use."""
    std: Schedule = field(default_factory=lambda: Schedule(0.3, 0.1))
    """Standard deviation of the action before squashing."""
    policy: PolicyName = "table"
    """A component is an open-loop action table, a closed-loop network with z as an input, or one with a point-set encoder."""
    policy_hidden: tuple[int, ...] = (64, 64)
    """Hidden widths of the closed-loop policy."""
    policy_learning_rate: float | None = None
    """Adam step of the components; None means 0.1 for the table and 0.01 for the network."""
    policy_rate_decay: Schedule = field(default_factory=lambda: Schedule(1.0, 0.1, 0.6, 1.0))
    """Factor on the components' Adam step."""
    latent_learning_rate: float = 0.03
    """Adam step of the weights' logits."""
    grad_clip: float = 1.0
    """Largest gradient norm, of the components and of the weights each."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_int("num_latents", self.num_latents, at_least=1, at_most=MOST_LATENTS)
        check_choice("policy", self.policy, get_args(PolicyName))
        check_weight("alpha_z", self.alpha_z)
        check_scale("std", self.std)
        check_scale("policy_rate_decay", self.policy_rate_decay)
        if self.policy_learning_rate is not None:
            check_positive("policy_learning_rate", self.policy_learning_rate)
        check_positive("latent_learning_rate", self.latent_learning_rate)
        check_positive("grad_clip", self.grad_clip)


class Weights(nn.Module):
    """A softmax over K logits, uniform at the start."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(count))

    def forward(self) -> Tensor:
        """(K,) log probabilities."""
        return torch.log_softmax(self.logits, dim=0)


class Mixture(Algorithm[MixtureConfig]):
    """A mixture of Gaussian policies; see the module's docstring."""

    needs_gradients = True

    def __init__(self, env: FixedHorizonEnvironment, config: MixtureConfig, like: Tensor) -> None:
        super().__init__(env, config, like)
        self.policy = configured_policy(
            config.policy,
            space=LatentSpace(True, config.num_latents),
            horizon=env.horizon,
            observation_dim=env.observation_dim,
            action_dim=env.action_dim,
            hidden=config.policy_hidden,
            points=getattr(env, "observation_points", None),
            generator=self.generator,
        ).to(like)
        self.weights = Weights(config.num_latents).to(like)
        self.scale = ReturnScale()
        self.modules = {"policy": self.policy, "weights": self.weights, "scale": self.scale}
        self.optimizers = {
            "policy": torch.optim.Adam(self.policy.parameter_groups(config.policy_learning_rate)),
            "weights": torch.optim.Adam(self.weights.parameters(), lr=config.latent_learning_rate),
        }
        self._baseline: Tensor | None = None  # mean objective of the last batch: the draws depend on each other
        self._rates = [group["lr"] for group in self.optimizers["policy"].param_groups]

    def iterate(self, iteration: int) -> IterationReport:
        env, config = self.env, self.config
        progress = self.progress(iteration)
        std, alpha_z = config.std.value(progress), config.alpha_z.value(progress)

        # A component for each environment, and its episode. The noise requires a gradient, which is the gradient of each
        # episode with respect to its actions.
        log_weights = self.weights()
        probs = log_weights.detach().exp()
        noise = self.standard_normal(env.horizon, env.num_envs, env.action_dim).requires_grad_()
        drawn = stratified_draws(probs.cpu().expand(env.num_envs, -1), self.generator)
        component = drawn.to(self.like.device)
        trajectory = rolled_out(
            env, self.policy, component.unsqueeze(0), state=env.reset(self.episode_seed(iteration)), std=std, noise=noise
        )
        self.check_finite("reward", trajectory.rewards.sum(0), iteration)
        self.check_differentiable(trajectory.rewards)
        assert trajectory.log_probs is not None

        # One gradient step: the components pathwise, the weights by REINFORCE on the reward and the entropy term -alpha_z log
        # pi(z).
        self.zero_grad()
        self.scale.update(trajectory.rewards.mean(0))
        reward = trajectory.rewards.mean(0) / self.scale.value
        log_prob = log_weights[component]
        objective = reward.detach() - alpha_z * log_prob.detach()
        score_function_loss(objective, log_prob, self._baseline).backward()
        self._baseline = objective.mean()
        with torch.autograd.set_multithreading_enabled(False):  # a simulator's backward may need this thread
            pathwise_loss(reward).backward()
        assert noise.grad is not None
        decay = config.policy_rate_decay.value(progress)
        for group, rate in zip(self.optimizers["policy"].param_groups, self._rates, strict=True):
            group["lr"] = rate * decay
        bad = bad_indices(noise.grad.permute(1, 0, 2))
        grad_norm = self.stepped("policy", iteration=iteration, limit=config.grad_clip, bad=bad)
        self.stepped("weights", iteration=iteration, limit=config.grad_clip)
        self.policy.observe(trajectory.observations)

        returns = trajectory.returns
        return IterationReport(
            return_mean=float(returns.mean()),
            return_best=max(float(returns[component == z].mean()) for z in component.unique()),
            success=float(trajectory.success.double().mean()),
            distinct_outcomes=trajectory.distinct_outcomes(),
            simulator_steps=env.num_envs * env.horizon,
            backward_steps=env.num_envs * env.horizon,
            objective=float(objective.mean()),
            action_entropy=-float(trajectory.log_probs.detach().mean()),
            latent_entropy=-float(probs @ log_weights.detach()),
            grad_norm=grad_norm,
            gradient_snr=signal_to_noise(noise.grad, component.unique(return_inverse=True)[1]),
            latent_probs=tuple(probs.tolist()),
            terms={
                "reward_term": float(reward.detach().mean()),
                "return_scale": self.scale.value,
                "std": std,
                "alpha_z": alpha_z,
            },
        )

    def action_std(self, iteration: int) -> float:
        return self.config.std.value(self.progress(iteration))

    def candidates(self) -> tuple[Tensor, Tensor]:
        """Every component."""
        probs = self.weights().detach().exp()
        return torch.arange(len(probs), device=probs.device).unsqueeze(0), probs

    def extra_state(self) -> dict[str, Any]:
        return {"baseline": self._baseline}

    def restore_extra_state(self, state: dict[str, Any]) -> None:
        self._baseline = state["baseline"]
