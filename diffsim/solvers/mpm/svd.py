"""Singular value decomposition of a tile of 3x3 matrices by one-sided Jacobi rotations (Demmel and Veselic 1992)."""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any

import taichi as ti


def tile_svd(real: Any, width: int) -> SimpleNamespace:
    """``decompose(B, V, U, S)``: B = U diag(S) V^T for every matrix of a tile; all arguments are tile arrays."""
    # convergence is quadratic: after a sweep that began with cosines below the root of this, all columns are orthogonal
    orthogonal = 1e-18 if real == ti.f64 else 1e-8
    sweeps = 12 if real == ti.f64 else 8

    @ti.func
    def rotate(A: ti.template(), V: ti.template(), a: ti.template(), b: ti.template(), t):
        """Make columns a and b of A orthogonal by a rotation from the right, which V collects; returns their squared
        cosine before."""
        a0, a1, a2 = A[a][t], A[3 + a][t], A[6 + a][t]
        b0, b1, b2 = A[b][t], A[3 + b][t], A[6 + b][t]
        aa = a0 * a0 + a1 * a1 + a2 * a2
        bb = b0 * b0 + b1 * b1 + b2 * b2
        dot = a0 * b0 + a1 * b1 + a2 * b2
        difference = bb - aa
        sign = ti.select(difference < 0.0, ti.cast(-1.0, real), ti.cast(1.0, real))
        root = ti.abs(difference) + ti.sqrt(difference * difference + 4.0 * dot * dot) + 1e-30
        tangent = sign * 2.0 * dot / root
        c = 1.0 / ti.sqrt(1.0 + tangent * tangent)
        s = c * tangent
        A[a][t] = c * a0 - s * b0
        A[3 + a][t] = c * a1 - s * b1
        A[6 + a][t] = c * a2 - s * b2
        A[b][t] = s * a0 + c * b0
        A[3 + b][t] = s * a1 + c * b1
        A[6 + b][t] = s * a2 + c * b2
        for i in ti.static(range(3)):
            p, q = V[3 * i + a][t], V[3 * i + b][t]
            V[3 * i + a][t] = c * p - s * q
            V[3 * i + b][t] = s * p + c * q
        return dot * dot / (aa * bb + 1e-30)

    @ti.func
    def decompose(B: ti.template(), V: ti.template(), U: ti.template(), S: ti.template()):
        """S is unsorted; U and V are rotations, so the entry of S that is smallest in size is negative where det B < 0. B is
        overwritten."""
        for t in range(width):
            for i, j in ti.static(ti.ndrange(3, 3)):
                V[3 * i + j][t] = ti.cast(ti.static(1.0 if i == j else 0.0), real)
        unfinished = 1
        for _sweep in range(sweeps):
            if unfinished > 0:
                unfinished = 0
                for t in range(width):
                    first = rotate(B, V, 0, 1, t)
                    second = rotate(B, V, 0, 2, t)
                    third = rotate(B, V, 1, 2, t)
                    unfinished += ti.select(ti.max(first, ti.max(second, third)) < orthogonal, 0, 1)
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
