"""What PlasticineLab's ten tasks have in common: physics, loss, score, targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

import diffsim as ds
from diffsim.render import Camera, ColoredMesh, Mark, surface_marker
from diffsim.scene.rotations import quaternion_to_matrix
from diffsim.tools.surface_distance import SurfaceDistance
from tasks.action_spaces import ActionSpace, ToolVelocity
from tasks.base import Task
from tasks.episode import Episode, Transition
from tasks.losses import MassGrid, ShapeTarget, incremental_iou, plasticinelab_loss, soft_iou
from tasks.plasticine.drawn_solid import DrawnSolid, Place

CELLS, ACTION_TIME, ACTIONS = 64, 1.9e-3, 50  # of the original: cells along an edge, s of an action, actions of an episode
SOFTNESS = 666.0  # 1/m, of its manipulators when actions are optimised by gradients, on its grid
PARTICLE_MASS = (0.5 / CELLS) ** 2  # "p_vol" of the original, a square though there are three dimensions; only scales the loss
OF_TARGET = 1e-4  # nodes of the original's grid with more than this mass belong to the target
WALL = 2.0 / CELLS  # height of the highest nodes on the floor, and depth of the other walls
STICK = 1e4  # the largest friction there is, for the original's floor on which nothing slips

Manipulated = tuple[ds.Box | ds.Sphere, Place, int]

_targets: dict[tuple[Any, ...], Tensor] = {}


class PlasticineTask(Task):
    """A task of PlasticineLab (Huang et al., ICLR 2021) with its physics, loss and score. Targets that the original simulated
    are our own, and so is all code.

    Physics: 64^3 cells of the unit cube, 19 substeps of 1e-4 s an action, gravity 30 m/s^2, density 1 kg/m^3, von Mises
    plasticity, 10,000 particles in the original's own places (`DrawnSolid`), a floor and walls two cells thick, manipulators
    whose contact fades outside their surface (``ContactModel.grid_decay``). It is in f32, the original in f64; nothing else is
    known to differ but that particles less than half a cell above z = 0 share their mass with nodes below, which the original's
    grid has not.

    Loss of a step: L = 10 D + 10 S + K (`tasks.losses.plasticinelab_loss`), the reward -L / L0 with L0 = 10 D + 10 S of the
    start. The return is the original's objective, the sum over all steps.

    Score: normalised incremental IoU, (iou - iou at the start) / (iou of the target with itself - iou at the start), in 0 to 1.

    Targets that are simulated come from a script of actions, with the very same particles; it takes some seconds of
    simulation when a task is first used.

    Coarser settings keep masses, lengths and the time of an action: `cells=32, dt=1.9e-4, substeps=10, particles=600`.

    Attributes:
        variant: of the original's five, 1 to 5.
        cells: along an edge of the unit cube.
        particles: of all solids together.
        observed: particles in the observation.
    """

    horizon: int = ACTIONS
    dt, substeps = 1e-4, 19
    variant: int = 1
    cells: int = CELLS
    particles: int = 10_000
    observed: int = 200
    optimizer_settings = MappingProxyType({"iterations": 50})

    # constants of each task
    yield_stress: ClassVar[float] = 50.0  # Pa
    poissons_ratio: ClassVar[float] = 0.2
    ground_friction: ClassVar[float] = STICK
    gravity: ClassVar[float] = 30.0  # m/s^2
    scale: ClassVar[tuple[float, ...]] = (0.01, 0.01, 0.01)  # m of each tool's control that an action component of 1 stands for
    success_score: ClassVar[float] = 0.6  # from which on an episode is a success
    view: ClassVar[tuple[Place, Place]] = ((0.5, -0.75, 1.0), (0.5, 0.5, 0.08))  # the camera's position and target

    def solids(self) -> Sequence[Manipulated]:
        """The plasticine at the start: shapes, positions, and numbers of particles of the original."""
        raise ds.InputError(f"task {type(self).__name__} must define solids()")

    def manipulators(self) -> tuple[ds.Tool, ...]:
        """What moves it."""
        raise ds.InputError(f"task {type(self).__name__} must define manipulators()")

    def pillars(self) -> tuple[ds.Obstacle, ...]:
        """What stands in the way."""
        return ()

    def script(self) -> np.ndarray:
        """Actions (T, A) that make the target of the variant; of a task whose target is not simulated there are none."""
        raise ds.InputError(f"task {type(self).__name__} must define script()")

    def target_points(self) -> Tensor:
        """Particles (1, N, 3) of the target, m: where the script takes them."""
        one = self if self.num_envs == 1 else type(self)(1, dtype=self.sim.dtype, device=self.sim.device, **self.parameters)
        state = one.sim.reset()
        with torch.no_grad():
            for action in torch.from_numpy(self.script()).to(state.x):
                state = one.sim.step(state, one.controls(state, action[None]))
        return state.x

    # the scene

    def scene(self) -> ds.Scene:
        if self.variant not in range(1, 6):
            raise ds.InputError(f"variant of {type(self).__name__} must be 1 to 5, got {self.variant}")
        material = ds.ElastoPlastic(5e3, self.poissons_ratio, 1.0, yield_stress=self.yield_stress)
        share = self.particles / sum(count for _shape, _position, count in self.solids())
        solids = [(shape, position, max(round(share * count), 1)) for shape, position, count in self.solids()]
        return ds.Scene(
            (ds.SoftBody("plasticine", DrawnSolid(solids), (0.0, 0.0, 0.0), material=material, particles=self.particles),),
            tools=self.manipulators(),
            obstacles=self.pillars(),
            ground=ds.Ground(friction=self.ground_friction, layer=WALL),
            lower=(WALL, WALL, 0.0),
            upper=(1.0 - WALL,) * 3,
            grid_spacing=1.0 / self.cells,
            gravity=(0.0, 0.0, -self.gravity),
            contact=ds.ContactModel(grid_decay=SOFTNESS * self.cells / CELLS),
        )

    def tool(self, name: str, shape: ds.Shape, position: Place, *, friction: float = 0.9, **fields: Any) -> ds.Tool:
        """A manipulator that keeps to the unit cube."""
        fields = {"lower": (0.0, 0.0, 0.0), "upper": (1.0, 1.0, 1.0), **fields}
        return ds.Tool(name, shape, position, friction=friction, stops_at=(), **fields)

    def actions(self) -> Sequence[ActionSpace]:
        return [ToolVelocity(tool.name, self.scale[0] / self.sim.control_dt) for tool in self.sim.scene.tools]

    # loss and score

    @cached_property
    def grid(self) -> MassGrid:
        """Nodes of the masses: those of the simulator's grid over the unit cube, and one more on each side."""
        spacing = 1.0 / self.cells
        return MassGrid((-spacing,) * 3, spacing, (self.cells + 3,) * 3)

    @cached_property
    def mass(self) -> float:
        """Of all plasticine, in the loss's unit."""
        return PARTICLE_MASS * sum(count for _shape, _position, count in self.solids())

    @cached_property
    def target(self) -> ShapeTarget:
        """What the plasticine shall become."""
        target = ShapeTarget.from_points(self._target_points, grid=self.grid, mass=self.mass)
        limit = OF_TARGET * (CELLS / self.cells) ** 3
        return replace(target, inside=limit / float(target.mass.max()))

    @property
    def _target_points(self) -> Tensor:
        own = {name: value for name, value in self.parameters.items() if name in ("cells", "particles", "dt", "substeps")}
        key = (type(self), self.variant, self.sim.dtype, self.sim.device, *sorted(own.items()))
        if key not in _targets:
            _targets[key] = self.target_points()
        return _targets[key]

    @cached_property
    def _ends(self) -> tuple[Tensor, Tensor, float]:
        """IoU of the start and of the target, each with the target, (1,); the loss of the start without contact."""
        mass = self.grid.deposit(self.sim.reset().x[:1], self.mass)
        goal = self.target.mass
        return soft_iou(mass, goal), soft_iou(goal, goal), float(plasticinelab_loss(mass, self.target))

    @property
    def start_loss(self) -> float:
        """The loss of the start without contact, L0, which rewards are divided by."""
        return self._ends[2]

    @cached_property
    def _distances(self) -> list[SurfaceDistance]:
        return [SurfaceDistance(tool.shape, dtype=self.sim.dtype, device=self.sim.device) for tool in self.sim.scene.tools]

    def tool_distance(self, state: ds.State) -> Tensor:
        """Signed distance of the nearest particle to each manipulator, m, (B, K, 1)."""
        found = []
        for n, distance in enumerate(self._distances):
            place, turn = state.tool_position[:, n, None], quaternion_to_matrix(state.tool_rotation[:, n])
            with torch.no_grad():
                nearest = distance((state.x - place) @ turn)[0].argmin(dim=1)
            particle = state.x.gather(1, nearest[:, None, None].expand(-1, -1, 3))
            found.append(distance((particle - place) @ turn)[0])
        return torch.stack(found, dim=1)

    def loss(self, state: ds.State) -> Tensor:
        """PlasticineLab's loss L, (B,)."""
        return plasticinelab_loss(self.grid.deposit(state.x, self.mass), self.target, self.tool_distance(state))

    def score(self, episode: Episode) -> Tensor:
        """PlasticineLab's score, the normalised incremental IoU, (B,)."""
        with torch.no_grad():
            start, own, _loss = self._ends
            return incremental_iou(soft_iou(self.grid.deposit(episode.state.x, self.mass), self.target.mass), start, own)

    # the task's contract

    def reward(self, step: Transition) -> Tensor:
        return -self.loss(step.after) / self.start_loss

    def markers(self, episode: Episode, environment: int) -> Sequence[Mark]:
        """The target, see-through."""
        return (self._target_surface,)

    @cached_property
    def _target_surface(self) -> ColoredMesh:
        points = self._target_points[0].double().cpu().numpy()
        spacing = min(body.particle_spacing for body in self.sim.scene.soft_bodies)
        return surface_marker(points, spacing)

    def success(self, episode: Episode) -> Tensor:
        return self.score(episode) >= self.success_score

    def observation(self, episode: Episode) -> Tensor:
        """Position and velocity of ``observed`` particles, then each manipulator's position and rotation."""
        state = episode.state
        some = slice(None, None, max(state.x.shape[1] // self.observed, 1))
        parts = (state.x[:, some], state.v[:, some], state.tool_position, state.tool_rotation)
        return torch.cat([part.flatten(1) for part in parts], dim=1)

    def camera(self) -> Camera:
        position, target = self.view
        return Camera(position=position, target=target, vertical_fov_degrees=36)
