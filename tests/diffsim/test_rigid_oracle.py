"""The oracle of rigid bodies against MuJoCo where both solve the same equations, conservation laws, and finite differences."""

import math
from dataclasses import replace

import mujoco
import numpy as np
import pytest
import torch

from diffsim.scene.articulation import Actuator, Articulation, Geometry, Inertia, Joint, Link
from diffsim.scene.shapes import Box, Capsule, Cylinder, Plane, Sphere
from tests.diffsim.rigid_oracle import RigidOracle

DT = 2e-3
MUJOCO_KIND = {"revolute": "hinge", "prismatic": "slide", "ball": "ball", "free": "free"}


pytestmark = pytest.mark.usefixtures("one_thread")


def words(values) -> str:
    return " ".join(repr(float(value)) for value in np.atleast_1d(values))


def unit_quaternion(rng) -> tuple[float, ...]:
    q = rng.normal(size=4)
    return tuple(q / np.linalg.norm(q))


def random_inertia(rng) -> Inertia:
    a, b = rng.uniform(1.0, 2.0, 2)
    moments = 0.02 * np.array([a, b, rng.uniform(abs(a - b) + 0.1, a + b)])  # a real body's obey the triangle inequality
    return Inertia(rng.uniform(0.5, 2.0), tuple(moments), tuple(0.1 * rng.normal(size=3)), unit_quaternion(rng))


def random_tree(name, kinds, parents, rng) -> Articulation:
    links = []
    for i, (kind, parent) in enumerate(zip(kinds, parents, strict=True)):
        joint = Joint(
            f"{name}_j{i}", kind, axis=tuple(rng.normal(size=3)),
            damping=rng.uniform(0.1, 0.5), armature=rng.uniform(0.01, 0.1),
            **({"spring_stiffness": 3.0, "spring_rest": 0.2} if kind in ("revolute", "prismatic") else {}),
        )  # fmt: skip
        parent = None if parent is None else f"{name}_l{parent}"
        position = tuple(0.3 * rng.normal(size=3))
        links.append(Link(f"{name}_l{i}", joint, parent, position, unit_quaternion(rng), inertia=random_inertia(rng)))
    return Articulation(name, tuple(links))


def with_actuators(tree: Articulation, *actuators: Actuator) -> Articulation:
    return Articulation(tree.name, tree.links, actuators)


def mjcf(articulations, integrator) -> str:
    """The same mechanism for MuJoCo."""

    def body(articulation, link) -> str:
        joint, own = link.joint, link.inertia
        attributes = f'name="{joint.name}" type="{MUJOCO_KIND[joint.kind]}"'
        attributes += f' damping="{joint.damping!r}" armature="{joint.armature!r}"'
        if joint.kind in ("revolute", "prismatic"):
            attributes += f' axis="{words(joint.axis)}"'
            attributes += f' stiffness="{joint.spring_stiffness!r}" springref="{joint.spring_rest!r}"'
        children = "".join(body(articulation, other) for other in articulation.links if other.parent == link.name)
        return (
            f'<body name="{link.name}" pos="{words(link.position)}" quat="{words(link.rotation)}"><joint {attributes}/>'
            f'<inertial mass="{own.mass!r}" pos="{words(own.center)}" quat="{words(own.rotation)}" '
            f'diaginertia="{words(own.moments)}"/>{children}</body>'
        )

    bodies, tendons, actuators = "", "", ""
    for articulation in articulations:
        bodies += "".join(body(articulation, link) for link in articulation.links if link.parent is None)
        for a in articulation.actuators:
            if len(a.joints) > 1:
                parts = "".join(f'<joint joint="{joint}" coef="{c!r}"/>' for joint, c in a.joints.items())
                tendons += f'<fixed name="{a.name}_t">{parts}</fixed>'
                attributes = f'name="{a.name}" tendon="{a.name}_t"'
            else:
                attributes = f'name="{a.name}" joint="{next(iter(a.joints))}"'
            if math.isfinite(a.force_limits[0]):
                attributes += f' forcelimited="true" forcerange="{words(a.force_limits)}"'
            if math.isfinite(a.control_limits[0]):
                attributes += f' ctrllimited="true" ctrlrange="{words(a.control_limits)}"'
            # general actuators: force = gain u + bias . (1, l, l')
            bias = {
                "torque": (0.0, 0.0, 0.0), "position": (0.0, -a.gain, -a.damping), "velocity": (0.0, 0.0, -a.gain - a.damping),
            }[a.kind]  # fmt: skip
            actuators += f'<general {attributes} gainprm="{a.gain!r}" biastype="affine" biasprm="{words(bias)}"/>'
    return (
        f'<mujoco><compiler angle="radian"/><option timestep="{DT}" integrator="{integrator}"><flag contact="disable" '
        f'limit="disable"/></option><worldbody>{bodies}</worldbody><tendon>{tendons}</tendon>'
        f"<actuator>{actuators}</actuator></mujoco>"
    )


def compare(articulations, integrator, controls, rng, tolerance):
    oracle = RigidOracle(articulations, dt=DT, integrator="euler")
    model = mujoco.MjModel.from_xml_string(mjcf(articulations, integrator))
    data = mujoco.MjData(model)
    names = [link.joint.name for link in oracle.links]
    assert [model.joint(i).name for i in range(model.njnt)] == names  # the same order of coordinates
    q, v = oracle.initial()
    q = oracle.integrate(q, 0.5 * torch.tensor(rng.normal(size=oracle.nv)), 1.0)
    v = torch.tensor(rng.normal(size=oracle.nv))
    data.qpos[:], data.qvel[:] = q.numpy(), v.numpy()
    for u in controls:
        data.ctrl[:] = u
        mujoco.mj_step(model, data)
        q, v = oracle.substep(q, v, torch.tensor(u))
    np.testing.assert_allclose(q.numpy(), data.qpos, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(v.numpy(), data.qvel, rtol=tolerance, atol=tolerance)
    assert np.abs(data.qvel).max() > 0.1


KINDS = ("revolute", "prismatic", "ball", "revolute", "revolute", "prismatic", "revolute")


def test_arm_and_floating_tree_as_mujoco_euler():
    rng = np.random.default_rng(0)
    arm = random_tree("arm", KINDS, (None, 0, 1, 2, 3, 4, 4), rng)
    arm = with_actuators(arm, Actuator("a", "arm_j0", gain=2.0), Actuator("b", {"arm_j3": 0.7, "arm_j4": -1.3}, gain=0.5))
    floating = random_tree("floating", ("free", "revolute", "ball", "prismatic"), (None, 0, 0, 2), rng)
    compare([arm, floating], "Euler", rng.normal(size=(200, 2)), rng, 1e-9)


def test_servos_as_mujoco_implicitfast():
    rng = np.random.default_rng(1)
    arm = random_tree("arm", KINDS, (None, 0, 1, 2, 3, 4, 5), rng)
    arm = with_actuators(
        arm,
        Actuator("p", "arm_j0", "position", gain=40.0, damping=9.0),
        Actuator("v", "arm_j5", "velocity", gain=30.0, damping=2.0),
        Actuator("t", {"arm_j3": 0.7, "arm_j4": -1.3}, "position", gain=25.0, damping=8.0),
        Actuator("limited", "arm_j6", "position", gain=50.0, damping=3.0, force_limits=(-4.0, 6.0), control_limits=(-0.4, 0.9)),
    )
    compare([arm], "implicitfast", rng.normal(size=(200, 4)), rng, 1e-9)


def floating_tree(rng, damping=True) -> Articulation:
    tree = random_tree("tree", ("free", "revolute", "ball", "prismatic", "revolute"), (None, 0, 0, 2, 3), rng)
    root = tree.links[0]
    # a free joint's own damping and armature act between the body and the world
    links = [replace(root, joint=Joint(root.joint.name, "free")), *tree.links[1:]]
    if not damping:
        links[1:] = [replace(x, joint=Joint(x.joint.name, x.joint.kind, x.joint.axis)) for x in links[1:]]
    return Articulation("tree", tuple(links))


@pytest.mark.parametrize(("integrator", "order"), [("euler", 1), ("midpoint", 2)])
def test_momentum_is_conserved_to_the_order_of_the_integrator(integrator, order):
    drifts = []
    for dt in (4e-3, 2e-3):
        rng = np.random.default_rng(2)
        oracle = RigidOracle([floating_tree(rng, damping=False)], gravity=(0.0, 0.0, 0.0), dt=dt, integrator=integrator)
        q, v = oracle.initial()[0], torch.tensor(rng.normal(size=oracle.nv))
        before = torch.cat(oracle.momentum(q, v))
        for _ in range(round(0.2 / dt)):
            q, v = oracle.substep(q, v)
        drifts.append((torch.cat(oracle.momentum(q, v)) - before).norm() / before.norm())
    assert drifts[1] < 5e-3
    assert drifts[0] / drifts[1] == pytest.approx(2.0**order, rel=0.1)


def momentum_rate(oracle, q, v, parameters=None):
    """d/dt of the momenta along (v, a), by central differences of a path."""
    a, s = oracle.acceleration(q, v, parameters=parameters), 1e-5
    ends = [torch.cat(oracle.momentum(oracle.integrate(q, v + 0.5 * t * a, t), v + t * a)) for t in (s, -s)]
    return (ends[0] - ends[1]) / (2 * s)


def test_internal_forces_have_no_resultant():
    rng = np.random.default_rng(3)
    oracle = RigidOracle([floating_tree(rng)], gravity=(0.0, 0.0, 0.0), dt=DT, integrator="euler")  # a at v, not at v+
    # armature is no body's inertia: it alone may take momentum up
    parameters = {"joints": {"armature": torch.zeros(len(oracle.links), dtype=torch.float64)}}
    q, v = oracle.initial()[0], torch.tensor(rng.normal(size=oracle.nv))
    assert momentum_rate(oracle, q, v, parameters).abs().max() < 1e-6


def body(name, geometry, position, rotation=(1.0, 0.0, 0.0, 0.0), mass=1.0) -> Articulation:
    inertia = Inertia(mass, (0.01 * mass, 0.012 * mass, 0.015 * mass))
    link = Link(name, Joint(name, "free"), None, position, rotation, inertia=inertia, geometries=(geometry,))
    return Articulation(name, (link,))


def shapes_scene():
    """Every kind of shape touching another, with its own friction and restitution."""
    tilt = (0.9, 0.2, 0.3, 0.1)
    return [
        body("box", Geometry(Box((0.1, 0.12, 0.08), 0.02), friction=0.7, restitution=0.3), (0.0, 0.0, 0.1), tilt),
        body("capsule", Geometry(Capsule(0.1, 0.05), friction=0.4, stiffness=2e3), (0.02, 0.01, 0.245), (0.7, 0.1, 0.7, 0.2)),
        body("ball", Geometry(Sphere(0.06), restitution=0.8), (0.13, 0.03, 0.17)),
        body("cylinder", Geometry(Cylinder(0.1, 0.06, 0.01), friction=0.3), (-0.17, 0.0, 0.09), (0.8, 0.5, 0.1, 0.1)),
        body("ball2", Geometry(Sphere(0.05), (0.01, 0.0, 0.0), friction=0.2), (0.215, 0.08, 0.18)),
    ]


SMOOTH = {"dt": DT, "contact_stiffness": 1e3, "contact_smoothing": 5e-3, "slip_speed": 0.05, "restitution_speed": 0.05}


def test_every_pair_of_the_scene_touches():
    oracle = RigidOracle(shapes_scene(), ground=(0.0, 0.6, 0.2, 3e3), **SMOOTH)
    q, v = oracle.initial()
    found = oracle.contacts(oracle.pose(q), oracle.parameters(), v)
    touching = {(a.link, b.link) for a, b, phi, *_ in found if phi.min() < 0.02}
    box, capsule, ball, cylinder, ball2, ground = 0, 1, 2, 3, 4, -1
    assert {(box, ground), (cylinder, ground), (box, capsule), (capsule, box), (box, cylinder), (cylinder, box)} <= touching
    assert {(ball, box), (ball, capsule), (ball, ball2)} <= touching
    # of a pair with a sphere the sphere's point alone; two spheres once
    assert not {(ball2, ball), (box, ball), (capsule, ball)} & {(a.link, b.link) for a, b, *_ in found}


def pairs(links, **arguments):
    """Names of the links whose geometries may touch."""
    ball = (Geometry(Sphere(0.1)),)
    tree = Articulation("tree", tuple(Link(n, Joint(n, k), parent, geometries=ball) for n, k, parent in links), **arguments)
    oracle = RigidOracle([tree])
    return {(oracle.links[a.link].name, oracle.links[b.link].name) for a, b in oracle.pairs}


def test_which_links_of_an_articulation_touch():
    """Not a link and the one that carries it, where links on fixed joints are one with their parent; nor two fixed ones."""
    arm = [("base", "fixed", None), ("upper", "revolute", "base"), ("lower", "revolute", "upper"), ("hand", "fixed", "lower"),
           ("finger", "prismatic", "hand"), ("table", "fixed", None), ("cup", "free", None)]  # fmt: skip
    expected = {("base", "lower"), ("base", "hand"), ("base", "finger"), ("upper", "finger")}
    expected |= {(name, "table") for name in ("upper", "lower", "hand", "finger")} | {(name, "cup") for name, *_ in arm[:-1]}
    assert pairs(arm) == expected
    assert pairs(arm, excluded=(("table", "upper"),)) == expected - {("upper", "table")}
    assert pairs(arm, self_collisions=False) == set()


def test_contact_forces_have_no_resultant():
    oracle = RigidOracle(shapes_scene(), gravity=(0.0, 0.0, 0.0), integrator="euler", **SMOOTH)
    q, v = oracle.initial()
    v = torch.tensor(np.random.default_rng(4).normal(size=oracle.nv))
    free = RigidOracle(shapes_scene(), gravity=(0.0, 0.0, 0.0), **{**SMOOTH, "contact_stiffness": 1e-9})
    assert (oracle.acceleration(q, v) - free.acceleration(q, v)).abs().max() > 1.0
    assert momentum_rate(oracle, q, v).abs().max() < 1e-6


def rebound(restitution, dt, speed=1.0, s=1e-3, smoothing=1e-3):
    """Speed of a ball after its impact at ``speed`` on the ground over the speed before, without gravity."""
    ball = body("ball", Geometry(Sphere(0.1), restitution=restitution), (0.0, 0.0, 0.1 + 12 * smoothing))
    oracle = RigidOracle(
        [ball], ground=(0.0, 0.5, restitution, 1e5), gravity=(0.0, 0.0, 0.0), dt=dt, contact_stiffness=1e5,
        contact_smoothing=smoothing, restitution_speed=s,
    )  # fmt: skip
    q, v = oracle.initial()
    v[2] = -speed
    for _ in range(round(45 * smoothing / speed / dt)):
        q, v = oracle.substep(q, v)
    return float(v[2]) / speed


@pytest.mark.slow
@pytest.mark.parametrize(
    "restitution", [pytest.param(0.5, marks=pytest.mark.long), 0.8, pytest.param(1.0, marks=pytest.mark.long)]
)
def test_restitution(restitution):
    coarse, fine = (rebound(restitution, dt) for dt in (2e-4, 1e-4))
    assert 2 * fine - coarse == pytest.approx(restitution, abs=2e-3)  # to the limit of small steps
    assert rebound(restitution, 2e-4, speed=0.5) == pytest.approx(coarse, abs=3e-3)  # at another speed


def test_without_restitution_little_speed_is_left():
    """The smoothing leaves a force F0 (s / 2 v)^2 on the way out, hence a speed v = (s^2 v0^2 / 2)^(1/4), not 0."""
    for s in (4e-2, 2e-2):
        assert rebound(0.0, 1e-4, s=s) == pytest.approx((0.5 * s**2) ** 0.25, rel=0.2)


def test_box_slides_to_rest():
    speed, mu, g, dt = 1.0, 0.3, 10.0, 1e-3
    box = body("box", Geometry(Box((0.1, 0.1, 0.02)), friction=mu), (0.0, 0.0, 0.02))
    oracle = RigidOracle(
        [box], ground=(0.0, mu, 0.0, 2e4), gravity=(0.0, 0.0, -g), dt=dt, contact_stiffness=2e4, contact_smoothing=1e-4,
        slip_speed=1e-3,
    )  # fmt: skip
    q, v = oracle.initial()
    v[0] = speed
    for _ in range(450):
        q, v = oracle.substep(q, v)
    assert float(q[0]) == pytest.approx(speed**2 / (2 * mu * g), rel=5e-3)


def differentiable_scene():
    """An arm with every kind of joint force, whose capsule presses on a box that stands on the ground."""
    arm = Articulation(
        "arm",
        (
            Link("base", Joint("fixed", "fixed"), geometries=(Geometry(Sphere(0.05)),)),
            Link(
                "upper",
                Joint("shoulder", "revolute", (0.0, 1.0, 0.2), limits=(-0.3, 0.46), limit_stiffness=50.0, damping=0.1,
                      armature=0.02, friction_loss=0.05, spring_stiffness=0.4, spring_rest=0.1),
                "base", (0.0, 0.0, 0.35), inertia=Inertia(0.8, (0.01, 0.012, 0.004), (0.02, 0.0, -0.1)),
            ),
            Link(
                "slider", Joint("slide", "prismatic", (0.1, 0.0, -1.0), damping=0.2, friction_loss=0.1), "upper",
                (0.05, 0.0, -0.15), (0.9, 0.1, 0.2, 0.0), inertia=Inertia(0.5, (0.004, 0.003, 0.002), (0.0, 0.01, -0.02)),
            ),
            Link(
                "hand", Joint("wrist", "ball", damping=0.05, armature=0.003, friction_loss=0.02), "slider", (0.0, 0.0, -0.05),
                inertia=Inertia(0.3, (0.002, 0.003, 0.0025)),
                geometries=(Geometry(Capsule(0.06, 0.03), (0.01, 0.0, -0.03), friction=0.8),),
            ),
        ),
        (
            Actuator("p", {"shoulder": 1.0, "slide": 0.5}, "position", gain=6.0, damping=0.8, control_scale=1.5),
            Actuator("t", "slide", "torque", gain=2.0, control_limits=(-0.5, 0.5)),
            Actuator("v", "slide", "velocity", gain=1.5, damping=0.2, force_limits=(-0.3, 0.3)),
        ),
        position=(0.0, 0.05, 0.0),
        rotation=(0.98, 0.0, 0.1, 0.1),
    )  # fmt: skip
    geometry = Geometry(Box((0.1, 0.09, 0.06), 0.01), friction=0.6, restitution=0.2)
    box = body("box", geometry, (0.14, 0.05, 0.062), (0.99, 0.02, 0.0, 0.1))
    ramp = Articulation("ramp", (Link("ramp", Joint("still", "fixed"), None, (0.0, 0.0, 0.03), (0.99, 0.0, 0.03, 0.0),
                                      geometries=(Geometry(Plane(), friction=0.3),)),))  # fmt: skip
    return [arm, box, ramp]


def leaves(tree, path=()):
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def nest(flat):
    tree: dict = {}
    for path, value in flat.items():
        if len(path) == 1:
            tree[path[0]] = value
        else:
            tree.setdefault(path[0], {})[path[1]] = value
    return tree


def test_gradients_against_finite_differences():
    oracle = RigidOracle(differentiable_scene(), ground=(0.0, 0.5, 0.1, 2e3), **SMOOTH)
    rng = np.random.default_rng(5)
    q, v = oracle.initial()
    q = oracle.integrate(q, torch.tensor(0.05 * rng.normal(size=oracle.nv)), 1.0)
    q[0] = 0.45  # on its limit
    v = torch.tensor(0.3 * rng.normal(size=oracle.nv))
    inputs = {path: value for path, value in leaves(oracle.parameters()) if value.numel()}
    limit = inputs["joints", "limit_stiffness"]
    inputs["joints", "limit_stiffness"] = torch.where(limit.isnan(), 0.0, limit)
    inputs |= {"q": q, "v": v, "u": torch.tensor(0.2 * rng.normal(size=(3, oracle.nu)))}
    inputs["external"] = torch.tensor(rng.normal(size=oracle.nv))
    weights = [torch.tensor(rng.normal(size=n)) for n in (oracle.nq, oracle.nv)]

    def loss(inputs):
        parameters = nest({path: value for path, value in inputs.items() if isinstance(path, tuple)})
        qs, vs = oracle.rollout(inputs["q"], inputs["v"], inputs["u"], 1, inputs["external"], parameters)
        return weights[0] @ qs[-1] + 0.1 * weights[1] @ vs[-1]

    touching = {(a.link, b.link) for a, b, *_ in oracle.contacts(oracle.pose(q), oracle.parameters(), v)}
    assert {(3, 4), (4, 3), (4, -1), (4, 5)} <= touching
    tracked = {path: value.clone().requires_grad_() for path, value in inputs.items()}
    gradients = dict(zip(tracked, torch.autograd.grad(loss(tracked), list(tracked.values())), strict=True))
    for quaternion in (slice(2, 6), slice(9, 13)):
        assert abs(gradients["q"][quaternion] @ q[quaternion]) < 1e-12  # tangent
    for path, value in inputs.items():
        direction = torch.tensor(rng.normal(size=value.shape))
        step = 1e-6 * (value * direction).abs().max().clamp_min(0.1) / direction.abs().max()
        with torch.no_grad():
            ends = [loss(inputs | {path: value + sign * step * direction}) for sign in (1.0, -1.0)]
        numeric = (ends[0] - ends[1]) / (2 * step)
        exact = (gradients[path] * direction).sum()
        assert exact != 0.0, path
        assert float(exact) == pytest.approx(float(numeric), rel=1e-5, abs=5e-9), path  # rounding of the bias: 1e-9
