"""A gradient through a step cannot be differentiated once more, and says so."""

from collections.abc import Callable

import pytest
import torch

import diffsim as ds
from diffsim.gradients.first_order import first_derivatives_only
from tests.diffsim.test_empty import coupled, rigid, soft

pytestmark = pytest.mark.slow

F64 = torch.float64
REFUSED = "diffsim's steps have first derivatives only"


def seen(state: ds.State) -> torch.Tensor:
    return torch.cat([state.x.flatten(1), state.v.flatten(1), state.q, state.qd], dim=1)


def stepped(sim: ds.Simulator, action: torch.Tensor) -> torch.Tensor:
    return seen(sim.step(sim.reset(), action))


def rolled(sim: ds.Simulator, action: torch.Tensor) -> torch.Tensor:
    return seen(sim.rollout(sim.reset(), action.expand(3, 1, -1))[-1])


def windowed(sim: ds.Simulator, action: torch.Tensor) -> torch.Tensor:
    return sim.windowed_rollout(sim.reset(), action.expand(3, 1, -1), seen, window=2)[1]


Loss = Callable[[torch.Tensor], torch.Tensor]
LOSSES: dict[str, Loss] = {"linear": torch.sum, "quadratic": lambda values: values.square().sum()}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("run", [stepped, rolled, windowed])
@pytest.mark.parametrize("make", [soft, rigid, pytest.param(coupled, marks=pytest.mark.long)])
def test_a_hessian_is_refused(make, run, loss):
    sim = make()
    action = torch.full((1, sim.action_dim), 0.1, dtype=F64)
    with pytest.raises(ds.InputError, match=REFUSED):
        torch.autograd.functional.hessian(lambda action: LOSSES[loss](run(sim, action)) + action.square().sum(), action)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("make", [soft, rigid, pytest.param(coupled, marks=pytest.mark.long)])
def test_a_gradient_of_a_gradient_is_refused_and_a_gradient_is_not(make, loss):
    sim = make()
    action = torch.full((1, sim.action_dim), 0.1, dtype=F64, requires_grad=True)
    (plain,) = torch.autograd.grad(LOSSES[loss](stepped(sim, action)), action)
    (gradient,) = torch.autograd.grad(LOSSES[loss](stepped(sim, action)), action, create_graph=True)
    assert torch.equal(gradient.detach(), plain)  # asking for a graph is no error by itself
    with pytest.raises(ds.InputError, match=REFUSED):
        gradient.square().sum().backward()


def test_poses_of_links_refuse_too():
    sim = rigid()
    start = sim.reset()

    def height(q: torch.Tensor) -> torch.Tensor:
        return sim.links(start.replace(q=q)).position.sum()

    with pytest.raises(ds.InputError, match=REFUSED):
        torch.autograd.functional.hessian(height, start.q)


def test_parameters_and_states_refuse_too():
    sim = soft()
    start = sim.reset()
    action = torch.full((1, sim.action_dim), 0.1, dtype=F64)
    stiffness = torch.tensor(4e3, dtype=F64)
    with pytest.raises(ds.InputError, match=REFUSED):
        torch.autograd.functional.hessian(
            lambda value: seen(sim.step(start, action, {"block.youngs_modulus": value})).sum(), stiffness
        )
    with pytest.raises(ds.InputError, match=REFUSED):
        torch.autograd.functional.hessian(lambda v: seen(sim.step(start.replace(v=v), action)).sum(), start.v)


def test_what_does_not_pass_through_the_step_has_second_derivatives():
    sim = soft()
    scale = torch.tensor(0.1, dtype=F64, requires_grad=True)
    weight = torch.tensor(2.0, dtype=F64, requires_grad=True)
    action = torch.ones(1, sim.action_dim, dtype=F64) * scale
    total = stepped(sim, action).sum() + weight**3
    (gradient,) = torch.autograd.grad(total, weight, create_graph=True)
    assert float(torch.autograd.grad(gradient, weight)[0]) == 12.0


def test_backward_sees_no_tensor_that_wants_a_gradient():
    """Views of saved tensors want gradients where these do, and the kernel compiler would compile anew for them."""
    seen = []

    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return 2.0 * x

        @staticmethod
        @first_derivatives_only
        def backward(ctx, saved, bar):
            seen.extend([saved[0][:1], bar[:1]])
            return (2.0 * bar,)

    x = torch.ones(3, requires_grad=True)
    (gradient,) = torch.autograd.grad(Twice.apply(x).square().sum(), x, create_graph=True)
    assert [each.requires_grad for each in seen] == [False, False]
    assert torch.equal(gradient.detach(), torch.full((3,), 8.0))
