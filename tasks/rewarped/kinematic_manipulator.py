"""What Rewarped's three tasks on particles share: a manipulator whose joints an action displaces, whatever resists."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

import diffsim as ds
from diffsim.scene.articulation import Vector3
from tasks.base import Task
from tasks.episode import Episode
from tasks.observation_modes import ObservationMode

FLOOR = 3.0 / 48.0  # height of the ground that the soft body comes to rest on, m; of three cells of the original's grid
GROUND = 2.0 / 48.0  # of the last nodes that the ground acts on, m: particles stay about a cell above these


def z_up(y_up: Vector3) -> Vector3:
    """A vector of the original tasks, whose second axis points up, in the axes here, whose third does: (x, y, z) -> (z, x, y).
    This turns the world about (1, 1, 1), so that a right hand stays one, and angles about the vertical keep their sign."""
    x, y, z = y_up
    return z, x, y


class KinematicManipulator(Task):
    """Particles in a unit box and a kinematic manipulator, in the settings that Rewarped's tasks have in common (Xing et al.
    2025, arXiv:2412.12089). Coordinates of joints follow from the poses of the tools, so a state is all that an episode needs.

    Attributes:
        cells: nodes of the grid along an edge of the box.
        particles: about how many the soft body has.
        spread: share of the published randomisation.
    """

    horizon = 300
    dt, substeps = 5e-5, 40
    observation_mode: ObservationMode = "points"
    observation_particles = 250
    cells: int = 48
    particles: int = 2500
    spread: float = 1.0
    gravity = -90.0
    ground_friction = 500.0  # sticks
    joint_limits: tuple[tuple[float, float, float], ...] = ()  # lower, upper, and displacement by an action of 1; m or rad

    @abstractmethod
    def joints(self, state: ds.State) -> Tensor:
        """Coordinates of the joints, m or rad, (B, J)."""

    @abstractmethod
    def twists(self, state: ds.State, joints: Tensor, moved: Tensor) -> Tensor:
        """The simulator's action (B, sim.action_dim) that takes the tools from ``joints`` (B, J) to ``moved`` (B, J)."""

    def box(self, **contents: object) -> ds.Scene:
        """The unit box with its ground and these contents."""
        return ds.Scene(
            ground=ds.Ground(GROUND, friction=self.ground_friction),
            lower=(GROUND, GROUND, GROUND),
            upper=(1.0 - GROUND, 1.0 - GROUND, 1.0 - GROUND),
            gravity=(0.0, 0.0, self.gravity),
            grid_spacing=1.0 / self.cells,
            **contents,  # type: ignore[arg-type]
        )

    def controls(self, state: ds.State, action: Tensor, last: Tensor | None = None) -> Tensor:
        """Displacements of the joints, within their limits: what is left of one at a limit has no gradient."""
        joints = self.joints(state)
        lower, upper, scale = joints.new_tensor(self.joint_limits).unbind(dim=1)
        here = joints.detach()
        moved = torch.minimum(torch.maximum(scale * action, lower - here), upper - here)
        return self.twists(state, joints, joints + moved)

    def scattered(self, state: ds.State, drawn: Tensor, *, up: float, scale: float) -> ds.State:
        """With all particles shifted, by up to 10 cm along the ground and ``up`` m upwards, and then scaled by up to a share
        ``scale`` of their coordinates; all that by numbers ``drawn`` from [-1, 1], (B, 1, 4)."""
        shift = torch.cat([0.1 * drawn[..., :2], 0.5 * up * (drawn[..., 2:3] + 1.0)], dim=-1)
        return state.replace(x=(state.x + self.spread * shift) * (1.0 + scale * self.spread * drawn[..., 3:]))

    def observation(self, episode: Episode) -> Tensor:
        """The particles' mean and the joints' coordinates."""
        return torch.cat([episode.state.x.mean(dim=1), self.joints(episode.state)], dim=1)
