"""What the links of a compiled scene are called, and where their joints stand in the state."""

from __future__ import annotations

from dataclasses import dataclass

from diffsim.scene.articulation import Joint


@dataclass(frozen=True)
class LinkInfo:
    """A link of a scene (`Simulator.link_infos`).

    Attributes:
        name: "<rigid body>", "<articulation>.<link>", or "world".
        articulation: name of the articulation or rigid body; None of the world.
        parent: index of the parent link; the world's is its own.
        joint: to the parent.
        coordinates: the joint's entries of ``state.q``.
        dofs: the joint's entries of ``state.qd``.
    """

    name: str
    articulation: str | None
    parent: int
    joint: Joint
    coordinates: slice
    dofs: slice
