"""Normalization kernels: compiled and plain forms agree, and no mean is too large for them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_helpers import of_compiled_code

from geonet.kernels import blocks, reference
from geonet.kernels import normalization as kernel

SHAPES = st.tuples(st.integers(1, 150), st.integers(1, 5))  # more and fewer rows than a stretch
SEEDS = st.integers(0, 2**32 - 1)
TOLERANCE = {np.float32: 2e-6, np.float64: 1e-13}
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
EPS = 1e-2


def arrays(shape, seed, dtype):
    """g and x (N, C), gamma and beta (C,)."""
    rng = np.random.default_rng(seed)
    g, x = rng.normal(1, 2, size=(2, *shape)).astype(dtype)
    gamma, beta = rng.normal(size=(2, shape[1])).astype(dtype)
    return g, x, gamma, beta


def everything(g, x, gamma, beta, plain=False):
    """Name and value of whatever the kernels work out."""
    form = reference if plain else kernel
    statistics = form.moments(x)
    return {
        "mean": form.mean(x),
        "moments": np.stack(statistics),
        "batch norm": form.affine(x, statistics[0], gamma / np.sqrt(statistics[1] + EPS), beta),
        "batch norm back": form.batch_norm_pullback(g, x, *statistics, gamma, EPS),
        "layer norm": form.layer_norm(x, gamma, beta, EPS),
        "layer norm back": form.layer_norm_pullback(g, x, gamma, EPS),
    }


def assert_same(ours, expected, tolerance):
    """In every array, up to the tolerance relative to its largest entry."""
    for name in expected:
        pairs = (
            zip(ours[name], expected[name]) if "back" in name else [(ours[name], expected[name])]
        )
        for a, b in pairs:
            assert a.dtype == b.dtype, name
            scale = max(1.0, np.abs(b).max())
            np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale, err_msg=name)


@of_compiled_code
@DTYPES
@given(shape=SHAPES, seed=SEEDS)
def test_compiled_and_plain_forms_agree(dtype, shape, seed):
    inputs = arrays(shape, seed, dtype)
    ours = everything(*inputs)
    assert ours["moments"].dtype == ours["mean"].dtype == np.float64
    assert ours["batch norm"].dtype == ours["layer norm"].dtype == dtype
    assert_same(ours, everything(*inputs, plain=True), TOLERANCE[dtype])


@DTYPES
@given(shape=SHAPES, seed=SEEDS)
def test_moments_are_those_of_numpy(dtype, shape, seed):
    x = arrays(shape, seed, dtype)[1]
    mean, var = kernel.moments(x)
    double = x.astype(np.float64)
    np.testing.assert_allclose(mean, double.mean(axis=0), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(kernel.mean(x), double.mean(axis=0), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(var, double.var(axis=0), rtol=1e-12, atol=1e-14)


@given(st.floats(-1e6, 1e6), st.integers(2, 500), SEEDS)
def test_the_variance_does_not_suffer_from_a_large_mean(level, rows, seed):
    x = (level + np.random.default_rng(seed).normal(size=(rows, 2))).astype(np.float32)
    x[0] = -level  # nor from a first row that is unlike the others
    mean, var = kernel.moments(x)
    np.testing.assert_allclose(mean, x.mean(axis=0, dtype=np.float64), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(var, x.var(axis=0, dtype=np.float64), rtol=1e-9, atol=1e-9)


def test_batch_and_layer_norm_in_single_precision_stand_a_mean_of_ten_thousand():
    x = (1e4 + np.random.default_rng(0).normal(size=(500, 200))).astype(np.float32)
    g = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)
    one, zero = np.ones(200, np.float32), np.zeros(200, np.float32)
    double = everything(*(a.astype(np.float64) for a in (g, x, one, zero)), plain=True)
    for name, value in everything(g, x, one, zero).items():
        pairs = zip(value, double[name]) if "back" in name else [(value, double[name])]
        for ours, expected in pairs:
            scale = np.abs(expected).max()
            np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-7 * scale, err_msg=name)


@given(shape=SHAPES, seed=SEEDS, size=st.integers(1, 200))
def test_threads_change_nothing_and_blocks_only_the_rounding(shape, seed, size):
    inputs = arrays(shape, seed, np.float64)
    whole = everything(*inputs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_SIZE", size)
        found = []
        for threads in "12":
            patch.setenv("GEONET_THREADS", threads)
            found.append(everything(*inputs))
    assert_same(found[1], found[0], 0)
    assert_same(found[0], whole, 1e-12)


@DTYPES
def test_the_layout_in_memory_makes_no_difference(dtype):
    inputs = arrays((70, 3), 0, dtype)
    expected = everything(*inputs)
    for layout in (np.asfortranarray, lambda a: np.flip(np.flip(a).copy())):
        assert_same(everything(*map(layout, inputs)), expected, TOLERANCE[dtype])


@pytest.mark.parametrize("place", [0, 100])
def test_nan_spreads_over_its_column_and_its_row_and_no_further(place):
    g, x, gamma, beta = arrays((150, 3), 0, np.float64)
    x[place, 1] = np.nan
    found = everything(g, x, gamma, beta)
    for name in ("moments", "batch norm"):
        assert np.isnan(found[name][:, 1]).all()
        assert np.isfinite(found[name][:, [0, 2]]).all()
    assert np.isnan(found["layer norm"][place]).all()
    assert np.isfinite(np.delete(found["layer norm"], place, axis=0)).all()
