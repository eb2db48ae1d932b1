"""A robot from a URDF: loaded, driven by inverse kinematics, its servos tuned by gradient, and drawn.

    python examples/urdf_robot.py    # writes small_arm.urdf and urdf_robot.mp4, prints how far the tip is from its path

The tip shall follow a circle over the table. With soft servos the arm sags and lags behind; the gradient of its distance from
the circle, through all of the motion, says how stiff and how damped each servo has to be. MuJoCo reads the file (the extra
"robots"); docs/robots.md has the robots of other packages. It takes about 20 s on one core.
"""

import argparse
import math
from pathlib import Path

import torch

import diffsim as ds
from diffsim.render import Camera, GroundMarker, SceneRenderer, caption, side_by_side, write_video

CENTRE, RADIUS, HEIGHT, STEPS = (0.38, 0.0), 0.12, 0.05, 50  # of the circle, m; control steps of 40 ms
URDF = """<robot name="small_arm">
  <material name="dark"><color rgba="0.25 0.3 0.4 1"/></material>
  <material name="orange"><color rgba="0.95 0.6 0.15 1"/></material>
  <link name="table"/>
  <link name="turntable">
    <inertial><origin xyz="0 0 0.07"/><mass value="2"/>
      <inertia ixx="6e-3" iyy="6e-3" izz="4e-3" ixy="0" ixz="0" iyz="0"/></inertial>
    <visual><origin xyz="0 0 0.07"/><geometry><cylinder radius="0.06" length="0.14"/></geometry><material name="dark"/></visual>
  </link>
  <link name="upper">
    <inertial><origin xyz="0 0 0.15"/><mass value="1"/>
      <inertia ixx="8e-3" iyy="8e-3" izz="1e-3" ixy="0" ixz="0" iyz="0"/></inertial>
    <visual><origin xyz="0 0 0.15"/><geometry><box size="0.07 0.05 0.34"/></geometry><material name="orange"/></visual>
  </link>
  <link name="lower">
    <inertial><origin xyz="0 0 0.15"/><mass value="0.6"/>
      <inertia ixx="5e-3" iyy="5e-3" izz="1e-3" ixy="0" ixz="0" iyz="0"/></inertial>
    <visual><origin xyz="0 0 0.15"/><geometry><cylinder radius="0.02" length="0.3"/></geometry><material name="dark"/></visual>
  </link>
  <joint name="turn" type="revolute"><parent link="table"/><child link="turntable"/>
    <axis xyz="0 0 1"/><limit lower="-3" upper="3" effort="40" velocity="4"/><dynamics damping="0.1"/></joint>
  <joint name="shoulder" type="revolute"><parent link="turntable"/><child link="upper"/><origin xyz="0 0 0.14"/>
    <axis xyz="0 1 0"/><limit lower="-1.8" upper="1.8" effort="40" velocity="4"/><dynamics damping="0.1"/></joint>
  <joint name="elbow" type="revolute"><parent link="upper"/><child link="lower"/><origin xyz="0 0 0.3"/>
    <axis xyz="0 1 0"/><limit lower="0" upper="2.8" effort="40" velocity="4"/><dynamics damping="0.1"/></joint>
</robot>
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=40)
    parser.add_argument("--video", default="urdf_robot.mp4")
    options = parser.parse_args()

    # load: a URDF says nothing of servos
    file = Path(options.video).with_name("small_arm.urdf")
    file.write_text(URDF)
    joints = ("turn", "shoulder", "elbow")
    servos = [ds.Actuator(name, name, "position", gain=40.0, damping=4.0) for name in joints]
    arm = ds.load_articulation(file, actuators=servos)
    scene = ds.Scene(articulations=(arm,))
    sim = ds.Simulator(scene, dt=4e-3, substeps=10)
    for name in joints:
        info = sim.joint(f"small_arm.{name}")
        print(f"joint {name:9s} moves {sim.link_infos[info.link].name}, limits {info.joint.limits}")

    # control: joint targets by inverse kinematics, and a start on the circle
    angle = torch.linspace(0.0, 2.0 * math.pi, STEPS + 1)
    x, y = CENTRE[0] + RADIUS * angle.cos(), CENTRE[1] + RADIUS * angle.sin()
    circle = torch.stack([x, y, torch.full_like(x, HEIGHT)], dim=1)
    tip = ds.EndEffector(sim, "small_arm.lower", joints, point=(0.0, 0.0, 0.3))
    start = sim.reset()
    targets = [tip.solve(start.replace(q=torch.tensor([[0.0, 0.5, 1.5]])), circle[:1])]
    for point in circle[1:]:
        targets.append(tip.solve(start.replace(q=targets[-1]), point[None]))
    actions = torch.stack([tip.action_for(each) for each in targets[1:]])
    start = start.replace(q=targets[0])

    # gradient: of the tip's distance from where it should be, by the servos' gains and dampings
    names = [f"small_arm.{joint}.{kind}" for joint in joints for kind in ("gain", "actuator_damping")]
    logs = torch.stack([sim.parameters[name].log() for name in names]).requires_grad_()  # positive numbers of any size
    optimizer = torch.optim.Adam([logs], lr=0.15)
    for iteration in range(options.iterations + 1):
        states = sim.rollout(start, actions, dict(zip(names, logs.exp(), strict=True)))
        if iteration == 0:
            untuned = states
        gap = (torch.cat([tip.pose(state)[0] for state in states[1:]]) - circle[1:]).norm(dim=1)
        loss = gap.square().mean() + 1e-12 * logs.exp().square().sum()  # servos no stiffer than they need to be
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if iteration % 10 == 0:
            print(f"iteration {iteration:3d}  the tip is {1e3 * gap.mean():5.1f} mm from its path")
    tuned = zip(names, logs.detach().exp().tolist(), strict=True)
    print(", ".join(f"{name.removeprefix('small_arm.')} {value:.3g}" for name, value in tuned))

    # render: before and after, side by side
    camera = Camera(position=(0.95, -0.75, 0.75), target=(0.22, 0.0, 0.12), vertical_fov_degrees=32)
    renderer, ring = SceneRenderer(scene, camera=camera), GroundMarker(center=CENTRE, radius=RADIUS, width=0.006)
    panels = [("as guessed", untuned), ("tuned", states)]
    frames = (
        side_by_side([caption(renderer.frame(rollout[t].detach(), markers=(ring,)), name) for name, rollout in panels])
        for t in range(STEPS + 1)
    )
    write_video(options.video, frames, fps=25)
    print(f"wrote {file} and {options.video}")


if __name__ == "__main__":
    main()
