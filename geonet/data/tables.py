"""What all tables of (x, y) rows have in common: three parts, and standardized features."""

from typing import NamedTuple

import numpy as np


class Split(NamedTuple):
    """A data set in three parts, each a pair x (N, features), y (N, 1).

    `train` fits the parameters, `validation` steers (learning rate, early stopping), `test` is
    looked at once. A protocol without a validation part puts the test part there.
    """

    train: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


def standardize_features(split):
    """Shift and scale every feature so that over the train part it has mean 0 and std 1.

    Parameters
    ----------
    split : Split
        Parts (x, y) with x of shape (N, features). y is passed on as it is.

    Returns
    -------
    Split
        x' = (x − μ)/σ in all three parts, with μ and the population std σ = √(mean (x − μ)²) of the
        train part. A feature that is constant there has σ = 0 and is centred only.
    """
    x, _ = split.train
    mean, std = x.mean(axis=0), x.std(axis=0)
    constant = x.min(axis=0) == x.max(axis=0)  # the rounded std of equal numbers need not be 0
    scale = np.where(constant, 1.0, std)
    return Split(*((((x - mean) / scale), y) for x, y in split))
