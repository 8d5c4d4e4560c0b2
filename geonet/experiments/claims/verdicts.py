"""From runs to verdicts: effects with intervals over paired seeds, and the rule for them."""

import math

import numpy as np

from geonet.experiments.claims import measures
from geonet.experiments.claims.statements import AUTHORS, CHOSEN, CLAIMS, Bound
from geonet.experiments.harness import options
from geonet.experiments.harness.statistics import (
    MIN_SEEDS,
    SIGNIFICANCE,
    accuracy_ratio_interval,
    holm,
    ratio_interval,
    sign_test,
)

REPRODUCED, CONTRADICTED, MIXED = "reproduced", "contradicted", "mixed"  # verdicts on claims
INCONCLUSIVE = "inconclusive"
FOR, AGAINST, UNDECIDED = "for", "against", "undecided"  # outcomes of tests
TOO_FEW, FAILED, OVERLAP = "too few seeds", "a run failed", "a run on overlapping splits diverged"
RULE = (
    "A comparison is for the claim if the method is better with p below 0.05, and against it if "
    "the rival is. A bound is for the claim if no number exceeds it. The verdict is reproduced if "
    "all tests that decide are for the claim; contradicted if some are against it and none for it; "
    "mixed if there are both; and inconclusive otherwise, which covers effects that are absent and "
    "effects too small to be seen. Which tests decide is fixed in the program. The others, the "
    "controls, show where an effect comes from.",
    "p comes from Student's t on the logarithms of the ratios, as does the 95 % interval of the "
    "effect, which says how the effect would vary with other seeds. Where the seeds are "
    "overlapping splits of one set, both are corrected for that (Nadeau and Bengio 2003). For "
    "accuracies on pictures, both allow for the choice of the test pictures, too. Holm's method "
    "corrects the p of tests that decide for their number in one verdict, so that all outcomes of "
    "a verdict are right together with 95 % confidence. The interval is not corrected, so it can "
    "exclude 1 where a test is undecided. The p of controls is not corrected either.",
    f"A comparison over fewer than {MIN_SEEDS} seeds decides nothing, nor do runs that failed for "
    "a reason unrelated to training. A run that diverged, or a share of 0, counts as lost, but has "
    "no ratio: if a pair has one, an exact sign test over all pairs takes the place of t. Over "
    "overlapping splits nothing is decided then.",
)
ROUNDING = 1e-6  # a measured angle may exceed its bound by this: acos and sums round


def judge_comparison(comparison, results, experiment):
    """The outcome of a comparison, as JSON values.

    Parameters
    ----------
    comparison : geonet.experiments.claims.statements.Comparison
    results : Results
    experiment : Experiment

    Returns
    -------
    dict
        The effect says how many times better the method is than its rival, by the geometric mean
        over the seeds on which both have a number, and over the cases. ``p`` is not corrected, and
        None, with a reason, if the comparison cannot decide.
    """
    measure = comparison.measure
    cases = [dict([comparison.case])] if comparison.case else experiment.cases(results.config)
    worst = 0.0 if measure.better == "larger" else math.inf  # what a diverged run counts as
    names = comparison.method, comparison.rival
    sides = [_side(comparison, name, results, cases, worst) for name in names]
    fields, failed, values = zip(*sides, strict=True)
    both = np.logical_and(*(np.isfinite(v) & (v > 0) for v in values)) & ~np.logical_or(*failed)
    overlap = max(experiment.overlap(results.config, case) for case in cases)
    effect = None
    if both.any():
        better, worse = values if measure.better == "larger" else values[::-1]
        effect = ratio_interval(better[both], worse[both], overlap)
        if measure.pictures and len(cases) == 1:
            seeds = np.array(results.config["seeds"])[both]
            hits = [measures.hits(results, n, seeds, **own[0]) for n, own in zip(names, fields)]
            if len({len(row) for own in hits for row in own}) == 1:  # none became unreadable
                effect = accuracy_ratio_interval(*hits)
    with np.errstate(invalid="ignore"):  # ∞ − ∞ where both diverged: NaN, which counts for neither
        ahead = values[0] - values[1] if measure.better == "larger" else values[1] - values[0]
    p, sign, reason = _decide(effect, both, ahead, failed, overlap)
    numbers = {k: _known(getattr(effect, k, None)) for k in ("mean", "low", "high")}
    return {
        "evidence": comparison.evidence,
        "case": " ".join(map(str, comparison.case)),
        "method": comparison.method,
        "rival": comparison.rival,
        "measure": measure.title,
        "better": measure.better,
        "at": f" at {comparison.lr:g}" if isinstance(comparison.lr, float) else "",
        "rates": [_rates(own) for own in fields],
        "explains": comparison.explains,
        "seeds": int(both.sum()),
        "without_a_number": [
            int(np.sum((v == worst) & ~f)) for v, f in zip(values, failed, strict=True)
        ],
        "failed": [int(f.sum()) for f in failed],
        "means": [_geometric_mean(v[both], len(cases)) for v in values],
        "effect": numbers["mean"],
        "low": numbers["low"],
        "high": numbers["high"],
        "p": _known(p),
        "sign": sign,
        "reason": reason,
    }


def _geometric_mean(values, cases):
    """Over seeds; None without any, and over several cases, which may differ in their units."""
    return float(np.exp(np.mean(np.log(values)))) if values.size and cases == 1 else None


def _side(comparison, method, results, cases, worst):
    """The fields of a method's runs by case, which seeds failed, and the values (seeds,)."""
    fields = [case | _lr(comparison.lr, results, method, case) for case in cases]
    failed = np.any([measures.failed(results, method, **at) for at in fields], axis=0)
    found = [comparison.measure.values(results, method, **at) for at in fields]
    values = found[0]
    if len(found) > 1:
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.exp(np.mean(np.log(found), axis=0))
    return fields, failed, np.where(np.isfinite(values), values, worst)


def _lr(choice, results, method, case):
    """The field that says at which learning rate a comparison looks; none without rates."""
    if "lr" not in results.config:
        return {}
    if choice == CHOSEN:
        return {"lr": results.lr(method, **case)}
    return {"lr": options.default_lr(method) if choice == AUTHORS else choice}


def _rates(fields):
    """The rates in fields of runs, in words."""
    found = dict.fromkeys(at["lr"] for at in fields if "lr" in at)
    return ", ".join("not chosen" if np.isnan(lr) else f"{lr:g}" for lr in found)


def _decide(effect, both, ahead, failed, overlap):
    """p (NaN if nothing decides), who is ahead (1, 0 or −1), and why nothing decides, or ''."""
    wins, losses = int(np.sum(ahead > 0)), int(np.sum(ahead < 0))
    sign = int(np.sign(math.log(effect.mean))) if both.all() else int(np.sign(wins - losses))
    if np.any(failed):
        return math.nan, sign, FAILED
    if len(both) < MIN_SEEDS:
        return math.nan, sign, TOO_FEW
    if both.all():
        return effect.p, sign, ""
    return (math.nan, sign, OVERLAP) if overlap else (sign_test(wins, losses), sign, "")


def _known(value):
    """A number for JSON, or None."""
    return None if value is None or not math.isfinite(value) else float(value)


def judge_bound(bound, results):
    """The outcome of a bound, as JSON values."""
    values = bound.measure.values(results, bound.method)
    failed = measures.failed(results, bound.method)
    known = bool(np.isfinite(values).all() and not failed.any())
    outcome = UNDECIDED
    if known:
        outcome = FOR if np.max(values) <= 1 + ROUNDING else AGAINST
    return {
        "evidence": bound.evidence,
        "method": bound.method,
        "measure": bound.measure.title,
        "explains": False,
        "seeds": len(values),
        "failed": [int(failed.sum())],
        "largest": float(np.max(values)) if known else None,
        "reason": FAILED if failed.any() else "",
        "outcome": outcome,
    }


def judge_list(tests):
    """The verdict on a list of judged tests. Comparisons get their outcome by the corrected p.

    Parameters
    ----------
    tests : list of dict
        As `judge_comparison` and `judge_bound` return them.

    Returns
    -------
    dict
        verdict, counts (outcome -> how many of the tests that decide), reasons (why a test is
        undecided, other than p), and tests.
    """
    compared = [test for test in tests if "p" in test and not test["explains"]]
    known = [math.nan if test["p"] is None else test["p"] for test in compared]
    for test, p in zip(compared, holm(known), strict=True):
        test["corrected"] = _known(p)
        surely = p < SIGNIFICANCE and test["sign"]
        test["outcome"] = {1: FOR, -1: AGAINST}.get(surely, UNDECIDED)
    decide = [test for test in tests if not test["explains"]]
    outcomes = [test["outcome"] for test in decide]
    counts = {o: outcomes.count(o) for o in (FOR, AGAINST, UNDECIDED) if o in outcomes}
    verdict = REPRODUCED if counts.keys() == {FOR} else INCONCLUSIVE
    if AGAINST in counts:
        verdict = MIXED if FOR in counts else CONTRADICTED
    reasons = list(dict.fromkeys(test["reason"] for test in decide if test["reason"]))
    return {"verdict": verdict, "counts": counts, "reasons": reasons, "tests": tests}


def judge_claim(name, results, experiments):
    """A claim with the outcomes of its tests and both verdicts, as JSON values.

    Parameters
    ----------
    name : str
        Of the claim.
    results, experiments : dict
        Name of the evidence -> Results, and Experiment.
    """
    claim = CLAIMS[name]

    def by_case(test):
        """The same comparison of each case, to explain one of several cases that decides."""
        found = experiments[test.evidence].cases(results[test.evidence].config)
        if test.explains or len(found) == 1:
            return []
        return [test._replace(case=next(iter(c.items())), explains=True) for c in found]

    def judge(tests):
        tests = [one for test in tests for one in (test, *by_case(test))]
        return judge_list([
            judge_bound(test, results[test.evidence])
            if isinstance(test, Bound)
            else judge_comparison(test, results[test.evidence], experiments[test.evidence])
            for test in tests
        ])  # fmt: skip

    return {
        "name": name,
        "title": claim.title,
        "statement": claim.statement,
        "version": claim.version,
        "section": claim.section,
        "as_paper": judge(claim.as_paper),
        "on_equal_terms": judge(claim.on_equal_terms),
        "why": claim.why,
        "figures": claim.figures,
    }
