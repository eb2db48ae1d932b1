"""A shape defined outside the package: a puck, a disc grown by a radius. A cylinder rounded all the way is the same solid."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
import trimesh

import diffsim as ds
from diffsim.compiler import ti
from diffsim.records import Record, field
from diffsim.render.surfaces import rigid_surface
from tests.diffsim.kernel_distance import kernel_distance

pytestmark = pytest.mark.slow


class PuckNumbers(Record):
    """What the kernels read of a puck."""

    disc = field(1, "m", "radius of the flat disc")
    thickness = field(1, "m", "half of it")


def puck_distance(real):
    """In the kernels: with c the nearest point of the disc, phi = |y - c| - thickness."""
    vec3 = ti.types.vector(3, real)
    mat3 = ti.types.matrix(3, 3, real)

    @ti.func
    def distance(numbers: ti.template(), at, y, second: ti.template()):
        disc, thickness = numbers[at + PuckNumbers.disc], numbers[at + PuckNumbers.thickness]
        rho = ti.sqrt(y[0] * y[0] + y[1] * y[1])
        d = vec3(0.0, 0.0, y[2])
        out = vec3(0.0, 0.0, 0.0)
        if rho > disc:
            out = vec3(y[0] / rho, y[1] / rho, 0.0)
            d = d + (rho - disc) * out
        length = ti.sqrt(d.dot(d)) + 1e-30
        n = d / length
        hessian = mat3(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        if rho > disc:
            across, round_axis = vec3(-n[2] * out[0], -n[2] * out[1], n.dot(out)), vec3(-out[1], out[0], 0.0)
            hessian = across.outer_product(across) / length + n.dot(out) / rho * round_axis.outer_product(round_axis)
        return length - thickness, n, hessian

    return distance


@dataclass(frozen=True)
class Puck(ds.Shape):
    """A disc of radius ``disc`` about local z, grown by ``thickness``, metres."""

    disc: float
    thickness: float

    def signed_distance(self, points):
        beyond = np.maximum(np.hypot(points[..., 0], points[..., 1]) - self.disc, 0.0)
        return np.hypot(beyond, points[..., 2]) - self.thickness

    def surface_mesh(self):
        angle = np.linspace(-0.5 * np.pi, 0.5 * np.pi, 17)
        profile = np.stack([self.disc + self.thickness * np.cos(angle), self.thickness * np.sin(angle)], axis=1)
        ends = np.array([[0.0, self.thickness]])
        return trimesh.creation.revolve(np.concatenate([-ends, profile, ends]), sections=64)

    def contact_points(self, count=None):
        return ds.ContactPoints.wheel(self.disc, self.thickness, spokes=count or 8)

    def kernel_numbers(self):
        return PuckNumbers.row(disc=self.disc, thickness=self.thickness)

    distance_kernel = staticmethod(puck_distance)


PUCK, SAME = Puck(0.08, 0.03), ds.Cylinder(0.03, 0.11, 0.03)


def scene(shape, **mass):
    """The shape on the ground, a ball that falls on it and a capsule beside it, and the shape as an obstacle under a box."""
    return ds.Scene(
        rigid_bodies=(
            ds.RigidBody(
                "it", shape, (0.5, 0.5, 0.03), (0.99, 0.1, 0.05, 0.0), velocity=(0.1, 0.0, -0.2),
                angular_velocity=(0.3, 0.2, 0.1), **mass,
            ),
            ds.RigidBody("ball", ds.Sphere(0.04), (0.56, 0.5, 0.09), velocity=(0.0, 0.0, -0.5)),
            ds.RigidBody("rod", ds.Capsule(0.05, 0.02), (0.5, 0.62, 0.03), velocity=(0.0, -0.3, 0.0)),
            ds.RigidBody("box", ds.Box((0.03, 0.03, 0.02), 0.005), (0.3, 0.3, 0.33), velocity=(0.0, 0.0, -0.3)),
        ),
        obstacles=(ds.Obstacle("shelf", shape, (0.3, 0.3, 0.28)),),
        contact=ds.ContactModel(stiffness=3e3, smoothing=2e-3, slip_speed=1e-2),
    )  # fmt: skip


def test_distance():
    points = np.random.default_rng(0).uniform(-0.2, 0.2, (300, 3))
    own, other = kernel_distance(PUCK, points), kernel_distance(SAME, points)
    np.testing.assert_allclose(own[0], PUCK.signed_distance(points), atol=1e-12)
    for mine, theirs in zip(own, other, strict=True):
        away = np.hypot(points[:, 2], points[:, 0]) > 1e-3
        np.testing.assert_allclose(mine[away], theirs[away], atol=1e-9)


def test_masses_and_meshes_follow_from_the_surface():
    volume, center, inertia = PUCK.mass_properties()
    assert volume == pytest.approx(SAME.volume, rel=0.01)
    np.testing.assert_allclose(center, 0.0, atol=1e-9)
    np.testing.assert_allclose(inertia, SAME.mass_properties()[2], rtol=0.02, atol=1e-9)
    assert PUCK.bounding_radius == pytest.approx(0.11, rel=1e-3)
    assert len(rigid_surface(PUCK).faces) > 100
    assert len(PUCK.volume_samples(200)) == pytest.approx(200, rel=0.3)


def test_it_moves_as_the_cylinder_that_is_the_same():
    """Its distance met by other shapes' points, its points meeting theirs, as a body and as an obstacle. The bodies' mass
    distributions differ by the meshes they are computed from."""
    ends = []
    for shape in (PUCK, SAME):
        sim = ds.Simulator(scene(shape, mass=1.0), dt=1e-3, substeps=5, dtype=torch.float64)
        state = sim.reset()
        with torch.no_grad():
            for _ in range(20):
                state = sim.step(state, torch.zeros((1, 0), dtype=torch.float64))
        ends.append(state)
    start = sim.reset()
    assert (ends[0].q - start.q).abs().max() > 0.01
    torch.testing.assert_close(ends[0].q, ends[1].q, atol=2e-4, rtol=0.0)
    box = slice(21, 28)  # touches the obstacle alone
    torch.testing.assert_close(ends[0].q[:, box], ends[1].q[:, box], atol=1e-12, rtol=0.0)
    assert (ends[0].q[0, box] - start.q[0, box]).abs().max() < 0.03


def test_it_rests_at_its_thickness():
    contact = ds.ContactModel(stiffness=2e4, smoothing=1e-4)
    body = ds.RigidBody("it", PUCK, (0.5, 0.5, 0.035), mass=1.0)
    sim = ds.Simulator(ds.Scene(rigid_bodies=(body,), contact=contact), dt=5e-4, substeps=20, dtype=torch.float64)
    state = sim.reset()
    with torch.no_grad():
        for _ in range(100):
            state = sim.step(state, torch.zeros((1, 0), dtype=torch.float64))
    # nine springs of k d log(1 + exp(depth / d)) / 2 (no restitution) carry the weight: eight spokes, and the point that moves
    depth = 1e-4 * np.log(np.expm1(2.0 * 9.81 / (9 * 2e4 * 1e-4)))
    assert float(state.q[0, 2]) == pytest.approx(0.03 - depth, abs=1e-6)


def test_gradients():
    sim = ds.Simulator(scene(PUCK), dt=1e-3, substeps=4, dtype=torch.float64)
    start, declared = sim.reset(), sim.parameters
    weights = torch.tensor(np.random.default_rng(1).normal(size=100))

    def final(q, qd, scale, shelf, ball):
        state = replace(start, q=q, qd=qd)
        given = {**declared, "it.scale": scale, "shelf.scale": shelf, "ball.scale": ball}
        for _ in range(2):
            state = sim.step(state, torch.zeros((1, 0), dtype=torch.float64), parameters=given)
        end = torch.cat([state.q, 0.1 * state.qd], dim=1)[0]
        return end @ weights[: len(end)]

    inputs = {
        "q": start.q, "qd": start.qd, "scale": declared["it.scale"], "shelf": declared["shelf.scale"],
        "ball": declared["ball.scale"],
    }  # fmt: skip
    for check in ds.gradcheck(final, inputs):
        assert check.adjoint != 0.0, check


def test_a_shape_without_a_distance_says_so():
    class Ghost(ds.Shape):
        pass

    with pytest.raises(TypeError, match="Ghost defines no distance_kernel"):
        ds.Simulator(
            ds.Scene(
                rigid_bodies=(ds.RigidBody("b", ds.Sphere(0.1), (0.5, 0.5, 0.5)),),
                obstacles=(ds.Obstacle("g", Ghost(), (0, 0, 0)),),
            )
        )
