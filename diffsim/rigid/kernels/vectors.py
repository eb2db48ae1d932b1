"""Vectors, rotations and quaternions (w, x, y, z) in flat arrays."""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from types import SimpleNamespace

from diffsim.compiler import ti
from diffsim.rounding import rounded_sums
from diffsim.scene.rotations import rotation_entries

ENTRIES = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))  # of a symmetric matrix, in the order in which it is stored


def vector_functions(real) -> SimpleNamespace:
    """Loads, stores and rotations for the scalar type ``real``."""
    vec3 = ti.types.vector(3, real)
    vec4 = ti.types.vector(4, real)
    mat3 = ti.types.matrix(3, 3, real)
    series_up_to = 1e-4 if real == ti.f64 else 1e-2
    sums = rounded_sums(real)

    @ti.func
    def load(array: ti.template(), at):
        return vec3(array[at], array[at + 1], array[at + 2])

    @ti.func
    def store(array: ti.template(), at, x):
        for i in ti.static(range(3)):
            array[at + i] = x[i]

    @ti.func
    def add(array: ti.template(), at, x):
        for i in ti.static(range(3)):
            array[at + i] = array[at + i] + x[i]

    @ti.func
    def load_matrix(array: ti.template(), at):
        return mat3(
            array[at], array[at + 1], array[at + 2], array[at + 3], array[at + 4], array[at + 5],
            array[at + 6], array[at + 7], array[at + 8],
        )  # fmt: skip

    @ti.func
    def store_matrix(array: ti.template(), at, M):
        for i, j in ti.static(ti.ndrange(3, 3)):
            array[at + 3 * i + j] = M[i, j]

    @ti.func
    def symmetric(array: ti.template(), at):
        """A symmetric matrix stored as xx, yy, zz, yz, xz, xy."""
        s = ti.static([array[at + n] for n in range(6)])
        return mat3(s[0], s[5], s[4], s[5], s[1], s[3], s[4], s[3], s[2])

    @ti.func
    def load_quaternion(array: ti.template(), at):
        return vec4(array[at], array[at + 1], array[at + 2], array[at + 3])

    @ti.func
    def product(a, b):
        """Hamilton's product."""
        return vec4(
            a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3],
            a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2],
            a[0] * b[2] - a[1] * b[3] + a[2] * b[0] + a[3] * b[1],
            a[0] * b[3] + a[1] * b[2] - a[2] * b[1] + a[3] * b[0],
        )

    @ti.func
    def conjugate(a):
        return vec4(a[0], -a[1], -a[2], -a[3])

    @ti.func
    def rotation(Q):
        """The rotation matrix of a quaternion of any length but zero."""
        s = 2.0 / (Q[0] * Q[0] + Q[1] * Q[1] + Q[2] * Q[2] + Q[3] * Q[3])
        return mat3(*rotation_entries(Q[0], Q[1], Q[2], Q[3], s))

    @ti.func
    def rotation_adjoint(Q, turn_bar):
        """Adjoint of Q, from that of an infinitesimal rotation in the rotated frame, R (1 + [turn])."""
        s = 2.0 / (Q[0] * Q[0] + Q[1] * Q[1] + Q[2] * Q[2] + Q[3] * Q[3])
        return s * product(Q, vec4(0.0, turn_bar[0], turn_bar[1], turn_bar[2]))

    @ti.func
    def about(axis, angle):
        """The rotation matrix about a unit axis (Rodrigues)."""
        c, s = ti.cos(angle), ti.sin(angle)
        x, y, z, t = axis[0], axis[1], axis[2], 1.0 - c
        return mat3(
            t * x * x + c, t * x * y - s * z, t * x * z + s * y,
            t * x * y + s * z, t * y * y + c, t * y * z - s * x,
            t * x * z - s * y, t * y * z + s * x, t * z * z + c,
        )  # fmt: skip

    @ti.func
    def sinc_half(angle2):
        """sin(t / 2) / t and its derivative by t over t, from t squared; by their series near 0."""
        s = 0.5 - angle2 / 48.0 + angle2 * angle2 / 3840.0
        slope = (angle2 / 40.0 - 1.0) / 24.0
        if angle2 > ti.static(series_up_to):
            t = ti.sqrt(angle2)
            s = ti.sin(0.5 * t) / t
            slope = (0.5 * ti.cos(0.5 * t) - s) / angle2
        return s, slope

    @ti.func
    def turned(Q, turn, threshold):
        """Q * exp(turn), of length one; ``turn`` is a rotation vector in the rotated frame. In f32 it is a `rounded_sum` of Q
        and a change."""
        angle2 = turn.dot(turn)
        s, _slope = sinc_half(angle2)
        cosine = ti.cos(0.5 * ti.sqrt(angle2))
        result = Q
        if ti.static(real == ti.f32):
            change = product(Q, vec4(-s * s * angle2 / (1.0 + cosine), s * turn[0], s * turn[1], s * turn[2]))
            raw = Q + change
            excess = raw.dot(raw) - 1.0
            shrink = excess * (0.5 - 0.375 * excess)  # 1 - 1 / length, where that is small
            if ti.abs(excess) > 2.0**-10:
                shrink = 1.0 - 1.0 / ti.sqrt(1.0 + excess)
            result = vec4(*[sums.rounded_sum(Q[i], change[i] - shrink * raw[i], threshold) for i in range(4)])
        else:
            new = product(Q, vec4(cosine, s * turn[0], s * turn[1], s * turn[2]))
            result = new / ti.sqrt(new.dot(new))
        return result

    @ti.func
    def turned_adjoint(Q, turn, new_bar):
        """Adjoints of Q and ``turn``."""
        angle2 = turn.dot(turn)
        s, slope = sinc_half(angle2)
        E = vec4(ti.cos(0.5 * ti.sqrt(angle2)), s * turn[0], s * turn[1], s * turn[2])
        raw = product(Q, E)
        length = ti.sqrt(raw.dot(raw))
        new = raw / length
        raw_bar = (new_bar - new * new.dot(new_bar)) / length
        E_bar = product(conjugate(Q), raw_bar)
        along = vec3(E_bar[1], E_bar[2], E_bar[3])
        return product(raw_bar, conjugate(E)), s * along + turn * (slope * turn.dot(along) - 0.5 * s * E_bar[0])

    return SimpleNamespace(
        vec3=vec3, mat3=mat3, load=load, store=store, add=add, load_matrix=load_matrix, store_matrix=store_matrix,
        symmetric=symmetric, load_quaternion=load_quaternion, rotation=rotation, rotation_adjoint=rotation_adjoint, about=about,
        turned=turned, turned_adjoint=turned_adjoint,
    )  # fmt: skip
