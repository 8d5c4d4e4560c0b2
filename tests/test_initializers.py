"""Initializers: the distributions that their names promise, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geonet.nn import initializers
from geonet.nn.initializers import initial_weight

FAN_IN, FAN_OUT = 250, 40
VARIANCES = {
    "glorot": 2 / (FAN_IN + FAN_OUT),
    "he": 2 / FAN_IN,
    "lecun": 1 / FAN_IN,
}
EVERY_INIT = [name.replace(":S", ":0.3") for name in initializers.NAMES]


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("family", VARIANCES)
def test_uniform_forms_have_the_stated_variance_and_fill_their_bounds(family):
    w = initial_weight(f"{family}_uniform", 400, FAN_IN, FAN_OUT, rng())
    bound = np.sqrt(3 * VARIANCES[family])
    assert np.abs(w).max() <= bound
    assert w.max() > 0.999 * bound
    assert w.min() < -0.999 * bound
    assert w.var() == pytest.approx(VARIANCES[family], rel=0.02)


@pytest.mark.parametrize("family", VARIANCES)
def test_normal_forms_have_the_stated_variance_and_the_moments_of_a_normal(family):
    w = initial_weight(f"{family}_normal", 400, FAN_IN, FAN_OUT, rng()) / np.sqrt(VARIANCES[family])
    assert w.mean() == pytest.approx(0, abs=0.02)
    assert w.var() == pytest.approx(1, rel=0.02)
    assert (w**4).mean() == pytest.approx(3, rel=0.05)


@pytest.mark.parametrize(
    ("family", "numerator"), [("glorot", lambda n, m: 6 / (n + m)), ("he", lambda n, m: 6 / n),
                              ("lecun", lambda n, m: 3 / n)],
)  # fmt: skip
@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 99))
def test_uniform_bounds_follow_fan_in_and_fan_out(family, numerator, n, m, seed):
    w = initial_weight(f"{family}_uniform", 3, n, m, rng(seed))
    unit = rng(seed).uniform(-1, 1, (3, n))
    np.testing.assert_allclose(w, np.sqrt(numerator(n, m)) * unit, rtol=1e-13, atol=1e-15)


@given(st.floats(1e-6, 1e6), st.integers(0, 99))
def test_a_scale_multiplies_the_draw(scale, seed):
    normal = initial_weight(f"normal:{scale!r}", 4, 5, 4, rng(seed))
    uniform = initial_weight(f"uniform:{scale!r}", 4, 5, 4, rng(seed))
    np.testing.assert_allclose(normal, scale * rng(seed).normal(size=(4, 5)), rtol=1e-13)
    np.testing.assert_allclose(uniform, scale * rng(seed).uniform(-1, 1, (4, 5)), rtol=1e-12)


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 99))
def test_orthogonal_has_orthonormal_rows_or_else_columns(units, n, seed):
    w = initial_weight("orthogonal", units, n, units, rng(seed))
    gram = w @ w.T if units <= n else w.T @ w
    np.testing.assert_allclose(gram, np.eye(min(units, n)), atol=1e-13)


def test_orthogonal_is_uniform_and_so_takes_both_signs():
    draws = {initial_weight("orthogonal", 1, 1, 1, rng(seed)).item() for seed in range(50)}
    assert draws == {-1.0, 1.0}


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 99))
def test_sphere_rows_have_length_one(units, n, seed):
    w = initial_weight("sphere", units, n, units, rng(seed))
    np.testing.assert_allclose(np.linalg.norm(w, axis=1), 1, rtol=1e-14)


def test_sphere_rows_are_uniform():
    w = initial_weight("sphere", 20_000, 3, 1, rng())
    np.testing.assert_allclose(w.T @ w / len(w), np.eye(3) / 3, atol=0.01)
    np.testing.assert_allclose(w.mean(axis=0), 0, atol=0.02)


@pytest.mark.parametrize("init", EVERY_INIT)
def test_the_state_of_the_generator_decides_and_the_global_one_is_untouched(init):
    np.random.seed(3)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, other = (initial_weight(init, 4, 7, 4, rng(seed)) for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002
    assert first.shape == (4, 7)
    assert first.dtype == np.float64


@pytest.mark.parametrize("init", ["glorot", "", "Sphere", "sphere:2", "he_normal:3", None])
def test_an_unknown_initializer_lists_the_known(init):
    with pytest.raises(ValueError, match="init must be one of") as error:
        initial_weight(init, 2, 2, 2, rng())
    assert all(name in str(error.value) for name in initializers.NAMES)


@pytest.mark.parametrize("scale", ["", ":", ":S", ":0", ":-1", ":nan", ":inf", ":1e999", ":a"])
@pytest.mark.parametrize("name", ["normal", "uniform"])
def test_a_scale_must_be_a_positive_number(name, scale):
    with pytest.raises(ValueError, match=f"needs a positive scale S, as in {name}:0.1"):
        initial_weight(name + scale, 2, 2, 2, rng())
