"""The package's public names: exports, version, and options that go by keyword."""

from importlib import metadata
from pathlib import Path

import pytest

import diffsim as ds

tomllib = pytest.importorskip("tomllib")  # from Python 3.11 on
PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())


def test_exports_exist_once_and_are_documented():
    assert len(set(ds.__all__)) == len(ds.__all__)
    for name in ds.__all__:
        assert getattr(ds, name).__doc__, name


def test_the_version_is_the_projects():
    try:
        expected = metadata.version(PROJECT["project"]["name"])
    except metadata.PackageNotFoundError:
        expected = "0+unknown"
    assert ds.__version__ == expected


def test_annotations_are_for_users_too():
    assert (Path(ds.__file__).parent / "py.typed").exists()
    assert "py.typed" in PROJECT["tool"]["setuptools"]["package-data"]["diffsim"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: ds.ContactModel(1e4),
        lambda: ds.Scene((), ()),
        lambda: ds.SoftBody("b", ds.Sphere(0.1), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), ds.Elastic()),
        lambda: ds.RigidBody("b", ds.Sphere(0.1), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), (1.0, 0.0, 0.0)),
        lambda: ds.Geometry(ds.Sphere(0.1), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), 0.5),
        lambda: ds.Actuator("a", "j", "torque", 2.0),
    ],
    ids=["ContactModel", "Scene", "SoftBody", "RigidBody", "Geometry", "Actuator"],
)
def test_options_go_by_keyword(make):
    with pytest.raises(TypeError, match="positional"):
        make()
