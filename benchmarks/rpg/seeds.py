"""RPG over many seeds at once: what `rpg.algorithms.rpg` does for one seed, with the parameters of all of them stacked.

For environments of a few operations, whose runs would spend their time in calls of torch. Every seed draws from its own
generator, in the same order, and clips, compares and steps by itself, so each run is that of `rpg.Trainer` with that seed up to
rounding (`tests/test_benchmarks.py` holds the two against each other). For action tables, one categorical latent, environments
without randomness, and no windows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from rpg import FixedHorizonEnvironment, RPGConfig
from rpg.algorithms.rpg import RPG
from rpg.protocol import check_environment
from rpg.training.evaluation import evaluate_latents
from rpg.training.gradient_estimators import advantages, signal_to_noise, to_go
from rpg.training.objective import BoundWeights, bound_terms
from rpg.training.rollout import rolled_out

CURVE_POINTS = 100


class Stack:
    """The same module of every seed, as one: stacked parameters (S, ...), one Adam, clipped seed by seed."""

    def __init__(self, modules: Sequence[nn.Module], rate: float) -> None:
        self.modules = modules
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
            wrapped = Method(first, function)
            given = {f"module.{name}": value for name, value in {**parameters, **buffers}.items()}
            return torch.func.functional_call(wrapped, given, values)

        return torch.vmap(one)(own, self.buffers(), *arguments)

    def step(self, limit: float) -> None:
        """Clip each seed's gradient to norm ``limit`` and apply it."""
        grads = [parameter.grad for parameter in self.parameters.values() if parameter.grad is not None]
        norms = torch.stack([grad.flatten(1).norm(dim=1) for grad in grads]).norm(dim=0)
        factor = (limit / (norms + 1e-6)).clamp(max=1.0)
        for grad in grads:
            grad.mul_(factor.view(-1, *[1] * (grad.ndim - 1)))
        self.optimizer.step()
        self.optimizer.zero_grad()

    def write_back(self) -> None:
        """Give every module its own parameters."""
        with torch.no_grad():
            for index, module in enumerate(self.modules):
                for name, parameter in module.named_parameters():
                    parameter.copy_(self.parameters[name][index])


class Method(nn.Module):
    """One of a module's functions as a module, for ``functional_call``."""

    def __init__(self, module: nn.Module, function: str) -> None:
        super().__init__()
        self.module, self.function = module, function

    def forward(self, *arguments: Any) -> Any:
        return getattr(self.module, self.function)(*arguments)


def train_seeds(
    environment: Callable[[int], FixedHorizonEnvironment], config: RPGConfig, seeds: Sequence[int], *, num_envs: int
) -> list[dict[str, Any]]:
    """One run a seed: its ``evaluations``, ``curve`` of (steps, mean return), ``returns`` of every iteration, ``gradient_snr``
    and ``seconds`` (its share).

    ``environment(n)`` makes n episodes side by side; a run has ``num_envs`` of them.

    Raises:
        ValueError: the configuration is beyond what stands in the module's docstring.
    """
    if config.policy != "table" or config.latent != "categorical" or config.latent_segments > 1 or config.window:
        raise ValueError("train_seeds takes a table, one categorical latent and no windows")
    began, count = time.perf_counter(), len(seeds)
    single, env = environment(num_envs), environment(num_envs * count)
    like = check_environment(single)
    runs = [RPG(single, replace(config, seed=seed), like) for seed in seeds]
    policy = Stack([run.policy for run in runs], config.policy_step)
    prior = Stack([run.prior for run in runs], config.latent_learning_rate)
    posterior = None
    if runs[0].posterior is not None:
        posterior = Stack([run.modules["posterior"] for run in runs], config.posterior_learning_rate)
    tables, logits = policy.parameters["table"], prior.parameters["parameters_of.constant"]
    horizon, owner = env.horizon, torch.arange(count).repeat_interleave(num_envs)
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
        for run, probs in zip(runs, log_probs.detach().exp(), strict=True):
            draws.append(torch.multinomial(probs, num_envs, replacement=True, generator=run.generator))
            noises.append(torch.randn(horizon, num_envs, env.action_dim, generator=run.generator))
        latent, noise = torch.cat(draws), torch.cat(noises, dim=1).to(like).requires_grad_()

        # One rollout of all: latent z of seed s is number s K + z of one long table.
        whole: Any = LongTable(tables.flatten(0, 1), runs[0])
        index = owner * config.num_latents + latent
        score = config.action_gradient == "score"
        start = env.reset(0)
        trajectory = rolled_out(env, whole, index.unsqueeze(0), state=start, std=std, noise=noise, differentiable=not score)
        steps = trajectory.sampled_steps(config.posterior_stride)
        seen = trajectory.features(steps, with_actions=config.posterior_input == "state_actions")
        by_seed = seen.unflatten(1, (count, num_envs)).transpose(0, 1)  # (S, T', B, F)
        latents = latent.view(count, 1, num_envs).expand(-1, len(steps), -1)
        guess = None
        if posterior is not None:
            guess = posterior.call("step_log_prob", by_seed, latents, trained=False).transpose(0, 1).flatten(1)
        chosen = log_probs.gather(1, latent.view(count, num_envs))  # (S, B)
        terms = bound_terms(
            rewards=trajectory.rewards,
            action_log_probs=trajectory.log_probs,
            latent_log_prob=chosen.flatten(),
            posterior_log_prob=guess,
            posterior_steps=steps,
        )

        # The same losses as one run's, summed over the seeds.
        bound = terms.total(weights).detach().view(count, num_envs)
        gain = bound - bound.mean(1, keepdim=True)
        loss = -(gain * chosen).sum() / max(1, num_envs - 1)
        earned = terms.steps(weights)
        if score:
            parts = zip(to_go(earned).split(num_envs, dim=1), draws, strict=True)
            gain = torch.cat([advantages(part, own) for part, own in parts], dim=1)
            means = torch.stack([whole.mean(like, index, step) for step in range(horizon)])
            u = (means + std * noise).detach()
            gradient = gain.unsqueeze(-1) * noise.detach() / std
            loss = loss + (gain.unsqueeze(-1) * 0.5 * ((u - means) / std).square()).sum() / num_envs
        else:
            loss = loss - earned.sum() / num_envs
        loss.backward()
        if noise.grad is not None:  # pathwise
            gradient = noise.grad * (-num_envs / std)
        policy.optimizer.param_groups[0]["lr"] = config.policy_step * config.policy_rate_decay.value(progress)
        policy.step(config.grad_clip)
        prior.step(config.grad_clip)
        if posterior is not None:
            for run, own in zip(runs, by_seed.detach(), strict=True):
                model: Any = run.modules["posterior"]
                model.observe(own)
            for _ in range(config.posterior_updates):
                posterior.call("training_loss", by_seed.detach(), latents).sum().backward()
                posterior.step(config.grad_clip)

        returns.append(trajectory.returns.view(count, num_envs).mean(1))
        if iteration % max(1, config.iterations // CURVE_POINTS) == 0:
            parts = zip(gradient.split(num_envs, dim=1), draws, strict=True)
            snr.append([signal_to_noise(own, z) for own, z in parts])
    for stack in (policy, prior, posterior):
        if stack is not None:
            stack.write_back()

    table, seconds = torch.stack(returns, dim=1), (time.perf_counter() - began) / count
    every, steps_each = max(1, config.iterations // CURVE_POINTS), num_envs * horizon
    return [
        {
            "evaluations": evaluate_latents(single, run.policy, *run.candidates()),
            "returns": own.tolist(),
            "curve": [((i + 1) * steps_each, float(own[i])) for i in range(0, config.iterations, every)],
            "gradient_snr": sum(row[index] for row in snr) / len(snr),
            "simulator_steps": config.iterations * steps_each,
            "seconds": seconds,
        }
        for index, (run, own) in enumerate(zip(runs, table, strict=True))
    ]


class LongTable(nn.Module):
    """The tables of all seeds (S K, T, A) under one numbering of latents, as a policy."""

    def __init__(self, table: Tensor, like: RPG) -> None:
        super().__init__()
        self.table, self.std = table, like.policy.std

    def mean(self, observation: Tensor, latent: Tensor, step: int) -> Tensor:
        """(B, A)."""
        return self.table[latent, step]

    def forward(self, observation: Tensor, latent: Tensor, step: int, std: float, noise: Tensor) -> Any:
        """As `rpg.models.action_policy.ActionPolicy`."""
        from rpg.models.action_policy import squashed_sample

        return squashed_sample(self.mean(observation, latent, step), self.std(std), noise)
