"""One of PlasticineLab's tasks in the textbook's form (`benchmarks/soft/textbook.py`), with its manipulators and its loss.

The same physics and the same loss as `tasks.plasticine`, so that both find the same solutions and only their time differs. The
motion of the manipulators comes from outside, as poses at every substep and twists, and so does its gradient.
"""

from dataclasses import dataclass

import numpy as np
import taichi as ti

from benchmarks.soft.problem import Problem
from benchmarks.soft.textbook import TINY, Textbook

MARGIN = 3  # cells before the unit cube, so that no particle's nodes lie outside the fields
WEIGHT = 10.0  # of the density and of the distance in the loss


@dataclass(frozen=True)
class TaskSetting:
    """A task as the textbook needs it; arrays are float64, positions in the unit cube.

    Attributes:
        body: particles, material, time steps, gravity and ground; its capsules are not used.
        cells: along an edge of the unit cube.
        lower, upper: nodes at or beyond are on the walls, m.
        shapes: a row (core half extents 3, radius of a torus's circle, radius, friction) for each manipulator, then each
            obstacle.
        manipulators: how many of them move, and count in the loss.
        decay, layer: of contact outside a surface, 1/m, and how far it reaches, m.
        particle_mass: in the loss's unit.
        goal, distance: masses of the target and distance to it, (nodes, nodes, nodes) from node (-1, -1, -1) on.
        unit: what the loss is divided by.
    """

    body: Problem
    cells: int
    lower: float
    upper: float
    shapes: np.ndarray
    manipulators: int
    decay: float
    layer: float
    particle_mass: float
    goal: np.ndarray
    distance: np.ndarray
    unit: float


@ti.data_oriented
class TextbookTask(Textbook):
    """Initialises Taichi: one instance a process."""

    def __init__(self, setting: TaskSetting, *, precision: str = "f32") -> None:
        shift = MARGIN / setting.cells
        body = setting.body
        moved = Problem(**{**vars(body), "x": body.x + shift, "ground_height": body.ground_height + shift})
        super().__init__(moved, precision=precision, cells=setting.cells, beyond=2 * MARGIN)
        real = ti.f32 if precision == "f32" else ti.f64
        self.shift, self.lower, self.upper = shift, setting.lower + shift, setting.upper + shift
        self.decay, self.layer, self.unit = setting.decay, setting.layer, setting.unit
        self.count, self.manipulators = len(setting.shapes), setting.manipulators
        self.particle_mass = setting.particle_mass

        slots = self.total + 1
        self.place = ti.Vector.field(3, real, shape=(slots, self.count), needs_grad=True)
        self.turn = ti.Matrix.field(3, 3, real, shape=(slots, self.count), needs_grad=True)
        self.speed = ti.Vector.field(3, real, shape=(self.control_steps, self.count), needs_grad=True)
        self.spin = ti.Vector.field(3, real, shape=(self.control_steps, self.count), needs_grad=True)
        self.core = ti.Vector.field(3, real, shape=self.count)
        self.sizes = ti.Vector.field(3, real, shape=self.count)  # of the circle, radius, friction
        self.core.from_numpy(setting.shapes[:, :3].astype(self.numpy_real))
        self.sizes.from_numpy(setting.shapes[:, 3:].astype(self.numpy_real))

        cube = (setting.cells + 2 * MARGIN,) * 3
        self.loss = ti.field(real, shape=(), needs_grad=True)
        self.body_mass = ti.field(real, shape=cube, needs_grad=True)
        self.goal, self.distance = ti.field(real, shape=cube), ti.field(real, shape=cube)
        self.nearest = ti.field(ti.i32, shape=(self.control_steps, self.count))
        for target, given in ((self.goal, setting.goal), (self.distance, setting.distance)):
            whole = np.zeros(cube, self.numpy_real)
            first = MARGIN - 1
            kept = given[tuple(slice(0, size - first) for size in cube)]
            whole[tuple(slice(first, first + size) for size in kept.shape)] = kept
            target.from_numpy(whole)

    # ------------------------------------------------------------------ kernels: manipulators
    @ti.func
    def off_core(self, local, c):
        """From the nearest point of the core, a segment, a box or a circle, to a point in the shape's frame."""
        core = self.core[c]
        nearest = ti.max(-core, ti.min(local, core))
        if self.sizes[c][0] > 0.0:
            across = ti.sqrt(local[0] * local[0] + local[1] * local[1] + TINY)
            nearest = self.sizes[c][0] / across * ti.Vector([local[0], local[1], 0.0])
        return local - nearest

    @ti.func
    def meet(self, v, node, s, step, c):
        out = v
        arm = node - self.place[s, c]
        off = self.off_core(self.turn[s, c].transpose() @ arm, c)
        length = ti.sqrt(off.dot(off) + TINY)
        phi = length - self.sizes[c][1]
        if phi < self.layer:
            weight = ti.exp(-self.decay * ti.max(phi, 0.0))
            u = v - self.speed[step, c] - self.spin[step, c].cross(arm)
            out = v + weight * (self.coulomb(u, self.turn[s, c] @ (off / length), self.sizes[c][2]) - u)
        return out

    @ti.func
    def within_walls(self, speed, place):
        """A node's velocity along one axis, at its place there: none leaves the box."""
        inward = ti.select(place <= self.lower, ti.max(speed, 0.0), speed)
        return ti.select(place >= self.upper, ti.min(inward, 0.0), inward)

    @ti.func
    def touch_all(self, v, node, s):
        """A node's velocity after the manipulators, the ground and the walls."""
        out = v
        for c in ti.static(range(self.count)):
            out = self.meet(out, node, s, s // self.substeps, c)
        out = self.on_ground(out, node)
        return ti.Vector([self.within_walls(out[d], node[d]) for d in ti.static(range(3))])

    # ------------------------------------------------------------------ kernels: the loss of a control step
    @ti.kernel
    def clear_body_mass(self):
        for i in ti.grouped(self.body_mass):
            self.body_mass[i] = 0.0
            self.body_mass.grad[i] = 0.0

    @ti.kernel
    def deposit(self, s: int):
        for p in range(self.n):
            base, _f, w = self.stencil(self.x[s, p])
            for i, j, k in ti.static(ti.ndrange(3, 3, 3)):
                self.body_mass[base + ti.Vector([i, j, k])] += w[i, 0] * w[j, 1] * w[k, 2] * self.particle_mass

    @ti.kernel
    def compare(self):
        for i in ti.grouped(self.body_mass):
            m = self.body_mass[i]
            self.loss[None] += WEIGHT / self.unit * (ti.abs(m - self.goal[i]) + self.distance[i] * m)

    @ti.kernel
    def find_nearest(self, s: int, step: int):
        for c in range(self.manipulators):
            least = 1e9
            for p in range(self.n):
                far = self.off_core(self.turn[s, c].transpose() @ (self.x[s, p] - self.place[s, c]), c).norm()
                if far < least:
                    least = far
                    self.nearest[step, c] = p

    @ti.kernel
    def reach(self, s: int, step: int):
        for c in ti.static(range(self.manipulators)):
            off = self.off_core(self.turn[s, c].transpose() @ (self.x[s, self.nearest[step, c]] - self.place[s, c]), c)
            gap = ti.max(ti.sqrt(off.dot(off) + TINY) - self.sizes[c][1], 0.0)
            self.loss[None] += gap * gap / self.unit

    # ------------------------------------------------------------------ rollouts
    def set_motion(self, place: np.ndarray, turn: np.ndarray, speed: np.ndarray, spin: np.ndarray) -> None:
        """Positions (slots, K, 3) and rotation matrices (slots, K, 3, 3) at every substep and the end, twists (T, K, 3)."""
        self.place.from_numpy((place + self.shift).astype(self.numpy_real))
        for target, values in ((self.turn, turn), (self.speed, speed), (self.spin, spin)):
            target.from_numpy(values.astype(self.numpy_real))

    def step_loss(self, s: int, step: int) -> None:
        self.clear_body_mass()
        self.deposit(s)
        self.compare()
        self.find_nearest(s, step)
        self.reach(s, step)

    def step_loss_grad(self, s: int, step: int) -> None:
        self.clear_body_mass()
        self.deposit(s)
        self.reach.grad(s, step)
        self.compare.grad()
        self.deposit.grad(s)

    def objective(self) -> tuple[float, np.ndarray]:
        """The sum of the losses of all control steps, and the final positions (N, 3)."""
        self.reset()
        self.loss[None] = 0.0
        for step in range(self.control_steps):
            for s in range(step * self.substeps, (step + 1) * self.substeps):
                self.substep(s)
            self.step_loss((step + 1) * self.substeps, step)
        out = np.empty((self.n, 3), self.numpy_real)
        self.read_positions(out)
        return float(self.loss[None]), out - self.shift

    def objective_and_gradient(self) -> tuple[float, np.ndarray, tuple[np.ndarray, ...]]:
        """As `objective`, and the gradient by what `set_motion` set."""
        value, positions = self.objective()
        self.clear_gradients()
        for field in (self.place, self.turn, self.speed, self.spin):
            field.grad.fill(0.0)
        self.loss.grad[None] = 1.0
        for step in reversed(range(self.control_steps)):
            self.step_loss_grad((step + 1) * self.substeps, step)
            for s in reversed(range(step * self.substeps, (step + 1) * self.substeps)):
                self.substep_grad(s)
        gradient = tuple(field.grad.to_numpy() for field in (self.place, self.turn, self.speed, self.spin))
        return value, positions, gradient
