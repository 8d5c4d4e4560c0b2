"""gradcheck and check_model pass what is right, and name what is wrong: where, by how much and
probably why."""

import re
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geonet import METHODS, Tensor, check_model, gradcheck, nn, no_grad, ops, primitive
from geonet.check import GradientError
from geonet.check.gradcheck import MAX_ENTRIES, check_operation, examples
from geonet.models import mlp, vgg6

RNG = np.random.default_rng(0)
X, Y, SQUARE, ROW = (RNG.normal(size=s) for s in ((5, 3), (5, 3), (4, 4), 3))


def wrong(f, *inputs):
    """The message of the error that gradcheck must raise."""
    with pytest.raises(GradientError) as error:
        gradcheck(f, *inputs)
    return str(error.value)


def worst(message):
    """(entry, analytic, numeric) as the message has them."""
    number = r"(\S+)"
    found = re.search(rf"worst at (.*): analytic {number}, numeric {number} \(allowed", message)
    return found[1], float(found[2]), float(found[3])


# Right functions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "inputs"),
    [
        (ops.exp, [X]),
        (ops.matmul, [SQUARE, SQUARE]),
        (ops.add, [X, ROW]),
        (lambda x, y: (x * y).sum() / (1 + x * x).mean(), [X, Y]),
        (lambda x: x * 0 + 1, [X]),
        (lambda x: (x * x).sum(), [np.zeros(3)]),
        (lambda x: x[:0], [X]),  # no output at all
    ],
)
def test_right_functions_pass(f, inputs):
    report = gradcheck(f, *inputs)
    assert report.entries == sum(x.size for x in inputs)
    assert report.complex <= 1e-12
    assert report.central <= 1e-6


def test_what_is_checked_is_left_alone_and_the_answer_is_always_the_same():
    x, y = X.copy(), Tensor(Y.copy(), requires_grad=True)
    x.flags.writeable = y.data.flags.writeable = False
    assert gradcheck(ops.multiply, x, y) == gradcheck(ops.multiply, x, y)
    assert y.grad is None


def test_a_scalar_is_a_single_entry():
    assert gradcheck(ops.exp, 0.5).entries == 1
    assert gradcheck(ops.power, np.array(2.0), 3.0).entries == 2

    @primitive
    def double(x):
        return 2 * x, (lambda g: g,)

    message = wrong(double, 0.5)
    assert "worst at its only entry" in message
    assert "a factor of 0.5" in message


def test_float32_is_checked_in_float64():
    seen = set()

    def f(x):
        seen.add(x.dtype.name)
        return ops.sigmoid(x)

    assert gradcheck(f, X.astype(np.float32)).complex <= 1e-12
    assert seen == {"float64", "complex128"}


def test_integers_and_masks_are_constants():
    assert gradcheck(ops.where, X > 0, X, Y).entries == X.size + Y.size
    assert gradcheck(ops.cross_entropy, X, [0, 1, 2, 1, 0]).entries == X.size


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.astype(">f4"),
        lambda a: a.astype(np.float16),
        lambda a: a[::-1, ::-2],
        lambda a: np.asfortranarray(a).T,
        lambda a: a.tolist(),
    ],
)
def test_inputs_may_be_any_floating_numbers(change):
    assert gradcheck(ops.multiply, change(SQUARE), np.uint8(200)).complex <= 1e-12
    assert gradcheck(ops.multiply, change(SQUARE), np.full((1, 1), 200, np.uint8)).complex <= 1e-12


@pytest.mark.parametrize("result", [3.0, None, np.ones(2), (Tensor(1.0), Tensor(2.0))])
def test_a_function_that_returns_no_tensor_is_refused(result):
    def f(x):
        return result

    with pytest.raises(TypeError, match="f must return a Tensor, but returned"):
        gradcheck(f, ROW)


def test_what_a_mask_hides_is_not_checked():
    with pytest.raises(TypeError, match=r"masked array .*filled"):
        gradcheck(ops.exp, np.ma.array([1.0, 2.0], mask=[False, True]))


def test_an_input_without_entries_has_nothing_to_check():
    assert gradcheck(ops.add, np.zeros((0, 3)), ROW).entries == 3


def test_a_right_function_whose_derivative_cancels_passes():
    assert gradcheck(lambda x: ops.square(ops.sin(x)) + ops.square(ops.cos(x)), X).entries == X.size
    bias = np.random.default_rng(0).normal(size=(1, X.shape[1]))
    gradcheck(lambda b: ops.square(X + b - ops.mean(X + b, 1, keepdims=True)).sum(), bias[:, :1])


def test_whole_numbers_alone_leave_nothing_to_check():
    with pytest.raises(ValueError, match="none is floating"):
        gradcheck(ops.exp, [1, 2, 3])


@pytest.mark.parametrize("error", [0.0, 1e-10])
def test_where_all_cancels_no_more_than_rounding_is_allowed(error):
    @primitive
    def centred(x):
        return x - x.mean(axis=0), (lambda g: g - g.mean(axis=0) + error,)

    def of_bias(bias):  # which has no effect
        return centred(X + bias)

    if error:
        assert "input 0 (bias)" in wrong(of_bias, ROW)
    else:
        assert gradcheck(of_bias, ROW).entries == ROW.size


@pytest.mark.parametrize("name", sorted(ops.OPERATIONS))
def test_check_operation_passes_for_every_operation(name):
    report = check_operation(ops.OPERATIONS[name], np.random.default_rng(11))
    assert report.entries > 0
    assert report.complex <= 1e-12


@pytest.mark.parametrize("name", sorted(ops.OPERATIONS))
def test_check_operation_fails_for_every_operation_if_its_gradient_is_wrong(name):
    operation = ops.OPERATIONS[name]

    def spoiled(*arguments, **options):
        return off_by(1e-9, operation(*arguments, **options))

    spoiled.__name__ = name
    spoiled.examples = operation.examples or {"samples": lambda rng: examples(operation, rng)}
    if "domain" in spoiled.examples:
        spoiled.examples = {"samples": lambda rng: examples(operation, rng)}
    with pytest.raises(GradientError, match=f"^{name}, input 0"):
        check_operation(spoiled, np.random.default_rng(12))


@primitive
def off_by(error, x):
    return 1 * x, (None, lambda g: g * (1 + error))


# Planted bugs -------------------------------------------------------------------------------------


@primitive
def doubled(x):
    return x * x, (lambda g: 4 * g * x,)


@primitive
def negated(x, y):
    return x - y, (lambda g: g, lambda g: g)


@primitive
def transposed(x, y):
    return x @ y, (lambda g: (g @ y.T).T, lambda g: x.T @ g)


@primitive
def first_row(x, bias):
    return x + bias, (lambda g: g, lambda g: g[0])


@primitive
def averaged(x, bias):
    return x + bias, (lambda g: g, lambda g: g.mean(axis=0))


@primitive
def first_column(x, scale):
    return x * scale, (lambda g: g * scale, lambda g: (g * x)[:, :1])


@primitive
def undefined(x):
    return x * x, (lambda g: g * 2 * x * np.where(x > 0, 1, np.nan),)


@primitive
def infinite(x):
    return x * x, (lambda g: np.full(x.shape, np.inf),)


@primitive
def zero(x, y):
    return x * y, (lambda g: g * y, lambda g: 0 * g)


@primitive
def tripled(x):
    return np.sin(x), (lambda g: 3 * g * np.cos(x),)


def detached(x):
    return ops.exp(x.detach() * 2)


def half_detached(x):
    return x * x.detach()


@pytest.mark.parametrize(
    ("f", "inputs", "place", "cause"),
    [
        (doubled, [X], "input 0 (x)", "a factor of 2"),
        (half_detached, [X], "input 0 (x)", "a factor of 0.5"),
        (tripled, [X], "input 0 (x)", "a constant factor of 3"),
        (negated, [X, Y], "input 1 (y)", "the sign is wrong"),
        (transposed, [SQUARE, SQUARE + 1], "input 0 (x)", "transposed"),
        (first_row, [X, ROW], "input 1 (bias)", "missing sum over a broadcast axis (axis 0 of"),
        (averaged, [X, ROW], "input 1 (bias)", "missing sum over a broadcast axis (axis 0 of"),
        (first_column, [X, X[:, :1]], "input 1 (scale)", "broadcast axis (axis 1 of the output)"),
        (undefined, [X], "input 0 (x)", "NaN or infinity"),
        (infinite, [X], "input 0 (x)", "NaN or infinity"),
        (zero, [X, Y], "input 1 (y)", "the gradient is zero"),
        (detached, [X], "input 0 (x)", "a path cut by detach"),
    ],
    ids=lambda p: getattr(p, "__name__", None),
)
def test_a_planted_bug_is_named_with_its_place_both_numbers_and_its_cause(f, inputs, place, cause):
    message = wrong(f, *inputs)
    assert message.startswith(f"{f.__name__}, {place} of shape {inputs[int(place[6])].shape}:")
    assert cause in message.split("likely cause: ")[1]

    # the numbers in the message are those of the entry that it names
    i, (entry, analytic, numeric) = int(place[6]), worst(message)
    index = tuple(map(int, re.findall(r"\d+", entry)))
    tensors = [Tensor(x, requires_grad=True) for x in inputs]
    output = f(*tensors)
    weights = np.random.default_rng(0).normal(size=output.shape)
    gradient = np.zeros(inputs[i].shape)
    if f is not detached:
        output.backward(weights)
        gradient = tensors[i].grad
    assert analytic == pytest.approx(gradient[index], rel=1e-8, nan_ok=True)
    step = [Tensor(x.astype(complex)) for x in inputs]
    step[i].data[index] += 1e-20j
    assert numeric == pytest.approx((weights * f(*step).data.imag).sum() / 1e-20, rel=1e-8)


@given(st.integers(0, 14), st.floats(1e-6, 1e3), st.sampled_from([-1, 1]))
def test_the_worst_entry_is_found_wherever_it_is(k, size, sign):
    index = np.unravel_index(k, X.shape)

    @primitive
    def wrong_somewhere(x):
        def pullback(g):
            gradient = g * np.cos(x)
            gradient *= 1 + 1e-7  # wrong everywhere, but more so in one place
            gradient[index] *= 1 + sign * size
            return gradient

        return np.sin(x), (pullback,)

    message = wrong(wrong_somewhere, X)
    assert f"worst at entry ({index[0]}, {index[1]}):" in message
    assert f"; {X.size} of {X.size} compared are wrong" in message


def test_a_nan_is_named_where_it_is():
    @primitive
    def divides_by_zero(x):
        return x**3, (lambda g: g * 3 * x**4 / np.where(np.arange(4) == 2, np.nan, x * x),)

    message = wrong(divides_by_zero, np.arange(1.0, 5))
    assert "worst at entry (2,): analytic nan" in message
    assert "1 of 4 compared are wrong" in message


def test_a_gradient_where_there_should_be_none_is_found():
    @primitive
    def constant(x):
        return x * 0, (lambda g: g * 1e50,)

    assert "5 of 5 compared" in wrong(constant, np.ones(5))


def test_an_unknown_pattern_gets_no_cause():
    @primitive
    def odd(x):
        return x * x, (lambda g: g * np.cos(7 * x),)

    assert "likely cause" not in wrong(odd, X)


def test_a_kink_is_named_as_such():
    assert "likely cause: a kink" in wrong(ops.relu, np.array([0.0, 1.0]))


def direction_with(change):
    """u(θ) whose gradient is multiplied by `change`, one number per angle."""

    @primitive
    def changed_direction(theta):
        x = Tensor(theta, requires_grad=True)
        direction = ops.hyperspherical(x)

        def pullback(g):
            direction.backward(g)
            return x.grad * change

        return direction.data, (pullback,)

    return changed_direction


def test_a_zero_gradient_for_only_the_late_angles_fails():
    theta = np.random.default_rng(1).uniform(0.1, 0.4, (1, 15))  # n = 16, s_15 < 1e-8
    assert gradcheck(ops.hyperspherical, theta).entries == 15
    message = wrong(direction_with(np.arange(15) < 10), theta)
    entry, analytic, numeric = worst(message)
    assert int(re.findall(r"\d+", entry)[1]) >= 10
    assert analytic == 0
    assert 0 < abs(numeric) < 1e-5
    assert "5 of 15 compared are wrong" in message


@pytest.mark.parametrize("factor", [0.0, -3.0])
def test_late_angles_far_below_rounding_are_checked_too(factor):
    theta = np.random.default_rng(0).uniform(0, np.pi, (1, 99))  # s₉₉ is about 1e-24
    assert gradcheck(ops.hyperspherical, theta).entries == 99
    late = direction_with(np.where(np.arange(99) < 80, 1.0, factor))
    assert "19 of 99 compared are wrong" in wrong(late, theta)


def test_an_error_of_1e_7_in_one_tiny_entry_among_large_ones_fails():
    scale = np.array([1.0, 1.0, 1e-9, 1.0])

    @primitive
    def scaled(x, error=0.0):
        return x * scale, (lambda g: g * scale * (1 + error * (scale < 1e-8)),)

    assert gradcheck(scaled, np.ones(4)).entries == 4
    message = wrong(lambda x: scaled(x, error=1e-7), np.ones(4))
    assert "worst at entry (2,)" in message
    assert "1 of 4 compared are wrong" in message


# Functions that are not analytic ------------------------------------------------------------------


@primitive
def modulus(x):
    return np.abs(x), (lambda g: g * np.sign(x.real),)


@primitive
def real_part(x):
    return x.real**2, (lambda g: 2 * g * x.real,)


@primitive
def refuses_complex(x):
    if x.dtype.kind == "c":
        raise TypeError("no complex numbers")
    return x * x, (lambda g: 2 * g * x,)


@pytest.mark.parametrize("f", [modulus, real_part, refuses_complex])
def test_functions_that_are_not_analytic_fall_back_to_central_differences(f):
    report = gradcheck(f, X)
    assert np.isnan(report.complex)
    assert 0 < report.central <= 1e-6


@pytest.mark.parametrize("f", [modulus, real_part, refuses_complex])
def test_bugs_in_functions_that_are_not_analytic_are_found_too(f):
    def spoiled(x):
        return off_by(1e-4, f(x))

    entry, analytic, numeric = worst(wrong(spoiled, X))
    assert entry.startswith("entry")
    assert analytic == pytest.approx(numeric * (1 + 1e-4), rel=1e-6)


def test_one_input_without_complex_step_is_remembered_in_the_report():
    report = gradcheck(lambda x, y: modulus(x) * y, X, Y)
    assert report.entries == X.size + Y.size
    assert np.isnan(report.complex)
    assert np.isnan(gradcheck(lambda y, x: modulus(x) * y, Y, X).complex)


# Large inputs -------------------------------------------------------------------------------------


def test_large_inputs_are_sampled():
    x = np.random.default_rng(0).normal(size=(100, 20))
    report = gradcheck(ops.tanh, x)
    assert MAX_ENTRIES < report.entries < x.size
    assert report.complex <= 1e-12
    assert gradcheck(ops.tanh, x[: MAX_ENTRIES // 20]).entries == MAX_ENTRIES


@pytest.mark.parametrize("k", [0, 777, 1999])
def test_a_bug_in_any_single_entry_of_a_large_input_is_found(k):
    """Random directions see entries that were not chosen."""

    @primitive
    def wrong_once(x):
        def pullback(g):
            gradient = g * 2 * x
            gradient.flat[k] *= 1.01
            return gradient

        return x * x, (pullback,)

    wrong(wrong_once, np.random.default_rng(0).uniform(1, 2, (100, 20)))


def test_a_bug_everywhere_in_a_large_input_is_named():
    message = wrong(doubled, np.random.default_rng(0).normal(size=(40, 20)))
    assert "a factor of 2" in message
    message = wrong(transposed, *np.random.default_rng(0).normal(size=(2, 30, 30)))
    assert re.search(r"worst at (entry|random direction)", message)


# Examples -----------------------------------------------------------------------------------------


@given(st.integers(0, 10**6))
def test_examples_keep_off_kinks_and_ties(seed):
    for name in ("relu", "absolute", "maximum", "minimum"):
        for arguments, _ in examples(ops.OPERATIONS[name], np.random.default_rng(seed)):
            assert all(np.all(np.abs(a) > 0.01) for a in arguments)
            if len(arguments) == 2:
                assert np.all(arguments[0] != arguments[1])


def test_examples_stay_in_the_domain():
    for operation in ops.OPERATIONS.values():
        low, high = operation.examples.get("domain", (-np.inf, np.inf))
        for arguments, _ in examples(operation, np.random.default_rng(0)):
            for a in arguments:
                if isinstance(a, np.ndarray) and a.dtype.kind == "f":
                    assert np.all((low <= a) & (a <= high))


def test_whole_numbers_do_not_widen_float32_silently():
    x = Tensor(np.ones(3, np.float32))
    for wider in ([1.0, 2.0, 3.0], np.arange(3), np.ones(3)):
        with pytest.raises(TypeError, match="float32 to float64"):
            ops.multiply(x, wider)


# Whole models -------------------------------------------------------------------------------------


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


def test_every_gradient_of_a_convnet_passes():
    options = {"rng": np.random.default_rng(0), "num_classes": 3, "widths": (2, 2)}
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(3, 6, 6, 3)), np.array([0, 2, 1])
    for method in ("BN", "GmP+IMN"):
        assert check_model(vgg6(method, **options), ops.cross_entropy, x, labels)


def test_a_batch_and_parameters_of_any_numbers_are_checked():
    """Whole numbers, another byte order and stride backwards: the same as float64 ones."""
    x, y = np.array([[200, 3], [7, 255], [0, 90]], np.uint8), np.array([[True], [False], [True]])
    model = network()
    expected = check_model(model, ops.mse, x / 1.0, y / 1.0)
    assert check_model(model, ops.mse, x[::-1][::-1], y) == expected
    for parameter in model.parameters():
        parameter.data = parameter.data.astype(">f8")
    assert check_model(model, ops.mse, x, y) == expected
    assert all(p.dtype == ">f8" for p in model.parameters())


@primitive
def thrice(x):
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
    model.steps.insert(1, thrice)
    with pytest.raises(GradientError, match=r"a constant factor of 0\.333333") as error:
        check_model(model, ops.mse, *batch())
    inside = "steps.0.layer.parameterization."
    assert names_in(error) == [inside + "bias", inside + "weight"]


class Scale(nn.Module):
    """One parameter, to which an operation is applied whose gradient is wrong."""

    def __init__(self, operation):
        self.operation, self.size = operation, nn.Parameter([2.0, 3.0])

    def __call__(self, x):
        return x * self.operation(self.size)


def test_only_the_wrong_parameter_is_named_with_its_likely_cause():
    model = nn.Sequential(Scale(turned_round), network())
    with pytest.raises(GradientError, match="the sign is wrong") as error:
        check_model(model, ops.mse, *batch())
    assert names_in(error) == ["steps.0.size"]
    assert "parameter steps.0.size of shape (2,): worst at entry" in str(error.value)


def test_a_relative_error_of_1e_7_in_one_parameter_of_a_model_is_found():
    model = nn.Sequential(Scale(partial(off_by, 1e-7)), network())
    with pytest.raises(GradientError) as error:
        check_model(model, ops.mse, *batch())
    assert names_in(error) == ["steps.0.size"]


class Detached(nn.Module):
    """A parameter that the loss depends on behind the back of the engine."""

    def __init__(self):
        self.shift = nn.Parameter([0.5])

    def __call__(self, x):
        return x + self.shift.detach() + Tensor(self.shift.data)


def test_a_cut_path_and_an_infinite_gradient_are_found():
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


def test_a_unit_at_its_kink_is_not_an_error():
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
    model.steps.insert(0, Scale(partial(off_by, 1e-4)))
    with pytest.raises(GradientError) as error:
        check_model(model, loss, *batch())
    assert names_in(error) == ["steps.0.size"]


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
        check_model(model, with_decay(thrice), *batch())
    assert names_in(error) == ["steps.1.layer.parameterization.weight"]
    assert weight.data is data
    assert weight.grad is before
    assert all(p.grad is None and p.dtype == np.float32 for p in model.parameters()[:1])


def test_what_cannot_be_checked_is_refused_in_one_sentence():
    model, (x, y) = network(), batch()
    with no_grad(), pytest.raises(RuntimeError, match=r"nothing is recorded inside no_grad\(\)"):
        check_model(model, ops.mse, x, y)
    with pytest.raises(ValueError, match="the loss must be finite, but is nan"):
        check_model(model, ops.mse, np.full_like(x, np.nan), y)
    with pytest.raises(TypeError, match=r"must give a Tensor of one number, but gave float$"):
        check_model(model, lambda prediction, y: 1.0, x, y)
    with pytest.raises(TypeError, match=r"one number, but gave Tensor \(12, 1\)$"):
        check_model(model, lambda prediction, y: prediction, x, y)
