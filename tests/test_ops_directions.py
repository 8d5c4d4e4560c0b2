"""The rows of weights: lengths and directions, and directions from angles."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from operation_helpers import plain_direction, some_gradient, value_and_gradients

from geonet import ops


def zeros(*shapes):
    return [np.zeros(shape) for shape in shapes]


angles = st.sampled_from([0.0, math.pi, math.pi / 2, -math.pi / 2, 0.3, 2.0, -7.5])


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


@pytest.mark.parametrize("shapes", [((3,), (3,)), ((3, 4), (1,)), ((2, 3, 4), (2,))])
def test_weight_norm_names_shapes_that_do_not_fit(shapes):
    with pytest.raises(ValueError, match=r"v must be \(O, n\) and length \(O,\), but they have"):
        ops.weight_norm(*zeros(*shapes))


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
