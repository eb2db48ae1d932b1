"""The texts that stand below the fields of a dataclass in its source."""

from __future__ import annotations

import ast
import inspect
import textwrap
from itertools import pairwise


def field_docs(kind: type) -> dict[str, str]:
    """The meaning of each field, inherited ones included, as one line; those without a text are left out."""
    found: dict[str, str] = {}
    for cls in reversed(kind.__mro__):
        if "__dataclass_fields__" not in vars(cls):
            continue
        try:
            body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
        except (OSError, TypeError, SyntaxError):  # made by a program
            continue
        assert isinstance(body, ast.ClassDef)
        for field, text in pairwise(body.body):
            named = isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
            if (
                named
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
                and isinstance(text.value.value, str)
            ):
                found[field.target.id] = " ".join(text.value.value.split())  # type: ignore[attr-defined]
    return found
