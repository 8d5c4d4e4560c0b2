"""The transforms of Winograd's convolution, compiled: tiles of images to and from 36 frequencies.

`geonet.kernels.reference` explains them, and has the matrices Bᵀ, G and Aᵀ. Here a product with one
of them from the left is a function `_…_line` of rows of LANES channels. A transform applies it to
the columns of a tile and then to its rows. Shapes, with blocks of LANES channels:

    images x, g, y, grad    (N, H, W, blocks, LANES)
    frequencies v, m, u     (36, P, LANES), row p for every tile (or row of the weight) and block
    weights w, grad         (R, 9, blocks, LANES)
"""

import numpy as np

from geonet.kernels.switch import lazy_jit

NEAR, FAR = 0.5**0.5, 2**0.5  # as in the reference; from another file the cache would not notice
LANES = 32  # channels that a transform takes at a time


@lazy_jit(fastmath={"contract"})
def _input_line(d0, d1, d2, d3, d4, d5, out, first, step):
    """Bᵀ d for LANES columns d, written to rows first, first + step, … of out."""
    near, far = out.dtype.type(NEAR), out.dtype.type(FAR)
    half, two, sum_ = out.dtype.type(0.5), out.dtype.type(2), out.dtype.type(2.5)
    for c in range(LANES):
        even, odd = d4[c] - two * d2[c], near * (d3[c] - two * d1[c])
        out[first, c] = d0[c] - sum_ * d2[c] + d4[c]
        out[first + step, c] = even + odd
        out[first + 2 * step, c] = even - odd
        even, odd = d4[c] - half * d2[c], far * (d3[c] - half * d1[c])
        out[first + 3 * step, c] = even + odd
        out[first + 4 * step, c] = even - odd
        out[first + 5 * step, c] = d1[c] - sum_ * d3[c] + d5[c]


@lazy_jit(fastmath={"contract"})
def _input_line_back(v0, v1, v2, v3, v4, v5, out, first, step):
    """B v."""
    near, far = out.dtype.type(NEAR), out.dtype.type(FAR)
    half, two, sum_ = out.dtype.type(0.5), out.dtype.type(2), out.dtype.type(2.5)
    for c in range(LANES):
        near_even, far_even = v1[c] + v2[c], v3[c] + v4[c]
        near_odd, far_odd = near * (v2[c] - v1[c]), far * (v4[c] - v3[c])
        out[first, c] = v0[c]
        out[first + step, c] = two * near_odd + half * far_odd + v5[c]
        out[first + 2 * step, c] = -(sum_ * v0[c] + two * near_even + half * far_even)
        out[first + 3 * step, c] = -(near_odd + far_odd + sum_ * v5[c])
        out[first + 4 * step, c] = v0[c] + near_even + far_even
        out[first + 5 * step, c] = v5[c]


@lazy_jit(fastmath={"contract"})
def _output_line(m0, m1, m2, m3, m4, m5, out, first, step):
    """Aᵀ m."""
    near, far = out.dtype.type(NEAR), out.dtype.type(FAR)
    half, two = out.dtype.type(0.5), out.dtype.type(2)
    for c in range(LANES):
        near_even, far_even = m1[c] + m2[c], m3[c] + m4[c]
        near_odd, far_odd = near * (m1[c] - m2[c]), far * (m3[c] - m4[c])
        out[first, c] = m0[c] + near_even + far_even
        out[first + step, c] = near_odd + far_odd
        out[first + 2 * step, c] = half * near_even + two * far_even
        out[first + 3 * step, c] = half * near_odd + two * far_odd + m5[c]


@lazy_jit(fastmath={"contract"})
def _output_line_back(g0, g1, g2, g3, out, first, step):
    """A g."""
    near, far = out.dtype.type(NEAR), out.dtype.type(FAR)
    half, two = out.dtype.type(0.5), out.dtype.type(2)
    for c in range(LANES):
        even, odd = g0[c] + half * g2[c], near * (g1[c] + half * g3[c])
        far_even, far_odd = g0[c] + two * g2[c], far * (g1[c] + two * g3[c])
        out[first, c] = g0[c]
        out[first + step, c] = even + odd
        out[first + 2 * step, c] = even - odd
        out[first + 3 * step, c] = far_even + far_odd
        out[first + 4 * step, c] = far_even - far_odd
        out[first + 5 * step, c] = g3[c]


@lazy_jit(fastmath={"contract"})
def _kernel_line(w, out, a, b, step):
    """G w."""
    third, sixth = w.dtype.type(1 / 3), w.dtype.type(1 / 6)
    near, far = w.dtype.type(2 / 3 * NEAR), w.dtype.type(FAR / 6)
    for c in range(LANES):
        w0, w1, w2 = w[a, c], w[a + step, c], w[a + 2 * step, c]
        even, odd = third * (w0 + w0 + w2), near * w1
        far_even, far_odd = sixth * w0 + third * w2, far * w1
        out[b, c] = w0
        out[b + step, c] = -(even + odd)
        out[b + 2 * step, c] = odd - even
        out[b + 3 * step, c] = far_even + far_odd
        out[b + 4 * step, c] = far_even - far_odd
        out[b + 5 * step, c] = w2


@lazy_jit(fastmath={"contract"})
def _kernel_line_back(u, out, a, b, step):
    """Gᵀ u."""
    third, sixth = u.dtype.type(1 / 3), u.dtype.type(1 / 6)
    near, far = u.dtype.type(2 / 3 * NEAR), u.dtype.type(FAR / 6)
    for c in range(LANES):
        u0, u1, u2 = u[a, c], u[a + step, c], u[a + 2 * step, c]
        u3, u4, u5 = u[a + 3 * step, c], u[a + 4 * step, c], u[a + 5 * step, c]
        even, far_even = third * (u1 + u2), u3 + u4
        out[b, c] = u0 - (even + even) + sixth * far_even
        out[b + step, c] = near * (u2 - u1) + far * (u3 - u4)
        out[b + 2 * step, c] = third * far_even - even + u5


@lazy_jit
def _read_square(image, top, left, block, size, patch):
    """Read a square of pixels of an image (H, W, blocks, LANES), with zeros outside it."""
    for i in range(size):
        for j in range(size):
            y, x = top + i, left + j
            if 0 <= y < image.shape[0] and 0 <= x < image.shape[1]:
                for c in range(LANES):
                    patch[size * i + j, c] = image[y, x, block, c]
            else:
                for c in range(LANES):
                    patch[size * i + j, c] = 0


@lazy_jit
def _write(buffer, v, p):
    for k in range(36):
        for c in range(LANES):
            v[k, p, c] = buffer[k, c]


@lazy_jit
def transform_input(x, v, height, width, top, left):
    """v ← Bᵀ d B of the tiles d of images x, for an output of height × width."""
    half, full = np.empty((36, LANES), x.dtype), np.empty((36, LANES), x.dtype)
    p = 0
    for n in range(x.shape[0]):
        for i in range(-top, height - top, 4):
            for j in range(-left, width - left, 4):
                for b in range(x.shape[3]):
                    _read_square(x[n], i, j, b, 6, full)
                    for k in range(6):
                        _input_line(full[k], full[k + 6], full[k + 12], full[k + 18],
                                    full[k + 24], full[k + 30], half, k, 6)  # fmt: skip
                    for k in range(0, 36, 6):
                        _input_line(half[k], half[k + 1], half[k + 2], half[k + 3], half[k + 4],
                                    half[k + 5], full, k, 1)  # fmt: skip
                    _write(full, v, p)
                    p += 1


@lazy_jit
def transform_input_back(v, grad, height, width, top, left):
    """grad ← the sums of B v Bᵀ at the places of the tiles."""
    half, full = np.empty((36, LANES), v.dtype), np.empty((36, LANES), v.dtype)
    grad[:] = 0
    p = 0
    for n in range(grad.shape[0]):
        for i in range(-top, height - top, 4):
            for j in range(-left, width - left, 4):
                for b in range(grad.shape[3]):
                    for k in range(6):
                        _input_line_back(v[k, p], v[k + 6, p], v[k + 12, p], v[k + 18, p],
                                         v[k + 24, p], v[k + 30, p], half, k, 6)  # fmt: skip
                    for k in range(0, 36, 6):
                        _input_line_back(half[k], half[k + 1], half[k + 2], half[k + 3],
                                         half[k + 4], half[k + 5], full, k, 1)  # fmt: skip
                    for y in range(max(0, -i), min(6, grad.shape[1] - i)):
                        for x in range(max(0, -j), min(6, grad.shape[2] - j)):
                            for c in range(LANES):
                                grad[n, i + y, j + x, b, c] += full[6 * y + x, c]
                    p += 1


@lazy_jit
def transform_output(m, bias, y):
    """y ← Aᵀ m A, plus the bias (blocks, LANES)."""
    half, tile = np.empty((24, LANES), y.dtype), np.empty((16, LANES), y.dtype)
    p = 0
    for n in range(y.shape[0]):
        for i in range(0, y.shape[1], 4):
            for j in range(0, y.shape[2], 4):
                for b in range(y.shape[3]):
                    for k in range(6):
                        _output_line(m[k, p], m[k + 6, p], m[k + 12, p], m[k + 18, p],
                                     m[k + 24, p], m[k + 30, p], half, k, 6)  # fmt: skip
                    for k in range(4):
                        l = 6 * k
                        _output_line(half[l], half[l + 1], half[l + 2], half[l + 3], half[l + 4],
                                     half[l + 5], tile, 4 * k, 1)  # fmt: skip
                    for row in range(min(4, y.shape[1] - i)):
                        for column in range(min(4, y.shape[2] - j)):
                            for c in range(LANES):
                                value = tile[4 * row + column, c] + bias[b, c]
                                y[n, i + row, j + column, b, c] = value
                    p += 1


@lazy_jit
def transform_gradient(g, m):
    """m ← A g Aᵀ of the 4×4 tiles of g."""
    tile, half = np.empty((16, LANES), g.dtype), np.empty((24, LANES), g.dtype)
    full = np.empty((36, LANES), g.dtype)
    p = 0
    for n in range(g.shape[0]):
        for i in range(0, g.shape[1], 4):
            for j in range(0, g.shape[2], 4):
                for b in range(g.shape[3]):
                    _read_square(g[n], i, j, b, 4, tile)
                    for k in range(4):
                        _output_line_back(
                            tile[k], tile[k + 4], tile[k + 8], tile[k + 12], half, k, 4
                        )
                    for k in range(6):
                        l = 4 * k
                        _output_line_back(
                            half[l], half[l + 1], half[l + 2], half[l + 3], full, 6 * k, 1
                        )
                    _write(full, m, p)
                    p += 1


@lazy_jit
def transform_kernel(w, u, p):
    """u from row p on ← G w Gᵀ."""
    kernel, half = np.empty((9, LANES), w.dtype), np.empty((18, LANES), w.dtype)
    full = np.empty((36, LANES), w.dtype)
    for r in range(w.shape[0]):
        for b in range(w.shape[2]):
            kernel[:] = w[r, :, b]
            for k in range(3):
                _kernel_line(kernel, half, k, k, 3)
            for k in range(6):
                _kernel_line(half, full, 3 * k, 6 * k, 1)
            _write(full, u, p)
            p += 1


@lazy_jit(fastmath={"contract"})
def add_half(u, row, half):
    """half ← half + u G for a row u (6, P, LANES) of the frequencies, in (R, 18, blocks, LANES)."""
    line, out = np.empty((6, LANES), u.dtype), np.zeros((3, LANES), u.dtype)
    p = 0
    for r in range(half.shape[0]):
        for b in range(half.shape[2]):
            for k in range(6):
                for c in range(LANES):
                    line[k, c] = u[k, p, c]
            _kernel_line_back(line, out, 0, 0, 1)
            for k in range(3):
                for c in range(LANES):
                    half[r, 3 * row + k, b, c] += out[k, c]
            p += 1


@lazy_jit(fastmath={"contract"})
def transform_kernel_back(halves, grad):
    """grad ← Gᵀ of the sum of halves (shares, R, 18, blocks, LANES)."""
    half, kernel = np.empty((18, LANES), grad.dtype), np.empty((9, LANES), grad.dtype)
    for r in range(grad.shape[0]):
        for b in range(grad.shape[2]):
            half[:] = 0
            for share in range(len(halves)):
                for k in range(18):
                    for c in range(LANES):
                        half[k, c] += halves[share, r, k, b, c]
            for k in range(3):
                _kernel_line_back(half, kernel, k, k, 3)
            grad[r, :, b] = kernel
