"""Every operation: its value, its gradients, and the promises that all of them keep.

Most tests run over `geonet.ops.OPERATIONS` and the examples that each operation gives of itself, so
that a new operation is tested without a line here.
"""

import inspect
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from geonet import Tensor, gradcheck, ops
from geonet.gradcheck import check_operation, examples

every_operation = pytest.mark.parametrize("name", sorted(ops.OPERATIONS))


def is_floating(argument):
    return isinstance(argument, np.ndarray | np.floating) and argument.dtype.kind == "f"


def convert(arguments, change):
    """The arguments with each floating one changed."""
    return [change(np.asarray(a)) if is_floating(a) else a for a in arguments]


def some_gradient(shape, dtype):
    """Numbers of both signs, none of them equal."""
    return np.cos(1 + np.arange(math.prod(shape))).reshape(shape).astype(dtype)


def value_and_gradients(operation, arguments, options=None):
    """The value, and the gradient of every floating argument for `some_gradient` of the value."""
    inputs = convert(arguments, lambda a: Tensor(a, requires_grad=True))
    output = operation(*inputs, **(options or {}))
    output.backward(some_gradient(output.shape, output.dtype))
    return output.data, [x.grad for x in inputs if isinstance(x, Tensor)]


def sum_over_copies(gradient, shape):
    """What an array of this shape gets if `gradient` is that of its broadcast copies."""
    source = np.broadcast_to(np.arange(math.prod(shape)).reshape(shape), gradient.shape)
    total = np.bincount(source.ravel(), gradient.ravel(), minlength=math.prod(shape))
    return total.reshape(shape)


# Values -------------------------------------------------------------------------------------------


def plain_softmax(x, axis=-1):
    return np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)


def plain_direction(theta):
    """u(θ) by its definition, one factor after the other."""
    columns, sines = [], np.ones(len(theta), theta.dtype)
    for angle in theta.T:
        columns.append(sines * np.cos(angle))
        sines = sines * np.sin(angle)
    return np.stack([*columns, sines], axis=1)


FORMULAS = {
    "relu": lambda x: np.where(x > 0, x, 0),
    "leaky_relu": lambda x, slope: np.where(x > 0, x, slope * x),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.log(1 + np.exp(x)),
    "log_softmax": lambda x: np.log(plain_softmax(x)) if x.ndim else np.zeros(()),
    "getitem": lambda x, index: x[index],
    "join": lambda *arrays, axis: np.concatenate(arrays, axis),
    "linear": lambda x, weight, bias=0: np.einsum("...n,on->...o", x, weight) + bias,
    "scaled_relu": lambda z, bias, scale: scale * np.where(z + bias > 0, z + bias, 0),
    "weight_norm": lambda v, length: np.array(
        [scale * row / np.linalg.norm(row) for row, scale in zip(v, length)]
    ),
    "hyperspherical": plain_direction,
    "mse": lambda prediction, target: np.mean((prediction - target) ** 2),
    "mae": lambda prediction, target: np.mean(np.abs(prediction - target)),
    "cross_entropy": lambda logits, labels: (
        -np.mean([math.log(row[label]) for row, label in zip(plain_softmax(logits), labels)])
    ),
    "binary_cross_entropy": lambda logits, targets: (
        -np.mean(
            targets * np.log(1 / (1 + np.exp(-logits)))
            + (1 - targets) * np.log(1 / (1 + np.exp(logits)))
        )
    ),
}
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
def test_neither_inputs_nor_gradients_are_changed(name):
    operation = ops.OPERATIONS[name]
    for arguments, options in examples(operation, np.random.default_rng(3)):
        arguments = convert(arguments, np.copy)
        before = [np.copy(a) if isinstance(a, np.ndarray) else a for a in arguments]
        for array in arguments:
            if isinstance(array, np.ndarray):
                array.flags.writeable = False
        inputs = convert(arguments, lambda a: Tensor(a, requires_grad=True))
        output = operation(*inputs, **options)
        output.data.flags.writeable = False  # nor the value, which others may use
        gradient = some_gradient(output.shape, output.dtype)
        gradient.flags.writeable = False
        output.backward(gradient)
        for array, copy in zip(arguments, before):
            if isinstance(array, np.ndarray):
                np.testing.assert_array_equal(array, copy)


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


# Elementwise operations and broadcasting ----------------------------------------------------------


def arity(operation):
    parameters = inspect.signature(operation).parameters.values()
    return sum(p.default is p.empty for p in parameters)


ELEMENTWISE = [
    name
    for name, f in ops.OPERATIONS.items()
    if f.__module__ == "geonet.ops.elementwise" and "axis" not in inspect.signature(f).parameters
]


def test_the_elementwise_operations_are_found():
    assert {"add", "exp", "maximum", "where", "clip", "relu", "softplus"} <= set(ELEMENTWISE)
    assert "log_softmax" not in ELEMENTWISE


def check_broadcasting(operation, arguments, shape):
    """Broadcasting is the same as repeating by hand, and the gradient sums over the copies."""
    inputs = convert(arguments, lambda a: Tensor(a, requires_grad=True))
    copies = convert(
        [np.broadcast_to(a, shape) for a in arguments], lambda a: Tensor(a, requires_grad=True)
    )
    value, expected = operation(*inputs), operation(*copies)
    assert value.shape == shape
    np.testing.assert_allclose(value.data, expected.data, rtol=1e-14)
    value.backward(some_gradient(shape, float))
    expected.backward(some_gradient(shape, float))
    for x, copy in zip(inputs, copies):
        if isinstance(x, Tensor):
            total = sum_over_copies(copy.grad, x.shape)
            assert x.grad.shape == x.shape
            np.testing.assert_allclose(x.grad, total, rtol=1e-12, atol=1e-13)


def broadcastable(count):
    return hnp.mutually_broadcastable_shapes(num_shapes=count, min_side=0, max_side=3, max_dims=3)


@pytest.mark.parametrize("name", [n for n in ELEMENTWISE if n not in ("where", "clip")])
@settings(max_examples=25)
@given(data=st.data(), seed=st.integers(0, 99))
def test_elementwise_operations_broadcast_as_numpy_does(name, data, seed):
    operation, rng = ops.OPERATIONS[name], np.random.default_rng(seed)
    shapes = data.draw(broadcastable(arity(operation)))
    low, high = operation.examples.get("domain", (-2, 2))
    arguments = [rng.uniform(low, high, shape) for shape in shapes.input_shapes]
    check_broadcasting(operation, arguments, shapes.result_shape)


@given(broadcastable(3), st.integers(0, 99))
def test_where_and_clip_broadcast_all_three(shapes, seed):
    a, b, c = (np.random.default_rng(seed).normal(size=shape) for shape in shapes.input_shapes)
    check_broadcasting(ops.where, (a > 0, b, c), shapes.result_shape)

    x = Tensor(a, requires_grad=True)
    low, high = np.minimum(b, 0) - 0.1, np.maximum(c, 0) + 0.1
    value = ops.clip(x, low, high)
    assert np.array_equal(value.data, np.clip(a, low, high))
    value.sum().backward()
    inside = (low <= a) & (a <= high)
    assert np.array_equal(x.grad, sum_over_copies(inside.astype(float), x.shape))


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_operations_treat_entries_apart(name):
    operation, rng = ops.OPERATIONS[name], np.random.default_rng(0)
    low, high = operation.examples.get("domain", (-2, 2))
    arguments = [rng.uniform(low, high, 5) for _ in range(arity(operation))]
    whole = operation(*arguments).data
    for i in range(5):
        numbers = [a[i].item() for a in arguments]
        assert operation(*numbers).item() == pytest.approx(whole[i].item())


@pytest.mark.parametrize("name", sorted(set(ELEMENTWISE) - {"arcsin", "arccos"}))
def test_elementwise_operations_take_whole_numbers_as_the_same_real_ones(name):
    operation = ops.OPERATIONS[name]
    arguments = [np.arange(1, 5), np.array([3, 2, 1, 1]), np.array([2, 2, 3, 5])]
    if operation.examples.get("domain", (-2, 2))[0] < 0:
        arguments[0] = arguments[0] - 3
    arguments = arguments[: arity(operation)]
    expected = operation(*(a.astype(float) for a in arguments))
    np.testing.assert_allclose(operation(*arguments).data, expected.data, rtol=1e-14)


# Zero-size batches --------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(0, 3), (2, 0, 3), (0, 2, 3)])
def test_linear_of_an_empty_batch(shape):
    value, (to_x, to_weight, to_bias) = value_and_gradients(
        ops.linear, (np.zeros(shape), np.ones((4, 3)), np.ones(4))
    )
    assert value.shape == (*shape[:-1], 4)
    assert to_x.shape == shape
    assert np.array_equal(to_weight, np.zeros((4, 3)))
    assert np.array_equal(to_bias, np.zeros(4))


@pytest.mark.parametrize("shapes", [((0, 3), (3, 2)), ((2, 0), (0, 3)), ((0, 2, 3), (3, 4))])
def test_matmul_of_empty_matrices(shapes):
    arguments = [np.ones(shape) for shape in shapes]
    value, gradients = value_and_gradients(ops.matmul, arguments)
    assert np.array_equal(value, np.matmul(*arguments))
    for gradient, shape in zip(gradients, shapes):
        assert np.array_equal(gradient, np.zeros(shape))


@pytest.mark.parametrize("angles", [0, 1, 4])
def test_hyperspherical_of_no_rows(angles):
    value, (gradient,) = value_and_gradients(ops.hyperspherical, (np.zeros((0, angles)),))
    assert value.shape == (0, angles + 1)
    assert gradient.shape == (0, angles)


def test_hyperspherical_without_angles_is_the_fixed_direction():
    value, (gradient,) = value_and_gradients(ops.hyperspherical, (np.zeros((3, 0)),))
    assert np.array_equal(value, np.ones((3, 1)))
    assert gradient.shape == (3, 0)


def test_weight_norm_of_no_rows():
    value, gradients = value_and_gradients(ops.weight_norm, (np.zeros((0, 3)), np.zeros(0)))
    assert value.shape == (0, 3)
    assert [g.shape for g in gradients] == [(0, 3), (0,)]


# Kinks, ties and edges of the domain --------------------------------------------------------------

KINKS = [  # operation, arguments, derivatives of the sum of its values
    (ops.relu, [[0.0, -0.0, 1.0]], [[0, 0, 1]]),
    (lambda x: ops.leaky_relu(x, slope=0.2), [[0.0, -1.0, 1.0]], [[0.2, 0.2, 1]]),
    (ops.absolute, [[0.0, -1.0, 1.0]], [[0, -1, 1]]),
    (ops.mae, [[1.0, 2.0, 0.0], [1.0, 1.0, 3.0]], [[0, 1 / 3, -1 / 3], [0, -1 / 3, 1 / 3]]),
    (ops.maximum, [[1.0, 2.0, 3.0], [1.0, 1.0, 4.0]], [[0.5, 1, 0], [0.5, 0, 1]]),
    (ops.minimum, [[1.0, 2.0, 3.0], [1.0, 1.0, 4.0]], [[0.5, 0, 1], [0.5, 1, 0]]),
    (ops.max, [[3.0, 1.0, 3.0, 3.0]], [[1 / 3, 0, 1 / 3, 1 / 3]]),
    (ops.min, [[3.0, 1.0, 1.0, 3.0]], [[0, 0.5, 0.5, 0]]),
    (lambda x: ops.max(x, axis=1), [[[2.0, 2.0], [0.0, 1.0]]], [[[0.5, 0.5], [0, 1]]]),
    (lambda x: ops.clip(x, -1, 2), [[-2.0, -1.0, 0.0, 2.0, 3.0]], [[0, 1, 1, 1, 0]]),
    (ops.softplus, [[0.0, -0.0]], [[0.5, 0.5]]),
    (ops.scaled_relu, [[[0.0, 1.0]], [0.0, -1.0], [2.0, 3.0]], [[[0, 0]], [0, 0], [0, 0]]),
]


@pytest.mark.parametrize(("operation", "arguments", "derivatives"), KINKS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_derivatives_at_kinks_are_the_documented_ones(operation, arguments, derivatives, dtype):
    inputs = [Tensor(np.array(a, dtype), requires_grad=True) for a in arguments]
    operation(*inputs).sum().backward()
    for x, derivative in zip(inputs, derivatives):
        np.testing.assert_allclose(x.grad, derivative, rtol=1e-6)


@pytest.mark.parametrize(("operation", "arguments", "derivatives"), KINKS)
@pytest.mark.parametrize("step", [1e-20, -1e-20])
def test_the_complex_step_takes_the_documented_derivative_whichever_way_it_goes(
    operation, arguments, derivatives, step
):
    """Pieces are chosen by the real part, also where NumPy would order by the imaginary part."""
    for i, derivative in enumerate(derivatives):
        moved = [np.array(a) + (1j * step if k == i else 0) for k, a in enumerate(arguments)]
        slope = operation(*moved).sum().item().imag / step
        assert slope == pytest.approx(np.sum(derivative), rel=1e-12)


EDGES = [
    (ops.sqrt, [0.0, 4.0], [np.inf, 0.25]),
    (ops.log, [0.0, 4.0], [np.inf, 0.25]),
    (ops.arcsin, [-1.0, 0.0, 1.0], [np.inf, 1, np.inf]),
    (ops.arccos, [-1.0, 0.0, 1.0], [-np.inf, -1, -np.inf]),
    (lambda x: ops.power(x, 0.5), [0.0, 4.0], [np.inf, 0.25]),
    (lambda x: ops.power(x, 2), [0.0, -3.0], [0, -6]),
    (lambda x: ops.power(x, 1), [0.0, -3.0], [1, 1]),
    (lambda x: ops.power(x, 0), [0.0, -3.0], [0, 0]),
    (lambda y: ops.power(0.0, y), [0.0, 2.0], [0, 0]),
]


@pytest.mark.parametrize(("operation", "x", "derivative"), EDGES)
def test_derivatives_at_the_edge_of_the_domain_are_what_the_formula_gives(operation, x, derivative):
    x = Tensor(x, requires_grad=True)
    with np.errstate(divide="ignore"):
        operation(x).sum().backward()
    np.testing.assert_allclose(x.grad, derivative, rtol=1e-14)


# Stability ----------------------------------------------------------------------------------------

both_precisions = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@both_precisions
@pytest.mark.parametrize(
    ("operation", "values", "derivatives"),
    [
        (ops.sigmoid, [0, 0.5, 1], [0, 0.25, 0]),
        (ops.softplus, [0, math.log(2), 1000], [0, 0.5, 1]),
        (ops.tanh, [-1, 0, 1], [0, 1, 0]),
        (ops.relu, [0, 0, 1000], [0, 0, 1]),
    ],
)
def test_activations_are_right_for_large_inputs(operation, values, derivatives, dtype):
    x = Tensor(np.array([-1000, 0, 1000], dtype), requires_grad=True)
    y = operation(x)
    y.sum().backward()
    assert y.dtype == x.grad.dtype == dtype
    np.testing.assert_allclose(y.data, values, rtol=1e-6)
    np.testing.assert_allclose(x.grad, derivatives, rtol=1e-6)


@both_precisions
def test_log_softmax_is_right_for_large_inputs(dtype):
    x = Tensor(np.array([[1000, -1000, 0], [-1000, -1000, -1000]], dtype), requires_grad=True)
    y = ops.log_softmax(x)
    y.backward(np.array([[0, 1, 0], [1, 0, 0]]))
    third = math.log(3)
    np.testing.assert_allclose(y.data, [[0, -2000, -1000], [-third] * 3], rtol=1e-6)
    np.testing.assert_allclose(x.grad, [[-1, 1, 0], [2 / 3, -1 / 3, -1 / 3]], rtol=1e-6)


@both_precisions
def test_cross_entropy_is_right_for_large_logits(dtype):
    x = Tensor(np.array([[1000, -1000], [1000, -1000], [1000, 1000]], dtype), requires_grad=True)
    loss = ops.cross_entropy(x, np.array([0, 1, 1]))
    loss.backward()
    assert loss.item() == pytest.approx((0 + 2000 + math.log(2)) / 3, rel=1e-6)
    np.testing.assert_allclose(x.grad, np.array([[0, 0], [1, -1], [0.5, -0.5]]) / 3, rtol=1e-6)


@both_precisions
def test_binary_cross_entropy_is_right_for_large_logits(dtype):
    x = Tensor(np.array([1000, 1000, -1000, -1000, 0], dtype), requires_grad=True)
    targets = np.array([1, 0, 1, 0, 0.5], dtype)
    loss = ops.binary_cross_entropy(x, targets)
    loss.backward()
    assert loss.item() == pytest.approx((0 + 1000 + 1000 + 0 + math.log(2)) / 5, rel=1e-6)
    np.testing.assert_allclose(x.grad, np.array([0, 1, -1, 0, 0]) / 5, rtol=1e-6)


def test_the_quotient_has_its_derivative_wherever_its_value_is_a_number():
    x, y = (Tensor(np.array([1, 1], np.float32), requires_grad=True) for _ in range(2))
    scale = Tensor(np.array([1e-18, 1e25], np.float32), requires_grad=True)
    ops.divide(x * scale, y * scale).sum().backward()  # scale² under- or overflows
    np.testing.assert_allclose(x.grad, [1, 1], rtol=1e-6)
    np.testing.assert_allclose(y.grad, [-1, -1], rtol=1e-6)


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


# Matrix products ----------------------------------------------------------------------------------


@given(
    hnp.mutually_broadcastable_shapes(signature=np.matmul.signature, max_dims=2, max_side=3),
    st.integers(0, 99),
)
def test_matmul_is_that_of_numpy_for_vectors_and_batches(shapes, seed):
    rng = np.random.default_rng(seed)
    x, y = (rng.normal(size=shape) for shape in shapes.input_shapes)
    value = ops.matmul(x, y)
    assert np.array_equal(value.data, np.matmul(x, y))
    assert value.shape == shapes.result_shape
    report = gradcheck(ops.matmul, x, y, tolerance=1e-12)
    assert report.entries == x.size + y.size
    assert report.complex <= 1e-12


@given(st.lists(st.integers(0, 3), max_size=2), st.integers(1, 3), st.integers(1, 3), st.booleans())
def test_linear_is_the_sum_over_features_for_every_shape(batch, features, outputs, biased):
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(*batch, features)), rng.normal(size=(outputs, features))
    bias = [rng.normal(size=outputs)] if biased else []
    value = ops.linear(x, weight, *bias)
    expected = np.einsum("...n,on->...o", x, weight) + (bias[0] if biased else 0)
    np.testing.assert_allclose(value.data, expected, rtol=1e-13, atol=1e-14, strict=True)
    assert gradcheck(ops.linear, x, weight, *bias, tolerance=1e-12).complex <= 1e-12


def zeros(*shapes):
    return [np.zeros(shape) for shape in shapes]


@pytest.mark.parametrize(
    ("operation", "arguments", "both"),
    [
        (ops.linear, zeros((5, 4), (2, 3)), r"linear: x has shape \(5, 4\).*\(2, 3\)"),
        (ops.linear, zeros((), (2, 3)), r"linear: x has shape \(\).*\(2, 3\)"),
        (ops.linear, zeros((5, 3), (2, 3), 3), r"linear: bias has shape \(3,\).*\(2, 3\)"),
        (ops.linear, zeros((2, 3), (2, 3), (2, 1)), r"bias has shape \(2, 1\).*\(2, 3\)"),
        (ops.scaled_relu, zeros((5, 3), 2, 3), r"z has shape \(5, 3\).*bias \(2,\).*scale \(3,\)"),
        (ops.scaled_relu, zeros((5, 3), 3, (3, 1)), r"z has shape \(5, 3\).*scale \(3, 1\)"),
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
        (ops.cross_entropy, [*zeros(3), np.zeros(3, int)], r"logits of shape \(3,\)"),
        (ops.cross_entropy, zeros((5, 3), 5), r"need integer labels.*not float64"),
        (ops.cross_entropy, [*zeros((2, 3)), np.array([0, 3])], "0…2, but go from 0 to 3"),
        (ops.cross_entropy, [*zeros((2, 3)), np.array([-1, 2])], "0…2, but go from -1 to 2"),
        (ops.cross_entropy, [*zeros((2, 3)), [True, False]], "need integer labels.*not bool"),
    ],
)
def test_arguments_that_do_not_fit_are_named_with_their_shapes(operation, arguments, both):
    with pytest.raises(ValueError, match=both):
        operation(*arguments)


def test_labels_may_be_a_list_or_of_any_integer_type():
    logits = np.random.default_rng(0).normal(size=(3, 4))
    labels = [0, 3, 1]
    expected = ops.cross_entropy(logits, np.array(labels)).item()
    for given_labels in (labels, np.array(labels, np.uint8), Tensor(labels)):
        assert ops.cross_entropy(logits, given_labels).item() == expected


# The geometry of weights --------------------------------------------------------------------------

angles = st.sampled_from([0.0, math.pi, math.pi / 2, -math.pi / 2, 0.3, 2.0, -7.5])


@given(hnp.arrays(float, st.tuples(st.integers(1, 3), st.integers(1, 8)), elements=angles))
def test_hyperspherical_is_exact_at_the_poles(theta):
    value, (gradient,) = value_and_gradients(ops.hyperspherical, (theta,))
    weights = some_gradient(value.shape, float)
    np.testing.assert_allclose(value, plain_direction(theta), rtol=5e-15, atol=0)
    np.testing.assert_allclose(np.linalg.norm(value, axis=1), 1, rtol=5e-15)
    # tolerances scale with s_k, the size of the column ∂u/∂θ_k
    s = np.cumprod(np.insert(np.abs(np.sin(theta)), 0, 1, axis=1), axis=1)
    for k in range(theta.shape[1]):
        step = np.zeros(theta.shape)
        step[:, k] = 1e-20
        numeric = (plain_direction(theta + 1j * step).imag / 1e-20 * weights).sum(axis=1)
        assert np.all(np.abs(gradient[:, k] - numeric) <= 4e-15 * s[:, k])


@given(st.integers(1, 4), st.integers(1, 8), st.integers(0, 999))
def test_weight_norm_is_of_its_length_and_its_gradient_orthogonal_to_v(units, fan_in, seed):
    rng = np.random.default_rng(seed)
    v = rng.normal(size=(units, fan_in)) * 10 ** rng.uniform(-3, 3, (units, 1))
    length = rng.normal(size=units)
    weight, (to_v, to_length) = value_and_gradients(ops.weight_norm, (v, length))
    norm = np.linalg.norm(v, axis=1)
    np.testing.assert_allclose(np.linalg.norm(weight, axis=1), np.abs(length), rtol=1e-14)
    scale = np.abs(length) / norm * np.sqrt(fan_in)  # of to_v before its radial part goes
    assert np.all(np.abs((to_v * v).sum(axis=1)) <= 1e-14 * scale * norm)
    direction = v / norm[:, None]
    expected = (some_gradient(v.shape, float) * direction).sum(axis=1)
    np.testing.assert_allclose(to_length, expected, rtol=1e-12, atol=1e-14)
