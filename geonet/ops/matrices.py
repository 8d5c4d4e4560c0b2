"""Products of matrices, and the affine map of a layer.

g = ∂L/∂y is the gradient of the result; the arrow shows what the pullback makes of it.
"""

import math

import numpy as np

from geonet.kernels import outer_product as kernel
from geonet.tensor import primitive


def _matrices(rng):
    shapes = [((3, 4), (4, 2)), ((4,), (4,)), ((4,), (4, 2)), ((3, 4), (4,))]
    batched = [((5, 3, 4), (4, 2)), ((5, 1, 3, 4), (2, 4, 2)), ((4,), (5, 4, 2)), ((5, 3, 4), (4,))]
    return [((rng.normal(size=a), rng.normal(size=b)), {}) for a, b in shapes + batched]


@primitive(samples=_matrices)
def matmul(x, y):
    """Matrix product x y with leading batch dimensions, as in NumPy. g → g yᵀ, xᵀ g."""
    if x.shape[-1:] != y.shape[-2:][:1] or not x.ndim:
        raise ValueError(
            f"matmul: x has shape {x.shape} and y has shape {y.shape}, but inner sizes must agree"
        )
    vector_x, vector_y = x.ndim == 1, y.ndim == 1
    rows = x[None, :] if vector_x else x  # (..., N, k)
    columns = y[:, None] if vector_y else y  # (..., k, M)

    def as_matrix(g):  # the gradient with an axis of length 1 for each vector
        g = g[..., None] if vector_y else g
        return g[..., None, :] if vector_x else g

    def to_x(g):
        gradient = as_matrix(g) @ columns.swapaxes(-1, -2)
        return gradient[..., 0, :] if vector_x else gradient

    def to_y(g):
        gradient = rows.swapaxes(-1, -2) @ as_matrix(g)
        return gradient[..., 0] if vector_y else gradient

    return x @ y, (to_x, to_y)


def _affine_maps(rng):
    x, weight, bias = rng.normal(size=(5, 3)), rng.normal(size=(2, 3)), rng.normal(size=2)
    return [((x, weight, bias), {}), ((x, weight), {}), ((x.reshape(5, 1, 3), weight, bias), {})]


def _product(x, y):
    """x y (..., O). An inner size of 1 is not left to BLAS, which is slow there."""
    if x.shape[-1] != 1:
        return x @ y
    return kernel.outer(x.reshape(-1), y[0]).reshape(*x.shape[:-1], y.shape[1])


def _transposed_product(g, x):
    """gᵀ x for g (N, O) and x (N, n).

    Up to 10⁶ multiplications OpenBLAS uses a kernel that is twice as fast. So tall and thin
    matrices are halved if that makes them small enough.
    """
    tall = len(x) >= 8 * max(g.shape[1], x.shape[1])
    if not tall or not 10**6 < g.size * x.shape[1] <= 2 * 10**6:
        return g.T @ x
    half = len(x) // 2
    return g[:half].T @ x[:half] + g[half:].T @ x[half:]


@primitive(samples=_affine_maps)
def linear(x, weight, bias=None):
    """Affine map of rows, x Wᵀ + b: x (..., n), weight (O, n), bias (O,) -> (..., O).
    g → g W, gᵀ x, g."""
    if not x.ndim or weight.ndim != 2 or x.shape[-1] != weight.shape[-1]:
        raise ValueError(f"linear: x has shape {x.shape}, so weight must be (O, n) with the same "
                         f"last length, but has {weight.shape}")  # fmt: skip
    if bias is not None and bias.shape != weight.shape[:1]:  # (O, 1) would broadcast if N = O
        raise ValueError(f"linear: bias has shape {bias.shape}, but weight {weight.shape} needs "
                         f"{weight.shape[:1]}")  # fmt: skip
    value = _product(x, weight.T)
    if bias is not None:  # in place, unless only the bias is complex
        value = np.add(value, bias, out=value if value.dtype == bias.dtype else None)

    def to_weight(g):
        # NumPy cannot tell the number of rows if there are no features
        rows = len(x) if x.ndim == 2 else math.prod(x.shape[:-1])
        units, features = weight.shape
        return _transposed_product(g.reshape(rows, units), x.reshape(rows, features))

    return value, (lambda g: _product(g, weight), to_weight, lambda g: g)
