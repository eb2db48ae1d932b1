"""The constitutive laws, one file each: functions of the principal stretches, the singular values of the trial F.

A law has
    forward(s0, s1, s2, a, q0..q4) -> g0, g1, g2, t0, t1, t2, a_new
        s: trial stretches, a: accumulated plastic strain, q: the material's parameters;
        g: elastic stretches after plastic flow, t: principal Kirchhoff stresses
    adjoint(s0, s1, s2, a, q0..q4, g0_bar, g1_bar, g2_bar, t0_bar, t1_bar, t2_bar, a_new_bar)
        -> s0_bar, s1_bar, s2_bar, a_bar, q0_bar..q4_bar, g0, g1, g2, dg01, dg02, dg12, dt01, dt02, dt12
        dg_ij = (g_j - g_i) / (s_j - s_i) and dt_ij = (t_j - t_i) / (s_j - s_i), the divided differences that the derivative of
        an isotropic tensor function needs; each law writes them without a division by s_j - s_i, so that equal stretches
        are nothing special.
All are branch-free scalar code, for loops over tiles (`diffsim/soft/kernels/tiles.py`).
"""

from diffsim.soft.laws.elastic import fixed_corotated, neo_hookean
from diffsim.soft.laws.sand import drucker_prager
from diffsim.soft.laws.snow import snow
from diffsim.soft.laws.von_mises import von_mises

# in the order of `diffsim.scene.materials.LAWS`; the liquid needs no singular values and is not among them
STRETCH_LAWS = (fixed_corotated, neo_hookean, von_mises, drucker_prager, snow)
