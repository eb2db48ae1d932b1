"""Cholesky factor of the symmetric positive definite matrix of a substep, within its envelope, and solves with it."""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace

from diffsim.compiler import ti


def linear_stage(real) -> SimpleNamespace:
    """``factorise`` and ``solve``. A matrix is ``count`` rows of ``count``, of which the lower triangle counts.

    Trees that do not touch share no entry, and elimination fills no row to the left of its first entry: the cost is that of
    each tree alone. The upper part of row 0 keeps where the rows begin, the diagonal the reciprocals of the factor's.
    """

    @ti.func
    def begins(matrix: ti.template(), at, i):
        begin = 0
        if i > 0:
            begin = ti.cast(matrix[at + i], ti.i32)
        return begin

    @ti.func
    def factorise(matrix: ti.template(), at, count):
        """In place. Returns -1, or the first row that is not positive definite."""
        wrong = -1
        for i in range(count):
            begin = 0
            if i > 0:
                while begin < i and matrix[at + i * count + begin] == 0.0:
                    begin += 1
                matrix[at + i] = ti.cast(begin, real)
            for j in range(begin, i + 1):
                start = ti.max(begin, begins(matrix, at, j))
                total = matrix[at + i * count + j]
                for m in range(start, j):
                    total = total - matrix[at + i * count + m] * matrix[at + j * count + m]
                if j < i:
                    matrix[at + i * count + j] = total * matrix[at + j * count + j]
                else:
                    if not total > 0.0 and wrong < 0:
                        wrong = i
                    matrix[at + i * count + i] = 1.0 / ti.sqrt(total)
        return wrong

    @ti.func
    def solve(matrix: ti.template(), at, count, vector: ti.template(), vector_at):
        """In place."""
        for i in range(count):
            total = vector[vector_at + i]
            for m in range(begins(matrix, at, i), i):
                total = total - matrix[at + i * count + m] * vector[vector_at + m]
            vector[vector_at + i] = total * matrix[at + i * count + i]
        for reverse in range(count):
            i = count - 1 - reverse
            value = vector[vector_at + i] * matrix[at + i * count + i]
            vector[vector_at + i] = value
            for m in range(begins(matrix, at, i), i):
                vector[vector_at + m] = vector[vector_at + m] - matrix[at + i * count + m] * value

    return SimpleNamespace(factorise=factorise, solve=solve)
