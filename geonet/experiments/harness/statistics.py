"""What numbers over seeds are worth: means, effects over paired seeds, and their intervals.

There is one way of inference: Student's t, for means, for paired differences and, on logarithms,
for ratios. So the interval and p of an effect come from one statistic and always agree, and one
term corrects both where values are not independent, as on overlapping splits of a single data set.
Resampling has no such term. The two values of a pair share their seed, so that two methods start
from the same data and the same initial weights.

A diverged run is a result, not a gap: a NaN or infinite value makes everything computed from it
NaN. To leave such runs out, do so explicitly before calling these functions.
"""

import math
from typing import NamedTuple

import numpy as np

QUANTILE = 0.975  # of two-sided intervals of 95 %
SIGNIFICANCE = 0.05  # which belongs to these intervals
MIN_SEEDS = 6  # fewer pairs decide nothing: all may agree by chance with p above 0.05


class Interval(NamedTuple):
    """A mean, the standard deviation of the values, and what is known of the true mean."""

    mean: float
    std: float  # ddof = 1
    low: float  # of the 95 % interval
    high: float
    p: float  # two-sided, of the hypothesis that the true mean is 0 (for a ratio, 1)


NOTHING = Interval(*[math.nan] * 5)


def student_t_quantile(p, degrees_of_freedom):
    """The t with P(T ≤ t) = p for Student's distribution.

    With t = √ν tan θ, P(|T| ≤ t) is a finite sum of powers of sin θ and cos θ for every integer ν
    (Abramowitz & Stegun, 26.7.3 and 26.7.4). The equation is solved for θ by bisection.

    Parameters
    ----------
    p : float
        Probability, 0.5 ≤ p < 1.
    degrees_of_freedom : int
        ν ≥ 1.

    Returns
    -------
    float
        Relative error below 1e-9 for 0.51 ≤ p ≤ 0.9999 and ν up to 10,000.
    """
    low, high = 0.0, math.pi / 2
    for _ in range(100):  # each step halves the interval; 100 exhaust float64
        middle = (low + high) / 2
        if _central_probability(middle, degrees_of_freedom) < 2 * p - 1:
            low = middle
        else:
            high = middle
    return math.sqrt(degrees_of_freedom) * math.tan(low)


def _central_probability(theta, nu):
    """P(|T| ≤ √ν tan θ)."""
    sine, cosine = math.sin(theta), math.cos(theta)
    if nu % 2 == 1:
        k = np.arange(1, (nu - 1) // 2)
        terms = np.cumprod(2 * k / (2 * k + 1) * cosine**2)
        series = sine * cosine * (1 + terms.sum()) if nu > 1 else 0.0
        return 2 / math.pi * (theta + series)
    k = np.arange(1, nu // 2)
    return sine * (1 + np.cumprod((2 * k - 1) / (2 * k) * cosine**2).sum())


def mean_interval(values, overlap=0.0):
    """Mean, its 95 % interval, and p, by Student's t with N − 1 degrees of freedom.

    Parameters
    ----------
    values : array_like, shape (N,)
        One value per seed.
    overlap : float
        0 for independent values. If they come from random splits of a single data set, they share
        most of their data, and s²/N is far too small a variance of their mean. With
        overlap = n_test/n_train it is s² (1/N + overlap), the corrected resampled t of Nadeau and
        Bengio (Machine Learning 52, 2003).

    Returns
    -------
    Interval
        For a single value, only the mean is known and the rest is NaN. If a value is NaN or
        infinite (a diverged run), everything is NaN.

    Raises
    ------
    ValueError
        If there are no values, or they are not one-dimensional.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"values must be a non-empty list of numbers, not of shape {values.shape}")
    if not np.isfinite(values).all():
        return NOTHING
    if values.size == 1:
        return NOTHING._replace(mean=float(values[0]))
    with np.errstate(over="ignore", invalid="ignore"):  # a run that almost diverged: ∞ or NaN
        mean, std = float(values.mean()), float(values.std(ddof=1))
    return _interval(mean, std, std * math.sqrt(1 / values.size + overlap), values.size - 1)


def _interval(mean, std, error, degrees_of_freedom):
    """The interval of a mean with its standard error."""
    half = student_t_quantile(QUANTILE, degrees_of_freedom) * error
    theta = math.atan2(abs(mean), error * math.sqrt(degrees_of_freedom))  # t = √ν tan θ
    p = max(0.0, 1 - _central_probability(theta, degrees_of_freedom))
    return Interval(mean, std, mean - half, mean + half, p)


def bounded(interval, high=math.inf):
    """The interval of the mean of a quantity in [0, high], which never leaves that range.

    Student's t of few or skewed values may give an error, an angle or a share below 0, or a share
    above 1. So the interval is taken of log x, or of the logit log x/(high − x), with the standard
    error that the delta method gives there, and carried back. It is no longer symmetric. Where it
    is narrow, it agrees with Student's t; for skewed values, it covers the mean more often.

    Parameters
    ----------
    interval : Interval
        From `mean_interval`, of values in [0, high].
    high : float
        Default ∞.

    Returns
    -------
    Interval
        With another low and high. At a mean of 0 or `high`, where all values agree, it has length
        0 as before.
    """
    mean = interval.mean
    if not 0 < mean < high:
        return interval
    room = 1 - mean / high  # 1 if there is no upper end
    with np.errstate(over="ignore", divide="ignore"):
        factor = np.exp((interval.high - mean) / (mean * room))  # of the odds x/(1 − x/high)
        low, top = (1 / (room / mean * f + 1 / high) for f in (factor, 1 / factor))
    return interval._replace(low=float(low), high=float(top))


def paired_interval(a, b, overlap=0.0):
    """Mean difference a − b over paired seeds, its 95 % interval, and p of the paired t test.

    What two methods share on a seed (data, initial weights) cancels in the difference, so this
    interval is narrower than two separate ones would suggest.

    Parameters
    ----------
    a, b : array_like, shape (N,)
        a[i] and b[i] belong to the same seed.
    overlap : float
        As for `mean_interval`.

    Returns
    -------
    Interval
        `mean_interval` of a − b; NaN if a run of either diverged.

    Raises
    ------
    ValueError
        If a and b do not pair up.
    """
    a, b = _paired(a, b)
    with np.errstate(invalid="ignore"):  # ∞ − ∞ of two diverged runs is NaN, as it should be
        return mean_interval(a - b, overlap)


def ratio_interval(a, b, overlap=0.0):
    """Effect size: the geometric mean of aᵢ/bᵢ over paired seeds, its 95 % interval, and p.

    A ratio has no unit, so that errors, accuracies and angles fit into one figure, and b/a has the
    inverse interval. A standardized difference (Cohen's d_z) would grow without bound as the seeds
    agree, even where the difference itself is negligible.

    Parameters
    ----------
    a, b : array_like, shape (N,)
        Positive; a[i] and b[i] belong to the same seed.
    overlap : float
        As for `mean_interval`.

    Returns
    -------
    Interval
        exp of the `paired_interval` of log a and log b: mean and std are geometric ones, and p is
        of the hypothesis that the ratio is 1. Everything is NaN if a value is not positive.

    Raises
    ------
    ValueError
        If a and b do not pair up.
    """
    a, b = _paired(a, b)
    with np.errstate(divide="ignore", invalid="ignore"):
        *logarithms, p = paired_interval(np.log(a), np.log(b), overlap)
    with np.errstate(over="ignore"):
        return Interval(*np.exp(logarithms).tolist(), p)


def picture_interval(values):
    """Mean over seeds and test pictures, with an interval that includes the sample of pictures.

    More seeds tell nothing about other pictures: a mean over k seeds on the same n pictures has the
    variance s²_seeds/k + s²_pictures/n. s²_seeds is the variance over seeds of the mean over
    pictures, and s²_pictures that over pictures of the mean over seeds. What depends on both counts
    twice, and Student's t has only k − 1 degrees of freedom, so the interval is rather too wide.

    Parameters
    ----------
    values : array_like, shape (k, n)
        Whether a network is right on a picture, one row per seed; or, for the paired difference
        of two methods, that of the one minus that of the other, from −1 to 1.

    Returns
    -------
    Interval
        Its std is over seeds. For a single seed, only the mean is known.

    Raises
    ------
    ValueError
        If values is not of shape (k, n) with k ≥ 1 and n ≥ 2.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or not len(values) or values.shape[1] < 2:
        raise ValueError(f"values must have shape (seeds, pictures), not {values.shape}")
    (mean, std, *_), (seeds, pictures) = mean_interval(values.mean(axis=1)), values.shape
    if math.isnan(std):  # of a single seed, or of values that are not finite
        return NOTHING._replace(mean=mean)
    error = math.sqrt(std**2 / seeds + values.mean(axis=0).var(ddof=1) / pictures)
    return _interval(mean, std, error, seeds - 1)


def accuracy_ratio_interval(a, b):
    """Geometric mean over seeds of the ratio of two accuracies, on pictures as a sample of others.

    It is exp of the `picture_interval` of log(āⱼ/b̄ⱼ) + aⱼᵢ/āⱼ − bⱼᵢ/b̄ⱼ. The mean of that over the
    pictures i is the logarithm of the ratio on seed j, and it varies over pictures as the logarithm
    does to first order.

    Parameters
    ----------
    a, b : array_like of bool, shape (k, n)
        Whether each method is right on a picture, one row per seed.

    Returns
    -------
    Interval
        As for `ratio_interval`.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    means = [hits.mean(axis=1, keepdims=True) for hits in (a, b)]
    with np.errstate(divide="ignore", invalid="ignore"):  # an accuracy of 0
        values = np.log(means[0]) - np.log(means[1]) + a / means[0] - b / means[1]
        *logarithms, p = picture_interval(values)
        return Interval(*np.exp(logarithms).tolist(), p)


def sign_test(wins, losses):
    """Two-sided p-value of the hypothesis that wins are as likely as losses, seed by seed.

    It is exact and needs no numbers, so it can judge pairs of which one run diverged.

    Parameters
    ----------
    wins, losses : int
        Ties count as neither.
    """
    count = wins + losses
    tail = sum(math.comb(count, k) for k in range(min(wins, losses) + 1))
    return min(1.0, 2 * tail / 2**count)


def holm(p_values):
    """p-values corrected for their number: Holm's step-down method (1979).

    If those are rejected whose corrected p is below a level, the probability of rejecting any true
    hypothesis is below that level, whatever the dependence between them.

    Parameters
    ----------
    p_values : array_like, shape (m,)
        NaN (not known) counts as a hypothesis, and stays NaN.

    Returns
    -------
    numpy.ndarray, shape (m,)
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p_values)  # NaN last
    steps = (len(order) - np.arange(len(order))) * p_values[order]
    corrected = np.empty_like(p_values)
    corrected[order] = np.minimum(1, np.maximum.accumulate(steps))
    return corrected


def _paired(a, b):
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1 or not a.size:
        raise ValueError(f"a and b must pair up, not be of shapes {a.shape} and {b.shape}")
    return a, b
