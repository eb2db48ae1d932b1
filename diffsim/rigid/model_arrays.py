"""The arrays of `rigid_records` of a compiled model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diffsim.rigid import rigid_records as m
from diffsim.rigid.constraint_model import Term
from diffsim.rigid.rigid_model import RigidModel
from diffsim.scene.rotations import rotation_matrix
from diffsim.scene.shapes.distance_kinds import distance_kind

PADDING = 16  # numbers between the scratch of two lanes, so that they share no cache line


def model_arrays(model: RigidModel, substeps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``integers`` (int32), ``reals`` and ``grids`` of `rigid_records`, for control steps of so many substeps."""
    link_ints, link_reals, dof_ints, dof_reals = _link_arrays(model)
    actuator_ints, actuator_reals, terms = _actuator_arrays(model)
    constraint_ints, constraint_reals, further_terms = model.constraints.arrays(len(terms))
    terms += further_terms
    geometry_ints, geometry_reals, points, grids = _geometry_arrays(model)
    pair_ints, columns, contacts = _pair_arrays(model, geometry_ints)
    header: dict[str, int] = {
        "links": len(model.links), "coordinates": model.coordinates, "dofs": model.dofs, "actuators": len(model.actuators),
        "terms": len(terms), "geometries": len(model.geometries), "pairs": len(model.pairs),
        "coupled": len(model.coupled), "tools": model.tools, "unknowns": model.unknowns,
        "equalities": len(model.constraints.equalities), "closures": len(model.constraints.closures),
        "tendons": len(model.constraints.tendons),
    }  # fmt: skip
    integers: list[int] = [0] * m.Header.SIZE
    sections = {
        "link_indices": link_ints, "dof_indices": dof_ints, "actuator_indices": actuator_ints,
        "term_indices": [n for term in terms for n in m.TermIndices.integers(coordinate=term.coordinate, dof=term.dof)],
        "geometry_indices": geometry_ints, "pair_indices": pair_ints, **constraint_ints, "coupled_geometries": model.coupled,
    }  # fmt: skip
    for name, section in sections.items():
        header[name] = len(integers)
        integers += section
    reals = m.SceneConstants.row(**model.scene_constants())
    real_sections = {
        "link_constants": link_reals, "dof_constants": dof_reals, "actuator_constants": actuator_reals,
        "term_constants": [n for term in terms for n in m.TermConstants.row(coefficient=term.coefficient)],
        "geometry_constants": geometry_reals, "pair_constants": model.depth_limits, **constraint_reals, "points": points,
    }  # fmt: skip
    for name, values in real_sections.items():
        header[name] = len(reals)
        reals += values
    layout = model.layout
    header |= {"link_inputs": layout.links, "actuator_inputs": layout.actuators, "geometry_inputs": layout.geometries}
    header |= {"equality_inputs": layout.equalities, "tendon_inputs": layout.tendons}
    header |= {"tool_inputs": layout.tools, "inputs": layout.length(substeps)}
    header["controls"] = header["contact_wrenches"] = len(model.actuators)
    sizes = {
        "dof_work": m.DofWork.SIZE * model.dofs, "vector": model.unknowns + model.dofs + model.coordinates,
        "smooth_matrix": model.unknowns * (model.unknowns + 1), "newton": 4 * model.unknowns + 1,
        "pair_work": m.PairWork.SIZE * len(model.pairs), "contact_columns": columns, "point_work": contacts,
    }  # fmt: skip
    end = m.LINK_BLOCK * len(model.links)
    for name, size in sizes.items():
        header[name] = end
        end += size
    header["work"] = end + PADDING
    integers[: m.Header.SIZE] = m.Header.integers(**header)
    return np.asarray(integers, dtype=np.int32), np.asarray(reals, dtype=float), grids


def _pair_arrays(model: RigidModel, geometry_ints: list[int]) -> tuple[list[int], int, int]:
    """Integers of the pairs, and the lengths of all their `ContactColumn` and `PointWork`."""
    ints: list[int] = []
    columns = contacts = 0
    for a, b in model.pairs:
        ints += m.PairIndices.integers(
            points=a, surface=b, events=model.has_events(a, b), first_column=columns, first_contact=contacts
        )
        dofs = set(model.carrying(model.geometry_links[a])) ^ set(model.carrying(model.geometry_links[b]))
        columns += m.ContactColumn.SIZE * len(dofs)
        own = geometry_ints[m.GeometryIndices.SIZE * a : m.GeometryIndices.SIZE * (a + 1)]
        contacts += m.PointWork.SIZE * (own[m.GeometryIndices.end_point] - own[m.GeometryIndices.first_point])
    return ints, columns, contacts


def _link_arrays(model: RigidModel) -> tuple[list[int], list[float], list[int], list[float]]:
    """Integers and reals of the links, then of the dofs."""
    numbers = {kind: number for number, kind in enumerate(model.joint_kinds)}
    ints: list[int] = []
    reals: list[float] = []
    dof_ints: list[int] = []
    dof_reals: list[float] = []
    for number, link in enumerate(model.links):
        joint, kind = link.joint, link.kind
        moved = number >= len(model.links) - model.tools
        ints += m.LinkIndices.integers(
            parent=link.parent, joint=m.KINEMATIC if moved else numbers[kind], coordinate=link.coordinate, dof=link.dof
        )
        constants = [*joint.constants, *[0.0] * (len(m.LinkConstants.columns("joint_constants")) - len(joint.constants))]
        reals += m.LinkConstants.row(
            position=link.position, rotation=link.rotation, axis=joint.axis, second_axis=joint.second_axis or (0.0,) * 3,
            joint_constants=constants,
        )  # fmt: skip
        for n, motion in enumerate(kind.motions):
            coordinate = link.coordinate + n if kind.coordinate_names else -1
            dof_ints += m.DofIndices.integers(link=number, motion=motion, coordinate=coordinate)
            low, high = (joint.limits_of(n) if kind.coordinate_names else None) or m.NO_LIMITS
            dof_reals += m.DofConstants.row(
                low=low, high=high, limit_smoothing=joint.limit_smoothing, spring_rest=joint.spring_rest
            )
    return ints, reals, dof_ints, dof_reals


def _actuator_arrays(model: RigidModel) -> tuple[list[int], list[float], list[Term]]:
    ints: list[int] = []
    reals: list[float] = []
    terms: list[Term] = []
    for index, articulation in enumerate(model.articulations):
        for actuator in articulation.actuators:
            begin = len(terms)
            terms += model.terms(index, articulation.transmission(actuator))
            ints += m.ActuatorIndices.integers(first_term=begin, end_term=len(terms))
            low_force, high_force, low_control, high_control = np.clip(
                [*actuator.force_limits, *actuator.control_limits], *m.NO_LIMITS
            ).tolist()
            reals += m.ActuatorConstants.row(
                low_force=low_force, high_force=high_force, low_control=low_control, high_control=high_control,
                control_scale=actuator.control_scale,
            )  # fmt: skip
    return ints, reals, terms


def _body(model: RigidModel, geometry: int) -> int:
    """The thing that one touches at a geometry: its row of `Simulator.contact_names`."""
    world, link = list(dict.fromkeys(model.world_names)), model.geometry_links[geometry]
    if not link:
        return world.index(model.world_names[geometry])
    tools = len(model.links) - model.tools
    return len(world) + (link - tools if link >= tools else model.tools + link - 1)


def _reference(model: RigidModel, geometry: int) -> Sequence[float]:
    """The place of the thing in the world that a geometry is part of."""
    name = "" if model.geometry_links[geometry] else model.world_names[geometry]
    return model.world_places.get(name, (0.0, 0.0, 0.0))


def _geometry_arrays(model: RigidModel) -> tuple[list[int], list[float], list[float], np.ndarray]:
    ints: list[int] = []
    reals: list[float] = []
    all_points: list[float] = []
    grids: list[np.ndarray] = [np.zeros(1)]
    places: dict[int, int] = {}  # the numbers of a shape that several geometries share stand there once
    length = 1
    for number, (geometry, link) in enumerate(zip(model.geometries, model.geometry_links, strict=True)):
        rotation = rotation_matrix(geometry.rotation)
        shape = geometry.shape
        points = shape.contact_points(geometry.contact_points)
        points = points.chosen(points.on_planes) + points.chosen(~points.on_planes)
        begin = len(all_points) // m.Point.SIZE
        for n, position in enumerate(points.positions @ rotation.T):
            all_points += m.Point.row(
                kind=points.kinds[n], position=position, radius=points.radii[n], extent=points.extents[n],
                retreat=points.retreats[n], shrinkage=points.shrinkages[n],
            )  # fmt: skip
        if id(shape) not in places:
            places[id(shape)] = length
            grids.append(np.asarray(shape.kernel_numbers(), dtype=float))
            length += len(grids[-1])
        ints += m.GeometryIndices.integers(
            link=link, body=_body(model, number), distance=distance_kind(shape, model.further_shapes), first_point=begin,
            end_point=begin + len(points), end_plane_point=begin + int(points.on_planes.sum()), numbers=places[id(shape)],
        )  # fmt: skip
        reals += m.GeometryConstants.row(
            position=geometry.position, rotation=rotation,
            reach=shape.bounding_radius if shape.bounded else shape.top, reference=_reference(model, number),
        )  # fmt: skip
    return ints, reals, all_points, np.concatenate(grids)
