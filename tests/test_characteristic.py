"""Where boundaries are, how they move, and that noise throws them no farther than the bound."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit_helpers import random_unit, randomized, rng

from geonet import METHODS, Tensor, nn, ops, train
from geonet.characteristic import Tracker, boundary, coordinates, location, perturb
from geonet.hypersphere import angle_between
from geonet.models import PAPER_METHODS, mlp, vgg6

seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 12)
EVERY_METHOD = pytest.mark.parametrize(
    "method", [*METHODS, PAPER_METHODS["BN"], PAPER_METHODS["WN+MBN"]]
)


def random_filters(method, seed=0):
    """As `random_unit`, of five 3×3 filters for images with 3 channels."""
    model = vgg6(method, widths=[5], num_classes=2, rng=rng(seed), dtype=np.float64)
    unit = randomized(model[0], method, seed)
    unit(rng(seed).normal(1, 2, size=(4, 6, 6, 3)))
    return unit


def pre_activation(unit, x):
    z = unit.layer.apply(Tensor(x), *unit.layer.rows())
    return (z if unit.normalization is None else unit.normalization(z)).data


def assert_active_side(weight, bias, x, z):
    """w·x + b has the sign of z wherever rounding cannot change it."""
    side = x @ weight.T + bias
    clear = np.abs(side) > 1e-9 * (np.abs(x) @ np.abs(weight).T + np.abs(bias))
    assert clear.mean() > 0.99
    assert np.array_equal((side > 0)[clear], (z > 0)[clear])


# The boundary of a unit ---------------------------------------------------------------------------


@EVERY_METHOD
@given(sizes, st.integers(2, 8), seeds)
def test_the_boundary_parts_active_from_inactive_inputs(method, n, units, seed):
    unit = random_unit(method, n, units, seed).eval()
    x = rng(seed).normal(0, 3, size=(50, n))
    assert_active_side(*boundary(unit), x, pre_activation(unit, x))


@EVERY_METHOD
@given(sizes, st.integers(2, 8), seeds)
def test_batch_statistics_give_the_boundary_that_the_batch_saw(method, n, units, seed):
    unit = random_unit(method, n, units, seed).train()
    x = rng(seed).normal(3, 3, size=(50, n))
    z = pre_activation(unit, x)
    assert_active_side(*boundary(unit, statistics="batch"), x, z)


@EVERY_METHOD
@pytest.mark.parametrize("statistics", ["running", "batch"])
def test_the_boundary_of_filters_parts_active_from_inactive_windows(method, statistics):
    """A window is flattened as a filter is: height, width, channel."""
    unit = random_filters(method).train(statistics == "batch")
    x = rng(1).normal(1, 3, size=(4, 7, 8, 3))
    z = pre_activation(unit, x)[:, 1:-1, 1:-1].reshape(-1, 5)  # where nothing is padded
    windows = np.array([x[n, i : i + 3, j : j + 3].ravel() for n, i, j in np.ndindex(4, 5, 6)])
    assert_active_side(*boundary(unit, statistics), windows, z)


@pytest.mark.parametrize("method", ["BN", "WN+MBN"])
def test_running_and_batch_statistics_give_different_offsets(method):
    unit = random_unit(method)
    (weight, running), (same_weight, batch) = (boundary(unit, s) for s in ("running", "batch"))
    assert np.array_equal(weight, same_weight)
    assert np.all(running != batch)


def test_the_boundary_of_a_plain_layer_is_its_affine_map():
    layer = nn.Linear(3, 4, rng=rng())
    layer.parameterization.bias.data[...] = [1.0, -2.0, 3.0, 4.0]
    weight, bias = boundary(layer)
    assert np.array_equal(weight, layer.parameterization.weight.data)
    assert np.array_equal(bias, layer.parameterization.bias.data)
    assert np.array_equal(boundary(nn.Linear(3, 4, rng=rng(), bias=False))[1], np.zeros(4))


def test_the_boundary_of_a_geometric_unit_is_its_direction_and_offset():
    unit = random_unit("GmP")
    weight, bias = boundary(unit)
    np.testing.assert_allclose(np.linalg.norm(weight, axis=1), 1, rtol=1e-14)
    assert np.array_equal(bias, unit.layer.parameterization.lambda_.data)
    unit.layer.parameterization.radius.data *= -3
    assert all(np.array_equal(a, b) for a, b in zip(boundary(unit), (weight, bias)))


def test_the_boundary_under_batch_norm_is_the_formula_in_numbers():
    """sign(γ) · (w, b − μ + σβ/γ) with σ = √(var + eps)."""
    unit = nn.Unit(nn.Linear(2, 1, rng=rng(), bias=False), nn.BatchNorm(1, eps=0.001))
    unit.layer.parameterization.weight.data[...] = [3.0, 4.0]
    normalization = unit.normalization
    normalization.gamma.data[...], normalization.beta.data[...] = -2, 5
    normalization.running_mean[...], normalization.running_var[...] = 2, 0.009
    weight, bias = boundary(unit)
    np.testing.assert_allclose(weight, [[-3, -4]])
    np.testing.assert_allclose(bias, [-(-2 + 0.1 * 5 / -2)])


def test_a_gamma_of_zero_has_no_boundary_and_spares_the_others():
    for method in ("BN", "LN"):
        unit = random_unit(method)
        unit.normalization.gamma.data[2] = 0
        weight, bias = boundary(unit)
        assert np.isnan(weight[2]).all()
        assert np.isnan(bias[2])
        assert np.isfinite(np.delete(weight, 2, 0)).all()
        assert np.isfinite(np.delete(bias, 2)).all()
        assert np.isnan(Tracker(unit).locations()[0]).any(axis=-1).tolist() == [0, 0, 1, 0, 0]


def test_layer_norm_with_a_shift_has_no_hyperplane():
    unit = random_unit("LN")
    tracker = Tracker(unit)
    unit.normalization.beta.data[3] = -0.25
    with pytest.raises(ValueError, match=r"unit 3 .*layer norm with β ≠ 0"):
        boundary(unit)
    tracker.record()
    unit.normalization.beta.data[3] = 0
    tracker.record()
    finite = [np.isfinite(tracker.weights[t]).all() for t in range(3)]
    assert finite == [True, False, True]
    assert np.isnan(tracker.biases[1]).all()
    assert np.isnan(tracker.turns()).all()


def test_a_tracker_may_begin_where_there_is_no_hyperplane():
    unit = random_unit("LN")
    unit.normalization.beta.data[...] = 1
    tracker = Tracker(unit)
    assert tracker.weights.shape == (1, 5, 3)
    assert np.isnan(tracker.weights).all()


@pytest.mark.parametrize("method", ["BN", "WN+MBN"])
@pytest.mark.parametrize("ask", [boundary, Tracker])
def test_batch_statistics_need_a_batch(method, ask):
    unit = mlp([3, 4, 1], method, rng=rng())[0]
    with pytest.raises(ValueError, match="statistics='batch' needs a batch"):
        ask(unit, "batch")


@EVERY_METHOD
def test_other_statistics_are_refused_whatever_the_method(method):
    with pytest.raises(ValueError, match="statistics must be one of running, batch"):
        boundary(random_unit(method), "minibatch")


@EVERY_METHOD
@pytest.mark.parametrize("n", [1, 3])
def test_boundaries_are_copies(method, n):
    unit = random_unit(method, n)
    state = unit.state_dict()
    weight, bias = boundary(unit)
    kept = weight.copy(), bias.copy()
    weight[...], bias[...] = 7, 7
    assert all(np.array_equal(state[name], value) for name, value in unit.state_dict().items())
    assert all(np.array_equal(a, b) for a, b in zip(boundary(unit), kept))
    weight, bias = boundary(unit)
    for parameter in unit.parameters():
        parameter.data += 1
    assert np.array_equal(weight, kept[0])
    assert np.array_equal(bias, kept[1])


# Plain arrays -------------------------------------------------------------------------------------


@given(sizes, seeds)
def test_the_location_lies_on_the_boundary_and_is_nearest_to_the_origin(n, seed):
    weight, bias, points = (rng([seed, i]).normal(size=s) for i, s in enumerate(((n,), (), (9, n))))
    spot = location(weight, bias)
    scale = np.abs(weight) @ np.abs(spot) + np.abs(bias)
    assert np.abs(weight @ spot + bias) <= 1e-13 * scale
    on_boundary = points - ((points @ weight + bias) / (weight @ weight))[:, None] * weight
    assert np.all(np.linalg.norm(on_boundary, axis=1) >= np.linalg.norm(spot) * (1 - 1e-12))
    np.testing.assert_allclose(spot, -bias * weight / (weight @ weight), rtol=1e-12, atol=1e-15)


@given(sizes, seeds)
def test_coordinates_are_the_unit_normal_and_the_signed_distance(n, seed):
    weight, bias = rng(seed).normal(size=(2, 4, n)), rng(seed).normal(size=(2, 4))
    direction, lambda_ = coordinates(weight, bias)
    lengths = np.linalg.norm(weight, axis=-1)
    np.testing.assert_allclose(np.linalg.norm(direction, axis=-1), 1, rtol=1e-14)
    np.testing.assert_allclose(direction * lengths[..., None], weight, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(lambda_ * lengths, bias, rtol=1e-13)
    np.testing.assert_allclose(location(weight, bias), -lambda_[..., None] * direction, rtol=1e-15)


@pytest.mark.parametrize("scale", [1e300, 1e150, 1e-150, 1e-300])
def test_coordinates_neither_overflow_nor_underflow(scale):
    weight, bias = rng().normal(size=(4, 3)), rng(1).normal(size=4)
    for ours, theirs in zip(coordinates(weight * scale, bias * scale), coordinates(weight, bias)):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    far = coordinates(weight * scale, bias)[1]
    np.testing.assert_allclose(far * scale, coordinates(weight, bias)[1], rtol=1e-12)


def test_a_weight_of_zero_has_no_boundary():
    weight, bias = np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([1.0, 10.0])
    direction, lambda_ = coordinates(weight, bias)
    assert np.isnan(direction[0]).all()
    assert np.isnan(lambda_[0])
    assert np.isnan(location(weight, bias)[0]).all()
    np.testing.assert_allclose(location(weight, bias)[1], [-1.2, -1.6])


def test_on_a_line_the_boundary_is_a_point():
    np.testing.assert_allclose(location([[2.0], [-4.0]], [1.0, 2.0]), [[-0.5], [0.5]])
    direction, lambda_ = coordinates([[2.0], [-4.0]], [1.0, 2.0])
    np.testing.assert_allclose(direction, [[1.0], [-1.0]])
    np.testing.assert_allclose(lambda_, [0.5, 0.5])


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"weight must be .*\(4, 3\) and \(3,\)"):
        location(np.ones((4, 3)), np.ones(3))
    with pytest.raises(ValueError, match="weight must be"):
        coordinates(1.0, 1.0)


# Tracker ------------------------------------------------------------------------------------------


@EVERY_METHOD
def test_a_tracker_records_before_training_and_after_every_step(method):
    model = mlp([3, 5, 4, 1], method, rng=rng())
    x = rng(1).normal(size=(20, 3))
    trackers = [Tracker(model[0]), Tracker(model[1])]
    seen = [boundary(model[0])]
    optimizer = train.SGD(model.parameters(), lr=0.1)

    def look():
        for tracker in trackers:
            tracker.record()
        if method != "LN":
            seen.append(boundary(model[0]))

    train.fit(model, ops.mse, (x, x[:, :1]), optimizer, epochs=4, on_step=look)
    for tracker, (units, n) in zip(trackers, ((5, 3), (4, 5))):
        assert tracker.weights.shape == tracker.locations().shape == (5, units, n)
        assert tracker.biases.shape == (5, units)
        assert tracker.turns().shape == tracker.displacements().shape == (4, units)
    if method != "LN":  # whose β is no longer 0
        assert np.array_equal(trackers[0].weights, [weight for weight, _ in seen])
        assert np.array_equal(trackers[0].biases, [bias for _, bias in seen])
        spots = [location(*pair) for pair in seen]
        moved = np.linalg.norm(np.diff(spots, axis=0), axis=-1)
        np.testing.assert_allclose(trackers[0].displacements(), moved, rtol=1e-14)
        assert np.all(trackers[0].displacements().max(axis=0) > 0)


@EVERY_METHOD
def test_a_tracker_follows_filters_too(method):
    model = vgg6(method, widths=[4, 5], num_classes=3, rng=rng(), dtype=np.float64)
    images, labels = rng(1).normal(size=(12, 6, 6, 3)), np.arange(12) % 3
    trackers = [Tracker(model[0]), Tracker(model[1])]
    optimizer = train.SGD(model.parameters(), lr=0.1)

    def look():
        for tracker in trackers:
            tracker.record()

    train.fit(model, ops.cross_entropy, (images, labels), optimizer, epochs=2, on_step=look)
    for tracker, (units, n) in zip(trackers, ((4, 27), (5, 36))):
        assert tracker.weights.shape == tracker.locations().shape == (3, units, n)
        assert tracker.biases.shape == (3, units)
        assert tracker.turns().shape == (2, units)
        if method != "LN":  # whose β is no longer 0
            assert np.all(tracker.turns().max(axis=0) > 0)


def test_turns_are_radians_between_successive_directions():
    layer = nn.Linear(2, 1, rng=rng())
    angles = [0.3, 0.5, -0.5, np.pi - 0.5, 2.0]
    layer.parameterization.weight.data[...] = [np.cos(0.3), np.sin(0.3)]
    tracker = Tracker(layer)
    for length, angle in enumerate(angles[1:], start=2):  # the length does not count
        layer.parameterization.weight.data[...] = [
            length * np.cos(angle),
            length * np.sin(angle),
        ]
        tracker.record()
    np.testing.assert_allclose(tracker.turns()[:, 0], np.abs(np.diff(angles)), rtol=1e-13)


@EVERY_METHOD
@pytest.mark.parametrize("n", [1, 3])
def test_no_change_is_measured_as_exactly_zero(method, n):
    tracker = Tracker(random_unit(method, n))
    tracker.record()
    assert np.array_equal(tracker.turns(), np.zeros((1, 5)))
    assert np.array_equal(tracker.displacements(), np.zeros((1, 5)))


@pytest.mark.parametrize("method", ["BN", "WN+MBN"])
def test_a_tracker_of_batch_statistics_follows_the_batches(method):
    unit = random_unit(method)
    tracker, seen = Tracker(unit, "batch"), [boundary(unit, "batch")]
    for seed in range(3):
        unit(rng(seed).normal(seed, 2, size=(9, 3)))
        tracker.record()
        seen.append(boundary(unit, "batch"))
    assert np.array_equal(tracker.biases, [bias for _, bias in seen])
    assert np.all(np.diff(tracker.biases, axis=0) != 0)
    assert np.all(tracker.biases[-1] != boundary(unit)[1])


def test_a_tracker_without_steps_is_empty():
    tracker = Tracker(random_unit("SP"))
    assert tracker.turns().shape == tracker.displacements().shape == (0, 5)


# Noise --------------------------------------------------------------------------------------------


@EVERY_METHOD
@given(sizes, st.integers(2, 6), st.floats(-6, 1), st.booleans(), seeds)
def test_noise_turns_no_boundary_beyond_the_bound(method, n, units, exponent, batched, seed):
    unit = random_unit(method, n, units, seed)
    noise = {
        name: 10.0**exponent * rng([seed, 7, i]).normal(size=parameter.shape)
        for i, (name, parameter) in enumerate(unit.named_parameters())
        if method != "LN" or not name.endswith("beta")
    }
    result = perturb(unit, noise, rng(seed).normal(size=(11, n)) if batched else None)
    assert result.turn.shape == result.bound.shape == result.shift.shape == (units,)
    # near a right angle the arcsine doubles the relative error of what it is taken of
    assert np.all(result.turn <= result.bound * (1 + 1e-7) + 1e-14)
    assert np.all(result.bound <= np.pi)


@EVERY_METHOD
@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("size", [1e-4, 1e-1, 10.0])
def test_noise_turns_no_filter_beyond_the_bound(method, batched, size):
    unit = random_filters(method)
    noise = {
        name: size * rng(i).normal(size=parameter.shape)
        for i, (name, parameter) in enumerate(unit.named_parameters())
        if method != "LN" or not name.endswith("beta")
    }
    result = perturb(unit, noise, rng(1).normal(size=(4, 6, 6, 3)) if batched else None)
    assert np.all(result.turn > 0)
    assert np.all(result.turn <= result.bound * (1 + 1e-7))


@pytest.mark.parametrize("method", [method for method in METHODS if method != "LN"])
@given(st.floats(-6, 1), st.sampled_from([-1, 1]), seeds)
def test_one_number_is_added_to_every_component(method, exponent, sign, seed):
    unit, epsilon = random_unit(method, seed=seed), sign * 10.0**exponent
    noise = {name: np.full(p.shape, epsilon) for name, p in unit.named_parameters()}
    for one, each in zip(perturb(unit, epsilon)[:3], perturb(unit, noise)[:3]):
        assert np.array_equal(one, each)


def test_noise_on_the_shift_of_a_layer_norm_leaves_no_boundary_to_compare():
    with pytest.raises(ValueError, match="β ≠ 0"):
        perturb(random_unit("LN"), 0.1)


def test_the_bound_is_that_of_the_parameterization():
    noise = rng(3).normal(size=(5, 3)) * 0.01
    standard, geometric = random_unit("SP"), random_unit("GmP")
    weight = standard.layer.parameterization.weight.data
    ratio = np.linalg.norm(noise, axis=1) / np.linalg.norm(weight, axis=1)
    ours = perturb(standard, {"layer.parameterization.weight": noise}).bound
    np.testing.assert_allclose(ours, np.arcsin(ratio), rtol=1e-9)
    ours = perturb(geometric, {"layer.parameterization.theta": noise[:, 1:]}).bound
    np.testing.assert_allclose(ours, np.linalg.norm(noise[:, 1:], axis=1), rtol=1e-9)


def test_the_bound_is_pi_for_layer_norm_and_where_gamma_changes_sign():
    assert np.array_equal(perturb(random_unit("LN"), {}).bound, np.full(5, np.pi))
    unit = random_unit("BN")
    unit.normalization.gamma.data[...] = [1.0, -1.0, 0.5, -2.0, 0.5]
    unit.normalization.beta.data[...] = 0
    result = perturb(unit, {"normalization.gamma": np.array([0.1, 1.5, -0.6, 1.9, -0.5])})
    assert np.array_equal(result.bound, [0, np.pi, np.pi, 0, np.pi])
    np.testing.assert_allclose(result.turn, [0, np.pi, np.pi, 0, np.nan], atol=1e-14)


@EVERY_METHOD
def test_the_unit_itself_is_left_alone(method):
    unit = random_unit(method).eval()
    state = unit.state_dict()
    noise = {name: rng(1).normal(size=p.shape) for name, p in unit.layer.named_parameters()}
    noise = {f"layer.{name}": value for name, value in noise.items()}
    result = perturb(unit, noise, rng(1).normal(size=(6, 3)))
    assert np.all(result.turn > 0)
    assert all(np.array_equal(state[name], value) for name, value in unit.state_dict().items())
    assert not unit.training


@pytest.mark.parametrize("method", ["BN", "WN+MBN"])
def test_a_batch_gives_the_statistics_before_and_after(method):
    unit, batch = random_unit(method), rng(4).normal(2, 1, size=(30, 3))
    name = "layer.parameterization." + ("weight" if method == "BN" else "v")
    result = perturb(unit, {name: 0.3}, batch)
    unit(batch)
    assert all(np.array_equal(a, b) for a, b in zip(result.before, boundary(unit, "batch")))
    dict(unit.named_parameters())[name].data += 0.3
    unit(batch)
    assert all(np.array_equal(a, b) for a, b in zip(result.after, boundary(unit, "batch")))
    plain = perturb(random_unit(method), {name: 0.3})
    assert all(np.array_equal(a, b) for a, b in zip(plain.before, boundary(random_unit(method))))


@pytest.mark.parametrize(("method", "turned"), [("GmP", "theta"), ("GmP-C", "v")])
@given(st.floats(-6, 2), seeds)
def test_the_offset_of_a_geometric_unit_moves_by_the_noise_on_it(method, turned, exponent, seed):
    unit = random_unit(method, seed=seed)
    noise = 10.0**exponent * rng(seed).normal(size=5)
    names = ("layer.parameterization.lambda_", f"layer.parameterization.{turned}")
    result = perturb(unit, {names[0]: noise, names[1]: 0.5})
    lambda_ = unit.layer.parameterization.lambda_.data
    expected = np.abs((lambda_ + noise) - lambda_)
    np.testing.assert_allclose(result.shift, expected, rtol=1e-9, atol=1e-14)


def test_what_counts_is_what_the_addition_really_changed():
    unit = random_unit("GmP", n=2)
    unit.layer.parameterization.theta.data[...] = 1e8
    result = perturb(unit, {"layer.parameterization.theta": 1e-9})
    assert np.array_equal(result.bound, np.zeros(5))
    assert np.array_equal(result.turn, np.zeros(5))


def test_a_shift_of_the_offset_is_measured_in_the_space_of_the_inputs():
    layer = nn.Linear(2, 1, rng=rng())
    layer.parameterization.weight.data[...] = [[3.0, 4.0]]
    result = perturb(layer, {"parameterization.bias": np.array([-10.0])})
    assert result.shift == pytest.approx([2.0])
    assert result.turn == 0
    assert np.array_equal(result.after[1], [-10.0])
    assert angle_between(result.before[0], result.after[0]) == 0


@EVERY_METHOD
def test_a_name_that_the_unit_does_not_have_is_refused(method):
    unit = random_unit(method)
    with pytest.raises(ValueError, match=r"epsilon names \['weigth'\]") as error:
        perturb(unit, {"weigth": 0.1})
    assert all(name in str(error.value) for name, _ in unit.named_parameters())


def test_with_one_input_noise_turns_no_geometric_unit_and_flips_a_standard_one():
    geometric, standard = (random_unit(method, n=1) for method in ("GmP", "SP"))
    result = perturb(geometric, -10.0)
    assert np.array_equal(result.turn, np.zeros(5))
    assert np.array_equal(result.bound, np.zeros(5))
    standard.layer.parameterization.weight.data[...] = 1
    assert np.array_equal(perturb(standard, -10.0).turn, np.full(5, np.pi))


@pytest.mark.parametrize("kind", ["u1", "i1", ">i4", ">f8", "f2", ">f4"])
def test_boundaries_of_numbers_of_any_kind(kind):
    weight, bias = np.array([[-128, 0, 0], [1, 2, -128]]), np.array([-128, 100])
    if kind == "u1":
        weight, bias = abs(weight), abs(bias)
    expected = location(weight * 1.0, bias * 1.0)
    rtol = 3e-3 if kind == "f2" else 1e-6
    np.testing.assert_allclose(location(weight.astype(kind), bias.astype(kind)), expected, rtol)
