"""Student's t against tables and simulations of overlapping splits; sums and tests by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geonet.experiments.harness.statistics import (
    MIN_SEEDS,
    Interval,
    accuracy_ratio_interval,
    bounded,
    holm,
    mean_interval,
    paired_interval,
    picture_interval,
    ratio_interval,
    sign_test,
    student_t_quantile,
)

# quantiles at p = 0.9, 0.975, 0.995, 0.9995, from 40-digit arithmetic
TABLE = {
    1: (3.077683537, 12.70620474, 63.65674116, 636.6192488),
    2: (1.885618083, 4.302652730, 9.924843201, 31.59905458),
    3: (1.637744354, 3.182446305, 5.840909310, 12.92397864),
    4: (1.533206274, 2.776445105, 4.604094871, 8.610301581),
    9: (1.383028738, 2.262157163, 3.249835542, 4.780912586),
    19: (1.327728209, 2.093024054, 2.860934606, 3.883405853),
    30: (1.310415025, 2.042272456, 2.749995654, 3.645958635),
    120: (1.288646234, 1.979930405, 2.617421145, 3.373453769),
    10_000: (1.281636230, 1.960201240, 2.576321047, 3.291499966),
}


@pytest.mark.parametrize("degrees_of_freedom", TABLE)
def test_quantile_agrees_with_the_table(degrees_of_freedom):
    found = [student_t_quantile(p, degrees_of_freedom) for p in (0.9, 0.975, 0.995, 0.9995)]
    np.testing.assert_allclose(found, TABLE[degrees_of_freedom], rtol=1e-9)


@given(st.floats(0.501, 0.9999))
def test_quantile_has_its_closed_forms(p):
    assert student_t_quantile(p, 1) == pytest.approx(math.tan(math.pi * (p - 0.5)), rel=1e-9)
    two = (2 * p - 1) * math.sqrt(2 / (4 * p * (1 - p)))
    assert student_t_quantile(p, 2) == pytest.approx(two, rel=1e-9)


@given(st.floats(0.5001, 0.9999), st.integers(1, 200))
def test_quantile_falls_with_the_degrees_of_freedom(p, nu):
    assert student_t_quantile(p, nu + 1) < student_t_quantile(p, nu)


def test_median_is_zero():
    assert student_t_quantile(0.5, 7) == 0


def test_mean_interval_of_a_worked_example():
    # mean 3, std √2.5, half width 2.776445 · √2.5 / √5
    mean, std, low, high, _ = mean_interval([1, 2, 3, 4, 5])
    half = 2.776445105 * math.sqrt(0.5)
    np.testing.assert_allclose((mean, std, low, high), (3, math.sqrt(2.5), 3 - half, 3 + half))


@pytest.mark.parametrize("count", [3, 5, 20])
def test_interval_covers_the_true_mean_as_often_as_it_says(count):
    rng = np.random.default_rng(0)
    trials = 1500
    intervals = [mean_interval(rng.normal(2, 3, size=count)) for _ in range(trials)]
    covered = np.mean([interval.low <= 2 <= interval.high for interval in intervals])
    assert abs(covered - 0.95) < 4 * math.sqrt(0.95 * 0.05 / trials)


@given(
    st.sampled_from([1.0, math.pi, math.inf]),
    st.lists(st.floats(1e-9, 1 - 1e-9), min_size=2, max_size=6),
)
def test_a_bounded_interval_holds_the_mean_and_stays_within_the_bounds(high, shares):
    values = np.multiply(shares, min(high, 100.0))
    whole = mean_interval(values)
    found = bounded(whole, high)
    assert 0 <= found.low <= whole.mean * (1 + 1e-9)
    assert whole.mean * (1 - 1e-9) <= found.high <= high
    assert (found.mean, found.std, found.p) == (whole.mean, whole.std, whole.p)


@pytest.mark.parametrize("high", [1.0, math.inf])
def test_a_narrow_bounded_interval_is_that_of_students_t(high):
    whole = mean_interval(0.8 + 1e-5 * np.arange(6))
    np.testing.assert_allclose(bounded(whole, high), whole, rtol=1e-8)


def test_a_bounded_interval_of_equal_values_at_an_end_has_length_0():
    for value in (0.0, 1.0):
        assert bounded(mean_interval([value] * 3), 1.0)[2:4] == (value, value)
    assert np.isnan(bounded(mean_interval([0.3]), 1.0)[2:4]).all()


@pytest.mark.parametrize(
    ("draw", "mean", "high"),
    [
        (lambda rng: rng.lognormal(0, 0.3, 5), math.exp(0.045), math.inf),
        (lambda rng: rng.beta(18, 2, 5), 0.9, 1.0),
    ],
)
def test_a_bounded_interval_covers_the_mean_of_skewed_values(draw, mean, high):
    rng, trials = np.random.default_rng(0), 1500
    intervals = [bounded(mean_interval(draw(rng)), high) for _ in range(trials)]
    covered = np.mean([interval.low <= mean <= interval.high for interval in intervals])
    assert abs(covered - 0.95) < 4 * math.sqrt(0.95 * 0.05 / trials)


def test_one_value_has_a_mean_and_no_more():
    assert mean_interval([3.5]).mean == 3.5
    assert np.isnan(mean_interval([3.5])[1:]).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_diverged_run_is_not_dropped(bad):
    assert np.isnan(mean_interval([1.0, bad, 2.0])).all()
    assert np.isnan(mean_interval([bad])).all()
    assert np.isnan(paired_interval([1.0, bad], [1.0, 2.0])).all()
    assert np.isnan(paired_interval([1.0, bad], [1.0, bad])).all()


def test_almost_diverged_run_gives_an_endless_interval_and_no_warning():
    interval = mean_interval([1.0, 1e200])
    assert (interval.std, interval.low, interval.high) == (math.inf, -math.inf, math.inf)


@pytest.mark.parametrize("values", [[], [[1.0, 2.0]], 3.0])
def test_values_must_be_a_list(values):
    with pytest.raises(ValueError, match="values must be a non-empty list"):
        mean_interval(values)


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=2, max_size=9))
def test_paired_interval_turns_with_the_order(pairs):
    a, b = np.array(pairs).T
    forth, back = paired_interval(a, b), paired_interval(b, a)
    np.testing.assert_allclose(
        forth, Interval(-back.mean, back.std, -back.high, -back.low, back.p), atol=1e-12
    )


def test_what_the_seeds_share_cancels():
    rng = np.random.default_rng(0)
    shared, own = rng.normal(0, 10, size=10), rng.normal(0, 0.1, size=(2, 10))
    interval = paired_interval(shared + own[0] + 1, shared + own[1])
    assert 0 < interval.low < 1 < interval.high < 2


@pytest.mark.parametrize("function", [paired_interval, ratio_interval])
def test_pairs_must_pair_up(function):
    with pytest.raises(ValueError, match="a and b must pair up"):
        function([1.0, 2.0], [1.0])


def differences_of_equal_methods(rng, sets, splits=20, points=50):
    """Test errors of one method minus those of an equal one, on 80/20 splits; (sets, splits).

    y = x₁ + x₂ + noise. The methods are ridge regressions on x₁ alone and on x₂ alone, fitted to
    each training part. Over all sets they are equal, but on the points of one set either may win.
    """
    x = rng.normal(size=(sets, 2, points))
    y = x.sum(axis=1) + rng.normal(size=(sets, points))
    test = rng.random((sets, splits, points)).argsort(axis=-1) < points // 5
    product, square = (
        np.einsum("smn,skn->smk", values, ~test * 1.0) for values in (x * y[:, None], x * x)
    )
    errors = y[:, None, None] - (product / (square + 1))[..., None] * x[:, :, None]
    mean = np.sum(errors**2 * test[:, None], axis=-1) / (points // 5)  # (sets, methods, splits)
    return mean[:, 0] - mean[:, 1]


def share_called_different(differences, overlap):
    intervals = [mean_interval(row, overlap) for row in differences]
    different = np.array([not interval.low <= 0 <= interval.high for interval in intervals])
    np.testing.assert_array_equal(different, [interval.p < 0.05 for interval in intervals])
    return different.mean()


def test_overlapping_splits_deceive_the_plain_t_and_not_the_corrected_one():
    differences = differences_of_equal_methods(np.random.default_rng(0), 1000)
    assert 0.38 < share_called_different(differences, 0.0) < 0.48
    assert 0.03 < share_called_different(differences, 10 / 40) < 0.08


def test_the_overlap_enters_the_variance_as_nadeau_and_bengio_have_it():
    # s² (1/5 + 1/4) in place of s²/5
    plain, corrected = mean_interval([1, 2, 3, 4, 5]), mean_interval([1, 2, 3, 4, 5], 0.25)
    half = 2.776445105 * math.sqrt(2.5 * 0.45)
    np.testing.assert_allclose(corrected[:4], (3, math.sqrt(2.5), 3 - half, 3 + half))
    assert plain.p < corrected.p


@pytest.mark.parametrize(("t", "p"), [(2.042272456, 0.05), (2.749995654, 0.01)])
@pytest.mark.parametrize("overlap", [0.0, 0.25])
def test_p_is_that_of_students_table(t, p, overlap):
    sample = np.random.default_rng(0).normal(size=31)  # 30 degrees of freedom
    sample = (sample - sample.mean()) / sample.std(ddof=1)
    shifted = sample + t * math.sqrt(1 / 31 + overlap)
    assert paired_interval(shifted, np.zeros(31), overlap).p == pytest.approx(p, rel=1e-7)
    assert paired_interval(-shifted, np.zeros(31), overlap).p == pytest.approx(p, rel=1e-7)


def test_p_of_equal_values_is_one_and_of_one_sure_difference_zero():
    assert paired_interval([1.0, 2.0], [1.0, 2.0]).p == 1
    assert paired_interval([2.0, 3.0], [1.0, 2.0]).p == 0


samples = st.lists(st.floats(0.1, 10), min_size=2, max_size=12)


@given(samples, st.floats(0, 1))
def test_the_interval_excludes_equality_exactly_where_p_is_below_its_level(sample, overlap):
    a, b = np.array(sample), np.linspace(1, 2, len(sample))
    found = ratio_interval(a, b, overlap)
    if abs(found.p - 0.05) > 1e-9:
        assert (found.p < 0.05) == (not found.low <= 1 <= found.high)


@given(samples, st.floats(0, 1))
def test_the_ratio_the_other_way_round_is_the_inverse(sample, overlap):
    a, b = np.array(sample), np.linspace(1, 2, len(sample))
    forth, back = ratio_interval(a, b, overlap), ratio_interval(b, a, overlap)
    expected = 1 / back.mean, back.std, 1 / back.high, 1 / back.low, back.p
    np.testing.assert_allclose(forth, expected, rtol=1e-9, atol=1e-12)


def test_the_ratio_covers_the_true_ratio_as_often_as_it_says():
    rng, trials = np.random.default_rng(1), 1000
    shared = rng.lognormal(0, 1, (trials, 6))
    pairs = (
        shared * rng.lognormal(0.7, 0.3, (trials, 6)),
        shared * rng.lognormal(0, 0.3, (trials, 6)),
    )
    found = [ratio_interval(*pair) for pair in zip(*pairs, strict=True)]
    covered = np.mean([ratio.low <= math.exp(0.7) <= ratio.high for ratio in found])
    assert abs(covered - 0.95) < 4 * math.sqrt(0.95 * 0.05 / trials)


def test_a_ratio_that_all_seeds_share_is_known():
    a = np.linspace(1, 2, 10)
    ratio = ratio_interval(3 * a, a)
    np.testing.assert_allclose((ratio.mean, ratio.low, ratio.high), 3, rtol=1e-12)


def test_what_has_no_ratio_has_none():
    assert np.isnan(ratio_interval([0.0, 1.0, 1.0], [1.0, 1.0, 1.0])).all()
    assert np.isnan(ratio_interval([-1.0] * 9, [1.0] * 9)).all()
    assert np.isnan(ratio_interval([1.0, math.nan], [1.0, 1.0])).all()
    assert np.isnan(ratio_interval([2.0], [1.0])[1:]).all()


def hits(rng, trials, seeds, pictures, spread):
    """Whether networks are right: pictures differ in how hard they are, seeds in how good; bool."""
    easy = rng.normal(0, 1, (trials, 1, pictures))
    good = rng.normal(0, spread, (trials, seeds, 1))
    return easy + good + rng.normal(0, 0.5, (trials, seeds, pictures)) > 0


@pytest.mark.parametrize("spread", [0.0, 0.1])
def test_intervals_of_accuracies_hold_for_other_pictures_too(spread):
    found = hits(np.random.default_rng(0), 500, 6, 100, spread)  # the true accuracy is 1/2
    whole = [picture_interval(run) for run in found]
    seeds_only = [mean_interval(run.mean(axis=1)) for run in found]
    covered, too_few = (
        np.mean([i.low <= 0.5 <= i.high for i in intervals]) for intervals in (whole, seeds_only)
    )
    assert covered > 0.94
    assert too_few < 0.75


def test_the_interval_of_accuracies_of_a_worked_example():
    # means of seeds 1/2 and 1, of pictures 1, 1/2, 1, 1/2; t of one degree of freedom
    mean, std, low, high, _ = picture_interval([[True, False, True, False], [True] * 4])
    half = 12.70620474 * math.sqrt((1 / 8) / 2 + (1 / 12) / 4)
    np.testing.assert_allclose((mean, std, low, high), (3 / 4, math.sqrt(1 / 8), 3 / 4 - half,
                                                        3 / 4 + half))  # fmt: skip


def test_pictures_on_which_both_methods_agree_narrow_the_paired_difference():
    rng = np.random.default_rng(0)
    (a,) = hits(rng, 1, 6, 400, 0.0)
    b = a ^ (rng.random(a.shape) < 0.02)
    paired = picture_interval(a * 1.0 - b)
    alone = picture_interval(a)
    assert paired.high - paired.low < (alone.high - alone.low) / 2


def test_the_ratio_of_accuracies_holds_for_other_pictures_too():
    rng, covered, narrow = np.random.default_rng(0), [], []
    for _ in range(400):
        ours, theirs = hits(rng, 1, 6, 200, 0.1)[0], hits(rng, 1, 6, 200, 0.1)[0]
        ratio = accuracy_ratio_interval(ours, theirs)  # of equal methods, on different pictures
        seeds_only = ratio_interval(ours.mean(axis=1), theirs.mean(axis=1))
        assert ratio.mean == pytest.approx(seeds_only.mean)
        covered.append(ratio.low <= 1 <= ratio.high)
        narrow.append(seeds_only.low <= 1 <= seeds_only.high)
    assert np.mean(covered) > 0.94
    assert np.mean(narrow) < 0.8
    assert np.isnan(accuracy_ratio_interval([[True, True]] * 6, [[False, False]] * 6)).all()


def test_one_seed_on_many_pictures_has_a_mean_and_no_more():
    assert picture_interval([[True, False]]).mean == 0.5
    assert np.isnan(picture_interval([[True, False]])[1:]).all()
    with pytest.raises(ValueError, match=r"shape \(seeds, pictures\), not \(2,\)"):
        picture_interval([True, False])


@pytest.mark.parametrize(
    ("wins", "losses", "p"),
    [(0, 0, 1), (1, 0, 1), (3, 3, 1), (6, 0, 2 / 64), (0, 6, 2 / 64), (9, 1, 22 / 1024)],
)
def test_p_of_signs_is_that_of_counting(wins, losses, p):
    assert sign_test(wins, losses) == pytest.approx(p, rel=1e-12)


def test_the_fewest_seeds_that_decide_are_those_whose_signs_can():
    assert sign_test(MIN_SEEDS, 0) < 0.05 < sign_test(MIN_SEEDS - 1, 0)


def test_holm_corrects_as_by_hand_and_never_downward():
    # sorted 0.01 · 4, 0.02 · 3, 0.03 · 2, 0.5 · 1
    np.testing.assert_allclose(holm([0.02, 0.5, 0.01, 0.03]), [0.06, 0.5, 0.04, 0.06])
    np.testing.assert_allclose(holm([0.3]), [0.3])
    np.testing.assert_allclose(holm([0.9, 0.8]), [1, 1])
    np.testing.assert_allclose(holm([0.01, math.nan]), [0.02, math.nan])
    assert holm([]).shape == (0,)


def test_of_many_true_hypotheses_holm_seldom_rejects_any():
    p = np.random.default_rng(0).random((2000, 5))
    assert np.mean(p.min(axis=1) < 0.05) > 0.2
    assert np.mean([holm(row).min() < 0.05 for row in p]) < 0.065
