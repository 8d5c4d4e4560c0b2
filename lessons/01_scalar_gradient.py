# %% [markdown]
# # 01 · A scalar gradient by hand, and why order matters
#
# Goal: take a derivative backwards, one step at a time, and see why the steps need an order.
# Minutes: 40
# Difficulty: 1 of 5
# Symbols: x input, w weight, b bias, z pre-activation, y output, t target, L loss, v a value
# Before: derivatives of one variable, the chain rule, a little Python

# %%
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# %%
import numpy as np

import geonet
from lessons.figures import new, save, style

# %% [markdown]
# ## One neuron, forwards
#
# A neural network learns by asking one question again and again: if I change this number a little,
# how much does the loss change? The answer is a derivative, and the list of all those derivatives
# is the **gradient**. This lesson finds the gradient of the smallest network there is: one neuron
# with one input, and every value in it a single number.
#
# The neuron multiplies its input `x` by a weight `w`, adds a bias `b`, and bends the result with
# the hyperbolic tangent. The loss is half the squared distance from a target `t`:
#
# - `z = w·x + b`
# - `y = tanh z`
# - `L = ½ (y − t)²`
#
# We compute it one operation per line, and give a name to every intermediate value, because each of
# them is needed again on the way back.

# %%
x, w, b, t = 2.0, 0.75, -0.5, 0.25

product = w * x  # w·x
z = product + b  # z = w·x + b
y = np.tanh(z)  # y = tanh z
error = y - t  # y − t
L = error**2 / 2  # L = ½ (y − t)²

print(f"forwards: z = {z:.4f}, y = {y:.4f}, L = {L:.4f}")

# %% [markdown]
# ## The same neuron, backwards
#
# Write `∂L/∂v` for the derivative of the loss with respect to any value `v` in the computation.
# The chain rule says that if `v` influences the loss only through a value `p`, then
#
# `∂L/∂v = ∂L/∂p · ∂p/∂v`.
#
# The first factor tells how the loss depends on `p`, and the second one, the **local derivative**,
# tells how `p` depends on `v`. The local derivative needs nothing but the one operation that made
# `p`. So we start at the end, where `∂L/∂L = 1`, and go back line by line. What we know of one
# value is multiplied by a local derivative and gives what we know of the value before it:
#
# - `∂L/∂error = ∂L/∂L · error`, as the derivative of `½ e²` is `e`
# - `∂L/∂y = ∂L/∂error · 1`
# - `∂L/∂z = ∂L/∂y · (1 − y²)`, as the derivative of `tanh z` is `1 − tanh² z = 1 − y²`
# - `∂L/∂b = ∂L/∂z · 1` and `∂L/∂product = ∂L/∂z · 1`
# - `∂L/∂w = ∂L/∂product · x` and `∂L/∂x = ∂L/∂product · w`
#
# Notice that `tanh z` is not computed a second time: the value `y` from the way forwards gives its
# derivative. Every system that differentiates programs keeps such values for the way back, and
# this is why training a network takes more memory than using it.

# %%
dL = 1.0  # ∂L/∂L
d_error = dL * error  # ∂L/∂error
d_y = d_error * 1  # ∂L/∂y
d_z = d_y * (1 - y**2)  # ∂L/∂z
d_b = d_z * 1  # ∂L/∂b
d_product = d_z * 1  # ∂L/∂product
d_w = d_product * x  # ∂L/∂w
d_x = d_product * w  # ∂L/∂x

print(f"backwards: ∂L/∂w = {d_w:.6f}, ∂L/∂b = {d_b:.6f}, ∂L/∂x = {d_x:.6f}")

# %% [markdown]
# Is it true? A derivative is a promise about small changes, so we make a small change and look. If
# `w` grows by `h`, the loss should grow by about `h · ∂L/∂w`.

# %%
h = 1e-6
moved = (np.tanh((w + h) * x + b) - t) ** 2 / 2
print(f"moving w by {h:g}: ΔL/h = {(moved - L) / h:.6f}, promised {d_w:.6f}")
assert abs((moved - L) / h - d_w) < 1e-5

# %% [markdown]
# ## One sweep back, or one sweep per input?
#
# We might as well have gone forwards: start with `∂w/∂w = 1` and compute `∂product/∂w`, `∂z/∂w`
# and so on, up to `∂L/∂w`. That works, and it takes as many steps. But it gives the derivative
# with respect to `w` only. For `b` we would have to start again with `∂b/∂b = 1`, and for `x` once
# more.
#
# The sweep back gave all three at once. A network has millions of weights and one loss, so one
# sweep back does the work of millions of sweeps forwards. This is the whole reason for going
# backwards.

# %%
forward_w = error * (1 - y**2) * x  # from ∂w/∂w = 1 up to ∂L/∂w
forward_b = error * (1 - y**2) * 1  # again, from ∂b/∂b = 1
forward_x = error * (1 - y**2) * w  # and again, from ∂x/∂x = 1
print("three sweeps forwards, one sweep back: the same three numbers")
assert np.allclose([forward_w, forward_b, forward_x], [d_w, d_b, d_x], rtol=1e-14)

# %% [markdown]
# ## A value that is used twice
#
# In the neuron every value was used once. Look at a computation in which two values are used
# twice:
#
# - `p = x²`
# - `q = p + x`
# - `L = p · sin q`
#
# The loss depends on `p` in two ways: directly, as the first factor, and through `q`. A small
# change of `p` makes both changes happen, and small changes add. So the chain rule has one term
# for every *use* of a value:
#
# `∂L/∂p = [as a factor of L] sin q + [through q] ∂L/∂q · 1`.
#
# The same holds for `x`, which is used by `p` and by `q`.

# %%
x = 1.5
p = x**2  # p = x²
q = p + x  # q = p + x
L = p * np.sin(q)  # L = p · sin q

d_q = p * np.cos(q)  # ∂L/∂q: one use, in L
d_p = np.sin(q) + d_q * 1  # ∂L/∂p: one term from L, one from q
d_x = d_p * 2 * x + d_q * 1  # ∂L/∂x: one term from p, one from q
print(f"∂L/∂p = {d_p:.6f}, ∂L/∂x = {d_x:.6f}")

# %% [markdown]
# ## Why order matters: it decides whether the answer is right
#
# In that cell the three lines stand in the only order that works. Suppose we had been hasty: after
# `L` we pass on what `p` has got so far, `sin q`, to `x`, and only then deal with `q`. When `q`
# hands its term to `p`, it is too late, as `p` has already passed on an unfinished sum.

# %%
hasty_p = np.sin(q)  # what p has got from L; its term from q is still missing
hasty_x = hasty_p * 2 * x  # p passes it on to x, too early
hasty_x += d_q * 1  # q passes on to x, which is right
hasty_p += d_q * 1  # q passes on to p: now p is right, but x will never know
print(f"in a hasty order: ∂L/∂p = {hasty_p:.6f}, but ∂L/∂x = {hasty_x:.6f} instead of {d_x:.6f}")

moved = (x + h) ** 2 * np.sin((x + h) ** 2 + (x + h))
print(f"a small change of x says {(moved - L) / h:.6f}")
assert abs((moved - L) / h - d_x) < 1e-4
assert abs(hasty_x - d_x) > 1

# %% [markdown]
# So here is the rule: **a value may pass its derivative on only when every later use of it has
# paid in.**
#
# There is a simple way to keep that rule. Values are computed one after another, and a value can
# only be used by values that were computed *after* it. If we go back in exactly the opposite order
# of the computation, then everything that uses a value has been dealt with before the value's turn
# comes.
#
# ## A tape
#
# Write down every operation when it is carried out: the value, which earlier values it used, and
# the local derivative for each. Such a list is called a **tape**. The numbers on the left are the
# places on the tape.

# %%
tape = [
    # value, [(place of an input, local derivative), …]
    (x, []),  # 0: x
    (p, [(0, 2 * x)]),  # 1: p = x², ∂p/∂x = 2x
    (q, [(1, 1.0), (0, 1.0)]),  # 2: q = p + x, ∂q/∂p = ∂q/∂x = 1
    (np.sin(q), [(2, np.cos(q))]),  # 3: s = sin q, ∂s/∂q = cos q
    (L, [(1, np.sin(q)), (3, p)]),  # 4: L = p·s, ∂L/∂p = s, ∂L/∂s = p
]

# %% [markdown]
# The way back is now three lines that know nothing of sines or squares. They play the tape
# backwards, and each place pays in to the places that it used: `∂L/∂vᵢ += ∂L/∂vₖ · ∂vₖ/∂vᵢ`. The
# sign `+=` is the sum over the uses, and `reversed` is the order.

# %%
gradient = np.zeros(len(tape))
gradient[-1] = 1.0  # ∂L/∂L = 1
for k in reversed(range(len(tape))):
    for i, local in tape[k][1]:
        gradient[i] += gradient[k] * local  # ∂L/∂vᵢ += ∂L/∂vₖ · ∂vₖ/∂vᵢ

for name, d in zip(["x", "p", "q", "s", "L"], gradient):
    print(f"   ∂L/∂{name} = {d:9.6f}")
assert np.allclose(gradient[[0, 1, 2]], [d_x, d_p, d_q], rtol=1e-14)

# %% [markdown]
# This is what geonet does, too. A `geonet.Tensor` remembers the operation that made it, each
# operation gets a number when it is carried out, and `backward()` goes from the highest number to
# the lowest. Look into `geonet/tensor.py` when you have finished this lesson: you will recognize
# the loop.

# %%
tensor_x = geonet.Tensor(1.5, requires_grad=True)
tensor_p = (tensor_x**2).retain_grad()  # keep ∂L/∂p as well
tensor_q = tensor_p + tensor_x
(tensor_p * geonet.ops.sin(tensor_q)).backward()
print(f"geonet:  ∂L/∂p = {tensor_p.grad:.6f}, ∂L/∂x = {tensor_x.grad:.6f}")
assert np.allclose([tensor_p.grad, tensor_x.grad], [d_p, d_x], rtol=1e-14)

# %% [markdown]
# ## Why order matters: it decides how long it takes
#
# The hasty order can be repaired: let a value pass on every payment at once, and when another
# payment comes later, pass that one on as well. In the end each path from the loss to `x` has been
# walked separately, and the sum over all paths is the right answer. But how many paths are there?
#
# Take a ladder of steps `vₖ₊₁ = vₖ + sin vₖ`. Each step uses its input twice, so every step
# doubles the number of paths. We count how often the line that multiplies is run, walking path by
# path and then playing the tape backwards.


# %%
def ladder(steps):
    """Places used and local derivatives of vₖ₊₁ = vₖ + sin vₖ, from v₀ = 0.5."""
    v, uses = 0.5, [[]]
    for k in range(steps):
        uses.append([(k, 1.0), (k, np.cos(v))])  # one use as a term, one inside the sine
        v = v + np.sin(v)
    return uses


def path_by_path(uses, k, payment):
    """Pass on every payment at once: returns what arrives at place 0, and the multiplications."""
    if k == 0:
        return payment, 0
    arrived, count = 0.0, 0
    for i, local in uses[k]:
        more, work = path_by_path(uses, i, payment * local)
        arrived, count = arrived + more, count + 1 + work
    return arrived, count


def tape_backwards(uses):
    """Wait until all payments are in: returns ∂L/∂v₀, and the multiplications."""
    gradient, count = np.zeros(len(uses)), 0
    gradient[-1] = 1.0
    for k in reversed(range(len(uses))):
        for i, local in uses[k]:
            gradient[i] += gradient[k] * local
            count += 1
    return gradient[0], count


steps = np.arange(1, 15)
path_counts, tape_counts = [], []
for number in steps:
    uses = ladder(number)
    along_paths, path_count = path_by_path(uses, number, 1.0)
    by_tape, tape_count = tape_backwards(uses)
    assert np.isclose(along_paths, by_tape, rtol=1e-12)  # the same derivative
    path_counts.append(path_count)
    tape_counts.append(tape_count)

print(f"14 steps: {path_counts[-1]} multiplications path by path, {tape_counts[-1]} by tape")
print(f"100 steps: about {2.0**101:.0e} path by path, {tape_backwards(ladder(100))[1]} by tape")

# %% [markdown]
# With 100 steps the patient order needs 200 multiplications, and the hasty one would not finish
# before the sun goes out. Adding up first and multiplying once is nothing but
# `a·c + b·c = (a + b)·c`.
#
# ## From the loss, not towards it
#
# There is a third way in which order matters, and it explains in full why we start at the loss.
# Let each step have `n` values instead of one. Its local derivatives then form a matrix `J` of n
# rows and n columns (its **Jacobian**), and the chain rule is a product of matrices, with a single
# row `g` for the derivatives of the loss:
#
# `∂L/∂v₀ = g J₃ J₂ J₁`
#
# A product may be bracketed as we like. From the left, `((g J₃) J₂) J₁`, every step is a row times
# a matrix: n² multiplications. From the right, `g (J₃ (J₂ J₁))`, almost every step is a matrix
# times a matrix: n³ multiplications. The left is the sweep back, the right is the sweep forwards.

# %%
rng = np.random.default_rng(0)
n, depth = 4, 3
J1, J2, J3 = rng.normal(size=(depth, n, n))  # (n, n) each
g = rng.normal(size=n)  # (n,), the derivatives of L with respect to the last values

from_the_loss = ((g @ J3) @ J2) @ J1  # 3 n² multiplications
from_the_inputs = g @ (J3 @ (J2 @ J1))  # 2 n³ + n² multiplications
print(f"from the loss {depth * n**2}, from the inputs {(depth - 1) * n**3 + n**2} multiplications")
assert np.allclose(from_the_loss, from_the_inputs)

sizes = 2 ** np.arange(0, 11)
backward_counts = depth * sizes**2
forward_counts = (depth - 1) * sizes**3 + sizes**2
print(f"for n = {sizes[-1]}: {backward_counts[-1]:.0e} and {forward_counts[-1]:.0e}")

# %% [markdown]
# The figure shows both counts. Both axes of the right panel and the upright axis of the left one
# are logarithmic: equal distances are equal factors.

# %%
figure, (left, right) = new(1, 2, size=(8, 3.6))
left.semilogy(steps, path_counts, label="path by path", **style(0))
left.semilogy(steps, tape_counts, label="newest value first", **style(1))
left.set(xlabel="steps of the ladder", ylabel="multiplications", title="Each value used twice")
right.loglog(sizes, forward_counts, label="from the inputs", **style(0))
right.loglog(sizes, backward_counts, label="from the loss", **style(1))
right.set(xlabel="values in each step, n", ylabel="multiplications", title="Steps of n values each")
for panel in (left, right):
    panel.grid(color="0.9")
    panel.legend()

save(
    figure,
    "01_order",
    alt=(
        "Two panels that count multiplications. Left: for a ladder of 1 to 14 steps in which each "
        "value is used twice, walking path by path takes 2 multiplications for one step and more "
        f"than doubles with every step, up to {path_counts[-1]}; going from the newest value to "
        f"the oldest takes 2 a step, up to {tape_counts[-1]}. Right: for three steps of n values "
        "each, multiplying the Jacobians from the loss grows as n squared, from the inputs as n "
        "cubed; at n = 1024 these are about 3 million and 2 billion."
    ),
    title="What the order of a differentiation costs",
)

# %% [markdown]
# ## What to remember
#
# - A derivative goes back through one operation by multiplication with a local derivative.
# - A value that is used several times *adds* what comes back from each use.
# - Newest first is always a right order, and each operation then has to be looked at only once.
#
# ## Exercises
#
# `python -m lessons start 01` writes `work/01.py` with three functions for you to fill in: the
# gradient of a neuron (01.a), the gradient of a computation that uses its values twice (01.b), and
# the way back over any tape (01.c). `python -m lessons check 01` tells how far you are.
#
# Lesson 02 asks how you can find out that a gradient is wrong before it ruins a day of training.
