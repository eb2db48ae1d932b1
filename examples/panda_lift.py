"""A Panda takes a block from the ground and lifts it: by a script, or optimised.

python examples/panda_lift.py                                                    # the script, and its video
diffsim-rpg optimize examples/panda_lift.py:PandaLift --num-envs 8 --out runs/panda

The arm is that of the package example-robot-data: `pip install --no-deps example-robot-data==6.0.0`, and the extra "robots".
"""

from __future__ import annotations

from pathlib import Path

import torch
import tyro
from torch import Tensor

import diffsim as ds
from diffsim.render import Camera, SceneRenderer, write_video
from tasks import Task, robots

HALF = 0.025  # of the block's edge, m
STEP = 0.02  # of the hand in a control step, m


class PandaLift(Task):
    """A Panda lifts a block.

    Task: bring the block's centre to a height of 15 cm or more.
    Randomisation: where the block lies, up to 5 cm aside, and its turn.
    Success: at the end its centre is higher than 15 cm.
    """

    horizon, dt, substeps = 70, 1e-3, 40
    optimizer_settings = {"iterations": 150, "policy": "mlp", "num_latents": 1}  # noqa: RUF012
    visuals: bool = True

    def scene(self):
        self.robot = robots.panda(visuals=self.visuals)
        block = ds.RigidBody("block", ds.Box((HALF, HALF, HALF)), (0.5, 0.0, HALF), mass=0.1, friction=1.0)
        return ds.Scene(rigid_bodies=(block,), articulations=(self.robot.articulation,))

    def actions(self):
        return self.robot.end_effector_actions(distance=STEP)

    def randomize(self, generator):
        state = self.sim.reset()
        q = state.q.clone()
        q[:, self.sim.joint("block").coordinates][:, :2] += 0.05 * self.uniform(generator, 2)
        return self.episode(state.replace(q=q))

    def block(self, state):
        return self.sim.links(state).position[:, self.sim.link_index("block")]

    def hand(self, state):
        return self.sim.links(state).position[:, self.sim.link_index(self.robot.end_effector_link)]

    def reward(self, step):
        block = self.block(step.after)
        apart = (self.hand(step.after) - block).square().sum(dim=1)
        return 1.0 / (1.0 + apart / 0.05**2) + (block[:, 2] - HALF) / 0.2

    def success(self, episode):
        return self.block(episode.state)[:, 2] > 0.15

    def camera(self):
        return Camera(position=(1.35, -0.85, 0.75), target=(0.3, 0.0, 0.25), vertical_fov_degrees=40)


def scripted(task: PandaLift, step: int, state: ds.State) -> Tensor:
    """The action (B, 4) of a control step: over the block, down, close, up."""
    goal = task.block(state).clone()
    goal[:, 2] = 0.15 if step < 22 else 0.03 if step < 45 else 0.25
    move = ((goal - task.hand(state)) / STEP).clamp(-1.0, 1.0)
    if step >= 45:
        move = torch.tensor([0.0, 0.0, 0.5]).to(move).expand(len(move), -1)
    grip = torch.full_like(move[:, :1], 1.0 if step < 38 else -1.0)
    return torch.cat([move, grip], dim=1)


def main(video: Path = Path("panda_lift.mp4"), seed: int = 0) -> None:
    """Run the script once."""
    task = PandaLift(1)
    episode, states = task.reset(seed), []
    for step in range(task.horizon):
        with torch.no_grad():
            episode, _, info = task.step(episode, scripted(task, step, episode.state))
        states.append(episode.state)
    print(f"the block's centre is at {float(task.block(episode.state)[0, 2]):.3f} m; success: {bool(info['success'][0])}")
    renderer = SceneRenderer(task.sim.scene, camera=task.camera(), width=640, height=480)
    write_video(video, (renderer.frame(state) for state in states), fps=25)
    print(f"wrote {video}")


if __name__ == "__main__":
    tyro.cli(main)
