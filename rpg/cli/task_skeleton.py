"""The text of a new task's file: a whole task of diffsim and tasks, small enough to train in minutes."""

CLASS, FILE = "NEW_TASK", "NEW_FILE"
"""What stands for the class's name and for the file's path."""

SKELETON = '''"""A task for diffsim-rpg.

diffsim-rpg check-task NEW_FILE:NEW_TASK   # what is right and wrong with it
diffsim-rpg optimize NEW_FILE:NEW_TASK     # train it; the video goes to the run's folder
"""

import torch

import diffsim as ds
from diffsim.render import Camera, GroundMarker
from tasks import Task


class NEW_TASK(Task):
    """A ball pushes a soft block to a goal.

    Task: bring the block's centre to the goal.
    Randomisation: the goal lies up to 5 cm off its place along x and y.
    Success: the centre is within 6 cm of the goal, on the ground plane.

    Attributes:
        goal_spread: how far the goal may lie from its place, m.
    """

    # Lengths are in m, times in s, angles in rad. Annotated attributes of plain types are parameters: NEW_TASK(goal_spread=0.1)
    # in Python, --task.goal-spread 0.1 on the command line. (Those here without annotation have one in the base class.)
    horizon = 20  # control steps of an episode
    dt, substeps = 4e-3, 8  # a control step is substeps * dt long; a stiffer material needs a smaller dt (there is a warning)
    tool_speed = 0.8  # m/s that an action of 1 stands for
    goal_spread: float = 0.05

    outcome_names = ("pushed",)  # names of the distinct ways to succeed, if outcome() tells several apart
    # reward_bound = 1.0  # size that a reward hardly exceeds, for --task.reward-mode normalised
    # ends_on_success = True  # an episode then ends with its first success

    def scene(self) -> ds.Scene:
        """Bodies, tools, obstacles and robots, where an episode begins."""
        block = ds.SoftBody(
            "block",
            ds.Box((0.07, 0.07, 0.06)),  # half edges
            position=(0.4, 0.4, 0.061),  # of its middle: 1 mm above the ground
            material=ds.Elastic(youngs_modulus=1e4, poissons_ratio=0.3),
            particles=100,  # about 4 or more in a grid cell
        )
        ball = ds.Tool("ball", ds.Sphere(0.06), position=(0.25, 0.4, 0.07), control=("x", "y"), friction=0.5)
        return ds.Scene(
            soft_bodies=(block,),
            tools=(ball,),
            # obstacles=(ds.Obstacle("wall", ds.Box((0.05, 0.2, 0.1)), position=(0.8, 0.4, 0.1)),),
            ground=ds.Ground(friction=0.3),
            upper=(1.0, 0.8, 0.4),  # the domain is from (0, 0, 0) to here
            grid_spacing=0.05,  # tools and bodies should be at least two cells thick
        )

    # def actions(self):  # what an action in [-1, 1] does; by default every control of the scene, times tool_speed
    #     return [ToolVelocity("ball", speed=0.8)]  # from tasks; there are joints, end effectors and grippers, too

    def randomize(self, generator: torch.Generator):
        """New episodes, all B environments at once. What an episode needs later is a value (B, ...) of it."""
        goal = torch.tensor([0.6, 0.4]).to(self.sim.device, self.sim.dtype) + self.goal_spread * self.uniform(generator, 2)
        return self.episode(self.sim.reset(), goal=goal)

    def distance(self, episode) -> torch.Tensor:
        """Distance of the block's centre to the goal on the ground plane, (B,)."""
        block = episode.state.x[:, self.sim.particle_slice("block"), :2].mean(dim=1)
        return ((block - episode["goal"]).square().sum(dim=1) + 1e-6).sqrt()  # 1e-6: sqrt has no gradient at 0

    def reward(self, step) -> torch.Tensor:
        """Reward (B,) of a step, of order 1, in torch throughout so that gradients flow. step.before and step.after are states,
        step.action (B, A), step.episode the episode after the step."""
        gap = step.after.tool_position[:, 0, :2] - step.after.x[..., :2].mean(dim=1)
        return 1.0 - self.distance(step.episode) / 0.2 - gap.square().sum(dim=1)  # the gap draws the ball to the block

    def success(self, episode) -> torch.Tensor:
        """Whether an episode that ends here has succeeded, bool (B,)."""
        return self.distance(episode) < 0.06

    # def failure(self, episode):  # bool (B,); the episode then ends
    #     return episode.state.x[..., 2].amin(dim=1) < -0.1

    # def outcome(self, episode):  # int64 (B,): index into outcome_names, -1 for none
    #     return torch.zeros_like(episode.steps)

    # def observation(self, episode):  # (B, O): what the policy sees; by default means of bodies, tools, joints and the values
    #     return torch.cat([super().observation(episode), self.distance(episode)[:, None]], dim=1)

    def camera(self) -> Camera:
        """Of the video; without this method the whole scene is framed."""
        return Camera(position=(1.5, -0.6, 1.0), target=(0.5, 0.4, 0.0), vertical_fov_degrees=30)

    def markers(self, episode, environment: int):
        """Marks on the ground in the video of one environment."""
        x, y = episode["goal"][environment].tolist()
        return (GroundMarker(center=(x, y), radius=0.06, color=(0.2, 0.75, 0.35), width=0.01),)
'''
