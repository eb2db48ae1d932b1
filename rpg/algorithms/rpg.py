"""The Reparameterized Policy Gradient (Huang et al., ICML 2023), top to bottom.

An iteration draws a latent z for each environment, rolls out T steps, and takes one gradient step on the
bound

    E[ R/T + beta log p_phi(z|tau) - alpha log pi(a|s,z) - alpha_z log pi(z|s1) ]

for pi(a|s,z) through the simulator (pathwise), by the score function where the simulator gives no gradient, or by the mix of
both with the least variance, and for pi(z|s1) by REINFORCE. Then p_phi is trained to infer z from tau.

With one latent there is nothing to infer, and this is the plain Gaussian policy gradient: `RPGConfig.gaussian()` (pathwise)
and `RPGConfig.reinforce()` (score function) are the baselines.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from rpg.algorithms.algorithm import Algorithm, AlgorithmConfig, bad_indices
from rpg.models.action_policy import POLICY_LEARNING_RATES, PolicyName, configured_policy, log_tanh_slope
from rpg.models.latent import LatentKind, LatentPrior, configured_prior
from rpg.models.posterior import Posterior, PosteriorInput, configured_posterior
from rpg.models.value import ValueFunction
from rpg.protocol import FixedHorizonEnvironment
from rpg.settings_checks import check_choice, check_int, check_positive, check_scale, check_weight
from rpg.training.gradient_estimators import (
    advantages,
    latent_groups,
    pathwise_loss,
    pathwise_weight,
    repeated_groups,
    score_function_loss,
    signal_to_noise,
    to_go,
)
from rpg.training.metrics import IterationReport
from rpg.training.objective import BoundTerms, BoundWeights, bound_terms
from rpg.training.rollout import Trajectory, latent_at, latent_steps, rolled_out
from rpg.training.schedules import Schedule

ActionGradient = Literal["pathwise", "score", "mixed"]


@dataclass(frozen=True)
class RPGConfig(AlgorithmConfig):
    """Settings of the Reparameterized Policy Gradient. They assume rewards of order 1 per step.

    The most important setting is `beta` relative to the range of the reward: too small, and all latents converge to one
    optimum; too large, and they maximise their differences instead of the reward.
    """

    names: ClassVar[tuple[str, ...]] = ("rpg", "gaussian", "reinforce")

    num_latents: int = 8
    """K, the number of latents, each of which can learn a solution; of a mixture, the number of components."""
    latent: LatentKind = "categorical"
    """pi(z|s1): learned softmax, one Gaussian, a mixture of Gaussians, or a softmax over running returns."""
    latent_dim: int = 2
    """Dimensions of a continuous latent."""
    latent_segments: int = 1
    """S: a sequence of S latents, drawn at the start, each used for T/S steps."""
    latent_hidden: tuple[int, ...] = ()
    """Hidden widths of a network from s1 to pi(z|s1); empty means that pi(z) does not depend on s1."""
    beta: Schedule = field(default_factory=lambda: Schedule(1.0, 0.0, 0.3, 0.8))
    """Weight of log p_phi(z|tau), the bonus for latents whose z can be inferred from the trajectory."""
    alpha: Schedule = field(default_factory=lambda: Schedule.constant(0.0))
    """Weight of the action entropy; with a fixed std its only effect is to keep tanh from saturating."""
    target_entropy: float | None = None
    """Entropy of an action, nats per dimension, that alpha is adapted to, from alpha's start; None follows the schedule."""
    alpha_z: Schedule = field(default_factory=lambda: Schedule(0.3, 0.0, 0.3, 0.8))
    """Weight of the latent entropy, which keeps all latents in use while they are being improved."""
    std: Schedule = field(default_factory=lambda: Schedule(0.3, 0.1))
    """Standard deviation of the action before squashing; if it is learned, its initial value."""
    learn_std: bool = False
    """Whether the std is learned; then alpha must be above 0, or the std vanishes."""
    action_gradient: ActionGradient = "pathwise"
    """Gradient of the actions: through the simulator, by the score function, or the mix with the least variance, per
    dimension. Pathwise falls back to the score function for dimensions that have never had a gradient from the simulator."""
    window: int | None = None
    """Steps after which the gradient is cut and a learned value takes over (SHAC, Xu et al. 2022); None for whole episodes."""
    value_hidden: tuple[int, ...] = (64, 64)
    """Hidden widths of that value."""
    value_learning_rate: float = 0.003
    """Adam step of that value."""
    value_updates: int = 8
    """Gradient steps of that value per iteration."""
    policy: PolicyName = "table"
    """An open-loop action table, a closed-loop network, or one with a point-set encoder."""
    table_spread: float = 0.01
    """Standard deviation, before squashing, of the actions that a table starts from. Near 0 all latents start alike and get
    the same gradients; near 1 they start with different motions. A single latent then starts with a random one."""
    table_knots: int | None = None
    """Number of knots of a table's start: random values at knots, interpolated linearly; None draws each step
    independently."""
    policy_hidden: tuple[int, ...] = (64, 64)
    """Hidden widths of the closed-loop policy."""
    policy_learning_rate: float | None = None
    """Adam step of the policy; None means 0.1 for the table and 0.01 for the network."""
    policy_rate_decay: Schedule = field(default_factory=lambda: Schedule(1.0, 0.1, 0.6, 1.0))
    """Factor on the policy's Adam step: large steps find a solution, small ones at the end make it precise."""
    latent_learning_rate: float = 0.03
    """Adam step of pi(z|s1)."""
    posterior_input: PosteriorInput = "states"
    """Input of p_phi for a step: the state after it, that state and the action, or that state as a set of points."""
    posterior_hidden: tuple[int, ...] = (64, 64)
    """Hidden widths of the posterior."""
    posterior_learning_rate: float = 0.01
    """Adam step of the posterior."""
    posterior_stride: int = 5
    """The posterior sees every n-th state of an episode."""
    posterior_updates: int = 1
    """Gradient steps of the posterior per iteration."""
    grad_clip: float = 1.0
    """Largest gradient norm, separately for the policy, the latent, the posterior and the value."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("policy", self.policy, get_args(PolicyName))
        check_choice("latent", self.latent, get_args(LatentKind))
        check_choice("action_gradient", self.action_gradient, get_args(ActionGradient))
        check_choice("posterior_input", self.posterior_input, get_args(PosteriorInput))
        for name in (
            "num_latents", "latent_dim", "latent_segments", "posterior_stride", "posterior_updates", "value_updates"
        ):  # fmt: skip
            check_int(name, getattr(self, name), at_least=1)
        check_positive("table_spread", self.table_spread)
        if self.table_knots is not None:
            check_int("table_knots", self.table_knots, at_least=1)
        if self.window is not None:
            check_int("window", self.window, at_least=1)
        rates = ("policy", "latent", "posterior", "value")
        for name in (*(f"{rate}_learning_rate" for rate in rates), "grad_clip"):
            if getattr(self, name) is not None:
                check_positive(name, getattr(self, name))
        for name in ("beta", "alpha", "alpha_z"):
            check_weight(name, getattr(self, name))
        for name in ("std", "policy_rate_decay"):
            check_scale(name, getattr(self, name))
        for name in ("policy_hidden", "posterior_hidden", "value_hidden", "latent_hidden"):
            for width in getattr(self, name):
                check_int(name, width, at_least=1)
        if self.target_entropy is not None and not self.learn_std:
            raise ValueError("target_entropy was given with learn_std False; allowed with learn_std True")
        if self.policy == "table" and self.latent in ("gaussian", "mixture"):
            raise ValueError(f"policy was given 'table' with latent {self.latent!r}; allowed are 'mlp' and 'points'")
        if self.algorithm != "rpg" and self.num_latents != 1:
            raise ValueError(f"num_latents was given {self.num_latents}; allowed with algorithm={self.algorithm!r} is 1")

    @property
    def policy_step(self) -> float:
        """The policy's learning rate, whether given or the default of its kind."""
        if self.policy_learning_rate is not None:
            return self.policy_learning_rate
        return POLICY_LEARNING_RATES[self.policy]

    def gaussian(self) -> "RPGConfig":
        """The one-Gaussian baseline of this run: one latent, hence no posterior, no bonus; all else equal."""
        zero = Schedule.constant(0.0)
        return replace(
            self, algorithm="gaussian", latent="categorical", num_latents=1, latent_segments=1, beta=zero, alpha_z=zero
        )

    def reinforce(self) -> "RPGConfig":
        """The one-Gaussian baseline with the score-function gradient: no gradient of the simulator is used."""
        return replace(self.gaussian(), algorithm="reinforce", action_gradient="score", window=None)


class RPG(Algorithm[RPGConfig]):
    """The Reparameterized Policy Gradient; see the module's docstring."""

    prior: LatentPrior

    def __init__(self, env: FixedHorizonEnvironment, config: RPGConfig, like: Tensor) -> None:
        super().__init__(env, config, like)
        points = getattr(env, "observation_points", None)
        self.prior = configured_prior(
            config.latent,
            num_latents=config.num_latents,
            dim=config.latent_dim,
            segments=config.latent_segments,
            observation_dim=env.observation_dim,
            hidden=config.latent_hidden,
            generator=self.generator,
        ).to(like)
        self.policy = configured_policy(
            config.policy,
            space=self.prior.space,
            horizon=env.horizon,
            observation_dim=env.observation_dim,
            action_dim=env.action_dim,
            hidden=config.policy_hidden,
            points=points,
            generator=self.generator,
            table_spread=config.table_spread,
            table_knots=config.table_knots,
        )
        if config.learn_std:
            self.policy.learn_std(env.action_dim, config.std.start)
        self.policy.to(like)
        self._add("policy", self.policy, config.policy_step)
        self._add("latent", self.prior, config.latent_learning_rate)
        self.posterior: Posterior | None = None  # with a single latent there is nothing to infer
        if config.num_latents > 1 or not self.prior.space.categorical:
            self.posterior = configured_posterior(
                config.posterior_input,
                space=self.prior.space,
                observation_dim=env.observation_dim,
                action_dim=env.action_dim,
                hidden=config.posterior_hidden,
                points=points,
                generator=self.generator,
            ).to(like)
            self._add("posterior", self.posterior, config.posterior_learning_rate)
        self.value: ValueFunction | None = None
        if config.window is not None and config.window < env.horizon:
            self.value = ValueFunction(
                self.prior.space,
                env.horizon,
                env.observation_dim,
                hidden=config.value_hidden,
                generator=self.generator,
            ).to(like)
            self._add("value", self.value, config.value_learning_rate)
        self._log_alpha = math.log(max(config.alpha.start, 1e-4))
        # action dimensions that have had a nonzero gradient from the simulator so far
        self._driven = torch.zeros(env.action_dim, dtype=torch.bool)

    def _add(self, name: str, module: nn.Module, rate: float) -> None:
        self.modules[name] = module
        if parameters := list(module.parameters()):
            self.optimizers[name] = torch.optim.Adam(parameters, lr=rate, fused=True)

    def iterate(self, iteration: int) -> IterationReport:
        env, config = self.env, self.config
        progress = self.progress(iteration)
        std = config.std.value(progress)
        alpha = config.alpha.value(progress) if config.target_entropy is None else math.exp(self._log_alpha)
        weights = BoundWeights(beta=config.beta.value(progress), alpha=alpha, alpha_z=config.alpha_z.value(progress))

        # A latent for each environment, and the noise that makes actions functions of the parameters. The noise requires a
        # gradient, which is the gradient of each episode with respect to its actions.
        state = env.reset(self.episode_seed(iteration))
        with torch.no_grad():
            first = env.observe(state)
        latent = self.prior.sample(first, self.generator)
        noise = self.standard_normal(env.horizon, env.num_envs, env.action_dim).requires_grad_()
        probs, latent_entropy = self.prior.probs(first).detach(), self.prior.entropy(first).detach()

        # The episodes, and the terms of the bound.
        trajectory = rolled_out(
            env,
            self.policy,
            latent,
            state=state,
            std=std,
            noise=noise,
            window=config.window,
            differentiable=config.action_gradient != "score",
        )
        self.check_finite("reward", trajectory.rewards.sum(0), iteration)
        steps = trajectory.sampled_steps(config.posterior_stride)
        seen = trajectory.features(steps, with_actions=config.posterior_input == "state_actions")
        seen_latent = latent_steps(latent, steps, env.horizon)
        latent_log_prob = self.prior.log_prob(latent, first)
        terms = bound_terms(
            rewards=trajectory.rewards,
            action_log_probs=trajectory.log_probs,
            latent_log_prob=latent_log_prob,
            posterior_log_prob=None if self.posterior is None else self.posterior.log_prob(seen, seen_latent),
            posterior_steps=steps,
        )
        for name, term in terms.named().items():
            self.check_finite(f"{name} term", term, iteration)

        # One step on the bound: pi(z|s1) by REINFORCE, pi(a|s,z) by its own estimator.
        self.zero_grad()
        bound = terms.total(weights).detach()
        if latent_log_prob.requires_grad:
            score_function_loss(bound, latent_log_prob).backward()
        action_gradient, driven = self._estimate_policy_gradient(trajectory, terms, weights, latent, noise, std)
        self.optimizers["policy"].param_groups[0]["lr"] = config.policy_step * config.policy_rate_decay.value(progress)
        bad = bad_indices(noise.grad.permute(1, 0, 2)) if noise.grad is not None else []
        grad_norm = self.stepped("policy", iteration=iteration, limit=config.grad_clip, bad=bad)
        if "latent" in self.optimizers:
            self.stepped("latent", iteration=iteration, limit=config.grad_clip)

        # Then the posterior, the value, the running means and scales, and alpha.
        losses = {}
        if self.posterior is not None:
            losses["posterior_loss"] = self._fit_posterior(self.posterior, seen.detach(), seen_latent, iteration)
        if self.value is not None:
            earned = to_go(terms.steps(weights))
            losses["value_loss"] = self._fit_value(self.value, trajectory, latent, earned, iteration)
        self.policy.observe(trajectory.observations)
        self.prior.observe(first, latent, bound, progress)
        named = {name: float(term.detach().mean()) for name, term in terms.named().items()}
        if config.target_entropy is not None:
            lack = config.target_entropy - named["action_entropy"] / env.action_dim
            self._log_alpha = min(max(self._log_alpha + 0.05 * max(-1.0, min(1.0, lack)), -12.0), 3.0)

        groups = latent_groups(latent)
        return IterationReport(
            return_mean=float(trajectory.returns.mean()),
            return_best=max(float(trajectory.returns[groups == g].mean()) for g in groups.unique()),
            success=float(trajectory.success.double().mean()),
            distinct_outcomes=trajectory.distinct_outcomes(),
            simulator_steps=env.num_envs * env.horizon,
            objective=float(bound.mean()),
            action_entropy=named["action_entropy"],
            latent_entropy=float(latent_entropy),
            grad_norm=grad_norm,
            gradient_snr=signal_to_noise(action_gradient, repeated_groups(groups)),
            latent_probs=tuple(probs.tolist()),
            terms={
                **{f"{name}_term": value for name, value in named.items()},
                **losses,
                "pathwise_share": driven,
                "std": float(torch.as_tensor(self.policy.std(std)).detach().mean()),
                "beta": weights.beta,
                "alpha": weights.alpha,
                "alpha_z": weights.alpha_z,
            },
        )

    def _estimate_policy_gradient(
        self,
        trajectory: Trajectory,
        terms: BoundTerms,
        weights: BoundWeights,
        latent: Tensor,
        noise: Tensor,
        std: float,
    ) -> tuple[Tensor, float]:
        """Put the estimate of the bound's gradient into `grad` of the policy's parameters.

        Returns the estimated gradient of each episode with respect to its actions before squashing, (T, B, A), and the share
        of the action dimensions whose gradient is pathwise.
        """
        env, config = self.env, self.config
        scale = torch.as_tensor(self.policy.std(std)).detach()
        steps = terms.steps(weights)
        pathwise = torch.zeros_like(noise)
        if config.action_gradient != "score":
            self._note_driven(trajectory, noise)
            objective = steps.sum(0)
            if self.value is not None:
                objective = objective + self._window_values(self.value, trajectory, latent)
            with torch.autograd.set_multithreading_enabled(False):  # a simulator's backward may need this thread
                pathwise_loss(objective).backward()
            if noise.grad is not None:
                pathwise = -env.num_envs * noise.grad / scale
            if config.action_gradient == "pathwise" and bool(self._driven.all()):
                return pathwise, 1.0

        # How each dimension is estimated: by the simulator's gradient (1) or by the score function (0).
        groups = latent_groups(latent)
        gain = advantages(to_go(steps), groups).unsqueeze(-1)
        score = gain * noise.detach() / scale
        driven = self._driven.to(noise)
        if config.action_gradient == "mixed":
            share = pathwise_weight(pathwise, score, repeated_groups(groups)) * driven
        else:
            share = driven if config.action_gradient == "pathwise" else torch.zeros_like(driven)

        # The chain rule at the visited states: the policy's gradient is that of sum_t gradient_t . u(s_t,z).
        self.optimizers["policy"].zero_grad()
        surrogate = noise.new_zeros(())
        for step in range(env.horizon):
            mean = self.policy.mean(trajectory.observations[step].detach(), latent_at(latent, step, env.horizon), step)
            spread = torch.as_tensor(self.policy.std(std))
            u = mean + spread * noise[step].detach()
            z = (u.detach() - mean) / spread
            log_density = -0.5 * z.square() - spread.log() - log_tanh_slope(u.detach())
            path = pathwise[step] * u + weights.alpha / env.horizon * spread.log()
            surrogate = surrogate + (share * path + (1 - share) * gain[step] * log_density).sum()
        (-surrogate / env.num_envs).backward()
        return share * pathwise + (1 - share) * score, float(share.mean())

    def _note_driven(self, trajectory: Trajectory, noise: Tensor) -> None:
        """Update the set of action dimensions that have had a gradient from the simulator, until it holds all of them."""
        if bool(self._driven.all()) or not trajectory.rewards.requires_grad:
            return
        with torch.autograd.set_multithreading_enabled(False):
            (grad,) = torch.autograd.grad(trajectory.rewards.sum(), noise, retain_graph=True, allow_unused=True)
        if grad is not None:
            self._driven = self._driven | (grad != 0).flatten(0, 1).any(0).cpu()

    def _window_values(self, value: ValueFunction, trajectory: Trajectory, latent: Tensor) -> Tensor:
        """(B,) sum of the values of the states at the ends of all windows but the last."""
        horizon = self.env.horizon
        ends = range(self.config.window or horizon, horizon, self.config.window or horizon)
        values = [value.frozen(trajectory.observations[end], latent_at(latent, end, horizon), end) for end in ends]
        return torch.stack(values).sum(0)

    def _fit_posterior(self, posterior: Posterior, seen: Tensor, latent: Tensor, iteration: int) -> float:
        """Gradient steps on -log p_phi(z|tau) for detached `seen` (T', B, F); returns the first loss."""
        posterior.observe(seen)
        losses = []
        for _ in range(self.config.posterior_updates):
            self.optimizers["posterior"].zero_grad()
            loss = posterior.training_loss(seen, latent)
            loss.backward()
            self.stepped("posterior", iteration=iteration, limit=self.config.grad_clip)
            losses.append(float(loss.detach()))
        return losses[0]

    def _fit_value(self, value: ValueFunction, trajectory: Trajectory, latent: Tensor, earned: Tensor, iteration: int) -> float:
        """Gradient steps of V towards the rewards to go, `earned` (T, B); returns the first loss."""
        observations = trajectory.observations[:-1].detach()
        value.observe(observations, earned)
        latents = [latent_at(latent, step, self.env.horizon) for step in range(self.env.horizon)]
        losses = []
        for _ in range(self.config.value_updates):
            self.optimizers["value"].zero_grad()
            loss = value.loss(observations, latents, earned)
            loss.backward()
            self.stepped("value", iteration=iteration, limit=self.config.grad_clip)
            losses.append(float(loss.detach()))
        return losses[0]

    def action_std(self, iteration: int) -> float:
        return self.config.std.value(self.progress(iteration))

    def candidates(self) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            first = self.env.observe(self.env.reset(self.config.seed))
            return self.prior.candidates(first, 32, torch.Generator().manual_seed(self.config.seed))

    def extra_state(self) -> dict[str, Any]:
        return {"log_alpha": self._log_alpha, "driven": self._driven.tolist()}

    def restore_extra_state(self, state: dict[str, Any]) -> None:
        self._log_alpha = state["log_alpha"]
        self._driven = torch.tensor(state["driven"], dtype=torch.bool)
