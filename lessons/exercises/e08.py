"""Exercises of lesson 08: from a standard layer to GmP and back, and the first step under GmP."""

import numpy as np
from hypothesis import strategies as st

import geonet
from lessons.exercise import Exercise, Wrong
from lessons.inputs import ANGLES, NONZERO, array, gmp_units

# 08.a


def standard_to_gmp(weight, bias):
    """Parameters of the GmP layer that computes the same as a standard ReLU layer.

    For all x, r · ReLU(u(θ)·x + λ) = ReLU(w·x + b), with r > 0. The angles are those of
    hyperspherical coordinates: all in [0, π] but the last, which is in (−π, π]. Angles that
    nothing determines, as all later components are 0, are 0. You may compute them yourself, or use
    `geonet.hypersphere.to_hyperspherical`.

    Parameters
    ----------
    weight : numpy.ndarray
        (O, n), n ≥ 2, no row of zeros.
    bias : numpy.ndarray
        (O,).

    Returns
    -------
    theta : numpy.ndarray
        (O, n−1), the angles θ.
    lambda_ : numpy.ndarray
        (O,), the signed offsets λ.
    radius : numpy.ndarray
        (O,), the scales r.
    """
    theta, radius = geonet.hypersphere.to_hyperspherical(weight)
    return theta, bias / radius, radius


def _by_tails(weight, bias):
    tails = np.sqrt(np.cumsum(weight[:, ::-1] ** 2, axis=1))[:, ::-1]  # t_1 … t_n
    theta = np.arctan2(tails[:, 1:], weight[:, :-1])
    theta[:, -1] = np.arctan2(weight[:, -1], weight[:, -2])
    return theta, bias / tails[:, 0], tails[:, 0]


def _by_arc_cosines(weight, bias):
    units, n = weight.shape
    theta = np.zeros((units, n - 1))
    for row, angles in zip(weight, theta):
        for k in range(n - 1):
            tail = np.linalg.norm(row[k:])
            angles[k] = np.arccos(row[k] / tail) if tail > 0 else 0.0
        if row[-1] < 0:
            angles[-1] = -angles[-1]
    radius = np.linalg.norm(weight, axis=1)
    return theta, bias / radius, radius


def _without_sign(weight, bias):
    theta, lambda_, radius = standard_to_gmp(weight, bias)
    return np.abs(theta), lambda_, radius


def _with_plain_arctan(weight, bias):
    _, lambda_, radius = standard_to_gmp(weight, bias)
    later = np.sqrt(np.cumsum(weight[:, ::-1] ** 2, axis=1))[:, ::-1][:, 1:].copy()
    later[:, -1] = weight[:, -1]
    ratio = np.divide(later, weight[:, :-1], out=np.full_like(later, np.inf), where=later != 0)
    return np.where(later == 0, 0.0, np.arctan(ratio)), lambda_, radius


def _direction_angles(weight, bias):
    _, lambda_, radius = standard_to_gmp(weight, bias)
    return np.arccos(weight[:, :-1] / radius[:, None]), lambda_, radius


def _to_gmp_inputs():
    shapes = st.tuples(st.integers(1, 3), st.integers(2, 4))
    return shapes.flatmap(
        lambda s: st.tuples(array(s).filter(lambda weight: weight.any(axis=1).all()), array(s[0]))
    )


TO_GMP = Exercise(
    key="08.a",
    title="From a standard layer to GmP",
    points=3,
    difficulty=2,
    solve=standard_to_gmp,
    inputs=_to_gmp_inputs,
    hints=(
        "A positive factor may be pulled out of the ReLU. Which factor turns w into a vector of "
        "length 1, and what becomes of b?",
        "θ and r are the hyperspherical coordinates of w, unit by unit. Mind the last angle: it "
        "alone can tell a positive last component from a negative one.",
        "r = ‖w‖ and λ = b/‖w‖. For the angles, arctan2 of the length of what comes after "
        "component k and component k itself; in the last angle, of the last component, sign "
        "included, and the one before it.",
    ),
    wrong=(
        Wrong(
            "loses the sign of the last component",
            _without_sign,
            "Every w whose last component is negative becomes its mirror image. Half of all "
            "directions are such.",
        ),
        Wrong(
            "takes arctan where the quadrant matters",
            _with_plain_arctan,
            "arctan of a quotient lies between −π/2 and π/2, so a vector and its opposite get the "
            "same angle. There is a function of two arguments that knows the quadrant.",
        ),
        Wrong(
            "takes the angles between w and the axes",
            _direction_angles,
            "That is right for the first angle only. The later ones are measured in what is left "
            "of w after the earlier components, not in all of w.",
        ),
        Wrong(
            "keeps the bias for λ",
            lambda weight, bias: (
                standard_to_gmp(weight, bias)[0],
                bias.copy(),
                standard_to_gmp(weight, bias)[2],
            ),
            "A factor that is pulled out of w·x + b is pulled out of both terms.",
        ),
        Wrong(
            "multiplies the bias by ‖w‖",
            lambda weight, bias: (
                standard_to_gmp(weight, bias)[0],
                bias * standard_to_gmp(weight, bias)[2],
                standard_to_gmp(weight, bias)[2],
            ),
            "Multiply your λ by r again and compare it with b.",
        ),
        Wrong(
            "negates λ",
            lambda weight, bias: (
                standard_to_gmp(weight, bias)[0],
                -bias / standard_to_gmp(weight, bias)[2],
                standard_to_gmp(weight, bias)[2],
            ),
            "λ is added to u·x, as b is to w·x, so it has the sign of b.",
        ),
        Wrong(
            "sets every r to 1",
            lambda weight, bias: (
                *standard_to_gmp(weight, bias)[:2],
                np.ones(len(weight)),
            ),
            "The boundary is right, but the output has lost its scale.",
        ),
        Wrong(
            "takes ‖w‖² for r",
            lambda weight, bias: (
                standard_to_gmp(weight, bias)[0],
                bias / (weight**2).sum(axis=1),
                (weight**2).sum(axis=1),
            ),
            "The sum of the squares is the square of the length.",
        ),
        Wrong(
            "returns r first",
            lambda weight, bias: (
                standard_to_gmp(weight, bias)[2],
                *standard_to_gmp(weight, bias)[:2],
            ),
            "The order asked for is θ, λ, r.",
        ),
    ),
    right=(_by_tails, _by_arc_cosines),
    imports=("numpy", "geonet"),
)


# 08.b


def gmp_to_standard(theta, lambda_, radius):
    """The standard ReLU layer, with a sign outside, that computes the same as a GmP layer.

    For all x, sign · ReLU(w·x + b) = r · ReLU(u(θ)·x + λ), where every sign is 1 or −1. A negative
    r must come out right too. `geonet.hypersphere.to_cartesian` gives u(θ).

    Parameters
    ----------
    theta : numpy.ndarray
        (O, n−1), the angles θ.
    lambda_ : numpy.ndarray
        (O,), the signed offsets λ.
    radius : numpy.ndarray
        (O,), the scales r, none of them 0.

    Returns
    -------
    weight : numpy.ndarray
        (O, n).
    bias : numpy.ndarray
        (O,).
    sign : numpy.ndarray
        (O,), floats.
    """
    length = np.abs(radius)
    weight = length[:, None] * geonet.hypersphere.to_cartesian(theta)
    return weight, length * lambda_, np.sign(radius)


def _to_standard_by_units(theta, lambda_, radius):
    weight, bias, sign = [], [], []
    for angles, offset, r in zip(theta, lambda_, radius):
        u = np.append(np.cos(angles), 1.0) * np.cumprod(np.append(1.0, np.sin(angles)))
        size = r if r > 0 else -r
        weight.append(size * u)
        bias.append(size * offset)
        sign.append(1.0 if r > 0 else -1.0)
    return np.array(weight), np.array(bias), np.array(sign)


def _to_standard_by_sign(theta, lambda_, radius):
    sign = np.where(radius < 0, -1.0, 1.0)
    weight = geonet.hypersphere.to_cartesian(theta, radius)
    return sign[:, None] * weight, sign * (radius * lambda_), sign


def _scaled(theta, of_weight, bias, sign):
    """A wrong answer: u(θ) times something, and whatever bias and sign."""
    return of_weight[:, None] * geonet.hypersphere.to_cartesian(theta), bias, sign


TO_STANDARD = Exercise(
    key="08.b",
    title="From GmP to a standard layer, for any sign of r",
    points=2,
    difficulty=2,
    solve=gmp_to_standard,
    inputs=gmp_units,
    hints=(
        "Only a positive factor may go into the ReLU. Write r as a positive number times a sign.",
        "The positive number goes inside and multiplies both u and λ. The sign has to stay where "
        "it is.",
        "w = |r| u(θ), b = |r| λ, and the sign is that of r, as floats.",
    ),
    wrong=(
        Wrong(
            "puts r with its sign into the ReLU",
            lambda theta, lambda_, radius: _scaled(
                theta, radius, radius * lambda_, np.ones_like(radius)
            ),
            "With a negative r your unit is active on the other side of its boundary, and its "
            "output has the wrong sign.",
        ),
        Wrong(
            "uses the sign twice",
            lambda theta, lambda_, radius: _scaled(
                theta, radius, radius * lambda_, np.sign(radius)
            ),
            "The sign stands outside now, but it is still inside as well, where it exchanges the "
            "active side and the inactive one.",
        ),
        Wrong(
            "drops the sign",
            lambda theta, lambda_, radius: _scaled(
                theta, np.abs(radius), np.abs(radius) * lambda_, np.ones_like(radius)
            ),
            "The boundary and its active side are right, but a negative r should negate the "
            "output.",
        ),
        Wrong(
            "keeps λ for the bias",
            lambda theta, lambda_, radius: _scaled(
                theta, np.abs(radius), lambda_.copy(), np.sign(radius)
            ),
            "A factor that goes into the ReLU multiplies both terms of u·x + λ. Yours moves the "
            "boundary.",
        ),
        Wrong(
            "gives the bias the sign of r",
            lambda theta, lambda_, radius: _scaled(
                theta, np.abs(radius), radius * lambda_, np.sign(radius)
            ),
            "For a negative r the boundary jumps to the other side of the origin, since w and b "
            "are not scaled alike.",
        ),
        Wrong(
            "divides λ by |r|",
            lambda theta, lambda_, radius: _scaled(
                theta, np.abs(radius), lambda_ / np.abs(radius), np.sign(radius)
            ),
            "λ is b divided by ‖w‖. Going back undoes that division.",
        ),
        Wrong(
            "leaves the scale outside",
            lambda theta, lambda_, radius: _scaled(
                theta, np.ones_like(radius), lambda_.copy(), radius.copy()
            ),
            "This is the GmP unit itself: what stands outside is to be 1 or −1.",
        ),
    ),
    right=(_to_standard_by_units, _to_standard_by_sign),
    imports=("numpy", "geonet"),
)


# 08.c


def first_step(gradient, theta, radius, eta):
    """How one step of gradient descent on θ and r moves the weight W = r u(θ), to first order.

    The unit has λ = 0, and G = ∂L/∂W is given. A step changes r by −η ∂L/∂r and each θ_k by
    −η ∂L/∂θ_k. Asked is the part of the change ΔW that is linear in η.
    `geonet.hypersphere.to_cartesian` gives u(θ), `geonet.hypersphere.jacobian` the matrix whose
    column k is e_k = ∂u/∂θ_k, of length s_k.

    Parameters
    ----------
    gradient : numpy.ndarray
        (n,), G = ∂L/∂W.
    theta : numpy.ndarray
        (n−1,), the angles θ.
    radius : float
        The scale r, which may be negative.
    eta : float
        The learning rate η.

    Returns
    -------
    numpy.ndarray
        (n,), ΔW.
    """
    u = geonet.hypersphere.to_cartesian(theta)
    e = geonet.hypersphere.jacobian(theta)
    change_of_radius = -eta * (gradient @ u)
    change_of_theta = -eta * radius * (gradient @ e)
    return change_of_radius * u + radius * (e @ change_of_theta)


def _first_step_by_sums(gradient, theta, radius, eta):
    u, e = geonet.hypersphere.to_cartesian(theta), geonet.hypersphere.jacobian(theta)
    moved = (gradient @ u) * u
    for k in range(len(theta)):
        moved = moved + radius**2 * (gradient @ e[:, k]) * e[:, k]
    return -eta * moved


def _first_step_by_matrix(gradient, theta, radius, eta):
    u, e = geonet.hypersphere.to_cartesian(theta), geonet.hypersphere.jacobian(theta)
    parameters = np.column_stack([u, radius * e])  # ∂W/∂(r, θ), (n, n)
    return -eta * parameters @ parameters.T @ gradient


def _combined(gradient, theta, radial, angular, unit_length=False):
    """radial (G·u) u + angular Σ (G·e_k) e_k; the right factors are −η and −η r²."""
    u, e = geonet.hypersphere.to_cartesian(theta), geonet.hypersphere.jacobian(theta)
    if unit_length:
        e = e / np.linalg.norm(e, axis=0)
    return radial * (gradient @ u) * u + angular * (e @ (e.T @ gradient))


def _whole_step(gradient, theta, radius, eta):
    u, e = geonet.hypersphere.to_cartesian(theta), geonet.hypersphere.jacobian(theta)
    moved = geonet.hypersphere.to_cartesian(theta - eta * radius * (gradient @ e))
    return (radius - eta * (gradient @ u)) * moved - radius * u


def _first_step_inputs():
    return st.integers(2, 4).flatmap(
        lambda n: st.tuples(
            array(n), array(n - 1, ANGLES), NONZERO, st.sampled_from((1.0, 0.25, 0.5))
        )
    )


FIRST_STEP = Exercise(
    key="08.c",
    title="The first step of W under GmP",
    points=3,
    difficulty=4,
    solve=first_step,
    inputs=_first_step_inputs,
    hints=(
        "Two applications of the chain rule: one gives ∂L/∂r and ∂L/∂θ from G, the other gives ΔW "
        "from Δr and Δθ. W depends on r and on θ.",
        "∂W/∂r = u and ∂W/∂θ_k = r e_k. Both are used twice: in the gradient and in ΔW. So how "
        "often does r come in along e_k, and how often along u?",
        "∂L/∂r = G·u and ∂L/∂θ_k = r G·e_k; then ΔW = u Δr + r Σ e_k Δθ_k with Δr = −η ∂L/∂r and "
        "Δθ_k = −η ∂L/∂θ_k.",
    ),
    wrong=(
        Wrong(
            "takes the standard step",
            lambda gradient, theta, radius, eta: -eta * gradient,
            "That is what W does if W itself is the parameter. Here the parameters are r and θ.",
        ),
        Wrong(
            "has r only once",
            lambda gradient, theta, radius, eta: _combined(gradient, theta, -eta, -eta * radius),
            "r comes in when the gradient goes from W to θ, and again when the change goes from θ "
            "back to W.",
        ),
        Wrong(
            "has no r at all",
            lambda gradient, theta, radius, eta: _combined(gradient, theta, -eta, -eta),
            "That is the change for r = 1. A long W moves farther when its angles change by as "
            "much.",
        ),
        Wrong(
            "scales the radial part by r² too",
            lambda gradient, theta, radius, eta: _combined(
                gradient, theta, -eta * radius**2, -eta * radius**2
            ),
            "∂W/∂r = u holds no r, so along u the step does not depend on r.",
        ),
        Wrong(
            "forgets the change of r",
            lambda gradient, theta, radius, eta: _combined(gradient, theta, 0.0, -eta * radius**2),
            "Your ΔW is at right angles to W. But r changes too, and with it the length of W.",
        ),
        Wrong(
            "forgets the change of θ",
            lambda gradient, theta, radius, eta: _combined(gradient, theta, -eta, 0.0),
            "Your ΔW points along W. But θ changes too, and W then turns.",
        ),
        Wrong(
            "takes the e_k for unit vectors",
            lambda gradient, theta, radius, eta: _combined(
                gradient, theta, -eta, -eta * radius**2, unit_length=True
            ),
            "e_k has length s_k, and that counts twice. For n = 2 you cannot see it, as s_1 = 1.",
        ),
        Wrong(
            "goes uphill",
            lambda gradient, theta, radius, eta: _combined(gradient, theta, eta, eta * radius**2),
            "Gradient descent goes against the gradient.",
        ),
        Wrong(
            "takes the whole step, not its first order",
            _whole_step,
            "Your numbers are those of the finite step, with terms in η² and beyond. Asked is the "
            "part linear in η.",
        ),
    ),
    right=(_first_step_by_sums, _first_step_by_matrix),
    imports=("numpy", "geonet"),
)


EXERCISES = [TO_GMP, TO_STANDARD, FIRST_STEP]
