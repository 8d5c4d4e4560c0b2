"""Convolution as one matrix product for each place of the kernel, on shifted images.

    x      (N, H, W, C)     images                 x[i,j]  (P, C)   the pixels that meet place i, j
    weight (O, kh, kw, C)   filters                w[i,j]  (O, C)
    y, g   (N, H', W', O)   result, and ∂L/∂y      P = N·H'·W'      pixels in a block of images

y = Σᵢⱼ x[i,j] w[i,j]ᵀ, where each product is added at the positions where place i, j meets a pixel
and not padding. So ∂L/∂w[i,j] = gᵀ x[i,j] with the g of those positions, and g w[i,j] is added to
∂L/∂x at the pixels of x[i,j]. Pixels are not copied several times as in im2col, padding costs
nothing, and BLAS is fast for products over many channels. A 1×1 kernel is a single product.
"""

import math

import numpy as np

from geonet import threads
from geonet.kernels import reference
from geonet.kernels.im2col import output_size, stretches
from geonet.kernels.switch import equal_to

BLOCK_SIZE = 2**18  # numbers in a block of x[i,j] or y: 1 MB in float32, to stay in the cache
SHARES = 2  # least number of blocks in a batch
PARTS = 8  # approximate number of parts of ∂L/∂w: the places, times batches if places are few


@equal_to(reference.conv2d)
def forward(x, weight, bias, stride, padding):
    """y (N, H', W', O); bias (O,) or None."""
    size = output_size(x.shape[1:3], weight.shape[1:3], stride, padding)
    y = np.empty((len(x), *size, len(weight)), x.dtype)
    places = _places(weight.shape[1:3], size, x.shape[1:3], stride, padding)

    def convolve(first, last):
        images, block = x[first:last], y[first:last]
        _sum_products(block, ((at, images[of], weight[:, i, j].T) for (i, j), at, of in places))
        if bias is not None:
            block += bias

    work = y.size * weight[0].size
    threads.parallel_for(convolve, stretches(0, len(x), _images(len(x), size, weight)), work)
    return y


@equal_to(reference.conv2d_pullback)
def pullback(g, x, weight, stride, padding, needs):
    """∂L/∂x and ∂L/∂weight, each None unless needed."""
    to_x = _to_x(g, x.shape, weight, stride, padding) if needs[0] else None
    to_weight = _to_weight(g, x, weight, stride, padding) if needs[1] else None
    return to_x, to_weight


def _to_x(g, shape, weight, stride, padding):
    size = g.shape[1:3]
    grad = np.empty(shape, g.dtype)
    places = _places(weight.shape[1:3], size, shape[1:3], stride, padding)

    def pull_back(first, last):
        rows, block = g[first:last], grad[first:last]
        _sum_products(block, ((to, rows[at], weight[:, i, j]) for (i, j), at, to in places))

    work = g.size * weight[0].size
    threads.parallel_for(pull_back, stretches(0, len(g), _images(len(g), size, weight)), work)
    return grad


def _to_weight(g, x, weight, stride, padding):
    size, kernel = g.shape[1:3], weight.shape[1:3]
    batches = threads.ranges(len(x), math.ceil(len(x) * math.prod(kernel) / PARTS) or 1)
    sums = np.zeros((len(batches), *weight.shape), g.dtype)

    def pull_back(own, start, end, i, j):
        positions, pixels = _overlap((i, j), size, x.shape[1:3], stride, padding)
        for first, last in stretches(start, end, _images(len(x), size, weight)):
            rows = _matrix("pixels", x[first:last][pixels])
            block = _matrix("positions", g[first:last][positions])  # (P, O)
            own[:, i, j] += _product(block.T, rows)

    parts = [(own, *batch) for own, batch in zip(sums, batches)]
    parts = [(*part, *place) for part in parts for place in np.ndindex(kernel)]
    threads.parallel_for(pull_back, parts, g.size * weight[0].size)
    return sums[0] if len(sums) == 1 else sums.sum(axis=0)


def _images(count, size, weight):
    """The number of images that have `BLOCK_SIZE` numbers in x[i,j], or in y if that is larger.

    It is at most 1/`SHARES` of the batch, so that threads can share the batch.
    """
    numbers = math.prod(size) * max(len(weight), weight.shape[3])
    return min(BLOCK_SIZE // numbers, math.ceil(count / SHARES))


def _overlap(place, size, image, stride, padding):
    """Where a place of the kernel is inside the image, as two indices for (N, H, W, C) arrays.

    They are the positions of the kernel, out of H' and W', and the pixels that the place meets.
    """
    positions, pixels = [slice(None)], [slice(None)]
    for offset, outputs, length, step, pad in zip(place, size, image, stride, padding):
        first = max(0, math.ceil((pad - offset) / step))  # first · step + offset − pad ≥ 0
        last = max(first, min(outputs, math.ceil((length + pad - offset) / step)))
        start = first * step + offset - pad
        positions.append(slice(first, last))
        pixels.append(slice(start, start + (last - first) * step, step))
    return tuple(positions), tuple(pixels)


def _places(kernel, size, image, stride, padding):
    """(place, positions, pixels) of all places of the kernel, in order of decreasing overlap."""
    found = [(ij, *_overlap(ij, size, image, stride, padding)) for ij in np.ndindex(kernel)]
    return sorted(found, key=lambda f: -math.prod(s.stop - s.start for s in f[1][1:]))


def _sum_products(total, terms):
    """total (N, H, W, O) = Σ images · factor for terms (where in total, images, factor (C, O))."""
    for number, (where, images, factor) in enumerate(terms):
        matrix, part = _matrix("pixels", images), total[where]
        if not number and part.shape == total.shape:
            np.matmul(matrix, factor, out=total.reshape(len(matrix), -1))
            continue
        if not number:
            total[...] = 0
        part += _product(matrix, factor).reshape(part.shape)


def _product(a, b):
    """The matrix product in scratch memory."""
    return np.matmul(a, b, out=threads.scratch("product", (len(a), b.shape[1]), a.dtype))


def _matrix(name, images):
    """(N, h, w, C) as (P, C): a view if they are contiguous, otherwise in scratch memory."""
    if not images.flags.c_contiguous:
        copy = threads.scratch(name, images.shape, images.dtype)
        copy[...] = images
        images = copy
    return images.reshape(-1, images.shape[3])
