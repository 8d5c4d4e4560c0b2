"""Layers under every parameterization, pooling, and Units of them."""

from functools import partial

import numpy as np
import pytest
from convolution_helpers import plain_conv2d

from geonet import Tensor, nn, ops
from geonet.check.gradcheck import gradcheck
from geonet.nn import initializers
from geonet.nn.layers import ACTIVATIONS
from geonet.nn.parameterizations import PARAMETERIZATIONS

KINDS = {  # and the shape of an input
    "linear": (partial(nn.Linear, 3, 4), (6, 3)),
    "conv2d": (partial(nn.Conv2d, 3, 4, 3, 1, 1), (2, 5, 4, 3)),
}
every_kind = pytest.mark.parametrize("kind", KINDS)
every_parameterization = pytest.mark.parametrize("parameterization", PARAMETERIZATIONS)


def rng(seed=0):
    return np.random.default_rng(seed)


def randomize(module, seed=0):
    """Parameters of either sign, biases and radii included."""
    for i, parameter in enumerate(module.parameters()):
        parameter.data[...] = rng([seed, i]).normal(size=parameter.shape)
    return module


def filters(layer, shape):
    """The effective weight (O, kh, kw, C) and bias (O,) before the activation."""
    weight, bias = layer.parameterization.affine()
    return weight.data.reshape(len(weight), *shape), 0 if bias is None else bias.data


# Linear -------------------------------------------------------------------------------------------

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


@every_parameterization
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_linear_layer_starts_from_the_drawn_weights_with_zero_bias(parameterization, dtype):
    layer = nn.Linear(3, 4, parameterization, rng=rng(7), init="he_normal", dtype=dtype)
    drawn = initializers.initial_weight("he_normal", 4, 3, 4, rng(7))
    x = rng().normal(size=(6, 3)).astype(dtype)
    y = layer(x)
    np.testing.assert_allclose(y.data, x @ drawn.T, atol=1e-13 if dtype is np.float64 else 1e-5)
    assert y.dtype == dtype
    assert all(p.dtype == dtype for p in layer.parameters())


# Both ---------------------------------------------------------------------------------------------


@every_kind
@every_parameterization
def test_a_layer_without_bias_has_none(kind, parameterization):
    make, shape = KINDS[kind]
    with_bias, without = (
        make(parameterization=parameterization, rng=rng(), bias=bias) for bias in (True, False)
    )
    assert len(with_bias.parameters()) == len(without.parameters()) + 1
    x = rng(1).normal(size=shape)
    assert np.array_equal(with_bias(x).data, without(x).data)
    assert not np.any(without(np.zeros(shape)).data)


def step_by_step(layer, x):
    """gain · activation(W x + b), one operation after the other."""
    y, gain = layer.activation(layer.apply(x, *layer.rows())), layer.parameterization.gain
    return y if gain is None else y * gain


@every_kind
@every_parameterization
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_at_once_is_the_layer_step_by_step(kind, parameterization, activation, bias):
    """Output and all gradients of the layer are those of one operation after the other."""
    make, shape = KINDS[kind]
    options = {"parameterization": parameterization, "activation": activation, "bias": bias}
    layer, x, results = randomize(make(rng=rng(), **options)), rng(1).normal(size=shape), []
    for compute in (layer, lambda x: step_by_step(layer, x)):
        inputs = Tensor(x, requires_grad=True)
        y = compute(inputs)
        y.backward(rng(2).normal(size=y.shape))
        results.append([y.data, inputs.grad, *(p.grad for p in layer.parameters())])
        for parameter in layer.parameters():
            parameter.grad = None
    for at_once, by_steps in zip(*results):
        np.testing.assert_allclose(at_once, by_steps, rtol=1e-12, atol=1e-13)


# Conv2d -------------------------------------------------------------------------------------------


@every_parameterization
@pytest.mark.parametrize("activation", [None, "relu", "tanh"])
@pytest.mark.parametrize(
    ("kernel_size", "stride", "padding"),
    [(3, 1, 1), (1, 1, 0), ((2, 3), (1, 2), (0, 2)), (3, 2, 0)],
)
def test_a_convolution_is_its_activation_of_the_plain_sum(
    parameterization, activation, kernel_size, stride, padding
):
    """Rows are filters flattened in the order height, width, channel."""
    how = kernel_size, stride, padding
    layer = randomize(nn.Conv2d(3, 4, *how, parameterization, activation, rng=rng()))
    pairs = [n if isinstance(n, tuple) else (n, n) for n in how]
    x = rng(1).normal(size=(2, 6, 5, 3))
    z = plain_conv2d(x, *filters(layer, (*pairs[0], 3)), *pairs[1:])
    y = ACTIVATIONS[activation](Tensor(z)).data
    if layer.parameterization.gain is not None:
        y = y * layer.parameterization.gain.data
    np.testing.assert_allclose(layer(x).data, y, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(layer.apply(x, *layer.rows()).data, z, rtol=1e-12, atol=1e-13)


@every_parameterization
def test_on_single_pixels_it_is_the_fully_connected_layer(parameterization):
    dense = randomize(nn.Linear(3, 4, parameterization, "relu", rng=rng()))
    layer = nn.Conv2d(3, 4, 1, parameterization=parameterization, activation="relu", rng=rng())
    layer.load_state_dict(dense.state_dict())
    x = rng(1).normal(size=(7, 3))
    y = layer(x.reshape(7, 1, 1, 3)).data
    np.testing.assert_allclose(y.reshape(7, 4), dense(x).data, rtol=1e-13, atol=1e-14)


@every_parameterization
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("init", ["glorot_uniform", "glorot_normal", "he_normal", "orthogonal"])
def test_it_starts_from_the_drawn_filters_with_zero_bias(parameterization, dtype, init):
    layer = nn.Conv2d(
        3, 5, (3, 2), parameterization=parameterization, rng=rng(7), init=init, dtype=dtype
    )
    drawn = initializers.initial_weight(init, 5, 3 * 2 * 3, 3 * 2 * 5, rng(7))
    x = rng().normal(size=(2, 6, 5, 3)).astype(dtype)
    y = layer(x)
    expected = plain_conv2d(x, drawn.reshape(5, 3, 2, 3), 0, (1, 1), (0, 0))
    np.testing.assert_allclose(y.data, expected, atol=1e-13 if dtype is np.float64 else 1e-5)
    assert y.dtype == dtype
    assert all(p.dtype == dtype for p in layer.parameters())


@every_parameterization
@pytest.mark.parametrize(("fan_out", "reached"), [("window", 15 * 24), ("filters", 24)])
def test_glorots_limit_is_that_of_the_fans_of_a_convolution(parameterization, fan_out, reached):
    """√(6 / (kh·kw·C + m)) with m = kh·kw·O or O, under every parameterization."""
    options = {"parameterization": parameterization, "fan_out": fan_out}
    layer = nn.Conv2d(8, 24, (5, 3), rng=rng(), **options)
    weight = layer.parameterization.affine()[0].data
    gain = layer.parameterization.gain
    largest = np.abs(weight if gain is None else weight * gain.data[:, None]).max()
    limit = np.sqrt(6 / (15 * 8 + reached))
    assert 0.99 * limit < largest <= limit * (1 + 1e-12)


@every_parameterization
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("bias", [True, False])
def test_gradients_of_inputs_and_parameters_are_the_numeric_ones(
    parameterization, activation, bias
):
    layer = nn.Conv2d(
        2, 3, (2, 3), (1, 2), (1, 0), parameterization, activation, rng=rng(), bias=bias
    )
    randomize(layer, seed=3)
    names = [name.rsplit(".", 1)[-1] for name, _ in layer.named_parameters()]

    def output(x, *parameters):
        for name, parameter in zip(names, parameters):
            setattr(layer.parameterization, name, parameter)
        return layer(x)

    report = gradcheck(output, rng(1).normal(size=(2, 4, 5, 2)), *layer.parameters())
    assert report.complex < 1e-9


# Units and pooling --------------------------------------------------------------------------------


def test_a_unit_normalizes_before_the_activation_and_centres_after_the_gain():
    layer = nn.Linear(3, 4, "geometric", "relu", rng=rng())
    unit = nn.Unit(layer, nn.BatchNorm(4), nn.MeanNorm(4))
    layer.parameterization.radius.data[...] = [1.5, -2.0, 0.5, -0.1]
    layer.parameterization.lambda_.data[...] = rng(1).normal(size=4)
    unit.normalization.gamma.data[...] = [1.0, -1.0, 2.0, 0.5]
    unit.normalization.beta.data[...] = [0.1, 0.2, -0.3, 0.4]
    x = rng(2).normal(size=(20, 3))
    z = layer.apply(x, *layer.rows()).data
    normalized = (z - z.mean(0)) / np.sqrt(z.var(0) + 1e-3)
    normalized = normalized * unit.normalization.gamma.data + unit.normalization.beta.data
    y = np.maximum(normalized, 0) * layer.parameterization.radius.data
    np.testing.assert_allclose(unit(Tensor(x)).data, y - y.mean(0), atol=1e-13)


def test_a_unit_without_extras_is_its_layer():
    layer = nn.Linear(3, 4, "weight_norm", "relu", rng=rng())
    x = rng(1).normal(size=(5, 3))
    assert np.array_equal(nn.Unit(layer)(x).data, layer(x).data)


def test_a_unit_normalizes_and_centres_each_channel_over_images_and_pixels():
    layer = randomize(nn.Conv2d(3, 4, 3, 1, 1, "geometric", "relu", rng=rng()))
    unit = nn.Unit(layer, nn.BatchNorm(4), nn.MeanNorm(4))
    unit.normalization.gamma.data[...] = [1.0, -1.0, 2.0, 0.5]
    unit.normalization.beta.data[...] = [0.1, 0.2, -0.3, 0.4]
    x = rng(2).normal(size=(5, 6, 4, 3))
    z, axes = layer.apply(x, *layer.rows()).data, (0, 1, 2)
    z = (z - z.mean(axes)) / np.sqrt(z.var(axes) + 1e-3)
    z = z * unit.normalization.gamma.data + unit.normalization.beta.data
    y = np.maximum(z, 0) * layer.parameterization.radius.data
    np.testing.assert_allclose(unit(Tensor(x)).data, y - y.mean(axes), rtol=1e-11, atol=1e-12)


@every_parameterization
@pytest.mark.parametrize("activation", [None, "relu", "tanh"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_centred_unit_evaluates_by_the_mean_that_it_took_off_in_training(
    parameterization, activation, bias
):
    layer = nn.Linear(3, 4, parameterization, activation, rng=rng(), bias=bias)
    unit = nn.Unit(randomize(layer), centring=nn.MeanNorm(4, momentum=0.0))
    x = rng(2).normal(size=(20, 3))
    trained = unit(Tensor(x)).data
    plain = step_by_step(layer, Tensor(x)).data
    np.testing.assert_allclose(trained, plain - plain.mean(axis=0), atol=1e-13)
    np.testing.assert_allclose(unit.centring.running_mean, plain.mean(axis=0), atol=1e-13)
    np.testing.assert_allclose(unit.eval()(Tensor(x)).data, trained, atol=1e-13)


def test_pooling_takes_the_largest_of_each_window():
    x = rng().normal(size=(2, 6, 7, 3))
    for window in ((2,), (3, 2, 1), (2, 1)):
        pooled = nn.MaxPool2d(*window)(Tensor(x)).data
        np.testing.assert_array_equal(pooled, ops.max_pool2d(x, *window).data)
    np.testing.assert_array_equal(nn.MaxPool2d(2)(x).data[0, 0, 0], x[0, :2, :2].max(axis=(0, 1)))


# Errors -------------------------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize(
    ("options", "known"),
    [
        ({"parameterization": "polar"}, PARAMETERIZATIONS),
        ({"activation": "swish"}, ACTIVATIONS),
        ({"init": "zeros"}, initializers.NAMES),
    ],
)
def test_an_unknown_name_lists_the_known(kind, options, known):
    ((argument, name),) = options.items()
    with pytest.raises(ValueError, match=f"{argument} must be one of .* is '{name}'") as error:
        KINDS[kind][0](rng=rng(), **options)
    assert all(str(name) in str(error.value) for name in known)


@every_kind
@pytest.mark.parametrize("dtype", [np.float16, np.int64, complex])
def test_other_precisions_are_refused(kind, dtype):
    with pytest.raises(ValueError, match="dtype must be one of float32, float64, but is"):
        KINDS[kind][0](rng=rng(), dtype=dtype)


@pytest.mark.parametrize("sizes", [(0, 3), (2, 0), (-1, 2)])
def test_sizes_of_a_linear_layer_below_one_are_refused(sizes):
    with pytest.raises(ValueError, match=r"fan_(in|out) must be .* at least 1, but is (0|-1)"):
        nn.Linear(*sizes, rng=rng())


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((0, 3, 3), "in_channels must be a whole number of at least 1, but is 0"),
        ((2, -1, 3), "out_channels must be a whole number of at least 1, but is -1"),
        ((2, 3, 0), "kernel_size must be a whole number of at least 1, but is 0"),
        ((2, 3, (3,)), r"kernel_size must be .* a pair of them, but is \(3,\)"),
        ((2, 3, (3, 3, 3)), r"kernel_size must be .* a pair of them, but is \(3, 3, 3\)"),
        ((2, 3, (3, 1.5)), "kernel_size must be .*, but is 1.5"),
        ((2, 3, 1.5), "kernel_size must be .*, but is 1.5"),
        ((2, 3, 3, 0), "stride must be a whole number of at least 1, but is 0"),
        ((2, 3, 3, 1, -1), "padding must be a whole number of at least 0, but is -1"),
    ],
)
def test_sizes_that_cannot_be_are_named(sizes, message):
    with pytest.raises(ValueError, match=message):
        nn.Conv2d(*sizes, rng=rng())


def test_another_fan_out_than_the_two_is_refused():
    with pytest.raises(ValueError, match="fan_out must be one of window, filters, but is 24"):
        nn.Conv2d(8, 24, 3, rng=rng(), fan_out=24)


def test_images_of_other_channels_are_refused():
    with pytest.raises(ValueError, match=r"4 channels, but weight .* takes 3"):
        nn.Conv2d(3, 2, 1, rng=rng())(np.ones((1, 5, 5, 4)))
