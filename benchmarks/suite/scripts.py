"""Hand-written controllers of tasks that no method here solves, or not all ways, at the full setting: it can be done.

A script sees everything, also geometry that a policy is not told, so a solution of this kind says nothing about a method.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tasks import Episode
from tasks.household.two_block_push import GOALS_X
from tasks.panda.panda_cabinet import ASIDE, FACE_X, HEIGHT, HOLD
from tasks.plasticine.action_script import action_script, waypoints
from tasks.plasticine.plasticine_triple_move import STARTS, VARIANTS
from tasks.rewarped import soft_jumper
from tasks.robots import shadow_hand

Controller = Callable[[Episode, int], Tensor]
"""The action (B, A) of a control step, of the episodes and the step's number."""
Script = Callable[[Any, Episode], Controller]
"""A controller of a task, of its first episodes."""


def along(path: Tensor, distance: Tensor) -> Tensor:
    """The points (B, D) that are ``distance`` (B,) along polylines (B, P, D), the last ones beyond the ends."""
    legs = path.diff(dim=1)
    lengths = legs.norm(dim=2).clamp(min=1e-9)
    gone = (distance[:, None] - lengths.cumsum(dim=1) + lengths).clamp(min=0.0)
    share = (gone / lengths).clamp(max=1.0)
    return path[:, 0] + (share[..., None] * legs).sum(dim=1)


def keyframes(*frames: tuple[float, Sequence[float]]) -> Script:
    """Constant actions: each until its share of the horizon is over."""

    def script(task: Any, first: Episode) -> Controller:
        def action(episode: Episode, step: int) -> Tensor:
            values = next(values for until, values in frames if step < until * task.horizon)
            return torch.tensor(values).expand(task.num_envs, -1)

        return action

    return script


# Panda --------------------------------------------------------------------------------------------------------------


def carry(*, aside: float, height: float) -> Script:
    """PandaPickPlace: grip, go to a point before the wall and to one behind it, put the block down, let it be."""

    def script(task: Any, first: Episode) -> Controller:
        hand, goal = task.hand(first.state), first["goal"]
        place = hand[:, 2]

        def point(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
            return torch.stack([x, y, z], dim=1)

        if aside:
            side = torch.full_like(place, aside)
            stops = [point(hand[:, 0] + 0.03, side, place + height), point(goal[:, 0], side, place + height)]
        else:
            stops = [point(hand[:, 0], hand[:, 1], place + height), point(goal[:, 0], goal[:, 1], place + height)]  # over it
        stops = [hand, *stops, point(goal[:, 0], goal[:, 1], place)]
        times = (3, 11, 20, 26) if aside else (3, 9, 20, 26)  # when it leaves each, and is at the last

        def action(episode: Episode, step: int) -> Tensor:
            move = torch.zeros_like(hand)
            for (here, there), (begin, end) in zip(pairwise(stops), pairwise(times), strict=True):
                if begin <= step < end:
                    move = (there - here) / (end - begin)
            return torch.cat([move / task.reach, -torch.ones_like(hand[:, :1])], dim=1)

        return action

    return script


def pull_door(side: float) -> Script:
    """PandaCabinet: keep the fingertips where they hold the bar of the door on ``side``, a quarter of a rad further open."""
    door = int(side < 0.0)

    def script(task: Any, first: Episode) -> Controller:
        def action(episode: Episode, step: int) -> Tensor:
            angle = task.angles(episode.state)[:, door]
            held = (angle > 0.05) | (task.handle_distances(episode.state)[:, door] < 0.02)
            ahead = (angle + 0.25 * held).clamp(max=1.6)
            cos, sin = torch.cos(-side * ahead), torch.sin(-side * ahead)
            x, y = HOLD[0], side * HOLD[1]
            bar = torch.stack(
                [FACE_X + cos * x - sin * y, side * ASIDE + sin * x + cos * y, torch.full_like(ahead, HEIGHT)], dim=1
            )
            return (bar - task.hand(episode.state)) / task.reach

        return action

    return script


# Things pushed on a table -------------------------------------------------------------------------------------------


def push_blocks(*, left_first: bool) -> Script:
    """TwoBlockPush: along straight lines round the blocks; the left one is pushed aside to its goal's x, too."""

    def script(task: Any, first: Episode) -> Controller:
        def points(*pairs: tuple[Tensor | float, Tensor | float]) -> list[Tensor]:
            like = first.state.q[:, 0]
            return [torch.stack([torch.zeros_like(like) + x, torch.zeros_like(like) + y], dim=1) for x, y in pairs]

        (left_x, left_y), (right_x, _) = first.state.q[:, :2].unbind(1), first.state.q[:, 2:4].unbind(1)
        end, gap = task.distance - 0.4, 0.45  # where the pusher is when a block is at its goal; clear of a block
        between = left_x + gap + 0.15
        left = points(
            (between, left_y - 0.1), (GOALS_X[0] + 0.4, left_y), (between, left_y), (between, left_y - 0.7),
            (GOALS_X[0], left_y - 0.7), (GOALS_X[0], end),
        )  # fmt: skip
        right = points((right_x, -0.6), (right_x, end))
        there = points((right_x, end - 0.4), (between, end - 0.4))
        back = points((GOALS_X[0], -0.8), (right_x, -0.8))
        stops = [*points((left_x + gap + 0.15, -0.9)), *left, *back, *right] if left_first else [*right, *there, *left]
        path = torch.stack([first.state.q[:, 4:6], *stops], dim=1)
        speed = 2.2 * task.sim.control_dt

        def action(episode: Episode, step: int) -> Tensor:
            wanted = along(path, torch.full_like(left_x, (step + 1) * speed))
            return (wanted - episode.state.q[:, 4:6]) / task.sim.control_dt / 2.5

        return action

    return script


def strike(*stops: tuple[float, float], haste: float = 2.5) -> Script:
    """Push1 and Push2: the ball is wanted along a path, at most ``haste`` times as fast as on average; the disc gets behind it,
    as seen from the velocity that it lacks, and strikes."""

    def script(task: Any, first: Episode) -> Controller:
        start = task.place(first.state, 1)
        points = [start.new_tensor(stop).expand_as(start) for stop in (*stops, task.goals[0])]
        path = torch.stack([start, *points], dim=1)
        total = path.diff(dim=1).norm(dim=2).sum(dim=1)
        touching = task.discs[0].radius + task.discs[1].radius
        share = 2.0 * task.discs[0].mass / (task.discs[0].mass + task.discs[1].mass)
        dt = task.sim.control_dt
        fastest = haste * total / (task.horizon * dt)

        def action(episode: Episode, step: int) -> Tensor:
            q, qd = episode.state.q, episode.state.qd
            gap = q[:, 2:4] - q[:, :2]
            wanted = along(path, total * min(1.0, (step + 8) / task.horizon)) - q[:, 2:4]
            far = (wanted.norm(dim=1) / (8.0 * dt * fastest)).clamp(min=1.0)
            lacking = wanted / (8.0 * dt * far[:, None]) - qd[:, 2:4]
            size = lacking.norm(dim=1, keepdim=True)
            direction = lacking / size.clamp(min=1e-6)
            distance = gap.norm(dim=1, keepdim=True)
            aligned = (gap * direction).sum(dim=1, keepdim=True) / distance
            ready = (aligned > 0.97) & (size > 0.5)
            hit = qd[:, 2:4] + direction * size / share
            # otherwise to a place behind it, round the ball where that is on the way
            behind = q[:, 2:4] - direction * (touching + 0.08)
            tangent = behind - q[:, :2]
            inward = (tangent * gap).sum(dim=1, keepdim=True) / distance
            near = distance < touching + 0.1
            tangent = torch.where(near & (inward > 0.0), tangent - 1.2 * inward * gap / distance, tangent)
            move = qd[:, 2:4] + tangent / (3.0 * dt)
            return (torch.where(ready, hit, move) - qd[:, :2]) / task.multiplier

        return action

    return script


# Rewarped's on particles --------------------------------------------------------------------------------------------


def carry_box(task: Any, first: Episode) -> Controller:
    """FluidMove: to the goal in two thirds of the time, at the least jerk."""
    start, goal = task.joints(first.state), first["goal"]

    def action(episode: Episode, step: int) -> Tensor:
        share = min(1.0, 1.5 * (step + 1) / task.horizon)
        smooth = share**3 * (10.0 - 15.0 * share + 6.0 * share**2)
        return (start + smooth * (goal - start) - task.joints(episode.state)) / task.joint_limits[0][2]

    return action


def roll(task: Any, first: Episode) -> Controller:
    """RollingFlat: down, then along the dough and back while it goes on down."""

    def action(episode: Episode, step: int) -> Tensor:
        phase = 2.0 * math.pi * step / 100.0
        return torch.tensor([math.cos(phase), -0.6, 0.0]).expand(task.num_envs, -1)

    return action


def close_hand(task: Any, first: Episode) -> Controller:
    """HandFlip: when the disk has come to lie on the fingers, bend their two outer joints, and the inner one less."""
    names = [link.joint.name for link in shadow_hand(visuals=False).articulation.links if link.joint.kind == "revolute"]
    share = {"J2": 0.3, "J1": 1.0, "J0": 1.0}
    bend = torch.tensor([0.0 if name.startswith(("WR", "TH")) else share.get(name[2:], 0.0) for name in names])

    def action(episode: Episode, step: int) -> Tensor:
        return (bend if step >= 80 else torch.zeros_like(bend)).expand(task.num_envs, -1)

    return action


def walk(task: Any, first: Episode) -> Controller:
    """SoftJumper: a gait of twelve numbers, found by random search from the first start of seed 0.

    All legs bend and lift in rhythm, the front ones not quite as the rear ones, and the plate bends along. It is no controller:
    from other starts it mostly falls over.
    """
    frequency, begin = 1.6837111711502075, 0.1886548548936844  # Hz, s
    bend, front_bend, rear_bend, lean = 1.803689956665039, 1.2108296155929565, 2.1036758422851562, 0.1380229890346527
    lift, front_lift, rear_lift = 0.8435948491096497, 1.8448318243026733, 0.8074596524238586
    wave, wave_phase, wave_number = 0.3903878629207611, -3.7469918727874756, 0.8406991958618164
    (table,) = task.sim.scene.soft_bodies
    rest = torch.from_numpy(np.asarray(table.rest_particles)).float()
    center = torch.stack([rest[list(muscle.where)].mean(dim=0) for muscle in task.sim.scene.muscles])
    leg, side = center[:, 2] < soft_jumper.LEG, center[:, 0].sign()
    ahead = ((center[:, 0] - side * 0.5 * (soft_jumper.WIDTH - soft_jumper.CELL)) / (0.5 * soft_jumper.CELL)).clamp(-1.0, 1.0)
    upper = ((center[:, 2] - soft_jumper.LEG) / (0.5 * soft_jumper.PLATE) - 1.0).clamp(-1.0, 1.0)

    def phases(front: float, rear: float) -> Tensor:
        return torch.where(side > 0, torch.tensor(front), torch.tensor(rear))

    def action(episode: Episode, step: int) -> Tensor:
        time = step / 60.0
        turn = 2.0 * math.pi * torch.tensor(frequency) * time
        legs = bend * ahead * torch.sin(turn + phases(front_bend, rear_bend)) + lean * ahead
        legs = legs + lift * torch.sin(turn + phases(front_lift, rear_lift))
        plate = wave * upper * torch.sin(turn + wave_phase + wave_number * center[:, 0])
        return torch.where(leg, legs, plate).clamp(-1.0, 1.0).expand(task.num_envs, -1) * float(time > begin)

    return action


def recipe(task: Any, first: Episode) -> Controller:
    """Tasks of PlasticineLab whose target is simulated: the actions that made the target."""
    actions = torch.from_numpy(task.script())
    return lambda episode, step: actions[step].expand(task.num_envs, -1)


def carry_cubes(task: Any, first: Episode) -> Controller:
    """PlasticineTripleMove: press each cube a little between its two spheres, then carry all straight to their places."""
    places = [VARIANTS[task.variant - 1][number] for number in (0, 2, 1)]
    speeds = torch.linspace(0.0, math.pi, 42, dtype=torch.float64).sin().clamp(max=0.6)
    actions = torch.zeros(task.horizon, 3, 2, 3, dtype=torch.float64)  # of cubes, their spheres, along x, y, z
    actions[:4, :, :, 0] = torch.tensor([0.3, -0.3])
    for cube, (x, place) in enumerate(zip(STARTS, places, strict=True)):
        way = torch.tensor(place, dtype=torch.float64) - torch.tensor([x, 0.5, 0.05], dtype=torch.float64)
        actions[4:46, cube] = (speeds / speeds.sum())[:, None, None] * way / task.scale[0]
    return lambda episode, step: actions[step].flatten().expand(task.num_envs, -1)


def wind_rope(task: Any, first: Episode) -> Controller:
    """PlasticineRope: pull the rope's ends past the pillar and together behind it."""
    paths = (((0.22, 0.5), (0.33, 0.36)), ((0.7, 0.62), (0.57, 0.45), (0.45, 0.35)))
    actions = []
    for tool, path in zip(first.state.tool_position[0].tolist(), paths, strict=True):
        actions.append(action_script(waypoints(tool, [(x, y, 0.02) for x, y in path], task.scale[0]), task.scale, task.horizon))
    both = torch.from_numpy(np.concatenate(actions, axis=1))
    return lambda episode, step: both[step].expand(task.num_envs, -1)


def carry_cup(side: float) -> Script:
    """TransportLiquid: along a bow past the post, gently at its ends, by the velocities that undo the cup's lag."""

    def script(task: Any, first: Episode) -> Controller:
        (space,) = task.actions()
        start, goal = first.state.tool_position[:, 0, :2], first["goal"]

        def place(step: int) -> Tensor:
            share = 0.5 - 0.5 * math.cos(math.pi * min(step / (task.horizon - 5), 1.0))
            aside = start.new_tensor([0.0, side * 0.24 * math.sin(math.pi * share)])
            return start + share * (goal - start) + aside

        def action(episode: Episode, step: int) -> Tensor:
            last = (place(step) - place(step - 1)) / task.sim.control_dt if step else torch.zeros_like(start)
            wanted = (place(step + 1) - place(step)) / task.sim.control_dt
            return (last + (wanted - last) / space.share) / space.speed

        return action

    return script


SCRIPTS: Mapping[str, Sequence[Script]] = {
    "PandaPickPlace": (carry(aside=0.17, height=0.02), carry(aside=-0.17, height=0.02), carry(aside=0.0, height=0.17)),
    "PandaCabinet": (pull_door(1.0), pull_door(-1.0)),
    "TwoBlockPush": (push_blocks(left_first=True), push_blocks(left_first=False)),
    "Push1": (strike((0.0, 2.1)), strike((-1.0, -2.2), (1.0, -2.2))),
    "Push2": (
        strike((-3.0, -1.0), (1.0, 3.0), haste=1.6), strike((-3.0, -1.0), (0.0, 0.0), (3.0, 1.0)),
        strike((-1.2, -3.6), (0.0, -1.4), (0.0, 1.4), (1.2, 3.6)), strike((-1.0, -3.0), (3.0, 1.0), haste=1.6),
        strike((-3.6, 3.6), (3.0, 4.0)), strike((3.6, -3.6), (4.0, 3.0)),
    ),
    "ScoopSand": (
        keyframes((0.3, (-0.4, -0.45, 1.0)), (0.6, (0.8, 0.0, -0.1)), (1.0, (0.0, 0.8, -1.0))),
        keyframes((0.3, (0.4, -0.45, -1.0)), (0.6, (-0.8, 0.0, 0.1)), (1.0, (0.0, 0.8, 1.0))),
    ),
    "PourLiquid": (
        keyframes((0.1, (-1.0, 0.0, -1.0)), (0.6, (0.0, 0.0, -1.0)), (1.0, (0.0, 0.0, 0.0))),
        keyframes((0.1, (1.0, 0.0, 1.0)), (0.6, (0.0, 0.0, 1.0)), (1.0, (0.0, 0.0, 0.0))),
    ),
    "FluidMove": (carry_box,),
    "RollingFlat": (roll,),
    "HandFlip": (close_hand,),
    "SoftJumper": (walk,),
    "TransportLiquid": (carry_cup(1.0), carry_cup(-1.0)),
    "PlasticineTripleMove": (carry_cubes,),
    "PlasticineRope": (wind_rope,),
    **{f"Plasticine{name}": (recipe,) for name in ("Assembly", "Chopsticks", "Pinch", "Torus", "Writer")},
}  # fmt: skip
"""By task; several where there are several ways."""
