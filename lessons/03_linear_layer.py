# %% [markdown]
# # 03 · A batched linear layer and its pullback
#
# Goal: derive the gradients of a whole layer for many inputs at once, and train with them.
# Minutes: 50
# Difficulty: 2 of 5
# Symbols: N inputs, n features, O units; x inputs, W weights, b biases, y outputs, g = ∂L/∂y
# Before: lessons 01 and 02; the product of two matrices

# %%
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# %%
import numpy as np

import geonet
from lessons.figures import new, save, style

# %% [markdown]
# ## One input, one unit; many inputs, many units
#
# A linear layer has `O` units, and each unit has `n` weights and a bias. For an input with
# features `x₁, …, xₙ` unit `o` answers
#
# `yₒ = Σₖ Wₒₖ xₖ + bₒ`.
#
# The weights of one unit are one row of `W`. We hand the layer `N` inputs at once, a **batch**,
# which are the rows of `x`. Then every output has two indices, the input it belongs to and the
# unit it comes from:
#
# `yᵢₒ = Σₖ Wₒₖ xᵢₖ + bₒ`, or with matrices `y = x Wᵀ + b`.
#
# | array | shape | its rows are |
# |---|---|---|
# | x | (N, n) | inputs |
# | W | (O, n) | units |
# | b | (O,) | one number per unit |
# | y | (N, O) | outputs, one row per input |
#
# The sizes below are all different. That is on purpose: two sizes that are equal by chance hide
# half of all mistakes.

# %%
rng = np.random.default_rng(0)
N, n, O = 4, 3, 2
x = rng.normal(size=(N, n))
W = rng.normal(size=(O, n))
b = rng.normal(size=O)

by_loops = np.zeros((N, O))
for i in range(N):
    for o in range(O):
        by_loops[i, o] = sum(W[o, k] * x[i, k] for k in range(n)) + b[o]  # yᵢₒ = Σₖ Wₒₖ xᵢₖ + bₒ

y = x @ W.T + b  # y = x Wᵀ + b
print("outputs, one row an input:")
print(y.round(3))
assert np.allclose(y, by_loops)

# %% [markdown]
# ## The gradient of the outputs
#
# The layer is one link in a chain that ends in a loss `L`, a single number. What comes back to the
# layer is the derivative of the loss with respect to each output, `gᵢₒ = ∂L/∂yᵢₒ`. There is one
# for each output, so `g` has the shape of `y`. This is worth a rule: **a gradient always has the
# shape of what it is the gradient of.**
#
# With half the mean squared distance from targets `t` as the loss:
#
# - `L = 1/(2N) Σᵢₒ (yᵢₒ − tᵢₒ)²`
# - `gᵢₒ = (yᵢₒ − tᵢₒ) / N`

# %%
t = rng.normal(size=(N, O))
L = np.sum((y - t) ** 2) / (2 * N)  # L = 1/(2N) Σᵢₒ (yᵢₒ − tᵢₒ)²
g = (y - t) / N  # gᵢₒ = (yᵢₒ − tᵢₒ) / N
print(f"L = {L:.4f}, y has shape {y.shape}, g has shape {g.shape}")

# %% [markdown]
# ## The pullback, with indices
#
# The **pullback** of the layer takes `g` and gives the gradients of everything that the layer
# used: `W`, `b` and `x`. No new idea is needed, only lesson 01: go through all uses of a value,
# multiply what comes back from each by the local derivative, and add.
#
# - The weight `Wₒₖ` is used once for every input `i`, in `yᵢₒ`, where it is multiplied by `xᵢₖ`:
#   `∂L/∂Wₒₖ = Σᵢ gᵢₒ xᵢₖ`.
# - The bias `bₒ` is used once for every input `i`, in `yᵢₒ`, with the factor 1: `∂L/∂bₒ = Σᵢ gᵢₒ`.
# - The feature `xᵢₖ` is used once by every unit `o`, in `yᵢₒ`, where it is multiplied by `Wₒₖ`:
#   `∂L/∂xᵢₖ = Σₒ gᵢₒ Wₒₖ`.
#
# The loops below are the same three sentences. Each `+=` is a use.

# %%
dW, db, dx = np.zeros((O, n)), np.zeros(O), np.zeros((N, n))
for i in range(N):
    for o in range(O):
        db[o] += g[i, o]  # ∂L/∂bₒ = Σᵢ gᵢₒ
        for k in range(n):
            dW[o, k] += g[i, o] * x[i, k]  # ∂L/∂Wₒₖ = Σᵢ gᵢₒ xᵢₖ
            dx[i, k] += g[i, o] * W[o, k]  # ∂L/∂xᵢₖ = Σₒ gᵢₒ Wₒₖ
print(f"shapes: ∂L/∂W {dW.shape}, ∂L/∂b {db.shape}, ∂L/∂x {dx.shape}")

# %% [markdown]
# ## The pullback, with matrices
#
# A sum over an index that two factors share is a product of matrices, if the shared index stands
# last in the first and first in the second. In `Σᵢ gᵢₒ xᵢₖ` the shared index `i` stands first in
# `g`, so `g` must be transposed. In `Σₒ gᵢₒ Wₒₖ` everything is in place already. So the whole
# pullback is three lines:
#
# - `∂L/∂W = gᵀ x`, of shape (O, N) times (N, n) = (O, n)
# - `∂L/∂b = Σᵢ gᵢ`, a sum over the rows
# - `∂L/∂x = g W`, of shape (N, O) times (O, n) = (N, n)

# %%
assert np.allclose(g.T @ x, dW)  # ∂L/∂W = gᵀ x
assert np.allclose(g.sum(axis=0), db)  # ∂L/∂b = Σᵢ gᵢ
assert np.allclose(g @ W, dx)  # ∂L/∂x = g W
print("loops and matrices agree")

# %% [markdown]
# Some people remember only this: of all products of `g`, `x` and `W`, with or without transposing,
# there is just one that has the right shape. That is true here, and a good way to find the formula
# again. It fails where sizes are equal: with `O = n` the product `g Wᵀ` fits as well as `g W`, and
# is wrong. So check with numbers.
#
# ## Checking
#
# Lesson 02 has the tool. We move one entry at a time by `ih` and take the imaginary part of the
# loss. Then we compare with `geonet.ops.linear`, whose pullback you can read in
# `geonet/ops/matrices.py`.


# %%
def loss(x, W, b):
    return np.sum((x @ W.T + b - t) ** 2) / (2 * N)


def complex_step(f, array, h=1e-20):
    """∂f/∂arrayₖ ≈ Im f(array + ih eₖ) / h, for every entry of an array."""
    units = np.eye(array.size).reshape(-1, *array.shape)  # eₖ, in the shape of the array
    return np.reshape([np.imag(f(array + 1j * h * e)) / h for e in units], array.shape)


for name, found, numeric in [
    ("W", g.T @ x, complex_step(lambda array: loss(x, array, b), W)),
    ("b", g.sum(axis=0), complex_step(lambda array: loss(x, W, array), b)),
    ("x", g @ W, complex_step(lambda array: loss(array, W, b), x)),
]:
    print(f"∂L/∂{name}: largest difference {np.abs(found - numeric).max():.0e}")
    assert np.allclose(found, numeric, rtol=1e-12)

tensors = [geonet.Tensor(array, requires_grad=True) for array in (x, W, b)]
geonet.ops.linear(*tensors).backward(g)  # hand g to the pullback
for tensor, found in zip(tensors, [g @ W, g.T @ x, g.sum(axis=0)]):
    assert np.allclose(tensor.grad, found, rtol=1e-13)
print("geonet gives the same")

# %% [markdown]
# ## Broadcasting on the way forwards is a sum on the way back
#
# In `x Wᵀ + b` NumPy adds an array of shape (O,) to one of shape (N, O): it **broadcasts** `b`, as
# if there were N copies of it. Each copy is a use, and uses add: that is why `∂L/∂b` is a sum over
# the rows. The rule holds for any operation and any shapes:
#
# - axes that NumPy puts in front are summed away;
# - axes of length 1 that it stretches are summed, and stay as axes of length 1.
#
# Take a scale for each row, `s` of shape (N, 1), and one number `c` of shape (): `y = s · x + c`.

# %%
s, c = rng.normal(size=(N, 1)), np.array(0.5)
g_scaled = rng.normal(size=(N, n))  # ∂L/∂y of y = s·x + c, which has shape (N, n)

ds = (g_scaled * x).sum(axis=1, keepdims=True)  # the stretched axis stays, with length 1
dc = g_scaled.sum()  # both axes were put in front
tensor_s, tensor_c = (geonet.Tensor(array, requires_grad=True) for array in (s, c))
(tensor_s * x + tensor_c).backward(g_scaled)
assert np.allclose(tensor_s.grad, ds)
assert np.allclose(tensor_c.grad, dc)
print(f"∂L/∂s has shape {ds.shape}, ∂L/∂c has shape {dc.shape}")

# %% [markdown]
# ## Who contributes what
#
# The product `gᵀ x` hides something worth seeing. Take its sum over `i` apart, and there is one
# matrix for each input:
#
# `∂L/∂W = Σᵢ gᵢ xᵢᵀ`, a sum of outer products.
#
# Every input proposes a change of the weights, and the gradient is what they agree on. If you
# train with a few inputs at a time, you follow the proposals of those few. The 1/N of the mean is
# already in `g`; who divides by N again has a gradient that is too small.

# %%
proposals = np.array([np.outer(g[i], x[i]) for i in range(N)])  # gᵢ xᵢᵀ, (N, O, n)
print("weight [0, 0]: proposals", proposals[:, 0, 0].round(3), "sum", dW[0, 0].round(3))
assert np.allclose(proposals.sum(axis=0), dW)  # ∂L/∂W = Σᵢ gᵢ xᵢᵀ

# %% [markdown]
# And the cost? The way forwards takes `N·n·O` multiplications. So does `gᵀ x`, and so does `g W`.
# The way back costs twice the way forwards, whatever the sizes. That is cheap for N·n + O·n + O
# derivatives.
#
# ## Two layers
#
# Pullbacks are links of a chain: the gradient that one gives for its input is the `g` of the one
# before. Here are two linear layers with the hyperbolic tangent between them:
#
# - `z = x Wᵀ + b`, `a = tanh z`, `y = a Vᵀ`
# - back: `∂L/∂V = gᵀ a`, `∂L/∂a = g V`, `∂L/∂z = ∂L/∂a · (1 − a²)`, and from there as before.
#
# The product with `1 − a²` is entry by entry, since each `aᵢₒ` depends on one `zᵢₒ` only.

# %%
V = rng.normal(size=(5, O))
a = np.tanh(x @ W.T + b)  # a = tanh z, (N, O)
g_y = rng.normal(size=(N, 5))  # ∂L/∂y, (N, 5)

dV = g_y.T @ a  # ∂L/∂V = gᵀ a
da = g_y @ V  # ∂L/∂a = g V
dz = da * (1 - a**2)  # ∂L/∂z = ∂L/∂a · (1 − a²), entry by entry
dW2, db2, dx2 = dz.T @ x, dz.sum(axis=0), dz @ W  # the pullback of the first layer, with g = ∂L/∂z

tensors = [geonet.Tensor(array, requires_grad=True) for array in (x, W, b, V)]
hidden = geonet.ops.tanh(geonet.ops.linear(*tensors[:3]))
geonet.ops.linear(hidden, tensors[3]).backward(g_y)
for tensor, found in zip(tensors, [dx2, dW2, db2, dV]):
    assert np.allclose(tensor.grad, found, rtol=1e-12)
print("two layers: the chain of pullbacks agrees with geonet")

# %% [markdown]
# ## Training
#
# Now we can train. One unit with two weights and no bias is to find the weights (2, −1) from 64
# noisy examples. **Gradient descent** takes steps against the gradient, with a step size η:
#
# `W ← W − η ∂L/∂W`.
#
# We do it twice, once with all the examples in each step, and once with four of them in turn.

# %%
count, step_size = 64, 0.15
inputs = rng.normal(size=(count, 2)) * [1.0, 2.0]  # the second feature is twice as large
targets = inputs @ np.array([[2.0], [-1.0]]) + 0.5 * rng.normal(size=(count, 1))


def train(batch, steps=32):
    """The weights on the way, (steps + 1, 2), with `batch` examples in each step."""
    weights = np.array([[-1.0, 2.0]])  # (1, 2)
    path = [weights[0]]
    for step in range(steps):
        chosen = (step * batch + np.arange(batch)) % count
        outputs = inputs[chosen] @ weights.T  # y = x Wᵀ
        gradient = (outputs - targets[chosen]) / batch  # g = (y − t) / N
        weights = weights - step_size * gradient.T @ inputs[chosen]  # W ← W − η gᵀ x
        path.append(weights[0])
    return np.array(path)


def mean_loss(weights):
    """L over all examples, for weights of shape (…, 2)."""
    errors = weights @ inputs.T - targets[:, 0]  # (…, count)
    return np.mean(errors**2, axis=-1) / 2


all_at_once, four_in_turn = train(count), train(4)
best = np.linalg.lstsq(inputs, targets, rcond=None)[0][:, 0]
print(f"least squares: {best.round(3)}, loss {mean_loss(best):.4f}")
print(f"all examples:  {all_at_once[-1].round(3)}, loss {mean_loss(all_at_once[-1]):.4f}")
print(f"four in turn:  {four_in_turn[-1].round(3)}, loss {mean_loss(four_in_turn[-1]):.4f}")
assert np.allclose(all_at_once[-1], best, atol=0.05)

# %% [markdown]
# The figure shows the loss as a landscape over the two weights. Along a contour the loss does not
# change, and the gradient stands at a right angle to it, so each step with all the examples leaves
# its contour at a right angle. The landscape is steeper in the second weight, because the second
# feature is larger. So the path first falls into the valley and then creeps along it. Four
# examples in turn come nearly as far with a sixteenth of the work, but they never quite agree in
# the end. How to describe weights so that one step size suits them all is a question that this
# course will come back to.

# %%
figure, (left, right) = new(1, 2, size=(8.5, 4))
grid = np.stack(np.meshgrid(np.linspace(-1.7, 2.9, 80), np.linspace(-2.4, 2.6, 80)), axis=-1)
left.contour(*np.moveaxis(grid, -1, 0), mean_loss(grid), levels=2.0 ** np.arange(-2, 6),
             colors="0.75", linewidths=0.8)  # fmt: skip
left.set(xlabel="first weight", ylabel="second weight", title="The weights on their way")
left.set_aspect("equal")
right.set(xlabel="step", ylabel="loss over all examples", title="The loss", yscale="log")
for k, (label, path) in enumerate([("all examples", all_at_once), ("four in turn", four_in_turn)]):
    left.plot(*path.T, label=label, markersize=4, linewidth=1, **style(k))
    right.plot(mean_loss(path), label=label, markersize=4, linewidth=1, **style(k))
left.plot(*best, "*", color="black", markersize=12, label="least squares")
right.axhline(mean_loss(best), color="black", linewidth=1, label="least squares")
for panel in (left, right):
    panel.legend(fontsize=9)

save(
    figure,
    "03_descent",
    alt=(
        "Left: contours of the loss over two weights, ellipses that are longer in the direction "
        "of the first weight. From the start at (−1, 2) the path with all examples leaves each "
        "contour at a right angle, falls in a few steps to the bottom of the valley near second "
        "weight −1, and then moves along it in shorter and shorter steps to the least squares "
        "solution near (2, −1). The path with four examples in turn goes the same way in a zigzag "
        "and keeps moving about the solution. Right: the loss over 32 steps, logarithmic. With "
        "all examples it falls smoothly to that of least squares; with four in turn it falls as "
        "fast at first and then wavers above."
    ),
    title="Gradient descent with a linear layer",
)

# %% [markdown]
# ## What to remember
#
# - A gradient has the shape of what it is the gradient of.
# - The pullback of `y = x Wᵀ + b` is `gᵀ x`, the sum of `g` over the inputs, and `g W`.
# - What broadcasting repeats on the way forwards is summed on the way back.
#
# ## Exercises
#
# `python -m lessons start 03` writes `work/03.py` with three functions: the pullback of a linear
# layer (03.a), the sum that undoes broadcasting (03.b), and the pullback of two layers (03.c).
#
# Lesson 04 puts a rectifier behind a linear unit and looks at the line on which it switches on.
