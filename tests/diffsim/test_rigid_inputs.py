"""Wrong declarations of rigid and articulated things: one line each that names the thing, the argument and what was given."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import diffsim as ds
from tests.diffsim.test_inputs import refused

NAN = math.nan
BALL = ds.Sphere(0.1)
MASS = ds.Inertia(1.0, (0.1, 0.1, 0.1))


def joint(**given: Any) -> ds.Joint:
    return ds.Joint(**{"name": "j", "kind": "revolute", **given})


def link(name: str = "l", **given: Any) -> ds.Link:
    return ds.Link(**{"name": name, "joint": joint(name=f"j-{name}"), "inertia": MASS, **given})


def geometry(**given: Any) -> ds.Geometry:
    return ds.Geometry(BALL, **given)


def actuator(**given: Any) -> ds.Actuator:
    return ds.Actuator(**{"name": "a", "joints": "j-l", **given})


def articulation(*links: Any, **given: Any) -> ds.Articulation:
    return ds.Articulation(**{"name": "arm", "links": links or (link(),), **given})


def body(**given: Any) -> ds.RigidBody:
    return ds.RigidBody(**{"name": "b", "shape": BALL, "position": (0.0, 0.0, 0.5), **given})


def scene(**given: Any) -> ds.Scene:
    return ds.Scene(**{"rigid_bodies": (body(),), **given})


def sheet() -> ds.RigidBody:
    return body(shape=ds.TriangleMesh(np.eye(3), [[0, 1, 2]], "sheet"))


WRONG: list[tuple[Callable[[], object], tuple[str, ...]]] = [
    (lambda: joint(name=3), ("Joint", "name", "3")),
    (lambda: joint(kind="slide"), ("Joint 'j'", "kind", "revolute, prismatic", "'slide'")),
    (lambda: joint(kind=["free"]), ("Joint 'j'", "kind", "['free']")),
    (lambda: joint(axis=(0, 0, 0)), ("Joint 'j'", "axis", "zero")),
    (lambda: joint(axis=(0, 1)), ("Joint 'j'", "axis", "(0, 1)")),
    (lambda: joint(limits=(1.0, 0.0)), ("Joint 'j'", "limits", "low < high", "(1.0, 0.0)")),
    (lambda: joint(limits=2.0), ("Joint 'j'", "limits", "2.0")),
    (lambda: joint(limits=(-math.inf, 0.0)), ("Joint 'j'", "limits", "finite", "-inf")),
    (lambda: joint(kind="ball", limits=(0.0, 1.0)), ("Joint 'j'", "limits", "ball")),
    (lambda: joint(limit_stiffness=-1.0), ("Joint 'j'", "limit_stiffness", "-1")),
    (lambda: joint(limit_smoothing=0.0), ("Joint 'j'", "limit_smoothing", "0")),
    (lambda: joint(damping="much"), ("Joint 'j'", "damping", "'much'")),
    (lambda: joint(armature=NAN), ("Joint 'j'", "armature", "nan")),
    (lambda: joint(friction_loss=-0.1), ("Joint 'j'", "friction_loss", "-0.1")),
    (lambda: joint(kind="free", spring_stiffness=1.0), ("Joint 'j'", "spring_stiffness", "free")),
    (lambda: joint(spring_rest=None), ("Joint 'j'", "spring_rest", "None")),
    (lambda: joint(initial=(1.0, 2.0)), ("Joint 'j'", "initial", "(1.0, 2.0)")),
    (lambda: joint(kind="ball", initial=(0, 0, 0, 0)), ("Joint 'j'", "initial rotation", "zero")),
    (lambda: joint(initial_velocity=1.0), ("Joint 'j'", "initial_velocity", "1.0")),
    (lambda: link(name=""), ("Link", "name", "''")),
    (lambda: link(joint="revolute"), ("Link 'l'", "joint", "'revolute'")),
    (lambda: link(joint=joint(kind="free"), parent="base"), ("Link 'l'", "free", "'base'")),
    (lambda: link(position="here"), ("Link 'l'", "position", "'here'")),
    (lambda: link(rotation=(0, 0, 0, 0)), ("Link 'l'", "rotation", "zero")),
    (lambda: link(inertia=1.0), ("Link 'l'", "inertia", "1.0")),
    (lambda: link(geometries=geometry()), ("Link 'l'", "geometries must be a tuple", "one Geometry")),
    (lambda: link(geometries=(BALL,)), ("Link 'l'", "geometries", "Sphere")),
    (lambda: link(geometries=3), ("Link 'l'", "geometries", "3")),
    (lambda: ds.Inertia(-1.0, (1, 1, 1)), ("Inertia", "mass", "-1")),
    (lambda: ds.Inertia(1.0, (1, 1, -1)), ("Inertia", "moments", "-1")),
    (lambda: ds.Inertia(1.0, 1.0), ("Inertia", "moments", "1.0")),
    (lambda: ds.Inertia(1.0, (1, 1, 1), center=(0, 0)), ("Inertia", "center", "(0, 0)")),
    (lambda: ds.Geometry("ball"), ("Geometry", "shape", "'ball'")),
    (lambda: geometry(friction=-1.0), ("Geometry", "friction", "-1")),
    (lambda: geometry(restitution=1.1), ("Geometry", "restitution", "<= 1", "1.1")),
    (lambda: geometry(stiffness=0.0), ("Geometry", "stiffness", "0.0")),
    (lambda: geometry(collision_group="all"), ("Geometry", "collision_group", "'all'")),
    (lambda: geometry(color=(1.0,)), ("Geometry", "color", "(1.0,)")),
    (lambda: actuator(kind="muscle"), ("Actuator 'a'", "kind", "torque, position, velocity", "'muscle'")),
    (lambda: actuator(joints={}), ("Actuator 'a'", "joints", "{}")),
    (lambda: actuator(joints=("j",)), ("Actuator 'a'", "joints", "('j',)")),
    (lambda: actuator(joints={"j": NAN}), ("Actuator 'a'", "joints['j']", "nan")),
    (lambda: actuator(gain=math.inf), ("Actuator 'a'", "gain", "inf")),
    (lambda: actuator(damping=-1.0), ("Actuator 'a'", "damping", "-1")),
    (lambda: actuator(force_limits=(1.0,)), ("Actuator 'a'", "force_limits", "(1.0,)")),
    (lambda: actuator(force_limits=5.0), ("Actuator 'a'", "force_limits", "5.0")),
    (lambda: actuator(control_limits=("a", "b")), ("Actuator 'a'", "control_limits", "('a', 'b')")),
    (lambda: actuator(control_limits=(1.0, -1.0)), ("Actuator 'a'", "control_limits", "low < high")),
    (lambda: actuator(control_scale="2"), ("Actuator 'a'", "control_scale", "'2'")),
    (lambda: ds.Articulation("arm", ()), ("Articulation 'arm'", "links", "at least one")),
    (lambda: ds.Articulation("arm", link()), ("Articulation 'arm'", "links must be a tuple", "one Link")),
    (lambda: articulation("link"), ("Articulation 'arm'", "links", "'link'")),
    (lambda: articulation(link(), link()), ("Articulation 'arm'", "two links", "'l'")),
    (lambda: articulation(link(), link("m", joint=joint(name="j-l"))), ("Articulation 'arm'", "two joints", "'j-l'")),
    (lambda: articulation(link(parent="m"), link("m")), ("Articulation 'arm'", "'l'", "parent 'm'", "none")),
    (lambda: articulation(actuators=actuator()), ("Articulation 'arm'", "actuators must be a tuple", "one Actuator")),
    (lambda: articulation(actuators=("j-l",)), ("Articulation 'arm'", "actuators", "'j-l'")),
    (lambda: articulation(actuators=(actuator(), actuator())), ("Articulation 'arm'", "two actuators", "'a'")),
    (lambda: articulation(actuators=(actuator(joints="k"),)), ("Articulation 'arm'", "joint 'k'", "does not exist", "j-l")),
    (
        lambda: articulation(link(joint=joint(name="j-l", kind="ball")), actuators=(actuator(),)),
        ("Articulation 'arm'", "joint 'j-l'", "a ball one"),
    ),
    (lambda: articulation(excluded=("l", "m")), ("Articulation 'arm'", "excluded", "('l', 'm')")),
    (lambda: articulation(excluded=(("l", "z"),)), ("Articulation 'arm'", "excluded", "'z'", "links: l")),
    (lambda: articulation(excluded=3), ("Articulation 'arm'", "excluded", "3")),
    (lambda: articulation(position=None), ("Articulation 'arm'", "position", "None")),
    (lambda: articulation().joint("k"), ("Articulation 'arm'", "'k'", "j-l")),
    (lambda: body(shape="ball"), ("RigidBody 'b'", "shape", "'ball'")),
    (lambda: body(shape=ds.Plane()), ("RigidBody 'b'", "volume", "Plane")),
    (lambda: body(velocity=1.0), ("RigidBody 'b'", "velocity", "1.0")),
    (lambda: body(angular_velocity=(0, NAN, 0)), ("RigidBody 'b'", "angular_velocity", "nan")),
    (lambda: body(density=0.0), ("RigidBody 'b'", "density", "0.0")),
    (lambda: body(mass=-1.0), ("RigidBody 'b'", "mass", "-1")),
    (lambda: body(friction=-1.0), ("friction", "-1")),
    (lambda: body(restitution=2.0), ("restitution", "2.0")),
    (lambda: body(stiffness=0.0), ("stiffness", "0.0")),
    (lambda: ds.Simulator(scene(rigid_bodies=(sheet(),))), ("'sheet'", "it is flat")),
    (lambda: ds.Obstacle("o", BALL, (0, 0, 0), restitution=2.0), ("restitution", "2.0")),
    (lambda: ds.Obstacle("o", BALL, (0, 0, 0), stiffness=-1.0), ("stiffness", "-1")),
    (lambda: ds.Ground(restitution=-0.5), ("Ground", "restitution", "-0.5")),
    (lambda: ds.Ground(stiffness=0), ("Ground", "stiffness", "0")),
    (lambda: ds.ContactModel(stiffness=0), ("ContactModel", "stiffness", "0")),
    (lambda: ds.ContactModel(smoothing=NAN), ("ContactModel", "smoothing", "nan")),
    (lambda: ds.ContactModel(slip_speed="slow"), ("ContactModel", "slip_speed", "'slow'")),
    (lambda: scene(rigid_bodies=body()), ("Scene", "rigid_bodies must be a tuple", "one RigidBody")),
    (lambda: scene(articulations=("arm",)), ("Scene", "articulations", "'arm'")),
    (lambda: scene(contact=1.0), ("Scene", "contact", "1.0")),
    (lambda: scene(rigid_bodies=()), ("Scene", "at least one")),
    (lambda: scene(rigid_bodies=(body(), body())), ("'b'", "2 times")),
    (lambda: scene(articulations=(articulation(name="b"),)), ("'b'", "2 times")),
]


@pytest.mark.parametrize(("make", "parts"), WRONG, ids=range(len(WRONG)))
def test_one_clear_line(make, parts):
    with refused(*parts):
        make()
