"""External forces and torques on links, constant over a control step; forward beside adjoint.

A force F acts at a link's centre of mass, rho = R c from its origin; with a torque T the moment there is T + rho x F.
The power under the virtual motion (eta, w) is F . (w + eta x rho) + T . eta.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace

from diffsim.compiler import ti
from diffsim.rigid.kernels.rigid_memory import model_rows
from diffsim.rigid.kernels.vectors import vector_functions
from diffsim.rigid.rigid_records import ExternalWrench, Header, LinkAdjoint, LinkForward, LinkInputs


def wrench_stage(real) -> SimpleNamespace:
    """``act`` and ``act_adjoint`` on all links; ``acceleration`` and ``acceleration_adjoint`` of a body by itself."""
    vf, rows = vector_functions(real), model_rows()
    vec3, load, add = vf.vec3, vf.load, vf.add

    @ti.func
    def given(m: ti.template()):
        """Whether there are any in this launch: then all links but the world and the tools have one."""
        return m.integers[Header.contact_wrenches] > m.integers[Header.actuators]

    @ti.func
    def end_link(m: ti.template()):
        """One past the last link that has a wrench; the first is link 1."""
        end = 1
        if given(m):
            end = m.integers[Header.links] - m.integers[Header.tools]
        return end

    @ti.func
    def wrench_of(m: ti.template(), at: ti.template(), i):
        """Where that of link ``i`` stands in controls, and its adjoint in theirs."""
        return at.controls + m.integers[Header.actuators] + ExternalWrench.SIZE * (i - 1)

    @ti.func
    def act(m: ti.template(), at: ti.template()):
        """Takes them off the bias wrenches of the links."""
        for i in range(1, end_link(m)):
            block, wrench = rows.link_block(at, i), wrench_of(m, at, i)
            rot = vf.load_matrix(m.work, block + LinkForward.rotation)
            rho = rot @ load(m.inputs, rows.link_inputs(m, at, i) + LinkInputs.center)
            force, torque = load(m.controls, wrench + ExternalWrench.force), load(m.controls, wrench + ExternalWrench.torque)
            add(m.work, block + LinkForward.force, -1.0 * force)
            add(m.work, block + LinkForward.torque, -1.0 * (torque + rho.cross(force)))

    @ti.func
    def act_adjoint(m: ti.template(), at: ti.template()):
        """Adjoints of their power: of the wrenches, the links' virtual motions and rotations, and the centres of mass."""
        for i in range(1, end_link(m)):
            block, own, wrench = rows.link_block(at, i), rows.link_inputs(m, at, i), wrench_of(m, at, i)
            rot = vf.load_matrix(m.work, block + LinkAdjoint.rotation)
            rho = rot @ load(m.inputs, own + LinkInputs.center)
            force, torque = load(m.controls, wrench + ExternalWrench.force), load(m.controls, wrench + ExternalWrench.torque)
            eta = load(m.work, block + LinkAdjoint.virtual_angular_velocity)
            w_c = load(m.work, block + LinkAdjoint.virtual_velocity) + eta.cross(rho)
            add(m.controls_bar, wrench + ExternalWrench.force, w_c)
            add(m.controls_bar, wrench + ExternalWrench.torque, eta)
            add(m.work, block + LinkAdjoint.virtual_velocity_bar, force)
            add(m.work, block + LinkAdjoint.virtual_angular_velocity_bar, torque + rho.cross(force))
            rho_bar = force.cross(eta)
            add(m.work, block + LinkAdjoint.rotation_bar, rho.cross(rho_bar))
            add(m.inputs_bar, own + LinkInputs.center, rot.transpose() @ rho_bar)

    @ti.func
    def acceleration(m: ti.template(), at: ti.template(), i):
        """Of link ``i`` by its external force, were it a body by itself: F / m."""
        a = vec3(0.0, 0.0, 0.0)
        if given(m):
            mass = m.inputs[rows.link_inputs(m, at, i) + LinkInputs.mass]
            if mass > 0.0:
                a = 1.0 / mass * load(m.controls, wrench_of(m, at, i) + ExternalWrench.force)
        return a

    @ti.func
    def acceleration_adjoint(m: ti.template(), at: ti.template(), i, a_bar):
        """Adds to the adjoints of the force and of the mass."""
        if given(m):
            mass_at, force_at = rows.link_inputs(m, at, i) + LinkInputs.mass, wrench_of(m, at, i) + ExternalWrench.force
            mass = m.inputs[mass_at]
            if mass > 0.0:
                add(m.controls_bar, force_at, 1.0 / mass * a_bar)
                m.inputs_bar[mass_at] = m.inputs_bar[mass_at] - load(m.controls, force_at).dot(a_bar) / (mass * mass)

    return SimpleNamespace(
        act=act, act_adjoint=act_adjoint, acceleration=acceleration, acceleration_adjoint=acceleration_adjoint
    )
