"""Bias, ReLU and scale of a layer in one pass: y = r max(z + b, 0), and its pullback.

    z, g, grad   (N, O)    units last and contiguous
    bias, scale  (O,)      b and r
    y            (N, O)

The pullback of g = ∂L/∂y, with a = 1 where z + b > 0 and 0 elsewhere:
∂L/∂z = g r a, ∂L/∂b = Σ g r a, ∂L/∂r = Σ g a (z + b), sums over N.
"""

import numpy as np

from geonet.kernels.jit import lazy_jit


def scaled_relu_numpy(z, bias, scale):
    """y (N, O)."""
    shifted = z + bias
    return scale * np.where(shifted.real <= 0, 0, shifted)


def scaled_relu_pullback_numpy(g, z, bias, scale):
    """∂L/∂z (N, O), ∂L/∂b (O,) and ∂L/∂r (O,)."""
    shifted = z + bias
    active = shifted.real > 0
    grad = g * scale * active
    return grad, grad.sum(axis=0), (g * active * shifted).sum(axis=0)


@lazy_jit
def scaled_relu(z, bias, scale):
    """`scaled_relu_numpy` in one pass."""
    (rows, units), zero = z.shape, z.dtype.type(0)
    y = np.empty_like(z)
    for i in range(rows):
        for k in range(units):
            shifted = z[i, k] + bias[k]
            y[i, k] = scale[k] * (zero if shifted <= 0 else shifted)  # NaN stays NaN
    return y


@lazy_jit
def scaled_relu_pullback(g, z, bias, scale):
    """`scaled_relu_pullback_numpy` in one pass."""
    (rows, units), zero = z.shape, z.dtype.type(0)
    grad = np.empty_like(z)
    to_bias, to_scale = np.zeros(units), np.zeros(units)  # float64: they sum over many rows
    for i in range(rows):
        for k in range(units):
            shifted = z[i, k] + bias[k]
            active = g[i, k] if shifted > 0 else zero
            grad[i, k] = active * scale[k]
            to_bias[k] += active * scale[k]
            to_scale[k] += active * shifted
    return grad, to_bias.astype(z.dtype), to_scale.astype(z.dtype)
