"""Numbers as words: cells of tables, and what stands for a figure that cannot be seen."""

from functools import partial

import numpy as np

from geonet.experiments.harness.statistics import bounded, mean_interval, picture_interval


def markdown_table(rows):
    """Rows of words as a table in Markdown."""
    head, *body = ([word.replace("|", "\\|") for word in row] for row in rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *body])


def statistics_cells(values, reference=None, high=np.inf, overlap=0.0):
    """Three cells of a table: mean ± standard deviation, 95 % interval, and the paired difference.

    Parameters
    ----------
    values : numpy.ndarray, shape (seeds,) or (seeds, pictures)
        NaN for runs that diverged, which are left out. For values of each picture, the intervals
        are those of `picture_interval`.
    reference : numpy.ndarray, optional
        What the difference is from, of the same shape. Without it, that cell is empty.
    high : float
        The values are in [0, high], and so is their interval: see `bounded`.
    overlap : float
        Of the data of the seeds, as for `mean_interval`.

    Returns
    -------
    list of str
        Cells about which nothing is known are empty.
    """
    interval = partial(mean_interval, overlap=overlap) if values.ndim == 1 else picture_interval
    cells, finished = ["", "", ""], _finite(values)
    if finished.any():
        whole = bounded(interval(values[finished]), high)
        cells[:2] = format_mean(whole), format_interval(whole)
    if reference is not None and (both := finished & _finite(reference)).any():
        paired = interval(values[both] - reference[both])
        cells[2] = f"{paired.mean:+.3g} {format_interval(paired, '+.3g')}".rstrip()
    return cells


def _finite(values):
    """Whether all values of a seed are finite, (seeds,)."""
    return np.isfinite(values).reshape(len(values), -1).all(axis=1)


def format_mean(interval):
    """Mean ± standard deviation, or only the mean if there is one value."""
    deviation = "" if np.isnan(interval.std) else f" ± {interval.std:.2g}"
    return f"{interval.mean:.4g}{deviation}"


def format_interval(interval, style=".4g"):
    """[low, high], or an empty string if there is only one value."""
    known = not np.isnan(interval.low)
    return f"[{interval.low:{style}}, {interval.high:{style}}]" if known else ""


def list_values(values, style):
    """The values {label: number} as a sentence, for readers who cannot see the figure."""
    known = [f"{m} {value:{style}}" for m, value in values.items() if np.isfinite(value)]
    return (", ".join(known) or "none") + "."
