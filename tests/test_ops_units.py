"""Matrix products, the rows of weights, and arguments that do not fit."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from operation_helpers import plain_direction, some_gradient, value_and_gradients

from geonet import Tensor, gradcheck, ops

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
        (ops.scaled_relu, zeros((), (), ()), r"z has shape \(\), so bias"),
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


@pytest.mark.parametrize("smoothing", [-0.1, 1.1, np.nan])
def test_a_smoothing_that_is_no_share_is_refused(smoothing):
    with pytest.raises(ValueError, match=r"smoothing must be in \[0, 1\], but is"):
        ops.cross_entropy(np.zeros((2, 3)), np.array([0, 1]), smoothing)


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


@pytest.mark.parametrize("rows", [700, 1023, 1024, 1540])
def test_the_gradient_of_a_tall_map_is_that_of_all_its_rows(rows):
    """Of 1023 and 1024 rows the product is taken in two halves, of the others at once."""
    rng = np.random.default_rng(0)
    x, g = rng.normal(size=(rows, 13)), rng.normal(size=(rows, 100))
    weight = Tensor(np.zeros((100, 13)), requires_grad=True)
    ops.linear(x, weight).backward(g)
    np.testing.assert_allclose(weight.grad, np.einsum("io,ik->ok", g, x), rtol=0, atol=1e-12)
