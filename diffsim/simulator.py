"""The compiled simulator of one scene."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from diffsim import runtime
from diffsim.bridge import soft_step
from diffsim.errors import InputError
from diffsim.kinematics import ColliderMotion, ToolKinematics
from diffsim.materials import Liquid
from diffsim.parameters import ScenePhysics
from diffsim.scene import Scene
from diffsim.solvers.mpm.memory import BODIES, BODY
from diffsim.solvers.mpm.solver import MPMSolver
from diffsim.state import State

logger = logging.getLogger(__name__)

# explicit MPM with quadratic splines was stable up to about 0.7 in `tests/diffsim/test_physics.py`'s bar; strain adds to it
LARGEST_COURANT_NUMBER = 0.5
# explicit viscosity: noise in a block decays at 0.3 and grows at 0.4
LARGEST_VISCOUS_NUMBER = 0.2


class Simulator:
    """Differentiable simulator of a batch of environments with the same scene.

    ``state = sim.step(state, action)`` is one autograd node for ``substeps`` substeps; gradients flow to the state and to the
    action. Memory for a rollout of T steps is T states.

    Args:
        scene: what is simulated.
        num_envs: environments in a batch, B.
        dt: length of a substep, s.
        substeps: substeps of one control step.
        dtype: ``torch.float32`` or ``torch.float64`` (for gradient checks).
        device: ``"cpu"`` or ``"cuda"``: where the states live. One a process. CUDA has not been tried on a device yet; it needs
            ``torch.autograd.set_multithreading_enabled(False)`` round ``backward()``.

    Raises:
        InputError: an argument is wrong.
    """

    def __init__(
        self,
        scene: Scene,
        *,
        num_envs: int = 1,
        dt: float = 1e-3,
        substeps: int = 20,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
    ):
        if not isinstance(scene, Scene):
            raise InputError(f"scene must be a diffsim.Scene, got {type(scene).__name__}")
        for name, value in (("num_envs", num_envs), ("substeps", substeps)):
            if not isinstance(value, int) or value < 1:
                raise InputError(f"{name} must be a positive integer, got {value!r}")
        if not (np.isfinite(dt) and dt > 0.0):
            raise InputError(f"dt must be a positive number of seconds, got {dt!r}")
        if dtype not in (torch.float32, torch.float64):
            raise InputError(f"dtype must be torch.float32 or torch.float64, got {dtype}")
        runtime.start(device)
        self.scene = scene
        self.num_envs = num_envs
        self.dt = dt
        self.substeps = substeps
        self.dtype = dtype
        self.device = str(device)
        self._solver = MPMSolver(scene, dt=dt, substeps=substeps, dtype=dtype, device=self.device)
        self._physics = ScenePhysics(scene, dtype=dtype, device=self.device)
        self._kinematics = ToolKinematics(scene, dt=dt, substeps=substeps, dtype=dtype, device=self.device)
        self._warn_of_large_steps()
        self._fast_tools: set[str] = set()
        reach = [np.linalg.norm(tool.shape.core) + tool.shape.radius for tool in scene.tools]  # type: ignore[attr-defined]
        self._tool_reach = torch.tensor(reach, dtype=dtype, device=self.device)
        self._rest = np.concatenate([body.rest_particles for body in scene.soft_bodies])
        ends = np.cumsum([len(body.rest_particles) for body in scene.soft_bodies])
        self._slices = {
            body.name: slice(int(end) - len(body.rest_particles), int(end))
            for body, end in zip(scene.soft_bodies, ends, strict=True)
        }

    def _warn_of_large_steps(self) -> None:
        dx = self.scene.grid_spacing
        for body in self.scene.soft_bodies:
            material = body.material
            courant = material.wave_speed * self.dt / dx
            if courant > LARGEST_COURANT_NUMBER:
                logger.warning(
                    "SoftBody '%s': the Courant number is %.2f, above %.1f; use dt <= %.2e s",
                    body.name,
                    courant,
                    LARGEST_COURANT_NUMBER,
                    LARGEST_COURANT_NUMBER * dx / material.wave_speed,
                )
            if isinstance(material, Liquid):
                number = material.viscosity * self.dt / (material.density * dx**2)
                if number > LARGEST_VISCOUS_NUMBER:
                    logger.warning(
                        "SoftBody '%s': the viscous number viscosity dt / (density dx^2) is %.2f, above %.1f; use dt <= %.2e s",
                        body.name,
                        number,
                        LARGEST_VISCOUS_NUMBER,
                        LARGEST_VISCOUS_NUMBER * self.dt / number,
                    )

    def _warn_of_fast_tools(self, motion: ColliderMotion) -> None:
        """Once for each tool that moves more than a cell in a substep: a thin one can pass through a body unnoticed."""
        count = len(self.scene.tools)
        if len(self._fast_tools) == count:
            return
        with torch.no_grad():
            speeds = motion.velocity[:, :count].norm(dim=-1) + motion.spin[:, :count].norm(dim=-1) * self._tool_reach
            limit = self.scene.grid_spacing / self.dt
            if float(speeds.max()) <= limit:
                return
        for tool, speed in zip(self.scene.tools, speeds.amax(dim=0).tolist(), strict=True):
            if speed > limit and tool.name not in self._fast_tools:
                self._fast_tools.add(tool.name)
                logger.warning(
                    "Tool '%s' moves %.1f grid cells in a substep (%.3g m/s): it can pass through a body without touching it; "
                    "use dt <= %.2e s or slower actions",
                    tool.name,
                    speed / limit,
                    speed,
                    self.scene.grid_spacing / speed,
                )

    @property
    def control_dt(self) -> float:
        """Length of a control step, s."""
        return self.dt * self.substeps

    @property
    def action_dim(self) -> int:
        """Velocity components an action sets, over all tools in scene order."""
        return self.scene.action_dim

    @property
    def num_particles(self) -> int:
        return len(self._rest)

    @property
    def particle_mass(self) -> Tensor:
        """Mass of each particle as the scene declares it, kg, (N,)."""
        return self._per_particle(0)

    @property
    def particle_volume(self) -> Tensor:
        """Rest volume of each particle, m^3, (N,)."""
        return self._per_particle(1)

    def _per_particle(self, column: int) -> Tensor:
        counts = torch.tensor([len(body.rest_particles) for body in self.scene.soft_bodies])
        columns = BODIES + BODY * torch.arange(len(counts)) + column
        return self._physics.rows(1, None)[0, columns].repeat_interleave(counts)

    def particles(self, body: str) -> slice:
        """Where the particles of ``body`` stand in ``state.x``.

        Raises:
            InputError: there is no such body.
        """
        if body not in self._slices:
            raise InputError(f"there is no soft body '{body}'; bodies: {', '.join(self._slices)}")
        return self._slices[body]

    def tool(self, name: str) -> int:
        """Index of a tool in ``state.tool_position``.

        Raises:
            InputError: there is no such tool.
        """
        names = [tool.name for tool in self.scene.tools]
        if name not in names:
            raise InputError(f"there is no tool '{name}'; tools: {', '.join(names) or 'none'}")
        return names.index(name)

    def reset(self) -> State:
        """The scene as declared, in every environment."""
        batch, count = self.num_envs, self.num_particles
        velocity = np.concatenate([np.tile(body.velocity, (len(body.rest_particles), 1)) for body in self.scene.soft_bodies])
        tools = self.scene.tools

        def repeated(values: object, *shape: int) -> Tensor:
            return torch.tensor(np.asarray(values), dtype=self.dtype).reshape(shape).repeat(batch, *[1] * len(shape))

        return State(
            x=repeated(self._rest, count, 3),
            v=repeated(velocity, count, 3),
            C=torch.zeros((batch, count, 3, 3), dtype=self.dtype),
            F=torch.eye(3, dtype=self.dtype).repeat(batch, count, 1, 1),
            plastic_strain=torch.zeros((batch, count), dtype=self.dtype),
            tool_position=repeated([tool.position for tool in tools], len(tools), 3),
            tool_rotation=repeated([tool.rotation for tool in tools], len(tools), 4),
            time_step=torch.zeros(batch, dtype=torch.int64),
        ).to(self.device)

    def parameters(self) -> dict[str, Tensor]:
        """The scene's physical parameters by name, as `step` takes them: ``"<soft body>.<field of its material>"``,
        ``"<collider>.friction"``, ``"ground.friction"``, ``"gravity"``; scalars (gravity (3,)), in SI units."""
        return {name: value.clone() for name, value in self._physics.defaults.items()}

    def step(self, state: State, action: Tensor, parameters: Mapping[str, Tensor] | None = None) -> State:
        """One control step.

        Args:
            state: B environments; B need not be ``num_envs``.
            action: velocities (B, action_dim), m/s and rad/s, in the order of the tools' ``control``.
            parameters: values in place of the scene's, some or all of `parameters`, each for all environments or with a
                leading axis of B; differentiable.

        Raises:
            InputError: the action's or a parameter's shape or dtype is wrong, or it is not finite.
            SimulationError: the physics left its domain of validity.
        """
        self._check(state, action)
        motion, tool_position, tool_rotation = self._kinematics.motion(state.tool_position, state.tool_rotation, action)
        self._warn_of_fast_tools(motion)
        inputs = torch.cat(
            [self._physics.rows(state.num_envs, parameters), motion.twist.flatten(1), motion.pose.flatten(1)], dim=1
        )
        particles = (state.x, state.v, state.C, state.F, state.plastic_strain)
        x, v, C, F, plastic_strain = soft_step(self._solver, state.time_step, inputs, particles)
        return State(
            x=x,
            v=v,
            C=C,
            F=F,
            plastic_strain=plastic_strain,
            tool_position=tool_position,
            tool_rotation=tool_rotation,
            time_step=state.time_step + 1,
        )

    def rollout(self, state: State, actions: Tensor, parameters: Mapping[str, Tensor] | None = None) -> list[State]:
        """The states before and after each of T actions (T, B, action_dim): T + 1 states. Parameters as in `step`.

        Raises:
            InputError: ``actions`` has the wrong number of axes, or as `step`.
        """
        if actions.ndim != 3:
            raise InputError(
                f"actions must have shape (steps, {state.num_envs}, {self.action_dim}), got {tuple(actions.shape)}"
            )
        states = [state]
        for action in actions:
            states.append(self.step(states[-1], action, parameters))
        return states

    def windowed_rollout(
        self,
        state: State,
        actions: Tensor,
        observe: Callable[[State], Tensor],
        *,
        window: int,
        parameters: Mapping[str, Tensor] | None = None,
    ) -> tuple[State, Tensor]:
        """A differentiable rollout that keeps one state in ``window`` control steps and recomputes the others in backward.

        Memory falls from T states to T / window + window, least at window = sqrt(T), for one more forward pass (Griewank 1992).

        Args:
            state: the first state.
            actions: (T, B, action_dim).
            observe: what the objective sees of a state, a tensor of the same shape every time.
            window: control steps between two states that are kept.
            parameters: as in `step`.

        Returns:
            The last state, and the observations of the T states after the first, stacked (T, ...).

        Raises:
            InputError: ``window`` is not a positive integer, or as `rollout`.
        """
        if not isinstance(window, int) or window < 1:
            raise InputError(f"window must be a positive integer, got {window!r}")
        names, values = list(parameters or {}), list((parameters or {}).values())
        fields = list(state.tensors())

        def run(actions: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
            first = State(**dict(zip(fields, tensors, strict=False)))
            own = dict(zip(names, tensors[len(fields) :], strict=True))
            states = self.rollout(first, actions, own)[1:]
            return (torch.stack([observe(each) for each in states]), *states[-1].tensors().values())

        observations = []
        for part in actions.split(window):
            observed, *tensors = checkpoint(run, part, *state.tensors().values(), *values, use_reentrant=False)
            observations.append(observed)
            state = State(**dict(zip(fields, tensors, strict=True)))
        return state, torch.cat(observations)

    def _check(self, state: State, action: Tensor) -> None:
        if not isinstance(action, Tensor):
            raise InputError(f"action must be a torch tensor, got {type(action).__name__}")
        expected = (state.num_envs, self.action_dim)
        if tuple(action.shape) != expected:
            raise InputError(f"action must have shape {expected} (environments, action_dim), got {tuple(action.shape)}")
        if action.device.type != self.device:
            raise InputError(f"action must be on the {self.device}, got {action.device}")
        if action.dtype != self.dtype:
            raise InputError(f"action must be {self.dtype}, got {action.dtype}")
        if not torch.isfinite(action).all():
            environment = int(torch.nonzero(~torch.isfinite(action).all(dim=1))[0, 0])
            raise InputError(f"action must be finite, got {action[environment].tolist()} in environment {environment}")
        batch, count, tools = state.num_envs, self.num_particles, len(self.scene.tools)
        shapes = {
            "x": (batch, count, 3),
            "v": (batch, count, 3),
            "C": (batch, count, 3, 3),
            "F": (batch, count, 3, 3),
            "plastic_strain": (batch, count),
            "tool_position": (batch, tools, 3),
            "tool_rotation": (batch, tools, 4),
        }
        for name, shape in shapes.items():
            tensor = getattr(state, name)
            if tuple(tensor.shape) != shape or tensor.dtype != self.dtype or tensor.device.type != self.device:
                raise InputError(
                    f"state.{name} must be {self.dtype} of shape {shape} on the {self.device}, "
                    f"got {tensor.dtype} {tuple(tensor.shape)} on {tensor.device}"
                )
