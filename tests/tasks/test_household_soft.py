"""Success and ways of the soft household tasks, on states made by hand."""

import math

import pytest
import torch

from benchmarks.suite.families.household import SOFT
from tasks.household import CutIntoParts, GatherPieces, RopeRoundPeg
from tasks.household.cut_into_parts import HALF
from tasks.household.gather_pieces import REGIONS

BENCH = {task.name: dict(task.bench) for task in SOFT}


@pytest.mark.parametrize("kind", [CutIntoParts, GatherPieces, RopeRoundPeg])
def test_nothing_is_done_at_the_start(kind):
    task = kind(2, **BENCH[kind.__name__])
    episode = task.reset(0)
    assert task.success(episode).tolist() == [False, False]
    assert task.outcome(episode).tolist() == [-1, -1]


def test_pieces_are_gathered_in_the_region_that_they_lie_in():
    task = GatherPieces(2, **BENCH["GatherPieces"])
    episode = task.reset(0)
    x = episode.state.x.clone()
    x[..., :2] += (x.new_tensor(REGIONS) - x[..., :2].mean(dim=1))[:, None]
    episode = episode.replace(state=episode.state.replace(x=x))
    assert task.success(episode).tolist() == [True, True]
    assert task.outcome(episode).tolist() == [0, 1]


def test_the_rope_turns_by_the_angle_that_it_is_bent_by():
    task = RopeRoundPeg(2, **BENCH["RopeRoundPeg"])
    episode = task.reset(0)
    x, radius = episode.state.x.clone(), 0.12
    along = x[..., 0] - x[..., 0].amin(dim=1, keepdim=True)
    angle = along / radius * x.new_tensor([[1.0], [-1.0]])
    peg = episode.state.tool_position[:, 2:3, :2]
    x[..., :2] = peg + radius * torch.stack([angle.cos(), angle.sin()], dim=2)
    episode = episode.replace(state=episode.state.replace(x=x))
    turn = task.turn(episode.state)
    assert turn.tolist() == pytest.approx([math.radians(248.3), -math.radians(248.3)], abs=0.1)  # between the middles of pieces
    assert task.success(episode).tolist() == [True, True]
    assert task.outcome(episode).tolist() == [0, 1]


def test_a_cut_counts_where_it_leaves_a_third():
    task = CutIntoParts(3, **BENCH["CutIntoParts"])
    episode = task.reset(0)
    x = episode.state.x.clone()
    share = (x[..., 0] - x[..., 0].amin(dim=1, keepdim=True)) / (2.0 * HALF[0])
    x[..., 0] += 0.08 * (share > share.new_tensor([[0.35], [0.65], [0.5]])).to(x)
    episode = episode.replace(state=episode.state.replace(x=x))
    assert task.success(episode).tolist() == [True, True, False]
    assert task.outcome(episode).tolist() == [0, 1, -1]
