"""A robot's free motion here and in MuJoCo, which reads the file by itself.

Both take 100 Euler steps of 1 ms in f64, from the file's reference configuration with small random velocities, under gravity
along -z. Switched off in both, as their laws differ on purpose (docs/rigid.md): contact, limits, dry friction, actuators,
fluids. In MuJoCo alone, as here they are left out with a warning: springs and dampers of ball and free joints, nonlinear ones
of others. Masses that the file leaves to meshes are MuJoCo's estimates in both (``exact_masses=False``).

*The tree*: without constraints and tendons.

*With constraints*, of robots that have some, but without tendons. MuJoCo's are soft, and those here as good as rigid: a
constraint of violation phi and Jacobian J obeys J (v + h a) + h J' v = -phi / T - c f with T = h + tau and a compliance c of
1e-5 of what f changes in a substep (docs/rigid.md). So what is compared with are MuJoCo's own mass matrix M, forces, J, and
reference acceleration a_ref = -J' v - b J v - k phi, set to b = 1 / h and k = 1 / (h T), put together in each step as

    (M + h D) a - J^T f = forces,     J a + c f / h = a_ref

with the dampers D, which its Euler takes implicitly, too.
"""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

import diffsim as ds
from diffsim.rigid.constraint_model import COMPLIANCE_SHARE
from diffsim.rigid.rigid_records import RECOVERY

DT, STEPS = 1e-3, 100
SPEED = 0.1  # of the random velocities, rad/s and m/s
SIZES, DOFS = (7, 4, 1, 1), (6, 3, 1, 1)  # coordinates and dofs by mjtJoint
GRAVITY = (0.0, 0.0, -9.81)
# a URDF's link without <inertial> has no mass, which MuJoCo refuses in a moving body; and inertias that no body has
POLYNOMIALS = (
    "tendon_stiffness", "tendon_damping", "jnt_stiffnesspoly", "jnt_springyield", "dof_dampingpoly", "tendon_stiffnesspoly",
    "tendon_dampingpoly",
)  # fmt: skip
LENIENT = 'inertiafromgeom="false" boundmass="2e-15" boundinertia="2e-15" balanceinertia="true"'


class NoReferenceError(Exception):
    """MuJoCo gives nothing to compare with; says why."""


def _compiled(path: Path) -> Any:
    """The model as MuJoCo reads it: MJCF as it is, URDF without its shapes, which do not move it where links have inertias."""
    import mujoco

    if path.suffix == ".xml" and not _is_urdf(path):
        return mujoco.MjModel.from_xml_path(str(path))
    text = re.sub(
        r"<(visual|collision)\b.*?</\1>", "", re.sub(r"<!--.*?-->", "", path.read_text(), flags=re.DOTALL), flags=re.DOTALL
    )
    text = re.sub(r"<mujoco>.*?</mujoco>", "", text, flags=re.DOTALL)
    for options in ('fusestatic="false"', f'fusestatic="false" {LENIENT}'):
        extension = f"<mujoco><compiler {options}/></mujoco>"
        try:
            return mujoco.MjModel.from_xml_string(re.sub(r"(<robot[^>]*>)", rf"\1{extension}", text, count=1))
        except ValueError as error:
            reason = error
    raise reason


def _is_urdf(path: Path) -> bool:
    return re.search(r"<robot\b", path.read_text(errors="replace")[:5000]) is not None


def reference(path: Path, *, constrained: bool) -> tuple[Any, Any]:
    """MuJoCo's model, set as above, and its data at the start.

    Raises:
        NoReferenceError: MuJoCo refuses the file, or nothing in it moves.
    """
    import mujoco

    try:
        model = _compiled(path)
    except ValueError as error:
        raise NoReferenceError("MuJoCo refuses it: " + "; ".join(str(error).split("\n"))) from error
    if not model.nv:
        raise NoReferenceError("nothing moves")
    off = mujoco.mjtDisableBit
    for bit in (off.mjDSBL_CONTACT, off.mjDSBL_LIMIT, off.mjDSBL_FRICTIONLOSS, off.mjDSBL_ACTUATION):
        model.opt.disableflags |= int(bit)
    model.opt.timestep, model.opt.integrator = DT, int(mujoco.mjtIntegrator.mjINT_EULER)
    model.opt.density = model.opt.viscosity = 0.0
    model.opt.gravity[:] = GRAVITY
    rotating = np.isin(model.jnt_type, (int(mujoco.mjtJoint.mjJNT_FREE), int(mujoco.mjtJoint.mjJNT_BALL)))
    model.jnt_stiffness[rotating] = 0.0
    for field in POLYNOMIALS:
        if hasattr(model, field):
            getattr(model, field)[:] = 0.0
    model.opt.jacobian = int(mujoco.mjtJacobian.mjJAC_DENSE)
    d = 0.9  # any: MuJoCo divides it out again
    model.eq_solref[:] = -d / (DT * DT * (1.0 + RECOVERY)), -d / DT
    model.eq_solimp[:] = d, d, 1e-3, 0.5, 2.0
    if not constrained:
        model.opt.disableflags |= int(off.mjDSBL_EQUALITY)
    data = mujoco.MjData(model)
    data.qvel[:] = SPEED * np.random.default_rng(0).normal(size=model.nv)
    return model, data


def mass_matrix(model: Any, data: Any) -> np.ndarray:
    """(nv, nv)."""
    import mujoco

    columns = np.zeros((model.nv, model.nv))
    for column, unit in zip(columns, np.eye(model.nv), strict=True):
        mujoco.mj_mulM(model, data, column, unit)
    return columns


def compliances(model: Any, data: Any) -> np.ndarray:
    """(rows,) at the start: a share, per substep, of what a force of the point (three rows), the turn (three) or the joint
    changes at most."""
    import mujoco

    mujoco.mj_forward(model, data)
    J = np.asarray(data.efc_J).reshape(data.nefc, model.nv)
    shares = J @ np.linalg.pinv(mass_matrix(model, data), hermitian=True) @ J.T
    found, row = np.zeros(data.nefc), 0
    while row < data.nefc:
        kind = mujoco.mjtEq(int(model.eq_type[data.efc_id[row]]))
        size = 3 if kind in (mujoco.mjtEq.mjEQ_CONNECT, mujoco.mjtEq.mjEQ_WELD) else 1  # a weld's turn is another three
        block = slice(row, row + size)
        found[block] = COMPLIANCE_SHARE * DT * np.linalg.eigvalsh(shares[block, block])[-1]
        row += size
    return found


def advance(model: Any, data: Any, c: np.ndarray) -> None:
    """A step with MuJoCo's matrices and forces, and constraints of these compliances (rows,)."""
    import mujoco

    mujoco.mj_forward(model, data)
    J = np.asarray(data.efc_J).reshape(data.nefc, model.nv)
    inverse = np.linalg.inv(mass_matrix(model, data) + DT * np.diag(model.dof_damping))
    free = inverse @ data.qfrc_smooth
    force = np.linalg.solve(J @ inverse @ J.T + np.diag(c) / DT, data.efc_aref - J @ free)
    data.qvel[:] += DT * (free + inverse @ J.T @ force)
    mujoco.mj_integratePos(model, data.qpos, data.qvel, DT)


def disagreement(path: Path, articulation: ds.Articulation, *, constrained: bool) -> float:
    """Largest difference of coordinates and velocities after all steps, over 1 + their size; as a tree, or with constraints.

    Raises:
        NoReferenceError: there is none.
    """
    import mujoco

    model, data = reference(path, constrained=constrained)
    active = int(model.eq_active0.sum())
    if constrained and active != len(articulation.constraints):
        raise NoReferenceError(f"{len(articulation.constraints)} constraints here, {active} in MuJoCo")
    sim, state, at = start(articulation, model, data, constrained=constrained)
    c = compliances(model, data) if constrained else np.zeros(0)
    for _ in range(STEPS):
        if constrained:
            advance(model, data, c)
        else:
            mujoco.mj_step(model, data)
    if any(int(warning.number) for warning in data.warning) or not np.isfinite(data.qpos).all():
        raise NoReferenceError("MuJoCo diverges")
    end = sim.step(state, torch.zeros(1, sim.action_dim, dtype=torch.float64))
    worst = 0.0
    for (own_q, own_qd), (their_q, their_qd) in at:
        for ours, wanted in ((end.q[0, own_q], data.qpos[their_q]), (end.qd[0, own_qd], data.qvel[their_qd])):
            apart = np.abs(ours.numpy() - wanted) / (1.0 + np.abs(wanted))
            worst = max(worst, float(apart.max()) if np.isfinite(apart).all() else math.inf)
    return worst


Places = list[tuple[tuple[slice, slice], tuple[slice, slice]]]


def start(articulation: ds.Articulation, model: Any, data: Any, *, constrained: bool) -> tuple[ds.Simulator, ds.State, Places]:
    """A simulator of the mechanism alone, the state of ``data``, and where each joint's entries of q and qd stand here and
    there."""
    links = []
    for link in articulation.links:
        joint = dataclasses.replace(link.joint, limits=None, friction_loss=0.0)
        links.append(dataclasses.replace(link, joint=joint, geometries=()))
    constraints = articulation.constraints if constrained else ()
    bare = dataclasses.replace(articulation, links=tuple(links), actuators=(), constraints=constraints, tendons=())
    scene = ds.Scene(articulations=(bare,), ground=None, gravity=GRAVITY)
    sim = ds.Simulator(scene, dt=DT, substeps=STEPS, dtype=torch.float64, integrator="euler")
    state = sim.reset()
    q, qd, places = state.q.clone(), state.qd.clone(), []
    for j in range(model.njnt):
        kind = int(model.jnt_type[j])
        info = sim.joint(f"{bare.name}.{model.joint(j).name or f'joint{j}'}")
        first, dof = int(model.jnt_qposadr[j]), int(model.jnt_dofadr[j])
        there = slice(first, first + SIZES[kind]), slice(dof, dof + DOFS[kind])
        q[0, info.coordinates] = torch.tensor(data.qpos[there[0]])
        qd[0, info.dofs] = torch.tensor(data.qvel[there[1]])
        places.append(((info.coordinates, info.dofs), there))
    return sim, state.replace(q=q, qd=qd), places
