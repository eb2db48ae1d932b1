"""Boxes of grid nodes (`diffsim.soft.soft_records.Box`) in flat integer arrays."""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from diffsim.compiler import ti
from diffsim.soft.soft_records import Box


@ti.func
def side(boxes: ti.template(), box, axis: ti.template()):
    """Nodes along an axis."""
    return boxes[box + Box.high + axis] - boxes[box + Box.low + axis]


@ti.func
def low(boxes: ti.template(), box, axis: ti.template()):
    """The lowest node's place along an axis."""
    return boxes[box + Box.low + axis]


@ti.func
def strides(boxes: ti.template(), box):
    """Nodes from one to the next along x and along y; along z they are neighbours."""
    stride_y = side(boxes, box, 2)
    return side(boxes, box, 1) * stride_y, stride_y


@ti.func
def row_count(boxes: ti.template(), box):
    """Rows of a box; a row is a line of nodes along z."""
    return side(boxes, box, 0) * side(boxes, box, 1)


@ti.func
def node_count(boxes: ti.template(), box):
    return row_count(boxes, box) * side(boxes, box, 2)


@ti.func
def empty_box(boxes: ti.template(), box):
    for d in ti.static(range(3)):
        boxes[box + Box.low + d] = 1 << 30
        boxes[box + Box.high + d] = 0


@ti.func
def merge_box(boxes: ti.template(), box, own):
    """Widen a box that several lanes widen by a lane's own."""
    for d in ti.static(range(3)):
        ti.atomic_min(boxes[box + Box.low + d], boxes[own + Box.low + d])
        ti.atomic_max(boxes[box + Box.high + d], boxes[own + Box.high + d])
