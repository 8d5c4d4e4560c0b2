"""From runs to verdicts: effects with intervals over paired seeds, and the rule on them."""

import math

import numpy as np

from geonet.experiments.claims import measures
from geonet.experiments.claims.statements import CLAIMS, Bound
from geonet.experiments.harness.statistics import paired_test, ratio_interval

REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE = "reproduced", "not reproduced", "inconclusive"
RULE = (
    (REPRODUCED, "the 95 % interval lies entirely on the predicted side of 1, and the method that "
                 "is predicted to be better finished on every seed; a bound holds"),
    (NOT_REPRODUCED, "the interval lies entirely on the other side, and the rival finished on "
                     "every seed; a bound is passed"),
    (INCONCLUSIVE, "the interval contains 1 or cannot be had, the better one did not finish on "
                   "every seed, or a run failed for a reason outside of training"),
)  # fmt: skip
RULE_OF_PAIRS = (
    "Where one of a pair alone finished (the other diverged, or never trained), the pair speaks "
    "for it, but has no ratio and is not in the interval. Where fewer than two pairs have a ratio, "
    "an exact sign test on all pairs, p below 0.05, takes the place of the interval: that needs "
    "six seeds."
)
RULE_OF_ALL = (
    "A claim of several comparisons is reproduced if all of them are, not reproduced if one is "
    "not, and inconclusive otherwise; controls do not count."
)
ROUNDING = 1e-6  # by how much a measured angle may pass its bound: acos and sums round


def verdict(low, high, finished=True, rival_finished=True):
    """The verdict on an interval of an effect that is predicted to be above 1.

    Parameters
    ----------
    low, high : float
        NaN where there is no interval.
    finished, rival_finished : bool
        Whether the method that is predicted to be better, and its rival, came to an end on every
        seed: who did not is never the better one.

    Returns
    -------
    str
        One of the words of `RULE`.
    """
    if high < 1 and rival_finished:
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


def judge_comparison(comparison, results, rng):
    """What a comparison came to, as JSON values.

    Parameters
    ----------
    comparison : geonet.experiments.claims.statements.Comparison
    results : Results
    rng : numpy.random.Generator
        Of the bootstrap.

    Returns
    -------
    dict
        The effect is how many times better the method is than the rival, over the seeds on which
        both have a number; see `RULE_OF_PAIRS` for the others.
    """
    names, measure = (comparison.method, comparison.rival), comparison.measure
    failed = [measures.failed(results, name) for name in names]
    worst = 0.0 if measure.better == "larger" else math.inf  # what a run that diverged comes to
    values = [measure.values(results, name) for name in names]
    own, rival = values = [np.where(np.isfinite(v), v, worst) for v in values]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = own / rival if measure.better == "larger" else rival / own
        ratios[failed[0] | failed[1]] = np.nan
        signs = np.nan_to_num(np.sign(np.log(ratios)))
    both = np.isfinite(ratios) & (ratios > 0)
    effect, ends, p = (math.nan,) * 3, (math.nan, math.nan), math.nan
    if both.any():
        pairs = (own[both], rival[both])[:: 1 if measure.better == "larger" else -1]
        effect, p = ratio_interval(*pairs, rng), paired_test(own[both], rival[both])
        ends = effect[1:]
    if np.count_nonzero(both) < 2 and not np.isnan(ratios).all():
        p = paired_test(signs, np.zeros(len(signs)))
        if p < 0.05:  # an effect beyond any number
            ends = (math.inf, math.inf) if signs.sum() > 0 else (0.0, 0.0)
    value, low, high = (x if math.isfinite(x) else None for x in effect)
    return {
        "evidence": comparison.evidence,
        "method": comparison.method,
        "rival": comparison.rival,
        "measure": measure.title,
        "better": measure.better,
        "control": comparison.control,
        "seeds": int(both.sum()),
        "without_a_number": [int(np.sum((v == worst) & ~f)) for v, f in zip(values, failed)],
        "failed": [int(f.sum()) for f in failed],
        "means": [float(np.mean(v[both])) if both.any() else None for v in values],
        "effect": value,
        "low": low,
        "high": high,
        "p": p if math.isfinite(p) else None,
        "verdict": verdict(*ends, bool((ratios > 0).all()), bool((ratios < math.inf).all())),
    }


def judge_bound(bound, results):
    """What a bound came to, as JSON values."""
    values = bound.measure.values(results, bound.method)
    return {
        "evidence": bound.evidence,
        "method": bound.method,
        "measure": bound.measure.title,
        "seeds": len(values),
        "failed": [int(measures.failed(results, bound.method).sum())],
        "largest": float(np.max(values)) if np.isfinite(values).all() else None,
        "verdict": verdict_on_bound(values),
    }


def judge_claim(name, results, rng):
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
    bounds = [judge_bound(t, results[t.evidence]) for t in claim.tests if isinstance(t, Bound)]
    comparisons = [
        judge_comparison(t, results[t.evidence], rng)
        for t in claim.tests
        if not isinstance(t, Bound)
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
