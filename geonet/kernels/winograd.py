"""Convolution with 3×3 kernels and stride 1 by Winograd's minimal filtering, F(4×4, 3×3).

A 4×4 tile of the output takes 36 products a pair of channels where the plain sum takes 144
(Lavin & Gray 2016, "Fast algorithms for convolutional neural networks", section 4.3):

    V = Bᵀ d B    of every 6×6 tile d of the input; neighbours overlap by 2     (36, T, C)
    U = G w Gᵀ    of every 3×3 kernel w                                         (36, C, O)
    M = V U       for each of the 36 frequencies a matrix product               (36, T, O)
    Y = Aᵀ M A    is a 4×4 tile of the output                                   (T, 4, 4, O)

Every step is linear, so the pullback of g = ∂L/∂Y is made of the transposed steps, and one
transform of g serves both gradients:

    ∂L/∂M = A g Aᵀ,        ∂L/∂U = Vᵀ ∂L/∂M,   ∂L/∂V = ∂L/∂M Uᵀ
    ∂L/∂w = Gᵀ ∂L/∂U G,    ∂L/∂d = B ∂L/∂V Bᵀ, summed where tiles overlap

What costs time is memory, not the transforms' arithmetic. So each thread takes a few images at a
time through all steps, in scratch arrays that stay in the cache, and a transform takes `LANES`
channels, contiguous in memory, through buffers of its own: arrays are (..., blocks, LANES).
"""

import math

import numpy as np

from geonet.kernels import threads
from geonet.kernels.jit import lazy_jit

INPUT = np.array([  # Bᵀ
    [4, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
])  # fmt: skip
KERNEL = np.array([  # G
    [1 / 4, 0, 0],
    [-1 / 6, -1 / 6, -1 / 6],
    [-1 / 6, 1 / 6, -1 / 6],
    [1 / 24, 1 / 12, 1 / 6],
    [1 / 24, -1 / 12, 1 / 6],
    [0, 0, 1],
])  # fmt: skip
OUTPUT = np.array([  # Aᵀ
    [1, 1, 1, 1, 1, 0],
    [0, 1, -1, 2, -2, 0],
    [0, 1, 1, 4, 4, 0],
    [0, 1, -1, 8, -8, 1],
])  # fmt: skip

LANES = 32  # channels that a transform takes at a time
TILES = 128  # tiles that go through all steps at a time, about


def forward(x, weight, bias, stride, padding):
    shape = output_shape(x, weight, padding)
    units = len(weight)
    x, weight = _in_lanes(x), _fill(_fill(weight, 3), 0)
    y = np.empty((*shape[:3], len(weight) // LANES, LANES), x.dtype)
    offset = _in_lanes(np.zeros(units, x.dtype) if bias is None else bias)
    u = _transformed(weight.transpose(3, 1, 2, 0))  # (36, C, O)

    def some_images(first, last):
        for part in _parts(first, last, shape):
            v, m = _scratch("v", x[part], shape), _scratch("m", y[part], shape)
            _transform_input(x[part], v, shape[1], shape[2], *padding)
            np.matmul(_matrix(v), u, out=_matrix(m))
            _transform_output(m, offset, y[part])

    threads.spread(some_images, threads.shares(shape[0]))
    return _out_of_lanes(y, units)


def pullback(g, x, weight, stride, padding, needs):
    shape, units, channels = g.shape, len(weight), x.shape[-1]
    x, g, weight = _in_lanes(x), _in_lanes(g), _fill(_fill(weight, 3), 0)
    u = _transformed(weight) if needs[0] else None  # (36, O, C)
    grad = np.empty_like(x) if needs[0] else None
    shares = threads.shares(shape[0])
    grads = np.zeros((len(shares), len(weight), 9, *x.shape[3:]), x.dtype)  # of weight, by share

    def some_images(share, first, last):
        total = None
        for part in _parts(first, last, shape):
            v, m = _scratch("v", x[part], shape), _scratch("m", g[part], shape)
            _transform_gradient(g[part], m)
            if needs[1]:
                _transform_input(x[part], v, shape[1], shape[2], *padding)
                total = _add_products(total, _matrix(m), _matrix(v))
            if needs[0]:
                np.matmul(_matrix(m), u, out=_matrix(v))
                _transform_input_back(v, grad[part], shape[1], shape[2], *padding)
        if total is not None:
            _transform_kernel_back(total.reshape(36, len(weight), *x.shape[3:]), grads[share])

    threads.spread(some_images, [(i, *share) for i, share in enumerate(shares)])
    return (
        _out_of_lanes(grad, channels) if needs[0] else None,
        _out_of_lanes(grads.sum(axis=0)[:units], channels).reshape(units, 3, 3, channels)
        if needs[1]
        else None,
    )


def output_shape(x, weight, padding):
    return len(x), x.shape[1] + 2 * padding[0] - 2, x.shape[2] + 2 * padding[1] - 2, len(weight)


def _add_products(total, m, v):
    """total + Mᵀ V for each frequency: (36, O, C). The first sum makes it."""
    if total is None:
        total = threads.scratch("total", (36, m.shape[2], v.shape[2]), v.dtype)
        return np.matmul(m.swapaxes(1, 2), v, out=total)
    product = threads.scratch("product", total.shape[1:], v.dtype)
    for k in range(36):
        np.matmul(m[k].T, v[k], out=product)
        total[k] += product
    return total


def _fill(x, axis):
    """x with zeros behind, up to a multiple of LANES."""
    missing = -x.shape[axis] % LANES
    widths = [(0, missing if k == axis else 0) for k in range(x.ndim)]
    return np.pad(x, widths) if missing else x


def _in_lanes(x):
    """(..., C) -> (..., blocks, LANES)."""
    x = np.require(_fill(x, x.ndim - 1), requirements=("C", "W"))
    return x.reshape(*x.shape[:-1], -1, LANES)


def _out_of_lanes(x, channels):
    return np.ascontiguousarray(x.reshape(*x.shape[:-2], -1)[..., :channels])


def _tiles(shape):
    return -(-shape[1] // 4) * -(-shape[2] // 4)


def _parts(first, last, shape):
    size = max(1, TILES // _tiles(shape))
    return [slice(first + a, first + b) for a, b in threads.ranges(last - first, size)]


def _scratch(name, images, shape):
    tiles = len(images) * _tiles(shape)
    return threads.scratch(name, (36, tiles, *images.shape[-2:]), images.dtype)


def _matrix(v):
    return v.reshape(*v.shape[:2], -1)


def _transformed(weight):
    """U of weight (R, 3, 3, S): (36, R, S)."""
    rows, channels = len(weight), weight.shape[-1]
    lanes = _in_lanes(weight.reshape(rows, 9, channels))
    u = threads.scratch("kernels", (36, rows, *lanes.shape[2:]), weight.dtype)
    threads.spread(
        lambda first, last: _transform_kernel(lanes[first:last], u[:, first:last]),
        threads.shares(rows),
    )
    return _matrix(u)


@lazy_jit(fastmath={"contract"})
def _input_line(d0, d1, d2, d3, d4, d5, out, first, step):
    """Bᵀ d for LANES columns d, to rows first, first + step, … of out."""
    two, four, five = out.dtype.type(2), out.dtype.type(4), out.dtype.type(5)
    for c in range(LANES):
        even, odd = d4[c] - four * d2[c], d3[c] - four * d1[c]
        out[first, c] = four * d0[c] - five * d2[c] + d4[c]
        out[first + step, c] = even + odd
        out[first + 2 * step, c] = even - odd
        even, odd = d4[c] - d2[c], two * (d3[c] - d1[c])
        out[first + 3 * step, c] = even + odd
        out[first + 4 * step, c] = even - odd
        out[first + 5 * step, c] = four * d1[c] - five * d3[c] + d5[c]


@lazy_jit(fastmath={"contract"})
def _input_line_back(v0, v1, v2, v3, v4, v5, out, first, step):
    """B v."""
    two, four, five = out.dtype.type(2), out.dtype.type(4), out.dtype.type(5)
    for c in range(LANES):
        near, far = v1[c] + v2[c], v3[c] + v4[c]
        near_odd, far_odd = v2[c] - v1[c], two * (v4[c] - v3[c])
        out[first, c] = four * v0[c]
        out[first + step, c] = four * (near_odd + v5[c]) + far_odd
        out[first + 2 * step, c] = -(five * v0[c] + four * near + far)
        out[first + 3 * step, c] = -(near_odd + far_odd + five * v5[c])
        out[first + 4 * step, c] = v0[c] + near + far
        out[first + 5 * step, c] = v5[c]


@lazy_jit(fastmath={"contract"})
def _output_line(m0, m1, m2, m3, m4, m5, out, first, step):
    """Aᵀ m."""
    two, four, eight = out.dtype.type(2), out.dtype.type(4), out.dtype.type(8)
    for c in range(LANES):
        near, far = m1[c] + m2[c], m3[c] + m4[c]
        near_odd, far_odd = m1[c] - m2[c], m3[c] - m4[c]
        out[first, c] = m0[c] + near + far
        out[first + step, c] = near_odd + two * far_odd
        out[first + 2 * step, c] = near + four * far
        out[first + 3 * step, c] = near_odd + eight * far_odd + m5[c]


@lazy_jit(fastmath={"contract"})
def _output_line_back(g0, g1, g2, g3, out, first, step):
    """A g."""
    two, four, eight = out.dtype.type(2), out.dtype.type(4), out.dtype.type(8)
    for c in range(LANES):
        even, odd = g0[c] + g2[c], g1[c] + g3[c]
        far_even, far_odd = g0[c] + four * g2[c], two * g1[c] + eight * g3[c]
        out[first, c] = g0[c]
        out[first + step, c] = even + odd
        out[first + 2 * step, c] = even - odd
        out[first + 3 * step, c] = far_even + far_odd
        out[first + 4 * step, c] = far_even - far_odd
        out[first + 5 * step, c] = g3[c]


@lazy_jit(fastmath={"contract"})
def _kernel_line(w0, w1, w2, out, first, step):
    """G w."""
    quarter, sixth = out.dtype.type(1 / 4), out.dtype.type(1 / 6)
    small, middle = out.dtype.type(1 / 24), out.dtype.type(1 / 12)
    for c in range(LANES):
        even, odd = sixth * (w0[c] + w2[c]), sixth * w1[c]
        far_even, far_odd = small * w0[c] + sixth * w2[c], middle * w1[c]
        out[first, c] = quarter * w0[c]
        out[first + step, c] = -(even + odd)
        out[first + 2 * step, c] = odd - even
        out[first + 3 * step, c] = far_even + far_odd
        out[first + 4 * step, c] = far_even - far_odd
        out[first + 5 * step, c] = w2[c]


@lazy_jit(fastmath={"contract"})
def _kernel_line_back(u0, u1, u2, u3, u4, u5, out, first, step):
    """Gᵀ u."""
    quarter, sixth = out.dtype.type(1 / 4), out.dtype.type(1 / 6)
    small, middle = out.dtype.type(1 / 24), out.dtype.type(1 / 12)
    for c in range(LANES):
        near, far = sixth * (u1[c] + u2[c]), u3[c] + u4[c]
        out[first, c] = quarter * u0[c] - near + small * far
        out[first + step, c] = sixth * (u2[c] - u1[c]) + middle * (u3[c] - u4[c])
        out[first + 2 * step, c] = sixth * far - near + u5[c]


@lazy_jit
def _pixel(x, i, j, block, outside):
    """Lanes of one pixel; zeros outside the image (H, W, blocks, LANES)."""
    if 0 <= i < x.shape[0] and 0 <= j < x.shape[1]:
        return x[i, j, block]
    return outside


@lazy_jit(fastmath={"contract"})
def _transform_input(x, v, height, width, top, left):
    outside = np.zeros(LANES, x.dtype)
    half, full = np.empty((36, LANES), x.dtype), np.empty((36, LANES), x.dtype)
    t = 0
    for n in range(x.shape[0]):
        d = x[n]
        for i in range(-top, height - top, 4):
            for j in range(-left, width - left, 4):
                for b in range(x.shape[3]):
                    for k in range(6):
                        _input_line(
                            _pixel(d, i, j + k, b, outside),
                            _pixel(d, i + 1, j + k, b, outside),
                            _pixel(d, i + 2, j + k, b, outside),
                            _pixel(d, i + 3, j + k, b, outside),
                            _pixel(d, i + 4, j + k, b, outside),
                            _pixel(d, i + 5, j + k, b, outside),
                            half, k, 6,
                        )  # fmt: skip
                    for k in range(0, 36, 6):
                        _input_line(half[k], half[k + 1], half[k + 2], half[k + 3], half[k + 4],
                                    half[k + 5], full, k, 1)  # fmt: skip
                    for k in range(36):
                        for c in range(LANES):
                            v[k, t, b, c] = full[k, c]
                t += 1


@lazy_jit(fastmath={"contract"})
def _transform_input_back(v, grad, height, width, top, left):
    half, full = np.empty((36, LANES), v.dtype), np.empty((36, LANES), v.dtype)
    grad[:] = 0
    t = 0
    for n in range(grad.shape[0]):
        for i in range(-top, height - top, 4):
            for j in range(-left, width - left, 4):
                for b in range(grad.shape[3]):
                    for k in range(6):
                        _input_line_back(v[k, t, b], v[k + 6, t, b], v[k + 12, t, b],
                                         v[k + 18, t, b], v[k + 24, t, b], v[k + 30, t, b],
                                         half, k, 6)  # fmt: skip
                    for k in range(0, 36, 6):
                        _input_line_back(half[k], half[k + 1], half[k + 2], half[k + 3],
                                         half[k + 4], half[k + 5], full, k, 1)  # fmt: skip
                    for p in range(max(0, -i), min(6, grad.shape[1] - i)):
                        for q in range(max(0, -j), min(6, grad.shape[2] - j)):
                            for c in range(LANES):
                                grad[n, i + p, j + q, b, c] += full[6 * p + q, c]
                t += 1


@lazy_jit(fastmath={"contract"})
def _transform_output(m, bias, y):
    half, full = np.empty((24, LANES), y.dtype), np.empty((16, LANES), y.dtype)
    t = 0
    for n in range(y.shape[0]):
        for i in range(0, y.shape[1], 4):
            for j in range(0, y.shape[2], 4):
                for b in range(y.shape[3]):
                    for k in range(6):
                        _output_line(m[k, t, b], m[k + 6, t, b], m[k + 12, t, b], m[k + 18, t, b],
                                     m[k + 24, t, b], m[k + 30, t, b], half, k, 6)  # fmt: skip
                    for k in range(4):
                        l = 6 * k
                        _output_line(half[l], half[l + 1], half[l + 2], half[l + 3], half[l + 4],
                                     half[l + 5], full, 4 * k, 1)  # fmt: skip
                    for p in range(min(4, y.shape[1] - i)):
                        for q in range(min(4, y.shape[2] - j)):
                            for c in range(LANES):
                                y[n, i + p, j + q, b, c] = full[4 * p + q, c] + bias[b, c]
                t += 1


@lazy_jit(fastmath={"contract"})
def _transform_gradient(g, m):
    outside = np.zeros(LANES, g.dtype)
    half, full = np.empty((24, LANES), g.dtype), np.empty((36, LANES), g.dtype)
    t = 0
    for n in range(g.shape[0]):
        d = g[n]
        for i in range(0, g.shape[1], 4):
            for j in range(0, g.shape[2], 4):
                for b in range(g.shape[3]):
                    for k in range(4):
                        _output_line_back(
                            _pixel(d, i, j + k, b, outside),
                            _pixel(d, i + 1, j + k, b, outside),
                            _pixel(d, i + 2, j + k, b, outside),
                            _pixel(d, i + 3, j + k, b, outside),
                            half, k, 4,
                        )  # fmt: skip
                    for k in range(6):
                        l = 4 * k
                        _output_line_back(half[l], half[l + 1], half[l + 2], half[l + 3],
                                          full, 6 * k, 1)  # fmt: skip
                    for k in range(36):
                        for c in range(LANES):
                            m[k, t, b, c] = full[k, c]
                t += 1


@lazy_jit(fastmath={"contract"})
def _transform_kernel(w, u):
    half, full = np.empty((18, LANES), w.dtype), np.empty((36, LANES), w.dtype)
    for r in range(w.shape[0]):
        for b in range(w.shape[2]):
            for k in range(3):
                _kernel_line(w[r, k, b], w[r, k + 3, b], w[r, k + 6, b], half, k, 3)
            for k in range(6):
                l = 3 * k
                _kernel_line(half[l], half[l + 1], half[l + 2], full, 6 * k, 1)
            for k in range(36):
                for c in range(LANES):
                    u[k, r, b, c] = full[k, c]


@lazy_jit(fastmath={"contract"})
def _transform_kernel_back(u, grad):
    half, full = np.empty((18, LANES), u.dtype), np.empty((9, LANES), u.dtype)
    for r in range(grad.shape[0]):
        for b in range(grad.shape[2]):
            for k in range(6):
                _kernel_line_back(u[k, r, b], u[k + 6, r, b], u[k + 12, r, b], u[k + 18, r, b],
                                  u[k + 24, r, b], u[k + 30, r, b], half, k, 6)  # fmt: skip
            for k in range(3):
                l = 6 * k
                _kernel_line_back(half[l], half[l + 1], half[l + 2], half[l + 3], half[l + 4],
                                  half[l + 5], full, 3 * k, 1)  # fmt: skip
            for k in range(9):
                for c in range(LANES):
                    grad[r, k, b, c] = full[k, c]
