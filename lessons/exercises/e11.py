"""Exercises of lesson 11: convolution."""

import math

import numpy as np
from hypothesis import strategies as st

from lessons.exercise import Exercise, Wrong
from lessons.inputs import array

# 11.a


def im2col(x, kh, kw, stride):
    """Write the windows of images as the rows of a matrix.

    A window is kh pixels high and kw wide, and lies whole within the image: there is no padding.
    Windows begin `stride` pixels apart, down and across. Each is one row: its numbers are in the
    order height, width, channel. The rows are in the order image, place from top to bottom,
    place from left to right.

        P[(n, a, b), (i, j, c)] = x[n, stride·a + i, stride·b + j, c]

    Parameters
    ----------
    x : ndarray, shape (N, H, W, C)
    kh, kw : int
        At most H and W.
    stride : int
        At least 1.

    Returns
    -------
    ndarray, shape (N·H'·W', kh·kw·C)
        H' = ⌊(H − kh)/stride⌋ + 1, and W' accordingly.
    """
    down, across = (x.shape[1] - kh) // stride + 1, (x.shape[2] - kw) // stride + 1
    windows = np.empty((len(x), down, across, kh, kw, x.shape[3]), x.dtype)
    for i in range(kh):
        for j in range(kw):
            rows = slice(i, i + stride * (down - 1) + 1, stride)
            columns = slice(j, j + stride * (across - 1) + 1, stride)
            windows[:, :, :, i, j] = x[:, rows, columns]
    return windows.reshape(len(x) * down * across, -1)


def _im2col_inputs():
    @st.composite
    def draw_all(draw):
        kh, kw = draw(st.integers(1, 3)), draw(st.integers(1, 3))
        height, width = kh + draw(st.integers(0, 3)), kw + draw(st.integers(0, 3))
        shape = draw(st.integers(1, 2)), height, width, draw(st.integers(1, 3))
        return draw(array(shape)), kh, kw, draw(st.integers(1, 3))

    return draw_all()


def _windows(x, kh, kw, stride):
    """(N, H', W', kh, kw, C), a view."""
    windows = np.lib.stride_tricks.sliding_window_view(x, (kh, kw), axis=(1, 2))
    return np.moveaxis(windows[:, ::stride, ::stride], 3, -1)


def _rows(windows):
    return windows.reshape(math.prod(windows.shape[:3]), math.prod(windows.shape[3:]))


def _im2col_by_lists(x, kh, kw, stride):
    return np.stack(
        [
            image[top : top + kh, left : left + kw].ravel()
            for image in x
            for top in range(0, x.shape[1] - kh + 1, stride)
            for left in range(0, x.shape[2] - kw + 1, stride)
        ]
    )


def _last_window_lost(x, kh, kw, stride):
    down, across = (x.shape[1] - kh) // stride, (x.shape[2] - kw) // stride
    return _rows(_windows(x, kh, kw, stride)[:, :down, :across])


A = Exercise(
    key="11.a",
    title="im2col with a stride",
    points=3,
    difficulty=3,
    solve=im2col,
    inputs=_im2col_inputs,
    hints=(
        "How many windows fit below one another? Then fix a place (i, j) in the window and ask "
        "which pixels of the image stand there, over all windows.",
        "For a fixed (i, j) they are a slice of the image that begins at i (and j) and takes "
        "every stride-th pixel. Make an empty array (N, H', W', kh, kw, C) and fill it.",
        "The slice down is i : i + stride·(H' − 1) + 1 : stride, the one across likewise with j; "
        "after both loops reshape to (N·H'·W', kh·kw·C), which keeps the order of the axes.",
    ),
    wrong=(
        Wrong(
            "writes a window channel by channel",
            lambda x, kh, kw, stride: _rows(np.moveaxis(_windows(x, kh, kw, stride), -1, 3)),
            "Your rows hold all of the first channel, then all of the second. A row has the order "
            "height, width, channel: the channels of one pixel stand next to one another.",
        ),
        Wrong(
            "flips the windows",
            lambda x, kh, kw, stride: _rows(_windows(x, kh, kw, stride)[:, :, :, ::-1, ::-1]),
            "Your windows are read backwards, as in a mathematician's convolution. Networks use "
            "the correlation, which reads a window from its top left corner.",
        ),
        Wrong(
            "reads a window column by column",
            lambda x, kh, kw, stride: _rows(_windows(x, kh, kw, stride).swapaxes(3, 4)),
            "Within a window the place across changes faster than the place down.",
        ),
        Wrong(
            "orders the windows column by column",
            lambda x, kh, kw, stride: _rows(_windows(x, kh, kw, stride).swapaxes(1, 2)),
            "The rows themselves are right, but not their order: windows go from left to right "
            "first, and then on to the next line.",
        ),
        Wrong(
            "loses the last window of each line",
            _last_window_lost,
            "Count the windows that fit into an image that is just as large as a window: one.",
        ),
        Wrong(
            "ignores the stride",
            lambda x, kh, kw, stride: _rows(_windows(x, kh, kw, 1)),
            "You take every window. With a stride of 2 only every second one counts.",
        ),
        Wrong(
            "puts windows into columns",
            lambda x, kh, kw, stride: _rows(_windows(x, kh, kw, stride)).T,
            "Despite its name our im2col makes a row of every window, so that the filters are "
            "rows too.",
        ),
    ),
    right=(lambda x, kh, kw, stride: _rows(_windows(x, kh, kw, stride)), _im2col_by_lists),
)


# 11.b


def convolution_pullback(g, x, weight):
    """Pull a gradient back through a convolution, to the images and to the filters.

    The convolution has stride 1 and no padding:

        y[n, a, b, o] = Σ over i, j, c of x[n, a + i, b + j, c] · weight[o, i, j, c].

    Parameters
    ----------
    g : ndarray, shape (N, H − kh + 1, W − kw + 1, O)
        ∂L/∂y.
    x : ndarray, shape (N, H, W, C)
    weight : ndarray, shape (O, kh, kw, C)

    Returns
    -------
    to_x : ndarray, shape (N, H, W, C)
        ∂L/∂x.
    to_weight : ndarray, shape (O, kh, kw, C)
        ∂L/∂weight.
    """
    down, across = g.shape[1:3]
    to_x, to_weight = np.zeros_like(x), np.empty_like(weight)
    for i in range(weight.shape[1]):
        for j in range(weight.shape[2]):
            to_x[:, i : i + down, j : j + across] += g @ weight[:, i, j]
            pixels = x[:, i : i + down, j : j + across]
            to_weight[:, i, j] = np.tensordot(g, pixels, axes=([0, 1, 2], [0, 1, 2]))
    return to_x, to_weight


def _pullback_inputs():
    @st.composite
    def draw_all(draw):
        kh, kw = draw(st.integers(1, 3)), draw(st.integers(1, 3))
        images, units, channels = (draw(st.integers(1, 2)) for _ in range(3))
        height, width = kh + draw(st.integers(0, 2)), kw + draw(st.integers(0, 2))
        g = array((images, height - kh + 1, width - kw + 1, units))
        x, weight = array((images, height, width, channels)), array((units, kh, kw, channels))
        return draw(g), draw(x), draw(weight)

    return draw_all()


def _pullback_by_loops(g, x, weight):
    to_x, to_weight = np.zeros(x.shape), np.zeros(weight.shape)
    for n, a, b, o in np.ndindex(*g.shape):
        window = slice(a, a + weight.shape[1]), slice(b, b + weight.shape[2])
        to_x[n][window] += g[n, a, b, o] * weight[o]
        to_weight[o] += g[n, a, b, o] * x[n][window]
    return to_x, to_weight


def _pullback_by_windows(g, x, weight):
    kh, kw = weight.shape[1:3]
    to_weight = np.einsum("nabo,nabijc->oijc", g, _windows(x, kh, kw, 1))
    padded = np.pad(g, [(0, 0), (kh - 1, kh - 1), (kw - 1, kw - 1), (0, 0)])
    to_x = np.einsum("nhwijo,oijc->nhwc", _windows(padded, kh, kw, 1), weight[:, ::-1, ::-1])
    return to_x, to_weight


def _without_flip(g, x, weight):
    to_x, _ = convolution_pullback(g, x, weight[:, ::-1, ::-1])
    return to_x, convolution_pullback(g, x, weight)[1]


def _overwrites(g, x, weight):
    down, across = g.shape[1:3]
    to_x = np.zeros_like(x)
    for i in range(weight.shape[1]):
        for j in range(weight.shape[2]):
            to_x[:, i : i + down, j : j + across] = g @ weight[:, i, j]
    return to_x, convolution_pullback(g, x, weight)[1]


def _mean_over_images(g, x, weight):
    to_x, to_weight = convolution_pullback(g, x, weight)
    return to_x, to_weight / len(x)


def _first_image_only(g, x, weight):
    to_x, _ = convolution_pullback(g, x, weight)
    return to_x, convolution_pullback(g[:1], x[:1], weight)[1]


def _flipped_filters(g, x, weight):
    to_x, to_weight = convolution_pullback(g, x, weight)
    return to_x, to_weight[:, ::-1, ::-1]


B = Exercise(
    key="11.b",
    title="The pullback of a convolution",
    points=3,
    difficulty=4,
    solve=convolution_pullback,
    inputs=_pullback_inputs,
    hints=(
        "Take one product of the sum, x[n, a + i, b + j, c] · weight[o, i, j, c]. What does it "
        "give to the gradient of its first factor, and of its second?",
        "For a fixed (i, j) the pixels that take part are a slice of x as large as y. The gradient "
        "of that slice gains g times weight[:, i, j], and weight[:, i, j] gets g times the slice.",
        "In two loops over i and j: add g @ weight[:, i, j] to to_x[:, i : i + H', j : j + W'], "
        "and let to_weight[o, i, j, c] be the sum over n, a, b of g[n, a, b, o] times that slice "
        "of x.",
    ),
    wrong=(
        Wrong(
            "forgets the flip on the way to the images",
            _without_flip,
            "Your gradient of the images is turned upside down. A pixel at the top of a window "
            "meets the top of the filter; if you convolve g with the filters, mind which end of "
            "the filter comes first.",
        ),
        Wrong(
            "overwrites where windows overlap",
            _overwrites,
            "A pixel lies in several windows and takes the sum of what comes back from each of "
            "them. Only the last one has survived.",
        ),
        Wrong(
            "averages over the images",
            _mean_over_images,
            "The same filter looks at every image, and its gradient is the sum over all of them. A "
            "mean, if there is one, belongs to the loss and is already in g.",
        ),
        Wrong(
            "uses the first image only",
            _first_image_only,
            "The gradient of a filter has a part from every image of the batch.",
        ),
        Wrong(
            "flips the gradient of the filters",
            _flipped_filters,
            "Your gradient of the filters is upside down and mirrored: weight[o, i, j] meets the "
            "pixel i below and j to the right of the window's corner.",
        ),
        Wrong(
            "returns the two gradients in the other order",
            lambda g, x, weight: convolution_pullback(g, x, weight)[::-1],
            "First the gradient of the images, then that of the filters.",
        ),
    ),
    right=(_pullback_by_loops, _pullback_by_windows),
    kind="gradient",
)


# 11.c


def winograd_transforms(d, w):
    """Transform a tile of the input and a filter for Winograd's F(2×2, 3×3).

    For one image and one filter of C channels, in every channel,

        V = Bᵀ d B,        U = G w Gᵀ

    with the matrices of the lesson,

              −1  0  1  0               −1    0    0
        Bᵀ =   0  1  1  0         G =    ½    ½    ½
               0 −1  1  0                ½   −½    ½
               0 −1  0  1                0    0    1

    Parameters
    ----------
    d : ndarray, shape (4, 4, C)
        A tile.
    w : ndarray, shape (3, 3, C)
        A filter.

    Returns
    -------
    V : ndarray, shape (4, 4, C)
    U : ndarray, shape (4, 4, C)
    """
    tile = np.array([[-1.0, 0, 1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, 0, 1]])
    kernel = np.array([[-1.0, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
    transformed = np.einsum("ai,ijc,bj->abc", tile, d, tile)
    return transformed, np.einsum("ai,ijc,bj->abc", kernel, w, kernel)


def _transform_inputs():
    return st.integers(1, 3).flatmap(
        lambda channels: st.tuples(array((4, 4, channels)), array((3, 3, channels)))
    )


TILE = np.array([[-1.0, 0, 1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, 0, 1]])  # Bᵀ
KERNEL = np.array([[-1.0, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])  # G


def _both_sides(left, x, right):
    """left · x · rightᵀ in every channel."""
    return np.einsum("ai,ijc,bj->abc", left, x, right)


def _by_matmul(d, w):
    v, u = TILE @ d.transpose(2, 0, 1) @ TILE.T, KERNEL @ w.transpose(2, 0, 1) @ KERNEL.T
    return v.transpose(1, 2, 0), u.transpose(1, 2, 0)


def _line_by_line(d, w):
    def tile_lines(d):  # along the first axis
        return np.stack([d[2] - d[0], d[1] + d[2], d[2] - d[1], d[3] - d[1]])

    def kernel_lines(w):
        return np.stack([-w[0], (w[0] + w[1] + w[2]) / 2, (w[0] - w[1] + w[2]) / 2, w[2]])

    v = tile_lines(tile_lines(d).swapaxes(0, 1)).swapaxes(0, 1)
    return v, kernel_lines(kernel_lines(w).swapaxes(0, 1)).swapaxes(0, 1)


def _halves_forgotten(d, w):
    kernel = np.sign(KERNEL)
    return _both_sides(TILE, d, TILE), _both_sides(kernel, w, kernel)


def _one_side(d, w):
    v = np.einsum("ai,ijc->ajc", TILE, d)
    u = np.einsum("ai,ijc->ajc", KERNEL, w)
    return v, np.concatenate([u, np.zeros((4, 1, w.shape[2]))], axis=1)


C = Exercise(
    key="11.c",
    title="Winograd's transforms",
    points=2,
    difficulty=3,
    solve=winograd_transforms,
    inputs=_transform_inputs,
    hints=(
        "Both are the same operation: a matrix from the left, and its transpose from the right, "
        "in every channel by itself.",
        "Either take one channel after the other, d[..., c], and stack the results along the last "
        "axis, or let np.einsum do all channels at once.",
        "With T for Bᵀ, V[a, b, c] = Σ over i, j of T[a, i] · d[i, j, c] · T[b, j], and U likewise "
        "with G and w.",
    ),
    wrong=(
        Wrong(
            "forgets the halves of G",
            _halves_forgotten,
            "V is right. In U the two rows in the middle are too large: G has halves there.",
        ),
        Wrong(
            "transforms one side only",
            _one_side,
            "The trick is used twice, down the columns and along the rows; the second time is "
            "missing.",
        ),
        Wrong(
            "takes B for Bᵀ",
            lambda d, w: (_both_sides(TILE.T, d, TILE.T), _both_sides(KERNEL, w, KERNEL)),
            "The matrix on the left of d is Bᵀ, as it is printed in the text of the exercise. You "
            "have used its transpose there.",
        ),
        Wrong(
            "takes Bᵀ on both sides",
            lambda d, w: (_both_sides(TILE, d, TILE.T), _both_sides(KERNEL, w, KERNEL)),
            "From the right the tile is multiplied by B, the transpose of what stands on the left.",
        ),
        Wrong(
            "flips the filter",
            lambda d, w: (_both_sides(TILE, d, TILE), _both_sides(KERNEL, w[::-1, ::-1], KERNEL)),
            "A correlation reads the filter from its top left corner: there is nothing to flip.",
        ),
        Wrong(
            "swaps rows and columns",
            lambda d, w: tuple(x.swapaxes(0, 1) for x in winograd_transforms(d, w)),
            "Your V and U are transposed: the first axis has to stay the one that runs down.",
        ),
        Wrong(
            "sums over the channels too early",
            lambda d, w: tuple(
                x.sum(axis=-1, keepdims=True) + 0 * x for x in winograd_transforms(d, w)
            ),
            "Tile and filter are transformed in every channel by itself. The sum over channels "
            "comes after their product.",
        ),
    ),
    right=(_by_matmul, _line_by_line),
)

EXERCISES = [A, B, C]
