"""Elementwise operations and losses: broadcasting, kinks and ties, large inputs."""

import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from operation_helpers import (
    convert,
    some_gradient,
    sum_over_copies,
)

from geonet import Tensor, ops

both_precisions = pytest.mark.parametrize("dtype", [np.float32, np.float64])


# Elementwise operations and broadcasting ----------------------------------------------------------


def arity(operation):
    parameters = inspect.signature(operation).parameters.values()
    return sum(p.default is p.empty for p in parameters)


NOT_ELEMENTWISE = {"log_softmax", "scaled_relu", "centred_scaled_relu"}  # of the activations
ELEMENTWISE = sorted(
    name
    for name, operation in ops.OPERATIONS.items()
    if operation.__module__ in ("geonet.ops.elementwise", "geonet.ops.activations")
    and name not in NOT_ELEMENTWISE
)


def test_the_elementwise_operations_are_found():
    assert {"add", "exp", "maximum", "where", "clip", "relu", "softplus"} <= set(ELEMENTWISE)


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
    (lambda y: ops.power(0.0, y), [0.0, 2.0, -1.0], [0, 0, -np.inf]),
]


@pytest.mark.parametrize(("operation", "x", "derivative"), EDGES)
def test_derivatives_at_the_edge_of_the_domain_are_what_the_formula_gives(operation, x, derivative):
    x = Tensor(x, requires_grad=True)
    with np.errstate(divide="ignore"):
        operation(x).sum().backward()
    np.testing.assert_allclose(x.grad, derivative, rtol=1e-14)


# Stability ----------------------------------------------------------------------------------------


def test_the_quotient_has_its_derivative_wherever_its_value_is_a_number():
    x, y = (Tensor(np.array([1, 1], np.float32), requires_grad=True) for _ in range(2))
    scale = Tensor(np.array([1e-18, 1e25], np.float32), requires_grad=True)
    ops.divide(x * scale, y * scale).sum().backward()  # scale² under- or overflows
    np.testing.assert_allclose(x.grad, [1, 1], rtol=1e-6)
    np.testing.assert_allclose(y.grad, [-1, -1], rtol=1e-6)
