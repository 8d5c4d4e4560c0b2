"""Exercises of lesson 10: training and normalization."""

import numpy as np
from hypothesis import strategies as st

from lessons.exercise import Exercise, Wrong
from lessons.inputs import array


def _numbers(shape, low=-12, high=12):
    """Quarters from low/4 to high/4."""
    quarters = st.integers(low, high).map(lambda k: k / 4)
    return array(shape, quarters)


# 10.a


def adam_step(parameter, gradient, m, v, t, rate, beta1, beta2, eps):
    """Take one step of Adam (Kingma & Ba 2015, algorithm 1), without changing the arguments.

    The running means m of the gradient and v of its square are brought up to date; the parameter
    moves by −η m̂/(√v̂ + ε), where m̂ and v̂ are corrected for the start from 0. m and v are returned
    as they are before that correction.

    Parameters
    ----------
    parameter, gradient : ndarray, shape (n,)
        p, and ∂L/∂p.
    m, v : ndarray, shape (n,)
        Those of the step before; 0 at the first.
    t : int
        Number of this step, from 1.
    rate : float
        η.
    beta1, beta2 : float
        β₁ and β₂, from 0 to below 1: the shares of the old m and v in the new ones.
    eps : float
        ε, above 0.

    Returns
    -------
    parameter, m, v : ndarray, shape (n,)
        The new ones.
    """
    m = beta1 * m + (1 - beta1) * gradient
    v = beta2 * v + (1 - beta2) * gradient**2
    corrected, square = m / (1 - beta1**t), v / (1 - beta2**t)
    return parameter - rate * corrected / (np.sqrt(square) + eps), m, v


def _adam_inputs():
    def arguments(count):
        return st.tuples(
            _numbers(count),
            _numbers(count),
            _numbers(count),
            _numbers(count, low=1),
            st.integers(1, 20),
            st.sampled_from([1.0, 0.5, 0.1]),
            st.sampled_from([0.5, 0.9, 0.25]),
            st.sampled_from([0.75, 0.99, 0.999]),
            st.sampled_from([0.125, 0.01, 0.001]),
        )

    return st.integers(1, 4).flatmap(arguments)


def _adam_by_scale(parameter, gradient, m, v, t, rate, beta1, beta2, eps):
    m = m + (1 - beta1) * (gradient - m)
    v = v + (1 - beta2) * (gradient * gradient - v)
    step = rate * np.sqrt(1 - beta2**t) / (1 - beta1**t)
    return parameter - step * m / (np.sqrt(v) + eps * np.sqrt(1 - beta2**t)), m, v


def _adam_by_entries(parameter, gradient, m, v, t, rate, beta1, beta2, eps):
    new = [np.empty_like(parameter) for _ in range(3)]
    for i, g in enumerate(gradient):
        first = beta1 * m[i] + (1 - beta1) * g
        second = beta2 * v[i] + (1 - beta2) * g * g
        root = (second / (1 - beta2**t)) ** 0.5
        new[0][i] = parameter[i] - rate * (first / (1 - beta1**t)) / (root + eps)
        new[1][i], new[2][i] = first, second
    return tuple(new)


def _moments(gradient, m, v, t, beta1, beta2):
    """New m and v, and both corrected."""
    m, v = beta1 * m + (1 - beta1) * gradient, beta2 * v + (1 - beta2) * gradient**2
    return m, v, m / (1 - beta1**t), v / (1 - beta2**t)


def _uncorrected(p, g, m, v, t, rate, beta1, beta2, eps):
    m, v, _, _ = _moments(g, m, v, t, beta1, beta2)
    return p - rate * m / (np.sqrt(v) + eps), m, v


def _eps_inside(p, g, m, v, t, rate, beta1, beta2, eps):
    m, v, first, second = _moments(g, m, v, t, beta1, beta2)
    return p - rate * first / np.sqrt(second + eps), m, v


def _no_root(p, g, m, v, t, rate, beta1, beta2, eps):
    m, v, first, second = _moments(g, m, v, t, beta1, beta2)
    return p - rate * first / (second + eps), m, v


def _uphill(p, g, m, v, t, rate, beta1, beta2, eps):
    m, v, first, second = _moments(g, m, v, t, beta1, beta2)
    return p + rate * first / (np.sqrt(second) + eps), m, v


def _returns_corrected(p, g, m, v, t, rate, beta1, beta2, eps):
    m, v, first, second = _moments(g, m, v, t, beta1, beta2)
    return p - rate * first / (np.sqrt(second) + eps), first, second


def _old_moments(p, g, m, v, t, rate, beta1, beta2, eps):
    new_m, new_v, _, _ = _moments(g, m, v, t, beta1, beta2)
    first, second = m / (1 - beta1**t), v / (1 - beta2**t)
    return p - rate * first / (np.sqrt(second) + eps), new_m, new_v


A = Exercise(
    key="10.a",
    title="One step of Adam",
    points=3,
    difficulty=2,
    solve=adam_step,
    inputs=_adam_inputs,
    hints=(
        "First bring m and v up to date, then correct them, then move. Give the corrected ones "
        "names of their own.",
        "Corrected means divided by 1 − βᵗ, with β₁ for m and β₂ for v. They are used for the "
        "step alone.",
        "p − η m̂/(√v̂ + ε) with m̂ = m/(1 − β₁ᵗ) and v̂ = v/(1 − β₂ᵗ); ε is outside of the root. "
        "Return that, and the uncorrected m and v.",
    ),
    wrong=(
        Wrong(
            "does not correct for the start from 0",
            _uncorrected,
            "m and v are right. They began at 0 and are too small at first, by different factors; "
            "your step uses them as they are.",
        ),
        Wrong(
            "puts ε under the root",
            _eps_inside,
            "ε is added to the root of v̂, not to v̂ itself: for small gradients that is much less.",
        ),
        Wrong(
            "forgets the root",
            _no_root,
            "v is the mean of *squares*. Without a root the quotient has the unit of 1/gradient.",
        ),
        Wrong("walks uphill", _uphill, "Your loss grows: the step goes against the gradient."),
        Wrong(
            "returns the corrected means",
            _returns_corrected,
            "The new parameter is right, but the next step would correct m and v once more.",
        ),
        Wrong(
            "moves by the means of the step before",
            _old_moments,
            "m and v are right. The step has to use the new ones, which have seen this gradient.",
        ),
        Wrong(
            "swaps the shares of old and new",
            lambda *a: adam_step(*a[:6], 1 - a[6], 1 - a[7], a[8]),
            "β is the share of the *old* value, which is the larger one.",
        ),
        Wrong(
            "counts steps from 0",
            lambda p, g, m, v, t, *rest: adam_step(p, g, m, v, t + 1, *rest),
            "m and v are right. t is the number of this step already, and is not to be raised.",
        ),
    ),
    right=(_adam_by_scale, _adam_by_entries),
)


# 10.b


def batch_norm_boundary(weight, gamma, beta, mean, variance, eps):
    """The boundaries of units under batch normalization.

    Unit k is ReLU(γ_k (w_k·x − μ_k)/σ_k + β_k) with σ_k = √(variance_k + eps). Give its boundary
    by a unit vector u_k and a signed offset λ_k, such that it is active where u_k·x + λ_k > 0.

    Parameters
    ----------
    weight : ndarray, shape (O, n)
        w, no row of zeros.
    gamma, beta : ndarray, shape (O,)
        γ, not 0 but of either sign, and β.
    mean, variance : ndarray, shape (O,)
        μ and the variance.
    eps : float

    Returns
    -------
    u : ndarray, shape (O, n)
    lambda_ : ndarray, shape (O,)
    """
    length, sign = np.linalg.norm(weight, axis=1), np.sign(gamma)
    offset = np.sqrt(variance + eps) * beta / gamma - mean
    return (sign / length)[:, None] * weight, sign * offset / length


def _boundary_inputs():
    away = st.integers(1, 12).flatmap(lambda k: st.sampled_from([k / 4, -k / 4]))  # from 0

    def arguments(shape):
        units = shape[0]
        signed = array(units, away)
        return st.tuples(
            array(shape, away),
            signed,
            _numbers(units),
            _numbers(units),
            _numbers(units, low=1),
            st.sampled_from([0.125, 0.5, 0.001]),
        )

    return st.tuples(st.integers(1, 3), st.integers(1, 3)).flatmap(arguments)


def _boundary_by_affine_map(weight, gamma, beta, mean, variance, eps):
    scale = gamma / np.sqrt(variance + eps)
    w, b = scale[:, None] * weight, beta - scale * mean
    length = np.sqrt((w**2).sum(axis=1))
    return w / length[:, None], b / length


def _boundary_by_units(weight, gamma, beta, mean, variance, eps):
    u, offset = np.empty_like(weight), np.empty_like(beta)
    for k, row in enumerate(weight):
        sigma = (variance[k] + eps) ** 0.5
        side = 1.0 if gamma[k] > 0 else -1.0
        u[k] = side * row / np.sqrt(row @ row)
        offset[k] = side * (sigma * beta[k] / gamma[k] - mean[k]) / np.sqrt(row @ row)
    return u, offset


def _slips(weight, gamma, beta, mean, variance, eps, turn=True, shift=True, unit=True):
    """The reference, perhaps without the side of u, without that of λ, or without ‖w‖ = 1."""
    length = np.linalg.norm(weight, axis=1) if unit else np.ones(len(weight))
    offset = (np.sqrt(variance + eps) * beta / gamma - mean) / length
    sign = np.sign(gamma)
    u = weight / length[:, None]
    return sign[:, None] * u if turn else u, sign * offset if shift else offset


B = Exercise(
    key="10.b",
    title="A boundary under batch normalization",
    points=3,
    difficulty=3,
    solve=batch_norm_boundary,
    inputs=_boundary_inputs,
    hints=(
        "Set the argument of the ReLU to 0 and solve for w·x plus a number.",
        "Multiply by σ/γ: w·x − μ + σβ/γ. If γ is negative, that has swapped the sides. Then make "
        "the vector as long as 1.",
        "u = sign(γ) w/‖w‖ and λ = sign(γ) (σβ/γ − μ)/‖w‖, with σ = √(variance + eps).",
    ),
    wrong=(
        Wrong(
            "forgets that a negative γ swaps the sides",
            lambda *a: _slips(*a, turn=False, shift=False),
            "The hyperplane is right. For γ < 0 your side of it is the inactive one.",
        ),
        Wrong(
            "swaps the sides of the offset only",
            lambda *a: _slips(*a, turn=False),
            "For γ < 0 you have changed the sign of λ but not of u: that is another hyperplane.",
        ),
        Wrong(
            "does not make the vector a unit vector",
            lambda *a: _slips(*a, unit=False),
            "The hyperplane and its side are right, but u must have length 1, and λ is to be a "
            "distance.",
        ),
        Wrong(
            "leaves out the mean",
            lambda w, gamma, beta, mean, *a: _slips(w, gamma, beta, 0 * mean, *a),
            "BN first subtracts the mean of the batch, which moves every boundary.",
        ),
        Wrong(
            "forgets eps",
            lambda w, gamma, beta, mean, variance, eps: _slips(w, gamma, beta, mean, variance, 0.0),
            "σ is the root of variance + eps, not of the variance alone.",
        ),
        Wrong(
            "takes the variance for σ",
            lambda w, gamma, beta, mean, var, eps: _slips(
                w, gamma, beta, mean, (var + eps) ** 2, 0.0
            ),
            "What BN divides by is a standard deviation, the root of what you have taken.",
        ),
        Wrong(
            "multiplies β by γ",
            lambda w, gamma, beta, *a: _slips(w, gamma, gamma**2 * beta, *a),
            "β is added after γ has multiplied, so a large γ makes β matter less, not more.",
        ),
    ),
    right=(_boundary_by_affine_map, _boundary_by_units),
)


# 10.c


def centre_outputs(y, running_mean, momentum):
    """Centre the outputs of units while training (input mean normalization).

    The mean of each unit over the batch is subtracted. With images, every place of every image
    counts as a member of the batch. The running mean, for evaluation, is brought up to date: it
    keeps the share `momentum` of the old one. No argument is changed.

    Parameters
    ----------
    y : ndarray, shape (N, O) or (N, H, W, O)
        Units, or channels, are last.
    running_mean : ndarray, shape (O,)
    momentum : float
        From 0 to 1.

    Returns
    -------
    centred : ndarray, of y's shape
    running_mean : ndarray, shape (O,)
        The new one.
    """
    mean = y.mean(axis=tuple(range(y.ndim - 1)))
    return y - mean, momentum * running_mean + (1 - momentum) * mean


def _centre_inputs():
    small = st.integers(1, 3)
    shapes = st.one_of(st.tuples(small, small), st.tuples(small, small, small, small))
    shares = st.sampled_from([0.75, 0.9, 0.99])
    return shapes.flatmap(lambda s: st.tuples(_numbers(s), _numbers(s[-1]), shares))


def _centre_by_rows(y, running_mean, momentum):
    rows = y.reshape(-1, y.shape[-1])
    mean = rows.sum(axis=0) / len(rows)
    running = running_mean + (1 - momentum) * (mean - running_mean)
    return (rows - mean).reshape(y.shape), running


def _centre_by_units(y, running_mean, momentum):
    centred, running = np.empty_like(y), np.empty_like(running_mean)
    for k in range(y.shape[-1]):
        centred[..., k] = y[..., k] - y[..., k].mean()
        running[k] = momentum * running_mean[k] + (1 - momentum) * y[..., k].mean()
    return centred, running


def _divided(y, running_mean, momentum):
    centred, running = centre_outputs(y, running_mean, momentum)
    std = np.sqrt((centred**2).mean(axis=tuple(range(y.ndim - 1))) + 1e-3)
    return centred / std, running


C = Exercise(
    key="10.c",
    title="Input mean normalization",
    points=2,
    difficulty=2,
    solve=centre_outputs,
    inputs=_centre_inputs,
    hints=(
        "There is one mean for every unit. Over which axes does that leave you to average?",
        "All axes but the last, whether there are two or four of them: reshape to rows, or give "
        "np.mean a tuple of axes.",
        "axis=tuple(range(y.ndim − 1)). Subtract that mean; the new running mean is momentum times "
        "the old one plus (1 − momentum) times that mean.",
    ),
    wrong=(
        Wrong(
            "averages over the units",
            lambda y, running_mean, momentum: (
                y - y.mean(axis=-1, keepdims=True),
                centre_outputs(y, running_mean, momentum)[1],
            ),
            "You have taken the mean of each input over the units, as layer normalization does. "
            "What is wanted is the mean of each unit over the batch.",
        ),
        Wrong(
            "averages over the first axis only",
            lambda y, running_mean, momentum: (
                y - y.mean(axis=0),
                centre_outputs(y, running_mean, momentum)[1],
            ),
            "For vectors that is right. With images a channel has one mean, over all places too.",
        ),
        Wrong(
            "takes one mean for all units",
            lambda y, running_mean, momentum: (
                y - y.mean(),
                momentum * running_mean + (1 - momentum) * y.mean(),
            ),
            "Every unit has a mean of its own; yours is one number for all.",
        ),
        Wrong(
            "subtracts the running mean",
            lambda y, running_mean, momentum: (
                y - running_mean,
                centre_outputs(y, running_mean, momentum)[1],
            ),
            "The running mean is for evaluation. While training it is the batch's own mean.",
        ),
        Wrong(
            "divides by the standard deviation",
            _divided,
            "That is batch normalization. Input mean normalization subtracts and does no more.",
        ),
        Wrong(
            "swaps the shares of old and new",
            lambda y, running, momentum: centre_outputs(y, running, 1 - momentum),
            "momentum is the share of the *old* running mean, which is the larger one.",
        ),
        Wrong(
            "leaves the running mean as it was",
            lambda y, running, momentum: (centre_outputs(y, running, momentum)[0], running + 0),
            "The centred outputs are right; the running mean has not learnt of this batch.",
        ),
    ),
    right=(_centre_by_rows, _centre_by_units),
)

EXERCISES = [A, B, C]
