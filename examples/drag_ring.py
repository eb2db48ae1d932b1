"""A peg drags a ring past a post, on either side; the floor's friction and the ring's mass differ by episode.

diffsim-rpg check-task examples/drag_ring.py
diffsim-rpg optimize examples/drag_ring.py:DragRing --iterations 40 --posterior-stride 3 --out runs/drag
diffsim-rpg evaluate runs/drag --task.friction 0.3 0.5    # on a rougher floor than it was trained on
"""

import torch

import diffsim as ds
from diffsim.render import Camera
from tasks import JointVelocity, Task
from tasks.goal_markers import goal_markers


class DragRing(Task):
    """A peg drags a ring past a post.

    Task: bring the ring to a goal behind the post, to the left of it or to the right.
    Randomisation: the friction of the floor, and the ring's mass, 0.1 to 0.4 kg.
    Success: at the end the ring's centre is within 4 cm of the goal.

    Attributes:
        friction: lowest and highest, of the floor.
    """

    horizon, dt, substeps = 30, 2e-3, 15
    outcome_names = ("left", "right")
    goal = (0.5, 0.0)  # m; the ring starts at 0, the post stands in the middle
    friction: tuple[float, float] = (0.1, 0.3)

    def scene(self):
        ring = ds.RigidBody("ring", ds.Torus(0.055, 0.02), (0.0, 0.0, 0.02), mass=0.2, color=(0.95, 0.6, 0.15))
        shape = ds.Geometry(ds.Sphere(0.025), (0.0, 0.0, 0.03), friction=0.1)
        joints = [ds.Joint(name, "prismatic", axis) for name, axis in (("x", (1.0, 0.0, 0.0)), ("y", (0.0, 1.0, 0.0)))]
        mass = ds.Inertia(0.1, (1e-4, 1e-4, 1e-4))
        links = (ds.Link("rail", joints[0], inertia=mass), ds.Link("tip", joints[1], "rail", inertia=mass, geometries=(shape,)))
        motors = tuple(ds.Actuator(name, name, "velocity", gain=20.0, force_limits=(-5.0, 5.0)) for name in "xy")
        peg = ds.Articulation("peg", links, motors)  # a ds.Tool would press the ring into the post with any force
        post = ds.Obstacle("post", ds.Cylinder(0.08, 0.05), (0.25, 0.0, 0.08))
        return ds.Scene(rigid_bodies=(ring,), articulations=(peg,), obstacles=(post,))

    def actions(self):
        return [JointVelocity("peg", limit=0.9)]

    def randomize(self, generator):
        friction = self.uniform(generator, low=self.friction[0], high=self.friction[1])
        mass = self.uniform(generator, low=0.1, high=0.4)
        return self.episode(self.sim.reset(), parameters={"ground.friction": friction, "ring.mass": mass})

    def ring(self, state):
        return self.sim.links(state).position[:, self.sim.link_index("ring"), :2]

    def gap(self, state):
        return ((self.ring(state) - self.ring(state).new_tensor(self.goal)).square().sum(dim=1) + 1e-6).sqrt()

    def reward(self, step):
        return 1.0 - self.gap(step.after) / 0.5

    def success(self, episode):
        return self.gap(episode.state) < 0.04

    def outcome(self, episode):
        return (episode.history[..., 1].mean(dim=0) < 0.0).long()  # (t + 1, B, O) observations; feature 1 is the ring's y

    def observation(self, episode):
        state = episode.state  # its coordinates q are those of bodies, then of robots
        return torch.cat([self.ring(state), state.q[:, -2:], state.qd[:, :2]], dim=1)

    def camera(self):
        return Camera(position=(0.25, -0.75, 0.75), target=(0.25, 0.0, 0.0), vertical_fov_degrees=40)

    def markers(self, episode, environment):
        return goal_markers(self.goal, 0.04)
