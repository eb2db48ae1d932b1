"""Many seeds of one RPG run at once: what `rpg.Trainer` does for one seed, with the parameters of all of them stacked.

For environments of a few operations, whose runs would spend their time in calls of torch. Every seed draws from its own
generator, in the same order, and clips, scales and steps by itself, so each run is that of `rpg.Trainer` with that seed up to
rounding. For action tables, one categorical latent, environments without randomness, pathwise or score gradients, no windows.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from rpg.algorithms.rpg import RPG, RPGConfig
from rpg.models.action_policy import TABLE_RATE, MeanAt, sequence_means
from rpg.models.latent import stratified_draws
from rpg.protocol import FixedHorizonEnvironment, check_environment
from rpg.settings_checks import LARGEST_SEED, SettingError, check_function, check_int
from rpg.training.evaluation import LatentEvaluation, evaluate_latents
from rpg.training.gradient_estimators import (
    advantages,
    limited_episodes,
    repeated_groups,
    score_function_loss,
    signal_to_noise,
    to_go,
)
from rpg.training.objective import BoundWeights, bound_terms
from rpg.training.rollout import rolled_out


@dataclass(frozen=True)
class SeedRun:
    """One of the seeds' runs."""

    seed: int
    algorithm: RPG
    """Trained."""
    evaluations: list[LatentEvaluation]
    returns: tuple[float, ...]
    """Mean return of each iteration's batch."""
    gradient_snr: float
    """Signal-to-noise ratio of the action gradients, a mean over iterations looked at."""
    simulator_steps: int
    backward_steps: int
    seconds: float
    """Its share of the wall time."""


def train_seeds(
    environment: Callable[[int], FixedHorizonEnvironment],
    config: RPGConfig,
    seeds: Sequence[int],
    *,
    num_envs: int,
    snr_interval: int = 1,
) -> list[SeedRun]:
    """One run a seed. `environment(n)` makes n episodes side by side, of which each run has `num_envs`; `snr_interval` is after
    how many iterations the signal-to-noise ratio is looked at.

    Raises SettingError if the configuration is beyond what stands in the module's docstring.
    """
    check_function("environment", environment)
    if not isinstance(config, RPGConfig):
        raise SettingError(f"config was given {config!r}; allowed is an rpg.RPGConfig")
    if not isinstance(seeds, Sequence) or isinstance(seeds, str) or not len(seeds):
        raise SettingError(f"seeds was given {seeds!r}; allowed are whole numbers, at least one")
    for seed in seeds:
        check_int("seeds", seed, at_least=0, at_most=LARGEST_SEED)
    check_int("num_envs", num_envs, at_least=1)
    check_int("snr_interval", snr_interval, at_least=1)
    _check(config)
    began, count = time.perf_counter(), len(seeds)
    single, env = environment(num_envs), environment(num_envs * count)
    like = check_environment(single)
    runs = [RPG(single, replace(config, seed=seed), like) for seed in seeds]
    policy = _Stack([run.policy for run in runs], config.policy_learning_rate or TABLE_RATE)
    prior = _Stack([run.prior for run in runs], config.latent_learning_rate)
    posterior = None
    if runs[0].posterior is not None:
        posterior = _Stack([run.modules["posterior"] for run in runs], config.posterior_learning_rate)
    tables, logits = policy.parameters["table"], prior.parameters["parameters_of.constant"]
    choices = logits.shape[1]
    horizon, owner = env.horizon, torch.arange(count, device=like.device).repeat_interleave(num_envs)
    baseline: Tensor | None = None
    returns, snr = [], []
    for iteration in range(config.iterations):
        progress = runs[0].progress(iteration)
        std = config.std.value(progress)
        weights = BoundWeights(
            beta=config.beta.value(progress),
            alpha=config.alpha.value(progress),
            alpha_z=config.alpha_z.value(progress),
        )
        log_probs = torch.log_softmax(logits, dim=-1)  # (S, K)
        draws, noises = [], []
        for run, probs in zip(runs, log_probs.detach().exp().cpu(), strict=True):
            noises.append(run.standard_normal(horizon, num_envs, env.action_dim))
            draws.append(stratified_draws(probs.expand(num_envs, -1), run.generator).to(like.device))
        latent, noise = torch.cat(draws), torch.cat(noises, dim=1).requires_grad_()

        # One rollout of all: latent z of seed s is number s K + z of one long table.
        whole: Any = _LongTable(tables.flatten(0, 1))
        score = config.action_gradient == "score"
        trajectory = rolled_out(
            env, whole, (owner * choices + latent).unsqueeze(0), state=env.reset(0), std=std, noise=noise,
            differentiable=not score, log_probs=weights.alpha > 0,
        )  # fmt: skip
        if config.normalize_returns:
            for run, own in zip(runs, trajectory.rewards.mean(0).split(num_envs), strict=True):
                run.scale.update(own)
        scales = like.new_tensor([run.scale.value for run in runs])
        steps = trajectory.sampled_steps(config.posterior_stride)
        seen = trajectory.features(steps, with_actions=config.posterior_input == "state_actions")
        by_seed = seen.unflatten(1, (count, num_envs)).transpose(0, 1)  # (S, T', B, F)
        latents = latent.view(count, 1, num_envs).expand(-1, len(steps), -1)
        guess = None
        if posterior is not None and weights.beta > 0:
            guess = posterior.call("step_log_prob", by_seed, latents, trained=False).transpose(0, 1).flatten(1)
        chosen = log_probs.gather(1, latent.view(count, num_envs))  # (S, B)
        terms = bound_terms(
            rewards=trajectory.rewards / scales[owner],
            action_log_probs=trajectory.log_probs,
            latent_log_prob=chosen.flatten().unsqueeze(0),
            latent_reference=runs[0].prior.reference_log_prob(latent.unsqueeze(0)),
            posterior_log_prob=guess,
            posterior_steps=steps,
        )

        # The same losses as one run's, summed over the seeds.
        objective = terms.still_to_come(weights).view(count, num_envs)
        loss = like.new_zeros(())
        if choices > 1:
            loss = score_function_loss(objective, chosen, baseline)
        baseline = objective.mean(1, keepdim=True)
        earned = terms.steps(weights)
        if score:
            parts = zip(to_go(earned).split(num_envs, dim=1), draws, strict=True)
            gain = torch.cat([advantages(part, own) for part, own in parts], dim=1)
            means = tables.flatten(0, 1)[owner * choices + latent].transpose(0, 1)
            u = (means + std * noise).detach()
            gradient = gain.unsqueeze(-1) * noise.detach() / std
            loss = loss + (gain.unsqueeze(-1) * 0.5 * ((u - means) / std).square()).sum() / num_envs
        else:
            loss = loss - earned.sum() / num_envs
        loss.backward()
        if noise.grad is not None:  # pathwise
            gradient = noise.grad * (-num_envs / std)
            if config.episode_clip is not None:
                limits = [limited_episodes(part, config.episode_clip) for part in gradient.split(num_envs, dim=1)]
                gradient = torch.cat([part for part, _ in limits], dim=1)
                touched = torch.stack([outliers.any() for _, outliers in limits])
                if bool(touched.any()) and tables.grad is not None:  # then an entry of the table has the sum over its episodes
                    rows = torch.zeros_like(tables).flatten(0, 1)
                    rows.index_add_(0, owner * choices + latent, gradient.transpose(0, 1) / -num_envs)
                    tables.grad = torch.where(touched.view(-1, 1, 1, 1), rows.view_as(tables), tables.grad)
        policy.step(config.grad_clip, config.policy_rate_decay.value(progress))
        prior.step(config.grad_clip)
        if posterior is not None:
            for run, own in zip(runs, by_seed.detach(), strict=True):
                model: Any = run.modules["posterior"]
                model.observe(own)
            for _ in range(config.posterior_updates):
                posterior.call("training_loss", by_seed.detach(), latents).sum().backward()
                posterior.step(config.grad_clip)

        returns.append(trajectory.returns.view(count, num_envs).mean(1))
        if iteration % snr_interval == 0:
            parts = zip(gradient.split(num_envs, dim=1), draws, strict=True)
            snr.append([signal_to_noise(own, repeated_groups(z.unique(return_inverse=True)[1])) for own, z in parts])
    for stack in (policy, prior, posterior):
        if stack is not None:
            stack.write_back()
    table, seconds = torch.stack(returns, dim=1), (time.perf_counter() - began) / count
    return [
        SeedRun(
            seed=seed,
            algorithm=run,
            evaluations=evaluate_latents(single, run.policy, *run.candidates()),
            returns=tuple(own.tolist()),
            gradient_snr=sum(row[index] for row in snr) / len(snr),
            simulator_steps=config.iterations * num_envs * horizon,
            backward_steps=0 if score else config.iterations * num_envs * horizon,
            seconds=seconds,
        )
        for index, (seed, run, own) in enumerate(zip(seeds, runs, table, strict=True))
    ]


def _check(config: RPGConfig) -> None:
    for name, allowed in (
        ("policy", "table"), ("latent", "categorical"), ("latent_segments", 1), ("latent_hidden", ()), ("window", None),
        ("learn_std", False), ("action_gradient", ("pathwise", "score")),
    ):  # fmt: skip
        given = getattr(config, name)
        if given != allowed and not (isinstance(allowed, tuple) and given in allowed):
            raise SettingError(f"{name} was given {given!r}; allowed with several seeds at once is {allowed!r}")


class _Stack:
    """The same module of every seed, as one: stacked parameters (S, ...), one Adam, clipped seed by seed."""

    def __init__(self, modules: Sequence[nn.Module], rate: float) -> None:
        self.modules, self.rate = modules, rate
        names = [name for name, _ in modules[0].named_parameters()]
        columns = [[dict(module.named_parameters())[name].detach() for module in modules] for name in names]
        self.parameters = {name: nn.Parameter(torch.stack(column)) for name, column in zip(names, columns, strict=True)}
        self.optimizer = torch.optim.Adam(self.parameters.values(), lr=rate, fused=True)

    def buffers(self) -> dict[str, Tensor]:
        """The modules' own buffers, stacked."""
        names = [name for name, _ in self.modules[0].named_buffers()]
        return {name: torch.stack([dict(module.named_buffers())[name] for module in self.modules]) for name in names}

    def call(self, function: str, *arguments: Any, trained: bool = True) -> Any:
        """``module.function(*arguments)`` of every seed, over the first dimension of all tensors; frozen unless ``trained``."""
        own: dict[str, Tensor] = {name: value if trained else value.detach() for name, value in self.parameters.items()}
        first = self.modules[0]

        def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor], *values: Any) -> Any:
            given = {f"module.{name}": value for name, value in {**parameters, **buffers}.items()}
            return torch.func.functional_call(_Method(first, function), given, values)

        return torch.vmap(one)(own, self.buffers(), *arguments)

    def step(self, limit: float, decay: float = 1.0) -> None:
        """Clip each seed's gradient to norm ``limit`` and apply it, with the rate times ``decay``."""
        grads = [parameter.grad for parameter in self.parameters.values() if parameter.grad is not None]
        if not grads:
            return
        norms = torch.stack([grad.flatten(1).norm(dim=1) for grad in grads]).norm(dim=0)
        factor = (limit / (norms + 1e-6)).clamp(max=1.0)
        for grad in grads:
            grad.mul_(factor.view(-1, *[1] * (grad.ndim - 1)))
        self.optimizer.param_groups[0]["lr"] = self.rate * decay
        self.optimizer.step()
        self.optimizer.zero_grad()

    def write_back(self) -> None:
        """Give every module its own parameters."""
        with torch.no_grad():
            for index, module in enumerate(self.modules):
                for name, parameter in module.named_parameters():
                    parameter.copy_(self.parameters[name][index])


class _Method(nn.Module):
    """One of a module's functions as a module, for ``functional_call``."""

    def __init__(self, module: nn.Module, function: str) -> None:
        super().__init__()
        self.module, self.function = module, function

    def forward(self, *arguments: Any) -> Any:
        return getattr(self.module, self.function)(*arguments)


class _LongTable(nn.Module):
    """The tables of all seeds (S K, T, A) under one numbering of latents, as a policy."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = table

    def std(self, given: float) -> float:
        """As `rpg.models.action_policy.ActionPolicy`, and so are the others."""
        return given

    def means(self, latent: Tensor, steps: range, like: Tensor) -> MeanAt:
        return sequence_means(self.table, latent, steps)
