"""Constitutive law of a material point: von Mises return mapping and fixed-corotated stress; forward beside adjoint.

Everything is an isotropic function of F = U diag(sigma) V^T, so that the whole law is scalar functions of sigma:
    return mapping   g_i = exp(mean(eps) + k dev(eps)_i),  eps = log sigma,  k = min(1, yield / (2 mu |dev eps|))
    Kirchhoff stress t_i = 2 mu (g_i - 1) g_i + lambda J (J - 1),  J = g_0 g_1 g_2     (Stomakhin et al. 2012)
    F_new = U diag(g) V^T,  tau = U diag(t) U^T
The adjoint needs (g_j - g_i) / (sigma_j - sigma_i). Here that divided difference is k L(g_i, g_j) / L(sigma_i, sigma_j)
with the logarithmic mean L, which is smooth through equal singular values: there is no 1/(sigma_i^2 - sigma_j^2) to clamp.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace
from typing import Any

import taichi as ti

# log(sigma) is taken of at least this, so that a collapsed or inverted plastic element has a defined answer
SMALLEST_STRETCH = 2.0**-7


def constitutive_law(real: Any, *, sweeps: int, orthogonal: float) -> SimpleNamespace:
    """The law's device functions for scalar type ``real``.

    The SVD makes at most ``sweeps`` Jacobi sweeps. Convergence is quadratic, so it stops after a sweep that began with all
    columns within a cosine of ``sqrt(orthogonal)`` of being orthogonal.
    """
    vec3 = ti.types.vector(3, real)
    mat3 = ti.types.matrix(3, 3, real)

    @ti.func
    def jacobi_angle(a: vec3, b: vec3):
        """Cosine and sine of the rotation that makes the columns a and b orthogonal, and their squared cosine before."""
        aa = a.dot(a)
        bb = b.dot(b)
        difference = bb - aa
        twice_dot = 2.0 * a.dot(b)
        sign = ti.select(difference < 0.0, ti.cast(-1.0, real), ti.cast(1.0, real))
        root = ti.abs(difference) + ti.sqrt(difference * difference + twice_dot * twice_dot) + 1e-30
        tangent = sign * twice_dot / root
        cosine = 1.0 / ti.sqrt(1.0 + tangent * tangent)
        return cosine, cosine * tangent, 0.25 * twice_dot * twice_dot / (aa * bb + 1e-30)

    @ti.func
    def svd(F: mat3):
        """F = U diag(sigma) V^T by one-sided Jacobi; sigma unsorted, its smallest entry negative where det F < 0."""
        a0 = vec3(F[0, 0], F[1, 0], F[2, 0])
        a1 = vec3(F[0, 1], F[1, 1], F[2, 1])
        a2 = vec3(F[0, 2], F[1, 2], F[2, 2])
        v0 = vec3(1.0, 0.0, 0.0)
        v1 = vec3(0.0, 1.0, 0.0)
        v2 = vec3(0.0, 0.0, 1.0)
        for _ in range(sweeps):
            c, s, worst = jacobi_angle(a0, a1)
            a0, a1 = c * a0 - s * a1, s * a0 + c * a1
            v0, v1 = c * v0 - s * v1, s * v0 + c * v1
            c, s, second = jacobi_angle(a0, a2)
            a0, a2 = c * a0 - s * a2, s * a0 + c * a2
            v0, v2 = c * v0 - s * v2, s * v0 + c * v2
            c, s, third = jacobi_angle(a1, a2)
            a1, a2 = c * a1 - s * a2, s * a1 + c * a2
            v1, v2 = c * v1 - s * v2, s * v1 + c * v2
            if ti.max(worst, ti.max(second, third)) < orthogonal:
                break
        sigma = vec3(ti.sqrt(a0.dot(a0)), ti.sqrt(a1.dot(a1)), ti.sqrt(a2.dot(a2)))
        u0 = a0 / ti.max(sigma[0], 1e-30)
        u1 = a1 / ti.max(sigma[1], 1e-30)
        u2 = a2 / ti.max(sigma[2], 1e-30)
        if a0.dot(a1.cross(a2)) < 0.0:
            if sigma[0] <= sigma[1] and sigma[0] <= sigma[2]:
                sigma[0] = -sigma[0]
                u0 = -u0
            elif sigma[1] <= sigma[2]:
                sigma[1] = -sigma[1]
                u1 = -u1
            else:
                sigma[2] = -sigma[2]
                u2 = -u2
        return ti.Matrix.cols([u0, u1, u2]), sigma, ti.Matrix.cols([v0, v1, v2])

    @ti.func
    def return_mapping(sigma: vec3, mu: real, yield_limit: real):
        """Singular values after plastic flow, the scale k of the deviatoric strain, and the mean strain."""
        clamped = vec3(0.0)
        strain = vec3(0.0)
        for i in ti.static(range(3)):
            clamped[i] = ti.max(sigma[i], SMALLEST_STRETCH)
            strain[i] = ti.log(clamped[i])
        three = ti.cast(3.0, real)
        mean = (strain[0] + strain[1] + strain[2]) / three
        deviator = vec3(strain[0] - mean, strain[1] - mean, strain[2] - mean)
        length = ti.sqrt(deviator.dot(deviator))
        limit = yield_limit / (2.0 * mu)
        scale = ti.cast(1.0, real)
        g = sigma
        if length > limit:
            scale = limit / length
            for i in ti.static(range(3)):
                g[i] = ti.exp(mean + scale * deviator[i])
        return g, scale, deviator, length

    @ti.func
    def principal_stress(g: vec3, mu: real, lam: real):
        volumetric = lam * g[0] * g[1] * g[2] * (g[0] * g[1] * g[2] - 1.0)
        t = vec3(0.0)
        for i in ti.static(range(3)):
            t[i] = 2.0 * mu * (g[i] - 1.0) * g[i] + volumetric
        return t

    @ti.func
    def forward(U: mat3, sigma: vec3, V: mat3, mu: real, lam: real, yield_limit: real):
        """F_new and Kirchhoff stress from the singular value decomposition of the trial deformation gradient."""
        g, _scale, _deviator, _length = return_mapping(sigma, mu, yield_limit)
        t = principal_stress(g, mu, lam)
        F_new = mat3(0.0)
        tau = mat3(0.0)
        for i, j in ti.static(ti.ndrange(3, 3)):
            for k in ti.static(range(3)):
                F_new[i, j] += U[i, k] * g[k] * V[j, k]
                tau[i, j] += U[i, k] * t[k] * U[j, k]
        return F_new, tau

    @ti.func
    def logarithmic_mean(a: real, b: real):
        """(a - b) / (log a - log b), smooth at a = b: sqrt(ab) sinh(y)/y with y = log(a/b)/2."""
        y = ti.log(a / b) * 0.5
        y2 = y * y
        ratio = 1.0 + y2 / 6.0 * (1.0 + y2 / 20.0 * (1.0 + y2 / 42.0))
        if y2 > 0.0625:
            ratio = (ti.exp(y) - ti.exp(-y)) * 0.5 / y
        return ti.sqrt(a * b) * ratio

    @ti.func
    def adjoint(U: mat3, sigma: vec3, V: mat3, mu: real, lam: real, yield_limit: real, F_new_bar: mat3, tau_bar: mat3):
        """Adjoint of F = U diag(sigma) V^T given those of F_new and tau. Both are isotropic, so U and V are arbitrary up
        to the usual ambiguities and the result is smooth through equal singular values."""
        g, scale, deviator, length = return_mapping(sigma, mu, yield_limit)
        J = g[0] * g[1] * g[2]
        Q = U.transpose() @ F_new_bar @ V
        W = U.transpose() @ tau_bar @ U

        # diagonal: stress, then return mapping
        t_bar_sum = W[0, 0] + W[1, 1] + W[2, 2]
        volumetric = lam * (2.0 * J - 1.0)
        g_bar = vec3(0.0)
        cofactor = vec3(g[1] * g[2], g[0] * g[2], g[0] * g[1])
        for i in ti.static(range(3)):
            g_bar[i] = Q[i, i] + 2.0 * mu * (2.0 * g[i] - 1.0) * W[i, i] + volumetric * cofactor[i] * t_bar_sum
        sigma_bar = g_bar
        yielding = scale < 1.0
        if yielding:
            log_bar = vec3(g_bar[0] * g[0], g_bar[1] * g[1], g_bar[2] * g[2])
            mean_bar = (log_bar[0] + log_bar[1] + log_bar[2]) / ti.cast(3.0, real)
            along = log_bar.dot(deviator) / (length * length)
            for i in ti.static(range(3)):
                strain_bar = mean_bar + scale * (log_bar[i] - mean_bar - along * deviator[i])
                sigma_bar[i] = ti.select(sigma[i] > SMALLEST_STRETCH, strain_bar / sigma[i], ti.cast(0.0, real))

        # off the diagonal: divided differences
        P = mat3(0.0)
        for i in ti.static(range(3)):
            P[i, i] = sigma_bar[i]
        for i, j in ti.static(((0, 1), (0, 2), (1, 2))):
            difference = ti.cast(1.0, real)
            if yielding:
                difference = (
                    scale
                    * logarithmic_mean(g[i], g[j])
                    / logarithmic_mean(ti.max(sigma[i], SMALLEST_STRETCH), ti.max(sigma[j], SMALLEST_STRETCH))
                )
            total = sigma[i] + sigma[j]
            total = ti.select(ti.abs(total) < 1e-6, ti.cast(1e-6, real), total)
            stress_difference = 2.0 * mu * (g[i] + g[j] - 1.0) * difference
            # tau_ij = (t_j - t_i) Omega_ij enters twice, W being the cotangent of a full matrix
            w = W[i, j] + W[j, i]
            even = difference * (Q[i, j] + Q[j, i]) * 0.5 + stress_difference * w * 0.5
            odd = (g[i] + g[j]) / total * (Q[i, j] - Q[j, i]) * 0.5 + stress_difference * (
                sigma[j] - sigma[i]
            ) / total * w * 0.5
            P[i, j] = even + odd
            P[j, i] = even - odd
        return U @ P @ V.transpose()

    return SimpleNamespace(svd=svd, forward=forward, adjoint=adjoint)
