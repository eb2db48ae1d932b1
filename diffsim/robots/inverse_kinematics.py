"""Control of an arm by the pose of one of its links: differentiable inverse kinematics, and actions made of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from diffsim.errors import InputError
from diffsim.rigid.joint_info import drivers_of, joints_of
from diffsim.rigid.rigid_records import SLIDE
from diffsim.scene.rotations import quaternion_exponential, quaternion_to_matrix, rotation_vectors
from diffsim.scene.scene import Vector3
from diffsim.scene.validation import check_count, number, vector
from diffsim.simulator import Simulator
from diffsim.state import State

LARGEST_MOVE = 1.0  # of a joint in an iteration, rad or m: the linearisation holds no farther


class EndEffector:
    """Inverse kinematics of a link of an articulation.

    Args:
        simulator: of a scene with the articulation.
        link: "<articulation>.<link>".
        joints: names of the joints to move, revolute or prismatic ones above the link in its articulation, "<joint>" or
            "<articulation>.<joint>". None: all of them, the root's first.
        point: the point that is controlled, in the link's frame, metres.
        damping: of `joint_velocities`: motions whose singular value of the Jacobian (m or rad per joint unit) is below it fade.
        iterations: of `solve`.

    Raises:
        InputError: there is no such link, a joint is not one of those above it, none is, or a number is out of range.
    """

    def __init__(
        self,
        simulator: Simulator,
        link: str,
        joints: Sequence[str] | None = None,
        *,
        point: Vector3 = (0.0, 0.0, 0.0),
        damping: float = 0.05,
        iterations: int = 30,
    ):
        if not isinstance(simulator, Simulator):
            raise InputError(
                f"EndEffector: simulator must be a diffsim.Simulator, got {type(simulator).__name__} {simulator!r}"
            )
        self.link_index = simulator.link_index(link)
        self.damping = number("EndEffector", "damping", damping, 1e-9)
        check_count("EndEffector: iterations", iterations, 1)
        self.iterations = iterations
        self._simulator = simulator
        self._like: dict[str, Any] = {"dtype": simulator.dtype, "device": simulator.device}
        self._point = torch.tensor(vector("EndEffector", "point", point), **self._like)
        above = self._above(self.link_index)
        if joints is not None:
            above = self._chosen(joints, above, link)
        if not above:
            raise InputError(f"EndEffector: link '{link}' has no revolute or prismatic joint above it")
        links = [simulator.link_infos[i] for i in above]
        self._indices = above
        self.joints = tuple(each.joint.name for each in links)
        self._coordinates = [each.coordinates.start for each in links]
        self._axes = self._tensor([each.joint.type.link_axis(each.joint).tolist() for each in links])  # type: ignore[union-attr]
        sliding = [each.joint.type.motions[0] == SLIDE for each in links]
        self._sliding = torch.tensor(sliding, device=simulator.device)[:, None]
        infinite = (-float("inf"), float("inf"))
        self._low, self._high = self._tensor([each.joint.limits or infinite for each in links]).unbind(-1)

    @property
    def _articulation(self) -> str:
        return self._simulator.link_infos[self.link_index].articulation or ""

    def _tensor(self, values: object) -> Tensor:
        return torch.tensor(values, **self._like)

    def _above(self, number: int) -> list[int]:
        """Links from the root to link ``number``, the root first, whose joints only turn about or slide along one axis."""
        found = []
        links = self._simulator.link_infos
        while number:
            if links[number].joint.type.link_axis(links[number].joint) is not None:
                found.append(number)
            number = links[number].parent
        return found[::-1]

    def _chosen(self, joints: Sequence[str], above: list[int], link: str) -> list[int]:
        articulation = self._articulation
        names = {self._simulator.link_infos[i].joint.name: i for i in above}
        chosen = []
        if not isinstance(joints, str | Sequence):
            raise InputError(f"EndEffector: joints must be names of joints, got {joints!r}")
        for name in (joints,) if isinstance(joints, str) else joints:
            if not isinstance(name, str):
                raise InputError(f"EndEffector: joints must be names of joints, got {name!r}")
            joint = name.removeprefix(f"{articulation}.")
            if joint not in names:
                raise InputError(
                    f"EndEffector: joints must be revolute or prismatic ones above link '{link}', got '{name}'; allowed: "
                    f"{', '.join(names) or 'none'}"
                )
            if names[joint] in chosen:
                raise InputError(f"EndEffector: joints must differ, got '{name}' twice")
            chosen.append(names[joint])
        return chosen

    def pose(self, state: State) -> tuple[Tensor, Tensor]:
        """Position of the point (B, 3), m, and rotation matrix of the link (B, 3, 3) in the world; differentiable."""
        position, rotation, _ = self._kinematics(state, state.q)
        return position, rotation

    def joint_coordinates(self, state: State) -> Tensor:
        """The joints' coordinates (B, n), m or rad."""
        return state.q[:, self._coordinates]

    def jacobian(self, state: State) -> Tensor:
        """The point's velocity (3 rows, m/s) and the link's angular velocity (3 rows, rad/s), both in the world's frame, by the
        joints' velocities: (B, 6, n). Differentiable in ``state.q``."""
        return self._kinematics(state, state.q)[2]

    def solve(self, state: State, position: Tensor, rotation: Tensor | None = None) -> Tensor:
        """Joint coordinates that bring the link to a pose, or as near to it as the joints and their limits allow.

        Levenberg-Marquardt from the state's coordinates, whose other ones stay, with half the error's norm as damping: still
        quadratic where the pose can be attained (Fan and Yuan 2005), and above the error's curvature where it cannot, so that
        it converges. A joint at a limit stays there while the error's gradient points beyond it. An error of 1 m counts as much
        as one of 1 rad. Differentiable in the pose and in ``state.q``, through the iterations: so the derivatives are those
        of what is returned, whether or not the pose can be attained, and those of the spare joints of a redundant arm too.

        Args:
            position: of the point in the world, m, (B, 3).
            rotation: of the link in the world, matrices (B, 3, 3) or quaternions (w, x, y, z) (B, 4). None: any.

        Returns:
            (B, n), m or rad, in the order of ``joints``.

        Raises:
            InputError: an argument's shape or dtype is wrong, or it is not finite.
        """
        position, rotation = self._target(state, position, rotation)
        x = torch.minimum(torch.maximum(self.joint_coordinates(state), self._low), self._high)
        least = torch.finfo(x.dtype).eps  # keeps the least squares regular at a singular pose without error
        for _ in range(self.iterations):
            error, jacobian = self._error(state, x, position, rotation)
            gradient = (jacobian.transpose(1, 2) @ error[..., None]).squeeze(-1)
            at_limit = ((x >= self._high) & (gradient > 0.0)) | ((x <= self._low) & (gradient < 0.0))
            damping = 0.5 * (error.square().sum(dim=1, keepdim=True) + least).sqrt()
            move = _damped(jacobian * (~at_limit)[:, None], error, damping)
            move = move * (LARGEST_MOVE / move.abs().amax(dim=1, keepdim=True).clamp_min(LARGEST_MOVE))
            x = torch.minimum(torch.maximum(x + move, self._low), self._high)
        return x

    def joint_velocities(self, state: State, velocity: Tensor, angular_velocity: Tensor | None = None) -> Tensor:
        """Joint velocities (B, n), m/s or rad/s, that give the link a twist, by damped least squares; limits are ignored.

        Args:
            velocity: of the point in the world's frame, m/s, (B, 3).
            angular_velocity: of the link in the world's frame, rad/s, (B, 3). None: any.

        Raises:
            InputError: an argument's shape or dtype is wrong, or it is not finite.
        """
        self._check(state, "velocity", velocity, (3,))
        jacobian = self.jacobian(state)
        if angular_velocity is None:
            return _damped(jacobian[:, :3], velocity, torch.full_like(velocity[:, :1], self.damping**2))
        self._check(state, "angular_velocity", angular_velocity, (3,))
        twist = torch.cat([velocity, angular_velocity], dim=1)
        return _damped(jacobian, twist, torch.full_like(velocity[:, :1], self.damping**2))

    def displaced(self, state: State, coordinates: Tensor, move: Tensor, turn: Tensor | None = None) -> Tensor:
        """Joint coordinates (B, n) at which the link stands displaced from where it stands at ``coordinates`` (B, n).

        Two steps of damped least squares (Wampler 1986), within the joints' limits: the first is as long as the Jacobian says,
        the second makes up for its curvature and, away from singular poses, for the damping. Differentiable.

        Args:
            state: of all that is above the joints.
            move: of the point in the world's frame, m, (B, 3).
            turn: of the link, rotation vectors in the world's frame, rad, (B, 3). None: any rotation.

        Raises:
            InputError: an argument's shape or dtype is wrong, or it is not finite.
        """
        self._check(state, "coordinates", coordinates, (len(self.joints),))
        self._check(state, "move", move, (3,))
        place, axes, _ = self._kinematics(state, self._with(state, coordinates))
        rotation = None
        if turn is not None:
            self._check(state, "turn", turn, (3,))
            rotation = quaternion_to_matrix(quaternion_exponential(turn)) @ axes
        damping = torch.full_like(move[:, :1], self.damping**2)
        x = coordinates
        for _ in range(2):
            error, jacobian = self._error(state, x, place + move, rotation)
            x = torch.minimum(torch.maximum(x + _damped(jacobian, error, damping), self._low), self._high)
        return x

    def action(self, state: State, position: Tensor, rotation: Tensor | None = None, *, others: Tensor | None = None) -> Tensor:
        """An action whose position actuators drive the joints to what `solve` returns.

        Args:
            position, rotation: as of `solve`.
            others: the action (B, action_dim) whose remaining entries are kept. None: zeros.

        Raises:
            InputError: a joint has no position actuator of its own, or as `solve`.
        """
        return self.action_for(self.solve(state, position, rotation), others=others)

    def action_for(self, targets: Tensor, kind: str = "position", *, others: Tensor | None = None) -> Tensor:
        """An action (B, action_dim) that sets ``targets`` (B, n) of the joints' actuators: what `solve` returns for "position"
        actuators, or what `joint_velocities` returns for "velocity" ones.

        Raises:
            InputError: a joint has no actuator of that kind that drives it alone, or a shape is wrong.
        """
        if kind not in ("position", "velocity"):
            raise InputError(f"kind must be 'position' or 'velocity', got {kind!r}")
        if not isinstance(targets, Tensor):
            raise InputError(f"targets must be a torch tensor (environments, {len(self.joints)}), got {targets!r}")
        if targets.ndim != 2 or targets.shape[1] != len(self.joints):
            raise InputError(f"targets must have shape (environments, {len(self.joints)}), got {tuple(targets.shape)}")
        places, factors = self._actuators(kind)
        shape = (len(targets), self._simulator.action_dim)
        if others is None:
            others = targets.new_zeros(shape)
        elif tuple(others.shape) != shape or others.dtype != targets.dtype:
            raise InputError(f"others must be {targets.dtype} of shape {shape}, got {others.dtype} {tuple(others.shape)}")
        index = torch.tensor(places, device=targets.device).expand(len(targets), -1)
        return others.scatter(1, index, targets * self._tensor(factors))

    def _actuators(self, kind: str) -> tuple[list[int], list[float]]:
        """Indices in an action of the joints' actuators, and the factors from their targets to it."""
        name = self._articulation
        drivers = drivers_of(joints_of(name, self._simulator.link_infos, self._simulator.scene), kind)
        for joint in self.joints:
            if joint not in drivers:
                raise InputError(
                    f"joint '{name}.{joint}' has no {kind} actuator that drives it alone; joints that have one: "
                    f"{', '.join(drivers) or 'none'}"
                )
        chosen = [drivers[joint] for joint in self.joints]
        return [driver.index for driver in chosen], [driver.factor for driver in chosen]

    def _kinematics(self, state: State, q: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The point's position, the link's rotation, and the Jacobian."""
        links = self._simulator.links(state.replace(q=q, qd=torch.zeros_like(state.qd)))
        rotation = links.rotation[:, self.link_index]
        position = links.position[:, self.link_index] + rotation @ self._point
        axes = (links.rotation[:, self._indices] @ self._axes[..., None]).squeeze(-1)
        arms = position[:, None] - links.position[:, self._indices]
        linear = torch.where(self._sliding, axes, torch.linalg.cross(axes, arms))
        angular = torch.where(self._sliding, torch.zeros_like(axes), axes)
        return position, rotation, torch.cat([linear, angular], dim=-1).transpose(1, 2)

    def _with(self, state: State, x: Tensor) -> Tensor:
        """All coordinates of the state, but for the joints' (B, n)."""
        return state.q.scatter(1, torch.tensor(self._coordinates, device=x.device).expand(len(x), -1), x)

    def _error(self, state: State, x: Tensor, position: Tensor, rotation: Tensor | None) -> tuple[Tensor, Tensor]:
        """What is missing, (B, 3 or 6), and the rows of the Jacobian for it."""
        now, turned, jacobian = self._kinematics(state, self._with(state, x))
        if rotation is None:
            return position - now, jacobian[:, :3]
        return torch.cat([position - now, rotation_vectors(rotation @ turned.transpose(1, 2))], dim=1), jacobian

    def _check(self, state: State, name: str, value: Tensor, *shapes: tuple[int, ...]) -> None:
        allowed = [(state.num_envs, *shape) for shape in shapes]
        if not isinstance(value, Tensor) or tuple(value.shape) not in allowed or value.dtype != self._simulator.dtype:
            found = f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else f"{type(value).__name__} {value!r}"
            raise InputError(f"{name} must be {self._simulator.dtype} of shape {' or '.join(map(str, allowed))}, got {found}")
        if not torch.isfinite(value).all():
            raise InputError(f"{name} must be finite, got {value.detach().tolist()}")

    def _target(self, state: State, position: Tensor, rotation: Tensor | None) -> tuple[Tensor, Tensor | None]:
        self._check(state, "position", position, (3,))
        if rotation is None:
            return position, None
        self._check(state, "rotation", rotation, (4,), (3, 3))
        if rotation.ndim == 3:
            return position, rotation
        if bool((rotation.detach().norm(dim=1) < 1e-9).any()):
            raise InputError(f"rotation must hold no zero quaternion, got {rotation.detach().tolist()}")
        return position, quaternion_to_matrix(rotation / rotation.norm(dim=-1, keepdim=True))


def _damped(jacobian: Tensor, error: Tensor, damping: Tensor) -> Tensor:
    """x of least |J x - e|^2 + damping |x|^2; J (B, m, n), e (B, m), damping (B, 1) -> (B, n)."""
    count = jacobian.shape[1]
    eye = torch.eye(count, dtype=jacobian.dtype, device=jacobian.device)
    gram = jacobian @ jacobian.transpose(1, 2) + damping[..., None] * eye
    return (jacobian.transpose(1, 2) @ torch.linalg.solve(gram, error[..., None])).squeeze(-1)
