"""Exercises of lesson 06: the Jacobian of u(θ), its pullback, and that of a weight r u(θ)."""

import numpy as np
from hypothesis import strategies as st

import geonet
from lessons.exercise import Exercise, Wrong
from lessons.inputs import array

# Among them poles, negative sines, and an angle that makes all later s_k small.
ANGLES = st.sampled_from([1.0, 0.5, 2.0, 0.0, 0.0, np.pi / 2, np.pi, -0.7, 4.0, 0.005])
UNIFORM = st.integers(1, 31).map(lambda k: k / 10)  # with 15 of these the late s_k are tiny


def _sines(theta):
    """s_k, k ≤ n, of one unit or of units in rows."""
    s = np.ones((*theta.shape[:-1], theta.shape[-1] + 1))
    s[..., 1:] = np.cumprod(np.sin(theta), axis=-1)
    return s


def _later_columns(theta):
    """Columns that are hard to see: |s_k| < 0.01."""
    return np.abs(_sines(theta)[..., :-1]) < 0.01


# 06.a


def direction_jacobian(theta):
    """The Jacobian J_ik = ∂u_i/∂θ_k of one direction u(θ), exact at the poles too.

    u_k = s_k cos θ_k for k < n, u_n = s_n, where s_1 = 1 and s_k is the product of the sines of all
    angles before θ_k.

    Parameters
    ----------
    theta : numpy.ndarray
        (n−1,), in radians, of any size and sign. Some sin θ_k may be 0.

    Returns
    -------
    numpy.ndarray
        (n, n−1), one component per row, one angle per column.
    """
    n = len(theta) + 1
    result = np.zeros((n, n - 1))
    for k in range(n - 1):
        turned = np.sin(theta)
        turned[k] = np.cos(theta[k])
        products = np.concatenate([[1.0], np.cumprod(turned)])
        result[k + 1 :, k] = products[k + 1 :] * np.append(np.cos(theta[k + 1 :]), 1.0)
        result[k, k] = -products[k] * np.sin(theta[k])
    return result


def _one_unit():
    small = st.integers(1, 4).flatmap(lambda angles: array((angles,), ANGLES))
    return st.tuples(st.one_of(small, small, small, array((15,), UNIFORM)))


def _jacobian_by_complex_step(theta):
    step = 1e-20
    columns = []
    for k in range(len(theta)):
        moved = theta.astype(complex)
        moved[k] += 1j * step
        s = np.concatenate([[1.0], np.cumprod(np.sin(moved))])
        columns.append((s * np.append(np.cos(moved), 1.0)).imag / step)
    return np.stack(columns, axis=1)


def _jacobian_by_entries(theta):
    n = len(theta) + 1
    result = np.zeros((n, n - 1))
    for i in range(n):
        for k in range(min(i + 1, n - 1)):
            factors = np.sin(theta[:i])
            if k < i:
                factors[k] = np.cos(theta[k])
            last = 1.0 if i == n - 1 else np.cos(theta[i])
            result[i, k] = np.prod(factors) * (last if k < i else -np.sin(theta[i]))
    return result


def _jacobian_by_division(theta):
    s = _sines(theta)
    u = s * np.append(np.cos(theta), 1.0)
    with np.errstate(all="ignore"):
        result = np.tril(u[:, None] * (np.cos(theta) / np.sin(theta)), -1)
    np.fill_diagonal(result, -s[1:])
    return result


def _jacobian_by_differences(theta):
    steps = 1e-6 * np.eye(len(theta))
    u = geonet.hypersphere.to_cartesian
    return (u(theta + steps) - u(theta)).T / 1e-6


def _with_diagonal(diagonal):
    """The Jacobian with diagonal(θ, s) in the place of its diagonal."""

    def solve(theta):
        result = direction_jacobian(theta)
        np.fill_diagonal(result, diagonal(theta, _sines(theta)))
        return result

    return solve


def _with_sine_below(theta):
    u = geonet.hypersphere.to_cartesian(theta)
    return np.triu(direction_jacobian(theta)) + np.tril(np.tile(u[:, None], len(theta)), -1)


def _without_last_cosine(theta):
    result = np.tril(direction_jacobian(theta))
    for k in range(len(theta)):
        turned = np.sin(theta)
        turned[k] = np.cos(theta[k])
        result[k + 1 :, k] = np.cumprod(turned)[k:]
    return result


JACOBIAN = Exercise(
    key="06.a",
    title="The Jacobian of u(θ)",
    points=4,
    difficulty=3,
    solve=direction_jacobian,
    inputs=_one_unit,
    hints=(
        "Work it out on paper for n = 3. How do you get each entry from the component uᵢ, when "
        "θₖ is not in it, when it is in the cosine, and when it is in one of the sines?",
        "Take one column k at a time. It is 0 above the diagonal, −sₖ sin θₖ on it, and below it "
        "the component uᵢ with the factor sin θₖ replaced by cos θₖ.",
        "Copy the sines, put cos θₖ in the place of sin θₖ, and take np.cumprod: these are the "
        "products for the rows below the diagonal, each still to be multiplied by cos θᵢ (by 1 "
        "in the last row).",
    ),
    wrong=(
        Wrong(
            "transposes the Jacobian",
            lambda theta: direction_jacobian(theta).T.copy(),
            "Components belong in the rows and angles in the columns: there is one row more than "
            "columns.",
        ),
        Wrong(
            "divides by sin θ_k",
            _jacobian_by_division,
            "At a pole your quotient is NaN or infinite. Do not remove the sine from the product "
            "by a division: leave it out from the start.",
        ),
        Wrong(
            "has the wrong sign on the diagonal",
            _with_diagonal(lambda theta, s: s[1:]),
            "The derivative of the cosine has a sign.",
        ),
        Wrong(
            "forgets the product of sines on the diagonal",
            _with_diagonal(lambda theta, s: -np.sin(theta)),
            "On the diagonal you have the derivative of cos θₖ alone. uₖ has another factor.",
        ),
        Wrong(
            "fills the diagonal only",
            lambda theta: np.triu(direction_jacobian(theta)),
            "θₖ is also in all components after uₖ, as one of their sines.",
        ),
        Wrong(
            "leaves the sine below the diagonal",
            _with_sine_below,
            "Below the diagonal you have uᵢ itself. Its factor sin θₖ has a derivative.",
        ),
        Wrong(
            "forgets the cosine at the end of a component",
            _without_last_cosine,
            "All components but the last end in a cosine, cos θᵢ. It stays when one takes the "
            "derivative by an earlier angle.",
        ),
        Wrong(
            "takes the derivative of the sine as −cosine",
            lambda theta: 2 * np.triu(direction_jacobian(theta)) - direction_jacobian(theta),
            "All entries below the diagonal have the wrong sign. Only one of the two derivatives, "
            "that of sin and that of cos, has a minus.",
        ),
        Wrong(
            "takes difference quotients",
            _jacobian_by_differences,
            "A difference quotient is good for a check, but it has lost half of the digits. For "
            "the late columns, which are small, that is all of them.",
        ),
        Wrong(
            "gives zero for small columns",
            lambda theta: np.where(_later_columns(theta), 0.0, direction_jacobian(theta)),
            "The late columns are small, but they are not zero. They are judged by their own size.",
        ),
    ),
    right=(_jacobian_by_complex_step, _jacobian_by_entries, geonet.hypersphere.jacobian),
    kind="gradient",
)

# 06.b


def direction_pullback(g, theta):
    """The pullback of u(θ) for many units: from ∂L/∂u to ∂L/∂θ, exact at the poles too.

    With A_n = g_n and A_k = g_k cos θ_k + A_{k+1} sin θ_k,
    ∂L/∂θ_k = s_k (A_{k+1} cos θ_k − g_k sin θ_k), where s_1 = 1 and s_k is the product of the sines
    of all angles before θ_k.

    Parameters
    ----------
    g : numpy.ndarray
        (O, n), ∂L/∂u of one unit per row.
    theta : numpy.ndarray
        (O, n−1), in radians, of any size and sign. Some sin θ_k may be 0.

    Returns
    -------
    numpy.ndarray
        (O, n−1), ∂L/∂θ.
    """
    sine, cosine = np.sin(theta), np.cos(theta)
    products = np.ones(theta.shape)
    products[:, 1:] = np.cumprod(sine[:, :-1], axis=1)
    result = np.empty(theta.shape)
    tail = g[:, -1]
    for k in reversed(range(theta.shape[1])):
        result[:, k] = products[:, k] * (tail * cosine[:, k] - g[:, k] * sine[:, k])
        tail = g[:, k] * cosine[:, k] + tail * sine[:, k]
    return result


def _gradients_and_angles():
    shapes = st.tuples(st.integers(1, 3), st.integers(1, 4))
    small = shapes.flatmap(
        lambda shape: st.tuples(array((shape[0], shape[1] + 1)), array(shape, ANGLES))
    )
    many = st.tuples(array((1, 16)), array((1, 15), UNIFORM))
    return st.one_of(small, small, small, many)


def _pullback_by_engine(g, theta):
    angles = geonet.Tensor(theta, requires_grad=True)
    geonet.ops.hyperspherical(angles).backward(g)
    return angles.grad


def _pullback_by_jacobian(g, theta):
    return np.stack([row @ _jacobian_by_entries(angles) for row, angles in zip(g, theta)])


def _pullback_by_steps(g, theta):
    """Backwards over the forward loop, one operation at a time."""
    result = np.empty(theta.shape)
    for row, angles, grad in zip(g, theta, result):
        products = _sines(angles)
        to_product = row[-1]
        for k in reversed(range(len(angles))):
            to_sine, to_cosine = to_product * products[k], row[k] * products[k]
            grad[k] = to_sine * np.cos(angles[k]) - to_cosine * np.sin(angles[k])
            to_product = to_product * np.sin(angles[k]) + row[k] * np.cos(angles[k])
    return result


def _pullback_from(
    sine=np.sin,
    products=lambda sine: _products(sine)[:, :-1],
    slope=lambda tail, g, sine, cosine: tail * cosine - g * sine,
    renewed=lambda tail, g, sine, cosine: g * cosine + tail * sine,
    first=lambda g: g[:, -1],
):
    """The loop of the reference with one of its parts replaced."""

    def solve(g, theta):
        s, c = sine(theta), np.cos(theta)
        p, result, tail = products(s), np.empty(theta.shape), first(g)
        for k in reversed(range(theta.shape[1])):
            result[:, k] = p[:, k] * slope(tail, g[:, k], s[:, k], c[:, k])
            tail = renewed(tail, g[:, k], s[:, k], c[:, k])
        return result

    return solve


def _products(sine):
    return np.cumprod(np.hstack([np.ones((len(sine), 1)), sine]), axis=1)


def _renewed_too_early(g, theta):
    sine, cosine, tail = np.sin(theta), np.cos(theta), g[:, -1]
    products, result = _sines(theta), np.empty(theta.shape)
    for k in reversed(range(theta.shape[1])):
        tail = g[:, k] * cosine[:, k] + tail * sine[:, k]
        result[:, k] = products[:, k] * (tail * cosine[:, k] - g[:, k] * sine[:, k])
    return result


def _pullback_by_division(g, theta):
    s = _sines(theta)
    u = s * np.hstack([np.cos(theta), np.ones((len(theta), 1))])
    tails = np.cumsum((g * u)[:, ::-1], axis=1)[:, ::-1]
    with np.errstate(all="ignore"):
        return tails[:, 1:] * np.cos(theta) / np.sin(theta) - g[:, :-1] * s[:, 1:]


PULLBACK = Exercise(
    key="06.b",
    title="The pullback of u(θ)",
    points=5,
    difficulty=4,
    solve=direction_pullback,
    inputs=_gradients_and_angles,
    hints=(
        "Two things are carried along: the products sₖ, which grow from the front, and the sums "
        "Aₖ, which grow from the end. Compute all the products first.",
        "Then loop over k from the last angle to the first, for all units at once. Before the "
        "loop A is the last column of g.",
        "In each turn there are two lines: first the gradient of angle k with the A that you "
        "have, then the new A. Count the columns: for the angle with the index k, starting at 0, "
        "the product has k sines.",
    ),
    wrong=(
        Wrong(
            "gives zero for the late angles",
            lambda g, theta: np.where(_later_columns(theta), 0.0, direction_pullback(g, theta)),
            "The gradients of late angles are small, but they are not zero. They are judged by "
            "their own size.",
        ),
        Wrong(
            "forgets the product of the earlier sines",
            _pullback_from(products=np.ones_like),
            "The first angle is right, the later ones are too large: θₖ moves u only as far as "
            "the earlier angles let it.",
        ),
        Wrong(
            "makes the products one factor too long",
            _pullback_from(products=lambda sine: np.cumprod(sine, axis=1)),
            "sₖ is the product of the sines *before* θₖ; for the first angle it is 1.",
        ),
        Wrong(
            "divides by sin θ_k",
            _pullback_by_division,
            "At a pole, where sin θₖ = 0, your result is NaN or infinite. The recursion for Aₖ "
            "needs no division.",
        ),
        Wrong(
            "has the wrong sign in the derivative of the cosine",
            _pullback_from(slope=lambda tail, g, sine, cosine: tail * cosine + g * sine),
            "The derivative of the cosine has a sign.",
        ),
        Wrong(
            "looks at one component only",
            lambda g, theta: -g[:, :-1] * _sines(theta)[:, 1:],
            "You have ∂uₖ/∂θₖ. But θₖ is also in all components after uₖ, and g has something to "
            "say about each of them.",
        ),
        Wrong(
            "takes only the next component into the sum",
            _pullback_from(renewed=lambda tail, g, sine, cosine: g),
            "Aₖ₊₁ is more than gₖ₊₁: it collects all the later components.",
        ),
        Wrong(
            "begins the sum with zero",
            _pullback_from(first=lambda g: np.zeros(len(g))),
            "The last component of g never enters. Ask what A is before the loop begins.",
        ),
        Wrong(
            "never renews the sum",
            _pullback_from(renewed=lambda tail, g, sine, cosine: tail),
            "Only the last angle is right. In every turn of the loop A has to take in another "
            "component of g.",
        ),
        Wrong(
            "renews the sum too early",
            _renewed_too_early,
            "The gradient of θₖ needs the sum over the components *after* k. Look at the order "
            "of your two lines.",
        ),
        Wrong(
            "takes the sine as a square root",
            _pullback_from(sine=lambda theta: np.sqrt(1 - np.cos(theta) ** 2)),
            "√(1 − cos² θ) is |sin θ|. Angles may be any numbers, and outside [0, π] a sign is "
            "lost.",
        ),
    ),
    right=(_pullback_by_engine, _pullback_by_jacobian, _pullback_by_steps),
    kind="gradient",
)

# 06.c


def weight_pullback(g, theta, radius):
    """The pullback of weights w = r u(θ): from ∂L/∂w to ∂L/∂θ and ∂L/∂r.

    `geonet.hypersphere` may help: `to_cartesian(theta)` gives u (O, n), and `jacobian(theta)` gives
    ∂u_i/∂θ_k (O, n, n−1).

    Parameters
    ----------
    g : numpy.ndarray
        (O, n), ∂L/∂w of one unit per row.
    theta : numpy.ndarray
        (O, n−1), the angles.
    radius : numpy.ndarray
        (O,), the lengths r, which may be negative or 0.

    Returns
    -------
    tuple of two numpy.ndarray
        ∂L/∂θ (O, n−1) and ∂L/∂r (O,), in this order.
    """
    columns = geonet.hypersphere.jacobian(theta)
    to_theta = radius[:, None] * np.einsum("oi,oik->ok", g, columns)
    return to_theta, np.sum(g * geonet.hypersphere.to_cartesian(theta), axis=1)


def _weights():
    shapes = st.tuples(st.integers(1, 3), st.integers(1, 3))
    return shapes.flatmap(
        lambda s: st.tuples(array((s[0], s[1] + 1)), array(s, ANGLES), array(s[0]))
    )


def _weight_pullback_by_loop(g, theta, radius):
    to_theta, to_radius = np.empty(theta.shape), np.empty(len(g))
    for o in range(len(g)):
        tail, products = g[o, -1], _sines(theta[o])
        for k in reversed(range(theta.shape[1])):
            sine, cosine = np.sin(theta[o, k]), np.cos(theta[o, k])
            to_theta[o, k] = radius[o] * products[k] * (tail * cosine - g[o, k] * sine)
            tail = g[o, k] * cosine + tail * sine
        to_radius[o] = tail
    return to_theta, to_radius


def _weight_pullback_by_engine(g, theta, radius):
    angles = geonet.Tensor(theta, requires_grad=True)
    lengths = geonet.Tensor(radius[:, None], requires_grad=True)
    (lengths * geonet.ops.hyperspherical(angles)).backward(g)
    return angles.grad, lengths.grad[:, 0]


def _changed(to_theta=None, to_radius=None):
    """The right answer with one part replaced by a function of (right, g, θ, r)."""

    def solve(g, theta, radius):
        first, second = weight_pullback(g, theta, radius)
        with np.errstate(all="ignore"):
            if to_theta is not None:
                first = to_theta(first, g, theta, radius)
            if to_radius is not None:
                second = to_radius(second, g, theta, radius)
        return first, second

    return solve


WEIGHT = Exercise(
    key="06.c",
    title="The pullback of a weight",
    points=3,
    difficulty=3,
    solve=weight_pullback,
    inputs=_weights,
    hints=(
        "w is a product of two factors. The chain rule asks for the derivative by each of them "
        "while the other one stands still.",
        "∂w/∂r = u, so ∂L/∂r is one scalar product a unit. And for u the gradient that comes in "
        "is not g itself, but r times g.",
        "The sum of g * u over axis 1 is ∂L/∂r. For θ, np.einsum('oi,oik->ok', …) multiplies "
        "every row of g by the Jacobian of its own unit; then each row takes its factor r.",
    ),
    wrong=(
        Wrong(
            "forgets the length in the gradient of the angles",
            lambda g, theta, radius: weight_pullback(g, theta, np.ones_like(radius)),
            "A turn by the same angle moves the tip of a long weight further than that of a "
            "short one.",
        ),
        Wrong(
            "has the length in the gradient of the length",
            _changed(to_radius=lambda right, g, theta, radius: right * radius),
            "You have taken the scalar product of g with w. ∂w/∂r does not depend on r.",
        ),
        Wrong(
            "returns the two in the other order",
            lambda g, theta, radius: weight_pullback(g, theta, radius)[::-1],
            "The gradient of the angles comes first, that of the length second.",
        ),
        Wrong(
            "takes the length of g for the gradient of the length",
            _changed(to_radius=lambda right, g, theta, radius: np.linalg.norm(g, axis=1)),
            "Only the part of g along u can change the length of w; the rest turns it.",
        ),
        Wrong(
            "adds up the units",
            _changed(to_radius=lambda right, g, theta, radius: np.full_like(right, right.sum())),
            "Every unit has its own r, and so its own ∂L/∂r.",
        ),
        Wrong(
            "divides the gradient of the angles by the length",
            _changed(lambda right, g, theta, radius: right / radius[:, None] ** 2),
            "The factor r belongs above the line: w is r times u.",
        ),
        Wrong(
            "takes the length without its sign",
            lambda g, theta, radius: weight_pullback(g, theta, np.abs(radius)),
            "r may be negative. Then w points against u, and so does its response to the angles.",
        ),
        Wrong(
            "divides by the metric",
            _changed(lambda right, g, theta, radius: right / geonet.hypersphere.metric(theta)),
            "You divide by sₖ², which gives the parts of g along the columns of J. The gradient "
            "is the plain product of g and J, without a division.",
        ),
        Wrong(
            "gives the angles one gradient for all units",
            _changed(lambda right, *_: np.broadcast_to(right.sum(axis=0), right.shape).copy()),
            "You have summed over the units. Every unit has its own angles.",
        ),
    ),
    right=(_weight_pullback_by_loop, _weight_pullback_by_engine),
    kind="gradient",
    imports=("numpy", "geonet"),
)

EXERCISES = [JACOBIAN, PULLBACK, WEIGHT]
