"""The blocks of docs/gymnasium.md run as they are printed."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tasks

pytest.importorskip("stable_baselines3")

pytestmark = pytest.mark.slow
BLOCKS = re.findall(r"```python\n(.*?)```", (Path(__file__).parents[2] / "docs" / "gymnasium.md").read_text(), flags=re.DOTALL)


def run(block: str) -> dict[str, Any]:
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(block, space)
    return space


def test_environments():
    space = run(BLOCKS[0])
    assert space["picture"].shape == (120, 160, 3)
    assert not space["terminated"]
    assert space["last"].shape == (3,)
    first = tasks.Detour(3).reset(int(space["infos"]["episode_seed"][0]))
    assert np.array_equal(space["observations"], tasks.Detour(3).observe(first).numpy())


def test_stable_baselines():
    assert run(BLOCKS[1])["model"].num_timesteps == 32


def test_torchrl():
    pytest.importorskip("torchrl")
    assert run(BLOCKS[2])["network"][0].weight.grad.abs().max() > 0.0
