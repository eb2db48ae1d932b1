"""A scene's rigid things as the arrays of `memory.py`, and where each of them stands there."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import nnls

from diffsim.errors import InputError
from diffsim.rigid import rigid_records as m
from diffsim.scene.articulation import JOINT_SIZES, Articulation, Geometry, Joint, Link
from diffsim.scene.bodies import Tool
from diffsim.scene.contact_model import ContactModel
from diffsim.scene.rotations import quaternion_of, rotation_matrix
from diffsim.scene.shapes import Shape
from diffsim.scene.shapes.distance_kinds import distance_kind, further_classes

logger = logging.getLogger(__name__)

KINDS = {"fixed": m.FIXED, "revolute": m.REVOLUTE, "prismatic": m.PRISMATIC, "ball": m.BALL, "free": m.FREE}
# a joint limit's stiffness, where none is given, as a share of inertia / dt^2: well within what an explicit spring bears
LIMIT_SHARE = 0.05
STIFF_CONTACT = 1.0


@dataclass
class PlacedLink:
    """A link of the scene: its articulation's index (-1: the world, tools), its parent's number, first coordinate and dof."""

    articulation: int
    name: str
    joint: Joint
    parent: int
    coordinate: int
    dof: int
    position: np.ndarray
    rotation: np.ndarray
    link: Link | None = None
    geometries: list[int] = field(default_factory=list)


class RigidModel:
    """All links, joints, actuators and geometries of a scene in the order of the arrays.

    Link 0 is the world; it carries ``world_geometries``. The last links are the tools, each on a fixed joint: the
    kernels move them, but like all that is fixed they do not touch each other or the world. Names of links are
    "<articulation>.<link>", likewise of joints and actuators; a rigid body's link and a tool's have its name.

    Args:
        articulations: those of the scene; the first ``rigid_bodies`` are rigid bodies.
        world_geometries: fixed ones; of these the first ``on_grid`` meet soft bodies on the grid.
        tools: kinematic ones; they meet soft bodies on the grid, too.

    Raises:
        InputError: a moving link has no inertia at all.
    """

    def __init__(
        self,
        articulations: Sequence[Articulation],
        world_geometries: Sequence[Geometry],
        contact: ContactModel,
        *,
        dt: float,
        on_grid: int = 0,
        tools: Sequence[Tool] = (),
        rigid_bodies: int = 0,
    ):
        self.articulations = tuple(articulations)
        self.rigid_bodies = rigid_bodies
        self.contact = contact
        self.dt = dt
        self.links: list[PlacedLink] = [PlacedLink(-1, "world", Joint("world", "fixed"), 0, 0, 0, np.zeros(3), np.eye(3))]
        self.geometries: list[Geometry] = []
        self.geometry_links: list[int] = []
        self.actuators: list[tuple[int, str]] = []
        self.coordinates = self.dofs = 0
        for geometry in world_geometries:
            self._add_geometry(0, geometry)
        for index, articulation in enumerate(self.articulations):
            self._add_articulation(index, articulation)
        self.coupled = list(range(on_grid, len(self.geometries)))
        self.tools = len(tools)
        for tool in tools:
            self._add_tool(tool)
        free = {number for number, link in enumerate(self.links) if link.joint.kind == "free"}
        self.free_bodies = free - {link.parent for link in self.links}  # what carries others is none
        self.initial = self._initial_coordinates()
        self._check_inertia()
        self._warn_of_stiff_contacts()
        self.pairs = self._pairs()
        self.further_shapes = further_classes(geometry.shape for geometry in self.geometries)

    def _add_geometry(self, link: int, geometry: Geometry) -> None:
        self.links[link].geometries.append(len(self.geometries))
        self.geometries.append(geometry)
        self.geometry_links.append(link)

    def _add_articulation(self, index: int, articulation: Articulation) -> None:
        numbers: dict[str | None, int] = {None: 0}
        base, base_rotation = np.asarray(articulation.position), rotation_matrix(articulation.rotation)
        for link in articulation.links:
            position, rotation = np.asarray(link.position), rotation_matrix(link.rotation)
            if link.parent is None:
                position, rotation = base + base_rotation @ position, base_rotation @ rotation
            numbers[link.name] = len(self.links)
            name = articulation.name if index < self.rigid_bodies else f"{articulation.name}.{link.name}"
            self.links.append(
                PlacedLink(
                    index, name, link.joint, numbers[link.parent], self.coordinates, self.dofs,
                    position, rotation, link,
                )
            )  # fmt: skip
            coordinates, dofs = JOINT_SIZES[link.joint.kind]
            self.coordinates += coordinates
            self.dofs += dofs
            for geometry in link.geometries:
                if geometry.collides:
                    self._add_geometry(numbers[link.name], geometry)
        self.actuators += [(index, actuator.name) for actuator in articulation.actuators]

    def _add_tool(self, tool: Tool) -> None:
        place, joint = (np.asarray(tool.position), rotation_matrix(tool.rotation)), Joint(tool.name, "fixed")
        self.links.append(PlacedLink(-1, tool.name, joint, 0, self.coordinates, self.dofs, *place))
        self._add_geometry(len(self.links) - 1, tool.geometry)

    def tool_inputs(self, substeps: int) -> int:
        """Numbers at the end of a row of inputs that say how the tools move over a control step."""
        return self.tools * (m.TOOL_TWIST + m.TOOL_POSE * substeps)

    def _initial_coordinates(self) -> np.ndarray:
        """Coordinates at reset (coordinates,)."""
        q = np.zeros(self.coordinates)
        for link in self.links[1:]:
            count = JOINT_SIZES[link.joint.kind][0]
            own = slice(link.coordinate, link.coordinate + count)
            if link.joint.initial is not None:
                q[own] = link.joint.initial
            elif link.joint.kind == "ball":
                q[own] = (1.0, 0.0, 0.0, 0.0)
            elif link.joint.kind == "free":
                q[own] = (*link.position, *quaternion_of(link.rotation))
        return q

    def initial_velocities(self) -> np.ndarray:
        """Velocities at reset (dofs,)."""
        v = np.zeros(self.dofs)
        for link in self.links[1:]:
            if link.joint.initial_velocity is not None:
                v[link.dof : link.dof + len(link.joint.initial_velocity)] = link.joint.initial_velocity
        return v

    def _check_inertia(self) -> None:
        if not self.dofs:
            return
        inertia = np.diag(self.mass_matrix(self.initial))
        for link in self.links[1:]:
            for k in range(link.dof, link.dof + JOINT_SIZES[link.joint.kind][1]):
                if not inertia[k] > 0.0:
                    raise InputError(
                        f"link '{link.name}' moves on joint '{link.joint.name}' but has no inertia about it, neither of its "
                        "own nor of links that it carries; give the link an Inertia, or the joint an armature"
                    )

    def weld(self, number: int) -> int:
        """The first link above that moves, or the root: links with the same answer never move against each other."""
        while self.links[number].joint.kind == "fixed" and self.links[number].parent:
            number = self.links[number].parent
        return number

    def _touch(self, a: int, b: int) -> bool:
        """Whether two geometries may touch."""
        link_a, link_b = self.geometry_links[a], self.geometry_links[b]
        weld_a, weld_b = self.weld(link_a), self.weld(link_b)
        if weld_a == weld_b or all(self.links[number].joint.kind == "fixed" for number in (weld_a, weld_b)):
            return False
        one, other = self.geometries[a], self.geometries[b]
        if not (one.collision_group & other.collision_mask or other.collision_group & one.collision_mask):
            return False
        owner = self.links[link_a].articulation
        if owner != self.links[link_b].articulation:
            return True
        if not self.articulations[owner].self_collisions:
            return False
        for child, other_weld in ((weld_a, weld_b), (weld_b, weld_a)):
            parent = self.links[child].parent
            if parent and self.weld(parent) == other_weld:
                return False
        names = {link.name for number in (link_a, link_b) if (link := self.links[number].link) is not None}
        return not any(names == set(pair) for pair in self.articulations[owner].excluded)

    def _pairs(self) -> list[tuple[int, int]]:
        """Which geometry's points meet which geometry's distance."""
        found = []
        for a in range(len(self.geometries)):
            for b in range(a + 1, len(self.geometries)):
                if not self._touch(a, b):
                    continue
                spheres = [self.geometries[n].shape.is_sphere for n in (a, b)]
                endless = [not self.geometries[n].shape.bounded for n in (a, b)]
                if endless[0] and endless[1]:
                    continue
                if spheres[0] or endless[1]:
                    found.append((a, b))
                elif spheres[1] or endless[0]:
                    found.append((b, a))
                else:
                    found += [(a, b), (b, a)]
        return found

    def has_events(self, a: int, b: int) -> bool:
        """Whether fast impacts of two geometries are events in event mode: of free bodies with each other or with what never
        moves, and tools move."""
        others = {self.geometry_links[a], self.geometry_links[b]} - self.free_bodies
        tools = len(self.links) - self.tools
        return len(others) < 2 and all(
            number < tools and self.links[self.weld(number)].joint.kind == "fixed" for number in others
        )

    def forward_kinematics(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """World positions (links, 3) and rotations (links, 3, 3) at q (coordinates,)."""
        positions, rotations = np.zeros((len(self.links), 3)), np.tile(np.eye(3), (len(self.links), 1, 1))
        for number, link in enumerate(self.links[1:], start=1):
            up, joint, own = rotations[link.parent], link.joint, q[link.coordinate :]
            position, rotation = positions[link.parent] + up @ link.position, up @ link.rotation
            axis = np.asarray(joint.axis)
            if joint.kind == "revolute":
                rotation = rotation @ rotation_matrix((np.cos(own[0] / 2), *(np.sin(own[0] / 2) * axis)))
            elif joint.kind == "prismatic":
                position = position + rotation @ axis * own[0]
            elif joint.kind == "ball":
                rotation = rotation @ rotation_matrix(tuple(own[:4] / np.linalg.norm(own[:4])))
            elif joint.kind == "free":
                position, rotation = own[:3], rotation_matrix(tuple(own[3:7] / np.linalg.norm(own[3:7])))
            positions[number], rotations[number] = position, rotation
        return positions, rotations

    def jacobians(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Positions and rotations of the links as `forward_kinematics`, and the Jacobians (links, 3, dofs) of the velocity of a
        link's origin and of its angular velocity."""
        positions, rotations = self.forward_kinematics(q)
        linear, angular = np.zeros((2, len(self.links), 3, self.dofs))
        for number, link in enumerate(self.links[1:], start=1):
            kind, up, k = link.joint.kind, link.parent, link.dof
            arm = positions[number] - positions[up]
            angular[number] = angular[up]
            linear[number] = linear[up] + np.cross(angular[up].T, arm).T
            axis = rotations[number] @ np.asarray(link.joint.axis)
            if kind == "revolute":
                angular[number, :, k] += axis
            elif kind == "prismatic":
                linear[number, :, k] += axis
            elif kind == "ball":
                angular[number, :, k : k + 3] += rotations[number]
            elif kind == "free":
                linear[number, :, k : k + 3] += np.eye(3)
                angular[number, :, k + 3 : k + 6] += rotations[number]
        return positions, rotations, linear, angular

    def mass_matrix(self, q: np.ndarray) -> np.ndarray:
        """(dofs, dofs), armatures included."""
        _positions, rotations, linear, angular = self.jacobians(q)
        M = np.zeros((self.dofs, self.dofs))
        for number, link in enumerate(self.links[1:], start=1):
            size = JOINT_SIZES[link.joint.kind][1]
            M[range(link.dof, link.dof + size), range(link.dof, link.dof + size)] += link.joint.armature
            if link.link is None or link.link.inertia is None:
                continue
            own = link.link.inertia
            J = linear[number] + np.cross(angular[number].T, rotations[number] @ np.asarray(own.center)).T
            axes = rotations[number] @ rotation_matrix(own.rotation)
            M += own.mass * J.T @ J + angular[number].T @ axes @ np.diag(own.moments) @ axes.T @ angular[number]
        return M

    def _warn_of_stiff_contacts(self) -> None:
        """Explicit springs bear k dt^2 / m up to a few; m is the least mass that a geometry's centre shows in any direction."""
        if not self.dofs:
            return
        _positions, rotations, linear, angular = self.jacobians(self.initial)
        inverse = np.linalg.inv(self.mass_matrix(self.initial))
        worst: dict[str, float] = {}
        for geometry, number in zip(self.geometries, self.geometry_links, strict=True):
            J = linear[number] + np.cross(angular[number].T, rotations[number] @ np.asarray(geometry.position)).T
            stiffness = self.contact.stiffness if geometry.stiffness is None else geometry.stiffness
            share = stiffness * self.dt**2 * float(np.linalg.eigvalsh(J @ inverse @ J.T)[-1])
            name = self.links[number].name
            worst[name] = max(worst.get(name, 0.0), share)
        for name, share in worst.items():
            if share > STIFF_CONTACT:
                logger.warning(
                    "link '%s': a contact point's stiffness times dt^2 over its effective mass is %.2g, above %g: contact may "
                    "blow up; use dt <= %.2g s, a softer contact, or more mass or armature",
                    name, share, STIFF_CONTACT, self.dt * (STIFF_CONTACT / share) ** 0.5,
                )  # fmt: skip

    def inputs(self, gravity: Sequence[float]) -> np.ndarray:
        """A row of the differentiable inputs as declared, but for the tools' motion."""
        stiffness = LIMIT_SHARE * np.diag(self.mass_matrix(self.initial)) / self.dt**2 if self.dofs else np.zeros(0)
        rows: list[float] = list(gravity)
        for link in self.links:
            inertia = link.link.inertia if link.link else None
            values = [0.0] * 10
            if inertia is not None:
                axes = rotation_matrix(inertia.rotation)
                I = axes @ np.diag(inertia.moments) @ axes.T
                values = [inertia.mass, *inertia.center, I[0, 0], I[1, 1], I[2, 2], I[1, 2], I[0, 2], I[0, 1]]
            joint = link.joint
            limit = 0.0
            if joint.limits is not None:
                limit = float(stiffness[link.dof]) if joint.limit_stiffness is None else joint.limit_stiffness
            rows += [*values, joint.damping, joint.armature, joint.friction_loss, joint.spring_stiffness, limit]
        for articulation in self.articulations:
            for actuator in articulation.actuators:
                position, velocity = actuator.kind == "position", actuator.kind == "velocity"
                damping = 0.0 if actuator.kind == "torque" else actuator.damping
                rows += [actuator.gain, actuator.gain * position, damping + actuator.gain * velocity]
        for geometry in self.geometries:
            own = self.contact.stiffness if geometry.stiffness is None else geometry.stiffness
            rows += [geometry.friction, geometry.restitution, own, 1.0]
        return np.asarray(rows, dtype=float)

    def arrays(self, substeps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``integers`` (int32), ``reals`` and ``grids`` of `memory.py`, for control steps of so many substeps."""
        link_ints: list[int] = []
        dof_ints: list[int] = []
        link_reals: list[float] = []
        for number, link in enumerate(self.links):
            kind = link.joint.kind
            moved = number >= len(self.links) - self.tools
            link_ints += [link.parent, m.KINEMATIC if moved else KINDS[kind], link.coordinate, link.dof]
            angular = {"revolute": [1], "prismatic": [0], "ball": [1] * 3, "free": [0] * 3 + [1] * 3}.get(kind, [])
            for each in angular:
                dof_ints += [number, each]
            low, high = link.joint.limits or (-1e30, 1e30)
            link_reals += [
                *link.position, *link.rotation.ravel(), *link.joint.axis, low, high, link.joint.limit_smoothing,
                link.joint.spring_rest, 0.0,
            ]  # fmt: skip
        actuator_ints, actuator_reals, term_ints, term_reals = self._actuator_arrays()
        geometry_ints, geometry_reals, points, grids = self._geometry_arrays()
        pair_ints = [n for a, b in self.pairs for n in (a, b, int(self.has_events(a, b)))]
        sections = (link_ints, dof_ints, actuator_ints, term_ints, geometry_ints, pair_ints, self.coupled)
        real_sections = (link_reals, actuator_reals, term_reals, geometry_reals, points)
        header = [0] * m.HEADER
        header[m.LINKS], header[m.COORDINATES], header[m.DOFS] = len(self.links), self.coordinates, self.dofs
        header[m.ACTUATORS], header[m.TERMS] = len(self.actuators), len(term_reals)
        header[m.GEOMETRIES], header[m.PAIRS] = len(self.geometries), len(self.pairs)
        header[m.COUPLED], header[m.TOOLS] = len(self.coupled), self.tools
        at = m.HEADER
        for place, section in zip(
            (m.LINK_AT, m.DOF_AT, m.ACTUATOR_AT, m.TERM_AT, m.GEOMETRY_AT, m.PAIR_AT, m.COUPLED_AT), sections, strict=True
        ):
            header[place] = at
            at += len(section)
        at = m.SCENE_REALS
        for place, values in zip(
            (m.R_LINK_AT, m.R_ACTUATOR_AT, m.R_TERM_AT, m.R_GEOMETRY_AT, m.R_POINT_AT), real_sections, strict=True
        ):
            header[place] = at
            at += len(values)
        header[m.I_LINK_AT] = 3
        header[m.I_ACTUATOR_AT] = 3 + m.LINK_INPUTS * len(self.links)
        header[m.I_GEOMETRY_AT] = header[m.I_ACTUATOR_AT] + m.ACTUATOR_INPUTS * len(self.actuators)
        header[m.I_TOOL_AT] = header[m.I_GEOMETRY_AT] + m.GEOMETRY_INPUTS * len(self.geometries)
        header[m.INPUTS] = header[m.I_TOOL_AT] + self.tool_inputs(substeps)
        header[m.W_DOF_AT] = m.LINK * len(self.links)
        header[m.W_VECTOR_AT] = header[m.W_DOF_AT] + 3 * self.dofs
        header[m.W_COLUMN_AT] = header[m.W_VECTOR_AT] + 2 * self.dofs + self.coordinates
        header[m.WORK] = header[m.W_COLUMN_AT] + 2 * m.COLUMN * self.dofs + 16  # the last: lanes apart by a cache line
        contact = self.contact
        scene = [self.dt, contact.smoothing, contact.slip_speed, contact.restitution_speed, contact.event_speed, 0.0, 0.0, 0.0]
        integers = np.asarray([*header, *(n for section in sections for n in section)], dtype=np.int32)
        reals = np.asarray([*scene, *(x for values in real_sections for x in values)], dtype=float)
        return integers, reals, grids

    def _actuator_arrays(self) -> tuple[list[int], list[float], list[int], list[float]]:
        ints: list[int] = []
        reals: list[float] = []
        term_ints: list[int] = []
        term_reals: list[float] = []
        for index, articulation in enumerate(self.articulations):
            own = {link.joint.name: link for link in self.links if link.articulation == index}
            for actuator in articulation.actuators:
                assert not isinstance(actuator.joints, str)
                begin = len(term_reals)
                for joint, coefficient in actuator.joints.items():
                    term_ints += [own[joint].coordinate, own[joint].dof]
                    term_reals.append(coefficient)
                ints += [0, begin, len(term_reals)]
                bounds = np.clip([*actuator.force_limits, *actuator.control_limits], -1e30, 1e30)
                reals += [*bounds.tolist(), actuator.control_scale]
        return ints, reals, term_ints, term_reals

    def _geometry_arrays(self) -> tuple[list[int], list[float], list[float], np.ndarray]:
        ints: list[int] = []
        reals: list[float] = []
        all_points: list[float] = []
        grids: list[np.ndarray] = [np.zeros(1)]
        places: dict[int, int] = {}  # the numbers of a shape that several geometries share stand there once
        length = 1
        for geometry, link in zip(self.geometries, self.geometry_links, strict=True):
            rotation = rotation_matrix(geometry.rotation)
            shape = geometry.shape
            points, radius = shape.contact_points()
            first = meets_planes(shape, points)
            points = np.concatenate([points[first], points[~first]])
            begin = len(all_points) // 3
            all_points += (points @ rotation.T).ravel().tolist()
            if id(shape) not in places:
                places[id(shape)] = length
                grids.append(np.asarray(shape.kernel_numbers(), dtype=float))
                length += len(grids[-1])
            kind, place = distance_kind(shape, self.further_shapes), places[id(shape)]
            ints += [link, kind, begin, begin + len(points), place, 0, 0, 0, begin + int(first.sum())]
            reach = shape.bounding_radius if shape.bounded else shape.top
            reals += [*geometry.position, *rotation.ravel(), 0.0, 0.0, 0.0, 0.0, radius, reach, 0.0, 0.0, 0.0, 0.0]
        return ints, reals, all_points, np.concatenate(grids)


def meets_planes(shape: Shape, points: np.ndarray) -> np.ndarray:
    """Which of a shape's sample points (P, 3) meet planes: where its faces are flat the corners of their convex hull, which
    come to a plane before the others; otherwise all."""
    found = np.ones(len(points), dtype=bool)
    if shape.flat_faces:
        equations = np.concatenate([points.T / np.abs(points).max(), np.ones((1, len(points)))])
        for n in range(len(points)):
            others = found.copy()
            others[n] = False
            # a corner is no mean of others with weights >= 0
            found[n] = nnls(equations[:, others], equations[:, n])[1] > 1e-9
    return found
