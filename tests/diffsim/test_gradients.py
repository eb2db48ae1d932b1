"""The adjoint against finite differences, against autograd through an independent implementation, and its structure."""

import pytest
import torch

import diffsim as ds
from diffsim.gradients.gradcheck import GradientError
from diffsim.tools.tool_motion import ToolKinematics
from tests.diffsim.oracle import declared_parameters, substep
from tests.diffsim.scenes import contact_scene, free_scene, random_state

F64 = torch.float64


def random_projection(state: ds.State, *, seed: int = 1) -> torch.Tensor:
    """A scalar that sees every entry of a state."""
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros((), dtype=F64)
    for name in ("x", "v", "C", "F", "internal_variable", "tool_position", "tool_rotation"):
        tensor = getattr(state, name)
        scale = 0.1 if name == "C" else 1.0
        total = total + scale * (tensor * torch.randn(tensor.shape, dtype=F64, generator=generator)).sum()
    return total


@pytest.mark.parametrize("yield_stress", [None, 150.0], ids=["elastic", "plastic"])
def test_gradcheck_through_contact(yield_stress):
    sim = ds.Simulator(contact_scene(yield_stress), num_envs=2, dt=2e-3, substeps=8, dtype=F64)
    start = random_state(sim)
    actions = torch.zeros(2, 2, sim.action_dim, dtype=F64)
    actions[..., 2] = -0.6
    actions[..., 3:] = 0.4

    def function(x, v, C, F, tool_position, tool_rotation, actions):
        rotation = tool_rotation / tool_rotation.norm(dim=-1, keepdim=True)
        state = start.replace(x=x, v=v, C=C, F=F, tool_position=tool_position, tool_rotation=rotation)
        return random_projection(sim.rollout(state, actions)[-1])

    inputs = {name: getattr(start, name) for name in ("x", "v", "C", "F", "tool_position", "tool_rotation")}
    checks = ds.gradcheck(function, {**inputs, "actions": actions}, directions=2)
    assert len(checks) == 14
    assert all(abs(check.adjoint) > 0.0 for check in checks)


def test_gradcheck_far_beyond_yield_and_at_equal_singular_values():
    sim = ds.Simulator(free_scene(ds.ElastoPlastic(yield_stress=30.0)), dt=1e-3, substeps=5, dtype=F64)
    start = sim.reset()
    stretched = torch.diag(torch.tensor([1.4, 0.8, 0.8], dtype=F64)).expand_as(start.F)
    action = torch.zeros(1, 0, dtype=F64)

    def function(x, C, F):
        return random_projection(sim.step(start.replace(x=x, C=C, F=F), action))

    generator = torch.Generator().manual_seed(2)
    C = torch.randn(start.C.shape, dtype=F64, generator=generator)
    ds.gradcheck(function, {"x": start.x, "C": C, "F": stretched})
    ds.gradcheck(function, {"x": start.x, "C": C, "F": start.F})


@pytest.mark.parametrize(
    "material",
    [
        *(ds.Elastic(), ds.NeoHookean(), ds.ElastoPlastic(), ds.Sand(), ds.Snow()),
        pytest.param(ds.MooneyRivlin(), marks=pytest.mark.slow),  # a law that compiles kernels of its own
    ],
    ids=lambda each: type(each).__name__,
)
def test_gradcheck_of_inverted_and_flattened_elements(material):
    # backward finds the rotations in the columns of F after the step, where signs and columns of almost no length matter
    sim = ds.Simulator(free_scene(material), dt=1e-4, substeps=3, dtype=F64)
    start = sim.reset()
    action = torch.zeros(1, 0, dtype=F64)

    def function(C, F):
        return random_projection(sim.step(start.replace(C=C, F=F), action))

    generator = torch.Generator().manual_seed(3)
    C = torch.randn(start.C.shape, dtype=F64, generator=generator)
    for stretches in ([1.2, 0.9, -0.5], [1.2, 0.9, 1e-3]):
        F = torch.linalg.qr(torch.randn(start.F.shape, dtype=F64, generator=generator))[0] * torch.tensor(stretches, dtype=F64)
        ds.gradcheck(function, {"C": C, "F": F})


def test_gradcheck_with_grid_nodes_in_a_tools_plane_of_symmetry():
    scene = ds.Scene(
        (ds.SoftBody("jelly", ds.Sphere(0.08), (0.3, 0.3, 0.081), particles=60),),
        tools=(ds.Tool("finger", ds.Capsule(0.1, 0.04), (0.28, 0.3217, 0.2613)),),
        upper=(0.6, 0.6, 0.5),
        grid_spacing=0.04,
    )
    sim = ds.Simulator(scene, dt=2e-3, substeps=10, dtype=F64)
    press = torch.tensor([0.1, 0.05, -0.5], dtype=F64).expand(3, 1, 3)
    ds.gradcheck(lambda actions: sim.rollout(sim.reset(), actions)[-1].x[..., 2].mean(), {"actions": press})


OWN_KERNELS = ("mooney_rivlin", "kelvin_voigt")  # their laws are not in the kernels that all scenes share
MATERIALS = {
    "elastic": ds.Elastic(5e3, 0.3),
    "neo_hookean": ds.NeoHookean(5e3, 0.3),
    "plastic": ds.ElastoPlastic(5e3, 0.3, yield_stress=150.0),
    "hardening": ds.ElastoPlastic(5e3, 0.3, yield_stress=50.0, hardening=1e3),
    "liquid": ds.Liquid(bulk_modulus=5e3, viscosity=2.0),
    "liquid_in_tension": ds.Liquid(bulk_modulus=5e3, viscosity=2.0, tension=100.0),
    "sand": ds.Sand(5e3, 0.3, 1e3),
    "snow": ds.Snow(5e3, 0.3, 1e3),
    "mooney_rivlin": ds.MooneyRivlin(800.0, 300.0, 6e3),
    "kelvin_voigt": ds.KelvinVoigt(ds.NeoHookean(5e3, 0.3), shear_viscosity=3.0, bulk_viscosity=2.0),
}
FIELDS = ("x", "v", "C", "F", "internal_variable", "tool_position")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in OWN_KERNELS else name for name in MATERIALS]
)
def test_matches_an_independent_implementation_and_its_autograd(name):
    substeps, dt = 4, 2e-3
    scene = contact_scene(material=MATERIALS[name])
    sim = ds.Simulator(scene, dt=dt, substeps=substeps, dtype=F64)
    start = random_state(sim)
    action = torch.full((1, sim.action_dim), 0.3, dtype=F64)
    colliders = (*scene.tools, *scene.obstacles)
    shapes = [(torch.tensor(thing.shape.core, dtype=F64), thing.shape.radius) for thing in colliders]  # type: ignore[attr-defined]

    def leaves(parameters):
        state = [getattr(start, field).clone().requires_grad_() for field in FIELDS]
        return state, action.clone().requires_grad_(), {key: value.requires_grad_() for key, value in parameters.items()}

    ours, our_action, our_parameters = leaves(sim.parameters)
    after = sim.step(start.replace(**dict(zip(FIELDS, ours, strict=True))), our_action, our_parameters)
    random_projection(after).backward()

    theirs, their_action, their_parameters = leaves(declared_parameters(scene))
    assert {key: value.tolist() for key, value in our_parameters.items()} == {
        key: value.tolist() for key, value in their_parameters.items()
    }
    kinematics = ToolKinematics(scene, dt=dt, substeps=substeps, dtype=F64)
    motion, tool_position, tool_rotation = kinematics.motion(theirs[5], start.tool_rotation, their_action)
    x, v, C, F, a = (tensor[0] for tensor in theirs[:5])
    for s in range(substeps):
        poses = [
            (
                *shapes[m], their_parameters[f"{thing.name}.friction"],
                motion.position[0, s, m], motion.rotation[0, s, m], motion.velocity[0, m], motion.angular_velocity[0, m],
            )
            for m, thing in enumerate(colliders)
        ]  # fmt: skip
        x, v, C, F, a = substep(scene, their_parameters, dt, x, v, C, F, a, poses)
    expected = after.replace(
        x=x[None], v=v[None], C=C[None], F=F[None], internal_variable=a[None],
        tool_position=tool_position, tool_rotation=tool_rotation,
    )  # fmt: skip
    random_projection(expected).backward()

    for field in FIELDS[:5]:
        torch.testing.assert_close(getattr(after, field), getattr(expected, field), rtol=1e-9, atol=1e-10)
    pairs = [*zip(FIELDS, ours, theirs, strict=True), ("action", our_action, their_action)]
    pairs += [(key, our_parameters[key], their_parameters[key]) for key in our_parameters]
    for key, a, b in pairs:
        expected_grad = torch.zeros_like(b) if b.grad is None else b.grad
        torch.testing.assert_close(a.grad, expected_grad, rtol=1e-6, atol=1e-8, msg=lambda text, key=key: f"{key}: {text}")


def test_gradient_of_free_fall_is_the_closed_form():
    sim = ds.Simulator(free_scene(ds.Elastic(), gravity=(0.0, 0.0, -9.81)), dt=1e-3, substeps=20, dtype=F64)
    start = sim.reset()
    velocity = start.v.clone().requires_grad_()
    state = sim.rollout(start.replace(v=velocity), torch.zeros(5, 1, 0, dtype=F64))[-1]
    state.x.mean(dim=1)[0, 2].backward()
    # the centre of mass travels v t, whatever the elastic forces do
    assert float(velocity.grad[0, :, 2].sum()) == pytest.approx(0.1, rel=1e-9)
    assert float(velocity.grad[0, :, :2].abs().max()) < 1e-3


def test_f32_gradient_agrees_with_f64():
    gradients = []
    for dtype in (torch.float32, F64):
        sim = ds.Simulator(contact_scene(), dt=2e-3, substeps=10, dtype=dtype)
        action = torch.full((3, 1, sim.action_dim), 0.3, dtype=dtype, requires_grad=True)
        sim.rollout(sim.reset(), action)[-1].x.square().sum().backward()
        gradients.append(action.grad.double())
    assert float((gradients[0] - gradients[1]).norm() / gradients[1].norm()) < 2e-3


def test_environments_do_not_see_each_other():
    sim = ds.Simulator(contact_scene(), num_envs=5, dt=2e-3, substeps=5, dtype=F64)
    start = random_state(sim)
    action = torch.linspace(-0.5, 0.5, 5, dtype=F64)[:, None].repeat(1, sim.action_dim).requires_grad_()
    after = sim.step(start, action)
    after.x[3].square().sum().backward()
    assert float(action.grad[[0, 1, 2, 4]].abs().max()) == 0.0
    alone = sim.step(start[3], action[3:4].detach())
    # alone, it is worked at by all cores, which add up in another order
    torch.testing.assert_close(alone.x[0], after.x[3].detach(), rtol=1e-13, atol=1e-14)


def test_chunked_backward_is_bitwise_the_same(monkeypatch):
    def gradient():
        sim = ds.Simulator(contact_scene(), num_envs=7, dt=2e-3, substeps=5)
        action = torch.linspace(-0.5, 0.5, 7)[:, None].repeat(1, sim.action_dim).requires_grad_()
        sim.step(sim.reset(), action).x.square().sum().backward()
        return action.grad

    monkeypatch.setenv("DIFFSIM_KEPT_MB", "0")
    whole = gradient()
    monkeypatch.setattr("diffsim.soft.mpm_solver.TRAJECTORY_BYTES", 1)
    assert torch.equal(whole, gradient())


def test_gradcheck_names_the_tensor_that_disagrees():
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, a):
            return a.square()

        @staticmethod
        def backward(ctx, bar):
            return bar

    inputs = {"right": torch.ones(3, dtype=F64), "wrong": torch.full((3,), 2.0, dtype=F64)}
    with pytest.raises(GradientError, match="'wrong' is wrong: adjoint"):
        ds.gradcheck(lambda right, wrong: (right.square() + Wrong.apply(wrong)).sum(), inputs)
    with pytest.raises(ds.InputError, match=r"'half' is torch\.float32"):
        ds.gradcheck(lambda half: half.sum(), {"half": torch.ones(2)})
