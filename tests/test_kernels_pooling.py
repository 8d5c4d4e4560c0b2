"""Pooling: compiled and plain forms agree with plain loops and with PyTorch."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geonet.kernels import blocks, pooling, reference

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@st.composite
def problems(draw):
    """Shape, (size, stride, padding) and a seed; also batches of 1 and images of one window."""
    size, stride = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    padding = draw(st.integers(0, size // 2))
    smallest = max(1, size - 2 * padding)
    lengths = draw(st.tuples(*[st.integers(smallest, smallest + 5)] * 2))
    shape = (draw(st.integers(1, 3)), *lengths, draw(st.integers(1, 4)))
    return shape, (size, stride, padding), draw(st.integers(0, 2**32 - 1))


def numbers(shape, seed, dtype, ties=False):
    """Normal numbers, or few different ones, so that many tie."""
    rng = np.random.default_rng(seed)
    return (rng.integers(-1, 2, shape) if ties else rng.normal(size=shape)).astype(dtype)


def windows(shape, size, stride, padding):
    """(place in y, entries of the window in x row by row, None for padding) of the first image's
    windows; the plain meaning of all that is tested here."""
    _, height, width, _ = shape
    starts = [range(-padding, n + padding - size + 1, stride) for n in (height, width)]
    for (i, top), (j, left) in itertools.product(*map(enumerate, starts)):
        entries = itertools.product(range(top, top + size), range(left, left + size))
        yield (i, j), [(h, w) if 0 <= h < height and 0 <= w < width else None for h, w in entries]


@DTYPES
@given(problems(), st.booleans())
def test_max_pool_takes_the_first_of_the_largest_entries_of_each_window(dtype, problem, ties):
    shape, window, seed = problem
    x = numbers(shape, seed, dtype, ties)
    for form in (pooling.max_pool, reference.max_pool):
        y, position = form(x, *window)
        assert y.dtype == dtype
        assert y.shape == position.shape == pooling.pooled_shape(shape, *window)
        found = list(windows(shape, *window))
        assert len(found) == y.shape[1] * y.shape[2]
        for (i, j), entries in found:
            inside = [k for k, place in enumerate(entries) if place is not None]
            values = np.array([x[(slice(None), *entries[k])] for k in inside])  # (k, N, C)
            np.testing.assert_array_equal(y[:, i, j], values.max(axis=0))
            np.testing.assert_array_equal(position[:, i, j], np.take(inside, values.argmax(axis=0)))


@DTYPES
@given(problems(), st.booleans())
def test_max_pool_passes_each_gradient_to_the_entry_that_was_taken(dtype, problem, ties):
    shape, window, seed = problem
    _, position = pooling.max_pool(numbers(shape, seed, dtype, ties), *window)
    g = numbers(position.shape, seed + 1, dtype)
    expected = np.zeros(shape)
    for (i, j), entries in windows(shape, *window):
        for k, place in enumerate(entries):
            if place is not None:
                expected[(slice(None), *place)] += g[:, i, j] * (position[:, i, j] == k)
    for form in (pooling.max_pool_pullback, reference.max_pool_pullback):
        grad = form(g, position, shape, *window)
        assert grad.dtype == dtype
        np.testing.assert_allclose(grad, expected, rtol=1e-6, atol=1e-6)


@settings(max_examples=20)
@given(problems())
def test_the_layout_in_memory_makes_no_difference(problem):
    shape, window, seed = problem
    x = numbers(shape, seed, np.float64)
    y, position = pooling.max_pool(x, *window)
    for other in (np.asfortranarray(x), np.flip(np.flip(x).copy()), np.repeat(x, 2, 2)[:, :, ::2]):
        for ours, expected in zip(pooling.max_pool(other, *window), (y, position)):
            np.testing.assert_array_equal(ours, expected)
    g = np.asfortranarray(y)
    grad = pooling.max_pool_pullback(y, position, shape, *window)
    np.testing.assert_array_equal(pooling.max_pool_pullback(g, position, shape, *window), grad)


@settings(max_examples=20)
@given(problems())
def test_neither_threads_nor_blocks_change_anything(problem):
    shape, window, seed = problem
    x = numbers(shape, seed, np.float32)

    def everything():
        y, position = pooling.max_pool(x, *window)
        return y, position, pooling.max_pool_pullback(y, position, shape, *window)

    whole = everything()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_SIZE", 1)  # every image is a block
        patch.setenv("GEONET_THREADS", "2")
        for ours, expected in zip(everything(), whole):
            np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("form", [pooling.max_pool, reference.max_pool])
def test_nan_is_passed_on_with_the_place_where_it_first_stands(form):
    x = np.array([[1.0, np.nan], [np.nan, 2.0]]).reshape(1, 2, 2, 1)
    y, position = form(x, 2, 2, 0)
    assert np.isnan(y).all()
    assert position.item() == 1


def test_positions_are_of_one_byte_up_to_windows_of_16():
    x = np.arange(17.0 * 17).reshape(1, 17, 17, 1)
    y, position = pooling.max_pool(x, 16, 1, 0)
    assert position.dtype == np.uint8
    assert np.all(position == 255)
    y, position = pooling.max_pool(x, 17, 1, 0)
    assert position.item() == 288
    grad = pooling.max_pool_pullback(y, position, x.shape, 17, 1, 0)
    np.testing.assert_array_equal(grad, np.where(x == x.max(), x, 0))


@settings(max_examples=30)
@given(problems(), st.booleans())
def test_values_and_gradients_are_those_of_pytorch(torch, problem, ties):
    shape, window, seed = problem
    x = numbers(shape, seed, np.float64, ties)
    theirs = torch.tensor(x.transpose(0, 3, 1, 2), requires_grad=True)
    y, position = pooling.max_pool(x, *window)
    g = numbers(y.shape, seed + 1, np.float64)
    grad = pooling.max_pool_pullback(g, position, shape, *window)
    their_value = torch.nn.functional.max_pool2d(theirs, *window)
    their_value.backward(torch.tensor(g.transpose(0, 3, 1, 2)))
    for ours, other in ((y, their_value.detach()), (grad, theirs.grad)):
        np.testing.assert_allclose(ours.transpose(0, 3, 1, 2), other.numpy(), atol=1e-12)
