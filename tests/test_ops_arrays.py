"""Indexing and joining, against NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from operation_helpers import some_gradient

from geonet import Tensor, ops

# Indexing and joining -----------------------------------------------------------------------------

mask = np.arange(24).reshape(4, 3, 2) % 5 < 2
INDICES = [
    0,
    -1,
    np.int64(2),
    slice(1, 3),
    slice(None, None, -2),
    slice(3, 3),
    None,
    ...,
    (),
    (..., 1),
    (None, 2, ..., None),
    (slice(None), 1),
    (1, 2, 0),
    [0, 0, 3],
    np.array([[0, 1], [1, 1]]),
    np.array([], int),
    ([0, 3, 0], [1, 1, 1]),
    ([0, 3, 0], slice(None), 1),
    (slice(1), [2, 2], None),
    (np.array([[0], [2]]), np.array([1, 1, 0]), ...),
    mask,
    mask[:, :, 0],
    np.array([True, False, False, True]),
    (slice(None), np.array([False, True, True]), 0),
    np.zeros(4, bool),
]


def check_indexing(array, index):
    x = Tensor(array, requires_grad=True)
    y = x[index]
    assert np.array_equal(y.data, array[index])
    assert y.shape == array[index].shape
    weights = some_gradient(y.shape, float)
    y.backward(weights)
    taken = np.arange(array.size).reshape(array.shape)[index].ravel()
    expected = np.bincount(taken, weights.ravel(), minlength=array.size).reshape(array.shape)
    np.testing.assert_allclose(x.grad, expected, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("index", INDICES, ids=repr)
def test_indexing_is_that_of_numpy_and_every_use_of_an_entry_counts(index):
    check_indexing(np.random.default_rng(0).normal(size=(4, 3, 2)), index)


@given(st.data())
def test_indexing_by_any_slices_or_integer_arrays(data):
    shape = data.draw(hnp.array_shapes(max_dims=3, max_side=4))
    array = np.random.default_rng(0).normal(size=shape)
    check_indexing(array, data.draw(hnp.basic_indices(shape, allow_newaxis=True)))
    check_indexing(array, data.draw(hnp.integer_array_indices(shape)))


def test_an_index_may_be_a_tensor():
    x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    x[Tensor([0, 2, 0])].sum().backward()
    assert np.array_equal(x.grad, [2, 0, 1])
    assert np.array_equal(x[x > 1].data, [2, 3])


@pytest.mark.parametrize("axis", range(-3, 3))
def test_concatenate_is_that_of_numpy_along_every_axis(axis):
    shapes = [[2, 3, 4], [2, 3, 4], [2, 3, 4]]
    for length, shape in zip((1, 4, 0), shapes):
        shape[axis] = length
    arrays = [np.random.default_rng(0).normal(size=shape) for shape in shapes]
    tensors = [Tensor(a, requires_grad=True) for a in arrays]
    y = ops.concatenate([tensors[0], tensors[1], arrays[1], tensors[2]], axis=axis)
    assert np.array_equal(y.data, np.concatenate([*arrays[:2], *arrays[1:]], axis=axis))
    weights = some_gradient(y.shape, float)
    y.backward(weights)
    first, second, _, empty = np.split(weights, [1, 5, 9], axis)
    for tensor, piece in zip(tensors, (first, second, empty)):
        assert np.array_equal(tensor.grad, piece)


@pytest.mark.parametrize("axis", range(-3, 3))
def test_stack_is_that_of_numpy_along_every_axis(axis):
    a, b = np.random.default_rng(0).normal(size=(2, 2, 3))
    x = Tensor(a, requires_grad=True)
    y = ops.stack([x, b, x], axis=axis)
    assert np.array_equal(y.data, np.stack([a, b, a], axis=axis))
    weights = some_gradient(y.shape, float)
    y.backward(weights)
    assert np.array_equal(x.grad, weights.take(0, axis) + weights.take(2, axis))


def test_a_hook_reads_the_gradient_and_leaves_it():
    seen, x = [], Tensor(np.arange(3.0), requires_grad=True)
    y = ops.hook(x * x, seen.append)
    (y * np.array([1.0, 10.0, 100.0])).sum().backward()
    np.testing.assert_array_equal(y.data, x.data**2)
    np.testing.assert_array_equal(seen, [[1.0, 10.0, 100.0]])
    np.testing.assert_array_equal(x.grad, [0.0, 20.0, 400.0])


def test_a_hook_replaces_the_gradient():
    x = Tensor(np.arange(3.0), requires_grad=True)
    ops.hook(x, lambda g: np.clip(g, -1, 1)).sum().backward()
    np.testing.assert_array_equal(x.grad, np.ones(3))
    x.grad = None
    (ops.hook(x, lambda g: -g) * 5).sum().backward()
    np.testing.assert_array_equal(x.grad, np.full(3, -5.0))


def test_a_hook_that_gives_another_shape_is_named():
    x = Tensor(np.arange(3.0), requires_grad=True)
    with pytest.raises(ValueError, match="hook: the pullback to input 0 gives shape"):
        ops.hook(x, lambda g: np.ones(4)).sum().backward()
