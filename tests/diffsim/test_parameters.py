"""Physical parameters given to a step: their gradients, batches of them, their defaults and their errors."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import diffsim as ds
from tests.diffsim.scenes import contact_scene, free_scene, random_state
from tests.diffsim.test_gradients import random_projection

pytestmark = pytest.mark.slow

F64 = torch.float64
EXAMPLE = Path(__file__).parents[2] / "examples" / "identify_material.py"

# every field of every material, away from the values that switch a term off (hardening 0, viscosity 0)
MATERIALS = {
    "elastic": ds.Elastic(5e3, 0.3),
    "neo_hookean": ds.NeoHookean(5e3, 0.3),
    "plastic": ds.ElastoPlastic(5e3, 0.3, yield_stress=150.0, hardening=300.0),
    "liquid": ds.Liquid(bulk_modulus=5e3, viscosity=2.0, tension=100.0),
    "sand": ds.Sand(5e3, 0.3, 1e3),
    "snow": ds.Snow(5e3, 0.3, 1e3),
    "mooney_rivlin": ds.MooneyRivlin(800.0, 300.0, 6e3),
    "viscoelastic": ds.KelvinVoigt(ds.ElastoPlastic(5e3, 0.3, yield_stress=150.0, hardening=300.0), 3.0, 2.0),
}
SIDEWAYS_GRAVITY = (1.0, -2.0, -9.81)  # in place of (0, 0, -9.81), of which a factor would leave two components zero


def several_bodies() -> ds.Scene:
    """Touching blocks, one of each material, on the ground under a tool."""
    size, gap = 0.03, 0.062
    places = [(0.3 + gap * (n % 3), 0.3 + gap * (n // 3), 0.031) for n in range(len(MATERIALS))]
    blocks = tuple(
        ds.SoftBody(name, ds.Box((size, size, size)), place, material=material, particles=27, velocity=(0.4, 0.2, -0.5))
        for (name, material), place in zip(MATERIALS.items(), places, strict=True)
    )
    slab = ds.Tool("slab", ds.Box((0.12, 0.1, 0.04), rounding=0.035), (0.35, 0.34, 0.1), rotation=(0.99, 0.05, 0.02, 0.1))
    return ds.Scene(blocks, tools=(slab,), upper=(0.7, 0.7, 0.4), grid_spacing=1 / 24)


def pressing(sim: ds.Simulator, *, steps: int = 2, num_envs: int = 1) -> Tensor:
    """Actions (steps, num_envs, action_dim) that press the first tool down and aside."""
    actions = torch.full((steps, num_envs, sim.action_dim), 0.2, dtype=sim.dtype)
    actions[..., 2] = -0.6
    return actions


def check_all_gradients(scene: ds.Scene) -> None:
    """Gradcheck at 1e-6 of a rollout's end with respect to every parameter, and the particles' positions and velocities.

    The parameters' scales differ by orders of magnitude (5e3 Pa, 0.4), so each is its default times a factor, and the factor
    is what is checked.
    """
    sim = ds.Simulator(scene, dt=2e-3, substeps=8, dtype=F64)
    start, actions = random_state(sim), pressing(sim)
    defaults = {**sim.parameters, "gravity": torch.tensor(SIDEWAYS_GRAVITY, dtype=F64)}

    def function(**inputs: Tensor) -> Tensor:
        parameters = {name: default * inputs.get(name, 1.0) for name, default in defaults.items()}
        state = start.replace(x=inputs.get("x", start.x), v=inputs.get("v", start.v))
        return random_projection(sim.rollout(state, actions, parameters)[-1])

    vectors = {"x": start.x, "v": start.v, "gravity": torch.ones(3, dtype=F64)}
    checks = ds.gradcheck(function, vectors, directions=3, tolerance=1e-6)
    factors = {name: torch.ones((), dtype=F64) for name in defaults if name != "gravity"}  # a scalar has one direction
    checks += ds.gradcheck(function, factors, directions=1, tolerance=1e-6)
    assert {check.name for check in checks} == {"x", "v", *defaults}
    assert min(abs(check.adjoint) for check in checks) > 1e-4  # each is at work in the scene


MOST = [
    pytest.param(name, marks=pytest.mark.long if name in ("liquid", "mooney_rivlin", "viscoelastic") else ())
    for name in MATERIALS
]
"""All of `MATERIALS`; those whose kernels no other test compiles are left to `make test-long`."""


@pytest.mark.parametrize("name", MOST)
def test_gradcheck_of_every_parameter_through_contact(name):
    scene = contact_scene(material=MATERIALS[name])
    names = set(ds.Simulator(scene, dtype=F64).parameters)
    fields = {f"block.{field}" for field in MATERIALS[name].parameters}
    assert names == fields | {"gravity", "ground.friction", "ball.friction", "rod.friction", "stop.friction"}
    check_all_gradients(scene)


def test_gradcheck_of_several_materials_that_touch():
    check_all_gradients(several_bodies())


@pytest.mark.parametrize("name", MATERIALS)
def test_stresses_and_density_scale_together(name):
    # forces and masses multiplied by one factor leave the motion as it was, so these logarithmic derivatives add up to zero
    sim = ds.Simulator(contact_scene(material=MATERIALS[name]), dt=2e-3, substeps=8, dtype=F64)
    parameters = {key: value.requires_grad_() for key, value in sim.parameters.items()}
    final = sim.rollout(random_state(sim), pressing(sim), parameters)[-1]
    random_projection(final).backward()
    stresses = ["youngs_modulus", "bulk_modulus", "c1", "c2", "tension", "yield_stress"]
    stresses += ["viscosity", "shear_viscosity", "bulk_viscosity"]
    stresses += ["hardening"] if name in ("plastic", "viscoelastic") else []
    terms = {
        field: (parameters[f"block.{field}"] * parameters[f"block.{field}"].grad).item()
        for field in ["density", *stresses]
        if f"block.{field}" in parameters
    }
    assert len(terms) >= 2
    assert abs(terms["density"]) > 1e-3
    assert sum(terms.values()) == pytest.approx(0.0, abs=1e-9 * abs(terms["density"]))


def test_gradient_to_gravity_in_free_fall_is_the_closed_form():
    sim = ds.Simulator(free_scene(ds.Elastic()), dt=1e-3, substeps=20, dtype=F64)
    parameters = {name: value.requires_grad_() for name, value in sim.parameters.items()}
    state = sim.rollout(sim.reset(), torch.zeros(3, 1, 0, dtype=F64), parameters)[-1]
    state.x.mean(dim=1)[0, 2].backward()
    n = 60  # substeps of symplectic Euler: the fall is g dt^2 (1 + 2 + ... + n)
    torch.testing.assert_close(
        parameters["gravity"].grad, torch.tensor([0.0, 0.0, 1e-6 * n * (n + 1) / 2], dtype=F64), rtol=1e-9, atol=1e-12
    )
    assert abs(float(parameters["block.youngs_modulus"].grad)) < 1e-12  # inner forces do not move the centre of mass


def varied(sim: ds.Simulator, num_envs: int) -> dict[str, Tensor]:
    """Every parameter with a value of its own in each environment."""
    factor = torch.linspace(0.8, 1.2, num_envs, dtype=F64)
    return {name: value * factor.reshape(-1, *[1] * value.ndim) for name, value in sim.parameters.items()}


VARIED = ("block.youngs_modulus", "block.yield_stress", "ball.friction", "ground.friction", "gravity", None)


@pytest.mark.parametrize("name", VARIED)
def test_parameters_of_each_environment(name):
    """A batch is its environments alone, in state and gradient, with one parameter varied (``None``: all of them)."""
    sim = ds.Simulator(contact_scene(material=MATERIALS["plastic"]), num_envs=3, dt=2e-3, substeps=8, dtype=F64)
    start, actions = random_state(sim), pressing(sim, num_envs=3)
    values = {key: value for key, value in varied(sim, 3).items() if name in (key, None)}

    def end_and_gradients(envs: slice) -> tuple[Tensor, dict[str, Tensor]]:
        leaves = {key: value[envs].clone().requires_grad_() for key, value in values.items()}
        x = sim.rollout(start[envs], actions[:, envs], leaves)[-1].x
        x.square().sum().backward()
        return x.detach(), {key: leaf.grad for key, leaf in leaves.items()}

    together, gradients = end_and_gradients(slice(0, 3))
    assert float((together[0] - together[2]).abs().max()) > 1e-7  # the parameter shows; the three starts are the same
    for env in range(3):
        alone, own = end_and_gradients(slice(env, env + 1))
        # one environment is worked at by all cores, which add up in another order
        torch.testing.assert_close(together[env : env + 1], alone, rtol=1e-12, atol=1e-13)
        for key, gradient in own.items():
            assert float(gradient.abs().max()) > 0.0
            torch.testing.assert_close(
                gradients[key][env : env + 1], gradient, rtol=1e-9, atol=1e-13, msg=lambda m, k=key: k + m
            )


def test_gradients_do_not_leak_between_environments():
    sim = ds.Simulator(contact_scene(material=MATERIALS["plastic"]), num_envs=3, dt=2e-3, substeps=8, dtype=F64)
    values = {key: value.requires_grad_() for key, value in varied(sim, 3).items()}
    end = sim.rollout(random_state(sim), pressing(sim, num_envs=3), values)[-1]
    end.x[1].square().sum().backward()
    for name, value in values.items():
        assert float(value.grad[[0, 2]].abs().max()) == 0.0, name
        assert float(value.grad[1].abs().max()) > 0.0, name


def test_one_value_for_all_environments_gathers_their_gradients():
    sim = ds.Simulator(contact_scene(material=MATERIALS["plastic"]), num_envs=3, dt=2e-3, substeps=8, dtype=F64)
    actions = pressing(sim, num_envs=3) * torch.tensor([0.5, 1.0, 1.5], dtype=F64)[:, None]
    shared = {name: value.requires_grad_() for name, value in sim.parameters.items()}
    each = {name: value.expand(3, *value.shape).clone().requires_grad_() for name, value in sim.parameters.items()}
    ends = [sim.rollout(random_state(sim), actions, parameters)[-1].x for parameters in (shared, each)]
    assert torch.equal(*ends)
    for end in ends:
        end.square().sum().backward()
    for name, value in shared.items():
        torch.testing.assert_close(value.grad, each[name].grad.sum(dim=0), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("scene", [several_bodies(), free_scene(ds.Elastic())], ids=["several bodies", "nothing but a block"])
def test_defaults_are_the_scenes_values(scene):
    sim = ds.Simulator(scene, num_envs=2, dt=2e-3, substeps=8, dtype=F64)
    start, action = random_state(sim), pressing(sim, num_envs=2)[0] if sim.action_dim else torch.zeros(2, 0, dtype=F64)
    without = sim.step(start, action)
    names = list(sim.parameters)
    for parameters in (sim.parameters, {}, {names[0]: sim.parameters[names[0]]}):
        given = sim.step(start, action, parameters)
        for field in ("x", "v", "C", "F", "internal_variable"):
            assert torch.equal(getattr(given, field), getattr(without, field)), field


def test_parameters_are_copies():
    sim = ds.Simulator(contact_scene(), dtype=F64)
    sim.parameters["block.youngs_modulus"].fill_(1.0)
    assert sim.parameters["block.youngs_modulus"].item() == 5e3


# parameter, value, what the message says after "parameter"
ONE = torch.tensor(1.0, dtype=F64)
WRONG: dict[str, tuple[str, Any, str]] = {
    "unknown name": ("block.stiffness", ONE, r" 'block\.stiffness'; parameters: ball\.friction, .*block\.youngs_modulus"),
    "field of another material": ("block.viscosity", ONE, r" 'block\.viscosity'; parameters: ball\.friction, "),
    "wrong batch": ("block.density", ONE.expand(3), r" 'block\.density' must have shape \(\) or \(2,\), got \(3,\)"),
    "extra axis": ("ball.friction", ONE.expand(2, 1), r" 'ball\.friction' must have shape \(\) or \(2,\), got \(2, 1\)"),
    "gravity's shape": ("gravity", ONE, r" 'gravity' must have shape \(3,\) or \(2, 3\), got \(\)"),
    "wrong dtype": ("ground.friction", ONE.float(), r" 'ground\.friction' must be torch\.float64, got torch\.float32"),
    "integers": ("block.density", ONE.long(), r" 'block\.density' must be torch\.float64, got torch\.int64"),
    "nan": ("block.youngs_modulus", ONE * torch.nan, r" 'block\.youngs_modulus' must be finite, got nan"),
    "infinite": ("gravity", -torch.inf * ONE.expand(3), r" 'gravity' must be finite, got \[-inf, -inf, -inf\]"),
    "not a tensor": ("stop.friction", 0.5, r" 'stop\.friction' must be a torch tensor, got float"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_parameters_are_named(case):
    name, value, said = WRONG[case]
    message = "parameter" + said
    sim = ds.Simulator(contact_scene(), num_envs=2, dtype=F64)
    with pytest.raises(ds.InputError, match=message):
        sim.step(sim.reset(), torch.zeros(2, sim.action_dim, dtype=F64), {name: value})
    with pytest.raises(ds.InputError, match=message):
        sim.rollout(sim.reset(), torch.zeros(1, 2, sim.action_dim, dtype=F64), {name: value})


def test_the_example_identifies_its_material(monkeypatch, capsys, tmp_path):
    """With the example's own settings; every parameter is within the 2% it promises, and it says so."""
    spec = importlib.util.spec_from_file_location("identify_material", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    found = example.identify()
    assert found.keys() == example.TRUE.keys() == example.GUESS.keys()
    for name, true in example.TRUE.items():
        assert abs(example.GUESS[name] / true - 1.0) >= 0.5  # the guess is far off
        assert found[name] == pytest.approx(true, rel=0.02), name

    monkeypatch.setattr(example, "identify", lambda *_: found)
    picture = tmp_path / "identify_material.png"
    assert example.main(["--picture", str(picture)]) == 0
    assert picture.stat().st_size > 10_000
    assert "all within 2%" in capsys.readouterr().out
    monkeypatch.setattr(example, "identify", lambda *_: {**found, "ground.friction": 0.31})
    assert example.main(["--picture", str(picture)]) == 1
    assert "not within 2%: ground.friction" in capsys.readouterr().out
