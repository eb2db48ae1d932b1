"""A gripper on three rails grasps a block and carries it to a goal of its own in each episode.

diffsim-rpg check-task examples/lift_block.py
diffsim-rpg optimize examples/lift_block.py:LiftBlock --num-envs 16 --out runs/lift    # about a minute
"""

import torch

import diffsim as ds
from diffsim.render import Camera
from tasks import EndEffectorDelta, Gripper, Task
from tasks.goal_markers import goal_markers


def rail(name, axis, parent, position=(0.0, 0.0, 0.0), start=0.0, geometries=()):
    joint = ds.Joint(name, "prismatic", axis, damping=1.0, armature=0.1, initial=(start,))
    return ds.Link(name, joint, parent, position, inertia=ds.Inertia(0.2, (1e-4, 1e-4, 1e-4)), geometries=geometries)


class LiftBlock(Task):
    """A gripper carries a block.

    Task: grasp the block and bring it to a goal in the air.
    Randomisation: the goal, 8 to 14 cm above the ground and up to 4 cm aside.
    Success: at the end the block's centre is within 2 cm of the goal.
    Failure: the block lies more than 8 cm from between the fingers.
    """

    horizon, dt, substeps = 40, 2e-3, 10
    # one network that reads the goal: there is one way to do it, so one latent is enough
    optimizer_settings = {"iterations": 120, "policy": "mlp", "num_latents": 1}  # noqa: RUF012

    def scene(self):
        palm = ds.Geometry(ds.Box((0.02, 0.08, 0.02)), (0.0, 0.0, 0.06), collides=False, color=(0.3, 0.4, 0.6))
        finger = ds.Geometry(ds.Box((0.02, 0.008, 0.04)), friction=1.0, color=(0.5, 0.6, 0.8))
        x = rail("x", (1.0, 0.0, 0.0), None, (0.0, 0.0, 0.05))
        y = rail("y", (0.0, 1.0, 0.0), "x")
        z = rail("z", (0.0, 0.0, 1.0), "y", geometries=(palm,))
        left = rail("left", (0.0, 1.0, 0.0), "z", (0.0, 0.008, 0.0), 0.03, (finger,))  # the coordinate is half the opening
        right = rail("right", (0.0, -1.0, 0.0), "z", (0.0, -0.008, 0.0), 0.03, (finger,))
        servos = [ds.Actuator(name, name, "position", gain=1000.0, damping=60.0) for name in "xyz"]
        grip = [ds.Actuator(name, name, "position", gain=400.0, damping=20.0) for name in ("left", "right")]
        gantry = ds.Articulation("gantry", (x, y, z, left, right), (*servos, *grip))
        block = ds.RigidBody("block", ds.Box((0.025, 0.025, 0.025)), (0.0, 0.0, 0.025), mass=0.1, friction=1.0)
        return ds.Scene(rigid_bodies=(block,), articulations=(gantry,))

    def actions(self):  # opened is still a grip, if a light one: what is let go is lost
        return [EndEffectorDelta("gantry.z", distance=0.03), Gripper("gantry", ("left", "right"), closed=0.0, opened=0.02)]

    def randomize(self, generator):
        aside, up = self.uniform(generator, 2, low=-0.04, high=0.04), self.uniform(generator, 1, low=0.08, high=0.14)
        return self.episode(self.sim.reset(), goal=torch.cat([aside, up], dim=1))

    def place(self, episode, link):
        return self.sim.links(episode.state).position[:, self.sim.link_index(link)]

    def gap(self, episode):
        return ((self.place(episode, "block") - episode["goal"]).square().sum(dim=1) + 1e-6).sqrt()

    def observation(self, episode):
        to_goal = (episode["goal"] - self.place(episode, "block")) / 0.05
        return torch.cat([super().observation(episode), to_goal], dim=1)

    def reward(self, step):  # positive: after a failure it is 0, which must not be better
        gap = self.gap(step.episode)
        return 1.0 - gap / 0.3 + 0.5 / (1.0 + (gap / 0.02) ** 2)

    def success(self, episode):
        return self.gap(episode) < 0.02

    def failure(self, episode):
        return (self.place(episode, "gantry.z") - self.place(episode, "block")).norm(dim=1) > 0.08

    def camera(self):
        return Camera(position=(0.6, -0.5, 0.4), target=(0.0, 0.0, 0.1), vertical_fov_degrees=35)

    def markers(self, episode, environment):
        return goal_markers(episode["goal"][environment].tolist(), 0.02)  # below the goal
