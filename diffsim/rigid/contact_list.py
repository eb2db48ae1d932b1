"""The contacts of rigid things in a substep, read from what the kernels leave in their scratch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.linalg import cross

from diffsim.forces.contacts import Contacts
from diffsim.records import Record
from diffsim.rigid.multibody_solver import RigidSolver
from diffsim.rigid.rigid_records import (
    LINK_BLOCK,
    ContactColumn,
    GeometryIndices,
    Header,
    LinkWork,
    PairIndices,
    PairWork,
    PointWork,
    SceneConstants,
)


class ContactList:
    """Reads the contacts of one solver's scene.

    Args:
        names: as of `Contacts`.
    """

    def __init__(self, solver: RigidSolver, names: tuple[str, ...]):
        self._solver, self._names = solver, names
        model, integers = solver.model, solver.integers.cpu().numpy()
        self._header = {name: int(integers[found.offset]) for name, found in Header.FIELDS.items()}
        geometries = _rows(integers, GeometryIndices, self._header["geometry_indices"], len(model.geometries))
        pairs = _rows(integers, PairIndices, self._header["pair_indices"], len(model.pairs))
        points, device = pairs[:, PairIndices.points], solver.device
        self._links, self._bodies = (
            torch.as_tensor(geometries[:, at], device=device) for at in (GeometryIndices.link, GeometryIndices.body)
        )
        self._points, self._surfaces = (
            torch.as_tensor(pairs[:, at], device=device) for at in (PairIndices.points, PairIndices.surface)
        )
        most = geometries[points, GeometryIndices.end_point] - geometries[points, GeometryIndices.first_point]
        ends = self._header["point_work"] - self._header["contact_columns"]
        columns = np.diff(np.append(pairs[:, PairIndices.first_column], ends)) // ContactColumn.SIZE
        self._point_slots = self._slots(PointWork, "point_work", pairs[:, PairIndices.first_contact], most)
        self._column_slots = self._slots(ContactColumn, "contact_columns", pairs[:, PairIndices.first_column], columns)
        places = [geometry.position for geometry in model.geometries]
        self._places = torch.tensor(places, dtype=solver.dtype, device=device).reshape(-1, 3)

    def _slots(self, record: type[Record], section: str, first: np.ndarray, counts: np.ndarray) -> tuple[Tensor, ...]:
        """All rows of the pairs in a section of the scratch: each one's pair, its number in the pair, and where it stands."""
        pair = np.repeat(np.arange(len(counts)), counts)
        number = np.concatenate([np.arange(0), *(np.arange(count) for count in counts)])
        at = self._header[section] + first[pair] + record.SIZE * number
        return tuple(torch.as_tensor(each, dtype=torch.int64, device=self._solver.device) for each in (pair, number, at))

    def read(self, work: Tensor, rates: Tensor) -> Contacts:
        """After a substep of environments on a lane each.

        Args:
            work: the lanes' scratch (B, work).
            rates: velocities at the end of the substep, v + h a, (B, dofs).
        """
        header, constants, count = self._header, self._solver.reals, len(self._points)
        begin = header["pair_work"]
        pairs = work[:, begin : begin + PairWork.SIZE * count].reshape(len(work), count, PairWork.SIZE)
        contacts, columns = pairs[..., PairWork.contacts], pairs[..., PairWork.columns]
        motion = self._motion(work, rates, torch.where(contacts > 0, columns, 0.0))
        motion = motion + torch.cat([_part(pairs, PairWork, name) for name in ("velocity", "angular_velocity")], dim=-1)
        slot_pair, number, at = self._point_slots
        environment, slot = torch.nonzero(number < contacts[:, slot_pair], as_tuple=True)
        pair = slot_pair[slot]
        rows = _gathered(work, environment, at[slot], PointWork)
        arm, n = _part(rows, PointWork, "arm"), _part(rows, PointWork, "normal")
        u_center, omega = motion[environment, pair].split(3, dim=1)
        u = u_center + cross(omega, arm)
        nu = (n * u).sum(dim=1, keepdim=True)
        force, bound = rows[:, [PointWork.base]] - rows[:, [PointWork.slope]] * nu, rows[:, [PointWork.bound]]
        force = torch.where(bound < 0.0, force.clamp_min(0.0), force)
        bound, slip = torch.where(bound < 0.0, force, bound), u - nu * n
        W = (slip.square().sum(dim=1, keepdim=True) + constants[SceneConstants.slip_speed] ** 2).sqrt()
        drag = pairs[environment, pair][:, [PairWork.friction]] * bound / W
        first, second = self._points[pair], self._surfaces[pair]
        link = _gathered(work, environment, LINK_BLOCK * self._links[first], LinkWork)
        turn = _part(link, LinkWork, "rotation").unflatten(1, (3, 3))
        center = _part(link, LinkWork, "position") + (turn @ self._places[first].unsqueeze(-1)).squeeze(-1)
        return Contacts(
            self._names, environment, self._bodies[first], self._bodies[second], center + arm, rows[:, PointWork.gap], n,
            force * n - drag * slip,
        )  # fmt: skip

    def _motion(self, work: Tensor, rates: Tensor, columns: Tensor) -> Tensor:
        """Relative velocity and angular velocity of each pair by the dofs (B, pairs, 6), of so many ``columns`` (B, pairs)."""
        pair, number, at = self._column_slots
        used = number < columns[:, pair]
        own = work[:, at[:, None] + torch.arange(ContactColumn.SIZE, device=at.device)]
        dof = torch.where(used, own[..., ContactColumn.dof], 0.0).long()
        axes = torch.cat([_part(own, ContactColumn, name) for name in ("linear", "angular")], dim=-1)
        each = torch.where(used[..., None], axes * rates.gather(1, dof)[..., None], 0.0)
        return work.new_zeros((*columns.shape, 6)).index_add(1, pair, each)


def _rows(integers: np.ndarray, record: type[Record], begin: int, count: int) -> np.ndarray:
    """A section of the integers (count, record.SIZE)."""
    return integers[begin : begin + record.SIZE * count].reshape(count, record.SIZE).astype(np.int64)


def _gathered(work: Tensor, environment: Tensor, at: Tensor, record: type[Record]) -> Tensor:
    """Rows of a record in environments' scratch (N, record.SIZE)."""
    return work[environment[:, None], at[:, None] + torch.arange(record.SIZE, device=work.device)]


def _part(rows: Tensor, record: type[Record], name: str) -> Tensor:
    """A field of rows of a record (..., record.SIZE)."""
    found = record.FIELDS[name]
    return rows[..., found.offset : found.offset + found.size]
