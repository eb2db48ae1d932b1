"""Random scenes: right ones run, or say why not; wrong ones are refused in one line that names what is wrong.

    python -m benchmarks.random_scenes --table docs/checking_scenes.md    half an hour on a core, mostly for compilation

Hypothesis draws them. What decides which kernels a scene needs (its kinds of things, their shapes, materials and joints,
whether there are a ground and impacts) is drawn once for a family of scenes; all else for each scene. A right scene has up to
four things that do not overlap, any material, a time step between 0.1 and 3 ms and random actions. It is simulated for five
control steps of four substeps, and differentiated. It passes if all is finite, or if the simulator says what failed; and if
nothing is faster than 100 m/s without a warning. A wrong one is a right thing with one field made wrong.
"""

from __future__ import annotations

import inspect
import json
import math
import re
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, get_args

import torch
import tyro
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from rich.console import Console

import diffsim as ds
from benchmarks.bad_inputs.judging import logged_warnings
from benchmarks.processes import print_table

STEPS, SUBSTEPS, NUM_ENVS = 5, 4, 2
FAST = 100.0  # m/s; nothing here can get there by itself
CELL, ROOM, JITTER = 0.5, 0.19, 0.03  # m: between the middles of things; largest radius of one; off the middle
NAN = math.nan
TOO_FEW = re.compile(r"particles=\d+ is too few for ")  # of a right scene, all that may be refused: none fits into the shape


def number(low: float, high: float) -> SearchStrategy[float]:
    """Evenly between two bounds."""
    return st.floats(low, high, allow_nan=False)


def scale(low: float, high: float) -> SearchStrategy[float]:
    """Evenly in the logarithm."""
    return number(math.log(low), math.log(high)).map(math.exp)


def vector(size: float) -> SearchStrategy[tuple[float, float, float]]:
    """With entries up to a size."""
    return st.tuples(*[number(-size, size)] * 3)


lengths = number(0.03, 0.09)
elastic = {"youngs_modulus": scale(1e3, 1e5), "poissons_ratio": number(0.0, 0.45), "density": scale(100.0, 3000.0)}
Arguments = dict[Any, dict[str, SearchStrategy[Any]]]
SHAPES: Arguments = {
    ds.Sphere: {"radius": lengths},
    ds.Box: {"half_extents": st.tuples(lengths, lengths, lengths), "rounding": st.sampled_from([0.0, 0.01])},
    ds.Capsule: {"half_length": lengths, "radius": lengths},
    ds.Cylinder: {"half_length": lengths, "radius": lengths, "rounding": st.sampled_from([0.0, 0.01])},
    ds.Ellipsoid: {"semi_axes": st.tuples(lengths, lengths, lengths)},
    ds.Torus: {"major_radius": number(0.06, 0.1), "minor_radius": number(0.02, 0.05)},
    ds.Cone: {"half_length": lengths, "radius": lengths},
}
MATERIALS: Arguments = {
    ds.Elastic: elastic,
    ds.NeoHookean: elastic,
    ds.ElastoPlastic: {**elastic, "yield_stress": scale(10.0, 1e4), "hardening": number(0.0, 100.0)},
    ds.Liquid: {"bulk_modulus": scale(5e3, 1e5), "viscosity": number(0.0, 5.0)},
    ds.Sand: {**elastic, "friction_angle": number(0.1, 0.9)},
    ds.Snow: elastic,
    ds.MooneyRivlin: {"c1": scale(200.0, 3e3), "c2": scale(50.0, 1e3), "bulk_modulus": scale(1e4, 1e5)},
    ds.KelvinVoigt: {"elastic": st.builds(ds.Elastic, **elastic), "shear_viscosity": number(0.0, 5.0)},
}
shapes = st.one_of(*[st.builds(kind, **arguments) for kind, arguments in SHAPES.items()])
materials = st.one_of(*[st.builds(kind, **arguments) for kind, arguments in MATERIALS.items()])
rotations = st.tuples(*[number(-1.0, 1.0)] * 4).filter(lambda q: sum(each * each for each in q) > 0.1)


@st.composite
def soft_bodies(draw: DrawFn, name: str, position: Any, *, shape: Any = shapes, material: Any = materials) -> ds.SoftBody:
    particles, velocity = draw(st.integers(1, 120)), draw(vector(1.0))
    return ds.SoftBody(
        name, draw(shape), position, draw(rotations), material=draw(material), velocity=velocity, particles=particles
    )


restitutions = number(0.0, 0.9)
JOINTS = ("revolute", "prismatic", "ball")


@st.composite
def rigid_bodies(draw: DrawFn, name: str, position: Any, *, shape: Any = shapes, restitution: Any = restitutions) -> Any:
    return ds.RigidBody(
        name, draw(shape), position, draw(rotations), density=draw(scale(100.0, 5000.0)), velocity=draw(vector(1.0)),
        angular_velocity=draw(vector(5.0)), friction=draw(number(0.0, 1.5)), restitution=draw(restitution),
    )  # fmt: skip


def plain_bodies(name: str, position: Any) -> SearchStrategy[ds.RigidBody]:
    """Of shapes that all kernels know, without impacts as events: one compilation for all of them."""
    known = st.one_of(*[st.builds(kind, **SHAPES[kind]) for kind in (ds.Sphere, ds.Box, ds.Capsule)])
    return rigid_bodies(name, position, shape=known, restitution=st.just(0.0))


@st.composite
def tools(draw: DrawFn, name: str, position: Any, *, shape: Any = shapes) -> ds.Tool:
    control = tuple(draw(st.lists(st.sampled_from(("x", "y", "z", "rx", "ry", "rz")), unique=True, min_size=1, max_size=4)))
    return ds.Tool(name, draw(shape), position, draw(rotations), control=control, friction=draw(number(0.0, 2.0)))


@st.composite
def obstacles(draw: DrawFn, name: str, position: Any, *, shape: Any = shapes) -> ds.Obstacle:
    return ds.Obstacle(name, draw(shape), position, draw(rotations), friction=draw(number(0.0, 2.0)))


@st.composite
def articulations(draw: DrawFn, name: str, position: Any, *, joints: Any = JOINTS) -> ds.Articulation:
    """One or two links on driven joints."""
    links, actuators, parent = [], [], None
    for at in range(draw(st.integers(1, 2))):
        kind = draw(st.sampled_from(joints))
        joint = ds.Joint(
            f"joint{at}", kind, draw(st.sampled_from([(1.0, 0.0, 0.0), (0.0, 0.6, 0.8)])), damping=draw(number(0.0, 1.0))
        )
        mass, moment = draw(scale(0.05, 5.0)), draw(scale(1e-4, 1e-1))
        shape = ds.Geometry(ds.Sphere(0.04), collides=draw(st.booleans()))
        offset = (0.0, 0.0, 0.0) if parent is None else (0.0, 0.0, 0.1)
        links.append(ds.Link(f"link{at}", joint, parent, offset, inertia=ds.Inertia(mass, (moment,) * 3), geometries=(shape,)))
        if kind != "ball" and draw(st.booleans()):
            drive = draw(st.sampled_from(("torque", "position", "velocity")))
            actuators.append(
                ds.Actuator(f"drive{at}", joint.name, drive, gain=draw(scale(0.1, 50.0)), damping=draw(number(0.0, 2.0)))
            )
        parent = links[-1].name
    return ds.Articulation(name, tuple(links), tuple(actuators), position=position)


KINDS: dict[str, Any] = {
    **{"soft_bodies": soft_bodies, "rigid_bodies": rigid_bodies, "articulations": articulations},
    **{"tools": tools, "obstacles": obstacles},
}


MOVING = ("soft_bodies", "rigid_bodies", "articulations")
grounds = st.builds(ds.Ground, friction=st.sampled_from([0.5, 1.0]))
perhaps_ground = st.none() | grounds


@st.composite
def scenes(
    draw: DrawFn, kinds_of_things: Mapping[str, Any] = KINDS, kinds: Sequence[str] = (), ground: Any = perhaps_ground
) -> ds.Scene:
    """A right scene with things of those `kinds`, or else of some, each in a cell of its own; at least one of them moves."""
    if not kinds:
        allowed = tuple(kinds_of_things)
        moving = draw(st.sampled_from([kind for kind in MOVING if kind in allowed]))
        kinds = [moving, *draw(st.lists(st.sampled_from(allowed), max_size=3))]
    cells = draw(st.permutations([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]))
    things: dict[str, Any] = {kind: [] for kind in KINDS}
    for number_, (kind, cell) in enumerate(zip(kinds, cells, strict=False)):
        off = draw(vector(JITTER))
        position = tuple(CELL * (at + 0.5) + by for at, by in zip(cell, off, strict=True))
        things[kind].append(draw(kinds_of_things[kind](f"thing{number_}", position)))
    gravity = draw(st.sampled_from([(0.0, 0.0, -9.81), (0.0, 0.0, 0.0), (1.0, -2.0, -3.0)]))
    spacing = draw(st.sampled_from([1 / 16, 1 / 24]))
    return ds.Scene(ground=draw(ground), gravity=gravity, grid_spacing=spacing, **things)


def family(random: Random) -> SearchStrategy[ds.Scene]:
    """Scenes that need the same kernels, or few different ones."""

    def one(kinds: Arguments) -> SearchStrategy[Any]:
        kind = random.choice(list(kinds))
        return st.builds(kind, **kinds[kind])

    restitution = restitutions if random.random() < 0.3 else st.just(0.0)
    things: dict[str, Any] = {
        "soft_bodies": partial(soft_bodies, shape=one(SHAPES), material=one(MATERIALS)),
        "rigid_bodies": partial(rigid_bodies, shape=one(SHAPES), restitution=restitution),
        "articulations": partial(articulations, joints=(random.choice(JOINTS),)),
        "tools": partial(tools, shape=one(SHAPES)),
        "obstacles": partial(obstacles, shape=one(SHAPES)),
    }
    kinds = [random.choice(MOVING), *random.choices(list(KINDS), k=random.randint(0, 3))]
    return scenes(things, kinds, random.choice([st.none(), grounds]))


def outcome(scene: ds.Scene, dt: float, action_seed: int) -> str:
    """How a right scene goes: "finite", "warned" or "said".

    Raises:
        AssertionError: something is not finite, or far too fast, and nobody said so.
    """
    with logged_warnings() as words, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            sim = ds.Simulator(scene, num_envs=NUM_ENVS, dt=dt, substeps=SUBSTEPS)
            generator = torch.Generator().manual_seed(action_seed)
            actions = (4.0 * torch.rand(STEPS, NUM_ENVS, sim.action_dim, generator=generator) - 2.0).requires_grad_()
            states = sim.rollout(sim.reset(), actions)
            last = states[-1]
            for name, value in last.tensors().items():
                assert not value.is_floating_point() or bool(value.isfinite().all()), f"{name} is not finite: {scene}, dt {dt}"
            total = last.x.sum() + last.v.sum() + last.q.sum() + last.qd.sum()
            if total.requires_grad:
                (gradient,) = torch.autograd.grad(total, actions, allow_unused=True)
                assert gradient is None or bool(gradient.isfinite().all()), f"the gradient is not finite: {scene}, dt {dt}"
        except (ds.SimulationError, ds.InputError) as error:
            if isinstance(error, ds.InputError) and not TOO_FEW.match(str(error)):
                raise
            if "\n" in str(error):
                raise AssertionError(f"more than one line: {error}") from error
            return "said"
    speed = max(float(each.detach().abs().max()) for each in (last.v, last.qd) if each.numel())
    words += [str(each.message) for each in warned]
    assert speed < FAST or words, f"{speed:.3g} m/s without a word: {scene}, dt {dt}"
    return "warned" if words else "finite"


BAD: dict[str, list[Any]] = {
    "tuple[float, float, float]": [(0.1, 0.1), (NAN, 0.1, 0.1), "abc", 3.0],
    "float": [NAN, "1", [], (1.0,)],
    "int": [1.5, "1", NAN, []],
    "str": [3, "", "\n"],
    "Vector3": [(0.0, 0.0), (NAN, 0.0, 0.0), "abc", 3.0],
    "Quaternion": [(0.0, 0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (NAN, 0.0, 0.0, 1.0), "1000"],
    "Shape": [3, "sphere", None],
    "Material": [3, "rubber", None],
    "Joint": [3, "hinge", None],
    "bool": [3, "yes", None],
}
"""Values that no field of such a type takes."""


@st.composite
def mistakes(draw: DrawFn) -> tuple[Any, dict[str, Any], str, Any]:
    """A class, right arguments, the name of one of all that it takes, and a wrong value for that one."""
    kind = draw(st.sampled_from((*KINDS, *SHAPES, *MATERIALS, ds.Ground)))
    given_: dict[str, Any] = {}
    if kind in KINDS:
        thing = draw(KINDS[kind]("thing", (0.5, 0.5, 0.5)))
        kind = type(thing)
        given_ = {name: getattr(thing, name) for name in inspect.signature(kind).parameters}
    elif kind is not ds.Ground:
        given_ = draw(st.fixed_dictionaries({**SHAPES, **MATERIALS}[kind]))
    known = [(each.name, _plain(each.annotation)) for each in inspect.signature(kind).parameters.values()]
    name, annotation = draw(st.sampled_from([(name, annotation) for name, annotation in known if annotation in BAD]))
    return kind, given_, name, draw(st.sampled_from(BAD[annotation]))


def _plain(annotation: Any) -> str:
    """The name of a field's type, without its alternative None."""
    text = annotation if isinstance(annotation, str) else str(annotation) if get_args(annotation) else annotation.__name__
    text = text.replace("| None", "").strip()
    return text if "[" in text else text.rpartition(".")[2]


def refusal(kind: Any, arguments: dict[str, Any], name: str, value: Any) -> str:
    """What is said of a wrong value.

    Raises:
        AssertionError: it is taken, or the words do not help.
    """
    wrong = f"{kind.__name__}({name}={value!r})"
    try:
        kind(**{**arguments, name: value})
    except ds.InputError as error:
        words = str(error)
        if "\n" in words:
            raise AssertionError(f"{wrong}: more than one line: {words}") from error
        if name.replace("_", " ") not in words.replace("_", " "):
            raise AssertionError(f"{wrong}: {name} is not named: {words}") from error
        return words
    raise AssertionError(f"{wrong} was taken")


HEADINGS = (
    "scenes", "families", "all finite", "a warning", "an error that says why", "a fault",
    "mistakes refused in a line that names them",
)  # fmt: skip


@dataclass(frozen=True)
class Options:
    """How many."""

    count: int = 1000
    """Scenes, and as many mistakes."""
    families: int = 40
    """Among which the scenes are shared out."""
    seed: int = 0
    table: Path | None = None
    """Markdown file for the table."""
    json: bool = False
    """Print one JSON object on the last line."""


def main(options: Options) -> int:
    counts: Counter[str] = Counter()
    failures: list[str] = []

    def drawn(count: int, check: Callable[..., str], *strategies: Any) -> None:
        """What that many draws come to."""

        @seed(options.seed)
        @settings(
            max_examples=count, deadline=None, database=None, phases=(Phase.generate,), report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(st.tuples(*strategies))
        def run(arguments: tuple[Any, ...]) -> None:
            try:
                counts[check(*arguments)] += 1
            except Exception as error:
                failures.append(f"{type(error).__name__}: {error}")
                print(failures[-1], file=sys.stderr, flush=True)

        run()

    def refused(mistake: tuple[Any, dict[str, Any], str, Any]) -> str:
        refusal(*mistake)
        return "refused"

    drawn(options.count, refused, mistakes())
    for number_ in range(options.families):
        own = family(Random(options.seed * options.families + number_))
        share = (options.count * (number_ + 1)) // options.families - (options.count * number_) // options.families
        drawn(share, outcome, own, scale(1e-4, 3e-3), st.integers(0, 1000))
        print(f"{number_ + 1} of {options.families} families: {dict(counts)}", flush=True)
    result = {**{name: counts[name] for name in ("finite", "warned", "said", "refused")}, "failed": len(failures)}
    row = [options.count, options.families, *(result[name] for name in ("finite", "warned", "said", "failed", "refused"))]
    print_table(HEADINGS, [[str(each) for each in row]], Console(stderr=True, highlight=False), options.table, "random_scenes")
    if options.json:
        print(json.dumps(result))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
