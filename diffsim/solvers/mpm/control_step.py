"""The schedule: a whole control step of an environment on one CPU thread, its stages in order; the adjoint in reverse order.

Lanes are threads with a private grid; environments are dealt to lanes in turn. Nothing is shared between lanes, so there are no
atomics and the result does not depend on the number of threads.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any

import taichi as ti

from diffsim.solvers.mpm.constitutive import constitutive_law
from diffsim.solvers.mpm.contact import grid_contact
from diffsim.solvers.mpm.transfer import particle_grid_transfer

# Taichi hands a CPU thread 512 consecutive iterations at least, so lane l works at iteration 512 l
BLOCK = 512

LEFT_GRID, WILD_VELOCITY, WILD_DEFORMATION = 1, 2, 3
QUANTITIES = {
    LEFT_GRID: ("position", "left the grid or is not finite"),
    WILD_VELOCITY: ("velocity", "is not finite or above 1e6 m/s"),
    WILD_DEFORMATION: ("deformation gradient", "is not finite or above 1e6"),
}


def control_step_kernels(precision: str) -> SimpleNamespace:
    """The kernels ``forward`` and ``adjoint`` for "f32" or "f64"."""
    real: Any = {"f32": ti.f32, "f64": ti.f64}[precision]
    law = constitutive_law(
        real, sweeps={"f32": 6, "f64": 10}[precision], orthogonal={"f32": 1e-8, "f64": 1e-18}[precision]
    )
    transfer = particle_grid_transfer(real)
    contact = grid_contact(real)

    vec3 = ti.types.vector(3, real)
    vec4 = ti.types.vector(4, real)
    vec5 = ti.types.vector(5, real)
    vec6 = ti.types.vector(6, real)
    mat3 = ti.types.matrix(3, 3, real)
    ivec3 = ti.types.vector(3, ti.i32)

    def array(dtype: Any, ndim: int) -> Any:
        return ti.types.ndarray(dtype=dtype, ndim=ndim)

    @ti.func
    def report(status: ti.template(), e, substep, particle, quantity):
        """Keep the first failure of an environment."""
        if status[e, 0] == 0:
            status[e, 0] = quantity
            status[e, 1] = substep
            status[e, 2] = particle

    @ti.func
    def update_grid(
        grid: ti.template(), velocity: ti.template(),
        lane, e, s, low: ivec3, high: ivec3, counts: ivec3, dx, dt, gravity: vec3, origin: vec3,
        wall_lower: vec3, wall_upper: vec3, ground, ground_friction, layer,
        collider_shape: ti.template(), collider_position: ti.template(), collider_rotation: ti.template(),
        collider_velocity: ti.template(), collider_spin: ti.template(),
    ):  # fmt: skip
        """Momentum to velocity, gravity, colliders in order, ground and walls."""
        for i in range(low[0], high[0]):
            for j in range(low[1], high[1]):
                for k in range(low[2], high[2]):
                    index = (i * counts[1] + j) * counts[2] + k
                    node = grid[lane, index]
                    v = vec3(0.0)
                    if node[3] > 0.0:
                        v = vec3(node[0], node[1], node[2]) / node[3] + dt * gravity
                        x = origin + dx * vec3(i, j, k)
                        for m in range(collider_shape.shape[0]):
                            if contact.near(x, collider_shape[m], layer, collider_position[e, s, m]):
                                v = contact.collide(
                                    v, x, collider_shape[m], layer, collider_position[e, s, m],
                                    collider_rotation[e, s, m], collider_velocity[e, m], collider_spin[e, m],
                                )  # fmt: skip
                        v = contact.bound(v, x, wall_lower, wall_upper, ground, ground_friction)
                    velocity[lane, index] = v

    @ti.func
    def update_grid_adjoint(
        grid: ti.template(), grid_bar: ti.template(), before: ti.template(),
        lane, e, s, low: ivec3, high: ivec3, counts: ivec3, dx, dt, gravity: vec3, origin: vec3,
        wall_lower: vec3, wall_upper: vec3, ground, ground_friction, layer,
        collider_shape: ti.template(), collider_position: ti.template(), collider_rotation: ti.template(),
        collider_velocity: ti.template(), collider_spin: ti.template(),
        position_bar: ti.template(), rotation_bar: ti.template(), velocity_bar: ti.template(), spin_bar: ti.template(),
    ):  # fmt: skip
        """Turns the adjoint of the node velocity into that of (momentum, mass), and adds up the colliders' adjoints."""
        last = collider_shape.shape[0]
        for i in range(low[0], high[0]):
            for j in range(low[1], high[1]):
                for k in range(low[2], high[2]):
                    index = (i * counts[1] + j) * counts[2] + k
                    node = grid[lane, index]
                    if node[3] > 0.0:
                        free = vec3(node[0], node[1], node[2]) / node[3]
                        v = free + dt * gravity
                        x = origin + dx * vec3(i, j, k)
                        for m in range(last):
                            before[lane, m] = v
                            if contact.near(x, collider_shape[m], layer, collider_position[e, s, m]):
                                v = contact.collide(
                                    v, x, collider_shape[m], layer, collider_position[e, s, m],
                                    collider_rotation[e, s, m], collider_velocity[e, m], collider_spin[e, m],
                                )  # fmt: skip
                        bar = grid_bar[lane, index]
                        v_bar = contact.bound_adjoint(
                            v, x, wall_lower, wall_upper, ground, ground_friction, vec3(bar[0], bar[1], bar[2])
                        )
                        for reverse in range(last):
                            m = last - 1 - reverse
                            if contact.near(x, collider_shape[m], layer, collider_position[e, s, m]):
                                v_bar, p_bar, R_bar, V_bar, omega_bar = contact.collide_adjoint(
                                    before[lane, m], x, collider_shape[m], layer, collider_position[e, s, m],
                                    collider_rotation[e, s, m], collider_velocity[e, m], collider_spin[e, m], v_bar,
                                )  # fmt: skip
                                position_bar[e, s, m] = position_bar[e, s, m] + p_bar
                                rotation_bar[e, s, m] = rotation_bar[e, s, m] + R_bar
                                velocity_bar[e, m] = velocity_bar[e, m] + V_bar
                                spin_bar[e, m] = spin_bar[e, m] + omega_bar
                        momentum_bar = v_bar / node[3]
                        grid_bar[lane, index] = vec4(
                            momentum_bar[0], momentum_bar[1], momentum_bar[2], -momentum_bar.dot(free)
                        )

    @ti.func
    def clear(grid: ti.template(), lane, low: ivec3, high: ivec3, counts: ivec3):
        for i in range(low[0], high[0]):
            for j in range(low[1], high[1]):
                for k in range(low[2], high[2]):
                    grid[lane, (i * counts[1] + j) * counts[2] + k] = vec4(0.0)

    @ti.kernel
    def forward(
        lanes: ti.i32, substeps: ti.i32, keep: ti.i32, dt: real, dx: real, counts: ivec3, gravity: vec3, origin: vec3,
        wall_lower: vec3, wall_upper: vec3, ground: real, ground_friction: real, layer: real,
        x: array(vec3, 3), v: array(vec3, 3), C: array(mat3, 3), F: array(mat3, 3), material: array(vec5, 1),
        collider_shape: array(vec6, 1), collider_position: array(vec3, 3), collider_rotation: array(mat3, 3),
        collider_velocity: array(vec3, 2), collider_spin: array(vec3, 2),
        grid: array(vec4, 2), velocity: array(vec3, 2), status: array(ti.i32, 2),
        svd_U: array(mat3, 3), svd_sigma: array(vec3, 3), svd_V: array(mat3, 3), affine: array(mat3, 3),
    ):  # fmt: skip
        """Advance environments by one control step. Particle arrays are (environment, slot, particle): slot s holds substep
        s when ``keep`` is 1, and everything happens in slot 0 when it is 0. What the adjoint needs of the constitutive
        law (the last four arrays) is written when ``keep`` is 1."""
        for iteration in range(lanes * BLOCK):
            if iteration % BLOCK == 0:
                lane = iteration // BLOCK
                inv_dx = 1.0 / dx
                stress_scale = dt * 4.0 * inv_dx * inv_dx
                e = lane
                while e < x.shape[0]:
                    for s in range(substeps):
                        now = s * keep
                        new = (s + 1) * keep
                        low = counts
                        high = ivec3(0)
                        for p in range(x.shape[2]):
                            F_trial = F[e, now, p] + dt * (C[e, now, p] @ F[e, now, p])
                            if not F_trial.norm_sqr() < 1e12:
                                report(status, e, s, p, WILD_DEFORMATION)
                            U, sigma, V = law.svd(F_trial)
                            F_new, tau = law.forward(U, sigma, V, material[p][2], material[p][3], material[p][4])
                            F[e, new, p] = F_new
                            base, fx = transfer.base_node(x[e, now, p], origin, inv_dx, counts)
                            if not (fx.min() > 0.25 and fx.max() < 1.75):
                                report(status, e, s, p, LEFT_GRID)
                            A = material[p][0] * C[e, now, p] - (stress_scale * material[p][1]) * tau
                            transfer.particle_to_grid(
                                grid, lane, base, fx, counts, dx, material[p][0], v[e, now, p], A
                            )
                            if keep == 1:
                                svd_U[e, s, p] = U
                                svd_sigma[e, s, p] = sigma
                                svd_V[e, s, p] = V
                                affine[e, s, p] = A
                            low = ti.min(low, base)
                            high = ti.max(high, base + 3)
                        update_grid(
                            grid, velocity, lane, e, s, low, high, counts, dx, dt, gravity, origin,
                            wall_lower, wall_upper, ground, ground_friction, layer,
                            collider_shape, collider_position, collider_rotation, collider_velocity, collider_spin,
                        )  # fmt: skip
                        for p in range(x.shape[2]):
                            base, fx = transfer.base_node(x[e, now, p], origin, inv_dx, counts)
                            v_new, C_new = transfer.grid_to_particle(velocity, lane, base, fx, counts, inv_dx)
                            if not v_new.norm_sqr() < 1e12:
                                report(status, e, s, p, WILD_VELOCITY)
                            x[e, new, p] = x[e, now, p] + dt * v_new
                            v[e, new, p] = v_new
                            C[e, new, p] = C_new
                        clear(grid, lane, low, high, counts)
                    e += lanes

    @ti.kernel
    def adjoint(
        lanes: ti.i32, substeps: ti.i32, dt: real, dx: real, counts: ivec3, gravity: vec3, origin: vec3,
        wall_lower: vec3, wall_upper: vec3, ground: real, ground_friction: real, layer: real,
        x: array(vec3, 3), v: array(vec3, 3), C: array(mat3, 3), F: array(mat3, 3), material: array(vec5, 1),
        collider_shape: array(vec6, 1), collider_position: array(vec3, 3), collider_rotation: array(mat3, 3),
        collider_velocity: array(vec3, 2), collider_spin: array(vec3, 2),
        x_bar: array(vec3, 2), v_bar: array(vec3, 2), C_bar: array(mat3, 2), F_bar: array(mat3, 2),
        position_bar: array(vec3, 3), rotation_bar: array(mat3, 3), velocity_bar: array(vec3, 2), spin_bar: array(vec3, 2),
        grid: array(vec4, 2), velocity: array(vec3, 2), grid_bar: array(vec4, 2), before: array(vec3, 2),
        svd_U: array(mat3, 3), svd_sigma: array(vec3, 3), svd_V: array(mat3, 3), affine: array(mat3, 3),
    ):  # fmt: skip
        """Reverse of ``forward`` over the slots it kept. On entry the particle adjoints are those of the last slot, on exit
        those of the first; the collider adjoints are added to."""
        for iteration in range(lanes * BLOCK):
            if iteration % BLOCK == 0:
                lane = iteration // BLOCK
                inv_dx = 1.0 / dx
                stress_scale = dt * 4.0 * inv_dx * inv_dx
                e = lane
                while e < x.shape[0]:
                    for reverse in range(substeps):
                        s = substeps - 1 - reverse
                        # the forward stages again, from the affine momenta to the node velocities
                        low = counts
                        high = ivec3(0)
                        for p in range(x.shape[2]):
                            base, fx = transfer.base_node(x[e, s, p], origin, inv_dx, counts)
                            transfer.particle_to_grid(
                                grid, lane, base, fx, counts, dx, material[p][0], v[e, s, p], affine[e, s, p]
                            )
                            low = ti.min(low, base)
                            high = ti.max(high, base + 3)
                        update_grid(
                            grid, velocity, lane, e, s, low, high, counts, dx, dt, gravity, origin,
                            wall_lower, wall_upper, ground, ground_friction, layer,
                            collider_shape, collider_position, collider_rotation, collider_velocity, collider_spin,
                        )  # fmt: skip
                        # the adjoint stages
                        for p in range(x.shape[2]):
                            base, fx = transfer.base_node(x[e, s, p], origin, inv_dx, counts)
                            x_bar[e, p] = x_bar[e, p] + transfer.grid_to_particle_adjoint(
                                grid_bar, velocity, lane, base, fx, counts, inv_dx,
                                v_bar[e, p] + dt * x_bar[e, p], C_bar[e, p],
                            )  # fmt: skip
                        update_grid_adjoint(
                            grid, grid_bar, before, lane, e, s, low, high, counts, dx, dt, gravity, origin,
                            wall_lower, wall_upper, ground, ground_friction, layer,
                            collider_shape, collider_position, collider_rotation, collider_velocity, collider_spin,
                            position_bar, rotation_bar, velocity_bar, spin_bar,
                        )  # fmt: skip
                        for p in range(x.shape[2]):
                            base, fx = transfer.base_node(x[e, s, p], origin, inv_dx, counts)
                            moved, v_new_bar, A_bar = transfer.particle_to_grid_adjoint(
                                grid_bar, lane, base, fx, counts, dx, inv_dx, material[p][0], v[e, s, p], affine[e, s, p]
                            )
                            x_bar[e, p] = x_bar[e, p] + moved
                            v_bar[e, p] = v_new_bar
                            tau_bar = (-stress_scale * material[p][1]) * A_bar
                            F_trial_bar = law.adjoint(
                                svd_U[e, s, p], svd_sigma[e, s, p], svd_V[e, s, p],
                                material[p][2], material[p][3], material[p][4], F_bar[e, p], tau_bar,
                            )  # fmt: skip
                            C_bar[e, p] = material[p][0] * A_bar + dt * (F_trial_bar @ F[e, s, p].transpose())
                            F_bar[e, p] = F_trial_bar + dt * (C[e, s, p].transpose() @ F_trial_bar)
                        clear(grid, lane, low, high, counts)
                        clear(grid_bar, lane, low, high, counts)
                    e += lanes

    return SimpleNamespace(forward=forward, adjoint=adjoint)
