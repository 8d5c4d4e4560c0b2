# %% [markdown]
# # 04 · One ReLU and its boundary
# Goal: see a ReLU unit as a hyperplane with an active side, described by direction and offset.
# Minutes: 40
# Difficulty: 2 of 5
# Symbols: w weight, b bias, z pre-activation, g gradient ∂L/∂y, u direction, λ offset, φ location
# Before: lesson 03

# %%
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# %%
import numpy as np

from geonet import Tensor, characteristic, ops
from lessons import figures

# %% [markdown]
# ## A line, and two sides
#
# A ReLU unit does two things. It computes an affine number, the *pre-activation* z, and then it
# cuts off what is negative:
#
#     z = w·x + b,        y = max(z, 0).
#
# Wherever z is negative the unit answers 0, wherever z is positive it answers z. All that is
# interesting happens where the two regimes meet, on the set of inputs with z = 0,
#
#     B = {x : w·x + b = 0}.
#
# In two dimensions this is a line, in three a plane, in n a hyperplane of n − 1 dimensions. It is
# called the **characteristic activation boundary** of the unit. We take a unit with two inputs,
# so that we can draw it, and three points to try.

# %%
weight = np.array([3.0, 4.0])
bias = -5.0
points = np.array([[2.0, 1.0], [0.0, 0.0], [-1.0, 2.0]])

z = points @ weight + bias  # z = w·x + b, one number per point
y = np.maximum(z, 0.0)  # y = max(z, 0)
for point, before, after in zip(points, z, y):
    side = "active" if before > 0 else "inactive" if before < 0 else "on the boundary"
    print(f"x = {point}   z = {before:5.1f}   y = {after:4.1f}   {side}")

# %% [markdown]
# ## The pullback of the ReLU
#
# The slope of max(z, 0) is 1 where z > 0 and 0 where z < 0. At z = 0 there is a kink, and any
# number between 0 and 1 is as good as another: we have to choose, and choose **0**, as nearly
# every library does. If g = ∂L/∂y comes in from above, the chain rule says
#
#     ∂L/∂z = g · 1[z > 0].
#
# So the ReLU is a gate. The gradient of an active point passes unchanged, the gradient of an
# inactive one is stopped. Note that the gate looks at z, never at the sign of g.

# %%
g = np.array([10.0, 20.0, 30.0])
grad_z = g * (z > 0)  # ∂L/∂z = g · 1[z > 0]
print("∂L/∂z =", grad_z)

# %% [markdown]
# The third point lies exactly on the boundary and gets no gradient. From z it goes on as in
# lesson 03, since z is a linear layer with one output:
#
#     ∂L/∂w = Σ ∂L/∂z · x,        ∂L/∂b = Σ ∂L/∂z,        ∂L/∂x = ∂L/∂z · w.
#
# Inactive points drop out of both sums. A unit that is inactive on *all* its data therefore gets
# a gradient of exactly zero and never moves again: people call it *dead*. Whether that happens
# depends only on where the boundary is, which is one reason to look at boundaries.

# %%
grad_weight = grad_z @ points  # ∂L/∂w = Σ ∂L/∂z · x
grad_bias = grad_z.sum()  # ∂L/∂b = Σ ∂L/∂z
grad_points = np.outer(grad_z, weight)  # ∂L/∂x = ∂L/∂z · w, one row per point

x_tensor = Tensor(points, requires_grad=True)
w_tensor = Tensor(weight, requires_grad=True)
b_tensor = Tensor(bias, requires_grad=True)
ops.relu(x_tensor @ w_tensor + b_tensor).backward(g)
assert np.allclose(w_tensor.grad, grad_weight)
assert np.allclose(b_tensor.grad, grad_bias)
assert np.allclose(x_tensor.grad, grad_points)
print("∂L/∂w =", grad_weight, "  ∂L/∂b =", grad_bias, "  as geonet has it")

# %% [markdown]
# ## Which numbers describe the boundary?
#
# The unit has three parameters, w₁, w₂ and b, but a line in the plane needs only two numbers.
# Multiply w and b by the same c > 0: then z is multiplied by c and is zero at the same x as
# before, with the same sign everywhere. The boundary has not moved and its active side has not
# changed.
#
# To get rid of this freedom we divide by ‖w‖, the one natural scale:
#
#     u = w/‖w‖,        λ = b/‖w‖,        and so  z = ‖w‖ (u·x + λ).
#
# The **direction** u is a unit vector that stands at right angles on the boundary and points to
# the active side. The **offset** λ has a sign: it is the distance from the boundary to the
# origin, positive when the origin is on the active side and negative when it is not.

# %%
length = np.sqrt(weight @ weight)  # ‖w‖
direction = weight / length  # u = w/‖w‖
lambda_ = bias / length  # λ = b/‖w‖
print(f"‖w‖ = {length}   u = {direction}   λ = {lambda_}")

for c in (0.01, 7.0, -2.0):
    u_c, lambda_c = characteristic.coordinates(c * weight, c * bias)
    print(f"parameters times {c:5}:   u = {u_c}   λ = {lambda_c:5.2f}")

# %% [markdown]
# The last line shows why we insisted on c > 0. With c = −2 the boundary is still the same *set*
# of points, but u and λ have both changed their sign: the active and the inactive side are
# exchanged. So (u, λ) and (−u, −λ) are two different units.
#
# ## Signed distance
#
# How far is a point x from the boundary? Walk from x against u. Every step of length t changes z
# by −t ‖w‖, because w·(x − t u) = w·x − t ‖w‖. So z reaches 0 after
#
#     t = z/‖w‖ = u·x + λ,
#
# and this is the **signed distance**: positive on the active side. The pre-activation itself is
# *not* a distance, unless ‖w‖ happens to be 1.

# %%
distance = points @ direction + lambda_  # t = u·x + λ
feet = points - distance[:, None] * direction  # where the walk ends
print("signed distances", distance, "  pre-activations", z)
print("z at the feet   ", feet @ weight + bias)
assert np.allclose(feet @ weight + bias, 0.0)

# %% [markdown]
# ## The location φ
#
# The origin has the signed distance u·0 + λ = λ. The walk from the origin ends at
#
#     φ = −λ u = −b w/‖w‖²,
#
# the point of the boundary that is nearest to the origin. It is called the **spatial location**
# of the unit. It is an ordinary point in the space of the inputs, so it can be drawn next to the
# data. As long as λ ≠ 0 it also determines the boundary as a set: the one through φ, at right
# angles to φ. What it does not tell is which side is active, since (u, λ) and (−u, −λ) have the
# same φ.

# %%
location = -lambda_ * direction  # φ = −λu
assert np.allclose(location, -bias * weight / (weight @ weight))  # φ = −b w/‖w‖²
assert np.allclose(location, characteristic.location(weight, bias))
print("φ =", location, "  z at φ =", weight @ location + bias)

# %% [markdown]
# Is φ really the nearest point? Every other point of the boundary is φ + t v for some v at right
# angles to u, and by Pythagoras its distance from the origin is √(λ² + t²), which is larger. We
# try it.

# %%
along = np.array([-direction[1], direction[0]])  # v, at right angles to u
for t in (-1.0, 0.0, 1.0):
    point = location + t * along
    print(f"t = {t:4}:  z = {weight @ point + bias:5.1f}   ‖x‖ = {np.sqrt(point @ point):.4f}")

# %% [markdown]
# ## Many units make a piecewise linear function
#
# With a single input there are no directions but u = ±1, and a boundary is one point, φ = −b/w. A
# sum of such units, f(x) = Σ rₖ max(wₖ x + bₖ, 0), is linear between neighbouring boundaries and
# has a kink at every one. Training such a network means moving the kinks to where the function
# bends. Here is the function |x − 1|, made of two units that share one boundary and differ in
# their active side.

# %%
two_weights, two_biases = np.array([1.0, -1.0]), np.array([-1.0, 1.0])
inputs = np.array([-1.0, 0.0, 1.0, 2.0, 3.0])
outputs = np.maximum(inputs[:, None] * two_weights + two_biases, 0.0).sum(axis=1)
assert np.allclose(outputs, np.abs(inputs - 1.0))
print("boundaries", -two_biases / two_weights, "  f(x) =", outputs)

# %% [markdown]
# ## A short weight has a nervous boundary
#
# Two units with the same boundary may answer quite differently to a change of their parameters.
# Take w and 0.1·w (with b and 0.1·b) and add the same noise to the weight and bias of both. The
# noise is the same, but relative to ‖w‖ it is ten times as large for the short one, and the
# boundary is made of w/‖w‖ and b/‖w‖. We draw 20 noisy copies of each.

# %%
rng = np.random.default_rng(0)
noise = rng.normal(scale=0.1, size=(20, 3))  # for w₁, w₂ and b
turns = {}
for scale in (1.0, 0.1):
    noisy_u, noisy_lambda = characteristic.coordinates(
        scale * weight + noise[:, :2], scale * bias + noise[:, 2]
    )
    turns[scale] = np.degrees(np.arccos(np.clip(noisy_u @ direction, -1.0, 1.0)))
    moved = np.abs(noisy_lambda - lambda_)
    print(
        f"‖w‖ = {scale * length:3}:  the direction turns by up to {turns[scale].max():5.2f} "
        f"degrees, the offset moves by up to {moved.max():.3f}"
    )

# %% [markdown]
# Nothing in the function that the two units compute warns of this: up to the factor 0.1, which
# the next layer can undo, it is the same function. It is the **parameterization** (w, b) that
# makes one boundary steady and the other nervous. Lessons 05 to 07 build another
# parameterization, and lesson 09 compares them.
#
# ## The figure

# %%
figure = figures.Figure(figsize=(9.0, 4.2), layout="constrained")
left, right = figure.subplots(1, 2)
span = np.linspace(-4.0, 4.0, 2)


def line(u, offset):
    """Two far points of the boundary with this direction and offset."""
    return -offset * u + 6.0 * span[:, None] * np.array([-u[1], u[0]])


blue, orange = figures.COLOURS[:2]
left.plot(*line(direction, lambda_).T, color="black")
left.fill_between(span, -(weight[0] * span + bias) / weight[1], 4.0, color=blue, alpha=0.15)
left.annotate("", location + direction, location, arrowprops={"arrowstyle": "->", "lw": 2})
left.annotate("u", location + direction, xytext=(4, 4), textcoords="offset points")
left.plot([0.0, location[0]], [0.0, location[1]], color=orange, linestyle="--", label="|λ|")
left.plot(*location, "D", color=orange, label="φ = −λu")
left.plot(0.0, 0.0, "k+", markersize=10, label="origin")
left.plot(*points[z > 0].T, "o", color=blue, label="an active point")
left.plot(*np.stack([points[0], feet[0]], axis=1), color=blue, linestyle=":")
left.plot(*feet[z > 0].T, "s", color=blue, fillstyle="none", label="its foot on the boundary")
left.text(1.6, 3.0, "active: y = z")
left.text(-2.6, -2.2, "inactive: y = 0")
left.set_title("A unit is a line with an active side")
left.legend(loc="lower right", fontsize=8)

looks = {1.0: (blue, "-", "‖w‖ = 5"), 0.1: (orange, "--", "‖w‖ = 0.5")}
for scale, (colour, dashes, label) in reversed(looks.items()):
    copies = characteristic.coordinates(scale * weight + noise[:, :2], scale * bias + noise[:, 2])
    for k, (u_k, lambda_k) in enumerate(zip(*copies)):
        right.plot(
            *line(u_k, lambda_k).T,
            color=colour,
            linestyle=dashes,
            linewidth=0.9,
            label=label if k == 0 else None,
        )
right.set_title("The same noise on a long and a short w")
right.legend(loc="lower right", fontsize=8)
for panel in (left, right):
    panel.set(xlim=(-3, 4), ylim=(-3, 4), xlabel="x₁", ylabel="x₂", aspect="equal")

figures.save(
    figure,
    "04_relu_boundary",
    alt="Left: the line 3x₁ + 4x₂ = 5 in the plane. The half plane above it is the active side, "
    "to which the arrow u points. The point φ of the line nearest to the origin lies at "
    "(0.6, 0.8), at the distance 1, and an active point at (2, 1) is joined to its foot on the "
    "line. Right: twenty noisy copies of this line for a weight of length 5, which all but "
    "coincide, and twenty for a weight of length 0.5 with the same noise, which fan out widely.",
    title="The boundary of one ReLU unit",
)

# %% [markdown]
# ## Exercises
#
# `python -m lessons start 04` writes three stubs to work/04.py: the pullback of the ReLU (04.a),
# the boundary of many units at once (04.b), and the signed distances of many points from many
# boundaries (04.c). `python -m lessons check 04` grades them.
#
# Next: in lesson 05 the direction u, a unit vector in n dimensions, gets coordinates of its own,
# n − 1 angles.
