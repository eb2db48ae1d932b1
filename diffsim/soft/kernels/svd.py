"""Singular value decomposition of a tile of 3x3 matrices by Jacobi rotations.

First the eigenvectors V of M = B^T B by two-sided rotations, which are cheap (six entries, no lengths of columns). Squaring
costs digits where B is ill-conditioned, so the columns of B V are checked, and where they are not orthogonal enough one-sided
rotations of B V itself finish the work (Demmel and Veselic 1992): they are as accurate as the data.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any

from diffsim.compiler import ti


def tile_svd(real: Any, tile: SimpleNamespace) -> SimpleNamespace:
    """``decompose(B, V, U, S)``: B = U diag(S) V^T for every matrix of a tile; all arguments are tile arrays. ``recover`` is
    a shortcut where U is known up to signs."""
    width = tile.width
    # convergence is quadratic: after a sweep that began with cosines below the root of this, all columns are orthogonal
    orthogonal = 1e-16 if real == ti.f64 else 1e-7
    accepted = 1e-28 if real == ti.f64 else 1e-11  # squared cosines of the columns of B V
    sweeps = 12 if real == ti.f64 else 8
    tiny = 1e-30 if real == ti.f64 else 1e-18  # its square is a number too

    @ti.func
    def rotation(aa, bb, ab):
        """Tangent, cosine, sine of the rotation that makes two columns orthogonal, given their squared lengths and product."""
        difference, twice = bb - aa, 2.0 * ab
        root = ti.abs(difference) + ti.sqrt(difference * difference + twice * twice) + tiny
        side = ti.select(difference < 0.0, -twice, twice)
        inverse = 1.0 / ti.sqrt(root * root + side * side)
        return side / root, root * inverse, side * inverse

    @ti.func
    def turn(V: ti.template(), a: ti.template(), b: ti.template(), c, s, t):
        """Rotate columns a and b of V."""
        for i in ti.static(range(3)):
            p, q = V[3 * i + a][t], V[3 * i + b][t]
            V[3 * i + a][t] = c * p - s * q
            V[3 * i + b][t] = s * p + c * q

    @ti.func
    def rotate_product(M: ti.template(), V: ti.template(), a: ti.template(), b: ti.template(), t):
        """Zero the entry (a, b) of M = B^T B, stored as (00, 11, 22, 01, 02, 12). Returns whether the columns were far from
        orthogonal."""
        # positions of the entries (a, b), (a, r), (b, r), r being the third column
        ab, ar, br = ti.static({(0, 1): (3, 4, 5), (0, 2): (4, 3, 5), (1, 2): (5, 3, 4)}[(a, b)])
        aa, bb, off = M[a][t], M[b][t], M[ab][t]
        tangent, c, s = rotation(aa, bb, off)
        M[a][t] = aa - tangent * off
        M[b][t] = bb + tangent * off
        M[ab][t] = ti.cast(0.0, real)
        p, q = M[ar][t], M[br][t]
        M[ar][t] = c * p - s * q
        M[br][t] = s * p + c * q
        turn(V, a, b, c, s, t)
        return ti.select(off * off > orthogonal * aa * bb, 1, 0)

    @ti.func
    def products(A: ti.template(), a: ti.template(), b: ti.template(), t):
        return A[a][t] * A[b][t] + A[3 + a][t] * A[3 + b][t] + A[6 + a][t] * A[6 + b][t]

    @ti.func
    def rotate_columns(A: ti.template(), V: ti.template(), a: ti.template(), b: ti.template(), t):
        """Make columns a and b of A orthogonal. Returns whether they were far from it."""
        aa, bb, off = products(A, a, a, t), products(A, b, b, t), products(A, a, b, t)
        _tangent, c, s = rotation(aa, bb, off)
        turn(A, a, b, c, s, t)
        turn(V, a, b, c, s, t)
        return ti.select(off * off > orthogonal * aa * bb, 1, 0)

    @ti.func
    def unit_columns(U: ti.template(), S: ti.template(), t):
        """Give the columns of U length 1; S takes their lengths."""
        for j in ti.static(range(3)):
            length = ti.sqrt(products(U, j, j, t))
            inverse = 1.0 / ti.max(length, 1e-30)
            S[j][t] = length
            for i in ti.static(range(3)):
                U[3 * i + j][t] = inverse * U[3 * i + j][t]

    @ti.func
    def least(S: ti.template(), t):
        """Which of three lengths is the least, as three truth values."""
        a = S[0][t] <= ti.min(S[1][t], S[2][t])
        b = (S[0][t] > ti.min(S[1][t], S[2][t])) & (S[1][t] <= S[2][t])
        c = (S[0][t] > ti.min(S[1][t], S[2][t])) & (S[1][t] > S[2][t])
        return a, b, c

    @ti.func
    def complete(U: ti.template(), a, b, c, t):
        """Make U a rotation by replacing the column that ``least`` named: its direction follows from the other two, which
        also settles its sign and the case of zero. Returns the product of the old column and the new one, 1 or -1 (or 0)."""
        u0, u1, u2 = U[0][t], U[3][t], U[6][t]
        v0, v1, v2 = U[1][t], U[4][t], U[7][t]
        w0, w1, w2 = U[2][t], U[5][t], U[8][t]
        x0, x1, x2 = v1 * w2 - v2 * w1, v2 * w0 - v0 * w2, v0 * w1 - v1 * w0
        y0, y1, y2 = w1 * u2 - w2 * u1, w2 * u0 - w0 * u2, w0 * u1 - w1 * u0
        z0, z1, z2 = u1 * v2 - u2 * v1, u2 * v0 - u0 * v2, u0 * v1 - u1 * v0
        U[0][t] = ti.select(a, x0, u0)
        U[3][t] = ti.select(a, x1, u1)
        U[6][t] = ti.select(a, x2, u2)
        U[1][t] = ti.select(b, y0, v0)
        U[4][t] = ti.select(b, y1, v1)
        U[7][t] = ti.select(b, y2, v2)
        U[2][t] = ti.select(c, z0, w0)
        U[5][t] = ti.select(c, z1, w1)
        U[8][t] = ti.select(c, z2, w2)
        # the triple product is the same whichever column is replaced
        return u0 * x0 + u1 * x1 + u2 * x2

    @ti.func
    def scale(S: ti.template(), a, b, c, factor, t):
        """Multiply the entry that ``least`` named."""
        S[0][t] = ti.select(a, factor * S[0][t], S[0][t])
        S[1][t] = ti.select(b, factor * S[1][t], S[1][t])
        S[2][t] = ti.select(c, factor * S[2][t], S[2][t])

    @ti.func
    def decompose(B: ti.template(), V: ti.template(), U: ti.template(), S: ti.template()):
        """S is unsorted; U and V are rotations, so the entry of S that is smallest in size is negative where det B < 0. B is
        overwritten."""
        M = ti.static(tile.local(6))
        for t in range(width):
            for i, j in ti.static(ti.ndrange(3, 3)):
                V[3 * i + j][t] = ti.cast(ti.static(1.0 if i == j else 0.0), real)
            M[0][t] = products(B, 0, 0, t)
            M[1][t] = products(B, 1, 1, t)
            M[2][t] = products(B, 2, 2, t)
            M[3][t] = products(B, 0, 1, t)
            M[4][t] = products(B, 0, 2, t)
            M[5][t] = products(B, 1, 2, t)
        unfinished = 1
        for _sweep in range(sweeps):
            if unfinished > 0:
                unfinished = 0
                for t in range(width):
                    first = rotate_product(M, V, 0, 1, t)
                    second = rotate_product(M, V, 0, 2, t)
                    third = rotate_product(M, V, 1, 2, t)
                    unfinished += first + second + third
        unfinished = 0
        for t in range(width):
            for i in ti.static(range(3)):
                b0, b1, b2 = B[3 * i][t], B[3 * i + 1][t], B[3 * i + 2][t]
                B[3 * i][t] = b0 * V[0][t] + b1 * V[3][t] + b2 * V[6][t]
                B[3 * i + 1][t] = b0 * V[1][t] + b1 * V[4][t] + b2 * V[7][t]
                B[3 * i + 2][t] = b0 * V[2][t] + b1 * V[5][t] + b2 * V[8][t]
            aa, bb, cc = products(B, 0, 0, t), products(B, 1, 1, t), products(B, 2, 2, t)
            ab, ac, bc = products(B, 0, 1, t), products(B, 0, 2, t), products(B, 1, 2, t)
            good = (ab * ab <= accepted * aa * bb) & (ac * ac <= accepted * aa * cc) & (bc * bc <= accepted * bb * cc)
            unfinished += ti.select(good, 0, 1)
        for _sweep in range(sweeps):
            if unfinished > 0:
                unfinished = 0
                for t in range(width):
                    first = rotate_columns(B, V, 0, 1, t)
                    second = rotate_columns(B, V, 0, 2, t)
                    third = rotate_columns(B, V, 1, 2, t)
                    unfinished += first + second + third
        for t in range(width):
            for c in ti.static(range(9)):
                U[c][t] = B[c][t]
            unit_columns(U, S, t)
            a, b, c = least(S, t)
            scale(S, a, b, c, complete(U, a, b, c, t), t)

    @ti.func
    def recover(B: ti.template(), V: ti.template(), U: ti.template(), S: ti.template()):
        """What ``decompose`` found, given U diag(g) with any g in place of U: then B^T U = V diag(S)."""
        for t in range(width):
            unit_columns(U, S, t)
            for i, j in ti.static(ti.ndrange(3, 3)):
                V[3 * i + j][t] = B[i][t] * U[j][t] + B[3 + i][t] * U[3 + j][t] + B[6 + i][t] * U[6 + j][t]
            unit_columns(V, S, t)
            a, b, c = least(S, t)
            scale(S, a, b, c, complete(U, a, b, c, t) * complete(V, a, b, c, t), t)

    return SimpleNamespace(decompose=decompose, recover=recover)
