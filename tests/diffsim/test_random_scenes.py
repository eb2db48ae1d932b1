"""Random scenes: right ones run, or say why not; wrong ones are refused in one line that names what is wrong."""

import pytest

pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.random_scenes import mistakes, outcome, plain_bodies, refusal, scale, scenes

DRAWN = {"deadline": None, "database": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=200, **DRAWN)
@given(mistakes())
def test_a_wrong_argument_is_refused_by_name(mistake):
    refusal(*mistake)


@pytest.mark.slow
@settings(max_examples=30, **DRAWN)
@given(scenes({"rigid_bodies": plain_bodies}), scale(1e-4, 3e-3), st.integers(0, 1000))
def test_a_rigid_scene_runs_or_says_why_not(scene, dt, seed):
    assert outcome(scene, dt, seed) in ("finite", "warned", "said")


@pytest.mark.long
@settings(max_examples=60, **DRAWN)
@given(scenes(), scale(1e-4, 3e-3), st.integers(0, 1000))
def test_a_scene_runs_or_says_why_not(scene, dt, seed):
    assert outcome(scene, dt, seed) in ("finite", "warned", "said")
