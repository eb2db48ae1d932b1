"""Springs, dampers and limits of fixed tendons, whose lengths are sums of joint coordinates; forward beside adjoint.

With the length l, its new rate l'+ = l'(v + h a) and the law of `coordinate_limits`, a tendon's force is
-stiffness stretch(l) - (damping + D) l'+ + still. `stretch` is the length beyond the rest lengths.
"""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace

from diffsim.compiler import ti
from diffsim.rigid.constraint_records import TendonConstants, TendonIndices, TendonInputs
from diffsim.rigid.kernels.coordinate_limits import limit_functions
from diffsim.rigid.kernels.joint_lengths import length_functions
from diffsim.rigid.kernels.rigid_memory import model_rows
from diffsim.rigid.rigid_records import Header


def tendon_stage(real) -> SimpleNamespace:
    """``forces`` and ``forces_adjoint``."""
    rows, lengths, limits = model_rows(), length_functions(real), limit_functions(real, TendonConstants)

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
        for n in range(m.integers[Header.tendons]):
            constants, own, first, end = places(m, at, n)
            length, rate = lengths.length_and_rate(m, at, first, end)
            stopped, D = limits.forces(m, constants, length, rate, m.inputs[own + TendonInputs.limit_stiffness])
            resistance = m.inputs[own + TendonInputs.damping] + D
            force = stopped - m.inputs[own + TendonInputs.stiffness] * stretch(m, constants, length)
            lengths.pull(m, at, first, end, force - resistance * rate)
            lengths.resist(m, at, first, end, resistance)

    @ti.func
    def forces_adjoint(m: ti.template(), at: ti.template()):
        """Adjoint of the forces' power under the virtual velocity, at constant a."""
        for n in range(m.integers[Header.tendons]):
            constants, own, first, end = places(m, at, n)
            length, rate = lengths.length_and_rate(m, at, first, end)
            new, power = lengths.new_rate(m, at, first, end), lengths.virtual_rate(m, at, first, end)
            longer, stiffness = stretch(m, constants, length), m.inputs[own + TendonInputs.limit_stiffness]
            length_bar, rate_bar, stiffness_bar = limits.forces_adjoint(m, constants, length, rate, stiffness, new, power)
            rate_bar = rate_bar - power * m.inputs[own + TendonInputs.damping]
            if longer != 0.0:
                length_bar = length_bar - power * m.inputs[own + TendonInputs.stiffness]
            rows.subtract_bar(m, own + TendonInputs.stiffness, longer * power)
            rows.subtract_bar(m, own + TendonInputs.damping, new * power)
            rows.subtract_bar(m, own + TendonInputs.limit_stiffness, -stiffness_bar)
            lengths.length_adjoint(m, at, first, end, length_bar, rate_bar)

    return SimpleNamespace(forces=forces, forces_adjoint=forces_adjoint)
