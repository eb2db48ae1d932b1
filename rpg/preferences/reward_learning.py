"""Learning a reward from preferences, top to bottom.

A round

1. trains a policy by RPG on the reward so far (not in the first round, which has none),
2. collects episodes under it, and cuts them into segments, with log pi_b of their actions,
3. asks the teacher about pairs of all segments so far, those that the selection prefers,
4. learns the reward anew from all answers so far, with weights A = pi / pi_b under the policy of now (`bradley_terry`).

The policy goes on from round to round, so a z means the same in old segments as in new ones.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from rpg.algorithms import build_algorithm
from rpg.algorithms.algorithm import copied
from rpg.algorithms.rpg import RPG, RPGConfig
from rpg.environments.whole_episodes import whole_episodes
from rpg.preferences.bradley_terry import preference_loss
from rpg.preferences.learned_reward import LearnedReward
from rpg.preferences.query_selection import Selection, drawn_pairs, selected
from rpg.preferences.reward_model import RewardModel
from rpg.preferences.segments import Segments, collected_segments, importance_weights, joined
from rpg.preferences.teacher import Teacher
from rpg.protocol import Environment, FixedHorizonEnvironment, check_environment
from rpg.settings_checks import (
    LARGEST_SEED,
    SettingError,
    check_bool,
    check_choice,
    check_int,
    check_not_negative,
    check_number,
    check_positive,
    check_widths,
    checked_path,
)
from rpg.training.checkpoint import CheckpointError, CheckpointMismatch, file_content
from rpg.training.schedules import Schedule
from rpg.training.whole_files import whole_file

_FORMAT = 1


@dataclass(frozen=True)
class PreferenceConfig:
    """Settings of reward learning."""

    rounds: int = 6
    """Number of rounds."""
    queries: int = 50
    """Questions in a round."""
    candidates: int = 10
    """Pairs drawn for each question, from which the selection takes."""
    segment_length: int = 5
    """L: steps of a segment."""
    episode_batches: int = 4
    """Batches of episodes, one for each environment, that a round collects."""
    iterations: int = 15
    """Iterations of RPG in a round."""
    policy: RPGConfig = field(default_factory=lambda: RPGConfig(std=Schedule.constant(0.3)))
    """The other settings of RPG, which trains the policy that collects. Its `iterations` and `seed` are set by those here; its
    std should not become small, or densities of actions under two policies have nothing in common."""
    weighted: bool = True
    """Whether rewards are learned with the weights A = pi / pi_b; without, with weights of 1."""
    log_ratio_range: tuple[float, float] = (-1.0, 1.0)
    """What the logarithm of a step's weight is clipped to."""
    selection: Selection = "gradient"
    """Which candidates are asked about: those with the largest expected gradient |A (1 - P)|, those that the ensemble disagrees
    about most, or any."""
    members: int = 3
    """Networks in the ensemble."""
    hidden: tuple[int, ...] = (64, 64)
    """Their hidden widths."""
    learning_rate: float = 0.01
    """Their Adam step."""
    weight_decay: float = 0.01
    """Their decoupled weight decay (AdamW). Without mistakes of the teacher the loss alone would let rewards grow forever."""
    passes: int = 100
    """Passes through all answers so far, in a round."""
    batch_size: int = 64
    """Answers of a gradient step."""
    seed: int = 0
    """Seed of everything."""

    def __post_init__(self) -> None:
        for name in (
            "rounds", "queries", "candidates", "segment_length", "episode_batches", "iterations", "members", "passes",
            "batch_size",
        ):  # fmt: skip
            check_int(name, getattr(self, name), at_least=1)
        if not isinstance(self.policy, RPGConfig) or self.policy.latent_chain:
            raise SettingError(f"policy was given {self.policy!r}; allowed are an rpg.RPGConfig without latent_chain")
        check_bool("weighted", self.weighted)
        if not isinstance(self.log_ratio_range, tuple) or len(self.log_ratio_range) != 2:
            raise ValueError(f"log_ratio_range was given {self.log_ratio_range!r}; allowed are two numbers, as (-1.0, 1.0)")
        for bound in self.log_ratio_range:
            check_number("log_ratio_range", bound)
        if not self.log_ratio_range[0] <= 0 <= self.log_ratio_range[1]:
            raise ValueError(f"log_ratio_range was given {self.log_ratio_range!r}; allowed are ranges that hold 0")
        check_choice("selection", self.selection, get_args(Selection))
        check_widths("hidden", self.hidden)
        check_positive("learning_rate", self.learning_rate)
        check_not_negative("weight_decay", self.weight_decay)
        check_int("seed", self.seed, at_least=0, at_most=LARGEST_SEED)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a file."""
        values = {**vars(self), "policy": self.policy.to_dict()}
        return {name: list(each) if isinstance(each, tuple) else each for name, each in values.items()}


@dataclass(frozen=True)
class RewardLearning:
    """Reward learning after some rounds, a value."""

    config: PreferenceConfig
    teacher: Teacher
    model: RewardModel | None = None
    """The reward, learned from all answers; None before the first round."""
    segments: Segments | None = None
    """All segments so far."""
    pairs: Tensor = field(default_factory=lambda: torch.zeros(0, 2, dtype=torch.int64))
    """(Q, 2) int64: which of them the teacher was asked about."""
    answers: Tensor = field(default_factory=lambda: torch.zeros(0))
    """(Q,) 1 where the first was preferred, 0 where the second, 0.5 where neither."""
    policy: dict[str, Any] | None = None
    """State of the algorithm that collects (`Algorithm.state`)."""
    generator: Tensor | None = None
    """State of the random generator."""
    history: tuple[dict[str, float], ...] = ()
    """Of each round: "asked", the answers so far; "loss" of an answer in the last pass, nats; "agreement", the share of the
    decided answers that the reward agrees with; "reward", the environment's own, of a step of the new episodes; "weight", the
    mean A of all steps so far."""

    @property
    def rounds(self) -> int:
        """Number of rounds that are done."""
        return len(self.history)


def learn_reward(
    env: Environment | FixedHorizonEnvironment,
    teacher: Teacher,
    config: PreferenceConfig | None = None,
    *,
    path: Path | str | None = None,
    resume: bool = False,
    on_round: Callable[[RewardLearning], None] | None = None,
) -> RewardLearning:
    """Learn a reward for `env` from a teacher's preferences, calling `on_round` after each round.

    `path` is a file that holds all of it, and is written whole after each round. With `resume` it goes on from there, the same
    bit for bit.

    Raises BudgetError, before anything is run, if there are more questions than the teacher's budget; SettingError if segments
    are longer than episodes; FileExistsError if the file is there and `resume` is False, FileNotFoundError if it is not and
    `resume` is True; CheckpointMismatch if it is of other settings.
    """
    config = config or PreferenceConfig()
    check_bool("resume", resume)
    path = None if path is None else checked_path("path", path)
    learning = RewardLearning(config, teacher)
    if resume:
        if path is None:
            raise ValueError("resume was given True without a path; allowed with a path only")
        learning = _continued(path, learning)
    elif path is not None and path.exists():
        raise FileExistsError(f"{path} already exists; give resume=True or another path")
    teacher.check_budget((config.rounds - learning.rounds) * config.queries, asked=len(learning.answers))
    like = check_environment(env)
    if (horizon := whole_episodes(env).horizon) < config.segment_length:
        raise SettingError(
            f"segment_length was given {config.segment_length}; allowed are <= {horizon}, the steps of an episode"
        )
    while learning.rounds < config.rounds:
        learning = _next_round(env, learning, like)
        if path is not None:
            save_learning(path, learning)
        if on_round is not None:
            on_round(learning)
    return learning


# One round --------------------------------------------------------------------------------------------------


def _next_round(env: Environment | FixedHorizonEnvironment, learning: RewardLearning, like: Tensor) -> RewardLearning:
    config, number = learning.config, learning.rounds
    generator = torch.Generator().manual_seed(config.seed)
    if learning.generator is not None:
        generator.set_state(learning.generator)

    # The policy, on the reward so far. In the first round it is as it starts.
    rewarded = env if learning.model is None else LearnedReward(env, learning.model)
    settings = replace(config.policy, seed=config.seed, iterations=max(1, config.iterations * (config.rounds - 1)))
    algorithm = build_algorithm(rewarded, settings, like)
    assert isinstance(algorithm, RPG)
    if learning.policy is not None:
        algorithm.restore(learning.policy)
    begun = config.iterations * max(0, number - 1)
    iteration = begun if learning.model is None else begun + config.iterations
    for each in range(begun, iteration):
        algorithm.iterate(each)

    # Episodes under it, with their own first states.
    whole, batches = whole_episodes(env), config.episode_batches
    found = [
        collected_segments(
            whole,
            algorithm,
            iteration=iteration,
            seed=algorithm.episode_seed(10**6 + number * batches + batch),
            length=config.segment_length,
            generator=generator,
        )
        for batch in range(batches)
    ]
    new = joined(found)
    segments = new if learning.segments is None else joined([learning.segments, new])
    std = algorithm.action_std(iteration)
    ratios = importance_weights(segments, algorithm.policy, std, log_ratio_range=config.log_ratio_range)
    weights = ratios if config.weighted else segments.counted.to(ratios)

    # Questions, and the reward from all answers so far.
    pairs = drawn_pairs(len(segments), config.queries * config.candidates, generator)
    before = learning.model or _new_model(segments, config, generator)
    with torch.no_grad():
        guesses = before.members(before.rows(segments.after, segments.actions))
    pairs = selected(config.selection, pairs, config.queries, guesses, weights)
    returns, asked = segments.true_returns, len(learning.answers)
    answers = learning.teacher.ask(returns[pairs[:, 0]], returns[pairs[:, 1]], asked=asked, generator=generator)
    pairs, answers = torch.cat([learning.pairs, pairs]), torch.cat([learning.answers.to(answers), answers])
    model, loss = fitted_reward(segments, pairs, answers, weights, config, generator)

    earned = model.of(segments).sum(0)
    decided = answers != 0.5
    agrees = (earned[pairs[:, 0]] > earned[pairs[:, 1]]) == (answers > 0.5)
    record = {
        "asked": float(len(answers)),
        "loss": loss,
        "agreement": float(agrees[decided].double().mean()) if bool(decided.any()) else 1.0,
        "reward": float(new.true_rewards.mean()),
        "weight": float(ratios[segments.counted].mean()),
    }
    return replace(
        learning,
        model=model,
        segments=segments,
        pairs=pairs,
        answers=answers,
        policy=algorithm.state(),
        generator=generator.get_state(),
        history=(*learning.history, record),
    )


def _new_model(segments: Segments, config: PreferenceConfig, generator: torch.Generator) -> RewardModel:
    """One that has learned nothing, whose normaliser knows the segments."""
    widths = segments.after.shape[-1], segments.unsquashed.shape[-1]
    model = RewardModel(*widths, members=config.members, hidden=config.hidden, generator=generator).to(segments.after)
    model.normalizer.update(segments.after[segments.counted])
    return model


def fitted_reward(
    segments: Segments, pairs: Tensor, answers: Tensor, weights: Tensor, config: PreferenceConfig, generator: torch.Generator
) -> tuple[RewardModel, float]:
    """A reward learned from `answers` (Q,) about the `pairs` (Q, 2) of segments, whose steps have `weights` (L, N); and the
    mean loss of an answer in the last pass, nats."""
    model = _new_model(segments, config, generator)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
    with torch.no_grad():
        rows = model.rows(segments.after, segments.actions)
    losses: list[float] = []
    for _ in range(config.passes):
        losses.clear()
        for drawn in torch.randperm(len(pairs), generator=generator).split(config.batch_size):
            both = pairs[drawn].t()  # (2, b)
            first, second = model.members(rows[:, both]).unbind(2)  # (M, L, b) each
            loss = preference_loss(
                first, second, answers[drawn], first_weights=weights[:, both[0]], second_weights=weights[:, both[1]]
            )
            optimizer.zero_grad()
            loss.mean(1).sum().backward()  # each member by its own
            optimizer.step()
            losses.append(float(loss.detach().mean(0).sum()))
    model.set_unit(segments)
    return model, sum(losses) / len(pairs)


# The file ---------------------------------------------------------------------------------------------------


def save_learning(path: Path, learning: RewardLearning) -> None:
    """Write it whole or not at all. Raises OSError, which names `path`."""
    assert learning.model is not None
    assert learning.segments is not None
    content = {
        "format": _FORMAT,
        "config": learning.config.to_dict(),
        "teacher": asdict(learning.teacher),
        "model": copied(learning.model.state_dict()),
        "segments": learning.segments.tensors(),
        "history": list(learning.history),
        **{name: getattr(learning, name) for name in ("pairs", "answers", "policy", "generator")},
    }
    with whole_file(path) as partial:
        torch.save(content, partial)


def load_learning(path: Path | str) -> RewardLearning:
    """What `learn_reward` wrote, on the CPU, without running code from the file: `load_learning(path).model` is the reward.

    Raises FileNotFoundError or CheckpointError, in one line.
    """
    path = checked_path("path", path)
    content = file_content(path, "learned reward")
    found = content.get("format") if isinstance(content, dict) else None
    if found != _FORMAT or "pairs" not in content:
        raise CheckpointError(f"{path} is no learned reward of format {_FORMAT}")
    values = content["config"]
    settings: dict[str, Any] = {name: tuple(each) if isinstance(each, list) else each for name, each in values.items()}
    policy = RPGConfig.from_dict(values["policy"])
    assert isinstance(policy, RPGConfig)
    config, segments = PreferenceConfig(**{**settings, "policy": policy}), Segments(**content["segments"])
    model = _new_model(segments, config, torch.Generator())
    model.load_state_dict(content["model"])
    return RewardLearning(
        config=config,
        teacher=Teacher(**content["teacher"]),
        model=model,
        segments=segments,
        history=tuple(content["history"]),
        **{name: content[name] for name in ("pairs", "answers", "policy", "generator")},
    )


def _continued(path: Path, new: RewardLearning) -> RewardLearning:
    """The learning in the file, which must be of the settings of `new`."""
    old = load_learning(path)
    for what, saved, given in (
        ("config", old.config.to_dict(), new.config.to_dict()),
        ("teacher", asdict(old.teacher), asdict(new.teacher)),
    ):
        for name in given:
            if saved[name] != given[name]:
                raise CheckpointMismatch(f"{what} {name!r}: {path} has {saved[name]!r}, this call was given {given[name]!r}")
    return old
