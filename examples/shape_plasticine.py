"""A finger presses a block of plasticine into a target shape, by gradients of the Earth Mover's distance.

    python examples/shape_plasticine.py    # prints the loss and a score as it goes, writes shape_plasticine.png

The target is a state of the same simulator, which another stroke of the finger left: so it can be reached. For one of your own
make it with ShapeTarget.from_mesh or from_points; docs/losses.md says which loss is for what.
It takes about 20 s on one core.
"""

import argparse

import torch

import diffsim as ds
from diffsim.render import Camera, SceneRenderer, caption, side_by_side, write_png
from tasks.losses import ShapeTarget, earth_mover

STEPS, SPEED = 12, 0.4  # control steps of a stroke, and the finger's largest speed in m/s


def plasticine_scene(particles: int) -> ds.Scene:
    """A block on the ground that it sticks to, and a round finger that touches its top."""
    clay = ds.ElastoPlastic(youngs_modulus=2e4, poissons_ratio=0.3, yield_stress=300.0)
    block = ds.SoftBody("block", ds.Box((0.12, 0.08, 0.05)), (0.3, 0.3, 0.05), material=clay, particles=particles)
    finger = ds.Tool("finger", ds.Sphere(0.04), (0.3, 0.3, 0.142), control=("x", "z"), friction=0.9)
    ground = ds.Ground(friction=2.0)
    return ds.Scene((block,), tools=(finger,), ground=ground, upper=(0.6, 0.6, 0.3), grid_spacing=0.025)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--particles", type=int, default=400)
    parser.add_argument("--iterations", type=int, default=30)
    parser.add_argument("--picture", default="shape_plasticine.png")
    options = parser.parse_args()

    sim = ds.Simulator(plasticine_scene(options.particles), dt=5e-4, substeps=40)
    start = sim.reset()
    stroke = torch.tensor([0.9, -0.7]).repeat(STEPS, 1, 1)  # aside, and down
    with torch.no_grad():
        wanted = sim.rollout(start, SPEED * stroke)[-1]
        target = ShapeTarget.from_state(sim, wanted, "block")
        untouched = float(earth_mover(start.x, target.points))

    plan = torch.tensor([0.0, -0.3]).repeat(STEPS, 1, 1).requires_grad_()  # at first: straight down
    optimizer = torch.optim.Adam([plan], lr=0.08)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.iterations)
    for iteration in range(options.iterations):
        pressed = sim.rollout(start, SPEED * plan.clamp(-1.0, 1.0))[-1]
        loss = earth_mover(pressed.x, target.points).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if iteration % 5 == 0 or iteration == options.iterations - 1:
            square = max(float(loss.detach()), 0.0)
            score = 1.0 - square / untouched  # 0 for the block as it was, 1 for the target
            print(f"iteration {iteration:3d}  off by {1000.0 * square**0.5:6.2f} mm (root mean square)  score {score:6.3f}")

    camera = Camera(position=(0.4, -0.35, 0.45), target=(0.32, 0.3, 0.05), vertical_fov_degrees=26)
    renderer = SceneRenderer(sim.scene, camera=camera, width=360, height=270)
    shown = {"start": start, "pressed": pressed.detach(), "target": wanted}
    write_png(options.picture, side_by_side([caption(renderer.frame(state), name) for name, state in shown.items()]))
    print(f"wrote {options.picture}")


if __name__ == "__main__":
    main()
