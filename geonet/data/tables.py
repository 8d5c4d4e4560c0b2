"""What all tables of (x, y) rows have in common: three parts, and standardized features."""

import warnings
from typing import NamedTuple

import numpy as np

from geonet.data.reading import reading
from geonet.text import check_choice


class Split(NamedTuple):
    """A data set in three parts, each a pair x (N, features), y (N, 1).

    `train` fits the parameters, `validation` steers the training (learning rate, early stopping),
    and `test` is used once. A protocol without a validation part uses the test part instead.
    """

    train: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


def standardize_features(split):
    """Shift and scale every feature so that over the train part it has mean 0 and std 1.

    Parameters
    ----------
    split : Split
        Parts (x, y) with x of shape (N, features). y is not changed.

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


def split_rows(x, y, rows, test, rng, protocol):
    """Divide a table, with features standardized by the part that is trained on.

    Parameters
    ----------
    x : ndarray, shape (N, features)
    y : ndarray, shape (N, 1)
    rows, test : ndarray
        Indices of the rows that are not kept for the test, and of those that are.
    rng : numpy.random.Generator
        Used by "clean" only.
    protocol : {"clean", "paper"}
        "clean" draws a fifth of `rows` for validation. "paper" trains on all of `rows` and
        validates on the test part, as the authors do.

    Returns
    -------
    Split

    Raises
    ------
    ValueError
        If the protocol is not one of the two, or there are fewer than 2 rows to divide.
    """
    check_choice("protocol", protocol, ("clean", "paper"))
    if protocol == "paper":
        train, validation = rows, test
    elif len(rows) < 2:
        raise ValueError(f"the train part must have at least 2 rows to divide, not {len(rows)}")
    else:
        drawn = rng.permutation(rows)
        validation, train = np.split(drawn, [max(1, len(rows) // 5)])
    return standardize_features(Split(*((x[i], y[i]) for i in (train, validation, test))))


def standardize_target(split):
    """Shift and scale the target so that over the train part it has mean 0 and std 1.

    Parameters
    ----------
    split : Split
        Parts (x, y) with y of shape (N, 1). x is not changed.

    Returns
    -------
    split : Split
    std : float
        An error of the new target times `std` is an error in the target's units. It is 1 if the
        target is constant over the train part.
    """
    _, y = split.train
    mean, std = y.mean(), float(y.std()) if y.min() < y.max() else 1.0
    return Split(*((x, (y - mean) / std) for x, y in split)), std


def read_numbers(path, header="", delimiter=None):
    """The numbers of a text file, as `numpy.loadtxt` reads them; blank lines are ignored.

    Parameters
    ----------
    path : str or Path
    header : str
        What the first line must be; empty if numbers begin there.
    delimiter : str, optional
        Between the numbers of a row; by default any blanks.

    Returns
    -------
    numpy.ndarray
        (rows, columns), float64.

    Raises
    ------
    OSError, MemoryError
        If the file cannot be read, as `reading` raises them.
    ValueError
        If the file is empty or not UTF-8, its header is another, something in it is not a finite
        number, or rows differ in length. The message names the file and the row.
    """
    with reading(path, _no_numbers), warnings.catch_warnings(action="ignore"):
        with open(path, encoding="utf-8-sig") as file:  # skips the mark that Windows begins with
            if header and (found := file.readline().strip()) != header:
                raise ValueError(f"the header must be {header}, but is {found[:40]!r}")
            rows = np.loadtxt(file, comments=None, delimiter=delimiter, ndmin=2)
        if not rows.size:
            raise ValueError("the file has no data")
    for row, column in np.argwhere(~np.isfinite(rows)):
        found = rows[row, column]
        raise ValueError(f"{path}: expected finite numbers, found {found} at row {row}")
    return rows


def _no_numbers(path, error):
    why = str(error).partition(";")[0]
    if isinstance(error, UnicodeDecodeError):
        why = "its text is in another encoding; save it as UTF-8"
    return ValueError(f"{path}: expected rows of numbers: {why}")
