"""From velocity gradient to stress, a tile of particles at a time; forward beside adjoint.

    F_trial = F + dt C F = U diag(s) V^T,   law: s -> g, t,   F_new = U diag(g) V^T,   tau = U diag(t) U^T
The laws are isotropic, so F R serves as well as F for any rotation R. Within a control step the solver keeps G = F R with the
columns of G orthogonal (G_new = U diag(g), R_new = R V): then the columns of G_trial = (1 + dt C) G are nearly orthogonal and
two Jacobi sweeps decompose it, where F_trial would need five. Since R may be anything, it counts as constant in the adjoint.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

from diffsim.compiler import compile_time, ti
from diffsim.rounding import rounded_sums
from diffsim.soft.kernels.svd import tile_svd
from diffsim.soft.laws.kelvin_voigt import viscous_stress
from diffsim.soft.laws.liquid import tait_liquid
from diffsim.soft.laws.stretch_law import PAIRS, Flow
from diffsim.soft.soft_records import LAW_PARAMETERS, BodyInputs

OFF_DIAGONAL = tuple((n, i, j) for n, (i, j) in enumerate(PAIRS))


@compile_time
class Law(NamedTuple):
    """A tile's law: its index among the kernels' laws, its parameters (5), and two viscosities."""

    index: Any
    parameters: Any
    shear_viscosity: Any
    bulk_viscosity: Any


@compile_time
class Strain(NamedTuple):
    """What goes into the update, tile arrays: C (9), G = F R (9), the internal variable a (1)."""

    C: Any
    G: Any
    a: Any


@compile_time
class Decomposition(NamedTuple):
    """The trial G_trial = B = U diag(S) V^T, tile arrays: B (9), U (9), S (3), V (9)."""

    B: Any
    U: Any
    S: Any
    V: Any


@compile_time
class Response(NamedTuple):
    """What comes out, tile arrays: stretches g (3), the internal variable a (1), principal elastic stresses (3) and Kirchhoff's
    stress tau (9)."""

    g: Any
    a: Any
    stress: Any
    tau: Any


@compile_time
class StrainBars(NamedTuple):
    """Adjoints, tile arrays: tau (9), C (9), G (9), a (1), and of the body's inputs (`BodyInputs`)."""

    tau: Any
    C: Any
    G: Any
    a: Any
    inputs: Any


def constitutive_stage(
    real: Any, tile: SimpleNamespace, functions: SimpleNamespace, laws: tuple[Callable[..., Any], ...], viscous: bool
) -> SimpleNamespace:
    """``evaluate``, ``recall`` and ``adjoint`` of the whole constitutive update over tile arrays, for these laws; ``viscous``:
    some body has a viscous stress beside its law's."""
    width, single = tile.width, real == ti.f32
    sums = rounded_sums(real)
    svd = tile_svd(real, tile)
    liquid_index = laws.index(tait_liquid)
    liquid = tait_liquid(real, tile, functions)
    stretch_laws = [(index, law(real, functions)) for index, law in enumerate(laws) if index != liquid_index]
    viscosity = viscous_stress(functions, tile)

    @compile_time
    def parameter_bars(inputs: Any) -> Any:
        """Of a body's inputs those that are the law's parameters."""
        return inputs[BodyInputs.parameters : BodyInputs.parameters + LAW_PARAMETERS]

    @ti.func
    def trial_deformation(dt, C: ti.template(), F: ti.template(), T: ti.template(), threshold):
        """T = F + dt C F, in the world or in any frame."""
        for t in range(width):
            for i, j in ti.static(ti.ndrange(3, 3)):
                turned = C[3 * i][t] * F[j][t] + C[3 * i + 1][t] * F[3 + j][t] + C[3 * i + 2][t] * F[6 + j][t]
                T[3 * i + j][t] = sums.rounded_sum(F[3 * i + j][t], dt * turned, threshold)

    @ti.func
    def product(A: ti.template(), B: ti.template(), result: ti.template()):
        for t in range(width):
            for i, j in ti.static(ti.ndrange(3, 3)):
                result[3 * i + j][t] = A[3 * i][t] * B[j][t] + A[3 * i + 1][t] * B[3 + j][t] + A[3 * i + 2][t] * B[6 + j][t]

    @ti.func
    def recompose(
        law: ti.template(), trial: ti.template(), g: ti.template(), R: ti.template(), G: ti.template(), F: ti.template()
    ):
        """From a `Decomposition` and new stretches to G = U diag(g) and its frame, which R turns into; in f32 also from the
        trial F to the new one, F + U diag(g - s) R^T, which is the same where the law leaves the stretches alone."""
        B, U, S, V = ti.static(trial.B, trial.U, trial.S, trial.V)
        for t in range(width):
            for i, j in ti.static(ti.ndrange(3, 3)):
                G[3 * i + j][t] = U[3 * i + j][t] * g[j][t]
        product(R, V, B)
        for t in range(width):
            for c in ti.static(range(9)):
                R[c][t] = B[c][t]
        if ti.static(single):
            flowing = 0
            if law.index == liquid_index:
                for t in range(width):
                    for c in ti.static(range(9)):
                        F[c][t] = G[c][t]
            else:
                for t in range(width):
                    same = (g[0][t] == S[0][t]) & (g[1][t] == S[1][t]) & (g[2][t] == S[2][t])
                    flowing += ti.select(same, 0, 1)
            if flowing > 0:
                for t in range(width):
                    for i in ti.static(range(3)):
                        x, y, z = [U[3 * i + k][t] * (g[k][t] - S[k][t]) for k in ti.static(range(3))]
                        for j in ti.static(range(3)):
                            flow = x * R[3 * j][t] + y * R[3 * j + 1][t] + z * R[3 * j + 2][t]
                            F[3 * i + j][t] = F[3 * i + j][t] + flow

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
    def evaluate(law: ti.template(), dt, threshold, old: ti.template(), trial: ti.template(), new: ti.template()):
        """From a `Strain` and its trial B to the rest of the `Decomposition` and to the `Response`. A liquid has U = V = 1 and
        no principal stresses. Returns how many of the tile's elements are inverted."""
        inverted = 0
        if law.index == liquid_index:
            inverted = liquid.evaluate(law.parameters, dt, threshold, old, trial.B, new)
            for t in range(width):
                for i, j in ti.static(ti.ndrange(3, 3)):
                    trial.U[3 * i + j][t] = ti.cast(ti.static(1.0 if i == j else 0.0), real)
                    trial.V[3 * i + j][t] = ti.cast(ti.static(1.0 if i == j else 0.0), real)
        else:
            svd.decompose(trial.B, trial.V, trial.U, trial.S)
            for t in range(width):
                inverted += ti.select(trial.S[0][t] * trial.S[1][t] * trial.S[2][t] <= 0.0, 1, 0)
            for index, functions_of_law in ti.static(stretch_laws):
                if law.index == index:
                    for t in range(width):
                        s, a = (trial.S[0][t], trial.S[1][t], trial.S[2][t]), old.a[0][t]
                        g, stresses, a_new = functions_of_law.forward(s, a, law.parameters)
                        for i in ti.static(range(3)):
                            new.g[i][t] = g[i]
                        for i in ti.static(range(3)):
                            new.stress[i][t] = stresses[i]
                        new.a[0][t] = a_new
            rotate(trial.U, new.stress, new.tau)
        if ti.static(viscous):
            viscosity.forward(law.shear_viscosity, law.bulk_viscosity, old.C, new.tau)
        return inverted

    @ti.func
    def recall(law: ti.template(), dt, old: ti.template(), trial: ti.template(), new: ti.template()):
        """What ``evaluate`` made of a `Strain`, given the principal stresses and, in trial.U, G_new = U diag(g): so there is
        nothing to iterate."""
        zero = ti.cast(0.0, real)
        trial_deformation(dt, old.C, old.G, trial.B, zero)
        if law.index == liquid_index:
            liquid.evaluate(law.parameters, dt, zero, old, trial.B, new)
        else:
            svd.recover(trial.B, trial.V, trial.U, trial.S)
            rotate(trial.U, new.stress, new.tau)
        if ti.static(viscous):
            viscosity.forward(law.shear_viscosity, law.bulk_viscosity, old.C, new.tau)

    # The derivative of F_new = U diag(g) V^T and tau = U diag(t) U^T (Q below is the adjoint of the former between U and V; R
    # is held). With dB = U X V^T, dU = U Omega, dV = V Psi, Omega and Psi skew, B = U diag(s) V^T gives ds_i = X_ii and, off
    # the diagonal, X_ij = Omega_ij s_j - s_i Psi_ij. dF_new has Y_ij = Omega_ij g_j - g_i Psi_ij, dtau Omega_ij (t_j - t_i).
    # Hence Y + Y^T = (X + X^T) (g_j - g_i) / (s_j - s_i), Y - Y^T = (X - X^T) (g_i + g_j) / (s_i + s_j), and
    # 2 Omega_ij = (X + X^T)_ij / (s_j - s_i) + (X - X^T)_ij / (s_i + s_j).

    @ti.func
    def adjoint(law: ti.template(), dt, old: ti.template(), trial: ti.template(), bars: ti.template()):
        """Reverse of ``evaluate`` and of G_new = U diag(g). bars.G and bars.a turn from the adjoints of the new values into
        those of the old; bars.C and the inputs' are added to, particle by particle. ``old`` has the old values."""
        C, G, B, U, S, V = ti.static(old.C, old.G, trial.B, trial.U, trial.S, trial.V)
        C_bar, G_bar, tau_bar = ti.static(bars.C, bars.G, bars.tau)
        q_bar = ti.static(parameter_bars(bars.inputs))
        B_bar = ti.static(tile.local(9))
        if ti.static(viscous):
            viscosity.adjoint(
                law.shear_viscosity, law.bulk_viscosity, C, tau_bar, C_bar,
                bars.inputs[BodyInputs.shear_viscosity], bars.inputs[BodyInputs.bulk_viscosity],
            )  # fmt: skip
        if law.index == liquid_index:
            liquid.adjoint(law.parameters, old, B, bars, B_bar, q_bar)
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
            for index, functions_of_law in ti.static(stretch_laws):
                if law.index == index:
                    for t in range(width):
                        s, a = (S[0][t], S[1][t], S[2][t]), old.a[0][t]
                        g_bar, t_bar, a_bar = (Q[0][t], Q[4][t], Q[8][t]), (W[0][t], W[4][t], W[8][t]), bars.a[0][t]
                        flow_bars = ti.static(Flow(g_bar, t_bar, a_bar))
                        s_bar, a_old_bar, own_bar, elastic, dg_own, dt_own = functions_of_law.adjoint(
                            s, a, law.parameters, flow_bars
                        )
                        bars.a[0][t] = a_old_bar
                        for n in ti.static(range(len(own_bar))):
                            q_bar[n][t] = q_bar[n][t] + own_bar[n]
                        for i in ti.static(range(3)):
                            B[4 * i][t] = s_bar[i]
                            g[i][t] = elastic[i]
                            dg[i][t] = dg_own[i]
                            dt_[i][t] = dt_own[i]
            # off the diagonal: the symmetric part of Q sees dg, the skew part (g_i + g_j) / (s_i + s_j); tau sees dt
            for t in range(width):
                for n, i, j in ti.static(OFF_DIAGONAL):
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

    return SimpleNamespace(
        trial_deformation=trial_deformation, product=product, evaluate=evaluate, recompose=recompose, recall=recall,
        adjoint=adjoint,
    )  # fmt: skip
