"""Gradients of whole models: right ones pass, and of wrong ones the parameter is named."""

import numpy as np
import pytest

from geonet import METHODS, check_model, nn, no_grad, ops
from geonet.check.gradcheck import GradientError
from geonet.models import mlp, vgg6
from geonet.tensor import Tensor, primitive


def batch(seed=0, rows=12):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, 2)), rng.normal(size=(rows, 1))


def network(method="SP", **options):
    return mlp([2, 6, 6, 1], method, rng=np.random.default_rng(1), **options)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("training", [True, False])
def test_every_method_passes_and_the_model_is_left_as_it_was(method, training):
    model = network(method, dtype=np.float32 if training else np.float64).train(training)
    before = model.state_dict()
    reports = check_model(model, ops.mse, *batch())
    assert reports.keys() == dict(model.named_parameters()).keys()
    assert all(report.entries and report.complex < 1e-9 for report in reports.values())
    after = model.state_dict()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert all(p.grad is None and p.dtype == before[n].dtype for n, p in model.named_parameters())


def test_a_convnet_passes():
    options = {"rng": np.random.default_rng(0), "num_classes": 3, "widths": (2, 2)}
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(3, 6, 6, 3)), np.array([0, 2, 1])
    for method in ("BN", "GmP+IMN"):
        assert check_model(vgg6(method, **options), ops.cross_entropy, x, labels)


@primitive
def tripled(x):
    """3 x, whose pullback forgets the factor."""
    return 3 * x, (lambda g: g,)


@primitive
def turned_round(x):
    """x, whose pullback has the wrong sign."""
    return x * 1, (lambda g: -g,)


def names_in(error):
    first = str(error.value).splitlines()[0]
    return first.removeprefix("wrong gradient of ").split(", ")


def test_all_parameters_before_a_wrong_operation_are_named_and_none_after_it():
    model = network()
    model.steps.insert(1, tripled)
    with pytest.raises(GradientError, match=r"a constant factor of 0\.333333") as error:
        check_model(model, ops.mse, *batch())
    inside = "steps.0.layer.parameterization."
    assert names_in(error) == [inside + "bias", inside + "weight"]


class Scale(nn.Module):
    """One parameter whose gradient has the wrong sign."""

    def __init__(self):
        self.size = nn.module.Parameter([2.0, 3.0])

    def __call__(self, x):
        return x * turned_round(self.size)


def test_only_the_wrong_parameter_is_named_with_its_likely_cause():
    model = nn.Sequential(Scale(), network())
    with pytest.raises(GradientError, match="the sign is wrong") as error:
        check_model(model, ops.mse, *batch())
    assert names_in(error) == ["steps.0.size"]
    assert "parameter steps.0.size of shape (2,): worst at entry" in str(error.value)


class Detached(nn.Module):
    """A parameter that the loss depends on behind the back of the engine."""

    def __init__(self):
        self.shift = nn.module.Parameter([0.5])

    def __call__(self, x):
        return x + self.shift.detach() + Tensor(self.shift.data)


def test_a_cut_path_and_a_pole_are_found():
    x, y = batch()
    with pytest.raises(GradientError, match="path cut by detach"):
        check_model(Detached(), ops.mse, y, y + 1)

    @primitive
    def to_infinity(x):
        return x * 1, (lambda g: g * np.inf,)

    model = network()
    model.steps.append(to_infinity)
    with pytest.raises(GradientError, match="NaN or infinity"), np.errstate(invalid="ignore"):
        check_model(model, ops.mse, x, y)


def test_a_unit_at_its_kink_is_no_error():
    """Rows that lie within a central step of a boundary: (f(x+h) − f(x−h))/2h mixes both sides."""
    model = network()
    unit = model.steps[0].layer.parameterization
    x, y = batch()
    x[0] = 1e-6 * unit.weight.data[0]
    assert check_model(model, ops.mse, x, y)


def test_a_model_that_takes_no_complex_numbers_is_checked_by_differences():
    model = network()

    def loss(prediction, y):
        if prediction.dtype.kind == "c":
            raise TypeError("no complex numbers")
        return ops.mse(prediction, y)

    assert all(np.isnan(r.complex) for r in check_model(model, loss, *batch()).values())
    model.steps.insert(1, tripled)
    with pytest.raises(GradientError, match=r"steps\.0"):
        check_model(model, loss, *batch())


def test_a_gradient_that_is_zero_but_for_rounding_passes():
    rng = np.random.default_rng(0)
    layer = nn.Linear(2, 3, rng=rng)  # its bias has no effect before batch normalization
    model = nn.Sequential(layer, nn.BatchNorm(3), nn.Linear(3, 1, rng=rng))
    assert check_model(model, ops.mse, *batch())


def test_a_loss_may_use_the_parameters_of_the_model_itself():
    model = network(dtype=np.float32)
    weight = model.steps[1].layer.parameterization.weight
    weight.grad = before = np.ones(weight.shape, np.float32)
    data = weight.data

    def with_decay(operation):
        return lambda prediction, y: ops.mse(prediction, y) + (operation(weight) * weight).sum()

    assert check_model(model, with_decay(ops.exp), *batch())
    with pytest.raises(GradientError) as error:
        check_model(model, with_decay(tripled), *batch())
    assert names_in(error) == ["steps.1.layer.parameterization.weight"]
    assert weight.data is data
    assert weight.grad is before
    assert all(p.grad is None and p.dtype == np.float32 for p in model.parameters()[:1])


def test_what_cannot_be_checked_is_refused_in_one_sentence():
    model, (x, y) = network(), batch()
    with no_grad(), pytest.raises(RuntimeError, match=r"nothing is recorded inside no_grad\(\)"):
        check_model(model, ops.mse, x, y)
    with pytest.raises(ValueError, match="the loss must be finite to be checked, but is nan"):
        check_model(model, ops.mse, np.full_like(x, np.nan), y)
    with pytest.raises(TypeError, match=r"must give a Tensor of one number, but gave float$"):
        check_model(model, lambda prediction, y: 1.0, x, y)
    with pytest.raises(TypeError, match=r"one number, but gave Tensor \(12, 1\)$"):
        check_model(model, lambda prediction, y: prediction, x, y)
