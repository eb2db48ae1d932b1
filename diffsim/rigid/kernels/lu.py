"""LU factors of the matrix of a substep, within its envelope, and solves with it and with its transpose."""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace

from diffsim.compiler import ti


def lu_stage(real) -> SimpleNamespace:
    """``find_rows``, ``row_begin``, ``begin_row``, ``factorise`` and ``solve``. A matrix is ``count`` rows of ``count``, and
    ``count`` numbers more: where the rows begin. Without friction its symmetric part is positive definite, and with it pivots
    vanish only where bodies jam, so there is no pivoting.

    Trees that do not touch share no entry, and elimination fills no row to the left of its first entry, no column above its
    own: the cost is that of each tree alone. Row i and column i begin together, at the first place where either has an entry.
    """
    least = 2.0**-46 if real == ti.f64 else 2.0**-21

    @ti.func
    def find_rows(matrix: ti.template(), at, count):
        for i in range(count):
            begin = 0
            while begin < i and matrix[at + i * count + begin] == 0.0 and matrix[at + begin * count + i] == 0.0:
                begin += 1
            matrix[at + count * count + i] = ti.cast(begin, real)

    @ti.func
    def row_begin(matrix: ti.template(), at, count, i):
        return ti.cast(matrix[at + count * count + i], ti.i32)

    @ti.func
    def begin_row(matrix: ti.template(), at, count, i, begin):
        """Row i begins there at the latest."""
        place = at + count * count + i
        matrix[place] = ti.min(matrix[place], ti.cast(begin, real))

    @ti.func
    def factorise(source: ti.template(), source_at, excess: ti.template(), matrix: ti.template(), at, count):
        """Of the source, which may be the matrix itself: L without its diagonal of ones and U, with reciprocals on the
        diagonal. With ``excess`` the source has above its diagonal by how much the entries exceed their mirror images. Returns
        -1, or the first row without a positive pivot; pivots that rounding or jammed friction leave none of are a small share
        of the diagonal instead."""
        wrong = -1
        for i in range(count):
            begin = row_begin(source, source_at, count, i)
            matrix[at + count * count + i] = ti.cast(begin, real)
            diagonal = source[source_at + i * count + i]
            pivot = diagonal
            for j in range(begin, i):
                low, up = source[source_at + i * count + j], source[source_at + j * count + i]
                if ti.static(excess):
                    up = up + low
                for m in range(ti.max(begin, row_begin(matrix, at, count, j)), j):
                    low = low - matrix[at + i * count + m] * matrix[at + m * count + j]
                    up = up - matrix[at + j * count + m] * matrix[at + m * count + i]
                low = low * matrix[at + j * count + j]
                matrix[at + i * count + j] = low
                matrix[at + j * count + i] = up
                pivot = pivot - low * up
            if not pivot > 0.0 and wrong < 0:
                wrong = i
            if not ti.abs(pivot) > ti.static(least) * ti.abs(diagonal):
                pivot = ti.static(least) * ti.abs(diagonal)
            matrix[at + i * count + i] = 1.0 / pivot
        return wrong

    @ti.func
    def entry(matrix: ti.template(), at, count, i, j, transposed: ti.template()):
        place = at + i * count + j
        if ti.static(transposed):
            place = at + j * count + i
        return matrix[place]

    @ti.func
    def solve(matrix: ti.template(), at, count, vector: ti.template(), vector_at, transposed: ti.template()):
        """In place, with the factors or, ``transposed``, with their transposes in the other order."""
        for i in range(count):
            total = vector[vector_at + i]
            for m in range(row_begin(matrix, at, count, i), i):
                total = total - entry(matrix, at, count, i, m, transposed) * vector[vector_at + m]
            if ti.static(transposed):
                total = total * matrix[at + i * count + i]
            vector[vector_at + i] = total
        for reverse in range(count):
            i = count - 1 - reverse
            value = vector[vector_at + i]
            if ti.static(not transposed):
                value = value * matrix[at + i * count + i]
                vector[vector_at + i] = value
            for m in range(row_begin(matrix, at, count, i), i):
                vector[vector_at + m] = vector[vector_at + m] - entry(matrix, at, count, m, i, transposed) * value

    return SimpleNamespace(find_rows=find_rows, row_begin=row_begin, begin_row=begin_row, factorise=factorise, solve=solve)
