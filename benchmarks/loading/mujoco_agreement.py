"""A robot's free motion here and in MuJoCo, which reads the file by itself.

Both take 100 Euler steps of 1 ms in f64, from the file's reference configuration with small random velocities, under gravity
along -z. Switched off in both, as their laws differ on purpose (docs/rigid.md): contact, limits, dry friction, actuators,
fluids. In MuJoCo alone, as here they are left out with a warning: springs and dampers of ball and free joints, nonlinear ones
of others.

*The tree*: without constraints and tendons.

*With constraints*, of robots that have some: no dampers, which MuJoCo's Euler takes implicitly after it has solved the
constraints, and no tendons. Here a constraint of violation phi and Jacobian J holds as J v+ = -phi / T with T = h + tau
(docs/rigid.md). In MuJoCo its force f obeys J a + R f = -b J v - k phi, the same for b = 1 / h, k = 1 / (h T) and R -> 0. R is
e times the constraint's inverse inertia, e = (1 - d) / d, and d at most 0.9999; as the motion is smooth in e, that at 0 is
2 x(e) - x(2 e) up to e^2 = 1e-8.
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
from diffsim.rigid.rigid_records import RECOVERY

DT, STEPS = 1e-3, 100
SPEED = 0.1  # of the random velocities, rad/s and m/s
SOFTNESS = (1.1e-4, 2.2e-4)  # e of the two runs with constraints
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


def reference(path: Path, softness: float | None) -> tuple[Any, Any]:
    """MuJoCo's model, set as above, and its data at the start; with constraints of that softness, or None.

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
    if softness is None:
        model.opt.disableflags |= int(off.mjDSBL_EQUALITY)
    else:
        d = 1.0 / (1.0 + softness)
        model.dof_damping[:] = 0.0
        model.eq_solref[:] = -d / (DT * DT * (1.0 + RECOVERY)), -d / DT
        model.eq_solimp[:] = d, d, 1e-3, 0.5, 2.0
        model.opt.tolerance, model.opt.iterations = 0.0, 20
    data = mujoco.MjData(model)
    data.qvel[:] = SPEED * np.random.default_rng(0).normal(size=model.nv)
    return model, data


def moved(path: Path, softness: float | None) -> tuple[np.ndarray, np.ndarray]:
    """MuJoCo's coordinates and velocities after all steps.

    Raises:
        NoReferenceError: as of `reference`, or it diverges.
    """
    import mujoco

    model, data = reference(path, softness)
    for _ in range(STEPS):
        mujoco.mj_step(model, data)
    if any(int(warning.number) for warning in data.warning) or not np.isfinite(data.qpos).all():
        raise NoReferenceError("MuJoCo diverges")
    return data.qpos.copy(), data.qvel.copy()


def disagreement(path: Path, articulation: ds.Articulation, *, constrained: bool) -> float:
    """Largest difference of coordinates and velocities after all steps, over 1 + their size; as a tree, or with constraints.

    Raises:
        NoReferenceError: there is none.
    """
    softness = SOFTNESS[0] if constrained else None
    model, data = reference(path, softness)
    active = int(model.eq_active0.sum())
    if constrained and active != len(articulation.constraints):
        raise NoReferenceError(f"{len(articulation.constraints)} constraints here, {active} in MuJoCo")
    q, qd = moved(path, softness)
    if constrained:
        softer_q, softer_qd = moved(path, SOFTNESS[1])
        q, qd = 2.0 * q - softer_q, 2.0 * qd - softer_qd
    sim, state, at = start(articulation, model, data, constrained=constrained)
    end = sim.step(state, torch.zeros(1, sim.action_dim, dtype=torch.float64))
    worst = 0.0
    for (own_q, own_qd), (their_q, their_qd) in at:
        for ours, theirs in ((end.q[0, own_q], q[their_q]), (end.qd[0, own_qd], qd[their_qd])):
            apart = np.abs(ours.numpy() - theirs) / (1.0 + np.abs(theirs))
            worst = max(worst, float(apart.max()) if np.isfinite(apart).all() else math.inf)
    return worst


Places = list[tuple[tuple[slice, slice], tuple[slice, slice]]]


def start(articulation: ds.Articulation, model: Any, data: Any, *, constrained: bool) -> tuple[ds.Simulator, ds.State, Places]:
    """A simulator of the mechanism alone, the state of ``data``, and where each joint's entries of q and qd stand here and
    there."""
    links = []
    for link in articulation.links:
        damping = 0.0 if constrained else link.joint.damping
        joint = dataclasses.replace(link.joint, limits=None, friction_loss=0.0, damping=damping)
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
