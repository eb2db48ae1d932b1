"""Runs: determinism, interruption, resumption, errors, and that the method does what it is for."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rpg.algorithms.rpg import RPGConfig
from rpg.environments.wall import PointMassWall
from rpg.protocol import check_environment
from rpg.training.checkpoint import CHECKPOINT_NAME, CheckpointError, CheckpointMismatch, load_checkpoint
from rpg.training.metrics import METRICS_NAME, read_metrics
from rpg.training.modes import distinct_modes, expected_success, policy_success
from rpg.training.trainer import Trainer

ENV = PointMassWall(num_envs=8, horizon=6)
CONFIG = RPGConfig(num_latents=3, iterations=8, policy="mlp", policy_hidden=(8,), posterior_hidden=(8,), seed=1)
IDENTITY = {"task": "point mass"}


def same_state(a: Trainer, b: Trainer) -> bool:
    a, b = a.algorithm.modules, b.algorithm.modules
    pairs = [zip(a[n].state_dict().values(), b[n].state_dict().values(), strict=True) for n in a]
    return a.keys() == b.keys() and all(torch.equal(x, y) for pair in pairs for x, y in pair)


def without_time(rows):
    return [replace(row, seconds=0.0) for row in rows]


def interrupt_after(iteration: int):
    def on_iteration(metrics):
        if metrics.iteration == iteration:
            raise KeyboardInterrupt

    return on_iteration


class Broken(PointMassWall):
    """Interrupts, or loses its numbers, in the middle of the given episode."""

    def arm(self, episode: int, kind: str) -> "Broken":
        object.__setattr__(self, "countdown", (episode + 1) * self.horizon + 1 - 3)  # + 1 for check_environment
        object.__setattr__(self, "kind", kind)
        return self

    def step(self, state, action):
        object.__setattr__(self, "countdown", self.countdown - 1)
        state, reward, info = super().step(state, action)
        if self.countdown == 0:
            if self.kind == "interrupt":
                raise KeyboardInterrupt
            factor = torch.ones_like(reward)
            factor[[2, 5]] = torch.nan
            if self.kind == "reward":
                reward = reward * factor
            else:  # a finite value whose gradient is not
                reward = reward + 0 * (action[:, 0].clamp(-1e-30, 0) - action[:, 0].detach().clamp(-1e-30, 0))
                action.register_hook(lambda grad: grad * factor[:, None])
        return state, reward, info


@pytest.mark.parametrize("policy", ["table", "mlp"])
def test_same_seed_same_run(policy):
    config = replace(CONFIG, policy=policy)
    torch.manual_seed(0)
    first = Trainer(ENV, config)
    a = first.train()
    torch.manual_seed(99)  # the global generator plays no part
    second = Trainer(ENV, config)
    b = second.train()
    assert without_time(a.history) == without_time(b.history)
    assert same_state(first, second)
    assert without_time(Trainer(ENV, replace(config, seed=2)).train().history) != without_time(a.history)


@pytest.mark.parametrize("how", ["callback", "mid-iteration"])
def test_interrupted_and_resumed_run_is_bit_identical(tmp_path, how):
    whole = Trainer(ENV, CONFIG, run_dir=tmp_path / "whole", identity=IDENTITY)
    expected = whole.train()
    assert not expected.interrupted

    run_dir = tmp_path / "broken"
    if how == "callback":
        trainer = Trainer(ENV, CONFIG, run_dir=run_dir, identity=IDENTITY)
        stopped = trainer.train(interrupt_after(2))
    else:
        env = Broken(num_envs=8, horizon=6).arm(3, "interrupt")
        trainer = Trainer(env, CONFIG, run_dir=run_dir, identity=IDENTITY)
        stopped = trainer.train()
    assert stopped.interrupted
    assert len(stopped.history) == 3
    assert load_checkpoint(run_dir / CHECKPOINT_NAME).iteration == 3

    resumed = Trainer(ENV, CONFIG, run_dir=run_dir, identity=IDENTITY, resume=True)
    result = resumed.train()
    assert without_time(result.history) == without_time(expected.history)
    assert same_state(resumed, whole)
    assert without_time(read_metrics(run_dir)) == without_time(read_metrics(tmp_path / "whole"))


def test_the_same_trainer_goes_on_after_an_interruption(tmp_path):
    trainer = Trainer(ENV, CONFIG, run_dir=tmp_path)
    assert trainer.train(interrupt_after(1)).interrupted
    assert len(trainer.train().history) == CONFIG.iterations
    assert len(read_metrics(tmp_path)) == CONFIG.iterations


def test_metrics_past_the_checkpoint_are_dropped(tmp_path):
    Trainer(ENV, CONFIG, run_dir=tmp_path).train(interrupt_after(4))
    path = tmp_path / METRICS_NAME
    lines = path.read_text().splitlines()
    stray = {**json.loads(lines[-1]), "iteration": 5}
    path.write_text("\n".join([*lines, json.dumps(stray)]) + '\n{"iteration": 6, "ret')  # as a killed process leaves it
    Trainer(ENV, CONFIG, run_dir=tmp_path, resume=True).train()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["iteration"] for row in rows] == list(range(CONFIG.iterations))
    assert [row["simulator_steps"] for row in rows] == [48 * (i + 1) for i in range(CONFIG.iterations)]
    assert list((tmp_path / "tensorboard").iterdir())

    path.write_text("\n".join(lines[:2]) + "\n")
    with pytest.raises(ValueError, match="holds 2 iterations; expected the checkpoint's 8"):
        Trainer(ENV, CONFIG, run_dir=tmp_path, resume=True).train()


def test_checkpoint_mismatch(tmp_path):
    Trainer(ENV, CONFIG, run_dir=tmp_path, identity=IDENTITY).train(interrupt_after(0))
    with pytest.raises(CheckpointMismatch, match="'task': the checkpoint has 'point mass', this run was given 'door'"):
        Trainer(ENV, CONFIG, run_dir=tmp_path, identity={"task": "door"}, resume=True)
    with pytest.raises(CheckpointMismatch, match="'seed': the checkpoint has 1, this run was given 2"):
        Trainer(ENV, replace(CONFIG, seed=2), run_dir=tmp_path, identity=IDENTITY, resume=True)
    with pytest.raises(FileExistsError, match="already holds a run"):
        Trainer(ENV, CONFIG, run_dir=tmp_path, identity=IDENTITY)
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        Trainer(ENV, CONFIG, run_dir=tmp_path / "none", resume=True)


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b[: len(b) // 2], lambda b: b"not a checkpoint"])
def test_corrupt_checkpoint_is_one_line(tmp_path: Path, damage):
    Trainer(ENV, replace(CONFIG, iterations=1), run_dir=tmp_path).train()
    path = tmp_path / CHECKPOINT_NAME
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CheckpointError, match="no readable checkpoint") as error:
        load_checkpoint(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("kind", "words"), [("reward", "the reward"), ("gradient", "the gradient of the policy")])
def test_not_finite_names_iteration_term_and_environments(tmp_path, kind, words):
    env = Broken(num_envs=8, horizon=6).arm(2, kind)
    trainer = Trainer(env, CONFIG, run_dir=tmp_path)
    with pytest.raises(FloatingPointError, match=rf"iteration 2: {words}.* environments \[2, 5\]"):
        trainer.train()
    assert load_checkpoint(tmp_path / CHECKPOINT_NAME).iteration == 2


def test_gaussian_has_the_same_network_with_one_latent():
    rpg, gaussian = Trainer(ENV, CONFIG), Trainer(ENV, CONFIG.gaussian())
    assert gaussian.algorithm.posterior is None
    shapes = [tuple(p.shape) for p in rpg.algorithm.policy.parameters()]
    baseline = [tuple(p.shape) for p in gaussian.algorithm.policy.parameters()]
    fewer = CONFIG.num_latents - 1
    assert baseline == [
        (shapes[0][0], shapes[0][1] - fewer),
        *shapes[1:],
    ]  # one-hot z is narrower, nothing else
    history = gaussian.train().history
    assert all(
        row.terms["posterior_term"] == 0 and row.latent_entropy == 0 and "posterior_loss" not in row.terms for row in history
    )


@pytest.mark.parametrize("num_latents", [3, 8, 19])
def test_evaluation_covers_every_latent(num_latents):
    trainer = Trainer(ENV, replace(CONFIG, num_latents=num_latents, iterations=1))
    evaluations = trainer.evaluate()
    assert [e.latent for e in evaluations] == list(range(num_latents))
    assert all(e.actions.shape == (6, 2) for e in evaluations)


def test_modes_are_counted_by_outcome():
    trainer = Trainer(ENV, replace(CONFIG, num_latents=4, iterations=1))
    e = trainer.evaluate()
    e = [
        replace(e[0], success=1.0, outcome=0, episode_return=-3.0),
        replace(e[1], success=1.0, outcome=1, episode_return=-2.0),
        replace(e[2], success=1.0, outcome=0, episode_return=-1.0),
        replace(e[3], success=0.0, outcome=1, episode_return=0.0),
    ]
    e = [replace(x, probability=p) for x, p in zip(e, [0.1, 0.2, 0.3, 0.4], strict=True)]
    modes = distinct_modes(e, outcome_names=ENV.outcome_names)
    assert [(m.name, m.latent) for m in modes] == [("left", 2), ("right", 1)]
    assert [m.probability for m in modes] == pytest.approx([0.4, 0.2])
    assert policy_success(e) == 0.0
    assert expected_success(e) == pytest.approx(0.6)
    failed = distinct_modes([replace(x, success=0.0) for x in e])
    assert [(m.latent, m.success) for m in failed] == [(3, 0.0), (2, 0.0)]  # where no latent succeeds, what they did


def test_check_environment_names_what_is_wrong():
    class Wide(PointMassWall):
        def observe(self, state):
            return super().observe(state)[:, :3]

    with pytest.raises(ValueError, match=r"observe\(state\) has shape \(8, 3\); expected \(8, 4\)"):
        check_environment(Wide(num_envs=8))
    with pytest.raises(ValueError, match="horizon is 0; expected a positive int"):
        check_environment(PointMassWall(horizon=0))

    class Mute(PointMassWall):
        def step(self, state, action):
            state, reward, _info = super().step(state, action)
            return state, reward, {"distance": 3.0}  # success and outcome are optional, and anything else is let through

    result = Trainer(Mute(num_envs=8, horizon=6), CONFIG).train()
    assert [(mode.success, mode.outcome) for mode in result.modes] == [(0.0, -1)]


def test_double_precision_environment():
    env = PointMassWall(num_envs=8, horizon=6, dtype=torch.float64)
    trainer = Trainer(env, CONFIG)
    trainer.train()
    assert next(trainer.algorithm.policy.parameters()).dtype == torch.float64
    assert trainer.algorithm.prior.parameters_of.constant.dtype == torch.float64


@pytest.mark.slow
def test_rpg_goes_round_the_wall_where_one_gaussian_stays_behind_it():
    env = PointMassWall(horizon=20)
    config = RPGConfig(iterations=100)
    solved = Trainer(env, config)
    solved.train()
    evaluations = solved.evaluate()
    assert sum(evaluation.succeeded for evaluation in evaluations) >= 2
    stuck = Trainer(env, config.gaussian())
    stuck.train()
    assert policy_success(stuck.evaluate()) == 0.0
