"""Reductions, indexing and joining, against NumPy."""

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from operation_helpers import some_gradient

from geonet import Tensor, ops

# Reductions ---------------------------------------------------------------------------------------

AXES = [None, 0, -1, 1, (), (0,), (-1,), (0, 1), (0, -2), (0, 0), 5, np.int64(0), (np.int64(-1),)]


def outcome(function, x, options):
    """What NumPy or geonet makes of x: an array, its warnings and its error."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            value, error = function(x, **options), None
        except (ValueError, TypeError, IndexError) as raised:
            value, error = None, type(raised)
    return value, {str(warning.message).replace("scalar ", "") for warning in caught}, error


@pytest.mark.parametrize("name", ["sum", "mean", "var", "max", "min"])
@pytest.mark.parametrize("shape", [(), (3,), (0,), (2, 3), (0, 3), (3, 0), (1, 2, 3)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions_take_and_refuse_what_numpy_does_and_those_taken_go_back(name, shape, keepdims):
    array = np.asarray(np.random.default_rng(0).normal(size=shape))
    choices = [{"ddof": ddof} for ddof in (0, 1, 0.5, 3, 7)] if name == "var" else [{}]
    taken = 0
    for axis, choice in itertools.product(AXES, choices):
        options = {"axis": axis, "keepdims": keepdims, **choice}
        expected, expected_warnings, expected_error = outcome(getattr(np, name), array, options)
        x = Tensor(array, requires_grad=True)
        y, given_warnings, error = outcome(getattr(ops, name), x, options)
        assert (error, given_warnings) == (expected_error, expected_warnings), options
        if error is None:
            np.testing.assert_allclose(y.data, expected, rtol=1e-13)
            assert y.shape == np.shape(expected)
            y.backward(np.ones(y.shape))  # and no warning
            assert x.grad.shape == shape
            taken += 1
    assert taken


@pytest.mark.parametrize("ddof", [3, 4, 3.5])
def test_a_variance_without_degrees_of_freedom_has_no_gradient(ddof):
    for dtype in (np.float32, np.float64, np.complex128):
        x = Tensor(np.array([[1, 2, 4], [5, 5, 5]], dtype), requires_grad=True)
        with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            y = ops.var(x, axis=1, ddof=ddof)
        np.testing.assert_array_equal(y.data.real, [np.inf, np.nan])
        y.backward(np.ones(2))
        assert np.isnan(x.grad).all()
        assert x.grad.dtype == dtype


def test_the_largest_of_numbers_with_minus_infinity_has_its_complex_derivative():
    x = Tensor(np.array([-np.inf, 1 + 1e-20j, 0]), requires_grad=True)
    assert ops.max(x).item() == 1 + 1e-20j


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
    True,
    (0, np.array(False)),
    [],
    (slice(None), None, [0, -1]),
    (np.array(3, np.uint8), slice(None, None, -1)),
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
def test_indexing_by_any_slices_masks_integer_arrays_and_mixtures(data):
    shape = data.draw(hnp.array_shapes(max_dims=3, max_side=4))
    array = np.random.default_rng(0).normal(size=shape)
    check_indexing(array, data.draw(hnp.basic_indices(shape, allow_newaxis=True)))
    check_indexing(array, data.draw(hnp.integer_array_indices(shape)))
    check_indexing(array, data.draw(hnp.arrays(bool, shape)))
    mask, rows = data.draw(hnp.arrays(bool, shape[0])), st.integers(-shape[0], shape[0] - 1)
    places = data.draw(st.lists(rows, min_size=1, max_size=6))
    check_indexing(array, mask.tolist())
    check_indexing(array, (None, mask, ...))
    check_indexing(np.stack([array, -array], 1), (places, data.draw(st.sampled_from([0, [1]]))))


@pytest.mark.parametrize("index", [(), ..., None, True, np.array(False), (None, ..., None)])
def test_numbers_are_indexed_as_arrays_without_axes(index):
    check_indexing(np.array(3.0), index)


def test_an_index_may_be_a_tensor():
    x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    x[Tensor([0, 2, 0])].sum().backward()
    assert np.array_equal(x.grad, [2, 0, 1])
    assert np.array_equal(x[x > 1].data, [2, 3])
    assert np.array_equal(x[None, Tensor([0, 2])].data, [[1, 3]])


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


def test_concatenate_without_an_axis_takes_all_entries_in_order():
    numbers = Tensor(2.0, requires_grad=True), Tensor([[1.0, 3.0], [0.0, 4.0]], requires_grad=True)
    y = ops.concatenate([*numbers, [[5.0], [6.0]]], axis=None)
    assert y.data.tolist() == [2, 1, 3, 0, 4, 5, 6]
    y.backward(np.arange(7.0))
    assert numbers[0].grad == 0
    assert numbers[1].grad.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("join", "arrays", "axis", "message"),
    [
        (ops.concatenate, [], 0, "at least one array"),
        (ops.stack, [], 0, "at least one array"),
        (ops.concatenate, [np.ones(()), np.ones(())], 0, "zero-dimensional arrays cannot be"),
        (ops.concatenate, [np.ones(2)], 1, "axis 1 is out of bounds"),
        (ops.stack, [np.ones(2)], 2, "axis 2 is out of bounds"),
        (ops.stack, [np.ones(2)], -3, "axis -3 is out of bounds"),
        (ops.concatenate, [np.ones((2, 3)), np.ones((2, 4))], 0, "array dimensions except"),
        (ops.stack, [np.ones(2), np.ones((1, 2))], -1, "same number of dimensions"),
    ],
)
def test_what_cannot_be_joined_is_refused_as_by_numpy(join, arrays, axis, message):
    with pytest.raises(ValueError, match=message):
        join(arrays, axis)


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


def test_a_hook_cannot_change_the_gradient_of_others_in_place():
    x, y, given = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0]), np.ones(2)

    def halve(g):
        g *= 0.5

    with pytest.raises(ValueError, match="read-only"):
        (ops.hook(x, halve) + y).backward(given)
    assert np.array_equal(given, [1, 1])


def test_a_hook_that_gives_another_shape_is_named():
    x = Tensor(np.arange(3.0), requires_grad=True)
    with pytest.raises(ValueError, match="hook: the pullback to input 0 gives shape"):
        ops.hook(x, lambda g: np.ones(4)).sum().backward()
