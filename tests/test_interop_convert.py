"""Conversion computes the same function wherever it can, and says where it cannot."""

import re
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geonet import models, nn, ops
from geonet.models import PAPER_METHODS
from geonet.nn import Conv2d, Linear, MaxPool2d, MeanNorm, ResidualBlock, Sequential, Unit, convert
from geonet.nn.parameterizations import PARAMETERIZATIONS as KINDS
from geonet.train import predict

FOLDED = nn.BatchNorm, nn.MeanNorm
METHODS = {name: name for name in models.METHODS if name != "LN"}
METHODS |= {f"paper {name}": PAPER_METHODS[name] for name in ("BN", "WN+MBN")}
NETWORKS = {
    "mlp": lambda method, **options: models.mlp([4, 9, 7, 3], method, **options),
    "vgg6": lambda method, **options: models.vgg6(method, width=0.04, num_classes=3, **options),
    "resnet18": lambda method, **options: models.resnet18(
        method, width=0.06, num_classes=3, **options
    ),
    "resnet50": lambda method, **options: models.resnet50(
        method, width=0.04, num_classes=3, stem="small", **options
    ),
}
every_kind = pytest.mark.parametrize("to", KINDS)


def rng(seed=0):
    return np.random.default_rng(seed)


def disturbed(model, seed=1):
    """The model, in place, as if it had been trained: nothing is at its first value."""
    generator = rng(seed)
    for parameter in model.parameters():
        parameter.data += (0.2 * generator.normal(size=parameter.shape)).astype(parameter.dtype)
    for _, module in model.named_modules():
        if isinstance(module, FOLDED):
            mean = module.running_mean
            mean[...] = 0.3 * generator.normal(size=mean.shape)
        if isinstance(module, nn.BatchNorm):
            module.running_var[...] = generator.uniform(0.5, 2, mean.shape)
        if isinstance(module, nn.Geometric | nn.Cartesian):
            np.abs(module.radius.data, out=module.radius.data)
    return model


def inputs_of(network, dtype=np.float64):
    shape = (20, 4) if network == "mlp" else (2, 16, 16, 3)
    return rng(5).normal(size=shape).astype(dtype)


def assert_same_function(model, other, x, tolerance=1e-12):
    expected = predict(model, x)
    found = predict(other, x)
    assert found.dtype == expected.dtype
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def layer_of(parameterization, sizes=(3, 4), activation="relu", **options):
    return Linear(*sizes, parameterization, activation, rng=rng(), **options)


def radius_of(layer):
    return layer.parameterization.radius.data


# Where it is exact --------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-5)])
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("method", METHODS)
def test_whole_networks_compute_the_same_function(method, network, dtype, tolerance):
    model = disturbed(NETWORKS[network](METHODS[method], rng=rng(), dtype=dtype))
    x = inputs_of(network, dtype)
    for to, kind in KINDS.items():
        if method == "GmP+IMN" and network != "mlp":
            with pytest.raises(ValueError, match=r"unit.* pads images with zeros; approximate=Tr"):
                convert(model, to)
            continue
        converted = convert(model, to)
        assert_same_function(model, converted, x, tolerance)
        modules = [module for _, module in converted.named_modules()]
        found = {type(m.parameterization) for m in modules if hasattr(m, "parameterization")}
        assert found == {kind}
        assert not any(isinstance(module, FOLDED) for module in modules)


def test_wide_layers_in_float32_are_within_a_hundred_thousandth():
    model = disturbed(models.mlp([2000, 1000, 3], "BN", rng=rng(), dtype=np.float32))
    x = rng(1).normal(size=(10, 2000)).astype(np.float32)
    assert_same_function(model, convert(model, "geometric"), x, 1e-5)


@given(st.integers(0, 9999), st.sampled_from(list(KINDS)), st.sampled_from(["relu", "leaky_relu"]))
def test_a_sign_of_r_folds_into_the_next_affine_layer(seed, to, activation):
    model = models.mlp([3, 6, 5, 2], "GmP+IMN", rng=rng(seed), activation=activation)
    disturbed(model, seed)
    for unit in model[:-1]:
        radius_of(unit.layer)[...] *= rng(seed).choice([-1, 1, 0], len(radius_of(unit.layer)))
    assert_same_function(model, convert(model, to), rng(2).normal(size=(9, 3)))


@every_kind
def test_a_sign_folds_into_a_zero_padded_convolution_and_through_a_mean_over_the_image(to):
    first, second = (Unit(Conv2d(3, 3, 3, 1, 1, "geometric", "relu", rng=rng(i))) for i in range(2))
    model = disturbed(Sequential(first, second, ops.global_average_pool, layer_of(*("standard",))))
    for unit in (first, second):
        radius_of(unit.layer)[1] *= -1
    assert_same_function(model, convert(model, to), rng(3).normal(size=(2, 6, 6, 3)))


@every_kind
def test_linear_layers_take_any_sign_of_r_themselves(to):
    layer = disturbed(layer_of("geometric", activation=None))
    radius_of(layer)[:2] *= -1
    assert_same_function(layer, convert(layer, to), rng(3).normal(size=(5, 3)))
    centred = disturbed(Unit(layer, centring=MeanNorm(4)))
    assert_same_function(centred, convert(centred, to), rng(3).normal(size=(5, 3)))


@every_kind
def test_a_negative_length_turns_the_row(to):
    layer = disturbed(layer_of("weight_norm"))
    layer.parameterization.length.data[:2] *= -1
    assert_same_function(layer, convert(layer, to), rng(3).normal(size=(9, 3)))


@pytest.mark.parametrize("parameterization", KINDS)
@every_kind
def test_layers_of_one_input_have_a_sign_for_a_direction(parameterization, to):
    model = Sequential(layer_of(parameterization, (1, 6)), layer_of(parameterization, (6, 1)))
    disturbed(model)
    assert_same_function(model, convert(model, to), np.linspace(-2, 2, 9)[:, None])


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "softplus"])
@pytest.mark.parametrize("to", ["standard", "weight_norm"])
def test_outside_other_activations_all_of_r_goes_into_the_next_layer(activation, to):
    model = models.mlp([3, 6, 5, 2], "GmP", rng=rng(), activation=activation)
    disturbed(model)
    radius_of(model[0].layer)[2] *= -1
    assert_same_function(model, convert(model, to), rng(2).normal(size=(9, 3)))
    assert_same_function(model, convert(model, "geometric"), rng(2).normal(size=(9, 3)))


def test_a_layer_norm_is_kept():
    model = disturbed(models.mlp([3, 6, 5, 2], "LN", rng=rng()))
    converted = convert(model, "weight_norm")
    assert isinstance(converted[0].normalization, nn.LayerNorm)
    assert_same_function(model, converted, rng(2).normal(size=(9, 3)))


@every_kind
@pytest.mark.parametrize("projects", [True, False])
def test_a_mean_goes_into_a_block_that_does_not_pad(to, projects):
    """Into the branch and the projection, or past the identity to the end of the branch."""

    def unit(size, padding, activation="relu", centring=None):
        layer = Conv2d(3, 3, size, 1, padding, "geometric", activation, rng=rng(size))
        return Unit(layer, centring=centring)

    first = unit(3, 1, centring=MeanNorm(3))
    branch = [unit(1, 0), unit(3, 1), unit(1, 0, None, MeanNorm(3))]
    block = ResidualBlock(branch, unit(1, 0, None) if projects else None)
    model = disturbed(Sequential(first, MaxPool2d(3, 2, 1), block, ops.global_average_pool))
    assert_same_function(model, convert(model, to), rng(3).normal(size=(2, 8, 8, 3)))


def test_conversion_there_and_back_restores_the_parameters():
    """With angles in their canonical range and r > 0 they are determined by the function."""
    model = models.mlp([3, 6, 5, 2], "GmP", rng=rng())
    for parameter in model.parameters():
        parameter.data += 0.01
    back = convert(convert(model, "weight_norm"), "geometric")
    back.steps[-1] = convert(back[-1], "standard")
    expected = model.state_dict()
    found = back.state_dict()
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=0, atol=1e-13)


@pytest.mark.parametrize("method", ["BN", "GmP+IMN", "LN"])
def test_the_model_stays_as_it_is_and_shares_no_memory(method):
    model = disturbed(models.mlp([3, 6, 2], method, rng=rng()))
    before = model.state_dict()
    converted = convert(model.eval(), "weight_norm")
    assert not any(module.training for _, module in converted.named_modules())
    for parameter in converted.parameters():
        parameter.data[...] = np.nan
    np.testing.assert_equal(model.state_dict(), before)
    assert convert(model.train(), "standard").training


def test_biases_come_only_where_there_is_something_to_hold():
    layer = layer_of("standard", bias=False)
    assert convert(layer, "geometric").parameterization.lambda_ is None
    normalized = Unit(layer, nn.BatchNorm(4))
    assert convert(normalized, "weight_norm").layer.parameterization.bias is not None


# Where it is not ----------------------------------------------------------------------------------


def geometric_unit(r=-0.5, sizes=(3, 4), centring=None):
    unit = Unit(layer_of("geometric", sizes), centring=centring)
    radius_of(unit.layer)[2] = r
    return unit


def geometric_convolution(r=-0.5, padding=1, mean=0.0):
    layer = Conv2d(3, 3, 3, 1, padding, "geometric", "relu", rng=rng())
    unit = Unit(layer, centring=MeanNorm(3))
    radius_of(layer)[2] = r
    unit.centring.running_mean[1] = mean
    return unit


def with_zero_row(bias=0.3):
    model = models.mlp([3, 4, 2], "SP", rng=rng())
    rows = model[0].layer.parameterization
    rows.weight.data[2] = 0
    rows.bias.data[2] = bias
    return model


IMPOSSIBLE = {
    "sign at the end": (Sequential(geometric_unit()), "standard", r"steps.0, unit 2: .* r < 0"),
    "of a unit alone": (geometric_unit(), "weight_norm", r"the model, unit 2: .* none follows"),
    "mean at the end": (
        Sequential(geometric_convolution(1, mean=0.1)),
        "geometric",
        r"steps.0, unit 1: a mean .* none follows",
    ),
    "sign before a largest value": (
        Sequential(geometric_convolution(), MaxPool2d(2), geometric_convolution(1)),
        "standard",
        r"steps.0, unit 2: the sign of r cannot pass steps.1",
    ),
    "sign before a function": (
        Sequential(geometric_unit(), ops.tanh, layer_of("standard", (4, 2))),
        "standard",
        r"steps.0, unit 2: .* steps.1 comes before it",
    ),
    "sign before an identity shortcut": (
        Sequential(geometric_convolution(), ResidualBlock([geometric_convolution(1)])),
        "standard",
        r"steps.0, unit 2: .* steps.1 adds its input",
    ),
    "sign at the end of a branch": (
        Sequential(ResidualBlock([geometric_convolution()])),
        "standard",
        r"steps.0.units.0, unit 2: .* steps.0 adds it",
    ),
    "mean before padding": (
        Sequential(geometric_convolution(1, mean=0.1), geometric_convolution(1)),
        "geometric",
        r"steps.0, unit 1: a mean must move into steps.1, which pads",
    ),
    "no direction": (with_zero_row(), "weight_norm", r"steps.0, unit 2: ‖w‖ = 0"),
    "no finite offset": (
        Linear(1, 1, rng=rng(), init="normal:1e-200"),
        "geometric",
        r"the model, unit 0: ‖w‖ = 0, or too small",
    ),
    "scale inside tanh": (
        Sequential(layer_of("standard", activation="tanh")),
        "geometric",
        r"steps.0, units 0, 1, 2, 3: ‖w‖ ≠ 1",
    ),
    "scale inside a layer norm": (
        Sequential(Unit(layer_of("standard"), nn.LayerNorm(4))),
        "geometric",
        r"steps.0, units 0, 1, 2, 3: ‖w‖ ≠ 1",
    ),
}
IMPOSSIBLE["no finite offset"][0].parameterization.bias.data[...] = 1e200


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_what_cannot_be_exact_is_refused_by_layer_and_unit_or_done_with_a_warning(case):
    model, to, message = IMPOSSIBLE[case]
    with pytest.raises(ValueError, match=message + r".*; approximate=True "):
        convert(model, to)
    with pytest.warns(UserWarning, match=message + r".*; the conversion "):
        converted = convert(model, to, approximate=True)
    kinds = [type(m) for _, m in converted.named_modules() if type(m) in KINDS.values()]
    assert set(kinds) == {KINDS[to]}
    assert all(np.isfinite(parameter.data).all() for parameter in converted.parameters())


def test_many_units_are_counted():
    with pytest.raises(ValueError, match=r"units 0, 1, 2, 3, 4, 5, 6, 7, … \(20 in all\): ‖w‖"):
        convert(layer_of("standard", (3, 20), "tanh"), "geometric")


def test_exact_conversions_warn_of_nothing_when_approximate():
    model = disturbed(models.mlp([3, 5, 2], "GmP+IMN", rng=rng()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        converted = convert(model, "standard", approximate=True)
    assert_same_function(model, converted, rng(1).normal(size=(9, 3)))


def test_a_mean_before_padding_is_exact_away_from_the_edges():
    model = Sequential(geometric_convolution(1, mean=0.3), geometric_convolution(1))
    x = rng(3).normal(size=(2, 7, 7, 3))
    with pytest.warns(UserWarning, match="is exact only away from their edges"):
        converted = convert(model, "standard", approximate=True)
    expected, found = predict(model, x), predict(converted, x)
    np.testing.assert_allclose(found[:, 1:-1, 1:-1], expected[:, 1:-1, 1:-1], atol=1e-13)
    assert np.abs(found - expected).max() > 0.01
    unpadded = Sequential(model[0], geometric_convolution(1, padding=0))
    assert_same_function(unpadded, convert(unpadded, "standard"), x)


def centred_block(seed, outputs, padding=0):
    """A block whose branch and, if it changes the channels, shortcut are linear, and its ReLU."""
    size = 1 + 2 * padding
    branch, side = (
        disturbed(Unit(Conv2d(3, outputs, k, 1, p, "geometric", rng=rng(seed))), seed)
        for k, p in ((size, padding), (1, 0))
    )
    centring = MeanNorm(outputs)
    centring.running_mean[...] = rng(seed).normal(size=outputs)
    return ResidualBlock([branch], None if outputs == 3 else side, centring)


@every_kind
def test_the_centring_of_a_residual_block_moves_into_what_follows(to):
    """Into branch and shortcut of the next block, and through a mean into an output layer."""
    for outputs in (3, 4):  # an identity shortcut and one with a convolution
        output = layer_of("standard", (outputs, 2), None)
        model = Sequential(centred_block(1, 3), centred_block(2, outputs))
        model.steps += [ops.global_average_pool, output]
        converted = convert(model, to)
        assert not any(isinstance(module, FOLDED) for _, module in converted.named_modules())
        assert_same_function(model, converted, rng(3).normal(size=(2, 5, 5, 3)))


def test_the_centring_of_a_residual_block_before_padding_is_exact_away_from_the_edges():
    model = Sequential(centred_block(1, 3), centred_block(2, 3, padding=1))
    model[1].centring = None
    with pytest.raises(ValueError, match=r"steps.0, units 0, 1, 2: a mean must move into steps.1"):
        convert(model, "standard")
    with pytest.warns(UserWarning, match="is exact only away from their edges"):
        converted = convert(model, "standard", approximate=True)
    x = rng(3).normal(size=(2, 7, 7, 3))
    expected, found = predict(model, x), predict(converted, x)
    np.testing.assert_allclose(found[:, 1:-1, 1:-1], expected[:, 1:-1, 1:-1], atol=1e-13)
    assert np.abs(found - expected).max() > 0.01


def test_the_centring_of_a_last_residual_block_has_nowhere_to_go():
    with pytest.raises(ValueError, match=r"steps.0, units 0, 1, 2: a mean must .* none follows"):
        convert(Sequential(centred_block(1, 3)), "standard")


@pytest.mark.parametrize("bias", [0.3, -0.3, 0.0, 50.0])
@pytest.mark.parametrize("to", ["weight_norm", "geometric"])
def test_a_row_of_zeros_is_replaced_by_next_to_nothing(to, bias):
    model = with_zero_row(bias)
    with pytest.warns(UserWarning, match="takes that of the first axis"):
        converted = convert(model, to, approximate=True)
    assert_same_function(model, converted, rng(1).normal(size=(9, 3)))


def test_standard_layers_take_rows_of_zeros():
    model = disturbed(models.mlp([3, 5, 2], "BN", rng=rng()))
    model[0].normalization.gamma.data[1] = 0
    assert_same_function(model, convert(model, "standard"), rng(1).normal(size=(9, 3)))
    with pytest.raises(ValueError, match=r"steps.0, unit 1: ‖w‖ = 0"):
        convert(model, "geometric")


def test_modules_of_unknown_order_are_refused_and_others_are_copied():
    class Own(nn.Module):
        def __init__(self):
            self.layer = layer_of("standard")

        def __call__(self, x):
            return self.layer(x)

    with pytest.raises(TypeError, match=re.escape("steps.1 must be a Linear, Conv2d, Unit, Res")):
        convert(Sequential(layer_of("standard"), Own()), "geometric")
    model = Sequential(layer_of("standard"), disturbed(nn.BatchNorm(4)), ops.tanh)
    converted = convert(model, "geometric")
    assert_same_function(model, converted, rng(1).normal(size=(9, 3)))
    assert converted[1].gamma is not model[1].gamma


def test_unknown_parameterizations_and_other_things_than_modules_are_refused():
    with pytest.raises(
        ValueError, match="to must be one of standard, weight_norm, cartesian, geom"
    ):
        convert(layer_of("standard"), "GmP")
    with pytest.raises(TypeError, match=r"model must be a geonet.nn.Module, but is a function"):
        convert(predict, "geometric")
