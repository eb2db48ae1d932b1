"""Point 4: contact that scales with the bodies: rest, stacks, walls, and no force where nothing touches."""

from __future__ import annotations

from itertools import pairwise

import torch

import diffsim as ds
from benchmarks.physics.registry import Results, experiment, none, yes
from benchmarks.physics.worlds import G, rollout, simulator, warnings_heard

EDGES = (1e-3, 1e-2, 0.1, 1.0, 4.0)
DENSITIES = (100.0, 1000.0, 8000.0)


def depth_limit(edge: float) -> float:
    """1% of the height, and 1 mm at most."""
    return min(0.01 * edge, 1e-3)


def cube(name: str, edge: float, at: tuple[float, float, float], **fields: float) -> ds.RigidBody:
    return ds.RigidBody(name, ds.Box((0.5 * edge,) * 3), at, **fields)  # type: ignore[arg-type]


@experiment(
    "resting box", 4,
    {f"edge {edge:g} m, off its height after 2 s, at worst of the densities": none(depth_limit(edge), "m") for edge in EDGES},
)  # fmt: skip
def resting_box() -> Results:
    """100, 1,000 and 8,000 kg/m^3, set on the ground without a gap."""
    for edge in EDGES:
        off = []
        for density in DENSITIES:
            sim = simulator(ds.Scene(rigid_bodies=(cube("box", edge, (0.5, 0.5, 0.5 * edge), density=density),)))
            off.append(abs(rollout(sim, 2.0)[-1].q[0, 2].item() - 0.5 * edge))
        yield f"edge {edge:g} m, off its height after 2 s, at worst of the densities", max(off)


def heights(state: ds.State) -> torch.Tensor:
    """Of free bodies, (B, bodies)."""
    return state.q.view(state.num_envs, -1, 7)[..., 2]


def gaps(state: ds.State, edge: float) -> torch.Tensor:
    """Below each cube of a stack, (B, cubes)."""
    z = heights(state)
    below = torch.cat([torch.full_like(z[:, :1], -0.5 * edge), z[:, :-1]], dim=1)
    return z - below - edge


@experiment(
    "heavy on light", 4, {"100 kg on 1 kg, gap off": none(1e-3, "m"), "tower: 6.4 kg on 64 g, gap off": none(0.4e-3, "m")}
)
def heavy_on_light() -> Results:
    """Cubes of 10 and 4 cm: no gap is off by more than 1% of the height after 3 s."""
    for case, edge, masses in (
        ("100 kg on 1 kg, gap off", 0.1, (1.0, 100.0)),
        ("tower: 6.4 kg on 64 g, gap off", 0.04, (0.064, 6.4)),
    ):
        bodies = tuple(cube(f"c{n}", edge, (0.5, 0.5, (n + 0.5) * edge), mass=mass) for n, mass in enumerate(masses))
        yield case, gaps(rollout(simulator(ds.Scene(rigid_bodies=bodies)), 3.0)[-1], edge).abs().max()


EDGE, SPACE, CUBES = 0.04, 1e-4, 6


def tower() -> ds.Scene:
    """Six cubes of 64 g, .1 mm apart."""
    bodies = [cube(f"c{n}", EDGE, (0.5, 0.5, (n + 0.5) * EDGE + (n + 1) * SPACE), mass=0.064) for n in range(CUBES)]
    return ds.Scene(rigid_bodies=tuple(bodies))


def stood(states: list[ds.State], sim: ds.Simulator) -> tuple[float, float, float, float]:
    """Largest speed after 1 s; largest move of a centre between 2 s and the end, sideways and up or down; kinetic energy gained
    from 2 s on, J."""
    late = states[round(2.0 / sim.control_dt) :]
    places = torch.stack([state.q.view(-1, 7)[:, :3] for state in late])
    motions = torch.stack([state.qd.view(-1, 6)[:, :3] for state in states[round(1.0 / sim.control_dt) :]])
    moved = places - places[0]
    kinetic = [float(0.5 * 0.064 * state.qd.view(-1, 6)[:, :3].square().sum()) for state in (late[0], late[-1])]
    return (
        motions.norm(dim=-1).max().item(), moved[..., :2].norm(dim=-1).max().item(), moved[..., 2].abs().max().item(),
        kinetic[1] - kinetic[0],
    )  # fmt: skip


@experiment(
    "tower", 4,
    {
        "speed after 1 s": none(1e-3, "m/s"),
        "moved sideways, 2 to 20 s": none(2e-4, "m"),
        "moved up or down, 2 to 20 s": none(2e-4, "m"),
        "gap off, 20 s": none(1e-4, "m"),
        "kinetic energy gained, 2 to 20 s": none(1e-8, "J"),
        "f32, moved, 2 to 20 s": none(2e-4, "m"),
        "f32, gap off, 20 s": none(1e-4, "m"),
        "64 environments, apart from one": none(0.0, "m"),
    },
)  # fmt: skip
def tower_stands() -> Results:
    sim = simulator(tower())
    states = rollout(sim, 20.0)
    speed, aside, down, kinetic = stood(states, sim)
    yield "speed after 1 s", speed
    yield "moved sideways, 2 to 20 s", aside
    yield "moved up or down, 2 to 20 s", down
    yield "gap off, 20 s", gaps(states[-1], EDGE).abs().max()
    yield "kinetic energy gained, 2 to 20 s", max(kinetic, 0.0)
    single = simulator(tower(), dtype=torch.float32)
    states32 = rollout(single, 20.0)
    _speed, aside, down, _kinetic = stood(states32, single)
    yield "f32, moved, 2 to 20 s", max(aside, down)
    yield "f32, gap off, 20 s", gaps(states32[-1], EDGE).abs().max()
    many = simulator(tower(), num_envs=64)
    batch = rollout(many, 0.5)[-1]
    yield "64 environments, apart from one", (batch.q - states[round(0.5 / sim.control_dt)].q).abs().max()


@experiment("tower bridge", 4, {"pillars moved apart, 2 to 20 s": none(2e-4, "m"), "bridge sunk, 2 to 20 s": none(2e-4, "m")})
def bridge() -> Results:
    """A cube over two, whose tops it meets on 5 mm each."""
    aside = 0.5 * EDGE - 0.005 + 0.5 * EDGE
    at = ((0.5 - aside, 0.5, 0.5 * EDGE), (0.5 + aside, 0.5, 0.5 * EDGE), (0.5, 0.5, 1.5 * EDGE))
    bodies = tuple(cube(f"c{n}", EDGE, place, mass=0.064) for n, place in enumerate(at))
    sim = simulator(ds.Scene(rigid_bodies=bodies))
    settled = rollout(sim, 2.0)[-1]
    end = rollout(sim, 18.0, settled)[-1]
    moved = (end.q - settled.q).view(3, 7)[:, :3]
    yield "pillars moved apart, 2 to 20 s", (moved[1, 0] - moved[0, 0]).abs()
    yield "bridge sunk, 2 to 20 s", moved[2, 2].abs()


@experiment("fast ball", 4, {"20 m/s against a 2 cm wall, in it at most": none(0.02, "m"), "stays on its side": yes()})
def fast_ball() -> Results:
    """Of 2 cm radius; looked at in every substep. Beyond 2 cm it would have come out at the other side."""
    wall = ds.Obstacle("wall", ds.Box((0.01, 0.3, 0.3)), (0.5, 0.5, 0.5))
    ball = ds.RigidBody("ball", ds.Sphere(0.02), (0.2, 0.5, 0.5), velocity=(20.0, 0.0, 0.0))
    scene = ds.Scene(rigid_bodies=(ball,), obstacles=(wall,), ground=None, gravity=(0.0, 0.0, 0.0))
    x = torch.stack([state.q[0, 0] for state in rollout(simulator(scene, substeps=1), 0.1)])
    yield "20 m/s against a 2 cm wall, in it at most", max((x.max() + 0.02 - 0.49).item(), 0.0)
    yield "stays on its side", float(x[-1] < 0.49)


@experiment(
    "event mode rests",
    4,
    {"box of 4 cm, off the surface after 2 s": none(1e-4, "m"), "dropped from 10 cm, off it after 3 s": none(1e-4, "m")},
)
def event_rest() -> Results:
    """At event mode's defaults."""
    contact = ds.ContactModel(impact="event")
    for case, drop, seconds in (
        ("box of 4 cm, off the surface after 2 s", 0.0, 2.0),
        ("dropped from 10 cm, off it after 3 s", 0.1, 3.0),
    ):
        scene = ds.Scene(rigid_bodies=(cube("box", 0.04, (0.5, 0.5, 0.02 + drop)),), contact=contact)
        yield case, rollout(simulator(scene), seconds)[-1].q[0, 2] - 0.02


SIZES = (0.01, 0.1, 1.0)


@experiment(
    "no force at a distance", 4, {f"cube of {edge:g} m, a tenth off a wall, force over weight": none(1e-6) for edge in SIZES}
)
def no_force() -> Results:
    """The mean over .1 s without gravity; then the jaws that press nothing: force over what it weighs under gravity."""
    for edge in SIZES:
        wall = ds.Obstacle("wall", ds.Box((edge,) * 3), (0.0, 0.0, 0.0))
        body = cube("box", edge, (1.6 * edge, 0.0, 0.0))
        scene = ds.Scene(
            rigid_bodies=(body,), obstacles=(wall,), ground=None, gravity=(0.0, 0.0, 0.0), lower=(-9.0,) * 3, upper=(9.0,) * 3
        )
        end = rollout(simulator(scene), 0.1)[-1]
        yield f"cube of {edge:g} m, a tenth off a wall, force over weight", end.qd[0, :3].norm() / 0.1 / G


@experiment(
    "zero gap",
    4,
    {"two cubes, speed apart after 1 s": none(1e-6, "m/s"), "five balls, speed apart after 1 s": none(1e-6, "m/s")},
)
def zero_gap() -> Results:
    """Bodies that just touch, without gravity."""
    free = {"ground": None, "gravity": (0.0, 0.0, 0.0)}
    cubes = tuple(cube(f"c{n}", 0.04, (0.04 * n, 0.0, 0.0)) for n in range(2))
    balls = tuple(ds.RigidBody(f"b{n}", ds.Sphere(0.02), (0.04 * n, 0.0, 0.0), restitution=1.0) for n in range(5))
    for case, bodies in (("two cubes, speed apart after 1 s", cubes), ("five balls, speed apart after 1 s", balls)):
        end = rollout(simulator(ds.Scene(rigid_bodies=bodies, **free)), 1.0)[-1]  # type: ignore[arg-type]
        yield case, end.qd.view(-1, 6)[:, 0].abs().max()


STIFFNESSES = (1e3, 1e4, 1e5)


@experiment("stiffer is tighter", 4, {"1 kg box, depth at 10 times the stiffness over that before": none(0.9)})
def stiffer() -> Results:
    """At `ContactModel(stiffness=1e3, 1e4, 1e5)`: the larger of both ratios of how far the box is off its height, .1 for
    springs; below .1 um it is tight enough."""
    off = []
    for stiffness in STIFFNESSES:
        scene = ds.Scene(
            rigid_bodies=(cube("box", 0.1, (0.5, 0.5, 0.05), mass=1.0),), contact=ds.ContactModel(stiffness=stiffness)
        )
        off.append(abs(rollout(simulator(scene), 3.0)[-1].q[0, 2].item() - 0.05))
    yield (
        "1 kg box, depth at 10 times the stiffness over that before",
        max(b / a if b > 1e-7 else 0.0 for a, b in pairwise(off)),
    )


DRIVES = (2e3, 1e6)


@experiment(
    "cup and bowl", 4,
    {f"velocity servo of gain {gain:g}: held out, or warned of once by both names and the depth": yes() for gain in DRIVES},
)  # fmt: skip
def cup_and_bowl() -> Results:
    """A servo drives a cup of 4 cm at 10 cm/s against a wall of 1 cm, for 2 s, in f32. Beyond 3 mm, about a tenth of the wall's
    size, it must not be without a warning."""
    for gain in DRIVES:
        rail, mass = ds.Joint("rail", "prismatic", (1.0, 0.0, 0.0)), ds.Inertia(0.2, (1e-4,) * 3)
        link = ds.Link("cup", rail, None, (0.4, 0.5, 0.5), inertia=mass, geometries=(ds.Geometry(ds.Box((0.02,) * 3)),))
        hand = ds.Articulation("hand", (link,), (ds.Actuator("drive", "rail", kind="velocity", gain=gain),))
        bowl = ds.Obstacle("bowl", ds.Box((0.005, 0.1, 0.1)), (0.5, 0.5, 0.5))
        with warnings_heard() as messages:
            sim = simulator(ds.Scene(articulations=(hand,), obstacles=(bowl,), ground=None), dtype=torch.float32)
            state = sim.reset()
            for _ in range(2):
                state = rollout(sim, 1.0, state, (0.1,))[-1]
        held = state.q[0, 0].item() < 0.495 - 0.42 + 0.003
        heard = [each for each in messages if "penetrate" in each]
        named = len(heard) == 1 and all(word in heard[0] for word in ("cup", "bowl", " mm"))
        case = f"velocity servo of gain {gain:g}: held out, or warned of once by both names and the depth"
        yield case, float(named if heard else held)
