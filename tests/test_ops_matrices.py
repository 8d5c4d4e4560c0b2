"""Products of matrices and the affine map: every shape, empty ones too."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from operation_helpers import value_and_gradients

from geonet import Tensor, gradcheck, ops


def zeros(*shapes):
    return [np.zeros(shape) for shape in shapes]


@pytest.mark.parametrize("shape", [(0, 3), (2, 0, 3), (0, 2, 3)])
def test_linear_of_an_empty_batch(shape):
    value, (to_x, to_weight, to_bias) = value_and_gradients(
        ops.linear, (np.zeros(shape), np.ones((4, 3)), np.ones(4))
    )
    assert value.shape == (*shape[:-1], 4)
    assert to_x.shape == shape
    assert np.array_equal(to_weight, np.zeros((4, 3)))
    assert np.array_equal(to_bias, np.zeros(4))


@pytest.mark.parametrize(("x", "weight"), [((3, 0), (4, 0)), ((2, 3, 0), (4, 0)), ((3, 2), (0, 2))])
def test_linear_without_features_or_units(x, weight):
    bias = np.ones(weight[:1])
    value, gradients = value_and_gradients(ops.linear, (np.zeros(x), np.zeros(weight), bias))
    np.testing.assert_array_equal(value, np.ones((*x[:-1], *weight[:1])))
    assert [g.shape for g in gradients] == [x, weight, bias.shape]


def test_a_weight_that_is_no_matrix_is_refused_before_it_fails_in_the_backward_pass():
    with pytest.raises(ValueError, match=r"linear: x has shape \(5, 3\), so weight .* \(3,\)"):
        ops.linear(np.ones((5, 3)), np.ones(3))


@pytest.mark.parametrize("shapes", [((0, 3), (3, 2)), ((2, 0), (0, 3)), ((0, 2, 3), (3, 4))])
def test_matmul_of_empty_matrices(shapes):
    arguments = [np.ones(shape) for shape in shapes]
    value, gradients = value_and_gradients(ops.matmul, arguments)
    assert np.array_equal(value, np.matmul(*arguments))
    for gradient, shape in zip(gradients, shapes):
        assert np.array_equal(gradient, np.zeros(shape))


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


@pytest.mark.parametrize("rows", [700, 1023, 1024, 1540])
def test_the_gradient_of_a_tall_map_is_that_of_all_its_rows(rows):
    """Of 1023 and 1024 rows the product is taken in two halves, of the others at once."""
    rng = np.random.default_rng(0)
    x, g = rng.normal(size=(rows, 13)), rng.normal(size=(rows, 100))
    weight = Tensor(np.zeros((100, 13)), requires_grad=True)
    ops.linear(x, weight).backward(g)
    np.testing.assert_allclose(weight.grad, np.einsum("io,ik->ok", g, x), rtol=0, atol=1e-12)
