"""Links as what particles are pinned to (`diffsim.soft.kernels.pinned_particles`); forward beside adjoint."""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any

from diffsim.compiler import ti
from diffsim.rigid.kernels.rigid_memory import model_rows
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.rigid.rigid_records import LinkAdjoint, LinkWork, SceneConstants, Wrench


def link_anchors(real: Any, middle: bool) -> SimpleNamespace:
    """``frame`` and ``react`` and their adjoints, for scalar type ``real``; ``middle``: the links' poses are those in the
    middle of the substep (`diffsim.rigid.time_stepping`). ``m`` and ``at`` are the rigid memory and place."""
    vf, rows = vector_functions(real), model_rows()
    load, add = vf.load, vf.add

    @ti.func
    def frame(m: ti.template(), at: ti.template(), link):
        """Origin, rotation, velocity, angular velocity, and how long after the start of the substep they are so."""
        block = rows.link_block(at, link)
        return (
            load(m.work, block + LinkWork.position),
            vf.load_matrix(m.work, block + LinkWork.rotation),
            load(m.work, block + LinkWork.velocity),
            load(m.work, block + LinkWork.angular_velocity),
            m.reals[SceneConstants.dt] * ti.static(0.5 if middle else 0.0),
        )

    @ti.func
    def frame_adjoint(m: ti.template(), at: ti.template(), link, bar: ti.template(), r):
        """Adds to the adjoints of the link's pose and motion; ``bar.rotation`` is the adjoint of the arm r."""
        block = rows.link_block(at, link)
        add(m.work, block + LinkAdjoint.position_bar, bar.origin)
        add(m.work, block + LinkAdjoint.rotation_bar, r.cross(bar.rotation))
        add(m.work, block + LinkAdjoint.velocity_bar, bar.velocity)
        add(m.work, block + LinkAdjoint.angular_velocity_bar, bar.angular_velocity)

    @ti.func
    def react(m: ti.template(), at: ti.template(), link, x, J):
        """A particle at x got the impulse J within the substep: the link gets -J, there."""
        block, wrench = rows.link_block(at, link), at.wrenches + Wrench.SIZE * link
        force = (-1.0 / m.reals[SceneConstants.dt]) * J
        add(m.tape, wrench + Wrench.force, force)
        add(m.tape, wrench + Wrench.torque, (x - load(m.work, block + LinkWork.position)).cross(force))

    @ti.func
    def react_adjoint(m: ti.template(), at: ti.template(), link, x, J):
        """The adjoints of J and x: that of a wrench is the link's virtual motion. Adds to that of the link's position."""
        block, per_time = rows.link_block(at, link), -1.0 / m.reals[SceneConstants.dt]
        arm = x - load(m.work, block + LinkWork.position)
        eta = load(m.work, block + LinkAdjoint.virtual_angular_velocity)
        arm_bar = per_time * J.cross(eta)
        add(m.work, block + LinkAdjoint.position_bar, -1.0 * arm_bar)
        return per_time * (load(m.work, block + LinkAdjoint.virtual_velocity) + eta.cross(arm)), arm_bar

    return SimpleNamespace(frame=frame, frame_adjoint=frame_adjoint, react=react, react_adjoint=react_adjoint)
