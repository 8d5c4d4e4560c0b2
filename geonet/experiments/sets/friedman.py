"""Friedman's three regression functions, which need no files (Friedman 1991, section 4).

The first has five features that matter and five that do not. The second and third are the impedance
and the phase of an electric circuit (eq. 61 to 63). The noise is that of Breiman (1996): in the
second and the third, the function varies three times as much as the noise.
"""

from typing import NamedTuple

import numpy as np

from geonet.data.tables import split_rows

TRAIN, TEST = 500, 1000  # rows


class Function(NamedTuple):
    """A function of rows x (N, n), the ranges of its n features, and the std of its noise."""

    value: object
    low: tuple
    high: tuple
    noise_std: float


def friedman1(x):
    """10 sin(π x₁ x₂) + 20 (x₃ − ½)² + 10 x₄ + 5 x₅ for rows x (N, 10), (N,)."""
    return (
        10 * np.sin(np.pi * x[:, 0] * x[:, 1])
        + 20 * (x[:, 2] - 0.5) ** 2
        + 10 * x[:, 3]
        + 5 * x[:, 4]
    )


def friedman2(x):
    """Impedance √(x₁² + (x₂ x₃ − 1/(x₂ x₄))²) for rows x (N, 4), (N,)."""
    return np.hypot(x[:, 0], x[:, 1] * x[:, 2] - 1 / (x[:, 1] * x[:, 3]))


def friedman3(x):
    """Phase arctan((x₂ x₃ − 1/(x₂ x₄))/x₁) for rows x (N, 4), (N,)."""
    return np.arctan2(x[:, 1] * x[:, 2] - 1 / (x[:, 1] * x[:, 3]), x[:, 0])


CIRCUIT = (0, 40 * np.pi, 0, 1), (100, 560 * np.pi, 1, 11)
FRIEDMAN = {
    "friedman1": Function(friedman1, (0,) * 10, (1,) * 10, 1.0),
    "friedman2": Function(friedman2, *CIRCUIT, 125.0),
    "friedman3": Function(friedman3, *CIRCUIT, 0.1),
}


def load_friedman(name, rng, protocol="clean"):
    """Draw a regression set: 500 noisy rows for training, 1,000 noise-free ones for testing.

    Parameters
    ----------
    name : {"friedman1", "friedman2", "friedman3"}
    rng : numpy.random.Generator
    protocol : {"clean", "paper"}
        As for `geonet.data.uci.split_uci`. The rows are the same under both.

    Returns
    -------
    Split
        Pairs x (·, n), y (·, 1), with the features standardized by the training split.

    Raises
    ------
    ValueError
        If the name or the protocol is not one of those above.
    """
    if name not in FRIEDMAN:
        raise ValueError(f"name must be one of {', '.join(FRIEDMAN)}, not {name!r}")
    function = FRIEDMAN[name]
    x = rng.uniform(function.low, function.high, size=(TRAIN + TEST, len(function.low)))
    y = function.value(x)[:, None]
    y[:TRAIN] += rng.normal(0, function.noise_std, size=(TRAIN, 1))
    rows, test = np.split(np.arange(TRAIN + TEST), [TRAIN])
    return split_rows(x, y, rows, test, rng, protocol)
