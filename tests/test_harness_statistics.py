"""Student's t against tables and simulation, and what becomes of diverged runs."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geonet.experiments.harness.statistics import (
    Interval,
    mean_interval,
    paired_interval,
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
def test_quantile_is_odd_and_falls_with_the_degrees_of_freedom(p, nu):
    quantile = student_t_quantile(p, nu)
    assert student_t_quantile(1 - p, nu) == pytest.approx(-quantile, rel=1e-6)
    assert student_t_quantile(p, nu + 1) < quantile


def test_median_is_zero():
    assert student_t_quantile(0.5, 7) == 0


@pytest.mark.parametrize("p", [0, 1, -0.1, math.nan])
def test_probability_out_of_range_is_refused(p):
    with pytest.raises(ValueError, match="p must lie between 0 and 1"):
        student_t_quantile(p, 3)


@pytest.mark.parametrize("nu", [0, -1, 2.5])
def test_degrees_of_freedom_out_of_range_are_refused(nu):
    with pytest.raises(ValueError, match="degrees_of_freedom must be a whole number"):
        student_t_quantile(0.9, nu)


def test_mean_interval_of_a_worked_example():
    # mean 3, std √2.5, half width 2.776445 · √2.5 / √5
    mean, std, low, high = mean_interval([1, 2, 3, 4, 5])
    half = 2.776445105 * math.sqrt(0.5)
    np.testing.assert_allclose((mean, std, low, high), (3, math.sqrt(2.5), 3 - half, 3 + half))


@pytest.mark.parametrize(("level", "count"), [(0.95, 5), (0.95, 20), (0.8, 3)])
def test_interval_covers_the_true_mean_as_often_as_it_says(level, count):
    rng = np.random.default_rng(0)
    trials = 1500
    intervals = [mean_interval(rng.normal(2, 3, size=count), level) for _ in range(trials)]
    covered = np.mean([interval.low <= 2 <= interval.high for interval in intervals])
    assert abs(covered - level) < 4 * math.sqrt(level * (1 - level) / trials)


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


def test_level_must_be_a_probability():
    with pytest.raises(ValueError, match="level must lie between 0 and 1, not 95"):
        mean_interval([1.0, 2.0], level=95)


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
