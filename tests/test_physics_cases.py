"""The rigid cases of `benchmarks.physics` that take seconds: their right values, at the default settings.

Each experiment is one test. The whole list, soft bodies included, is `python -m benchmarks.physics`.
"""

import importlib

import pytest

from benchmarks.physics.registry import EXPERIMENTS

SUBJECTS = ("friction", "rolling", "spins", "scaling", "impacts")
QUICK = (
    "slope_sticks", "dry joint", "grip lets go", "down 15 deg", "on the level", "free box", "resting box", "heavy on light",
    "tower bridge", "fast ball", "event mode rests", "no force at a distance", "zero gap", "stiffer is tighter",
    "default ball thrown at the floor", "default falling ball", "Newton's cradle",
)  # fmt: skip
LONG = ("rigid grip", "on a box", "Dzhanibekov top", "gyroscope", "chains", "tower", "many_bounces")
for subject in SUBJECTS:
    importlib.import_module(f"benchmarks.physics.{subject}")


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.long) for name in LONG)])
def test_a_case_has_its_right_value(name):
    assert not [record for record in EXPERIMENTS[name].records() if not record["pass"]]
