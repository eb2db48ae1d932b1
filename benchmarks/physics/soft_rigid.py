"""Point 5: what is soft carries what is rigid, whatever dt is, and as Archimedes says."""

from __future__ import annotations

import torch

import diffsim as ds
from benchmarks.physics.registry import Results, experiment, within, yes
from benchmarks.physics.worlds import F64, G, rollout, simulator

WIDTH, HEIGHT, YOUNG, DENSITY = 0.12, 0.21, 1e5, 1e3
SPACING = 0.03
PLATE = 6.5  # kg
# nu = 0: the column stays as wide as it is, and the first Piola-Kirchhoff stress of the fixed corotated law is E (s - 1) at
# the stretch s. It carries the plate's weight and the column's own above, over the area at rest: the mean of 1 - s is exactly
SHORTENING = PLATE * G / (YOUNG * WIDTH**2) + 0.5 * DENSITY * G * HEIGHT / YOUNG
WAVE_SPEED = (YOUNG / DENSITY) ** 0.5
COURANT = (0.45, 0.3, 0.15, 0.075)


@experiment("plate on a soft column", 5, {f"Courant number {c:g}, sunk over height": within(SHORTENING, 0.05) for c in COURANT})
def plate() -> Results:
    """A plate of 6.5 kg on a column of 12 x 12 x 21 cm, 4 x 4 x 7 cells, from where it should rest: the mean of .2 s, about a
    period of the column's vibration, after .4 s. What is measured is the plate's lower face, so a gap counts."""
    column = ds.SoftBody(
        "column", ds.Box((0.5 * WIDTH, 0.5 * WIDTH, 0.5 * HEIGHT)), (0.3, 0.3, 0.5 * HEIGHT),
        material=ds.Elastic(YOUNG, 0.0, DENSITY), particles=896,
    )  # fmt: skip
    rests = HEIGHT * (1.0 - SHORTENING)
    body = ds.RigidBody("plate", ds.Box((0.5 * WIDTH, 0.5 * WIDTH, 0.01)), (0.3, 0.3, rests + 0.01), mass=PLATE)
    scene = ds.Scene((column,), rigid_bodies=(body,), upper=(0.6, 0.6, 0.48), grid_spacing=SPACING)
    for courant in COURANT:
        sim = simulator(scene, dt=courant * SPACING / WAVE_SPEED, substeps=20)
        state = sim.reset()
        z = state.x[..., 2]
        squeezed = state.x.clone()
        # s(z) - 1 = -(m g / A + rho g (H - z)) / E, integrated from the ground
        squeezed[..., 2] = z - z * PLATE * G / (YOUNG * WIDTH**2) - DENSITY * G * (HEIGHT * z - 0.5 * z**2) / YOUNG
        F = state.F.clone()
        F[..., 2, 2] = 1.0 - PLATE * G / (YOUNG * WIDTH**2) - DENSITY * G * (HEIGHT - z) / YOUNG
        states = rollout(sim, 0.6, state.replace(x=squeezed, F=F))
        late = torch.stack([each.q[0, 2] for each in states[-round(0.2 / sim.control_dt) :]])
        yield f"Courant number {courant:g}, sunk over height", 1.0 - (late.mean().item() - 0.01) / HEIGHT


EDGE, CELL = 0.12, 0.024  # 5 cells across
TANK, DEPTH, BULK = 0.264, 0.192, 1e5  # 11 x 11 x 8 cells
PARTICLES = 8 * 11 * 11 * 8
SHARES = (0.3, 0.5, 0.8)


def tank(bottom: float, *, num_envs: int, dt: float) -> ds.Simulator:
    """Water, and a box whose lower face is at ``bottom``, above or in it. Neither the box nor the ground has dry friction: it
    would hold a layer of water of height mu w under a box of half width w."""
    water = ds.SoftBody(
        "water", ds.Box((0.5 * TANK, 0.5 * TANK, 0.5 * DEPTH)), (0.5 * TANK, 0.5 * TANK, 0.5 * DEPTH),
        material=ds.Liquid(1e3, BULK), particles=PARTICLES,
    )  # fmt: skip
    box = ds.RigidBody("box", ds.Box((0.5 * EDGE,) * 3), (0.5 * TANK, 0.5 * TANK, bottom + 0.5 * EDGE), mass=1.0, friction=0.0)
    ground = ds.Ground(friction=0.0)
    scene = ds.Scene((water,), rigid_bodies=(box,), ground=ground, upper=(TANK, TANK, 0.48), grid_spacing=CELL)
    return simulator(scene, num_envs=num_envs, dt=dt)


def level(state: ds.State) -> torch.Tensor:
    """Height of the water's surface (B,), from what is not under the box or beside it within a cell and a half: twice the mean
    height of a layer of even density."""
    aside = (state.x[..., :2] - state.q[:, None, :2]).abs().amax(dim=-1) > 0.5 * EDGE + 1.5 * CELL
    return 2.0 * (state.x[..., 2] * aside).sum(dim=1) / aside.sum(dim=1)


def masses(*shares: float) -> torch.Tensor:
    return torch.tensor(shares, dtype=F64) * 1e3 * EDGE**3


@experiment("buoyancy", 5, {f"density {share:g}, submerged share": within(share, 0.05) for share in SHARES})
def floats() -> Results:
    """Let go with the lower face at the water's surface; the mean of the last half of 2 s."""
    sim = tank(DEPTH, num_envs=len(SHARES), dt=1e-3)
    heavy = masses(*SHARES)
    moments = {"box.mass": heavy, "box.inertia": heavy[:, None] * sim.parameters["box.inertia"]}
    states = rollout(sim, 2.0, parameters=moments)
    late = states[len(states) // 2 :]
    sunk = torch.stack([(level(state) - (state.q[:, 2] - 0.5 * EDGE)) / EDGE for state in late]).mean(dim=0)
    for n, share in enumerate(SHARES):
        yield f"density {share:g}, submerged share", sunk[n].item()


SINK_DT = (1e-3, 5e-4, 2.5e-4)


@experiment("sinking", 5, {f"density 2, dt {dt:g} s, is under water and on the ground": yes() for dt in SINK_DT})
def sinks() -> Results:
    """From a lower face at the surface, for 1 s: the lower face is within half a cell of the ground."""
    for dt in SINK_DT:
        sim = tank(DEPTH, num_envs=1, dt=dt)
        heavy = masses(2.0)
        moments = {"box.mass": heavy, "box.inertia": heavy[:, None] * sim.parameters["box.inertia"]}
        end = rollout(sim, 1.0, parameters=moments)[-1]
        bottom = end.q[0, 2].item() - 0.5 * EDGE
        yield (
            f"density 2, dt {dt:g} s, is under water and on the ground",
            float(bottom < 0.5 * CELL and bottom + EDGE < float(level(end))),
        )
