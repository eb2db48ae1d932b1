from dataclasses import replace

import pytest

from rpg.algorithms.rpg import RPGConfig
from rpg.environments.wall import PointMassWall
from rpg.training.plots import plot_run
from rpg.training.trainer import Trainer


@pytest.mark.parametrize("iterations", [1, 4])
def test_plot_of_short_and_failed_runs(tmp_path, iterations):
    env = PointMassWall(num_envs=8, horizon=6)
    trainer = Trainer(env, replace(RPGConfig(), num_latents=3, iterations=iterations))
    history = trainer.train().history
    evaluations = trainer.evaluate()
    plot_run(tmp_path / "run.png", history, evaluations, trainer.modes(evaluations), title="point mass")
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="0 iterations"):
        plot_run(tmp_path / "none.png", [], evaluations, [])
