"""Pooling operations: ties, windows, and arguments that make no sense."""

import numpy as np
import pytest
from operation_helpers import value_and_gradients

from geonet import Tensor, ops


def test_of_entries_that_tie_the_first_of_the_window_gets_the_gradient():
    x = np.array([[1.0, 3.0, 0.0, 0.0], [3.0, 3.0, 0.0, 0.0]])[None, :, :, None]
    for dtype in (np.float32, np.float64, np.complex128):
        image = Tensor(x.astype(dtype), requires_grad=True)
        ops.max_pool2d(image, 2).sum().backward()
        assert image.grad[0, :, :, 0].tolist() == [[0, 1, 1, 0], [0, 0, 0, 0]]


def test_the_stride_is_the_size_unless_given_and_what_fills_no_window_is_left_out():
    x = np.arange(2.0 * 7 * 5 * 3).reshape(2, 7, 5, 3)
    value, (gradient,) = value_and_gradients(ops.max_pool2d, (x, 2))
    assert value.shape == (2, 3, 2, 3)
    np.testing.assert_array_equal(value, ops.max_pool2d(x, 2, stride=2).data)
    np.testing.assert_array_equal(value, ops.max_pool2d(x[:, :6, :4], 2).data)
    assert not gradient[:, 6:].any()
    assert not gradient[:, :, 4:].any()


def test_the_mean_over_no_pixels_is_nan_and_goes_back_to_none():
    x = Tensor(np.ones((2, 0, 4, 3)), requires_grad=True)
    with pytest.warns(RuntimeWarning):  # as NumPy does
        y = ops.global_average_pool(x)
    assert np.isnan(y.data).all()
    y.backward(np.ones((2, 3)))  # and no warning
    assert x.grad.shape == x.shape


@pytest.mark.parametrize(
    ("shape", "window", "message"),
    [
        ((4, 4, 3), {"size": 2}, r"images \(N, H, W, C\), but is float64 of shape \(4, 4, 3\)"),
        ((1, 4, 2, 1), {"size": 3}, r"\(1, 4, 2, 1\).*size 3 with padding 0 needs .* 3 pixels"),
        ((1, 4, 1, 1), {"size": 4, "padding": 1}, "size 4 with padding 1 needs .* 2 pixels"),
        ((1, 4, 4, 1), {"size": 0}, "at least 1 .* are 0, 0 and 0"),
        ((1, 4, 4, 1), {"size": 2, "stride": 0}, "at least 1 .* are 2, 0 and 0"),
        ((1, 4, 4, 1), {"size": 3, "padding": 2}, "from 0 to size / 2, but are 3, 3 and 2"),
        ((1, 4, 4, 1), {"size": 3, "padding": -1}, "from 0 to size / 2, but are 3, 3 and -1"),
    ],
)
def test_windows_that_make_no_sense_are_refused(shape, window, message):
    with pytest.raises(ValueError, match=message) as error:
        ops.max_pool2d(np.zeros(shape), **window)
    assert "max_pool2d" in str(error.value)


def test_sizes_that_are_no_integers_are_refused():
    with pytest.raises(TypeError, match=r"must be integers, but are \(2, 1.5, 0\)"):
        ops.max_pool2d(np.zeros((1, 4, 4, 1)), 2, 1.5)


@pytest.mark.parametrize("shape", [(4, 4), (2, 4, 4)])
def test_global_average_pool_wants_images(shape):
    with pytest.raises(ValueError, match="global_average_pool: x must be images"):
        ops.global_average_pool(np.zeros(shape))
