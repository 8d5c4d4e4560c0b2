"""Ways to write one affine map, and how far noise can turn it (design: Stability)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geonet import Tensor, ops
from geonet.characteristic import coordinates
from geonet.hypersphere import angle_between
from geonet.nn.parameterizations import (
    PARAMETERIZATIONS,
    Cartesian,
    Geometric,
    Standard,
    WeightNorm,
)

seeds = st.integers(0, 2**32 - 1)
fan_ins = st.integers(1, 64)
wide = st.integers(2, 64)
unit_counts = st.integers(1, 8)
dtypes = st.sampled_from([np.float64, np.float32])
ROUNDING = 1e-14  # of an angle between computed directions

# angles and changes that go to the poles, round the circle, and out of the canonical range
special = [0.0, np.pi / 2, np.pi, -np.pi, 2 * np.pi, -3.0, 1e-300, 1e-160, -1e-9, 1e5, -1e8]
angles = st.lists(st.one_of(st.sampled_from(special), st.floats(-10, 10)), min_size=1, max_size=15)


def draw(seed, n, units, dtype=np.float64):
    rng = np.random.default_rng(seed)
    weight, bias, x = rng.normal(size=(units, n)), rng.normal(size=units), rng.normal(size=(5, n))
    return weight.astype(dtype), bias.astype(dtype), x.astype(dtype)


def outputs(parameterization, x):
    y = ops.relu(ops.linear(Tensor(x), *parameterization.affine()))
    return (y if parameterization.gain is None else y * parameterization.gain).data


def geometric(theta):
    """One GmP unit with these angles."""
    unit = Geometric(np.ones((1, len(theta) + 1)), np.zeros(1))
    unit.theta.data[...] = theta
    return unit


def direction(unit):
    return unit.affine()[0].data[0]


# One function, several ways -----------------------------------------------------------------------


@given(seeds, fan_ins, unit_counts, dtypes, st.sampled_from([1e-5, 1.0, 1e5]))
def test_every_parameterization_starts_as_the_same_function(seed, n, units, dtype, scale):
    weight, bias, x = draw(seed, n, units, dtype)
    weight, bias = weight * dtype(scale), bias * dtype(scale)
    wide_weight, wide_bias, wide_x = (a.astype(np.float64) for a in (weight, bias, x))
    expected = np.maximum(wide_x @ wide_weight.T + wide_bias, 0)
    size = np.abs(wide_x) @ np.abs(wide_weight).T + np.abs(wide_bias)
    for kind in PARAMETERIZATIONS.values():
        y = outputs(kind(weight, bias), x)
        assert y.dtype == dtype
        assert np.all(np.abs(y - expected) <= (1e-12 if dtype is np.float64 else 1e-5) * size)


@given(seeds, fan_ins)
def test_every_parameterization_starts_from_the_same_boundary(seed, n):
    weight, bias, _ = draw(seed, n, 3)
    expected = coordinates(weight, bias)
    for kind in PARAMETERIZATIONS.values():
        affine = (tensor.data for tensor in kind(weight, bias).affine())
        for ours, theirs in zip(coordinates(*affine), expected):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", PARAMETERIZATIONS.values())
def test_the_arrays_given_are_not_changed_or_kept(kind):
    weight, bias, x = draw(0, 4, 3)
    unit = kind(weight, bias)
    for parameter in unit.parameters():
        parameter.data *= 2
    assert all(np.array_equal(a, b) for a, b in zip(draw(0, 4, 3), (weight, bias, x)))


@pytest.mark.parametrize("kind", [WeightNorm, Cartesian, Geometric])
@pytest.mark.parametrize("n", [1, 4])
def test_a_row_of_zeros_is_refused_by_its_number(kind, n):
    weight, bias, _ = draw(0, n, 5)
    weight[3] = 0
    with pytest.raises(ValueError, match=r"weight: row 3 has length 0\.0"):
        kind(weight, bias)
    Standard(weight, bias)  # which needs no direction


@pytest.mark.parametrize("kind", PARAMETERIZATIONS.values())
@pytest.mark.parametrize("n", [1, 2, 5])
def test_state_goes_from_one_unit_to_another(kind, n):
    weight, bias, x = draw(0, n, 6)
    one, other = kind(weight, bias), kind(-weight[::-1] - 0.1, bias + 1)
    assert not np.allclose(outputs(one, x), outputs(other, x))
    other.load_state_dict(one.state_dict())
    assert np.array_equal(outputs(one, x), outputs(other, x))


# GmP and GmP-C: every parameter does one thing ----------------------------------------------------

with_radius = pytest.mark.parametrize("kind", [Geometric, Cartesian])


@with_radius
@given(seeds, fan_ins, st.floats(-10, 10))
def test_r_scales_the_output_and_moves_no_boundary(kind, seed, n, radius):
    weight, bias, x = draw(seed, n, 3)
    unit = kind(weight, bias)
    before = [tensor.data.copy() for tensor in unit.affine()]
    unit.radius.data[...] = 1
    plain = outputs(unit, x)
    unit.radius.data[...] = radius
    assert all(np.array_equal(b, tensor.data) for b, tensor in zip(before, unit.affine()))
    assert np.array_equal(outputs(unit, x), radius * plain)  # a negative r negates it


@with_radius
@given(seeds, wide, st.floats(-1e3, 1e3))
def test_theta_and_v_leave_the_offset(kind, seed, n, change):
    weight, bias, _ = draw(seed, n, 3)
    unit = kind(weight, bias)
    _, before = coordinates(*(tensor.data for tensor in unit.affine()))
    unit.turned.data += change * np.random.default_rng(seed).normal(size=unit.turned.shape)
    _, after = coordinates(*(tensor.data for tensor in unit.affine()))
    np.testing.assert_allclose(after, before, rtol=1e-14)


@with_radius
@given(seeds, fan_ins, st.floats(-1e3, 1e3))
def test_lambda_leaves_the_direction_and_moves_the_offset_by_exactly_its_change(
    kind, seed, n, change
):
    weight, bias, _ = draw(seed, n, 3)
    unit = kind(weight, bias)
    direction_before, offset_before = (tensor.data.copy() for tensor in unit.affine())
    unit.lambda_.data += change
    direction_after, offset_after = (tensor.data for tensor in unit.affine())
    assert np.array_equal(direction_before, direction_after)
    assert np.array_equal(offset_after, offset_before + change)


@given(seeds, unit_counts, dtypes)
def test_with_one_input_the_direction_is_the_sign_and_nothing_can_turn_it(seed, units, dtype):
    weight, bias, _ = draw(seed, 1, units, dtype)
    unit = Geometric(weight, bias)
    u, lambda_ = (tensor.data for tensor in unit.affine())
    assert np.array_equal(u, np.sign(weight))
    assert np.array_equal(lambda_, bias / np.abs(weight[:, 0]))
    assert unit.theta.shape == (units, 0)
    assert unit.theta.dtype == u.dtype == dtype
    assert np.array_equal(unit.state_dict()["sign"], np.sign(weight))
    assert np.array_equal(unit.turn_bound({"theta": unit.theta.data}), np.zeros(units))


@given(seeds, st.integers(2, 8))
def test_radial_and_angular_gradients_are_orthogonal(seed, n):
    """∂w/∂r · ∂w/∂θₖ = 0 and ∂w/∂θᵢ · ∂w/∂θₖ = r² sₖ² δᵢₖ for w = r u(θ)."""
    rng = np.random.default_rng(seed)
    theta = rng.uniform(-4, 4, n - 1)
    unit = geometric(theta)
    unit.radius.data[...] = rng.normal()
    jacobian = []
    for k in range(n):
        for parameter in unit.parameters():
            parameter.grad = None
        (unit.radius * unit.affine()[0][0, k]).sum().backward()
        jacobian.append([*unit.theta.grad[0], unit.radius.grad[0]])
    s = np.cumprod([1.0, *np.sin(theta[:-1])])
    expected = np.diag([*(unit.radius.data[0] * s) ** 2, 1.0])
    np.testing.assert_allclose(np.transpose(jacobian) @ jacobian, expected, atol=1e-13)


# A Cartesian direction: GmP-C and weight normalization --------------------------------------------


@given(seeds, fan_ins, unit_counts, dtypes)
def test_gmp_c_starts_with_v_of_length_one(seed, n, units, dtype):
    weight, bias, _ = draw(seed, n, units, dtype)
    unit = Cartesian(weight, bias)
    rounding = np.finfo(dtype).eps
    np.testing.assert_allclose(np.linalg.norm(unit.v.data, axis=1), 1, rtol=2 * rounding)
    np.testing.assert_allclose(unit.affine()[0].data, unit.v.data, rtol=4 * rounding)


@given(seeds, unit_counts, dtypes, st.floats(-1e3, 1e3))
def test_with_one_input_gmp_c_is_gmp_to_the_last_bit(seed, units, dtype, radius):
    weight, bias, x = draw(seed, 1, units, dtype)
    gmp, gmp_c = Geometric(weight, bias), Cartesian(weight, bias)
    for unit in (gmp, gmp_c):
        unit.radius.data *= dtype(radius)
        y = ops.relu(ops.linear(Tensor(x), *unit.affine())) * unit.gain
        ops.sum(ops.tanh(y)).backward()
    assert np.array_equal(outputs(gmp, x), outputs(gmp_c, x))
    for name in ("lambda_", "radius"):
        assert np.array_equal(getattr(gmp, name).grad, getattr(gmp_c, name).grad)
    assert np.array_equal(gmp_c.affine()[0].data, np.sign(weight))
    assert np.array_equal(gmp_c.v.grad, np.zeros((units, 1)))


@pytest.mark.parametrize("kind", [WeightNorm, Cartesian])
@given(seeds, wide, unit_counts)
def test_the_gradient_of_v_is_orthogonal_to_v(kind, seed, n, units):
    weight, bias, x = draw(seed, n, units)
    unit = kind(weight, bias)
    unit.sized.data *= -1.5
    ops.sum(ops.tanh(ops.linear(Tensor(x), *unit.affine()))).backward()
    v, gradient = unit.v.data, unit.v.grad
    cosine = np.einsum("on,on->o", v, gradient)
    assert np.all(np.abs(cosine) <= 1e-12 * np.linalg.norm(v, axis=1) * np.abs(gradient).sum(1))
    assert np.all(np.abs(gradient).sum(1) > 0)


@given(seeds, wide, st.floats(1e-3, 1e3))
def test_the_length_of_v_does_not_count_under_gmp_c(seed, n, scale):
    weight, bias, x = draw(seed, n, 3)
    unit = Cartesian(weight, bias)
    before = outputs(unit, x)
    unit.v.data *= scale
    np.testing.assert_allclose(outputs(unit, x), before, rtol=1e-12, atol=1e-13)


@given(seeds, wide, st.floats(1e-3, 1e3))
def test_the_length_of_v_does_not_count_and_l_is_that_of_the_weight(seed, n, scale):
    weight, bias, _ = draw(seed, n, 3)
    unit = WeightNorm(weight, bias)
    unit.length.data[...] = [2.0, -3.0, 0.5]
    before = unit.affine()[0].data.copy()
    unit.v.data *= scale
    np.testing.assert_allclose(unit.affine()[0].data, before, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(np.linalg.norm(before, axis=1), [2.0, 3.0, 0.5], rtol=1e-14)


# Stability of the geometric parameterization ------------------------------------------------------


@given(angles, angles)
def test_gmp_turns_at_most_by_the_norm_of_the_change_however_large(theta, change):
    size = min(len(theta), len(change))
    unit = geometric(theta[:size])
    before, old = direction(unit), unit.theta.data.copy()
    unit.theta.data += change[:size]
    change = unit.theta.data - old  # what the addition really changed
    turn = angle_between(direction(unit), before)
    bound = unit.turn_bound({"theta": change})
    assert turn <= np.linalg.norm(change) + ROUNDING
    assert bound == min(np.linalg.norm(change), np.pi)
    assert turn <= bound + ROUNDING


@given(angles, st.floats(1e-5, 1e-2), seeds)
def test_gmp_turns_by_the_metric_to_first_order(theta, size, seed):
    """turn = √(Σ sₖ² εₖ²) + O(‖ε‖²)."""
    noise = np.random.default_rng(seed).normal(size=len(theta))
    unit = geometric(theta)
    before, old = direction(unit), unit.theta.data.copy()
    unit.theta.data += size * noise / np.linalg.norm(noise)
    change = (unit.theta.data - old)[0]
    s = np.cumprod([1.0, *np.sin(old[0, :-1])])
    turn = angle_between(direction(unit), before)
    error = np.abs(turn - np.linalg.norm(s * change))
    assert error <= len(theta) * size**2 + ROUNDING


@given(angles, st.floats(-7, 7), st.data())
def test_one_angle_moves_the_direction_by_a_chord_of_its_circle(theta, change, data):
    """‖u(θ + ε eₖ) − u(θ)‖ = 2 sₖ |sin(ε/2)|: the tail turns in a plane, at radius sₖ."""
    k = data.draw(st.integers(0, len(theta) - 1))
    unit = geometric(theta)
    before, old = direction(unit), unit.theta.data[0, k]
    unit.theta.data[0, k] += change
    change = unit.theta.data[0, k] - old
    radius = np.abs(np.prod(np.sin(theta[:k])))
    moved = np.linalg.norm(direction(unit) - before)
    np.testing.assert_allclose(moved, 2 * radius * np.abs(np.sin(change / 2)), atol=1e-14)


# Stability of units with a Cartesian direction ----------------------------------------------------

standard_and_wn = pytest.mark.parametrize("kind", [Standard, WeightNorm])
cartesian = pytest.mark.parametrize("kind", [Standard, WeightNorm, Cartesian])


def turn_by(kind, vector, noise):
    """Measured turn of a row and its bound, for noise on the vector alone."""
    unit = kind(vector[None], np.zeros(1))
    row = unit.weight if kind is Standard else unit.v
    row.data[...] = vector  # of any length, where GmP-C starts with 1
    change = ((vector + noise) - vector)[None]
    bound = unit.turn_bound({"weight": change, "v": change, "length": np.zeros(1)})[0]
    before = unit.affine()[0].data.copy()
    row.data += noise
    return angle_between(unit.affine()[0].data, before)[0], bound


def vector_and_normal(seed, n):
    """A vector of some length, and a vector of that length at right angles to it."""
    rng = np.random.default_rng(seed)
    w, d = rng.normal(size=(2, n))
    d -= (d @ w) / (w @ w) * w
    d -= (d @ w) / (w @ w) * w
    return w, d * np.linalg.norm(w) / np.linalg.norm(d)


@cartesian
@given(seeds, wide, st.floats(1e-6, 0.999))
def test_noise_shorter_than_the_weight_turns_it_at_most_by_the_arcsine(kind, seed, n, ratio):
    rng = np.random.default_rng(seed)
    w, noise = rng.normal(size=(2, n))
    noise *= ratio * np.linalg.norm(w) / np.linalg.norm(noise)
    turn, bound = turn_by(kind, w, noise)
    assert bound == pytest.approx(np.arcsin(ratio), rel=1e-9)
    assert turn <= bound * (1 + 1e-9) + ROUNDING


@cartesian
@given(seeds, wide, st.floats(1e-6, 0.999))
def test_noise_at_right_angles_to_the_result_attains_the_arcsine(kind, seed, n, ratio):
    w, d = vector_and_normal(seed, n)
    angle = np.arcsin(ratio)
    result = np.cos(angle) * (np.cos(angle) * w + np.sin(angle) * d)
    turn, bound = turn_by(kind, w, result - w)
    assert turn == pytest.approx(angle, rel=1e-9)
    assert bound == pytest.approx(angle, rel=1e-9)


@cartesian
@given(seeds, wide, st.floats(1e-6, 1))
def test_noise_as_long_as_the_weight_comes_as_near_a_right_angle_as_one_likes(kind, seed, n, short):
    w, d = vector_and_normal(seed, n)
    noise = np.cos(np.pi - 2 * short) * w + np.sin(np.pi - 2 * short) * d
    turn, _ = turn_by(kind, w, noise)
    assert turn == pytest.approx(np.pi / 2 - short, abs=1e-8)


@cartesian
def test_the_bound_at_equal_lengths_is_a_right_angle(kind):
    turn, bound = turn_by(kind, np.array([3.0, 4.0]), np.array([-4.0, 3.0]))
    assert bound == np.pi / 2
    assert turn == pytest.approx(np.pi / 4, rel=1e-14)


@cartesian
@given(seeds, wide, st.floats(np.pi / 2, np.pi), st.floats(1e-3, 3))
def test_longer_noise_reaches_any_angle(kind, seed, n, angle, length):
    w, d = vector_and_normal(seed, n)
    noise = length * (np.cos(angle) * w + np.sin(angle) * d) - w
    turn, bound = turn_by(kind, w, noise)
    assert turn == pytest.approx(angle, abs=1e-9)
    assert bound == np.pi


@cartesian
def test_minus_twice_the_weight_turns_it_round(kind):
    w = np.array([0.3, -1.0, 2.0])
    assert turn_by(kind, w, -2 * w) == (np.pi, np.pi)


@cartesian
def test_no_noise_turns_nothing(kind):
    w = np.array([0.3, -1.0, 2.0])
    assert turn_by(kind, w, 0 * w) == (0, 0)


@given(seeds, wide, st.floats(1e-8, 1e-3), st.floats(0.01, 100))
def test_gmp_c_turns_by_the_metric_to_first_order(seed, n, size, length):
    """turn = ‖ε⟂‖/‖v‖ + O(‖ε‖²/‖v‖²), where ε⟂ is the part of ε at right angles to v."""
    v, noise = np.random.default_rng(seed).normal(size=(2, n))
    v *= length / np.linalg.norm(v)
    noise *= size * length / np.linalg.norm(noise)
    turn, bound = turn_by(Cartesian, v, noise)
    across = np.linalg.norm(noise - (noise @ v) / (v @ v) * v)
    assert np.abs(turn - across / length) <= size**2 + ROUNDING
    assert turn <= bound * (1 + 1e-9) + ROUNDING


@given(seeds, wide, st.floats(0.1, 3))
def test_a_change_of_sign_of_l_flips_the_direction(seed, n, excess):
    weight, bias, _ = draw(seed, n, 3)
    unit = WeightNorm(weight, bias)
    before = unit.affine()[0].data.copy()
    change = -(1 + excess) * unit.length.data
    bound = unit.turn_bound({"v": np.zeros_like(weight), "length": change})
    unit.length.data += change
    assert np.allclose(angle_between(unit.affine()[0].data, before), np.pi, rtol=0, atol=1e-14)
    assert np.array_equal(bound, np.full(3, np.pi))


@standard_and_wn
@given(seeds, wide, st.integers(1, 12))
def test_the_offset_grows_without_bound_as_the_weight_shrinks(kind, seed, n, exponent):
    """λ = b/‖w‖, and b/|ℓ| under weight normalization; under GmP it is a parameter of its own."""
    weight, bias, _ = draw(seed, n, 3)
    unit = kind(weight, bias)
    shrunk = unit.weight if kind is Standard else unit.length
    shrunk.data *= -(10.0**-exponent)
    _, lambda_ = coordinates(*(tensor.data for tensor in unit.affine()))
    expected = 10.0**exponent * bias / np.linalg.norm(weight, axis=1)
    np.testing.assert_allclose(lambda_, expected, rtol=1e-12)


def test_changes_that_do_not_turn_have_bound_zero():
    weight, bias, _ = draw(0, 3, 4)
    changes = {"weight": 0 * weight, "v": 0 * weight, "theta": 0 * weight[:, 1:],
               "length": bias * 0, "bias": bias, "radius": bias, "lambda_": bias}  # fmt: skip
    for kind in PARAMETERIZATIONS.values():
        assert np.array_equal(kind(weight, bias).turn_bound(changes), np.zeros(4))


def test_only_gmp_and_gmp_c_have_a_gain():
    weight, bias, _ = draw(0, 3, 4)
    assert Standard(weight, bias).gain is None
    assert WeightNorm(weight, bias).gain is None
    for kind in (Geometric, Cartesian):
        gain = kind(weight, bias).gain.data
        np.testing.assert_allclose(gain, np.linalg.norm(weight, axis=1), rtol=1e-14)
