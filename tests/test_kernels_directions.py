"""u(θ) and its pullback: unit rows, each column on its own scale, compiled as the reference."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_helpers import of_compiled_code
from numpy.testing import assert_allclose, assert_array_equal

from geonet.hypersphere import jacobian
from geonet.kernels import blocks, reference
from geonet.kernels import directions as kernel

DTYPES = [np.float32, np.float64]
EPS = {np.float32: 6e-8, np.float64: 1.2e-16}

POLES = [0.0, np.pi, -np.pi, 2 * np.pi]
SPECIAL = [*POLES, np.pi / 2, -np.pi / 2, 1e-5, -1e-20, 1e-40, 5e-324, 1e6, -1e6]


@st.composite
def angles(draw, special=SPECIAL):
    """A few rows of 0 to 63 angles: ordinary ones, with special ones strewn in."""
    shape = draw(st.integers(1, 5)), draw(st.integers(0, 63))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    theta = rng.uniform(-4, 4, shape)
    strewn = rng.random(shape) < draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    return np.where(strewn, rng.choice(special, shape), theta)


def norms(u):
    return np.linalg.norm(u.astype(np.float64), axis=1)


def direction_and_pullback(theta, seed=0):
    u = kernel.direction(theta)
    g = np.random.default_rng(seed).standard_normal(u.shape).astype(theta.dtype)
    return u, g, kernel.direction_pullback(g, theta)


def complex_step_jacobian(theta, step=1e-30):
    """∂u_i/∂θ_k of one row of angles, from the reference: Im u(θ + i h e_k)/h."""
    u = reference.direction(theta + 1j * step * np.eye(theta.size))
    return u.imag.T / step


def assert_columns_close(actual, expected, theta, g, tolerance):
    """Each ∂L/∂θ_k on its own scale, s_k ‖g‖: a tolerance of the largest would pass late zeros."""
    sine = np.sin(theta.astype(np.float64))
    s = np.cumprod(np.concatenate([np.ones((len(theta), 1)), sine[:, :-1]], axis=1), axis=1)
    scale = np.abs(s) * np.linalg.norm(g, axis=1, keepdims=True)
    underflow = 1e-37 if actual.dtype == np.float32 else 1e-250
    excess = np.abs(actual - expected) - tolerance * scale - underflow
    assert np.all(excess <= 0), f"off by {excess.max()} at {np.argwhere(excess > 0)}"


@given(theta=angles())
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_have_unit_norm(dtype, theta):
    u = kernel.direction(theta.astype(dtype))
    assert u.dtype == dtype
    assert_allclose(norms(u), 1, rtol=0, atol=3e-7 if dtype == np.float32 else 5e-15)


def test_huge_float64_angles_give_finite_unit_rows():
    theta = np.array([[1e15, -1e15, 1e300, 3e7], [1e16, 2.0, -1e200, 1e15]])
    assert_allclose(norms(kernel.direction(theta)), 1, rtol=0, atol=1e-15)


@pytest.mark.parametrize("n", [4608, 100_000])
@pytest.mark.parametrize("center", [np.pi / 2, 1.57, 1.5, -1.5701])
def test_long_rows_keep_their_norm(n, center):
    offsets = np.random.default_rng(0).standard_normal(n - 1) / np.sqrt(n)
    theta = center + np.stack([0 * offsets, offsets])
    assert_allclose(norms(kernel.direction(theta)), 1, rtol=0, atol=n * 1.2e-16)
    assert_allclose(norms(kernel.direction(theta.astype(np.float32))), 1, rtol=0, atol=1e-6)


@given(theta=angles())
def test_components_are_products_of_sines_and_a_cosine(theta):
    u = kernel.direction(theta)
    expected = np.ones_like(u)
    for k in range(u.shape[1]):
        expected[:, k] = np.prod(np.sin(theta[:, :k]), axis=1)
    expected[:, :-1] *= np.cos(theta)
    assert_allclose(u, expected, rtol=1e-13, atol=1e-300)


@given(theta=angles(), seed=st.integers(0, 99))
@pytest.mark.parametrize("dtype", DTYPES)
def test_pullback_is_the_transposed_jacobian_on_each_columns_scale(dtype, theta, seed):
    theta = theta.astype(dtype)
    u, g, grad = direction_and_pullback(theta, seed)
    wide = theta.astype(np.float64)
    expected = np.einsum("oik,oi->ok", jacobian(wide), g.astype(np.float64))
    assert grad.dtype == dtype
    assert_columns_close(grad, expected, theta, g, tolerance=4 * u.shape[1] * EPS[dtype])


def test_zeros_for_late_angles_fail_the_column_check():
    theta = np.full((1, 40), 0.4)
    _, g, grad = direction_and_pullback(theta)
    expected = g @ complex_step_jacobian(theta[0])
    assert_columns_close(grad, expected, theta, g, tolerance=1e-6)
    late_zeros = np.where(np.arange(40) < 20, grad, 0)
    with pytest.raises(AssertionError, match="off by"):
        assert_columns_close(late_zeros, expected, theta, g, tolerance=1e-6)


@given(theta=angles(special=POLES))
def test_pullback_is_the_complex_step_derivative_at_poles_too(theta):
    _, g, grad = direction_and_pullback(theta)
    expected = [row @ complex_step_jacobian(angle) for row, angle in zip(g, theta, strict=True)]
    assert_columns_close(grad, np.array(expected), theta, g, tolerance=1e-14 * g.shape[1])


@pytest.mark.parametrize("pole", [0.0, np.pi])
@pytest.mark.parametrize("k", [0, 2, 5])
def test_gradient_at_a_pole_is_exact(pole, k):
    theta = np.array([[0.5, 1.1, 2.0, 0.7, 1.9, 2.5]])
    theta[0, k] = pole
    _, g, grad = direction_and_pullback(theta)
    assert_allclose(grad[0], g[0] @ complex_step_jacobian(theta[0]), rtol=1e-14, atol=1e-31)
    assert grad[0, k] != 0
    if pole == 0:
        assert_array_equal(grad[0, k + 1 :], 0)


@of_compiled_code
@given(theta=angles(), seed=st.integers(0, 99))
@pytest.mark.parametrize("dtype", DTYPES)
def test_compiled_kernels_agree_with_the_reference(dtype, theta, seed):
    theta = theta.astype(dtype)
    u, g, grad = direction_and_pullback(theta, seed)
    u_plain = reference.direction(theta)
    grad_plain = reference.direction_pullback(g, theta)
    assert u_plain.dtype == grad_plain.dtype == dtype
    assert_allclose(u, u_plain, rtol=4 * EPS[dtype] * u.shape[1], atol=np.finfo(dtype).tiny)
    assert_columns_close(grad, grad_plain, theta, g, tolerance=4 * EPS[dtype] * u.shape[1])


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_hundred_thousand_inputs(dtype):
    theta = np.random.default_rng(1).normal(np.pi / 2, 0.003, (1, 99_999)).astype(dtype)
    _, g, grad = direction_and_pullback(theta)
    expected = reference.direction_pullback(g, theta)
    assert_columns_close(grad, expected, theta, g, tolerance=1e-6)


def test_complex_angles_differentiate_the_pullback_as_well():
    rng = np.random.default_rng(2)
    theta, v, g = rng.normal(size=(3, 5)), rng.normal(size=(3, 5)), rng.normal(size=(3, 6))
    moved = theta + 1e-30j * v
    u = kernel.direction(moved)
    assert u.dtype == np.complex128
    along = kernel.direction_pullback(g, moved).imag / 1e-30
    up, down = (theta + h * v for h in (1e-6, -1e-6))
    difference = kernel.direction_pullback(g, up) - kernel.direction_pullback(g, down)
    assert_allclose(along, difference / 2e-6, rtol=0, atol=1e-8)


def test_complex_gradients_pass_through_real_angles():
    rng = np.random.default_rng(3)
    g = rng.normal(size=(3, 6)) + 1j * rng.normal(size=(3, 6))
    theta = rng.normal(size=(3, 5))
    real, imaginary = (kernel.direction_pullback(part, theta) for part in (g.real, g.imag))
    assert_allclose(kernel.direction_pullback(g, theta), real + 1j * imaginary, rtol=1e-13)


@pytest.mark.parametrize("units", [1, 2, 3, 6, 7])
def test_a_unit_depends_neither_on_the_units_beside_it_nor_on_threads(units, monkeypatch):
    theta = np.random.default_rng(4).normal(size=(units, 9))
    g = np.random.default_rng(5).normal(size=(units, 10))
    alone = [kernel.direction(row[np.newaxis]) for row in theta]
    monkeypatch.setattr(blocks, "BLOCK_SIZE", 1)  # every unit is a block
    monkeypatch.setenv("GEONET_THREADS", "2")
    assert_array_equal(kernel.direction(theta), np.concatenate(alone))
    rows = [slice(i, i + 1) for i in range(units)]
    grads = [kernel.direction_pullback(g[row], theta[row]) for row in rows]
    assert_array_equal(kernel.direction_pullback(g, theta), np.concatenate(grads))


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_input_has_no_angle_and_the_direction_plus_one(dtype):
    theta = np.empty((3, 0), dtype)
    assert_array_equal(kernel.direction(theta), np.ones((3, 1), dtype))
    assert kernel.direction_pullback(np.ones((3, 1), dtype), theta).shape == (3, 0)


@pytest.mark.parametrize("direction", [kernel.direction, reference.direction])
def test_no_units_give_no_rows(direction):
    theta = np.empty((0, 4))
    u = direction(theta)
    assert u.shape == (0, 5)
    assert kernel.direction_pullback(u, theta).shape == (0, 4)
    assert reference.direction_pullback(u, theta).shape == (0, 4)


def test_strided_read_only_arguments_are_as_good_and_left_alone():
    theta = np.random.default_rng(6).normal(size=(8, 12))[::2, ::-3]
    g = np.random.default_rng(7).normal(size=(5, 4)).T
    copy = np.ascontiguousarray(theta)
    u = kernel.direction(copy)
    grad = kernel.direction_pullback(np.ascontiguousarray(g), copy)
    for array in (theta, g):
        array.setflags(write=False)
    assert_array_equal(kernel.direction(theta), u)
    assert_array_equal(kernel.direction_pullback(g, theta), grad)
    constant = np.broadcast_to(np.float64(1), g.shape)
    expected = kernel.direction_pullback(np.ones(g.shape), theta)
    assert_array_equal(kernel.direction_pullback(constant, theta), expected)


def test_results_of_one_call_survive_the_next():
    theta = np.random.default_rng(8).normal(size=(4, 6))
    u = kernel.direction(theta)
    grad = kernel.direction_pullback(u + 1, theta)
    kept = [array.copy() for array in (u, theta, grad)]
    kernel.direction(theta + 1)
    kernel.direction_pullback(u, theta + 1)
    for array, copy in zip((u, theta, grad), kept, strict=True):
        assert_array_equal(array, copy)


def cosine_and_sine(theta):
    """cos θ and sin θ of each angle, as the rows u(θ) of two components have them."""
    return kernel.direction(theta[:, None]).T


@pytest.mark.parametrize("scale", [1e-8, 1, 100, 1e6])
def test_sine_and_cosine_are_correct_to_the_last_bits(scale):
    rng = np.random.default_rng(9)
    near_zeros = np.arange(-40, 41) * (np.pi / 2) * (1 + rng.normal(size=81) * 1e-12)
    theta = np.concatenate([near_zeros, rng.uniform(-scale, scale, 500)])
    cosine, sine = cosine_and_sine(theta)
    assert_allclose(sine, np.sin(theta), rtol=5e-16)
    assert_allclose(cosine, np.cos(theta), rtol=5e-16)


@pytest.mark.parametrize("scale", [1e-30, 1e-8, 1, 100, 1e6])
def test_sine_and_cosine_of_float32_angles_are_correct_to_rounding(scale):
    rng = np.random.default_rng(10)
    zeros = (np.arange(-400, 401) * (np.pi / 2)).astype(np.float32)  # 161 π/2 is the nearest
    drawn = rng.uniform(-scale, scale, 2000).astype(np.float32)
    theta = np.concatenate([zeros, np.nextafter(zeros, np.float32(9)), drawn])
    cosine, sine = cosine_and_sine(theta)
    exact = theta.astype(np.float64)
    assert_allclose(sine, np.sin(exact), rtol=6e-8)
    assert_allclose(cosine, np.cos(exact), rtol=1.2e-7)


def test_the_product_of_very_many_float32_sines_does_not_drift():
    rng = np.random.default_rng(11)
    theta = (np.pi / 2 + rng.normal(size=(3, 99_999)) / 700).astype(np.float32)
    exact = np.prod(np.sin(theta.astype(np.float64)), axis=1)  # about exp(−0.1)
    assert_allclose(kernel.direction(theta)[:, -1], exact, rtol=1e-7)
