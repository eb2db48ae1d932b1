"""Changes of articulations that were read from files: parts of them, shorter names, other joints and links."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import diffsim as ds
from diffsim.scene.constraints import Constraint, closed_links


def mapped(articulation: ds.Articulation, change: Callable[[ds.Link], ds.Link]) -> ds.Articulation:
    """With every link changed."""
    return dataclasses.replace(articulation, links=tuple(map(change, articulation.links)))


def with_joints(articulation: ds.Articulation, changes: Mapping[str, Mapping[str, Any]]) -> ds.Articulation:
    """With other fields of some joints, by their names."""

    def change(link: ds.Link) -> ds.Link:
        fields = changes.get(link.joint.name)
        return link if fields is None else dataclasses.replace(link, joint=dataclasses.replace(link.joint, **fields))

    return mapped(articulation, change)


def at_home(articulation: ds.Articulation, home: Mapping[str, float]) -> ds.Articulation:
    """That starts with these coordinates of joints that turn about or slide along one axis."""
    return with_joints(articulation, {joint: {"initial": (value,)} for joint, value in home.items()})


def fixed(articulation: ds.Articulation, *joints: str) -> ds.Articulation:
    """With some joints fixed at their zero."""

    def change(link: ds.Link) -> ds.Link:
        return dataclasses.replace(link, joint=ds.Joint(link.joint.name, "fixed")) if link.joint.name in joints else link

    return mapped(articulation, change)


def weightless(articulation: ds.Articulation, share: float) -> ds.Articulation:
    """With a share of its weight carried (`diffsim.Link.gravity_compensation`)."""
    return mapped(articulation, lambda link: dataclasses.replace(link, gravity_compensation=share))


def subtree(articulation: ds.Articulation, root: str) -> ds.Articulation:
    """The link ``root`` and all that it carries, at the origin of the articulation's frame unless its joint is free."""
    kept: list[ds.Link] = []
    names: set[str | None] = set()
    for link in articulation.links:
        if link.name == root:
            place = {} if link.joint.kind == "free" else {"position": (0.0, 0.0, 0.0), "rotation": (1.0, 0.0, 0.0, 0.0)}
            kept.append(dataclasses.replace(link, parent=None, **place))  # type: ignore[arg-type]
            names.add(root)
        elif link.parent in names:
            kept.append(link)
            names.add(link.name)
    joints = {link.joint.name for link in kept}
    return dataclasses.replace(
        articulation,
        links=tuple(kept),
        actuators=tuple(each for each in articulation.actuators if set(each.joints) <= joints),
        excluded=tuple(pair for pair in articulation.excluded if set(pair) <= names),
        constraints=tuple(each for each in articulation.constraints if _within(each, joints, names)),
        tendons=tuple(each for each in articulation.tendons if set(each.joints) <= joints),
    )


def _within(constraint: Constraint, joints: set[str], links: set[str | None]) -> bool:
    """Whether a constraint is of these joints and links alone."""
    if isinstance(constraint, ds.JointEquality):
        return {*constraint.joints, *(constraint.leader or ())} <= joints
    return set(closed_links(constraint)) <= links


def without_prefix(articulation: ds.Articulation, prefix: str) -> ds.Articulation:
    """With names of links, joints, actuators and so on that have no longer the prefix."""

    def short(name: str) -> str:
        return name.removeprefix(prefix)

    def change(link: ds.Link) -> ds.Link:
        parent = None if link.parent is None else short(link.parent)
        joint = dataclasses.replace(link.joint, name=short(link.joint.name))
        return dataclasses.replace(link, name=short(link.name), joint=joint, parent=parent)

    def sums(each: Any, *fields: str) -> Any:
        shorter = {
            field: {short(joint): coefficient for joint, coefficient in getattr(each, field).items()}
            for field in fields
            if getattr(each, field) is not None
        }
        return dataclasses.replace(each, name=short(each.name), **shorter)

    def shorter_constraint(each: Any) -> Any:
        if isinstance(each, ds.JointEquality):
            return sums(each, "joints", "leader")
        other = None if each.other is None else short(each.other)
        return dataclasses.replace(each, name=short(each.name), link=short(each.link), other=other)

    return dataclasses.replace(
        articulation,
        links=tuple(map(change, articulation.links)),
        actuators=tuple(sums(each, "joints") for each in articulation.actuators),
        excluded=tuple((short(one), short(other)) for one, other in articulation.excluded),
        constraints=tuple(map(shorter_constraint, articulation.constraints)),
        tendons=tuple(sums(each, "joints") for each in articulation.tendons),
    )


def touching(articulation: ds.Articulation, links: tuple[str, ...] | None, friction: float | None = None) -> ds.Articulation:
    """In which only these links collide (None: all that did), and with a friction of their own."""

    def change(link: ds.Link) -> ds.Link:
        collides = links is None or link.name in links
        shapes = []
        for each in link.geometries:
            fields: dict[str, Any] = {"collides": each.collides and collides}
            if friction is not None and links is not None and collides:
                fields["friction"] = friction
            shapes.append(dataclasses.replace(each, **fields))
        return dataclasses.replace(link, geometries=tuple(shapes))

    return mapped(articulation, change)
