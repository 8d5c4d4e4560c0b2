# %% [markdown]
# # 02 · Checking gradients
#
# Goal: find out whether a gradient is right, how right, and what fools such a check.
# Minutes: 45
# Difficulty: 2 of 5
# Symbols: f function, h step, ε rounding unit 2.2e-16, i imaginary unit, v direction, ∇f gradient
# Before: lesson 01; complex numbers (that i² = −1 will do)

# %%
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# %%
import numpy as np

import geonet
from geonet.check.gradcheck import GradientError
from lessons.figures import new, save, style

# %% [markdown]
# ## Why check at all?
#
# A program with a wrong gradient does not crash. It trains, only worse, and you look for the fault
# in the data, the step size and the initialization before you look where it is. So we want a test
# that takes a function and a gradient and says: right, or wrong, and where.
#
# The idea is the one at the end of lesson 01's first sweep: a derivative is a promise about small
# changes, so make a small change and look. The question of this lesson is how small.
#
# Our example is a function of one variable whose derivative we know:
#
# - `f(x) = sin(x) eˣ`
# - `f′(x) = (sin x + cos x) eˣ`


# %%
def f(x):
    return np.sin(x) * np.exp(x)  # f(x) = sin(x) eˣ


x = 1.0
exact = (np.sin(x) + np.cos(x)) * np.exp(x)  # f′(x) = (sin x + cos x) eˣ
print(f"f({x:g}) = {f(x):.6f}, f′({x:g}) = {exact:.6f}")

# %% [markdown]
# ## Forward differences
#
# The definition of the derivative, without the limit:
#
# `f′(x) ≈ (f(x + h) − f(x)) / h`.
#
# How far is it off? Taylor's formula `f(x + h) = f(x) + h f′(x) + ½ h² f″(x) + …` gives the
# answer: after subtracting `f(x)` and dividing by `h`, what is left over is about `½ h f″(x)`. It
# is the **truncation error**, and it says: make `h` tiny.
#
# ## Central differences
#
# A step to each side is better:
#
# `f′(x) ≈ (f(x + h) − f(x − h)) / 2h`.
#
# In Taylor's formula for `f(x − h)` the sign of every odd power changes. In the difference the
# term with `h²` cancels, and the truncation error is only about `h² f‴(x) / 6`. We try both with
# steps from 1 down to 1e-16.

# %%
steps = 10.0 ** -np.arange(0, 16.25, 0.25)
forward = (f(x + steps) - f(x)) / steps  # (f(x + h) − f(x)) / h
central = (f(x + steps) - f(x - steps)) / (2 * steps)  # (f(x + h) − f(x − h)) / 2h

forward_error = np.abs(forward - exact) / np.abs(exact)
central_error = np.abs(central - exact) / np.abs(exact)
print("  step h   forward   central   (relative errors)")
for k in range(0, len(steps), 8):
    print(f"{steps[k]:8.0e} {forward_error[k]:9.0e} {central_error[k]:9.0e}")

# %% [markdown]
# Down to a certain step the errors fall as promised: by a factor of 100 for forward differences
# when `h` falls by 100, and by 10,000 for central ones. Then they *rise* again. The reason is that
# a computer stores about 16 digits of a number. If `f(x + h)` and `f(x)` agree in their first ten
# digits, the subtraction removes those ten, and six are left. This **rounding error** is about
# `ε |f| / h`, with the rounding unit `ε = 2.2e-16`: the smaller the step, the larger it is.
#
# The best step is where the two errors balance:
#
# - forward: `½ h ≈ ε / h`, so `h ≈ √ε ≈ 1.5e-8`, and the error is about `√ε`: eight digits;
# - central: `h² / 6 ≈ ε / h`, so `h ≈ ∛ε ≈ 6e-6`, and the error is about `ε^⅔ ≈ 4e-11`: ten
#   digits.
#
# With differences we never get all sixteen digits, whatever we do.

# %%
epsilon = np.finfo(float).eps  # ε
h = np.sqrt(epsilon)  # h ≈ √ε
print(f"forward, h = {h:.1e}: error {abs((f(x + h) - f(x)) / h - exact) / exact:.0e}")
h = np.cbrt(epsilon)  # h ≈ ∛ε
print(f"central, h = {h:.1e}: error {abs((f(x + h) - f(x - h)) / (2 * h) - exact) / exact:.0e}")
assert central_error.min() > 10 * epsilon

# %% [markdown]
# ## The complex step
#
# There is a trick that has no such limit. Take the step in the *imaginary* direction:
#
# `f(x + ih) = f(x) + ih f′(x) − ½ h² f″(x) − …`
#
# The value of the function is in the real part, and the derivative is in the imaginary part, with
# nothing to be subtracted from it:
#
# `f′(x) ≈ Im f(x + ih) / h`.
#
# As nothing cancels there is no rounding error to fear, and `h` may be as small as 1e-20. The
# truncation error, about `h² f‴ / 6`, is then 1e-40, which is nothing at all.

# %%
complex_step = np.imag(f(x + 1j * steps)) / steps  # Im f(x + ih) / h
complex_error = np.abs(complex_step - exact) / np.abs(exact)

h = 1e-20
tiny = np.imag(f(x + 1j * h)) / h  # Im f(x + ih) / h
print(f"complex step, h = {h:.0e}: error {abs(tiny - exact) / exact:.0e}")
assert abs(tiny - exact) < 4 * epsilon * abs(exact)

# %%
figure, axes = new(size=(6.5, 4.2))
shown = np.s_[::2]
for k, (label, errors) in enumerate(
    [
        ("forward difference", forward_error),
        ("central difference", central_error),
        ("complex step", complex_error),
    ]
):
    drawn = np.maximum(errors, epsilon / 4)  # an error of 0 has no place on a logarithmic axis
    axes.loglog(steps[shown], drawn[shown], label=label, markersize=4, **style(k))
axes.axhline(epsilon, color="0.4", linewidth=1)
axes.text(1.0, epsilon * 1.3, "rounding unit ε", color="0.3", fontsize=9, va="bottom")
axes.set(xlabel="step h", ylabel="relative error of the derivative", xlim=(2, 5e-17))
axes.grid(color="0.9")
axes.legend(loc="upper center")
save(
    figure,
    "02_steps",
    alt=(
        "Relative error of three numeric derivatives of sin(x) times e to the x at x = 1, over "
        "the step h from 1 down to 1e-16, both axes logarithmic. The forward difference falls to "
        "about 1e-8 near h = 1e-8 and then rises again up to about 1. The central difference "
        "falls twice as steeply to about 1e-11 near h = 1e-5 and then rises likewise. The complex "
        "step falls as steeply as the central difference, but goes on to the rounding unit, "
        "2e-16, near h = 1e-8, and stays there."
    ),
    title="How small a step?",
)

# %% [markdown]
# The trick asks a price: every operation in `f` must understand complex numbers and be smooth.
# With `np.abs`, `np.maximum` or a conjugation in `f` the answer means nothing:
# `abs(x + ih)` is a real number, and its imaginary part is 0.

# %%
print(f"complex step through np.abs: {np.imag(np.abs(x + 1j * h)) / h:g}; right is 1")
assert np.imag(np.abs(x + 1j * h)) == 0

# %% [markdown]
# ## Many variables
#
# For a function of a vector `x = (x₁, …, xₙ)` the gradient is `∇f = (∂f/∂x₁, …, ∂f/∂xₙ)`. Moving
# one entry at a time gives one entry of it:
#
# `∂f/∂xₖ ≈ Im f(x + ih eₖ) / h`, where `eₖ` has a 1 in place k and zeros elsewhere.
#
# That is one evaluation for every entry, which is why nobody trains a network like this. As a test
# on a small example it is just right.


# %%
def energy(x):
    return np.sum(x**2 * np.roll(x, 1))  # Σₖ xₖ² xₖ₋₁, where x₀ means xₙ


def energy_gradient(x):
    return 2 * x * np.roll(x, 1) + np.roll(x, -1) ** 2  # 2 xₖ xₖ₋₁ + xₖ₊₁²


rng = np.random.default_rng(0)
x = rng.normal(size=5)  # (n,)
numeric = np.array([np.imag(energy(x + 1j * h * e)) / h for e in np.eye(5)])  # Im f(x + ih eₖ) / h
print(f"largest difference: {np.abs(numeric - energy_gradient(x)).max():.0e}")
assert np.allclose(numeric, energy_gradient(x), rtol=1e-13)

# %% [markdown]
# When there are many entries, move all of them at once in a random direction `v`. The chain rule
# says what must come out:
#
# `Im f(x + ih v) / h = ∇f(x) · v`.
#
# One evaluation tests the whole gradient. A wrong entry shows itself unless the error happens to
# be orthogonal to `v`, and for a random `v` that does not happen. But the test does not say
# *which* entry is wrong, so it is the first test for large inputs and not the last.

# %%
x = rng.normal(size=100_000)
v = rng.normal(size=100_000)  # a random direction
along = np.imag(energy(x + 1j * h * v)) / h  # Im f(x + ih v) / h
gradient = energy_gradient(x)
print(f"along v: {along:.6f}, ∇f·v: {gradient @ v:.6f}")
assert np.isclose(along, gradient @ v, rtol=1e-9)

gradient[12_345] += 0.1  # one entry of a hundred thousand is wrong
print(f"with one wrong entry: the difference is {abs(along - gradient @ v):.0e}")
assert not np.isclose(along, gradient @ v, rtol=1e-9)

# %% [markdown]
# ## How close is close enough?
#
# Two numbers of a computer are hardly ever equal, so a test needs a tolerance, and the wrong
# tolerance fools more people than the wrong step. Here is a function whose variables have very
# different effects:
#
# `f(x) = ½ Σₖ (cₖ xₖ)²` with `c = (1, 10⁻², 10⁻⁴)`, so `∂f/∂xₖ = cₖ² xₖ`.
#
# The last entry of its gradient is of size 1e-8. Suppose a mistake makes it zero. The test
# `|analytic − numeric| < 1e-6` is passed! In the same way a gradient of size 10⁸ would fail it for
# nothing but rounding. The size of an error says nothing until it is compared with the size of
# what is measured.

# %%
c = np.array([1.0, 1e-2, 1e-4])  # cₖ
x = np.array([0.7, -1.3, 0.4])
numeric = c**2 * x  # ∂f/∂xₖ = cₖ² xₖ
analytic = numeric.copy()
analytic[2] = 0.0  # a mistake: the last variable is forgotten

print("absolute test passes:", np.abs(analytic - numeric).max() < 1e-6)
print("relative test passes:", np.all(np.abs(analytic - numeric) < 1e-6 * np.abs(numeric)))
assert np.abs(analytic - numeric).max() < 1e-6
assert not np.all(np.abs(analytic - numeric) < 1e-6 * np.abs(numeric))

# %% [markdown]
# The relative test, each entry by its own size, is better, but it is too strict in one case. Take
# the gradients at many points: a table with a row for each point and a **column** for each
# variable. Where a variable has an effect that changes its sign, some entries are nearly zero by
# chance. They are differences of large numbers, and their last digits are only rounding. So we
# measure an error by the size of its column:
#
# `sₖ = maxₙ |numericₙₖ|`, and an entry is right if `|analyticₙₖ − numericₙₖ| ≤ tolerance · sₖ`.
#
# One more trap: a comparison with NaN ("not a number") is always false. A test that asks
# `error > allowed` finds nothing wrong with a NaN; the test that asks for `error ≤ allowed` does.

# %%
points = rng.normal(size=(4, 3))
numeric = c**2 * points  # (points, variables)
size = np.abs(numeric).max(axis=0)  # sₖ = maxₙ |numericₙₖ|, (variables,)
analytic = numeric * (1 + 1e-14)  # rounding
analytic[:, 2] = 0.0  # the forgotten variable
analytic[1, 0] = np.nan  # and a division by zero somewhere

right = np.abs(analytic - numeric) <= 1e-9 * size  # |analyticₙₖ − numericₙₖ| ≤ tolerance · sₖ
print("right entries, one row a point:")
print(right)
print("wrong by 'error > allowed':", int(np.sum(np.abs(analytic - numeric) > 1e-9 * size)), "of 5")
assert not right[:, 2].any()
assert not right[1, 0]
assert right.sum() == 7

# %% [markdown]
# Variables like the last one are not rare in this course. The angles of lesson 05 have columns
# that differ by factors of ten thousand, and everything there is tested by column.
#
# ## Kinks
#
# The rectifier `relu(x) = max(x, 0)` has no derivative at 0. A central difference there mixes both
# sides and gives ½, while a library has to choose an answer, mostly 0. Neither is wrong; the
# question is. So a gradient check keeps away from kinks: by more than the step `h`.

# %%
h = 1e-6
at_kink = (np.maximum(h, 0) - np.maximum(-h, 0)) / (2 * h)  # (relu(h) − relu(−h)) / 2h
kink = geonet.Tensor(0.0, requires_grad=True)
geonet.ops.relu(kink).backward()
print(f"relu at 0: central difference {at_kink:g}, geonet {kink.grad:g}")
assert at_kink == 0.5

# %% [markdown]
# ## All of it in one function
#
# `geonet.gradcheck` does what this lesson has derived: central differences with a step near `∛ε`,
# the complex step with `h = 1e-20` where the function allows it, errors by column, and random
# directions for large inputs. When a gradient is wrong it names the worst entry, and where it
# knows the pattern, the cause. We give it the right function first, and then one in which we
# forget the factor 2.


# %%
def energy_of_tensor(x):
    before = geonet.ops.concatenate([x[-1:], x[:-1]])  # (xₙ, x₁, …, xₙ₋₁)
    return geonet.ops.sum(x**2 * before)


report = geonet.gradcheck(energy_of_tensor, rng.normal(size=5))
print(
    f"right: {report.entries} entries, central {report.central:.0e}, complex {report.complex:.0e}"
)
assert report.complex < 1e-12


@geonet.primitive
def square_with_a_mistake(x):
    return x**2, (lambda g: g * x,)  # the pullback should be g · 2x


try:
    geonet.gradcheck(square_with_a_mistake, rng.normal(size=5))
except GradientError as error:
    print(f"wrong: {error}")
else:
    raise AssertionError("the mistake was not found")

# %% [markdown]
# ## What to remember
#
# - Differences have a best step; below it rounding wins. Central differences give ten digits.
# - The complex step gives all digits, where the function is smooth and takes complex numbers.
# - Judge an error by the size of its column, and ask whether it is *small*, never whether it is
#   large.
#
# ## Exercises
#
# `python -m lessons start 02` writes `work/02.py` with three functions: a gradient by central
# differences (02.a), one by the complex step (02.b), and the judgement which entries are right
# (02.c).
#
# Lesson 03 derives the gradient of a whole layer, for many inputs at once, and then has something
# worth checking.
