"""Winograd's convolution: what its matrices promise, and the compiled steps against plain NumPy."""

import numpy as np
import pytest
from convolution_helpers import plain_conv2d
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_helpers import of_compiled_code
from numpy.testing import assert_allclose, assert_array_equal

from geonet.kernels import reference, winograd
from geonet.kernels.winograd import transforms

STRIDE = (1, 1)


@st.composite
def problems(draw):
    """x, weight, bias, g and padding of one convolution, float64."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    padding = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    height, width = (draw(st.integers(max(1, 3 - 2 * p), 11)) for p in padding)
    images, channels, units = (draw(st.integers(1, n)) for n in (3, 40, 40))
    x, weight = (
        rng.normal(size=(images, height, width, channels)),
        rng.normal(size=(units, 3, 3, channels)),
    )
    g = rng.normal(size=(images, height + 2 * padding[0] - 2, width + 2 * padding[1] - 2, units))
    return x, weight, rng.normal(size=units), g, padding


def assert_near(actual, expected, tolerance, terms=None):
    """Up to a tolerance relative to the largest entry, or to that of the sums without signs."""
    scale = np.abs(expected if terms is None else terms).max(initial=1e-300)
    assert actual.shape == expected.shape
    assert_allclose(actual, expected, rtol=0, atol=tolerance * scale)


def test_the_matrices_compute_four_outputs_of_a_filter_of_three():
    rng = np.random.default_rng(0)
    d, w = rng.normal(size=6), rng.normal(size=3)
    y = reference.WINOGRAD_OUTPUT @ (
        (reference.WINOGRAD_KERNEL @ w) * (reference.WINOGRAD_INPUT @ d)
    )
    assert_allclose(y, [d[i : i + 3] @ w for i in range(4)], rtol=1e-13)


def test_compiled_transforms_interpolate_at_the_points_of_the_reference():
    assert (transforms.NEAR, transforms.FAR) == (reference.NEAR, reference.FAR)


@of_compiled_code
@settings(max_examples=60)
@given(problems())
def test_compiled_steps_agree_with_the_reference(problem):
    x, weight, bias, g, padding = problem
    large = [np.abs(array) for array in (g, x, weight)]
    terms = (
        reference.conv2d(*large[1:], np.abs(bias), STRIDE, padding),
        *reference.conv2d_pullback(*large, STRIDE, padding, (True, True)),
    )
    found = (
        winograd.forward(x, weight, bias, STRIDE, padding),
        *winograd.pullback(g, x, weight, STRIDE, padding, (True, True)),
    )
    plain = (
        reference.winograd(x, weight, bias, padding),
        *reference.conv2d_pullback(g, x, weight, STRIDE, padding, (True, True)),
    )
    for actual, expected, sums in zip(found, plain, terms, strict=True):
        assert_near(actual, expected, 1e-13, sums)


@settings(max_examples=60)
@given(problems())
def test_winograds_way_gives_the_very_sum_over_windows(problem):
    x, weight, bias, _, padding = problem
    y = reference.winograd(x, weight, bias, padding)
    assert_allclose(y, plain_conv2d(x, weight, bias, STRIDE, padding), atol=1e-11)


@settings(max_examples=60)
@given(problems())
def test_in_float32_it_agrees_with_the_plain_convolution_in_float64(problem):
    x, weight, bias, g, padding = problem
    single = [a.astype(np.float32) for a in (x, weight, bias, g)]
    y = winograd.forward(*single[:3], STRIDE, padding)
    grads = winograd.pullback(single[3], *single[:2], STRIDE, padding, (True, True))
    assert y.dtype == grads[0].dtype == grads[1].dtype == np.float32
    assert_near(y, reference.conv2d(x, weight, bias, STRIDE, padding), 1e-5)
    expected = reference.conv2d_pullback(g, x, weight, STRIDE, padding, (True, True))
    for actual, exact in zip(grads, expected):
        assert_near(actual, exact, 1e-5)


@pytest.mark.parametrize(
    "shape", [(4, 16, 16, 128, 128), (2, 8, 8, 512, 512), (1, 14, 14, 256, 64)]
)
def test_the_error_in_float32_stays_below_a_hundred_thousandth(shape):
    *images, channels, units = shape
    rng = np.random.default_rng(1)
    x, g = rng.normal(size=(*images, channels)), rng.normal(size=(*images, units))
    weight = rng.normal(size=(units, 3, 3, channels))
    x, g, weight = (a.astype(np.float32) for a in (x, g, weight))
    wide = [a.astype(np.float64) for a in (g, x, weight)]
    y = winograd.forward(x, weight, None, STRIDE, (1, 1))
    assert_near(y, reference.conv2d(*wide[1:], None, STRIDE, (1, 1)), 1e-5)
    grads = winograd.pullback(g, x, weight, STRIDE, (1, 1), (True, True))
    expected = reference.conv2d_pullback(*wide, STRIDE, (1, 1), (True, True))
    for actual, exact in zip(grads, expected):
        assert_near(actual, exact, 1e-5)


@pytest.mark.parametrize("tiles", [1, 5, 1000])
def test_parts_and_threads_change_nothing_but_the_last_digits(tiles, monkeypatch):
    rng = np.random.default_rng(2)
    x, g, weight = (
        rng.normal(size=(5, 6, 7, 8)),
        rng.normal(size=(5, 6, 7, 9)),
        rng.normal(size=(9, 3, 3, 8)),
    )
    y = winograd.forward(x, weight, None, STRIDE, (1, 1))
    to_x, to_weight = winograd.pullback(g, x, weight, STRIDE, (1, 1), (True, True))
    monkeypatch.setattr(winograd, "TILES", tiles)
    alone = winograd.forward(x, weight, None, STRIDE, (1, 1))
    assert_near(alone, y, 1e-14)
    monkeypatch.setenv("GEONET_THREADS", "3")
    assert_array_equal(winograd.forward(x, weight, None, STRIDE, (1, 1)), alone)
    grads = winograd.pullback(g, x, weight, STRIDE, (1, 1), (True, True))
    assert_near(grads[0], to_x, 1e-14)
    assert_near(grads[1], to_weight, 1e-14)


def test_strided_and_read_only_arguments_are_as_good_and_left_alone():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(2, 4, 12, 7)).transpose(0, 2, 3, 1)[:, ::2]  # (2, 6, 7, 4)
    weight = rng.normal(size=(6, 3, 3, 8))[::2, ::-1, :, ::2]
    g = np.broadcast_to(rng.normal(size=3), (2, 6, 7, 3))
    copies = [np.ascontiguousarray(a) for a in (x, weight, g)]
    expected_y = winograd.forward(*copies[:2], None, STRIDE, (1, 1))
    expected = winograd.pullback(copies[2], *copies[:2], STRIDE, (1, 1), (True, True))
    for array in (x, weight):
        array.setflags(write=False)
    assert_near(winograd.forward(x, weight, None, STRIDE, (1, 1)), expected_y, 1e-14)
    for actual, exact in zip(
        winograd.pullback(g, x, weight, STRIDE, (1, 1), (True, True)), expected
    ):
        assert_near(actual, exact, 1e-14)
    for array, copy in zip((x, weight, g), copies):
        assert_array_equal(array, copy)


def test_no_images_give_no_results():
    x, weight, g = np.empty((0, 5, 5, 4)), np.ones((3, 3, 3, 4)), np.empty((0, 5, 5, 3))
    assert winograd.forward(x, weight, None, STRIDE, (1, 1)).shape == (0, 5, 5, 3)
    to_x, to_weight = winograd.pullback(g, x, weight, STRIDE, (1, 1), (True, True))
    assert to_x.shape == x.shape
    assert_array_equal(to_weight, np.zeros_like(weight))


def test_results_of_one_call_survive_the_next():
    rng = np.random.default_rng(5)
    x, weight = rng.normal(size=(2, 8, 8, 32)), rng.normal(size=(32, 3, 3, 32))
    y = winograd.forward(x, weight, None, STRIDE, (1, 1))
    grads = winograd.pullback(y, x, weight, STRIDE, (1, 1), (True, True))
    kept = [a.copy() for a in (y, *grads)]
    winograd.pullback(2 * y, winograd.forward(2 * x, weight, None, STRIDE, (1, 1)), weight, STRIDE,
                      (1, 1), (True, True))  # fmt: skip
    for array, copy in zip((y, *grads), kept):
        assert_array_equal(array, copy)
