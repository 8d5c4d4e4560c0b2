"""Every kernel in plain NumPy, in the order in which a network uses them.

This file defines what is computed. The other files of this folder compute the same faster, and each
of their kernels names the function here that it equals. With ``GEONET_KERNELS=numpy``, or in a
Python without Numba, everything runs on the functions below, and a debugger steps through them.
They also take what compiled code does not, such as complex numbers. A function in pieces, such as
a rectifier, then chooses its piece by the real part.

Throughout, y is a result, g = ∂L/∂y is its gradient, and `…_pullback` returns the gradients of the
inputs. Arrays are (N, C) with the features last, images are (N, H, W, C) with the channels last.
Means, and sums over a batch, are float64 if the arrays are float32; results have the precision of
the first array. A kernel that changes an argument says so.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def _in_precision_of(x, array):
    """Round an array that was computed in float64 to the precision of x, unless it is complex."""
    return array if array.dtype.kind == "c" else array.astype(np.result_type(x, np.float32))


def _total(x):
    """Σ x over the rows, (N, C) -> (C,), added up in float64."""
    return x.sum(axis=0, dtype=np.result_type(x, np.float64)).astype(x.dtype)


# Products -----------------------------------------------------------------------------------------


def outer(x, y):
    """x (N,), y (O,) -> x_i y_k (N, O)."""
    return np.multiply.outer(x, y)


# Rectifiers ---------------------------------------------------------------------------------------


def relu(x):
    """max(x, 0), of any shape; NaN stays NaN."""
    return np.where(x.real <= 0, 0, x) if np.iscomplexobj(x) else np.maximum(x, 0)


def relu_pullback(g, y):
    """g where y = relu(x) > 0, otherwise 0; x itself is not needed."""
    return g * (y.real > 0)


def scaled_relu(z, bias, scale):
    """y = r max(z + b, 0): z (N, O), b and r (O,) -> (N, O). NaN stays NaN."""
    shifted = z + bias
    return scale * np.where(shifted.real <= 0, 0, shifted)


def scaled_relu_pullback(g, z, bias, scale):
    """With a = 1 where z + b > 0, otherwise 0:
    ∂L/∂z = g r a (N, O), ∂L/∂b = Σ g r a (O,), ∂L/∂r = Σ g a (z + b) (O,), sums over N."""
    shifted = z + bias
    active = g * (shifted.real > 0)
    grad = active * scale
    return grad, _total(grad), _total(active * shifted)


def centred_scaled_relu(z, bias, scale):
    """y − mean y with y = r max(z + b, 0), (N, O), and the mean of each column, (O,)."""
    y = scaled_relu(z, bias, scale)
    taken = mean(y)
    return _in_precision_of(y, y - taken), taken


def centred_scaled_relu_pullback(g, z, bias, scale):
    """The pullback of `scaled_relu` for g − mean g: subtracting a mean is its own pullback."""
    return scaled_relu_pullback((g - mean(g)).astype(g.dtype), z, bias, scale)


# Normalization of columns, over the batch ---------------------------------------------------------


def mean(x):
    """μ = Σ x / N of each column, (N, C) -> (C,)."""
    return x.mean(axis=0, dtype=np.result_type(x, np.float64))


def moments(x):
    """μ and the (biased) variance Σ (x − μ)² / N of each column, (N, C) -> (C,) and (C,)."""
    level = mean(x)
    deviation = x - level
    return level, mean(deviation * deviation)


def affine(x, mean, scale, shift):
    """(x − mean) · scale + shift: x (N, C), the others (C,)."""
    return _in_precision_of(x, (x - mean) * scale + shift)


def batch_norm_pullback(g, x, mean_of_x, var, gamma, eps):
    """The pullback of y = γ x̂ + β with x̂ = (x − μ)/σ, σ = √(var + eps), and μ, var of x.

    With h = γ g: ∂L/∂x = (h − mean h − x̂ mean(h x̂))/σ (N, C), ∂L/∂γ = Σ g x̂ and ∂L/∂β = Σ g (C,);
    sums and means over N.
    """
    std = np.sqrt(var + eps)
    normalized, h = (x - mean_of_x) / std, g * gamma
    grad = (h - mean(h) - normalized * mean(h * normalized)) / std
    gradients = grad, (g * normalized).sum(axis=0), g.sum(axis=0, dtype=normalized.dtype)
    return tuple(_in_precision_of(x, gradient) for gradient in gradients)


# Normalization of rows, over the features ---------------------------------------------------------


def layer_norm(x, gamma, beta, eps):
    """y = γ x̂ + β with x̂ = (x − μ)/σ, σ = √(var + eps), and μ and var of each row: (N, C)."""
    normalized, _ = _normalized_rows(x, eps)
    return _in_precision_of(x, normalized * gamma + beta)


def layer_norm_pullback(g, x, gamma, eps):
    """With h = γ g and means over C, sums over N:
    ∂L/∂x = (h − mean h − x̂ mean(h x̂))/σ (N, C), ∂L/∂γ = Σ g x̂ and ∂L/∂β = Σ g (C,)."""
    (normalized, std), h = _normalized_rows(x, eps), g * gamma
    level, slope = (row.mean(axis=1, keepdims=True) for row in (h, h * normalized))
    grad = (h - level - normalized * slope) / std
    gradients = grad, (g * normalized).sum(axis=0), g.sum(axis=0, dtype=normalized.dtype)
    return tuple(_in_precision_of(x, gradient) for gradient in gradients)


def _normalized_rows(x, eps):
    """x̂ (N, C) and σ (N, 1)."""
    deviation = x - x.mean(axis=1, keepdims=True, dtype=np.result_type(x, np.float64))
    std = np.sqrt((deviation * deviation).mean(axis=1, keepdims=True) + eps)
    return deviation / std, std


# Unit directions from hyperspherical angles -------------------------------------------------------


def direction(theta):
    """Unit rows u(θ): angles θ (O, n−1) -> u (O, n).

    With s_k = ∏_{j<k} sin θ_j and s_1 = 1:  u_k = s_k cos θ_k for k < n,  u_n = s_n.
    """
    sine, cosine = _sine_cosine(theta)
    u = _products(sine)
    u[:, :-1] *= cosine
    return u.astype(theta.dtype)


def direction_pullback(g, theta):
    """∂L/∂θ (O, n−1) for g = ∂L/∂u (O, n), without division, so it is exact even at the poles.

    A_n = g_n, then for k = n−1 … 1:  ∂L/∂θ_k = s_k (A_{k+1} cos θ_k − g_k sin θ_k)  and
    A_k = g_k cos θ_k + A_{k+1} sin θ_k.
    """
    sine, cosine = _sine_cosine(theta)
    product = _products(sine)
    grad = np.empty(sine.shape, np.result_type(g, sine))
    suffix = g[:, -1]  # A_n
    for k in reversed(range(sine.shape[1])):
        grad[:, k] = product[:, k] * (suffix * cosine[:, k] - g[:, k] * sine[:, k])
        suffix = g[:, k] * cosine[:, k] + suffix * sine[:, k]
    return _in_precision_of(theta, grad)


def _sine_cosine(theta):
    """sin θ and cos θ in at least float64, because products of thousands of sines would drift."""
    theta = theta.astype(np.result_type(theta, np.float64))
    return np.sin(theta), np.cos(theta)


def _products(sine):
    """s_k = ∏_{j<k} sin θ_j: (O, n−1) -> (O, n)."""
    product = np.ones((sine.shape[0], sine.shape[1] + 1), sine.dtype)
    np.cumprod(sine, axis=1, out=product[:, 1:])
    return product


# Pooling of images --------------------------------------------------------------------------------
#
# x (N, H, W, C), y (N, H', W', C) with H' = ⌊(H + 2 padding − size)/stride⌋ + 1, W' likewise. Rows
# and columns that fill no window are left out.


def max_pool(x, size, stride, padding):
    """The largest entry of each size × size window, and its index in it, row by row from 0.

    Of equal entries the first counts; padding counts as −∞. Both results are (N, H', W', C).
    """
    lowest = np.iinfo(x.dtype).min if x.dtype.kind in "iu" else -np.inf
    entries = _entries(_framed(x, (padding, padding), lowest), size, stride)
    y = next(entries).copy()
    position = np.zeros(y.shape, np.min_scalar_type(size * size - 1))
    for k, entry in enumerate(entries, 1):
        larger = ~(entry.real <= y.real) & ~np.isnan(y)
        y[larger], position[larger] = entry[larger], k
    return y, position


def max_pool_pullback(g, position, shape, size, stride, padding):
    """∂L/∂x of this shape: g at the entry of each window that was the largest."""
    framed = _framed(np.zeros(shape, g.dtype), (padding, padding))
    for k, entry in enumerate(_entries(framed, size, stride)):
        entry += g * (position == k)
    return _inside(framed, (padding, padding), shape)


def _entries(framed, size, stride):
    """For each entry of a window, a view (N, H', W', C) of that entry of all windows."""
    pixels = windows(framed, (size, size), (stride, stride))
    return (pixels[:, :, :, i, j] for i, j in np.ndindex(size, size))


def _framed(x, padding, value=0):
    """Images with a frame of one value around them; the padding is a pair."""
    top, left = padding
    return np.pad(x, [(0, 0), (top, top), (left, left), (0, 0)], constant_values=value)


def _inside(framed, padding, shape):
    """A view of the images of this shape (N, H, W, C) inside their frame."""
    (top, left), (_, height, width, _) = padding, shape
    return framed[:, top : top + height, left : left + width]


def windows(framed, kernel, stride):
    """A view (N, H', W', kh, kw, C) of the windows of padded images, in the images' memory."""
    every = sliding_window_view(framed, kernel, axis=(1, 2), writeable=True)
    return np.moveaxis(every[:, :: stride[0], :: stride[1]], 3, 5)


# Convolution of images ----------------------------------------------------------------------------
#
# x (N, H, W, C), weight (O, kh, kw, C), bias (O,) or None, y (N, H', W', O) with
# H' = ⌊(H + 2p − kh)/s⌋ + 1, W' likewise. Stride s and padding p are pairs, for height and width.


def conv2d(x, weight, bias, stride, padding):
    """y[n,a,b,o] = bias[o] + Σ x[n, s a + i − p, s b + j − p, c] weight[o,i,j,c] over i, j, c."""
    kernel = weight.shape[1:3]
    pixels = windows(_framed(x, padding), kernel, stride)  # (N, H', W', kh, kw, C)
    y = np.zeros((*pixels.shape[:3], len(weight)), np.result_type(x, weight))
    for i, j in np.ndindex(kernel):
        y += np.tensordot(pixels[:, :, :, i, j], weight[:, i, j], axes=(3, 1))
    return y if bias is None else y + bias


def conv2d_pullback(g, x, weight, stride, padding, needs):
    """∂L/∂x and ∂L/∂weight, each None unless it is needed.

    ∂L/∂weight[o,i,j,c] = Σ g[n,a,b,o] x[n, s a + i − p, s b + j − p, c] over n, a, b. For ∂L/∂x,
    Σ g[n,a,b,o] weight[o,i,j,c] over o is added to the pixel that weight[o,i,j,c] multiplied.
    """
    to_x = to_weight = None
    kernel = weight.shape[1:3]
    if needs[1]:
        pixels = windows(_framed(x, padding), kernel, stride)
        to_weight = np.empty(weight.shape, np.result_type(g, x))
        for i, j in np.ndindex(kernel):
            to_weight[:, i, j] = np.tensordot(g, pixels[:, :, :, i, j], axes=((0, 1, 2),) * 2)
    if needs[0]:
        framed = _framed(np.zeros(x.shape, np.result_type(g, weight)), padding)  # ∂L/∂x and frame
        pixels = windows(framed, kernel, stride)
        for i, j in np.ndindex(kernel):  # entries i, j of different windows never overlap
            pixels[:, :, :, i, j] += np.tensordot(g, weight[:, i, j], axes=(3, 0))
        to_x = _inside(framed, padding, x.shape)
    return to_x, to_weight


# Winograd's algorithm for the same convolution, with 3×3 kernels at stride 1 ----------------------
#
# F(4×4, 3×3) of Lavin & Gray (2016): a 4×4 tile of the output takes 36 products for a pair of
# channels, whereas the sum above takes 144. With the matrices below,
#
#     V = Bᵀ d B    of every 6×6 tile d of the input; neighbours overlap by 2     (…, 6, 6, C)
#     U = G w Gᵀ    of every 3×3 kernel w                                         (O, 6, 6, C)
#     M = Σ V U     over the channels, for each of the 36 frequencies             (…, 6, 6, O)
#     Y = Aᵀ M A    is a 4×4 tile of the output                                   (…, 4, 4, O)
#
# The matrices interpolate polynomials at 0, ±√½, ±√2 and ∞.

NEAR, FAR = 0.5**0.5, 2**0.5  # the points ±√½ and ±√2
WINOGRAD_INPUT = np.array([  # Bᵀ
    [1, 0, -5 / 2, 0, 1, 0],
    [0, -2 * NEAR, -2, NEAR, 1, 0],
    [0, 2 * NEAR, -2, -NEAR, 1, 0],
    [0, -FAR / 2, -1 / 2, FAR, 1, 0],
    [0, FAR / 2, -1 / 2, -FAR, 1, 0],
    [0, 1, 0, -5 / 2, 0, 1],
])  # fmt: skip
WINOGRAD_KERNEL = np.array([  # G
    [1, 0, 0],
    [-2 / 3, -2 / 3 * NEAR, -1 / 3],
    [-2 / 3, 2 / 3 * NEAR, -1 / 3],
    [1 / 6, FAR / 6, 1 / 3],
    [1 / 6, -FAR / 6, 1 / 3],
    [0, 0, 1],
])  # fmt: skip
WINOGRAD_OUTPUT = np.array([  # Aᵀ
    [1, 1, 1, 1, 1, 0],
    [0, NEAR, -NEAR, FAR, -FAR, 0],
    [0, 1 / 2, 1 / 2, 2, 2, 0],
    [0, NEAR / 2, -NEAR / 2, 2 * FAR, -2 * FAR, 1],
])  # fmt: skip


def winograd(x, weight, bias, padding):
    """`conv2d` at stride (1, 1), weight (O, 3, 3, C), by Winograd's minimal filtering.

    Every step is linear, so the transposed steps give the gradients of `conv2d_pullback`:
    ∂L/∂M = A g Aᵀ, ∂L/∂U = Σ V ∂L/∂M, ∂L/∂V = Σ U ∂L/∂M, ∂L/∂w = Gᵀ ∂L/∂U G, and
    ∂L/∂d = B ∂L/∂V Bᵀ, added up where tiles overlap.
    """
    rows, columns = (x.shape[axis + 1] + 2 * padding[axis] - 2 for axis in range(2))
    v = _transformed(WINOGRAD_INPUT, _tiles(x, padding))  # (N, tiles…, 6, 6, C)
    u = _transformed(WINOGRAD_KERNEL, weight)  # (O, 6, 6, C)
    y = _transformed(WINOGRAD_OUTPUT, np.einsum("...ijc,oijc->...ijo", v, u))  # (…, 4, 4, O)
    y = y.swapaxes(2, 3).reshape(len(x), 4 * y.shape[1], 4 * y.shape[2], len(weight))
    return y[:, :rows, :columns] + (0 if bias is None else bias)


def _transformed(matrix, tiles):
    """matrix · tile · matrixᵀ over the axes −3 and −2 of tiles (…, h, w, C)."""
    return np.einsum("ai,...ijc,bj->...abc", matrix, tiles, matrix, optimize=True)


def _tiles(x, padding):
    """The 6×6 tiles of x, 4 apart, with zeros outside: (N, H, W, C) -> (N, tiles…, 6, 6, C)."""
    framed = _framed(x, padding)
    fill = [(0, (2 - length) % 4) for length in framed.shape[1:3]]  # the last tiles are whole
    return windows(np.pad(framed, [(0, 0), *fill, (0, 0)]), (6, 6), (4, 4))


# Optimizers ---------------------------------------------------------------------------------------


def sgd(parameter, gradient, velocity, lr, momentum, weight_decay):
    """Change parameter and velocity u in place; all arrays are flat and of the same length.

    With g = ∂L/∂p + weight_decay · p:  u ← momentum · u + g,  p ← p − lr · u.
    """
    g = gradient + weight_decay * parameter
    velocity *= momentum
    velocity += g
    parameter -= lr * velocity


def adam(parameter, gradient, m, v, step_size, beta1, beta2, scale, eps):
    """Change parameter, m and v in place; all arrays are flat and of the same length.

    m ← β₁ m + (1 − β₁) g,  v ← β₂ v + (1 − β₂) g²,  p ← p − step_size · m / (√v · scale + eps),
    where step_size = lr / (1 − β₁ᵗ) and scale = 1 / √(1 − β₂ᵗ) correct the bias of m and v at
    step t (Kingma & Ba 2015, algorithm 1).
    """
    m *= beta1
    m += (1 - beta1) * gradient
    v *= beta2
    v += (1 - beta2) * gradient * gradient
    parameter -= step_size * m / (np.sqrt(v) * scale + eps)


# The geometry of a layer at one step --------------------------------------------------------------
#
# What `geonet.gradients.Inspector` records. Each kernel writes into the last arrays that it is
# given, (O,) each.


def gradient_parts(weight, gradient, radial, angular, stretching, turning):
    """Write g·u and ‖g − (g·u) u‖ for g = ∂L/∂w and u = w/‖w‖; weight and gradient are (O, n).

    They are `stretching` and `turning`; `radial` and `angular` are the same, each times ‖w‖.
    """
    weight, gradient = (a.astype(np.float64) for a in (weight, gradient))
    length = np.linalg.norm(weight, axis=1)
    along = (gradient * weight).sum(axis=1) / length
    across = np.linalg.norm(gradient - (along / length)[:, None] * weight, axis=1)
    stretching[...], turning[...] = along, across
    radial[...], angular[...] = length * along, length * across


def movement(weight, bias, direction, offset, turn, displacement):
    """Write how far boundaries have moved; direction and offset become the present ones, in place.

    weight (O, n) and bias (O,) are the present ones; direction u (O, n) and offset λ (O,), float64,
    the ones before. For a chord d = ‖u' − u‖ the angle is 2 arcsin(d/2), accurate near 0 and to
    1e-8 near π; the location φ = −λu moved by √((λ' − λ)² + λλ' d²).
    """
    length = np.linalg.norm(weight.astype(np.float64), axis=1)
    new, new_offset = weight / length[:, None], bias / length
    chord = np.square(new - direction).sum(axis=1)
    turn[...] = 2 * np.arcsin(np.minimum(np.sqrt(chord) / 2, 1))
    square = (new_offset - offset) ** 2 + offset * new_offset * chord
    displacement[...] = np.sqrt(np.maximum(square, 0))  # rounding may leave it below 0
    direction[...], offset[...] = new, new_offset


def activity(output, resting, share):
    """Write the share of rows (N, O) of an output that differ from that of inactive units (O,)."""
    share[...] = (output != resting).mean(axis=0)
