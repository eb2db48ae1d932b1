"""Where along a rollout gradients grow or vanish."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from diffsim.checks.simulator_checks import check_state
from diffsim.errors import InputError
from diffsim.rigid.wrenches import Wrench
from diffsim.scene.validation import check_callable
from diffsim.simulator import Simulator
from diffsim.state import Particles, State

FIELDS = (*Particles._fields, "tool_position", "tool_rotation", "q", "qd")
ROWS = 40  # of the table; the steps between are left out


@dataclass(frozen=True)
class Jump:
    """The step through which gradients grow most.

    Attributes:
        step: control step, from 0; gradients grow on the way back from state ``step + 1`` to state ``step``.
        environment: in which.
        growth: by what factor.
        part: the soft body, link or tool whose part of the gradient grows most there.
    """

    step: int
    environment: int
    growth: float
    part: str


@dataclass(frozen=True)
class GradientReport:
    """Norms of the gradients of an objective along a rollout of T control steps in B environments, in SI units.

    Attributes:
        objective: its value.
        state: of d objective / d state_t, by field of the state ("q", "qd", "x", "v", ... where the scene has them), each
            (T + 1, B); through all later steps.
        action: of d objective / d action_t, (T, B).
        growth: of the backward pass through step t: |(d state_t+1 / d state_t)^T g| / |g|, (T, B), where g is the gradient at
            state t + 1 and all fields count alike; nan where g is zero or not finite.
        parts: of the gradient at each soft body, link and tool, by name, (T + 1, B).
        parameters: of d objective / d parameter, by name.
        jump: the step of the largest growth, or None where no gradient flows.
    """

    objective: float
    state: dict[str, Tensor]
    action: Tensor
    growth: Tensor
    parts: dict[str, Tensor]
    parameters: dict[str, float]
    jump: Jump | None

    @property
    def total(self) -> Tensor:
        """Norm of the gradient of the whole state, (T + 1, B)."""
        return torch.stack(list(self.state.values())).square().sum(dim=0).sqrt()

    def summary(self) -> str:
        """The gradients' growth in a few lines."""
        total = self.total
        steps = len(self.growth)
        first, last = float(total[0].norm()), float(total[-1].norm())
        lines = [f"objective {self.objective:.6g}; gradient of the first state {first:.3g}, of the last {last:.3g}"]
        bad = torch.nonzero(~torch.isfinite(total))
        if len(bad):
            step, environment = bad[bad[:, 0].argmax()].tolist()
            lines.append(f"gradients are not finite up to state {step} (environment {environment})")
        if self.jump is None:
            lines.append("no gradient flows through any step" if steps else "no steps")
            return "\n".join(lines)
        jump = self.jump
        lines.append(
            f"largest growth: {jump.growth:.3g} times through step {jump.step} (environment {jump.environment}), most of it at "
            f"'{jump.part}'"
        )
        known = torch.where(torch.isfinite(self.growth), self.growth, torch.inf)
        least = int(known.argmin())
        lines.append(
            f"smallest growth: {float(known.flatten()[least]):.3g} times through step {least // self.growth.shape[1]} "
            f"(environment {least % self.growth.shape[1]})"
        )
        mean = torch.nanmean(self.growth.clamp_min(1e-300).log()).exp()
        lines.append(f"on average {float(mean):.3g} times a step")
        return "\n".join(lines)

    def __str__(self) -> str:
        """The summary and a table: a row per control step, each number the largest over the environments."""
        names = list(self.state)
        head = ["step", *(f"d/d {name}" for name in names), "d/d action", "growth"]
        steps = len(self.growth)
        listed = range(steps + 1)
        if steps + 1 > ROWS:
            stride = -(-(steps + 1) // ROWS)
            kept = {*range(0, steps + 1, stride), steps}
            if self.jump is not None:
                kept |= {self.jump.step, self.jump.step + 1}
            listed = sorted(kept)  # type: ignore[assignment]
        rows = []
        for t in listed:
            row = [str(t), *(f"{float(self.state[name][t].max()):.3e}" for name in names)]
            ends = t == steps
            row += ["", ""] if ends else [f"{float(self.action[t].max()):.3e}", f"{_largest(self.growth[t]):.3g}"]
            mark = "  <-- " + self.jump.part if self.jump is not None and t == self.jump.step else ""
            rows.append((row, mark))
        widths = [max(len(head[n]), *(len(row[n]) for row, _ in rows)) for n in range(len(head))]
        table = ["  ".join(name.rjust(width) for name, width in zip(head, widths, strict=True))]
        table += ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) + mark for row, mark in rows]
        return self.summary() + "\n\n" + "\n".join(line.rstrip() for line in table)

    def plot(self, path: str | Path) -> None:
        """Norms and growth over the steps, the largest over the environments, as a picture at ``path``."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8.0, 6.0), layout="constrained")
        norms, growth = figure.subplots(2, 1, sharex=True)
        curves = {name: values.amax(dim=1) for name, values in self.state.items()}
        for name, values in {**curves, "action": self.action.amax(dim=1)}.items():
            if len(values) and bool((values > 0.0).any()):
                norms.semilogy(values.tolist(), label=name)
        norms.set_ylabel("norm of the gradient")
        norms.legend()
        if len(self.growth):
            growth.semilogy([_largest(row) for row in self.growth], color="black")
        growth.axhline(1.0, color="grey", linewidth=0.5)
        growth.set_ylabel("growth through the step")
        growth.set_xlabel("control step")
        if self.jump is not None:
            growth.annotate(self.jump.part, (self.jump.step, self.jump.growth))
        figure.savefig(path)


def gradient_report(
    simulator: Simulator,
    state: State,
    actions: Tensor,
    objective: Callable[[list[State]], Tensor],
    parameters: Mapping[str, Tensor] | None = None,
    wrenches: Mapping[str, Wrench] | None = None,
) -> GradientReport:
    """Roll out, and look at the gradient of ``objective`` at every state and action.

    Memory is T states and their gradients.

    Args:
        state: the first.
        actions: (T, B, action_dim).
        objective: a scalar of the T + 1 states; what it sees besides them is taken as constant. It is called twice.
        parameters: as in `Simulator.step`; their gradients are reported too.
        wrenches: as in `Simulator.rollout`; their gradients are not reported.

    Raises:
        InputError: the objective is not a scalar tensor that depends on the states, or as `Simulator.rollout`.
    """
    if not isinstance(simulator, Simulator):
        raise InputError(f"simulator must be a diffsim.Simulator, got {simulator!r}")
    check_state(state)
    check_callable("objective", objective)
    if not isinstance(actions, Tensor):
        raise InputError(f"actions must be a torch tensor, got {actions!r}")
    if actions.ndim != 3:
        shape = (state.num_envs, simulator.action_dim)
        raise InputError(f"actions must have shape (steps, {shape[0]}, {shape[1]}), got {tuple(actions.shape)}")
    leaves = {name: value.detach().clone().requires_grad_() for name, value in (parameters or {}).items()}
    actions = actions.detach().clone().requires_grad_()
    states = [state_leaf(state)]
    for t, action in enumerate(actions):
        acting = {name: wrench.in_step(t) for name, wrench in (wrenches or {}).items()}
        states.append(simulator.step(states[-1], action, leaves, acting))
    return trajectory_report(simulator, states, actions, objective, leaves)


def trajectory_report(
    simulator: Simulator,
    states: list[State],
    actions: Tensor,
    objective: Callable[[list[State]], Tensor],
    leaves: Mapping[str, Tensor],
) -> GradientReport:
    """`gradient_report` of a rollout that has been made.

    Args:
        states: T + 1 of them, each computed from the one before; the first is a `state_leaf`.
        actions: (T, B, A), a leaf that they were computed with.
        objective: as of `gradient_report`.
        leaves: further leaves, by name.

    Raises:
        InputError: the objective is not a scalar tensor that depends on the states.
    """
    value = _scalar(objective(states))
    fields = [name for name in FIELDS if getattr(states[0], name).numel()]
    wanted = [getattr(each, name) for each in states for name in fields]
    found = torch.autograd.grad(value, [*wanted, actions, *leaves.values()], allow_unused=True)
    gradients = [_filled(g, x) for g, x in zip(found, [*wanted, actions, *leaves.values()], strict=True)]

    copies = [state_leaf(each) for each in states]
    alone = _scalar(objective(copies))
    seen = [getattr(each, name) for each in copies for name in fields]
    direct = [_filled(g, x) for g, x in zip(torch.autograd.grad(alone, seen, allow_unused=True), seen, strict=True)]

    count = len(fields)
    by_state = [dict(zip(fields, gradients[t * count : (t + 1) * count], strict=True)) for t in range(len(states))]
    directly = [dict(zip(fields, direct[t * count : (t + 1) * count], strict=True)) for t in range(len(states))]
    through = [{name: g[name] - d[name] for name in fields} for g, d in zip(by_state, directly, strict=True)]
    norms = {name: torch.stack([_norms(each[name]) for each in by_state]) for name in fields}
    places = _places(simulator)
    parts = {name: torch.stack([_norm_at(each, at) for each in by_state]) for name, at in places.items()}
    passed = {name: torch.stack([_norm_at(each, at) for each in through]) for name, at in places.items()}
    total = torch.stack(list(norms.values())).square().sum(dim=0).sqrt()
    arrived = torch.stack([torch.stack([_norms(each[name]) for name in fields]).square().sum(dim=0).sqrt() for each in through])
    sound = (total[1:] > 0.0) & torch.isfinite(total[1:]) & torch.isfinite(arrived[:-1])
    growth = torch.where(sound, arrived[:-1] / total[1:], torch.nan)
    return GradientReport(
        objective=float(value.detach()),
        state=norms,
        action=_norms(gradients[count * len(states)].flatten(0, 1)).view(actions.shape[:2]),
        growth=growth,
        parts=parts,
        parameters={name: float(g.norm()) for name, g in zip(leaves, gradients[count * len(states) + 1 :], strict=True)},
        jump=_jump(growth, parts, passed),
    )


def state_leaf(state: State) -> State:
    """The same values as leaves of a new graph."""
    tensors = {name: tensor.detach().clone() for name, tensor in state.tensors().items()}
    return State(**{name: tensor.requires_grad_(name in FIELDS) for name, tensor in tensors.items()})


def _scalar(value: Tensor) -> Tensor:
    if not isinstance(value, Tensor) or value.ndim != 0:
        found = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
        raise InputError(f"objective must return a scalar tensor, got {found}")
    if not value.requires_grad:
        raise InputError("objective must depend on the states, but its value has no gradient")
    return value


def _filled(gradient: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like) if gradient is None else gradient


def _norms(tensor: Tensor) -> Tensor:
    """Norms (B,) over all axes but the first."""
    return tensor.detach().flatten(1).norm(dim=1)


def _places(simulator: Simulator) -> dict[str, dict[str, slice]]:
    """Which entries of the state's fields belong to each body, link that moves against its parent, and tool."""
    places: dict[str, dict[str, slice]] = {}
    for body in simulator.scene.soft_bodies:
        places[body.name] = dict.fromkeys(Particles._fields, simulator.particle_slice(body.name))
    for n, tool in enumerate(simulator.scene.tools):
        places[tool.name] = {name: slice(n, n + 1) for name in ("tool_position", "tool_rotation")}
    for link in simulator.link_infos:
        if link.joint.type.dofs:
            places[link.name] = {"q": link.coordinates, "qd": link.dofs}
    return places


def _norm_at(gradient: dict[str, Tensor], at: dict[str, slice]) -> Tensor:
    return torch.stack([_norms(gradient[name][:, part]) for name, part in at.items()]).square().sum(dim=0).sqrt()


def _jump(growth: Tensor, parts: dict[str, Tensor], passed: dict[str, Tensor]) -> Jump | None:
    known = torch.where(torch.isfinite(growth), growth, -1.0)
    if not known.numel() or float(known.max()) < 0.0:
        return None
    step, environment = divmod(int(known.argmax()), known.shape[1])
    grown = {name: float(passed[name][step, environment] - parts[name][step + 1, environment]) for name in parts}
    return Jump(step, environment, float(known[step, environment]), max(grown, key=grown.__getitem__))


def _largest(values: Tensor) -> float:
    """The largest one that is a number, or nan."""
    finite = values[torch.isfinite(values)]
    return float(finite.max()) if len(finite) else float("nan")
