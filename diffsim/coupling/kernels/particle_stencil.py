"""A contact's nodes: what it gathers from them and what it adds to them; forward beside adjoint.

Node (i, j, l) of a particle's 27 has the weight w = wx_i wy_j wz_l. The weights stand in `ContactWork` for the whole substep,
at ``c`` in ``work``; ``node`` is the first node within the box. The crowd of a node is the sum of the contacts' shares s w; the
response of a contact is
    sum w ((1 - s) w + crowd) / mass.
A node's velocity has the inverse mass as its fourth component. Loops along the first axis stay loops, and so do all of those
that run once in a substep of the adjoint: unrolled, they would compile for a minute.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any

from diffsim.compiler import ti
from diffsim.coupling.coupled_records import ContactWork
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.soft.kernels.boxes import strides
from diffsim.soft.kernels.spline_nodes import spline_nodes


def particle_stencil(real: Any) -> SimpleNamespace:
    """The stencil's device functions for scalar type ``real``; ``soft``, ``bars`` and ``step`` as in
    `diffsim.soft.kernels.soft_memory`."""
    vf = vector_functions(real)
    vec3, load, store = vf.vec3, vf.load, vf.store
    vec4, splines = ti.types.vector(4, real), spline_nodes(real)

    @ti.func
    def weigh(soft: ti.template(), step: ti.template(), work: ti.template(), c, x, sloped: ti.template()):
        """Notes the weights at x and, if ``sloped``, their slopes. Returns the first node within the box."""
        stride_x, stride_y = strides(soft.boxes, step.box)
        steps = ti.Vector([stride_x, stride_y, 1])
        node = 0
        for i, weights, slopes in ti.static((
            (0, ContactWork.weights_x, ContactWork.slopes_x),
            (1, ContactWork.weights_y, ContactWork.slopes_y),
            (2, ContactWork.weights_z, ContactWork.slopes_z),
        )):  # fmt: skip
            first, f = splines.along(soft, step, x[i], i)
            node += first * steps[i]
            store(work, c + weights, splines.weights(f))
            if ti.static(sloped):
                store(work, c + slopes, splines.slopes(soft, f))
        return node

    @ti.func
    def add_share(step: ti.template(), boxes: ti.template(), work: ti.template(), c, node, crowds: ti.template()):
        """Adds the share to the nodes' crowds."""
        stride_x, stride_y = strides(boxes, step.box)
        wz, share = load(work, c + ContactWork.weights_z), work[c + ContactWork.share]
        for i in range(3):
            for j in ti.static(range(3)):
                w = share * work[c + ContactWork.weights_x + i] * work[c + ContactWork.weights_y + j]
                at = step.velocity + node + i * stride_x + j * stride_y
                for l in ti.static(range(3)):
                    crowds[at + l] = crowds[at + l] + w * wz[l]

    @ti.func
    def clear_crowd(step: ti.template(), boxes: ti.template(), node, crowds: ti.template()):
        stride_x, stride_y = strides(boxes, step.box)
        for i in range(3):
            for j in ti.static(range(3)):
                at = step.velocity + node + i * stride_x + j * stride_y
                for l in ti.static(range(3)):
                    crowds[at + l] = 0.0

    @ti.func
    def response(soft: ti.template(), step: ti.template(), work: ti.template(), c, node, crowds: ti.template()):
        """The response, from the crowds."""
        stride_x, stride_y = strides(soft.boxes, step.box)
        wz = load(work, c + ContactWork.weights_z)
        own = 1.0 - work[c + ContactWork.share]
        total = ti.cast(0.0, real)
        for i in range(3):
            for j in ti.static(range(3)):
                wxy = work[c + ContactWork.weights_x + i] * work[c + ContactWork.weights_y + j]
                at = step.velocity + node + i * stride_x + j * stride_y
                for l in ti.static(range(3)):
                    w = wxy * wz[l]
                    total = total + w * (own * w + crowds[at + l]) * soft.velocity[at + l][3]
        return total

    @ti.func
    def gather(soft: ti.template(), step: ti.template(), work: ti.template(), c, node):
        """Velocity at the particle."""
        stride_x, stride_y = strides(soft.boxes, step.box)
        wz = load(work, c + ContactWork.weights_z)
        v = vec4(0.0, 0.0, 0.0, 0.0)
        for i in range(3):
            for j in ti.static(range(3)):
                w = work[c + ContactWork.weights_x + i] * work[c + ContactWork.weights_y + j]
                at = step.velocity + node + i * stride_x + j * stride_y
                line = wz[0] * soft.velocity[at]
                for l in ti.static(range(1, 3)):
                    line = line + wz[l] * soft.velocity[at + l]
                v = v + w * line
        return vec3(v[0], v[1], v[2])

    @ti.func
    def add_impulse(soft: ti.template(), step: ti.template(), work: ti.template(), c, node, J):
        """The nodes' velocities grow by w J / mass."""
        stride_x, stride_y = strides(soft.boxes, step.box)
        wz = load(work, c + ContactWork.weights_z)
        value = vec4(J[0], J[1], J[2], 0.0)
        for i in range(3):
            for j in ti.static(range(3)):
                w = work[c + ContactWork.weights_x + i] * work[c + ContactWork.weights_y + j]
                at = step.velocity + node + i * stride_x + j * stride_y
                for l in ti.static(range(3)):
                    old = soft.velocity[at + l]
                    soft.velocity[at + l] = old + w * wz[l] * old[3] * value

    @ti.func
    def slope(work: ti.template(), c, i, j, wz, sz, l: ti.template()):
        """A node's weight and its derivative by x."""
        wx, wy = work[c + ContactWork.weights_x + i], work[c + ContactWork.weights_y + j]
        sx, sy = work[c + ContactWork.slopes_x + i], work[c + ContactWork.slopes_y + j]
        return wx * wy * wz[l], vec3(sx * wy * wz[l], wx * sy * wz[l], wx * wy * sz[l])

    @ti.func
    def gather_with_bars(soft: ti.template(), bars: ti.template(), step: ti.template(), work: ti.template(), c, node, J):
        """The velocity, and what is known of the adjoint of an impulse J that `add_impulse` added: that of J, and that of x,
        which it returns; those of the masses are added to."""
        stride_x, stride_y = strides(soft.boxes, step.box)
        wz, sz = load(work, c + ContactWork.weights_z), load(work, c + ContactWork.slopes_z)
        v, bar, x_bar = vec4(0.0, 0.0, 0.0, 0.0), vec4(0.0, 0.0, 0.0, 0.0), vec3(0.0, 0.0, 0.0)
        for i in range(3):
            for j in ti.static(range(3)):
                at = node + i * stride_x + j * stride_y
                for l in ti.static(range(3)):
                    w, w_slope = slope(work, c, i, j, wz, sz, l)
                    there, there_bar = soft.velocity[step.velocity + at + l], bars.grid[step.grid_bar + at + l]
                    inverse = there[3]
                    v = v + w * there
                    bar = bar + w * inverse * there_bar
                    given = inverse * (there_bar[0] * J[0] + there_bar[1] * J[1] + there_bar[2] * J[2])
                    x_bar = x_bar + given * w_slope
                    bars.grid[step.grid_bar + at + l] = there_bar - vec4(0.0, 0.0, 0.0, inverse * w * given)
        return vec3(v[0], v[1], v[2]), vec3(bar[0], bar[1], bar[2]), x_bar

    @ti.func
    def gather_adjoint(soft: ti.template(), bars: ti.template(), step: ti.template(), work: ti.template(), c, node, v_bar):
        """Adjoint of `gather`: that of x; those of the velocities are added to."""
        stride_x, stride_y = strides(soft.boxes, step.box)
        wz, sz = load(work, c + ContactWork.weights_z), load(work, c + ContactWork.slopes_z)
        value, x_bar = vec4(v_bar[0], v_bar[1], v_bar[2], 0.0), vec3(0.0, 0.0, 0.0)
        for i in range(3):
            for j in ti.static(range(3)):
                at = node + i * stride_x + j * stride_y
                for l in ti.static(range(3)):
                    w, w_slope = slope(work, c, i, j, wz, sz, l)
                    there = soft.velocity[step.velocity + at + l]
                    x_bar = x_bar + (there[0] * v_bar[0] + there[1] * v_bar[1] + there[2] * v_bar[2]) * w_slope
                    bars.grid[step.grid_bar + at + l] = bars.grid[step.grid_bar + at + l] + w * value
        return x_bar

    @ti.func
    def stop_nodes(soft: ti.template(), step: ti.template(), node):
        """The nodes' velocities become 0, to make room for `add_response_bar`."""
        stride_x, stride_y = strides(soft.boxes, step.box)
        for i in range(3):
            for j in range(3):
                at = step.velocity + node + i * stride_x + j * stride_y
                for l in ti.static(range(3)):
                    soft.velocity[at + l] = vec4(0.0, 0.0, 0.0, soft.velocity[at + l][3])

    @ti.func
    def add_response_bar(soft: ti.template(), step: ti.template(), work: ti.template(), c, node):
        """On nodes that stand still: the first component becomes the adjoint of the crowd, the second the crowd."""
        stride_x, stride_y = strides(soft.boxes, step.box)
        wz = load(work, c + ContactWork.weights_z)
        share, bar = work[c + ContactWork.share], work[c + ContactWork.response_bar]
        for i in range(3):
            for j in range(3):
                w = work[c + ContactWork.weights_x + i] * work[c + ContactWork.weights_y + j]
                at = step.velocity + node + i * stride_x + j * stride_y
                for l in ti.static(range(3)):
                    old = soft.velocity[at + l]
                    soft.velocity[at + l] = old + w * wz[l] * vec4(bar * old[3], share, 0.0, 0.0)

    @ti.func
    def response_adjoint(soft: ti.template(), bars: ti.template(), step: ti.template(), work: ti.template(), c, node):
        """Adjoints of x and of the share, through the response and the crowds, after `add_response_bar`; those of the masses
        are added to."""
        stride_x, stride_y = strides(soft.boxes, step.box)
        wz, sz = load(work, c + ContactWork.weights_z), load(work, c + ContactWork.slopes_z)
        share, bar = work[c + ContactWork.share], work[c + ContactWork.response_bar]
        own = 1.0 - share
        x_bar, share_bar = vec3(0.0, 0.0, 0.0), ti.cast(0.0, real)
        for i in range(3):
            for j in range(3):
                at = node + i * stride_x + j * stride_y
                for l in ti.static(range(3)):
                    w, w_slope = slope(work, c, i, j, wz, sz, l)
                    there = soft.velocity[step.velocity + at + l]
                    crowd_bar, crowd, inverse = there[0], there[1], there[3]
                    given = inverse * (own * w + crowd) * bar
                    x_bar = x_bar + (given + own * w * inverse * bar + share * crowd_bar) * w_slope
                    share_bar = share_bar + w * (crowd_bar - w * inverse * bar)
                    bars.grid[step.grid_bar + at + l] = bars.grid[step.grid_bar + at + l] - vec4(
                        0.0, 0.0, 0.0, inverse * w * given
                    )
        return x_bar, share_bar

    return SimpleNamespace(
        weigh=weigh, add_share=add_share, clear_crowd=clear_crowd, response=response, gather=gather, add_impulse=add_impulse,
        gather_with_bars=gather_with_bars, gather_adjoint=gather_adjoint, stop_nodes=stop_nodes,
        add_response_bar=add_response_bar, response_adjoint=response_adjoint,
    )  # fmt: skip
