"""Fold a thin disk with a hand (Rewarped's HandFlip)."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

import diffsim as ds
from diffsim.render import Camera
from diffsim.scene.shapes.rounded_box import RoundedBox
from tasks.episode import Episode, Transition
from tasks.measures import soft_norm
from tasks.registry import register
from tasks.rewarped.kinematic_links import KinematicLinks
from tasks.rewarped.kinematic_manipulator import KinematicManipulator, z_up
from tasks.robots import shadow_hand

SCALE = 2.5
DISK = z_up((0.5, 0.38, 0.6))
# the hand lies on its back: its z, along the fingers, is x here, and its y, out of the back, points down
ORIGIN, ROTATION = z_up((0.5, 0.3, 0.3)), np.array([(0.0, 0.0, 1.0), (-1.0, 0.0, 0.0), (0.0, -1.0, 0.0)])
FOREARM = 0.256  # from the hand's mount to its wrist, m before the scale
UNTOUCHED = ("forearm", "wrist", "thbase", "thhub")  # the last two have no size


@register("HandFlip")
class HandFlip(KinematicManipulator):
    """A Shadow hand two and a half times as large as the real one folds a thin disk of dough that falls onto it.

    Task: fold the disk along its diameter across the fingers. Like the original's reward, this one is the share that is gone of
        the mean distance between particles which mirror each other in that diameter, within -1 and 1.
    Randomisation: the disk is shifted by up to 10 cm along the ground and 10 cm up, and then all its coordinates are scaled by
        up to a twentieth.
    Success: at the end a share of that distance is gone, a quarter unless ``fold`` says otherwise.

    The hand is that of Gymnasium-Robotics (`tasks.robots.shadow_hand`), whose joints are those of the original's. Its forearm
    and wrist, which the disk does not reach, touch nothing.

    Attributes:
        fold: the share that success asks for.
        turn: of a joint in a control step, by an action of 1, rad.
    """

    action_dim = 24
    fold: float = 0.25
    turn: float = 0.33 * 0.002 * 40
    particles: int = 1500  # asked for; a disk this thin gets two layers, 2,512 in all
    outcome_names = ("folded",)
    optimizer_settings = MappingProxyType({"iterations": 60})

    def scene(self) -> ds.Scene:
        mount = tuple(np.asarray(ORIGIN) - SCALE * FOREARM * ROTATION[:, 2])
        self.hand = KinematicLinks(_shorter(shadow_hand(visuals=False).articulation), SCALE, mount, ROTATION, UNTOUCHED)
        self.joint_limits = tuple((*limits, self.turn) for limits in self.hand.limits)
        dough = ds.ElastoPlastic(4000.0, 0.2, density=1.0, yield_stress=130.0)
        disk = ds.SoftBody("disk", ds.Cylinder(0.003, 0.1), DISK, material=dough, particles=self.particles)
        rest = disk.rest_particles - np.asarray(DISK)
        self.half = np.flatnonzero(rest[:, 0] > 1e-9)
        self.partners = cKDTree(rest).query(rest[self.half] * (-1.0, 1.0, 1.0))[1]
        return self.box(soft_bodies=(disk,), tools=self.hand.tools(friction=0.5))

    def joints(self, state: ds.State) -> Tensor:
        """Those of the file, in its order, rad."""
        return self.hand.joints(state.tool_rotation)

    def twists(self, state: ds.State, joints: Tensor, moved: Tensor) -> Tensor:
        return self.hand.twists(state, moved, self.sim.control_dt)

    def randomize(self, generator: torch.Generator) -> Episode:
        state = self.scattered(self.sim.reset(), self.uniform(generator, 1, 4), up=0.1, scale=0.05)
        return self.episode(state, flat=self.apart(state))

    def apart(self, state: ds.State) -> Tensor:
        """Mean distance between particles that mirror each other, m, (B,)."""
        between = state.x[:, self.half] - state.x[:, self.partners]
        return soft_norm(between, 1e-6).mean(dim=1)

    def folded(self, episode: Episode) -> Tensor:
        """Share of that distance that is gone, (B,)."""
        return (1.0 - self.apart(episode.state) / episode["flat"]).clamp(-1.0, 1.0)

    def reward(self, step: Transition) -> Tensor:
        return self.folded(step.episode)

    def success(self, episode: Episode) -> Tensor:
        return self.folded(episode) > self.fold

    def camera(self) -> Camera:
        return Camera(position=(1.25, -0.25, 1.0), target=(0.6, 0.5, 0.25), vertical_fov_degrees=28)


def _shorter(hand: ds.Articulation) -> ds.Articulation:
    """With capsules as long as the original reads the file: their caps are part of the length that it states."""

    def changed(geometry: ds.Geometry) -> ds.Geometry:
        shape = geometry.shape
        if not isinstance(shape, RoundedBox) or shape.radius == 0.0:
            return geometry
        return replace(geometry, shape=ds.Capsule(max(shape.core[2] - shape.radius, 1e-4), shape.radius))

    return replace(hand, links=tuple(replace(each, geometries=tuple(map(changed, each.geometries))) for each in hand.links))
