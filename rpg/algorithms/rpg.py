"""The Reparameterized Policy Gradient (Huang et al., ICML 2023), top to bottom.

An iteration draws a latent z for each environment, rolls out T steps, and takes one gradient step on

    E[ R/T + beta (log p_phi(z|tau) - log pi(z|s1)) - alpha log pi(a|s,z) + alpha_z (log p0(z) - log pi(z|s1)) ]

for pi(a|s,z) through the simulator (pathwise), by the score function where the simulator gives no gradient, or by the mix of
both with the least error, and for pi(z|s1) by REINFORCE. Then p_phi is trained to infer z from tau. R is in units of the
returns' running spread. `rpg/training/objective.py` has the terms.

With one latent there is nothing to infer, and this is the plain Gaussian policy gradient: `RPGConfig.gaussian()` (pathwise)
and `RPGConfig.reinforce()` (score function) are the baselines.
"""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from rpg.algorithms.algorithm import Algorithm, AlgorithmConfig, bad_indices
from rpg.models.action_policy import PolicyName, configured_policy, log_tanh_slope
from rpg.models.latent import LatentKind, LatentPrior, configured_prior, frequent
from rpg.models.posterior import Posterior, PosteriorInput, configured_posterior
from rpg.models.value import ValueFunction
from rpg.protocol import FixedHorizonEnvironment
from rpg.settings_checks import MOST_LATENTS, check_choice, check_int, check_positive, check_scale, check_weight
from rpg.training.gradient_estimators import (
    MixingMoments,
    advantages,
    latent_groups,
    limited_episodes,
    mixing_moments,
    pathwise_loss,
    repeated_groups,
    score_function_loss,
    signal_to_noise,
    to_go,
)
from rpg.training.metrics import IterationReport
from rpg.training.multiplier import Multiplier
from rpg.training.objective import BoundTerms, BoundWeights, bound_terms, member_starts
from rpg.training.return_scale import ReturnScale
from rpg.training.rollout import Trajectory, latent_at, latent_steps, rolled_out
from rpg.training.schedules import Schedule

ActionGradient = Literal["pathwise", "score", "mixed"]


@dataclass(frozen=True)
class RPGConfig(AlgorithmConfig):
    """Settings of the Reparameterized Policy Gradient.

    Returns are measured in units of their spread, so no setting depends on the reward's. The most important one is `beta`: too
    small, and latents converge to one optimum; too large, and they maximise their differences instead of the reward.
    """

    names: ClassVar[tuple[str, ...]] = ("rpg", "gaussian", "reinforce")

    num_latents: int | None = None
    """K, the number of latents, each of which can learn a solution; of a mixture, the number of components. None: one for each
    environment, at most 64, if all gradients are pathwise; else, since the score function compares episodes of a latent, and
    for mixtures, one for every four environments, at most 8."""
    latent: LatentKind = "categorical"
    """pi(z|s1): learned softmax, one Gaussian, a mixture of Gaussians, or a softmax over running returns."""
    latent_dim: int = 2
    """Dimensions of a continuous latent."""
    latent_segments: int = 1
    """S: a sequence of S latents, drawn at the start, each used for T/S steps."""
    latent_chain: bool = False
    """Whether each member of a sequence is drawn when its turn comes, given the state then and the member before."""
    latent_hidden: tuple[int, ...] = ()
    """Hidden widths of a network from s1 to pi(z|s1); empty means that pi(z) does not depend on s1."""
    normalize_returns: bool = True
    """Whether returns are divided by the running spread of R/T; without, settings depend on the reward's scale."""
    beta: Schedule = field(default_factory=lambda: Schedule(0.3, 0.0, 0.3, 0.8))
    """Weight of the information that a trajectory has about its latent: the bonus for latents that can be told apart."""
    alpha: Schedule = field(default_factory=lambda: Schedule.constant(0.0))
    """Weight of the action entropy; with a fixed std its only effect is to keep tanh from saturating."""
    target_entropy: float | None = None
    """Entropy of an action, nats per dimension, that alpha is adapted to, from alpha's start or, if that is 0, from 0.1; None
    follows the schedule."""
    alpha_z: Schedule = field(default_factory=lambda: Schedule(1.0, 0.0, 0.6, 1.0))
    """Weight of pi(z|s1)'s divergence from equally probable choices or N(0, 1): keeps all latents in use while they are being
    improved."""
    std: Schedule = field(default_factory=lambda: Schedule(0.1, 0.01))
    """Standard deviation of the action before squashing; if it is learned, its initial value."""
    learn_std: bool = False
    """Whether the std is learned; then alpha must be above 0, or the std vanishes."""
    action_gradient: ActionGradient = "pathwise"
    """Gradient of the actions: through the simulator, by the score function, or the mix with the least error, per
    dimension. Pathwise falls back to the score function for dimensions that have never had a gradient from the simulator."""
    window: int | None = None
    """Steps after which the gradient is cut and a learned value takes over (SHAC, Xu et al. 2022); None for whole episodes."""
    value_hidden: tuple[int, ...] = (64, 64)
    """Hidden widths of that value."""
    value_learning_rate: float = 0.003
    """Adam step of that value."""
    value_updates: int = 8
    """Gradient steps of that value per iteration."""
    policy: PolicyName = "feedback"
    """Open-loop action sequences, such sequences with a network that corrects them by what it observes, a network alone, or one
    with a point-set encoder."""
    start_spread: float = 1.0
    """Standard deviation, before squashing, of the actions that latents start from. Near 0 all start alike and get the same
    gradients; near 1 they start with different motions. A single latent of a table then starts with a random one."""
    start_knots: int | None = 6
    """Number of knots of the start of a table or a feedback policy: random values at knots, interpolated linearly; None draws
    each step independently."""
    policy_hidden: tuple[int, ...] = (64, 64)
    """Hidden widths of the closed-loop policy."""
    policy_learning_rate: float | None = None
    """Adam step of the policy; None means 0.1 for a table and 0.01 for a network."""
    feedback_ramp: Schedule = field(default_factory=lambda: Schedule(0.0, 1.0, 0.2, 0.4))
    """Factor on the Adam step of a feedback policy's network: first the sequences part ways, which one network for all of them
    could not follow, then it learns to correct them."""
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
    episode_clip: float | None = 10.0
    """Largest norm of one episode's pathwise gradient, in medians of the batch's, so that an episode whose gradient explodes
    does not use up `grad_clip` for all; None: no limit."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("policy", self.policy, get_args(PolicyName))
        check_choice("latent", self.latent, get_args(LatentKind))
        check_choice("action_gradient", self.action_gradient, get_args(ActionGradient))
        check_choice("posterior_input", self.posterior_input, get_args(PosteriorInput))
        for name in ("latent_dim", "latent_segments", "posterior_stride", "posterior_updates", "value_updates"):
            check_int(name, getattr(self, name), at_least=1)
        if self.num_latents is not None:
            check_int("num_latents", self.num_latents, at_least=1, at_most=MOST_LATENTS)
        check_positive("start_spread", self.start_spread)
        if self.start_knots is not None:
            check_int("start_knots", self.start_knots, at_least=1)
        if self.window is not None:
            check_int("window", self.window, at_least=1)
        rates = ("policy", "latent", "posterior", "value")
        for name in (*(f"{rate}_learning_rate" for rate in rates), "grad_clip", "episode_clip"):
            if getattr(self, name) is not None:
                check_positive(name, getattr(self, name))
        for name in ("beta", "alpha", "alpha_z", "feedback_ramp"):
            check_weight(name, getattr(self, name))
        for name in ("std", "policy_rate_decay"):
            check_scale(name, getattr(self, name))
        if self.target_entropy is not None and not self.learn_std:
            raise ValueError("target_entropy was given with learn_std False; allowed with learn_std True")
        if self.policy in ("table", "feedback") and self.latent in ("gaussian", "mixture"):
            raise ValueError(f"policy was given {self.policy!r} with latent {self.latent!r}; allowed are 'mlp' and 'points'")
        if self.algorithm != "rpg" and self.num_latents != 1:
            raise ValueError(f"num_latents was given {self.num_latents}; allowed with algorithm={self.algorithm!r} is 1")

    def gaussian(self) -> "RPGConfig":
        """The one-Gaussian baseline of this run: one latent, hence no posterior and no bonus, from actions near 0; all else
        equal."""
        zero = Schedule.constant(0.0)
        return replace(
            self, algorithm="gaussian", latent="categorical", num_latents=1, latent_segments=1, latent_chain=False,
            start_spread=0.01, beta=zero, alpha_z=zero,
        )  # fmt: skip

    def reinforce(self) -> "RPGConfig":
        """The one-Gaussian baseline with the score-function gradient, which needs noise to learn from: no gradient of the
        simulator is used."""
        return replace(self.gaussian(), algorithm="reinforce", action_gradient="score", window=None, std=Schedule(0.3, 0.1))


class RPG(Algorithm[RPGConfig]):
    """The Reparameterized Policy Gradient; see the module's docstring."""

    prior: LatentPrior

    def __init__(self, env: FixedHorizonEnvironment, config: RPGConfig, like: Tensor) -> None:
        super().__init__(env, config, like)
        points = getattr(env, "observation_points", None)
        num_latents = config.num_latents
        if num_latents is None:
            alone = config.action_gradient == "pathwise" and config.latent != "mixture"
            num_latents = min(env.num_envs, 64) if alone else max(1, min(env.num_envs // 4, 8))
        self.prior = configured_prior(
            config.latent,
            num_latents=num_latents,
            dim=config.latent_dim,
            segments=config.latent_segments,
            chain=config.latent_chain,
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
            start_spread=config.start_spread,
            start_knots=config.start_knots,
        )
        if config.learn_std:
            self.policy.learn_std(env.action_dim, config.std.start)
        self.policy.to(like)
        self.modules["policy"] = self.policy
        self.optimizers["policy"] = torch.optim.Adam(self.policy.parameter_groups(config.policy_learning_rate), fused=True)
        self._rates = [group["lr"] for group in self.optimizers["policy"].param_groups]
        self._add("latent", self.prior, config.latent_learning_rate)
        self.posterior: Posterior | None = None  # with a single latent there is nothing to infer
        if num_latents > 1 or not self.prior.space.categorical:
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
        self.scale = ReturnScale()
        self.modules["scale"] = self.scale
        self._alpha = Multiplier(config.alpha.start or 0.1)
        self._baseline: Tensor | None = None  # (S, 1) mean objective of the last batch, what z is judged against
        self._mixing: MixingMoments | None = None
        self._sequences: Tensor | None = None  # (S, B, ...) the last batch's, of a chain
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
        alpha = config.alpha.value(progress) if config.target_entropy is None else self._alpha.value
        weights = BoundWeights(beta=config.beta.value(progress), alpha=alpha, alpha_z=config.alpha_z.value(progress))

        # A latent for each environment, and the noise that makes actions functions of the parameters. The noise requires a
        # gradient, which is the gradient of each episode with respect to its actions.
        state = env.reset(self.episode_seed(iteration))
        with torch.no_grad():
            first = env.observe(state)
        noise = self.standard_normal(env.horizon, env.num_envs, env.action_dim).requires_grad_()

        # The episodes, and the terms of the objective.
        trajectory = rolled_out(
            env,
            self.policy,
            self._draw_member if self.prior.chain else self.prior.sample(first, self.generator),
            segments=self.prior.segments,
            state=state,
            std=std,
            noise=noise,
            window=config.window,
            differentiable=config.action_gradient != "score",
            log_probs=alpha > 0 or config.learn_std,
        )
        latent = trajectory.latent
        self.check_finite("reward", trajectory.rewards.sum(0), iteration)
        if config.normalize_returns:
            self.scale.update(trajectory.rewards.mean(0))
        steps = trajectory.sampled_steps(config.posterior_stride)
        seen = trajectory.features(steps, with_actions=config.posterior_input == "state_actions")
        seen_latent = latent_steps(latent, steps, env.horizon)
        guess = None  # log p_phi(z|tau), where it counts
        if self.posterior is not None and weights.beta > 0:
            guess = self.posterior.log_prob(seen, seen_latent)
        starts = trajectory.member_observations() if self.prior.chain else first
        latent_log_prob = self.prior.log_prob(latent, starts)
        terms = bound_terms(
            rewards=trajectory.rewards / self.scale.value,
            action_log_probs=trajectory.log_probs,
            latent_log_prob=latent_log_prob,
            latent_reference=self.prior.reference_log_prob(latent),
            posterior_log_prob=guess,
            posterior_steps=steps,
        )
        by_name = {name: term.detach() for name, term in terms.named().items()}
        for name, term in by_name.items():
            self.check_finite(f"{name} term", term, iteration)

        # One step on it: pi(z|s1) by REINFORCE, pi(a|s,z) by its own estimator.
        self.zero_grad()
        objective = terms.still_to_come(weights)
        if latent_log_prob.requires_grad:
            stratified = self.prior.space.categorical  # draws that depend on each other need a baseline from elsewhere
            score_function_loss(objective, latent_log_prob, self._baseline if stratified else None).backward()
        self._baseline = objective.mean(-1, keepdim=True)
        action_gradient, driven, limited = self._estimate_policy_gradient(trajectory, terms, weights, noise, std)
        decay, ramp = config.policy_rate_decay.value(progress), config.feedback_ramp.value(progress)
        for group, rate in zip(self.optimizers["policy"].param_groups, self._rates, strict=True):
            feedback = config.policy == "feedback" and group["name"] == "network"
            group["lr"] = rate * decay * (ramp if feedback else 1.0)
        bad = bad_indices(noise.grad.permute(1, 0, 2)) if noise.grad is not None else []
        grad_norm = self.stepped("policy", iteration=iteration, limit=config.grad_clip, bad=bad)
        with torch.no_grad():
            probs, latent_entropy = self.prior.probs(first), float(self.prior.entropy(latent, starts))
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
        rewards_to_go = to_go(trajectory.rewards)[member_starts(len(latent), env.horizon)]
        self.prior.observe(starts, latent, rewards_to_go, progress)
        if self.prior.chain:
            self._sequences = latent
        named = {name: float(term.mean()) for name, term in by_name.items()}
        if config.target_entropy is not None:
            self._alpha.update(config.target_entropy - named["action_entropy"] / env.action_dim)

        groups = latent_groups(latent)
        sizes = torch.bincount(groups)
        by_latent = torch.zeros(len(sizes)).to(self.like).index_add(0, groups, trajectory.returns) / sizes
        return IterationReport(
            return_mean=float(trajectory.returns.mean()),
            return_best=float(by_latent.max()),
            success=float(trajectory.success.double().mean()),
            distinct_outcomes=trajectory.distinct_outcomes(),
            simulator_steps=env.num_envs * env.horizon,
            backward_steps=0 if config.action_gradient == "score" else env.num_envs * env.horizon,
            objective=float(objective[0].mean()),
            action_entropy=named.get("action_entropy", 0.0),
            latent_entropy=latent_entropy,
            grad_norm=grad_norm,
            gradient_snr=signal_to_noise(action_gradient, repeated_groups(groups)),
            latent_probs=tuple(probs.tolist()),
            terms={
                **{f"{name}_term": value for name, value in named.items()},
                **losses,
                "return_scale": self.scale.value,
                "pathwise_share": driven,
                "limited_share": limited,
                "std": float(torch.as_tensor(self.policy.std(std)).detach().mean()),
                "beta": weights.beta,
                "alpha": weights.alpha,
                "alpha_z": weights.alpha_z,
            },
        )

    def _draw_member(self, member: int, observation: Tensor, before: Tensor | None) -> Tensor:
        """A member of a chain of latents."""
        return self.prior.sample_member(member, observation.detach(), before, self.generator)

    def _estimate_policy_gradient(
        self, trajectory: Trajectory, terms: BoundTerms, weights: BoundWeights, noise: Tensor, std: float
    ) -> tuple[Tensor, float, float]:
        """Put the estimate of the objective's gradient into `grad` of the policy's parameters.

        Returns the estimated gradient of each episode with respect to its actions before squashing, (T, B, A), the share of
        the action dimensions whose gradient is pathwise, and the share of the episodes whose pathwise gradient was limited.
        """
        env, config, latent = self.env, self.config, trajectory.latent
        scale = torch.as_tensor(self.policy.std(std)).detach()
        steps = terms.steps(weights)
        pathwise, limited = torch.zeros_like(noise), 0.0
        if config.action_gradient != "score":
            self._note_driven(trajectory, noise)
            objective = steps.sum(0)
            if self.value is not None:
                objective = objective + self._window_values(self.value, trajectory, latent)
            if objective.requires_grad:
                with torch.autograd.set_multithreading_enabled(False):  # a simulator's backward may need this thread
                    pathwise_loss(objective).backward()
            if noise.grad is not None:
                pathwise = -env.num_envs * noise.grad / scale
            if config.episode_clip is not None:
                # An episode is scaled as a whole: an exploding factor reaches all of its actions up to where it arises. The
                # parameters' gradient is linear in these dJ/du_t, which hold what comes back through what later steps
                # observe, so the chain rule below gives that of the limited episodes without the simulator.
                pathwise, outliers = limited_episodes(pathwise, config.episode_clip)
                limited = float(outliers.double().mean())
            if config.action_gradient == "pathwise" and bool(self._driven.all()) and limited == 0:
                return pathwise, 1.0, limited

        # How each dimension is estimated: by the simulator's gradient (1) or by the score function (0).
        groups = latent_groups(latent)
        gain = advantages(to_go(steps), groups).unsqueeze(-1)
        score = gain * noise.detach() / scale
        share = self._driven.to(noise)
        if config.action_gradient == "mixed":
            moments = mixing_moments(pathwise, score, repeated_groups(groups))
            self._mixing = moments.averaged(self._mixing, 0.1)
            share = share * self._mixing.pathwise_weight()
        elif config.action_gradient == "score":
            share = torch.zeros_like(share)

        # The chain rule at the visited states: the policy's gradient is that of sum_t gradient_t . u(s_t,z).
        self.optimizers["policy"].zero_grad()
        times = torch.arange(env.horizon, device=noise.device)
        latents = latent_steps(latent, times, env.horizon)
        mean = self.policy.mean(trajectory.observations[:-1].detach(), latents, times.unsqueeze(1).expand(latents.shape[:2]))
        spread = torch.as_tensor(self.policy.std(std))
        u = mean + spread * noise.detach()
        z = (u.detach() - mean) / spread
        log_density = -0.5 * z.square() - spread.log() - log_tanh_slope(u.detach())
        path = pathwise * u + weights.alpha / env.horizon * spread.log()
        (-(share * path + (1 - share) * gain * log_density).sum() / env.num_envs).backward()
        return share * pathwise + (1 - share) * score, float(share.mean()), limited

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
        if self._sequences is not None:
            return frequent(self._sequences, 32)
        with torch.no_grad():
            first = self.env.observe(self.env.reset(self.config.seed))
            return self.prior.candidates(first, 32, torch.Generator().manual_seed(self.config.seed))

    def extra_state(self) -> dict[str, Any]:
        return {
            "alpha": self._alpha.state(),
            "driven": self._driven.tolist(),
            "baseline": self._baseline,
            "mixing": None if self._mixing is None else list(self._mixing),
            "sequences": self._sequences,
        }

    def restore_extra_state(self, state: dict[str, Any]) -> None:
        self._alpha.restore(state["alpha"])
        self._driven = torch.tensor(state["driven"], dtype=torch.bool)
        self._baseline, self._sequences = state["baseline"], state["sequences"]
        self._mixing = None if state["mixing"] is None else MixingMoments(*state["mixing"])
