"""The outer product x_i y_k, which NumPy's broadcasting does row by row with more ado than work."""

import numpy as np

from geonet.kernels.blocks import compilable
from geonet.kernels.jit import lazy_jit


def outer(x, y):
    """x (N,) and y (O,) -> x_i y_k (N, O). float32 and float64 run compiled."""
    if x.dtype != y.dtype or not compilable(x, y):
        return np.multiply.outer(x, y)
    product = np.empty((x.size, y.size), x.dtype)
    _outer(np.ascontiguousarray(x), np.ascontiguousarray(y), product)
    return product


@lazy_jit
def _outer(x, y, product):
    for i in range(x.size):
        for k in range(y.size):
            product[i, k] = x[i] * y[k]
