"""From velocity gradient to stress, a tile of particles at a time; forward beside adjoint.

    F_trial = F + dt C F = U diag(s) V^T,   law: s -> g, t,   F_new = U diag(g) V^T,   tau = U diag(t) U^T
The laws are isotropic, so F R serves as well as F for any rotation R. Within a control step the solver keeps G = F R with the
columns of G orthogonal (G_new = U diag(g), R_new = R V): then the columns of G_trial = (1 + dt C) G are nearly orthogonal and
two Jacobi sweeps decompose it, where F_trial would need five. Since R may be anything, it counts as constant in the adjoint.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any

from diffsim.compiler import ti
from diffsim.soft.kernels.svd import tile_svd
from diffsim.soft.laws import STRETCH_LAWS
from diffsim.soft.laws.liquid import tait_liquid

LIQUID = len(STRETCH_LAWS)  # its law index


def constitutive_stage(real: Any, tile: SimpleNamespace, functions: SimpleNamespace) -> SimpleNamespace:
    """``evaluate``, ``recall`` and ``adjoint`` of the whole constitutive update over tile arrays."""
    width = tile.width
    svd = tile_svd(real, tile)
    laws = [law(real, functions) for law in STRETCH_LAWS]
    liquid = tait_liquid(real, tile, functions)

    @ti.func
    def trial(dt, C: ti.template(), G: ti.template(), B: ti.template()):
        for t in range(width):
            for i, j in ti.static(ti.ndrange(3, 3)):
                B[3 * i + j][t] = G[3 * i + j][t] + dt * (
                    C[3 * i][t] * G[j][t] + C[3 * i + 1][t] * G[3 + j][t] + C[3 * i + 2][t] * G[6 + j][t]
                )

    @ti.func
    def rotate(U: ti.template(), stress: ti.template(), tau: ti.template()):
        """tau = U diag(stress) U^T."""
        for t in range(width):
            for i, j in ti.static(ti.ndrange(3, 3)):
                tau[3 * i + j][t] = (
                    U[3 * i][t] * stress[0][t] * U[3 * j][t]
                    + U[3 * i + 1][t] * stress[1][t] * U[3 * j + 1][t]
                    + U[3 * i + 2][t] * stress[2][t] * U[3 * j + 2][t]
                )

    @ti.func
    def evaluate(
        law_index, q0, q1, q2, q3, q4, dt, C: ti.template(), G: ti.template(), a: ti.template(),
        B: ti.template(), U: ti.template(), S: ti.template(), V: ti.template(), g: ti.template(), stress: ti.template(),
        tau: ti.template(),
    ):  # fmt: skip
        """G_trial = U diag(S) V^T, the stretches g after flow, the principal stresses and the stress tau; a turns into its new
        value. A liquid has U = V = 1 and no principal stresses. Returns how many of the tile's elements are inverted."""
        inverted = 0
        trial(dt, C, G, B)
        if law_index == LIQUID:
            inverted = liquid.evaluate(q0, q1, q2, C, B, U, V, g, tau)
        else:
            svd.decompose(B, V, U, S)
            for t in range(width):
                inverted += ti.select(S[0][t] * S[1][t] * S[2][t] <= 0.0, 1, 0)
            for index, law in ti.static(enumerate(laws)):
                if law_index == index:
                    for t in range(width):
                        g0, g1, g2, t0, t1, t2, a_new = law.forward(S[0][t], S[1][t], S[2][t], a[0][t], q0, q1, q2, q3, q4)
                        g[0][t] = g0
                        g[1][t] = g1
                        g[2][t] = g2
                        stress[0][t] = t0
                        stress[1][t] = t1
                        stress[2][t] = t2
                        a[0][t] = a_new
            rotate(U, stress, tau)
        return inverted

    @ti.func
    def recall(
        law_index, q0, q1, q2, dt, C: ti.template(), G: ti.template(), stress: ti.template(),
        B: ti.template(), U: ti.template(), S: ti.template(), V: ti.template(), tau: ti.template(),
    ):  # fmt: skip
        """What ``evaluate`` made of C and G, given the principal stresses and, in U, G_new = U diag(g): so there is nothing to
        iterate. G_trial is left in B."""
        trial(dt, C, G, B)
        if law_index == LIQUID:
            liquid.evaluate(q0, q1, q2, C, B, U, V, S, tau)
        else:
            svd.recover(B, V, U, S)
            rotate(U, stress, tau)

    @ti.func
    def adjoint(
        law_index, q0, q1, q2, q3, q4, dt, C: ti.template(), G: ti.template(), a: ti.template(),
        B: ti.template(), U: ti.template(), S: ti.template(), V: ti.template(), tau_bar: ti.template(),
        C_bar: ti.template(), G_bar: ti.template(), a_bar: ti.template(), q_bar: ti.template(),
    ):  # fmt: skip
        """Reverse of ``evaluate`` and of G_new = U diag(g). G_bar and a_bar turn from the adjoints of the new values into those
        of the old; C_bar and the parameters' adjoints q_bar are added to, particle by particle. C, G, a are the old values."""
        B_bar = ti.static(tile.local(9))
        if law_index == LIQUID:
            liquid.adjoint(q0, q1, q2, C, B, tau_bar, G_bar, C_bar, B_bar, q_bar)
        else:
            Q, W, g, dg, dt_ = ti.static(tile.local(9), tile.local(9), tile.local(3), tile.local(3), tile.local(3))
            # Q = U^T G_bar and W = U^T tau_bar U, the adjoints in the principal frame
            for t in range(width):
                for i, j in ti.static(ti.ndrange(3, 3)):
                    Q[3 * i + j][t] = U[i][t] * G_bar[j][t] + U[3 + i][t] * G_bar[3 + j][t] + U[6 + i][t] * G_bar[6 + j][t]
                    B[3 * i + j][t] = (
                        U[i][t] * tau_bar[j][t] + U[3 + i][t] * tau_bar[3 + j][t] + U[6 + i][t] * tau_bar[6 + j][t]
                    )
            for t in range(width):
                for i, j in ti.static(ti.ndrange(3, 3)):
                    W[3 * i + j][t] = B[3 * i][t] * U[j][t] + B[3 * i + 1][t] * U[3 + j][t] + B[3 * i + 2][t] * U[6 + j][t]
            for index, law in ti.static(enumerate(laws)):
                if law_index == index:
                    for t in range(width):
                        s0, s1, s2, a_old, b0, b1, b2, b3, b4, g0, g1, g2, g01, g02, g12, t01, t02, t12 = law.adjoint(
                            S[0][t], S[1][t], S[2][t], a[0][t], q0, q1, q2, q3, q4,
                            Q[0][t], Q[4][t], Q[8][t], W[0][t], W[4][t], W[8][t], a_bar[0][t],
                        )  # fmt: skip
                        B[0][t] = s0
                        B[4][t] = s1
                        B[8][t] = s2
                        a_bar[0][t] = a_old
                        q_bar[0][t] = q_bar[0][t] + b0
                        q_bar[1][t] = q_bar[1][t] + b1
                        q_bar[2][t] = q_bar[2][t] + b2
                        q_bar[3][t] = q_bar[3][t] + b3
                        q_bar[4][t] = q_bar[4][t] + b4
                        g[0][t] = g0
                        g[1][t] = g1
                        g[2][t] = g2
                        dg[0][t] = g01
                        dg[1][t] = g02
                        dg[2][t] = g12
                        dt_[0][t] = t01
                        dt_[1][t] = t02
                        dt_[2][t] = t12
            # off the diagonal: the symmetric part of Q sees dg, the skew part (g_i + g_j) / (s_i + s_j); tau sees dt
            for t in range(width):
                for n, i, j in ti.static(((0, 0, 1), (1, 0, 2), (2, 1, 2))):
                    total = S[i][t] + S[j][t]
                    total = ti.select(ti.abs(total) < 1e-6, ti.cast(1e-6, real), total)
                    w = 0.5 * (W[3 * i + j][t] + W[3 * j + i][t]) * dt_[n][t]
                    even = 0.5 * (Q[3 * i + j][t] + Q[3 * j + i][t]) * dg[n][t] + w
                    odd = (0.5 * (g[i][t] + g[j][t]) * (Q[3 * i + j][t] - Q[3 * j + i][t]) + (S[j][t] - S[i][t]) * w) / total
                    B[3 * i + j][t] = even + odd
                    B[3 * j + i][t] = even - odd
            # B_bar = U B V^T
            for t in range(width):
                for i, j in ti.static(ti.ndrange(3, 3)):
                    Q[3 * i + j][t] = U[3 * i][t] * B[j][t] + U[3 * i + 1][t] * B[3 + j][t] + U[3 * i + 2][t] * B[6 + j][t]
            for t in range(width):
                for i, j in ti.static(ti.ndrange(3, 3)):
                    B_bar[3 * i + j][t] = (
                        Q[3 * i][t] * V[3 * j][t] + Q[3 * i + 1][t] * V[3 * j + 1][t] + Q[3 * i + 2][t] * V[3 * j + 2][t]
                    )
        # B = G + dt C G
        for t in range(width):
            for i, j in ti.static(ti.ndrange(3, 3)):
                C_bar[3 * i + j][t] = C_bar[3 * i + j][t] + dt * (
                    B_bar[3 * i][t] * G[3 * j][t]
                    + B_bar[3 * i + 1][t] * G[3 * j + 1][t]
                    + B_bar[3 * i + 2][t] * G[3 * j + 2][t]
                )
                G_bar[3 * i + j][t] = B_bar[3 * i + j][t] + dt * (
                    C[i][t] * B_bar[j][t] + C[3 + i][t] * B_bar[3 + j][t] + C[6 + i][t] * B_bar[6 + j][t]
                )

    return SimpleNamespace(evaluate=evaluate, recall=recall, adjoint=adjoint)
