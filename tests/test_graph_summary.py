"""Statistics of an array, whatever is in it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from geonet import graph


@given(
    hnp.arrays(np.float64, hnp.array_shapes(min_dims=0, max_side=4), elements=st.floats(width=16))
)
def test_statistics_are_those_of_the_finite_entries(array):
    found = graph.statistics(array)
    finite = array[np.isfinite(array)]
    assert (found.nans, found.infinities) == (np.isnan(array).sum(), np.isinf(array).sum())
    assert found.zeros == np.mean(array == 0)
    if finite.size:
        wanted = finite.min(), finite.max(), finite.mean(), np.sqrt((finite**2).sum())
        np.testing.assert_allclose(found[:4], wanted, rtol=1e-12, atol=1e-12)
    else:
        assert np.isnan(found[:4]).all()


def test_statistics_do_not_overflow_in_float32_and_take_any_dtype():
    assert graph.statistics(np.full(4, 1e30, np.float32)).norm == pytest.approx(2e30)
    assert graph.statistics(np.array([True, False])).max == 1
    assert graph.statistics(np.array([3 + 4j])).norm == 3
    assert graph.statistics(np.array([-1e200])).norm == 1e200
    found = graph.statistics(np.array([1e308, 1e308]))
    assert (found.mean, found.norm) == (1e308, pytest.approx(np.sqrt(2) * 1e308))
    assert graph.statistics(np.array([5e-324])).norm == 5e-324
    assert np.isnan(graph.statistics(np.zeros((0, 2))).zeros)


def test_a_complex_entry_counts_by_either_part():
    found = graph.statistics(np.array([complex(1, np.nan), complex(np.inf, 2), 3 + 4j]))
    assert (found.nans, found.infinities, found.max) == (1, 1, 3)
