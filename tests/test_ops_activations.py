"""Activations are right for inputs of any size."""

import math

import numpy as np
import pytest

from geonet import Tensor, ops

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


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (2, 0, 3)])
def test_log_softmax_of_nothing_is_nothing(shape, axis):
    x = Tensor(np.zeros(shape), requires_grad=True)
    y = ops.log_softmax(x, axis)
    y.backward(np.zeros(shape))
    assert y.shape == x.grad.shape == shape


@both_precisions
def test_log_softmax_is_right_for_large_inputs(dtype):
    x = Tensor(np.array([[1000, -1000, 0], [-1000, -1000, -1000]], dtype), requires_grad=True)
    y = ops.log_softmax(x)
    y.backward(np.array([[0, 1, 0], [1, 0, 0]]))
    third = math.log(3)
    np.testing.assert_allclose(y.data, [[0, -2000, -1000], [-third] * 3], rtol=1e-6)
    np.testing.assert_allclose(x.grad, [[-1, 1, 0], [2 / 3, -1 / 3, -1 / 3]], rtol=1e-6)
