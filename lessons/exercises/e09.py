"""Exercises of lesson 09: how far noise turns a boundary, under each parameterization."""

import numpy as np
from hypothesis import strategies as st

import geonet
from lessons.exercise import Exercise, Wrong
from lessons.inputs import ANGLES, NONZERO, QUARTERS, array

# 09.a


def largest_turn(weight, size):
    """How far noise of a given size can turn the direction of standard weights.

    For each unit: the largest angle between w and w + ε over all ε with ‖ε‖ = ρ. It is
    arcsin(ρ/‖w‖) while ρ is less than ‖w‖, π/2 if they are equal (which is approached, if not
    reached), and π if ρ is more than ‖w‖.

    Parameters
    ----------
    weight : numpy.ndarray
        (O, n), n ≥ 2, no row of zeros.
    size : numpy.ndarray
        (O,), the sizes ρ ≥ 0 of the noise, one for each unit.

    Returns
    -------
    numpy.ndarray
        (O,), radians.
    """
    ratio = size / np.linalg.norm(weight, axis=1)
    return np.where(ratio > 1, np.pi, np.arcsin(np.minimum(ratio, 1)))


def _largest_turn_by_units(weight, size):
    turns = []
    for w, rho in zip(weight, size):
        length = np.sqrt(np.sum(w * w))
        if rho > length:
            turns.append(np.pi)
        else:
            turns.append(np.arctan2(rho, np.sqrt((length - rho) * (length + rho))))
    return np.array(turns)


def _largest_turn_by_mask(weight, size):
    length = np.sqrt((weight**2).sum(axis=1))
    turns = np.full(len(weight), np.pi)
    reached = size <= length
    turns[reached] = np.arcsin(size[reached] / length[reached])
    return turns


def _ratio(weight, size):
    return size / np.linalg.norm(weight, axis=1)


@st.composite
def _weights_and_sizes(draw):
    """Weights and sizes of noise; in some units both are equally long, to the last bit."""
    units, n = draw(st.integers(1, 3)), draw(st.integers(2, 3))
    weight, size = np.zeros((units, n)), np.zeros(units)
    for row in range(units):
        if draw(st.booleans()):
            weight[row] = draw(array(n).filter(np.any))
            size[row] = abs(draw(QUARTERS))
        else:
            size[row] = abs(draw(NONZERO))
            weight[row, draw(st.integers(0, n - 1))] = draw(st.sampled_from((1, -1))) * size[row]
    return weight, size


TURN = Exercise(
    key="09.a",
    title="How far noise can turn standard weights",
    points=3,
    difficulty=2,
    solve=largest_turn,
    inputs=_weights_and_sizes,
    hints=(
        "Everything depends on one number for each unit, ρ/‖w‖. There are three cases of it.",
        "np.where computes both of its branches for all units, so the arcsine must not see numbers "
        "above 1: cut the ratio off there first. Which case does a ratio of exactly 1 belong to?",
        "np.arcsin of the smaller of the ratio and 1 covers the first two cases, as arcsin 1 = "
        "π/2; where the ratio is more than 1, put π in its place.",
    ),
    wrong=(
        Wrong(
            "uses the bound of GmP",
            lambda weight, size: np.minimum(size, np.pi),
            "‖ε‖ is the bound for angles. A weight can be short, and then the same noise turns it "
            "farther: the length of w must come in.",
        ),
        Wrong(
            "takes the noise at right angles to w",
            lambda weight, size: np.arctan(_ratio(weight, size)),
            "Such noise turns w by the arc tangent of ρ/‖w‖, but it is not the worst: that makes a "
            "right angle with w + ε.",
        ),
        Wrong(
            "leaves the arcsine out",
            lambda weight, size: np.where(
                _ratio(weight, size) < 1,
                _ratio(weight, size),
                np.where(_ratio(weight, size) > 1, np.pi, np.pi / 2),
            ),
            "The ratio is the sine of the angle. The two are alike for small noise only.",
        ),
        Wrong(
            "stops at π/2",
            lambda weight, size: np.arcsin(np.minimum(_ratio(weight, size), 1)),
            "Noise that is longer than w can turn it round completely: think of ε = −2w.",
        ),
        Wrong(
            "lets the arcsine see more than 1",
            lambda weight, size: np.arcsin(_ratio(weight, size)),
            "There is no angle with a sine above 1, so these units get NaN.",
        ),
        Wrong(
            "counts equality as more",
            lambda weight, size: np.where(
                _ratio(weight, size) >= 1, np.pi, np.arcsin(np.minimum(_ratio(weight, size), 1))
            ),
            "With ‖ε‖ = ‖w‖ the sum w + ε is at most at a right angle to w, or it is zero.",
        ),
        Wrong(
            "takes w + ε to be as long as w",
            lambda weight, size: 2 * np.arcsin(np.minimum(_ratio(weight, size) / 2, 1)),
            "That is the angle of a chord of length ρ between two vectors of length ‖w‖. But w + ε "
            "may be shorter than w, and in the worst case it is.",
        ),
        Wrong(
            "divides by ‖w‖²",
            lambda weight, size: np.where(
                size > (weight**2).sum(axis=1),
                np.pi,
                np.arcsin(np.minimum(size / (weight**2).sum(axis=1), 1)),
            ),
            "The sum of the squares is the square of the length. An angle must not change if w and "
            "ε are measured in other units.",
        ),
        Wrong(
            "answers in degrees",
            lambda weight, size: np.degrees(largest_turn(weight, size)),
            "Angles are in radians throughout.",
        ),
    ),
    right=(_largest_turn_by_units, _largest_turn_by_mask),
)


# 09.b


def turn_to_first_order(theta, epsilon):
    """How far a change of the angles turns the direction u(θ), to first order.

    For each unit √(Σ_k s_k² ε_k²), where s_k = ‖∂u/∂θ_k‖ is the product of the sines of all angles
    before θ_k, and s_1 = 1.

    Parameters
    ----------
    theta : numpy.ndarray
        (O, n−1), the angles θ, n ≥ 2.
    epsilon : numpy.ndarray
        (O, n−1), their changes ε.

    Returns
    -------
    numpy.ndarray
        (O,), radians.
    """
    s = np.ones(theta.shape)
    s[:, 1:] = np.cumprod(np.sin(theta[:, :-1]), axis=1)
    return np.sqrt((s**2 * epsilon**2).sum(axis=1))


def _turn_by_loops(theta, epsilon):
    turns = np.zeros(len(theta))
    for unit in range(len(theta)):
        product, total = 1.0, 0.0
        for angle, change in zip(theta[unit], epsilon[unit]):
            total += (product * change) ** 2
            product *= np.sin(angle)
        turns[unit] = np.sqrt(total)
    return turns


def _turn_by_jacobian(theta, epsilon):
    moved = np.einsum("onk,ok->on", geonet.hypersphere.jacobian(theta), epsilon)
    return np.linalg.norm(moved, axis=1)


def _sines(theta):
    """s_1 … s_{n−1}, (O, n−1)."""
    return np.sqrt(geonet.hypersphere.metric(theta))


def _turn_inputs():
    shapes = st.tuples(st.integers(1, 3), st.integers(1, 4))
    return shapes.flatmap(lambda s: st.tuples(array(s, ANGLES), array(s)))


FIRST_ORDER = Exercise(
    key="09.b",
    title="The turn under GmP to first order",
    points=2,
    difficulty=3,
    solve=turn_to_first_order,
    inputs=_turn_inputs,
    hints=(
        "Build s first, of the same shape as θ. What is its first column, and which sines are in "
        "the last one?",
        "A running product along the row, shifted by one place, since θ_k itself is not in s_k. "
        "The very last angle is in none of them.",
        "np.cumprod of the sines of all angles but the last gives s_2 to s_{n−1}. Then Pythagoras, "
        "with the entries s_k ε_k, one sum for each unit.",
    ),
    wrong=(
        Wrong(
            "leaves s out",
            lambda theta, epsilon: np.linalg.norm(epsilon, axis=1),
            "‖ε‖ is the bound. A change of a late angle moves u less, by the factor s_k.",
        ),
        Wrong(
            "has one sine too many in each s",
            lambda theta, epsilon: np.sqrt(
                (np.cumprod(np.sin(theta), axis=1) ** 2 * epsilon**2).sum(axis=1)
            ),
            "s_k is the product of the sines before θ_k, so the first has none at all.",
        ),
        Wrong(
            "forgets the root",
            lambda theta, epsilon: (_sines(theta) ** 2 * epsilon**2).sum(axis=1),
            "That is the square of a length. Twice the noise should turn u twice as far.",
        ),
        Wrong(
            "does not square s",
            lambda theta, epsilon: np.sqrt((_sines(theta) * epsilon**2).sum(axis=1)),
            "The motion along e_k has the length s_k |ε_k|, and Pythagoras squares all of it.",
        ),
        Wrong(
            "adds the lengths, not their squares",
            lambda theta, epsilon: (_sines(theta) * np.abs(epsilon)).sum(axis=1),
            "The e_k are at right angles to each other, so their lengths do not simply add up.",
        ),
        Wrong(
            "lets changes of opposite sign cancel",
            lambda theta, epsilon: np.abs((_sines(theta) * epsilon).sum(axis=1)),
            "The e_k point in different directions: what one angle does, no other undoes.",
        ),
        Wrong(
            "takes cosines for sines",
            lambda theta, epsilon: np.sqrt(
                (
                    np.cumprod(np.cos(np.insert(theta, 0, 0.0, axis=1)), axis=1)[:, :-1] ** 2
                    * epsilon**2
                ).sum(axis=1)
            ),
            "The part of u that the later angles share has the length sin θ_1 … sin θ_{k−1}.",
        ),
        Wrong(
            "multiplies by the sine before only",
            lambda theta, epsilon: np.sqrt(
                (np.insert(np.sin(theta), 0, 1.0, axis=1)[:, :-1] ** 2 * epsilon**2).sum(axis=1)
            ),
            "s_k is the product of all sines before θ_k, not the last of them alone. For two "
            "angles you cannot see it.",
        ),
        Wrong(
            "takes the mean of the squares",
            lambda theta, epsilon: np.sqrt((_sines(theta) ** 2 * epsilon**2).mean(axis=1)),
            "Every angle adds its own motion. With more angles the turn does not get smaller.",
        ),
        Wrong(
            "measures the whole turn",
            lambda theta, epsilon: geonet.hypersphere.angle_between(
                geonet.hypersphere.to_cartesian(theta),
                geonet.hypersphere.to_cartesian(theta + epsilon),
            ),
            "This is the true angle. Asked is the part that is linear in ‖ε‖, which differs from "
            "it where ε is not small.",
        ),
    ),
    right=(_turn_by_loops, _turn_by_jacobian),
)


# 09.c


def worst_noise(weight, size):
    """The noise of a given size that turns a weight in the plane farthest counter-clockwise.

    Of all ε with ‖ε‖ = ρ it is the one for which w + ε is at the angle arcsin(ρ/‖w‖) from w, and on
    its left side: counter-clockwise, from the first axis towards the second.

    Parameters
    ----------
    weight : numpy.ndarray
        (2,), w, not zero.
    size : float
        The size ρ of the noise, 0 < ρ < ‖w‖.

    Returns
    -------
    numpy.ndarray
        (2,), ε.
    """
    length = np.linalg.norm(weight)
    along = weight / length
    left = np.array([-along[1], along[0]])
    sine = size / length
    return size * (np.sqrt(1 - sine**2) * left - sine * along)


def _worst_by_rotation(weight, size):
    turn = np.arcsin(size / np.linalg.norm(weight))
    cosine, sine = np.cos(turn), np.sin(turn)
    rotation = np.array([[cosine, -sine], [sine, cosine]])
    return cosine * (rotation @ weight) - weight


def _worst_by_angle(weight, size):
    turn = np.arcsin(size / np.hypot(*weight))
    direction = np.arctan2(weight[1], weight[0]) + turn + np.pi / 2  # at right angles to w + ε
    return size * np.array([np.cos(direction), np.sin(direction)])


def _frame(weight, size):
    """ŵ, the unit vector to its left, and the angle of the bound."""
    along = weight / np.linalg.norm(weight)
    return along, np.array([-along[1], along[0]]), np.arcsin(size / np.linalg.norm(weight))


def _mixed(weight, size, of_along, of_left):
    """A wrong answer: ρ times functions of the angle along w and to the left."""
    along, left, turn = _frame(weight, size)
    return size * (of_along(turn) * along + of_left(turn) * left)


def _worst_inputs():
    shares = st.sampled_from((0.5, 0.25, 0.75, 0.6))
    return (
        array(2)
        .filter(np.any)
        .flatmap(
            lambda w: st.tuples(st.just(w), shares.map(lambda share: float(share * np.hypot(*w))))
        )
    )


WORST = Exercise(
    key="09.c",
    title="The worst noise",
    points=3,
    difficulty=4,
    solve=worst_noise,
    inputs=_worst_inputs,
    hints=(
        "Draw the circle of radius ρ around w, and the line from the origin that touches it on the "
        "left. Where is the right angle of the triangle 0, w, w + ε?",
        "ε is at right angles to w + ε, not to w. So if α is the angle of the turn, ε makes the "
        "angle π/2 + α with w. Write ε with the unit vector along w and the one to its left.",
        "With ŵ = w/‖w‖ and n̂ = (−ŵ_2, ŵ_1): ε = ρ (cos(π/2 + α) ŵ + sin(π/2 + α) n̂), and "
        "sin α = ρ/‖w‖.",
    ),
    wrong=(
        Wrong(
            "makes the right angle at w",
            lambda weight, size: _mixed(weight, size, lambda a: 0.0, lambda a: 1.0),
            "Noise at right angles to w also makes it longer, and so turns it by arctan(ρ/‖w‖) "
            "only. Lean it back a little, and w turns farther.",
        ),
        Wrong(
            "turns clockwise",
            lambda weight, size: _mixed(weight, size, lambda a: -np.sin(a), lambda a: -np.cos(a)),
            "The size of the turn is right, but it goes to the right of w.",
        ),
        Wrong(
            "leans away from the origin",
            lambda weight, size: _mixed(weight, size, np.sin, np.cos),
            "The part of your ε along w makes w longer, which makes the turn smaller.",
        ),
        Wrong(
            "goes straight back",
            lambda weight, size: _mixed(weight, size, lambda a: -1.0, lambda a: 0.0),
            "While ρ < ‖w‖ this makes w shorter and does not turn it at all.",
        ),
        Wrong(
            "exchanges sine and cosine",
            lambda weight, size: _mixed(weight, size, lambda a: -np.cos(a), np.sin),
            "For small ρ the worst noise is nearly at right angles to w. Yours is nearly opposite.",
        ),
        Wrong(
            "returns w + ε",
            lambda weight, size: (
                weight + _mixed(weight, size, lambda a: -np.sin(a), lambda a: np.cos(a))
            ),
            "That is where w is turned to. Asked is the noise itself.",
        ),
        Wrong(
            "gives a unit vector",
            lambda weight, size: (
                _mixed(weight, size, lambda a: -np.sin(a), lambda a: np.cos(a)) / size
            ),
            "The direction is right, but the noise must have the size ρ.",
        ),
        Wrong(
            "rotates w without shortening it",
            lambda weight, size: (
                weight * (np.cos(_frame(weight, size)[2]) - 1)
                + np.linalg.norm(weight) * np.sin(_frame(weight, size)[2]) * _frame(weight, size)[1]
            ),
            "w + ε is then as long as w, and ε longer than ρ. Where the line touches the circle, "
            "w + ε is shorter than w.",
        ),
    ),
    right=(_worst_by_rotation, _worst_by_angle),
)


EXERCISES = [TURN, FIRST_ORDER, WORST]
