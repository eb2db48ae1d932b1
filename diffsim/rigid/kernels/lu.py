"""LU factors of the matrix of a substep, within its envelope, and solves with them.

The matrix is positive definite, but not symmetric where friction depends on the normal force: it needs no pivoting.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace

from diffsim.compiler import ti


def linear_stage(real) -> SimpleNamespace:
    """``find_rows``, ``factorise``, ``solve`` and ``solve_transposed``. A matrix is ``count`` rows of ``count``.

    Trees that do not touch share no entry, and elimination fills no row to the left of its first entry, no column above its
    first: the cost is that of each tree alone. ``begins`` is where in ``rows`` stands where row i, and column i, begins. The
    diagonal of the upper factor is kept as its reciprocals; that of the lower one is 1.
    """

    @ti.func
    def find_rows(matrix: ti.template(), at, count, rows: ti.template(), begins):
        """Of a matrix or of its factors, which begin where it does."""
        for i in range(count):
            begin = 0
            while begin < i and matrix[at + i * count + begin] == 0.0 and matrix[at + begin * count + i] == 0.0:
                begin += 1
            rows[begins + i] = ti.cast(begin, real)

    @ti.func
    def row_begin(rows: ti.template(), begins, i):
        return ti.cast(rows[begins + i], ti.i32)

    @ti.func
    def factorise(matrix: ti.template(), at, count, rows: ti.template(), begins):
        """In place. Returns -1, or the first row whose pivot is not positive."""
        find_rows(matrix, at, count, rows, begins)
        wrong = -1
        for i in range(count):
            begin = row_begin(rows, begins, i)
            for j in range(begin, i):
                start = ti.max(begin, row_begin(rows, begins, j))
                lower, upper = matrix[at + i * count + j], matrix[at + j * count + i]
                for m in range(start, j):
                    lower = lower - matrix[at + i * count + m] * matrix[at + m * count + j]
                    upper = upper - matrix[at + j * count + m] * matrix[at + m * count + i]
                matrix[at + i * count + j] = lower * matrix[at + j * count + j]
                matrix[at + j * count + i] = upper
            pivot = matrix[at + i * count + i]
            for m in range(begin, i):
                pivot = pivot - matrix[at + i * count + m] * matrix[at + m * count + i]
            if not pivot > 0.0 and wrong < 0:
                wrong = i
            matrix[at + i * count + i] = 1.0 / pivot
        return wrong

    @ti.func
    def solve(matrix: ti.template(), at, count, rows: ti.template(), begins, vector: ti.template(), vector_at):
        """In place."""
        for i in range(count):
            total = vector[vector_at + i]
            for m in range(row_begin(rows, begins, i), i):
                total = total - matrix[at + i * count + m] * vector[vector_at + m]
            vector[vector_at + i] = total
        for reverse in range(count):
            i = count - 1 - reverse
            value = vector[vector_at + i] * matrix[at + i * count + i]
            vector[vector_at + i] = value
            for m in range(row_begin(rows, begins, i), i):
                vector[vector_at + m] = vector[vector_at + m] - matrix[at + m * count + i] * value

    @ti.func
    def solve_transposed(matrix: ti.template(), at, count, rows: ti.template(), begins, vector: ti.template(), vector_at):
        """In place, with the transposed matrix."""
        for i in range(count):
            total = vector[vector_at + i]
            for m in range(row_begin(rows, begins, i), i):
                total = total - matrix[at + m * count + i] * vector[vector_at + m]
            vector[vector_at + i] = total * matrix[at + i * count + i]
        for reverse in range(count):
            i = count - 1 - reverse
            value = vector[vector_at + i]
            for m in range(row_begin(rows, begins, i), i):
                vector[vector_at + m] = vector[vector_at + m] - matrix[at + i * count + m] * value

    return SimpleNamespace(
        find_rows=find_rows, row_begin=row_begin, factorise=factorise, solve=solve, solve_transposed=solve_transposed
    )
