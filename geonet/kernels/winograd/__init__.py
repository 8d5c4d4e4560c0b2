"""Convolution with 3×3 kernels and stride 1 by Winograd's minimal filtering, F(4×4, 3×3).

The steps and their matrices are those of `geonet.kernels.reference.winograd`. Here the arrays of
the 36 frequencies are V (36, T, C), U (36, C, O) and M (36, T, O) for T tiles. One transform of g
serves both gradients: ∂L/∂U = Vᵀ ∂L/∂M and ∂L/∂V = ∂L/∂M Uᵀ with ∂L/∂M = A g Aᵀ.

The interpolation points are 0, ±√½, ±√2 and ∞. The powers of the usual points 0, ±1, ±2 and ∞ are
further apart, which makes the error in float32 five times as large (Barabasz et al. 2020, "Error
analysis and improving the accuracy of Winograd convolution for deep neural networks").

Memory access takes more time than the arithmetic of the transforms. So each thread takes a few
images at a time through all steps, in scratch arrays that stay in the cache. A transform takes
`LANES` channels at a time, contiguous in memory, through its own buffers: arrays are
(..., blocks, LANES).
"""

import math

import numpy as np

from geonet import threads
from geonet.kernels import reference
from geonet.kernels.im2col import output_size
from geonet.kernels.switch import equal_to
from geonet.kernels.winograd import transforms as compiled
from geonet.kernels.winograd.transforms import LANES

TILES = 128  # approximate number of tiles that go through all steps at a time
WORK = 32  # multiplications that take as long as a transform step takes per number


@equal_to(reference.conv2d, arrays=2)
def forward(x, weight, bias, stride, padding):
    """y (N, H', W', O) of x (N, H, W, C), weight (O, 3, 3, C), bias (O,) or None; stride (1, 1)."""
    units = len(weight)
    shape = len(x), *output_size(x.shape[1:3], (3, 3), stride, padding), units
    x, weight = _in_lanes(x), _fill(_fill(weight, 3), 0)
    y = np.empty((*shape[:3], len(weight) // LANES, LANES), x.dtype)
    offset = _in_lanes(np.zeros(units, x.dtype) if bias is None else bias)
    u = _transformed(weight.transpose(3, 1, 2, 0))  # (36, C, O)

    def some_images(part, tiles):
        v = _frequencies("v", tiles, x.shape[3], x.dtype)
        m = _frequencies("m", tiles, y.shape[3], x.dtype)
        compiled.transform_input(x[part], v, shape[1], shape[2], *padding)
        np.matmul(_matrices(v, tiles), u, out=_matrices(m, tiles))
        compiled.transform_output(m, offset, y[part])

    threads.parallel_for(some_images, _parts(shape), math.prod(shape) * weight[0].size)
    return _out_of_lanes(y, units)


@equal_to(reference.conv2d_pullback, arrays=3)
def pullback(g, x, weight, stride, padding, needs):
    """∂L/∂x and ∂L/∂weight for g = ∂L/∂y, each None unless needed.

    Each thread sums ∂L/∂w over its own images, so the last digits of ∂L/∂weight depend on the
    number of threads.
    """
    shape, units, channels = g.shape, len(weight), x.shape[-1]
    x, g, weight = _in_lanes(x), _in_lanes(g), _fill(_fill(weight, 3), 0)
    u = _transformed(weight) if needs[0] else None  # (36, O, C)
    grad = np.empty_like(x) if needs[0] else None
    parts = _parts(shape)
    shares = threads.shares(len(parts))
    halves = np.zeros((len(shares), len(weight), 18, *x.shape[3:]), x.dtype)  # ∂L/∂U G by share

    def some_images(half, first, last):
        for part, tiles in parts[first:last]:
            v = _frequencies("v", tiles, x.shape[3], x.dtype)
            m = _frequencies("m", tiles, g.shape[3], x.dtype)
            compiled.transform_gradient(g[part], m)
            if needs[1]:
                compiled.transform_input(x[part], v, shape[1], shape[2], *padding)
                _add_half(_matrices(m, tiles), _matrices(v, tiles), half)
            if needs[0]:
                np.matmul(_matrices(m, tiles), u, out=_matrices(v, tiles))
                compiled.transform_input_back(v, grad[part], shape[1], shape[2], *padding)

    work = [(half, *share) for half, share in zip(halves, shares)]
    threads.parallel_for(some_images, work, g.size * weight[0].size)
    to_x = _out_of_lanes(grad, channels) if needs[0] else None
    return to_x, _to_weight(halves, units, channels) if needs[1] else None


def _add_half(m, v, half):
    """half ← half + Mᵀ V G.

    It takes one row of the 6×6 frequencies at a time, because all of them need much memory.
    """
    units, blocks = half.shape[0], half.shape[2]
    u = threads.scratch("u", (6, units * blocks + 3, LANES), half.dtype)
    for row in range(6):
        six = slice(6 * row, 6 * row + 6)
        np.matmul(m[six].swapaxes(1, 2), v[six], out=_matrices(u, units))
        compiled.add_half(u, row, half)


def _to_weight(halves, units, channels):
    """∂L/∂w = Gᵀ (∂L/∂U G), summed over the shares: (shares, O, 18, …) -> (O, 3, 3, C)."""
    grad = np.empty((halves.shape[1], 9, *halves.shape[3:]), halves.dtype)

    def some_units(first, last):
        compiled.transform_kernel_back(halves[:, first:last], grad[first:last])

    threads.parallel_for(some_units, threads.shares(len(grad)), WORK * halves.size)
    return _out_of_lanes(grad[:units], channels).reshape(units, 3, 3, channels)


def _fill(x, axis):
    """x with zeros appended along an axis, up to a multiple of LANES."""
    missing = -x.shape[axis] % LANES
    widths = [(0, missing if k == axis else 0) for k in range(x.ndim)]
    return np.pad(x, widths) if missing else x


def _in_lanes(x):
    """(..., C) -> (..., blocks, LANES)."""
    x = np.require(_fill(x, x.ndim - 1), requirements=("C", "W"))
    return x.reshape(*x.shape[:-1], x.shape[-1] // LANES, LANES)


def _out_of_lanes(x, channels):
    return np.ascontiguousarray(x.reshape(*x.shape[:-2], x.shape[-2] * LANES)[..., :channels])


def _parts(shape):
    """The batch in parts of a few images: (slice, number of tiles) of each."""
    tiles = -(-shape[1] // 4) * -(-shape[2] // 4)  # per image
    stretches = threads.ranges(shape[0], max(1, TILES // tiles))
    return [(slice(first, last), (last - first) * tiles) for first, last in stretches]


def _frequencies(name, rows, blocks, dtype):
    """Scratch memory for 36 matrices with this number of rows, (36, rows · blocks + 3, LANES).

    Without the 3, the 36 matrices are often a power of 2 apart, and the cache cannot hold them all.
    """
    return threads.scratch(name, (36, rows * blocks + 3, LANES), dtype)


def _matrices(v, rows):
    """A view of frequencies as matrices (frequencies, rows, channels)."""
    return v[:, : v.shape[1] - 3].reshape(len(v), rows, -1)


def _transformed(weight):
    """U of weight (R, 3, 3, S): (36, R, S)."""
    rows, blocks = len(weight), weight.shape[-1] // LANES
    u = _frequencies("kernels", rows, blocks, weight.dtype)

    def some_rows(first, last):
        lanes = _in_lanes(weight[first:last]).reshape(-1, 9, blocks, LANES)
        compiled.transform_kernel(lanes, u, first * blocks)

    threads.parallel_for(some_rows, threads.shares(rows), WORK * 4 * weight.size)
    return _matrices(u, rows)
