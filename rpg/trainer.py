"""The Reparameterized Policy Gradient (Huang et al., ICML 2023), top to bottom.

An iteration draws a latent z for each environment, rolls out T steps, and takes one gradient step on the
bound

    E[ R/T + beta log p_phi(z|tau) - alpha log pi(a|s,z) - alpha_z log pi(z|s1) ]

for pi(a|s,z) through the simulator (pathwise) and for pi(z|s1) by REINFORCE. Then p_phi learns to tell z from
tau.
"""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rpg.action_policy import configured_policy
from rpg.checkpoint import CHECKPOINT_NAME, Checkpoint, load_checkpoint, save_checkpoint
from rpg.config import RPGConfig
from rpg.evaluation import LatentEvaluation, evaluate_latents
from rpg.gradient import clipped_gradient_norm, pathwise_loss, score_function_loss
from rpg.latent import CategoricalLatent
from rpg.metrics import IterationMetrics, MetricsWriter, read_metrics
from rpg.modes import Mode, distinct_modes
from rpg.objective import BoundTerms, BoundWeights, bound_terms
from rpg.posterior import CategoricalPosterior
from rpg.protocol import Environment, check_environment
from rpg.rollout import rolled_out


@dataclass(frozen=True)
class TrainingResult:
    """How a call of `Trainer.train` ended."""

    history: tuple[IterationMetrics, ...]
    """One record an iteration, those before a resumption included."""
    interrupted: bool
    """Whether Ctrl-C ended it early; the checkpoint then holds the last whole iteration."""


class Trainer:
    """Optimises a policy for one environment.

    `run_dir` receives metrics.jsonl, tensorboard/ and checkpoint.pt (every `checkpoint_interval` iterations
    and at the end); None keeps everything in memory. `identity` says what is optimised (the task's name, its
    version) and is held against a checkpoint's. With `resume` the run in `run_dir` goes on, bit for bit as if
    it had never stopped, given a deterministic environment.

    Raises FileExistsError if `run_dir` holds a run and `resume` is False, FileNotFoundError if it holds none
    and `resume` is True, CheckpointMismatch if it is another run, ValueError if `env` breaks the protocol.
    """

    def __init__(
        self,
        env: Environment,
        config: RPGConfig,
        *,
        run_dir: Path | None = None,
        identity: dict[str, str] | None = None,
        resume: bool = False,
        checkpoint_interval: int = 10,
    ) -> None:
        if resume and run_dir is None:
            raise ValueError("resume was given True with run_dir None; allowed with a run_dir only")
        if run_dir is not None and not resume and (run_dir / CHECKPOINT_NAME).exists():
            raise FileExistsError(f"{run_dir} already holds a run; give resume=True or another run_dir")
        self.env, self.config, self.run_dir = env, config, run_dir
        self.identity = dict(identity or {})
        self.checkpoint_interval = checkpoint_interval
        self._like = check_environment(env)
        self._generator = torch.Generator().manual_seed(config.seed)
        self._build()
        self.iteration = 0
        self.history: list[IterationMetrics] = []
        self._seconds = 0.0
        self._last_whole = self._snapshot()
        if resume and run_dir is not None:
            checkpoint = load_checkpoint(run_dir / CHECKPOINT_NAME)
            checkpoint.check_matches(config=config.to_dict(), identity=self.identity)
            self._restore(checkpoint)
            self.history = read_metrics(run_dir)[: self.iteration]

    def _build(self) -> None:
        """The three models and their optimisers, drawn from the run's generator in this order."""
        env, config, like = self.env, self.config, self._like
        self.latent = CategoricalLatent(config.num_latents).to(like)
        self.policy = configured_policy(
            config,
            horizon=env.horizon,
            observation_dim=env.observation_dim,
            action_dim=env.action_dim,
            generator=self._generator,
        ).to(like)
        self._modules: dict[str, nn.Module] = {"policy": self.policy, "latent": self.latent}
        rates = {"policy": config.policy_step, "latent": config.latent_learning_rate}
        self.posterior: CategoricalPosterior | None = None  # with a single latent there is nothing to guess
        if config.num_latents > 1:
            self.posterior = CategoricalPosterior(
                env.observation_dim,
                config.num_latents,
                hidden=config.posterior_hidden,
                generator=self._generator,
            ).to(like)
            self._modules["posterior"] = self.posterior
            rates["posterior"] = config.posterior_learning_rate
        self._optimizers = {
            name: torch.optim.Adam(module.parameters(), lr=rates[name])
            for name, module in self._modules.items()
        }

    def train(self, on_iteration: Callable[[IterationMetrics], None] | None = None) -> TrainingResult:
        """Run the iterations that are left, calling `on_iteration` after each.

        Ctrl-C leaves a checkpoint of the last whole iteration and returns. A loss or a gradient that is not
        finite leaves the same checkpoint and raises FloatingPointError.
        """
        writer = None if self.run_dir is None else MetricsWriter(self.run_dir, first_iteration=self.iteration)
        if writer is not None:
            self.history = list(writer.kept)
        interrupted = False
        try:
            while self.iteration < self.config.iterations:
                self._complete_iteration(writer)
                if on_iteration is not None:
                    on_iteration(self.history[-1])
        except KeyboardInterrupt:
            interrupted = True
        finally:
            self._restore(self._last_whole)
            self._save()
            if writer is not None:
                writer.close()
        return TrainingResult(history=tuple(self.history), interrupted=interrupted)

    def evaluate(self) -> list[LatentEvaluation]:
        """The noiseless episodes of every latent, (K,)."""
        return evaluate_latents(self.env, self.policy)

    def latent_probs(self) -> list[float]:
        """pi(z), (K,)."""
        return self.latent.probs().tolist()

    def modes(self, evaluations: list[LatentEvaluation] | None = None) -> list[Mode]:
        """The distinct ways to succeed found so far, from `evaluations` or from a fresh `evaluate()`."""
        names = getattr(self.env, "outcome_names", ())
        return distinct_modes(evaluations or self.evaluate(), self.latent_probs(), outcome_names=names)

    # One iteration ------------------------------------------------------------------------------------------

    def _iterate(self) -> IterationMetrics:
        env, config, began = self.env, self.config, time.perf_counter()
        progress = self.iteration / max(1, config.iterations - 1)
        std = config.std.value(progress)
        weights = BoundWeights(
            beta=config.beta.value(progress),
            alpha=config.alpha.value(progress),
            alpha_z=config.alpha_z.value(progress),
        )

        # A latent for each environment, and the noise that makes actions functions of the parameters. It asks
        # for its gradient only so that a gradient that is not finite can be traced to its environments.
        latent = self.latent.sample(self._generator, env.num_envs)
        shape = (env.horizon, env.num_envs, env.action_dim)
        noise = torch.randn(shape, generator=self._generator).to(self._like).requires_grad_()
        probs, entropy = self.latent.probs().detach(), self.latent.entropy().detach()

        seed = (config.seed * 1_000_003 + self.iteration) % (2**31 - 1)
        trajectory = rolled_out(env, self.policy, latent, seed=seed, std=std, noise=noise)
        seen = trajectory.sampled_observations(config.posterior_stride)

        latent_log_prob = self.latent.log_prob(latent)
        terms = bound_terms(
            rewards=trajectory.rewards,
            action_log_probs=trajectory.log_probs,
            latent_log_prob=latent_log_prob,
            posterior_log_prob=self.posterior.log_prob(seen, latent) if self.posterior is not None else None,
        )
        self._check_terms(terms)
        bound = terms.total(weights)

        # One backward pass: the bound holds no gradient of the logits, the score term none of the policy.
        loss = pathwise_loss(bound) + score_function_loss(bound, latent_log_prob)
        self._zero_grad()
        with torch.autograd.set_multithreading_enabled(False):  # a simulator's backward may need this thread
            loss.backward()
        rate = config.policy_step * config.policy_rate_decay.value(progress)
        self._optimizers["policy"].param_groups[0]["lr"] = rate
        grad_norm = self._stepped("policy", noise.grad)
        latent_grad_norm = self._stepped("latent", noise.grad)

        posterior_loss = 0.0
        if self.posterior is not None:
            posterior_loss = self._fit_posterior(self.posterior, seen.detach(), latent)
        self.policy.observe(trajectory.observations)

        means = {name: float(term.detach().mean()) for name, term in terms.named().items()}
        return IterationMetrics(
            iteration=self.iteration,
            **trajectory.episode_metrics(latent),
            bound=float(bound.detach().mean()),
            reward_term=means["reward"],
            posterior_term=means["posterior"],
            action_entropy_term=means["action_entropy"],
            latent_entropy_term=means["latent_entropy"],
            latent_entropy=float(entropy),
            latent_probs=tuple(probs.tolist()),
            posterior_loss=posterior_loss,
            grad_norm=grad_norm,
            latent_grad_norm=latent_grad_norm,
            std=std,
            beta=weights.beta,
            alpha=weights.alpha,
            alpha_z=weights.alpha_z,
            simulator_steps=(self.iteration + 1) * env.num_envs * env.horizon,
            seconds=self._seconds + time.perf_counter() - began,
        )

    def _fit_posterior(self, posterior: CategoricalPosterior, observations: Tensor, latent: Tensor) -> float:
        """Gradient steps on -log p_phi(z|tau) of detached `observations` (T', B, O); the first loss."""
        posterior.observe(observations)
        losses = []
        for _ in range(self.config.posterior_updates):
            self._optimizers["posterior"].zero_grad()
            loss = posterior.training_loss(observations, latent)
            loss.backward()
            self._stepped("posterior", None)
            losses.append(float(loss.detach()))
        return losses[0]

    def _zero_grad(self) -> None:
        for optimizer in self._optimizers.values():
            optimizer.zero_grad()

    def _stepped(self, name: str, noise_grad: Tensor | None) -> float:
        """Clip and apply the gradient of one module; the norm before clipping."""
        norm = clipped_gradient_norm(self._modules[name].parameters(), self.config.grad_clip)
        if not norm < float("inf"):
            bad = _bad_indices(noise_grad.permute(1, 0, 2)) if noise_grad is not None else []
            where = f" in environments {bad}" if bad else ""
            raise FloatingPointError(
                f"iteration {self.iteration}: the gradient of the {name} is not finite{where}"
            )
        self._optimizers[name].step()
        return norm

    def _check_terms(self, terms: BoundTerms) -> None:
        for name, term in terms.named().items():
            if bad := _bad_indices(term.detach()):
                raise FloatingPointError(
                    f"iteration {self.iteration}: the {name} term is not finite in environments {bad}"
                )

    # Whole iterations, and what is kept of them -------------------------------------------------------------

    def _complete_iteration(self, writer: MetricsWriter | None) -> None:
        """One iteration that counts only once it is whole: an interruption before the end undoes it."""
        metrics = self._iterate()
        if writer is not None:
            writer.write(metrics)
        self.history.append(metrics)
        self._seconds = metrics.seconds
        self.iteration += 1
        self._last_whole = self._snapshot()
        if self.iteration % self.checkpoint_interval == 0:
            self._save()

    def _snapshot(self) -> Checkpoint:
        state: dict[str, Any] = {"generator": self._generator.get_state()}
        for name, module in self._modules.items():
            state[name] = copy.deepcopy(module.state_dict())
            state[name + "_optimizer"] = copy.deepcopy(self._optimizers[name].state_dict())
        return Checkpoint(
            iteration=self.iteration,
            seconds=self._seconds,
            config=self.config.to_dict(),
            identity=self.identity,
            state=state,
        )

    def _restore(self, checkpoint: Checkpoint) -> None:
        for name, module in self._modules.items():
            module.load_state_dict(checkpoint.state[name])
            # Copied, because Adam would go on in the very tensors it is given.
            self._optimizers[name].load_state_dict(copy.deepcopy(checkpoint.state[name + "_optimizer"]))
        self._generator.set_state(checkpoint.state["generator"])
        self.iteration, self._seconds = checkpoint.iteration, checkpoint.seconds
        self.history = self.history[: self.iteration]
        self._last_whole = checkpoint

    def _save(self) -> None:
        if self.run_dir is not None and self._last_whole.iteration > 0:
            save_checkpoint(self.run_dir / CHECKPOINT_NAME, self._last_whole)


def _bad_indices(values: Tensor) -> list[int]:
    """The leading indices of `values` (B, ...) at which something is not finite."""
    return (~values.isfinite()).reshape(values.shape[0], -1).any(1).nonzero().squeeze(1).tolist()
