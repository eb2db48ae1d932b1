"""What `Simulator` asks of its settings, and of the states and actions that it is given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from diffsim.checks.memory import check_memory
from diffsim.errors import InputError
from diffsim.rigid.time_stepping import INTEGRATORS
from diffsim.scene.scene import Scene
from diffsim.scene.validation import check_positive_integer, is_number
from diffsim.state import State

DT = (1e-9, 10.0)  # s, the shortest and the longest substep
NODES = 2**29  # of a grid: the kernels count their numbers, four each, in 32 bits
PARTICLE = 25  # numbers of a particle in a state
ZERO = 1e-9  # length of a quaternion that has no direction


def check_settings(scene: Scene, num_envs: int, dt: float, substeps: int, dtype: torch.dtype, integrator: str) -> None:
    """The simulator's arguments but the device.

    Raises:
        InputError: one is wrong, or cannot fit this machine's memory.
    """
    if not isinstance(scene, Scene):
        raise InputError(f"scene must be a diffsim.Scene, got {scene!r}")
    for name, value in (("num_envs", num_envs), ("substeps", substeps)):
        check_positive_integer(name, value)
    if not is_number(dt) or not DT[0] <= dt <= DT[1]:
        allowed = "a positive number of seconds" if not is_number(dt) or dt <= 0.0 else f"from {DT[0]:g} to {DT[1]:g} s"
        raise InputError(f"dt must be {allowed}, got {dt!r}")
    if dtype not in (torch.float32, torch.float64):
        raise InputError(f"dtype must be torch.float32 or torch.float64, got {dtype!r}")
    if not isinstance(integrator, str) or integrator not in INTEGRATORS:
        raise InputError(f"integrator must be one of {', '.join(INTEGRATORS)}, got {integrator!r}")
    _check_size(scene, num_envs, substeps, dtype.itemsize)


def _check_size(scene: Scene, num_envs: int, substeps: int, itemsize: int) -> None:
    """That the grid, the states and a control step are of a size that can be."""
    particles = 0
    if scene.soft_bodies:
        edges = np.subtract(scene.upper, scene.lower)
        nodes = float(np.prod(np.ceil(edges / scene.grid_spacing)))
        domain = " x ".join(f"{edge:g}" for edge in edges)
        given = f"grid_spacing={scene.grid_spacing!r} in a domain of {domain} m (upper={scene.upper})"
        check_memory(given, 4.0 * nodes * itemsize, f"a grid of {nodes:.3g} nodes")
        if nodes > NODES:
            raise InputError(
                f"{given} makes a grid of {nodes:.3g} nodes ({4.0 * nodes * itemsize / 1e9:.3g} GB); at most {NODES}"
            )
        for body in scene.soft_bodies:
            particles += body.particles
            check_memory(
                f"particles={body.particles} of SoftBody '{body.name}'", PARTICLE * body.particles * itemsize, "a state"
            )
    links = [link for articulation in scene.moving_articulations for link in articulation.links]
    dofs = sum(link.joint.type.dofs for link in links)
    check_memory(f"rigid_bodies and articulations of {dofs} degrees of freedom", 2.0 * dofs**2 * itemsize, "their mass matrix")
    numbers = PARTICLE * particles + 7 * len(scene.tools) + sum(link.joint.type.coordinates for link in links) + dofs
    check_memory(f"num_envs={num_envs}", 2.0 * num_envs * numbers * itemsize, "the states before and after a step")
    check_memory(f"substeps={substeps}", float(substeps) * numbers * itemsize, "the substeps of a control step")


class StateChecks:
    """Shapes, dtypes and values of the states of one simulator.

    Args:
        particles, tools, coordinates, dofs: how many the scene has.
        wrenches: how many are recorded. A state without them (of a file, say) will do: no step reads them.
        quaternions: where those of ball and free joints begin in ``state.q``.
    """

    def __init__(
        self,
        *,
        particles: int,
        tools: int,
        coordinates: int,
        dofs: int,
        wrenches: int,
        quaternions: Sequence[int],
        dtype: torch.dtype,
        device: str,
    ):
        self._shapes = {
            "x": (particles, 3),
            "v": (particles, 3),
            "C": (particles, 3, 3),
            "F": (particles, 3, 3),
            "internal_variable": (particles,),
            "tool_position": (tools, 3),
            "tool_rotation": (tools, 4),
            "q": (coordinates,),
            "qd": (dofs,),
            "contact_wrench": (wrenches, 6),
        }
        self._quaternions = torch.tensor([[at + i for i in range(4)] for at in quaternions], dtype=torch.int64, device=device)
        self._dtype, self._device = dtype, device

    def check(self, state: State) -> None:
        """A state before a step.

        Raises:
            InputError: it is no State of the scene, not finite, or holds a quaternion of zeros.
        """
        check_state(state)
        batch = state.num_envs
        for name, rest in self._shapes.items():
            tensor, shape = getattr(state, name), (batch, *rest)
            if name == "contact_wrench" and isinstance(tensor, Tensor) and not tensor.numel():
                continue
            if not isinstance(tensor, Tensor):
                raise InputError(f"state.{name} must be a torch tensor, got {tensor!r}")
            if tuple(tensor.shape) != shape or tensor.dtype != self._dtype or tensor.device.type != self._device:
                raise InputError(
                    f"state.{name} must be {self._dtype} of shape {shape} on the {self._device}, "
                    f"got {tensor.dtype} {tuple(tensor.shape)} on {tensor.device}"
                )
        tools = ("tool_position", "tool_rotation") if self._shapes["tool_position"][0] else ()
        for name in ("q", "qd", *tools):
            if not torch.isfinite(getattr(state, name)).all():
                raise InputError(f"state.{name} must be finite, got {getattr(state, name).tolist()}")
        if tools:
            self._check_quaternions("tool_rotation", state.tool_rotation)
        if len(self._quaternions):
            self._check_quaternions("q", state.q[:, self._quaternions])

    @staticmethod
    def _check_quaternions(name: str, quaternions: Tensor) -> None:
        zero = quaternions.detach().abs().amax(dim=-1) < ZERO
        if zero.any():
            environment = int(zero.nonzero()[0, 0])
            raise InputError(
                f"state.{name} must hold no quaternion of zeros, got {quaternions[environment].tolist()} in environment "
                f"{environment}"
            )

    def check_action(self, action: Tensor, batch: int, width: int) -> None:
        """An action (B, width) of a batch of so many environments.

        Raises:
            InputError: it is something else, or not finite.
        """
        if not isinstance(action, Tensor):
            raise InputError(f"action must be a torch tensor, got {action!r} ({type(action).__name__})")
        if tuple(action.shape) != (batch, width):
            raise InputError(f"action must have shape {(batch, width)} (environments, action_dim), got {tuple(action.shape)}")
        self._check_numbers("action", action)
        check_finite(action[None])

    def check_actions(self, actions: Tensor, batch: int, width: int) -> None:
        """Actions (T, B, width) of a rollout, but whether they are finite.

        Raises:
            InputError: they are something else.
        """
        if not isinstance(actions, Tensor):
            raise InputError(f"actions must be a torch tensor, got {actions!r} ({type(actions).__name__})")
        if actions.ndim != 3 or tuple(actions.shape[1:]) != (batch, width):
            raise InputError(f"actions must have shape (steps, {batch}, {width}), got {tuple(actions.shape)}")
        self._check_numbers("actions", actions)

    def _check_numbers(self, name: str, tensor: Tensor) -> None:
        if tensor.device.type != self._device:
            raise InputError(f"{name} must be on the {self._device}, got {tensor.device}")
        if tensor.dtype != self._dtype:
            raise InputError(f"{name} must be {self._dtype}, got {tensor.dtype}")


def check_state(state: State) -> None:
    """That something is a State of some environments, no stack.

    Raises:
        InputError: it is something else.
    """
    if not isinstance(state, State):
        raise InputError(f"state must be a diffsim.State, got {state!r}")
    steps = state.time_step
    if not isinstance(steps, Tensor) or steps.dtype != torch.int64 or steps.ndim != 1:
        given = f"{steps.dtype} {tuple(steps.shape)}" if isinstance(steps, Tensor) else repr(steps)
        raise InputError(f"state.time_step must be torch.int64 of shape (environments,), got {given}")


def check_finite(actions: Tensor) -> None:
    """Actions (T, B, A).

    Raises:
        InputError: they are not finite.
    """
    if not torch.isfinite(actions).all():
        step, environment = torch.nonzero(~torch.isfinite(actions).all(dim=2))[0].tolist()
        raise InputError(
            f"action must be finite, got {actions[step, environment].tolist()} in environment {environment}, step {step} of "
            "the actions"
        )
