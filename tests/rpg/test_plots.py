import subprocess
import sys
from dataclasses import replace
from pathlib import Path

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


def test_importing_and_plotting_leave_the_users_backend_alone(tmp_path):
    code = f"""
import matplotlib
matplotlib.use("svg")
from pathlib import Path
import rpg
from rpg.environments.wall import PointMassWall
trainer = rpg.Trainer(PointMassWall(num_envs=4, horizon=3), rpg.RPGConfig(num_latents=2, iterations=1))
result = trainer.train()
rpg.plot_run(Path({str(tmp_path)!r}) / "run.png", result.history, result.evaluations, result.modes)
assert matplotlib.get_backend().lower() == "svg", matplotlib.get_backend()
from matplotlib import pyplot
assert pyplot.get_fignums() == []
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")
