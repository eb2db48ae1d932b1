"""The kernels' signed distance of a shape, at many points."""

import numpy as np
import torch

from diffsim import runtime
from diffsim.scene.shapes.distance_kinds import distance_class
from diffsim.scene.shapes.shape import Shape
from diffsim.tools.distance_kernels import distance_kernels


def kernel_distance(shape: Shape, points: np.ndarray, precision: str = "f64") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distance (N,), gradient (N, 3) and Hessian (N, 3, 3) at points (N, 3)."""
    runtime.start("cpu")
    evaluate = runtime.compiled(distance_kernels, distance_class(shape), precision)
    dtype = {"f32": torch.float32, "f64": torch.float64}[precision]
    count = len(points)
    numbers = torch.tensor(np.concatenate([[0.0], shape.kernel_numbers()]), dtype=dtype)
    results = [torch.zeros(count * size, dtype=dtype) for size in (1, 3, 9)]
    evaluate(count, numbers, torch.tensor(points, dtype=dtype).reshape(-1), *results)
    return results[0].numpy(), results[1].reshape(-1, 3).numpy(), results[2].reshape(-1, 3, 3).numpy()
