"""Put a peg into one of two holes."""

from __future__ import annotations

import dataclasses
from types import MappingProxyType

import torch
from torch import Tensor

import diffsim as ds
from diffsim.render import Camera
from tasks.episode import Episode, Transition
from tasks.measures import soft_norm
from tasks.panda.panda_task import PandaHandTask, plain_panda, tilted
from tasks.registry import register

BOARD_X, ASIDE = 0.5, 0.15  # of the holes' middles from the robot, and of each from the middle, m
HOLE, HEIGHT, BOTTOM = 0.03, 0.05, 0.01  # half a hole's width, the board's height, and the peg's tip at the goal, m
RADIUS, LENGTH, HELD = 0.018, 0.1, 0.015  # of the peg: its length below and above the hand's point, m
HALF_X, HALF_Y = 0.12, 0.24  # of the board, m


@register("PandaPegInsertion")
class PandaPegInsertion(PandaHandTask):
    """A Panda puts the peg in its hand into one of two holes of a board.

    Task: bring the peg's tip to the bottom of either hole. Both are equally good, so there are two distinct optima. Between
        them the board lies under the peg. The layout is that of DDiffPG's Peg-in-hole (arXiv 2406.00681).
    Randomisation: the peg starts up to 2 cm from the middle of the holes, along each axis, and at any height within 2 cm.
    Success: at the end the peg's tip is within 3 cm of the bottom of a hole, 1 cm above the ground, and below the board's face.
    """

    horizon = 24
    outcome_names = ("left hole", "right hole")
    optimizer_settings = MappingProxyType(
        {"iterations": 40, "posterior_stride": 2, "std": (0.3, 0.02), "num_latents": 8, "beta": (0.6, 0.05)}
    )
    reward_bound = 1.0
    reach = 0.03

    def scene(self) -> ds.Scene:
        robot = plain_panda(opening=RADIUS, friction=0.4, visuals=self.visuals)
        half = 0.5 * (LENGTH + HELD) - RADIUS
        shape = ds.Geometry(ds.Capsule(half, RADIUS), friction=0.1, color=(0.85, 0.3, 0.25))
        place = (0.0, 0.0, 0.5 * (LENGTH - HELD))
        fixed = ds.Joint("peg_grip", "fixed")
        peg = ds.Link("peg", fixed, "hand_tcp", place, inertia=ds.Inertia(0.1, (1e-4, 1e-4, 5e-5)), geometries=(shape,))
        articulation = dataclasses.replace(robot.articulation, links=(*robot.articulation.links, peg))
        self.robot = dataclasses.replace(robot, articulation=articulation)
        board = ds.Obstacle("board", self.board(), (BOARD_X, 0.0, 0.5 * HEIGHT), friction=0.1)
        return ds.Scene(articulations=(articulation,), obstacles=(board,))

    @staticmethod
    def board() -> ds.Compound:
        """Two long strips along y, and three pieces between them that leave the holes free."""
        half_z, strip, middle = 0.5 * HEIGHT, 0.5 * (HALF_X - HOLE), ASIDE - HOLE
        end = 0.5 * (HALF_Y - ASIDE - HOLE)
        pieces = [(ds.Box((strip, HALF_Y, half_z), rounding=0.004), (side * (HOLE + strip), 0.0, 0.0)) for side in (1.0, -1.0)]
        pieces += [(ds.Box((HOLE, middle, half_z), rounding=0.004), (0.0, 0.0, 0.0))]
        pieces += [(ds.Box((HOLE, end, half_z), rounding=0.004), (0.0, side * (HALF_Y - end), 0.0)) for side in (1.0, -1.0)]
        return ds.Compound(tuple(pieces))

    def randomize(self, generator: torch.Generator) -> Episode:
        state = self.sim.reset()
        start = state.q.new_tensor([BOARD_X, 0.0, HEIGHT + LENGTH + 0.06]) + 0.02 * self.uniform(generator, 3)
        return self.episode(self.posed(state, start, tilted(start), opening=RADIUS))

    def tip(self, state: ds.State) -> Tensor:
        """The peg's lower end, m, (B, 3)."""
        links = self.sim.links(state)
        number = self.sim.link_index(self.robot.end_effector_link)
        return links.position[:, number] + LENGTH * links.rotation[:, number, :, 2]

    def distances(self, state: ds.State) -> Tensor:
        """Of the tip from the bottoms of both holes, m, (B, 2)."""
        tip = self.tip(state)
        goals = [tip.new_tensor([BOARD_X, side * ASIDE, BOTTOM]) for side in (1.0, -1.0)]
        return torch.stack([soft_norm(tip - goal) for goal in goals], dim=1)

    def reward(self, step: Transition) -> Tensor:
        tip, near = self.tip(step.after), -0.03 * torch.logsumexp(-self.distances(step.after) / 0.03, dim=1)
        beside = torch.stack([soft_norm(tip[:, :2] - tip.new_tensor([BOARD_X, y])) for y in (ASIDE, -ASIDE)], dim=1).amin(dim=1)
        return 1.0 - near / 0.3 - 0.3 * beside / ASIDE

    def success(self, episode: Episode) -> Tensor:
        return (self.distances(episode.state).amin(dim=1) < 0.03) & (self.tip(episode.state)[:, 2] < HEIGHT - 0.01)

    def outcome(self, episode: Episode) -> Tensor:
        distance, hole = self.distances(episode.state).min(dim=1)
        return torch.where(distance < 0.1, hole, -1)

    def camera(self) -> Camera:
        return Camera(position=(1.25, -0.55, 0.75), target=(0.4, 0.0, 0.15), vertical_fov_degrees=42)
