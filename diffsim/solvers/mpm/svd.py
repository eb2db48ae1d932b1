"""Singular value decomposition of a tile of 3x3 matrices by Jacobi rotations.

First the eigenvectors V of M = B^T B by two-sided rotations, which are cheap (six entries, no lengths of columns). Squaring
costs digits where B is ill-conditioned, so the columns of B V are checked, and where they are not orthogonal enough one-sided
rotations of B V itself finish the work (Demmel and Veselic 1992): they are as accurate as the data.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any

import taichi as ti


def tile_svd(real: Any, tile: SimpleNamespace) -> SimpleNamespace:
    """``decompose(B, V, U, S)``: B = U diag(S) V^T for every matrix of a tile; all arguments are tile arrays."""
    width = tile.width
    # convergence is quadratic: after a sweep that began with cosines below the root of this, all columns are orthogonal
    orthogonal = 1e-16 if real == ti.f64 else 1e-7
    accepted = 1e-28 if real == ti.f64 else 1e-11  # squared cosines of the columns of B V
    sweeps = 12 if real == ti.f64 else 8

    @ti.func
    def rotation(aa, bb, ab):
        """Tangent and cosine of the rotation that makes two columns orthogonal, given their squared lengths and product."""
        difference = bb - aa
        root = ti.abs(difference) + ti.sqrt(difference * difference + 4.0 * ab * ab) + 1e-30
        tangent = ti.select(difference < 0.0, -2.0 * ab, 2.0 * ab) / root
        return tangent, 1.0 / ti.sqrt(1.0 + tangent * tangent)

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
        tangent, c = rotation(aa, bb, off)
        s = c * tangent
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
        tangent, c = rotation(aa, bb, off)
        turn(A, a, b, c, c * tangent, t)
        turn(V, a, b, c, c * tangent, t)
        return ti.select(off * off > orthogonal * aa * bb, 1, 0)

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
            a0, a1, a2 = B[0][t], B[3][t], B[6][t]
            b0, b1, b2 = B[1][t], B[4][t], B[7][t]
            c0, c1, c2 = B[2][t], B[5][t], B[8][t]
            sa = ti.sqrt(a0 * a0 + a1 * a1 + a2 * a2)
            sb = ti.sqrt(b0 * b0 + b1 * b1 + b2 * b2)
            sc = ti.sqrt(c0 * c0 + c1 * c1 + c2 * c2)
            ra, rb, rc = 1.0 / ti.max(sa, 1e-30), 1.0 / ti.max(sb, 1e-30), 1.0 / ti.max(sc, 1e-30)
            u0, u1, u2 = ra * a0, ra * a1, ra * a2
            v0, v1, v2 = rb * b0, rb * b1, rb * b2
            w0, w1, w2 = rc * c0, rc * c1, rc * c2
            # the smallest one's direction follows from the other two, which also settles its sign and the case of zero
            a_least = sa <= ti.min(sb, sc)
            b_least = (sa > ti.min(sb, sc)) & (sb <= sc)
            c_least = (sa > ti.min(sb, sc)) & (sb > sc)
            x0, x1, x2 = v1 * w2 - v2 * w1, v2 * w0 - v0 * w2, v0 * w1 - v1 * w0
            y0, y1, y2 = w1 * u2 - w2 * u1, w2 * u0 - w0 * u2, w0 * u1 - w1 * u0
            z0, z1, z2 = u1 * v2 - u2 * v1, u2 * v0 - u0 * v2, u0 * v1 - u1 * v0
            S[0][t] = ti.select(a_least, a0 * x0 + a1 * x1 + a2 * x2, sa)
            S[1][t] = ti.select(b_least, b0 * y0 + b1 * y1 + b2 * y2, sb)
            S[2][t] = ti.select(c_least, c0 * z0 + c1 * z1 + c2 * z2, sc)
            U[0][t] = ti.select(a_least, x0, u0)
            U[3][t] = ti.select(a_least, x1, u1)
            U[6][t] = ti.select(a_least, x2, u2)
            U[1][t] = ti.select(b_least, y0, v0)
            U[4][t] = ti.select(b_least, y1, v1)
            U[7][t] = ti.select(b_least, y2, v2)
            U[2][t] = ti.select(c_least, z0, w0)
            U[5][t] = ti.select(c_least, z1, w1)
            U[8][t] = ti.select(c_least, z2, w2)

    return SimpleNamespace(decompose=decompose)
