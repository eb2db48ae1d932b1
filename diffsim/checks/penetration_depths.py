"""How deep things are in each other in a state: particles below surfaces, and rigid things by their points of contact."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from diffsim.rigid.rigid_model import RigidModel
from diffsim.scene.rotations import quaternion_to_matrix
from diffsim.scene.scene import Scene
from diffsim.scene.shapes import Part
from diffsim.state import State
from diffsim.tools.deepest_points import Pose, Solid, deepest

FIXED, TOOL, LINK = "fixed", "tool", "link"

Depths = dict[tuple[str, str], Tensor]


class _Thing(NamedTuple):
    """What has a surface: where its pose is found, and its parts."""

    kind: str
    number: int
    solids: list[Solid]


class PenetrationDepths:
    """Of the pairs of a scene that may touch, by name: soft bodies with everything rigid, rigid things with each other, tools
    with what is fixed and with other tools.

    Args:
        model: of the scene's rigid things, if it has any.
        particles: of the soft bodies, by name.
    """

    def __init__(
        self, scene: Scene, model: RigidModel | None, particles: Mapping[str, slice], *, dtype: torch.dtype, device: str
    ):
        def solids(parts: Iterable[Part]) -> list[Solid]:
            return [Solid(part, part.shape.stopping_points(), dtype=dtype, device=device) for part in parts]

        self._particles = dict(particles)
        fixed = {name: [Part(g.shape, g.position, g.rotation) for g in parts] for name, parts in scene.fixed_geometries.items()}
        self._things = {name: _Thing(FIXED, 0, solids(parts)) for name, parts in fixed.items()}
        for number, tool in enumerate(scene.tools):
            self._things[tool.name] = _Thing(TOOL, number, solids(tool.shape.parts))
        self._pairs = [
            (a.name, b) for n, a in enumerate(scene.tools) for b in (*(t.name for t in scene.tools[n + 1 :]), *fixed)
        ]
        if model is not None:
            owners = model.geometry_owners
            for number, link in enumerate(model.links[1 : len(model.links) - model.tools], start=1):
                own = [model.geometries[n] for n in link.geometries]
                if own:
                    parts = [Part(g.shape, g.position, g.rotation) for g in own]
                    self._things[link.name] = _Thing(LINK, number, solids(parts))
            touching = dict.fromkeys(tuple(sorted(pair)) for pair in model.pairs)  # a pair may be there both ways
            self._pairs += dict.fromkeys((owners[b], owners[a]) for a, b in touching)

    @torch.no_grad()
    def of(self, state: State, links: Pose | None) -> Depths:
        """The deepest penetration of each pair in each environment, m (B,), 0 where they do not touch.

        Args:
            links: poses of all links, (B, L, 3) and (B, L, 3, 3).
        """
        batch, found = state.num_envs, {}
        turned = quaternion_to_matrix(state.tool_rotation / state.tool_rotation.norm(dim=-1, keepdim=True))
        tools = Pose(state.tool_position, turned)
        still = Pose(tools.position.new_zeros((batch, 3)), torch.eye(3).to(tools.position).expand(batch, 3, 3))

        def placed(name: str) -> list[tuple[Solid, Pose]]:
            thing = self._things[name]
            poses = {FIXED: None, TOOL: tools, LINK: links}[thing.kind]
            pose = still if poses is None else Pose(poses.position[:, thing.number], poses.rotation[:, thing.number])
            return [(solid, solid.placed(pose)) for solid in thing.solids]

        everything = {name: placed(name) for name in self._things}
        for body, own in self._particles.items():
            for name, parts in everything.items():
                found[body, name] = _deepest([_particles_in(state.x[:, own], *part) for part in parts])
        for one, other in self._pairs:
            ways = [(a, b) for a in everything[one] for b in everything[other] if a[0].bounded or b[0].bounded]
            found[one, other] = _deepest([deepest(*a, *b).depth for a, b in ways])
        return found


def _deepest(depths: list[Tensor]) -> Tensor:
    return torch.stack(depths).amax(dim=0).clamp_min(0.0)


def _particles_in(x: Tensor, solid: Solid, pose: Pose) -> Tensor:
    phi, _normal = solid.distance((x - pose.position.unsqueeze(1)) @ pose.rotation)
    return -phi.amin(dim=1)
