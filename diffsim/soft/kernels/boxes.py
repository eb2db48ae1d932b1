"""Boxes of grid nodes (low corner 3, high corner 3, exclusive) in flat integer arrays."""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from diffsim.compiler import ti


@ti.func
def row_count(boxes: ti.template(), box):
    return (boxes[box + 3] - boxes[box]) * (boxes[box + 4] - boxes[box + 1])


@ti.func
def node_count(boxes: ti.template(), box):
    return row_count(boxes, box) * (boxes[box + 5] - boxes[box + 2])


@ti.func
def empty_box(boxes: ti.template(), box):
    for d in ti.static(range(3)):
        boxes[box + d] = 1 << 30
        boxes[box + 3 + d] = 0


@ti.func
def merge_box(boxes: ti.template(), box, own):
    """Widen a box that several lanes widen by a lane's own."""
    for d in ti.static(range(3)):
        ti.atomic_min(boxes[box + d], boxes[own + d])
        ti.atomic_max(boxes[box + 3 + d], boxes[own + 3 + d])
