"""One shape's signed distance at many points."""

# mypy: ignore-errors
# Taichi reads the annotations of kernels at run time, in a way that mypy cannot follow.

from typing import Any

from diffsim.compiler import ti
from diffsim.scene.shapes.shape import Shape


def distance_kernels(owner: type[Shape], precision: str) -> Any:
    """A kernel for "f32" or "f64" that writes distances (N,), their gradients (N, 3) and Hessians (N, 3, 3) at points (N, 3) of
    the frame of a shape whose `Shape.distance_kernel` is that of the class ``owner``. Its numbers begin at 1."""
    real = {"f32": ti.f32, "f64": ti.f64}[precision]
    distance = owner.distance_kernel(real)
    Reals = ti.types.ndarray(dtype=real, ndim=1)

    @ti.kernel
    def evaluate(count: ti.i32, numbers: Reals, y: Reals, phi: Reals, gradient: Reals, hessian: Reals):
        for n in range(count):
            value, g, H = distance(numbers, 1, ti.Vector([y[3 * n + i] for i in range(3)]), True)
            phi[n] = value
            for i in ti.static(range(3)):
                gradient[3 * n + i] = g[i]
                for j in ti.static(range(3)):
                    hessian[9 * n + 3 * i + j] = H[i, j]

    return evaluate
