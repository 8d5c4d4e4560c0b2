"""From runs to verdicts: effects with intervals over paired seeds, and the rule on them."""

import math

import numpy as np

from geonet.experiments.claim_list import CLAIMS, Bound
from geonet.experiments.resampling import paired_test, ratio_interval

REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE = "reproduced", "not reproduced", "inconclusive"
RULE = (
    (REPRODUCED, "the 95 % interval lies entirely on the predicted side of 1; a bound holds"),
    (NOT_REPRODUCED, "the interval lies entirely on the other side; a bound is passed"),
    (INCONCLUSIVE, "the interval contains 1, or cannot be had; or the method that is predicted to "
                   "be better did not finish on every seed"),
)  # fmt: skip
RULE_OF_ALL = (
    "A claim of several comparisons is reproduced if all of them are, not reproduced if one is "
    "not, and inconclusive otherwise; controls do not count."
)
ROUNDING = 1e-6  # by how much a measured angle may pass its bound: acos and sums round


def verdict(low, high, finished=True):
    """The verdict on an interval of an effect that is predicted to be above 1.

    Parameters
    ----------
    low, high : float
        NaN where there is no interval.
    finished : bool
        Whether the method that is predicted to be better came to an end on every seed.

    Returns
    -------
    str
        One of the words of `RULE`.
    """
    if high < 1:
        return NOT_REPRODUCED
    return REPRODUCED if low > 1 and finished else INCONCLUSIVE


def verdict_on_bound(values):
    """The verdict on numbers (seeds,) none of which may pass 1, beyond rounding."""
    if np.isnan(values).any():
        return INCONCLUSIVE
    return REPRODUCED if np.max(values) <= 1 + ROUNDING else NOT_REPRODUCED


def verdict_on_all(verdicts):
    """The verdict on a claim, by those on its parts."""
    if NOT_REPRODUCED in verdicts:
        return NOT_REPRODUCED
    return REPRODUCED if set(verdicts) == {REPRODUCED} else INCONCLUSIVE


def compared(comparison, results, rng):
    """What a comparison came to, as JSON values.

    Parameters
    ----------
    comparison : geonet.experiments.claim_list.Comparison
    results : Results
    rng : numpy.random.Generator
        Of the bootstrap.

    Returns
    -------
    dict
        The effect is how many times better the method is than the rival, over the seeds on which
        both finished.
    """
    own, rival = (
        comparison.measure.of(results, name) for name in (comparison.method, comparison.rival)
    )
    both = np.isfinite(own) & np.isfinite(rival)
    pairs = (own[both], rival[both])[:: 1 if comparison.measure.better == "larger" else -1]
    effect, p = (math.nan,) * 3, math.nan
    if both.any():
        effect, p = ratio_interval(*pairs, rng), paired_test(own[both], rival[both])
    means = [float(np.mean(values)) if both.any() else None for values in (own[both], rival[both])]
    lost = [int(np.count_nonzero(~np.isfinite(values))) for values in (own, rival)]
    value, low, high = (x if math.isfinite(x) else None for x in effect)
    return {
        "evidence": comparison.evidence,
        "method": comparison.method,
        "rival": comparison.rival,
        "measure": comparison.measure.title,
        "better": comparison.measure.better,
        "control": comparison.control,
        "seeds": int(both.sum()),
        "without_a_number": lost,
        "means": means,
        "effect": value,
        "low": low,
        "high": high,
        "p": p if math.isfinite(p) else None,
        "verdict": verdict(*effect[1:], finished=not lost[0]),
    }


def bounded(bound, results):
    """What a bound came to, as JSON values."""
    values = bound.measure.of(results, bound.method)
    return {
        "evidence": bound.evidence,
        "method": bound.method,
        "measure": bound.measure.title,
        "seeds": len(values),
        "largest": float(np.max(values)) if np.isfinite(values).all() else None,
        "verdict": verdict_on_bound(values),
    }


def judged(name, results, rng):
    """A claim with what its tests came to and the verdict, as JSON values.

    Parameters
    ----------
    name : str
        Of the claim.
    results : dict
        Name of the evidence -> Results.
    rng : numpy.random.Generator
    """
    claim = CLAIMS[name]
    bounds = [bounded(t, results[t.evidence]) for t in claim.tests if isinstance(t, Bound)]
    comparisons = [
        compared(t, results[t.evidence], rng) for t in claim.tests if not isinstance(t, Bound)
    ]
    counted = bounds + [c for c in comparisons if not c["control"]]
    return {
        "name": name,
        "title": claim.title,
        "statement": claim.statement,
        "section": claim.section,
        "verdict": verdict_on_all([test["verdict"] for test in counted]),
        "bounds": bounds,
        "comparisons": comparisons,
        "why": claim.why,
    }
