"""Convolution by shifted products: the sum over windows, however the batch is cut up."""

import numpy as np
import pytest
from convolution_helpers import (
    Shapes,
    arrays,
    convolutions,
    plain_conv2d,
    plain_pullback,
    relative_error,
)
from hypothesis import given
from hypothesis import strategies as st

from geonet.kernels import shifted_products as shifted

BOTH = (True, True)


def results(shapes, g, x, weight, bias):
    how = shapes.stride, shapes.padding
    return shifted.forward(x, weight, bias, *how), *shifted.pullback(g, x, weight, *how, BOTH)


def expected(shapes, g, x, weight, bias):
    how = shapes.stride, shapes.padding
    return plain_conv2d(x, weight, bias, *how), *plain_pullback(g, x, weight, *how)


@given(shapes=convolutions(), seed=st.integers(0, 99))
def test_it_is_the_sum_over_windows_to_rounding(shapes, seed):
    inputs = arrays(shapes, seed)
    for ours, plain in zip(results(shapes, *inputs), expected(shapes, *inputs)):
        assert ours.shape == plain.shape
        np.testing.assert_allclose(ours, plain, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("block", [1, 100, 2**18])
@pytest.mark.parametrize("kernel", [(1, 1), (1, 2), (3, 3)])
def test_the_size_of_blocks_makes_no_difference(block, kernel, monkeypatch):
    shapes = Shapes((11, 6, 5, 2), (3, *kernel, 2), (2, 1), (0, 0))
    inputs = arrays(shapes)
    monkeypatch.setattr(shifted, "BLOCK_SIZE", block)
    for ours, plain in zip(results(shapes, *inputs), expected(shapes, *inputs)):
        assert relative_error(ours, plain) < 1e-13
