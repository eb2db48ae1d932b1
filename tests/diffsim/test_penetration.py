"""Things that are deep in each other are warned of, once, by name, depth, environment and step."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
import trimesh

import diffsim as ds
from diffsim.rigid.penetration_report import length, thickness

SPEED = 0.1


def cup(name: str = "cup", y: float = 0.5) -> ds.Articulation:
    """A cube of 4 cm on a rail whose velocity servo nothing stops."""
    rail, mass = ds.Joint("rail", "prismatic", (1.0, 0.0, 0.0)), ds.Inertia(0.2, (1e-4,) * 3)
    link = ds.Link("cup", rail, None, (0.4, y, 0.5), inertia=mass, geometries=(ds.Geometry(ds.Box((0.02,) * 3)),))
    return ds.Articulation(name, (link,), (ds.Actuator("drive", "rail", kind="velocity", gain=1e6),))


def driven(*names: str, num_envs: int = 2, soft: bool = False, half: float = 0.005) -> ds.Simulator:
    """Cups before a wall of 1 cm; the first environment's stand still."""
    wall = ds.Obstacle("bowl", ds.Box((half, 0.2, 0.1)), (0.5, 0.5, 0.5))
    hands = tuple(cup(name, 0.4 + 0.1 * n) for n, name in enumerate(names))
    jelly = (ds.SoftBody("jelly", ds.Box((0.04,) * 3), (0.8, 0.8, 0.05), particles=27),) if soft else ()
    scene = ds.Scene(jelly, articulations=hands, obstacles=(wall,), ground=None, gravity=(0.0, 0.0, 0.0))
    return ds.Simulator(scene, num_envs=num_envs)


def drive(sim: ds.Simulator, state: ds.State, steps: int) -> ds.State:
    actions = torch.zeros(steps, sim.num_envs, sim.action_dim)
    actions[:, 1:] = SPEED
    return sim.rollout(state, actions)[-1]


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record.getMessage() for record in caplog.records if "penetrate" in record.getMessage()]
    caplog.clear()
    return found


@pytest.mark.parametrize("soft", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["rigid", "coupled"])
def test_a_cup_that_is_driven_through_a_wall_is_warned_of_once(caplog, soft):
    sim = driven("hand", soft=soft)
    with caplog.at_level(logging.WARNING):
        state = drive(sim, sim.reset(), 35)  # 7 cm of the 7.5 to the wall
        assert not warned(caplog)
        state = drive(sim, state, 15)
        # in a coupled scene every step looks for itself, and warns as soon as the limit is passed
        (message,) = warned(caplog)
        drive(sim, state, 10)
        assert not warned(caplog)
    for words in ("'hand.cup'", "'bowl'", " mm", "environment 1", "% of the smaller one's size"):
        assert words in message
    depth = float(message.split("each other by ")[1].split(" mm")[0])
    assert 0.1 * thickness(ds.Box((0.005, 0.2, 0.1))) < 1e-3 * depth < 0.0075
    assert 37 <= int(message.split("control step ")[1].split(":")[0]) <= 50


def test_each_pair_is_warned_of(caplog):
    """A launch notes the deepest of them, and the next the other."""
    sim = driven("left", "right")
    with caplog.at_level(logging.WARNING):
        state = drive(sim, sim.reset(), 35)
        for _ in range(15):
            state = drive(sim, state, 1)
        messages = warned(caplog)
    assert len(messages) == 2
    assert {name for name in ("left.cup", "right.cup") for each in messages if name in each} == {"left.cup", "right.cup"}


def test_what_touches_is_not_warned_of(caplog):
    body = ds.RigidBody("box", ds.Box((0.05,) * 3), (0.5, 0.5, 0.06), mass=0.2)
    sim = ds.Simulator(ds.Scene(rigid_bodies=(body,)))
    with caplog.at_level(logging.WARNING):
        sim.rollout(sim.reset(), torch.zeros(50, 1, 0))
        assert not warned(caplog)


def test_backward_does_not_warn(caplog):
    sim = driven("hand")
    actions = torch.full((45, 2, 1), SPEED, requires_grad=True)
    end = sim.rollout(sim.reset(), actions)[-1]
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        end.q.sum().backward()
        assert not warned(caplog)


def test_thickness_of_shapes():
    assert thickness(ds.Box((0.05,) * 3)) == pytest.approx(0.1)
    assert thickness(ds.Sphere(0.05)) == pytest.approx(0.1, rel=0.01)  # of its mesh
    assert thickness(ds.Box((0.5, 0.5, 0.001))) == pytest.approx(6e-3, rel=0.01)
    assert np.isinf(thickness(ds.Plane()))
    bowl = trimesh.creation.annulus(r_min=0.09, r_max=0.1, height=0.2)
    assert thickness(ds.TriangleMesh(bowl.vertices, bowl.faces, "bowl")) == pytest.approx(0.03, rel=0.06)


def test_lengths_have_a_unit_that_suits_them():
    assert [length(value) for value in (1.25, 4.9e-3, 2e-6)] == ["1.25 m", "4.9 mm", "2 um"]
