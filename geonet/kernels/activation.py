"""ReLU, and bias, ReLU and scale of a layer in one pass: y = r max(z + b, 0), and the pullbacks.

    z, g, grad   (N, O)    units last
    bias, scale  (O,)      b and r
    y            (N, O)

The pullback of g = ∂L/∂y, with a = 1 where z + b > 0 and 0 elsewhere:
∂L/∂z = g r a, ∂L/∂b = Σ g r a, ∂L/∂r = Σ g a (z + b), sums over N.

If each column of y is centred (its mean over N subtracted), the same holds with g centred.
"""

import numpy as np

from geonet.kernels import reference
from geonet.kernels.blocks import column_sums, for_blocks
from geonet.kernels.normalization import mean
from geonet.kernels.switch import equal_to, lazy_jit


@equal_to(reference.scaled_relu, arrays=3)
def scaled_relu(z, bias, scale):
    """y (N, O). float32 and float64 run compiled, on threads where z is large."""
    y = np.empty_like(z)
    for_blocks(_forward, z, bias, scale, y)
    return y


@equal_to(reference.scaled_relu_pullback, arrays=4)
def scaled_relu_pullback(g, z, bias, scale):
    """∂L/∂z (N, O), ∂L/∂b (O,) and ∂L/∂r (O,); sums are in float64, then rounded."""
    grad = np.empty_like(z)
    sums = column_sums(2, _backward, z, g, bias, scale, grad)
    return grad, *sums.astype(z.dtype, copy=False)


@equal_to(reference.centred_scaled_relu, arrays=3)
def centred_scaled_relu(z, bias, scale):
    """y − mean y (N, O), and mean y (O,) in float64."""
    y = np.empty_like(z)
    (total,) = column_sums(1, _forward_sums, z, bias, scale, y)
    taken = total / len(z)
    for_blocks(_subtract, y, taken)
    return y, taken


@equal_to(reference.centred_scaled_relu_pullback, arrays=4)
def centred_scaled_relu_pullback(g, z, bias, scale):
    """`scaled_relu_pullback` of g − mean g."""
    grad = np.empty_like(z)
    sums = column_sums(2, _backward_centred, z, g, mean(g), bias, scale, grad)
    return grad, *sums.astype(z.dtype, copy=False)


@lazy_jit
def _forward(z, bias, scale, y, first, last):
    zero = z.dtype.type(0)
    for i in range(first, last):
        for k in range(z.shape[1]):
            shifted = z[i, k] + bias[k]
            y[i, k] = scale[k] * (zero if shifted <= 0 else shifted)  # NaN stays NaN


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
def _backward(z, g, bias, scale, grad, sums, first, last):
    for i in range(first, last):
        for k in range(z.shape[1]):
            shifted = z[i, k] + bias[k]
            active = g[i, k] * (shifted > 0)  # a product, because a branch would not be vectorized
            grad[i, k] = active * scale[k]
            sums[0, k] += active * scale[k]
            sums[1, k] += active * shifted


@lazy_jit
def _backward_centred(z, g, level, bias, scale, grad, sums, first, last):
    for i in range(first, last):
        for k in range(z.shape[1]):
            shifted = z[i, k] + bias[k]
            active = z.dtype.type(g[i, k] - level[k]) * (shifted > 0)
            grad[i, k] = active * scale[k]
            sums[0, k] += active * scale[k]
            sums[1, k] += active * shifted


@equal_to(reference.relu, arrays=1)
def relu(x):
    """max(x, 0) for x of any shape. Large arrays are divided among threads."""
    y = np.empty_like(x)
    for_blocks(_relu, x.ravel(), y.ravel())
    return y


@equal_to(reference.relu_pullback, arrays=2)
def relu_pullback(g, y):
    """g where y = relu(x) > 0, and 0 elsewhere."""
    grad = np.empty_like(g)
    for_blocks(_relu_backward, g.ravel(), y.ravel(), grad.ravel())
    return grad


def _relu(x, y, first, last):
    np.maximum(x[first:last], 0, out=y[first:last])


def _relu_backward(g, y, grad, first, last):
    np.multiply(g[first:last], y[first:last] > 0, out=grad[first:last])
