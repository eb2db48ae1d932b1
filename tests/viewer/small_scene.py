"""A trajectory that needs no kernel: a yellow block, a ball and a rigid box, moved by hand."""

import torch

import diffsim as ds

STEPS = 10


def small_simulator():
    block = ds.SoftBody("block", ds.Box((0.06, 0.06, 0.06)), (0.2, 0.3, 0.061), particles=60)
    ball = ds.Tool("ball", ds.Sphere(0.04), (0.2, 0.15, 0.05), control=("x",))
    box = ds.RigidBody("box", ds.Box((0.05, 0.05, 0.05)), (0.45, 0.45, 0.05))
    scene = ds.Scene((block,), tools=(ball,), rigid_bodies=(box,), upper=(0.6, 0.6, 0.4), grid_spacing=0.05)
    return ds.Simulator(scene, num_envs=2, dt=1e-2, substeps=10)


def moved_states(sim):
    """T + 1 states of two environments: in the second the block goes from left to right, in the first it stays."""
    first = sim.reset()
    way = torch.linspace(0.0, 0.25, STEPS + 1)
    moving = torch.tensor([0.0, 1.0])[:, None, None] * torch.tensor([1.0, 0.0, 0.0])
    return [first.replace(x=first.x + far * moving, tool_position=first.tool_position + far * moving) for far in way]
