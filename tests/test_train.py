"""The training loop: what it sees and keeps, when it stops and how it fails."""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geonet import METHODS, Tensor, nn, ops
from geonet.models import mlp
from geonet.train import (
    SGD,
    Adam,
    CosineSchedule,
    Diverged,
    EarlyStopping,
    ReduceLROnPlateau,
    fit,
    predict,
)

ROWS = 10


def rng(seed=0):
    return np.random.default_rng(seed)


def some_data(rows=ROWS):
    x = rng(1).uniform(-2, 2, (rows, 3))
    return x, np.sin(x.sum(1, keepdims=True))


def some_model(method="SP", seed=0):
    return mlp([3, 5, 1], method, rng=rng(seed))


def train_some(model, lr=0.05, epochs=6, data=None, **options):
    data = some_data() if data is None else data
    return fit(model, ops.mse, data, SGD(model.parameters(), lr), epochs=epochs, **options)


def same(state, other):
    return state.keys() == other.keys() and all(np.array_equal(state[k], other[k]) for k in state)


# What is seen and kept ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("batch_size", "batches"), [(None, 1), (ROWS, 1), (ROWS + 5, 1), (4, 3), (5, 2), (1, 10)]
)
def test_the_history_has_an_entry_an_epoch_and_every_update_is_counted(batch_size, batches):
    looks = []
    history = train_some(
        some_model(), batch_size=batch_size, rng=rng(), on_step=lambda: looks.append(1)
    )
    assert len(history.loss) == len(history.monitored) == len(history.lr) == 6
    assert history.steps == len(looks) == 6 * batches
    assert history.monitored == history.loss  # what steers where no monitor is given
    assert history.lr == [0.05] * 6
    assert history.stopped is False


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 99))
def test_batches_cover_every_row_once_an_epoch_in_the_order_of_the_generator(rows, size, seed):
    model, seen = nn.Sequential(nn.Linear(1, 1, rng=rng())), []
    x = np.arange(rows, dtype=float)[:, None]

    def loss(prediction, target):
        seen.append(target[:, 0])
        return ops.mse(prediction, target)

    fit(model, loss, (x, x), SGD(model.parameters(), 0), epochs=3, batch_size=size, rng=rng(seed))
    order = rng(seed)
    expected = [x[:, 0] if size >= rows else order.permutation(rows) for _ in range(3)]
    assert np.array_equal(np.concatenate(seen), np.concatenate(expected))
    assert all(len(batch) <= size for batch in seen)
    assert len(seen) == 3 * -(-rows // size)


def test_inputs_and_targets_stay_together_and_unchanged():
    x, y = some_data()
    kept, pairs = (x.copy(), y.copy()), []
    model = nn.Sequential(lambda batch: pairs.append(batch) or Tensor(batch), some_model())

    def loss(prediction, target):
        np.testing.assert_allclose(target, np.sin(pairs[-1].sum(1, keepdims=True)))
        return ops.mse(prediction, target)

    fit(model, loss, (x, y), SGD(model.parameters(), 0.1), epochs=3, batch_size=3, rng=rng())
    assert np.array_equal(x, kept[0])
    assert np.array_equal(y, kept[1])


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_run_to_the_last_bit(method):
    runs = []
    for _ in range(2):
        model = some_model(method)
        history = train_some(model, batch_size=4, rng=rng(5))
        runs.append((history, model.state_dict()))
    assert runs[0][0] == runs[1][0]
    assert same(runs[0][1], runs[1][1])
    other = some_model(method)
    assert train_some(other, batch_size=4, rng=rng(6)).loss != runs[0][0].loss
    assert not same(other.state_dict(), runs[0][1])


def test_the_loss_of_an_epoch_is_the_mean_over_its_batches_before_their_updates():
    model, losses = some_model(), []

    def loss(prediction, target):
        value = ops.mse(prediction, target)
        losses.append(value.item())
        return value

    x, y = some_data()
    history = fit(model, loss, (x, y), SGD(model.parameters(), 0.1), epochs=4, batch_size=4,
                  rng=rng())  # fmt: skip
    np.testing.assert_allclose(history.loss, np.reshape(losses, (4, 3)).mean(axis=1), rtol=1e-14)
    first = some_model()
    full = fit(first, ops.mse, (x, y), SGD(first.parameters(), 0.1), epochs=1)
    assert full.loss == [ops.mse(some_model()(x), y).item()]


def test_a_step_is_one_step_of_the_optimizer():
    model, by_hand = some_model(), some_model()
    x, y = some_data()
    train_some(model, lr=0.1, epochs=2)
    optimizer = SGD(by_hand.parameters(), 0.1)
    for _ in range(2):
        optimizer.zero_grad()
        ops.mse(by_hand(x), y).backward()
        optimizer.step()
    assert same(model.state_dict(), by_hand.state_dict())


def test_labels_may_be_integers():
    model, x = mlp([3, 8, 3], rng=rng()), some_data(30)[0]
    labels = x.argmax(axis=1)
    history = fit(model, ops.cross_entropy, (x, labels), Adam(model.parameters(), 0.05), epochs=30)
    assert history.loss[-1] < 0.5 * history.loss[0]


# What steers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [None, 4])
def test_the_monitor_is_asked_after_each_epoch_and_steers(batch_size):
    model, seen = some_model(), []
    sequence = iter([3.0, 2.0, 2.5, 1.0, 1.5, 1.5, 1.5, 0.0])

    def monitor(asked):
        assert asked is model
        seen.append(model.state_dict())
        return next(sequence)

    optimizer = SGD(model.parameters(), 0.05)
    history = fit(
        model, ops.mse, some_data(), optimizer, epochs=20, batch_size=batch_size, rng=rng(),
        monitor=monitor, stopping=EarlyStopping(model, patience=3),
        schedule=ReduceLROnPlateau(optimizer, patience=2, factor=0.5),
    )  # fmt: skip
    assert history.monitored == [3.0, 2.0, 2.5, 1.0, 1.5, 1.5, 1.5]
    assert history.stopped is True
    assert history.lr == [0.05] * 5 + [0.025] * 2
    assert len(history.loss) == 7
    assert same(model.state_dict(), seen[3])  # those of the best value, after that epoch


def test_a_monitor_that_leaves_the_model_in_evaluation_mode_does_not_change_training():
    runs = []
    for monitor in (lambda m: predict(m, some_data()[0]).sum(), lambda m: m.eval() and 0.0):
        model = some_model("BN")
        runs.append(train_some(model, monitor=monitor).loss)
    assert runs[0] == runs[1]


MONITORS = {  # what a careless one does with the model
    "evaluates": lambda model, x: model(x),
    "trains": lambda model, x: model.train()(x),
    "fails": lambda model, x: model.train()(x[:, :2]),
    "trains on NaN": lambda model, x: model.train()(np.full_like(x, np.nan)),
    "loads its own state": lambda model, x: model.load_state_dict(model.state_dict()),
}


def everything(model):
    """Modes and arrays of all modules, with what the last batch left."""
    kept = {}
    for name, module in model.named_modules():
        arrays = [n for n, v in vars(module).items() if v is None or isinstance(v, np.ndarray)]
        kept[name] = {n: np.copy(getattr(module, n)) for n in ("training", *arrays)}
    return model.state_dict(), kept


@pytest.mark.parametrize("method", ["BN", "WN+MBN", "GmP+IMN"])
@pytest.mark.parametrize("careless", MONITORS.values(), ids=MONITORS)
def test_a_monitor_moves_neither_statistics_nor_modes(method, careless):
    def run(monitor):
        model, seen = some_model(method), []

        def steered(asked):
            seen.append([module.training for _, module in asked.named_modules()])
            with contextlib.suppress(ValueError):
                monitor(asked, 3 + some_data()[0])
            return 0.0

        train_some(model, batch_size=4, rng=rng(), monitor=steered, on_epoch=lambda: seen.append(
            [module.training for _, module in model.named_modules()]))  # fmt: skip
        assert not np.any(seen[::2])
        assert np.all(seen[1::2])
        return everything(model)

    np.testing.assert_equal(run(careless), run(lambda model, x: None))


def test_the_model_is_as_before_when_a_monitor_raises_an_error():
    model, before = some_model("BN"), []

    def monitor(asked):
        asked.train()(some_data()[0])
        raise KeyError("of the monitor")

    with pytest.raises(KeyError, match="of the monitor"):
        train_some(model, monitor=monitor, on_step=lambda: before.append(everything(model)))
    np.testing.assert_equal(everything(model), before[0])


@pytest.mark.parametrize("hook", ["on_gradients", "on_step", "on_epoch"])
def test_a_hook_that_evaluates_the_model_does_not_end_its_training_mode(hook):
    states = []
    for evaluate in (False, True):
        model = some_model("BN")
        options = {hook: model.eval} if evaluate else {}
        losses = train_some(model, batch_size=4, rng=rng(), **options).loss
        states.append((losses, model.state_dict()))
    np.testing.assert_equal(*states)


@pytest.mark.parametrize("method", METHODS)
def test_full_batch_stopping_restores_the_weights_that_gave_the_best_loss(method):
    model = some_model(method, seed=3)
    optimizer = Adam(model.parameters(), lr=0.5)  # so large that the loss goes up and down
    stopping = EarlyStopping(model, patience=20)
    history = fit(model, ops.mse, some_data(), optimizer, epochs=60, stopping=stopping)
    x, y = some_data()
    assert ops.mse(model.train()(x), y).item() == min(history.loss)


@pytest.mark.parametrize("patience", [1, 10])
@pytest.mark.parametrize("restored", ["always", "stopped", "never"])
def test_the_best_weights_come_back_always_or_only_after_a_stop_or_never(restored, patience):
    model = some_model()
    losses = iter([1.0, 0.5, 2.0])
    states = []
    stopping = EarlyStopping(model, patience, restored=restored)
    history = train_some(
        model,
        epochs=3,
        monitor=lambda m: states.append(m.state_dict()) or next(losses),
        stopping=stopping,
    )
    assert history.stopped == (patience == 1)
    best = restored == "always" or (restored == "stopped" and history.stopped)
    assert same(model.state_dict(), states[1 if best else 2])
    assert (stopping.best_state is None) == (restored == "never")


def test_without_a_stopping_rule_the_last_weights_stay():
    model, after = some_model(), []
    train_some(model, on_step=lambda: after.append(model.state_dict()))
    assert same(model.state_dict(), after[-1])


@pytest.mark.parametrize("batch_size", [None, 4])
@pytest.mark.parametrize("monitor", [None, lambda model: 0.0])
def test_a_schedule_changes_the_rate_between_epochs_and_never_within_one(batch_size, monitor):
    model, used = some_model(), []
    optimizer = SGD(model.parameters(), 0.1)
    history = fit(
        model, ops.mse, some_data(), optimizer, epochs=5, batch_size=batch_size, rng=rng(),
        monitor=monitor, schedule=CosineSchedule(optimizer, 5, final=0.01),
        on_step=lambda: used.append(optimizer.lr),
    )  # fmt: skip
    formula = 0.01 + 0.09 * (1 + np.cos(np.pi * np.arange(6) / 5)) / 2
    np.testing.assert_allclose(used, np.repeat(formula[:5], 1 if batch_size is None else 3))
    np.testing.assert_allclose(history.lr, formula[1:])


# Prediction ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
def test_predict_evaluates_and_leaves_every_mode_as_it_was(training):
    model = some_model("BN").train(training)
    model[0].normalization.training = not training  # such as a layer that is kept fixed
    model[0].normalization.running_mean[...] = 3
    modes = [module.training for _, module in model.named_modules()]
    state, x = model.state_dict(), some_data()[0]
    result = predict(model, x)
    assert [module.training for _, module in model.named_modules()] == modes
    assert same(model.state_dict(), state)
    assert type(result) is np.ndarray
    assert np.array_equal(result, model.eval()(x).data)


def test_predict_leaves_the_mode_as_it_was_when_the_model_fails():
    model = some_model()
    with pytest.raises(ValueError, match="linear: x has shape"):
        predict(model, np.zeros((4, 7)))
    assert all(module.training for _, module in model.named_modules())


# Divergence ---------------------------------------------------------------------------------------


@pytest.fixture
def _quiet():
    with np.errstate(all="ignore"):
        yield


def diverge(model, loss=ops.mse, data=None, lr=0.05, epochs=3):
    data = some_data() if data is None else data
    with pytest.raises(Diverged) as error:
        fit(model, loss, data, SGD(model.parameters(), lr), epochs=epochs)
    caught = error.value
    assert f"after {caught.step} steps: {caught.quantity} of {caught.layer} is" in str(caught)
    return caught.step, caught.layer, caught.quantity


@pytest.mark.usefixtures("_quiet")
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("SP", "steps.1.layer.parameterization.weight"),
        ("GmP", "steps.0.layer.parameterization.theta"),
        ("GmP", "steps.1.layer.parameterization.radius"),
        ("BN", "steps.1.normalization.gamma"),
        ("LN", "steps.2.parameterization.bias"),
    ],
)
def test_a_parameter_that_is_not_finite_is_named(method, name, bad):
    model = mlp([3, 5, 4, 1], method, rng=rng())
    dict(model.named_parameters())[name].data.flat[0] = bad
    layer, _, quantity = name.rpartition(".")
    step, found, what = diverge(model)
    assert (step, found) == (0, layer)
    assert what in (quantity, f"gradient of {quantity}")  # an infinite λ may leave the loss finite


@pytest.mark.usefixtures("_quiet")
def test_an_output_that_overflows_is_named_by_its_layer():
    model = mlp([3, 5, 5, 1], rng=rng())
    step, layer, quantity = diverge(model, lr=1e300)
    assert step == 1
    assert layer in ("steps.0", "steps.1", "steps.2")
    assert quantity == "output"
    x, finite = some_data()[0], []
    for i in range(int(layer[-1]) + 1):
        x = model[i](x)
        finite.append(bool(np.isfinite(x.data).all()))
    assert finite == [True] * (len(finite) - 1) + [False]


@pytest.mark.usefixtures("_quiet")
@pytest.mark.parametrize("method", METHODS)
def test_every_method_says_where_it_diverged(method):
    model = some_model(method)
    step, layer, quantity = diverge(model, lr=1e300, epochs=20)
    assert step >= 1
    assert layer in {"the model", *(name for name, _ in model.named_modules())}
    owned = {name.rpartition(".")[2] for name, _ in model.named_parameters()}
    assert quantity in {"loss", "output"} | owned | {f"gradient of {name}" for name in owned}


@pytest.mark.usefixtures("_quiet")
@pytest.mark.parametrize(
    "model",
    [
        nn.Linear(3, 1, rng=rng()),  # no Sequential
        nn.Unit(nn.Linear(3, 1, rng=rng()), nn.BatchNorm(1)),
        nn.Sequential(lambda x: ops.reshape(Tensor(x), (-1, 3)), nn.Linear(3, 1, rng=rng())),
    ],
)
def test_a_loss_may_overflow_though_all_outputs_are_finite(model):
    before = model.state_dict()
    assert diverge(model, loss=lambda y, t: ops.mse(y * 1e250, t)) == (0, "the model", "loss")
    assert all(np.array_equal(before[name], p.data) for name, p in model.named_parameters())


@pytest.mark.usefixtures("_quiet")
def test_the_search_for_a_divergence_moves_no_statistics():
    model, x = some_model("BN"), some_data()[0]
    model(x)
    once = everything(model)
    again = some_model("BN")
    diverge(again, loss=lambda y, t: ops.mse(y * 1e250, t))
    np.testing.assert_equal(everything(again), once)


@pytest.mark.usefixtures("_quiet")
def test_a_gradient_may_be_nan_though_the_loss_is_finite():
    model = mlp([3, 5, 1], rng=rng())
    model[1].parameterization.weight.data[...] = 0  # √0 has no derivative
    before = model.state_dict()
    place = diverge(model, loss=lambda y, t: ops.sum(ops.sqrt(ops.square(y))))
    assert place[0] == 0
    assert place[1].endswith("parameterization")
    assert place[2].startswith("gradient of ")
    assert same(model.state_dict(), before)


class Scaled(nn.Module):
    """A model whose own parameter has no dotted name."""

    def __init__(self):
        self.scale = nn.Parameter(np.ones(1))

    def __call__(self, x):
        return Tensor(x[:, :1]) * self.scale


@pytest.mark.usefixtures("_quiet")
def test_a_parameter_of_the_model_itself_is_named():
    model = Scaled()
    model.scale.data[...] = np.nan
    assert diverge(model) == (0, "the model", "scale")
    model.scale.data[...] = 0
    place = diverge(model, loss=lambda y, t: ops.sum(ops.sqrt(ops.square(y))))
    assert place == (0, "the model", "gradient of scale")


def test_the_step_counts_the_updates_before():
    model, calls = some_model(), []

    def loss(prediction, target):
        calls.append(1)
        return ops.mse(prediction, target) * (np.nan if len(calls) == 4 else 1.0)

    assert diverge(model, loss=loss, epochs=9) == (3, "the model", "loss")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": (np.ones((4, 3)), np.ones((3, 1)))}, "same length above 0, not 4, 3"),
        ({"data": (np.ones((0, 3)), np.ones((0, 1)))}, "same length above 0, not 0, 0"),
        ({"epochs": 0}, "epochs must be a whole number of at least 1, but is 0"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, but is 0"),
        ({"batch_size": -2, "rng": rng()}, "batch_size must be a whole number .* but is -2"),
        ({"batch_size": ROWS - 1}, "rng is needed"),
    ],
)
def test_bad_arguments_are_refused_before_anything_happens(change, message):
    model = some_model()
    before = model.state_dict()
    with pytest.raises(ValueError, match=message):
        train_some(model, **change)
    assert same(model.state_dict(), before)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("which", [0, 1])
def test_a_row_that_is_not_finite_is_named(which, bad):
    data = some_data()
    data[which][7, 0] = data[which][9, -1] = bad
    with pytest.raises(ValueError, match=f"data: row 7 of {'xy'[which]} is not finite"):
        train_some(some_model(), data=data)


def test_a_last_update_that_blows_up_is_not_passed_over():
    model = nn.Linear(1, 1, rng=rng())
    optimizer = SGD(model.parameters(), 1e300)
    data = np.full((4, 1), 1e10), np.zeros((4, 1))
    with pytest.raises(Diverged, match="after 1 steps"):
        fit(model, ops.mse, data, optimizer, epochs=1, label=None)


class Stream:
    """Two batches an epoch, as `geonet.data.image_arrays.ImageSet` gives them."""

    train_count = 8

    def train_batches(self, batch_size, rng):
        x = rng.normal(size=(self.train_count, 1))
        return ((x[i : i + batch_size], x[i : i + batch_size]) for i in (0, 4))


def test_batches_may_come_as_a_stream():
    model = nn.Linear(1, 1, rng=rng())
    history = fit(model, ops.mse, Stream(), SGD(model.parameters(), 0.1), epochs=3, batch_size=4,
                  rng=rng())  # fmt: skip
    assert history.steps == 6
    assert len(history.loss) == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"epochs": 1, "rng": rng()}, "batch_size and rng are needed"),
        ({"epochs": 1, "batch_size": 4}, "batch_size and rng are needed"),
        ({"epochs": 1, "batch_size": 0, "rng": rng()}, "batch_size must be a whole"),
        ({"epochs": 0, "batch_size": 4, "rng": rng()}, "epochs must be a whole"),
    ],
)
def test_a_stream_needs_numbers_that_make_sense(options, said):
    model = nn.Linear(1, 1, rng=rng())
    with pytest.raises(ValueError, match=said):
        fit(model, ops.mse, Stream(), SGD(model.parameters(), 0.1), **options)
