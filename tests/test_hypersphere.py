"""Hyperspherical coordinates: round trips, canonical ranges, the metric, geodesic angles."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from operation_helpers import plain_direction

from geonet.hypersphere import (
    angle_between,
    jacobian,
    metric,
    random_directions,
    to_cartesian,
    to_hyperspherical,
)

DTYPES = [np.float32, np.float64]
EPS = {np.float32: 6e-8, np.float64: 1.2e-16}
seeds = st.integers(0, 2**32 - 1)


def generator(seed):
    return np.random.default_rng(seed)


def assert_canonical(theta):
    """Compared with π as a real number: the float32 nearest to π is larger than π."""
    exact = theta.astype(np.float64)
    assert np.all(exact <= math.pi)
    assert np.all(exact[..., :-1] >= 0)
    assert np.all(exact[..., -1:] > -math.pi)


# to_cartesian and to_hyperspherical


@given(n=st.integers(2, 16), seed=seeds)
@pytest.mark.parametrize("dtype", DTYPES)
def test_canonical_angles_survive_the_round_trip(dtype, n, seed):
    low = np.arcsin(0.1)  # |sin θ_k| ≥ 0.1
    theta = generator(seed).uniform(low, np.pi - low, (4, n - 1))
    theta[:2, -1] *= -1
    theta, radius = theta.astype(dtype), generator(seed).uniform(0.1, 10, 4).astype(dtype)
    theta_back, radius_back = to_hyperspherical(to_cartesian(theta, radius))
    assert theta_back.dtype == radius_back.dtype == dtype
    assert_allclose(theta_back, theta, rtol=0, atol=10 * n * EPS[dtype])
    assert_allclose(radius_back, radius, rtol=10 * n * EPS[dtype])


@given(n=st.integers(1, 64), scale=st.integers(-30, 30), seed=seeds)
@pytest.mark.parametrize("dtype", DTYPES)
def test_vectors_survive_the_round_trip(dtype, n, scale, seed):
    rng = generator(seed)
    x = rng.standard_normal((6, n)) * rng.choice([0.0, 1e-9, 1.0], (6, n)) * 10.0**scale
    x = x.astype(dtype)
    theta, radius = to_hyperspherical(x)
    assert_canonical(theta)
    assert n == 1 or np.all(radius >= 0)
    error = np.linalg.norm((to_cartesian(theta, radius) - x).astype(np.float64), axis=1)
    assert np.all(error <= 10 * n * EPS[dtype] * np.abs(radius))


@given(n=st.integers(2, 20), seed=seeds)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_sign_of_the_last_component_survives(dtype, n, seed):
    """The authors' published code takes √(x_n²) in the last angle and loses the sign."""
    x = random_directions(8, n, generator(seed)).astype(dtype)
    x[:4, -1], x[4:, -1] = -np.abs(x[:4, -1]), np.abs(x[4:, -1])
    theta, radius = to_hyperspherical(x)
    assert_array_equal(np.sign(theta[:, -1]), np.sign(x[:, -1]))
    assert_allclose(to_cartesian(theta, radius), x, rtol=0, atol=10 * n * EPS[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_last_component_too_small_to_turn_the_direction_keeps_its_sign(dtype):
    x = np.array([[-1, 1e-30], [-1, -1e-30]], dtype)
    theta, radius = to_hyperspherical(x)
    assert_canonical(theta)
    back = to_cartesian(theta, radius)
    assert_array_equal(np.sign(back), np.sign(x))
    assert_allclose(back, x, rtol=0, atol=5 * EPS[dtype])


@given(n=st.integers(2, 64), seed=seeds)
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_angles_come_back_as_the_same_direction(dtype, n, seed):
    rng = generator(seed)
    special = np.array([0, np.pi, np.pi / 2, -np.pi, 1e-30, 1e6])
    shape = 5, n - 1
    theta = np.where(rng.random(shape) < 0.3, rng.choice(special, shape), rng.normal(0, 9, shape))
    u = to_cartesian(theta.astype(dtype))
    canonical, radius = to_hyperspherical(u)
    assert_canonical(canonical)
    assert_allclose(radius, 1, rtol=0, atol=4 * n * EPS[dtype])
    assert np.all(angle_between(to_cartesian(canonical), u) <= 10 * n * EPS[dtype])


@pytest.mark.parametrize(
    ("x", "theta", "radius"),
    [
        ([1.0, 0.0, 0.0], [0, 0], 1),
        ([-2.0, 0.0, 0.0], [np.pi, 0], 2),
        ([-2.0, -0.0, -0.0], [np.pi, 0], 2),
        ([-0.0, 3.0, 0.0], [np.pi / 2, 0], 3),
        ([0.0, -3.0, -0.0], [np.pi / 2, np.pi], 3),
        ([0.0, 0.0, -3.0], [np.pi / 2, -np.pi / 2], 3),
        ([0.0, 0.0, 0.0], [0, 0], 0),
        ([-0.0, -0.0, -0.0], [0, 0], 0),
        ([0, 3, 4], [np.pi / 2, np.arctan2(4, 3)], 5),
        ([-3.0], [], -3),
        ([0.0], [], 0),
    ],
)
def test_poles_zeros_and_single_components_have_their_documented_angles(x, theta, radius):
    actual_theta, actual_radius = to_hyperspherical(x)
    assert_array_equal(actual_theta, theta)
    assert actual_radius == radius
    assert_allclose(to_cartesian(actual_theta, actual_radius), x, rtol=0, atol=1e-15)


def test_a_zero_vector_round_trips_and_names_the_first_axis():
    theta, radius = to_hyperspherical(np.zeros(4))
    assert_array_equal(to_cartesian(theta, radius), np.zeros(4))
    assert_array_equal(to_cartesian(theta), [1, 0, 0, 0])


@pytest.mark.parametrize(("dtype", "sizes"), [(np.float64, [1e-300, 1e300, 5e-324]),
                                              (np.float32, [1e-37, 1e38, 1e-45])])  # fmt: skip
def test_squares_neither_overflow_nor_underflow(dtype, sizes):
    for size in sizes:
        x = np.array([0, 1, -1, 0, 1], dtype) * dtype(size)
        theta, radius = to_hyperspherical(x)
        assert_allclose(theta, to_hyperspherical(np.sign(x))[0], rtol=4 * EPS[dtype])
        if size > 1e-44:  # √3 times the smallest number is not a multiple of it
            assert_allclose(radius, np.sqrt(3) * size, rtol=4 * EPS[dtype])


def test_small_components_keep_their_own_angles_next_to_a_large_one():
    theta, _ = to_hyperspherical([1.0, 1e-200, 1e-200, -1e-200])
    expected = [np.sqrt(3) * 1e-200, np.arctan(np.sqrt(2)), -np.pi / 4]
    assert_allclose(theta, expected, rtol=1e-15)


def test_nan_propagates():
    theta, radius = to_hyperspherical([[1.0, np.nan, 2.0], [1.0, 2.0, 3.0]])
    assert np.isnan(radius[0])
    assert np.isnan(theta[0]).all()
    assert np.isfinite(theta[1]).all()
    assert np.isfinite(radius[1])


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_hundred_thousand_components_survive_the_round_trip(dtype):
    x = generator(0).standard_normal((1, 100_000)).astype(dtype)
    theta, radius = to_hyperspherical(x)
    assert_canonical(theta)
    length = np.linalg.norm(x.astype(np.float64))
    assert_allclose(radius, length, rtol=1e-12 if dtype == np.float64 else 1e-7)
    # Every angle is rounded to its dtype, and turns the direction by s_k of that.
    error = np.linalg.norm(to_cartesian(theta, radius) - x)
    assert error <= 4 * EPS[dtype] * np.sqrt(x.size) * length
    assert np.sign(theta[0, -1]) == np.sign(x[0, -1])


def test_leading_axes_are_kept_and_the_radius_broadcasts():
    x = generator(1).normal(size=(2, 3, 4))
    theta, radius = to_hyperspherical(x)
    assert theta.shape == (2, 3, 3)
    assert radius.shape == (2, 3)
    assert_allclose(to_cartesian(theta, radius), x, atol=1e-15)
    assert to_cartesian(theta[0, 0], np.ones(5)).shape == (5, 4)
    assert to_cartesian(theta[:, :, :0], radius).shape == (2, 3, 1)
    for shape in [(0, 4), (3, 0, 4)]:
        theta, radius = to_hyperspherical(np.empty(shape))
        assert theta.shape == (*shape[:-1], 3)
        assert to_cartesian(theta, radius).shape == shape


def test_integers_count_as_float64_and_float32_stays():
    assert to_cartesian([1, 2]).dtype == np.float64
    assert to_hyperspherical([3, 4])[1] == 5.0
    theta = np.ones((2, 3), np.float32)
    for result in (to_cartesian(theta, 2.0), metric(theta), jacobian(theta)):
        assert result.dtype == np.float32


# metric and jacobian


@given(n=st.integers(1, 12), seed=seeds)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_metric_is_diagonal_and_orthogonal_to_the_radius(dtype, n, seed):
    theta = generator(seed).uniform(-4, 4, (3, n - 1)).astype(dtype)
    J, u = jacobian(theta).astype(np.float64), to_cartesian(theta).astype(np.float64)
    s = np.sqrt(metric(theta).astype(np.float64))
    gram = np.einsum("bik,bil->bkl", J, J)
    expected = s[:, :, np.newaxis] ** 2 * np.eye(n - 1)
    scale = s[:, :, np.newaxis] * s[:, np.newaxis, :]
    assert np.all(np.abs(gram - expected) <= 10 * n * EPS[dtype] * scale + 1e-300)
    assert np.all(np.abs(np.einsum("bi,bik->bk", u, J)) <= 10 * n * EPS[dtype] * s + 1e-300)


def test_the_metric_is_the_squared_product_of_the_sines_before():
    theta = np.array([0.3, 1.2, -0.7])
    assert_allclose(metric(theta), [1, np.sin(0.3) ** 2, (np.sin(0.3) * np.sin(1.2)) ** 2])


@given(n=st.integers(2, 10), seed=seeds)
def test_the_jacobian_is_the_complex_step_derivative_at_poles_too(n, seed):
    rng = generator(seed)
    theta = rng.normal(size=n - 1)
    theta = np.where(rng.random(n - 1) < 0.3, rng.choice([0.0, np.pi], n - 1), theta)
    stepped = plain_direction(theta + 1e-30j * np.eye(n - 1))  # along one angle per row
    assert_allclose(jacobian(theta), stepped.imag.T / 1e-30, rtol=1e-13, atol=1e-40)


def test_the_jacobian_has_its_shape_for_any_leading_axes():
    assert jacobian(np.ones((2, 3, 4))).shape == (2, 3, 5, 4)
    assert jacobian(np.ones((3, 0))).shape == (3, 1, 0)
    assert jacobian(np.ones((0, 2))).shape == (0, 3, 2)
    assert_array_equal(jacobian(np.ones((2, 3)))[1], jacobian(np.ones(3)))


# geodesic angles


@given(n=st.integers(2, 30), size=st.integers(-12, 1), seed=seeds)
def test_a_perturbation_turns_the_direction_by_its_norm_at_most(n, size, seed):
    rng = generator(seed)
    theta = rng.uniform(-4, 4, (5, n - 1))
    perturbed = theta + 10.0**size * rng.standard_normal(theta.shape)
    bound = np.linalg.norm(perturbed - theta, axis=1)
    turn = angle_between(to_cartesian(perturbed), to_cartesian(theta))
    assert np.all(turn <= bound * (1 + 1e-12) + n * 1e-15)


@given(n=st.integers(2, 8), k=st.integers(0, 6), seed=seeds)
def test_to_first_order_the_turn_is_the_metrics_length_of_the_perturbation(n, k, seed):
    theta = generator(seed).uniform(0.5, 2.5, n - 1)
    epsilon = 1e-7 * generator(seed + 1).standard_normal(n - 1)
    one = epsilon * (np.arange(n - 1) == k % (n - 1))  # in one angle only, too
    for step in (epsilon, one):
        change = (theta + step) - theta
        turn = angle_between(to_cartesian(theta + change), to_cartesian(theta))
        predicted = np.sqrt(np.sum(metric(theta) * change**2))
        assert abs(turn - predicted) <= np.sum(change**2) + 1e-15


@pytest.mark.parametrize("small", [1e-3, 1e-8, 1e-12, 1e-15])
def test_angles_near_zero_and_pi_are_accurate(small):
    u, v = np.array([1.0, 0.0, 0.0]), np.array([math.cos(small), 0.0, math.sin(small)])
    assert_allclose(angle_between(u, 3 * v), small, rtol=0, atol=2.5e-16)
    assert_allclose(angle_between(-u, v), math.pi - small, rtol=0, atol=5e-16)


@given(n=st.integers(1, 9), seed=seeds)
def test_angles_are_those_of_the_arc_cosine_and_symmetric(n, seed):
    u, v = generator(seed).normal(size=(2, 5, n))
    cosine = np.sum(u * v, axis=1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
    angle = angle_between(u, v)
    assert_allclose(angle, np.arccos(np.clip(cosine, -1, 1)), rtol=0, atol=1e-7)
    assert_array_equal(angle, angle_between(v, u))
    assert_array_equal(angle_between(u, u), 0)
    assert_array_equal(angle_between(u, -u), np.pi)


def test_angles_do_not_depend_on_lengths_however_extreme():
    u, v = np.array([1.0, 1.0, 0.0]), np.array([0.0, 1.0, 1.0])
    for length in (1e300, 1e-300, 5e-324, 1.7e308):
        assert_allclose(angle_between(length * u, v), np.pi / 3, rtol=1e-15)
        assert_allclose(angle_between(v, length * u), np.pi / 3, rtol=1e-15)


def test_angles_broadcast_and_are_nan_for_a_zero_vector():
    u, v = np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([[[0.0, 1.0]], [[1.0, 0.0]]])
    expected = [[np.pi / 2, np.nan], [0, np.nan]]
    assert_array_equal(angle_between(u, v), expected)
    assert_array_equal(angle_between(v, u), expected)
    assert angle_between(u.astype(np.float32), v.astype(np.float32)).dtype == np.float32
    assert angle_between(u.astype(np.float32), v).dtype == np.float64


# random_directions


def test_random_directions_have_the_moments_of_the_uniform_distribution():
    count, n = 20_000, 5
    u = random_directions(count, n, generator(0))
    assert_allclose(np.linalg.norm(u, axis=1), 1, atol=1e-15)
    assert_allclose(u.mean(axis=0), 0, atol=5 / np.sqrt(count * n))
    assert_allclose(u.T @ u / count, np.eye(n) / n, atol=5 / n / np.sqrt(count))
    assert_allclose((u**4).mean(axis=0), 3 / (n * (n + 2)), rtol=0.05)


def test_coordinates_of_directions_in_space_are_uniform():
    """Archimedes: slices of a sphere of equal height have equal area."""
    u = np.sort(random_directions(20_000, 3, generator(1)), axis=0)
    uniform = np.linspace(-1, 1, 20_000)[:, np.newaxis]
    assert np.abs(u - uniform).max() / 2 < 1.63 / np.sqrt(20_000)  # Kolmogorov–Smirnov, 1 %


def test_random_directions_on_a_line_are_both_signs():
    u = random_directions(100, 1, generator(2))
    assert set(u.ravel()) == {-1.0, 1.0}


def test_random_directions_are_repeatable_and_of_unit_length():
    u = random_directions(7, 4, generator(3))
    assert_array_equal(u, random_directions(7, 4, generator(3)))
    assert_allclose(np.linalg.norm(u, axis=1), 1, rtol=1e-15)
    assert random_directions(0, 4, generator(3)).shape == (0, 4)


def test_a_random_row_of_zeros_becomes_the_first_axis():
    class Zeros:
        standard_normal = staticmethod(np.zeros)

    assert_array_equal(random_directions(2, 3, Zeros()), [[1, 0, 0], [1, 0, 0]])


# arguments


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: to_cartesian(1.0), ValueError, "theta must have at least one axis"),
        (lambda: to_cartesian([1j]), TypeError, "theta must be an array of real numbers"),
        (lambda: to_cartesian(np.ones((2, 3)), np.ones(4)), ValueError, "radius must broadcast"),
        (lambda: to_hyperspherical(np.empty((3, 0))), ValueError, "x must have at least one comp"),
        (lambda: to_hyperspherical(["a"]), TypeError, "x must be an array of real numbers"),
        (lambda: to_hyperspherical(2.0), ValueError, "x must have at least one axis"),
        (lambda: metric(1.0), ValueError, "theta must have at least one axis"),
        (lambda: jacobian([True]), TypeError, "theta must be an array of real numbers"),
        (lambda: angle_between([1.0], [1.0, 2.0]), ValueError, "same number of components"),
        (lambda: angle_between([], []), ValueError, "same number of components"),
        (lambda: random_directions(3, 0, generator(0)), ValueError, "n must be at least 1"),
        (lambda: random_directions(-1, 2, generator(0)), ValueError, "count at least 0"),
    ],
)
def test_wrong_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_arguments_are_never_changed():
    theta, x = generator(4).normal(size=(2, 3)), generator(5).normal(size=(2, 4))
    x[0, 1] = -0.0
    for function, arguments in [
        (to_cartesian, (theta, x[:, 0])),
        (to_hyperspherical, (x,)),
        (metric, (theta,)),
        (jacobian, (theta,)),
        (angle_between, (x, x[::-1])),
    ]:
        before = [argument.copy() for argument in arguments]
        for argument in arguments:
            argument.setflags(write=False)
        function(*arguments)
        for argument, copy in zip(arguments, before, strict=True):
            assert argument.tobytes() == copy.tobytes()


def test_strided_arguments_give_the_same_results():
    x = generator(6).normal(size=(6, 10))[::2, ::-2]
    contiguous = np.ascontiguousarray(x)
    for function in (to_cartesian, metric, jacobian):
        assert_array_equal(function(x), function(contiguous))
    for actual, expected in zip(to_hyperspherical(x), to_hyperspherical(contiguous), strict=True):
        assert_array_equal(actual, expected)
    assert_array_equal(angle_between(x, 1 - x), angle_between(contiguous, 1 - contiguous))


KINDS = "u1", "i1", ">i4", "f2", ">f8", ">f4", "f4"


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_of_any_kind_are_the_numbers_they_are(kind):
    x = np.array([[1, 2, 3], [100, 5, 0]])
    x = x if kind == "u1" else -x
    integers, dtype = np.asfortranarray(x.astype(kind)), np.float32 if "f4" in kind else np.float64
    functions = [to_cartesian, to_hyperspherical, metric, jacobian]
    functions.append(lambda v: angle_between(v, v[::-1]))
    functions.append(lambda v: to_cartesian(np.ones((2, 3), dtype), v[:, 0]))
    for function in functions:
        found, expected = function(integers), function(x.astype(dtype))
        pairs = zip(found, expected) if isinstance(found, tuple) else [(found, expected)]
        for one, other in pairs:
            assert one.dtype == dtype
            assert_allclose(one, other, rtol=8 * np.finfo(dtype).eps)


@pytest.mark.parametrize("radius", ["2", 1j, None, [True, False]])
def test_a_radius_that_is_no_number_is_named(radius):
    with pytest.raises(TypeError, match="radius must be an array of real numbers"):
        to_cartesian(np.ones((2, 3)), radius)
