"""Exercises of lesson 07: the GmP unit, forward, backward, and where its boundary is."""

import numpy as np
from hypothesis import strategies as st

import geonet
from lessons.exercise import Exercise, Wrong
from lessons.inputs import ANGLES, NONZERO, array, gmp_units


def _too_long(theta):
    """u with every product of sines one factor too long."""
    s = np.cumprod(np.sin(theta), axis=1)
    return np.concatenate([s * np.cos(theta), s[:, -1:]], axis=1)


# 07.a


def gmp_forward(x, theta, lambda_, radius):
    """Output of a layer of GmP units on a batch, y = r · ReLU(u(θ)·x + λ).

    The direction u(θ) has the components u_k = s_k cos θ_k for k < n and u_n = s_n, where s_k is
    the product of the sines of all angles before θ_k, and s_1 = 1. You may compute it yourself, or
    take `geonet.hypersphere.to_cartesian`.

    Parameters
    ----------
    x : numpy.ndarray
        (N, n), one input per row, n ≥ 2.
    theta : numpy.ndarray
        (O, n−1), the angles of one unit per row.
    lambda_ : numpy.ndarray
        (O,), the signed offsets λ.
    radius : numpy.ndarray
        (O,), the scales r, which may be negative or 0.

    Returns
    -------
    numpy.ndarray
        (N, O).
    """
    z = x @ geonet.hypersphere.to_cartesian(theta).T + lambda_
    return radius * np.maximum(z, 0.0)


def _forward_by_loops(x, theta, lambda_, radius):
    y = np.zeros((len(x), len(theta)))
    for o, angles in enumerate(theta):
        u, product = [], 1.0
        for angle in angles:
            u.append(product * np.cos(angle))
            product *= np.sin(angle)
        u.append(product)
        for i, point in enumerate(x):
            z = sum(a * b for a, b in zip(u, point)) + lambda_[o]
            y[i, o] = radius[o] * z if z > 0 else 0.0
    return y


def _forward_by_einsum(x, theta, lambda_, radius):
    units = len(theta)
    s = np.cumprod(np.concatenate([np.ones((units, 1)), np.sin(theta)], axis=1), axis=1)
    u = s * np.concatenate([np.cos(theta), np.ones((units, 1))], axis=1)
    z = np.einsum("nk,ok->no", x, u) + lambda_[None, :]
    return np.where(z > 0, z, 0.0) * radius[None, :]


def _forward_inputs():
    shapes = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(2, 4))
    return shapes.flatmap(
        lambda s: st.tuples(
            array((s[0], s[2])), array((s[1], s[2] - 1), ANGLES), array(s[1]), array(s[1])
        )
    )


FORWARD = Exercise(
    key="07.a",
    title="A layer of GmP units, forward",
    points=3,
    difficulty=2,
    solve=gmp_forward,
    inputs=_forward_inputs,
    hints=(
        "Do it in three steps, each a line or two of the lesson: u from θ, z from u and λ, y from "
        "z and r. Which of them happen before the ReLU?",
        "Build s with a one in front and the running product of the sines after it, (O, n). All "
        "its columns but the last are then multiplied by cosines. z is the linear layer of lesson "
        "03 with u for the weight and λ for the bias.",
        "np.cumprod(np.sin(theta), axis=1) gives columns 2 to n of s; z = x uᵀ + λ has shape "
        "(N, O); np.maximum(z, 0) is the ReLU, and r multiplies its result, unit by unit.",
    ),
    wrong=(
        Wrong(
            "puts r inside the ReLU",
            lambda x, theta, lambda_, radius: np.maximum(
                radius * (x @ geonet.hypersphere.to_cartesian(theta).T + lambda_), 0.0
            ),
            "With a negative r the other side of the boundary becomes active. The scale must "
            "negate the output and leave the active side alone.",
        ),
        Wrong(
            "adds λ after the ReLU",
            lambda x, theta, lambda_, radius: (
                radius * np.maximum(x @ geonet.hypersphere.to_cartesian(theta).T, 0.0) + lambda_
            ),
            "The offset then lifts the output and does not move the boundary, which stays at the "
            "origin.",
        ),
        Wrong(
            "subtracts λ",
            lambda x, theta, lambda_, radius: (
                radius * np.maximum(x @ geonet.hypersphere.to_cartesian(theta).T - lambda_, 0.0)
            ),
            "λ is the offset in u·x + λ = 0, not a threshold that u·x has to pass. A positive λ "
            "makes the unit active at the origin.",
        ),
        Wrong(
            "multiplies λ by r as well",
            lambda x, theta, lambda_, radius: (
                radius
                * np.maximum(x @ geonet.hypersphere.to_cartesian(theta).T + radius * lambda_, 0.0)
            ),
            "That is the bias of a standard unit, b = r λ. The offset of a GmP unit is λ itself: r "
            "must not move the boundary.",
        ),
        Wrong(
            "takes r for a length",
            lambda x, theta, lambda_, radius: (
                np.abs(radius)
                * np.maximum(x @ geonet.hypersphere.to_cartesian(theta).T + lambda_, 0.0)
            ),
            "The sign of r is lost. It stands outside the ReLU so that it may be negative.",
        ),
        Wrong(
            "leaves the ReLU out",
            lambda x, theta, lambda_, radius: (
                radius * (x @ geonet.hypersphere.to_cartesian(theta).T + lambda_)
            ),
            "Negative pre-activations come through. The unit must be 0 on the inactive side.",
        ),
        Wrong(
            "has one sine too many in each s",
            lambda x, theta, lambda_, radius: (
                radius * np.maximum(x @ _too_long(theta).T + lambda_, 0.0)
            ),
            "s_k is the product of the sines before θ_k, so the first component has none at all. "
            "Look whether your direction has length 1.",
        ),
        Wrong(
            "puts units along the rows",
            lambda x, theta, lambda_, radius: gmp_forward(x, theta, lambda_, radius).T.copy(),
            "The result is (O, N). One input is one row of the result, as it is of x.",
        ),
    ),
    right=(_forward_by_loops, _forward_by_einsum),
    imports=("numpy", "geonet"),
)


# 07.b


def gmp_pullback(g, x, direction, lambda_, radius):
    """Gradients of a scalar L with respect to the parameters of a layer of GmP units.

    The forward pass is z = u·x + λ, y = r · ReLU(z), and g = ∂L/∂y is given. The slope of the ReLU
    counts as 0 at z = 0.

    Parameters
    ----------
    g : numpy.ndarray
        (N, O), ∂L/∂y.
    x : numpy.ndarray
        (N, n), the inputs.
    direction : numpy.ndarray
        (O, n), the unit vectors u.
    lambda_ : numpy.ndarray
        (O,), the signed offsets λ.
    radius : numpy.ndarray
        (O,), the scales r, which may be negative or 0.

    Returns
    -------
    to_radius : numpy.ndarray
        (O,), ∂L/∂r.
    to_lambda : numpy.ndarray
        (O,), ∂L/∂λ.
    to_direction : numpy.ndarray
        (O, n), ∂L/∂u, every component of u taken as free.
    """
    z = x @ direction.T + lambda_
    active = z > 0
    to_radius = (g * z * active).sum(axis=0)
    to_z = g * radius * active
    return to_radius, to_z.sum(axis=0), to_z.T @ x


def _pullback_by_loops(g, x, direction, lambda_, radius):
    to_radius, to_lambda = np.zeros(len(radius)), np.zeros(len(radius))
    to_direction = np.zeros(direction.shape)
    for i in range(len(x)):
        for o in range(len(radius)):
            z = direction[o] @ x[i] + lambda_[o]
            if z > 0:
                to_radius[o] += g[i, o] * z
                to_lambda[o] += g[i, o] * radius[o]
                to_direction[o] += g[i, o] * radius[o] * x[i]
    return to_radius, to_lambda, to_direction


def _pullback_by_einsum(g, x, direction, lambda_, radius):
    z = np.einsum("nk,ok->no", x, direction) + lambda_
    passed = np.where(z > 0, g, 0.0)
    to_radius = np.einsum("no,no->o", passed, z)
    return to_radius, radius * passed.sum(0), radius[:, None] * np.einsum("no,nk->ok", passed, x)


def _inactive_inputs_in_radius(g, x, direction, lambda_, radius):
    _, to_lambda, to_direction = gmp_pullback(g, x, direction, lambda_, radius)
    return (g * (x @ direction.T + lambda_)).sum(axis=0), to_lambda, to_direction


def _slope_of_one(g, x, direction, lambda_, radius):
    to_radius, _, _ = gmp_pullback(g, x, direction, lambda_, radius)
    return to_radius, (g * radius).sum(axis=0), (g * radius).T @ x


def _active_by_output(g, x, direction, lambda_, radius):
    z = x @ direction.T + lambda_
    active = radius * z > 0
    to_z = g * radius * active
    return (g * z * active).sum(axis=0), to_z.sum(axis=0), to_z.T @ x


def _mean_over_batch(g, x, direction, lambda_, radius):
    return gmp_pullback(g / len(g), x, direction, lambda_, radius)


def _without_incoming_gradient(g, x, direction, lambda_, radius):
    return gmp_pullback(np.ones_like(g), x, direction, lambda_, radius)


def _radius_as_length(g, x, direction, lambda_, radius):
    return gmp_pullback(g, x, direction, lambda_, np.abs(radius))


def _without_radial_part(g, x, direction, lambda_, radius):
    to_radius, to_lambda, to_u = gmp_pullback(g, x, direction, lambda_, radius)
    return to_radius, to_lambda, to_u - (to_u * direction).sum(1, keepdims=True) * direction


def _with_output_for_relu(g, x, direction, lambda_, radius):
    to_radius, *others = gmp_pullback(g, x, direction, lambda_, radius)
    return radius * to_radius, *others


def _without_scale(g, x, direction, lambda_, radius):
    to_radius, _, _ = gmp_pullback(g, x, direction, lambda_, radius)
    return to_radius, *gmp_pullback(g, x, direction, lambda_, np.ones_like(radius))[1:]


def _pullback_inputs():
    shapes = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(2, 4))
    return shapes.flatmap(
        lambda s: st.tuples(
            array((s[0], s[1]), NONZERO),
            array((s[0], s[2])),
            array((s[1], s[2] - 1), ANGLES).map(geonet.hypersphere.to_cartesian),
            array(s[1]),
            array(s[1]),
        )
    )


PULLBACK = Exercise(
    key="07.b",
    title="The pullback of a layer of GmP units",
    points=3,
    difficulty=3,
    solve=gmp_pullback,
    inputs=_pullback_inputs,
    hints=(
        "Compute z again first. Then go backwards: through the product of r and ReLU(z), and then "
        "through the linear map. Which inputs of the batch share one r?",
        "A product has two derivatives. The one for r holds ReLU(z), the one for z holds r and the "
        "slope of the ReLU. Everything that the whole batch shares is summed over the batch.",
        "With a = 1 where z > 0 and 0 elsewhere: ∂L/∂r sums g a z; ∂L/∂z is g r a, (N, O); from it "
        "follow ∂L/∂λ and ∂L/∂u as the bias and the weight of a linear layer do in lesson 03.",
    ),
    wrong=(
        Wrong(
            "forgets r on the way to z",
            _without_scale,
            "The output is r times the ReLU, so a change of z changes it r times as much. With "
            "a negative r even the signs of your ∂L/∂λ and ∂L/∂u are wrong.",
        ),
        Wrong(
            "multiplies by the output y to get ∂L/∂r",
            _with_output_for_relu,
            "y holds r already. The derivative of a product by one factor is the other factor "
            "alone.",
        ),
        Wrong(
            "lets inactive inputs count in ∂L/∂r",
            _inactive_inputs_in_radius,
            "Where z < 0 the output is 0 whatever r is, so such an input says nothing about r.",
        ),
        Wrong(
            "takes the slope of the ReLU as 1 everywhere",
            _slope_of_one,
            "On the inactive side the output does not change with z. Your ∂L/∂λ and ∂L/∂u count "
            "those inputs too.",
        ),
        Wrong(
            "asks whether y > 0, not whether z > 0",
            _active_by_output,
            "With a negative r an active unit has a negative output. What decides is the sign of "
            "z.",
        ),
        Wrong(
            "takes the mean over the batch",
            _mean_over_batch,
            "Every input of the batch contributes its own term to L, and terms add up. If L is a "
            "mean, then g has the 1/N in it already.",
        ),
        Wrong(
            "forgets the gradient that comes in",
            _without_incoming_gradient,
            "This is right only where ∂L/∂y is 1. The chain rule multiplies by g first.",
        ),
        Wrong(
            "takes r for a length",
            _radius_as_length,
            "The sign of r belongs to the output, and so to the derivative by z.",
        ),
        Wrong(
            "removes the radial part of ∂L/∂u",
            _without_radial_part,
            "That part does nothing to θ, but it is there: ∂L/∂u takes every component of u as "
            "free. The pullback of u(θ) removes it by itself.",
        ),
    ),
    right=(_pullback_by_loops, _pullback_by_einsum),
    kind="gradient",
)


# 07.c


def gmp_location(theta, lambda_, radius):
    """Spatial locations of the boundaries of GmP units r · ReLU(u(θ)·x + λ).

    The location φ is that point of the boundary which is nearest to the origin.
    `geonet.hypersphere.to_cartesian` gives the directions u(θ) as rows.

    Parameters
    ----------
    theta : numpy.ndarray
        (O, n−1), the angles of one unit per row, n ≥ 2.
    lambda_ : numpy.ndarray
        (O,), the signed offsets λ.
    radius : numpy.ndarray
        (O,), the scales r, none of them 0.

    Returns
    -------
    numpy.ndarray
        (O, n).
    """
    return -lambda_[:, None] * geonet.hypersphere.to_cartesian(theta)


def _location_by_walk(theta, lambda_, radius):
    s = np.cumprod(np.sin(theta), axis=1)
    u = np.concatenate([np.cos(theta), np.ones((len(theta), 1))], axis=1)
    u[:, 1:] *= s
    z_at_origin = lambda_  # u·0 + λ
    return np.zeros(u.shape) - (z_at_origin * u.T).T


def _location_by_standard_weights(theta, lambda_, radius):
    weight = geonet.hypersphere.to_cartesian(theta, np.abs(radius))
    bias = np.abs(radius) * lambda_
    return -(bias / (weight**2).sum(axis=1))[:, None] * weight


LOCATION = Exercise(
    key="07.c",
    title="Where the boundary of a GmP unit is",
    points=2,
    difficulty=2,
    solve=gmp_location,
    inputs=gmp_units,
    hints=(
        "Stand at the origin and walk straight to the boundary. In which direction, and how far?",
        "The distance of a point from the boundary is z, and at the origin z = λ. A positive z "
        "means that you stand on the active side, to which u points. Does r matter?",
        "φ = −λ u(θ), unit by unit: λ has one number per row of u.",
    ),
    wrong=(
        Wrong(
            "walks away from the boundary",
            lambda theta, lambda_, radius: (
                lambda_[:, None] * geonet.hypersphere.to_cartesian(theta)
            ),
            "Put your point into u·x + λ: it gives 2λ, not 0. With a positive λ the origin is on "
            "the active side, and the boundary lies behind you.",
        ),
        Wrong(
            "multiplies by r",
            lambda theta, lambda_, radius: (
                -lambda_[:, None] * geonet.hypersphere.to_cartesian(theta, radius)
            ),
            "r scales the output. It moves no boundary, so it has no part in the location.",
        ),
        Wrong(
            "divides by r as if λ were a bias",
            lambda theta, lambda_, radius: (
                -(lambda_ / radius)[:, None] * geonet.hypersphere.to_cartesian(theta)
            ),
            "A standard bias has to be divided by the length of its weight. λ is that quotient "
            "already.",
        ),
        Wrong(
            "lets a negative r flip the boundary",
            lambda theta, lambda_, radius: (
                -(np.sign(radius) * lambda_)[:, None] * geonet.hypersphere.to_cartesian(theta)
            ),
            "A negative r negates the output, but z = 0 is at the same points as before.",
        ),
        Wrong(
            "loses the sign of λ",
            lambda theta, lambda_, radius: (
                -np.abs(lambda_)[:, None] * geonet.hypersphere.to_cartesian(theta)
            ),
            "|λ| is the distance, but λ also says on which side of the origin the boundary is.",
        ),
        Wrong(
            "gives the direction only",
            lambda theta, lambda_, radius: -geonet.hypersphere.to_cartesian(theta),
            "That point is at distance 1 from the origin whatever λ is.",
        ),
        Wrong(
            "gives the distance only",
            lambda theta, lambda_, radius: np.abs(lambda_),
            "The location is a point with n components for each unit; its distance is one number.",
        ),
        Wrong(
            "has one sine too many in each s",
            lambda theta, lambda_, radius: -lambda_[:, None] * _too_long(theta),
            "s_k is the product of the sines before θ_k, so the first component has none at all. "
            "Look whether your direction has length 1.",
        ),
    ),
    right=(_location_by_walk, _location_by_standard_weights),
    imports=("numpy", "geonet"),
)


EXERCISES = [FORWARD, PULLBACK, LOCATION]
