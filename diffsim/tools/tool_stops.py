"""What stops a kinematic tool within a control step: limits of its position, the ground, obstacles, other tools.

A tool's motion is left without the parts that would end beyond a limit or inside something else, so that it slides along what
stops it. A control step is divided into so many equal moves that none is longer than a fifth of what is thinnest there, and
after each the tools are pushed out where they are deepest. Two tools that would cross give way each by its share in their
approach: at the end both are where they meet, and one that stands still stays. A tool moves out along the axes that its action
controls, as on rails, unless those run along the surface. What overlaps in the scene as declared may stay as deep as it is
there. All is plain torch, and autograd differentiates it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from diffsim.scene.bodies import Tool
from diffsim.scene.rotations import rotation_matrix
from diffsim.scene.scene import Scene
from diffsim.scene.shapes import Plane, Shape
from diffsim.tools.deepest_points import Contact, Pose, Solid, deepest, solids_of

ROUNDS = 4  # of pushing out after a move, where several things stop a tool
MOST_MOVES = 64  # that a control step is divided into
LONGEST_MOVE = 0.2  # of the thinnest thing: two tools that meet are on the right sides of each other
STEEP = 0.0625  # square of the normal's part along a tool's rails from which it moves on these
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}  # of the thinnest thing: what is less deep is out

STEEPEST = 2.0  # slope of any distance: that of meshes and ellipsoids is close to 1, not equal

Rotations = Callable[[Tensor], Tensor]  # of the tools (B, M, 3, 3) after a share of the control step (B,)


class _Placed(NamedTuple):
    """A part of a thing: the tool's number, or -1 of what stands still, and then its pose."""

    tool: int
    solid: Solid
    pose: Pose | None


@dataclass(frozen=True)
class _Pair:
    """Two parts, of which the first is a tool's; which of them gives way; how deep they are as declared, m."""

    one: _Placed
    other: _Placed
    one_yields: bool
    other_yields: bool
    declared: float = 0.0


class _Near:
    """Two parts that may touch within a control step, and where: ``close`` (B,).

    The distance to a surface changes by no more than one moves, so two parts that were a ``gap`` (B,) from being too deep
    are not looked at again before they have moved half as far; but for shapes whose points go where the other's normal says.
    """

    def __init__(self, pair: _Pair, close: Tensor):
        self.pair, self.close = pair, close
        self._lasting = not (pair.one.solid.balls.moving or pair.other.solid.balls.moving)
        self.gap: Tensor | None = None
        self._tools = [each.tool for each in (pair.one, pair.other) if each.tool >= 0]

    def measured(self, position: Tensor, swing: Tensor, gap: Tensor) -> None:
        """Keeps the gap (B,) of tools at these positions (B, M, 3), whose points have turned so far (B, M)."""
        if not self._lasting:
            return
        self._position, self._swing, self.gap = position.detach()[:, self._tools], swing[:, self._tools], gap

    def moved(self, position: Tensor, swing: Tensor) -> Tensor:
        """By how much the gap may have changed since, at most, m (B,)."""
        way = (position.detach()[:, self._tools] - self._position).norm(dim=-1)
        return STEEPEST * (way + (swing[:, self._tools] - self._swing).abs()).sum(dim=1)


class ToolStops:
    """Displacements of the tools of a scene, stopped by what their ``stops_at`` names and by their limits."""

    def __init__(self, scene: Scene, *, dtype: torch.dtype, device: str):
        self._dtype, self._device = dtype, device
        self._bounds = self._limits(scene.tools)
        fixed = self._fixed(scene)
        moving = [
            _Placed(number, solid, None)
            for number, tool in enumerate(scene.tools)
            for solid in (self._solids(tool.shape) if self._stopped(scene, number) else [])
        ]
        start = Pose(
            self._real([tool.position for tool in scene.tools]).reshape(1, -1, 3),
            self._real([rotation_matrix(tool.rotation).tolist() for tool in scene.tools]).reshape(1, -1, 3, 3),
        )
        self._pairs: list[_Pair] = []
        for n, one in enumerate(moving):
            stops = scene.tools[one.tool].stops_at
            pairs = [_Pair(one, other, True, False) for name, other in fixed if name in stops]
            for other in moving[n + 1 :]:
                yields = ["tools" in scene.tools[each.tool].stops_at for each in (one, other)]
                if other.tool != one.tool and any(yields):
                    pairs.append(_Pair(one, other, *yields))
            for pair in pairs:
                depth = float(self._contact(pair, start).depth)
                self._pairs.append(_Pair(pair.one, pair.other, pair.one_yields, pair.other_yields, max(depth, 0.0)))
        solids = [each.solid for pair in self._pairs for each in (pair.one, pair.other) if each.solid.thickness > 0.0]
        thinnest = min((solid.thickness for solid in solids), default=1.0)
        self._tolerance = TOLERANCE[dtype] * thinnest
        self._rails = self._real([[float(axis in tool.control) for axis in "xyz"] for tool in scene.tools]).reshape(-1, 3)
        self._radii = self._real([tool.shape.bounding_radius for tool in scene.tools])

    @property
    def any(self) -> bool:
        """Whether anything may stop a tool."""
        return bool(self._pairs) or self._bounds is not None

    def _real(self, values: object) -> Tensor:
        return torch.tensor(values, dtype=self._dtype, device=self._device)

    def _solids(self, shape: Shape) -> list[Solid]:
        return solids_of(shape, dtype=self._dtype, device=self._device)

    def _limits(self, tools: tuple[Tool, ...]) -> Pose | None:
        lower, upper = ([getattr(tool, name) or (sign * float("inf"),) * 3 for tool in tools]
                        for name, sign in (("lower", -1.0), ("upper", 1.0)))  # fmt: skip
        if all(tool.lower is None and tool.upper is None for tool in tools):
            return None
        return Pose(self._real(lower), self._real(upper))

    @staticmethod
    def _stopped(scene: Scene, number: int) -> bool:
        """Whether anything is in a tool's way, or it is in another's."""
        own, others = scene.tools[number].stops_at, [tool for n, tool in enumerate(scene.tools) if n != number]
        return (
            ("ground" in own and scene.ground is not None)
            or ("obstacles" in own and bool(scene.obstacles))
            or (bool(others) and ("tools" in own or any("tools" in tool.stops_at for tool in others)))
        )

    def _fixed(self, scene: Scene) -> list[tuple[str, _Placed]]:
        """Parts of the ground and the obstacles, with the name for ``stops_at``."""
        found: list[tuple[str, _Placed]] = []

        def add(name: str, shape: Shape, position: object, rotation: object) -> None:
            pose = Pose(self._real([position]), self._real([rotation]))
            for solid in self._solids(shape):
                found.append((name, _Placed(-1, solid, solid.placed(pose))))

        wanted = {name for tool in scene.tools for name in tool.stops_at}
        if scene.ground is not None and "ground" in wanted:
            add("ground", Plane(), (0.0, 0.0, scene.ground.height), torch.eye(3).tolist())
        for obstacle in scene.obstacles if "obstacles" in wanted else ():
            add("obstacles", obstacle.shape, obstacle.position, rotation_matrix(obstacle.rotation).tolist())
        return found

    def permitted(self, position: Tensor, displacement: Tensor, turn: Tensor, rotations: Rotations) -> Tensor:
        """Displacements (B, M, 3) over the control step that are left of those asked for.

        Args:
            position: of the tools at the start, (B, M, 3).
            displacement: asked for, (B, M, 3).
            turn: angles by which the tools turn, rad (B, M).
            rotations: gives the rotation matrices after a share of the control step.
        """
        travel = displacement.detach().norm(dim=-1) + turn.detach() * self._radii
        near, moves = self._near(position.detach(), travel)
        pushes = self._to_limits(position, position + displacement)
        if not near:
            return displacement + pushes
        here = Pose(position, rotations(torch.zeros_like(moves)))
        pushes = torch.zeros_like(displacement)
        swing = turn.detach() * self._radii
        for move in range(int(moves.max())):
            share = ((move + 1.0) / moves).clamp_max(1.0)
            way = position + share[:, None, None] * displacement
            turned = rotations(share)
            pushes = pushes + self._to_limits(position, way + pushes)
            pushes = self._pushed_out(near, move < moves, position, here, Pose(way, turned), share[:, None] * swing, pushes)
            here = Pose(way + pushes, turned)
        return displacement + pushes

    def _to_limits(self, start: Tensor, position: Tensor) -> Tensor:
        """What brings positions (B, M, 3) back to the limits; where the control step began beyond one, only to there."""
        nothing = torch.zeros_like(position)
        if self._bounds is None:
            return nothing
        lower, upper = self._bounds
        slack = 4.0 * torch.finfo(position.dtype).eps * (1.0 + start.detach().abs())
        low, high = torch.where(start < lower - slack, start, lower), torch.where(start > upper + slack, start, upper)
        return torch.where(position < low, low - position, torch.where(position > high, high - position, nothing))

    def _pushed_out(
        self, near: list[_Near], active: Tensor, start: Tensor, here: Pose, there: Pose, swing: Tensor, pushes: Tensor
    ) -> Tensor:
        """``pushes`` (B, M, 3) and those of a move from ``here`` to ``there`` and the pushes before; ``swing`` is how far
        turning has moved any point of the tools since the control step began, at most, m (B, M)."""
        for _ in range(ROUNDS):
            deep = False
            for each in near:
                pair, tools = each.pair, Pose(there.position + pushes, there.rotation)
                wanted = active & each.close
                if each.gap is None:
                    if not bool((self._apart(pair, tools.position) < 0.0).any()):
                        continue
                elif not bool((wanted & (each.gap < each.moved(tools.position, swing))).any()):
                    continue
                contact = self._contact(pair, tools)
                excess = contact.depth - pair.declared
                each.measured(tools.position, swing, self._tolerance - excess.detach())
                inside = wanted & (excess > self._tolerance)
                if not bool(inside.any()):
                    continue
                deep = True
                push = torch.where(inside, excess, torch.zeros_like(excess))
                shares = self._shares(pair, contact, here, tools)
                columns = list(pushes.unbind(dim=1))
                for placed, yields, side, share in (
                    (pair.one, pair.one_yields, 1.0, shares[0]), (pair.other, pair.other_yields, -1.0, shares[1])
                ):  # fmt: skip
                    if yields:
                        way = (side * share * push).unsqueeze(-1) * self._way_out(placed.tool, contact.normal)
                        columns[placed.tool] = columns[placed.tool] + way
                pushes = torch.stack(columns, dim=1)
                pushes = pushes + self._to_limits(start, there.position + pushes)
            if not deep:
                break
        return pushes

    def _way_out(self, tool: int, normal: Tensor) -> Tensor:
        """How a tool moves out of something by one along the normal (B, 3): on the rails of the axes that the action controls,
        unless these run along the surface."""
        rails = self._rails[tool]
        slope = (rails * normal.square()).sum(dim=-1, keepdim=True)
        steep = slope > STEEP
        return torch.where(steep, rails * normal / torch.where(steep, slope, torch.ones_like(slope)), normal)

    def _shares(self, pair: _Pair, contact: Contact, here: Pose, there: Pose) -> tuple[Tensor, Tensor]:
        """How much of a push each of two parts takes, (B,): its part in the approach of their points of contact."""
        all_of_it, nothing = torch.ones_like(contact.depth), torch.zeros_like(contact.depth)
        if not pair.other_yields:
            return all_of_it, nothing
        if not pair.one_yields:
            return nothing, all_of_it
        ways = []
        for tool in (pair.one.tool, pair.other.tool):
            arm = (contact.place - there.position[:, tool]).unsqueeze(1) @ there.rotation[:, tool]
            before = here.position[:, tool] + (arm @ here.rotation[:, tool].transpose(1, 2)).squeeze(1)
            ways.append(((contact.place - before) * contact.normal).sum(dim=-1))
        own, others = (-ways[0]).clamp_min(0.0), ways[1].clamp_min(0.0)
        total = own + others
        known = total > self._tolerance
        share = torch.where(known, own / torch.where(known, total, torch.ones_like(total)), torch.full_like(total, 0.5))
        return share, 1.0 - share

    @staticmethod
    def _pose(placed: _Placed, tools: Pose) -> Pose:
        if placed.pose is not None:
            batch = len(tools.position)
            return Pose(placed.pose.position.expand(batch, 3), placed.pose.rotation.expand(batch, 3, 3))
        return placed.solid.placed(Pose(tools.position[:, placed.tool], tools.rotation[:, placed.tool]))

    def _contact(self, pair: _Pair, tools: Pose) -> Contact:
        return deepest(pair.one.solid, self._pose(pair.one, tools), pair.other.solid, self._pose(pair.other, tools))

    @torch.no_grad()
    def _apart(self, pair: _Pair, position: Tensor) -> Tensor:
        """At most how far the tools of a pair at these positions (B, M, 3) are from touching, m (B,)."""
        center, other = position[:, pair.one.tool], pair.other
        if other.pose is None:
            gap = (center - position[:, other.tool]).norm(dim=-1) - self._radii[other.tool]
        elif other.solid.bounded:
            gap = (center - other.pose.position).norm(dim=-1) - other.solid.reach
        else:
            gap = ((center - other.pose.position) * other.pose.rotation[..., 2]).sum(dim=-1) - other.solid.reach
        return gap - self._radii[pair.one.tool]

    def _near(self, position: Tensor, travel: Tensor) -> tuple[list[_Near], Tensor]:
        """Those that may touch within the control step in any environment: by balls round the tools and round the parts of what
        stands still. What pushes a tool moves it no farther than the fastest one goes. And the moves (B,) into which the
        control step is divided for them; what has no other side needs one."""
        found = []
        moves = torch.ones_like(travel[:, 0])
        margin = travel.amax(dim=1)
        for pair in self._pairs:
            one, other = pair.one, pair.other
            reach = travel[:, one.tool] + margin
            if other.pose is None:
                reach = reach + travel[:, other.tool]
            close = self._apart(pair, position) < reach
            if not bool(close.any()):
                continue
            found.append(_Near(pair, close))
            thickness = min((solid.thickness for solid in (one.solid, other.solid) if solid.thickness > 0.0), default=1.0)
            if other.solid.bounded:
                way = (
                    travel[:, one.tool] if other.pose is not None else torch.maximum(travel[:, one.tool], travel[:, other.tool])
                )
                own = (way / (LONGEST_MOVE * thickness)).ceil().clamp(1, MOST_MOVES)
                moves = torch.where(close, torch.maximum(moves, own), moves)
        return found, moves
