"""An array summarized in a few numbers."""

from typing import NamedTuple

import numpy as np


class Statistics(NamedTuple):
    """Statistics of the finite entries of an array, and the number of the others."""

    min: float
    max: float
    mean: float
    norm: float  # √Σx², summed in float64
    zeros: float  # fraction of all entries
    nans: int
    infinities: int


def statistics(array):
    """The statistics of an array of any shape; for complex entries, of their real parts.

    A complex entry counts as NaN or infinite if either part is.

    Parameters
    ----------
    array : numpy.ndarray

    Returns
    -------
    Statistics
        NaN where there is no (finite) entry.
    """
    finite = np.real(array[np.isfinite(array)]).astype(np.float64)
    nans = int(np.isnan(array).sum())
    infinities = array.size - finite.size - nans
    zeros = np.count_nonzero(finite == 0) / array.size if array.size else np.nan
    if not finite.size:
        return Statistics(*[np.nan] * 4, zeros, nans, infinities)
    lowest, highest = finite.min(), finite.max()
    exponent = np.frexp(max(-lowest, highest))[1]  # a power of 2 changes no digits
    with np.errstate(over="ignore", under="ignore"):
        scaled = np.ldexp(finite, -exponent)  # to at most 1, so that sums and squares are finite
        sums = np.ldexp([scaled.mean(), np.linalg.norm(scaled)], exponent)
    return Statistics(*map(float, (lowest, highest, *sums)), zeros, nans, infinities)


def described(array):
    """Shape, dtype and range as text, with the number of entries that are not finite."""
    found = statistics(array)
    words = f"{array.shape} {array.dtype}"
    if found.nans + found.infinities < array.size:
        words += f" from {found.min:.6g} to {found.max:.6g}"
    return f"{words}, {not_finite(found)}" if found.nans + found.infinities else words


def not_finite(found):
    """How many entries are NaN or infinite, as text; empty if none is."""
    counts = (found.nans, "NaN"), (found.infinities, "infinite")
    return " and ".join(f"{count} {word}" for count, word in counts if count)
