"""A small rigid task that the tests share: a ball on two slides, without gravity or contact."""

import torch

import diffsim as ds
from tasks import Task


class Ball(Task):
    """A ball in the plane, driven in x and y.

    Task: bring it to a goal that is drawn anew for each environment.
    Randomisation: the goal, and how fast the motors are.
    Success: at the end the ball is within 5 cm of the goal.

    Attributes:
        spread: how far the goal may lie from (0.3, 0), m.
        start, label: where the ball starts, m;
            and what the task is called.
    """

    horizon, dt, substeps = 6, 5e-3, 4
    outcome_names = ("above", "below")
    reward_bound = 2.0
    spread: float = 0.1
    start: tuple[float, float] = (0.0, 0.0)
    label: str | None = None

    def scene(self):
        joints = [
            ds.Joint(axis, "prismatic", axis=direction, initial=(at,))
            for axis, direction, at in (("x", (1, 0, 0), self.start[0]), ("y", (0, 1, 0), self.start[1]))
        ]
        ball = ds.Geometry(ds.Sphere(0.05), collides=False)
        links = (
            ds.Link("slide", joints[0], position=(0.0, 0.0, 0.1)),
            ds.Link("ball", joints[1], "slide", inertia=ds.Inertia(0.1, (1e-4, 1e-4, 1e-4)), geometries=(ball,)),
        )
        drives = tuple(ds.Actuator(f"drive_{joint.name}", joint.name, "velocity", gain=20.0) for joint in joints)
        return ds.Scene(articulations=(ds.Articulation("robot", links, drives),), ground=None)

    def randomize(self, generator):
        goal = torch.tensor([0.3, 0.0], dtype=self.sim.dtype) + self.spread * self.uniform(generator, 2)
        return self.episode(self.sim.reset(), goal=goal)

    def distance(self, episode):
        return ((episode.state.q - episode["goal"]).square().sum(dim=1) + 1e-6).sqrt()

    def reward(self, step):
        return 1.0 - self.distance(step.episode) - 0.01 * step.action.square().sum(dim=1)

    def success(self, episode):
        return self.distance(episode) < 0.05

    def outcome(self, episode):
        return (episode.state.q[:, 1] < 0.0).long()


def played(task, actions, seed=0):
    """Rewards (T, B), infos and the last episode of actions (T, B, A)."""
    episode, rewards, infos = task.reset(seed), [], []
    for action in actions:
        episode, reward, info = task.step(episode, action)
        rewards.append(reward)
        infos.append(info)
    return torch.stack(rewards), infos, episode
