"""From runs to verdicts: effects with intervals over paired seeds, and the rule for them."""

import math

import numpy as np

from geonet.experiments.claims import measures
from geonet.experiments.claims.statements import CLAIMS, Bound
from geonet.experiments.harness.statistics import ratio_interval, sign_test

REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE = "reproduced", "not reproduced", "inconclusive"
RULE = (
    (REPRODUCED, "the 95 % interval lies entirely on the predicted side of 1, and the method that "
                 "is predicted to be better finished on every seed; a bound holds"),
    (NOT_REPRODUCED, "the interval lies entirely on the other side, and the rival finished on "
                     "every seed; a bound is exceeded"),
    (INCONCLUSIVE, "the interval contains 1 or is not defined, the better one did not finish on "
                   "every seed, or a run failed for a reason unrelated to training"),
)  # fmt: skip
RULE_OF_PAIRS = (
    "If only one method of a pair finished (the other diverged, or never trained), the pair is "
    "evidence for it, but has no ratio and is not part of the interval. If fewer than two pairs "
    "have a ratio, an exact sign test on all pairs, with p below 0.05, takes the place of the "
    "interval; that needs six seeds."
)
RULE_OF_ALL = (
    "A claim with several comparisons is reproduced if all of them are, not reproduced if one of "
    "them is not, and inconclusive otherwise. Controls do not count."
)
ROUNDING = 1e-6  # a measured angle may exceed its bound by this: acos and sums round


def verdict(low, high, finished=True, rival_finished=True):
    """The verdict on the interval of an effect that is predicted to be above 1.

    Parameters
    ----------
    low, high : float
        NaN if there is no interval.
    finished, rival_finished : bool
        Whether the method that is predicted to be better, and its rival, finished on every seed. A
        method that did not is never the better one.

    Returns
    -------
    str
        One of the verdicts in `RULE`.
    """
    if high < 1 and rival_finished:
        return NOT_REPRODUCED
    return REPRODUCED if low > 1 and finished else INCONCLUSIVE


def verdict_on_bound(values):
    """The verdict on numbers (seeds,), none of which may exceed 1 by more than rounding."""
    if np.isnan(values).any():
        return INCONCLUSIVE
    return REPRODUCED if np.max(values) <= 1 + ROUNDING else NOT_REPRODUCED


def verdict_on_all(verdicts):
    """The verdict on a claim, from those on its parts."""
    if NOT_REPRODUCED in verdicts:
        return NOT_REPRODUCED
    return REPRODUCED if set(verdicts) == {REPRODUCED} else INCONCLUSIVE


def judge_comparison(comparison, results, rng):
    """The outcome of a comparison, as JSON values.

    Parameters
    ----------
    comparison : geonet.experiments.claims.statements.Comparison
    results : Results
    rng : numpy.random.Generator
        For the bootstrap.

    Returns
    -------
    dict
        The effect says how many times better the method is than its rival, over the seeds on
        which both have a number. See `RULE_OF_PAIRS` for the other seeds.
    """
    names, measure = (comparison.method, comparison.rival), comparison.measure
    failed = [measures.failed(results, name) for name in names]
    worst = 0.0 if measure.better == "larger" else math.inf  # what a diverged run counts as
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
        mean, _, *ends, p = ratio_interval(*pairs)
        effect = mean, *ends
    if np.count_nonzero(both) < 2 and not np.isnan(ratios).all():
        p = sign_test(np.sum(signs > 0), np.sum(signs < 0))
        if p < 0.05:  # an effect without bound
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
    """The outcome of a bound, as JSON values."""
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
    """A claim with the outcomes of its tests and the verdict, as JSON values.

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
