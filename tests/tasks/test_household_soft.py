"""Success and ways of the soft household tasks, on states made by hand."""

import math

import pytest
import torch

from benchmarks.suite.families.household import SOFT
from tasks.household import CutIntoParts, FoldSheet, GatherPieces, RopeRoundPeg, ScoopSand, TransportLiquid
from tasks.household.cut_into_parts import HALF
from tasks.household.gather_pieces import REGIONS
from tasks.household.transport_liquid import POST

BENCH = {task.name: dict(task.bench) for task in SOFT}


@pytest.mark.parametrize("kind", [CutIntoParts, FoldSheet, GatherPieces, RopeRoundPeg, ScoopSand, TransportLiquid])
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


def test_a_sheet_is_folded_where_one_half_lies_on_the_other():
    task = FoldSheet(3, **BENCH["FoldSheet"])
    episode = task.reset(0)
    x, (left, right) = episode.state.x.clone(), task.halves
    for environment, (moved, onto, lift) in enumerate(((left, right, 0.045), (right, left, 0.045), (left, right, 0.2))):
        x[environment, moved] = x[environment, onto] + x.new_tensor([0.0, 0.0, lift])
    episode = episode.replace(state=episode.state.replace(x=x))
    assert task.success(episode).tolist() == [True, True, False]
    assert task.outcome(episode).tolist() == [0, 1, 0]


def test_hands_that_fold_a_sheet_swing_about_its_middle_and_do_not_pass():
    task = FoldSheet(1, **BENCH["FoldSheet"])
    state, seconds = task.reset(0).state, task.dt * task.substeps
    for angle in (0.0, 0.6, 1.5):  # of both hands; at the last they are as near to each other as they get
        arms = state.x.new_tensor([[-math.cos(angle), math.sin(angle)], [math.cos(angle), math.sin(angle)]])
        place = state.tool_position.clone()
        place[0, :, 0], place[0, :, 2] = 0.5 + 0.2 * arms[:, 0], 0.021 + 0.2 * arms[:, 1]
        moved = task.controls(state.replace(tool_position=place), state.x.new_ones(1, 2)).view(2, 3)[:, :2] * seconds
        turned = min(angle + task.swing * seconds, 0.5 * math.pi - 0.125)
        wanted = state.x.new_tensor([[-math.cos(turned), math.sin(turned)], [math.cos(turned), math.sin(turned)]])
        torch.testing.assert_close(0.2 * arms + moved, 0.2 * wanted, atol=1e-5, rtol=0.0)


def test_sand_counts_where_it_is_in_a_lifted_bowl():
    task = ScoopSand(3, **BENCH["ScoopSand"])
    episode = task.reset(0)
    x, place = episode.state.x.clone(), episode.state.tool_position.clone()
    place[..., 2] += place.new_tensor([0.05, 0.05, 0.0])[:, None]
    x[:, : x.shape[1] // 10] = place  # a tenth of it
    tilts = x.new_tensor([-1.2, 1.2, 1.2])[:, None]
    seen = (task.observe(episode)[:, :-1], torch.zeros_like(tilts)), (task.observe(episode)[:, :-1], tilts)
    history = tuple(torch.cat(each, dim=1) for each in seen)
    episode = episode.replace(state=episode.state.replace(x=x, tool_position=place), observations=history)
    assert task.held(episode.state).tolist() == pytest.approx([0.1] * 3, abs=0.005)
    assert task.success(episode).tolist() == [True, True, False]
    assert task.outcome(episode).tolist() == [0, 1, 1]


def test_water_counts_where_it_is_in_the_cup_at_the_goal():
    task = TransportLiquid(3, **BENCH["TransportLiquid"])
    episode = task.reset(0)
    x, place = episode.state.x.clone(), episode.state.tool_position.clone()
    carried = torch.nn.functional.pad(episode["goal"] - place[:, 0, :2], (0, 1))[:, None]
    x, place[:, :1] = x + carried, place[:, :1] + carried
    x[2, : x.shape[1] // 5] -= x.new_tensor([0.0, 0.2, 0.0])  # spilled
    past = task.observe(episode).clone()
    past[:, 0], past[:, 1] = POST + 0.01, past.new_tensor([1.1, 0.7, 0.7])
    episode = episode.replace(state=episode.state.replace(x=x, tool_position=place), observations=(*episode.observations, past))
    assert task.success(episode).tolist() == [True, True, False]
    assert task.outcome(episode).tolist() == [0, 1, 1]
