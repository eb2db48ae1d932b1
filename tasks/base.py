"""The base class of a manipulation task."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

import diffsim as ds
from diffsim.render import Camera, LinkCamera, Mark
from diffsim.scene.validation import check_parameter
from tasks import author_checks as checks
from tasks.action_spaces import ActionSpace, AllControls, joined
from tasks.checking.task_check import check_task
from tasks.checking.trial import Finding
from tasks.episode import Episode, Transition
from tasks.observation_modes import ObservationMode, ParticlePoints, Pictures
from tasks.return_gradients import return_gradients
from tasks.shown_modes import ShownModes
from tasks.task_parameters import given_parameters, task_parameters

RewardMode = Literal["dense", "sparse", "normalised"]


class Task(ShownModes):
    """A batch of differentiable manipulation episodes. Subclass it, and register the class with ``@register("Name")``.

    An author defines `scene` and `reward`, and overrides the other methods as needed (docs/authoring.md); the docstring
    describes the task under "Task:", "Randomisation:" and "Success:". An instance is an environment as `rpg` expects it.

    Attributes that are parameters, set by keyword (``Detour(32, horizon=20)``); a subclass may annotate more:
        horizon: control steps of an episode, T.
        dt: length of a substep, s.
        substeps: substeps of a control step.
        tool_speed: control (m/s, rad/s) that an action component of 1 stands for, where `actions` is not overridden.
        mesh: file of the manipulated body's mesh; None: the task takes no mesh.
        ends_on_success: whether success ends an episode.
        reward_mode: "dense" is `reward`, "normalised" `reward` over ``reward_bound``, "sparse" 1 where `success` holds, else 0.
        observation_mode: what the optimiser sees: the features of `observation` ("state"), particles and the features
            ("points"), or pictures ("image").
        observation_particles: number of particles in the mode "points".
        image_size: height and width in the mode "image", pixels.

    Attributes that are constants of a class:
        outcome_names: names of the task's distinct solutions, by label 0, 1, ...
        optimizer_settings: settings of the optimiser that differ from its defaults, by their name in `rpg.RPGConfig`; a
            schedule is (start, end) or (start, end, begin, finish).
        reward_bound: size that a dense reward hardly exceeds, for the mode "normalised".
        finite_horizon: whether the horizon is part of the problem; False: it only cuts off what would go on, so that optimisers
            count what would still have come and do not see the time.
        differentiable: whether the dense reward is; a class whose reward leaves torch says False.
        drawn_as: soft bodies in pictures: their "surface", which follows their particles and does not tear, the "particles",
            or a "reconstruction" of the surface, which does.
        record_forces: whether states hold the wrenches of contact, for ``self.sim.contact_wrench(state, name)``.
        action_dim: width of an action, where `controls` is overridden and takes another than that of `actions`.

    Args:
        num_envs: episodes side by side, B.
        dtype: torch.float32 or torch.float64.
        device: "cpu" or "cuda", where states and rewards live; as of `diffsim.Simulator`.
        mesh, parameters: values of parameters that differ from the class's.

    Raises:
        diffsim.InputError: an argument, the task's scene, or what one of its methods gives is wrong.
    """

    name: ClassVar[str] = ""
    horizon: int = 20
    dt: float = 4e-3
    substeps: int = 10
    tool_speed: float = 1.0
    mesh: str | Path | None = None
    ends_on_success: bool = False
    reward_mode: RewardMode = "dense"
    observation_mode: ObservationMode = "state"
    observation_particles: int = 64
    image_size: tuple[int, int] = (64, 64)

    outcome_names: Sequence[str] = ("solved",)
    optimizer_settings: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    reward_bound: ClassVar[float | None] = None
    drawn_as: ClassVar[Literal["surface", "particles", "reconstruction"]] = "surface"
    finite_horizon = True
    differentiable = True
    record_forces = False

    def __init__(
        self,
        num_envs: int = 1,
        *,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        mesh: str | Path | None = None,
        **parameters: Any,
    ) -> None:
        owner = type(self)
        if mesh is not None:
            if owner.mesh is None:
                raise ds.InputError(f"task '{self.name or owner.__name__}' takes no mesh, got '{mesh}'")
            parameters["mesh"] = mesh
        self._whole: tuple[Task, int] | None = None  # whose episodes these are, from which on
        self._given = given_parameters(owner, parameters)
        vars(self).update(self._given)
        if self.reward_mode == "normalised" and self.reward_bound is None:
            raise ds.InputError(f"reward_mode of task {owner.__name__} is 'normalised'; allowed where it declares reward_bound")
        self._reward_has_gradient = self.differentiable and self.reward_mode != "sparse"
        self._ends_early = self.ends_on_success or owner.failure is not Task.failure

        self.sim = ds.Simulator(
            self.scene(), num_envs=num_envs, dt=self.dt, substeps=self.substeps, dtype=dtype, device=device,
            record_forces=self.record_forces,
        )  # fmt: skip
        self.num_envs = num_envs
        self._drive = joined(owner.__name__, self.actions(), self.sim)
        self.action_dim: int = getattr(owner, "action_dim", self._drive.dim)
        self._always = torch.ones(num_envs, dtype=torch.bool, device=self.sim.device)
        self._never, self._zeros = ~self._always, torch.zeros(num_envs, dtype=dtype, device=self.sim.device)
        self._watch()
        if owner.success is Task.success:
            warnings.warn(f"task {owner.__name__} does not define success(): success will read 0", stacklevel=2)

    def _watch(self) -> None:
        """Set up what the optimiser sees."""
        if self.observation_mode == "image":
            self._pictures = Pictures(self, self.image_size)
            self.observation_shape = (*self.image_size, 3)
        if self.observation_mode == "points":
            self._points = ParticlePoints(self.sim, self.observation_particles)
            self.observation_points = (self.observation_particles, 3)
        if self.observation_mode != "state" or self.reward_mode == "sparse":
            self.differentiable = self._reward_has_gradient and self.observation_mode != "image"
        with torch.no_grad():
            self.observation_dim = int(self.observe(self.reset(0)).flatten(1).shape[1])

    # For the author to define or override ------------------------------------------------------------------------

    def scene(self) -> ds.Scene:
        """The bodies, tools, obstacles and robots of the task."""
        raise ds.InputError(f"task {type(self).__name__} must define scene()")

    def actions(self) -> Sequence[ActionSpace]:
        """What the components of an action do (`tasks.action_spaces`), in order."""
        return (AllControls(self.tool_speed),)

    def randomize(self, generator: torch.Generator) -> Episode:
        """New episodes, all drawn from ``generator``: ``return self.episode(self.sim.reset().replace(...), goal=...)``. Nothing
        is randomised unless this is overridden."""
        return self.episode(self.sim.reset())

    def advance(self, step: Transition) -> Mapping[str, Tensor]:
        """The episodes' own values that this step changes, by name: a goal drawn anew, a count, the last action. All that looks
        at the step afterwards (`reward`, `observation`, `success`) sees them; ``step.episode`` has those from before it."""
        return {}

    def reward(self, step: Transition) -> Tensor:
        """Reward (B,) of a step, differentiable, of order 1."""
        raise ds.InputError(f"task {type(self).__name__} must define reward()")

    def success(self, episode: Episode) -> Tensor:
        """Whether an episode that ends here has reached its goal, bool (B,)."""
        return self._never

    def failure(self, episode: Episode) -> Tensor:
        """Whether an episode has failed for good, bool (B,); it then ends, and is no success."""
        return self._never

    def outcome(self, episode: Episode) -> Tensor:
        """Label of the way that an episode went, whether it succeeds or not, int64 (B,); -1 for none of ``outcome_names``."""
        return torch.zeros_like(episode.steps)

    def observation(self, episode: Episode) -> Tensor:
        """Features (B, O), differentiable: mean position and velocity of each soft body, the tools' positions, the coordinates
        and velocities of rigid bodies and articulations, then the episode's own values."""
        state = episode.state
        features = []
        for body in self.sim.scene.soft_bodies:
            particles = self.sim.particle_slice(body.name)
            features += [state.x[:, particles].mean(dim=1), state.v[:, particles].mean(dim=1)]
        values = [value.flatten(1).to(state.x) for value in episode.values.values()]
        return torch.cat([*features, state.tool_position.flatten(1), state.q, state.qd, *values], dim=1)

    def controls(self, state: ds.State, action: Tensor, last: Tensor | None = None) -> Tensor:
        """The simulator's action (B, sim.action_dim), m/s, rad/s and so on, for ``action`` (B, A) in [-1, 1]: that of
        `actions`. Where one of these counts from what it set last, ``last`` is the simulator's action of the step before;
        None: the arm is told to be where it is."""
        checks.check_action(self, action, (self.num_envs, self._drive.dim))
        if self._drive.held is None:
            return self._drive.controls(state, action)
        return self._drive.controls(state, action, self._drive.held(state) if last is None else last)

    def camera(self) -> Camera | LinkCamera | None:
        """The video's camera; ``None`` frames the whole scene."""
        return None

    def observation_camera(self) -> Camera | LinkCamera | None:
        """The camera of what a policy sees where it sees images, for example one on a robot's hand."""
        return self.camera()

    def markers(self, episode: Episode, environment: int) -> Sequence[Mark]:
        """Marks in the video of one environment, such as its goal: on the ground, or meshes and particles in space."""
        return ()

    def ghost(self, episode: Episode, environment: int) -> ds.State | None:
        """A state that the video of one environment shows see-through, such as a target shape."""
        return None

    # For the author to use ---------------------------------------------------------------------------------------

    def episode(self, state: ds.State, *, parameters: Mapping[str, Tensor] | None = None, **values: Tensor) -> Episode:
        """Episodes that begin in ``state``.

        Args:
            parameters: physical parameters in place of the scene's, as `diffsim.Simulator.step` takes them.
            values: anything that the other methods need, (B, ...), read as ``episode["goal"]``.

        Raises:
            InputError: a value has no row for each environment, or a parameter is none of the scene's or of another shape.
        """
        checks.check_values(self, values, self.num_envs)
        known = self.sim.parameters if parameters else {}
        own: dict[str, Tensor] = {}
        for name, value in (parameters or {}).items():
            if name not in known:
                raise ds.InputError(f"there is no parameter '{name}'; parameters: {', '.join(sorted(known))}")
            check_parameter(name, value, known[name], self.num_envs)
            shared = value.shape == known[name].shape
            own[name] = value.expand(self.num_envs, *value.shape).clone() if shared else value
        steps = torch.zeros(self.num_envs, dtype=torch.int64, device=self.sim.device)
        held = None if self._drive.held is None else self._drive.held(state)
        return Episode(state, steps, self._never, own or None, values, controls=held)

    def uniform(self, generator: torch.Generator, *shape: int, low: float = -1.0, high: float = 1.0) -> Tensor:
        """(B, *shape) numbers in [low, high), drawn so that the first rows do not depend on how many follow, now or in earlier
        calls."""
        drawn = torch.rand(self.num_envs, *shape, generator=generator)
        following = np.random.SeedSequence(generator.initial_seed()).generate_state(1, np.uint64)[0]
        generator.manual_seed(int(following >> np.uint64(1)))  # rows of the next call begin at the same place in any batch
        middle, half = 0.5 * (low + high), 0.5 * (high - low)
        return (middle + half * (2.0 * drawn - 1.0)).to(self.sim.device, self.sim.dtype)

    # rpg's environment protocol ----------------------------------------------------------------------------------

    def reset(self, seed: int | None = None) -> Episode:
        """B new episodes; the same seed gives the same ones. The first of them begin as in a batch of another size if
        `randomize` draws by `uniform`, as the tasks here do."""
        checks.check_seed(seed)
        if self._whole is not None:
            whole, first = self._whole
            return whole.reset(seed).environments(first, first + self.num_envs)
        generator = torch.Generator()
        if seed is None:
            generator.seed()
        else:
            generator.manual_seed(seed)
        episode = checks.check_first_episode(self, self.randomize(generator), self.num_envs)
        return episode.replace(observations=(self._features(episode).detach(),))

    def shard(self, first: int, count: int) -> Task:
        """The same task with ``count`` environments, whose episodes are those from ``first`` on of this one's."""
        part = type(self)(count, dtype=self.sim.dtype, device=self.sim.device, **self.parameters)
        part._whole = (self, first)
        return part

    def observe(self, episode: Episode) -> Tensor:
        """What the optimiser sees: (B, O), or bytes (B, H, W, 3) in the mode "image"."""
        if self.observation_mode == "image":
            return self._pictures(episode)
        features = self._features(episode)
        return self._points(episode, features) if self.observation_mode == "points" else features

    def step(self, episode: Episode, action: Tensor) -> tuple[Episode, Tensor, dict[str, Tensor]]:
        """One control step under ``action`` (B, A) in [-1, 1]: (next episodes, reward (B,), info).

        ``info`` holds "success" and "outcome" as if the episodes ended here; "running", whether an episode had not ended
        before; "terminated" and "truncated", whether it ended with this step, by success or failure, or by the horizon. After
        an early end the reward is 0.
        """
        before = episode.state
        last = () if episode.controls is None else (episode.controls,)
        controls = checks.check_controls(self, self.controls(before, action, *last), self.num_envs, self.sim.action_dim)
        after, steps = self.sim.step(before, controls, episode.parameters), episode.steps + 1
        if self._ends_early:
            after, steps = _kept(episode.ended, before, after), torch.where(episode.ended, episode.steps, steps)
        following = episode.replace(state=after, steps=steps, controls=controls if last else None)
        following = self._advanced(episode, Transition(before, action, after, following))
        with torch.no_grad():
            observations = (*episode.observations, self._features(following))
            following = following.replace(observations=observations)
            success = checks.check_labels(self, "success", self.success(following), torch.bool, self.num_envs)
            outcome = checks.check_labels(self, "outcome", self.outcome(following), torch.int64, self.num_envs)
            if self._ends_early:
                failure = checks.check_labels(self, "failure", self.failure(following), torch.bool, self.num_envs)
                success = success & ~failure
                following = following.replace(ended=episode.ended | failure | (success & self.ends_on_success))
        reward = self.mode_reward(Transition(before, action, after, following), success)
        running, terminated, truncated = self._always, self._never, steps >= self.horizon
        if self._ends_early:
            running, terminated = ~episode.ended, following.ended & ~episode.ended
            truncated = truncated & running & ~terminated
            reward = torch.where(running, reward, self._zeros)
        ends = {"running": running, "terminated": terminated, "truncated": truncated}
        return following, reward, {"success": success, "outcome": outcome, **ends}

    def _advanced(self, before: Episode, step: Transition) -> Episode:
        """The episodes after a step, with the values that `advance` changes where an episode had not ended."""
        changed = self.advance(step)
        if not changed:
            return step.episode
        checks.check_advance(self, changed, before.values)
        if self._ends_early:
            changed = {name: _chosen(before.ended, before.values[name], value) for name, value in changed.items()}
        return step.episode.replace(values={**before.values, **changed})

    def _features(self, episode: Episode) -> Tensor:
        """`observation`, checked: (B, O)."""
        features = self.observation(episode)
        checks.check_observation(self, features, self.num_envs)
        return features

    def mode_reward(self, step: Transition, success: Tensor) -> Tensor:
        """The reward (B,) of the task's mode, for a step that led to ``success`` (B,); `step` leaves it out of an episode that
        has ended."""
        if self.reward_mode == "sparse":
            return success.to(self.sim.dtype)
        needs_gradient = self._reward_has_gradient and step.action.requires_grad and torch.is_grad_enabled()
        reward = checks.check_reward(self, self.reward(step), self._zeros, needs_gradient=needs_gradient)
        return reward if self.reward_mode == "dense" or self.reward_bound is None else reward / self.reward_bound

    def check_rendering(self) -> None:
        """Draw one small picture of a first state, as a video does: what fails then fails before the training."""
        Pictures(self, (48, 64))(self.reset(0).environment(0))

    @classmethod
    def parameter_type(cls) -> type:
        """The parameters as a dataclass type (`tasks.task_parameters`), of which the command line makes options."""
        return task_parameters(cls)  # type: ignore[arg-type]

    @classmethod
    def check_task(
        cls, *, quick: bool = False, num_envs: int = 4, seconds: float = 60.0, **parameters: Any
    ) -> Iterator[Finding]:
        """Check the task as `diffsim-rpg check-task` does (docs/checking_tasks.md), a finding at a time.

        Args:
            quick: leave out what takes long.
            num_envs: environments of the episodes that are tried.
            seconds: how long a success is searched for.
            parameters: of the task that differ from its defaults.
        """
        return check_task(cls, quick=quick, num_envs=num_envs, search_seconds=seconds, **parameters)

    def gradient_report(self, actions: Tensor, *, seed: int = 0) -> ds.GradientReport:
        """Where gradients of the return of ``reset(seed)`` under ``actions`` (T, B, A) in [-1, 1] grow or vanish.

        Raises:
            InputError: the shape is wrong, or no gradient flows from the reward to a state.
        """
        return return_gradients(self, actions, seed)

    def located(self, environment: int, seed: int) -> tuple[Task, int, int]:
        """The task that an environment of ``reset(seed)`` runs in, its index there, and the seed to reset that task with."""
        return self, environment, seed

    # Copies in other processes -----------------------------------------------------------------------------------

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters that differ from the class's. ``type(task)(task.num_envs, **task.parameters)`` is the same task."""
        return dict(self._given)

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickle holds the class and what it was made with; the copy compiles its own simulator."""
        return _rebuilt, (type(self), self.num_envs, self.sim.dtype, self.sim.device, self.parameters)


def _rebuilt(kind: type[Task], num_envs: int, dtype: torch.dtype, device: str, parameters: dict[str, Any]) -> Task:
    return kind(num_envs, dtype=dtype, device=device, **parameters)


def _kept(where: Tensor, before: ds.State, after: ds.State) -> ds.State:
    """``before`` in the environments ``where`` (B,) bool, ``after`` elsewhere."""
    old = before.tensors()
    return ds.State(**{name: _chosen(where, old[name], new) for name, new in after.tensors().items()})


def _chosen(where: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """``one`` (B, ...) in the environments ``where`` (B,) bool, ``other`` elsewhere."""
    return torch.where(where.view(-1, *[1] * (other.ndim - 1)), one, other)
