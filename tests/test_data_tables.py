"""Tables in three parts: who steers, and features and targets standardized by the train part."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geonet.data.tables import Split, split_rows, standardize_features, standardize_target


def rng(seed=0):
    return np.random.default_rng(seed)


def test_all_parts_are_standardized_by_mean_and_population_std_of_the_train_part():
    train, validation, test = np.array([[1.0, -4.0], [3.0, 8.0]]), np.ones((1, 2)), np.zeros((1, 2))
    y = np.arange(2.0)[:, None]
    split = standardize_features(Split((train, y), (validation, y[:1]), (test, y[1:])))
    np.testing.assert_allclose(split.train[0], [[-1, -1], [1, 1]])
    np.testing.assert_allclose(split.validation[0], [[(1 - 2) / 1, (1 - 2) / 6]])
    np.testing.assert_allclose(split.test[0], [[(0 - 2) / 1, (0 - 2) / 6]])
    assert [y.tolist() for _, y in split] == [[[0.0], [1.0]], [[0.0]], [[1.0]]]


@given(st.floats(-1e3, 1e3))
def test_a_constant_feature_is_centred_and_not_blown_up(value):
    x = np.column_stack([np.full(7, value), np.arange(7.0)])
    part = (x, np.zeros((7, 1)))
    standardized = standardize_features(Split(part, part, part)).train[0]
    np.testing.assert_allclose(standardized[:, 0], 0, atol=1e-9)


@pytest.mark.parametrize("scale", [1.0, 1e-3, 0.0])
def test_an_error_of_the_standardized_target_is_one_in_its_units_over_its_std(scale):
    x, y = np.zeros((5, 1)), 7 + scale * np.arange(5.0)[:, None]
    split, std = standardize_target(Split((x, y), (x[:2], y[:2]), (x[:1], y[:1] + 3)))
    assert std == pytest.approx(scale * np.sqrt(2) if scale else 1)
    assert split.train[1].mean() == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(std * (split.test[1] - split.train[1][:1]), 3)


def divided(rows, test, seed, protocol):
    """The rows of the three parts, told by their targets."""
    x, y = np.arange(40.0)[:, None] ** 2, np.arange(40)[:, None]
    split = split_rows(x, y, np.array(rows), np.array(test), rng(seed), protocol)
    assert abs(split.train[0].mean()) < 1e-12
    return [targets[:, 0].tolist() for _, targets in split]


def test_clean_draws_a_fifth_to_steer_and_paper_has_the_test_part_steer():
    rows, test = list(range(10, 33)), list(range(5))
    train, validation, kept = divided(rows, test, 0, "clean")
    assert len(validation) == 4
    assert sorted([*train, *validation]) == rows
    assert kept == test
    assert sorted(validation) != sorted(divided(rows, test, 1, "clean")[1])
    assert divided(rows, test, 0, "paper") == [rows, test, test]


def test_a_single_row_and_an_unknown_protocol_are_refused():
    with pytest.raises(ValueError, match="at least 2 rows to divide, not 1"):
        divided([3], [4], 0, "clean")
    with pytest.raises(ValueError, match="protocol must be one of clean, paper, but is 'both'"):
        divided([3, 4], [5], 0, "both")
