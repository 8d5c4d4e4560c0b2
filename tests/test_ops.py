"""Every operation: its value, its gradients, and the promises that all of them keep.

Most tests run over `geonet.ops.OPERATIONS` and the examples that each operation gives of itself, so
that a new operation is tested without a line here.
"""

import gc
import inspect
import math
import sys
import weakref

import numpy as np
import pytest
from convolution_helpers import plain_conv2d
from hypothesis import given, settings
from hypothesis import strategies as st
from operation_helpers import (
    convert,
    is_floating,
    plain_direction,
    some_gradient,
    value_and_gradients,
    whole,
)

from geonet import METHODS, Tensor, ops
from geonet.check.gradcheck import check_operation, examples
from geonet.models import vgg6

every_operation = pytest.mark.parametrize("name", sorted(ops.OPERATIONS))


# Values -------------------------------------------------------------------------------------------


def plain_softmax(x, axis=-1):
    return np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)


def plain_windows(x, size, padding_value, stride=None, padding=0):
    """(N, H', W', C, size²): the entries of each window."""
    widths = (0, 0), (padding, padding), (padding, padding), (0, 0)
    padded = np.pad(x, widths, constant_values=padding_value)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))
    stride = size if stride is None else stride
    windows = windows[:, ::stride, ::stride]
    return windows.reshape(*windows.shape[:4], size * size)


def batch_axes(x):
    return tuple(range(x.ndim - 1))


def normalized(x, gamma, beta, eps, axes):
    std = np.sqrt(x.var(axis=axes, keepdims=True) + eps)
    return gamma * (x - x.mean(axis=axes, keepdims=True)) / std + beta


def scaled_relu(z, bias, scale=1):
    return scale * np.where(z + bias > 0, z + bias, 0)


def centre(x, shift=0):
    return x - x.mean(axis=batch_axes(x)) + shift


def conv2d(x, weight, bias=0, stride=1, padding=0, route=None):
    if 0 in weight.shape:
        raise ValueError("no filters")
    return plain_conv2d(x, weight, bias, *np.broadcast_arrays([0, 0], stride, padding)[1:])


FORMULAS = {
    "relu": lambda x: np.where(x > 0, x, 0),
    "leaky_relu": lambda x, slope: np.where(x > 0, x, slope * x),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.log(1 + np.exp(x)),
    "log_softmax": lambda x: np.log(plain_softmax(x)) if x.ndim else np.zeros(()),
    "getitem": lambda x, index: x[index],
    "join": lambda *arrays, axis: np.concatenate(arrays, axis),
    "linear": lambda x, weight, bias=0: np.einsum("...n,on->...o", x, weight) + bias,
    "conv2d": conv2d,
    "scaled_relu": scaled_relu,
    "centred_scaled_relu": lambda *arrays: centre(scaled_relu(*arrays)),
    "max_pool2d": lambda x, size, **options: plain_windows(x, size, -np.inf, **options).max(-1),
    "global_average_pool": lambda x: x.mean(axis=(1, 2)),
    "batch_norm": lambda x, gamma, beta, eps: normalized(x, gamma, beta, eps, batch_axes(x)),
    "layer_norm": lambda x, gamma, beta, eps: normalized(x, gamma, beta, eps, -1),
    "centre": centre,
    "weight_norm": lambda v, length: np.array(
        [scale * row / np.linalg.norm(row) for row, scale in zip(v, length)]
    ).reshape(v.shape),
    "hyperspherical": plain_direction,
    "mse": lambda prediction, target: np.mean((prediction - target) ** 2),
    "mae": lambda prediction, target: np.mean(np.abs(prediction - target)),
    "cross_entropy": lambda logits, labels, smoothing=0: (
        -np.mean(
            [
                (1 - smoothing) * math.log(row[label]) + smoothing * np.log(row).mean()
                for row, label in zip(plain_softmax(logits), labels)
            ]
        )
    ),
    "binary_cross_entropy": lambda logits, targets: (
        -np.mean(
            targets * np.log(1 / (1 + np.exp(-logits)))
            + (1 - targets) * np.log(1 / (1 + np.exp(logits)))
        )
    ),
}


def test_every_operation_and_nothing_else_is_public():
    """What modules of operations define without an underscore, with a pullback or without."""
    defined = {
        name
        for module in map(sys.modules.get, list(sys.modules))
        if module.__name__.startswith("geonet.ops.")
        for name, function in vars(module).items()
        if getattr(function, "__module__", None) == module.__name__ and not name.startswith("_")
    }
    assert set(ops.__all__) == defined | {"OPERATIONS"}
    assert set(ops.OPERATIONS) == defined - {"concatenate", "stack", "batch_moments"}
    for name, operation in ops.OPERATIONS.items():
        assert getattr(ops, name) is operation


REFERENCES = {n: getattr(np, n) for n in ops.OPERATIONS if hasattr(np, n)} | FORMULAS


@pytest.mark.parametrize("name", sorted(REFERENCES))
@given(seed=st.integers(0, 9))
def test_value_is_that_of_numpy_or_of_the_plain_formula(name, seed):
    operation = ops.OPERATIONS[name]
    for arguments, options in examples(operation, np.random.default_rng(seed)):
        value = operation(*arguments, **options).data
        expected = np.asarray(REFERENCES[name](*arguments, **options))
        np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-14, strict=True)


# Gradients ----------------------------------------------------------------------------------------


@every_operation
@settings(max_examples=8)  # all eight seeds
@given(seed=st.integers(0, 7))
def test_gradients_are_the_numeric_ones(name, seed):
    report = check_operation(ops.OPERATIONS[name], np.random.default_rng(seed), tolerance=1e-12)
    assert report.entries > 0
    assert report.complex <= 1e-12  # NaN, had the complex step not run
    assert report.central <= 1e-6


@every_operation
def test_gradients_are_given_for_every_floating_argument(name):
    """Nothing is checked by default: no example hides an input from the check."""
    operation = ops.OPERATIONS[name]
    for arguments, options in examples(operation, np.random.default_rng(0)):
        assert any(is_floating(a) for a in arguments)
        _, gradients = value_and_gradients(operation, arguments, options)
        floating = [a for a in arguments if is_floating(a)]
        assert [g.shape for g in gradients] == [a.shape for a in floating]
        assert all(g.dtype == np.float64 for g in gradients)


@every_operation
def test_one_input_alone_gets_the_same_gradient(name):
    operation = ops.OPERATIONS[name]
    for arguments, options in examples(operation, np.random.default_rng(1)):
        _, together = value_and_gradients(operation, arguments, options)
        for i, argument in enumerate(arguments):
            if is_floating(argument):
                x = Tensor(argument, requires_grad=True)
                y = operation(*arguments[:i], x, *arguments[i + 1 :], **options)
                y.backward(some_gradient(y.shape, y.dtype))
                np.testing.assert_array_equal(x.grad, together.pop(0))


# Promises that all keep ---------------------------------------------------------------------------


def strided(array):
    """The same entries, two apart along every axis."""
    spread = np.full([2 * length for length in array.shape], np.nan, array.dtype)
    view = spread[(..., *[slice(None, None, 2)] * array.ndim)]
    view[...] = array
    return view


def backwards(array):
    """The same entries, stored from the last to the first."""
    return np.flip(np.flip(array).copy())[...] if array.ndim else array


@every_operation
@pytest.mark.parametrize("layout", [strided, backwards, np.asfortranarray])
def test_the_layout_in_memory_makes_no_difference(name, layout):
    operation = ops.OPERATIONS[name]
    for arguments, options in examples(operation, np.random.default_rng(2)):
        value, gradients = value_and_gradients(operation, arguments, options)
        changed = convert(arguments, layout)
        other_value, other_gradients = value_and_gradients(operation, changed, options)
        np.testing.assert_allclose(other_value, value, rtol=1e-13, atol=1e-14)
        for other, gradient in zip(other_gradients, gradients):
            np.testing.assert_allclose(other, gradient, rtol=1e-13, atol=1e-14)


@every_operation
def test_nothing_that_an_operation_is_given_is_changed(name):
    """Neither inputs going forward, nor the gradient or the value going backward. The function is
    called as the engine calls it, for the engine itself hands on one array to several users."""
    function = inspect.unwrap(ops.OPERATIONS[name])
    for arguments, options in examples(ops.OPERATIONS[name], np.random.default_rng(3)):
        arguments = convert(arguments, np.copy)
        value, pullback = function(*arguments, **options)
        value = np.asarray(value)
        gradient = some_gradient(value.shape, value.dtype)
        given = [a for a in (*arguments, value, gradient) if isinstance(a, np.ndarray)]
        before = [array.copy() for array in given]
        if callable(pullback):
            pullback(gradient, (True,) * len(arguments))
        else:
            for pull_back in filter(None, pullback):
                pull_back(gradient)
        for array, copy in zip(given, before):
            np.testing.assert_array_equal(array, copy)


@every_operation
def test_read_only_arrays_are_as_good(name):
    operation = ops.OPERATIONS[name]
    for arguments, options in examples(operation, np.random.default_rng(3)):
        expected, gradients = value_and_gradients(operation, arguments, options)
        for array in (arguments := convert(arguments, np.copy)):
            if isinstance(array, np.ndarray):
                array.flags.writeable = False
        value, others = value_and_gradients(operation, arguments, options)
        np.testing.assert_array_equal(value, expected)
        for other, gradient in zip(others, gradients, strict=True):
            np.testing.assert_array_equal(other, gradient)


@pytest.mark.parametrize(
    "operation",
    [
        ops.relu,
        ops.centre,
        ops.global_average_pool,
        lambda x: ops.scaled_relu(x, np.zeros(3)),
        lambda x: ops.max_pool2d(x, 2),
    ],
)
def test_operations_that_can_do_without_their_large_input_let_it_go(operation):
    x = Tensor(np.ones((1, 4, 4, 3)), requires_grad=True)
    image = 2 * x
    alive = weakref.ref(image.data)
    y = operation(image)
    del image
    gc.collect()
    assert alive() is None
    y.backward(np.ones(y.shape))
    assert x.grad.shape == x.shape


@every_operation
def test_float32_stays_float32_and_near_float64(name):
    operation = ops.OPERATIONS[name]
    for arguments, options in examples(operation, np.random.default_rng(4)):
        single = convert(arguments, lambda a: a.astype(np.float32))
        double = convert(single, lambda a: a.astype(np.float64))
        value, gradients = value_and_gradients(operation, single, options)
        expected, expected_gradients = value_and_gradients(operation, double, options)
        assert value.dtype == np.float32
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-5)
        for gradient, reference in zip(gradients, expected_gradients, strict=True):
            assert gradient.dtype == np.float32
            np.testing.assert_allclose(gradient, reference, rtol=2e-5, atol=2e-5)


@every_operation
def test_pullbacks_take_complex_numbers_so_that_hessians_come_out_symmetric(name):
    """Im ∇L(x + ih a)/h is the Hessian times a, and b·(H a) = a·(H b)."""
    operation, rng = ops.OPERATIONS[name], np.random.default_rng(5)
    for arguments, options in examples(operation, rng):
        places = [i for i, a in enumerate(arguments) if is_floating(a)]
        value, gradients = value_and_gradients(operation, arguments, options)
        directions = [[rng.normal(size=arguments[i].shape) for i in places] for _ in range(2)]
        products = []
        for direction in directions:
            inputs = list(arguments)
            for i, d in zip(places, direction):
                inputs[i] = Tensor(arguments[i] + 1e-20j * d, requires_grad=True)
            operation(*inputs, **options).backward(some_gradient(value.shape, float))
            for i, gradient in zip(places, gradients):
                np.testing.assert_allclose(inputs[i].grad.real, gradient, rtol=1e-12, atol=1e-14)
            products.append([inputs[i].grad.imag / 1e-20 for i in places])
        terms = [
            math.fsum(np.sum(p * d) for p, d in zip(product, direction))
            for product, direction in zip(products, reversed(directions))
        ]
        assert terms[0] == pytest.approx(terms[1], rel=1e-9, abs=1e-11)


# Numbers of any kind, and no numbers --------------------------------------------------------------

small_types = pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16])


def as_floating(arguments, like, dtype=np.float64):
    """The arguments that are floating in `like`, converted."""
    return [np.asarray(a, dtype) if is_floating(b) else a for a, b in zip(arguments, like)]


@every_operation
@pytest.mark.parametrize(
    "dtype", [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.int64, bool]
)
def test_whole_numbers_are_taken_as_the_numbers_that_they_are(name, dtype):
    operation = ops.OPERATIONS[name]
    if (name, dtype) == ("max_pool2d", bool):
        pytest.skip("a mask is no image")
    for arguments, options in examples(operation, np.random.default_rng(6)):
        numbers = whole(operation, arguments, dtype)
        with np.errstate(all="ignore"):
            value = operation(*numbers, **options).data
            expected = operation(*as_floating(numbers, arguments), **options).data
            tensors = [Tensor(a) if is_floating(b) else a for a, b in zip(numbers, arguments)]
            np.testing.assert_array_equal(operation(*tensors, **options).data, value)
        np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-10)


@every_operation
@small_types
@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_whole_numbers_beside_floating_ones_are_the_same_as_floating(name, dtype, precision):
    """Here the first of several floating arguments, such as the images beside the filters."""
    operation = ops.OPERATIONS[name]
    for arguments, options in examples(operation, np.random.default_rng(7)):
        places = [i for i, a in enumerate(arguments) if is_floating(a)]
        if len(places) > 1:
            mixed = convert(arguments, lambda a: a.astype(precision))
            mixed[places[0]] = whole(operation, arguments, dtype)[places[0]]
            value, gradients = value_and_gradients(operation, mixed, options)
            same = as_floating(mixed, arguments, precision)
            expected, expected_gradients = value_and_gradients(operation, same, options)
            np.testing.assert_array_equal(value, expected, strict=True)
            for gradient, reference in zip(gradients, expected_gradients[1:], strict=True):
                np.testing.assert_array_equal(gradient, reference, strict=True)


@every_operation
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_in_the_other_byte_order_are_the_same_numbers(name, dtype):
    operation = ops.OPERATIONS[name]
    for arguments, options in examples(operation, np.random.default_rng(8)):
        native = convert(arguments, lambda a: a.astype(dtype))
        swapped = convert(native, lambda a: a.astype(a.dtype.newbyteorder()))
        expected, expected_gradients = value_and_gradients(operation, native, options)
        value, gradients = value_and_gradients(operation, swapped, options)
        for found in (value, operation(*swapped, **options).data):
            np.testing.assert_array_equal(found, expected, strict=True)
            assert found.dtype.isnative
        for gradient, reference in zip(gradients, expected_gradients, strict=True):
            np.testing.assert_array_equal(gradient, reference, strict=True)


# A mean over no rows is refused, not NaN with a warning.
NEED_ROWS = {"batch_norm", "centre", "centred_scaled_relu"}
NEED_FEATURES = {*NEED_ROWS, "scaled_relu"}  # which a formula broadcasts to a single number


def check_as_numpy(name, arguments, options, refused=()):
    """What NumPy or the plain formula gives, and a refusal where they refuse."""
    operation = ops.OPERATIONS[name]
    try:
        expected = np.asarray(REFERENCES[name](*arguments, **options))
    except (ValueError, IndexError, TypeError):
        expected = None
    if expected is None or name in refused:
        with pytest.raises((ValueError, IndexError), match="features" if name in refused else None):
            value_and_gradients(operation, arguments, options)
        return
    value, gradients = value_and_gradients(operation, arguments, options)
    np.testing.assert_allclose(value, expected, rtol=1e-12, strict=True)
    floating = [a for a in arguments if is_floating(a)]
    assert [g.shape for g in gradients] == [a.shape for a in floating]


@pytest.mark.parametrize("name", sorted(REFERENCES))
@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:Degrees of freedom")
def test_arrays_without_rows_give_what_numpy_gives(name):
    for arguments, options in examples(ops.OPERATIONS[name], np.random.default_rng(9)):
        lengths = [len(a) if isinstance(a, np.ndarray) and a.ndim else None for a in arguments]
        empty = [a[:0] if n and n == lengths[0] else a for a, n in zip(arguments, lengths)]
        with np.errstate(invalid="ignore", divide="ignore"):
            check_as_numpy(name, empty, options, NEED_ROWS)


@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_arrays_without_axes_give_what_numpy_gives(name):
    for arguments, options in examples(ops.OPERATIONS[name], np.random.default_rng(10)):
        if all(a.size for a in arguments if is_floating(a)):
            check_as_numpy(
                name, convert(arguments, lambda a: np.array(a.flat[0])), options, NEED_FEATURES
            )


@pytest.mark.parametrize("method", METHODS)
@small_types
def test_a_network_takes_pictures_of_whole_numbers_as_they_are(method, dtype):
    rng = np.random.default_rng(11)
    model = vgg6(method, widths=(4, 4, 6), num_classes=3, rng=rng)
    info = np.iinfo(dtype)
    pictures = rng.integers(info.min, info.max + 1, (2, 32, 32, 3)).astype(dtype)
    labels = np.array([2, 0], np.uint8)
    found = []
    for images in (pictures, pictures.astype(np.float32)):
        for parameter in model.parameters():
            parameter.grad = None
        loss = ops.cross_entropy(model(images), labels)
        loss.backward()
        assert loss.dtype == np.float32
        found.append([loss.data, *(p.grad for p in model.parameters())])
    for array, expected in zip(*found):
        np.testing.assert_array_equal(array, expected)


# Errors -------------------------------------------------------------------------------------------


def zeros(*shapes):
    return [np.zeros(shape) for shape in shapes]


@pytest.mark.parametrize(
    ("operation", "arguments", "both"),
    [
        (ops.linear, zeros((5, 4), (2, 3)), r"linear: x has shape \(5, 4\).*\(2, 3\)"),
        (ops.linear, zeros((), (2, 3)), r"linear: x has shape \(\).*\(2, 3\)"),
        (ops.linear, zeros((5, 3), (2, 3), 3), r"linear: bias has shape \(3,\).*\(2, 3\)"),
        (ops.linear, zeros((2, 3), (2, 3), (2, 1)), r"bias has shape \(2, 1\).*\(2, 3\)"),
        (ops.scaled_relu, zeros((5, 3), 2, 3), r"shape \(5, 3\), so bias .*\(3,\).*\(2,\)"),
        (ops.scaled_relu, zeros((5, 3), 3, (3, 1)), r"shape \(5, 3\), so scale .*\(3, 1\)"),
        (ops.scaled_relu, zeros((), (), ()), r"last axis .* has shape \(\)"),
        (ops.matmul, zeros((2, 3), (2, 3)), r"matmul: x .*\(2, 3\).*y .*\(2, 3\)"),
        (ops.matmul, zeros(3, (2, 3)), r"matmul: x .*\(3,\).*y .*\(2, 3\)"),
        (ops.matmul, zeros((2, 3), 2), r"matmul: x .*\(2, 3\).*y .*\(2,\)"),
        (ops.matmul, zeros((), (2, 3)), r"matmul: x .*\(\).*y .*\(2, 3\)"),
        (ops.matmul, zeros((2, 3), ()), r"matmul: x .*\(2, 3\).*y .*\(\)"),
        (ops.matmul, zeros((2, 3, 4), (3, 4, 5)), r"\(2,3,4\).*\(3,4,5\)"),
        (ops.mse, zeros((5, 1), 5), r"mse: prediction .*\(5, 1\).*target .*\(5,\)"),
        (ops.mae, zeros((5, 1), 5), r"mae: prediction .*\(5, 1\).*target .*\(5,\)"),
        (ops.mse, zeros((5, 1), ()), r"mse: prediction .*\(5, 1\).*target .*\(\)"),
        (ops.binary_cross_entropy, zeros((5, 1), 5), r"prediction .*\(5, 1\).*target .*\(5,\)"),
        (ops.cross_entropy, [*zeros((5, 3)), np.zeros(4, int)], r"\(5, 3\).*\(4,\)"),
        (ops.cross_entropy, [*zeros((5, 3)), np.zeros((5, 1), int)], r"\(5, 3\).*\(5, 1\)"),
        (ops.cross_entropy, [*zeros(3), np.zeros(3, int)], r"logits \(3,\)"),
        (ops.cross_entropy, zeros((5, 3), 5), r"need integer labels.*not float64"),
        (ops.cross_entropy, [*zeros((2, 3)), np.array([0, 3])], "0…2, but go from 0 to 3"),
        (ops.cross_entropy, [*zeros((2, 3)), np.array([-1, 2])], "0…2, but go from -1 to 2"),
        (ops.cross_entropy, [*zeros((2, 3)), [True, False]], "need integer labels.*not bool"),
    ],
)
def test_arguments_that_do_not_fit_are_named_with_their_shapes(operation, arguments, both):
    with pytest.raises(ValueError, match=both):
        operation(*arguments)
