# %% [markdown]
# # 06 · The pullback of u(θ)
# Goal: pull a gradient of the direction u back to its angles, in O(n) and exactly at the poles.
# Minutes: 50
# Difficulty: 4 of 5
# Symbols: θ angles, u direction, s products of sines, g gradient ∂L/∂u, J Jacobian, A tail sums
# Before: lesson 05

# %%
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# %%
import numpy as np

from geonet import Tensor, gradcheck, hypersphere, ops
from geonet.check.gradcheck import GradientError
from lessons import figures

# %% [markdown]
# ## The Jacobian, entry by entry
#
# From lesson 05 we have, with s₁ = 1 and sₖ = sin θ₁ ⋯ sin θₖ₋₁,
#
#     uᵢ = sᵢ cos θᵢ  for i < n,        uₙ = sₙ.
#
# The Jacobian J has the entry Jᵢₖ = ∂uᵢ/∂θₖ in row i and column k, n rows and n − 1 columns.
# There are three cases, depending on where θₖ occurs in uᵢ:
#
# - **above the diagonal, i < k**: uᵢ was settled before angle k came up, so Jᵢₖ = 0;
# - **on the diagonal, i = k**: θₖ occurs in the cosine, so Jₖₖ = −sₖ sin θₖ;
# - **below the diagonal, i > k**: θₖ occurs as one of the sines in sᵢ, and its derivative puts a
#   cosine in the place of that sine: Jᵢₖ = sₖ cos θₖ · (sin θₖ₊₁ ⋯ sin θᵢ₋₁) · cos θᵢ, where the
#   last factor is missing for i = n.
#
# The bracket, together with the last factor, is again a component of a direction, that of the
# later angles alone, u(θₖ₊₁, …, θₙ₋₁). So one column is zeros, one number, and a shorter
# direction.

# %%
theta = np.array([1.2, 2.0, -0.7, 0.4])  # n − 1 = 4 angles
n = len(theta) + 1
s = np.concatenate([[1.0], np.cumprod(np.sin(theta))])  # s₁ … sₙ
u = s * np.append(np.cos(theta), 1.0)  # uᵢ = sᵢ cos θᵢ, uₙ = sₙ

jacobian = np.zeros((n, n - 1))  # row i, column k; zero above the diagonal
for k in range(n - 1):
    later = hypersphere.to_cartesian(theta[k + 1 :])  # u(θₖ₊₁, …, θₙ₋₁)
    jacobian[k, k] = -s[k] * np.sin(theta[k])  # Jₖₖ = −sₖ sin θₖ
    jacobian[k + 1 :, k] = s[k] * np.cos(theta[k]) * later  # Jᵢₖ, i > k

print(jacobian.round(3))
assert np.allclose(jacobian, hypersphere.jacobian(theta))

# %% [markdown]
# We check it by the complex step of lesson 02: add an imaginary 10⁻²⁰ to one angle, and the
# imaginary part of u, divided by 10⁻²⁰, is a column of J, correct to rounding.

# %%
h = 1e-20
for k in range(n - 1):
    stepped = theta.astype(complex)
    stepped[k] += 1j * h
    s_stepped = np.concatenate([[1.0], np.cumprod(np.sin(stepped))])
    u_stepped = s_stepped * np.append(np.cos(stepped), 1.0)
    assert np.allclose(u_stepped.imag / h, jacobian[:, k], rtol=1e-13, atol=0)

# %% [markdown]
# ## The geometry of the columns
#
# Column k says in which direction u sets off, and how fast, when θₖ grows. Three facts hold at
# every θ:
#
#     u · J = 0                   u moves along the sphere, at right angles to itself;
#     column i · column k = 0     for i ≠ k: different angles push in directions at right angles;
#     ‖column k‖ = |sₖ|           the lever of lesson 05.
#
# The first follows from ‖u‖² = 1. For the last, look at the case distinction: column k is sₖ
# times the vector (0, …, 0, −sin θₖ, cos θₖ · v) with the unit vector v = u(θₖ₊₁, …), and sin² +
# cos² = 1. For the second take i < k. From row k on, column i is a multiple of the unit vector
# u(θₖ, …), and column k is sₖ times the derivative of this same unit vector, which is at right
# angles to it for the reason of the first. Above row k, column k is zero. In one equation, JᵀJ =
# diag(s₁², …, sₙ₋₁²).

# %%
print((jacobian.T @ jacobian).round(6))
assert np.allclose(u @ jacobian, 0.0)  # u · J = 0
assert np.allclose(jacobian.T @ jacobian, np.diag(s[:-1] ** 2))  # JᵀJ = diag(sₖ²)
assert np.allclose(s[:-1] ** 2, hypersphere.metric(theta))

# %% [markdown]
# ## The pullback, the slow way
#
# A loss L depends on θ through u only. Given g = ∂L/∂u, the chain rule is a product with J,
#
#     ∂L/∂θₖ = Σᵢ gᵢ Jᵢₖ.
#
# It is correct, but a matrix of n (n − 1) entries has to be filled for every unit. In a ResNet
# some units have n = 3·3·512 = 4608 inputs, which makes 21 million entries for *one* unit in
# order to get 4607 numbers.

# %%
g = np.array([0.5, -1.0, 2.0, 0.3, -0.8])
slow = g @ jacobian  # ∂L/∂θₖ = Σᵢ gᵢ Jᵢₖ
print("∂L/∂θ =", slow)

# %% [markdown]
# ## A short cut with a trap
#
# Below the diagonal a sine becomes a cosine, so Jᵢₖ = uᵢ cos θₖ / sin θₖ. That is short and needs
# only u, which we have anyway:
#
#     ∂L/∂θₖ = (cos θₖ / sin θₖ) (gₖ₊₁ uₖ₊₁ + … + gₙ uₙ) − gₖ sₖ sin θₖ.
#
# But it divides by sin θₖ, and at a pole this is 0/0. The danger is not remote: a weight with a
# single positive entry *is* a pole, and rows that end in zeros can be one too.

# %%
at_pole = np.array([1.2, 0.0, -0.7, 0.4])  # sin θ₂ = 0
s_pole = np.concatenate([[1.0], np.cumprod(np.sin(at_pole))])
u_pole = s_pole * np.append(np.cos(at_pole), 1.0)
sums = np.cumsum((g * u_pole)[::-1])[::-1][1:]  # Σ gᵢ uᵢ over i > k
with np.errstate(divide="ignore", invalid="ignore"):
    quotient = np.cos(at_pole) / np.sin(at_pole) * sums - g[:-1] * s_pole[:-1] * np.sin(at_pole)
print("with the division", quotient)
print("with the Jacobian", g @ hypersphere.jacobian(at_pole))

# %% [markdown]
# ## The pullback, the right way
#
# Go back to the recursion that made u. The angles from k on have a direction of their own, u(θₖ,
# …, θₙ₋₁), with n − k + 1 components. Let **Aₖ** be the sum of these components, each times its
# own gₖ, …, gₙ. Because u(θₖ, …) = (cos θₖ, sin θₖ · u(θₖ₊₁, …)), these sums obey a recursion as
# well, from the end to the front:
#
#     Aₙ = gₙ,        Aₖ = gₖ cos θₖ + Aₖ₊₁ sin θₖ.
#
# Here gₖ and Aₖ₊₁ do not depend on θₖ, because Aₖ₊₁ is about later angles. So the derivative is
# simple:
#
#     ∂Aₖ/∂θₖ = Aₖ₊₁ cos θₖ − gₖ sin θₖ.
#
# And how does L change with Aₖ? The components of u from k on are sₖ times the direction u(θₖ,
# …), so their part of L changes by sₖ times the change of Aₖ; the components before k do not know
# θₖ. Therefore
#
#     ∂L/∂θₖ = sₖ (Aₖ₊₁ cos θₖ − gₖ sin θₖ).
#
# There is no division, and two numbers are carried along, sₖ and Aₖ: the cost is O(n). At a pole
# some products have a factor 0, and that is all that happens.

# %%
sine, cosine = np.sin(theta), np.cos(theta)
grad = np.empty(n - 1)
A = g[-1]  # Aₙ = gₙ
for k in reversed(range(n - 1)):
    grad[k] = s[k] * (A * cosine[k] - g[k] * sine[k])  # ∂L/∂θₖ = sₖ (Aₖ₊₁ cos θₖ − gₖ sin θₖ)
    A = g[k] * cosine[k] + A * sine[k]  # Aₖ = gₖ cos θₖ + Aₖ₊₁ sin θₖ

print("∂L/∂θ =", grad)
assert np.allclose(grad, slow)
assert np.isclose(A, g @ u)  # A₁ is g · u: a check that comes for free

tensor = Tensor(theta[None, :], requires_grad=True)  # geonet takes O units in rows
ops.hyperspherical(tensor).backward(g[None, :])
assert np.allclose(tensor.grad[0], grad)

# %% [markdown]
# Notice the order of the two lines in the loop: the gradient of angle k needs Aₖ₊₁, so A may be
# renewed only afterwards.
#
# ## How small is a correct gradient?
#
# Column k has the length |sₖ|, a product of k − 1 sines. With uniformly random angles the late
# columns are tiny: for n = 16 the median size of ∂u/∂θ₁₅ is 9·10⁻⁵. Now imagine a wrong pullback
# that gives **zero** for the later angles, and a test that accepts an absolute error of 10⁻²:

# %%
rng = np.random.default_rng(0)
many_angles = rng.uniform(0.0, np.pi, (20_000, 15))
column_sizes = np.sqrt(hypersphere.metric(many_angles))  # ‖∂u/∂θₖ‖ = |sₖ|
print(f"median ‖∂u/∂θ₁₅‖ = {np.median(column_sizes[:, 14]):.1e}")

theta_16 = many_angles[:1]
g_16 = rng.normal(size=(1, 16))
right = (g_16 @ hypersphere.jacobian(theta_16)[0])[0]
wrong = np.where(np.arange(15) < 11, right, 0.0)  # angles 12 to 15 get no gradient
errors = np.abs(wrong - right)
relative = errors / column_sizes[0]
print(f"largest error {errors.max():.1e}: an absolute tolerance of 1e-2 lets it pass")
print(f"largest error relative to its column {relative.max():.1e}: this one does not")
assert errors.max() < 1e-2 < relative.max()

# %% [markdown]
# A tolerance has to be measured with the size of the thing it judges. The `gradcheck` of geonet
# and the grader of this course compare each column with its own size.


# %%
def direction_without_late_gradients(angles):
    """u(θ), but angles 12 to 15 are cut off from the gradient."""
    late = Tensor(angles.data[:, 11:])  # a constant
    return ops.hyperspherical(ops.concatenate([angles[:, :11], late], axis=1))


print(gradcheck(ops.hyperspherical, theta_16))
try:
    gradcheck(direction_without_late_gradients, theta_16)
except GradientError as error:
    print("caught:", str(error).splitlines()[0])
else:
    raise AssertionError("a gradient of zero must not pass")

# %% [markdown]
# ## A weight is a direction and a length
#
# If w = r u(θ), a gradient G = ∂L/∂w splits neatly. By the chain rule the gradient of u is g = r
# G, and
#
#     ∂L/∂r = G · u,        ∂L/∂θ = r · (the pullback of G).
#
# The first is A₁ of the loop above, for free. As u and the columns of J are all at right angles
# to each other, they form a coordinate system of their own at the point w, and G is the sum of
# its parts along it:
#
#     G = (G · u) u + Σₖ (G · column k / sₖ²) column k.
#
# So the radius sees what G has to say about the length and nothing else, and the angles see the
# rest.

# %%
radius, G = 2.5, g
grad_radius = G @ u  # ∂L/∂r = G · u
grad_theta = radius * (G @ jacobian)  # ∂L/∂θ = r · (the pullback of G)

parts = (G @ jacobian / s[:-1] ** 2) * jacobian  # (n, n−1): one part per column
assert np.allclose(grad_radius * u + parts.sum(axis=1), G)  # the parts make G again
print(f"∂L/∂r = {grad_radius:.4f}   ∂L/∂θ = {grad_theta}")

r_tensor = Tensor(np.array(radius), requires_grad=True)
theta_tensor = Tensor(theta[None, :], requires_grad=True)
(r_tensor * ops.hyperspherical(theta_tensor)).backward(G[None, :])
assert np.allclose(r_tensor.grad, grad_radius)
assert np.allclose(theta_tensor.grad[0], grad_theta)

# %% [markdown]
# ## The figure

# %%
figure = figures.Figure(figsize=(9.5, 4.2), layout="constrained")
left, right_panel = figure.subplots(1, 2)
shown = hypersphere.jacobian(hypersphere.to_hyperspherical(rng.normal(size=8))[0])
image = left.imshow(shown, cmap="PuOr", vmin=-1, vmax=1)
for i, k in np.ndindex(shown.shape):
    ink = "white" if abs(shown[i, k]) > 0.7 else "black"
    number = f"{shown[i, k]:.2f}" if i >= k else "0"
    left.text(k, i, number, color=ink, ha="center", va="center", fontsize=8)
left.set_xticks(range(7), range(1, 8))
left.set_yticks(range(8), range(1, 9))
left.set(xlabel="angle k", ylabel="component i", title="J: ∂uᵢ/∂θₖ of a random direction, n = 8")
figure.colorbar(image, ax=left, shrink=0.8)

k = np.arange(1, 16)
low, median, high = np.quantile(column_sizes, [0.1, 0.5, 0.9], axis=0)
blue, orange = figures.COLOURS[:2]
right_panel.fill_between(k, low, high, color=blue, alpha=0.2, label="from 10 % to 90 %")
right_panel.semilogy(k, median, "o-", color=blue, label="median ‖∂u/∂θₖ‖")
right_panel.axhline(1e-2, color=orange, linestyle="--", label="a tolerance of 0.01")
right_panel.set(xlabel="angle k", title="Columns of uniformly random angles, n = 16")
right_panel.legend()

figures.save(
    figure,
    "06_pullback",
    alt="Left: the Jacobian of u for n = 8 as a table of numbers with colours. All entries above "
    "the diagonal are zero, the columns are filled from there downwards. Right: the size "
    "of column k for "
    "n = 16 and uniformly random angles, on a logarithmic axis. The median falls evenly from 1 at "
    "k = 1 to 0.00009 at k = 15, and from k = 9 on lies below a tolerance of 0.01.",
    title="The Jacobian of u and the size of its columns",
)

# %% [markdown]
# ## Exercises
#
# `python -m lessons start 06` writes three stubs to work/06.py: the Jacobian of one direction
# (06.a), the pullback of u(θ) for many units without a division (06.b), and the pullback of a
# weight r u(θ) (06.c).
#
# Next: in lesson 07 the direction gets an offset λ and a scale r and becomes a unit of a network.
