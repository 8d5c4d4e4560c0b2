"""The paper's 1-D regression problem: the Levy function, known from 50 noisy points."""

import numpy as np

from geonet.data.tables import Split
from geonet.text import check_choice

NOISE_STD = 0.1
LOW, HIGH = -10.0, 10.0
# What counts as near a training point, in units of x. The distance was chosen after the fits had
# been seen, so errors near training points explain, and decide nothing.
NEAR = 0.25


def levy(x):
    """The Levy function, y = sin²(πw) + (w − 1)²(1 + sin²(2πw)) with w = 1 + (x − 1)/4.

    Its minimum is y = 0 at x = 1.

    Parameters
    ----------
    x : array_like
        Any shape.

    Returns
    -------
    ndarray
        y, elementwise, with the shape of x.
    """
    w = 1 + (np.asarray(x, dtype=np.float64) - 1) / 4
    return np.sin(np.pi * w) ** 2 + (w - 1) ** 2 * (1 + np.sin(2 * np.pi * w) ** 2)


def sample_levy(count, rng):
    """Draw noisy points of the Levy function: x ~ U(−10, 10), y = levy(x) + N(0, 0.1²).

    Parameters
    ----------
    count : int
        Number of points N.
    rng : numpy.random.Generator
        Source of randomness. All of x is drawn first, then all of the noise.

    Returns
    -------
    x, y : ndarray
        Shape (N, 1) each, float64.
    """
    x = rng.uniform(LOW, HIGH, size=(count, 1))
    noise = rng.normal(0, NOISE_STD, size=(count, 1))
    return x, levy(x) + noise


def load_levy(rng, protocol="clean"):
    """The regression set: 50 noisy points each for training and validation, 201 exact ones to test.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of what the protocol does not fix.
    protocol : {"clean", "paper"}
        "clean" draws the training points from `rng`. "paper" uses the authors' training points,
        which are drawn from NumPy's RandomState(0) and so the same for every seed. Both then draw
        the validation points from `rng`.

    Returns
    -------
    Split
        Pairs x, y of float64: train (50, 1), validation (50, 1), and test (201, 1) with
        x = −10, −9.9, …, 10.

    Raises
    ------
    ValueError
        If the protocol is not one of the two.
    """
    check_choice("protocol", protocol, ("clean", "paper"))
    train = sample_levy(50, np.random.RandomState(0) if protocol == "paper" else rng)
    test_x = np.linspace(LOW, HIGH, 201)[:, None]
    return Split(train, validation=sample_levy(50, rng), test=(test_x, levy(test_x)))


def is_near(x, train_x):
    """Whether each point lies within `NEAR` of a training point.

    Parameters
    ----------
    x, train_x : ndarray
        (N, 1) and (M, 1).

    Returns
    -------
    ndarray
        bool, (N,).
    """
    return (np.abs(x - train_x.T) <= NEAR).any(axis=1)


def interpolate(x, train_x, train_y):
    """Straight lines through the training points; beyond them, the value at the nearest end.

    Parameters
    ----------
    x, train_x, train_y : ndarray
        (N, 1), (M, 1) and (M, 1).

    Returns
    -------
    ndarray
        (N, 1).
    """
    order = np.argsort(train_x[:, 0])
    return np.interp(x, train_x[order, 0], train_y[order, 0])
