# %% [markdown]
# # 11 · Convolution, from loops to Winograd, and what Numba does
# Goal: write a convolution as loops, as one matrix product, and by Winograd's trick with fewer
#   products, derive that trick, and see what a compiler makes of a loop.
# Minutes: 60
# Difficulty: 4 of 5
# Symbols: x images (N, H, W, C), w filters (O, kh, kw, C), y result (N, H', W', O), g = ∂L/∂y,
#   P the matrix of windows, d a tile of the input, A, B, G the matrices of Winograd's transforms
# Before: lesson 10

# %%
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# %%
import time

import numba
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from geonet import Tensor, ops
from geonet.kernels import reference
from lessons import figures

quick = "--quick" in sys.argv  # smaller arrays, for a quick run
rng = np.random.default_rng(0)

# %% [markdown]
# ## A filter is a unit that looks through a window
#
# A convolutional layer has O units, called filters. Each one looks at a small window of the
# picture, kh × kw pixels of C channels, and computes the same kind of number as every unit of this
# course, w·(window) + b. The same filter then looks through every window in turn. Our pictures are
# channels-last, (N, H, W, C), and without padding and with a stride of 1 the sum reads
#
#     y[n, a, b, o] = Σ over i, j, c of x[n, a + i, b + j, c] · w[o, i, j, c].
#
# (Mathematicians call this a *correlation*; a convolution would walk through the filter backwards.
# Networks learn their filters, so it makes no difference to them, and the name has stuck.)
#
# Seven indices are seven loops. Nothing could be plainer, and we shall need this function again,
# as the measure of all that follows.


# %%
def convolve_loops(x, w, y):
    """Add the convolution of x with w to y, one product at a time."""
    for n in range(y.shape[0]):
        for a in range(y.shape[1]):
            for b in range(y.shape[2]):
                for o in range(y.shape[3]):
                    total = y[n, a, b, o]
                    for i in range(w.shape[1]):
                        for j in range(w.shape[2]):
                            for c in range(w.shape[3]):
                                total += x[n, a + i, b + j, c] * w[o, i, j, c]
                    y[n, a, b, o] = total


x = rng.normal(size=(2, 6, 7, 3))
w = rng.normal(size=(4, 3, 3, 3))
y = np.zeros((2, 6 - 3 + 1, 7 - 3 + 1, 4))  # H' = H − kh + 1, W' = W − kw + 1
convolve_loops(x, w, y)
difference = np.abs(y - ops.conv2d(x, w).data).max()
print(f"loops: y has shape {y.shape}, largest difference from geonet.ops.conv2d: {difference:.1e}")
assert difference < 1e-12

# %% [markdown]
# ## From loops to one matrix product: im2col
#
# Processors are at their best when they multiply large matrices. The sum above *is* a matrix
# product once every window has been written out as a row. Let the row of the window at (n, a, b)
# be its kh·kw·C numbers in the order height, width, channel, the same order in which a filter is a
# row:
#
#     P[(n, a, b), (i, j, c)] = x[n, a + i, b + j, c],         y = P · Wᵀ.
#
# Making P is called *im2col*. It copies every pixel up to kh·kw times, so it pays for speed with
# memory.


# %%
def im2col(x, kh, kw):
    """Windows of images (N, H, W, C) as rows: (N·H'·W', kh·kw·C)."""
    images, height, width, channels = x.shape
    down, across = height - kh + 1, width - kw + 1
    windows = np.empty((images, down, across, kh, kw, channels), x.dtype)
    for i in range(kh):
        for j in range(kw):
            windows[:, :, :, i, j] = x[:, i : i + down, j : j + across]  # all windows' pixel (i, j)
    return windows.reshape(images * down * across, kh * kw * channels)


windows = im2col(x, 3, 3)  # P
by_product = (windows @ w.reshape(4, -1).T).reshape(y.shape)  # y = P Wᵀ
print(f"im2col: P has shape {windows.shape}, {windows.size / x.size:.1f} times the numbers of x")
print(f"        largest difference from the loops: {np.abs(by_product - y).max():.1e}")
assert np.abs(by_product - y).max() < 1e-12

# %% [markdown]
# ## The pullback comes for free
#
# y = P Wᵀ is the linear layer of lesson 03, so we know both of its pullbacks:
#
#     ∂L/∂W = gᵀ P,          ∂L/∂P = g W.
#
# What is left is the way from P back to x. Each pixel was copied into several windows, and a
# number that is used several times collects the sum of what comes back from each use. Where im2col
# copied, its pullback (*col2im*) adds.

# %%
g = rng.normal(size=y.shape)  # what comes in from above, ∂L/∂y
g_rows = g.reshape(-1, 4)  # one row per window
to_w = (g_rows.T @ windows).reshape(w.shape)  # ∂L/∂W = gᵀ P
to_windows = (g_rows @ w.reshape(4, -1)).reshape(2, 4, 5, 3, 3, 3)  # ∂L/∂P = g W
to_x = np.zeros_like(x)
for i in range(3):
    for j in range(3):
        to_x[:, i : i + 4, j : j + 5] += to_windows[:, :, :, i, j]  # the transpose of the copy

images, filters = Tensor(x, requires_grad=True), Tensor(w, requires_grad=True)
ops.conv2d(images, filters).backward(g)
print(f"pullback to x: largest difference from geonet {np.abs(to_x - images.grad).max():.1e}")
print(f"pullback to w: largest difference from geonet {np.abs(to_w - filters.grad).max():.1e}")
assert np.allclose(to_x, images.grad, atol=1e-12)
assert np.allclose(to_w, filters.grad, atol=1e-12)

# %% [markdown]
# ## Fewer products: two outputs of a filter of three
#
# Can we do with fewer products? In one dimension, let a filter of r = 3 weights give m = 2
# outputs:
#
#     y_0 = w_0 d_0 + w_1 d_1 + w_2 d_2
#     y_1 = w_0 d_1 + w_1 d_2 + w_2 d_3,
#
# six products of four inputs and three weights. Winograd showed that m + r − 1 = 4 are enough. His
# trick looks like magic when its matrices are simply given, but it can be derived in three steps.
#
# **Step 1: multiply polynomials by their values.** Take w(t) = w_0 + w_1 t + w_2 t² and p(t) = p_0
# + p_1 t. Their product s(t) has degree 3, so four numbers determine it: its values at three
# points t, and its highest coefficient ("the value at ∞"). And a value of a product is *one*
# product of two values: s(t) = w(t) p(t). So four products give all of s. With E_k the matrix that
# takes k coefficients to those four values,
#
#     E_4 s = (E_3 w) ⊙ (E_2 p).
#
# We take the points 0, 1, −1 and ∞, where polynomials are easy to evaluate.


# %%
def evaluation(points, count):
    """E: takes `count` coefficients to the values at the points, and to the highest coefficient."""
    powers = np.array([[point**k for k in range(count)] for point in points])
    return np.vstack([powers, np.eye(count)[-1]])


points = [0.0, 1.0, -1.0]
print("E_4 =", *evaluation(points, 4), sep="\n   ")
polynomial, other = rng.normal(size=3), rng.normal(size=2)
values = (evaluation(points, 3) @ polynomial) * (evaluation(points, 2) @ other)  # four products
coefficients = np.linalg.solve(evaluation(points, 4), values)
print("product of two polynomials from 4 values:", coefficients.round(3))
assert np.allclose(coefficients, np.convolve(polynomial, other))

# %% [markdown]
# **Step 2: a correlation is the transpose of a polynomial product.** For a fixed w, the map p → s
# is linear, s = T p, and the map d → y is linear too. Write both down: s_k = Σ w_i p_(k−i), while
# y_a = Σ w_i d_(a+i). The matrix of the second is the transpose of that of the first, y = Tᵀ d.
#
# **Step 3: transpose the recipe.** Step 1 says T = E_4⁻¹ diag(E_3 w) E_2. Hence
#
#     y = Tᵀ d = E_2ᵀ [ (E_3 w) ⊙ (E_4⁻ᵀ d) ],
#
# which has the form  y = Aᵀ [ (G w) ⊙ (Bᵀ d) ]  with  Aᵀ = E_2ᵀ,  G = E_3,  Bᵀ = E_4⁻ᵀ.
#
# One freedom is left. A row of Bᵀ may be multiplied by any number if the same row of G is divided
# by it. The inverse of E has the denominators N_j = Π (t_j − t_k) over the other finite points; we
# move them to the filter, which is transformed once and used for every tile.


# %%
def winograd_matrices(m, r, points):
    """Aᵀ (m, n), G (n, r) and Bᵀ (n, n) with n = m + r − 1, from n − 1 points (and infinity)."""
    n = m + r - 1
    output = evaluation(points, m).T  # Aᵀ = E_mᵀ
    kernel = evaluation(points, r)  # G = E_r
    tile = np.linalg.inv(evaluation(points, n)).T  # Bᵀ = E_n⁻ᵀ
    for j in range(n - 1):
        scale = np.prod([points[j] - t for k, t in enumerate(points) if k != j])  # N_j
        tile[j] *= scale
        kernel[j] /= scale
    return output, kernel, tile


output, kernel, tile = winograd_matrices(2, 3, points)
for name, matrix in (("Aᵀ", output), ("G", kernel), ("Bᵀ", tile)):
    print(f"{name} =", *(matrix.round(12) + 0.0), sep="\n   ")

d, taps = rng.normal(size=4), rng.normal(size=3)
minimal = output @ ((kernel @ taps) * (tile @ d))  # y = Aᵀ [(G w) ⊙ (Bᵀ d)], four products
print("by Winograd:", minimal, "  directly:", np.correlate(d, taps))
assert np.allclose(minimal, np.correlate(d, taps))

# %% [markdown]
# Bᵀ holds nothing but 0, 1 and −1: transforming a tile takes additions only. This is F(2, 3), "two
# outputs of a filter of three".
#
# With five points the very same function gives F(4, 3). Most code takes 0, 1, −1, 2, −2; with 0,
# √½, −√½, √2, −√2 we get the matrices, entry by entry, that geonet's own kernel uses. Why these,
# the digits below show.

# %%
near, far = np.sqrt(0.5), np.sqrt(2.0)
five_points = [0.0, near, -near, far, -far]
for name, ours, theirs in zip(
    ("Aᵀ", "G", "Bᵀ"),
    winograd_matrices(4, 3, five_points),
    (reference.WINOGRAD_OUTPUT, reference.WINOGRAD_KERNEL, reference.WINOGRAD_INPUT),
):
    print(f"F(4, 3): {name} differs from geonet's by at most {np.abs(ours - theirs).max():.1e}")
    assert np.allclose(ours, theirs)

# %% [markdown]
# ## Two dimensions, many channels
#
# For pictures the trick is used twice, down the columns and along the rows, on tiles d of n × n
# pixels that overlap by r − 1 = 2. For one channel
#
#     Y = Aᵀ [ (G w Gᵀ) ⊙ (Bᵀ d B) ] A.
#
# With C channels we may sum over c *before* the transform back, since it is linear. For each of
# the n² places of a transformed tile that sum is an ordinary matrix product, (tiles × C) times (C
# × O). A 2 × 2 tile takes 16 products instead of 36, a 4 × 4 tile 36 instead of 144.


# %%
def convolve_winograd(x, w, m, points):
    """Convolution with 3×3 filters by F(m×m, 3×3); m must divide H' and W'."""
    output, kernel, tile = (
        matrix.astype(x.dtype) for matrix in winograd_matrices(m, w.shape[1], points)
    )
    n = len(tile)
    tiles = sliding_window_view(x, (n, n), axis=(1, 2))[:, ::m, ::m]  # (N, down, across, C, n, n)
    images, down, across, channels = tiles.shape[:4]
    v = tile @ tiles @ tile.T  # Bᵀ d B
    v = v.transpose(4, 5, 0, 1, 2, 3).reshape(n, n, -1, channels)  # (n, n, tiles, C)
    u = kernel @ w.transpose(3, 0, 1, 2) @ kernel.T  # G w Gᵀ, (C, O, n, n)
    product = v @ u.transpose(2, 3, 0, 1)  # n² matrix products, (n, n, tiles, O)
    y = output @ product.transpose(2, 3, 0, 1) @ output.T  # Aᵀ [...] A, (tiles, O, m, m)
    y = y.reshape(images, down, across, -1, m, m).transpose(0, 1, 4, 2, 5, 3)
    return y.reshape(images, down * m, across * m, -1)


even = rng.normal(size=(2, 10, 10, 3))  # H' = W' = 8
for m, places in ((2, [0.0, 1.0, -1.0]), (4, five_points)):
    difference = np.abs(convolve_winograd(even, w, m, places) - ops.conv2d(even, w).data).max()
    print(f"F({m}×{m}, 3×3): largest difference from geonet.ops.conv2d: {difference:.1e}")
    assert difference < 1e-11

# %% [markdown]
# ## What it costs: digits
#
# Larger tiles save more products, but need more points, and powers of large and small points have
# very different sizes: the transforms add and subtract numbers that nearly cancel. In float64
# nobody would notice. In float32, with its seven digits, it decides which tile we can afford. We
# measure the error against the loops in float64.

# %%
channels = 32 if quick else 128
x64 = rng.normal(size=(1, 26, 26, channels))  # H' = W' = 24 is divisible by 2, 4, 6 and 8
w64 = rng.normal(size=(channels, 3, 3, channels)) / np.sqrt(9 * channels)
exact = (im2col(x64, 3, 3) @ w64.reshape(channels, -1).T).reshape(1, 24, 24, channels)
x32, w32 = x64.astype(np.float32), w64.astype(np.float32)


def relative_error(y):
    """Largest error, in units of the largest entry of the right result."""
    return np.abs(y - exact).max() / np.abs(exact).max()


direct = (im2col(x32, 3, 3) @ w32.reshape(channels, -1).T).reshape(exact.shape)
more_points = [0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 4.0, -4.0]
products, errors = [9.0], [relative_error(direct)]
print("tile      products an output   error in float32")
print(f"direct    {9:18.2f}   {errors[0]:16.1e}")
for m in (2, 4, 6, 8):
    products.append((m + 2) ** 2 / m**2)
    errors.append(relative_error(convolve_winograd(x32, w32, m, more_points[: m + 1])))
    print(f"F({m}×{m})    {products[-1]:18.2f}   {errors[-1]:16.1e}")
print(f"geonet    {'':18}   {relative_error(ops.conv2d(x32, w32, route='winograd').data):16.1e}")
assert errors[1] < errors[2] < 1e-4 < errors[4]

# %% [markdown]
# F(4×4, 3×3) is where geonet stops: a quarter of the products, and an error far below the noise of
# any training. Its points ±√½ and ±√2 lie closer together than ±1 and ±2, and so do their powers:
# that takes three quarters off the error. F(6×6) is hardly less exact than F(4×4) at ±1 and ±2,
# thanks to its points ½ and −½, but saves little more, and pictures of 8 × 8 or 16 × 16 pixels do
# not divide into such tiles. F(8×8) saves next to nothing and loses two more digits.
#
# ## What Numba does
#
# Fewer products do not help if each is slow. Python looks up the type of every number at every
# step of every loop, and that takes far longer than the product itself. *Numba* takes the Python
# function, looks once at the types of its arguments, and translates the loops into machine code
# for exactly these types. The function stays what it was; we do not write another one.
#
# The first call pays for the translation, all later ones are fast. geonet's kernels therefore keep
# the translation in a cache on disk, and load Numba only when a kernel is first called.

# %%
compiled = numba.njit(convolve_loops)  # the same function; nothing is translated yet
small_x = rng.normal(size=(1, 18, 18, 8)).astype(np.float32)
small_w = rng.normal(size=(8, 3, 3, 8)).astype(np.float32)
small = [np.zeros((1, 16, 16, 8), np.float32) for _ in range(3)]


def seconds(function, *arguments):
    """How long one call takes."""
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


for name, function, y in (
    ("plain Python", convolve_loops, small[0]),
    ("compiled, the first call", compiled, small[1]),
    ("compiled, the second one", compiled, small[2]),
):
    print(f"{name:24} {1000 * seconds(function, small_x, small_w, y):9.2f} ms")
print("largest difference:", np.abs(small[0] - small[2]).max())
assert np.allclose(small[0], small[2], atol=1e-4)

# %% [markdown]
# (Times differ from machine to machine and from run to run, so nothing in this lesson depends on
# them.)
#
# ## What a compiler may not do
#
# A processor can add eight float32 numbers in one go. For our sum over c it may not: addition in
# floating point is not associative, so eight partial sums would round differently from one sum
# from left to right, and the compiler has to keep the order that we wrote. We can allow it to
# change the order, and to fuse a product and a sum into one instruction. Or we can turn the loops
# so that the innermost one runs over the filters: eight different sums at a time need no new order
# at all.


# %%
def convolve_turned(x, w, y):
    """As `convolve_loops`, with w (kh, kw, C, O) and the loop over filters innermost."""
    for n in range(y.shape[0]):
        for a in range(y.shape[1]):
            for b in range(y.shape[2]):
                for i in range(w.shape[0]):
                    for j in range(w.shape[1]):
                        for c in range(w.shape[2]):
                            for o in range(w.shape[3]):
                                y[n, a, b, o] += x[n, a + i, b + j, c] * w[i, j, c, o]


allowed = numba.njit(fastmath={"reassoc", "contract"})(convolve_loops)
turned = numba.njit(convolve_turned)
size, channels = (16, 32) if quick else (32, 64)
big_x = rng.normal(size=(2, size + 2, size + 2, channels)).astype(np.float32)
big_w = rng.normal(size=(channels, 3, 3, channels)).astype(np.float32)
turned_w = np.ascontiguousarray(big_w.transpose(1, 2, 3, 0))
multiplications = 2 * size**2 * channels * big_w[0].size


def into_zeros(function, filters):
    """A call that makes y, fills it by the function and gives it back."""
    y = np.zeros((2, size, size, channels), np.float32)
    function(big_x, filters, y)
    return y


ways = {
    "compiled loops": lambda: into_zeros(compiled, big_w),
    "order of sums set free": lambda: into_zeros(allowed, big_w),
    "loops turned": lambda: into_zeros(turned, turned_w),
    "im2col and a product": lambda: im2col(big_x, 3, 3) @ big_w.reshape(channels, -1).T,
    "geonet, by Winograd": lambda: ops.conv2d(big_x, big_w, route="winograd").data,
}
right = ways["compiled loops"]()
print(f"{multiplications / 1e6:.0f} million products:")
for name, way in ways.items():
    assert np.allclose(way().reshape(right.shape), right, atol=2e-3)  # also translates it
    best = min(seconds(way) for _ in range(3 if quick else 7))
    print(f"{name:24} {1000 * best:8.2f} ms   {multiplications / best / 1e9:6.1f} products a ns")

# %% [markdown]
# All five ways compute the same numbers, up to rounding, and your own machine has just told you
# how they rank on it. What to look for: the two loops that may work on several sums at a time
# against the one that may not; and the matrix product, whose library also arranges the order of
# the work so that numbers are used again while they are still in the cache. Winograd's route has a
# quarter of the products to do, which counts for more the more channels there are to each
# transformed tile.
#
# ## The figure
#
# On the left, P for a picture of 4 × 4 pixels and one 3 × 3 filter: every row is a window, and the
# number in a cell says which pixel was copied there. On the right, what Winograd's tiles save and
# cost.

# %%
figure = figures.Figure(figsize=(9.0, 3.9), layout="constrained")
left, right_panel = figure.subplots(1, 2, width_ratios=(1.1, 1))
copies = im2col(np.arange(16.0).reshape(1, 4, 4, 1), 3, 3)
left.imshow(copies, cmap="Greys", vmin=0, vmax=30, aspect="auto")
for row in range(4):
    for column in range(9):
        left.text(column, row, f"{copies[row, column]:.0f}", ha="center", va="center")
left.set_xticks(range(9), [f"{i},{j}" for i in range(3) for j in range(3)])
left.set_yticks(range(4), [f"{a},{b}" for a in range(2) for b in range(2)])
left.set_xlabel("place i, j in the window")
left.set_ylabel("window at a, b")
left.set_title("P: which pixel (0 to 15) stands where")
right_panel.plot(products, errors, **figures.style(0))
for name, across, up in zip(("direct", "F(2×2)", "F(4×4)", "F(6×6)", "F(8×8)"), products, errors):
    right_panel.annotate(name, (across, up), xytext=(8, -10), textcoords="offset points")
right_panel.set_yscale("log")
right_panel.set_xlim(0.5, 11)
right_panel.set_ylim(1e-7, 1e-2)
right_panel.set_xlabel("products an output, for each pair of channels")
right_panel.set_ylabel("relative error in float32")
right_panel.set_title("Larger tiles: fewer products, fewer digits")
figures.save(
    figure,
    "11_convolution",
    "Left: a table of 4 rows and 9 columns, the im2col matrix of a picture of 4 by 4 pixels. The "
    "first row holds the pixels 0, 1, 2, 4, 5, 6, 8, 9, 10; the others the same moved by one pixel "
    "to the right, down, and both. Right: relative error in float32 over products an output, on a "
    "logarithmic scale. Direct: 9 products, error "
    + f"{errors[0]:.0e}; "
    + "; ".join(
        f"F({m}×{m}): {count:.2f} products, error {error:.0e}"
        for m, count, error in zip((2, 4, 6, 8), products[1:], errors[1:])
    )
    + ".",
    title="The im2col matrix, and what Winograd's tiles save and cost",
)

# %% [markdown]
# ## Exercises
#
# `python -m lessons start 11` writes work/11.py with three functions to fill in: im2col with a
# stride (11.a), the pullback of a convolution to the pictures and to the filters (11.b), and
# Winograd's transforms of a tile and a filter for F(2×2, 3×3) (11.c). `python -m lessons check 11`
# grades them.
#
# The next and last lesson stacks convolutions into a residual network and feeds it with
# photographs.
