"""im2col is the convolution's sum, and its pullback the transpose; all other routes rest on it."""

import numpy as np
import pytest
from convolution_helpers import Shapes, arrays, convolutions, plain_conv2d, plain_pullback
from hypothesis import given
from hypothesis import strategies as st
from kernel_helpers import of_compiled_code

from geonet import threads
from geonet.kernels import im2col


@given(
    length=st.integers(5, 30),
    side=st.integers(1, 5),
    stride=st.integers(1, 4),
    pad=st.integers(0, 3),
)
def test_output_size_is_the_number_of_places_where_the_kernel_fits(length, side, stride, pad):
    places = [a for a in range(0, length + 2 * pad, stride) if a + side <= length + 2 * pad]
    assert im2col.output_size((length, 7), (side, 7), (stride, 1), (pad, 0)) == (len(places), 1)


@given(first=st.integers(0, 9), length=st.integers(0, 70), images=st.integers(0, 20))
def test_stretches_cover_all_images_once_and_are_of_nearly_equal_length(first, length, images):
    found = im2col.stretches(first, first + length, images)
    assert [n for start, end in found for n in range(start, end)] == [*range(first, first + length)]
    lengths = [end - start for start, end in found]
    assert max(lengths, default=0) <= max(images, 1)
    assert len(lengths) <= -(-length // max(images, 1))  # no more than must be


@given(shapes=convolutions(), seed=st.integers(0, 99))
def test_it_is_the_sum_over_windows_and_its_transpose(shapes, seed):
    g, x, weight, bias = arrays(shapes, seed)
    how = shapes.stride, shapes.padding
    y = im2col.forward(x, weight, bias, *how)
    np.testing.assert_allclose(y, plain_conv2d(x, weight, bias, *how), rtol=1e-12, atol=1e-13)
    gradients = im2col.pullback(g, x, weight, *how, (True, True))
    for ours, plain in zip(gradients, plain_pullback(g, x, weight, *how)):
        np.testing.assert_allclose(ours, plain, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("block", [1, 100, 2**18])
def test_the_size_of_blocks_makes_no_difference(block, monkeypatch):
    shapes = Shapes((11, 6, 5, 2), (3, 3, 2, 2), (2, 1), (1, 1))
    g, x, weight, bias = arrays(shapes)
    how = shapes.stride, shapes.padding
    monkeypatch.setattr(im2col, "BLOCK_SIZE", block)
    y = im2col.forward(x, weight, bias, *how)
    np.testing.assert_allclose(y, plain_conv2d(x, weight, bias, *how), rtol=1e-12, atol=1e-13)
    gradients = im2col.pullback(g, x, weight, *how, (True, True))
    for ours, plain in zip(gradients, plain_pullback(g, x, weight, *how)):
        np.testing.assert_allclose(ours, plain, rtol=1e-12, atol=1e-13)


@of_compiled_code
def test_the_number_of_windows_in_memory_does_not_grow_with_the_batch(monkeypatch):
    taken = []
    scratch = threads.scratch
    monkeypatch.setattr(
        threads, "scratch", lambda name, *rest: taken.append(scratch(name, *rest)) or taken[-1]
    )
    for images in (32, 128):
        shapes = Shapes((images, 16, 16, 8), (4, 3, 3, 8), padding=(1, 1))
        g, x, weight, _ = arrays(shapes, dtype=np.float32)
        im2col.forward(x, weight, None, shapes.stride, shapes.padding)
        im2col.pullback(g, x, weight, shapes.stride, shapes.padding, (True, True))
    assert max(array.size for array in taken) <= im2col.BLOCK_SIZE
