# %% [markdown]
# # 08 · Initialization and equal functions
# Goal: compute the parameters of a GmP unit from those of a standard unit, so that both start as
#   the very same function, and find out what "the same" does and does not mean.
# Minutes: 50
# Difficulty: 3 of 5
# Symbols: w weight, b bias, u = w/‖w‖ direction, θ its angles, λ = b/‖w‖ offset, r scale, v and ℓ
#   of weight normalization, s_k products of sines, G gradient ∂L/∂W, η learning rate
# Before: lesson 07
#
# To compare two parameterizations fairly, let both networks start as the same function: then
# whatever differs later comes from the parameterization and not from a luckier draw. So the
# question is: given the weight w and the bias b of a standard unit, which θ, λ and r make a GmP
# unit that computes the same?

# %%
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# %%
import numpy as np

import geonet
from lessons import figures

# %% [markdown]
# ## One property of the ReLU
#
# The ReLU is **positively homogeneous**: a positive factor may be pulled out of it.
#
#     ReLU(c t) = c ReLU(t)   for c > 0
#
# With c = ‖w‖ this turns a standard unit into a GmP unit:
#
#     ReLU(w·x + b) = ReLU(‖w‖ (u·x + b/‖w‖)) = ‖w‖ ReLU(u·x + b/‖w‖)
#
# Compare it with `r ReLU(u(θ)·x + λ)`, and read off the answer:
#
#     r = ‖w‖,   λ = b/‖w‖,   θ = the angles of w
#
# The angles are those of lesson 05. With `t_k = √(w_k² + … + w_n²)`, the length of the tail from
# component k on,
#
# `θ_k = atan2(t_{k+1}, w_k)` for k < n−1,  and  `θ_{n−1} = atan2(w_n, w_{n−1})`.

# %%
rng = np.random.default_rng(0)
units, inputs = 4, 6
weight = rng.normal(size=(units, inputs))  # w (O, n)
bias = rng.normal(size=units)  # b (O,)

radius = np.sqrt((weight**2).sum(axis=1))  # r = ‖w‖     (O,)
lambda_ = bias / radius  # λ = b/‖w‖    (O,)
theta = np.zeros((units, inputs - 1))  # θ (O, n−1)
for k in range(inputs - 2):
    tail = np.sqrt((weight[:, k + 1 :] ** 2).sum(axis=1))  # t_{k+1}
    theta[:, k] = np.arctan2(tail, weight[:, k])  # θ_k = atan2(t_{k+1}, w_k)
theta[:, -1] = np.arctan2(weight[:, -1], weight[:, -2])  # θ_{n−1} = atan2(w_n, w_{n−1})

direction = geonet.hypersphere.to_cartesian(theta)  # u(θ), lesson 05
x = rng.normal(size=(100, inputs))
standard = np.maximum(x @ weight.T + bias, 0.0)  # ReLU(w·x + b)
geometric = radius * np.maximum(x @ direction.T + lambda_, 0.0)  # r ReLU(u·x + λ)
print(
    f"outputs up to {standard.max():.3f}; "
    f"largest difference {np.abs(standard - geometric).max():.1e}"
)
assert np.allclose(standard, geometric, rtol=1e-12, atol=1e-13)
assert np.allclose(theta, geonet.hypersphere.to_hyperspherical(weight)[0])

# %% [markdown]
# Weight normalization (WN) writes w = ℓ v/‖v‖. Here `v = w` and `ℓ = ‖w‖` give back w, whatever the
# activation is. GmP needs the homogeneity, since its r stands outside: with tanh in place of the
# ReLU the two functions differ.

# %%
v, length = weight, radius  # v = w, ℓ = ‖w‖
assert np.allclose(length[:, None] * v / np.linalg.norm(v, axis=1, keepdims=True), weight)
gap = np.tanh(x @ weight.T + bias) - radius * np.tanh(x @ direction.T + lambda_)
print(f"with tanh the largest difference would be {np.abs(gap).max():.2f}")

# %% [markdown]
# ## Whole networks
#
# If every hidden layer is the same function, so is the network. geonet draws the weights first and
# then converts them, so one seed gives one function under the three methods:

# %%
methods = ("SP", "WN", "GmP")
models = {m: geonet.models.mlp([2, 16, 16, 1], m, rng=np.random.default_rng(7)) for m in methods}
points = rng.normal(size=(50, 2))
outputs = {m: model(points).data for m, model in models.items()}
for m in methods[1:]:
    difference = np.abs(outputs[m] - outputs["SP"]).max()
    print(f"{m:<4} differs from SP by at most {difference:.1e}")
    assert difference < 1e-13

# %% [markdown]
# ## Trap 1: the sign of the last component
#
# The last angle is the only one that goes all the way round, because it alone must tell a positive
# w_n from a negative one. It is tempting to treat all angles alike and to write the last tail as a
# length too:
#
# `θ_{n−1} = atan2(√(w_n²), w_{n−1})`   (wrong)
#
# The square root forgets the sign. Every w with w_n < 0, half of all of them, then becomes its
# mirror image, and the network silently starts as another function. (The code published with the
# paper has this line.)

# %%
wrong_theta = theta.copy()
wrong_theta[:, -1] = np.arctan2(np.sqrt(weight[:, -1] ** 2), weight[:, -2])  # the wrong formula
wrong_direction = geonet.hypersphere.to_cartesian(wrong_theta)
turned = geonet.hypersphere.angle_between(wrong_direction, direction)
for w_n, angle in zip(weight[:, -1], turned):
    print(f"w_n = {w_n:+.3f}: the direction is off by {angle:.4f} rad")
many = rng.normal(size=(100_000, inputs))
print(f"share of directions that are changed: {np.mean(many[:, -1] < 0):.3f}")

# %% [markdown]
# ## Trap 2: uniform angles are not uniform directions
#
# Could we skip w, and draw the angles themselves, uniformly from [0, π]? Then u_n = sin θ_1 … sin
# θ_{n−1} is a product of n − 1 numbers below 1. Its size shrinks with every factor, and nearly all
# of the unit's length goes to the first few inputs. A Gaussian vector divided by its length is
# uniform on the sphere, and treats all inputs alike.

# %%
n, draws = 16, 20_000
uniform_angles = rng.uniform(0, np.pi, (draws, n - 1))
from_angles = np.abs(geonet.hypersphere.to_cartesian(uniform_angles))  # |u_k|, (draws, n)
gaussian = rng.normal(size=(draws, n))
from_sphere = np.abs(gaussian / np.linalg.norm(gaussian, axis=1, keepdims=True))
medians = np.median(from_angles, axis=0), np.median(from_sphere, axis=0)
for k in (1, 4, 8, 12, 16):
    print(f"median of |u_{k}|:  angles {medians[0][k - 1]:.1e}   sphere {medians[1][k - 1]:.3f}")
s_last = np.median(np.sqrt(geonet.hypersphere.metric(uniform_angles))[:, -1])
print(f"median of s_15 = ‖∂u/∂θ_15‖ with uniform angles: {s_last:.1e}")

# %% [markdown]
# The last line is why lesson 02 insisted on comparing each column of a gradient with its own size:
# here a gradient of zero for θ_15 would pass any test with an absolute tolerance of 0.001.
#
# ## How long should w be?
#
# In a standard network the draw decides how large the signal is after many layers. Let x have
# entries of mean square q, and let the n entries of w be independent with mean 0 and variance σ².
# Then z = w·x has variance n σ² q. The ReLU keeps the positive half, which has half of the mean
# square:
#
#     q' = ½ n σ² q
#
# The signal keeps its size if `σ² = 2/n` (He's initialization). Glorot's takes `σ² = 2/(n + m)`
# with m units, which loses a factor of two per layer if n = m. We follow q through ten layers; what
# is measured differs from the formula by the luck of the draw.

# %%
width, depth = 200, 10
for name, variance in (("He", 2 / width), ("Glorot", 2 / (width + width)), ("σ = 0.001", 1e-6)):
    signal = rng.normal(size=(300, width))
    for _ in range(depth):
        drawn = rng.normal(0.0, np.sqrt(variance), (width, width))
        signal = np.maximum(signal @ drawn.T, 0.0)
    expected = (0.5 * width * variance) ** depth  # q' = ½ n σ² q, ten times
    print(
        f"{name:<10} mean square after {depth} layers {np.mean(signal**2):8.1e}, "
        f"expected {expected:8.1e}"
    )

# %% [markdown]
# GmP inherits the same choice: converting these weights gives r = ‖w‖, whose mean square is n σ².
# So He's draw means r near √2, and Glorot's with m = n means r near 1. The **direction** does not
# depend on σ at all, and biases that start at 0 give λ = 0: at the start all boundaries of a layer
# pass through the origin, in every parameterization.

# %%
drawn = rng.normal(0.0, np.sqrt(2 / width), (width, width))
print(
    f"He's draw, converted: r between {np.linalg.norm(drawn, axis=1).min():.2f} "
    f"and {np.linalg.norm(drawn, axis=1).max():.2f}; √2 is {np.sqrt(2):.2f}"
)

# %% [markdown]
# ## The same function, but not the same step
#
# Two networks that agree on all inputs have the same loss. Do they also have the same *gradient
# step*? Let W = r u(θ) be the weight that a GmP unit with λ = 0 stands for, and G = ∂L/∂W its
# gradient. The chain rule gives, with `e_k = ∂u/∂θ_k`,
#
#     ∂L/∂r = G·u   and   ∂L/∂θ_k = r G·e_k
#
# A step of gradient descent changes r by −η ∂L/∂r and θ_k by −η ∂L/∂θ_k. To first order in η, W
# moves by
#
#     ΔW = u Δr + r Σ_k e_k Δθ_k = −η ( (G·u) u + r² Σ_k (G·e_k) e_k )
#
# The standard unit moves by ΔW = −η G. To compare, recall from lesson 06 that u and the e_k are
# orthogonal, and that e_k has length s_k. Along u both move alike. Along e_k, GmP moves **r² s_k²
# times** as far as the standard unit. Let us measure it.

# %%
w = weight[0]
r, u, angles = radius[0], direction[0], theta[0]
G = rng.normal(size=inputs)  # any gradient ∂L/∂W
e = geonet.hypersphere.jacobian(angles)  # column k is e_k = ∂u/∂θ_k, (n, n−1)
eta = 1e-6
new_r = r - eta * (G @ u)  # r − η G·u
new_angles = angles - eta * r * (G @ e)  # θ_k − η r G·e_k
step = new_r * geonet.hypersphere.to_cartesian(new_angles) - r * u  # what W really did
formula = -eta * ((G @ u) * u + r**2 * e @ (e.T @ G))  # −η ((G·u) u + r² Σ (G·e_k) e_k)
print(
    f"‖ΔW‖ = {np.linalg.norm(step):.3e}; "
    f"the formula misses it by {np.linalg.norm(step - formula):.1e}"
)
assert np.linalg.norm(step - formula) < 1e-4 * np.linalg.norm(step)

s = np.sqrt(geonet.hypersphere.metric(angles))  # s_k = ‖e_k‖
print("step along", "  GmP / standard", "  r² s_k²")
print(f"u         {(step @ u) / (-eta * G @ u):>14.5f}{1:>12}")
for k in range(inputs - 1):
    ratio = (step @ e[:, k]) / (-eta * G @ e[:, k])
    print(f"e_{k + 1}       {ratio:>14.5f}{(r * s[k]) ** 2:>12.5f}")

# %% [markdown]
# So gradient descent under GmP is gradient descent with a learning rate of its own in each
# direction: a unit of short weight (small r) turns slowly, and so do late angles (small s_k). A
# comparison of two parameterizations at "the same" learning rate therefore needs care.
#
# For WN the same computation with v = w and ℓ = ‖w‖ gives ΔW = −η G: the *first* step is the
# standard one (to first order). After it v has grown, as ∂L/∂v is orthogonal to v, and the paths
# part. You can watch all of this in the loss: three networks, one function at the start, plain
# gradient descent at one rate.

# %%
rng = np.random.default_rng(0)
inputs_xy = rng.uniform(-2, 2, (128, 2))
targets = np.sin(2 * inputs_xy[:, :1]) * inputs_xy[:, 1:]
losses = {}
for method in methods:
    model = geonet.models.mlp([2, 24, 1], method, rng=np.random.default_rng(3))
    optimizer = geonet.train.SGD(model.parameters(), lr=0.05)
    losses[method] = []
    for _ in range(400):
        optimizer.zero_grad()
        loss = geonet.ops.mse(model(inputs_xy), targets)
        loss.backward()
        optimizer.step()
        losses[method].append(loss.item())
print("step    " + "".join(f"{m:>12}" for m in methods))
for step_number in (0, 1, 2, 10, 100, 399):
    row = "".join(f"{losses[m][step_number]:12.6f}" for m in methods)
    print(f"{step_number:>4}    {row}")
assert np.ptp([losses[m][0] for m in methods]) < 1e-14

# %% [markdown]
# The first row is one number three times. In the second SP and WN still agree to three digits, GmP
# has gone its own way. Which of them ends lowest depends on the rate and on the task: this is one
# seed at one rate, not a race. Lesson 10 asks the question properly.

# %%
figure = figures.Figure(figsize=(11, 4.2), layout="constrained")
sign_panel, spread_panel, loss_panel = figure.subplots(1, 3)
true_angles = np.linspace(-np.pi, np.pi, 24, endpoint=False) + 0.13
true = np.stack([np.cos(true_angles), np.sin(true_angles)], axis=1)
mirrored = np.stack([true[:, 0], np.abs(true[:, 1])], axis=1)  # what √(w_n²) makes of it
lost = true[:, 1] < 0
for a, b in zip(true[lost], mirrored[lost]):
    sign_panel.plot(*zip(a, b), color="0.8", linewidth=0.8, zorder=1)
look = figures.style(0) | {"linestyle": "none"}
sign_panel.plot(*true.T, label="direction of w", markersize=5, **look)
look = figures.style(1) | {"linestyle": "none", "fillstyle": "none"}
sign_panel.plot(*mirrored.T, label="with √(w_n²)", markersize=9, **look)
sign_panel.set(title="The lost sign", xlabel="u₁", ylabel="u₂", aspect="equal")
sign_panel.set(xlim=(-1.4, 1.4), ylim=(-1.4, 1.4))
sign_panel.legend(fontsize=8, loc="center")
for k, (label, values) in enumerate(zip(("uniform angles", "uniform on the sphere"), medians)):
    spread_panel.semilogy(
        np.arange(1, n + 1), values, label=label, markersize=5, **figures.style(k)
    )
spread_panel.set(title="Uniform angles favour early inputs", xlabel="k", ylabel="median of |u_k|")
spread_panel.legend(fontsize=8)
for k, method in enumerate(methods):
    look = figures.style(k) | {"markevery": (20 * k, 80)}
    loss_panel.plot(losses[method], label=method, **look)
loss_panel.set(title="One start, three paths", xlabel="step of gradient descent", ylabel="loss")
loss_panel.set(yscale="log")
loss_panel.legend(fontsize=8)
figures.save(
    figure,
    "08_initialization",
    alt="Three panels. Left: directions on the unit circle, and what the formula without the sign "
    "makes of them: all points of the lower half are thrown to the upper half. Middle: the "
    "median of component k of a direction in 16 dimensions, on a logarithmic axis; with uniform "
    "angles it falls by four decades from k = 1 to 16, uniform on the sphere it is level. Right: "
    "the loss of SP, WN and GmP by steps of gradient descent; all start at one value, then part.",
    title="Initialization: two traps, and one start with three paths",
)

# %% [markdown]
# ## Exercises
#
# `python -m lessons start 08` writes three functions for you to fill in:
#
# - **08.a** from a standard layer to GmP;
# - **08.b** back from GmP to a standard layer, for any sign of r;
# - **08.c** the first step of W under GmP.
#
# A boundary that starts in the right place must also stay there while the parameters jitter. Lesson
# 09 shakes them.
