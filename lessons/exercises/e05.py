"""Exercises of lesson 05: from angles to directions and back, and the angle between vectors."""

import numpy as np
from hypothesis import strategies as st

import geonet
from lessons.exercise import Exercise, Wrong
from lessons.inputs import array

ANGLES = st.sampled_from([1.0, 0.5, 2.0, 0.0, np.pi / 2, np.pi, -0.7, 4.0, 10.0])


def _shapes(smallest):
    return st.tuples(st.integers(1, 3), st.integers(smallest, 4))


# 05.a


def to_cartesian(theta):
    """Directions u(θ) of hyperspherical angles.

    With s_1 = 1 and s_k the product of the sines of all angles before θ_k,
    u_k = s_k cos θ_k for k < n, and u_n = s_n.

    Parameters
    ----------
    theta : numpy.ndarray
        (O, n−1), the angles of one direction per row, in radians, of any size and sign.

    Returns
    -------
    numpy.ndarray
        (O, n), unit vectors in rows.
    """
    products = np.ones((theta.shape[0], theta.shape[1] + 1))
    products[:, 1:] = np.cumprod(np.sin(theta), axis=1)
    products[:, :-1] *= np.cos(theta)
    return products


def _angles():
    return _shapes(1).flatmap(lambda shape: st.tuples(array(shape, ANGLES)))


def _cartesian_by_loops(theta):
    u = np.empty((len(theta), theta.shape[1] + 1))
    for row, angles in zip(u, theta):
        left = 1.0
        for k, angle in enumerate(angles):
            row[k] = left * np.cos(angle)
            left *= np.sin(angle)
        row[-1] = left
    return u


def _cartesian_by_recursion(theta):
    if theta.shape[1] == 0:
        return np.ones((len(theta), 1))
    rest = np.sin(theta[:, :1]) * _cartesian_by_recursion(theta[:, 1:])
    return np.hstack([np.cos(theta[:, :1]), rest])


def _cartesian_from(sine=np.sin, cosine=np.cos, product=lambda s: np.cumprod(s, axis=1)):
    """A solution by other sines, cosines or products."""

    def solve(theta):
        s = np.hstack([np.ones((len(theta), 1)), product(sine(theta))])
        return s * np.hstack([cosine(theta), np.ones((len(theta), 1))])

    return solve


def _products_too_long(theta):
    s = np.cumprod(np.sin(theta), axis=1)
    return np.hstack([s * np.cos(theta), s[:, -1:]])


CARTESIAN = Exercise(
    key="05.a",
    title="From angles to directions",
    points=3,
    difficulty=2,
    solve=to_cartesian,
    inputs=_angles,
    hints=(
        "Write the components for n = 3 on paper: cos θ₁, then sin θ₁ cos θ₂, then sin θ₁ sin θ₂. "
        "Which factor does each component hand on to the next one?",
        "Begin with an array of ones of shape (O, n) and put the products of the sines into all "
        "of its columns but the first. Only then think of the cosines.",
        "np.cumprod along axis 1 of the sines gives s₂ … sₙ. All columns but the last are then "
        "multiplied by a cosine.",
    ),
    wrong=(
        Wrong(
            "exchanges sine and cosine",
            _cartesian_from(sine=np.cos, cosine=np.sin),
            "Your first component is sin θ₁. In the convention of this course, θ = 0 is the "
            "direction of the first axis.",
        ),
        Wrong(
            "forgets the last component",
            lambda theta: to_cartesian(theta)[:, :-1],
            "n − 1 angles make n components. The last one has no cosine, but it is there.",
        ),
        Wrong(
            "makes the products one factor too long",
            _products_too_long,
            "Your first component contains sin θ₁. The product sₖ ends before θₖ.",
        ),
        Wrong(
            "takes one sine in place of the product",
            _cartesian_from(product=lambda sine: sine),
            "Each component carries the sines of all angles before it, not only of the one just "
            "before. For n = 4 your vectors are not of length 1.",
        ),
        Wrong(
            "adds the sines up",
            _cartesian_from(product=lambda sine: np.cumsum(sine, axis=1)),
            "The sines are factors. Look at the length of your vectors.",
        ),
        Wrong(
            "multiplies over the units",
            _cartesian_from(product=lambda sine: np.cumprod(sine, axis=0)),
            "Your product runs down the rows and mixes different directions. One row is one "
            "direction.",
        ),
        Wrong(
            "takes radians for degrees",
            lambda theta: to_cartesian(np.radians(theta)),
            "The angles are in radians already, as np.sin and np.cos expect them.",
        ),
        Wrong(
            "takes the sine as a square root",
            _cartesian_from(sine=lambda theta: np.sqrt(1 - np.cos(theta) ** 2)),
            "√(1 − cos² θ) is |sin θ|. It is right between 0 and π, but angles may be any "
            "numbers, and beyond that range a sign is lost.",
        ),
        Wrong(
            "writes the components from the end",
            lambda theta: to_cartesian(theta)[:, ::-1],
            "All your numbers are right, but they stand in the wrong order: cos θ₁ comes first.",
        ),
    ),
    right=(_cartesian_by_loops, _cartesian_by_recursion, geonet.hypersphere.to_cartesian),
)

# 05.b


def to_hyperspherical(x):
    """Hyperspherical angles of vectors of any length.

    With r_k = √(x_k² + … + x_n²), the length of what is left from component k on: θ_k lies in
    [0, π], where x_k = r_k cos θ_k and r_{k+1} = r_k sin θ_k, for k < n − 1. The last angle lies in
    (−π, π], where x_{n−1} = r_{n−1} cos θ_{n−1} and x_n = r_{n−1} sin θ_{n−1}. Angles that nothing
    determines, because r_k = 0, are 0. Small angles are to be as accurate as large ones.

    Parameters
    ----------
    x : numpy.ndarray
        (O, n), n ≥ 2, one vector per row; zero vectors are allowed.

    Returns
    -------
    numpy.ndarray
        (O, n−1), in radians.
    """
    tail = np.sqrt(np.cumsum(x[:, ::-1] ** 2, axis=1))[:, ::-1]
    theta = np.arctan2(tail[:, 1:], x[:, :-1])
    theta[:, -1] = np.arctan2(x[:, -1], x[:, -2])
    return theta


def _vectors():
    """Among them some that are close to the first axis, or a pole with zeros at their end."""
    closeness = st.sampled_from([1.0, 0.0, 1e-8])  # one a row

    def tilted(drawn):
        x, small = drawn
        x[:, 1:] *= small
        return (x + 0.0,)  # no −0.0, whose angle would be −π

    return (
        _shapes(2)
        .flatmap(lambda shape: st.tuples(array(shape), array((shape[0], 1), closeness)))
        .map(tilted)
    )


def _tails(x):
    """r_k for k = 1 … n."""
    return np.sqrt(np.cumsum(x[:, ::-1] ** 2, axis=1))[:, ::-1]


def _angles_from(angle, last=lambda x_n, before: np.arctan2(x_n, before)):
    """A solution by another way to θ_k from (r_{k+1}, x_k, r_k), or to the last angle."""

    def solve(x):
        tail = _tails(x)
        with np.errstate(all="ignore"):
            theta = angle(tail[:, 1:], x[:, :-1], tail[:, :-1])
            theta[:, -1] = last(x[:, -1], x[:, -2])
        return theta

    return solve


def _guarded_arccos(rest, x, tail):
    return np.arccos(x / np.where(tail > 0, tail, 1.0)) * (tail > 0)


def _by_subtraction(x):
    squares = x**2
    rest = squares.sum(axis=1, keepdims=True) - np.cumsum(squares, axis=1)
    theta = np.arctan2(np.sqrt(np.maximum(rest[:, :-1], 0.0)), x[:, :-1])
    theta[:, -1] = np.arctan2(x[:, -1], x[:, -2])
    return theta


def _direction_cosines(x):
    length = np.linalg.norm(x, axis=1, keepdims=True)
    theta = np.arccos(x[:, :-1] / np.where(length > 0, length, 1.0)) * (length > 0)
    theta[:, -1] = np.arctan2(x[:, -1], x[:, -2])
    return theta


def _angles_by_loops(x):
    theta = np.empty((x.shape[0], x.shape[1] - 1))
    for row, vector in zip(theta, x):
        rest = vector[-1]  # with its sign, for the last angle
        for k in reversed(range(len(row))):
            row[k] = np.arctan2(rest, vector[k])
            rest = np.hypot(rest, vector[k])
    return theta


SPHERICAL = Exercise(
    key="05.b",
    title="From vectors to angles",
    points=4,
    difficulty=3,
    solve=to_hyperspherical,
    inputs=_vectors,
    hints=(
        "Begin with n = 2, where a single function of NumPy does it. It takes the two legs of a "
        "right-angled triangle with their signs.",
        "For all angles but the last, the legs are xₖ and the length of everything after it. "
        "Such a length is never negative; xₙ itself may be.",
        "Sum the squares from the end with np.cumsum of x[:, ::-1] ** 2, turn the result round "
        "again and take roots. Then use np.arctan2, and the last column once more for itself.",
    ),
    wrong=(
        Wrong(
            "loses the sign of the last component",
            _angles_from(
                lambda rest, x, tail: np.arctan2(rest, x),
                lambda x_n, before: np.arctan2(np.abs(x_n), before),
            ),
            "√(xₙ²) is |xₙ|. Half of all directions end up at their mirror image: go back to x "
            "from your angles and compare the last component.",
        ),
        Wrong(
            "divides where nothing is left",
            _angles_from(lambda rest, x, tail: np.arccos(x / tail)),
            "At a pole, what is left is 0, and 0/0 is NaN. Besides, the arc cosine loses the "
            "digits of small angles.",
        ),
        Wrong(
            "takes the arc cosine",
            _angles_from(_guarded_arccos),
            "Near 0 and π the cosine is flat, and the arc cosine loses half of all digits, or "
            "the whole angle. There is a function that takes both legs of the triangle.",
        ),
        Wrong(
            "exchanges the arguments of atan2",
            _angles_from(lambda rest, x, tail: np.arctan2(x, rest), lambda a, b: np.arctan2(b, a)),
            "The vector (1, 0) must have the angle 0. The leg opposite the angle comes first.",
        ),
        Wrong(
            "takes atan in place of atan2",
            _angles_from(lambda rest, x, tail: np.arctan(rest / x), lambda a, b: np.arctan(a / b)),
            "A quotient cannot tell (1, 1) from (−1, −1). The function with two arguments can, "
            "and does not divide.",
        ),
        Wrong(
            "measures every angle against the whole vector",
            _direction_cosines,
            "These are the angles with the axes. θₖ is measured within what the components "
            "before k have left.",
        ),
        Wrong(
            "counts a component among what comes after it",
            _angles_from(lambda rest, x, tail: np.arctan2(tail, x)),
            "Your rest still contains xₖ. The leg opposite θₖ is made of the later components "
            "only.",
        ),
        Wrong(
            "takes only the next component",
            lambda x: np.arctan2(x[:, 1:], x[:, :-1]),
            "That is right for the last angle. The others divide between xₖ and everything after "
            "it.",
        ),
        Wrong(
            "forgets the root",
            _angles_from(lambda rest, x, tail: np.arctan2(rest**2, x)),
            "One leg of your triangle is a square of a length. Multiply x by 10: the angles "
            "should not change.",
        ),
        Wrong(
            "returns the last angle between 0 and 2π",
            _angles_from(
                lambda rest, x, tail: np.arctan2(rest, x),
                lambda x_n, before: np.arctan2(x_n, before) % (2 * np.pi),
            ),
            "Your angles give the right direction, but the last one is asked for between −π and π.",
        ),
        Wrong(
            "gets the rest by subtraction",
            _by_subtraction,
            "The difference of two nearly equal sums of squares has lost its digits. Sum from "
            "the end, where nothing has to be subtracted.",
        ),
    ),
    right=(_angles_by_loops, lambda x: geonet.hypersphere.to_hyperspherical(x)[0]),
    tolerance=1e-11,
)

# 05.c


def angle_between(u, v):
    """Angles between vectors, accurate also where these are nearly parallel or opposite.

    With the unit vectors û = u/‖u‖ and v̂ = v/‖v‖, the tangent of half the angle is
    ‖û − v̂‖ / ‖û + v̂‖.

    Parameters
    ----------
    u, v : numpy.ndarray
        (O, n), one vector per row, of any length but 0.

    Returns
    -------
    numpy.ndarray
        (O,), in radians, from 0 to π.
    """
    u = u / np.linalg.norm(u, axis=1, keepdims=True)
    v = v / np.linalg.norm(v, axis=1, keepdims=True)
    return 2 * np.arctan2(np.linalg.norm(u - v, axis=1), np.linalg.norm(u + v, axis=1))


def _pairs():
    """Vectors u and c u + δ d, which are often nearly parallel or nearly opposite."""
    factors = st.sampled_from([1.0, 2.0, -1.0, -3.0, 0.0])
    steps = st.sampled_from([1.0, 0.0, 1e-8, 1e-6])  # one a row, as the factors

    def related(drawn):
        u, d, factor, step = drawn
        u[~u.any(axis=1), 0] = 1.0
        v = factor * u + step * d
        v[~v.any(axis=1), 0] = 1.0
        return u, v

    return (
        _shapes(2)
        .flatmap(
            lambda s: st.tuples(
                array(s), array(s), array((s[0], 1), factors), array((s[0], 1), steps)
            )
        )
        .map(related)
    )


def _unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _cosines(u, v):
    return np.clip(np.sum(_unit(u) * _unit(v), axis=1), -1.0, 1.0)


def _half_angle(u, v):
    """Kahan's formula as it stands, for vectors of any length."""
    return 2 * np.arctan2(np.linalg.norm(u - v, axis=1), np.linalg.norm(u + v, axis=1))


def _angle_by_legs(u, v):
    """From the parts of v along u and at right angles to it."""
    u = _unit(u)
    along = np.sum(u * v, axis=1)
    return np.arctan2(np.linalg.norm(v - along[:, None] * u, axis=1), along)


def _angle_without_division(u, v):
    a, b = (np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (u, v))
    return np.array([_half_angle(x[None], y[None])[0] for x, y in zip(b * u, a * v)])


BETWEEN = Exercise(
    key="05.c",
    title="The angle between vectors",
    points=3,
    difficulty=3,
    solve=angle_between,
    inputs=_pairs,
    hints=(
        "The arc cosine of û·v̂ is right on paper, but it loses small angles. The docstring gives "
        "the tangent of half the angle.",
        "Make both vectors unit vectors, row by row. Then compute the length of their difference "
        "and the length of their sum.",
        "np.arctan2 takes the two lengths, that of the difference first, and needs no division "
        "even where the sum is 0. Do not forget the half.",
    ),
    wrong=(
        Wrong(
            "takes the arc cosine",
            lambda u, v: np.arccos(_cosines(u, v)),
            "For nearly parallel vectors û·v̂ rounds to 1, and the angle is lost. A formula with "
            "the difference of the vectors keeps it.",
        ),
        Wrong(
            "takes the arc sine of half the chord",
            lambda u, v: (
                2 * np.arcsin(np.minimum(np.linalg.norm(_unit(u) - _unit(v), axis=1) / 2, 1))
            ),
            "That is accurate for small angles, but near π the arc sine loses the digits. The "
            "length of the sum is needed as well.",
        ),
        Wrong(
            "forgets to make unit vectors",
            _half_angle,
            "The diagonals of the rhombus are at right angles only if all its sides are equally "
            "long. Make both vectors unit vectors first.",
        ),
        Wrong(
            "forgets that it is half the angle",
            lambda u, v: angle_between(u, v) / 2,
            "Opposite vectors must give π. Look again whose tangent is in the docstring.",
        ),
        Wrong(
            "returns the chord",
            lambda u, v: np.linalg.norm(_unit(u) - _unit(v), axis=1),
            "This is the straight distance between two points of the sphere. The angle is the "
            "way along the sphere.",
        ),
        Wrong(
            "returns degrees",
            lambda u, v: np.degrees(angle_between(u, v)),
            "The angle is asked for in radians.",
        ),
        Wrong(
            "returns the cosine",
            _cosines,
            "û·v̂ is the cosine of the angle, not the angle.",
        ),
        Wrong(
            "takes the angle between lines",
            lambda u, v: np.minimum(angle_between(u, v), np.pi - angle_between(u, v)),
            "Vectors have a sign: opposite ones are π apart, not 0.",
        ),
        Wrong(
            "takes one length for all rows",
            lambda u, v: _half_angle(u / np.linalg.norm(u), v / np.linalg.norm(v)),
            "The length of the whole matrix is not the length of a row. Use the argument axis.",
        ),
    ),
    right=(_angle_by_legs, _angle_without_division, geonet.hypersphere.angle_between),
    tolerance=1e-11,
)

EXERCISES = [CARTESIAN, SPHERICAL, BETWEEN]
