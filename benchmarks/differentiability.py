"""Which inputs of a control step have a gradient, and how well it agrees with finite differences.

    python -m benchmarks.differentiability --table docs/differentiability.md     a few minutes with cold caches
    python -m benchmarks.differentiability --table docs/differentiability.md --only soft coupled     the others stay as they are

A scene for each column, f64, one environment. The objective is a random combination of every entry of the last state, and its
derivative along random directions of each input is compared with central differences (`diffsim.gradients.gradcheck`). A cell
is the worst relative error of all inputs of the row's kind: a row "friction" stands for that of the ground, of tools, obstacles
and links alike. A new state field is found by itself; a new parameter too, by what follows the last dot of its name. A new
kind of action or of load is an entry of `KINDS`. The last row compares gradients in f32 with those in f64.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("DIFFSIM_NUM_THREADS", "1")

import torch
import tyro
from rich.console import Console
from torch import Tensor

import diffsim as ds
from benchmarks.processes import print_table, read_table
from diffsim.gradients.gradcheck import direction_checks

F64 = torch.float64
DT, SUBSTEPS, STEPS = 1e-3, 8, 5
FD_STEPS = (1e-5, 1e-6, 1e-7, 1e-4, 1e-3)
ENOUGH = 1e-8  # no other step is tried below it
ABSENT, IDLE = "-", "no effect"
TABLE = "table"  # the mark of the table in its file
BY_DESIGN = {"time_step": "an integer", "contact_wrench": "not read by a step"}  # fields of the state
STEP_SIZES = {"C": 10.0}  # of a unit of an input; of a parameter it is its size
WEIGHTS = {"C": 0.1, "contact_wrench": 0.01}  # of fields in the objective: what they amount to, as velocities
TOOL_MOTION = {"x": 0.2, "y": -0.5, "z": -0.4, "rx": 0.5, "rz": 0.3}  # of every tool, m/s and rad/s
MOTORS = (0.7, 0.03, 0.9)  # controls of the arm
STRENGTH = 0.7  # of controlled attachments
ACTIVATIONS = (0.6, -0.4)  # of the muscles

Inputs = dict[str, Tensor]


@dataclass(frozen=True)
class Options:
    """What to check."""

    only: tuple[str, ...] = ()
    """These columns; the table's others stay as they are."""
    directions: int = 2
    """Random directions of each input."""
    table: Path | None = None
    """Markdown file for the table."""


# scenes

MATERIALS: dict[str, ds.Material] = {
    "neo_hookean": ds.NeoHookean(5e3, 0.3),
    "mooney_rivlin": ds.MooneyRivlin(800.0, 300.0, 6e3),
    "viscoplastic": ds.KelvinVoigt(ds.ElastoPlastic(5e3, 0.3, yield_stress=150.0, hardening=300.0), 3.0, 2.0),
    "liquid": ds.Liquid(bulk_modulus=5e3, viscosity=2.0, tension=100.0),
    "sand": ds.Sand(5e3, 0.3, 1e3),
    "snow": ds.Snow(5e3, 0.3, 1e3),
}
GRID, HALF, GAP = 1 / 24, 0.03, 0.062
MIDDLE = (0.36, 0.33)
PLATE = (0.11, 0.08, 0.02)  # half edges


def blocks(floor: float) -> tuple[ds.SoftBody, ...]:
    """Touching blocks, one of each material, above the floor."""
    places = [(MIDDLE[0] + GAP * (n % 3 - 1), MIDDLE[1] + GAP * (n // 3 - 0.5), floor + HALF + 0.001) for n in range(6)]
    return tuple(
        ds.SoftBody(name, ds.Box((HALF,) * 3), place, material=material, particles=27, velocity=(0.4, 0.2, -0.5))
        for (name, material), place in zip(MATERIALS.items(), places, strict=True)
    )


def soft_scene() -> ds.Scene:
    slab = ds.Tool(
        "slab", ds.Box((0.12, 0.1, 0.04), rounding=0.035), (0.35, 0.34, 0.1), rotation=(0.99, 0.05, 0.02, 0.1),
        control=("x", "y", "z", "rx", "rz"),
    )  # fmt: skip
    stop = ds.Obstacle("stop", ds.Box((0.04, 0.1, 0.05)), (0.5, 0.33, 0.05), friction=0.3)
    return ds.Scene(
        blocks(0.0), tools=(slab,), obstacles=(stop,), attachments=attachments("slab"), muscles=muscles(),
        upper=(0.7, 0.7, 0.4), grid_spacing=GRID,
    )  # fmt: skip


def attachments(tool: str, link: str | None = None) -> tuple[ds.Attachment, ...]:
    """A block nailed to the world, one held by a tool with a strength that the action sets, and one hung on a link, if any."""
    held = (
        ds.Attachment("nail", "neo_hookean", where=(0, 4)),
        ds.Attachment("grip", "snow", to=tool, where=(8, 17, 26), controlled=True),
    )
    return held if link is None else (*held, ds.Attachment("hook", "mooney_rivlin", to=link, where=(2, 13)))


def muscles() -> tuple[ds.Muscle, ...]:
    """Fibres through a block, and a block that contracts alike in all directions."""
    return (
        ds.Muscle("fibres", "viscoplastic", (0.6, 0.3, 0.7), strength=400.0),
        ds.Muscle("swelling", "mooney_rivlin", strength=300.0),
    )


def machine(support: float, *, bouncy: bool) -> dict[str, Any]:
    """A plate that comes down at ``support``, a ball that falls on it, an arm that rams it, and a tool that pushes it. A gear
    lifts a counterweight as the arm's ram goes down, a slider-crank closes a loop, and a tendon pulls at its limit."""
    rebound: dict[str, Any] = {"restitution": 0.6 if bouncy else 0.0}
    x, y = MIDDLE
    top = support + 0.004 + 2.0 * PLATE[2]
    plate = ds.RigidBody(
        "plate", ds.Box(PLATE, rounding=0.01), (x, y, top - PLATE[2]), (0.999, 0.02, 0.01, 0.02), mass=0.6, friction=0.3,
        velocity=(0.5, 0.2, -1.0), angular_velocity=(0.2, 0.1, 0.3), **rebound,
    )  # fmt: skip
    ball = ds.RigidBody("ball", ds.Sphere(0.03), (x - 0.05, y, top + 0.036), mass=0.1, velocity=(0.2, 0.1, -1.0), **rebound)
    inertia = ds.Inertia(0.3, (1e-3, 1.2e-3, 0.8e-3), (0.01, -0.005, 0.02))
    head = ds.Geometry(ds.Sphere(0.03), friction=0.4, restitution=0.4, stiffness=3e3)
    turret = ds.Joint("turn", "revolute", damping=0.02, armature=2e-3, friction_loss=0.05, initial_velocity=(0.8,))
    slide = ds.Joint(
        "slide", "prismatic", (1.0, 0.0, 0.0), limits=(-0.1, 0.05), limit_stiffness=300.0, damping=0.5, initial=(0.052,)
    )
    ram = ds.Joint(
        "ram", "prismatic", (0.0, 0.0, -1.0), spring_stiffness=40.0, spring_rest=0.1, damping=0.3, initial_velocity=(0.7,)
    )
    weight = ds.Joint("weight", "prismatic", (0.0, 0.0, 1.0), initial_velocity=(0.35,))
    links = (
        ds.Link("turret", turret, position=(x, y, top + 0.2), inertia=inertia),
        ds.Link("slide", slide, "turret", inertia=inertia),
        ds.Link("ram", ram, "slide", (0.0, 0.0, -0.166), inertia=inertia, geometries=(head,), gravity_compensation=0.4),
        ds.Link("weight", weight, "slide", (0.1, 0.0, 0.1), inertia=inertia),
        ds.Link("crank", ds.Joint("crank", "revolute", (0.0, 1.0, 0.0)), "turret", (0.1, 0.05, 0.1), inertia=inertia),
        ds.Link("rod", ds.Joint("rod", "revolute", (0.0, 1.0, 0.0)), "crank", (0.02, 0.0, 0.06), inertia=inertia),
    )
    constraints = (
        ds.JointEquality("gear", "weight", "ram", (0.01, 0.5, 0.8)),
        ds.Connect("loop", "rod", "slide", point=(-0.09, 0.0, -0.02)),
    )
    tendon = ds.Tendon(
        "cord", {"ram": 1.0, "slide": -0.5}, stiffness=30.0, rest=0.1, damping=0.2, limits=(0.0, 0.3), limit_stiffness=50.0,
        limit_smoothing=0.02,
    )  # fmt: skip
    motors = (
        ds.Actuator("motor", "turn", gain=0.8),
        ds.Actuator("servo", "slide", "position", gain=60.0, damping=2.0),
        ds.Actuator("drive", "ram", "velocity", gain=5.0, damping=0.4),
    )
    finger = ds.Tool(
        "finger", ds.Capsule(0.04, 0.03), (x, y + PLATE[1] + 0.031, top - 0.02), control=("x", "y", "z", "rx", "rz"),
        friction=0.4, stiffness=2e3, restitution=0.3,
    )  # fmt: skip
    arm = ds.Articulation("arm", links, motors, constraints=constraints, tendons=(tendon,))
    return {"rigid_bodies": (plate, ball), "tools": (finger,), "articulations": (arm,)}


def rigid_scene(contact: ds.ContactModel, *, bouncy: bool) -> ds.Scene:
    ground = ds.Ground(friction=0.4, restitution=0.5 if bouncy else 0.0, stiffness=2e4)
    return ds.Scene(**machine(0.0, bouncy=bouncy), ground=ground, contact=contact)


def coupled_scene() -> ds.Scene:
    """The roller is of a shape that particles meet one by one."""
    parts = machine(2.0 * HALF, bouncy=True)
    roller = ds.Tool(
        "roller", ds.Cylinder(0.02, 0.025, rounding=0.01), (0.48, MIDDLE[1], 0.03), control=("y", "rz"), friction=0.3
    )
    return ds.Scene(
        blocks(0.0), **{**parts, "tools": (*parts["tools"], roller)}, attachments=attachments("finger", "arm.ram"),
        muscles=muscles(), ground=ds.Ground(friction=0.4), upper=(0.7, 0.7, 0.5), grid_spacing=GRID,
        contact=ds.ContactModel(smoothing=5e-3, stiffness=2e3),
    )  # fmt: skip


SCENES: dict[str, Callable[[], ds.Scene]] = {
    "soft": soft_scene,
    "rigid, implicit contact": lambda: rigid_scene(ds.ContactModel(), bouncy=False),
    "rigid, compliant contact": lambda: rigid_scene(ds.ContactModel(smoothing=5e-3, stiffness=2e3), bouncy=True),
    "rigid, events": lambda: rigid_scene(ds.ContactModel(impact="event"), bouncy=True),
    "coupled": coupled_scene,
}


# inputs


@dataclass(frozen=True)
class Case:
    """A scene on its way: what its control steps begin with."""

    sim: ds.Simulator
    start: ds.State
    actions: Tensor
    loads: Inputs
    parameters: Inputs = field(default_factory=dict)

    def end(self, **given: Tensor) -> ds.State:
        """The last state under other values of some inputs, which are named as in `inputs`."""

        def of(kind: str) -> Inputs:
            return {name.removeprefix(kind): value for name, value in given.items() if name.startswith(kind)}

        actions = self.actions
        for columns, value in of("action:").items():
            actions = actions.index_copy(2, torch.tensor([int(each) for each in columns.split()]), value)
        loads = {**self.loads, **of("wrench:")}
        wrenches = {name: ds.Wrench(loads[f"{name} force"], loads[f"{name} torque"]) for name in wrenched(self.sim)}
        state = self.start.replace(**of("state:"))
        return self.sim.rollout(state, actions, {**self.parameters, **of("parameter:")}, wrenches)[-1]


def wrenched(sim: ds.Simulator) -> tuple[str, ...]:
    """Links that wrenches act on."""
    return ("plate", "arm.ram") if sim.link_infos else ()


def noise(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def prepared(scene: ds.Scene, dtype: torch.dtype = F64) -> Case:
    """The scene with strained and yielding particles, in motion, and controls that act."""
    sim = ds.Simulator(scene, dt=DT, substeps=SUBSTEPS, dtype=dtype, record_forces=True)
    state = sim.reset().map(lambda tensor: tensor.to(F64) if tensor.is_floating_point() else tensor)
    actions = torch.zeros(STEPS, 1, sim.action_dim, dtype=F64)
    if scene.soft_bodies:
        state = state.replace(
            F=state.F + 0.05 * noise(state.F.shape, 1),
            C=2.0 * noise(state.C.shape, 2),
            v=state.v + 0.05 * noise(state.v.shape, 3),
            internal_variable=0.02 + 0.01 * noise(state.internal_variable.shape, 4).abs(),
        )
    motors = MOTORS if scene.articulations else ()
    grips, activations = [STRENGTH] * scene.grip_action_dim, ACTIVATIONS[: len(scene.muscles)]
    controls = [*(TOOL_MOTION[axis] for axis in axes(scene)), *motors, *grips, *activations]
    actions[:] = torch.tensor(controls, dtype=F64)
    loads: Inputs = {}
    for n, name in enumerate(wrenched(sim)):
        loads |= {f"{name} force": noise((STEPS, 1, 3), 5 + n), f"{name} torque": 0.02 * noise((STEPS, 1, 3), 9 + n)}
    state = state.map(lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor)
    return Case(sim, state, actions.to(dtype), {name: load.to(dtype) for name, load in loads.items()})


def states(case: Case) -> dict[str, Inputs]:
    """The fields of the state."""
    tensors = {name: value for name, value in case.start.tensors().items() if value.numel() and name not in BY_DESIGN}
    return {name: {f"state:{name}": value} for name, value in tensors.items()}


def actions(case: Case) -> dict[str, Inputs]:
    """Velocities of tools, the actuators' controls by their kind, the strengths of attachments, the activations of muscles."""
    kinds = [f"tool velocity {'(angular)' if axis[0] == 'r' else '(linear)'}" for axis in axes(case.sim.scene)]
    kinds += [f"{motor.kind} control" for arm in case.sim.scene.articulations for motor in arm.actuators]
    kinds += ["attachment strength"] * case.sim.scene.grip_action_dim
    kinds += ["muscle activation"] * len(case.sim.scene.muscles)
    found: dict[str, Inputs] = {}
    for kind in dict.fromkeys(kinds):
        columns = [n for n, own in enumerate(kinds) if own == kind]
        found[kind] = {"action:" + " ".join(map(str, columns)): case.actions[..., columns]}
    return found


def axes(scene: ds.Scene) -> list[str]:
    return [axis for tool in scene.tools for axis in tool.control]


def wrenches(case: Case) -> dict[str, Inputs]:
    """External forces and torques on links."""
    return {
        f"external {part}": {f"wrench:{name}": value for name, value in case.loads.items() if name.endswith(part)}
        for part in ("force", "torque")
        if case.loads
    }


def parameters(case: Case) -> dict[str, Inputs]:
    """By the last part of their names. A number that is 0 is at the end of its range, where there is no central difference."""
    found: dict[str, Inputs] = {}
    for name, value in case.sim.parameters.items():
        if value.ndim == 0 and float(value) == 0.0:
            continue
        found.setdefault(name.rpartition(".")[2], {})[f"parameter:{name}"] = value
    return found


SINGLE = ("all", "f32 against f64")

KINDS: dict[str, Callable[[Case], Mapping[str, Inputs]]] = {
    "state": states, "action": actions, "load": wrenches, "parameter": parameters,
}  # fmt: skip


def unit(name: str, value: Tensor) -> float:
    """What a step of 1 is of an input: of a parameter its own size."""
    kind, _, own = name.partition(":")
    if kind == "parameter":
        return max(float(value.abs().max()), 0.05)
    return STEP_SIZES.get(own, 1.0)


def objective(case: Case, end: ds.State) -> Tensor:
    """A random combination of every entry of the last state."""
    terms = []
    for n, (name, value) in enumerate(end.tensors().items()):
        if value.is_floating_point():
            weight = WEIGHTS.get(name, 1.0) * noise(tuple(value.shape), 20 + n)
            terms.append((weight.to(value.dtype) * value).sum())
    return torch.stack(terms).sum()


def worst_error(case: Case, inputs: Inputs, directions: int) -> float | None:
    """The largest relative error over a row's inputs; None if the objective depends on none of them."""

    def function(**shares: Tensor) -> Tensor:
        given = {name: inputs[name] + unit(name, inputs[name]) * share for name, share in shares.items()}
        return objective(case, case.end(**given))

    zeros = {name: torch.zeros_like(value) for name, value in inputs.items()}
    checks = direction_checks(function, zeros, directions=directions, steps=FD_STEPS, enough=ENOUGH)
    at_work = [check for check in checks if check.adjoint != 0.0 or check.finite_difference != 0.0]
    return max(check.relative_error for check in at_work) if at_work else None


def gradients(case: Case) -> Inputs:
    """By every input that is at work."""
    leaves = {
        name: value.clone().requires_grad_()
        for entries in KINDS.values()
        for inputs in entries(case).values()
        for name, value in inputs.items()
    }
    found = torch.autograd.grad(objective(case, case.end(**leaves)), list(leaves.values()), allow_unused=True)
    return {name: g.to(F64) for name, g in zip(leaves, found, strict=True) if g is not None and bool(g.any())}


def single_precision_error(scene: ds.Scene) -> float:
    """How far gradients in f32 are from those in f64 at worst, over their norms."""
    single, double = (gradients(prepared(scene, dtype)) for dtype in (torch.float32, F64))
    return max(float((single[name] - own).norm() / own.norm()) for name, own in double.items())


def column(scene: ds.Scene, directions: int) -> dict[tuple[str, str], str]:
    """Cells by kind and row."""
    case = prepared(scene)
    cells: dict[tuple[str, str], str] = {}
    for kind, entries in KINDS.items():
        for name, inputs in entries(case).items():
            error = worst_error(case, inputs, directions)
            cells[kind, name] = IDLE if error is None else f"{error:.0e}"
            print(f"  {kind} {name}: {cells[kind, name]}", flush=True)
    cells |= {("state", name): why for name, why in BY_DESIGN.items() if name in case.start.tensors()}
    cells[SINGLE] = f"{single_precision_error(scene):.0e}"
    print(f"  {' '.join(SINGLE)}: {cells[SINGLE]}", flush=True)
    return cells


def stored(table: Path | None) -> dict[str, dict[tuple[str, str], str]]:
    """The columns of a table that was written before, as `column` gives them."""
    lines = read_table(table, TABLE) if table is not None else []
    return {
        name: {(line[0], line[1]): line[place] for line in lines[1:] if line[place] != ABSENT}
        for place, name in enumerate(lines[0][2:] if lines else (), 2)
    }


def main() -> None:
    options = tyro.cli(Options)
    torch.set_num_threads(1)
    before = stored(options.table)
    columns: dict[str, dict[tuple[str, str], str]] = {}
    for name, scene in SCENES.items():
        if options.only and name not in options.only:
            columns |= {name: before[name]} if name in before else {}
            continue
        print(name, flush=True)
        columns[name] = column(scene(), options.directions)
    rows = sorted({row: None for cells in columns.values() for row in cells}, key=lambda row: [*KINDS, SINGLE[0]].index(row[0]))
    table = [[kind, name, *(cells.get((kind, name), ABSENT) for cells in columns.values())] for kind, name in rows]
    print_table(("", "", *columns), table, Console(width=140), options.table, TABLE)


if __name__ == "__main__":
    main()
