"""Shape losses: values by hand, invariances, gradients against finite differences, and errors."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import trimesh
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import diffsim as ds
from tasks.losses import (
    MassGrid,
    ShapeTarget,
    chamfer,
    contact_loss,
    density_loss,
    earth_mover,
    grid_distance_loss,
    hard_iou,
    incremental_iou,
    plasticinelab_loss,
    signed_distance_loss,
    sinkhorn,
    soft_iou,
)

GRID = MassGrid((-0.1, -0.1, -0.1), 0.05, (13, 13, 13))
EXACTLY = {"blur": 0.4, "iterations": 25}  # Sinkhorn's potentials have converged


pytestmark = pytest.mark.usefixtures("one_thread")


def cloud(count, *, batch=1, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return 0.05 + 0.3 * torch.rand(batch, count, 3, generator=generator, dtype=dtype)


def target_of(points, **options):
    return ShapeTarget.from_points(points, grid=GRID, **options)


TARGETS = {dtype: target_of(cloud(40, seed=9).to(dtype)) for dtype in (torch.float32, torch.float64)}
POINT_LOSSES = {
    "chamfer": chamfer,
    "chamfer, not squared": lambda x, y: chamfer(x, y, squared=False),
    "chamfer, one side": lambda x, y: chamfer(x, y, two_sided=False),
    "earth mover, p 1": lambda x, y: earth_mover(x, y, p=1, **EXACTLY),
    "earth mover, p 2": lambda x, y: earth_mover(x, y, p=2, **EXACTLY),
    "earth mover, exact, p 1": lambda x, y: earth_mover(x, y, p=1, method="exact"),
    "earth mover, exact, p 2": lambda x, y: earth_mover(x, y, p=2, method="exact"),
}
GRID_LOSSES = {
    "1 - soft iou": lambda x, target: 1.0 - soft_iou(GRID.deposit(x), target.mass),
    "density": lambda x, target: density_loss(GRID.deposit(x), target.mass),
    "grid distance": lambda x, target: grid_distance_loss(GRID.deposit(x), target.outside_distance),
    "signed distance": signed_distance_loss,
    "plasticinelab": lambda x, target: plasticinelab_loss(GRID.deposit(x), target, x.transpose(1, 2) - 0.2),
}
point_losses = pytest.mark.parametrize("loss", POINT_LOSSES.values(), ids=POINT_LOSSES)
grid_losses = pytest.mark.parametrize("loss", GRID_LOSSES.values(), ids=GRID_LOSSES)


# --- point clouds ---


@point_losses
def test_point_losses_have_the_gradients_of_finite_differences(loss):
    x, y = cloud(4, batch=2).requires_grad_(), cloud(4, batch=2, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(loss, (x, y), eps=1e-6, atol=1e-6, rtol=1e-6)


@point_losses
def test_point_losses_are_zero_at_equality_and_grow_with_translation(loss):
    x = cloud(50)
    assert float(loss(x, x)) == pytest.approx(0.0, abs=1e-12)
    shift = torch.tensor([1.0, 2.0, 2.0], dtype=torch.float64) / 3.0
    values = [float(loss(x + step * shift, x)) for step in (0.01, 0.1, 0.3, 1.0, 3.0)]
    assert values[0] > 0.0
    assert all(b > a for a, b in pairwise(values))


@point_losses
def test_point_losses_do_not_depend_on_the_order_of_points(loss):
    x, y = cloud(30), cloud(30, seed=1)
    order, other = torch.randperm(30), torch.randperm(30)
    torch.testing.assert_close(loss(x[:, order], y[:, other]), loss(x, y), rtol=1e-9, atol=1e-12)


@point_losses
def test_a_batch_is_its_single_environments(loss):
    x, y = cloud(30, batch=3), cloud(30, batch=3, seed=1)
    y[1] *= 1.5  # so that they differ in size
    torch.testing.assert_close(loss(x, y), torch.cat([loss(x[i : i + 1], y[i : i + 1]) for i in range(3)]), rtol=0, atol=0)
    torch.testing.assert_close(loss(x, y[:1]), loss(x, y[:1].repeat(3, 1, 1)), rtol=0, atol=0)


@point_losses
def test_point_losses_in_f32(loss):
    x, y = cloud(60), cloud(60, seed=1)
    assert loss(x.float(), y.float()).dtype == torch.float32
    torch.testing.assert_close(loss(x.float(), y.float()).double(), loss(x, y), rtol=1e-4, atol=1e-6)


def test_chamfer_by_hand():
    x = torch.tensor([[[0.0, 0.0, 0.0], [4.0, 0.0, 0.0]]])
    y = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 2.0]]])
    # of x: 1 to the first; 3 to the first. Of y: 1, 3 and 2 to the origin
    assert float(chamfer(x, y)) == pytest.approx((1.0 + 9.0) / 2.0 + (1.0 + 9.0 + 4.0) / 3.0)
    assert float(chamfer(x, y, squared=False)) == pytest.approx((1.0 + 3.0) / 2.0 + (1.0 + 3.0 + 2.0) / 3.0)
    assert float(chamfer(x, y, two_sided=False)) == pytest.approx(5.0)
    assert float(chamfer(y, x, two_sided=False)) == pytest.approx(14.0 / 3.0)


def test_chamfer_in_the_plane_and_at_coinciding_points():
    x = torch.zeros(1, 4, 2, requires_grad=True)
    chamfer(x, torch.zeros(1, 1, 2), squared=False).sum().backward()
    assert torch.equal(x.grad, torch.zeros(1, 4, 2))  # not NaN
    assert float(chamfer(x.detach(), torch.tensor([[[3.0, 4.0]]]), two_sided=False)) == pytest.approx(25.0)


def test_exact_earth_mover_by_hand():
    x = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]], requires_grad=True)
    y = torch.tensor([[[1.0, 0.0, 0.0], [3.0, 0.0, 0.0]]])
    # along a line both plans cost 3 in all for p = 1; for p = 2 it is 1 + 4 against 9
    assert float(earth_mover(x.detach(), y, p=1, method="exact")) == pytest.approx(1.5)
    loss = earth_mover(x, y, p=2, method="exact")
    assert float(loss.detach()) == pytest.approx(2.5)
    loss.sum().backward()  # that of the matched differences: 2 (x - y) / N
    torch.testing.assert_close(x.grad[0, :, 0], torch.tensor([-1.0, -2.0]))


@pytest.mark.parametrize("blur", [1.0, 0.3, 0.1])
def test_the_divergence_of_a_translation_is_its_square(blur):
    """|t|^2 for p = 2 at any blur: the entropic cost of (x, x + t) is that of (x, x) plus |t|^2 / 2."""
    x, shift = cloud(80).requires_grad_(), torch.tensor([0.2, -0.1, 0.05], dtype=torch.float64)
    y = (x + shift).detach()
    loss = earth_mover(x, y, blur=blur, iterations=200)
    assert float(loss.detach()) == pytest.approx(float(shift.square().sum()), rel=1e-5)
    loss.sum().backward()
    torch.testing.assert_close(x.grad, (-2.0 * shift / 80).expand(1, 80, 3), rtol=1e-3, atol=1e-6)
    assert float(earth_mover(x.detach(), y, p=1, method="exact")) == pytest.approx(float(shift.norm()), rel=1e-12)


@pytest.mark.parametrize(("p", "blur", "tolerance"), [(2, 0.01, 0.01), (1, 0.001, 0.03)])
def test_sinkhorn_approaches_the_exact_distance(p, blur, tolerance):
    x, y = cloud(60), cloud(60, seed=1) + torch.tensor([0.1, 0.0, 0.0], dtype=torch.float64)
    exact = float(earth_mover(x, y, p=p, method="exact"))
    errors = [abs(float(earth_mover(x, y, p=p, blur=size, iterations=500)) / exact - 1.0) for size in (16.0 * blur, blur)]
    assert errors[1] < tolerance < errors[0]


@pytest.mark.parametrize("p", [1, 2])
def test_sinkhorn_agrees_with_geomloss(p):
    """Which defines its cost as |x - y|^p / p, and anneals by nearly the same blurs."""
    geomloss = pytest.importorskip("geomloss")
    x, y = cloud(150).requires_grad_(), cloud(200, seed=1) + 0.1
    reference = geomloss.SamplesLoss("sinkhorn", p=p, blur=0.03, scaling=0.9, backend="tensorized")(x, y)
    (gradient,) = torch.autograd.grad(p * reference.sum(), x)
    ours = earth_mover(x, y, p=p, blur=0.03, scaling=0.9)
    torch.testing.assert_close(ours, p * reference, rtol=5e-4, atol=0.0)
    torch.testing.assert_close(
        torch.autograd.grad(ours.sum(), x)[0], gradient, rtol=0.0, atol=1e-2 * float(gradient.abs().max())
    )


@pytest.mark.parametrize("p", [1, 2])
def test_blocks_and_multiplied_out_squares_change_nothing(p, monkeypatch):
    x, y = cloud(70).requires_grad_(), cloud(90, seed=1)

    def value_and_gradient():
        loss = earth_mover(x, y, p=p)
        return loss.detach(), torch.autograd.grad(loss.sum(), x)[0]

    whole = value_and_gradient()
    monkeypatch.setattr(sinkhorn, "BLOCK", 300)  # three rows at once
    monkeypatch.setattr(sinkhorn, "PRODUCT_ERROR", 0.0)
    for blocked, expected in zip(value_and_gradient(), whole, strict=True):
        torch.testing.assert_close(blocked, expected, rtol=1e-9, atol=1e-12)


class LargestTensor(TorchDispatchMode):
    """Elements of the largest tensor that any operation made."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self.elements = max(self.elements, leaf.untyped_storage().nbytes() // leaf.element_size())
        return result


@pytest.mark.parametrize("loss", [chamfer, earth_mover, lambda x, y: earth_mover(x, y, p=1)])
def test_no_matrix_of_all_pairs_is_stored(loss):
    x, y = cloud(2000, dtype=torch.float32).requires_grad_(), cloud(2000, seed=1, dtype=torch.float32)
    with LargestTensor() as largest:
        loss(x, y).sum().backward()
    assert 2000 * 3 <= largest.elements <= sinkhorn.BLOCK < 2000 * 2000 / 8


@pytest.mark.parametrize(
    "loss", [lambda x: earth_mover(x, cloud(5, seed=1)), lambda x: signed_distance_loss(x, TARGETS[x.dtype])]
)
def test_second_derivatives_are_refused(loss):
    x = cloud(5, batch=1).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(x).sum(), x, create_graph=True)
    with pytest.raises(ds.InputError, match="first derivatives only"):
        gradient.sum().backward()


# --- grids ---


@grid_losses
def test_grid_losses_have_the_gradients_of_finite_differences(loss):
    x = cloud(12, batch=2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, TARGETS[x.dtype]), (x,), eps=1e-6, atol=1e-6, rtol=1e-6)


@grid_losses
def test_grid_losses_of_a_batch_and_of_another_order(loss):
    x, order = cloud(30, batch=3), torch.randperm(30)

    def value(x):
        return loss(x, TARGETS[x.dtype])

    torch.testing.assert_close(value(x), torch.cat([value(x[i : i + 1]) for i in range(3)]), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(value(x[:, order]), value(x), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(value(x.float()).double(), value(x), rtol=2e-4, atol=1e-6)


def test_deposit_by_hand_and_its_moments():
    grid = MassGrid((0.0, 0.0, 0.0), 0.5, (5, 5, 5))
    on_node = grid.deposit(torch.tensor([[[1.0, 1.0, 1.0]]]), 2.0)
    assert float(on_node[0, 2, 2, 2]) == pytest.approx(2.0 * 0.75**3)
    assert float(on_node[0, 1, 2, 3]) == pytest.approx(2.0 * 0.125**2 * 0.75)
    half_way = grid.deposit(torch.tensor([[[1.25, 1.0, 1.0]]]))
    assert float(half_way[0, 2, 2, 2]) == pytest.approx(0.5 * 0.75**2)
    x, mass = cloud(20, batch=2), torch.rand(2, 20, dtype=torch.float64)
    deposited = GRID.deposit(x, mass)
    axes = [low + GRID.spacing * torch.arange(n, dtype=torch.float64) for low, n in zip(GRID.lower, GRID.nodes, strict=True)]
    nodes = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    torch.testing.assert_close(deposited.sum(dim=(1, 2, 3)), mass.sum(dim=1))
    torch.testing.assert_close((deposited[..., None] * nodes).sum(dim=(1, 2, 3)), (mass[..., None] * x).sum(dim=1))
    assert torch.autograd.gradcheck(lambda m: GRID.deposit(x[:, :4], m), (mass[:, :4].clone().requires_grad_(),))


def test_overlaps_by_hand():
    mass, target = torch.tensor([[4.0, 2.0, 0.0, 0.0]]), torch.tensor([[0.0, 3.0, 3.0, 0.0]])
    # over the largest: (1, 1/2, 0, 0) and (0, 1, 1, 0): I = 1/2, U = 3.5
    assert float(soft_iou(mass, target)) == pytest.approx(0.5 / 3.0)
    assert float(hard_iou(mass, target)) == pytest.approx(1.0 / 3.0)
    assert float(hard_iou(mass, target, threshold=0.6)) == 0.0
    assert float(density_loss(mass, target)) == pytest.approx(8.0)
    assert float(hard_iou(mass, 7.0 * mass)) == 1.0
    assert float(incremental_iou(torch.tensor(0.3), torch.tensor(0.2), torch.tensor(0.4))) == pytest.approx(0.5)
    m = GRID.deposit(cloud(50))
    own, square, largest = float(soft_iou(m, m)), float(m.square().sum()), float(m.max())
    assert own == pytest.approx(square / (2.0 * largest - square))
    assert float(soft_iou(torch.eye(4)[:1], torch.eye(4)[:1])) == 1.0  # full or empty


def test_density_loss_goes_from_0_to_2():
    target = ShapeTarget.from_points(cloud(30), grid=MassGrid((-0.1, -0.1, -0.1), 0.05, (30, 13, 13)))
    shifts = [0.0, 0.01, 0.05, 0.1, 0.8]
    values = []
    for shift in shifts:
        x = cloud(30) + torch.tensor([shift, 0.0, 0.0], dtype=torch.float64)
        values.append(float(density_loss(target.grid.deposit(x), target.mass)))
    assert values[0] == 0.0
    assert values == sorted(values)
    assert values[-1] == pytest.approx(2.0)


def test_grid_distance_by_hand():
    """Of a particle 0.3 m beside the only node of the target, on a node: its 27 nodes' distances, weighted."""
    grid = MassGrid((0.0, 0.0, 0.0), 0.1, (9, 9, 9))
    target = ShapeTarget.from_points(torch.full((1, 1, 3), 0.2), grid=grid, inside=0.5)  # its neighbours have a sixth
    offsets, weights = np.array([-0.1, 0.0, 0.1]), np.array([0.125, 0.75, 0.125])
    expected = sum(
        a * b * c * math.sqrt((0.3 + i) ** 2 + j**2 + k**2)
        for i, a in zip(offsets, weights, strict=True)
        for j, b in zip(offsets, weights, strict=True)
        for k, c in zip(offsets, weights, strict=True)
    )
    mass = grid.deposit(torch.tensor([[[0.5, 0.2, 0.2]]]))
    assert float(grid_distance_loss(mass, target.outside_distance)) == pytest.approx(expected, rel=1e-5)
    assert float(target.outside_distance[0, 2, 2, 2]) == 0.0
    distance = torch.tensor([[[0.2, -0.5, 0.3], [0.1, 0.4, 0.2]]])
    total = 10.0 * density_loss(mass, target.mass) + 10.0 * expected + 0.0**2 + 0.1**2
    torch.testing.assert_close(plasticinelab_loss(mass, target, distance), total)
    torch.testing.assert_close(plasticinelab_loss(mass, target), total - 0.01)


def test_contact_by_hand():
    distance = torch.tensor([[[0.01, 0.03], [-0.2, 0.5]]], dtype=torch.float64)
    assert float(contact_loss(distance)) == pytest.approx(1e-4)
    a, b = 1.0 / (1.0 + 1.0), 1.0 / (1.0 + 9.0)
    first, second = (0.01 * a + 0.03 * b) / (a + b), 0.5 / 2501.0 / (1.0 + 1.0 / 2501.0)
    assert float(contact_loss(distance, soft=True)) == pytest.approx(first**2 + second**2)
    inner = torch.rand(2, 3, 5, dtype=torch.float64, requires_grad=True)
    for soft in (False, True):
        assert torch.autograd.gradcheck(lambda d, soft=soft: contact_loss(d, soft=soft), (inner,))


# --- targets ---


def test_target_of_a_shape():
    turned = (math.sqrt(0.5), 0.0, 0.0, math.sqrt(0.5))  # a quarter turn about z
    grid = MassGrid((0.0, 0.0, 0.0), 0.04, (26, 26, 26))
    target = ShapeTarget.from_mesh(ds.Box((0.2, 0.1, 0.1)), (0.5, 0.5, 0.3), turned, points=500, grid=grid, mass=3.0)
    assert 400 < target.points.shape[1] < 700
    spread = target.points[0].amax(0) - target.points[0].amin(0)
    assert 0.15 < float(spread[0]) < 0.2 < 0.35 < float(spread[1]) < 0.4  # m, along x and y
    assert float(target.mass.sum()) == pytest.approx(3.0, rel=1e-5)
    middle = target.mass[0, 12, 12, 7]  # a full node: density times its cell
    assert float(middle) == pytest.approx(3.0 / 0.016 * 0.04**3, rel=0.03)
    points = torch.tensor([[[0.75, 0.5, 0.3], [0.5, 0.8, 0.3], [0.5, 0.5, 0.3], [0.55, 0.5, 0.3]]], dtype=torch.float64)
    distance = target.signed_distance(points)
    torch.testing.assert_close(distance, torch.tensor([[0.15, 0.1, -0.1, -0.05]], dtype=torch.float64), rtol=0.0, atol=4e-3)
    assert float(signed_distance_loss(points, target)) == pytest.approx(0.25 / 4.0, abs=2e-3)


def test_target_of_a_mesh_file_and_of_points_agree(tmp_path):
    trimesh.creation.icosphere(2, 0.15).export(tmp_path / "ball.obj")
    mesh = ShapeTarget.from_mesh(tmp_path / "ball.obj", (0.2, 0.2, 0.2), size=0.3, points=2000, dtype=torch.float64)
    points = target_of(mesh.points[0])
    x = cloud(40)
    gap = mesh.signed_distance(x) - points.signed_distance(x)
    assert float(gap.abs().max()) < GRID.spacing  # from masses: about half a cell
    at = torch.tensor([[[0.2, 0.2, 0.45]]], dtype=torch.float64, requires_grad=True)
    mesh.signed_distance(at).sum().backward()
    torch.testing.assert_close(at.grad[0, 0], torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64), rtol=0.0, atol=0.02)


def test_target_of_a_state():
    body = ds.SoftBody("dough", ds.Box((0.1, 0.1, 0.05)), (0.5, 0.5, 0.06), particles=200)
    other = ds.SoftBody("ball", ds.Sphere(0.05), (0.2, 0.2, 0.06), particles=50)
    sim = ds.Simulator(ds.Scene((other, body), grid_spacing=0.05), num_envs=2)
    state = sim.reset()
    state = state.replace(x=state.x + torch.tensor([0.0, 0.1])[:, None, None])
    target = ShapeTarget.from_state(sim, state, "dough")
    x = state.x[:, sim.particle_slice("dough")].clone().requires_grad_()
    mass = target.grid.deposit(x)
    zero = torch.zeros(2)
    for loss in (chamfer(x, target.points), earth_mover(x, target.points), density_loss(mass, target.mass)):
        torch.testing.assert_close(loss, zero, rtol=0.0, atol=1e-7)
    assert torch.equal(hard_iou(mass, target.mass), zero + 1.0)
    assert target.mass.shape == (2, *target.grid.nodes)
    assert not target.points.requires_grad
    # a target for each environment: the second one's is elsewhere
    assert float(signed_distance_loss(x.detach().flip(0), target).min()) > 0.03
    with pytest.raises(ds.InputError, match="no soft body 'paste'"):
        ShapeTarget.from_state(sim, state, "paste")
    with pytest.raises(ds.InputError, match="x must have a batch of 2"):
        target.signed_distance(x[:1])


# --- errors ---

GOOD = cloud(10, batch=2)
NAN = GOOD.clone()
NAN[1, 3, 2] = math.nan
MASS = GRID.deposit(GOOD)
WRONG = {
    "x must be a torch tensor, got ndarray": lambda: chamfer(GOOD.numpy(), GOOD),
    "x must be points of shape (B, N, D) with B, N >= 1, got (10, 3)": lambda: chamfer(GOOD[0], GOOD),
    "y must be points of shape (B, N, D) with B, N >= 1, got (2, 0, 3)": lambda: earth_mover(GOOD, GOOD[:, :0]),
    "x must be finite, got nan at index [1, 3, 2]": lambda: chamfer(NAN, GOOD),
    "y must be finite, got nan at index [1, 3, 2]": lambda: earth_mover(GOOD, NAN),
    "x must be torch.float32 or torch.float64, got torch.int64": lambda: chamfer(GOOD.long(), GOOD),
    "y must be torch.float64 as x is, got torch.float32": lambda: chamfer(GOOD, GOOD.float()),
    "y does not fit x: its shape is (2, 10, 2)": lambda: chamfer(GOOD, GOOD[..., :2]),
    "y must have a batch of 1 or, as x, of 1, got 2": lambda: earth_mover(GOOD[:1], GOOD),
    "p must be 1 or 2, got 3": lambda: earth_mover(GOOD, GOOD, p=3),
    "method must be 'sinkhorn' or 'exact', got 'emd'": lambda: earth_mover(GOOD, GOOD, method="emd"),
    "earth_mover: blur must be a finite number >= 1e-09, got 0.0": lambda: earth_mover(GOOD, GOOD, blur=0.0),
    "earth_mover: scaling must be a finite number >= 0.05 and <= 0.99, got 1.0": lambda: earth_mover(GOOD, GOOD, scaling=1.0),
    "iterations must be an integer >= 0, got -1": lambda: earth_mover(GOOD, GOOD, iterations=-1),
    "y must have as many points as x for method 'exact', 10, got 9": lambda: earth_mover(GOOD, GOOD[:, 1:], method="exact"),
    "x must have at most 4000 points for method 'exact', got 4001": lambda: earth_mover(*[cloud(4001)] * 2, method="exact"),
    "x must be within the grid, [-0.075, -0.075, -0.075] to [0.475,": lambda: GRID.deposit(GOOD + 0.5),
    "x must be points of shape (B, N, 3) with B, N >= 1, got (2, 10, 2)": lambda: GRID.deposit(GOOD[..., :2]),
    "mass must be a number or torch.float64 of shape (10,) or (2, 10), got": lambda: GRID.deposit(GOOD, torch.ones(9).double()),
    "deposit: mass must be a finite number >= 0, got -1.0": lambda: GRID.deposit(GOOD, -1.0),
    "target does not fit mass: its shape is (2, 12, 13, 13)": lambda: density_loss(MASS, MASS[:, 1:]),
    "target must be torch.float64 as mass is": lambda: soft_iou(MASS, MASS.float()),
    "target must hold some mass, got a grid without any": lambda: soft_iou(MASS, 0.0 * MASS),
    "hard_iou: threshold must be a finite number": lambda: hard_iou(MASS, MASS, 2.0),
    "distance must be finite": lambda: grid_distance_loss(MASS, MASS / 0.0),
    "distance must be points of shape": lambda: contact_loss(MASS),
    "MassGrid: nodes must be three integers >= 3": lambda: MassGrid((0.0, 0.0, 0.0), 0.1, (2, 5, 5)),
    "MassGrid: spacing must be": lambda: MassGrid((0.0, 0.0, 0.0), -0.1, (5, 5, 5)),
    "scene must be a diffsim.Scene, got int": lambda: MassGrid.of_scene(3),
    "points must be points of shape (B, N, 3)": lambda: ShapeTarget.from_points(GOOD[..., :2]),
    "grid must be a MassGrid or None, got float": lambda: ShapeTarget.from_points(GOOD, grid=0.1),
    "ShapeTarget: inside must be": lambda: ShapeTarget.from_points(GOOD, inside=2.0),
    "grid must be given to ShapeTarget": lambda: ShapeTarget.from_points(GOOD).mass,
    "size is for mesh files": lambda: ShapeTarget.from_mesh(ds.Sphere(0.1), (0.0, 0.0, 0.0), size=1.0),
    "mesh 'no.obj' does not exist": lambda: ShapeTarget.from_mesh("no.obj", (0.0, 0.0, 0.0)),
    "state must be a diffsim.State, got Tensor": lambda: ShapeTarget.from_state(None, GOOD, "dough"),
}


@pytest.mark.parametrize(("message", "call"), WRONG.items(), ids=WRONG)
def test_errors_name_the_argument(message, call):
    with pytest.raises(ds.InputError) as raised:
        call()
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)
