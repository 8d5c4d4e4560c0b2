"""The fused bias, ReLU and scale: compiled and plain forms agree."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geonet.kernels import activation

SHAPES = st.tuples(st.integers(0, 6), st.integers(1, 6))
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-13}


def arrays(shape, seed, dtype):
    rng = np.random.default_rng(seed)
    z, g = rng.normal(size=(2, *shape)).astype(dtype)
    bias, scale = rng.normal(size=(2, shape[1])).astype(dtype)
    return g, z, bias, scale


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(shape=SHAPES, seed=st.integers(0, 2**32 - 1))
def test_compiled_and_plain_forms_agree(dtype, shape, seed):
    g, *inputs = arrays(shape, seed, dtype)
    y = activation.scaled_relu(*inputs)
    assert y.dtype == dtype
    tolerance = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    np.testing.assert_allclose(y, activation.scaled_relu_numpy(*inputs), **tolerance)
    ours = activation.scaled_relu_pullback(g, *inputs)
    plain = activation.scaled_relu_pullback_numpy(g, *inputs)
    for a, b in zip(ours, plain):
        assert a.dtype == b.dtype == dtype
        np.testing.assert_allclose(a, b, **tolerance)


def test_the_rectifier_sits_between_bias_and_scale():
    y = activation.scaled_relu(np.array([[1.0, 1.0]]), np.array([-2.0, 2.0]), np.array([5.0, -5.0]))
    np.testing.assert_array_equal(y, [[0.0, -15.0]])


def test_nothing_passes_back_at_the_kink_itself():
    one = np.ones((1, 1))
    for gradient in activation.scaled_relu_pullback(one, one, np.array([-1.0]), np.array([3.0])):
        np.testing.assert_array_equal(gradient.ravel(), [0.0])


def test_nan_is_passed_on_not_rectified_away():
    z = np.array([[np.nan, 1.0]])
    for form in (activation.scaled_relu, activation.scaled_relu_numpy):
        np.testing.assert_array_equal(np.isnan(form(z, np.zeros(2), np.ones(2))), [[True, False]])
