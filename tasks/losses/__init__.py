"""Shape losses: how far is a body from a target shape? Batched and differentiable; docs/losses.md says which one when.

target = ShapeTarget.from_mesh("duck.obj", position=(0.5, 0.5, 0.1), size=0.2)
reward = -chamfer(state.x, target.points)
"""

from tasks.losses.grid_losses import (
    MassGrid,
    contact_loss,
    density_loss,
    grid_distance_loss,
    hard_iou,
    incremental_iou,
    soft_iou,
)
from tasks.losses.point_losses import chamfer, earth_mover
from tasks.losses.shape_target import ShapeTarget, plasticinelab_loss, signed_distance_loss

__all__ = [
    "MassGrid",
    "ShapeTarget",
    "chamfer",
    "contact_loss",
    "density_loss",
    "earth_mover",
    "grid_distance_loss",
    "hard_iou",
    "incremental_iou",
    "plasticinelab_loss",
    "signed_distance_loss",
    "soft_iou",
]
