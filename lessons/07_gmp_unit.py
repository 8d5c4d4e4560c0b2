# %% [markdown]
# # 07 · The GmP unit
# Goal: put the direction u(θ) into a whole ReLU unit, see what each parameter does, and pull a
#   gradient back to all of them.
# Minutes: 45
# Difficulty: 3 of 5
# Symbols: θ angles, u direction, λ offset, r scale, z pre-activation, φ location, a which units are
#   active, g gradient of the output
# Before: lesson 06
#
# A standard unit computes ReLU(w·x + b). Lesson 04 showed that its boundary, the set of inputs with
# w·x + b = 0, has the direction u = w/‖w‖ and the offset b/‖w‖. Three things that we care about
# hang on the one vector w: changing it turns the boundary, moves it *and* scales the output, all at
# once.
#
# The **geometric parameterization** (GmP) gives each of the three things a parameter of its own:
#
#     y = r · ReLU(z),   z = u(θ)·x + λ
#
# Only θ turns the boundary, only λ moves it, only r scales the output.

# %%
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# %%
import numpy as np

import geonet
from lessons import figures

# %% [markdown]
# ## One unit in the plane
#
# With two inputs there is one angle, and `u(θ) = (cos θ, sin θ)`. Here is the unit, written line by
# line.

# %%
theta, lambda_, radius = 0.6, -1.0, 2.0
u = np.array([np.cos(theta), np.sin(theta)])  # u(θ) = (cos θ, sin θ)
x = np.array([2.0, 1.5])
z = u @ x + lambda_  # z = u·x + λ
y = radius * max(z, 0.0)  # y = r · ReLU(z)
print(f"u = {u.round(3)}, length {np.linalg.norm(u):.3f};  z = {z:.4f},  y = {y:.4f}")

# %% [markdown]
# Because ‖u‖ = 1, the number z is more than a pre-activation: it is the **distance** from x to the
# boundary, with a plus sign on the active side. To see this, go from x straight towards the
# boundary by that distance, and arrive on it:
#
#     p = x − z u,   and then u·p + λ = u·x − z ‖u‖² + λ = 0

# %%
foot = x - z * u  # p = x − z u
print(f"x − z u = {foot.round(4)};  u·p + λ = {u @ foot + lambda_:.1e}")

# %% [markdown]
# The point of the boundary nearest the origin is where this walk ends if it starts at x = 0, where
# z = λ:
#
#     φ = −λ u
#
# This is the spatial location of lesson 04, without a division now. Its distance from the origin is
# |λ|, whatever θ is: **while θ changes, the boundary stays a tangent of the circle of radius |λ|**.

# %%
location = -lambda_ * u  # φ = −λ u
print(f"φ = {location.round(4)}, at distance {np.linalg.norm(location):.4f} = |λ| from the origin")
assert np.allclose(location, geonet.characteristic.location(u, np.array(lambda_)))

# %% [markdown]
# ## One parameter at a time
#
# Let us change each parameter by 0.3 and measure what becomes of the boundary: how far it turns, by
# how much its offset changes, and what the output at x is. For comparison we do the same to the
# standard unit that computes the same function, with `w = r u` and `b = r λ`.


# %%
def offset_and_direction(weight, bias):
    """The boundary of w·x + b = 0: λ = b/‖w‖ and u = w/‖w‖."""
    length = np.linalg.norm(weight)
    return bias / length, weight / length


def report(name, weight, bias, output):
    """One row of the table; weight and bias say where the boundary is."""
    new_offset, new_direction = offset_and_direction(weight, bias)
    turn = np.arccos(np.clip(new_direction @ u, -1.0, 1.0))
    print(f"{name:<22}{turn:>10.4f}{new_offset - lambda_:>+12.4f}{output:>10.4f}")


print(f"{'change':<22}{'turn':>10}{'offset':>12}{'output':>10}")
change = 0.3
turned = np.array([np.cos(theta + change), np.sin(theta + change)])
report("GmP: θ + 0.3", turned, lambda_, radius * max(turned @ x + lambda_, 0.0))
report("GmP: λ + 0.3", u, lambda_ + change, radius * max(u @ x + lambda_ + change, 0.0))
report("GmP: r + 0.3", u, lambda_, (radius + change) * max(u @ x + lambda_, 0.0))
weight, bias = radius * u, radius * lambda_  # the same function in standard parameters
for entry in range(2):
    moved = weight + change * np.eye(2)[entry]
    report(f"standard: w_{entry + 1} + 0.3", moved, bias, max(moved @ x + bias, 0.0))
report("standard: b + 0.3", weight, bias + change, max(weight @ x + bias + change, 0.0))

# %% [markdown]
# The first row turns the boundary by exactly 0.3 and leaves its offset, the second moves it by
# exactly 0.3 and leaves its direction, the third does nothing to it at all. The rows of w do both.
# Even b is not innocent: its boundary moved by 0.3/‖w‖ = 0.15, so how far it goes for the same
# change of b depends on how long w happens to be. Lesson 09 makes much of this.
#
# ## Why r stands outside
#
# Put a negative scale inside, ReLU(r(u·x + λ)), and the other side of the boundary becomes the
# active one. Outside it negates the output, and the boundary and its active side stay as they are:

# %%
points = np.array([[2.0, 1.0], [0.0, 0.0], [-1.0, 2.0]])
pre_activations = points @ u + lambda_
print("z           ", pre_activations.round(3))
print("r outside, −2", (-2.0 * np.maximum(pre_activations, 0.0) + 0.0).round(3))
print("r inside,  −2", np.maximum(-2.0 * pre_activations, 0.0).round(3))

# %% [markdown]
# So r may pass through zero during training, as any number may, and no boundary jumps when it does.
#
# ## A layer of units, forward
#
# A layer has O units with n inputs each, and a batch has N inputs. The shapes are θ (O, n−1), λ
# (O,), r (O,), x (N, n), and the result y is (N, O). One row is one unit. The direction is that of
# lesson 05, with `s_k = sin θ_1 … sin θ_{k−1}`:
#
# `u_k = s_k cos θ_k` for k < n,  and  `u_n = s_n`

# %%
rng = np.random.default_rng(0)
units, inputs, batch = 3, 5, 8
thetas = rng.uniform(0, np.pi, (units, inputs - 1))  # θ (O, n−1)
lambdas = np.array([0.4, -0.2, 0.8])  # λ (O,)
radii = np.array([1.5, -0.5, 1.0])  # r (O,), one of them negative
xs = rng.normal(size=(batch, inputs))  # x (N, n)

s = np.ones((units, inputs))
for k in range(1, inputs):
    s[:, k] = s[:, k - 1] * np.sin(thetas[:, k - 1])  # s_{k+1} = s_k sin θ_k
directions = s.copy()  # u_n = s_n
directions[:, :-1] *= np.cos(thetas)  # u_k = s_k cos θ_k

zs = xs @ directions.T + lambdas  # z = x uᵀ + λ   (N, O)
active = zs > 0  # a            (N, O)
ys = radii * zs * active  # y = r · ReLU(z)        (N, O)
print(f"{active.sum()} of {active.size} unit outputs are active; by unit {active.sum(axis=0)}")

# %% [markdown]
# ## Backward: one derivative at a time
#
# Let L be any scalar computed from y, and `g = ∂L/∂y` its gradient, (N, O). We go back through the
# three steps. At `y = r · ReLU(z)`, with a = 1 where z > 0 and 0 elsewhere, the product rule gives
# two derivatives:
#
#     ∂L/∂r = Σ_N g a z   and   ∂L/∂z = g r a
#
# The sum over the batch is there because every input of the batch uses the same r. (Lesson 03 met
# the same sum for the bias.)
#
# At `z = x uᵀ + λ`, which is the linear layer of lesson 03 with u for W and λ for b:
#
#     ∂L/∂λ = Σ_N ∂L/∂z,   ∂L/∂u = (∂L/∂z)ᵀ x,   ∂L/∂x = (∂L/∂z) u

# %%
g = rng.normal(size=(batch, units))  # ∂L/∂y (N, O)
to_radius = (g * active * zs).sum(axis=0)  # ∂L/∂r = Σ g a z          (O,)
to_z = g * radii * active  # ∂L/∂z = g r a            (N, O)
to_lambda = to_z.sum(axis=0)  # ∂L/∂λ = Σ ∂L/∂z          (O,)
to_direction = to_z.T @ xs  # ∂L/∂u = (∂L/∂z)ᵀ x       (O, n)
to_x = to_z @ directions  # ∂L/∂x = (∂L/∂z) u        (N, n)

# %% [markdown]
# Last comes u(θ), with the recursion of lesson 06. Starting from `A_n = G_n` with `G = ∂L/∂u`, for
# k = n−1 down to 1:
#
#     ∂L/∂θ_k = s_k (A_{k+1} cos θ_k − G_k sin θ_k),   A_k = G_k cos θ_k + A_{k+1} sin θ_k

# %%
to_theta = np.zeros_like(thetas)  # ∂L/∂θ (O, n−1)
later = to_direction[:, -1]  # A_n = G_n
for k in range(inputs - 2, -1, -1):
    sine, cosine, ahead = np.sin(thetas[:, k]), np.cos(thetas[:, k]), to_direction[:, k]
    to_theta[:, k] = s[:, k] * (
        later * cosine - ahead * sine
    )  # s_k (A_{k+1} cos θ_k − G_k sin θ_k)
    later = ahead * cosine + later * sine  # A_k = G_k cos θ_k + A_{k+1} sin θ_k
print("∂L/∂r", to_radius.round(3), "  ∂L/∂λ", to_lambda.round(3))
print("∂L/∂θ", to_theta.round(3), sep="\n")

# %% [markdown]
# ## Check it against geonet
#
# The same three steps in geonet, with Tensors that record what is done to them. The scalar is
# `L = Σ g y`, so that ∂L/∂y is our g.

# %%
theta_t, lambda_t, radius_t, x_t = (
    geonet.Tensor(array, requires_grad=True) for array in (thetas, lambdas, radii, xs)
)
output = geonet.ops.relu(geonet.ops.linear(x_t, geonet.ops.hyperspherical(theta_t), lambda_t))
output = output * radius_t
(output * g).sum().backward()
pairs = {
    "y": (ys, output.data),
    "∂L/∂r": (to_radius, radius_t.grad),
    "∂L/∂λ": (to_lambda, lambda_t.grad),
    "∂L/∂θ": (to_theta, theta_t.grad),
    "∂L/∂x": (to_x, x_t.grad),
}
for name, (ours, theirs) in pairs.items():
    difference = np.abs(ours - theirs).max()
    print(f"{name:<6} largest difference {difference:.1e}")
    assert difference < 1e-12

# %% [markdown]
# And the layer that geonet builds for training is this one: `Linear(…, "geometric", "relu")`. We
# put our parameters into it and ask for its output, and for its boundary.

# %%
layer = geonet.nn.Linear(inputs, units, "geometric", "relu", rng=np.random.default_rng(0))
for name, parameter in layer.named_parameters():
    parameter.data[...] = {"theta": thetas, "lambda_": lambdas, "radius": radii}[
        name.split(".")[-1]
    ]
assert np.allclose(layer(xs).data, ys, rtol=1e-12, atol=1e-12)
boundary_weight, boundary_bias = geonet.characteristic.boundary(layer)
assert np.allclose(boundary_weight, directions)
assert np.allclose(boundary_bias, lambdas)
print("The layer's output and its boundary (u, λ) are ours; r has no part in the boundary.")

# %% [markdown]
# ## What the gradients say
#
# Three facts can be read off the formulas, and each is a line to check.
#
# **The radial and the angular gradients are orthogonal.** In the space of the weights, W = r u(θ)
# moves along u when r changes, and at right angles to u when θ changes, since u·∂u/∂θ_k = 0. The
# pullback shows it as a fact about G: adding any multiple of u to G changes nothing in ∂L/∂θ, as
# that part points along the radius.


# %%
def pull_to_theta(gradient):
    """The recursion above for any gradient ∂L/∂u (O, n)."""
    result, later = np.zeros_like(thetas), gradient[:, -1]
    for k in range(inputs - 2, -1, -1):
        sine, cosine, ahead = np.sin(thetas[:, k]), np.cos(thetas[:, k]), gradient[:, k]
        result[:, k] = s[:, k] * (later * cosine - ahead * sine)
        later = ahead * cosine + later * sine
    return result


moved = pull_to_theta(to_direction + 100.0 * directions) - to_theta
print(f"adding 100 u to ∂L/∂u changes ∂L/∂θ by at most {np.abs(moved).max():.1e}")
assert np.abs(moved).max() < 1e-11

# %% [markdown]
# **With r = 0 a unit learns its scale first.** ∂L/∂z = g r a is then zero, so θ and λ stand still,
# while ∂L/∂r = Σ g a z is not zero. After one step r is no longer 0, and the boundary starts to
# learn too.
#
# **A unit that is active on no input of the batch learns nothing.** Every gradient has the factor
# a. That is as for the standard unit; GmP does not mend it. We move one boundary far away to see
# it.

# %%
far = lambdas.copy()
far[0] = -50.0  # every z of unit 0 becomes negative
far_active = xs @ directions.T + far > 0
far_to_z = g * radii * far_active
print("∂L/∂λ with unit 0 far away:", far_to_z.sum(axis=0).round(3))
assert not far_to_z[:, 0].any()

# %% [markdown]
# ## A figure: three parameters, three motions

# %%
figure = figures.Figure(figsize=(10.5, 4.0), layout="constrained")
scale_panel, offset_panel, angle_panel = figure.subplots(1, 3)
t = np.linspace(-1, 3, 201)
for k, scale in enumerate((2.0, 1.0, -1.0)):
    look = figures.style(k) | {"markevery": 50}
    scale_panel.plot(t, scale * np.maximum(t + lambda_, 0.0), label=f"r = {scale:g}", **look)
scale_panel.axvline(-lambda_, color="0.5", linewidth=0.8)
scale_panel.set(title="r scales: the kink stays", xlabel="distance along u", ylabel="output y")

along = np.linspace(-6, 6, 25)[:, None]


def draw_boundary(panel, angle, offset, k, label):
    """The line {x : u(θ)·x + λ = 0}: from φ = −λ u in both directions at right angles to u."""
    normal = np.array([np.cos(angle), np.sin(angle)])
    line = -offset * normal + along * np.array([-normal[1], normal[0]])
    panel.plot(*line.T, label=label, **(figures.style(k) | {"markevery": 2}))
    panel.annotate(
        "", xy=(0.7 - offset) * normal, xytext=-offset * normal, arrowprops={"arrowstyle": "->"}
    )


for k, offset in enumerate((-1.0, -0.3, 0.6)):
    draw_boundary(offset_panel, theta, offset, k, f"λ = {offset:g}")
offset_panel.set(title="λ moves: parallel lines")
for k, angle in enumerate((0.6, 1.4, 2.8)):
    draw_boundary(angle_panel, angle, lambda_, k, f"θ = {angle:g}")
circle = np.linspace(0, 2 * np.pi, 100)
angle_panel.plot(np.cos(circle), np.sin(circle), color="0.5", linewidth=0.8)
angle_panel.set(title="θ turns: tangents of one circle")
for panel in (offset_panel, angle_panel):
    panel.plot(0, 0, "k+")
    panel.set(xlim=(-2.5, 2.5), ylim=(-2.5, 2.5), aspect="equal", xlabel="x₁", ylabel="x₂")
for panel, place in zip((scale_panel, offset_panel, angle_panel), ("left", "left", "center")):
    panel.legend(fontsize=8, loc=f"lower {place}")
figures.save(
    figure,
    "07_gmp_unit",
    alt="Three panels. Left: the output of a unit along its direction for r = 2, 1 and −1; all "
    "are zero up to the same kink at distance 1 and then rise, rise less, or fall. Middle: the "
    "boundaries for three λ are parallel lines at distance |λ| from the origin. Right: the "
    "boundaries for three angles θ at λ = −1 touch one circle of radius 1 around the origin. An "
    "arrow on each boundary points to the active side.",
    title="What r, λ and θ do to a unit",
)

# %% [markdown]
# ## Exercises
#
# `python -m lessons start 07` writes three functions for you to fill in:
#
# - **07.a** the forward pass of a layer of GmP units;
# - **07.b** its pullback to r, λ and u;
# - **07.c** where the boundaries are.
#
# So far we made up θ, λ and r. Lesson 08 computes them from the weights of a standard unit, so that
# a GmP network starts as the very same function, and asks what "the same" does and does not mean.
