"""The equations of docs/rigid.md once more in plain torch, differentiated by autograd: slow, short, and independent.

It is built otherwise than the kernels: geometric Jacobians of every link in the world's frame, the mass matrix as the sum of
J^T diag(m, I) J, the bias force from the Jacobians' time derivatives and its polarised form from its values at sums and
differences of velocities, contact points of its own, contact forces in the world's frame, one dense solve. One environment,
f64. Stacked parameters follow the links, geometries and actuators of all articulations in their order."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from diffsim.scene.articulation import Articulation, Geometry, Link
from diffsim.scene.shapes import Cylinder, Plane, RoundedBox, Shape, Torus

Tensor = torch.Tensor
# coordinates and velocities of each kind of joint
JOINT_SIZES = {"fixed": (0, 0), "revolute": (1, 1), "prismatic": (1, 1), "ball": (4, 3), "free": (7, 6)}
Parameters = Mapping[str, "Tensor | Mapping[str, Tensor]"]
REACH = 40.0  # a contact or a limit is left out where phi > REACH d
SYMMETRIC = ((0, 5, 4), (5, 1, 3), (4, 3, 2))  # places in xx, yy, zz, yz, xz, xy


def constant(value) -> Tensor:
    return torch.as_tensor(np.asarray(value), dtype=torch.float64)


def safe_norm(x: Tensor) -> Tensor:
    """Length over the last axis; every derivative at zero is zero."""
    square = x.square().sum(-1)
    return torch.where(square > 0.0, torch.where(square > 0.0, square, 1.0).sqrt(), 0.0)


def cross(a: Tensor, b: Tensor) -> Tensor:
    a, b = torch.broadcast_tensors(a, b)
    return torch.linalg.cross(a, b)


def product(a: Tensor, b: Tensor) -> Tensor:
    """Of quaternions (w, x, y, z)."""
    w = a[0] * b[0] - a[1:] @ b[1:]
    return torch.cat([w[None], a[0] * b[1:] + b[0] * a[1:] + cross(a[1:], b[1:])])


def exponential(turn: Tensor) -> Tensor:
    """Quaternion of the rotation vector ``turn`` (3), radians."""
    x = 0.25 * turn.square().sum()
    if x.detach() < 1e-6:  # cos and sin(t)/t as series in x = t^2: smooth at zero
        cosine = 1.0 - x / 2.0 + x**2 / 24.0 - x**3 / 720.0
        sinc = 1.0 - x / 6.0 + x**2 / 120.0 - x**3 / 5040.0
    else:
        cosine, sinc = x.sqrt().cos(), x.sqrt().sin() / x.sqrt()
    return torch.cat([cosine[None], 0.5 * sinc * turn])


def rotation(quaternion: Tensor) -> Tensor:
    """Matrix (3, 3) of a quaternion, which need not have length one: a gradient is therefore tangent to the unit sphere."""
    w, x, y, z = quaternion / quaternion.square().sum().sqrt()
    return torch.stack([
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]).reshape(3, 3)  # fmt: skip


def shape_distance(shape: Shape, y: Tensor) -> Tensor:
    """Signed distance (P,) of points (P, 3) in the shape's frame."""
    if isinstance(shape, Plane):
        return y[:, 2]
    if isinstance(shape, Torus):
        off_circle = safe_norm(y[:, :2]) - shape.major_radius
        return safe_norm(torch.stack([off_circle, y[:, 2]], dim=-1)) - shape.minor_radius
    if isinstance(shape, RoundedBox):
        core = constant(shape.core)
        # where the core has no extent |y| would have a kink right at y = 0
        outside = torch.where(core > 0.0, y - torch.minimum(torch.maximum(y, -core), core), y)
        return safe_norm(outside) + (y.abs() - core).amax(-1).clamp_max(0.0) - shape.radius
    if isinstance(shape, Cylinder):
        half, radius = shape.half_length - shape.rounding, shape.radius - shape.rounding
        beyond = torch.stack([safe_norm(y[:, :2]) - radius, y[:, 2].abs() - half], dim=-1)
        return safe_norm(beyond.clamp_min(0.0)) + beyond.amax(-1).clamp_max(0.0) - shape.rounding
    raise NotImplementedError(f"the oracle has no signed distance of {shape!r}")


def distance_and_gradient(shape: Shape, y: Tensor) -> tuple[Tensor, Tensor]:
    """Signed distance (P,) and its unit gradient (P, 3), both differentiable."""
    tracked = y.requires_grad and torch.is_grad_enabled()
    with torch.enable_grad():
        point = y if tracked else y.detach().requires_grad_()
        value = shape_distance(shape, point)
        (gradient,) = torch.autograd.grad(value.sum(), point, create_graph=tracked)
    value = value if tracked else value.detach()
    length = safe_norm(gradient)[:, None]
    return value, gradient / torch.where(length > 0.0, length, 1.0)


def compliant_law(phi: Tensor, rate: Tensor, k: Tensor, d: float, e: Tensor | float, s: float) -> tuple[Tensor, Tensor]:
    """F0 (1 + e^2) / 2 and D at gaps ``phi`` and their rates."""
    force = k * d * torch.logaddexp(-phi / d, torch.zeros_like(phi))
    return 0.5 * force * (1.0 + e**2), 0.5 * force * (1.0 - e**2) / (rate.square() + s**2).sqrt()


def solved(residual, guess: Tensor) -> Tensor:
    """The root of a residual (n,), differentiable in all that the residual depends on (implicit function theorem): one more
    Newton step at the root, with its matrix held, has the root's derivatives."""

    def at(a: Tensor) -> tuple[Tensor, Tensor]:
        return residual(a).detach(), torch.autograd.functional.jacobian(residual, a).detach()

    with torch.enable_grad():
        root, scale = guess, 1.0
        value, slope = at(root)
        for _ in range(200):
            step = -torch.linalg.solve(slope, value)
            for share in (1.0, 0.5, 0.25, 0.1, 0.03, 0.01, 1e-3):  # a step must bring the residual down
                trial = at(root + share * step)
                if trial[0].norm() < value.norm():
                    break
            scale = max(scale, float(root.norm()))
            if float(step.norm()) < 1e-13 * scale or not trial[0].norm() < value.norm():
                break
            root, (value, slope) = root + share * step, trial
    return root - torch.linalg.solve(slope, residual(root))


def rounded_box_balls(shape: RoundedBox, plane: bool) -> tuple[Tensor, Tensor]:
    """Corners of the core, and points between on its edges; planes meet those of a box's corners only."""
    least = min(shape.core)
    radius = shape.radius or 0.04 * least
    core = [half - (radius - shape.radius) for half in shape.core]
    long = [i for i in range(3) if core[i] > 0.0]
    points = list(itertools.product(*[(-half, half) if half > 0.0 else (0.0,) for half in core]))
    if len(long) == 1:
        count = math.ceil(2.0 * core[long[0]] / radius - 1e-9)
        points += [tuple(core[j] * (2.0 * i / count - 1.0) for j in range(3)) for i in range(1, count)]
    elif not plane:
        for axis in long:
            ends = [(0.0,) if i == axis or core[i] == 0.0 else (-core[i], core[i]) for i in range(3)]
            points += list(itertools.product(*ends))
    return constant(points), constant([radius] * len(points))


def wheel_balls(
    circle: tuple[float, float | Tensor], radius: float, spokes: int, see: Callable[[Tensor], Tensor], hollow: bool = False
) -> tuple[Tensor, Tensor]:
    """Of a circle of a radius at a height z: the ball where the circle is deepest against the normal seen from its centre, near
    the axis where it lies flat, and spokes."""
    R = circle[0]
    center = torch.stack([constant(0.0), constant(0.0), torch.as_tensor(circle[1], dtype=torch.float64)])
    n = see(center[None])[0]
    aside = torch.stack([n[0], n[1], constant(0.0)])
    sine, flat = safe_norm(aside), 1.0 / 128.0
    share = 1.0 / sine if sine.detach() > flat else (3.0 - (sine / flat) ** 2) / (2.0 * flat)
    balls, radii = [center - R * share * aside], [radius - hollow * R * (1.0 - (share * sine) ** 2)]
    sagitta = (1.0 + hollow) * (1.0 - math.cos(math.pi / spokes)) * sine**2 if spokes else 0.0
    for i in range(spokes):
        angle = 2.0 * math.pi * i / spokes
        balls.append(center + R * (1.0 - sagitta) * constant((math.cos(angle), math.sin(angle), 0.0)))
        radii.append(radius - R * sagitta if hollow else constant(radius))
    return torch.stack(balls), torch.stack(radii)


def nearest_of_axis(half: float, see: Callable[[Tensor], Tensor]) -> Tensor:
    """Where between -half and half the z axis is nearest to what is seen: n_z + s / (32 half) = 0, bisected; then Newton's step
    has the root's derivatives."""

    def slope(s: Tensor) -> Tensor:
        return see(torch.stack([torch.zeros_like(s), torch.zeros_like(s), s])[None])[0, 2] + s / (32.0 * half)

    low, high = constant(-half), constant(half)
    with torch.no_grad():
        for end, sign in ((low, 1.0), (high, -1.0)):
            if sign * slope(end) >= 0.0:
                return end
        for _ in range(60):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if slope(middle) < 0.0 else (low, middle)
    with torch.enable_grad():
        root = (0.5 * (low + high)).requires_grad_()
        value = slope(root)
        (derivative,) = torch.autograd.grad(value, root, retain_graph=True)
    return root.detach() - slope(root.detach()) / derivative.detach()


class Pose(NamedTuple):
    """World frames of all links, and the motion columns of all dofs; a dof turns its links about its own link's origin."""

    rotation: Tensor  # (L, 3, 3)
    position: Tensor  # (L, 3)
    angular: Tensor  # (nv, 3)
    linear: Tensor  # (nv, 3)


@dataclass
class Collider:
    """A colliding geometry; ``link`` -1 is the ground's, ``index`` -1 too."""

    index: int
    link: int
    geometry: Geometry
    frame: Tensor  # (3, 3) in the link's
    origin: Tensor  # (3,)

    def balls(self, plane: bool, see: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """Centres (P, 3) and radii (P,) of the balls that stand for the geometry before a surface that is a plane, or none.

        Args:
            see: the surface's unit normals (N, 3) at points (N, 3), all in the geometry's frame.
        """
        shape = self.geometry.shape
        if isinstance(shape, Plane):
            return torch.zeros((0, 3), dtype=torch.float64), torch.zeros(0, dtype=torch.float64)
        if isinstance(shape, RoundedBox):
            return rounded_box_balls(shape, plane)
        if isinstance(shape, Torus):
            spokes = max(8, math.ceil(2.0 * math.pi * shape.major_radius / shape.minor_radius))
            return wheel_balls((shape.major_radius, 0.0), shape.minor_radius, spokes, see, hollow=True)
        if not isinstance(shape, Cylinder):
            raise NotImplementedError(f"the oracle has no contact points of {shape!r}")
        half, circle, radius = shape.half_length - shape.rounding, shape.radius - shape.rounding, shape.rounding
        parts = [wheel_balls((circle, z), radius, 8, see) for z in (-half, half)]
        if not plane:
            between = min(8, math.ceil(2.0 * half / max(circle, radius) - 1e-9) - 1)
            parts += [
                wheel_balls((circle, half * (2.0 * (i + 1) / (between + 1) - 1.0)), radius, 0, see) for i in range(between)
            ]
            parts.append(wheel_balls((circle, nearest_of_axis(half, see)), radius, 0, see))
        return torch.cat([centers for centers, _ in parts]), torch.cat([radii for _, radii in parts])

    def is_sphere(self) -> bool:
        return isinstance(self.geometry.shape, RoundedBox) and not any(self.geometry.shape.core)


class RigidOracle:
    """Articulations and how they meet.

    Args:
        articulations: as a scene declares them.
        ground: None, or the plane's (height m, friction, restitution, stiffness N/m).
        gravity: m/s^2.
        dt: of a substep, seconds.
        contact_stiffness: of geometries that have none, N/m.
        contact_smoothing: d, metres.
        slip_speed: eps, m/s (of a joint's dry friction in the joint's unit).
        restitution_speed: s, m/s.
        integrator: as the simulator's.
    """

    def __init__(
        self,
        articulations: Sequence[Articulation],
        *,
        ground: tuple[float, float, float, float] | None = None,
        gravity: Sequence[float] = (0.0, 0.0, -9.81),
        dt: float = 2e-3,
        contact_stiffness: float = 1e4,
        contact_smoothing: float = 1e-3,
        slip_speed: float = 1e-2,
        restitution_speed: float = 1e-2,
        integrator: str = "midpoint",
    ):
        self.articulations, self.dt, self.d = list(articulations), dt, contact_smoothing
        self.integrator = integrator
        self.slip, self.s, self.contact_stiffness, self.gravity = slip_speed, restitution_speed, contact_stiffness, gravity
        self.links: list[Link] = []
        self.owner: list[Articulation] = []
        self.parent: list[int] = []
        self.q_at: list[int] = []
        self.v_at: list[int] = []
        self.nq = self.nv = 0
        joint_link: dict[tuple[str, str], int] = {}
        for articulation in self.articulations:
            first = len(self.links)
            names = {link.name: first + i for i, link in enumerate(articulation.links)}
            for link in articulation.links:
                joint_link[articulation.name, link.joint.name] = len(self.links)
                self.links.append(link)
                self.owner.append(articulation)
                self.parent.append(-1 if link.parent is None else names[link.parent])
                self.q_at.append(self.nq)
                self.v_at.append(self.nv)
                coordinates, velocities = JOINT_SIZES[link.joint.kind]
                self.nq, self.nv = self.nq + coordinates, self.nv + velocities
        self.dof_link = torch.repeat_interleave(torch.tensor([JOINT_SIZES[link.joint.kind][1] for link in self.links]))
        self.scalar = [i for i, link in enumerate(self.links) if link.joint.kind in ("revolute", "prismatic")]
        self.moves = torch.zeros(len(self.links) + 1, self.nv, dtype=torch.float64)  # whether a dof moves a link, or the world
        self.turns = torch.ones(self.nv, dtype=torch.float64)
        for i, parent in enumerate(self.parent):
            self.moves[i] = self.moves[parent]
            self.moves[i, self.dof_link == i] = 1.0
            if self.links[i].joint.kind == "free":
                self.turns[self.v_at[i] : self.v_at[i] + 3] = 0.0
        self.actuators = [(a, actuator) for a in self.articulations for actuator in a.actuators]
        self.nu = len(self.actuators)
        self.transmission = torch.zeros(self.nu, len(self.links), dtype=torch.float64)
        for row, (articulation, actuator) in enumerate(self.actuators):
            for joint, coefficient in actuator.joints.items():
                self.transmission[row, joint_link[articulation.name, joint]] = coefficient
        self._find_pairs(ground)
        self._declared = self.parameters()
        self._placements = [(constant(x.position), rotation(constant(x.rotation)), constant(x.joint.axis)) for x in self.links]

    # --- what a scene's numbers are ---

    def parameters(self) -> dict:
        """The declared values as fresh tensors: a copy to change, and to differentiate with respect to."""

        def joints(name):
            return constant([getattr(link.joint, name) for link in self.links])

        masses, centers, inertias, carried = [], [], [], []
        for link in self.links:
            own = link.inertia
            R = rotation(constant(own.rotation if own else (1, 0, 0, 0)))
            masses.append(own.mass if own else 0.0)
            carried.append(link.gravity_compensation)
            centers.append(own.center if own else (0.0, 0.0, 0.0))
            inertias.append((R @ torch.diag(constant(own.moments if own else (0.0,) * 3)) @ R.T).numpy())
        # a limit whose stiffness is left to the simulator gets one only through parameters
        limit = [np.nan if link.joint.limit_stiffness is None else link.joint.limit_stiffness for link in self.links]
        geometries = [geometry for link in self.links for geometry in link.geometries]
        stiffness = [self.contact_stiffness if g.stiffness is None else g.stiffness for g in geometries]
        return {
            "gravity": constant(self.gravity),
            "links": {
                "mass": constant(masses),
                "center": constant(centers),
                "inertia": constant(inertias),
                "gravity_compensation": constant(carried),
            },
            "joints": {
                **{name: joints(name) for name in ("damping", "armature", "friction_loss", "spring_stiffness")},
                "limit_stiffness": constant(limit),
            },
            "geometries": {
                "friction": constant([g.friction for g in geometries]),
                "restitution": constant([g.restitution for g in geometries]),
                "stiffness": constant(stiffness),
                "scale": torch.ones(len(geometries), dtype=torch.float64),
            },
            "actuators": {
                "gain": constant([actuator.gain for _, actuator in self.actuators]),
                "damping": constant([actuator.damping for _, actuator in self.actuators]),
            },
            "ground": dict(zip(("height", "friction", "restitution", "stiffness"), map(constant, self.ground), strict=True)),
        }

    def _merged(self, given: Parameters | None) -> dict:
        merged = {group: dict(values) if isinstance(values, dict) else values for group, values in self._declared.items()}
        for group, values in (given or {}).items():
            if isinstance(values, Mapping):
                unknown = set(values) - set(merged[group])
                if unknown:
                    raise KeyError(f"{group} has no {unknown}")
                merged[group].update(values)
            else:
                merged[group] = values
        return merged

    def initial(self) -> tuple[Tensor, Tensor]:
        """q (nq,) and v (nv,) at reset."""
        q = []
        for link in self.links:
            kind = link.joint.kind
            default = {"ball": (1, 0, 0, 0), "free": (*link.position, *link.rotation)}.get(kind, (0.0,) * JOINT_SIZES[kind][0])
            q += default if link.joint.initial is None else link.joint.initial
        return constant(q), torch.zeros(self.nv, dtype=torch.float64)

    # --- motion ---

    def pose(self, q: Tensor) -> Pose:
        """World frames and motion columns at q."""
        rotations: list[Tensor] = []
        positions: list[Tensor] = []
        angular = linear = (torch.zeros(0, 3, dtype=torch.float64),)
        eye = torch.eye(3, dtype=torch.float64)
        none = torch.zeros_like(eye)
        for i, link in enumerate(self.links):
            kind, own = link.joint.kind, q[self.q_at[i] :]
            if self.parent[i] >= 0:
                R, p = rotations[self.parent[i]], positions[self.parent[i]]
            else:
                R, p = rotation(constant(self.owner[i].rotation)), constant(self.owner[i].position)
            offset, turn, axis = self._placements[i]
            p, R = p + R @ offset, R @ turn
            if kind == "free":
                R, p = rotation(own[3:7]), own[:3]
                angular, linear = (*angular, none, R.T), (*linear, eye, none)
            elif kind == "ball":
                R = R @ rotation(own[:4])
                angular, linear = (*angular, R.T), (*linear, none)
            elif kind == "revolute":
                angular, linear = (*angular, (R @ axis)[None]), (*linear, none[:1])
                outer, skew = torch.outer(axis, axis), torch.stack([cross(axis, e) for e in eye]).T
                R = R @ (own[0].cos() * (eye - outer) + own[0].sin() * skew + outer)
            elif kind == "prismatic":
                p = p + own[0] * (R @ axis)
                angular, linear = (*angular, none[:1]), (*linear, (R @ axis)[None])
            rotations.append(R)
            positions.append(p)
        return Pose(torch.stack(rotations), torch.stack(positions), torch.cat(angular), torch.cat(linear))

    def jacobian(self, pose: Pose, links: int | Tensor, x: Tensor) -> Tensor:
        """Of the velocities of the material points at x (P, 3) of links, one or (P,): (P, 3, nv). Link -1 is the world."""
        columns = pose.linear + cross(pose.angular, x[:, None, :] - pose.position[self.dof_link])
        return (columns * self.moves[links][..., None]).transpose(1, 2)

    def center_motion(self, pose: Pose, v: Tensor, center: Tensor) -> tuple[Tensor, ...]:
        """Of all links' centres of mass: places c (L, 3), Jacobians J_c (L, 3, nv) of their velocities and J_w of the angular
        velocities, and (dJ_c / dt) v and (dJ_w / dt) v (L, 3)."""
        links, moves = torch.arange(len(self.links)), self.moves[:-1, :, None]
        c = pose.position + (pose.rotation @ center[..., None])[..., 0]
        J_c, J_w = self.jacobian(pose, links, c), (moves * pose.angular).transpose(1, 2)
        # an axis turns with the link that its joint carries, but for a free joint's world axes
        spin = (J_w @ v)[self.dof_link] * self.turns[:, None]
        angular_rate, linear_rate = cross(spin, pose.angular), cross(spin, pose.linear)
        arm = c[:, None] - pose.position[self.dof_link]
        arm_rate = (J_c @ v)[:, None] - (self.jacobian(pose, links, pose.position) @ v)[self.dof_link]
        J_c_rate = moves * (linear_rate + cross(angular_rate, arm) + cross(pose.angular, arm_rate))
        return c, J_c, J_w, torch.einsum("lji,j->li", J_c_rate, v), torch.einsum("lji,j->li", moves * angular_rate, v)

    def world_inertia(self, pose: Pose, parameters: dict) -> Tensor:
        inertia = parameters["links"]["inertia"]
        if inertia.dim() == 2:
            inertia = inertia[:, torch.tensor(SYMMETRIC)]
        return pose.rotation @ inertia @ pose.rotation.transpose(1, 2)

    def bias(self, pose: Pose, v: Tensor, given: dict) -> Tensor:
        """Inertial forces (nv,) at v without acceleration, gravity left out: quadratic in v."""
        _, J_c, J_w, bias_c, bias_w = self.center_motion(pose, v, given["links"]["center"])
        inertia, omega = self.world_inertia(pose, given), J_w @ v
        torque = (inertia @ bias_w[..., None])[..., 0] + cross(omega, (inertia @ omega[..., None])[..., 0])
        return torch.einsum("l,lik,li->k", given["links"]["mass"], J_c, bias_c) + torch.einsum("lik,li->k", J_w, torque)

    def momentum(self, q: Tensor, v: Tensor, parameters: Parameters | None = None) -> tuple[Tensor, Tensor]:
        """Total momentum (3,) and angular momentum about the world's origin (3,)."""
        given = self._merged(parameters)
        pose, mass = self.pose(q), given["links"]["mass"][:, None]
        c, J_c, J_w, _, _ = self.center_motion(pose, v, given["links"]["center"])
        p = mass * (J_c @ v)
        spin = self.world_inertia(pose, given) @ (J_w @ v)[..., None]
        return p.sum(0), (cross(c, p) + spin[..., 0]).sum(0)

    def integrate(self, q: Tensor, v: Tensor, h: float | Tensor) -> Tensor:
        """q (+) h v."""
        parts = []
        for i, link in enumerate(self.links):
            kind, a, b = link.joint.kind, self.q_at[i], self.v_at[i]
            if kind == "free":
                parts.append(q[a : a + 3] + h * v[b : b + 3])
                a, b = a + 3, b + 3
            if kind in ("ball", "free"):
                turned = product(q[a : a + 4], exponential(h * v[b : b + 3]))
                parts.append(turned / turned.square().sum().sqrt())
            elif kind != "fixed":
                parts.append(q[a : a + 1] + h * v[b : b + 1])
        return torch.cat(parts)

    # --- forces: each adds to A = M + h D and to the force at the old velocity ---

    def joint_forces(self, q: Tensor, v: Tensor, u: Tensor, given: dict) -> tuple[Tensor, Tensor]:
        """D (nv, nv) and tau - with a force tau0 - D v+ - at v: (nv,)."""
        joints = given["joints"]
        rates = joints["damping"][self.dof_link]
        D, tau = torch.diag(rates), -rates * v
        unit = torch.eye(self.nv, dtype=torch.float64)
        for i in self.scalar:
            joint, x, k = self.links[i].joint, q[self.q_at[i]], self.v_at[i]
            tau = tau - unit[k] * joints["spring_stiffness"][i] * (x - joint.spring_rest)
            for sign, bound in zip((1.0, -1.0), joint.limits or (), strict=False):
                phi = sign * (x - bound)
                if phi.detach() > REACH * joint.limit_smoothing:
                    continue
                k_limit, d = joints["limit_stiffness"][i], joint.limit_smoothing
                mean, damping = compliant_law(phi, sign * v[k], k_limit, d, 0.0, self.s)
                tau = tau + unit[k] * (sign * mean - damping * v[k])
                D = D + damping * torch.outer(unit[k], unit[k])
        for row, (_, actuator) in enumerate(self.actuators):
            gain, damping = given["actuators"]["gain"][row], given["actuators"]["damping"][row]
            coefficients = self.transmission[row]
            arm = sum(coefficients[i] * unit[self.v_at[i]] for i in self.scalar)
            length = sum(coefficients[i] * q[self.q_at[i]] for i in self.scalar)
            control = actuator.control_scale * u[row].clamp(*actuator.control_limits)
            rate = {"torque": 0.0 * gain, "position": damping, "velocity": gain + damping}[actuator.kind]
            force = gain * (control - length if actuator.kind == "position" else control) - rate * (arm @ v)
            low, high = actuator.force_limits
            if low < force.detach() < high:
                D = D + rate * torch.outer(arm, arm)
            tau = tau + arm * force.clamp(low, high)
        return D, tau

    def _find_pairs(self, ground: tuple[float, float, float, float] | None) -> None:
        """Directed pairs of colliders: points of the one against the distance of the other."""
        fixed = [not self.moves[i].any() for i in range(len(self.links))]
        top = list(range(len(self.links)))  # links on fixed joints are one with what carries them
        for i, link in enumerate(self.links):
            top[i] = top[self.parent[i]] if link.joint.kind == "fixed" and self.parent[i] >= 0 else i
        carrier = [top[self.parent[i]] if self.parent[i] >= 0 else -1 for i in top]
        colliders, index = [], -1
        for i, link in enumerate(self.links):
            for geometry in link.geometries:
                index += 1
                if geometry.collides:
                    frame, origin = rotation(constant(geometry.rotation)), constant(geometry.position)
                    colliders.append(Collider(index, i, geometry, frame, origin))
        self.pairs: list[tuple[Collider, Collider]] = []
        for j, b in enumerate(colliders):
            for a in colliders[:j]:
                groups = a.geometry.collision_group & b.geometry.collision_mask
                groups |= b.geometry.collision_group & a.geometry.collision_mask
                one, other, owner = a.link, b.link, self.owner[a.link]
                kin = top[one] == top[other] or carrier[one] == top[other] or carrier[other] == top[one]
                names = {self.links[one].name, self.links[other].name}
                excluded = not owner.self_collisions or names in map(set, owner.excluded)
                if kin or (excluded and owner is self.owner[other]) or not groups or (fixed[one] and fixed[other]):
                    continue
                if a.is_sphere() or not b.is_sphere():
                    self.pairs.append((a, b))
                if not a.is_sphere():
                    self.pairs.append((b, a))
        self.ground = (0.0,) * 4 if ground is None else tuple(ground)
        if ground is not None:
            plane = Collider(-1, -1, Geometry(Plane()), torch.eye(3, dtype=torch.float64), constant((0.0, 0.0, 0.0)))
            self.pairs += [(a, plane) for a in colliders if not fixed[a.link]]

    def _placed(self, pose: Pose, collider: Collider, given: dict) -> tuple[Tensor, Tensor]:
        if collider.link < 0:
            return collider.frame, given["ground"]["height"] * constant((0.0, 0.0, 1.0))
        R = pose.rotation[collider.link]
        return R @ collider.frame, pose.position[collider.link] + R @ collider.origin

    def _property(self, collider: Collider, name: str, given: dict) -> Tensor:
        return given["ground"][name] if collider.link < 0 else given["geometries"][name][collider.index]

    def _reach(self, a: Collider, b: Collider, pose: Pose, v: Tensor, x: Tensor) -> Tensor | float:
        """Gaps beyond which points at x (P, 3) are left out: of implicit contact those that cannot close in the substep."""
        if self.d > 0.0:
            return REACH * self.d
        return 4.0 * self.dt * (self.jacobian(pose, a.link, x) - self.jacobian(pose, b.link, x)).matmul(v).norm(dim=-1) + 1e-3

    @staticmethod
    def _seen(shape: Shape, frames: tuple[Tensor, ...], points: Tensor) -> Tensor:
        """Normals (N, 3) of geometry b's surface at points (N, 3), all in the frame of geometry a."""
        scale_a, p_a, R_a, scale_b, p_b, R_b = frames
        y = (p_a + (scale_a * points) @ R_a.T - p_b) @ R_b / scale_b
        return distance_and_gradient(shape, y)[1] @ R_b.T @ R_a

    def contacts(self, pose: Pose, given: dict, v: Tensor) -> list[tuple[Collider, Collider, Tensor, Tensor, Tensor]]:
        """For each pair within reach (a, b, gaps (P,), normals (P, 3) towards a, contact points (P, 3))."""
        found = []
        for a, b in self.pairs:
            scale_a = self._property(a, "scale", given)
            scale_b = constant(1.0) if b.link < 0 else self._property(b, "scale", given)
            (R_a, p_a), (R_b, p_b) = self._placed(pose, a, given), self._placed(pose, b, given)
            frames = (scale_a, p_a, R_a, scale_b, p_b, R_b)
            points, radii = a.balls(isinstance(b.geometry.shape, Plane), partial(self._seen, b.geometry.shape, frames))
            x, radii = p_a + (scale_a * points) @ R_a.T, scale_a * radii
            y = (x - p_b) @ R_b / scale_b
            near = (scale_b * shape_distance(b.geometry.shape, y) - radii).detach() <= self._reach(a, b, pose, v, x)
            if not near.any():
                continue
            sdf, gradient = distance_and_gradient(b.geometry.shape, y[near])
            normal = gradient @ R_b.T
            found.append((a, b, scale_b * sdf - radii[near], normal, x[near] - radii[near][:, None] * normal))
        return found

    def contact_forces(self, found: list, v: Tensor, new: Tensor, given: dict) -> Tensor:
        """The contacts' generalized force (nv,) at the old velocities v and the new ones, as docs/rigid.md has it."""
        tau = torch.zeros(self.nv, dtype=torch.float64)
        for (a, b, phi, n, _x), J in found:
            friction, restitution = (
                0.5 * (self._property(a, name, given) + self._property(b, name, given)) for name in ("friction", "restitution")
            )
            k_a, k_b = self._property(a, "stiffness", given), self._property(b, "stiffness", given)
            k = 2.0 * k_a * k_b / (k_a + k_b)
            rate, u = (n * (J @ v)).sum(-1), J @ new
            nu = (n * u).sum(-1)
            if self.d > 0.0:
                mean, damping = compliant_law(phi, rate, k, self.d, restitution, self.s)
                normal, bound = mean - damping * nu, mean - damping * rate
            else:
                closed_in, opened_in = 5.0 * self.dt, self.dt  # the time to undo a penetration, and to close a gap
                target = torch.where(phi < 0.0, -phi / closed_in, -phi / opened_in)
                struck = (rate < -self.s) & (phi + self.dt * rate <= 0.0)
                target = torch.where(struck, torch.maximum(target, -restitution * rate), target)
                normal = bound = (k * closed_in * (target - nu)).clamp_min(0.0)
            slip = u - nu[:, None] * n
            drag = friction * bound / (slip.square().sum(-1) + self.slip**2).sqrt()
            tau = tau + torch.einsum("pik,pi->k", J, normal[:, None] * n - drag[:, None] * slip)
        return tau

    def dry_friction(self, new: Tensor, given: dict) -> Tensor:
        return -given["joints"]["friction_loss"][self.dof_link] * new / (new.square() + self.slip**2).sqrt()

    # --- a substep ---

    def acceleration(self, q: Tensor, v: Tensor, u: Tensor | None = None, external: Tensor | None = None,
                     parameters: Parameters | None = None) -> Tensor:  # fmt: skip
        """a (nv,) of the substep's equation."""
        given = self._merged(parameters)
        u = torch.zeros(self.nu, dtype=torch.float64) if u is None else u
        pose, mass = self.pose(q), given["links"]["mass"]
        _, J_c, J_w, _, _ = self.center_motion(pose, v, given["links"]["center"])
        inertia = self.world_inertia(pose, given)
        M = torch.einsum("l,lik,lij->kj", mass, J_c, J_c) + torch.einsum("lik,lij,ljm->km", J_w, inertia, J_w)
        M = M + torch.diag(given["joints"]["armature"][self.dof_link])
        bias, unit = (lambda x: self.bias(pose, x, given)), torch.eye(self.nv, dtype=torch.float64)
        weighed = mass * (1.0 - given["links"]["gravity_compensation"])
        c = bias(v) - torch.einsum("l,lik,i->k", weighed, J_c, given["gravity"])
        if self.integrator == "midpoint":  # the column of B(v, .) for each dof: B(v, w) = (c(v + w) - c(v - w)) / 4
            C = torch.stack([0.25 * (bias(v + e) - bias(v - e)) for e in unit], dim=1)
            M = M + self.dt * C
        D_joint, tau_joint = self.joint_forces(q, v, u, given)
        right, A = tau_joint - c + (0.0 if external is None else external), M + self.dt * D_joint
        found = []
        for contact in self.contacts(pose, given, v):
            a, b, _phi, _n, x = contact
            found.append((contact, self.jacobian(pose, a.link, x) - self.jacobian(pose, b.link, x)))

        def residual(a: Tensor) -> Tensor:
            new = v + self.dt * a
            return right - A @ a + self.contact_forces(found, v, new, given) + self.dry_friction(new, given)

        root, slip = torch.zeros_like(v.detach()), self.slip
        for coarse in (16.0**n for n in range(10, -10, -1)):  # friction is all but a step: from a smooth one to it
            if coarse > slip and coarse < 1.0:
                self.slip = coarse
                root = solved(residual, root).detach()
        self.slip = slip
        return solved(residual, root)

    def substep(self, q: Tensor, v: Tensor, u: Tensor | None = None, external: Tensor | None = None,
                parameters: Parameters | None = None) -> tuple[Tensor, Tensor]:  # fmt: skip
        """q+ (nq,) and v+ (nv,) after one substep.

        Args:
            q, v: (nq,), (nv,).
            u: the actions (nu,); None: zero.
            external: generalized force (nv,).
            parameters: some of those of `parameters()`, in the same nesting; an inertia is (L, 3, 3) or (L, 6) as xx, yy, zz,
                yz, xz, xy.
        """
        part = 0.5 if self.integrator == "midpoint" else 1.0
        at = self.integrate(q, v, (1.0 - part) * self.dt) if part < 1.0 else q
        new = v + self.dt * self.acceleration(at, v, u, external, parameters)
        return self.integrate(at, new, part * self.dt), new

    def rollout(self, q: Tensor, v: Tensor, controls: Tensor, substeps: int = 1, external: Tensor | None = None,
                parameters: Parameters | None = None) -> tuple[Tensor, Tensor]:  # fmt: skip
        """States before and after each of the controls (T, nu), each held for ``substeps``: (T + 1, nq), (T + 1, nv)."""
        qs, vs = [q], [v]
        for u in controls:
            for _ in range(substeps):
                q, v = self.substep(q, v, u, external, parameters)
            qs.append(q)
            vs.append(v)
        return torch.stack(qs), torch.stack(vs)
