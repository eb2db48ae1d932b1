"""The benchmark's problem in the textbook's form of a differentiable MPM simulator in Taichi: the design of PlasticineLab.

Fields hold the whole trajectory, a slot a substep; one grid serves all substeps and is cleared in full for each. The stages
are kernels: clear, trial deformation gradient, SVD, stress, particles to grid (a scatter), grid, grid to particles. The
adjoint goes back through the substeps, makes the grid of each again, and calls Taichi's `kernel.grad` of each stage; only
the SVD has an adjoint by hand, the classical one with clamped differences of the squared singular values.

Choices within that form, each the faster of those tried (2940 particles, f32, one thread; CPU ns a particle and substep,
forward / forward and backward; this file: 1090 / 2310, tuned 800 / 1660, runs differ by some 3 %):
    - a loop over particles with the 27 nodes unrolled; a loop over (particle, node), tuned: 1270 / 3310
    - the stress in a kernel of its own, so that the adjoint need not make it again; inside the scatter, tuned: 810 / 1710
    - U, sigma, V kept for every substep, where PlasticineLab decomposes again in the adjoint
The stress has no chained matrix products, and the scatter none for each node: with them the adjoints take minutes to compile.
"""

import numpy as np
import taichi as ti

from benchmarks.soft.problem import GRID, Problem

LEAST_MASS = 1e-9  # of a node, in particles: the square of a smaller one, which the gradient divides by, would vanish in f32
TINY = 1e-20  # under every root: the gradient at zero is zero, not NaN


@ti.data_oriented
class Textbook:
    """Initialises Taichi: one instance a process.

    Args:
        precision: "f32" or "f64".
        tuned: serial loops on one thread, which need no atomics, in place of the textbook's parallel loops with an atomic
            scatter (on one thread as well, here).
        cells: of the grid, along an edge of the unit cube.
        beyond: further cells past its upper faces.
    """

    def __init__(self, problem: Problem, *, precision: str, tuned: bool = False, cells: int = GRID, beyond: int = 0):
        real = {"f32": ti.f32, "f64": ti.f64}[precision]
        ti.init(arch=ti.cpu, default_fp=real, cpu_max_num_threads=1, offline_cache=True, fast_math=False, log_level=ti.WARN)
        self.mass, self.volume, self.dt, self.substeps = problem.mass, problem.volume, problem.dt, problem.substeps
        self.mu, self.lam, self.yield_limit = problem.mu, problem.lam, problem.yield_limit
        self.gravity = [float(g) for g in problem.gravity]
        self.ground_height, self.ground_friction = problem.ground_height, problem.ground_friction
        self.serial = tuned
        self.numpy_real = {"f32": np.float32, "f64": np.float64}[precision]
        self.least_difference = {"f32": 1e-6, "f64": 1e-12}[precision]
        self.n, self.control_steps = len(problem.x), problem.control_steps
        self.total = problem.control_steps * problem.substeps
        self.dx, self.inv_dx, self.layer = 1.0 / cells, float(cells), 0.5 / cells

        def trajectory(slots: int, *shape: int):
            make = ti.Vector.field if len(shape) == 1 else ti.Matrix.field
            return make(*shape, dtype=real, shape=(slots, self.n), needs_grad=True)

        slots = self.total + 1
        self.x, self.v = trajectory(slots, 3), trajectory(slots, 3)
        self.C, self.F = trajectory(slots, 3, 3), trajectory(slots, 3, 3)
        self.F_trial, self.sigma = trajectory(self.total, 3, 3), trajectory(self.total, 3)
        self.U, self.V = trajectory(self.total, 3, 3), trajectory(self.total, 3, 3)
        self.A = trajectory(self.total, 3, 3)

        cube = (cells + beyond,) * 3
        self.grid_m = ti.field(real, shape=cube, needs_grad=True)
        self.grid_p = ti.Vector.field(3, real, shape=cube, needs_grad=True)
        self.grid_v = ti.Vector.field(3, real, shape=cube, needs_grad=True)

        self.position = ti.Vector.field(3, real, shape=(self.total, 2), needs_grad=True)
        self.velocity = ti.Vector.field(3, real, shape=(self.control_steps, 2), needs_grad=True)
        self.capsule = ti.Vector.field(3, real, shape=2)  # half length, radius, friction
        self.start = ti.Vector.field(3, real, shape=self.n)
        self.weight = ti.Vector.field(3, real, shape=self.n)
        self.velocity.from_numpy(problem.capsule_velocity.astype(self.numpy_real))
        self.capsule.from_numpy(problem.capsules[:, 3:].astype(self.numpy_real))
        self.start.from_numpy(problem.x.astype(self.numpy_real))
        self.weight.from_numpy(problem.weight.astype(self.numpy_real))
        self.capsule_start = ti.Vector.field(3, real, shape=2)
        self.capsule_start.from_numpy(problem.capsules[:, :3].astype(self.numpy_real))

    # ------------------------------------------------------------------ kernels: state
    @ti.kernel
    def reset(self):
        for p in range(self.n):
            self.x[0, p] = self.start[p]
            self.v[0, p] = ti.Vector.zero(float, 3)
            self.C[0, p] = ti.Matrix.zero(float, 3, 3)
            self.F[0, p] = ti.Matrix.identity(float, 3)
        for s, c in self.position:
            self.position[s, c] = self.capsule_start[c]

    @ti.kernel
    def clear_gradients(self):
        """Of the whole trajectory and the actions; then the loss's, at its end."""
        for s, p in self.x:
            self.x.grad[s, p] = ti.Vector.zero(float, 3)
            self.v.grad[s, p] = ti.Vector.zero(float, 3)
            self.C.grad[s, p] = ti.Matrix.zero(float, 3, 3)
            self.F.grad[s, p] = ti.Matrix.zero(float, 3, 3)
        for s, p in self.U:
            self.F_trial.grad[s, p] = ti.Matrix.zero(float, 3, 3)
            self.A.grad[s, p] = ti.Matrix.zero(float, 3, 3)
            self.U.grad[s, p] = ti.Matrix.zero(float, 3, 3)
            self.sigma.grad[s, p] = ti.Vector.zero(float, 3)
            self.V.grad[s, p] = ti.Matrix.zero(float, 3, 3)
        for s, c in self.position:
            self.position.grad[s, c] = ti.Vector.zero(float, 3)
        for s, c in self.velocity:
            self.velocity.grad[s, c] = ti.Vector.zero(float, 3)
        for p in range(self.n):
            self.x.grad[self.total, p] = self.weight[p]

    @ti.kernel
    def read_positions(self, out: ti.types.ndarray()):
        for p in range(self.n):
            for d in ti.static(range(3)):
                out[p, d] = self.x[self.total, p][d]

    # ------------------------------------------------------------------ kernels: the stages of a substep
    @ti.kernel
    def clear_grid(self, gradients: ti.template()):
        for i in ti.grouped(self.grid_m):
            self.grid_m[i] = 0.0
            self.grid_p[i] = ti.Vector.zero(float, 3)
            if ti.static(gradients):
                self.grid_m.grad[i] = 0.0
                self.grid_p.grad[i] = ti.Vector.zero(float, 3)
                self.grid_v.grad[i] = ti.Vector.zero(float, 3)

    @ti.kernel
    def compute_F_trial(self, s: int):
        ti.loop_config(serialize=self.serial)
        for p in range(self.n):
            self.F_trial[s, p] = (ti.Matrix.identity(float, 3) + self.dt * self.C[s, p]) @ self.F[s, p]

    @ti.kernel
    def svd(self, s: int):
        ti.loop_config(serialize=self.serial)
        for p in range(self.n):
            U, sigma, V = ti.svd(self.F_trial[s, p])
            self.U[s, p] = U
            self.sigma[s, p] = ti.Vector([sigma[0, 0], sigma[1, 1], sigma[2, 2]])
            self.V[s, p] = V

    @ti.kernel
    def svd_grad(self, s: int):
        ti.loop_config(serialize=self.serial)
        for p in range(self.n):
            U, sigma, V = self.U[s, p], self.sigma[s, p], self.V[s, p]
            spin_U = U.transpose() @ self.U.grad[s, p]
            spin_V = V.transpose() @ self.V.grad[s, p]
            inner = ti.Matrix.zero(float, 3, 3)
            for i, j in ti.static(ti.ndrange(3, 3)):
                if ti.static(i == j):
                    inner[i, i] = self.sigma.grad[s, p][i]
                else:
                    difference = sigma[j] * sigma[j] - sigma[i] * sigma[i]
                    if difference >= 0.0:
                        difference = ti.max(difference, self.least_difference)
                    else:
                        difference = ti.min(difference, -self.least_difference)
                    inner[i, j] = (
                        (spin_U[i, j] - spin_U[j, i]) * sigma[j] + sigma[i] * (spin_V[i, j] - spin_V[j, i])
                    ) / difference
            self.F_trial.grad[s, p] += U @ inner @ V.transpose()

    @ti.func
    def stencil(self, x):
        """The first of the 27 nodes, the particle's place from there in cells, and the weights along the axes."""
        base = ti.floor(x * self.inv_dx - 0.5).cast(int)
        f = x * self.inv_dx - base.cast(float)
        a, b, c = 1.5 - f, f - 1.0, f - 0.5
        return base, f, ti.Matrix.rows([0.5 * a * a, 0.75 - b * b, 0.5 * c * c])

    @ti.func
    def compose(self, U, d, V):
        """U diag(d) V^T."""
        return ti.Matrix(
            [
                [U[i, 0] * d[0] * V[j, 0] + U[i, 1] * d[1] * V[j, 1] + U[i, 2] * d[2] * V[j, 2] for j in ti.static(range(3))]
                for i in ti.static(range(3))
            ]
        )

    @ti.kernel
    def stress(self, s: int):
        ti.loop_config(serialize=self.serial)
        for p in range(self.n):
            U, sigma, V = self.U[s, p], self.sigma[s, p], self.V[s, p]
            # von Mises return mapping
            eps = ti.log(ti.max(sigma, 2.0**-7))
            mean = eps.sum() / 3.0
            e = eps - mean
            k = self.yield_limit / (2.0 * self.mu * ti.sqrt(e.dot(e) + TINY))
            g = ti.select(k < 1.0, ti.exp(mean + ti.min(k, 1.0) * e), sigma)
            yielded = self.compose(U, g, V)
            self.F[s + 1, p] = ti.select(k < 1.0, yielded, self.F_trial[s, p])
            # Kirchhoff stress
            J = g[0] * g[1] * g[2]
            t = 2.0 * self.mu * (g - 1.0) * g + self.lam * J * (J - 1.0)
            tau = self.compose(U, t, U)
            self.A[s, p] = self.mass * self.C[s, p] - (self.dt * self.volume * 4.0 * self.inv_dx * self.inv_dx) * tau

    @ti.func
    def column(self, A, j: ti.template()):
        return ti.Vector([A[0, j], A[1, j], A[2, j]])

    @ti.kernel
    def p2g(self, s: int):
        ti.loop_config(serialize=self.serial)
        for p in range(self.n):
            base, f, w = self.stencil(self.x[s, p])
            A = self.A[s, p] * self.dx
            Ax, Ay, Az = self.column(A, 0), self.column(A, 1), self.column(A, 2)
            momentum = self.mass * self.v[s, p] - f[0] * Ax - f[1] * Ay - f[2] * Az
            for i, j, k in ti.static(ti.ndrange(3, 3, 3)):
                node = base + ti.Vector([i, j, k])
                weight = w[i, 0] * w[j, 1] * w[k, 2]
                self.grid_p[node] += weight * (momentum + i * Ax + j * Ay + k * Az)
                self.grid_m[node] += weight * self.mass

    @ti.kernel
    def move_capsules(self):
        """All their positions; they start where `reset` put them."""
        for s, c, step in ti.ndrange(self.total, 2, self.control_steps):
            passed = ti.max(0, ti.min(s - step * self.substeps, self.substeps))  # substeps of this control step before s
            self.position[s, c] += passed * self.dt * self.velocity[step, c]

    @ti.func
    def coulomb(self, u, n, friction):
        out = u
        un = u.dot(n)
        if un < 0.0:
            ut = u - un * n
            out = ti.max(0.0, 1.0 + friction * un / ti.sqrt(ut.dot(ut) + TINY)) * ut
        return out

    @ti.func
    def touch(self, v, node, position, velocity, capsule):
        out = v
        r = node - position
        d = r - ti.Vector([0.0, 0.0, ti.max(-capsule[0], ti.min(r[2], capsule[0]))])
        distance = ti.sqrt(d.dot(d) + TINY)
        phi = distance - capsule[1]
        if phi < self.layer:
            a = ti.max(0.0, ti.min((self.layer - phi) / (2.0 * self.layer), 1.0))
            u = v - velocity
            out = v + a * a * (3.0 - 2.0 * a) * (self.coulomb(u, d / distance, capsule[2]) - u)
        return out

    @ti.func
    def on_ground(self, v, node):
        out = v
        if node[2] <= self.ground_height:
            out = self.coulomb(v, ti.Vector([0.0, 0.0, 1.0]), self.ground_friction)
        return out

    @ti.func
    def touch_all(self, v, node, s):
        """A node's velocity after the capsules and the ground."""
        out = v
        for c in ti.static(range(2)):
            out = self.touch(out, node, self.position[s, c], self.velocity[s // self.substeps, c], self.capsule[c])
        return self.on_ground(out, node)

    @ti.kernel
    def grid_op(self, s: int):
        for i in ti.grouped(self.grid_m):
            if self.grid_m[i] > LEAST_MASS * self.mass:
                node = i * self.dx
                v = self.grid_p[i] / self.grid_m[i] + self.dt * ti.Vector(self.gravity)
                self.grid_v[i] = self.touch_all(v, node, s)

    @ti.kernel
    def g2p(self, s: int):
        ti.loop_config(serialize=self.serial)
        for p in range(self.n):
            base, f, w = self.stencil(self.x[s, p])
            v = ti.Vector.zero(float, 3)
            Bx, By, Bz = ti.Vector.zero(float, 3), ti.Vector.zero(float, 3), ti.Vector.zero(float, 3)
            for i, j, k in ti.static(ti.ndrange(3, 3, 3)):
                wv = w[i, 0] * w[j, 1] * w[k, 2] * self.grid_v[base + ti.Vector([i, j, k])]
                v += wv
                Bx += i * wv
                By += j * wv
                Bz += k * wv
            self.v[s + 1, p] = v
            self.C[s + 1, p] = 4.0 * self.inv_dx * ti.Matrix.cols([Bx - f[0] * v, By - f[1] * v, Bz - f[2] * v])
            self.x[s + 1, p] = self.x[s, p] + self.dt * v

    # ------------------------------------------------------------------ rollouts
    def substep(self, s: int):
        self.clear_grid(False)
        self.compute_F_trial(s)
        self.svd(s)
        self.stress(s)
        self.p2g(s)
        self.grid_op(s)
        self.g2p(s)

    def substep_grad(self, s: int):
        self.clear_grid(True)
        self.p2g(s)
        self.grid_op(s)
        self.g2p.grad(s)
        self.grid_op.grad(s)
        self.p2g.grad(s)
        self.stress.grad(s)
        self.svd_grad(s)
        self.compute_F_trial.grad(s)

    def forward(self) -> np.ndarray:
        """The final positions (N, 3)."""
        self.reset()
        self.move_capsules()
        for s in range(self.total):
            self.substep(s)
        out = np.empty((self.n, 3), self.numpy_real)
        self.read_positions(out)
        return out

    def forward_backward(self) -> tuple[np.ndarray, np.ndarray]:
        """The final positions, and the gradient of the loss with respect to the capsules' velocities (control_steps, 2, 3)."""
        positions = self.forward()
        self.clear_gradients()
        for s in reversed(range(self.total)):
            self.substep_grad(s)
        self.move_capsules.grad()
        return positions, self.velocity.grad.to_numpy()
