"""A new task as a class, and gradient-based trajectory optimisation on it in plain torch.

python examples/push_to_goal.py                                            # Adam on the actions, writes push_to_goal.mp4
diffsim-rpg optimize examples/push_to_goal.py:PushToGoal --out runs/push   # the same task, optimised by RPG
"""

import argparse

import torch

import diffsim as ds
from diffsim.render import GroundMarker, SceneRenderer, write_video
from tasks import Task, register


@register("PushToGoal")
class PushToGoal(Task):
    """A ball pushes a block of plasticine across the floor.

    Task: bring the block's centre to a goal 20 cm ahead and 5 cm to the side.
    Randomisation: none.
    Success: at the end the centre is within 5 cm of the goal, on the ground plane.
    """

    horizon, dt, substeps, tool_speed = 20, 2e-3, 15, 0.8
    goal: tuple[float, float] = (0.6, 0.45)  # annotated: a parameter, PushToGoal(goal=(0.55, 0.4))

    def scene(self):
        plasticine = ds.ElastoPlastic(youngs_modulus=2e4, poissons_ratio=0.3, yield_stress=2e3)
        block = ds.SoftBody("block", ds.Box((0.07, 0.07, 0.06)), (0.4, 0.4, 0.061), material=plasticine, particles=200)
        ball = ds.Tool("ball", ds.Sphere(0.06), (0.25, 0.4, 0.07), control=("x", "y"))
        return ds.Scene((block,), tools=(ball,), ground=ds.Ground(friction=0.4), upper=(1.0, 0.8, 0.4), grid_spacing=0.04)

    def distance(self, state):
        centre = state.x[..., :2].mean(dim=1)
        return ((centre - centre.new_tensor(self.goal)).square().sum(dim=1) + 1e-6).sqrt()

    def reward(self, step):
        gap = (step.after.tool_position[:, 0] - step.after.x.mean(dim=1)).square().sum(dim=1)
        return 1.0 - self.distance(step.after) / 0.2 - gap

    def success(self, episode):
        return self.distance(episode.state) < 0.05

    def markers(self, episode, environment):
        return (GroundMarker(center=self.goal, radius=0.06, color=(0.2, 0.75, 0.35), width=0.01),)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=40)
    parser.add_argument("--video", default="push_to_goal.mp4")
    options = parser.parse_args()

    task = PushToGoal()
    actions = torch.zeros(task.horizon, 1, task.action_dim, requires_grad=True)
    optimizer = torch.optim.Adam([actions], lr=0.05)
    for iteration in range(options.iterations):
        episode, total, episodes = task.reset(), torch.zeros(1), []
        for action in actions:
            episode, reward, info = task.step(episode, torch.tanh(action))
            total = total + reward
            episodes.append(episode.detach())
        optimizer.zero_grad()
        (-total.sum()).backward()  # through the simulator, every contact on the way included
        torch.nn.utils.clip_grad_norm_([actions], 5.0)  # where contact begins, a gradient can be a hundred times as large
        optimizer.step()
        distance = task.distance(episode.state).item()
        print(f"iteration {iteration:3d}  return {total.item():6.2f}  distance {distance:.3f} m  {info['success'].tolist()}")

    renderer = SceneRenderer(task.sim.scene)
    write_video(options.video, (renderer.frame(e.state, markers=task.markers(e, 0)) for e in episodes), fps=12)
    print(f"wrote {options.video}")


if __name__ == "__main__":
    main()
