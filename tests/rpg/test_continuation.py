"""Runs that go on: extended, branched, past an iteration that is not finite, stopped early; their best checkpoint and their
evaluations on held-out states.
"""

import json
from dataclasses import replace

import pytest
import torch

import rpg
from rpg import AdamConfig, Branch, CEMConfig, CheckpointMismatch, RPGConfig, Schedule, Trainer, load_checkpoint, read_metrics
from rpg.environments.wall import PointMassWall
from rpg.training.evaluation import EVALUATION_SEED, HELD_OUT_SEED

ENV = PointMassWall(num_envs=8, horizon=6)
SAC = rpg.SACConfig(iterations=3, hidden=(8,), random_steps=48, batch_size=16)
CONFIG = RPGConfig(num_latents=3, iterations=6, policy="mlp", policy_hidden=(8,), posterior_hidden=(8,), seed=1)


def without_time(rows):
    return [replace(row, seconds=0.0, events=()) for row in rows]


def parameters(trainer: Trainer) -> dict[str, torch.Tensor]:
    modules = trainer.algorithm.modules.items()
    return {f"{name}.{key}": value for name, module in modules for key, value in module.state_dict().items()}


def same(a: Trainer, b: Trainer) -> bool:
    a, b = parameters(a), parameters(b)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class Trap(PointMassWall):
    """Gives NaN where `sprung` says so, of the seed that the episodes were reset with."""

    def reset(self, seed=None):
        object.__setattr__(self, "seed", seed)
        return super().reset(seed)

    def step(self, state, action):
        state, reward, info = super().step(state, action)
        return state, reward * torch.nan if self.sprung(self.seed) else reward, info

    def sprung(self, seed: int) -> bool:
        raise NotImplementedError


def seed_of(config, iteration: int) -> int:
    return config.seed * 1_000_003 + iteration


class TrapAtThree(Trap):
    """The episodes of CONFIG's fourth iteration, as they are drawn first."""

    def sprung(self, seed):
        return seed == seed_of(CONFIG, 3)


class TrapFromThree(Trap):
    """All episodes from the fourth iteration on, whatever the attempt, but for the third attempt at it."""

    def sprung(self, seed):
        return seed in [(seed_of(CONFIG, 3) + attempt * 715_827_883) % (2**31 - 2) for attempt in (0, 1)]


# extension ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("done", [2, 6])
def test_an_extended_run_has_the_same_beginning_and_holds_its_schedules(tmp_path, done):
    whole = Trainer(ENV, CONFIG, run_dir=tmp_path / "whole").train().history
    trainer = Trainer(ENV, CONFIG, run_dir=tmp_path / "run")
    trainer.train(lambda row: row.iteration == done - 1)
    longer = replace(CONFIG, iterations=9)
    result = Trainer(ENV, longer, run_dir=tmp_path / "run", resume=True).train()
    assert [row.iteration for row in result.history] == list(range(9))
    assert without_time(result.history[:6]) == without_time(whole)
    assert [row.terms["std"] for row in result.history[6:]] == pytest.approx([CONFIG.std.end] * 3)
    assert result.history[done].events == ("iterations changed from 6 to 9",)
    assert without_time(read_metrics(tmp_path / "run")) == without_time(result.history)
    checkpoint = load_checkpoint(tmp_path / "run" / "checkpoint.pt")
    assert checkpoint.config["iterations"] == 9

    # in one go or after a break, it is the same run
    other = Trainer(ENV, CONFIG, run_dir=tmp_path / "other")
    other.train(lambda row: row.iteration == done - 1)
    Trainer(ENV, longer, run_dir=tmp_path / "other", resume=True).train(lambda row: row.iteration == 7)
    again = Trainer(ENV, longer, run_dir=tmp_path / "other", resume=True)
    assert without_time(again.train().history) == without_time(result.history)
    with pytest.raises(CheckpointMismatch, match="iterations was given 5; the checkpoint has 9 done"):
        Trainer(ENV, replace(CONFIG, iterations=5), run_dir=tmp_path / "other", resume=True)


def test_sac_and_its_buffer_are_extended(tmp_path):
    longer = replace(SAC, iterations=5)
    whole = Trainer(ENV, longer)
    expected = whole.train().history
    Trainer(ENV, SAC, run_dir=tmp_path).train()
    extended = Trainer(ENV, longer, run_dir=tmp_path, resume=True)
    assert without_time(extended.train().history) == without_time(expected)
    assert same(extended, whole)


# branches ----------------------------------------------------------------------------------------------------


def test_a_branch_that_changes_nothing_is_the_run_itself(tmp_path):
    whole = Trainer(ENV, CONFIG)
    expected = whole.train()
    Trainer(ENV, CONFIG, run_dir=tmp_path / "parent").train(lambda row: row.iteration == 2)
    branch = Trainer(ENV, CONFIG, run_dir=tmp_path / "branch", branch=Branch(tmp_path / "parent"))
    result = branch.train()
    assert without_time(result.history) == without_time(expected.history)
    assert same(branch, whole)


def test_a_branch_has_a_copy_of_the_replay_buffer(tmp_path):
    longer = replace(SAC, iterations=6)
    whole = Trainer(ENV, longer)
    whole.train()
    Trainer(ENV, SAC, run_dir=tmp_path / "parent").train()
    files = {path: path.read_bytes() for path in (tmp_path / "parent" / "replay").iterdir()}
    Trainer(ENV, longer, run_dir=tmp_path / "branch", branch=Branch(tmp_path / "parent")).train(lambda row: row.iteration == 3)
    branch = Trainer(ENV, longer, run_dir=tmp_path / "branch", resume=True)
    branch.train()
    assert same(branch, whole)
    assert {path: path.read_bytes() for path in files} == files
    with pytest.raises(CheckpointMismatch, match="cannot be branched with these settings"):
        Trainer(PointMassWall(num_envs=12, horizon=6), longer, run_dir=tmp_path / "o", branch=Branch(tmp_path / "parent"))


def test_a_branch_has_its_own_settings_and_the_parents_history(tmp_path):
    parent = Trainer(ENV, CONFIG, run_dir=tmp_path / "parent")
    parent.train()
    before = (tmp_path / "parent" / "metrics.jsonl").read_bytes()
    config = replace(CONFIG, iterations=9, policy_learning_rate=0.003, latent_learning_rate=0.5)
    branch = Trainer(ENV, config, run_dir=tmp_path / "branch", branch=Branch(tmp_path / "parent"))
    assert same(branch, parent)
    result = branch.train(lambda row: row.iteration == 7)
    assert without_time(result.history[:6]) == without_time(parent.history)
    assert branch.algorithm.optimizers["latent"].param_groups[0]["lr"] == 0.5  # and not the parent's
    (event,) = result.history[6].events
    assert event.startswith(f"branched from {tmp_path / 'parent'} after iteration 6: ")
    for change in ("iterations 6 -> 9", "policy_learning_rate None -> 0.003", "latent_learning_rate 0.03 -> 0.5"):
        assert change in event
    assert (tmp_path / "parent" / "metrics.jsonl").read_bytes() == before
    rows = [json.loads(line) for line in (tmp_path / "branch" / "metrics.jsonl").read_text().splitlines()]
    assert [row["iteration"] for row in rows] == list(range(8))
    assert rows[7]["simulator_steps"] == 8 * 48

    resumed = Trainer(ENV, config, run_dir=tmp_path / "branch", resume=True)
    history = resumed.train().history
    straight = Trainer(ENV, config, branch=Branch(tmp_path / "parent"))
    assert without_time(straight.train().history) == without_time(history)
    assert same(straight, resumed)


def test_a_branch_may_have_another_number_of_environments(tmp_path):
    Trainer(ENV, CONFIG, run_dir=tmp_path / "parent").train()
    longer = replace(CONFIG, iterations=8)
    more = Trainer(PointMassWall(num_envs=12, horizon=6), longer, run_dir=tmp_path / "more", branch=Branch(tmp_path / "parent"))
    assert more.train().history[-1].simulator_steps == 6 * 48 + 2 * 72
    assert rpg.load_policy(tmp_path / "more").shape.num_envs == 12


def test_a_branch_holds_the_schedules_or_restarts_them(tmp_path):
    Trainer(ENV, CONFIG, run_dir=tmp_path / "parent").train()
    config = replace(CONFIG, iterations=11, std=Schedule(0.5, 0.2))
    held = Trainer(ENV, config, branch=Branch(tmp_path / "parent")).train().history
    assert [row.terms["std"] for row in held[6:]] == pytest.approx([0.2] * 5)
    branch = Branch(tmp_path / "parent", restart_schedules=True)
    anew = Trainer(ENV, config, branch=branch).train().history
    assert [row.terms["std"] for row in anew[6:]] == pytest.approx([0.5, 0.425, 0.35, 0.275, 0.2])


def test_a_branch_with_another_seed_goes_another_way(tmp_path):
    Trainer(ENV, CONFIG, run_dir=tmp_path / "parent").train(lambda row: row.iteration == 2)
    runs = [Trainer(ENV, replace(CONFIG, seed=seed), branch=Branch(tmp_path / "parent")).train().history for seed in (1, 2, 2)]
    assert without_time(runs[1]) == without_time(runs[2])
    assert without_time(runs[0])[:3] == without_time(runs[1])[:3]
    assert without_time(runs[0])[3] != without_time(runs[1])[3]


def test_a_branch_that_cannot_be_is_refused(tmp_path):
    Trainer(ENV, CONFIG, run_dir=tmp_path / "parent").train()
    branch = Branch(tmp_path / "parent")
    for config, message in [
        (replace(CONFIG, num_latents=4), r"latent\..*constant has shape \(3,\) there, \(4,\) here \(num_latents 3 -> 4\)"),
        (CONFIG.gaussian(), "has the same algorithm; changed were .*algorithm rpg -> gaussian"),
        (replace(CONFIG, iterations=5), "iterations was given 5; the checkpoint has 6 done"),
        (replace(CONFIG, learn_std=True), r"policy\.log_std is only here \(learn_std False -> True\)"),
    ]:
        with pytest.raises(CheckpointMismatch, match=message) as error:
            Trainer(ENV, config, branch=branch)
        assert "\n" not in str(error.value)
    with pytest.raises(FileExistsError, match="already holds a run"):
        Trainer(ENV, CONFIG, run_dir=tmp_path / "parent", branch=branch)
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        Trainer(ENV, CONFIG, branch=Branch(tmp_path / "nowhere"))
    cem = CEMConfig(iterations=2, knots=3)
    Trainer(ENV, cem, run_dir=tmp_path / "cem").train()
    with pytest.raises(CheckpointMismatch, match=r"extra\.mean has shape \(3, 2\) there, \(4, 2\) here \(knots 3 -> 4\)"):
        Trainer(ENV, replace(cem, knots=4), branch=Branch(tmp_path / "cem"))


# iterations that are not finite -------------------------------------------------------------------------------


def test_a_run_that_met_nan_is_resumed_past_it(tmp_path):
    env = TrapAtThree(num_envs=8, horizon=6)
    with pytest.raises(rpg.NotFiniteError, match="iteration 3: the reward is not finite"):
        Trainer(env, CONFIG, run_dir=tmp_path).train()
    assert load_checkpoint(tmp_path / "checkpoint.pt").iteration == 3
    with pytest.warns(
        RuntimeWarning, match=r"iteration 3: the reward .*attempt 2 with other seeds and learning rates times 0\.5"
    ):
        trainer = Trainer(env, CONFIG, run_dir=tmp_path, resume=True)
    history = trainer.train().history
    assert len(history) == 6
    assert [row.step_scale for row in history] == pytest.approx([1, 1, 1, 0.5, 0.5 * 2**0.1, 0.5 * 2**0.2])
    assert [bool(row.events) for row in history] == [False, False, False, True, False, False]
    assert "attempt 2" in json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[3])["events"][0]

    # and so is one that is trained again, or that tries again by itself, in the same way
    again = Trainer(env, CONFIG)
    with pytest.raises(rpg.NotFiniteError):
        again.train()
    assert without_time(again.train().history) == without_time(history)
    by_itself = Trainer(env, CONFIG, retries=1)
    with pytest.warns(RuntimeWarning, match="iteration 3: the reward"):
        assert without_time(by_itself.train().history) == without_time(history)
    assert same(by_itself, trainer)


def test_attempts_have_a_limit_and_smaller_steps_each(tmp_path):
    env = TrapFromThree(num_envs=8, horizon=6)
    with pytest.warns(RuntimeWarning), pytest.raises(rpg.NotFiniteError):
        Trainer(env, CONFIG, run_dir=tmp_path, retries=1).train()
    with pytest.warns(RuntimeWarning, match=r"attempt 3 .* times 0\.25"):
        history = Trainer(env, CONFIG, run_dir=tmp_path, resume=True).train().history
    assert history[3].step_scale == 0.25
    assert len(history[3].events) == 2


def test_the_smaller_step_is_taken_by_every_optimiser():
    """Half the learning rates: half of what Adam moves the parameters by."""
    for config in (
        AdamConfig(seed=1),
        replace(CONFIG, num_latents=2),
        rpg.SHACConfig(value_epochs=1),
    ):
        moved = []
        for scale in (1.0, 0.5):
            trainer = Trainer(ENV, config)
            before = {name: p.detach().clone() for name, p in trainer.algorithm.policy.named_parameters()}
            trainer.algorithm.step_scale = scale
            trainer.algorithm.iterate(0)
            moved.append({name: p.detach() - before[name] for name, p in trainer.algorithm.policy.named_parameters()})
        for name, whole in moved[0].items():
            torch.testing.assert_close(moved[1][name], whole / 2, atol=1e-7, rtol=1e-3)


@pytest.mark.parametrize("algorithm", ["cem", "mppi", "ppo", "sapo", "mixture"])
def test_every_algorithm_gets_past_nan(algorithm):
    if algorithm == "ppo":
        pytest.importorskip("stable_baselines3")
    config = replace(rpg.CONFIGS[algorithm](), iterations=5, seed=1)
    with pytest.warns(RuntimeWarning, match="iteration 3: the reward is not finite"):
        history = Trainer(TrapAtThree(num_envs=8, horizon=6), config, retries=1).train().history
    assert [row.iteration for row in history] == list(range(5))
    assert history[3].step_scale == 0.5


def test_sac_gets_past_nan():
    trainer = Trainer(ENV, replace(SAC, iterations=5), retries=1)
    update = trainer.algorithm.update

    def failing(iteration):
        return {**update(iteration), "critic_loss": torch.nan if (iteration, trainer.algorithm.attempt) == (3, 0) else 0.0}

    trainer.algorithm.update = failing
    with pytest.warns(RuntimeWarning, match="iteration 3: the critic loss is not finite"):
        history = trainer.train().history
    assert history[3].step_scale == 0.5
    assert trainer.algorithm.buffer.total == 5 * 48


# early ends --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["true", "raise"])
def test_a_callback_ends_the_run_and_the_modes_are_kept(tmp_path, how):
    def on_iteration(row):
        if row.iteration == 2 and how == "raise":
            raise rpg.StopTraining
        return row.iteration == 2

    trainer = Trainer(ENV, CONFIG, run_dir=tmp_path)
    result = trainer.train(on_iteration)
    assert result.stopped
    assert not result.interrupted
    assert len(result.history) == 3
    assert [mode.latent for mode in result.modes] == [mode.latent for mode in trainer.modes()] != []
    assert len(result.evaluations) == 3
    resumed = Trainer(ENV, CONFIG, run_dir=tmp_path, resume=True).train()
    assert without_time(resumed.history) == without_time(Trainer(ENV, CONFIG).train().history)
    assert not resumed.stopped


# evaluation during training, and the best checkpoint ------------------------------------------------------------


def test_evaluations_on_held_out_states_are_in_the_metrics_and_change_nothing(tmp_path):
    seeds = []

    class Watched(PointMassWall):
        def reset(self, seed=None):
            seeds.append(seed)
            return super().reset(seed)

    plain = Trainer(ENV, CONFIG)
    expected = plain.train().history
    trainer = Trainer(Watched(num_envs=8, horizon=6), CONFIG, run_dir=tmp_path, evaluation_interval=2)
    history = trainer.train().history
    assert same(trainer, plain)
    assert [row.return_mean for row in history] == [row.return_mean for row in expected]
    assert [row.simulator_steps for row in history] == [row.simulator_steps for row in expected]
    assert [bool(row.evaluation) for row in history] == [False, True] * 3
    assert [row.evaluation_steps for row in history] == [0, 144, 144, 288, 288, 432]  # 3 latents, 8 environments, 6 steps
    assert set(history[1].evaluation) == {"return", "return_best", "success", "expected_success", "modes"}
    assert seeds.count(HELD_OUT_SEED) == 3 * (1 + 3)
    assert HELD_OUT_SEED not in {seed_of(CONFIG, n) for n in range(6)} | {EVALUATION_SEED}
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows[5]["evaluation"] == history[5].evaluation

    # the last evaluation is that of the policy at the end
    evaluations = trainer.evaluate(HELD_OUT_SEED)
    chosen = max(evaluations, key=lambda e: e.probability)
    assert history[5].evaluation["return"] == chosen.episode_return

    # a broken run counts the same steps
    broken = tmp_path / "broken"
    Trainer(ENV, CONFIG, run_dir=broken, evaluation_interval=2).train(lambda row: row.iteration == 2)
    resumed = Trainer(ENV, CONFIG, run_dir=broken, resume=True).train()  # with the interval that it had
    assert without_time(resumed.history) == without_time(history)


def test_the_best_checkpoint_is_that_of_the_best_evaluation(tmp_path):
    config = replace(CONFIG, iterations=10, policy_learning_rate=1.0)  # so that it gets worse, too
    history = Trainer(ENV, config, run_dir=tmp_path, evaluation_interval=1).train().history
    returns = [row.evaluation["return"] for row in history]
    best = returns.index(max(returns))
    assert best < 9
    assert load_checkpoint(tmp_path / "best.pt").iteration == best + 1
    record = load_checkpoint(tmp_path / "checkpoint.pt").record
    assert (record.best_score, record.best_iteration, record.best_by) == (returns[best], best + 1, "evaluation")
    assert rpg.load_policy(tmp_path, "best").iteration == best + 1
    assert rpg.load_policy(tmp_path).iteration == 10
    # one can branch from it
    branch = Trainer(ENV, config, branch=Branch(tmp_path / "best.pt"))
    assert branch.iteration == best + 1
    assert len(branch.history) == best + 1


def test_without_evaluations_the_best_is_that_of_the_running_return(tmp_path):
    config = replace(CONFIG, iterations=10, policy_learning_rate=1.0)
    Trainer(ENV, config, run_dir=tmp_path).train(lambda row: row.iteration == 4)
    history = Trainer(ENV, config, run_dir=tmp_path, resume=True).train().history
    running, scores = history[0].return_mean, [history[0].return_mean]
    for row in history[1:]:
        running += 0.1 * (row.return_mean - running)
        scores.append(running)
    assert load_checkpoint(tmp_path / "best.pt").iteration == scores.index(max(scores)) + 1
    assert load_checkpoint(tmp_path / "checkpoint.pt").record.best_by == "running return"


# modes without successes --------------------------------------------------------------------------------------


class Corners(PointMassWall):
    """No notion of success or outcome: an episode is described by where it ends."""

    outcome_radius = 0.3
    silent = False

    def step(self, state, action):
        state, reward, info = super().step(state, action)
        info = {"success": torch.zeros_like(info["success"]), "outcome": torch.full_like(info["outcome"], -1)}
        return state, reward, {**({} if self.silent else info), "outcome_features": state["position"].detach()}


class SilentCorners(Corners):
    """Says nothing of success and outcome."""

    silent = True


@pytest.mark.parametrize("kind", [Corners, SilentCorners])
def test_modes_without_success_are_clusters_of_features(kind):
    trainer = Trainer(kind(num_envs=8, horizon=20), replace(CONFIG, num_latents=4, policy="table", iterations=1))
    with torch.no_grad():
        trainer.algorithm.policy.table.copy_(torch.tensor([[2.0, -2.0], [-2.0, -2.0], [2.0, -2.0], [-2.0, -2.0]]).unsqueeze(1))
    modes = trainer.modes()
    assert sorted(mode.latents for mode in modes) == [(0, 2), (1, 3)]
    for mode in modes:  # what is shown is the best of eight episodes, what counts is their mean
        assert mode.shown_return > mode.episode_return
        env, state, total = trainer.env, trainer.env.reset(mode.seed), 0.0
        for action in mode.actions:
            state, reward, _ = env.step(state, torch.as_tensor(action).float().expand(8, 2))
            total += float(reward[mode.environment])
        assert mode.shown_return == pytest.approx(total, abs=1e-4)
