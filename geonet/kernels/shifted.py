"""Convolution as one matrix product for each place of the kernel, on images shifted by it.

    x      (N, H, W, C)     images                 x[i,j]  (P, C)   the pixels that meet place i, j
    weight (O, kh, kw, C)   filters                w[i,j]  (O, C)
    y, g   (N, H', W', O)   result, and ∂L/∂y      P = N·H'·W'      pixels in a block of images

y = Σᵢⱼ x[i,j] w[i,j]ᵀ, where x[i,j] is 0 outside the image. So ∂L/∂w[i,j] = gᵀ x[i,j], and
g w[i,j] is added to ∂L/∂x where the pixels of x[i,j] are. No pixel is stored several times as in
im2col, and products over many channels are what BLAS does best; a 1×1 kernel is but one of them.
"""

import math

import numpy as np

from geonet.kernels import threads
from geonet.kernels.im2col import output_size, stretches

BLOCK_SIZE = 2**18  # numbers in a block of x[i,j] or y: 1 MB in float32, to stay in the cache
PARTS = 8  # of the work on ∂L/∂w, about: the places, of several batches if there are few places


def forward(x, weight, bias, stride, padding):
    """y (N, H', W', O); bias (O,) or None."""
    size = output_size(x.shape[1:3], weight.shape[1:3], stride, padding)
    y = np.empty((len(x), *size, len(weight)), x.dtype)

    def convolve(first, last):
        block = y[first:last].reshape(-1, len(weight))  # (P, O)
        for i, j in np.ndindex(weight.shape[1:3]):
            pixels = _pixels(x[first:last], (i, j), size, stride, padding)
            if i == j == 0:
                np.matmul(pixels, weight[:, i, j].T, out=block)
            else:
                block += _product(pixels, weight[:, i, j].T, y.dtype)
        if bias is not None:
            block += bias

    threads.spread(convolve, stretches(0, len(x), _images(size, weight)))
    return y


def pullback(g, x, weight, stride, padding, needs):
    """∂L/∂x and ∂L/∂weight, each None unless needed."""
    to_x = _to_x(g, x.shape, weight, stride, padding) if needs[0] else None
    to_weight = _to_weight(g, x, weight, stride, padding) if needs[1] else None
    return to_x, to_weight


def _to_x(g, shape, weight, stride, padding):
    size = g.shape[1:3]
    grad = np.zeros(shape, g.dtype)

    def pull_back(first, last):
        block = g[first:last].reshape(-1, len(weight))  # (P, O)
        for i, j in np.ndindex(weight.shape[1:3]):
            places, pixels = _overlap((i, j), size, shape[1:3], stride, padding)
            product = _product(block, weight[:, i, j], grad.dtype)
            grad[first:last][pixels] += product.reshape(-1, *size, shape[3])[places]

    threads.spread(pull_back, stretches(0, len(g), _images(size, weight)))
    return grad


def _to_weight(g, x, weight, stride, padding):
    size, kernel = g.shape[1:3], weight.shape[1:3]
    batches = threads.ranges(len(x), math.ceil(len(x) * math.prod(kernel) / PARTS) or 1)
    sums = np.zeros((len(batches), *weight.shape), g.dtype)

    def pull_back(own, start, end, i, j):
        for first, last in stretches(start, end, _images(size, weight)):
            pixels = _pixels(x[first:last], (i, j), size, stride, padding)
            block = g[first:last].reshape(-1, len(weight))  # (P, O)
            own[:, i, j] += _product(block.T, pixels, g.dtype)

    parts = [(own, *batch) for own, batch in zip(sums, batches)]
    threads.spread(pull_back, [(*part, *place) for part in parts for place in np.ndindex(kernel)])
    return sums[0] if len(sums) == 1 else sums.sum(axis=0)


def _images(size, weight):
    """How many images have `BLOCK_SIZE` numbers in x[i,j], or in y if that is larger."""
    return BLOCK_SIZE // (math.prod(size) * max(len(weight), weight.shape[3]))


def _product(a, b, dtype):
    """The matrix product in scratch memory."""
    return np.matmul(a, b, out=threads.scratch("product", (len(a), b.shape[1]), dtype))


def _overlap(place, size, image, stride, padding):
    """Where a place of the kernel lies within the image, as two indices for (N, H, W, C) arrays:
    the positions of the kernel, out of H' and W', and the pixels that the place meets there."""
    positions, pixels = [slice(None)], [slice(None)]
    for offset, outputs, length, step, pad in zip(place, size, image, stride, padding):
        first = max(0, math.ceil((pad - offset) / step))  # first · step + offset − pad ≥ 0
        last = max(first, min(outputs, math.ceil((length + pad - offset) / step)))
        start = first * step + offset - pad
        positions.append(slice(first, last))
        pixels.append(slice(start, start + (last - first) * step, step))
    return tuple(positions), tuple(pixels)


def _pixels(x, place, size, stride, padding):
    """x[i,j] (P, C): a view if it is all of x, else in scratch memory."""
    positions, pixels = _overlap(place, size, x.shape[1:3], stride, padding)
    shape = len(x), *size, x.shape[3]
    found = x[pixels]
    if found.shape != shape or not found.flags.c_contiguous:
        found = threads.scratch("pixels", shape, x.dtype)
        found[...] = 0
        found[positions] = x[pixels]
    return found.reshape(-1, x.shape[3])
