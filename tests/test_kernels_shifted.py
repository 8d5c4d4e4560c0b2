"""Shifted products: the same as im2col, and where each place of a kernel meets the image."""

import numpy as np
import pytest
from convolution_helpers import Shapes, arrays, convolutions, relative_error
from hypothesis import given
from hypothesis import strategies as st

from geonet.kernels import im2col, shifted


def results(route, shapes, g, x, weight, bias):
    how = shapes.stride, shapes.padding
    return route.forward(x, weight, bias, *how), *route.pullback(g, x, weight, *how, (True, True))


@given(shapes=convolutions(), seed=st.integers(0, 99))
def test_it_is_im2col_to_rounding(shapes, seed):
    inputs = arrays(shapes, seed)
    for ours, plain in zip(results(shifted, shapes, *inputs), results(im2col, shapes, *inputs)):
        assert ours.shape == plain.shape
        np.testing.assert_allclose(ours, plain, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("place", "size", "image", "stride", "padding", "positions", "pixels"),
    [  # along one axis, where a = 0, 1, … of the output meets pixel a · stride + place − padding
        (0, 5, 5, 1, 1, [1, 2, 3, 4], [0, 1, 2, 3]),
        (1, 5, 5, 1, 1, [0, 1, 2, 3, 4], [0, 1, 2, 3, 4]),
        (2, 5, 5, 1, 1, [0, 1, 2, 3], [1, 2, 3, 4]),
        (0, 3, 6, 2, 1, [1, 2], [1, 3]),
        (1, 3, 6, 2, 1, [0, 1, 2], [0, 2, 4]),
        (0, 3, 1, 1, 3, [], []),  # a place that lies in the padding throughout
        (3, 2, 2, 5, 2, [0], [1]),
        (4, 2, 1, 3, 3, [], []),
    ],
)
def test_where_a_place_of_the_kernel_meets_pixels(
    place, size, image, stride, padding, positions, pixels
):
    where = shifted._overlap((place, 0), (size, 1), (image, 1), (stride, 1), (padding, 0))
    for index, expected, length in zip(where, (positions, pixels), (size, image)):
        assert list(np.arange(length)[index[1]]) == expected
        assert list(np.arange(1)[index[2]]) == [0]


def test_all_of_the_image_is_used_as_it_is():
    x = np.ones((2, 4, 3, 5))
    places = shifted._places((3, 3), (4, 3), (4, 3), (1, 1), (1, 1))
    assert places[0][0] == (1, 1)  # what meets all of the image comes first
    assert np.shares_memory(shifted._matrix("pixels", x[places[0][2]]), x)
    assert not np.shares_memory(shifted._matrix("pixels", x[places[1][2]]), x)


@pytest.mark.parametrize("block", [1, 100, 2**18])
@pytest.mark.parametrize("kernel", [(1, 1), (1, 2), (3, 3)])
def test_the_size_of_blocks_makes_no_difference(block, kernel, monkeypatch):
    shapes = Shapes((11, 6, 5, 2), (3, *kernel, 2), (2, 1), (0, 0))
    inputs = arrays(shapes)
    expected = results(im2col, shapes, *inputs)
    monkeypatch.setattr(shifted, "BLOCK_SIZE", block)
    for ours, plain in zip(results(shifted, shapes, *inputs), expected):
        assert relative_error(ours, plain) < 1e-13


@pytest.mark.parametrize("needs", [(True, True), (True, False), (False, True), (False, False)])
def test_only_what_is_needed_is_given(needs):
    shapes = Shapes((2, 5, 4, 3), (2, 3, 3, 3))
    g, x, weight, _ = arrays(shapes)
    gradients = shifted.pullback(g, x, weight, shapes.stride, shapes.padding, needs)
    assert tuple(gradient is not None for gradient in gradients) == needs
