"""Two deliberately naive differentiable simulators of the closed forms, to set ours against: point masses in plain torch.

    penalty   contact force max(k depth - c depth rate, 0) while there is depth, c from the restitution's spring and dashpot;
              friction cut off at mu N; semi-implicit Euler
    impulse   at the end of the step in which bodies came to overlap, the velocities of an exact impact; friction as the largest
              change of velocity in a step that does not reverse it

Both are differentiated through all their steps by autograd. DT and STEPS_PER_CONTACT are what a user would take without a look
at the gradient: the stiffness is that whose contact takes so many steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

Tensor = torch.Tensor
Quantities = dict[str, float]
DT = 1e-3
STEPS_PER_CONTACT = 30


def derivatives(outputs: dict[str, Tensor], inputs: dict[str, Tensor], by: dict[str, dict[str, tuple]]) -> Quantities:
    """Outputs, and their derivatives ``by[output][label] = (input, *index)``."""
    quantities = {name: float(value.detach()) for name, value in outputs.items()}
    for name, labels in by.items():
        leaves = list(inputs.values())
        gradients = torch.autograd.grad(outputs[name], leaves, retain_graph=True, allow_unused=True)
        found = dict(zip(inputs, gradients, strict=True))
        for label, (source, *index) in labels.items():
            gradient = found[source]
            quantities[f"d{name}/d{label}"] = 0.0 if gradient is None else float(gradient[tuple(index)])
    return quantities


def leaf(*values: float) -> Tensor:
    return torch.tensor(values[0] if len(values) == 1 else values, dtype=torch.float64, requires_grad=True)


def penalty_force(gap: Tensor, rate: Tensor, mass: float, e: float) -> Tensor:
    """max(k depth - c depth rate, 0) of a contact of the reduced mass ``mass``."""
    if gap.detach() >= 0.0:
        return torch.zeros_like(gap)
    log = math.log(e)
    ratio = -log / math.hypot(math.pi, log)  # of a damped spring whose half swing keeps the share e of the speed
    frequency = math.pi / (STEPS_PER_CONTACT * DT)
    return torch.relu(-mass * frequency**2 * gap - 2.0 * ratio * mass * frequency * rate)


def march(x: Tensor, v: Tensor, T: float, acceleration: Callable, impact: Callable | None = None) -> tuple[Tensor, Tensor]:
    """Semi-implicit Euler to T; ``impact(x, v)`` gives the velocities after the impacts at the end of a step."""
    for _ in range(round(T / DT)):
        v = v + DT * acceleration(x, v)
        x = x + DT * v
        if impact is not None:
            v = impact(x, v)
    return x, v


def on_floor(x0: float, v0: float, T: float, e: float, g: float, impulse: bool, names: tuple[str, str, str]) -> Quantities:
    """A point above the floor (or in front of the wall) at 0: ``names`` of the place and of the two inputs."""
    x, v = leaf(x0), leaf(v0)

    def acceleration(x: Tensor, v: Tensor) -> Tensor:
        return -g + (0.0 if impulse else penalty_force(x, v, 1.0, e))

    def impact(x: Tensor, v: Tensor) -> Tensor:
        return torch.where((x < 0.0) & (v < 0.0), -e * v, v)

    end, _ = march(x, v, T, acceleration, impact if impulse else None)
    return derivatives({names[0]: end}, {"x": x, "v": v}, {names[0]: {names[1]: ("x",), names[2]: ("v",)}})


def wall(impulse: bool) -> Quantities:
    return on_floor(0.5005, -1.0, 1.0, 1.0, 0.0, impulse, ("x", "x0", "v0"))


def bounce(impulse: bool, e: float) -> Quantities:
    return on_floor(1.0, -1.0, 0.8, e, 10.0, impulse, ("z", "z0", "v0"))


def slide(impulse: bool, speed: float = 2.0, mu_: float = 0.3, g: float = 10.0, eps: float = 0.01) -> Quantities:
    v0, mu = leaf(speed), leaf(mu_)
    x, v = torch.zeros_like(v0), v0
    for _ in range(round(1.2 * speed / (mu_ * g) / DT)):
        if impulse:
            v = v.sign() * torch.relu(v.abs() - DT * mu * g)
        else:
            v = v - DT * mu * g * (v / eps).clamp(-1.0, 1.0)
        x = x + DT * v
    return derivatives({"d": x}, {"v0": v0, "mu": mu}, {"d": {"v0": ("v0",), "mu": ("mu",)}})


def head_on(impulse: bool, e: float, m1: float = 1.0, m2: float = 2.0, r: float = 0.1) -> Quantities:
    x, v = leaf(-0.5, 0.5), leaf(1.0, -0.5)
    masses = torch.tensor([m1, m2], dtype=torch.float64)
    sides = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    reduced = m1 * m2 / (m1 + m2)

    def gap(x: Tensor) -> Tensor:
        return x[1] - x[0] - 2.0 * r

    def acceleration(x: Tensor, v: Tensor) -> Tensor:
        return torch.zeros_like(v) if impulse else sides * penalty_force(gap(x), v[1] - v[0], reduced, e) / masses

    def impact(x: Tensor, v: Tensor) -> Tensor:
        closing = v[0] - v[1]
        return v + sides * (1.0 + e) * reduced * closing / masses if gap(x) < 0.0 and closing > 0.0 else v

    _, end = march(x, v, 1.0, acceleration, impact if impulse else None)
    labels = {"v1": ("v", 0), "v2": ("v", 1), "x1": ("x", 0)}
    return derivatives({"v1'": end[0], "v2'": end[1]}, {"x": x, "v": v}, {"v1'": labels, "v2'": labels})


def billiard(impulse: bool, e: float = 1.0, r: float = 0.1) -> Quantities:
    p, u = leaf(-0.5, 0.07), leaf(1.0, 0.05)
    zero = torch.zeros(2, dtype=torch.float64)
    sides = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)

    def geometry(x: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        away = x[1] - x[0]
        distance = away.norm()
        n = away / distance
        return distance - 2.0 * r, n, (v[1] - v[0]) @ n

    def acceleration(x: Tensor, v: Tensor) -> Tensor:
        gap, n, rate = geometry(x, v)
        return torch.zeros_like(v) if impulse else sides * penalty_force(gap, rate, 0.5, e) * n

    def impact(x: Tensor, v: Tensor) -> Tensor:
        gap, n, rate = geometry(x, v)
        return v - sides * 0.5 * (1.0 + e) * rate * n if gap < 0.0 and rate < 0.0 else v

    end, _ = march(torch.stack([p, zero]), torch.stack([u, zero]), 1.0, acceleration, impact if impulse else None)
    labels = {"x1": ("p", 0), "y1": ("p", 1), "vx1": ("v", 0), "vy1": ("v", 1)}
    return derivatives({"x2": end[1, 0], "y2": end[1, 1]}, {"p": p, "v": u}, {"x2": labels, "y2": labels})


def double_pendulum(g: float = 9.81) -> Quantities:
    """There is no contact in it: one answer for both, semi-implicit Euler in the angles from the vertical."""
    theta = leaf(1.0, 0.5)

    def acceleration(x: Tensor, v: Tensor) -> Tensor:
        sine, cosine = (x[0] - x[1]).sin(), (x[0] - x[1]).cos()
        r1 = -sine * v[1] ** 2 - 2.0 * g * x[0].sin()
        r2 = sine * v[0] ** 2 - g * x[1].sin()
        return torch.stack([r1 - cosine * r2, 2.0 * r2 - cosine * r1]) / (2.0 - cosine**2)

    end, _ = march(theta, torch.zeros(2, dtype=torch.float64), 1.0, acceleration)
    labels = {"theta1": ("theta", 0), "theta2": ("theta", 1)}
    return derivatives({"q1": end[0], "q2": end[1]}, {"theta": theta}, {"q1": labels, "q2": labels})


def grasp(impulse: bool, m: float = 0.1, mu: float = 0.5, eps: float = 0.01, g: float = 9.81) -> Quantities:
    fn = leaf(20.0)
    drop, v = torch.zeros_like(fn), torch.zeros_like(fn)
    for _ in range(round(1.0 / DT)):
        if impulse:
            v = v + DT * g
            v = v.sign() * torch.relu(v.abs() - DT * 2.0 * mu * fn / m)
        else:
            v = v + DT * (g - 2.0 * mu * fn / m * (v / eps).clamp(-1.0, 1.0))
        drop = drop + DT * v
    return derivatives({"drop": drop}, {"fn": fn}, {"drop": {"fn": ("fn",)}})
