"""The types of the arrays that the rasterizer's kernels take, and how they read vectors from them."""

# Taichi reads its own types from the annotations:
# mypy: ignore-errors

from diffsim.compiler import ti

Array1 = ti.types.ndarray(dtype=ti.f32, ndim=1)
Array2 = ti.types.ndarray(dtype=ti.f32, ndim=2)
Array3 = ti.types.ndarray(dtype=ti.f32, ndim=3)
Array4 = ti.types.ndarray(dtype=ti.f32, ndim=4)
Ints1 = ti.types.ndarray(dtype=ti.i32, ndim=1)
Ints2 = ti.types.ndarray(dtype=ti.i32, ndim=2)
Bytes1 = ti.types.ndarray(dtype=ti.u8, ndim=1)
Bytes3 = ti.types.ndarray(dtype=ti.u8, ndim=3)
vec3 = ti.types.vector(3, ti.f32)


@ti.func
def vector_at(table: ti.template(), offset: ti.template()) -> vec3:
    """The three numbers of a flat array from an offset on."""
    return vec3(table[offset], table[offset + 1], table[offset + 2])


@ti.func
def vector_of(table: ti.template(), row: ti.i32, offset: ti.template()) -> vec3:
    """The three numbers of an array's row from an offset on."""
    return vec3(table[row, offset], table[row, offset + 1], table[row, offset + 2])


@ti.func
def unit(v: vec3) -> vec3:
    """The vector scaled to the length 1; zero stays zero."""
    return v / ti.sqrt(v.dot(v) + 1e-20)
