"""A peer in NVIDIA Warp, on its CPU backend: a kernel a stage, arrays for every substep, the gradient by `wp.Tape`.

The tape needs what each substep read, so each has its own particle arrays and, when taped, its own grids: 15 MB a substep
for the 64^3 grids and their gradients in f32. Without a tape one grid serves all substeps. The stages keep to the problem's
equations; only where no flow occurs (k = 1) the deformation gradient is F_trial itself rather than U diag(sigma) V^T, so
that its derivative does not pass through the singular value decomposition.

`wp.svd3`'s own adjoint is used. It bounds si^2 - sj^2 away from zero (by 1e-6 in f32, 1e-12 in f64), so it gives no NaN
at equal singular values, such as those of the first substep (F = I); there the terms of U and V are lost instead. In this
problem that does not show: the gradient agrees with central differences to about 1e-5, with and without flow (see
`WarpPeer`), so no custom adjoint is needed.

Warp's CPU backend runs every kernel on one thread. A particle that leaves the grid is not caught.

    python -m benchmarks.soft.warp_peer --particles 10000 --repeats 3
"""

import argparse
import json
import time
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace

import numpy as np
import warp as wp

from benchmarks.soft.problem import GRID, Problem, problem

wp.config.log_level = wp.LOG_WARNING


@cache
def _kernels(real: type) -> SimpleNamespace:
    """The stages of a substep at the precision ``real``."""
    vec3, vec4, mat33 = (wp.types.vector(3, real), wp.types.vector(4, real), wp.types.matrix((3, 3), real))
    dx, inv_dx, layer = wp.constant(real(1.0 / GRID)), wp.constant(real(GRID)), wp.constant(real(0.5 / GRID))
    module = f"warp_peer_{real.__name__}"

    @wp.func
    def coulomb(u: vec3, n: vec3, friction: real):
        un = wp.dot(u, n)
        if un >= real(0.0):
            return u
        ut = u - un * n
        speed = wp.length(ut)
        rest = speed + friction * un
        if rest <= real(0.0):
            return vec3()
        return (rest / speed) * ut

    @wp.func
    def touch(v: vec3, node: vec3, p: vec3, V: vec3, shape: vec3):
        """A node's velocity after a capsule at p; shape: half length, radius, friction."""
        r = node - p
        d = r - vec3(real(0.0), real(0.0), wp.clamp(r[2], -shape[0], shape[0]))
        distance = wp.length(d)
        gap = distance - shape[1]
        if gap >= layer or distance == real(0.0):
            return v
        s = wp.clamp(real(0.5) * (layer - gap) / layer, real(0.0), real(1.0))
        w = s * s * (real(3.0) - real(2.0) * s)
        u = v - V
        return v + w * (coulomb(u, d / distance, shape[2]) - u)

    @wp.func
    def base_node(x: vec3):
        return wp.vec3i(int(x[0] * inv_dx - real(0.5)), int(x[1] * inv_dx - real(0.5)), int(x[2] * inv_dx - real(0.5)))

    @wp.func
    def weights(x: vec3, base: wp.vec3i):
        """Row k: the weights of the nodes base + k along the three axes."""
        f = x * inv_dx - vec3(real(base[0]), real(base[1]), real(base[2]))
        a, b, c = vec3(real(1.5)) - f, f - vec3(real(1.0)), f - vec3(real(0.5))
        return wp.matrix_from_rows(real(0.5) * wp.cw_mul(a, a), vec3(real(0.75)) - wp.cw_mul(b, b), real(0.5) * wp.cw_mul(c, c))

    @wp.kernel(module=module)
    def move_capsules(
        start: wp.array(dtype=vec3),
        velocity: wp.array2d(dtype=vec3),
        substeps: int,
        dt: real,
        position: wp.array2d(dtype=vec3),
    ):
        """The pose at every substep s: p + s dt V."""
        s, c = wp.tid()
        p = start[c]
        for k in range(s // substeps):
            p += real(substeps) * dt * velocity[k, c]
        position[s, c] = p + real(s % substeps) * dt * velocity[s // substeps, c]

    @wp.kernel(module=module)
    def stress(
        F: wp.array(dtype=mat33),
        C: wp.array(dtype=mat33),
        mass: real,
        volume: real,
        mu: real,
        lam: real,
        yield_limit: real,
        dt: real,
        F_next: wp.array(dtype=mat33),
        A: wp.array(dtype=mat33),
    ):
        p = wp.tid()
        F_trial = F[p] + dt * C[p] * F[p]
        U, sigma, V = wp.svd3(F_trial)
        eps = vec3(
            wp.log(wp.max(sigma[0], real(0.0078125))),
            wp.log(wp.max(sigma[1], real(0.0078125))),
            wp.log(wp.max(sigma[2], real(0.0078125))),
        )
        mean = (eps[0] + eps[1] + eps[2]) / real(3.0)
        e = eps - vec3(mean)
        g = sigma
        F_new = F_trial
        if real(2.0) * mu * wp.length(e) > yield_limit:
            h = vec3(mean) + yield_limit / (real(2.0) * mu * wp.length(e)) * e
            g = vec3(wp.exp(h[0]), wp.exp(h[1]), wp.exp(h[2]))
            F_new = U * wp.diag(g) * wp.transpose(V)
        J = g[0] * g[1] * g[2]
        t = real(2.0) * mu * wp.cw_mul(g - vec3(real(1.0)), g) + vec3(lam * J * (J - real(1.0)))
        tau = U * wp.diag(t) * wp.transpose(U)
        F_next[p] = F_new
        A[p] = mass * C[p] - dt * volume * real(4.0) * inv_dx * inv_dx * tau

    @wp.kernel(module=module)
    def p2g(
        x: wp.array(dtype=vec3),
        v: wp.array(dtype=vec3),
        A: wp.array(dtype=mat33),
        mass: real,
        grid: wp.array3d(dtype=vec4),
    ):
        p = wp.tid()
        xp, vp, Ap = x[p], v[p], A[p]
        base = base_node(xp)
        w = weights(xp, base)
        for i in range(3):
            for j in range(3):
                for k in range(3):
                    node = base + wp.vec3i(i, j, k)
                    d = dx * vec3(real(node[0]), real(node[1]), real(node[2])) - xp
                    m = mass * vp + Ap * d
                    wp.atomic_add(grid, node[0], node[1], node[2], w[i, 0] * w[j, 1] * w[k, 2] * vec4(m[0], m[1], m[2], mass))

    @wp.kernel(module=module)
    def grid_velocity(
        grid: wp.array3d(dtype=vec4),
        position: wp.array2d(dtype=vec3),
        velocity: wp.array2d(dtype=vec3),
        shape: wp.array(dtype=vec3),
        substep: int,
        substeps: int,
        dt: real,
        gravity: vec3,
        ground_height: real,
        ground_friction: real,
        grid_v: wp.array3d(dtype=vec3),
    ):
        i, j, k = wp.tid()
        q = grid[i, j, k]
        if q[3] > real(0.0):
            node = dx * vec3(real(i), real(j), real(k))
            v = vec3(q[0], q[1], q[2]) / q[3] + dt * gravity
            for c in range(2):
                v = touch(v, node, position[substep, c], velocity[substep // substeps, c], shape[c])
            if node[2] <= ground_height:
                v = coulomb(v, vec3(real(0.0), real(0.0), real(1.0)), ground_friction)
            grid_v[i, j, k] = v

    @wp.kernel(module=module)
    def g2p(
        x: wp.array(dtype=vec3),
        grid_v: wp.array3d(dtype=vec3),
        dt: real,
        x_next: wp.array(dtype=vec3),
        v_next: wp.array(dtype=vec3),
        C_next: wp.array(dtype=mat33),
    ):
        p = wp.tid()
        xp = x[p]
        base = base_node(xp)
        w = weights(xp, base)
        v_new = vec3()
        C_new = mat33()
        for i in range(3):
            for j in range(3):
                for k in range(3):
                    node = base + wp.vec3i(i, j, k)
                    d = dx * vec3(real(node[0]), real(node[1]), real(node[2])) - xp
                    wv = w[i, 0] * w[j, 1] * w[k, 2] * grid_v[node[0], node[1], node[2]]
                    v_new += wv
                    C_new += wp.outer(wv, d)
        v_next[p] = v_new
        C_next[p] = real(4.0) * inv_dx * inv_dx * C_new
        x_next[p] = xp + dt * v_new

    return SimpleNamespace(
        vec3=vec3,
        vec4=vec4,
        mat33=mat33,
        move_capsules=move_capsules,
        stress=stress,
        p2g=p2g,
        grid_velocity=grid_velocity,
        g2p=g2p,
    )


class WarpPeer:
    """The rollout of a problem and its gradient by the capsules' velocities.

    Relative error (L2) of the f32 gradient against central differences of the f64 rollout: 3e-6 at 512 and at 2940
    particles; 1e-5 and 8e-6 with a yield limit so high that nothing flows.

    Args:
        precision: "f32" or "f64".
    """

    def __init__(self, problem: Problem, *, precision: str = "f32"):
        self.problem = problem
        self.k = k = _kernels({"f32": wp.float32, "f64": wp.float64}[precision])
        n, total = len(problem.x), problem.control_steps * problem.substeps
        shape = (GRID, GRID, GRID)

        def zeros(count: int, shape: int | tuple[int, ...], dtype: type) -> list[wp.array]:
            return [wp.zeros(shape, dtype=dtype, device="cpu", requires_grad=True) for _ in range(count)]

        # nothing writes the arrays of substep 0; v and C begin at zero
        self.x, self.v = zeros(total + 1, n, k.vec3), zeros(total + 1, n, k.vec3)
        self.C, self.F = zeros(total + 1, n, k.mat33), zeros(total + 1, n, k.mat33)
        self.A = zeros(total, n, k.mat33)
        self.grid, self.grid_v = zeros(total, shape, k.vec4), zeros(total, shape, k.vec3)
        self.position = zeros(1, (total, 2), k.vec3)[0]
        self.x[0].assign(problem.x)
        self.F[0].assign(np.tile(np.eye(3), (n, 1, 1)))
        self.velocity = zeros(1, (problem.control_steps, 2), k.vec3)[0]
        self.velocity.assign(problem.capsule_velocity)
        self.start = wp.array(problem.capsules[:, :3], dtype=k.vec3, device="cpu")
        self.shape = wp.array(problem.capsules[:, 3:], dtype=k.vec3, device="cpu")
        self.weight = wp.array(problem.weight, dtype=k.vec3, device="cpu")

    def _rollout(self, taped: bool):
        """Everything from the start; ``taped``: with a grid of its own for each substep."""
        q, k, n = self.problem, self.k, len(self.problem.x)
        total = q.control_steps * q.substeps

        def launch(kernel, dim, inputs, outputs):
            wp.launch(kernel, dim=dim, inputs=inputs, outputs=outputs, device="cpu")

        launch(k.move_capsules, (total, 2), [self.start, self.velocity, q.substeps, q.dt], [self.position])
        material = [q.mass, q.volume, q.mu, q.lam, q.yield_limit, q.dt]
        capsules = [self.position, self.velocity, self.shape]
        world = [q.substeps, q.dt, k.vec3(*q.gravity), q.ground_height, q.ground_friction]
        for s in range(total):
            grid, grid_v = (self.grid[s], self.grid_v[s]) if taped else (self.grid[0], self.grid_v[0])
            grid.zero_()
            launch(k.stress, n, [self.F[s], self.C[s], *material], [self.F[s + 1], self.A[s]])
            launch(k.p2g, n, [self.x[s], self.v[s], self.A[s], q.mass], [grid])
            launch(k.grid_velocity, grid.shape, [grid, *capsules, s, *world], [grid_v])
            launch(k.g2p, n, [self.x[s], grid_v, q.dt], [self.x[s + 1], self.v[s + 1], self.C[s + 1]])

    def forward(self) -> np.ndarray:
        """The final positions (N, 3)."""
        self._rollout(False)
        return self.x[-1].numpy().copy()

    def forward_backward(self) -> tuple[np.ndarray, np.ndarray]:
        """The final positions and the gradient of the loss by ``capsule_velocity`` (control_steps, 2, 3)."""
        with wp.Tape() as tape:
            self._rollout(True)
        tape.backward(grads={self.x[-1]: self.weight})
        gradient = self.velocity.grad.numpy().copy()
        tape.zero()
        return self.x[-1].numpy().copy(), gradient


def _best(run: Callable[[], object], repeats: int) -> float:
    """The least process CPU time of a run, in s; an uncounted run before compiles the kernels."""
    run()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--particles", type=int, default=10000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--precision", choices=("f32", "f64"), default="f32")
    args = parser.parse_args()
    case = problem(args.particles)
    peer = WarpPeer(case, precision=args.precision)
    result = {
        "forward_cpu_s": _best(peer.forward, args.repeats),
        "forward_backward_cpu_s": _best(peer.forward_backward, args.repeats),
        "particle_substeps": len(case.x) * case.control_steps * case.substeps,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
