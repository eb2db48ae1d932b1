"""What SHAC, SAPO and AHAC share: settings, the loop over windows, the actor's step and the critics' fit.

An episode is divided into windows. Each is rolled out with the current actor, and `learn`, which is the algorithm, updates
actor and critics from it; then the state is cut from the graph, so that no gradient crosses from window to window. An iteration
is one batch of whole episodes.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

import torch
from torch import Tensor

from rpg.algorithms.algorithm import Algorithm, AlgorithmConfig, bad_indices
from rpg.models.network import NetworkForm
from rpg.models.value import ValueEnsemble
from rpg.models.window_actor import WindowActor
from rpg.protocol import FixedHorizonEnvironment, ProtocolError, episode_end
from rpg.settings_checks import check_choice, check_fraction, check_int, check_positive
from rpg.training.gradient_estimators import pathwise_loss, signal_to_noise
from rpg.training.metrics import IterationReport
from rpg.training.rollout import detached
from rpg.training.windows import Window, rolled_out_window

BETAS = (0.7, 0.95)
"""Betas of all optimisers here: short averages, because the objective changes with every window."""


@dataclass(frozen=True)
class ShortHorizonConfig(AlgorithmConfig):
    """The settings that SHAC, SAPO and AHAC share. They assume rewards of order 1 per step."""

    discount: float = 0.99
    """gamma."""
    trace: float = 0.95
    """lambda: 0 bootstraps after one step, 1 only at the end of the window."""
    std_start: float = 1.0
    """Initial standard deviation of the action before squashing; it is learned."""
    policy_hidden: tuple[int, ...] = (64, 64)
    """Hidden widths of the actor."""
    policy_learning_rate: float = 0.005
    """Step of the actor's optimiser at the start of a run."""
    value_hidden: tuple[int, ...] = (64, 64)
    """Hidden widths of each critic."""
    value_learning_rate: float = 0.002
    """Step of the critics' optimiser at the start of a run."""
    final_learning_rate: float = 1e-5
    """Both steps at the end of a run, to which they go linearly."""
    value_epochs: int = 16
    """Passes of the critics over each window; where they stop by themselves, at most so many."""
    value_minibatches: int = 4
    """Minibatches per pass, one critic step each."""
    scale_values: bool = True
    """Whether the critics' targets are divided by their standard deviation, so that rewards of any size are learned alike."""
    grad_clip: float = 1.0
    """Largest gradient norm, separately for the actor and the critics together."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("value_epochs", "value_minibatches"):
            check_int(name, getattr(self, name), at_least=1)
        for name in ("discount", "trace"):
            check_fraction(name, getattr(self, name))
        for name in ("std_start", "policy_learning_rate", "value_learning_rate", "final_learning_rate", "grad_clip"):
            check_positive(name, getattr(self, name))


OfficialTask = Literal["AntRun", "other"]


def official_settings(task: OfficialTask) -> dict[str, Any]:
    """What the official settings of SHAC and SAPO have in common: for the ant, or for the other tasks of Rewarped."""
    check_choice("task", task, get_args(OfficialTask))
    ant = task == "AntRun"
    return {
        "window": 32,
        "policy_hidden": (128, 64, 32) if ant else (512, 256),
        "value_hidden": (64, 64) if ant else (256, 256),
        "policy_learning_rate": 2e-3,
        "value_learning_rate": 5e-4,
        "scale_values": False,
    }


ShortConfig = TypeVar("ShortConfig", bound=ShortHorizonConfig)


class ShortHorizonAlgorithm(Algorithm[ShortConfig]):
    """An actor and its critics, trained window by window."""

    needs_gradients = True
    policy: WindowActor
    form: NetworkForm
    """Of the actor and the critics."""
    critic_count: int
    """Number of critics."""
    std_of_state = False
    """Whether the actor's std depends on the state."""
    second_sample = False
    """Whether entropies are estimated from a second sample rather than from the action taken."""
    measures_stiffness = False
    """Whether windows tell how stiff the dynamics were."""

    def __init__(self, env: FixedHorizonEnvironment, config: ShortConfig, like: Tensor) -> None:
        super().__init__(env, config, like)
        self.policy = WindowActor(
            env,
            hidden=config.policy_hidden,
            form=self.form,
            std_start=config.std_start,
            std_of_state=self.std_of_state,
            generator=self.generator,
        )
        self.critics = ValueEnsemble(
            self.critic_count,
            env.horizon,
            env.observation_dim,
            hidden=config.value_hidden,
            generator=self.generator,
            form=self.form,
            timed=self.policy.timed,
        )
        self.modules = {"policy": self.policy.to(like), "value": self.critics.to(like)}
        self._rates = {"policy": config.policy_learning_rate, "value": config.value_learning_rate}
        self.optimizers = {name: self.optimizer(name) for name in self._rates}
        self._latent = torch.zeros(env.num_envs, dtype=torch.int64, device=like.device)

    # What an algorithm says ---------------------------------------------------------------------------------

    def optimizer(self, name: str) -> torch.optim.Optimizer:
        """The optimiser of the module `name`."""
        return torch.optim.Adam(self.modules[name].parameters(), lr=self._rates[name], betas=BETAS, fused=True)

    @abstractmethod
    def window_length(self) -> int:
        """Number of steps of the next window, if the episode has that many left."""

    @abstractmethod
    def learn(self, window: Window, iteration: int) -> tuple[Tensor, dict[str, float]]:
        """Update actor and critics. Returns the critics' targets (H, B), and values to be reported, among them "objective" and
        "grad_norm"."""

    def critic_ensembles(self) -> tuple[ValueEnsemble, ...]:
        """All critics, the ones that follow others too."""
        return (self.critics,)

    # The loop -----------------------------------------------------------------------------------------------

    def iterate(self, iteration: int) -> IterationReport:
        env = self.env
        for name, rate in self._rates.items():
            self.optimizers[name].param_groups[0]["lr"] = self.decayed(rate, iteration)

        # One batch of episodes, window by window. The reported values belong to the actor that ran the window.
        state, step = env.reset(self.episode_seed(iteration)), 0
        windows, targets, gradients, rows = [], [], [], []
        while step < env.horizon:
            window, state, info = self.rolled_out(state, step)
            step += len(window.rewards)
            if not bool(window.counted.any()):  # all episodes have ended early
                break
            self.check_finite("reward", window.rewards.sum(0), iteration)
            wanted, row = self.learn(window, iteration)
            state = detached(state)
            gradients.append(window.action_gradients())
            targets.append(wanted)
            windows.append(detached(window))
            rows.append({**row, "std": float(window.stds.detach().mean())})

        # The running scales change between batches of episodes only.
        counted = torch.cat([window.counted for window in windows])
        seen, earned = torch.cat([window.observations for window in windows])[counted], torch.cat(targets)[counted]
        self.policy.observe(seen)
        for critics in self.critic_ensembles():
            critics.observe(seen, earned if self.config.scale_values else None)

        returns, end = torch.cat([window.rewards for window in windows]).sum(0), episode_end(info, self.like)
        mean = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
        return IterationReport(
            return_mean=float(returns.mean()),
            return_best=float(returns.mean()),
            success=float(end.success.double().mean()),
            distinct_outcomes=int(end.outcome[end.success].unique().numel()),
            simulator_steps=env.num_envs * step,
            backward_steps=env.num_envs * step,
            objective=mean.pop("objective"),
            action_entropy=float(torch.cat([window.entropies for window in windows])[counted].mean()),
            grad_norm=mean.pop("grad_norm"),
            gradient_snr=signal_to_noise(torch.cat(gradients), self._latent),
            latent_probs=(1.0,),
            terms={
                **mean,
                "value_target": float(earned.mean()),
                "policy_rate": self.optimizers["policy"].param_groups[0]["lr"],
                "window": sum(len(window.rewards) for window in windows) / len(windows),
            },
        )

    def decayed(self, rate: float, iteration: int) -> float:
        """The learning rate on its way from `rate` to the final one."""
        return rate + (self.config.final_learning_rate - rate) * self.progress(iteration)

    def rolled_out(self, state: Any, first: int) -> tuple[Window, Any, dict[str, Tensor]]:
        """The window from the step `first` on, the state after it and the last info."""
        steps = range(first, min(first + self.window_length(), self.env.horizon))
        shape = (len(steps), self.env.num_envs, self.env.action_dim)
        noise = self.standard_normal(*shape).requires_grad_()
        entropy_noise = self.standard_normal(*shape) if self.second_sample else None
        probe = self.standard_normal(*shape[:2], self.env.observation_dim).sign() if self.measures_stiffness else None
        return rolled_out_window(self.env, self.policy, state, steps, noise=noise, entropy_noise=entropy_noise, probe=probe)

    def improve_actor(self, objective: Tensor, window: Window, iteration: int) -> dict[str, float]:
        """One step of the actor on `objective` (B,), the mean over the batch. Returns it and the norm of the gradient."""
        if not (window.rewards.requires_grad or window.after.requires_grad):
            given = "reward and observe(state) have no gradient"
            raise ProtocolError(f"{given}; {self.config.algorithm} needs an environment that gives one")
        self.zero_grad()
        with torch.autograd.set_multithreading_enabled(False):  # a simulator's backward may need this thread
            pathwise_loss(objective).backward()
        bad = bad_indices(window.action_gradients().transpose(0, 1))
        norm = self.stepped("policy", iteration=iteration, limit=self.config.grad_clip, bad=bad)
        return {"objective": float(objective.detach().mean()), "grad_norm": norm}

    def fit_critics(self, window: Window, targets: Tensor, iteration: int, *, settled: float | None = None) -> dict[str, float]:
        """Passes of minibatches over the window, drawn anew in each. Returns the loss of the first pass and the passes' number.

        With `settled` they end as soon as the losses of the last five passes changed by less than that from pass to pass, on
        average.
        """
        counted = window.counted.flatten()
        rows, wanted = self.critics.rows(window.observations.detach(), window.first)[counted], targets.flatten()[counted]
        losses: list[float] = []
        for _ in range(self.config.value_epochs):
            order, batch_losses = torch.randperm(len(rows), generator=self.generator).to(rows.device), []
            for chosen in order.chunk(self.config.value_minibatches):
                self.optimizers["value"].zero_grad()
                loss = self.critics.row_loss(rows[chosen], wanted[chosen])
                loss.backward()
                self.stepped("value", iteration=iteration, limit=self.config.grad_clip)
                batch_losses.append(float(loss.detach()))
            losses.append(sum(batch_losses) / len(batch_losses))
            if settled is not None and len(losses) >= 5 and abs(losses[-1] - losses[-5]) / 4 < settled:
                break
        return {"value_loss": losses[0], "value_passes": float(len(losses))}

    def action_std(self, iteration: int) -> float:
        return self.config.std_start  # its own std is learned

    def candidates(self) -> tuple[Tensor, Tensor]:
        return self._latent[:1].unsqueeze(0), self.like.new_ones(1)
