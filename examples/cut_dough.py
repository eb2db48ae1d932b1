"""A knife of two wedges cuts a block of dough and draws the halves apart.

python examples/cut_dough.py    # prints the gap between the halves, writes cut_dough.mp4
"""

import argparse

import numpy as np
import torch
import trimesh

import diffsim as ds
from diffsim.render import Camera, SceneRenderer, write_video

MIDDLE, HALF = (0.5, 0.5, 0.06), (0.14, 0.08, 0.06)  # of the dough, m
LIFT, APART = 0.14, 0.05  # how high the knife's edge starts, and how far each wedge moves aside, m


def wedge(side: float) -> ds.TriangleMesh:
    """One half of the blade, its edge at the origin, its flat at x = 0 and its slope on the side of the sign of ``side``."""
    profile = np.array([(-0.004, 0.0), (0.004, 0.0), (0.018, 0.05), (0.018, 0.18), (-0.004, 0.18)])
    points = [(side * x, y, z) for x, z in profile for y in (-0.11, 0.11)]
    mesh = trimesh.Trimesh(points).convex_hull
    return ds.TriangleMesh(mesh.vertices, mesh.faces, "wedge")


def cutting_scene(particles: int) -> ds.Scene:
    """The knife above the block: a carriage that goes down, and on it the wedges that go aside."""
    links = [ds.Link("carriage", ds.Joint("down", "prismatic", axis=(0.0, 0.0, -1.0)), position=(0.5, 0.5, LIFT))]
    actuators = [ds.Actuator("down", "down", kind="position", gain=2e4, damping=800.0)]
    for name, side in (("left", -1.0), ("right", 1.0)):
        blade = ds.Geometry(wedge(side), friction=0.1, color=(0.72, 0.75, 0.8))
        joint = ds.Joint(name, "prismatic", axis=(side, 0.0, 0.0))
        links.append(ds.Link(name, joint, "carriage", inertia=ds.Inertia(0.5, (1e-3, 1e-3, 1e-3)), geometries=(blade,)))
        actuators.append(ds.Actuator(name, name, kind="position", gain=2e4, damping=400.0))
    knife = ds.Articulation("knife", tuple(links), tuple(actuators), self_collisions=False)
    clay = ds.ElastoPlastic(youngs_modulus=5e4, poissons_ratio=0.3, yield_stress=1500.0)
    dough = ds.SoftBody("dough", ds.Box(HALF), MIDDLE, material=clay, particles=particles)
    return ds.Scene((dough,), articulations=(knife,), grid_spacing=1.0 / 48.0, ground=ds.Ground(friction=0.3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--particles", type=int, default=3200)
    parser.add_argument("--steps", type=int, default=75)
    parser.add_argument("--video", default="cut_dough.mp4")
    options = parser.parse_args()

    scene = cutting_scene(options.particles)
    sim = ds.Simulator(scene, dt=5e-4, substeps=40)
    t = torch.linspace(0.0, 1.0, options.steps)
    down = (LIFT - 0.004) * (t / 0.5).clamp(max=1.0)
    aside = APART * ((t - 0.55) / 0.3).clamp(0.0, 1.0)
    with torch.no_grad():
        states = sim.rollout(sim.reset(), torch.stack([down, aside, aside], dim=1)[:, None])
    x = states[-1].x[0, :, 0]
    left, right = x[x < 0.5], x[x > 0.5]
    print(f"a gap of {100.0 * float(right.min() - left.max()):.1f} cm between {len(left)} and {len(right)} particles")

    camera = Camera(position=(0.85, -0.35, 0.5), target=(0.5, 0.5, 0.08))
    renderer = SceneRenderer(scene, camera=camera, width=640, height=480, colors={"dough": (0.93, 0.8, 0.58)})
    write_video(options.video, (renderer.frame(state, mode="particles") for state in states), fps=25)
    print(f"wrote {options.video}")


if __name__ == "__main__":
    main()
