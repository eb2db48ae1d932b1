"""Push a rope so that its end comes to lie far away."""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor

import diffsim as ds
from diffsim.render import Camera, GroundMarker
from tasks.episode import Episode
from tasks.goal_markers import goal_markers
from tasks.measures import soft_norm
from tasks.registry import register
from tasks.rpg_papers.soft_table import GRAVITY, SoftTable

HALF, BOTTOM = (0.2, 0.015, 0.015), 0.001  # the rope's half edges, and its height over the table, m
MIDDLE, END = 0.5, 0.15  # the rope's middle in x and y, and from where on its end counts, from the middle, m
DISTANCE, REACHED = 0.4, 0.2  # m


@register("RopePush")
class RopePush(SoftTable):
    """A capsule behind the middle of a rope of plasticine, 40 cm long and 3 cm thick.

    Task: bring the rope's right end, its last 5 cm, to where it was, 40 cm further along y.
    Randomisation: the tool's start, by 5 mm along x and y.
    Success: at the end the mean position of that end is within 20 cm of its goal.
    Ways: push the end alone, so that the rope turns and its other end stays; or carry the whole rope, pushed near the middle.

    Huang et al., the task rope: the rope, its yield stress, the tool's place, the ground's friction of 20 (it
    sticks), and the loss, 20 times the tool's distance to the nearest particle plus the distance of the end's mean to
    its goal; here divided by 40 cm, so that the whole way is worth 1. The capsule's size and the number of
    particles are ours.

    Attributes:
        particles: about how many represent the rope.
        cells: of the grid in a metre.
        start_spread: how far the tool may start from its place, along x and y, m.
        stiffness: Young's modulus of the plasticine, Pa.
        ground_friction: of the table.
    """

    outcome_names = ("the end alone", "the whole rope")
    optimizer_settings = MappingProxyType({"iterations": 50, "posterior_stride": 4})
    ground_friction: float = 20.0

    def scene(self) -> ds.Scene:
        place = (MIDDLE, MIDDLE, HALF[2] + BOTTOM)
        rope = ds.SoftBody("rope", ds.Box(HALF), place, material=self.plasticine(200.0), particles=self.particles)
        shape = ds.Capsule(half_length=0.03, radius=0.03)
        # the middle of its lower end is as high as the rope's, which it would press down otherwise; as in the original the
        # table does not stop it
        low, high, start = (0.05, 0.05, 0.045), (0.95, 1.1, 0.2), (MIDDLE, 0.45, 0.045)
        tool = ds.Tool("tool", shape, start, lower=low, upper=high, friction=0.9, stops_at=())
        return ds.Scene(
            (rope,), tools=(tool,), ground=ds.Ground(friction=self.ground_friction), upper=(1.0, 1.2, 0.4),
            grid_spacing=1.0 / self.cells, gravity=GRAVITY,
        )  # fmt: skip

    def ends(self, state: ds.State) -> tuple[Tensor, Tensor]:
        """Mean positions of the right and the left end, m, each (B, 3)."""
        x = self.rest[:, 0] - MIDDLE
        return state.x[:, x > END].mean(dim=1), state.x[:, x < -END].mean(dim=1)

    @property
    def rest(self) -> Tensor:
        """The particles at the start, (N, 3)."""
        return torch.as_tensor(self.sim.scene.soft_bodies[0].rest_particles)

    def missing(self, state: ds.State) -> Tensor:
        """Distance of the right end to its goal, m, (B,)."""
        goal = state.x.new_tensor(self.rest[self.rest[:, 0] > MIDDLE + END].mean(dim=0).tolist())
        gap = self.ends(state)[0] - goal - goal.new_tensor([0.0, DISTANCE, 0.0])
        return soft_norm(gap)

    def loss(self, state: ds.State, episode: Episode) -> Tensor:
        return (20.0 * self.tool_gap(state) + self.missing(state)) / DISTANCE

    def success(self, episode: Episode) -> Tensor:
        return self.missing(episode.state) < REACHED

    def outcome(self, episode: Episode) -> Tensor:
        right, left = (end[:, 1] - MIDDLE for end in self.ends(episode.state))
        return torch.where(right > 0.25 * DISTANCE, (left > 0.4 * right).long(), -1)

    def camera(self) -> Camera:
        return Camera(position=(0.5, -0.3, 1.0), target=(0.5, 0.7, 0.0), vertical_fov_degrees=32)

    def markers(self, episode: Episode, environment: int) -> tuple[GroundMarker, ...]:
        return goal_markers((MIDDLE + 0.175, MIDDLE + DISTANCE), 0.05)
