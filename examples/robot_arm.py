"""A robot arm pushes a box to a goal: joint targets optimised by gradient descent through rigid contact.

python examples/robot_arm.py    # Adam on the targets of the position actuators, writes robot_arm.mp4
"""

import argparse

import torch

import diffsim as ds
from diffsim.render import GroundMarker, SceneRenderer, write_video

START, GOAL, STEPS = (-1.3, 1.1, 0.9), (0.3, 0.36), 60  # joint angles, rad; x and y, m; control steps
COLORS = ((0.25, 0.4, 0.7), (0.35, 0.55, 0.8), (0.5, 0.7, 0.9))


def arm() -> ds.Articulation:
    """Three links of 25 cm that turn about vertical axes, 6 cm over the table, each driven by a position actuator."""
    along_x = (0.5**0.5, 0.0, 0.5**0.5, 0.0)
    links, actuators = [], []
    for i, name in enumerate(("shoulder", "elbow", "wrist")):
        rod = ds.Geometry(ds.Capsule(0.125, 0.034 - 0.002 * i), (0.125, 0.0, 0.0), along_x, friction=0.2, color=COLORS[i])
        joint = ds.Joint(name, "revolute", damping=0.2, armature=0.01, initial=(START[i],))
        inertia = ds.Inertia(0.5, (2e-4, 3e-3, 3e-3), center=(0.125, 0.0, 0.0))
        place = (0.25, 0.0, 0.0) if i else (0.0, 0.0, 0.06)
        links.append(ds.Link(f"link{i}", joint, f"link{i - 1}" if i else None, place, inertia=inertia, geometries=(rod,)))
        actuators.append(ds.Actuator(name, name, "position", gain=20.0, damping=2.0, force_limits=(-15.0, 15.0)))
    return ds.Articulation("arm", tuple(links), tuple(actuators))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=150)
    parser.add_argument("--video", default="robot_arm.mp4")
    options = parser.parse_args()

    box = ds.RigidBody("box", ds.Box((0.05, 0.05, 0.05)), (0.48, 0.0, 0.05), mass=0.3, color=(0.95, 0.6, 0.15))
    scene = ds.Scene(rigid_bodies=(box,), articulations=(arm(),), ground=ds.Ground(friction=0.4))
    sim = ds.Simulator(scene, dt=2e-3, substeps=10)
    turns = torch.tensor([0.01, 0.0, 0.0]).repeat(STEPS, 1, 1)  # of the targets, rad a step; a first guess that hits the box
    optimizer = torch.optim.Adam([turns.requires_grad_()], lr=1e-3)
    for iteration in range(options.iterations):
        states = sim.rollout(sim.reset(), torch.tensor(START) + turns.cumsum(dim=0))
        away = states[-1].q[0, :2] - torch.tensor(GOAL)  # q starts with the box's position
        loss = away.square().sum() + 1e-3 * states[-1].qd.square().sum() + 0.01 * turns.square().sum()
        optimizer.zero_grad()
        loss.backward()  # through the simulator, every contact on the way included
        optimizer.step()
        print(f"iteration {iteration:3d}  loss {loss.item():.5f}  the box is {100.0 * away.norm().item():.2f} cm from the goal")

    renderer = SceneRenderer(scene, width=640, height=480)
    goal = GroundMarker(center=GOAL, radius=0.08, width=0.01)
    write_video(options.video, (renderer.frame(state.detach(), markers=(goal,)) for state in states), fps=25)
    print(f"wrote {options.video}")


if __name__ == "__main__":
    main()
