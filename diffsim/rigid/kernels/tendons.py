"""Springs, dampers and limits of fixed tendons, whose lengths are sums of joint coordinates; forward beside adjoint.

With the length l, its new rate l'+ = l'(v + h a) and the limits' law of `joint_forces`, a tendon's force is
-stiffness stretch(l) - (damping + D) l'+ + still. `stretch` is the length beyond the rest lengths.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace

from diffsim.compiler import ti
from diffsim.rigid.constraint_records import TendonConstants, TendonIndices, TendonInputs
from diffsim.rigid.kernels.compliance import compliance
from diffsim.rigid.kernels.joint_lengths import length_functions
from diffsim.rigid.kernels.rigid_memory import model_rows
from diffsim.rigid.rigid_records import CUTOFF, Header, SceneConstants

LIMITS = ((1.0, TendonConstants.low), (-1.0, TendonConstants.high))  # the sign of the gap's growth, and the limit


def tendon_stage(real) -> SimpleNamespace:
    """``forces`` and ``forces_adjoint``."""
    rows, lengths, law = model_rows(), length_functions(real), compliance(real)

    @ti.func
    def places(m: ti.template(), at: ti.template(), n):
        """Of tendon ``n``: its constants and inputs, its first term, and one past its last."""
        indices = m.integers[Header.tendon_indices] + TendonIndices.SIZE * n
        constants = m.integers[Header.tendon_constants] + TendonConstants.SIZE * n
        own = at.inputs + m.integers[Header.tendon_inputs] + TendonInputs.SIZE * n
        return constants, own, m.integers[indices + TendonIndices.first_term], m.integers[indices + TendonIndices.end_term]

    @ti.func
    def stretch(m: ti.template(), constants, length):
        """The length beyond the rest lengths."""
        low, high = m.reals[constants + TendonConstants.rest_low], m.reals[constants + TendonConstants.rest_high]
        return length - ti.min(ti.max(length, low), high)

    @ti.func
    def forces(m: ti.template(), at: ti.template()):
        """Added to the right-hand side, and what depends on the new velocities to the matrix."""
        h, s = m.reals[SceneConstants.dt], m.reals[SceneConstants.restitution_speed]
        size, matrix = m.integers[Header.unknowns], rows.smooth_matrix(m, at)
        for n in range(m.integers[Header.tendons]):
            constants, own, first, end = places(m, at, n)
            length, rate = lengths.length_and_rate(m, at, first, end)
            d = m.reals[constants + TendonConstants.limit_smoothing]
            force = -m.inputs[own + TendonInputs.stiffness] * stretch(m, constants, length)
            resistance = m.inputs[own + TendonInputs.damping]
            for side, limit in ti.static(LIMITS):
                phi = side * (length - m.reals[constants + limit])
                if phi < CUTOFF * d:
                    stiffness = m.inputs[own + TendonInputs.limit_stiffness]
                    still, D, _N = law.normal(phi, side * rate, stiffness, d, ti.cast(0.0, real), s)
                    force = force + side * still
                    resistance = resistance + D
            force = force - resistance * rate
            for t in range(first, end):
                _qi, k, c = lengths.term(m, t)
                m.work[at.vector + k] = m.work[at.vector + k] + c * force
                for other in range(first, end):
                    _qo, l, other_c = lengths.term(m, other)
                    if l <= k:
                        entry = matrix + k * size + l
                        m.work[entry] = m.work[entry] + h * resistance * c * other_c

    @ti.func
    def forces_adjoint(m: ti.template(), at: ti.template()):
        """Adjoint of the forces' power under the virtual velocity, at constant a."""
        s, zero = m.reals[SceneConstants.restitution_speed], ti.cast(0.0, real)
        for n in range(m.integers[Header.tendons]):
            constants, own, first, end = places(m, at, n)
            length, rate = lengths.length_and_rate(m, at, first, end)
            new, power = lengths.new_rate(m, at, first, end), lengths.virtual_rate(m, at, first, end)
            d = m.reals[constants + TendonConstants.limit_smoothing]
            longer = stretch(m, constants, length)
            length_bar, rate_bar = zero, -power * m.inputs[own + TendonInputs.damping]
            if longer != 0.0:
                length_bar = -power * m.inputs[own + TendonInputs.stiffness]
            subtract(m, own + TendonInputs.stiffness, longer * power)
            subtract(m, own + TendonInputs.damping, new * power)
            for side, limit in ti.static(LIMITS):
                phi = side * (length - m.reals[constants + limit])
                if phi < CUTOFF * d:
                    stiffness = m.inputs[own + TendonInputs.limit_stiffness]
                    _still, D, _N = law.normal(phi, side * rate, stiffness, d, zero, s)
                    phi_bar, own_rate_bar, k_bar, _e_bar = law.normal_adjoint(
                        phi, side * rate, stiffness, d, zero, s, side * power, -new * power, zero
                    )
                    length_bar = length_bar + side * phi_bar
                    rate_bar = rate_bar + side * own_rate_bar - D * power
                    subtract(m, own + TendonInputs.limit_stiffness, -k_bar)
            for t in range(first, end):
                qi, k, c = lengths.term(m, t)
                m.work[at.q_bar + qi] = m.work[at.q_bar + qi] + c * length_bar
                m.work[at.v_bar + k] = m.work[at.v_bar + k] + c * rate_bar

    @ti.func
    def subtract(m: ti.template(), place, x):
        m.inputs_bar[place] = m.inputs_bar[place] - x

    return SimpleNamespace(forces=forces, forces_adjoint=forces_adjoint)
