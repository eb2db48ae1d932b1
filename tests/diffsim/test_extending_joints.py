"""A kind of joint from outside the package: a screw, which exists in this file alone."""

import numpy as np
import pytest
import torch

import diffsim as ds
from diffsim.compiler import ti
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.rigid.rigid_records import SCREW, DofWork, LinkConstants, SceneConstants
from diffsim.scene.rotations import axis_rotation

pytestmark = pytest.mark.slow

F64 = torch.float64
PITCH = 0.3  # m/rad
H, SUBSTEPS = 2e-3, 5


class ScrewJoint(ds.JointType):
    """Turns by q, rad, about ``axis`` and slides along it by the pitch ``constants[0]``, m/rad, times q."""

    name = "screw"
    coordinates = 1
    motions = (SCREW,)
    coordinate_names = ("angle",)
    constants = 1

    def place(self, joint, q, position, rotation):
        shift = rotation @ np.asarray(joint.axis) * joint.constants[0] * q[0]
        return position + shift, rotation @ axis_rotation(joint.axis, q[0])

    def jacobian(self, joint, q, rotation):
        axis = (rotation @ np.asarray(joint.axis))[:, None]
        return joint.constants[0] * axis, axis

    def motion(self, real):
        vf = vector_functions(real)

        @ti.func
        def motion(m: ti.template(), j: ti.template(), rot: ti.template(), p: ti.template(), full: ti.template()):
            axis = vf.load(m.reals, j.constants + LinkConstants.axis)
            pitch = m.reals[j.constants + LinkConstants.joint_constants]
            z = rot @ axis
            vf.store(m.work, j.axes + DofWork.axis, z)
            vf.store(m.work, j.axes + DofWork.slide, pitch * z)
            v, a, virtual = m.tape[j.v], ti.cast(0.0, real), ti.cast(0.0, real)
            if ti.static(full):
                a, virtual = m.tape[j.a], m.work[j.virtual]
            new = v + m.reals[SceneConstants.dt] * a
            turned, place = rot @ vf.about(axis, m.tape[j.q]), p + z * (pitch * m.tape[j.q])
            return (
                turned, place, z * v, z * (pitch * v), z * a, z * (pitch * a), z * new, z * (pitch * new), z * virtual,
                z * (pitch * virtual),
            )  # fmt: skip

        @ti.func
        def motion_adjoint(
            m: ti.template(), j: ti.template(), rotation_bar: ti.template(), shift_bar: ti.template(),
            turn_bar: ti.template(), slide_bar: ti.template(), turn_a_bar: ti.template(), slide_a_bar: ti.template(),
            turn_new_bar: ti.template(), slide_new_bar: ti.template(), turn_virtual_bar: ti.template(),
            slide_virtual_bar: ti.template(),
        ):  # fmt: skip
            pitch = m.reals[j.constants + LinkConstants.joint_constants]
            z = vf.load(m.work, j.axes + DofWork.axis)
            v, a, virtual = m.tape[j.v], m.tape[j.a], m.work[j.virtual]
            new = v + m.reals[SceneConstants.dt] * a
            # what a unit of each rate along z would change, turning and sliding together
            by_v, by_a = turn_bar + pitch * slide_bar, turn_a_bar + pitch * slide_a_bar
            by_new, by_virtual = turn_new_bar + pitch * slide_new_bar, turn_virtual_bar + pitch * slide_virtual_bar
            z_bar = v * by_v + a * by_a + new * by_new + virtual * by_virtual
            m.work[j.v_bar] = m.work[j.v_bar] + z.dot(by_v + by_new)
            m.work[j.q_bar] = m.work[j.q_bar] + z.dot(rotation_bar + pitch * shift_bar)
            return rotation_bar + z.cross(z_bar)

        return motion, motion_adjoint


ds.register_joint(ScrewJoint())


def nut(**fields) -> ds.Articulation:
    inertia = ds.Inertia(1.5, (0.02, 0.03, 0.04))
    joint = ds.Joint("thread", "screw", constants=(PITCH,), **fields)
    return ds.Articulation("nut", (ds.Link("nut", joint, inertia=inertia),), (ds.Actuator("motor", "thread"),))


def simulator(articulation: ds.Articulation, **options) -> ds.Simulator:
    scene = ds.Scene(articulations=(articulation,), ground=None, **options)
    return ds.Simulator(scene, dt=H, substeps=SUBSTEPS, dtype=F64)


def test_a_nut_falls_along_its_thread():
    """(I + m p^2) q'' = tau - m p g."""
    sim = simulator(nut())
    torque, steps = 0.4, 40
    states = sim.rollout(sim.reset(), torch.full((steps, 1, 1), torque, dtype=F64))
    acceleration = (torque - 1.5 * PITCH * 9.81) / (0.04 + 1.5 * PITCH**2)
    n = steps * SUBSTEPS
    turned = 0.5 * acceleration * (n * H) ** 2
    assert float(states[-1].q) == pytest.approx(turned, rel=1e-10)
    links = sim.links(states[-1])
    assert links.position[0, 1].tolist() == pytest.approx([0.0, 0.0, PITCH * turned], abs=1e-10)
    assert float(links.velocity[0, 1, 2]) == pytest.approx(PITCH * acceleration * n * H, rel=1e-10)


def arm() -> ds.Articulation:
    """A screw between a hinge and a hinge, with contact at its end."""
    inertia = ds.Inertia(0.8, (0.02, 0.03, 0.04), (0.05, 0.02, 0.1))
    ball = ds.Geometry(ds.Sphere(0.08), friction=0.4)
    screw = ds.Joint(
        "screw", "screw", (0.3, 0.9, 0.2), constants=(PITCH,), damping=0.05, armature=0.01, limits=(-0.2, 0.3),
        limit_stiffness=10.0, limit_smoothing=0.05,
    )  # fmt: skip
    hinge = ds.Joint("tip", "revolute", (1.0, 0.0, 0.2))
    links = (
        ds.Link("base", ds.Joint("base", "revolute", (0.0, 1.0, 0.0)), None, (0.0, 0.0, 0.3), inertia=inertia),
        ds.Link("nut", screw, "base", (0.1, 0.0, -0.1), (0.9, 0.1, 0.2, -0.1), inertia=inertia),
        ds.Link("tip", hinge, "nut", (0.1, 0.1, 0.0), inertia=inertia, geometries=(ball,)),
    )
    return ds.Articulation("arm", links, (ds.Actuator("motor", "screw"),))


def test_gradients_of_an_arm_with_a_screw_agree_with_finite_differences():
    contact = ds.ContactModel(stiffness=1e3, smoothing=1e-2, slip_speed=0.1, restitution_speed=0.1)
    scene = ds.Scene(articulations=(arm(),), ground=ds.Ground(), contact=contact)
    sim = ds.Simulator(scene, dt=H, substeps=SUBSTEPS, dtype=F64)
    q, qd = torch.tensor([[0.4, 0.25, -0.3]], dtype=F64), torch.tensor([[0.5, -1.0, 0.7]], dtype=F64)
    actions = torch.linspace(-0.5, 0.5, 6, dtype=F64).reshape(6, 1, 1)
    state = sim.reset()
    touched = []

    def value(q, qd, actions, mass, gravity):
        given = {"arm.nut.mass": mass, "gravity": gravity}
        states = sim.rollout(state.replace(q=q, qd=qd), actions, given)
        links = sim.links(states[-1])
        touched.append(float(links.position[0, -1, 2].detach()))
        return states[-1].q.square().sum() + (links.position * links.velocity).sum() + links.rotation[..., 0].sum()

    defaults = sim.parameters
    inputs = {"q": q, "qd": qd, "actions": actions, "mass": defaults["arm.nut.mass"], "gravity": defaults["gravity"]}
    ds.gradcheck(value, inputs, directions=2)
    assert np.isfinite(touched).all()


def test_what_registration_refuses():
    class Wrong(ScrewJoint):
        name = "wrong"
        coordinates = 2

    with pytest.raises(ds.InputError, match="coordinate names"):
        ds.register_joint(Wrong())
    with pytest.raises(ds.InputError, match="JointType"):
        ds.register_joint("screw")

    class Taken(ScrewJoint):
        name = "revolute"

    with pytest.raises(ds.InputError, match="already"):
        ds.register_joint(Taken())
