"""Sums of the impulses that soft bodies exert on a thing in a control step, and of their moments; forward beside adjoint.

An impulse J at the arm r from the point of reference adds J and r x J. With the adjoints F of the sum and T of the moments',
its own is F + T x r, and the arm's J x T. The sums, and in the adjoint pass their adjoints, stand behind the rows of inputs
(`ImpulseSum`): an array of their own would take longer to pass.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any

from diffsim.compiler import ti
from diffsim.soft.soft_records import ImpulseSum, Sizes


def impulse_sums(real: Any, *, shared_grid: bool) -> SimpleNamespace:
    """``place`` of a row of sums; ``add``, ``impulse_bar`` and ``arm_bar``. ``shared_grid``: many threads add to a sum."""
    vec3 = ti.types.vector(3, real)

    @ti.func
    def place(sizes: ti.template(), environments, row, length):
        """Where a row of so many sums begins, behind the inputs of all environments."""
        return environments * sizes[Sizes.inputs] + row * length * ImpulseSum.SIZE

    @ti.func
    def add(inputs: ti.template(), at, arm: vec3, J: vec3):
        """Adds an impulse and its moment to the sums at ``at``."""
        moment = arm.cross(J)
        for d in ti.static(range(3)):
            if ti.static(shared_grid):
                ti.atomic_add(inputs[at + ImpulseSum.impulse + d], J[d])
                ti.atomic_add(inputs[at + ImpulseSum.moment + d], moment[d])
            else:
                inputs[at + ImpulseSum.impulse + d] = inputs[at + ImpulseSum.impulse + d] + J[d]
                inputs[at + ImpulseSum.moment + d] = inputs[at + ImpulseSum.moment + d] + moment[d]

    @ti.func
    def load(inputs: ti.template(), at):
        return vec3(inputs[at], inputs[at + 1], inputs[at + 2])

    @ti.func
    def impulse_bar(inputs: ti.template(), at, arm: vec3):
        """Adjoint of an impulse that was added, from those of the sums at ``at``."""
        return load(inputs, at + ImpulseSum.impulse) + load(inputs, at + ImpulseSum.moment).cross(arm)

    @ti.func
    def arm_bar(inputs: ti.template(), at, J: vec3):
        """Adjoint of its arm."""
        return J.cross(load(inputs, at + ImpulseSum.moment))

    return SimpleNamespace(place=place, add=add, impulse_bar=impulse_bar, arm_bar=arm_bar)
