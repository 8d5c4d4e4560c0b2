# %% [markdown]
# # 05 · Hyperspherical coordinates
# Goal: describe a direction in n dimensions by n − 1 angles, and find the angles of any vector.
# Minutes: 45
# Difficulty: 3 of 5
# Symbols: u direction (unit vector), θ angles, s products of sines, x vector, r length
# Before: lesson 04

# %%
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# %%
import numpy as np

from geonet import hypersphere
from lessons import figures

# %% [markdown]
# ## From the circle upwards
#
# The direction of a boundary in lesson 04 was a unit vector u. Its n components are not free, as
# their squares must add up to 1; n − 1 numbers should be enough. In the plane everyone knows how:
# one angle θ gives
#
#     u = (cos θ, sin θ).
#
# Now suppose that we can already describe unit vectors v in n − 1 dimensions. Then
#
#     u = (cos θ₁, sin θ₁ · v)
#
# is a unit vector in n dimensions: ‖u‖² = cos² θ₁ + sin² θ₁ ‖v‖² = 1. The angle θ₁ divides the
# unit length between the first component and all the others, and v says how the others share what
# is left. Doing this again and again, until v has two components, we need n − 1 angles. The
# recursion is three lines.


# %%
def unit_vector(theta):
    """u(θ), by the recursion."""
    if len(theta) == 0:
        return np.ones(1)  # nothing left to divide
    rest = unit_vector(theta[1:])  # v
    return np.concatenate([[np.cos(theta[0])], np.sin(theta[0]) * rest])  # (cos θ₁, sin θ₁ v)


theta = np.array([1.2, 2.0, -0.7])
u = unit_vector(theta)
print("u =", u, "  ‖u‖² =", u @ u)
assert np.isclose(u @ u, 1.0)

# %% [markdown]
# ## The formula
#
# Let us write the recursion out. Every component below the first carries the factor sin θ₁, every
# component below the second also carries sin θ₂, and so on. We give the product of these factors
# a name,
#
#     s₁ = 1,        sₖ = sin θ₁ · sin θ₂ ⋯ sin θₖ₋₁,
#
# so that sₖ is what the first k − 1 angles have left for the components from k on. With it
#
#     uₖ = sₖ cos θₖ  for k < n,        uₙ = sₙ.
#
# The last component has no cosine, because there is nobody after it to share with. In NumPy the s
# are a cumulative product, and the same lines work for a whole batch of directions in rows.

# %%
thetas = np.array([[1.2, 2.0, -0.7], [0.3, 0.3, 0.3]])  # (O, n−1): two directions, n = 4

s = np.ones((2, 4))  # (O, n)
s[:, 1:] = np.cumprod(np.sin(thetas), axis=1)  # s₁ = 1, sₖ = sin θ₁ ⋯ sin θₖ₋₁
directions = s.copy()  # uₙ = sₙ
directions[:, :-1] *= np.cos(thetas)  # uₖ = sₖ cos θₖ

print(directions)
assert np.allclose(directions[0], u)
assert np.allclose(directions, hypersphere.to_cartesian(thetas))

# %% [markdown]
# ## The way back
#
# Given a vector x of any length, which angles does it have? Let rₖ be the length of what is left
# from component k on,
#
#     rₖ = √(xₖ² + xₖ₊₁² + … + xₙ²).
#
# The angle θₖ divides rₖ between xₖ = rₖ cos θₖ and the rest rₖ₊₁ = rₖ sin θₖ. That is a
# right-angled triangle, and the function for the angle of a right-angled triangle is atan2:
#
#     θₖ = atan2(rₖ₊₁, xₖ)        for k < n − 1.
#
# Since rₖ₊₁ ≥ 0, these angles lie in [0, π]. The last angle divides rₙ₋₁ between *two
# components*, and a component has a sign, which a length does not:
#
#     θₙ₋₁ = atan2(xₙ, xₙ₋₁),     in (−π, π].

# %%
x = 2.5 * u
squares_from_k = np.cumsum(x[::-1] ** 2)[::-1]  # xₖ² + … + xₙ², summed from the end
r = np.sqrt(squares_from_k)  # rₖ

angles = np.empty(3)
angles[:-1] = np.arctan2(r[1:-1], x[:-2])  # θₖ = atan2(rₖ₊₁, xₖ)
angles[-1] = np.arctan2(x[-1], x[-2])  # θₙ₋₁ = atan2(xₙ, xₙ₋₁)

print("angles", angles, "  length", r[0])
assert np.allclose(angles, theta)
assert np.isclose(r[0], 2.5)
assert np.allclose(angles, hypersphere.to_hyperspherical(x)[0])

# %% [markdown]
# ## A sign that is easily lost
#
# It is tempting to use one formula for all angles, atan2(rₖ₊₁, xₖ), with rₙ = √(xₙ²). But √(xₙ²)
# = |xₙ| has forgotten the sign of xₙ. The result is a perfectly good set of angles, only of
# another vector: its last component is always positive. The mistake is easy to overlook, because
# it does nothing to the directions with xₙ ≥ 0. We measure how many directions it changes.

# %%
rng = np.random.default_rng(0)
many = hypersphere.random_directions(10_000, 4, rng)
exact, _ = hypersphere.to_hyperspherical(many)
careless = exact.copy()
careless[:, -1] = np.arctan2(np.sqrt(many[:, -1] ** 2), many[:, -2])  # |xₙ| in place of xₙ

for name, candidate in (("atan2(xₙ, xₙ₋₁)", exact), ("atan2(√xₙ², xₙ₋₁)", careless)):
    back = hypersphere.to_cartesian(candidate)
    lost = np.abs(back - many).max(axis=1) > 1e-9
    print(f"{name:18} loses {lost.mean():.1%} of all directions")

# %% [markdown]
# ## Poles, and angles outside the range
#
# Two facts to keep in mind:
#
# - Several sets of angles can give the same direction. At a **pole**, where sin θₖ = 0,
#   everything after component k is zero, and the later angles make no difference. The way back
#   has to pick something: atan2(0, 0) = 0.
# - Nothing stops us from putting *any* real numbers into the formula for u(θ), for instance
#   those that an optimizer arrives at. They always give a unit vector. The way back then returns
#   other, canonical angles of the same direction. So u → θ → u is always the identity, and θ → u
#   → θ is not.

# %%
for strange in ([0.0, 2.0, -0.7], [-1.2, 2.0, -0.7], [1.2 + 20 * np.pi, 2.0, -0.7]):
    direction = hypersphere.to_cartesian(strange)
    canonical, _ = hypersphere.to_hyperspherical(direction)
    print(np.round(strange, 3), "→ u =", direction.round(3), "→", canonical.round(3))
    assert np.allclose(hypersphere.to_cartesian(canonical), direction)

# %% [markdown]
# ## Why not the arc cosine?
#
# Textbooks often write θₖ = arccos(xₖ/rₖ). On paper this is the same number. On a computer it is
# not, when θₖ is near 0 or π: there the cosine is flat, cos θ ≈ 1 − θ²/2, and for θ = 10⁻⁹ it
# rounds to exactly 1. The angle is lost although x itself contained all its digits.

# %%
for small in (1e-3, 1e-6, 1e-9):
    vector = np.array([np.cos(small), np.sin(small)])
    by_arccos = np.arccos(vector[0] / np.sqrt(vector @ vector))
    by_atan2 = np.arctan2(vector[1], vector[0])
    print(f"θ = {small:.0e}   arccos gives {by_arccos:.9e}   atan2 gives {by_atan2:.9e}")

# %% [markdown]
# The angle *between* two vectors u and v has the same trouble: arccos(û·v̂) loses half of all
# digits for nearly parallel vectors, and the changes of direction during training are often that
# small. W. Kahan's formula avoids it. Two unit vectors û and v̂ span a rhombus with the diagonals
# û + v̂ and û − v̂. The diagonals are at right angles to each other and halve the angle between û
# and v̂, so that
#
#     tan(angle/2) = ‖û − v̂‖ / ‖û + v̂‖,        angle = 2 atan2(‖û − v̂‖, ‖û + v̂‖).

# %%
first = np.array([1.0, 2.0, 3.0])
second = first + np.array([0.0, 3e-9, -2e-9])  # the change is at right angles to the vector
unit_first = first / np.linalg.norm(first)
unit_second = second / np.linalg.norm(second)

by_arccos = np.arccos(np.clip(unit_first @ unit_second, -1.0, 1.0))
difference, total = unit_first - unit_second, unit_first + unit_second
by_kahan = 2.0 * np.arctan2(np.linalg.norm(difference), np.linalg.norm(total))
expected = np.sqrt(13.0) * 1e-9 / np.sqrt(14.0)  # length of the change over length of the vector
print(f"arccos {by_arccos:.6e}   Kahan {by_kahan:.6e}   expected {expected:.6e}")
assert np.isclose(by_kahan, expected, rtol=1e-6)
assert np.isclose(by_kahan, hypersphere.angle_between(first, second), rtol=1e-6)

# %% [markdown]
# ## How the angles of a random direction are spread
#
# Draw a direction uniformly from the sphere. Is θ₁ uniform in [0, π]? It is for n = 2, up to the
# sign. But for n = 3, θ₁ is the angle from the north pole, and there is more room near the
# equator than near the poles. In n dimensions the directions with a given θ₁ form a sphere of n −
# 2 dimensions and radius sin θ₁, whose area grows like the (n − 2)-th power of its radius. So
#
#     density of θ₁  =  c · sin(θ₁)ⁿ⁻².
#
# For large n this is a narrow bell around π/2: a random direction is almost at right angles to
# any given axis.

# %%
grid = np.linspace(0.0, np.pi, 400)
samples, densities = {}, {}
for n in (3, 16, 64):
    theta_n, _ = hypersphere.to_hyperspherical(hypersphere.random_directions(20_000, n, rng))
    samples[n] = theta_n[:, 0]
    shape = np.sin(grid) ** (n - 2)  # sin(θ₁)ⁿ⁻²
    densities[n] = shape / (shape.mean() * np.pi)  # c makes the area 1
    print(f"n = {n:2}:  θ₁ = {samples[n].mean():.3f} ± {samples[n].std():.3f}")

# %% [markdown]
# ## How much a late angle can do
#
# Change only θₖ, by a small ε. The components before k do not notice. The rest of u is sₖ times a
# unit vector that turns by ε, so that u moves by sₖ |ε|. **The product sₖ is the lever of angle
# k.** For uniformly random *directions* the levers stay long, since the early sines are near 1.
# For uniformly random *angles* each sine makes the lever shorter by some factor, and by n = 16
# the last one is nearly powerless. Lesson 06 shows what that means for gradients. geonet draws
# random weights and takes their angles, and so starts with long levers.

# %%
n, draws = 16, 20_000
levers = {}
for name, angles_16 in (
    ("uniform angles", rng.uniform(0.0, np.pi, (draws, n - 1))),
    ("uniform directions", hypersphere.to_hyperspherical(rng.normal(size=(draws, n)))[0]),
):
    s_16 = np.ones((draws, n))
    s_16[:, 1:] = np.cumprod(np.sin(angles_16), axis=1)  # s₁ = 1, sₖ = sin θ₁ ⋯ sin θₖ₋₁
    levers[name] = np.median(s_16[:, :-1], axis=0)
    print(f"{name:18}  median s₁ {levers[name][0]:.2f}, s₈ {levers[name][7]:.1e}, "
          f"s₁₅ {levers[name][14]:.1e}")  # fmt: skip

epsilon = 1e-6
for k in range(3):
    turned = theta.copy()
    turned[k] += epsilon
    moved = np.linalg.norm(unit_vector(turned) - u)
    print(f"ε = {epsilon:.0e} in θ_{k + 1} moves u by {moved:.3e},  s_{k + 1} ε = "
          f"{abs(s[0, k]) * epsilon:.3e}")  # fmt: skip
    assert np.isclose(moved, abs(s[0, k]) * epsilon, rtol=1e-4)

# %% [markdown]
# ## The figure

# %%
figure = figures.Figure(figsize=(11.0, 3.8), layout="constrained")
sphere = figure.add_subplot(1, 3, 1, projection="3d")
circle = np.linspace(0.0, 2.0 * np.pi, 100)
for polar in np.linspace(0.0, np.pi, 7):  # circles of equal θ₁ around the first axis
    ring = np.stack([np.full(100, polar), circle], axis=1)
    sphere.plot(*hypersphere.to_cartesian(ring)[:, [1, 2, 0]].T, color="0.75", linewidth=0.7)
for around in np.linspace(0.0, np.pi, 7):  # circles of equal θ₂ through both poles
    ring = np.stack([circle, np.full(100, around)], axis=1)
    sphere.plot(*hypersphere.to_cartesian(ring)[:, [1, 2, 0]].T, color="0.75", linewidth=0.7)
shown = np.array([0.9, 0.8])
arcs = {
    "θ₁": np.stack([np.linspace(0.0, shown[0], 40), np.full(40, shown[1])], axis=1),
    "θ₂": np.stack([np.full(40, np.pi / 2), np.linspace(0.0, shown[1], 40)], axis=1),
}
for k, (name, arc) in enumerate(arcs.items()):
    path = hypersphere.to_cartesian(arc)[:, [1, 2, 0]]
    sphere.plot(*path.T, color=figures.COLOURS[k], linestyle=("-", "--")[k], linewidth=2.5)
    sphere.text(*(1.15 * path[20]), name)
tip = hypersphere.to_cartesian(shown)[[1, 2, 0]]
sphere.plot(*np.stack([np.zeros(3), tip], axis=1), color="black", linewidth=2)
sphere.text(*(1.1 * tip), "u(θ)")
for name, axis in (("x₁", [0, 0, 1.25]), ("x₂", [1.25, 0, 0]), ("x₃", [0, 1.25, 0])):
    sphere.plot(*np.stack([np.zeros(3), np.array(axis)], axis=1), color="black", linewidth=0.8)
    sphere.text(*axis, name)
sphere.set_axis_off()
sphere.set_box_aspect((1, 1, 1), zoom=1.6)
sphere.view_init(elev=20, azim=35)
sphere.set_title("Two angles, one direction (n = 3)")

spread, lever = figure.add_subplot(1, 3, 2), figure.add_subplot(1, 3, 3)
for k, n in enumerate(samples):
    look = {"color": figures.COLOURS[k], "linestyle": ("-", "--", ":")[k]}
    spread.hist(
        samples[n], bins=60, range=(0.0, np.pi), density=True, alpha=0.3, color=look["color"]
    )
    spread.plot(grid, densities[n], label=f"n = {n}", **look)
spread.set_xticks([0.0, np.pi / 2, np.pi], ["0", "π/2", "π"])
spread.set(xlabel="θ₁ of a random direction", ylabel="density", title="θ₁ gathers around π/2")
spread.legend()
for k, (name, medians) in enumerate(levers.items()):
    look = {"color": figures.COLOURS[k], "linestyle": ("-", "--")[k], "marker": "os"[k]}
    lever.semilogy(np.arange(1, 16), medians, label=name, **look)
lever.set_xticks([1, 5, 10, 15])
lever.set(xlabel="angle k", ylabel="median sₖ", title="The lever of angle k (n = 16)")
lever.legend()

figures.save(
    figure,
    "05_hyperspherical",
    alt="Left: a unit sphere with a direction u, the angle θ₁ from the axis x₁ down to u, and the "
    "angle θ₂ around that axis. Middle: the density of θ₁ for random directions in 3, 16 and 64 "
    "dimensions is a bell around π/2 that gets narrower with n. Histograms of samples agree with "
    "the curves. Right: the median of s_k for n = 16 falls from 1 to 0.00009 at k = 15 when angles "
    "are uniform, and only to 0.3 when directions are uniform.",
    title="Hyperspherical coordinates",
)

# %% [markdown]
# ## Exercises
#
# `python -m lessons start 05` writes three stubs to work/05.py: from angles to directions (05.a),
# from vectors to angles (05.b), and the angle between vectors (05.c). Mind signs and poles:
# `check` tries both.
#
# Next: lesson 06 differentiates u(θ), and finds a gradient that costs no more than u(θ) itself.
