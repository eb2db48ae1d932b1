"""A scene's rigid things, and where each of them stands in the arrays of `rigid_records` (made by `model_arrays`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from diffsim.errors import InputError
from diffsim.rigid import rigid_records as m
from diffsim.rigid.constraint_model import ConstraintModel, Term
from diffsim.rigid.contact_defaults import least_masses, smoothing_length, stiffnesses
from diffsim.rigid.joints import BUILT_IN, FREE, JointType
from diffsim.rigid.penetration_report import PenetrationReport, depth_limits
from diffsim.rigid.rigid_inputs import InputLayout, actuator_row, geometry_row, link_row
from diffsim.scene.articulation import Articulation, Geometry, Joint, Link
from diffsim.scene.bodies import Tool
from diffsim.scene.contact_model import ContactModel
from diffsim.scene.rotations import rotation_matrix
from diffsim.scene.shapes.distance_kinds import further_classes

# a joint limit's stiffness, where none is given, as a share of inertia / dt^2: well within what an explicit spring bears
LIMIT_SHARE = 0.05


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

    @property
    def kind(self) -> JointType:
        """Of its joint."""
        return self.joint.type

    @property
    def coordinates(self) -> slice:
        """Its joint's entries of q."""
        return slice(self.coordinate, self.coordinate + self.kind.coordinates)

    @property
    def dofs(self) -> slice:
        """Its joint's entries of v."""
        return slice(self.dof, self.dof + self.kind.dofs)


class RigidModel:
    """All links, joints, actuators and geometries of a scene in the order of the arrays.

    Link 0 is the world; it carries ``world_geometries``. The last links are the tools, each on a fixed joint: the
    kernels move them, but like all that is fixed they do not touch each other or the world. Names of links are
    "<articulation>.<link>", likewise of joints and actuators; a rigid body's link and a tool's have its name.

    Args:
        articulations: those of the scene; the first ``rigid_bodies`` are rigid bodies.
        world_geometries: fixed ones; of these the first ``on_grid`` meet soft bodies on the grid.
        tools: kinematic ones; they too meet soft bodies on the grid if their shapes do.
        world_names: of the things that the world's geometries are parts of.
        world_places: where those things stand, by name; without one the world's origin.

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
        world_names: Sequence[str] = (),
        world_places: Mapping[str, Sequence[float]] | None = None,
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
        self.further_shapes = further_classes(geometry.shape for geometry in self.geometries)
        free = {number for number, link in enumerate(self.links) if link.kind is BUILT_IN[FREE]}
        self.free_bodies = free - {link.parent for link in self.links}  # what carries others is none
        self.initial = self._initial_coordinates()
        self.constraints = ConstraintModel(self)
        self.free_bodies -= self.constraints.joined_links
        self._check_inertia()
        self.least_masses = least_masses(self)
        self.default_stiffness = stiffnesses(self)
        self.pairs = self._pairs()
        self.depth_limits = depth_limits(self.geometries, self.pairs)
        self.events = self._with_events()
        self.world_names = tuple(world_names) or ("world",) * len(world_geometries)
        self.world_places = dict(world_places or {})

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
            self.coordinates += link.joint.type.coordinates
            self.dofs += link.joint.type.dofs
            for geometry in link.geometries:
                for part in geometry.parts if geometry.collides else ():
                    self._add_geometry(numbers[link.name], part)
        self.actuators += [(index, actuator.name) for actuator in articulation.actuators]

    def _add_tool(self, tool: Tool) -> None:
        place, joint = (np.asarray(tool.position), rotation_matrix(tool.rotation)), Joint(tool.name, "fixed")
        self.links.append(PlacedLink(-1, tool.name, joint, 0, self.coordinates, self.dofs, *place))
        for part in tool.geometry.parts:
            if not tool.shape.meets_grid:
                self.coupled.append(len(self.geometries))
            self._add_geometry(len(self.links) - 1, part)

    @property
    def joint_kinds(self) -> tuple[JointType, ...]:
        """Those that the kernels are compiled for, in the order of their numbers."""
        used = {link.kind for link in self.links} - set(BUILT_IN)
        return (*BUILT_IN, *sorted(used, key=lambda kind: kind.name))

    @property
    def layout(self) -> InputLayout:
        """Of the solver's inputs."""
        counts = (len(self.constraints.equalities), len(self.constraints.tendons), self.tools)
        return InputLayout(len(self.links), len(self.actuators), len(self.geometries), *counts)

    @property
    def unknowns(self) -> int:
        """Of a substep: accelerations, and the forces of constraints."""
        return self.dofs + self.constraints.rows

    def terms(self, index: int, coordinates: Sequence[tuple[tuple[str, int], float]]) -> list[Term]:
        """What `Articulation.coordinates` found in an articulation, with the places in q and v."""
        own = {link.joint.name: link for link in self.links if link.articulation == index}
        return [Term(own[joint].coordinate + n, own[joint].dof + n, coefficient) for (joint, n), coefficient in coordinates]

    def _initial_coordinates(self) -> np.ndarray:
        """Coordinates at reset (coordinates,)."""
        q = np.zeros(self.coordinates)
        for link in self.links[1:]:
            initial = link.joint.initial
            q[link.coordinates] = link.kind.zero(link.position, link.rotation) if initial is None else initial
        return q

    def initial_velocities(self) -> np.ndarray:
        """Velocities at reset (dofs,)."""
        v = np.zeros(self.dofs)
        for link in self.links[1:]:
            if link.joint.initial_velocity is not None:
                v[link.dofs] = link.joint.initial_velocity
        return v

    def _check_inertia(self) -> None:
        if not self.dofs:
            return
        inertia = np.diag(self.mass_matrix(self.initial))
        for link in self.links[1:]:
            if not (inertia[link.dofs] > 0.0).all():
                raise InputError(
                    f"link '{link.name}' moves on joint '{link.joint.name}' but has no inertia about it, neither of its "
                    "own nor of links that it carries; give the link an Inertia, or the joint an armature"
                )

    def weld(self, number: int) -> int:
        """The first link above that moves, or the root: links with the same answer never move against each other."""
        while not self.links[number].kind.dofs and self.links[number].parent:
            number = self.links[number].parent
        return number

    def _touch(self, a: int, b: int) -> bool:
        """Whether two geometries may touch."""
        link_a, link_b = self.geometry_links[a], self.geometry_links[b]
        weld_a, weld_b = self.weld(link_a), self.weld(link_b)
        if weld_a == weld_b or not any(self.links[number].kind.dofs for number in (weld_a, weld_b)):
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
                if all(spheres):  # one point, but it may be far from the other's surface
                    found.append((b, a) if self.geometries[b].shape.sampled else (a, b))
                elif spheres[0] or endless[1]:
                    found.append((a, b))
                elif spheres[1] or endless[0]:
                    found.append((b, a))
                else:
                    found += [(a, b), (b, a)]
        return found

    def penetration_report(self) -> PenetrationReport:
        """Of the pairs, with nothing warned of yet."""
        return PenetrationReport(self.geometry_owners, self.pairs, self.depth_limits)

    @property
    def geometry_owners(self) -> tuple[str, ...]:
        """Of each geometry, the name of the thing that it is part of: the ground, an obstacle, a link, a tool."""
        return (*self.world_names, *(self.links[link].name for link in self.geometry_links[len(self.world_names) :]))

    def has_events(self, a: int, b: int) -> bool:
        """Whether fast impacts of two geometries are events: of free bodies with each other or with what never moves, and tools
        move. Unless events are asked for, only where a restitution is declared."""
        if self.contact.compliant:
            return False
        if self.contact.impact == "auto" and not any(self.geometries[n].restitution for n in (a, b)):
            return False
        others = {self.geometry_links[a], self.geometry_links[b]} - self.free_bodies
        tools = len(self.links) - self.tools
        return len(others) < 2 and all(number < tools and not self.links[self.weld(number)].kind.dofs for number in others)

    def forward_kinematics(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """World positions (links, 3) and rotations (links, 3, 3) at q (coordinates,)."""
        positions, rotations = np.zeros((len(self.links), 3)), np.tile(np.eye(3), (len(self.links), 1, 1))
        for number, link in enumerate(self.links[1:], start=1):
            up = rotations[link.parent]
            position, rotation = positions[link.parent] + up @ link.position, up @ link.rotation
            position, rotation = link.kind.place(link.joint, q[link.coordinates], position, rotation)
            positions[number], rotations[number] = position, rotation
        return positions, rotations

    def jacobians(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Positions and rotations of the links as `forward_kinematics`, and the Jacobians (links, 3, dofs) of the velocity of a
        link's origin and of its angular velocity."""
        positions, rotations = self.forward_kinematics(q)
        linear, angular = np.zeros((2, len(self.links), 3, self.dofs))
        for number, link in enumerate(self.links[1:], start=1):
            up = link.parent
            arm = positions[number] - positions[up]
            angular[number] = angular[up]
            linear[number] = linear[up] + np.cross(angular[up].T, arm).T
            own_linear, own_angular = link.kind.jacobian(link.joint, q[link.coordinates], rotations[number])
            linear[number, :, link.dofs] += own_linear
            angular[number, :, link.dofs] += own_angular
        return positions, rotations, linear, angular

    def mass_matrix(self, q: np.ndarray) -> np.ndarray:
        """(dofs, dofs), armatures included."""
        _positions, rotations, linear, angular = self.jacobians(q)
        M = np.zeros((self.dofs, self.dofs))
        for number, link in enumerate(self.links[1:], start=1):
            own_dofs = range(link.dofs.start, link.dofs.stop)
            M[own_dofs, own_dofs] += link.joint.armature
            if link.link is None or link.link.inertia is None:
                continue
            own = link.link.inertia
            J = linear[number] + np.cross(angular[number].T, rotations[number] @ np.asarray(own.center)).T
            axes = rotations[number] @ rotation_matrix(own.rotation)
            M += own.mass * J.T @ J + angular[number].T @ axes @ np.diag(own.moments) @ axes.T @ angular[number]
        return M

    def scene_constants(self) -> dict[str, float]:
        """`rigid_records.SceneConstants` by name."""
        own = {name: getattr(self.contact, name) for name in ("slip_speed", "restitution_speed", "event_speed")}
        return {"dt": self.dt, "smoothing": smoothing_length(self), **own}

    def set_contact(self, contact: ContactModel) -> None:
        """Another contact model from now on."""
        self.contact = contact
        self.default_stiffness = stiffnesses(self)
        self.events = self._with_events()

    def _with_events(self) -> bool:
        """Whether the kernels must know events."""
        return self.contact.impact == "event" or any(self.has_events(a, b) for a, b in self.pairs)

    def inputs(self, gravity: Sequence[float]) -> np.ndarray:
        """A row of the differentiable inputs as declared, but for the tools' motion."""
        limits = LIMIT_SHARE * np.diag(self.mass_matrix(self.initial)) / self.dt**2 if self.dofs else np.zeros(0)
        rows: list[float] = m.WorldInputs.row(gravity=gravity)
        for link in self.links:
            limit = 0.0
            if link.joint.limits is not None:
                declared = link.joint.limit_stiffness
                limit = float(limits[link.dofs].min()) if declared is None else declared
            rows += link_row(link.link, link.joint, limit)
        for articulation in self.articulations:
            for actuator in articulation.actuators:
                rows += actuator_row(actuator)
        for geometry, stiffness in zip(self.geometries, self.default_stiffness, strict=True):
            rows += geometry_row(geometry, float(stiffness))
        rows += self.constraints.inputs(limits)
        return np.asarray(rows, dtype=float)

    def carrying(self, number: int) -> list[int]:
        """The dofs that move a link."""
        dofs: list[int] = []
        while number:
            dofs += range(self.links[number].dofs.start, self.links[number].dofs.stop)
            number = self.links[number].parent
        return dofs
