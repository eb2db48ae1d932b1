"""The problem of `benchmarks/soft/problem.py` in diffsim."""

from __future__ import annotations

import numpy as np
import torch

import diffsim as ds
from benchmarks.soft.problem import GRID, Problem


class Diffsim:
    """Runs a batch of equal environments."""

    def __init__(self, problem: Problem, *, precision: str, num_envs: int = 1):
        self._problem = problem
        self._dtype = {"f32": torch.float32, "f64": torch.float64}[precision]
        side = problem.volume ** (1.0 / 3.0)
        low, high = problem.x.min(axis=0) - side / 2.0, problem.x.max(axis=0) + side / 2.0
        mu, lam = problem.mu, problem.lam
        scene = ds.Scene(
            soft_bodies=(
                ds.SoftBody(
                    "block",
                    ds.Box(tuple((high - low) / 2.0)),
                    tuple((high + low) / 2.0),
                    particles=len(problem.x),
                    material=ds.ElastoPlastic(
                        youngs_modulus=mu * (3.0 * lam + 2.0 * mu) / (lam + mu),
                        poissons_ratio=lam / (2.0 * (lam + mu)),
                        density=problem.mass / problem.volume,
                        yield_stress=problem.yield_limit,
                    ),
                ),
            ),
            tools=tuple(
                ds.Tool(f"capsule{i}", ds.Capsule(half, radius), (px, py, pz), friction=friction, stops_at=())
                for i, (px, py, pz, half, radius, friction) in enumerate(problem.capsules.tolist())
            ),
            ground=ds.Ground(problem.ground_height, problem.ground_friction),
            grid_spacing=1.0 / GRID,
            gravity=tuple(problem.gravity),
        )
        self.simulator = ds.Simulator(scene, num_envs=num_envs, dt=problem.dt, substeps=problem.substeps, dtype=self._dtype)
        self.actions = (
            torch.tensor(problem.capsule_velocity, dtype=self._dtype)
            .reshape(problem.control_steps, 1, -1)
            .repeat(1, num_envs, 1)
        )
        self._weight = torch.tensor(problem.weight, dtype=self._dtype)
        self.start = self.simulator.reset()
        if self.simulator.num_particles != len(problem.x):
            raise ValueError(f"the block should have {len(problem.x)} particles, it has {self.simulator.num_particles}")

        # the block's particles in the problem's order, so that the weights meet the same ones
        def order(points: np.ndarray) -> np.ndarray:
            return np.lexsort(np.round(points / side).astype(int).T[::-1])

        ours, theirs = order(self.start.x[0].double().numpy()), order(problem.x)
        self._permutation = torch.empty(len(ours), dtype=torch.int64)
        self._permutation[torch.tensor(theirs)] = torch.tensor(ours)

    @property
    def particle_substeps(self) -> int:
        p = self._problem
        return len(p.x) * p.substeps * p.control_steps * len(self.start.x)

    def forward(self) -> np.ndarray:
        """Final positions (N, 3) of the first environment."""
        with torch.no_grad():
            return self.simulator.rollout(self.start, self.actions)[-1].x[0, self._permutation].numpy()

    def forward_backward(self) -> tuple[np.ndarray, np.ndarray]:
        """Final positions, and the loss's gradient by the capsules' velocities (T, 2, 3), of the first environment."""
        actions = self.actions.clone().requires_grad_()
        x = self.simulator.rollout(self.start, actions)[-1].x[:, self._permutation]
        (x * self._weight).sum().backward()
        assert actions.grad is not None
        return x[0].detach().numpy(), actions.grad[:, 0].reshape(-1, 2, 3).numpy()
