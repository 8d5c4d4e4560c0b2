"""Optimizers against their recursions and PyTorch; schedules and early stopping."""

import copy

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from geonet import METHODS, Tensor, hypersphere, nn, ops
from geonet.models import mlp, vgg6
from geonet.train import (
    SGD,
    Adam,
    AdamW,
    CosineSchedule,
    EarlyStopping,
    ReduceLROnPlateau,
    StepSchedule,
    WarmUp,
    damping_of,
    decay_of,
)

values = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=30)


def rng(seed=0):
    return np.random.default_rng(seed)


# Optimizers ---------------------------------------------------------------------------------------


def sgd_recursion(p, gradients, lr, momentum=0.0, weight_decay=0.0):
    velocity = 0
    for g in gradients:
        g = g + weight_decay * p
        velocity = momentum * velocity + g
        p = p - lr * velocity
    return p


def adam_recursion(
    p, gradients, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled=False
):
    m = v = 0
    for t, g in enumerate(gradients, start=1):
        if decoupled:
            p = p - lr * weight_decay * p
        else:
            g = g + weight_decay * p
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        p = p - lr * (m / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
    return p


def adamw_recursion(p, gradients, **options):
    return adam_recursion(p, gradients, decoupled=True, **options)


OPTIMIZERS = [
    (SGD, sgd_recursion, {"lr": 0.1}),
    (SGD, sgd_recursion, {"lr": 0.1, "momentum": 0.9}),
    (SGD, sgd_recursion, {"lr": 0.1, "weight_decay": 0.05}),
    (SGD, sgd_recursion, {"lr": 0.1, "momentum": 0.8, "weight_decay": 0.05}),
    (Adam, adam_recursion, {"lr": 1e-3}),
    (Adam, adam_recursion, {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-3}),
    (Adam, adam_recursion, {"lr": 0.05, "weight_decay": 0.1}),
    (AdamW, adamw_recursion, {"lr": 1e-3}),
    (AdamW, adamw_recursion, {"lr": 0.05, "weight_decay": 0.1, "betas": (0.8, 0.95)}),
]
EVERY_OPTIMIZER = pytest.mark.parametrize(("optimizer", "recursion", "options"), OPTIMIZERS)
EVERY_KIND = pytest.mark.parametrize("optimizer", [SGD, Adam, AdamW])


def steps_of(optimizer, start, gradients, **options):
    """The parameter after each step, for gradients that are given."""
    parameter = nn.Parameter(start)
    rule, path = optimizer([parameter], **options), []
    for gradient in gradients:
        parameter.grad = gradient.copy()
        rule.step()
        assert np.array_equal(parameter.grad, gradient)  # a rule never changes the gradient
        path.append(parameter.data.copy())
    return np.array(path)


@EVERY_OPTIMIZER
def test_every_step_is_that_of_the_recursion(optimizer, recursion, options):
    start, gradients = rng(1).normal(size=(3, 4)), rng(2).normal(size=(20, 3, 4))
    path = steps_of(optimizer, start, gradients, **options)
    expected = [recursion(start, gradients[: t + 1], **options) for t in range(20)]
    np.testing.assert_allclose(path, expected, rtol=1e-12, atol=1e-13)


@EVERY_OPTIMIZER
def test_every_step_is_that_of_pytorch(torch, optimizer, recursion, options):
    start, gradients = rng(1).normal(size=(3, 4)), rng(2).normal(size=(20, 3, 4))
    theirs = torch.nn.Parameter(torch.tensor(start))
    options = {"weight_decay": 0.0} | options  # which is 0.01 in PyTorch's AdamW
    rule, expected = getattr(torch.optim, optimizer.__name__)([theirs], **options), []
    for gradient in gradients:
        theirs.grad = torch.tensor(gradient)
        rule.step()
        expected.append(theirs.detach().numpy().copy())
    path = steps_of(optimizer, start, gradients, **options)
    np.testing.assert_allclose(path, expected, rtol=1e-12, atol=1e-12)


@EVERY_OPTIMIZER
def test_single_precision_stays_so(optimizer, recursion, options):
    start, gradients = rng(1).normal(size=4), rng(2).normal(size=(20, 4))
    path = steps_of(optimizer, *(a.astype(np.float32) for a in (start, gradients)), **options)
    assert path.dtype == np.float32
    np.testing.assert_allclose(path[-1], recursion(start, gradients, **options), atol=1e-5)


@EVERY_OPTIMIZER
def test_a_parameter_without_a_gradient_is_left_alone_and_does_not_age(
    optimizer, recursion, options
):
    start, gradients = rng(1).normal(size=4), rng(2).normal(size=(6, 4))
    always, sometimes = nn.Parameter(start), nn.Parameter(start)
    rule = optimizer([always, sometimes], **options)
    for t, gradient in enumerate(gradients):
        always.grad, sometimes.grad = gradient, gradient if t % 2 else None
        before = sometimes.data.copy()
        rule.step()
        assert t % 2 or np.array_equal(sometimes.data, before)
    expected = recursion(start, gradients, **options), recursion(start, gradients[1::2], **options)
    np.testing.assert_allclose(always.data, expected[0], rtol=1e-12)
    np.testing.assert_allclose(sometimes.data, expected[1], rtol=1e-12)


@EVERY_KIND
def test_updates_are_in_place_and_shapes_without_entries_are_no_trouble(optimizer):
    parameter, empty, scalar = (nn.Parameter(np.ones(shape)) for shape in ((2, 3), (4, 0), ()))
    arrays = [p.data for p in (parameter, empty, scalar)]
    rule = optimizer([parameter, empty, scalar], lr=0.1)
    for p in (parameter, empty, scalar):
        p.grad = np.ones(p.shape)
    rule.step()
    assert all(p.data is a for p, a in zip((parameter, empty, scalar), arrays))
    assert np.all(parameter.data < 1)
    assert scalar.data < 1


@EVERY_KIND
def test_every_initial_weight_learns_whatever_its_layout_in_memory(optimizer):
    layer = nn.Linear(5, 3, rng=rng(), init="orthogonal")  # which makes its rows as columns
    before = layer.parameterization.weight.data.copy()
    ops.sum(layer(rng(1).normal(size=(4, 5)))).backward()
    optimizer(layer.parameters(), lr=0.1).step()
    assert np.all(layer.parameterization.weight.data != before)


@pytest.mark.parametrize("kind", [Adam, AdamW])
def test_parameters_that_are_not_contiguous_are_refused(kind):
    with pytest.raises(ValueError, match=r"parameters\[0\].data must be contiguous and writeable"):
        kind([Tensor(np.ones((2, 3)).T, requires_grad=True)])


def test_zero_grad_forgets():
    parameter = nn.Parameter(np.ones(2))
    parameter.grad = np.ones(2)
    SGD([parameter], lr=1).zero_grad()
    assert parameter.grad is None


@EVERY_KIND
@pytest.mark.parametrize("parameters", [[], [np.ones(2)], iter([])])
def test_parameters_must_be_tensors(optimizer, parameters):
    with pytest.raises(ValueError, match="parameters must be a list of at least one Tensor"):
        optimizer(parameters, lr=0.1)


@pytest.mark.parametrize(
    ("optimizer", "options", "name"),
    [(kind, {"lr": lr}, "lr") for kind in (SGD, Adam, AdamW) for lr in (-0.1, np.inf, np.nan)]
    + [(kind, {"lr": 0.1, "weight_decay": -1}, "weight_decay") for kind in (SGD, Adam, AdamW)]
    + [(SGD, {"lr": 0.1, "momentum": value}, "momentum") for value in (-0.1, 1.0, np.nan)]
    + [(Adam, {"betas": (value, 0.9)}, r"betas\[0\]") for value in (-0.1, 1.0, np.nan)]
    + [(Adam, {"betas": (0.9, value)}, r"betas\[1\]") for value in (-0.1, 1.0, np.nan)]
    + [(AdamW, {"eps": value}, "eps") for value in (-1e-8, np.inf, np.nan)],
)
def test_a_number_out_of_range_is_named(optimizer, options, name):
    with pytest.raises(ValueError, match=f"^{name}"):
        optimizer([nn.Parameter(np.ones(2))], **options)


# Data and gradients that were replaced ------------------------------------------------------------


def two_parameters(optimizer, options):
    """A rule for two parameters (2, 3) with gradients, after one step."""
    parameters = [nn.Parameter(rng(i).normal(size=(2, 3))) for i in range(2)]
    rule = optimizer(parameters, **options)
    for parameter in parameters:
        parameter.grad = np.ones((2, 3))
    rule.step()
    return rule, parameters


@EVERY_OPTIMIZER
def test_data_replaced_by_an_array_of_the_same_form_are_trained(optimizer, recursion, options):
    start, gradients = rng(1).normal(size=(2, 3)), rng(2).normal(size=(4, 2, 3))
    parameter, flat = nn.Parameter(start), np.zeros(20)
    rule = optimizer([parameter], **options)
    for t, gradient in enumerate(gradients):
        if t == 2:  # a part of a larger array, as where all parameters share one
            flat[5:11] = parameter.data.ravel()
            parameter.data = flat[5:11].reshape(2, 3)
        parameter.grad = np.repeat(gradient, 2, axis=1)[:, ::2] if t % 2 else gradient.T.copy().T
        rule.step()
    expected = recursion(start, gradients, **options)
    np.testing.assert_allclose(flat[5:11].reshape(2, 3), expected, rtol=1e-12)
    assert not np.any(flat[11:])


@EVERY_OPTIMIZER
def test_the_copy_of_an_optimizer_trains_the_copies_of_its_parameters(
    optimizer, recursion, options
):
    rule, parameters = two_parameters(optimizer, options)
    before = [p.data.copy() for p in parameters]
    twin, copies = copy.deepcopy((rule, parameters))
    twin.step()
    assert all(np.array_equal(p.data, old) for p, old in zip(parameters, before))
    rule.step()
    assert all(np.array_equal(p.data, c.data) for p, c in zip(parameters, copies))
    assert not any(np.array_equal(p.data, old) for p, old in zip(parameters, before))


def frozen(array):
    array = array.copy()
    array.flags.writeable = False
    return array


REPLACED = {  # by what: what it becomes, and what is said of it
    "another size": (lambda a: np.ones(400), r"\(2, 3\) as .* is a float64 ndarray \(400,\)"),
    "fewer entries": (lambda a: a[:1], r"is a float64 ndarray \(1, 3\)"),
    "no entries": (lambda a: a[:0], r"is a float64 ndarray \(0, 3\)"),
    "another shape": (lambda a: a.reshape(3, 2), r"is a float64 ndarray \(3, 2\)"),
    "one row": (lambda a: a.reshape(1, 2, 3), r"is a float64 ndarray \(1, 2, 3\)"),
    "single precision": (lambda a: a.astype("f"), "is a float32 ndarray"),
    "integers": (lambda a: a.astype(int), "is a int64 ndarray"),
    "complex": (lambda a: a.astype(complex), "is a complex128 ndarray"),
    "big-endian": (lambda a: a.astype(">f8"), "is a >f8 ndarray"),
    "a list": (lambda a: a.tolist(), r"is a  list \(2, 3\)"),
    "a number": (lambda a: 1.0, r"is a  float \(\)"),
    "a Tensor": (lambda a: Tensor(a), r"is a float64 Tensor \(2, 3\)"),
    "another class": (lambda a: np.ma.array(a), "is a float64 MaskedArray"),
}
LAYOUTS = {
    "Fortran order": lambda a: np.asfortranarray(a),
    "a stride": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "a repeated row": lambda a: np.broadcast_to(a[:1], a.shape),
    "read-only": frozen,
}


def check_refusal(rule, parameters, message):
    """A step is refused, and neither parameters nor state change."""
    state, before = rule.state_dict(), [np.copy(p.data) for p in parameters]
    with pytest.raises(ValueError, match=message):
        rule.step()
    np.testing.assert_equal(rule.state_dict(), state)
    assert all(np.array_equal(p.data, old) for p, old in zip(parameters, before))


@EVERY_OPTIMIZER
@pytest.mark.parametrize("kind", REPLACED)
@pytest.mark.parametrize("name", ["data", "grad"])
def test_what_does_not_fit_is_named_before_anything_moves(
    optimizer, recursion, options, name, kind
):
    rule, parameters = two_parameters(optimizer, options)
    change, words = REPLACED[kind]
    if (name, kind) == ("data", "a Tensor"):
        return  # has no array in `data`, but a Tensor
    setattr(parameters[1], name, change(getattr(parameters[1], name)))
    check_refusal(rule, parameters, rf"^parameters\[1\].{name} must be a float64 array .*{words}")


@EVERY_OPTIMIZER
@pytest.mark.parametrize("kind", LAYOUTS)
def test_data_that_cannot_be_changed_in_place_are_named(optimizer, recursion, options, kind):
    rule, parameters = two_parameters(optimizer, options)
    parameters[1].data = LAYOUTS[kind](parameters[1].data)
    message = r"^parameters\[1\].data must be contiguous and writeable"
    check_refusal(rule, parameters, message)
    with pytest.raises(ValueError, match=message):
        optimizer(parameters, **options)
    parameters[1].data = parameters[1].data.copy()
    rule.step()


@EVERY_KIND
def test_what_no_step_can_train_is_refused_from_the_start(optimizer):
    parameter, fixed = nn.Parameter(np.ones(2)), Tensor(np.ones(2))
    single, half = Tensor(1j, requires_grad=True), Tensor(np.ones(2, "e"), requires_grad=True)
    for wrong in (fixed, parameter * 2.0, half, single):
        with pytest.raises(ValueError, match=r"^parameters\[1\] must be float32 or float64 and"):
            optimizer([parameter, wrong], lr=0.1)
    with pytest.raises(ValueError, match=r"^parameters must be given once each"):
        optimizer([parameter, nn.Parameter(np.ones(2)), parameter], lr=0.1)
    layer = nn.Linear(3, 3, rng=rng())
    optimizer(nn.Sequential(layer, layer).parameters(), lr=0.1)  # a shared layer counts once


@EVERY_KIND
def test_a_parameter_added_later_is_not_left_out_silently(optimizer):
    rule, parameters = two_parameters(optimizer, {"lr": 0.1})
    rule.parameters.append(nn.Parameter(np.ones(2)))
    check_refusal(rule, parameters, "zip")


# Weight decay -------------------------------------------------------------------------------------


def test_every_parameter_may_have_a_decay_of_its_own():
    for momentum in (0.0, 0.9):
        parameters = [nn.Parameter(np.full(2, 4.0)) for _ in range(3)]
        for parameter in parameters:
            parameter.grad = np.zeros(2)
        SGD(parameters, 0.5, momentum, weight_decay=[0.0, 0.1, 1.0]).step()
        np.testing.assert_allclose([p.data[0] for p in parameters], [4, 3.8, 2])
    with pytest.raises(ValueError, match=r"weight_decay must be a list .* the 3 param.* but has 2"):
        SGD(parameters, 0.5, weight_decay=[0.0, 0.1])
    with pytest.raises(ValueError, match=r"weight_decay must be in \[0, inf\), but is -1"):
        SGD(parameters, 0.5, weight_decay=[0.0, 0.1, -1])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("network", ["mlp", "vgg6"])
def test_decay_descends_the_penalty_on_the_size_of_weights_and_moves_nothing_else(network, method):
    if network == "mlp":
        model = mlp([3, 4, 2], method, rng=rng())
    else:
        model = vgg6(method, widths=(2, 2, 2, 3, 3), num_classes=3, rng=rng())
    layers = [m for _, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]

    def weights():
        for layer in layers:
            weight = layer.parameterization.affine()[0].data
            gain = layer.parameterization.gain
            yield weight if gain is None else gain.data[:, None] * weight

    names = [name.rpartition(".")[2] for name, _ in model.named_parameters()]
    assert len(set(map(id, model.parameters()))) == len(names)
    decay, before = decay_of(model, 0.25), [w.copy() for w in weights()]
    assert {n for n, d in zip(names, decay) if d} <= {"weight", "length", "radius"}
    assert sum(d > 0 for d in decay) == len(layers)
    optimizer = SGD(model.parameters(), lr=0.5, weight_decay=decay)
    for parameter in model.parameters():
        parameter.data += 0.01  # nothing stands at 0, where a decay would not be seen
    before = [w.copy() for w in weights()]
    others = [p.data.copy() for p, d in zip(model.parameters(), decay) if not d]
    for parameter in model.parameters():
        parameter.grad = np.zeros_like(parameter.data)
    optimizer.step()
    for old, new in zip(before, weights()):  # −lr times the gradient d·w of ½ d Σ ‖w‖²
        np.testing.assert_allclose(new, (1 - 0.5 * 0.25) * old, rtol=1e-5)
    left = [p.data for p, d in zip(model.parameters(), decay) if not d]
    assert all(np.array_equal(a, b) for a, b in zip(others, left))


# States -------------------------------------------------------------------------------------------


@EVERY_OPTIMIZER
def test_an_optimizer_goes_on_from_a_saved_state_bit_for_bit(optimizer, recursion, options):
    gradients = rng(2).normal(size=(6, 3, 4))

    def run(rule, parameters, steps):
        for t in steps:
            parameters[0].grad, parameters[1].grad = gradients[t], gradients[t] if t % 2 else None
            rule.step()

    whole = [nn.Parameter(np.ones((3, 4))) for _ in range(2)]
    rule = optimizer(whole, **options)
    run(rule, whole, range(3))
    rule.lr *= 0.5  # as a schedule does
    state, parameters = rule.state_dict(), [nn.Parameter(p.data) for p in whole]
    run(rule, whole, range(3, 6))
    resumed = optimizer(parameters, **options | {"lr": 7.0})
    resumed.load_state_dict(state)
    run(resumed, parameters, range(3, 6))
    assert all(np.array_equal(a.data, b.data) for a, b in zip(whole, parameters))
    np.testing.assert_equal(resumed.state_dict(), rule.state_dict())


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.pop("lr"),
        lambda state: state.pop("velocities"),
        lambda state: state.update(steps=[np.zeros(())]),
        lambda state: state["velocities"].pop(),
        lambda state: state["velocities"].insert(0, np.zeros(3)),
        lambda state: state["velocities"].insert(0, state["velocities"].pop()),
    ],
)
def test_the_state_of_another_optimizer_is_refused_and_changes_nothing(change):
    rule = SGD([nn.Parameter(np.ones(n)) for n in (2, 3)], lr=0.5, momentum=0.9)
    state = rule.state_dict()
    for velocity in state["velocities"]:
        velocity[...] = 1
    state["lr"] = 1.0
    change(state)
    with pytest.raises(ValueError, match=r"^state"):
        rule.load_state_dict(state)
    assert rule.lr == 0.5
    assert not any(np.any(velocity) for velocity in rule.state_dict()["velocities"])


NOT_NUMBERS = "0.1", "nan", 1j, np.nan, None, [0.1], {}, np.inf, -0.1


@pytest.mark.parametrize("value", NOT_NUMBERS)
def test_a_rate_that_is_none_is_refused_and_changes_nothing(value):
    rule, _ = two_parameters(Adam, {"lr": 0.5})
    state = rule.state_dict()
    other = state | {"first": [a + 1 for a in state["first"]], "lr": value}
    with pytest.raises(ValueError, match=r"^state\['lr'\]"):
        rule.load_state_dict(other)
    np.testing.assert_equal(rule.state_dict(), state)


@pytest.mark.parametrize(
    "wrong", [np.full(6, "1"), np.ones(6, complex), np.ones(5), np.ones((2, 3)), None, "text"]
)
def test_arrays_of_a_state_must_be_like_the_optimizers_own(wrong):
    rule, _ = two_parameters(Adam, {"lr": 0.5})
    state = rule.state_dict()
    other = state | {"lr": 0.25, "second": [state["second"][0], wrong]}
    with pytest.raises(ValueError, match=r"^state\['second'\]\[1\]"):
        rule.load_state_dict(other)
    with pytest.raises(ValueError, match=r"^state\['steps'\]\[0\] must be numbers that fit int64"):
        rule.load_state_dict(state | {"lr": 0.25, "steps": [np.array([1.5, 1.0])]})
    np.testing.assert_equal(rule.state_dict(), state)
    rule.load_state_dict(state | {"second": [a.astype(">f4") for a in state["second"]]})
    assert all(a.dtype == np.float64 for a in rule.state_dict()["second"])
    rule.step()


def test_the_state_of_a_schedule_fits_as_a_whole_or_changes_nothing():
    model = mlp([2, 3, 1], rng=rng())
    rules = [make(optimizer_at(0.3)) for make in SCHEDULES.values()]
    rules.append(EarlyStopping(model, patience=2))
    rules[-1].step(1.0)
    for rule in rules:
        state = rule.state_dict()
        for name, value in state.items():
            others = {n: v + 1 for n, v in state.items() if isinstance(v, int | float)}
            wrong = ["text", 1j, np.nan, [1.0]] if name in others else [{}, 3.0]
            for bad in wrong:
                with pytest.raises(ValueError, match=rf"^state\['{name}'\]"):
                    rule.load_state_dict(state | others | {name: bad})
            missing = {n: v for n, v in (state | others).items() if n != name}
            with pytest.raises(ValueError, match="must have exactly this object's names"):
                rule.load_state_dict(missing)
            if isinstance(value, dict):  # one place further inside
                inner = value | {next(iter(value)): "text"}
                with pytest.raises(ValueError, match=rf"^state\['{name}'\]\['"):
                    rule.load_state_dict(state | others | {name: inner})
        np.testing.assert_equal(rule.state_dict(), state)


SCHEDULES = {
    "plateau": lambda o: ReduceLROnPlateau(o, patience=2, factor=0.5),
    "steps": lambda o: StepSchedule(o, 3, 0.5),
    "cosine": lambda o: CosineSchedule(o, 7, 0.01),
    "warm-up, steps": lambda o: WarmUp(StepSchedule(o, 2, 0.5), 3),
    "warm-up, plateau": lambda o: WarmUp(ReduceLROnPlateau(o, patience=1, factor=0.5), 2),
}


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("saved", range(12))
def test_a_schedule_goes_on_from_a_saved_state(name, saved):
    sequence = [3.0, 2.0, 2.0, 2.5, 1.0, 1.0, 2.0, 1.0, 0.5, 2.0, 3.0, 3.0]
    whole = SCHEDULES[name](optimizer_at(0.3))
    rates(whole, sequence[:saved])
    state, lr = whole.state_dict(), whole.optimizer.lr
    expected = rates(whole, sequence[saved:])
    resumed = SCHEDULES[name](optimizer_at(5.0))
    resumed.load_state_dict(state)
    resumed.optimizer.lr = lr
    assert rates(resumed, sequence[saved:]) == expected


# Schedules ----------------------------------------------------------------------------------------


def optimizer_at(lr):
    return SGD([nn.Parameter(np.zeros(1))], lr=lr)


def rates(schedule, sequence):
    result = []
    for value in sequence:
        schedule.step(value)
        result.append(schedule.optimizer.lr)
    return result


def test_the_rate_falls_at_the_last_of_patience_steps_without_improvement_and_counts_anew():
    schedule = ReduceLROnPlateau(optimizer_at(1.0), patience=3, factor=0.5)
    sequence = [5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 4.0, 4.0, 4.0, 3.0, 3.0, 3.0, 3.0]
    expected = [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.125]
    assert rates(schedule, sequence) == expected


def test_an_improvement_is_more_than_min_delta_better_than_the_best():
    schedule = ReduceLROnPlateau(optimizer_at(1.0), patience=1, factor=0.5, min_delta=0.25)
    #           best  by exactly min_delta  by more  worse      by more than the best
    assert rates(schedule, [1.0, 0.75, 0.5, 0.75, 0.25, 0.0]) == [1, 0.5, 0.5, 0.25, 0.125, 0.125]
    slow = ReduceLROnPlateau(optimizer_at(1.0), patience=3, factor=0.5, min_delta=1.0)
    assert rates(slow, -0.6 * np.arange(10)) == [1.0] * 10  # small gains add up


@given(values, st.integers(1, 5))
def test_max_is_min_of_the_negative(sequence, patience):
    lower = ReduceLROnPlateau(optimizer_at(1.0), patience, mode="min")
    higher = ReduceLROnPlateau(optimizer_at(1.0), patience, mode="max")
    assert rates(lower, sequence) == rates(higher, [-value for value in sequence])


def test_a_quantity_that_is_no_number_is_no_improvement():
    schedule = ReduceLROnPlateau(optimizer_at(1.0), patience=2, factor=0.5)
    assert rates(schedule, [1.0, np.nan, np.nan, 0.5]) == [1, 1, 0.5, 0.5]


@given(st.integers(1, 7), st.floats(0.1, 0.9), st.floats(1e-3, 10))
def test_the_step_schedule_falls_every_period(period, factor, lr):
    schedule = StepSchedule(optimizer_at(lr), period, factor)
    expected = [lr * factor ** (t // period) for t in range(1, 20)]
    np.testing.assert_allclose(rates(schedule, range(1, 20)), expected, rtol=1e-13)


@given(st.integers(1, 30), st.floats(1e-3, 10), st.floats(0, 1e-3))
def test_the_cosine_schedule_follows_half_a_cosine_and_stays_at_its_end(steps, lr, final):
    schedule = CosineSchedule(optimizer_at(lr), steps, final)
    t = np.arange(1, steps + 5)
    expected = final + (lr - final) * (1 + np.cos(np.pi * np.minimum(t / steps, 1))) / 2
    np.testing.assert_allclose(rates(schedule, t), expected, rtol=1e-12, atol=1e-15)
    assert schedule.optimizer.lr == final


@given(st.integers(1, 12), st.floats(1e-3, 10))
def test_warm_up_rises_in_equal_parts_and_then_the_other_schedule_begins(steps, lr):
    schedule = WarmUp(CosineSchedule(optimizer_at(lr), 10), steps)
    first = schedule.optimizer.lr
    rising, falling = np.arange(1, steps + 1) / steps, (1 + np.cos(np.pi * np.arange(11) / 10)) / 2
    expected = lr * np.concatenate([rising, falling])
    found = [first, *rates(schedule, range(steps + 10))]
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-15)
    assert found[steps] == lr


@given(values, st.integers(1, 5), st.sampled_from(["min", "max"]))
def test_early_stopping_stops_patience_steps_after_the_first_best_and_restores_it(
    sequence, patience, mode
):
    model = mlp([1, 2, 1], "BN", rng=rng())  # its running statistics are buffers
    stopping = EarlyStopping(model, patience, mode)
    find = np.argmin if mode == "min" else np.argmax
    for t, value in enumerate(sequence):
        for array in (*(p.data for p in model.parameters()), model[0].normalization.running_var):
            array[...] = t + 1 / 3
        best = find(sequence[: t + 1])
        assert stopping.step(value) == (t - best >= patience)
    stopping.restore()
    for name, value in model.state_dict().items():
        assert np.all(value == (0 if name.endswith("running_mean") else best + 1 / 3)), name


def test_without_a_step_there_is_nothing_to_restore():
    model = mlp([1, 2, 1], rng=rng())
    state = model.state_dict()
    EarlyStopping(model, 1).restore()
    assert all(np.array_equal(state[name], value) for name, value in model.state_dict().items())


def test_early_stopping_counts_improvements_up_to_min_delta_as_none():
    stopping = EarlyStopping(mlp([1, 2, 1], rng=rng()), patience=2, min_delta=0.5)
    assert [stopping.step(value) for value in (3.0, 2.5, 2.4, 2.4, 1.8)] == [0, 0, 0, 0, 0]
    assert [stopping.step(value) for value in (1.8, 1.3)] == [0, 1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda o: ReduceLROnPlateau(o, 0),
            "patience must be a whole number of at least 1, but is 0",
        ),
        (lambda o: ReduceLROnPlateau(o, 1, factor=1.0), "factor must be between 0 and 1"),
        (lambda o: ReduceLROnPlateau(o, 1, factor=0.0), "factor must be between 0 and 1"),
        (lambda o: ReduceLROnPlateau(o, 1, mode="least"), "mode must be one of min, max"),
        (
            lambda o: EarlyStopping(None, 0),
            "patience must be a whole number of at least 1, but is 0",
        ),
        (lambda o: EarlyStopping(None, 1, "most"), "mode must be one of min, max"),
        (lambda o: StepSchedule(o, 0), "period must be a whole number of at least 1"),
        (lambda o: CosineSchedule(o, 0), "steps must be a whole number of at least 1"),
        (lambda o: WarmUp(StepSchedule(o, 1), 0), "steps must be a whole number of at least 1"),
    ],
)
def test_bad_settings_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make(optimizer_at(1.0))


# The metric of the sphere -------------------------------------------------------------------------


def geometric_unit(n, seed):
    """A geometric unit, ∂L/∂u for its rows, and the gradient of θ that belongs to it."""
    unit = mlp([n, 4, 1], "GmP", rng=rng(seed))[0]
    theta = unit.layer.parameterization.theta
    gradient = rng([seed, 1]).normal(size=(4, n))
    theta.grad = np.einsum("onk,on->ok", hypersphere.jacobian(theta.data), gradient)
    return unit, gradient


def tangent(u, gradient):
    return gradient - (gradient * u).sum(axis=1, keepdims=True) * u


@given(st.integers(2, 8), st.integers(0, 2**32 - 1))
def test_a_step_by_the_metric_is_the_riemannian_one_to_first_order(n, seed):
    unit, gradient = geometric_unit(n, seed)
    theta = unit.layer.parameterization.theta
    assume((hypersphere.metric(theta.data) > 1e-3).all())
    u, lr = hypersphere.to_cartesian(theta.data), 1e-6
    step = -lr * tangent(u, gradient)
    length = np.linalg.norm(step, axis=1, keepdims=True)
    geodesic = np.cos(length) * u + np.sin(length) * step / length  # the exponential map
    SGD(unit.parameters(), lr, metric_damping=damping_of(unit, 0.0)).step()
    moved = hypersphere.to_cartesian(theta.data)
    np.testing.assert_allclose(moved - u, geodesic - u, atol=1e-3 * lr)


@given(st.integers(2, 8), st.floats(1e-4, 1.0), st.integers(0, 2**32 - 1))
def test_damping_bounds_the_step_and_leaves_other_parameters_alone(n, damping, seed):
    unit, gradient = geometric_unit(n, seed)
    rows = unit.layer.parameterization
    rows.theta.data[0, 0] = 0.0  # a pole: no later angle of this unit moves anything
    for parameter in (rows.radius, rows.lambda_):
        parameter.grad = np.ones(4)
    rows.theta.grad = np.einsum("onk,on->ok", hypersphere.jacobian(rows.theta.data), gradient)
    before = unit.state_dict()
    SGD(unit.parameters(), 0.1, metric_damping=damping_of(unit, damping)).step()
    changes = {name: value - before[name] for name, value in unit.state_dict().items()}
    prefix = "layer.parameterization."
    np.testing.assert_allclose(changes[f"{prefix}radius"], -0.1)
    np.testing.assert_allclose(changes[f"{prefix}lambda_"], -0.1)
    largest = 0.1 * np.linalg.norm(gradient, axis=1) / (2 * np.sqrt(damping))
    assert (np.abs(changes[f"{prefix}theta"]) <= largest[:, None] * 1.001 + 1e-12).all()
    assert (changes[f"{prefix}theta"][0, 1:] == 0).all()


def test_momentum_gathers_what_the_metric_has_divided():
    unit, _ = geometric_unit(4, 0)
    theta = unit.layer.parameterization.theta
    options = {"momentum": 0.9, "metric_damping": damping_of(unit, 0.1)}
    optimizer, expected, velocity = SGD(unit.parameters(), 0.1, **options), theta.data.copy(), 0
    for _ in range(3):
        velocity = 0.9 * velocity + theta.grad / (hypersphere.metric(expected) + 0.1)
        expected -= 0.1 * velocity
        optimizer.step()
    np.testing.assert_allclose(theta.data, expected, rtol=1e-12)


def test_only_angles_are_damped_and_the_list_must_fit():
    model = mlp([3, 4, 1], "GmP", rng=rng())
    names = [name.split(".")[-1] for name, _ in model.named_parameters()]
    assert damping_of(model, 0.5) == [0.5 if name == "theta" else None for name in names]
    assert damping_of(mlp([3, 4, 1], "WN", rng=rng()), 0.5) == [None] * 6
    for wrong, words in (([0.1], "but has 1"), (0.1, "metric_damping must be a list"),
                         ([-1.0] * 5, r"must be in \[0, inf\)"),
                         ([0.1] * 5, "None for parameter 1, which does not hold ang")):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            SGD(model.parameters(), 0.1, metric_damping=wrong)
    for wrong, said in (
        (([model], 0.1), "model must be a M"),
        ((model, "x"), "damping must be a n"),
    ):
        with pytest.raises(TypeError, match=said):
            damping_of(*wrong)


def test_decay_is_added_after_the_metric_has_divided():
    unit, _ = geometric_unit(4, 0)
    theta = unit.layer.parameterization.theta
    options = {"weight_decay": 0.3, "metric_damping": damping_of(unit, 0.1)}
    start = theta.data.copy()
    step = theta.grad / (hypersphere.metric(start) + 0.1) + 0.3 * start
    SGD(unit.parameters(), 0.1, **options).step()
    np.testing.assert_allclose(theta.data, start - 0.1 * step, rtol=1e-12)
