"""Check the simulator's gradient in a scene of your own against finite differences.

    python examples/check_gradients.py

Stay off the kinks of contact: a tool that moves exactly along its own surface, or whose axis lies exactly on grid nodes, has
two one-sided derivatives, and finite differences return their mean.
"""

import torch

import diffsim as ds

scene = ds.Scene(
    (ds.SoftBody("jelly", ds.Sphere(0.08), (0.3, 0.3, 0.081), particles=60),),
    tools=(ds.Tool("finger", ds.Capsule(0.1, 0.04), (0.283, 0.3217, 0.2613)),),
    upper=(0.6, 0.6, 0.5),
    grid_spacing=0.04,
)
sim = ds.Simulator(scene, dt=2e-3, substeps=10, dtype=torch.float64)
start = sim.reset()


def height(x: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
    """Mean height of the jelly after the finger has pressed on it."""
    return sim.rollout(start.replace(x=x), actions)[-1].x[..., 2].mean()


press = torch.tensor([0.1, 0.05, -0.5], dtype=torch.float64).expand(3, 1, 3)
for check in ds.gradcheck(height, {"x": start.x, "actions": press}):
    print(f"{check.name:8s} adjoint {check.adjoint: .9e}  finite differences {check.finite_difference: .9e}")
