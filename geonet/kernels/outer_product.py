"""The outer product. NumPy's broadcasting computes it row by row, with much overhead per row."""

import numpy as np

from geonet.kernels import reference
from geonet.kernels.switch import equal_to, lazy_jit


@equal_to(reference.outer, arrays=2)
def outer(x, y):
    """x (N,) and y (O,) -> x_i y_k (N, O)."""
    product = np.empty((x.size, y.size), np.result_type(x, y))
    _outer(x, y, product)
    return product


@lazy_jit
def _outer(x, y, product):
    for i in range(x.size):
        for k in range(y.size):
            product[i, k] = x[i] * y[k]
