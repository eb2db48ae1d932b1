"""Several processes that train one run: what they learn, how they end, how they go on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import rpg
from tests.rpg.ranked_run import CONFIGS, Slide

ROOT = Path(__file__).parents[2]
PROGRAM = ("-m", "tests.rpg.ranked_run")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def ended(*arguments: object, processes: int) -> subprocess.CompletedProcess[str]:
    """The program, run to its end."""
    launcher = TORCHRUN if processes > 1 else ()
    command = [sys.executable, *launcher, *PROGRAM, *(str(argument) for argument in arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)


def learned(folder: Path) -> dict[str, torch.Tensor]:
    """Everything that a run learned, by name, and its returns."""
    stored = torch.load(folder / "learned.pt")
    parts = {f"{part}.{name}": value for part, values in stored["learned"].items() for name, value in values.items()}
    return {**parts, "returns": torch.tensor(stored["returns"])}


def assert_same(one: Path, other: Path, *, rtol: float = 1e-6) -> None:
    expected = learned(one)
    for name, value in learned(other).items():
        torch.testing.assert_close(value, expected[name], rtol=rtol, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of one process."""
    folder = tmp_path_factory.mktemp("alone")
    done = ended(folder, *CONFIGS, processes=1)
    assert done.returncode == 0, done.stderr
    return folder


def test_two_processes_learn_what_one_learns(alone, tmp_path):
    """Gradients through the environment, by the score function, of windows with critics, and through a learned model."""
    done = ended(tmp_path, *CONFIGS, processes=2)
    assert done.returncode == 0, done.stderr
    for name in CONFIGS:
        assert_same(alone / name, tmp_path / name)


def test_a_process_that_is_killed_ends_the_run_which_goes_on_from_its_checkpoint(alone, tmp_path):
    names = ("rpg", "mbrpg")  # the latter with a replay buffer and episodes under way
    for name in names:
        done = ended(tmp_path, name, "--dies-at", 1, processes=2)
        assert done.returncode != 0
        # torchrun may end the other one before that notices
        assert "RankError: another of the run's 2 processes has ended" in done.stderr or "Terminated: 143" in done.stderr
        assert rpg.load_checkpoint(tmp_path / name / "checkpoint.pt").iteration == 2
    done = ended(tmp_path, *names, "--resume", processes=2)
    assert done.returncode == 0, done.stderr
    for name in names:
        assert_same(alone / name, tmp_path / name)


def test_what_fails_in_one_process_is_said_in_all(tmp_path):
    done = ended(tmp_path, "shac", "--fails", processes=2)
    assert done.returncode != 0
    assert done.stderr.count("FloatingPointError: the ice broke (of environments 4 to 7)") == 2
    done = ended(tmp_path / "odd", "rpg", "--num-envs", 7, processes=2)
    assert done.stderr.count("SettingError: num_envs was given 7; allowed on 2 processes are multiples of 2") == 2


def test_one_process_needs_no_others(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert rpg.joined_ranks() is None


class Whole(Slide):
    shard = None


def test_an_environment_that_cannot_be_parted_is_named():
    with pytest.raises(rpg.ProtocolError, match=r"Whole has no shard\(first, count\)"):
        rpg.Trainer(Whole(4), CONFIGS["rpg"], ranks=rpg.Ranks(0, 2))
