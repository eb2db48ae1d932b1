"""The kernels' signed distance of a shape, at many points."""

import numpy as np
import torch

from diffsim import runtime
from diffsim.compiler import ti
from diffsim.scene.shapes.distance_kinds import distance_class
from diffsim.scene.shapes.shape import Shape


def _kernels(owner, precision):
    real = {"f32": ti.f32, "f64": ti.f64}[precision]
    distance = owner.distance_kernel(real)
    Reals = ti.types.ndarray(dtype=real, ndim=1)

    @ti.kernel
    def evaluate(count: ti.i32, numbers: Reals, y: Reals, phi: Reals, gradient: Reals, hessian: Reals):
        for n in range(count):
            value, g, H = distance(numbers, 1, ti.Vector([y[3 * n], y[3 * n + 1], y[3 * n + 2]]), True)
            phi[n] = value
            for i in ti.static(range(3)):
                gradient[3 * n + i] = g[i]
                for j in ti.static(range(3)):
                    hessian[9 * n + 3 * i + j] = H[i, j]

    return evaluate


def kernel_distance(shape: Shape, points: np.ndarray, precision: str = "f64") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distance (N,), gradient (N, 3) and Hessian (N, 3, 3) at points (N, 3)."""
    runtime.start("cpu")
    evaluate = runtime.compiled(_kernels, distance_class(shape), precision)
    dtype = {"f32": torch.float32, "f64": torch.float64}[precision]
    count = len(points)
    numbers = torch.tensor(np.concatenate([[0.0], shape.kernel_numbers()]), dtype=dtype)
    results = [torch.zeros(count * size, dtype=dtype) for size in (1, 3, 9)]
    evaluate(count, numbers, torch.tensor(points, dtype=dtype).reshape(-1), *results)
    return results[0].numpy(), results[1].reshape(-1, 3).numpy(), results[2].reshape(-1, 3, 3).numpy()
