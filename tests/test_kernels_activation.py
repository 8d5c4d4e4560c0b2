"""ReLU alone and fused with bias and scale: as the reference has it, with threads or without."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_helpers import of_compiled_code

from geonet.kernels import activation, blocks, reference

SHAPES = st.tuples(st.integers(0, 6), st.integers(1, 6))
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-13}


def arrays(shape, seed, dtype):
    rng = np.random.default_rng(seed)
    z, g = rng.normal(size=(2, *shape)).astype(dtype)
    bias, scale = rng.normal(size=(2, shape[1])).astype(dtype)
    return g, z, bias, scale


@of_compiled_code
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(shape=SHAPES, seed=st.integers(0, 2**32 - 1))
def test_compiled_and_plain_forms_agree(dtype, shape, seed):
    g, *inputs = arrays(shape, seed, dtype)
    y = activation.scaled_relu(*inputs)
    assert y.dtype == dtype
    tolerance = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    np.testing.assert_allclose(y, reference.scaled_relu(*inputs), **tolerance)
    ours = activation.scaled_relu_pullback(g, *inputs)
    plain = reference.scaled_relu_pullback(g, *inputs)
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
    for form in (activation.scaled_relu, reference.scaled_relu):
        np.testing.assert_array_equal(np.isnan(form(z, np.zeros(2), np.ones(2))), [[True, False]])


def test_sums_over_many_rows_of_single_precision_are_right_to_seven_digits():
    g, z, bias, scale = arrays((20_000, 4), 0, np.float32)
    g = np.abs(g)
    double = [a.astype(np.float64) for a in (g, z, bias, scale)]
    ours = activation.scaled_relu_pullback(g, z, bias, scale)
    for a, b in zip(ours[1:], reference.scaled_relu_pullback(*double)[1:]):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def in_blocks(patch, size, threads):
    patch.setattr(blocks, "BLOCK_SIZE", size)
    patch.setenv("GEONET_THREADS", str(threads))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(shape=SHAPES, seed=st.integers(0, 2**32 - 1), size=st.integers(1, 12))
def test_threads_change_nothing_and_blocks_only_the_rounding(dtype, shape, seed, size):
    g, *inputs = arrays(shape, seed, dtype)
    y = activation.scaled_relu(*inputs)
    whole = activation.scaled_relu_pullback(g, *inputs)
    with pytest.MonkeyPatch.context() as patch:
        in_blocks(patch, size, threads=1)
        one = activation.scaled_relu_pullback(g, *inputs)
        in_blocks(patch, size, threads=2)
        np.testing.assert_array_equal(activation.scaled_relu(*inputs), y)
        for a, b, c in zip(activation.scaled_relu_pullback(g, *inputs), one, whole):
            np.testing.assert_array_equal(a, b)
            np.testing.assert_allclose(a, c, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=3),
    st.integers(0, 2**32 - 1),
    st.integers(1, 12),
)
def test_relu_of_any_shape_is_the_same_on_threads(shape, seed, size):
    rng = np.random.default_rng(seed)
    x, g = rng.normal(size=(2, *shape)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        in_blocks(patch, size, threads=2)
        for layout in (np.asarray, np.asfortranarray, lambda a: np.flip(np.flip(a).copy())):
            y = activation.relu(layout(x))
            grad = activation.relu_pullback(layout(g), y)
            np.testing.assert_array_equal(y, np.where(x > 0, x, 0), strict=True)
            np.testing.assert_array_equal(grad, np.where(x > 0, g, 0), strict=True)


def test_relu_passes_nan_on_also_where_threads_take_it():
    x = np.full((2, blocks.BLOCK_SIZE), np.nan, np.float32)
    assert np.isnan(activation.relu(x)).all()
    assert np.isnan(activation.relu(x[0])).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(shape=st.tuples(st.integers(1, 40), st.integers(1, 9)), seed=st.integers(0, 2**32 - 1))
def test_centred_forms_agree_with_each_other_and_with_one_step_after_the_other(dtype, shape, seed):
    g, z, bias, scale = arrays(shape, seed, dtype)
    tolerance = {"rtol": 0, "atol": 1e-5 if dtype is np.float32 else 1e-13}
    y, mean = activation.centred_scaled_relu(z, bias, scale)
    plain = reference.scaled_relu(z, bias, scale)
    for ours, plain_one in zip((y, mean), reference.centred_scaled_relu(z, bias, scale)):
        np.testing.assert_allclose(ours, plain_one, **tolerance)
    np.testing.assert_allclose(y, plain - plain.mean(axis=0), **tolerance)
    assert y.dtype == dtype
    assert mean.dtype == np.float64
    found = activation.centred_scaled_relu_pullback(g, z, bias, scale)
    plain_one = reference.centred_scaled_relu_pullback(g, z, bias, scale)
    apart = reference.scaled_relu_pullback(g - g.mean(axis=0), z, bias, scale)
    for ours, other, stepwise in zip(found, plain_one, apart, strict=True):
        np.testing.assert_allclose(ours, other, rtol=0, atol=50 * tolerance["atol"])
        np.testing.assert_allclose(ours, stepwise, rtol=0, atol=50 * tolerance["atol"])
        assert ours.dtype == dtype
