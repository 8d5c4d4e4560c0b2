"""Modules, initializers and layers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geonet import Tensor, nn, ops
from geonet.nn import initializers
from geonet.nn.initializers import initial_weight
from geonet.nn.layers import ACTIVATIONS
from geonet.nn.parameterizations import PARAMETERIZATIONS

FAN_IN, FAN_OUT = 250, 40
VARIANCES = {
    "glorot": 2 / (FAN_IN + FAN_OUT),
    "he": 2 / FAN_IN,
    "lecun": 1 / FAN_IN,
}
EVERY_INIT = [name.replace(":S", ":0.3") for name in initializers.NAMES]


def rng(seed=0):
    return np.random.default_rng(seed)


# Initializers -------------------------------------------------------------------------------------


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


# Modules ------------------------------------------------------------------------------------------


class Counter(nn.Module):
    """A module with a parameter, a buffer, and what is neither."""

    buffers = ("count",)

    def __init__(self, value):
        self.scale = nn.Parameter(np.full(2, value))
        self.count = np.zeros(1)
        self.comment = np.ones(3)


class Tree(nn.Module):
    def __init__(self):
        self.first = Counter(1.0)
        self.own = nn.Parameter(np.zeros(1))
        self.rest = [Counter(2.0), "no module", Counter(3.0)]


def test_parameters_have_dotted_names_in_order_of_construction():
    tree = Tree()
    named = dict(tree.named_parameters())
    assert list(named) == ["own", "first.scale", "rest.0.scale", "rest.2.scale"]
    assert [id(p) for p in tree.parameters()] == [id(p) for p in named.values()]
    assert named["rest.2.scale"] is tree.rest[2].scale
    assert [name for name, _ in tree.named_modules()] == ["", "first", "rest.0", "rest.2"]


def test_a_parameter_is_a_contiguous_copy_that_wants_a_gradient():
    data = np.arange(6.0).reshape(2, 3)
    parameter = nn.Parameter(data.T)
    data[...] = -1
    assert np.array_equal(parameter.data, np.arange(6.0).reshape(2, 3).T)
    assert parameter.data.flags.c_contiguous  # which optimizers rely on
    assert parameter.requires_grad


def test_state_dict_holds_copies_of_parameters_and_buffers():
    tree = Tree()
    state = tree.state_dict()
    assert set(state) == {
        "own", "first.scale", "first.count", "rest.0.scale", "rest.0.count",
        "rest.2.scale", "rest.2.count",
    }  # fmt: skip
    tree.first.scale.data[...] = 9
    tree.first.count[...] = 9
    assert np.all(state["first.scale"] == 1)
    assert np.all(state["first.count"] == 0)


def test_load_state_dict_restores_in_place():
    tree = Tree()
    state = tree.state_dict()
    array, count = tree.rest[0].scale.data, tree.rest[0].count
    array[...], count[...] = 7, 7
    tree.load_state_dict(state)
    assert tree.rest[0].scale.data is array
    assert np.all(array == 2)
    assert tree.rest[0].count is count
    assert np.all(count == 0)
    state["own"][...] = 5
    assert tree.own.data[0] == 0  # nor does it keep what it was given


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("own"), r"differs in \['own'\]"),
        (lambda state: state.update(extra=0), r"differs in \['extra'\]"),
        (lambda state: state.update({"rest.2.count": np.ones(4)}), r"rest.2.count.*\(4,\).*\(1,\)"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change, message):
    tree = Tree()
    state = {name: value + 1 for name, value in tree.state_dict().items()}
    change(state)
    with pytest.raises(ValueError, match=message):
        tree.load_state_dict(state)
    assert all(np.array_equal(v, Tree().state_dict()[k]) for k, v in tree.state_dict().items())


def test_train_and_eval_reach_every_module():
    tree = Tree()
    assert all(module.training for _, module in tree.named_modules())
    assert tree.eval() is tree
    assert not any(module.training for _, module in tree.named_modules())
    tree.train()
    assert all(module.training for _, module in tree.named_modules())
    assert nn.Module.training  # other models are not touched


def test_sequential_applies_modules_and_functions_in_turn():
    double, layer = (lambda x: x * 2.0), nn.Linear(2, 3, rng=rng())
    model = nn.Sequential(double, layer, ops.tanh)
    x = rng().normal(size=(4, 2))
    weight = layer.parameterization.weight.data
    np.testing.assert_allclose(model(x).data, np.tanh(2 * x @ weight.T), rtol=1e-13)
    assert len(model) == 3
    assert model[1] is layer
    assert [name for name, _ in model.named_parameters()] == [
        "steps.1.parameterization.weight",
        "steps.1.parameterization.bias",
    ]


# Layers -------------------------------------------------------------------------------------------

EXPECTED_ACTIVATIONS = {
    None: lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": np.tanh,
    "softplus": lambda z: np.log(1 + np.exp(z)),
}


@pytest.mark.parametrize("activation", EXPECTED_ACTIVATIONS)
def test_a_linear_layer_is_its_activation_of_an_affine_map(activation):
    layer = nn.Linear(3, 4, activation=activation, rng=rng())
    layer.parameterization.bias.data[...] = rng(1).normal(size=4)
    x = rng(2).normal(size=(5, 3))
    z = x @ layer.parameterization.weight.data.T + layer.parameterization.bias.data
    np.testing.assert_allclose(layer(x).data, EXPECTED_ACTIVATIONS[activation](z), rtol=1e-12)
    assert set(EXPECTED_ACTIVATIONS) == set(ACTIVATIONS)


@pytest.mark.parametrize("parameterization", PARAMETERIZATIONS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_layer_starts_from_the_drawn_weights_with_zero_bias(parameterization, dtype):
    layer = nn.Linear(3, 4, parameterization, rng=rng(7), init="he_normal", dtype=dtype)
    drawn = initial_weight("he_normal", 4, 3, 4, rng(7))
    x = rng().normal(size=(6, 3)).astype(dtype)
    y = layer(x)
    np.testing.assert_allclose(y.data, x @ drawn.T, atol=1e-13 if dtype is np.float64 else 1e-5)
    assert y.dtype == dtype
    assert all(p.dtype == dtype for p in layer.parameters())


@pytest.mark.parametrize("parameterization", PARAMETERIZATIONS)
def test_without_bias_there_is_no_bias(parameterization):
    with_bias, without = (
        nn.Linear(3, 4, parameterization, rng=rng(), bias=bias) for bias in (True, False)
    )
    assert len(with_bias.parameters()) == len(without.parameters()) + 1
    x = rng(1).normal(size=(5, 3))
    assert np.array_equal(with_bias(x).data, without(x).data)
    assert np.array_equal(without(np.zeros((1, 3))).data, np.zeros((1, 4)))


@pytest.mark.parametrize(
    ("arguments", "options", "known"),
    [
        ((2, 3, "polar"), {}, PARAMETERIZATIONS),
        ((2, 3), {"activation": "swish"}, ACTIVATIONS),
        ((2, 3), {"init": "zeros"}, initializers.NAMES),
    ],
)
def test_an_unknown_name_lists_the_known(arguments, options, known):
    with pytest.raises(ValueError, match="must be one of") as error:
        nn.Linear(*arguments, rng=rng(), **options)
    assert all(str(name) in str(error.value) for name in known)


@pytest.mark.parametrize("sizes", [(0, 3), (2, 0), (-1, 2)])
def test_sizes_below_one_are_refused(sizes):
    with pytest.raises(ValueError, match=f"fan_in and fan_out.*{sizes[0]}, {sizes[1]}"):
        nn.Linear(*sizes, rng=rng())


@pytest.mark.parametrize("dtype", [np.float16, np.int64, complex])
def test_other_precisions_are_refused(dtype):
    with pytest.raises(ValueError, match="dtype must be float32 or float64"):
        nn.Linear(2, 3, rng=rng(), dtype=dtype)


def test_a_unit_normalizes_before_the_activation_and_centres_after_the_gain():
    layer = nn.Linear(3, 4, "geometric", "relu", rng=rng())
    unit = nn.Unit(layer, nn.BatchNorm(4), nn.MeanNorm(4))
    layer.parameterization.radius.data[...] = [1.5, -2.0, 0.5, -0.1]
    layer.parameterization.lambda_.data[...] = rng(1).normal(size=4)
    unit.normalization.gamma.data[...] = [1.0, -1.0, 2.0, 0.5]
    unit.normalization.beta.data[...] = [0.1, 0.2, -0.3, 0.4]
    x = rng(2).normal(size=(20, 3))
    z = layer.affine(x).data
    normalized = (z - z.mean(0)) / np.sqrt(z.var(0) + 1e-3)
    normalized = normalized * unit.normalization.gamma.data + unit.normalization.beta.data
    y = np.maximum(normalized, 0) * layer.parameterization.radius.data
    np.testing.assert_allclose(unit(Tensor(x)).data, y - y.mean(0), atol=1e-13)


@pytest.mark.parametrize("parameterization", PARAMETERIZATIONS)
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_at_once_is_the_layer_step_by_step(parameterization, activation, bias):
    """Whatever a layer does in one pass, output and gradients are those of affine and activate."""
    layer = nn.Linear(3, 4, parameterization, activation, rng=rng(), bias=bias)
    for seed, parameter in enumerate(layer.parameters()):
        parameter.data[...] = rng(seed).normal(size=parameter.shape)
    x, weights, results = rng(1).normal(size=(6, 3)), rng(2).normal(size=(6, 4)), []
    for compute in (layer, lambda x: layer.activate(layer.affine(x))):
        inputs = Tensor(x, requires_grad=True)
        y = compute(inputs)
        y.backward(weights)
        results.append([y.data, inputs.grad, *(p.grad for p in layer.parameters())])
        for parameter in layer.parameters():
            parameter.grad = None
    for at_once, by_steps in zip(*results):
        np.testing.assert_allclose(at_once, by_steps, rtol=1e-13, atol=1e-14)


def test_a_unit_without_extras_is_its_layer():
    layer = nn.Linear(3, 4, "weight_norm", "relu", rng=rng())
    x = rng(1).normal(size=(5, 3))
    assert np.array_equal(nn.Unit(layer)(x).data, layer(x).data)
