"""Convolution as one matrix product: every window of the images becomes a row of numbers.

    x      (N, H, W, C)     images                    P = N·H'·W'   windows in a block of images
    weight (O, kh, kw, C)   filters                   K = kh·kw·C   numbers in a window
    y, g   (N, H', W', O)   result, and ∂L/∂y

With rows X (P, K) and filters F (O, K) the result is X Fᵀ. So ∂L/∂F = gᵀ X, and ∂L/∂X = g F is
added to ∂L/∂x at the places of the windows, which may overlap. This is the plain form of a
convolution, against which the others are tested. It is the fastest one if windows are small.
"""

import math

import numpy as np

from geonet import threads
from geonet.kernels import reference
from geonet.kernels.switch import equal_to

BLOCK_SIZE = 2**19  # numbers in the rows of a block: 2 MB in float32, about the size of a cache
PARTS = 8  # of a batch, each with its own sum of ∂L/∂F


def output_size(image, kernel, stride, padding):
    """(H', W'), where H' = ⌊(H + 2p − kh)/s⌋ + 1. The arguments are pairs."""
    sizes = zip(image, kernel, stride, padding)
    return tuple((length + 2 * pad - side) // step + 1 for length, side, step, pad in sizes)


def stretches(first, last, images):
    """Pairs (first, last) of ranges of nearly equal length, with at most `images` images each.

    If `images` is below 1, each range has one image.
    """
    count = math.ceil((last - first) / max(1, images)) or 1
    ranges = threads.ranges(last - first, math.ceil((last - first) / count) or 1)
    return [(first + start, first + end) for start, end in ranges]


@equal_to(reference.conv2d)
def forward(x, weight, bias, stride, padding):
    """y (N, H', W', O); bias (O,) or None."""
    kernel, filters = weight.shape[1:3], weight.reshape(len(weight), -1)
    size = output_size(x.shape[1:3], kernel, stride, padding)
    y = np.empty((len(x), *size, len(filters)), x.dtype)

    def convolve(first, last):
        block = y[first:last].reshape(-1, len(filters))  # (P, O)
        np.matmul(_rows(x[first:last], kernel, stride, padding), filters.T, out=block)
        if bias is not None:
            block += bias

    work = y.size * filters.shape[1]
    threads.parallel_for(convolve, stretches(0, len(x), _images(size, filters)), work)
    return y


@equal_to(reference.conv2d_pullback)
def pullback(g, x, weight, stride, padding, needs):
    """∂L/∂x and ∂L/∂weight, each None unless needed."""
    to_x = _to_x(g, x.shape, weight, stride, padding) if needs[0] else None
    to_weight = _to_weight(g, x, weight, stride, padding) if needs[1] else None
    return to_x, to_weight


def _to_x(g, shape, weight, stride, padding):
    kernel, filters = weight.shape[1:3], weight.reshape(len(weight), -1)
    grad = np.empty(shape, g.dtype)

    def pull_back(first, last):
        framed, images = _frame(grad[first:last].shape, padding, grad.dtype)
        windows = reference.windows(framed, kernel, stride)
        rows = threads.scratch("rows", windows.shape, grad.dtype)
        block = g[first:last].reshape(-1, len(filters))  # (P, O)
        np.matmul(block, filters, out=rows.reshape(len(block), -1))
        for i, j in np.ndindex(kernel):  # entries i, j of different windows never overlap
            windows[:, :, :, i, j] += rows[:, :, :, i, j]
        grad[first:last] = images

    work = g.size * filters.shape[1]
    threads.parallel_for(pull_back, stretches(0, len(g), _images(g.shape[1:3], filters)), work)
    return grad


def _to_weight(g, x, weight, stride, padding):
    kernel, filters = weight.shape[1:3], weight.reshape(len(weight), -1)
    parts = threads.ranges(len(x), math.ceil(len(x) / PARTS) or 1)
    sums = np.zeros((len(parts), *filters.shape), g.dtype)

    def pull_back(own, start, end):
        for first, last in stretches(start, end, _images(g.shape[1:3], filters)):
            block = g[first:last].reshape(-1, len(filters))  # (P, O)
            own += block.T @ _rows(x[first:last], kernel, stride, padding)

    parts = [(own, *part) for own, part in zip(sums, parts)]
    threads.parallel_for(pull_back, parts, g.size * filters.shape[1])
    return sums.sum(axis=0).reshape(weight.shape)


def _images(size, filters):
    """The number of images that have `BLOCK_SIZE` numbers in their rows."""
    return BLOCK_SIZE // (math.prod(size) * filters.shape[1])


def _frame(shape, padding, dtype):
    """Zeros for images of this shape with padding around them, and the view without padding."""
    images, height, width, channels = shape
    top, left = padding
    framed = threads.scratch(
        "framed", (images, height + 2 * top, width + 2 * left, channels), dtype
    )
    framed[...] = 0
    return framed, framed[:, top : top + height, left : left + width]


def _rows(x, kernel, stride, padding):
    """The windows of images one after the other, (P, K), in scratch memory."""
    framed, images = _frame(x.shape, padding, x.dtype)
    images[...] = x
    windows = reference.windows(framed, kernel, stride)
    rows = threads.scratch("rows", windows.shape, x.dtype)
    rows[...] = windows
    return rows.reshape(math.prod(windows.shape[:3]), -1)
