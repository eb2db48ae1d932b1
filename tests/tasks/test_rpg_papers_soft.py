"""The soft tasks of `tasks.rpg_papers` and Pick3: sizes, losses and outcomes on states made by hand."""

import pytest
import torch

from tasks.rpg_papers import BoxPick, CutBar, Pick3, RopePush

COARSE = {"particles": 60, "cells": 25, "dt": 2.5e-4, "substeps": 4}


def shifted(task, shifts):
    """The first episode with each body moved by a vector, m."""
    episode = task.reset(0)
    x = episode.state.x.clone()
    for name, shift in shifts.items():
        x[:, task.sim.particle_slice(name)] += torch.tensor(shift)
    return episode.replace(state=episode.state.replace(x=x))


def test_boxes():
    task = BoxPick(1, start_spread=0.0, **COARSE)
    episode = task.reset(0)
    gap = 0.5 - 0.05 - 0.35 - 0.03  # from the capsule to the middle box, less what the nearest particle is within
    assert task.tool_gap(episode.state).item() == pytest.approx(gap, abs=0.02)
    assert task.sim.particle_mass.sum().item() == pytest.approx(3 * 0.1**3, rel=1e-5)
    pushed = shifted(task, {"right": (0.0, 0.18, 0.0), "left": (0.0, 0.05, 0.0)})
    assert task.outcome_names[task.outcome(pushed)] == "the right box"
    assert task.success(pushed).item()
    assert not task.success(episode).item()
    fell = task.loss(episode.state, episode) - task.loss(pushed.state, pushed)
    assert fell.item() == pytest.approx(10.0 * (0.18 + 0.05) / 3.0, abs=1e-3)


def test_rope_end():
    task = RopePush(1, start_spread=0.0, **COARSE)
    episode = task.reset(0)
    assert task.missing(episode.state).item() == pytest.approx(0.4, abs=1e-4)
    carried = shifted(task, {"rope": (0.0, 0.3, 0.0)})
    assert task.missing(carried.state).item() == pytest.approx(0.1, abs=1e-3)
    assert task.outcome_names[task.outcome(carried)] == "the whole rope"
    assert task.success(carried).item()


def test_bar_ends():
    task = CutBar(1, start_spread=0.0, **COARSE | {"particles": 300})
    episode = task.reset(0)
    assert task.missing(episode.state, episode)[0].tolist() == pytest.approx([0.2, 0.2], abs=1e-3)
    x = episode.state.x.clone()
    x[:, x[0, :, 0] < 0.7] -= torch.tensor([0.17, 0.0, 0.0])
    cut = episode.replace(state=episode.state.replace(x=x))
    assert task.outcome_names[task.outcome(cut)] == "the left end"
    assert task.success(cut).item()
    assert task.loss(episode.state, episode).item() == pytest.approx(1.0, abs=0.02)  # and a tenth of the blade's distance


def test_three_spheres_are_as_near():
    task = Pick3(1, start_spread=0.0)
    episode = task.reset(0)
    spheres = task.spheres(episode.state)[0]
    assert spheres[:, :2].norm(dim=1).tolist() == pytest.approx([1.0, 1.0, 1.0], abs=1e-5)
    assert spheres[1, 0] < 0.0 < spheres[2, 0]
    q = episode.state.q.clone()
    q[:, 7 * 2 + 2] += 0.25
    lifted = episode.replace(state=episode.state.replace(q=q))
    assert task.success(lifted).item()
    assert task.outcome_names[task.outcome(lifted)] == "the sphere on the right"
