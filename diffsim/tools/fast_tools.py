"""Warns, once for each, of tools that move so far in a substep that they can pass a soft body unnoticed."""

from __future__ import annotations

import logging

import torch

from diffsim.scene.scene import Scene
from diffsim.tools.tool_motion import ColliderMotion

logger = logging.getLogger(__name__)


class FastTools:
    """What has been warned of in a scene."""

    def __init__(self, scene: Scene, *, dt: float, dtype: torch.dtype, device: str):
        self._scene, self._dt = scene, dt
        self._warned: set[str] = set()
        self._radius = torch.tensor([tool.shape.bounding_radius for tool in scene.tools], dtype=dtype, device=device)
        thickness = torch.tensor([tool.shape.thickness for tool in scene.tools], dtype=dtype, device=device)
        self._reach = thickness.clamp(max=scene.grid_spacing)

    def warn(self, motion: ColliderMotion) -> None:
        """Of each tool that moves more than a cell or its thickness in a substep."""
        count = len(self._scene.tools)
        if len(self._warned) == count or not len(motion.twist):
            return
        with torch.no_grad():
            velocity, angular_velocity = motion.velocity[:, :count], motion.angular_velocity[:, :count]
            speeds = velocity.norm(dim=-1) + angular_velocity.norm(dim=-1) * self._radius
            if not bool((speeds * self._dt > self._reach).any()):
                return
        dx = self._scene.grid_spacing
        for tool, speed, reach in zip(self._scene.tools, speeds.amax(dim=0).tolist(), self._reach.tolist(), strict=True):
            if speed * self._dt > reach and tool.name not in self._warned:
                self._warned.add(tool.name)
                logger.warning(
                    "Tool '%s' moves %.1f grid cells in a substep (%.3g m/s)%s: it can pass through a body without "
                    "touching it; use dt <= %.2e s or slower actions",
                    tool.name,
                    speed * self._dt / dx,
                    speed,
                    f", {speed * self._dt / reach:.2g} times its thickness" if 0.0 < reach < dx else "",
                    reach / speed,
                )
