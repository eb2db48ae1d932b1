"""Records: rows of flat arrays that host code writes and kernels read, declared once, field by field, with unit and shape.

    class LinkConstants(Record):
        '''A link's constants.'''
        position = field(3, "m", "origin of the joint's frame in the parent link's frame")
        rotation = field(9, "1", "of that frame, by rows")

``LinkConstants.rotation`` is the offset 3, a plain integer that kernels take at compile time, as in
``reals[at + LinkConstants.rotation]``.
``LinkConstants.SIZE`` is the length of a row. The host writes rows by ``LinkConstants.row(position=...)`` and finds
columns by ``LinkConstants.columns("rotation")``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np


@dataclass(frozen=True)
class Field:
    """A part of a record: ``size`` numbers from ``offset`` on.

    Attributes:
        unit: SI, "1" without one.
        meaning: what it is, in words.
    """

    name: str
    offset: int
    size: int
    unit: str
    meaning: str


@dataclass(frozen=True)
class _Declared:
    size: int
    unit: str
    meaning: str


def field(size: int = 1, unit: str = "1", meaning: str = "") -> Any:
    """Declare a field of a `Record`; the class then has its offset under the name."""
    return _Declared(size, unit, meaning)


class Record:
    """Base of all records: a subclass's fields get consecutive offsets, after those of the record it derives from."""

    SIZE: ClassVar[int] = 0
    FIELDS: ClassVar[Mapping[str, Field]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        fields, offset = dict(cls.FIELDS), cls.SIZE
        for name, declared in list(vars(cls).items()):
            if isinstance(declared, _Declared):
                fields[name] = Field(name, offset, declared.size, declared.unit, declared.meaning)
                setattr(cls, name, offset)
                offset += declared.size
        cls.SIZE, cls.FIELDS = offset, fields

    @classmethod
    def columns(cls, name: str) -> range:
        """Offsets of a field's numbers."""
        found = cls.FIELDS[name]
        return range(found.offset, found.offset + found.size)

    @classmethod
    def row(cls, **values: Any) -> list[float]:
        """A row of these values by field: numbers, or arrays of as many numbers as the field has; a field left out is zero."""
        row = [0.0] * cls.SIZE
        for name, value in values.items():
            numbers = np.ravel(value)
            columns = cls.columns(name)
            if len(numbers) != len(columns):
                raise ValueError(f"{cls.__name__}.{name} has {len(columns)} numbers, got {len(numbers)}")
            row[columns.start : columns.stop] = numbers.tolist()
        return row

    @classmethod
    def integers(cls, **values: Any) -> list[int]:
        """`row` of whole numbers."""
        return [int(value) for value in cls.row(**values)]
