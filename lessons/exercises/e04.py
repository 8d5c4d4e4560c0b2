"""Exercises of lesson 04: the ReLU's pullback, boundaries, and how far points are from them."""

import numpy as np
from hypothesis import strategies as st

import geonet
from lessons.exercise import Exercise, Wrong
from lessons.inputs import array, quarters

QUARTERS = quarters(3)


def _weights(units, inputs):
    """Rows of which none is zero."""

    def mended(weight):
        weight[~weight.any(axis=1), 0] = 1.0
        return weight

    return array((units, inputs), QUARTERS).map(mended)


# 04.a


def relu_pullback(g, z):
    """The pullback of the ReLU, y = max(z, 0): from ∂L/∂y to ∂L/∂z.

    At the kink, z = 0, the derivative is taken to be 0.

    Parameters
    ----------
    g : numpy.ndarray
        ∂L/∂y, of any shape.
    z : numpy.ndarray
        The pre-activations, of the same shape.

    Returns
    -------
    numpy.ndarray
        ∂L/∂z, of the same shape.
    """
    return g * (z > 0)


def _gradients_and_preactivations():
    shapes = st.sampled_from([(1,), (3,), (2, 3)])
    return shapes.flatmap(
        lambda shape: st.tuples(array(shape, QUARTERS), array(shape, _WITH_KINKS))
    )


_WITH_KINKS = st.sampled_from([0.0, 0.5, 1.0, 2.0, -0.5, -1.0, -3.0, 1e-12, -1e-12])


def _relu_by_engine(g, z):
    x = geonet.Tensor(z, requires_grad=True)
    geonet.ops.relu(x).backward(g)
    return x.grad


RELU = Exercise(
    key="04.a",
    title="The pullback of the ReLU",
    points=2,
    difficulty=1,
    solve=relu_pullback,
    inputs=_gradients_and_preactivations,
    hints=(
        "The chain rule multiplies what comes in by the local derivative. What is the slope of "
        "max(z, 0) on either side of 0?",
        "The slope is 1 or 0, and which of the two depends on z alone, one entry at a time. What "
        "does the docstring say about z = 0?",
        "A comparison of z with 0 gives an array of True and False, and NumPy multiplies with "
        "these as with 1 and 0.",
    ),
    wrong=(
        Wrong(
            "lets the gradient through at the kink",
            lambda g, z: g * (z >= 0),
            "On the boundary itself your derivative is 1. We have agreed on another value.",
        ),
        Wrong(
            "takes a half at the kink",
            lambda g, z: g * np.heaviside(z, 0.5),
            "At z = 0 you take the mean of the slopes on both sides. We have agreed on another "
            "value.",
        ),
        Wrong(
            "forgets the incoming gradient",
            lambda g, z: (z > 0).astype(float),
            "This is the derivative ∂y/∂z alone. The loss comes after y, and g says how it "
            "depends on y.",
        ),
        Wrong(
            "passes everything on",
            lambda g, z: g.copy(),
            "You treat the ReLU as if it were the identity. An inactive entry has no influence "
            "on the loss.",
        ),
        Wrong(
            "applies the ReLU to the gradient",
            lambda g, z: np.maximum(g, 0.0),
            "You cut off by the sign of g. Whether the gate is open was decided on the way "
            "forwards, where g was not yet known.",
        ),
        Wrong(
            "multiplies by the output",
            lambda g, z: g * np.maximum(z, 0.0),
            "You multiply by the value of the function. The chain rule asks for its slope.",
        ),
        Wrong(
            "lets only positive gradients through",
            lambda g, z: g * ((z > 0) & (g > 0)),
            "Negative gradients of active entries are lost. They are as good as positive ones: "
            "they say that the loss falls when y grows.",
        ),
        Wrong(
            "opens the gate on the wrong side",
            lambda g, z: g * (z < 0),
            "The entries that you stop are the active ones. Draw max(z, 0) and look at where it "
            "is flat.",
        ),
        Wrong(
            "takes the slope −1 on the inactive side",
            lambda g, z: g * np.sign(z),
            "This is the pullback of the absolute value |z|. On the inactive side the ReLU is "
            "flat.",
        ),
    ),
    right=(lambda g, z: np.where(z > 0, g, 0.0), _relu_by_engine),
    kind="gradient",
)

# 04.b


def boundaries(weight, bias):
    """Where the boundaries {x : w·x + b = 0} of some ReLU units are.

    Direction u = w/‖w‖, signed offset λ = b/‖w‖, and location φ = −λu, for every unit.

    Parameters
    ----------
    weight : numpy.ndarray
        (O, n), the weight w of one unit per row. No row is zero.
    bias : numpy.ndarray
        (O,), the biases b.

    Returns
    -------
    tuple of three numpy.ndarray
        The directions (O, n), the offsets (O,) and the locations (O, n), in this order.
    """
    length = np.linalg.norm(weight, axis=1)
    direction = weight / length[:, None]
    offset = bias / length
    return direction, offset, -offset[:, None] * direction


def _units():
    shapes = st.tuples(st.integers(1, 3), st.integers(1, 3))
    return shapes.flatmap(lambda s: st.tuples(_weights(*s), array(s[0], QUARTERS)))


def _from(length, offset=np.divide, location=None):
    """Solutions by another length (O,) of the rows, offset λ, or location from (λ, u, w)."""

    def solve(weight, bias):
        norm = np.broadcast_to(length(weight), bias.shape)
        direction, lambda_ = weight / norm[:, None], offset(bias, norm)
        if location is None:
            return direction, lambda_, -lambda_[:, None] * direction
        return direction, lambda_, location(lambda_[:, None], direction, weight)

    return solve


def _row_lengths(weight):
    return np.sqrt(np.sum(weight * weight, axis=1))


def _boundaries_by_loop(weight, bias):
    directions, offsets, locations = [], [], []
    for w, b in zip(weight, bias):
        square = w @ w
        directions.append(w / np.sqrt(square))
        offsets.append(b / np.sqrt(square))
        locations.append(-b * w / square)
    return np.array(directions), np.array(offsets), np.array(locations)


def _boundaries_by_geonet(weight, bias):
    direction, offset = geonet.characteristic.coordinates(weight, bias)
    return direction, offset, geonet.characteristic.location(weight, bias)


BOUNDARIES = Exercise(
    key="04.b",
    title="Direction, offset and location",
    points=3,
    difficulty=2,
    solve=boundaries,
    inputs=_units,
    hints=(
        "First compute ‖w‖ for every row. That is a vector of O numbers; everything else follows "
        "from it.",
        "np.linalg.norm and np.sum take an argument axis. To divide a matrix (O, n) by a vector "
        "(O,) row by row, give the vector a second axis of length 1.",
        "With length = ‖w‖ of shape (O,), length[:, None] has the shape (O, 1). Divide w by it, b "
        "by length, and put both results together with a minus sign.",
    ),
    wrong=(
        Wrong(
            "takes one length for all units",
            _from(np.linalg.norm),
            "You divide all rows by the length of the whole matrix. Every unit has a length of "
            "its own.",
        ),
        Wrong(
            "divides by the square of the length",
            _from(lambda weight: np.sum(weight * weight, axis=1)),
            "Your directions do not have the length 1: something is missing between the sum of "
            "squares and ‖w‖.",
        ),
        Wrong(
            "adds up absolute values",
            _from(lambda weight: np.abs(weight).sum(axis=1)),
            "‖w‖ is the Euclidean length. With the sum of absolute values, u does not lie on the "
            "unit sphere.",
        ),
        Wrong(
            "puts the location on the other side of the origin",
            _from(_row_lengths, location=lambda offset, u, w: offset * u),
            "Put your φ into w·x + b: the result is not 0. Walking from the origin to the "
            "boundary one goes against u if the origin is active.",
        ),
        Wrong(
            "does not divide the bias",
            _from(_row_lengths, offset=lambda bias, length: bias),
            "Your offset is b itself. Multiply w and b by 2: the boundary stays where it is, but "
            "your λ does not.",
        ),
        Wrong(
            "loses the sign of the offset",
            _from(_row_lengths, offset=lambda bias, length: np.abs(bias) / length),
            "A distance without a sign cannot tell on which side of the boundary the origin lies.",
        ),
        Wrong(
            "writes the boundary as u·x = λ",
            _from(_row_lengths, lambda b, length: -b / length, lambda offset, u, w: offset * u),
            "Your location is right, but your λ has the other sign. Here the boundary is "
            "u·x + λ = 0.",
        ),
        Wrong(
            "multiplies the offset with w",
            _from(_row_lengths, location=lambda offset, u, w: -offset * w),
            "The step from the origin to φ has the length |λ|. Yours is longer by a factor ‖w‖.",
        ),
    ),
    right=(_boundaries_by_loop, _boundaries_by_geonet),
)

# 04.c


def signed_distances(x, weight, bias):
    """Signed distances of points from the boundaries of units, u·x + λ = (w·x + b)/‖w‖.

    They are positive on the active side.

    Parameters
    ----------
    x : numpy.ndarray
        (N, n), one point per row.
    weight : numpy.ndarray
        (O, n), one unit per row. No row is zero.
    bias : numpy.ndarray
        (O,).

    Returns
    -------
    numpy.ndarray
        (N, O): row i, column o is the distance of point i from the boundary of unit o.
    """
    return (x @ weight.T + bias) / np.linalg.norm(weight, axis=1)


def _points_and_units():
    shapes = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
    return shapes.flatmap(
        lambda s: st.tuples(
            array((s[0], s[2]), QUARTERS), _weights(s[1], s[2]), array(s[1], QUARTERS)
        )
    )


def _distances_by_loops(x, weight, bias):
    distances = np.empty((len(x), len(weight)))
    for i, point in enumerate(x):
        for o, w in enumerate(weight):
            distances[i, o] = (w @ point + bias[o]) / np.sqrt(w @ w)
    return distances


def _distances_from_locations(x, weight, bias):
    """u·(x − φ)."""
    direction, _, location = boundaries(weight, bias)
    return np.sum((x[:, None, :] - location) * direction, axis=-1)


def _by_length_of_points(x, weight, bias):
    size = np.linalg.norm(x, axis=1, keepdims=True)
    return (x @ weight.T + bias) / np.where(size > 0, size, 1.0)


def _to_locations(x, weight, bias):
    apart = np.linalg.norm(x[:, None, :] - boundaries(weight, bias)[2], axis=-1)
    return np.sign(x @ weight.T + bias) * apart


DISTANCES = Exercise(
    key="04.c",
    title="Signed distances",
    points=3,
    difficulty=2,
    solve=signed_distances,
    inputs=_points_and_units,
    hints=(
        "All the pre-activations w·x + b at once are one linear layer, as in lesson 03. What "
        "must be done to them to make them distances?",
        "Pre-activations have the shape (N, O), one column per unit. Each column has to be divided "
        "by the ‖w‖ of its unit.",
        "x @ weight.T is (N, O). A vector of shape (O,), such as the bias or the row lengths of "
        "the weight, is broadcast over its rows.",
    ),
    wrong=(
        Wrong(
            "returns the pre-activations",
            lambda x, weight, bias: x @ weight.T + bias,
            "This is z = w·x + b. It doubles when w and b are doubled, and distances do not.",
        ),
        Wrong(
            "loses the sign",
            lambda x, weight, bias: np.abs(signed_distances(x, weight, bias)),
            "A point on the inactive side has a negative signed distance.",
        ),
        Wrong(
            "forgets the bias",
            lambda x, weight, bias: signed_distances(x, weight, 0.0 * bias),
            "You measure the distance from a parallel boundary through the origin.",
        ),
        Wrong(
            "does not divide the bias",
            lambda x, weight, bias: signed_distances(x, weight, 0.0 * bias) + bias,
            "You add b where λ belongs: the whole of w·x + b has to be made smaller, not one part "
            "of it.",
        ),
        Wrong(
            "divides by the square of the length",
            lambda x, weight, bias: (x @ weight.T + bias) / np.sum(weight**2, axis=1),
            "A step of length 1 along u changes w·x by ‖w‖. You have divided by too much.",
        ),
        Wrong(
            "divides by the length of the point",
            _by_length_of_points,
            "How far a point is from the boundary does not depend on how far it is from the "
            "origin. Another vector has to become a unit vector.",
        ),
        Wrong(
            "cuts off the inactive side",
            lambda x, weight, bias: np.maximum(signed_distances(x, weight, bias), 0.0),
            "You have applied the ReLU. The distance is known on both sides of the boundary.",
        ),
        Wrong(
            "subtracts the offset",
            lambda x, weight, bias: signed_distances(x, weight, -bias),
            "At the origin your distance is −λ. Put x = 0 into w·x + b and compare.",
        ),
        Wrong(
            "exchanges points and units",
            lambda x, weight, bias: signed_distances(x, weight, bias).T,
            "Row i of the answer belongs to point i, and column o to unit o.",
        ),
        Wrong(
            "measures the distance to the location",
            _to_locations,
            "φ is only one point of the boundary. The nearest one to x is in general another.",
        ),
    ),
    right=(_distances_by_loops, _distances_from_locations),
)

EXERCISES = [RELU, BOUNDARIES, DISTANCES]
