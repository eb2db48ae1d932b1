"""A robot's free motion here and in MuJoCo, which reads the file by itself.

What moves is alike, so that the laws must be: both take 100 Euler steps of 1 ms in f64, from the file's reference configuration
with small random velocities, under gravity. Set in both: no contact, joint limits, dry friction or actuators (their laws differ
on purpose, docs/rigid.md), nothing of a fluid, gravity along -z. In MuJoCo alone, as here they are left out with a warning:
no springs and dampers of tendons, none of ball and free joints, no nonlinear springs and dampers.
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

DT, STEPS = 1e-3, 100
SPEED = 0.1  # of the random velocities, rad/s and m/s
SIZES, DOFS = (7, 4, 1, 1), (6, 3, 1, 1)  # coordinates and dofs by mjtJoint
GRAVITY = (0.0, 0.0, -9.81)
# a URDF's link without <inertial> has no mass, which MuJoCo refuses in a moving body; and inertias that no body has
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


def reference(path: Path) -> tuple[Any, Any]:
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
    for field in (
        "tendon_stiffness",
        "tendon_damping",
        "jnt_stiffnesspoly",
        "dof_dampingpoly",
        "tendon_stiffnesspoly",
        "tendon_dampingpoly",
    ):
        if hasattr(model, field):
            getattr(model, field)[:] = 0.0
    data = mujoco.MjData(model)
    data.qvel[:] = SPEED * np.random.default_rng(0).normal(size=model.nv)
    return model, data


def disagreement(path: Path, articulation: ds.Articulation) -> float:
    """Largest difference of coordinates and velocities after all steps, over 1 + their size.

    Raises:
        NoReferenceError: there is none, or it diverges.
    """
    import mujoco

    model, data = reference(path)
    sim, state, at = start(articulation, model, data)
    for _ in range(STEPS):
        mujoco.mj_step(model, data)
    if any(int(warning.number) for warning in data.warning) or not np.isfinite(data.qpos).all():
        raise NoReferenceError("MuJoCo diverges")
    end = sim.step(state, torch.zeros(1, sim.action_dim, dtype=torch.float64))
    worst = 0.0
    for (q, qd), (theirs_q, theirs_qd) in at:
        for ours, theirs in ((end.q[0, q], data.qpos[theirs_q]), (end.qd[0, qd], data.qvel[theirs_qd])):
            apart = np.abs(ours.numpy() - theirs) / (1.0 + np.abs(theirs))
            worst = max(worst, float(apart.max()) if np.isfinite(apart).all() else math.inf)
    return worst


Places = list[tuple[tuple[slice, slice], tuple[slice, slice]]]


def start(articulation: ds.Articulation, model: Any, data: Any) -> tuple[ds.Simulator, ds.State, Places]:
    """A simulator of the mechanism alone, the state of ``data``, and where each joint's entries of q and qd stand here and
    there."""
    links = []
    for link in articulation.links:
        joint = dataclasses.replace(link.joint, limits=None, friction_loss=0.0)
        links.append(dataclasses.replace(link, joint=joint, geometries=()))
    bare = dataclasses.replace(articulation, links=tuple(links), actuators=())
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
