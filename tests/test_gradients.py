"""What gradients mean: their parts, and the record of a training."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit_helpers import random_unit, rng

from geonet import METHODS, Tensor, hypersphere, ops
from geonet.characteristic import Tracker, boundary, coordinates, location, perturb
from geonet.gradients import Geometry, Inspector, anticipate
from geonet.models import mlp, vgg6
from geonet.nn import Linear, Sequential, Standard
from geonet.tensor import Observer, observers
from geonet.train import SGD, Adam, AdamW, Diverged, fit

seeds = st.integers(0, 2**32 - 1)
every_method = pytest.mark.parametrize("method", METHODS)


def dot(a, b):
    return (a * b).sum(axis=-1)


def loss_of(unit, x, seed):
    y = unit.train()(Tensor(x))
    return (y * rng(seed + 1).normal(size=y.shape)).sum()


class Seen(Observer):
    """The weight of a unit's affine map in its last call, with its gradient, as arrays."""

    def __init__(self, unit):
        self.layer = unit.layer

    def on_rows(self, layer, weight, bias):
        if layer is self.layer:
            weight = weight if weight.requires_grad else Tensor(weight.data, requires_grad=True)
            self.row = weight.retain_grad()
        return weight, bias

    @property
    def weight(self):
        return self.row.data

    @property
    def gradient(self):
        return self.row.grad


def split(weight, gradient):
    """Radial and angular part of the gradients of rows, (g·u) u and g − (g·u) u."""
    direction = weight / np.linalg.norm(weight, axis=1, keepdims=True)
    radial = dot(gradient, direction)[:, None] * direction
    return radial, gradient - radial


def watched(unit, x, seed):
    """What was `Seen` of a unit after a backward pass of some loss."""
    with Seen(unit) as seen:
        loss_of(unit, x, seed).backward()
    return seen


def some_unit(method, n, seed):
    """A unit with parameters of either sign, and inputs for it."""
    unit = mlp([n, 4, 1], method, rng=rng(seed))[0]
    for i, parameter in enumerate(unit.parameters()):
        parameter.data[...] = rng([seed, i]).normal(size=parameter.shape)
    return unit, rng(seed).normal(size=(9, n))


# The parts ----------------------------------------------------------------------------------------


@given(st.integers(1, 6), seeds)
def test_in_weight_normalization_v_has_no_radial_gradient_and_the_length_has_all_of_it(n, seed):
    unit, x = some_unit("WN", n, seed)
    seen = watched(unit, x, seed)
    rows = unit.layer.parameterization
    size = np.abs(seen.gradient).max() * np.abs(rows.length.data).max() + 1e-9
    radial, _ = split(rows.v.data, rows.v.grad)
    norm = np.linalg.norm(rows.v.data, axis=1)
    assert (np.linalg.norm(radial, axis=1) * norm <= 1e-13 * size * n).all()
    direction = rows.v.data / norm[:, None]
    np.testing.assert_allclose(rows.length.grad, dot(seen.gradient, direction), atol=1e-12 * size)
    _, angular = split(seen.weight, seen.gradient)
    scale = (rows.length.data / norm)[:, None]
    np.testing.assert_allclose(rows.v.grad, scale * angular, atol=1e-11 * size / norm.min())


@given(st.integers(2, 6), seeds)
def test_under_gmp_the_angles_have_the_angular_part_and_the_radius_the_radial(n, seed):
    unit, x = some_unit("GmP", n, seed)
    seen = watched(unit, x, seed)
    rows = unit.layer.parameterization
    jacobian = hypersphere.jacobian(rows.theta.data)
    radial, angular = split(seen.weight, seen.gradient)
    expected = np.einsum("onk,on->ok", jacobian, angular)
    size = np.abs(seen.gradient).max() + 1e-9
    np.testing.assert_allclose(rows.theta.grad, expected, atol=1e-12 * size)
    along = rows.radius.data * rows.radius.grad - rows.lambda_.data * rows.lambda_.grad
    np.testing.assert_allclose(dot(radial, seen.weight), along, atol=1e-11 * size)


def test_batch_normalization_leaves_no_radial_gradient():
    unit, x = some_unit("BN", 3, 0)
    unit.normalization.eps = 0.0
    seen = watched(unit, x, 0)
    radial, angular = split(seen.weight, seen.gradient)
    assert np.linalg.norm(radial) <= 1e-12 * np.linalg.norm(angular)


# The record of a training -------------------------------------------------------------------------


def trained(model, epochs=6, optimizer=Adam, every=1, layers=None, inputs=3):
    """The inspector of a training, and trackers of the same units."""
    x = rng(1).normal(size=(20, inputs))
    inspector = Inspector(model, layers, every)
    trackers = {name: Tracker(dict(model.named_modules())[name]) for name in inspector.layers}

    def track():
        for tracker in trackers.values():
            tracker.record()

    target = np.sin(x.sum(axis=1, keepdims=True))
    hooks = {"on_gradients": inspector.record, "on_step": track}
    with inspector:
        rule = optimizer(model.parameters(), 0.01)
        fit(model, ops.mse, (x, target), rule, epochs=epochs, label=None, **hooks)
    return inspector, trackers


@every_method
@pytest.mark.parametrize("inputs", [1, 3])
def test_turns_and_displacements_are_those_of_a_tracker(method, inputs):
    model = mlp([inputs, 6, 5, 1], method, rng=rng())
    for unit in model[:2]:
        if hasattr(unit.normalization, "momentum"):
            unit.normalization.momentum = (
                1.0  # a tracker looks before they move, an inspector after
            )
    inspector, trackers = trained(model, inputs=inputs)
    assert inspector.layers == ["steps.0", "steps.1"]
    np.testing.assert_array_equal(inspector.steps, range(6))
    for name, tracker in trackers.items():
        seen, moves = inspector[name], (tracker.turns(), tracker.displacements())
        for found, expected in zip((seen.turn, seen.displacement), moves):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9)


def test_every_so_many_steps_gives_the_same_records_but_fewer():
    (all_of_it, _), (some, _) = (
        trained(mlp([3, 6, 5, 1], "GmP", rng=rng()), epochs=7, every=every) for every in (1, 3)
    )
    np.testing.assert_array_equal(some.steps, [0, 3, 6])
    for field, other in zip(all_of_it["steps.1"], some["steps.1"]):
        np.testing.assert_array_equal(field[::3], other)


@pytest.mark.parametrize("method", ["SP", "WN", "GmP-C", "GmP"])
def test_inspection_changes_nothing_and_leaves_nothing_behind(method):
    models = [mlp([3, 6, 1], method, rng=rng()) for _ in range(2)]
    trained(models[0])
    x = rng(1).normal(size=(20, 3))
    optimizer = Adam(models[1].parameters(), 0.01)
    target = np.sin(x.sum(axis=1, keepdims=True))
    fit(models[1], ops.mse, (x, target), optimizer, epochs=6, label=None)
    for one, other in zip(*(model.parameters() for model in models)):
        np.testing.assert_array_equal(one.data, other.data)
    assert not observers()


def test_units_that_compute_the_same_have_the_same_gradient_flow_and_share():
    seen = {}
    for method in ("SP", "WN", "GmP-C", "GmP"):
        inspector, _ = trained(mlp([3, 6, 5, 1], method, rng=rng()), epochs=1)
        seen[method] = [inspector[name] for name in inspector.layers]
    for method in ("WN", "GmP-C", "GmP"):
        for mine, reference in zip(seen[method], seen["SP"]):
            np.testing.assert_allclose(mine.flow, reference.flow, rtol=1e-5)
            np.testing.assert_allclose(mine.radial, reference.radial, rtol=1e-4, atol=1e-7)
            np.testing.assert_array_equal(mine.activity, reference.activity)


@every_method
def test_a_record_has_the_parts_of_the_weights_gradient_and_those_of_the_parameters(method):
    inspector, _ = trained(mlp([3, 6, 1], method, rng=rng()), epochs=1)
    model, x = mlp([3, 6, 1], method, rng=rng()), rng(1).normal(size=(20, 3))
    with Seen(model[0]) as seen:
        ops.mse(model(x), np.sin(x.sum(axis=1, keepdims=True))).backward()
    record, rows = inspector["steps.0"], model[0].layer.parameterization
    radial, angular = split(seen.weight, seen.gradient)
    length = np.linalg.norm(seen.weight, axis=1)
    along = dot(seen.gradient, seen.weight)
    np.testing.assert_allclose(record.radial[0], along, rtol=1e-4, atol=1e-7)
    across = length * np.linalg.norm(angular, axis=1)
    np.testing.assert_allclose(record.angular[0], across, rtol=1e-5)
    share = dot(radial, radial) / dot(seen.gradient, seen.gradient)
    np.testing.assert_allclose(record.radial_share[0], share, rtol=1e-4, atol=1e-12)
    flow = np.linalg.norm(length[:, None] * seen.gradient)
    np.testing.assert_allclose(record.flow[0], flow, rtol=1e-5)
    if rows.turned is rows.sized:  # w itself does both
        turning, stretching = angular, along / length
    else:
        turning, stretching = rows.turned.grad, rows.sized.grad
    np.testing.assert_allclose(record.turning[0], np.linalg.norm(turning, axis=1), rtol=1e-5)
    np.testing.assert_allclose(record.stretching[0], stretching, rtol=1e-4, atol=1e-9)


@every_method
def test_activity_is_the_share_of_the_batch_on_the_active_side_of_the_boundary(method):
    model, x = mlp([3, 6, 1], method, rng=rng()), rng(1).normal(size=(20, 3))
    with Inspector(model) as inspector:
        model(x).sum().backward()
        inspector.record()
    weight, bias = boundary(model[0], "batch")
    share = (x @ weight.T + bias > 0).mean(axis=0)
    assert 0 < share.min() < share.max() < 1
    np.testing.assert_allclose(inspector["steps.0"].activity[0], share, rtol=1e-6)


@pytest.mark.parametrize("method", ["SP", "BN", "WN+MBN", "GmP", "GmP+IMN"])
def test_dead_units_and_boundaries_outside_the_data_are_found(method):
    model = mlp([3, 4, 1], method, rng=rng())
    parameters = {name.split(".")[-1]: p for name, p in model[0].named_parameters()}
    (offset,) = (
        p for name, p in parameters.items() if name in ("bias", "lambda_", "beta", "shift")
    )
    offset.data[:2] = -50, 50
    inspector, _ = trained(model, epochs=1)
    seen = inspector["steps.0"]
    np.testing.assert_array_equal(seen.activity[0, :2], [0, 1])
    np.testing.assert_array_equal(seen.dead[0], [True, False, False, False])
    np.testing.assert_array_equal(seen.outside[0], [True, True, False, False])
    assert np.isnan(seen.radial_share[0, 0])


def test_filters_have_a_record_too_and_other_activations_no_activity():
    model, x = (
        vgg6("GmP+IMN", widths=[5, 4], num_classes=2, rng=rng()),
        rng().normal(size=(8, 8, 8, 3)),
    )
    inspector, data = Inspector(model), (x.astype(np.float32), rng().integers(2, size=8))
    optimizer = SGD(model.parameters(), 0.01)
    with inspector:
        hook = inspector.record
        fit(model, ops.cross_entropy, data, optimizer, epochs=2, on_gradients=hook, label=None)
    assert inspector["steps.1"].turn.shape == (2, 4)
    assert not inspector["steps.1"].outside.any()
    smooth = mlp([3, 4, 1], "SP", rng=rng(), activation="tanh")
    assert np.isnan(trained(smooth)[0]["steps.0"].activity).all()


def test_a_layer_that_changes_its_size_while_it_is_inspected_is_refused():
    model, x = mlp([3, 4, 1], rng=rng()), np.ones((2, 3))
    with Inspector(model) as inspector:
        ops.mse(model(x), np.zeros((2, 1))).backward()
        inspector.record()
        model[0].layer.parameterization = Standard(np.ones((6, 3)), None)
        ops.mse(model[0](x), np.zeros((2, 6))).backward()
        with pytest.raises(ValueError, match="a layer must keep its size while it is inspected"):
            inspector.record()
        model[0].layer.parameterization = Standard(np.ones((4, 3)), np.zeros(4))


def test_a_bare_layer_can_be_inspected_by_name():
    model = mlp([3, 4, 2, 1], rng=rng())
    inspector, _ = trained(model, layers=["steps.2", "steps.0.layer"])
    assert [inspector[name].turn.shape for name in inspector.layers] == [(6, 1), (6, 4)]


def test_the_layer_of_a_unit_stands_for_the_unit():
    records = []
    for name in ("steps.0", "steps.0.layer"):
        inspector, _ = trained(mlp([3, 4, 1], "BN", rng=rng()), layers=[name])
        records.append(inspector[name])
    for one, other in zip(*records):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("method", ["SP", "WN", "GmP-C", "GmP", "BN"])
def test_a_shared_unit_is_inspected_once(method):
    start, end = mlp([3, 3, 1], method, rng=rng())
    model = Sequential(start, start, end)
    assert trained(model, epochs=2)[0].layers == ["steps.0"]
    names = ["steps.1", "steps.1.layer", "steps.0", "steps.2"]
    inspector, _ = trained(model, epochs=2, layers=names)
    assert inspector.layers == ["steps.1", "steps.2"]
    assert inspector["steps.1"].turn.shape == (2, 3)
    assert not observers()


@pytest.mark.parametrize("size", [1e-24, 1e21])
def test_shares_and_flow_hold_for_gradients_of_any_size(size):
    fields = np.full((len(Geometry._fields), 1, 4), size, np.float32)
    seen = Geometry(*fields)
    np.testing.assert_array_equal(seen.radial_share, 0.5)
    np.testing.assert_allclose(seen.flow, np.sqrt(8) * size, rtol=1e-6)
    layer = Linear(3, 4, "weight_norm", "relu", rng=rng(), dtype=np.float32)
    inspector = Inspector(Sequential(layer), ["steps.0"])
    with inspector:
        layer(Tensor(np.ones((2, 3), np.float32))).backward(np.full((2, 4), size, np.float32))
        inspector.record()
    expected = np.linalg.norm(layer.parameterization.v.grad.astype(float), axis=1)
    np.testing.assert_allclose(inspector["steps.0"].turning[0], expected, rtol=1e-5)


def test_records_are_of_the_gradients_before_processes_share_them():
    class Doubling(SGD):
        def all_reduce(self, loss, rows):
            for parameter in self.parameters:
                parameter.grad = 2 * parameter.grad
            return loss

    for method in ("SP", "WN", "GmP-C", "GmP"):
        mine, shared = (
            trained(mlp([3, 4, 1], method, rng=rng()), epochs=1, optimizer=kind)[0]["steps.0"]
            for kind in (SGD, Doubling)
        )
        for name in ("radial", "angular", "stretching", "turning"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(shared, name))


def test_an_inspector_records_inside_its_with_alone_and_is_entered_once():
    model, x = mlp([3, 4, 1], "GmP", rng=rng()), rng(1).normal(size=(20, 3))
    inspector, optimizer = Inspector(model), SGD(model.parameters(), 0.1)
    options = {"epochs": 2, "on_gradients": inspector.record, "label": None}
    with inspector:
        fit(model, ops.mse, (x, x[:, :1]), optimizer, **options)
        with pytest.raises(RuntimeError, match="this Inspector is observing already"):
            inspector.__enter__()
    kept = inspector["steps.0"].angular.copy()
    with pytest.raises(ValueError, match="must be entered before it records"):
        fit(model, ops.mse, (x, x[:, :1]), optimizer, **options)
    with inspector:
        fit(model, ops.mse, (x, x[:, :1]), optimizer, **options)
    seen = inspector["steps.0"]
    np.testing.assert_array_equal(seen.angular[:2], kept)
    assert len(np.unique(seen.angular[:, 0])) == 4
    assert np.all((seen.turn >= 0) & (seen.turn < np.pi))
    np.testing.assert_array_equal(inspector.steps, [0, 1, 0, 1])


def test_a_training_that_diverges_leaves_no_observer_behind():
    model = mlp([3, 4, 1], rng=rng())
    with pytest.raises(Diverged):
        trained(model, epochs=50, optimizer=lambda p, lr: SGD(p, 1e9))
    assert not observers()


def test_what_was_not_called_in_training_mode_was_not_seen():
    model = mlp([3, 4, 1], rng=rng())
    with Inspector(model) as inspector:
        model.eval()(np.ones((2, 3)))
        with pytest.raises(ValueError, match="not been called in training mode"):
            inspector.record()


@pytest.mark.parametrize(
    ("options", "words"),
    [({"layers": ["steps.7"]}, "'steps.7' is not a Unit"), ({"every": 0}, "every must be"),
     ({"every": None}, "whole number of at least 1, but is None"), ({"every": 1.5}, "but is 1.5"),
     ({"layers": []}, "layers must name at least one"), ({"layers": "steps.0"}, "a list of names")],
)  # fmt: skip
def test_what_cannot_be_inspected_is_refused(options, words):
    with pytest.raises((ValueError, TypeError), match=words):
        Inspector(mlp([3, 4, 1], rng=rng()), **options)


def test_other_things_than_units_models_inspectors_and_names_are_refused():
    model, x = mlp([3, 4, 1], rng=rng()), np.ones((2, 3))
    with pytest.raises(TypeError, match=r"unit must be a Unit, .* but is a Sequential"):
        boundary(model)
    with pytest.raises(TypeError, match="model must be a Module, but is a ndarray"):
        Inspector(x)
    with pytest.raises(ValueError, match=r"one of steps\.0, but is 'zzz'"):
        Inspector(model)["zzz"]


# What a step would do -----------------------------------------------------------------------------


def with_gradients(method, n, seed, lr=1.0):
    """A unit with gradients of some loss, and the change that a step at this rate makes."""
    unit = random_unit(method, n, 4, seed)
    batch = rng(seed).normal(size=(9, n))
    unit.train()(batch)  # so that there are statistics
    (unit(Tensor(batch)) * rng(seed + 1).normal(size=(9, 4))).sum().backward()
    changes = {
        name: -lr * parameter.grad
        for name, parameter in unit.named_parameters()
        if parameter.grad is not None
    }
    return unit, changes


@pytest.mark.parametrize("method", [method for method in METHODS if method != "LN"])
@given(st.integers(2, 6), seeds)
def test_the_anticipated_turn_is_the_measured_one_to_first_order(method, n, seed):
    unit, changes = with_gradients(method, n, seed, lr=1e-6)
    anticipated = anticipate(unit, SGD(unit.parameters(), 1e-6))
    (_, old), (_, new) = (coordinates(*pair) for pair in perturb(unit, changes)[3:])
    measured = perturb(unit, changes).turn
    np.testing.assert_allclose(anticipated.turn, measured, rtol=1e-2, atol=1e-11)
    np.testing.assert_allclose(anticipated.shift, new - old, rtol=1e-2, atol=1e-9)
    old, new = (location(*pair) for pair in perturb(unit, changes)[3:])
    moved = np.linalg.norm(new - old, axis=1)
    np.testing.assert_allclose(anticipated.displacement, moved, rtol=1e-2, atol=1e-9)


OPTIMIZERS = {
    "momentum": lambda p, lr: SGD(p, lr, momentum=0.9, weight_decay=0.1),
    "Adam": Adam,
    "AdamW": lambda p, lr: AdamW(p, lr, weight_decay=0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("method", [method for method in METHODS if method != "LN"])
def test_the_next_step_of_any_optimizer_is_anticipated_with_what_it_remembers(method, name):
    unit, _ = with_gradients(method, 4, 3)
    optimizer = OPTIMIZERS[name](unit.parameters(), 1e-6)
    optimizer.step()
    for i, parameter in enumerate(p for p in unit.parameters() if p.grad is not None):
        parameter.grad = rng(i).normal(size=parameter.shape)
    state = optimizer.state_dict()
    anticipated = anticipate(unit, optimizer)
    np.testing.assert_equal(optimizer.state_dict(), state)
    tracker = Tracker(unit)
    optimizer.step()
    tracker.record()
    np.testing.assert_allclose(anticipated.turn, tracker.turns()[0], rtol=1e-3, atol=1e-11)
    displacement = tracker.displacements()[0]
    np.testing.assert_allclose(anticipated.displacement, displacement, rtol=1e-3, atol=1e-11)


@pytest.mark.parametrize("method", [method for method in METHODS if method != "LN"])
def test_what_is_anticipated_is_proportional_to_the_rate_and_nothing_is_changed(method):
    unit, _ = with_gradients(method, 3, 0)
    before = unit.state_dict()
    one, many = (anticipate(unit, SGD(unit.parameters(), lr)) for lr in (0.1, 1000.0))
    for quantity, multiple in zip(one, many):
        np.testing.assert_allclose(multiple, 1e4 * quantity, rtol=1e-11)
    for name, value in unit.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_under_gmp_the_anticipated_turn_is_that_of_the_metric():
    unit, _ = with_gradients("GmP", 5, 0)
    theta = unit.layer.parameterization.theta
    expected = np.sqrt((hypersphere.metric(theta.data) * theta.grad**2).sum(axis=1))
    turn = anticipate(unit, SGD(unit.parameters(), 1.0)).turn
    np.testing.assert_allclose(turn, expected, rtol=1e-12)


def test_without_gradients_nothing_is_anticipated():
    unit = random_unit("WN")
    for quantity in anticipate(unit, Adam(unit.parameters())):
        np.testing.assert_array_equal(quantity, 0)


def test_an_optimizer_of_another_model_anticipates_nothing():
    with pytest.raises(ValueError, match="has none"):
        anticipate(random_unit("SP"), Adam(random_unit("SP").parameters()))
    with pytest.raises(TypeError, match="optimizer must be an Optimizer, but is a float"):
        anticipate(random_unit("SP"), 0.1)


def test_an_optimizer_of_several_processes_anticipates_as_one_of_a_single_process():
    unit, _ = with_gradients("GmP", 3, 0)
    optimizer = SGD(unit.parameters(), 0.1)
    alone = anticipate(unit, optimizer)
    optimizer.comm = threading.Lock()  # like a communicator, it cannot be copied
    np.testing.assert_array_equal(alone, anticipate(unit, optimizer))


@pytest.mark.parametrize("method", ["SP", "BN"])
def test_of_a_unit_without_a_boundary_nothing_is_anticipated(method):
    unit, _ = with_gradients(method, 3, 0)
    none = unit.normalization.gamma if method == "BN" else unit.layer.parameterization.weight
    none.data[1] = 0
    for quantity in anticipate(unit, SGD(unit.parameters(), 0.1)):
        np.testing.assert_array_equal(np.isnan(quantity), [False, True, False, False])


def test_float32_units_are_anticipated_as_those_of_float64():
    found = []
    for dtype in (np.float64, np.float32):
        unit = mlp([3, 5, 1], "GmP", rng=rng(), dtype=dtype)[0]
        unit(Tensor(rng(1).normal(size=(9, 3)).astype(dtype))).sum().backward()
        found.append(anticipate(unit, SGD(unit.parameters(), 0.1)))
    assert (found[0].turn > 0).all()
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-6)


def test_a_step_that_would_leave_no_hyperplane_is_refused():
    unit, _ = with_gradients("LN", 3, 0)
    words = "after the step the boundary of unit . is not a hyperplane: .* β ≠ 0"
    with pytest.raises(ValueError, match=words):
        anticipate(unit, SGD(unit.parameters(), 0.1))
