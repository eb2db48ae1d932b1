"""A cup on a driven hinge tilts and pours its liquid into a bowl.

python examples/pour_liquid.py    # prints how much arrived, writes pour_liquid.mp4
"""

import argparse
import math

import numpy as np
import torch
import trimesh

import diffsim as ds
from diffsim.render import Camera, SceneRenderer, write_video

LIP, BOWL = (0.42, 0.5, 0.38), (0.55, 0.5, 0.0)  # the hinge is at the cup's lip; m


def vessel(name: str, low: float, high: float, height: float, wall: float) -> ds.TriangleMesh:
    """A round vessel of inner radius ``low`` at the bottom and ``high`` at the top; it stands on its frame's origin."""
    inner = [(0.0, wall), (0.6 * low, wall), (low, 1.6 * wall), (high, height)]
    outer = [(high + wall, height), (low + wall, 0.0), (0.0, 0.0)]
    mesh = trimesh.creation.revolve(np.array(outer[::-1] + inner[::-1]), sections=48)
    return ds.TriangleMesh(mesh.vertices, mesh.faces, name)


def pouring_scene(particles: int) -> ds.Scene:
    """The cup with its liquid, upright beside the bowl and above it."""
    wall, radius, height = 0.03, 0.09, 0.2
    foot = (-radius - wall, 0.0, -height)  # from the lip to the middle of the cup's foot
    shape = ds.Geometry(vessel("cup", radius, radius, height, wall), foot, friction=0.0, color=(0.87, 0.55, 0.4))
    tilt = ds.Joint("tilt", "revolute", axis=(0.0, 1.0, 0.0))
    inertia = ds.Inertia(3.0, (2e-2, 2e-2, 2e-2), center=(foot[0], 0.0, -0.5 * height))
    cup = ds.Link("cup", tilt, position=LIP, inertia=inertia, geometries=(shape,))
    servo = ds.Actuator("servo", "tilt", kind="position", gain=2000.0, damping=200.0)
    liquid, middle = ds.Liquid(bulk_modulus=2e4, viscosity=1.0), (LIP[0] + foot[0], LIP[1], LIP[2] - height + wall + 0.08)
    water = ds.SoftBody("water", ds.Cylinder(0.06, radius - 0.01), middle, material=liquid, particles=particles)
    return ds.Scene(
        soft_bodies=(water,),
        articulations=(ds.Articulation("jug", (cup,), (servo,)),),
        obstacles=(ds.Obstacle("bowl", vessel("bowl", 0.12, 0.18, 0.16, 0.03), BOWL, friction=0.1),),
        grid_spacing=1.0 / 40.0,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--particles", type=int, default=2500)
    parser.add_argument("--steps", type=int, default=160)
    parser.add_argument("--video", default="pour_liquid.mp4")
    options = parser.parse_args()

    scene = pouring_scene(options.particles)
    sim = ds.Simulator(scene, dt=1e-3, substeps=40)
    angles = torch.linspace(-0.2, 1.4, options.steps).clamp(0.0, 1.0) * math.radians(125.0)
    with torch.no_grad():
        states = sim.rollout(sim.reset(), angles[:, None, None])
    away = states[-1].x[0] - torch.tensor(BOWL)
    inside = (away[:, :2].norm(dim=1) < 0.18) & (away[:, 2] > 0.0)
    print(f"{100.0 * inside.double().mean():.1f}% of the {sim.num_particles} particles are in the bowl")

    camera = Camera(position=(0.8, -0.85, 1.0), target=(0.43, 0.5, 0.25))
    colors = {"water": (0.2, 0.5, 0.9), "bowl": (0.8, 0.8, 0.76)}
    renderer = SceneRenderer(scene, camera=camera, width=640, height=480, colors=colors)
    write_video(options.video, (renderer.frame(state) for state in states), fps=25)
    print(f"wrote {options.video}")


if __name__ == "__main__":
    main()
