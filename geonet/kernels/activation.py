"""ReLU, and bias, ReLU and scale of a layer in one pass: y = r max(z + b, 0), and the pullbacks.

    z, g, grad   (N, O)    units last
    bias, scale  (O,)      b and r
    y            (N, O)

The pullback of g = ∂L/∂y, with a = 1 where z + b > 0 and 0 elsewhere:
∂L/∂z = g r a, ∂L/∂b = Σ g r a, ∂L/∂r = Σ g a (z + b), sums over N.

Centred, each column of y less its mean over N, the same holds with g less its mean over N.
"""

import numpy as np

from geonet.kernels.blocks import BLOCK_SIZE, blocks, column_sums, compilable, spread_blocks
from geonet.kernels.jit import lazy_jit
from geonet.kernels.normalization import mean
from geonet.threads import spread


def scaled_relu(z, bias, scale):
    """y (N, O). float32 and float64 run compiled, on threads where z is large."""
    if not compilable(z, bias, scale):
        return scaled_relu_numpy(z, bias, scale)
    z, bias, scale = map(np.ascontiguousarray, (z, bias, scale))
    y = np.empty_like(z)
    spread_blocks(_forward, z, bias, scale, y)
    return y


def scaled_relu_pullback(g, z, bias, scale):
    """∂L/∂z (N, O), ∂L/∂b (O,) and ∂L/∂r (O,), their sums in float64 before they are rounded."""
    if not compilable(g, z, bias, scale):
        return scaled_relu_pullback_numpy(g, z, bias, scale)
    g, z, bias, scale = map(np.ascontiguousarray, (g, z, bias, scale))
    grad = np.empty_like(z)
    sums = column_sums(2, _backward, z, g, bias, scale, grad)
    return grad, *sums.astype(z.dtype, copy=False)


def centred_scaled_relu(z, bias, scale):
    """y − mean y (N, O), and mean y (O,) in float64."""
    if not compilable(z, bias, scale):
        return centred_scaled_relu_numpy(z, bias, scale)
    z, bias, scale = map(np.ascontiguousarray, (z, bias, scale))
    y = np.empty_like(z)
    (total,) = column_sums(1, _forward_sums, z, bias, scale, y)
    taken = total / len(z)
    spread_blocks(_subtract, y, taken)
    return y, taken


def centred_scaled_relu_pullback(g, z, bias, scale):
    """`scaled_relu_pullback` of g less its mean."""
    if not compilable(g, z, bias, scale):
        return centred_scaled_relu_pullback_numpy(g, z, bias, scale)
    g, z, bias, scale = map(np.ascontiguousarray, (g, z, bias, scale))
    grad = np.empty_like(z)
    sums = column_sums(2, _backward_centred, z, g, mean(g), bias, scale, grad)
    return grad, *sums.astype(z.dtype, copy=False)


def centred_scaled_relu_numpy(z, bias, scale):
    """`centred_scaled_relu` in plain NumPy."""
    y = scaled_relu_numpy(z, bias, scale)
    taken = y.mean(axis=0, dtype=np.result_type(y, np.float64))
    return (y - taken).astype(y.dtype), taken


def centred_scaled_relu_pullback_numpy(g, z, bias, scale):
    """`centred_scaled_relu_pullback` in plain NumPy."""
    centred = g - g.mean(axis=0, dtype=np.result_type(g, np.float64))
    return scaled_relu_pullback_numpy(centred.astype(g.dtype), z, bias, scale)


def scaled_relu_numpy(z, bias, scale):
    """`scaled_relu` in plain NumPy."""
    shifted = z + bias
    return scale * np.where(shifted.real <= 0, 0, shifted)


def scaled_relu_pullback_numpy(g, z, bias, scale):
    """`scaled_relu_pullback` in plain NumPy."""
    shifted = z + bias
    active = g * (shifted.real > 0)
    grad = active * scale
    return grad, grad.sum(axis=0), (active * shifted).sum(axis=0)


@lazy_jit
def _forward(z, bias, scale, y, first, last):
    zero = z.dtype.type(0)
    for i in range(first, last):
        for k in range(z.shape[1]):
            shifted = z[i, k] + bias[k]
            y[i, k] = scale[k] * (zero if shifted <= 0 else shifted)  # NaN stays NaN


@lazy_jit
def _backward(z, g, bias, scale, grad, sums, first, last):
    for i in range(first, last):
        for k in range(z.shape[1]):
            shifted = z[i, k] + bias[k]
            active = g[i, k] * (shifted > 0)  # a product, since a choice would not be vectorized
            grad[i, k] = active * scale[k]
            sums[0, k] += active * scale[k]
            sums[1, k] += active * shifted


@lazy_jit
def _forward_sums(z, bias, scale, y, sums, first, last):
    zero = z.dtype.type(0)
    for i in range(first, last):
        for k in range(z.shape[1]):
            shifted = z[i, k] + bias[k]
            y[i, k] = scale[k] * (zero if shifted <= 0 else shifted)
            sums[0, k] += y[i, k]


@lazy_jit
def _subtract(y, taken, first, last):
    for i in range(first, last):
        for k in range(y.shape[1]):
            y[i, k] -= taken[k]


@lazy_jit
def _backward_centred(z, g, level, bias, scale, grad, sums, first, last):
    for i in range(first, last):
        for k in range(z.shape[1]):
            shifted = z[i, k] + bias[k]
            active = z.dtype.type(g[i, k] - level[k]) * (shifted > 0)
            grad[i, k] = active * scale[k]
            sums[0, k] += active * scale[k]
            sums[1, k] += active * shifted


def relu(x):
    """max(x, 0) for x of any shape; NaN stays NaN. Large arrays go to threads."""
    if np.iscomplexobj(x):
        return np.where(x.real > 0, x, 0)
    if np.size(x) <= BLOCK_SIZE:
        return np.maximum(x, 0)
    flat = np.ascontiguousarray(x).reshape(-1)
    y = np.empty_like(flat)
    spread(lambda first, last: np.maximum(flat[first:last], 0, out=y[first:last]), blocks(flat))
    return y.reshape(x.shape)


def relu_pullback(g, y):
    """g where y = relu(x) is above 0, elsewhere 0; x itself is not needed."""
    if y.size <= BLOCK_SIZE or not compilable(g, y):
        return g * (y.real > 0)
    flat_g, flat_y = (np.ascontiguousarray(array).reshape(-1) for array in (g, y))
    grad = np.empty_like(flat_g)

    def pull_back(first, last):
        np.multiply(flat_g[first:last], flat_y[first:last] > 0, out=grad[first:last])

    spread(pull_back, blocks(flat_g))
    return grad.reshape(g.shape)
