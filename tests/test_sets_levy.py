"""The Levy set: known values of the function, and what each protocol draws from where."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geonet.experiments.sets.levy import NEAR, interpolate, is_near, levy, load_levy, sample_levy

PROTOCOLS = pytest.mark.parametrize("protocol", ["clean", "paper"])


def rng(seed=0):
    return np.random.default_rng(seed)


def test_levy_has_its_known_values():
    # x = 1 is the minimum (w = 1); at x = 3, w = 3/2: 1 + ¼(1 + 0); at x = 2, w = 5/4: ½ + ⅛
    np.testing.assert_allclose(levy([1.0, 3.0, 2.0]), [0.0, 1.25, 0.625], atol=1e-15)


@given(st.floats(-10, 10))
def test_levy_is_nowhere_below_its_minimum(x):
    assert levy(x) >= levy(1.0)


def test_levy_keeps_the_shape():
    assert levy(np.zeros((2, 3, 4))).shape == (2, 3, 4)
    assert levy(0.0).shape == ()


@PROTOCOLS
def test_levy_parts_have_the_shapes_of_the_paper(protocol):
    split = load_levy(rng(), protocol)
    assert [(x.shape, y.shape) for x, y in split] == [((n, 1), (n, 1)) for n in (50, 50, 201)]
    assert all(part.dtype == np.float64 for pair in split for part in pair)


def test_levy_test_part_is_a_noise_free_grid():
    x, y = load_levy(rng()).test
    np.testing.assert_allclose(x[:, 0], np.arange(-100, 101) / 10, atol=1e-14)
    np.testing.assert_array_equal(y, levy(x))


def test_levy_paper_train_part_is_the_authors_and_does_not_depend_on_the_seed():
    state = np.random.RandomState(0)
    x = state.uniform(-10, 10, size=(50, 1))
    y = levy(x) + state.normal(0, 0.1, size=(50, 1))
    for seed in (0, 1):
        train = load_levy(rng(seed), "paper").train
        np.testing.assert_array_equal(train[0], x)
        np.testing.assert_array_equal(train[1], y)
    # the first draw of RandomState(0).uniform is documented far and wide: 0.5488135…
    assert x[0, 0] == pytest.approx(-10 + 20 * 0.5488135039273248)


def test_levy_paper_validation_part_comes_from_the_generator():
    first, again, other = (load_levy(rng(seed), "paper").validation[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_levy_clean_draws_x_before_noise_and_train_before_validation():
    split, reference = load_levy(rng(3)), rng(3)
    for x, y in (split.train, split.validation):
        np.testing.assert_array_equal(x, reference.uniform(-10, 10, size=(50, 1)))
        np.testing.assert_array_equal(y, levy(x) + reference.normal(0, 0.1, size=(50, 1)))


def test_levy_noise_has_standard_deviation_one_tenth():
    x, y = sample_levy(100_000, rng())
    noise = y - levy(x)
    assert abs(noise.mean()) < 5 * 0.1 / np.sqrt(noise.size)
    assert noise.std() == pytest.approx(0.1, rel=0.01)
    assert x.min() >= -10
    assert x.max() <= 10


def test_points_are_near_up_to_the_stated_distance_from_any_training_point():
    train_x = np.array([[3.0], [-2.0]])
    x = np.array([[3 + NEAR], [3 + NEAR + 1e-9], [0.0], [-2 - NEAR], [-2.0]])
    assert NEAR == 0.25
    np.testing.assert_array_equal(is_near(x, train_x), [True, False, False, True, True])


def test_the_interpolant_passes_through_the_training_points_and_is_straight_between_them():
    train_x, train_y = load_levy(rng(1)).train  # not in order
    np.testing.assert_array_equal(interpolate(train_x, train_x, train_y), train_y)
    order = np.argsort(train_x[:, 0])
    left, right = order[10:12]
    middle = interpolate((train_x[left] + train_x[right])[None] / 2, train_x, train_y)
    np.testing.assert_allclose(middle[0], (train_y[left] + train_y[right]) / 2)


def test_the_interpolant_is_held_at_the_ends():
    held = interpolate(
        np.array([[-9.0], [9.0]]), np.array([[1.0], [0.0]]), np.array([[5.0], [2.0]])
    )
    np.testing.assert_array_equal(held, [[2.0], [5.0]])


def test_the_interpolant_of_exact_points_of_the_function_is_nearly_exact():
    x = np.linspace(-10, 10, 4001)[:, None]
    test_x, test_y = load_levy(rng()).test
    np.testing.assert_allclose(interpolate(test_x, x, levy(x)), test_y, atol=1e-3)


def test_the_global_random_state_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    load_levy(rng(), "paper")
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_an_unknown_protocol_is_refused_by_name():
    with pytest.raises(ValueError, match="protocol must be one of clean, paper, but is 'papr'"):
        load_levy(rng(), "papr")
