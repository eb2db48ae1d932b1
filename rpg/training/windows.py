"""Windows: pieces of episodes that carry gradients, for SHAC, SAPO, AHAC and model-based RPG; rolled out through a simulator or
a learned model, and scored with values at the ends."""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from rpg.models.action_policy import squashed_log_prob
from rpg.models.value import ValueEnsemble
from rpg.models.window_actor import WindowActor
from rpg.protocol import FixedHorizonEnvironment

LARGEST_OBSERVATION = 1e6
"""A state with a larger entry has failed, and its value is 0."""


class WindowPolicy(Protocol):
    """A tanh-squashed Gaussian."""

    def mean_and_std(self, observation: Tensor, latent: Tensor, step: int | Tensor) -> tuple[Tensor, Tensor]:
        """Both before squashing, of observations (B, O): (B, A), and (B, A) or (A,)."""


@dataclass(frozen=True)
class Window:
    """H steps of B environments. They carry gradients until the actor's update."""

    first: int
    """Number of the first step in its episode."""
    observations: Tensor
    """(H, B, O) before each step."""
    after: Tensor
    """(H, B, O) after each step, before any restart."""
    rewards: Tensor
    """(H, B)."""
    entropies: Tensor
    """(H, B) estimates of the entropy of pi(.|s) before each step, nats."""
    terminated: Tensor
    """(H, B) bool: whether the episode ended for good with this step, so that nothing more can be earned."""
    truncated: Tensor
    """(H, B) bool: whether a time limit cut it off, so that what was still to come is the value of the state after."""
    counted: Tensor
    """(H, B) bool: whether the step belongs to an episode, rather than to the time after its end."""
    stiffness: Tensor | None
    """(H, B) how stiff the dynamics were, if that was asked for; detached."""
    noise: Tensor
    """(H, B, A), a leaf of the graph: its gradient is the gradient of each episode with respect to its actions."""
    stds: Tensor
    """(H, B, A) of the actions before squashing."""
    actions: Tensor
    """(H, B, A) in (-1, 1)."""

    @property
    def ended(self) -> Tensor:
        """(H, B) whether an episode ended with this step, for good or not."""
        return self.terminated | self.truncated

    def action_gradients(self) -> Tensor:
        """(H, B, A) after the actor's update: the gradient of each episode's sum with respect to its actions before squashing,
        of which the actor's loss is the negative mean over episodes and steps."""
        if self.noise.grad is None:
            return torch.zeros_like(self.noise)
        return -self.rewards.numel() * self.noise.grad / self.stds.detach()


def rolled_out_window(
    env: FixedHorizonEnvironment,
    actor: WindowPolicy,
    state: Any,
    steps: range,
    *,
    noise: Tensor,
    latent: Tensor | None = None,
    entropy_noise: Tensor | None = None,
    probe: Tensor | None = None,
) -> tuple[Window, Any, dict[str, Tensor]]:
    """Run `steps` of an episode from `state`, which carries no gradient, with `noise` (H, B, A), a leaf, and `latent` (B, ...),
    by default 0. Returns the window, the state after it, and the last step's info.

    Entropies are -log pi of the actions taken or, with `entropy_noise` (H, B, A), of a second sample. With `probe` (H, B, O),
    random signs, the stiffness is the info's "stiffness" (B,) or, where there is none, `action_response`, in the units of the
    actor's normaliser, which must then be a `WindowActor`.

    An episode ends for good with its last step, or is cut off there if the environment's `finite_horizon` is False. It ends
    earlier where an info has "terminated" or "truncated" (B,) bool; "running" (B,) bool says whether it had not yet ended
    before the step. Episodes do not restart within a window.
    """
    finite = bool(getattr(env, "finite_horizon", True))
    if latent is None:
        latent = torch.zeros(env.num_envs, dtype=torch.int64, device=noise.device)
    observation, info = env.observe(state), dict[str, Tensor]()
    if probe is not None:
        assert isinstance(actor, WindowActor)
        scale, variance = actor.normalizer.scale(), actor.normalizer.variance
        units = torch.where(variance > scale.square() / 2, scale, torch.ones_like(scale))  # what has not varied keeps its own
    rows: dict[str, list[Tensor]] = {}
    for index, step in enumerate(steps):
        mean, std = actor.mean_and_std(observation, latent, step)
        u = mean + std * noise[index]
        action = torch.tanh(u)
        state, reward, info = env.step(state, action)
        after = env.observe(state)
        never = torch.zeros_like(reward, dtype=torch.bool)
        last = never if step + 1 < env.horizon else ~never
        terminated = info.get("terminated", never) | (last & finite)
        if entropy_noise is not None:
            u = mean + std * entropy_noise[index]
        row = {
            "observations": observation,
            "after": after,
            "rewards": reward,
            "u": u,
            "terminated": terminated,
            "truncated": (info.get("truncated", never) | last) & ~terminated,
            "counted": info.get("running", ~never),
            "stds": std.expand_as(mean),
            "actions": action,
        }
        if probe is not None:
            given = info.get("stiffness")
            row["stiffness"] = action_response(after / units, action, probe[index]) if given is None else given.detach()
        for name, value in row.items():
            rows.setdefault(name, []).append(value)
        observation = after
    stacked: dict[str, Any] = {name: torch.stack(values) for name, values in rows.items()}
    log_prob = squashed_log_prob(stacked.pop("u"), stacked["stds"], noise if entropy_noise is None else entropy_noise)
    return Window(first=steps.start, noise=noise, entropies=-log_prob, **{"stiffness": None, **stacked}), state, info


def action_response(after: Tensor, action: Tensor, probe: Tensor) -> Tensor:
    """(B,) |(d after / d action)^T v| of observations `after` (B, O) one step after `action` (B, A), for random signs v (B, O).

    Its square is, on average over v, the square of the Frobenius norm of that derivative: the part of the dynamics' gradient
    that can be had without knowing the state. It costs one more backward pass through the step.
    """
    if not after.requires_grad:
        return after.new_zeros(len(after))
    with torch.autograd.set_multithreading_enabled(False):  # a simulator's backward may need this thread
        (slope,) = torch.autograd.grad((probe * after).sum(), action, retain_graph=True, allow_unused=True)
    return after.new_zeros(len(after)) if slope is None else slope.norm(dim=-1)


def values_after(critics: ValueEnsemble, window: Window) -> Tensor:
    """(C, H, B) the critics' values of the states after each step, differentiable in these states.

    They are 0 where an episode has ended for good, and where the state has failed: not finite, or larger than any state can be.
    """
    usable = window.after.detach().isfinite().all(-1) & (window.after.detach().abs() <= LARGEST_OBSERVATION).all(-1)
    seen = torch.where(usable.unsqueeze(-1), window.after, torch.zeros_like(window.after))
    values = critics.frozen(seen, window.first + 1)
    return torch.where(usable & window.counted & ~window.terminated, values, torch.zeros_like(values))


def window_objective(window: Window, rewards: Tensor, values: Tensor, *, discount: float) -> Tensor:
    """(B,) J = (sum_{t<h} discount^t r_t + discount^h V(s_h)) / H, where h = H, the number of steps of the window.

    `rewards` (H, B) are those of the window, or soft ones; `values` (H, B) are V after each step (`values_after`), of which
    those at the ends count. Where an episode ends within the window, J is the sum over its pieces, each with its own V, and the
    powers of the discount begin anew.
    """
    rewards = torch.where(window.counted, rewards, torch.zeros_like(rewards))
    total, factor = torch.zeros_like(rewards[0]), torch.ones_like(rewards[0])
    for step in range(len(rewards)):
        total = total + factor * rewards[step]
        factor = factor * discount
        if step == len(rewards) - 1:
            total = total + factor * values[step]
        else:
            ended = window.ended[step]
            total = total + torch.where(ended, factor * values[step], torch.zeros_like(total))
            factor = torch.where(ended, torch.ones_like(factor), factor)
    return total / len(rewards)


def window_estimates(rewards: Tensor, values: Tensor, *, discount: float, trace: float | None) -> Tensor:
    """(..., B) estimates of the value of a window's first states: means of the n-step returns

        G_n = sum_{t<n} discount^t r_t + discount^n V(s_n)        n = 1, ..., H

    with weights trace^(n-1), or without `trace` G_H alone. `rewards` (H, B) and `values` (..., H, B), those of the states after
    each step, must be 0 from an episode's end on.
    """
    steps = torch.arange(len(rewards), device=rewards.device)
    factors = discount ** steps.to(rewards)
    weights = (steps == len(rewards) - 1).to(rewards) if trace is None else trace ** steps.to(rewards)
    weights = weights / weights.sum()
    earned = ((factors * weights.flip(0).cumsum(0).flip(0)).unsqueeze(1) * rewards).sum(0)
    return earned + ((discount * factors * weights).unsqueeze(1) * values).sum(-2)
