"""A policy of your own, any torch module, trained through the simulator: one with memory balances a pole on a cart.

    python examples/own_policy.py    # prints how many poles stay up as it learns, writes own_policy.mp4

The policy sees where the cart and the pole are, but no velocities: these its recurrent network has to infer from what it saw
before. The loss is differentiated through all steps of all episodes at once, simulator and network alike, so training is a
plain loop of torch. It takes about 40 s on one core.
"""

import argparse

import torch
from torch import Tensor, nn

import diffsim as ds
from diffsim.render import Camera, SceneRenderer, caption, side_by_side, write_video

STEPS, TILT, FALLEN = 75, 0.35, 0.8  # control steps of 40 ms; largest angle at the start, rad; what counts as fallen, rad


def cart_pole() -> ds.Scene:
    """A cart on a rail, pushed by a motor, and a pole of 80 cm on a free hinge. q is (m, rad), 0 for the pole upright."""
    body = ds.Geometry(ds.Box((0.1, 0.06, 0.04)), color=(0.3, 0.45, 0.7), collides=False)
    stick = ds.Geometry(ds.Capsule(0.4, 0.018), (0.0, 0.0, 0.4), color=(0.95, 0.6, 0.15), collides=False)
    rail = ds.Joint("rail", "prismatic", (1.0, 0.0, 0.0), damping=0.1)
    hinge = ds.Joint("hinge", "revolute", (0.0, 1.0, 0.0), damping=0.005)
    cart = ds.Link("cart", rail, position=(0.0, 0.0, 0.1), inertia=ds.Inertia(1.0, (2e-3, 4e-3, 4e-3)), geometries=(body,))
    pole = ds.Link(
        "pole", hinge, "cart", inertia=ds.Inertia(0.2, (1e-2, 1e-2, 1e-4), center=(0.0, 0.0, 0.4)), geometries=(stick,)
    )
    return ds.Scene(articulations=(ds.Articulation("robot", (cart, pole), (ds.Actuator("motor", "rail"),)),))


class RecurrentPolicy(nn.Module):
    """From what is seen, and the memory, to a force."""

    def __init__(self, force: float = 15.0) -> None:
        super().__init__()
        self.memory, self.out, self.force = nn.GRUCell(2, 32), nn.Linear(32, 1), force

    def forward(self, seen: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor]:
        """(B, 1) forces in N and the new memory (B, 32)."""
        memory = self.memory(seen, memory)
        return self.force * torch.tanh(self.out(memory)), memory


def episodes(sim: ds.Simulator, policy: RecurrentPolicy, seed: int, steps: int = STEPS) -> list[ds.State]:
    """The states, from poles at random angles."""
    state, generator = sim.reset(), torch.Generator().manual_seed(seed)
    tilt = TILT * (2.0 * torch.rand(sim.num_envs, 1, generator=generator) - 1.0)
    states, memory = [state.replace(q=torch.cat([state.q[:, :1], tilt], dim=1))], None
    for _ in range(steps):
        force, memory = policy(states[-1].q * torch.tensor([1.0, 5.0]), memory)
        states.append(sim.step(states[-1], force))
    return states


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=75)
    parser.add_argument("--video", default="own_policy.mp4")
    options = parser.parse_args()

    torch.manual_seed(0)
    sim, policy = ds.Simulator(cart_pole(), num_envs=16, dt=0.01, substeps=4), RecurrentPolicy()
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.01)
    with torch.no_grad():
        before = episodes(sim, policy, seed=10_000)
    for iteration in range(options.iterations + 1):
        if iteration % 15 == 0 or iteration == options.iterations:
            with torch.no_grad():
                after = episodes(sim, policy, seed=10_000)  # which it is not trained on
            up = torch.stack([state.q[:, 1].abs() for state in after]).amax(dim=0) < FALLEN
            away = float(after[-1].q[:, 0].abs().mean())
            print(f"iteration {iteration:3d}  {int(up.sum()):2d} of 16 poles stay up; carts end {away:.2f} m from the middle")
        if iteration < options.iterations:
            steps = min(STEPS, 10 + iteration)  # short at first: what has fallen swings, and its gradient grows with the time
            q = torch.stack([state.q for state in episodes(sim, policy, iteration, steps)[1:]])
            loss = (1.0 - q[..., 1].cos()).mean() + 0.1 * q[..., 0].square().clamp(max=4.0).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(policy.parameters(), 0.1)
            optimizer.step()

    camera = Camera(position=(0.0, -4.0, 0.9), target=(0.0, 0.0, 0.55), vertical_fov_degrees=26)
    renderer = SceneRenderer(sim.scene, camera=camera, width=480, height=360)
    shown = [("untrained", before), ("trained", after)]
    frames = (side_by_side([caption(renderer.frame(states[t]), name) for name, states in shown]) for t in range(STEPS + 1))
    write_video(options.video, frames, fps=25)
    print(f"wrote {options.video}")


if __name__ == "__main__":
    main()
