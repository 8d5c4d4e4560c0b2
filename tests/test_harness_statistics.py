"""Student's t against tables, the bootstrap against simulation, tests against sums by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geonet.experiments.harness import statistics
from geonet.experiments.harness.statistics import (
    Interval,
    bootstrap_interval,
    mean_interval,
    paired_interval,
    paired_test,
    ratio_interval,
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
DRAWS = {  # name -> (draw, true mean)
    "normal": (lambda rng, size: rng.normal(2, 3, size), 2.0),
    "uniform": (lambda rng, size: rng.uniform(0, 1, size), 0.5),
    "log-normal": (lambda rng, size: rng.lognormal(0, 0.5, size), math.exp(0.125)),
}
samples = st.lists(st.floats(0.1, 10), min_size=8, max_size=12)


def generator():
    return np.random.default_rng(0)


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
    mean, std, low, high = mean_interval([1, 2, 3, 4, 5])
    half = 2.776445105 * math.sqrt(0.5)
    np.testing.assert_allclose((mean, std, low, high), (3, math.sqrt(2.5), 3 - half, 3 + half))


@pytest.mark.parametrize("count", [3, 5, 20])
def test_interval_covers_the_true_mean_as_often_as_it_says(count):
    rng = np.random.default_rng(0)
    trials = 1500
    intervals = [mean_interval(rng.normal(2, 3, size=count)) for _ in range(trials)]
    covered = np.mean([interval.low <= 2 <= interval.high for interval in intervals])
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
        forth, Interval(-back.mean, back.std, -back.high, -back.low), atol=1e-12
    )


def test_what_the_seeds_share_cancels():
    rng = np.random.default_rng(0)
    shared, own = rng.normal(0, 10, size=10), rng.normal(0, 0.1, size=(2, 10))
    interval = paired_interval(shared + own[0] + 1, shared + own[1])
    assert 0 < interval.low < 1 < interval.high < 2


def test_pairs_must_pair_up():
    with pytest.raises(ValueError, match="a and b must pair up"):
        paired_interval([1.0, 2.0], [1.0])


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("count", [10, 20])
def test_the_bootstrap_covers_the_true_mean_as_often_as_it_says(draw, count, monkeypatch):
    monkeypatch.setattr(statistics, "RESAMPLES", 1000)
    rng, trials = np.random.default_rng(1), 600
    sample, mean = DRAWS[draw]
    intervals = [bootstrap_interval(sample(rng, count), rng) for _ in range(trials)]
    covered = np.mean([low <= mean <= high for _, low, high in intervals])
    assert 0.90 < covered < 0.98  # 0.95 says it; the standard error of a simulation is 0.01


def test_unwidened_the_bootstrap_of_ten_values_covers_too_little(monkeypatch):
    """So the simulation above can detect the effect of the widening."""
    monkeypatch.setattr(statistics, "RESAMPLES", 1000)
    normal = math.sqrt(0.9) * statistics.NORMAL.inv_cdf(0.975)
    monkeypatch.setattr(statistics, "student_t_quantile", lambda p, nu: normal)
    rng = np.random.default_rng(1)
    intervals = [bootstrap_interval(rng.normal(size=10), rng) for _ in range(600)]
    assert np.mean([low <= 0 <= high for _, low, high in intervals]) < 0.925


def test_the_ratio_of_few_pairs_covers_the_true_ratio():
    rng, trials = np.random.default_rng(1), 600
    covered = 0
    for _ in range(trials):
        shared = rng.lognormal(0, 1, 3)
        a, b = shared * rng.lognormal(0.7, 0.3, 3), shared * rng.lognormal(0, 0.3, 3)
        _, low, high = ratio_interval(a, b, rng)
        covered += low <= math.exp(0.7) <= high
    assert abs(covered / trials - 0.95) < 0.03


def test_the_longer_arm_is_on_the_side_of_the_longer_tail():
    value, low, high = bootstrap_interval([1, 1, 1, 2, 2, 2, 3, 4, 8, 20], generator())
    assert value == 4.4
    assert 2.5 < (high - value) / (value - low) < 3.5  # 2.0 without the acceleration


@given(samples, st.floats(0.5, 3), st.floats(-5, 5))
def test_the_bootstrap_moves_and_stretches_with_its_values(sample, scale, shift):
    sample = np.array(sample)
    moved = bootstrap_interval(shift + scale * sample, generator())
    expected = shift + scale * np.array(bootstrap_interval(sample, generator()))
    np.testing.assert_allclose(moved, expected, atol=1e-9)


@given(samples)
def test_the_ratio_the_other_way_round_is_the_inverse(sample):
    a, b = np.array(sample), np.linspace(1, 2, len(sample))
    forth, back = ratio_interval(a, b, generator()), ratio_interval(b, a, generator())
    assert forth.value == pytest.approx(1 / back.value)
    # up to the randomness of resampling, which sees the other tail
    np.testing.assert_allclose(np.log(forth[1:]), -np.log(back[:0:-1]), atol=0.05)


def test_a_ratio_that_all_seeds_share_is_known():
    a = np.linspace(1, 2, 10)
    np.testing.assert_allclose(ratio_interval(3 * a, a, generator()), 3, rtol=1e-12)


def test_a_few_pairs_that_all_agree_tell_no_interval():
    ratio = ratio_interval([2.0, 4.0, 6.0], [1.0, 2.0, 3.0], generator())
    assert ratio.value == pytest.approx(2)
    assert np.isnan(ratio[1:]).all()


def test_what_has_no_interval_has_none():
    assert bootstrap_interval([3.5], generator()).value == 3.5
    assert np.isnan(bootstrap_interval([3.5], generator())[1:]).all()
    assert np.isnan(bootstrap_interval([1.0, math.nan], generator())).all()
    assert np.isnan(ratio_interval([0.0, 1.0, 1.0], [1.0, 1.0, 1.0], generator())).all()
    assert np.isnan(ratio_interval([-1.0] * 9, [1.0] * 9, generator())).all()


@pytest.mark.parametrize("bad", [[], [[1.0, 2.0]], 3.0])
def test_values_to_resample_must_be_a_list(bad):
    with pytest.raises(ValueError, match="values must be a non-empty list"):
        bootstrap_interval(bad, generator())


@pytest.mark.parametrize("test", [paired_test, lambda a, b: ratio_interval(a, b, generator())])
def test_pairs_to_test_must_pair_up(test):
    with pytest.raises(ValueError, match="a and b must pair up"):
        test([1.0, 2.0], [1.0])


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([1, 2, 3], 2 / 8),  # only +++ and −−− are as far from 0
        ([3, 1, -1], 6 / 8),  # sums 3, 5, 1, 3 and their opposites; at least 3: all but ±1
        ([1, 2, -4], 1),  # the least of 1, 3, 5, 7
        ([1, 1, 1, 1, -1], 12 / 32),  # |Σ| ≥ 3: no or one sign against, either way
        ([0, 0], 1),
        ([5], 1),
        ([0.1] * 10, 2 / 1024),
        ([0.1] * 20, 2 / 2**20),
    ],
)
def test_p_of_constructed_differences_is_that_of_the_sums_by_hand(differences, p):
    a = np.array(differences, dtype=float)
    assert paired_test(a + 7, np.full(len(a), 7.0)) == pytest.approx(p, rel=1e-12)
    assert paired_test(-a, np.zeros(len(a))) == pytest.approx(p, rel=1e-12)


def test_beyond_twenty_pairs_p_is_that_of_student():
    sample = np.random.default_rng(0).normal(size=31)
    sample = (sample - sample.mean()) / sample.std(ddof=1)
    # quantiles of Student's t with 30 degrees of freedom at 0.975 and 0.995
    for t, p in ((2.042272456, 0.05), (2.749995654, 0.01)):
        shifted = sample + t / math.sqrt(31)
        assert paired_test(shifted, np.zeros(31)) == pytest.approx(p, rel=1e-7)
    assert paired_test(np.zeros(31), np.zeros(31)) == 1


@pytest.mark.parametrize("count", [10, 40])
def test_under_equality_p_falls_below_a_level_as_often_as_the_level(count):
    rng, trials = np.random.default_rng(3), 500
    found = [paired_test(*rng.normal(size=(2, count))) for _ in range(trials)]
    for level in (0.05, 0.3):
        assert abs(np.mean(np.array(found) <= level) - level) < 4 * math.sqrt(level / trials)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_test_drops_no_diverged_run(bad):
    assert math.isnan(paired_test([1.0, bad], [1.0, 2.0]))
    assert math.isnan(paired_test([1.0, bad], [1.0, bad]))
