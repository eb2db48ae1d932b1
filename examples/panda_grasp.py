"""A Panda arm, read from its URDF, grasps a soft cube (or a rigid box) and lifts it; the rollout becomes a video.

The URDF is that of the package example-robot-data: `pip install example-robot-data==6.0.0 --no-deps`, and the extra "robots".
"""

from __future__ import annotations

import dataclasses
import math
import sysconfig
from pathlib import Path

import torch
import tyro

import diffsim as ds
from diffsim.render import Camera, SceneRenderer, write_video
from diffsim.robots.inverse_kinematics import EndEffector

READY = (0.0, -math.pi / 4, 0.0, -3 * math.pi / 4, 0.0, math.pi / 2, math.pi / 4)
URDF = "cmeel.prefix/share/example-robot-data/robots/panda_description/urdf/panda.urdf"


def panda(path: str | Path, position: tuple[float, float, float], *, visuals: bool = True) -> ds.Articulation:
    """The arm in its ready pose, with a position servo on each joint; only the hand and the fingers collide."""
    arm = [ds.Actuator(f"panda_joint{n}", f"panda_joint{n}", kind="position", gain=8000.0, damping=600.0) for n in range(1, 8)]
    fingers = [
        ds.Actuator(name, name, kind="position", gain=2000.0, damping=100.0, force_limits=(-30.0, 30.0))
        for name in ("panda_finger_joint1", "panda_finger_joint2")
    ]
    read = ds.load_articulation(path, name="panda", position=position, visuals=visuals, actuators=(*arm, *fingers))
    initial = {f"panda_joint{n}": (value,) for n, value in enumerate(READY, start=1)}
    links = []
    for link in read.links:
        finger = "finger" in link.name
        joint = dataclasses.replace(link.joint, initial=initial.get(link.joint.name, (0.04,) if finger else None))
        if finger:  # the rotor and the gear are most of a finger's inertia
            joint = dataclasses.replace(joint, armature=0.5)
        shapes = tuple(dataclasses.replace(each, collides=each.collides and finger, friction=1.0) for each in link.geometries)
        links.append(dataclasses.replace(link, joint=joint, geometries=shapes))
    return dataclasses.replace(read, links=tuple(links))


def grasp_scene(path: str | Path, *, soft: bool = True, particles: int = 300, visuals: bool = True) -> ds.Scene:
    """The arm before a cube of 5 cm on the ground."""
    cube, at = ds.Box((0.025, 0.025, 0.025), rounding=0.004 if not soft else 0.0), (0.6, 0.5, 0.0255)
    jelly = ds.SoftBody("cube", cube, at, particles=particles, material=ds.Elastic(youngs_modulus=3e4, poissons_ratio=0.3))
    box = ds.RigidBody("cube", cube, at, mass=0.1, friction=1.0)
    return ds.Scene(
        soft_bodies=(jelly,) if soft else (),
        rigid_bodies=() if soft else (box,),
        articulations=(panda(path, (0.1, 0.5, 0.0), visuals=visuals),),
        grid_spacing=1.0 / 64.0,
        contact=ds.ContactModel(stiffness=5e3, smoothing=5e-4),
    )


def lift(sim: ds.Simulator, *, steps: int = 50) -> list[ds.State]:
    """Open above the cube, go down, close, go up: the states of the rollout."""
    hand = EndEffector(sim, "panda.panda_hand_tcp", [f"panda_joint{n}" for n in range(1, 8)])
    state = sim.reset()
    down = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=sim.dtype))[None]  # the hand looks down
    states = [state]
    for t in range(steps):
        phase = t / steps
        height = 0.15 - 0.125 * min(phase / 0.3, 1.0) + 0.15 * max(0.0, min((phase - 0.5) / 0.4, 1.0))
        width = 0.04 if phase < 0.35 else 0.019
        target = torch.tensor([[0.6, 0.5, height]], dtype=sim.dtype)
        fingers = torch.full((1, sim.action_dim), width, dtype=sim.dtype)
        with torch.no_grad():
            state = sim.step(state, hand.action(state, target, down, others=fingers))
        states.append(state)
    return states


def main(soft: bool = True, video: Path = Path("panda_grasp.mp4"), steps: int = 60) -> None:
    """Run it."""
    path = Path(sysconfig.get_paths()["purelib"]) / URDF
    if not path.is_file():
        raise SystemExit("the Panda's URDF is missing: pip install --no-deps example-robot-data==6.0.0")
    scene = grasp_scene(path, soft=soft)
    sim = ds.Simulator(scene, dt=5e-4, substeps=80)
    states = lift(sim, steps=steps)
    height = float(states[-1].x[0, :, 2].mean() if soft else states[-1].q[0, 2])
    print(f"the cube's centre is at {height:.3f} m, {height - 0.0255:.3f} m above where it lay")
    camera = Camera(position=(1.65, -0.45, 0.85), target=(0.36, 0.5, 0.33))
    renderer = SceneRenderer(scene, camera=camera, width=640, height=480)
    write_video(video, (renderer.frame(state) for state in states), fps=25)
    print(f"wrote {video}")


if __name__ == "__main__":
    tyro.cli(main)
