"""Model-based RPG (Algorithm 1 of Huang et al., ICML 2023): a policy with a latent, through a learned world, and curiosity.

A world model stands in for a differentiable simulator. It encodes observations to states s = f(o) and predicts, from a state
and actions, states, rewards and values V(s, z). With a ~ pi(a|s,z) and the r, s, V of the model, imagined K steps from s_0,

    r'_t      = beta log p_phi(z|s_t,a_t) - alpha log pi(a_t|s_t,z)
    G_n       = sum_{t<n} discount^t (r_t + r'_t) + discount^n V(s_n,z)             n = 1 ... K
    V_est     = the mean of the G_n with weights trace^(n-1), or G_K alone          (eq. 3)

The losses, the model's being eq. 4, and the gradient of pi(z|s_1), are

    model     E[mean_t L1 |s_t+1 - f'(o_t+1)|^2 + L2 (r_t - reward_t)^2 + L3 sum_i (V_i(s_t+1,z) - min V'_est(o_t+1,z))^2]
    actor     -E[V_est(f(o),z)], differentiated through the actions and the model
    alpha     E[alpha (entropy - target)]
    p_phi     -E[log p_phi(z|s_t,a_t)] on the imagined steps
    latent    E[(V_est(s_1,z) + alpha_z (log p0(z) - log pi(z|s_1)) - baseline) grad log pi(z|s_1)]

where f' and V'_est are of target networks, which follow the others slowly. Rewards are those of the environment and a bonus
for novel states (random network distillation). The latent is drawn at an episode's start. Without one this is model-based SAC.
"""

import copy
import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from rpg.algorithms.streaming import StreamingAlgorithm, StreamingConfig
from rpg.environments.imagination import Imagination, imagination_spec
from rpg.environments.whole_episodes import whole_episodes
from rpg.models.encoded_policy import EncodedPolicy, ImaginationNetworks, LatentActor
from rpg.models.image_encoder import Thumbnails, check_image_settings
from rpg.models.latent import LatentPrior, LatentSpace, configured_prior
from rpg.models.network import frozen
from rpg.models.novelty import Novelty
from rpg.models.positional_embedding import PositionalEmbedding
from rpg.models.posterior import posterior_of_steps
from rpg.models.world_model import VALUES, WorldModel
from rpg.protocol import FixedHorizonEnvironment, Observation, flat_size, flattened, mapped
from rpg.settings_checks import (
    MOST_LATENTS,
    SettingError,
    check_fraction,
    check_int,
    check_not_negative,
    check_positive,
    check_scale,
    check_weight,
)
from rpg.training.collector import Choice, Situation
from rpg.training.replay_buffer import Transitions
from rpg.training.schedules import Schedule
from rpg.training.windows import Window, rolled_out_window, window_estimates

KEPT_STARTS, KEPT_IMAGES = 1024, 64
"""First observations, and first images, that are remembered, for pi(z|s_1)."""


@dataclass(frozen=True)
class ModelBasedRPGConfig(StreamingConfig):
    """Settings of model-based RPG; the defaults are the paper's, for sparse rewards, unless their text says otherwise. The
    replay buffer is kept in the run's folder."""

    names: ClassVar[tuple[str, ...]] = ("mbrpg",)

    batch_size: int = 512
    """Segments, states and starts drawn from the replay buffer for each gradient step."""
    buffer_size: int = 800_000
    """Steps that the replay buffer holds, over all environments."""
    window: int = 3
    """K, imagined steps, and steps of a segment."""
    hidden: tuple[int, ...] = (256, 256)
    """Hidden widths of the encoder, the actor, the values and p_phi."""
    state_dim: int = 100
    """Width of an encoded state."""
    memory: int = 256
    """Width of the recurrent network."""
    channels: int = 32
    """Of each of an image's four convolutions. The released code has 128, which takes 8 times as long."""
    learning_rate: float = 0.0003
    """Adam step of all networks and of the temperature."""
    grad_clip: float = 1.0
    """Largest gradient norm of each network."""
    target_rate: float = 0.005
    """Fraction of the way that the target networks move to the others."""
    actor_interval: int = 2
    """Updates of the model from one of the actor and p_phi to the next; the target networks move as often."""

    # the model's loss
    state_weight: float = 1000.0
    """L1, weight of the states' error, a mean over their entries."""
    reward_weight: float = 0.5
    """L2, weight of the rewards' error."""
    value_weight: float = 0.5
    """L3, weight of the values' error."""
    value_states: int = 1
    """Of the K states of a segment, drawn anew for each update, so many have their values learned. The released code learns all
    K; but what is imagined for their targets is the most expensive part of an update."""
    trace: float | None = 0.97
    """Weight of an n-step return against that of one step less; None: the longest alone, as the paper prints it."""
    entropy_in_targets: bool = False
    """Whether the values count the bonus for the actions' entropy."""
    reward_scale: Schedule = field(default_factory=lambda: Schedule.constant(5.0))
    """Factor on the environment's rewards; the novelty bonus is not scaled."""

    # the latent
    latent: Literal["gaussian", "categorical", "none"] = "gaussian"
    """Kind of z; none: one value, which is model-based SAC."""
    latent_dim: int = 12
    """Dimensions of a gaussian latent."""
    num_latents: int = 12
    """Values of a categorical latent."""
    beta: float = 0.005
    """Weight of log p_phi(z|s,a), the information about z."""
    learn_latent: bool = False
    """Whether pi(z|s_1) is learned; otherwise it stays N(0, 1), or uniform."""
    latent_hidden: tuple[int, ...] = ()
    """Hidden widths of a network from s_1 to pi(z|s_1); empty: it does not depend on s_1."""
    latent_entropy: Schedule = field(default_factory=lambda: Schedule(1.0, 0.0, 0.3, 1.0))
    """alpha_z, weight of pi(z|s_1)'s divergence from what it starts as."""

    # the actions
    std_start: float = 0.4
    """Standard deviation of an action before squashing at the start; it is learned and depends on the state."""
    alpha: float = 0.01
    """Temperature at the start; it is adapted."""
    target_entropy: float | None = None
    """Entropy of an action that the temperature is adapted to, nats per dimension; None: -1."""

    # curiosity
    novelty: float = 0.1
    """Weight of the novelty bonus, in units of its running standard deviation; 0: none."""
    novelty_hidden: tuple[int, ...] = (256, 256)
    """Hidden widths of the random network and its predictor, the last also that of their outputs. The paper has (512, 512)."""
    novelty_rate: float = 0.01
    """Weight of the newest errors in the running mean and standard deviation of errors."""
    novelty_buffer: bool = True
    """Whether the predictor learns from the replay buffer's states, or from the newest alone."""
    embedding: int = 6
    """Frequencies of the positional embedding of coordinates (`PositionalEmbedding`); 0: raw observations."""
    embedded: int | None = None
    """Number of leading entries of an observation that are coordinates of order 1, to be embedded; None: all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("window", "state_dim", "memory", "channels", "actor_interval", "latent_dim"):
            check_int(name, getattr(self, name), at_least=1)
        check_int("value_states", self.value_states, at_least=1, at_most=self.window)
        check_int("num_latents", self.num_latents, at_least=1, at_most=MOST_LATENTS)
        check_int("embedding", self.embedding, at_least=0, at_most=16)
        if self.embedded is not None:
            check_int("embedded", self.embedded, at_least=1)
        for name in ("hidden", "novelty_hidden"):
            if not getattr(self, name):
                raise ValueError(f"{name} was given (); allowed are one or more widths, as (256, 256)")
        for name in ("learning_rate", "grad_clip", "std_start", "alpha"):
            check_positive(name, getattr(self, name))
        for name in ("state_weight", "reward_weight", "value_weight", "beta", "novelty"):
            check_not_negative(name, getattr(self, name))
        for name in ("target_rate", "novelty_rate"):
            check_fraction(name, getattr(self, name))
        if self.trace is not None:
            check_positive("trace", self.trace, at_most=1.0)
        check_scale("reward_scale", self.reward_scale)
        check_weight("latent_entropy", self.latent_entropy)
        if self.target_entropy is not None and not -math.inf < self.target_entropy < math.log(2):
            given = f"target_entropy was given {self.target_entropy!r}"
            raise ValueError(f"{given}; allowed are numbers < log 2, the entropy of a uniform action")

    @property
    def space(self) -> LatentSpace:
        """Of z."""
        if self.latent == "gaussian":
            return LatentSpace(False, self.latent_dim)
        return LatentSpace(True, self.num_latents if self.latent == "categorical" else 1)


class ModelBasedRPG(StreamingAlgorithm[ModelBasedRPGConfig]):
    """Model-based RPG; see the module's docstring."""

    takes_images = True
    policy: EncodedPolicy

    def __init__(self, env: FixedHorizonEnvironment, config: ModelBasedRPGConfig, like: Tensor) -> None:
        super().__init__(env, config, like)
        size, space, generator = flat_size(self.spec.observation), config.space, self.generator
        action_dim = self.spec.action_dim
        if self.spec.time_limit is not None and config.window > self.spec.time_limit:
            given = f"window was given {config.window}"
            raise SettingError(f"{given}; allowed are at most the {self.spec.time_limit} steps of an episode")
        if config.embedded is not None and config.embedded > size:
            raise SettingError(
                f"embedded was given {config.embedded}; allowed are at most the {size} entries of an observation"
            )
        image = self.inputs.image
        if image is not None:
            check_image_settings(config.embedding, config.latent_hidden)
        self.embedding = PositionalEmbedding(self.inputs.width, count=config.embedded or size, order=config.embedding)
        self.thumbnails = None if image is None else Thumbnails(image[-1]).to(like)
        width = self.embedding.width if self.thumbnails is None else self.thumbnails.width
        model = WorldModel(
            width if image is None else image,
            action_dim,
            space,
            state_dim=config.state_dim,
            hidden=config.hidden,
            memory=config.memory,
            generator=generator,
            channels=config.channels,
        )
        actor = LatentActor(
            config.state_dim, action_dim, space, hidden=config.hidden, std_start=config.std_start, generator=generator
        )
        posterior = posterior_of_steps(space, config.state_dim + action_dim, hidden=config.hidden, generator=generator)
        self.networks = ImaginationNetworks(model, actor, posterior).to(like)
        self.targets = copy.deepcopy(self.networks).requires_grad_(False)
        self._followed: tuple[list[Tensor], list[Tensor]] = [*self.targets.parameters()], [*self.networks.parameters()]
        self.policy = EncodedPolicy(self.inputs, self.embedding, model, actor).to(like)
        self.novelty = Novelty(width, config.novelty_hidden, rate=config.novelty_rate, generator=generator).to(like)
        self.prior = self._new_prior(size)
        self.log_alpha = torch.zeros((), dtype=like.dtype, device=like.device)  # relative to the setting
        self.modules = {
            "inputs": self.inputs,
            "model": model,
            "actor": actor,
            "posterior": self.networks.posterior,
            "novelty": self.novelty,
            "targets": self.targets,
        }
        if self.thumbnails is not None:
            self.modules["thumbnails"] = self.thumbnails
        if self.prior is not None:
            self.modules["prior"] = self.prior.to(like)
        learned = ["model", "actor", *(["posterior"] if self._informed else ()), *(["prior"] if self._chooses else ())]
        parameters = {name: list(self.modules[name].parameters()) for name in learned}
        if config.novelty > 0:
            parameters["novelty"] = list(self.novelty.predictor.parameters())
        rate = config.learning_rate
        self.optimizers = {name: torch.optim.Adam(each, lr=rate, fused=True) for name, each in parameters.items()}
        self._alpha_optimizer = torch.optim.Adam([self.log_alpha], lr=config.learning_rate, fused=True)
        self._entropy = (-1.0 if config.target_entropy is None else config.target_entropy) * action_dim
        self._imagined = imagination_spec(model, config.window, like.dtype)
        self._starts = torch.zeros(0, size, dtype=like.dtype if image is None else torch.uint8, device=like.device)
        self._updates, self._reward_scale = 0, 1.0
        self.buffer.relabels.append(self.relabelled)
        self.learning_starts = max(config.random_steps, config.window * env.num_envs)  # there is a segment

    @property
    def _informed(self) -> bool:
        """Whether there is a latent to be told apart by what it does."""
        return self.config.latent != "none"

    @property
    def _chooses(self) -> bool:
        """Whether pi(z|s_1) is learned."""
        return self._informed and self.config.learn_latent

    def _new_prior(self, size: int) -> LatentPrior | None:
        config = self.config
        if config.latent == "none":
            return None
        return configured_prior(
            config.latent,
            num_latents=config.num_latents,
            dim=config.latent_dim,
            observation_dim=size,
            hidden=config.latent_hidden,
            generator=self.generator,
        )

    # Acting and collecting ----------------------------------------------------------------------------------------

    @torch.no_grad()
    def choose(self, situation: Situation) -> Choice:
        states = self.networks.model.encode(self.seen(situation.observation, situation.age))
        noise = self.standard_normal(len(states), self.spec.action_dim)
        sample = self.networks.actor.sampled(states, situation.latent, noise)
        return Choice(sample.action, sample.log_prob)

    def _draw_latent(self, first: Observation) -> Tensor:
        if self.prior is None:
            return super()._draw_latent(first)
        return self.prior.sample(flattened(first).to(self.like), self.generator)[0]

    def candidates(self) -> tuple[Tensor, Tensor]:
        if self.prior is None:
            return super().candidates()
        with torch.no_grad():
            return self.prior.candidates(self._firsts(), 32, torch.Generator().manual_seed(self.config.seed))

    def latent_probs(self) -> tuple[float, ...]:
        if self.prior is None:
            return super().latent_probs()
        with torch.no_grad():
            return tuple(self.prior.probs(self._firsts()).tolist())

    def _firsts(self) -> Tensor:
        """(N, O) first observations."""
        return self._starts.to(self.like) if len(self._starts) else self.like[:1]

    def collected(self, transitions: Transitions, iteration: int) -> None:
        """Remember starts, and teach the novelty's predictor."""
        config = self.config
        self._reward_scale = config.reward_scale.value(self.progress(iteration))
        began = transitions.age == 0
        if bool(began.any()):
            kept = KEPT_STARTS if self.inputs.image is None else KEPT_IMAGES
            self._starts = torch.cat([self._starts, flattened(transitions.observation)[began]])[-kept:]
        if config.novelty > 0:
            if config.novelty_buffer:
                transitions = self.buffer.sample(config.batch_size, self.generator, relabel=False)
            loss = self.novelty.loss(self.judged(transitions, learn=True))
            self.optimizers["novelty"].zero_grad()
            loss.backward()
            self.step(self.optimizers["novelty"])

    def seen(self, observation: Observation, age: Tensor) -> Tensor:
        """(N, W), or images (N, H, W, C), what networks see of observations (..., *shape) at ages (...); leading dimensions are
        joined."""
        observation = mapped(lambda each: each.flatten(0, age.ndim - 1), observation)
        return self.embedding(self.inputs(observation, age.flatten()))

    def judged(self, transitions: Transitions, *, learn: bool = False) -> Tensor:
        """(N, W) what novelty is judged by, of the next states: what the networks see, of images a small picture."""
        seen = self.seen(transitions.next_observation, transitions.age + 1)
        return seen if self.thumbnails is None else self.thumbnails(seen, learn=learn)

    def relabelled(self, transitions: Transitions) -> Tensor:
        """(...) rewards to learn from: those of the environment, scaled, and the bonus for novel next states."""
        reward = self._reward_scale * transitions.reward
        if self.config.novelty == 0:
            return reward
        bonus = self.novelty.bonus(self.judged(transitions))
        return reward + self.config.novelty * bonus.view_as(reward)

    # Learning -------------------------------------------------------------------------------------------------------

    def _noise(self, rounds: int, part: slice) -> Tensor:
        """(K, rounds n, A) for so many rounds of a batch's rows, of which `part` (n) is taken."""
        shape = (self.config.window, rounds, self.config.batch_size, self.spec.action_dim)
        return self.standard_normal(*shape)[:, :, part].flatten(1, 2)

    def update(self, iteration: int) -> dict[str, float]:
        terms = self._improve_model(iteration)
        if self._updates % self.config.actor_interval == 0:
            terms |= self._improve_actor(iteration)
            if self._chooses:
                terms |= self._improve_latent(iteration)
            with torch.no_grad():
                torch._foreach_lerp_(*self._followed, self.config.target_rate)
        self._updates += 1
        return terms

    def estimates(
        self,
        networks: ImaginationNetworks,
        states: Tensor,
        latent: Tensor,
        *,
        entropy: bool,
        twins: int = VALUES,
        noise: Tensor | None = None,
    ) -> tuple[Tensor, Window]:
        """V_est (2, N) of `states` (N, E) under `latent` (N, ...) by each of the `twins`, the values, and what was imagined for
        it, with `noise` (K, N, A) or with new noise; with the bonus for entropy or without. It is differentiable in the actor,
        the model and `states`."""
        config = self.config
        if noise is None:
            noise = self.standard_normal(config.window, len(states), self.spec.action_dim)
        world = whole_episodes(Imagination(networks.model, self._imagined, states))
        window, _, _ = rolled_out_window(world, networks.actor, world.reset(), range(config.window), noise=noise, latent=latent)
        rewards = window.rewards
        if self._informed and config.beta > 0:
            rewards = rewards + config.beta * networks.posterior(_steps_of(window), latent)
        if entropy:
            rewards = rewards + config.alpha * self.log_alpha.exp() * window.entropies
        values = networks.model.value(window.after, latent.expand(config.window, *latent.shape), twins=twins)
        rewards = torch.where(window.counted, rewards, 0.0)
        values = torch.where(window.counted & ~window.terminated, values, 0.0)
        return window_estimates(rewards, values, discount=config.discount, trace=config.trace), window

    def _improve_model(self, iteration: int) -> dict[str, float]:
        """One step on the errors of states, rewards and values along segments of episodes."""
        config, model, targets, part = self.config, self.networks.model, self.targets, self.own_part
        batch = self.buffer.segments(config.window, config.batch_size, self.generator, part=part)
        first = self.seen(mapped(lambda each: each[0], batch.observation), batch.age[0])
        after = self.seen(batch.next_observation, batch.age + 1)
        order = torch.rand(config.window, config.batch_size, generator=self.generator).argsort(0)[:, part].to(first.device)
        chosen = (order[: config.value_states], torch.arange(order.shape[1], device=first.device))  # (P, N) of (K, N)
        latent = batch.latent[chosen]
        with torch.no_grad():
            states = targets.model.encode(after).view(*batch.reward.shape, -1)
            starts = states[chosen].flatten(0, 1)
            noise = self._noise(config.value_states, part)
            wanted, _ = self.estimates(targets, starts, latent.flatten(0, 1), noise=noise, entropy=config.entropy_in_targets)
            wanted = wanted.amin(0).view(latent.shape[:2])
        memory, steps = model.begin(model.encode(first)), []
        for action in batch.action:
            steps.append(model.advance(memory, action))
            memory = steps[-1].memory
        _, predicted, rewards, ends = map(torch.stack, zip(*steps, strict=True))
        values = model.value(predicted[chosen], latent)
        alive = (~batch.terminated).to(rewards)
        state_loss = (predicted - states).square().mean()
        reward_loss = (rewards - batch.reward).square().mean()
        value_loss = (alive[chosen] * (values - wanted).square()).sum(0).mean()
        end_loss = nn.functional.binary_cross_entropy_with_logits(ends, 1 - alive)
        loss = (
            config.state_weight * state_loss
            + config.reward_weight * (reward_loss + end_loss)
            + config.value_weight * value_loss
        )
        norm = self._stepped("model", loss, iteration)
        terms = {
            **{"state_loss": state_loss, "reward_loss": reward_loss, "value_loss": value_loss, "value": wanted.mean()},
            **{"reward": batch.reward.mean(), "reward_std": batch.reward.std(), "state_std": states.std(1).mean()},
        }
        return {**{name: float(value.detach()) for name, value in terms.items()}, "model_grad_norm": norm}

    def _improve_actor(self, iteration: int) -> dict[str, float]:
        """One step of the actor, through the model, of the temperature, and of p_phi on what was imagined."""
        config, networks, part = self.config, self.networks, self.own_part
        batch = self.buffer.sample(config.batch_size, self.generator, relabel=False, part=part)
        with torch.no_grad():
            states = networks.model.encode(self.seen(batch.observation, batch.age))
        noise = self._noise(1, part)
        with frozen(networks.model, networks.posterior):
            estimates, window = self.estimates(networks, states, batch.latent, noise=noise, entropy=True, twins=1)
        objective = estimates.mean()
        norm = self._stepped("actor", -objective, iteration)

        entropy = window.entropies.detach().mean()
        if self.ranks is not None:
            self.ranks.average([entropy])
        self.log_alpha.grad = self.log_alpha.exp() * (entropy - self._entropy)
        self.step(self._alpha_optimizer)
        terms = {
            "objective": float(objective.detach()),
            "policy_entropy": float(entropy),
            "alpha": config.alpha * float(self.log_alpha.exp()),
            "grad_norm": norm,
        }
        if self._informed:
            loss = networks.posterior.training_loss(_steps_of(window), batch.latent)
            self._stepped("posterior", loss, iteration)
            terms["posterior_loss"] = float(loss.detach())
        return terms

    def _improve_latent(self, iteration: int) -> dict[str, float]:
        """One REINFORCE step of pi(z|s_1) on the values that the starts have under draws of z."""
        assert self.prior is not None
        row = torch.randint(len(self._starts), (self.config.batch_size,), generator=self.generator)
        first = self._starts[row]
        seen = first.to(self.like)
        latent = self.prior.sample(seen, self.generator)
        age = torch.zeros(len(first), dtype=torch.int64, device=first.device)
        with torch.no_grad():
            states = self.networks.model.encode(self.embedding(self.inputs(first, age)))
            worth = self.estimates(self.networks, states, latent[0], entropy=True)[0].amin(0)
        log_prob = self.prior.log_prob(latent, seen).sum(0)
        weight = self.config.latent_entropy.value(self.progress(iteration))
        gain = worth + weight * (self.prior.reference_log_prob(latent).sum(0) - log_prob.detach())
        self._stepped("prior", -((gain - gain.mean()) * log_prob).mean(), iteration, shared=False)
        self.prior.observe(first, latent, gain.unsqueeze(0), self.progress(iteration))
        return {"latent_value": float(worth.mean()), "latent_entropy": float(-log_prob.detach().mean())}

    def _stepped(self, name: str, loss: Tensor, iteration: int, *, shared: bool = True) -> float:
        """A step of the module `name` on `loss`; the norm of its gradient. A `shared` loss is that of this process's part of a
        batch."""
        self.optimizers[name].zero_grad()
        loss.backward()
        if self.ranks is not None and shared:
            self.ranks.average(each.grad for each in self.modules[name].parameters() if each.grad is not None)
        return self.stepped(name, iteration=iteration, limit=self.config.grad_clip)

    # What a checkpoint needs ----------------------------------------------------------------------------------------

    def extra_state(self) -> dict[str, Any]:
        return {
            **super().extra_state(),
            "log_alpha": self.log_alpha,
            "alpha_optimizer": self._alpha_optimizer.state_dict(),
            "starts": self._starts,
            "updates": self._updates,
            "reward_scale": self._reward_scale,
        }

    def restore_extra_state(self, state: dict[str, Any]) -> None:
        super().restore_extra_state(state)
        self.log_alpha.copy_(state["log_alpha"])
        self._alpha_optimizer.load_state_dict(state["alpha_optimizer"])
        self._starts = state["starts"].to(self._starts)
        self._updates, self._reward_scale = state["updates"], state["reward_scale"]


def _steps_of(window: Window) -> Tensor:
    """(K, N, E + A) the states and actions of imagined steps, which p_phi sees."""
    return torch.cat([window.observations, window.actions], dim=-1)
