"""A contact particle's nodes: what it gathers from them and what it adds to them; forward beside adjoint.

Node (i, j, l) of the 27 has the weight w = wx_i wy_j wz_l. A particle gathers the velocity sum w v and the response to its
impulse
    sum w (own w + crowd) / mass,
where ``own`` is its own part and the crowd is the fourth component of a node's velocity. Loops over a stencil stay loops:
unrolled, they would compile for a minute.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any

from diffsim.compiler import ti
from diffsim.soft.kernels.boxes import low, strides
from diffsim.soft.soft_records import Constants, Sizes


def particle_stencil(real: Any) -> SimpleNamespace:
    """The stencil's device functions for scalar type ``real``; ``soft``, ``bars`` and ``step`` as in
    `diffsim.soft.kernels.soft_memory`, x is the particle's position."""
    vec3 = ti.types.vector(3, real)
    vec4 = ti.types.vector(4, real)
    mat3 = ti.types.matrix(3, 3, real)

    @ti.func
    def weights(soft: ti.template(), step: ti.template(), x):
        """The first node of the stencil within the box, the strides, and per axis the weights and their slopes."""
        W1, S1 = mat3(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0), mat3(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        stride_x, stride_y = strides(soft.boxes, step.box)
        steps = ti.Vector([stride_x, stride_y, 1])
        node = 0
        inverse = 1.0 / soft.constants[Constants.dx]
        for i in ti.static(range(3)):
            scaled = (x[i] - soft.constants[Constants.origin + i]) * inverse
            cell = ti.cast(ti.max(scaled, 0.5) - 0.5, ti.i32)
            base_node = ti.max(ti.min(cell, soft.sizes[Sizes.counts + i] - 3), 0)
            node += (base_node - low(soft.boxes, step.box, i)) * steps[i]
            f = scaled - ti.cast(base_node, real)
            W1[i, 0], W1[i, 2] = 0.5 * (1.5 - f) * (1.5 - f), 0.5 * (f - 0.5) * (f - 0.5)
            W1[i, 1] = 0.75 - (f - 1.0) * (f - 1.0)
            S1[i, 0], S1[i, 1], S1[i, 2] = (f - 1.5) * inverse, (2.0 - 2.0 * f) * inverse, (f - 0.5) * inverse
        return node, stride_x, stride_y, W1, S1

    @ti.func
    def pick(W1, axis: ti.template(), i):
        return ti.select(i == 0, W1[axis, 0], ti.select(i == 1, W1[axis, 1], W1[axis, 2]))

    @ti.func
    def reciprocal(mass):
        """1 / mass, or 0 for a node that no particle gives any."""
        return ti.select(mass > 0.0, 1.0 / ti.max(mass, ti.cast(1e-37, real)), ti.cast(0.0, real))

    @ti.func
    def add_to_nodes(
        soft: ti.template(), step: ti.template(), x, target: ti.template(), target_offset, value, over_mass: ti.template()
    ):
        """Adds w * value to the nodes of ``target``, or w * value / mass."""
        node, stride_x, stride_y, W1, _S1 = weights(soft, step, x)
        for line in range(9):
            i, j = line // 3, line % 3
            wxy = pick(W1, 0, i) * pick(W1, 1, j)
            for l in ti.static(range(3)):
                at = node + i * stride_x + j * stride_y + l
                w = wxy * W1[2, l]
                if ti.static(over_mass):
                    w = w * reciprocal(soft.grid[step.grid + at][3])
                target[target_offset + at] = target[target_offset + at] + w * value

    @ti.func
    def gather(soft: ti.template(), step: ti.template(), x, own):
        """Velocity and response."""
        node, stride_x, stride_y, W1, _S1 = weights(soft, step, x)
        v, response = vec3(0.0, 0.0, 0.0), ti.cast(0.0, real)
        for line in range(9):
            i, j = line // 3, line % 3
            wxy = pick(W1, 0, i) * pick(W1, 1, j)
            for l in ti.static(range(3)):
                at = node + i * stride_x + j * stride_y + l
                w, there = wxy * W1[2, l], soft.velocity[step.velocity + at]
                v = v + w * vec3(there[0], there[1], there[2])
                response = response + w * (own * w + there[3]) * reciprocal(soft.grid[step.grid + at][3])
        return v, response

    @ti.func
    def gather_with_bars(soft: ti.template(), bars: ti.template(), step: ti.template(), x, own, response_bar):
        """Velocity and response; the adjoint of an impulse that `add_to_nodes` put over the masses; and that of ``own``."""
        node, stride_x, stride_y, W1, _S1 = weights(soft, step, x)
        v, response = vec3(0.0, 0.0, 0.0), ti.cast(0.0, real)
        change_bar, own_bar = vec3(0.0, 0.0, 0.0), ti.cast(0.0, real)
        for line in range(9):
            i, j = line // 3, line % 3
            wxy = pick(W1, 0, i) * pick(W1, 1, j)
            for l in ti.static(range(3)):
                at = node + i * stride_x + j * stride_y + l
                w, inverse = wxy * W1[2, l], reciprocal(soft.grid[step.grid + at][3])
                there, there_bar = soft.velocity[step.velocity + at], bars.grid[step.grid_bar + at]
                v = v + w * vec3(there[0], there[1], there[2])
                response = response + w * (own * w + there[3]) * inverse
                change_bar = change_bar + w * inverse * vec3(there_bar[0], there_bar[1], there_bar[2])
                own_bar = own_bar + w * w * inverse * response_bar
        return v, response, change_bar, own_bar

    @ti.func
    def scatter_bar(bars: ti.template(), step: ti.template(), at, w, inverse, given):
        """The mass's adjoint: ``given`` is that of w times what is over the mass."""
        bars.grid[step.grid_bar + at] = bars.grid[step.grid_bar + at] + vec4(0.0, 0.0, 0.0, -inverse * w * given)

    @ti.func
    def slope(W1, S1, i, j, l):
        """Derivative of a node's weight by x."""
        wx, wy, wz = pick(W1, 0, i), pick(W1, 1, j), pick(W1, 2, l)
        sx, sy, sz = pick(S1, 0, i), pick(S1, 1, j), pick(S1, 2, l)
        return wx * wy * wz, vec3(sx * wy * wz, wx * sy * wz, wx * wy * sz)

    @ti.func
    def response_adjoint(soft: ti.template(), bars: ti.template(), step: ti.template(), x, own, response_bar, share):
        """Adjoint of x through the response and the crowd (a share's, whose adjoint is the first component of the velocities);
        those of the nodes' masses are added to."""
        node, stride_x, stride_y, W1, S1 = weights(soft, step, x)
        x_bar = vec3(0.0, 0.0, 0.0)
        for corner in range(27):
            i, j, l = corner // 9, corner // 3 % 3, corner % 3
            at = node + i * stride_x + j * stride_y + l
            w, w_slope = slope(W1, S1, i, j, l)
            inverse, there = reciprocal(soft.grid[step.grid + at][3]), soft.velocity[step.velocity + at]
            given = inverse * (own * w + there[3]) * response_bar
            scatter_bar(bars, step, at, w, inverse, given)
            x_bar = x_bar + (given + own * w * inverse * response_bar + share * there[0]) * w_slope
        return x_bar

    @ti.func
    def gather_adjoint(soft: ti.template(), bars: ti.template(), step: ti.template(), x, change, v_bar):
        """Adjoint of x through the gathered velocity and the change of the impulse that `add_to_nodes` put over the masses;
        those of the nodes' masses are added to."""
        node, stride_x, stride_y, W1, S1 = weights(soft, step, x)
        x_bar = vec3(0.0, 0.0, 0.0)
        for corner in range(27):
            i, j, l = corner // 9, corner // 3 % 3, corner % 3
            at = node + i * stride_x + j * stride_y + l
            w, w_slope = slope(W1, S1, i, j, l)
            inverse, there = reciprocal(soft.grid[step.grid + at][3]), soft.velocity[step.velocity + at]
            there_bar = bars.grid[step.grid_bar + at]
            given = inverse * (there_bar[0] * change[0] + there_bar[1] * change[1] + there_bar[2] * change[2])
            scatter_bar(bars, step, at, w, inverse, given)
            x_bar = x_bar + (given + there[0] * v_bar[0] + there[1] * v_bar[1] + there[2] * v_bar[2]) * w_slope
        return x_bar

    return SimpleNamespace(
        add_to_nodes=add_to_nodes, gather=gather, gather_with_bars=gather_with_bars, response_adjoint=response_adjoint,
        gather_adjoint=gather_adjoint,
    )  # fmt: skip
