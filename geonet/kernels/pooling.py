"""Max pooling of images, window by window, along the channels.

    x, grad      (N, H, W, C)     channels last
    y, g         (N, H', W', C)   H' = ⌊(H + 2 padding − size)/stride⌋ + 1, W' likewise
    position     (N, H', W', C)   index of the maximum in its window, row by row from 0

Rows and columns that fill no window are left out. Padding counts as −∞. Of equal entries, the first
is the maximum.
"""

import numpy as np

from geonet.kernels import reference
from geonet.kernels.blocks import for_blocks
from geonet.kernels.im2col import output_size
from geonet.kernels.switch import equal_to, lazy_jit


def pooled_shape(shape, size, stride, padding):
    """(N, H', W', C) for images of shape (N, H, W, C)."""
    pairs = ((number, number) for number in (size, stride, padding))
    return shape[0], *output_size(shape[1:3], *pairs), shape[3]


@equal_to(reference.max_pool, arrays=1)
def max_pool(x, size, stride, padding):
    """y and position. float32 and float64 run compiled, large arrays on threads."""
    y = np.empty(pooled_shape(x.shape, size, stride, padding), x.dtype)
    position = np.empty(y.shape, np.min_scalar_type(size * size - 1))
    for_blocks(_max_pool, x, y, position, size, stride, padding)
    return y, position


@equal_to(reference.max_pool_pullback, arrays=1)
def max_pool_pullback(g, position, shape, size, stride, padding):
    """∂L/∂x of this shape: g at the entry that was the maximum."""
    grad = np.empty(shape, g.dtype)
    for_blocks(_max_pool_backward, grad, g, position, size, stride, padding)
    return grad


# Compiled: one window after the other -------------------------------------------------------------


@lazy_jit
def _inside(start, size, length):
    """First and last + 1 of the entries of a window, along one axis, that are not padding."""
    return max(0, -start), min(size, length - start)


@lazy_jit
def _max_pool(x, y, position, size, stride, padding, first, last):
    _, height, width, channels = x.shape
    y[first:last], position[first:last] = -np.inf, 0
    for n in range(first, last):
        for i in range(y.shape[1]):
            top = i * stride - padding
            for j in range(y.shape[2]):
                left = j * stride - padding
                largest, where = y[n, i, j], position[n, i, j]
                for row in range(*_inside(top, size, height)):
                    for column in range(*_inside(left, size, width)):
                        entry = x[n, top + row, left + column]
                        k = where.dtype.type(row * size + column)
                        for c in range(channels):
                            larger = not entry[c] <= largest[c] and largest[c] == largest[c]
                            largest[c] = entry[c] if larger else largest[c]
                            where[c] = k if larger else where[c]


@lazy_jit
def _max_pool_backward(grad, g, position, size, stride, padding, first, last):
    _, height, width, channels = grad.shape
    for n in range(first, last):
        grad[n] = 0  # image by image, so that it stays in the cache until gradients are added
        for i in range(g.shape[1]):
            top = i * stride - padding
            for j in range(g.shape[2]):
                left = j * stride - padding
                passed, where = g[n, i, j], position[n, i, j]
                for row in range(*_inside(top, size, height)):
                    for column in range(*_inside(left, size, width)):
                        entry = grad[n, top + row, left + column]
                        k = where.dtype.type(row * size + column)
                        for c in range(channels):
                            entry[c] += passed[c] * (where[c] == k)
