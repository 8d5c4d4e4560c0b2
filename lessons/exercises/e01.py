"""Exercises of lesson 01: scalar gradients by hand, and the way back over a tape."""

import numpy as np
from hypothesis import strategies as st

from lessons.exercise import Exercise, Wrong
from lessons.inputs import quarters


def neuron_gradient(x, w, b, t):
    """The gradient of the loss of one neuron, L = ½ (y − t)² with y = tanh z and z = w·x + b.

    Parameters
    ----------
    x, w, b, t : float
        Input, weight, bias and target.

    Returns
    -------
    tuple of three floats
        ∂L/∂w, ∂L/∂b and ∂L/∂x, in this order.
    """
    y = np.tanh(w * x + b)
    d_z = (y - t) * (1 - y**2)
    return d_z * x, d_z, d_z * w


def _neurons():
    return st.tuples(quarters(1), quarters(2), quarters(1), quarters(2))


def _from_z(d_z):
    """A solution that is right but for ∂L/∂z, which `d_z` computes from z and t."""

    def solve(x, w, b, t):
        slope = d_z(w * x + b, t)
        return slope * x, slope, slope * w

    return solve


def _neuron_by_complex_step(x, w, b, t):
    def loss(x, w, b):
        return (np.tanh(w * x + b) - t) ** 2 / 2

    h = 1e-20
    d_w = loss(x, w + 1j * h, b).imag / h
    d_b = loss(x, w, b + 1j * h).imag / h
    return d_w, d_b, loss(x + 1j * h, w, b).imag / h


NEURON = Exercise(
    key="01.a",
    title="The gradient of a neuron",
    points=2,
    difficulty=1,
    solve=neuron_gradient,
    inputs=_neurons,
    hints=(
        "Write the way forwards first, one operation per line, and then one line back for each of "
        "them, beginning at the loss.",
        "All three answers pass through z. Find ∂L/∂z first: it is ∂L/∂y times the derivative of "
        "tanh, which you can express by y alone.",
        "∂L/∂z is (y − t) times (1 − y·y). What is ∂z/∂w, what is ∂z/∂b, what is ∂z/∂x?",
    ),
    wrong=(
        Wrong(
            "forgets the derivative of tanh",
            _from_z(lambda z, t: np.tanh(z) - t),
            "You go from ∂L/∂y straight to ∂L/∂z, as if y and z were the same. Between them "
            "stands an operation with a local derivative of its own.",
        ),
        Wrong(
            "puts z for y in the derivative of tanh",
            _from_z(lambda z, t: (np.tanh(z) - t) * (1 - z**2)),
            "The derivative of tanh z can be written with the square of a value, but that value "
            "is what came out of tanh, not what went in.",
        ),
        Wrong(
            "adds the square in the derivative of tanh",
            _from_z(lambda z, t: (np.tanh(z) - t) * (1 + np.tanh(z) ** 2)),
            "tanh flattens out far from 0, so its derivative must become small there. Yours "
            "grows: look at a sign.",
        ),
        Wrong(
            "forgets the derivative of the loss",
            _from_z(lambda z, t: 1 - np.tanh(z) ** 2),
            "This is the derivative of y, not of L: your answer does not know the target at all.",
        ),
        Wrong(
            "takes target minus output",
            _from_z(lambda z, t: (t - np.tanh(z)) * (1 - np.tanh(z) ** 2)),
            "All three signs are wrong. When the output is above the target, pushing it up must "
            "make the loss larger.",
        ),
        Wrong(
            "forgets the half of the loss",
            _from_z(lambda z, t: 2 * (np.tanh(z) - t) * (1 - np.tanh(z) ** 2)),
            "Your answers are twice too large. The loss has a factor in front of the square.",
        ),
        Wrong(
            "mixes up the weight and the input",
            lambda x, w, b, t: neuron_gradient(x, w, b, t)[::-1],
            "In z = w·x + b, ask how z changes when the weight changes: the factor is the other "
            "one of the two.",
        ),
        Wrong(
            "stops at the pre-activation",
            lambda x, w, b, t: (x, 1.0, w),
            "These are the derivatives of z. The loss comes later in the computation, and the "
            "chain rule has a factor for each operation between.",
        ),
    ),
    right=(
        _from_z(lambda z, t: (np.tanh(z) - t) / np.cosh(z) ** 2),
        _neuron_by_complex_step,
    ),
)


def shared_gradient(x):
    """The gradient of a computation that uses its values twice.

    The computation is p = sin x, then q = p·x, then L = p + q².

    Parameters
    ----------
    x : float

    Returns
    -------
    tuple of three floats
        ∂L/∂q, ∂L/∂p and ∂L/∂x, in this order, each of them complete: a sum over all uses.
    """
    p = np.sin(x)
    d_q = 2 * p * x
    d_p = 1 + d_q * x
    return d_q, d_p, d_p * np.cos(x) + d_q * p


def _shared_in_one_formula(x):
    sine, cosine = np.sin(x), np.cos(x)
    return 2 * x * sine, 1 + 2 * x**2 * sine, cosine + 2 * x * sine * (sine + x * cosine)


def _shared_by_complex_step(x):
    h, p = 1e-20, np.sin(x)

    def from_q(p, q):
        return p + q**2

    def from_p(x, p):
        return from_q(p, p * x)

    d_q = from_q(p, p * x + 1j * h).imag / h
    d_p = from_p(x, p + 1j * h).imag / h
    moved = x + 1j * h
    return d_q, d_p, from_p(moved, np.sin(moved)).imag / h


def _shared(d_q=None, d_p=None, d_x=None):
    """A solution with one or two of its lines replaced, each later line using what it gets."""
    d_q = d_q or (lambda x, p: 2 * p * x)
    d_p = d_p or (lambda x, p, q: 1 + q * x)
    d_x = d_x or (lambda x, p, q, from_p: from_p * np.cos(x) + q * p)

    def solve(x):
        p = np.sin(x)
        from_q = d_q(x, p)
        from_p = d_p(x, p, from_q)
        return from_q, from_p, d_x(x, p, from_q, from_p)

    return solve


SHARED = Exercise(
    key="01.b",
    title="A value that is used twice",
    points=2,
    difficulty=2,
    solve=shared_gradient,
    inputs=lambda: st.tuples(quarters(3)),
    hints=(
        "Draw the computation: an arrow from each value to everything that uses it. How many "
        "arrows leave p, and how many leave x?",
        "Go from the newest value to the oldest: first q, which only L uses, then p, then x. "
        "Every arrow that leaves a value gives one term, and the terms are added.",
        "∂L/∂p has a term 1 from L itself and a term ∂L/∂q · ∂q/∂p. ∂L/∂x has a term "
        "∂L/∂p · ∂p/∂x and a term ∂L/∂q · ∂q/∂x.",
    ),
    wrong=(
        Wrong(
            "passes on p before q has paid in",
            _shared(d_x=lambda x, p, q, from_p: np.cos(x) + q * p),
            "Your ∂L/∂p is right in the end, but what you handed on to x was only a part of it. "
            "A value has to wait until all its uses are done.",
        ),
        Wrong(
            "forgets that q uses p",
            _shared(d_p=lambda x, p, q: 1.0),
            "You count the use of p in L and not its use in q. A change of p also changes q.",
        ),
        Wrong(
            "overwrites what p got from the loss",
            _shared(d_p=lambda x, p, q: q * x),
            "Only the last of the two terms of ∂L/∂p is left. This happens with = where the terms "
            "should be added up.",
        ),
        Wrong(
            "forgets that q uses x directly",
            _shared(d_x=lambda x, p, q, from_p: from_p * np.cos(x)),
            "x reaches the loss through p, and you have that. But it is also a factor of q.",
        ),
        Wrong(
            "forgets that p uses x",
            _shared(d_x=lambda x, p, q, from_p: q * p),
            "x reaches the loss through q, and you have that. But p is computed from x as well.",
        ),
        Wrong(
            "forgets the derivative of the sine",
            _shared(d_x=lambda x, p, q, from_p: from_p + q * p),
            "What p passes on to x must be multiplied by a local derivative, since p is not x.",
        ),
        Wrong(
            "forgets the derivative of the square",
            _shared(d_q=lambda x, p: p * x),
            "Your ∂L/∂q is a factor too small, and all that is computed from it is wrong too. "
            "Differentiate q² again.",
        ),
        Wrong(
            "gives each factor of the product its own value",
            _shared(
                d_p=lambda x, p, q: 1 + q * p,
                d_x=lambda x, p, q, from_p: from_p * np.cos(x) + q * x,
            ),
            "In q = p·x, the local derivative with respect to one factor is the other factor.",
        ),
        Wrong(
            "multiplies the terms of the two uses",
            _shared(d_x=lambda x, p, q, from_p: from_p * np.cos(x) * q * p),
            "One after another multiplies, side by side adds: the two ways from x to the loss lie "
            "side by side.",
        ),
    ),
    right=(_shared_in_one_formula, _shared_by_complex_step),
)


def backward(local):
    """Play a tape backwards: the derivatives of its last value with respect to all of them.

    Values v₀, v₁, …, L have been computed one after another, each from values before it. For each
    value and each earlier one the tape tells the local derivative, which is zero where the earlier
    value was not used.

    Parameters
    ----------
    local : array (K, K)
        In row k and column i stands ∂vₖ/∂vᵢ, of the operation that made vₖ. All entries with
        i ≥ k are zero. The last value is the loss L.

    Returns
    -------
    array (K,)
        In place i stands ∂L/∂vᵢ, the sum over all uses. In the last place stands ∂L/∂L.
    """
    gradient = np.zeros(len(local))
    gradient[-1] = 1.0
    for k in reversed(range(len(local))):
        gradient += gradient[k] * local[k]
    return gradient


@st.composite
def _tapes(draw):
    count = draw(st.integers(1, 5))
    local = np.zeros((count, count))
    for k in range(1, count):
        for i in range(k):
            used = draw(st.booleans())
            local[k, i] = draw(quarters(2)) if used else 0.0
    return (local,)


def _play(local, order, pay, first=1.0):
    gradient = np.zeros(len(local))
    gradient[-1] = first
    for k in order(range(len(local))):
        gradient = pay(gradient, k, local[k])
    return gradient


def _add(gradient, k, row):
    return gradient + gradient[k] * row


def _overwrite(gradient, k, row):
    return np.where(row != 0, gradient[k] * row, gradient)


def _first_use_only(gradient, k, row):
    return np.where(gradient == 0, gradient[k] * row, gradient)


def _ask_the_users(local):
    """Each value in turn asks all its users, from the last value to the first."""
    gradient = np.eye(len(local))[-1]
    for i in range(len(local) - 2, -1, -1):
        gradient[i] = local[i + 1 :, i] @ gradient[i + 1 :]
    return gradient


def _by_path_length(local):
    """The sum over all paths of one step, of two steps and so on."""
    paths = total = np.eye(len(local))[-1]
    for _ in range(len(local)):
        paths = paths @ local
        total = total + paths
    return total


TAPE = Exercise(
    key="01.c",
    title="Any tape, backwards",
    points=2,
    difficulty=2,
    solve=backward,
    inputs=_tapes,
    hints=(
        "Begin with an array of zeros and the one derivative that needs no work: that of the loss "
        "with respect to itself.",
        "Go over the places from the last to the first. When place k has its turn, its own "
        "derivative is complete, and it pays in to every earlier place that it used.",
        "What place k pays in to place i is ∂L/∂vₖ times the entry in row k and column i, and it "
        "is added to what place i already has. A whole row can be paid in at once.",
    ),
    wrong=(
        Wrong(
            "plays the tape forwards",
            lambda local: _play(local, iter, _add),
            "You begin with the oldest value. When its turn comes, nothing has been paid in to it "
            "yet, so it passes on zeros, and only the loss's own inputs get anything.",
        ),
        Wrong(
            "overwrites instead of adding",
            lambda local: _play(local, reversed, _overwrite),
            "A value that is used twice keeps only what the last payment brought. The uses of a "
            "value add up.",
        ),
        Wrong(
            "keeps only the first payment",
            lambda local: _play(local, reversed, _first_use_only),
            "A value that has got something already takes nothing more. But each use of a value "
            "gives a term.",
        ),
        Wrong(
            "does not start with one",
            lambda local: _play(local, reversed, _add, first=0.0),
            "Everything is zero, as there is nothing to pass on. The loss has a derivative with "
            "respect to itself, and the way back begins with it.",
        ),
        Wrong(
            "starts with ones everywhere",
            lambda local: np.linalg.solve(np.eye(len(local)) - local.T, np.ones(len(local))),
            "You began with an array of ones. That is the derivative of the sum of all values; "
            "only the last value is the loss.",
        ),
        Wrong(
            "reads the tape's columns as its rows",
            lambda local: _play(local.T, reversed, _add),
            "You mixed up the two indices: the row tells who was made, the column tells from what.",
        ),
        Wrong(
            "forgets what was paid in before",
            lambda local: _play(local, reversed, lambda gradient, k, row: gradient + row),
            "You add the local derivatives, but not multiplied by what has come back so far. The "
            "chain rule is a product of two factors.",
        ),
    ),
    right=(_ask_the_users, _by_path_length),
)

EXERCISES = [NEURON, SHARED, TAPE]
