"""Lift a soft cube without crushing it."""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor

import diffsim as ds
from diffsim.render import Camera
from tasks.action_spaces import ActionSpace
from tasks.episode import Episode, Transition
from tasks.panda.panda_task import PandaTask, plain_panda, tilted
from tasks.registry import register

HALF = 0.025  # of the cube's edge, m
PLACE = (0.45, 0.0)  # of the cube, on the ground plane, m
LIFTED = 0.1  # m
KEPT = 0.75  # share of its width between the fingers that the cube must keep


@register("PandaSoftGrasp")
class PandaSoftGrasp(PandaTask):
    """A Panda grasps a soft cube and lifts it, without crushing it.

    Task: lift the cube's centre to a height of 10 cm. Fingers that close entirely press it flat; those that press too little
        slip off.
    Randomisation: cube and open hand start together up to 2 cm from their place along x and y, the hand up to 5 mm off the
        cube's middle along each of them too.
    Success: at the end the cube's centre is at least 10 cm above the ground, and the cube has 75% of its width or more between
        the fingers.

    Attributes:
        reach: m a control step along each axis that an action of 1 stands for.
        stiffness: Young's modulus of the cube, Pa.
        particles: of the cube.
        grid_spacing: m.
    """

    horizon = 20
    dt, substeps = 1e-3, 40
    outcome_names = ("lifted",)
    optimizer_settings = MappingProxyType({"iterations": 40, "posterior_stride": 2, "std": (0.2, 0.02), "num_latents": 2})
    reward_bound = 1.2
    reach: float = 0.02
    stiffness: float = 1e4
    particles: int = 300
    grid_spacing: float = 0.0125

    def scene(self) -> ds.Scene:
        self.robot = plain_panda(opening=0.032, friction=1.5, visuals=self.visuals)
        cube = ds.SoftBody(
            "cube",
            ds.Box((HALF,) * 3),
            (*PLACE, HALF + 5e-4),
            material=ds.Elastic(self.stiffness, 0.3),
            particles=self.particles,
        )
        return ds.Scene(
            (cube,),
            articulations=(self.robot.articulation,),
            lower=(0.0, -0.45, 0.0),  # all places to which the hand can carry it
            upper=(0.9, 0.45, 0.5),
            grid_spacing=self.grid_spacing,
        )

    def actions(self) -> list[ActionSpace]:
        return self.robot.end_effector_actions(self.reach)

    def randomize(self, generator: torch.Generator) -> Episode:
        state = self.sim.reset()
        shift, off = 0.02 * self.uniform(generator, 2), 5e-3 * self.uniform(generator, 2)
        moved = torch.nn.functional.pad(shift, (0, 1))[:, None]
        hand = torch.cat([shift + off + shift.new_tensor(PLACE), shift.new_full((len(shift), 1), HALF)], dim=1)
        state = state.replace(x=state.x + moved)
        return self.episode(self.posed(state, hand, tilted(hand), opening=0.032))

    def height(self, state: ds.State) -> Tensor:
        """Of the cube's centre above the ground, m, (B,)."""
        return state.x[..., 2].mean(dim=1)

    def width(self, state: ds.State) -> Tensor:
        """Of the cube between the fingers, along y, as a share of that at rest, (B,)."""
        aside = state.x[..., 1] - state.x[..., 1].mean(dim=1, keepdim=True)
        return aside.square().mean(dim=1).sqrt() / (HALF / 3.0**0.5)

    def observation(self, episode: Episode) -> Tensor:
        state = episode.state
        cube = torch.cat([state.x.mean(dim=1), state.v.mean(dim=1), self.width(state)[:, None]], dim=1)
        return torch.cat([super().observation(episode), cube], dim=1)

    def reward(self, step: Transition) -> Tensor:
        state = step.after
        apart = (self.hand(state) - state.x.mean(dim=1)).square().sum(dim=1)
        lifted = (self.height(state) - HALF) / (LIFTED - HALF)
        crushed = (0.85 - self.width(state)).clamp(min=0.0) / 0.1
        return lifted.clamp(max=1.2) - 0.2 * apart / 0.03**2 / (1.0 + apart / 0.1**2) - 0.5 * crushed

    def success(self, episode: Episode) -> Tensor:
        return (self.height(episode.state) > LIFTED) & (self.width(episode.state) > KEPT)

    def camera(self) -> Camera:
        return Camera(position=(1.05, -0.6, 0.5), target=(0.42, 0.0, 0.12), vertical_fov_degrees=40)
