"""METHODS as the design has them, and networks that differ in their parameterization alone."""

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geonet import METHODS, Tensor, gradcheck, nn, ops
from geonet.characteristic import boundary
from geonet.models import (
    PAPER_METHODS,
    Method,
    authors_start,
    mlp,
    resnet18,
    resnet34,
    resnet50,
    vgg6,
)
from geonet.nn.layers import Layer
from geonet.tensor import gradient_of
from geonet.train import Adam, fit, predict

AFFINE = {
    "standard": {"layer.parameterization.weight", "layer.parameterization.bias"},
    "weight_norm": {f"layer.parameterization.{name}" for name in ("v", "length", "bias")},
    "cartesian": {f"layer.parameterization.{name}" for name in ("v", "lambda_", "radius")},
    "geometric": {f"layer.parameterization.{name}" for name in ("theta", "lambda_", "radius")},
}
SCALES = {"normalization.gamma", "normalization.beta"}
HIDDEN = {  # the raw parameters of a hidden unit, after the table of methods
    "SP": AFFINE["standard"],
    "WN": AFFINE["weight_norm"],
    "BN": {"layer.parameterization.weight"} | SCALES,
    "LN": AFFINE["standard"] | SCALES,
    "WN+MBN": AFFINE["weight_norm"] - {"layer.parameterization.bias"} | {"normalization.shift"},
    "GmP-C": AFFINE["cartesian"],
    "GmP": AFFINE["geometric"],
    "GmP+IMN": AFFINE["geometric"],
}
ONE_START = "SP", "WN", "GmP-C", "GmP"  # one function at the start
NORMALIZATION = {"BN": nn.BatchNorm, "LN": nn.LayerNorm, "WN+MBN": nn.MeanNorm}


def rng(seed=0):
    return np.random.default_rng(seed)


def model_of(method, sizes=(3, 6, 5, 2), seed=0, **options):
    return mlp(list(sizes), method, rng=rng(seed), **options)


def weights(layer):
    """The weights that a layer starts from, whatever its parameterization."""
    parameterization = getattr(layer, "layer", layer).parameterization
    weight = parameterization.affine()[0].data
    gain = getattr(parameterization, "radius", None)
    return weight if gain is None else weight * gain.data[:, None]


def layers_of(model):
    """Its layers in order of construction, the output layer last."""
    return [module for _, module in model.named_modules() if isinstance(module, Layer)]


# Recipes ------------------------------------------------------------------------------------------


def test_there_are_eight_methods_in_the_order_of_the_design():
    assert list(METHODS) == ["SP", "WN", "BN", "LN", "WN+MBN", "GmP-C", "GmP", "GmP+IMN"]


@pytest.mark.parametrize("method", METHODS)
def test_a_hidden_unit_has_the_parameters_of_its_method(method):
    model = model_of(method)
    for unit in model[:-1]:
        assert {name for name, _ in unit.named_parameters()} == HIDDEN[method]
        assert type(unit.normalization) is NORMALIZATION.get(method, type(None))
        assert type(unit.centring) is (nn.MeanNorm if method == "GmP+IMN" else type(None))
        assert unit.layer.activation is ops.relu
    output = "weight_norm" if method.startswith("WN") else "standard"
    assert {f"layer.{name}" for name, _ in model[-1].named_parameters()} == AFFINE[output]
    z = rng().normal(size=(2, 2))
    assert model[-1].activation(z) is z


def test_the_paper_differs_in_two_biases_and_in_the_fan_out_of_its_own_convolutions():
    assert list(PAPER_METHODS) == list(METHODS)
    biases = {"BN": {"bias": True}, "WN+MBN": {"bias": True, "normalization": "centre"}}
    for method, recipe in METHODS.items():
        start = {"fan_out": "window" if method in ("SP", "BN", "LN") else "filters"}
        assert recipe.fan_out == "window"
        assert PAPER_METHODS[method] == recipe._replace(**biases.get(method, {}), **start)
        assert authors_start(method) == recipe._replace(**start)


def test_the_papers_recipes_have_their_bias_before_the_normalization():
    batch, mean_only = (model_of(PAPER_METHODS[method])[0] for method in ("BN", "WN+MBN"))
    assert {name for name, _ in batch.named_parameters()} == AFFINE["standard"] | SCALES
    assert {name for name, _ in mean_only.named_parameters()} == AFFINE["weight_norm"]
    assert type(mean_only.normalization) is nn.MeanNorm


@pytest.mark.parametrize("method", ["gmp", "WN+BN", "", None])
def test_an_unknown_method_lists_the_known(method):
    with pytest.raises(ValueError, match="method must be one of SP, WN, BN, LN") as error:
        model_of(method)
    assert all(name in str(error.value) for name in METHODS)


@pytest.mark.parametrize("sizes", [[], [3]])
def test_too_few_sizes_are_refused(sizes):
    with pytest.raises(ValueError, match=r"sizes must be \[inputs, hidden, ..., outputs\]"):
        model_of("SP", sizes)


def test_two_sizes_make_the_output_layer_alone():
    model = model_of("GmP", [3, 2])
    assert len(model) == 1
    assert type(model[0]) is nn.Linear


# One start for all --------------------------------------------------------------------------------


@given(
    st.integers(0, 999),
    st.lists(st.integers(1, 9), min_size=3, max_size=5),
    st.sampled_from(["glorot_uniform", "he_normal", "orthogonal", "sphere", "normal:0.1"]),
)
def test_for_one_seed_all_methods_start_from_the_same_weights(seed, sizes, init):
    standard = model_of("SP", sizes, seed, init=init)
    for method in (*METHODS, PAPER_METHODS["BN"], PAPER_METHODS["WN+MBN"]):
        for ours, theirs in zip(model_of(method, sizes, seed, init=init), standard):
            expected = theirs.state_dict()
            expected = next(v for name, v in expected.items() if name.endswith("weight"))
            np.testing.assert_allclose(weights(ours), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("method", "other"), [("BN", "SP"), ("LN", "SP"), ("WN+MBN", "WN"), ("GmP+IMN", "GmP")]
)
def test_under_one_parameterization_the_first_weights_are_equal_to_the_last_bit(method, other):
    for ours, theirs in zip(model_of(method), model_of(other)):
        assert np.array_equal(weights(ours), weights(theirs))


@given(
    st.integers(0, 999),
    st.lists(st.integers(1, 20), min_size=2, max_size=5),
    st.sampled_from([np.float64, np.float32]),
    st.sampled_from(["relu", "leaky_relu"]),
)
def test_sp_wn_gmp_c_and_gmp_start_from_the_very_same_function(seed, sizes, dtype, activation):
    x = rng(seed).normal(size=(7, sizes[0])).astype(dtype)
    sp, *others = (
        predict(model_of(method, sizes, seed, dtype=dtype, activation=activation), x)
        for method in ONE_START
    )
    tolerance = 1e-12 if dtype is np.float64 else 1e-5
    for y in others:
        np.testing.assert_allclose(y, sp, rtol=0, atol=tolerance * (1 + np.abs(sp).max()))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("build", ["mlp", "vgg6", "resnet18"])
def test_hidden_layers_alone_may_have_another_initializer(method, build):
    builds = {"mlp": model_of, "vgg6": vgg6_of, "resnet18": narrow}
    plain, every, hidden = (
        [*map(weights, layers_of(builds[build](method, **options)))]
        for options in ({}, {"init": "uniform:9"}, {"init_hidden": "uniform:9"})
    )
    assert len(hidden) > 2
    assert all(np.array_equal(one, other) for one, other in zip(hidden[:-1], every))
    assert np.array_equal(hidden[-1], plain[-1])
    assert not np.array_equal(hidden[-1], every[-1])


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_model_and_another_seed_another(method):
    first, again, other = (model_of(method, seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert any(not np.array_equal(first[name], other[name]) for name in first)


# What the networks do -----------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("sizes", [(3, 6, 5, 2), (1, 1, 1, 1, 1), (1, 4, 1, 4, 1)])
def test_outputs_and_gradients_keep_shape_and_precision(method, dtype, sizes):
    """Fan-in 1 included, in any layer."""
    model = model_of(method, sizes, dtype=dtype)
    x = rng(1).normal(size=(8, sizes[0])).astype(dtype)
    for training in (True, False):
        y = model.train(training)(Tensor(x))
        assert y.shape == (8, sizes[-1])
        assert y.dtype == dtype
        ops.mse(y, np.ones(y.shape, dtype)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.dtype == dtype, name
        if parameter.size:  # a GmP unit of one input has no angle
            assert parameter.grad.dtype == dtype, name
            assert parameter.grad.shape == parameter.shape, name
            assert np.isfinite(parameter.grad).all(), name
    assert all(value.dtype == dtype for value in model.state_dict().values())


@pytest.mark.parametrize("method", [*METHODS, PAPER_METHODS["BN"], PAPER_METHODS["WN+MBN"]])
@pytest.mark.parametrize("sizes", [(1, 20, 1), (3, 10, 10, 1)])
def test_every_recipe_learns_by_all_its_parameters(method, sizes):
    model = model_of(method, sizes, seed=2)
    x = rng(1).uniform(-2, 2, (40, sizes[0]))
    y = np.sin(x.sum(1, keepdims=True))
    before = {name: p.data.copy() for name, p in model.named_parameters()}
    history = fit(model, ops.mse, (x, y), Adam(model.parameters(), lr=0.01), epochs=40)
    assert history.loss[-1] < 0.7 * history.loss[0]
    for name, parameter in model.named_parameters():
        without_effect = (
            not parameter.size  # no angle for one input
            or (name.endswith(".v") and parameter.shape[1] == 1)  # which has no other direction
            or (method is PAPER_METHODS["BN"] and name.endswith("parameterization.bias"))
            or (method is PAPER_METHODS["WN+MBN"] and name.endswith("layer.parameterization.bias"))
        )
        assert without_effect or np.any(parameter.data != before[name]), name


def test_input_mean_normalization_centres_every_hidden_unit_when_training():
    model = model_of("GmP+IMN")
    x = Tensor(rng(1).normal(size=(30, 3)))
    for unit in model[:-1]:
        plain = unit.layer(x).data
        x = unit(x)
        np.testing.assert_allclose(x.data, plain - plain.mean(0), atol=1e-14)
        assert np.abs(plain.mean(0)).max() > 0.1


def test_a_recipe_of_ones_own_can_be_given():
    model = model_of(Method("geometric", "batch", bias=False, output="weight_norm", centred=True))
    assert {name for name, _ in model[0].named_parameters()} == SCALES | {
        "layer.parameterization.theta",
        "layer.parameterization.radius",
    }
    assert boundary(model[0])[0].shape == (6, 3)


@pytest.mark.parametrize("method", METHODS)
def test_a_trained_state_moves_to_another_model(method):
    sizes = (1, 4, 3, 1)
    model, other = model_of(method, sizes), model_of(method, sizes, seed=9)
    x = rng(1).normal(size=(20, 1))
    fit(model, ops.mse, (x, x**2), Adam(model.parameters(), lr=0.01), epochs=3)
    other.load_state_dict(model.state_dict())
    assert np.array_equal(predict(model, x), predict(other, x))


# Convolutional networks ---------------------------------------------------------------------------

WIDTHS = (128, 128, 256, 256, 512, 512)
TINY = {"widths": (2, 3, 2, 2), "num_classes": 3, "dtype": np.float64}


def vgg6_of(method, seed=0, **options):
    return vgg6(method, rng=rng(seed), **TINY | options)


def images(*shape, seed=1, dtype=np.float64):
    return rng(seed).normal(size=(*shape, 3)).astype(dtype)


def test_vgg6_is_the_network_of_the_paper():
    model = vgg6("SP", rng=rng())
    units, shape, sizes = [], (2, 32, 32, 3), []
    x = Tensor(images(*shape[:3], dtype=np.float32))
    for step in model:
        x = step(x)
        sizes.append(x.shape[1:])
        if isinstance(step, nn.Unit):
            units.append(step)
    assert sizes == [
        *((32, 32, 128), (32, 32, 128), (16, 16, 128)),
        *((16, 16, 256), (16, 16, 256), (8, 8, 256)),
        *((8, 8, 512), (8, 8, 512), (4, 4, 512)),
        *((512,), (1000,)),
    ]
    assert x.dtype == np.float32
    fans = [(9 * c, o) for c, o in zip((3, *WIDTHS), WIDTHS)]
    assert [unit.layer.parameterization.weight.shape[::-1] for unit in units] == fans
    assert sum(p.size for p in model.parameters()) == sum(n * o + o for n, o in fans) + 513_000


@pytest.mark.parametrize("method", METHODS)
def test_a_convolutional_unit_has_the_parameters_of_its_method(method):
    model = vgg6_of(method)
    units = [step for step in model if isinstance(step, nn.Unit)]
    assert len(units) == 4
    for unit in units:
        assert {name for name, _ in unit.named_parameters()} == HIDDEN[method]
        assert type(unit.layer) is nn.Conv2d
        assert type(unit.normalization) is NORMALIZATION.get(method, type(None))
        assert type(unit.centring) is (nn.MeanNorm if method == "GmP+IMN" else type(None))
    output = "weight_norm" if method.startswith("WN") else "standard"
    assert {f"layer.{name}" for name, _ in model[-1].named_parameters()} == AFFINE[output]


@pytest.mark.parametrize("method", PAPER_METHODS)
def test_the_papers_vgg6_starts_as_theirs(method):
    """Glorot's limit √(6/(n + m)), where m is 9·O in Keras' layers and O in their own."""
    layers = layers_of(vgg6(PAPER_METHODS[method], width=0.25, rng=rng()))
    for layer in layers[:-1]:
        units, n = weights(layer).shape
        m = 9 * units if method in ("SP", "BN", "LN") else units
        limit = np.sqrt(6 / (n + m))
        assert 0.97 * limit < np.abs(weights(layer)).max() <= limit * (1 + 1e-6)


def test_without_their_fan_out_all_methods_of_the_paper_start_from_the_same_weights():
    standard = layers_of(vgg6_of("SP"))
    for recipe in PAPER_METHODS.values():
        for ours, theirs in zip(layers_of(vgg6_of(recipe._replace(fan_out="window"))), standard):
            np.testing.assert_allclose(weights(ours), weights(theirs), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("width", "expected"),
    [(0.25, (32, 32, 64, 64, 128, 128)), (1e-6, (1,) * 6), (0.1, (13, 13, 26, 26, 51, 51))],
)
def test_the_width_multiplies_all_widths(width, expected):
    model = vgg6("GmP", width=width, num_classes=7, rng=rng())
    units = [step for step in model if isinstance(step, nn.Unit)]
    assert tuple(len(unit.layer.parameterization.radius) for unit in units) == expected
    assert model(images(2, 8, 8, dtype=np.float32)).shape == (2, 7)


@pytest.mark.parametrize(
    "options", [{"widths": ()}, {"width": 0.0}, {"width": -1.0}, {"width": np.nan}]
)
def test_impossible_widths_are_refused(options):
    with pytest.raises(ValueError, match=r"widths must not be empty|width must be a positive"):
        vgg6_of("SP", **options)
    with pytest.raises(ValueError, match="method must be one of SP, WN, BN, LN"):
        vgg6_of("gmp")


@pytest.mark.parametrize("init", ["glorot_uniform", "he_normal", "orthogonal", "sphere"])
def test_for_one_seed_all_convnets_start_from_the_same_weights(init):
    standard = vgg6_of("SP", init=init)
    for method in METHODS:
        for ours, theirs in zip(vgg6_of(method, init=init), standard):
            if isinstance(theirs, nn.Unit | nn.Linear):
                expected = weights(theirs)
                np.testing.assert_allclose(weights(ours), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("seed", range(3))
def test_sp_wn_gmp_c_and_gmp_convnets_start_from_the_very_same_function(seed, dtype):
    x = images(5, 9, 8, seed=seed, dtype=dtype)
    options = {"widths": (4, 5, 6, 7, 8, 9), "dtype": dtype}
    sp, *others = (predict(vgg6_of(method, seed, **options), x) for method in ONE_START)
    tolerance = 1e-12 if dtype is np.float64 else 1e-5
    assert np.ptp(sp) > 0
    for y in others:
        np.testing.assert_allclose(y, sp, rtol=0, atol=tolerance * np.abs(sp).max())


def test_the_outputs_of_units_are_centred_before_pooling():
    model = vgg6_of("GmP+IMN").train()
    x = Tensor(images(6, 8, 8))
    for step in model[:-2]:
        x = step(x)
        if isinstance(step, nn.Unit):
            np.testing.assert_allclose(x.data.mean(axis=(0, 1, 2)), 0, atol=1e-14)
        else:
            assert np.all(x.data.mean(axis=(0, 1, 2)) > 0.01)  # the largest of four


@pytest.mark.parametrize("method", [*METHODS, PAPER_METHODS["BN"], PAPER_METHODS["WN+MBN"]])
@pytest.mark.parametrize("training", [True, False])
def test_gradients_of_a_convnet_are_the_numeric_ones(method, training):
    """Of every parameter of every layer, and of the images."""
    model, x = vgg6_of(method).train(training), images(3, 5, 4)
    for i, parameter in enumerate(model.parameters()):
        parameter.data += 0.1 * rng(i).normal(size=parameter.shape)
    model(images(3, 5, 4, seed=2))  # so that there are running statistics
    places = {}
    for _, module in model.named_modules():
        for name, value in vars(module).items():
            if isinstance(value, nn.Parameter):
                places[module, name] = value

    def loss(x, *parameters):
        for (module, name), parameter in zip(places, parameters):
            setattr(module, name, parameter)
        return ops.cross_entropy(model(x), np.array([0, 2, 1]))

    report = gradcheck(loss, x, *places.values(), tolerance=1e-8)
    assert report.entries > 300
    assert report.complex < 1e-8


# Residual networks ------------------------------------------------------------------------------

TORCHVISION = {resnet18: 11_689_512, resnet34: 21_797_672, resnet50: 25_557_032}  # parameters


def square_images(count, side, seed=1, dtype=np.float64):
    return rng(seed).normal(size=(count, side, side, 3)).astype(dtype)


def narrow(method, build=resnet18, seed=0, **options):
    options = {"num_classes": 3, "width": 0.04, "stem": "small", "dtype": np.float64} | options
    return build(method, rng=rng(seed), **options)


def blocks(model):
    return [step for step in model if isinstance(step, nn.ResidualBlock)]


# Shape --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", TORCHVISION)
def test_under_bn_there_are_as_many_parameters_as_in_torchvision(build):
    model = build("BN", rng=rng())
    assert sum(parameter.size for parameter in model.parameters()) == TORCHVISION[build]


@pytest.mark.parametrize(
    ("build", "depths"),
    [(resnet18, (2, 2, 2, 2)), (resnet34, (3, 4, 6, 3)), (resnet50, (3, 4, 6, 3))],
)
def test_each_stage_has_its_blocks_and_halves_the_image(build, depths):
    x = Tensor(square_images(1, 32))
    sides = []
    for step in narrow("BN", build):
        x = step(x)
        if isinstance(step, nn.ResidualBlock):
            sides.append(x.shape[1])
    expected = [side for side, depth in zip((32, 16, 8, 4), depths) for _ in range(depth)]
    assert sides == expected


def test_bottlenecks_stride_on_their_3x3_convolution():
    first = blocks(narrow("BN", resnet50))[3]
    layers = [unit.layer for unit in first.units]
    assert [layer.stride for layer in layers] == [(1, 1), (2, 2), (1, 1)]
    assert [layer.filter_shape[:2] for layer in layers] == [(1, 1), (3, 3), (1, 1)]
    assert first.shortcut.layer.stride == (2, 2)


@pytest.mark.parametrize("build", [resnet18, resnet50])
def test_a_shortcut_is_the_identity_wherever_the_shape_is_kept(build):
    for block in blocks(build("BN", width=0.1, rng=rng())):
        inputs = block.units[0].layer.filter_shape[2]
        outputs = len(block.units[-1].layer.parameterization.weight)
        same = inputs == outputs and block.units[0].layer.stride == (1, 1)
        assert (block.shortcut is None) == (same and block.units[1].layer.stride == (1, 1))


@pytest.mark.parametrize(("stem", "side"), [("imagenet", 8), ("small", 32)])
def test_the_imagenet_stem_divides_the_side_by_four(stem, side):
    model = narrow("BN", stem=stem)
    steps = model[: 2 if stem == "imagenet" else 1]
    x = Tensor(square_images(1, 32))
    for step in steps:
        x = step(x)
    assert x.shape[1:3] == (side, side)
    assert isinstance(model[len(steps)], nn.ResidualBlock)


@pytest.mark.parametrize("method", METHODS)
def test_the_last_unit_of_a_branch_and_shortcuts_are_linear_and_no_other_unit_is(method):
    for block in blocks(narrow(method)):
        linear = [block.units[-1], *([] if block.shortcut is None else [block.shortcut])]
        for unit in (*block.units, *linear):
            assert (unit.layer.activation is ops.relu) == (unit not in linear)


@pytest.mark.parametrize("options", [{"stem": "large"}, {"width": 0}, {"width": np.inf}])
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match=r"stem must be one of|width must be"):
        narrow("SP", **options)
    with pytest.raises(ValueError, match="method must be one of SP"):
        narrow("sp")


# One start ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [resnet18, resnet50])
@pytest.mark.parametrize("seed", range(3))
def test_sp_wn_gmp_c_and_gmp_start_from_the_very_same_resnet(build, seed):
    x = square_images(2, 16, seed)
    sp, *others = (predict(narrow(method, build, seed), x) for method in ONE_START)
    assert np.ptp(sp) > 0
    for y in others:
        np.testing.assert_allclose(y, sp, rtol=0, atol=1e-12 * np.abs(sp).max())


# Blocks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_a_block_is_the_relu_of_the_sum_of_branch_and_shortcut(method, training):
    for block in blocks(narrow(method).train(training))[1:3]:  # an identity, then a projection
        x = rng(3).normal(size=(2, 6, 6, block.units[0].layer.filter_shape[2]))
        branch = Tensor(x)
        for unit in block.units:
            branch = unit(branch)
        shortcut = x if block.shortcut is None else block.shortcut(Tensor(x)).data
        expected = np.maximum(branch.data + shortcut, 0)
        if method == "GmP+IMN":  # evaluates by a running mean that is 0 at first
            expected = expected - (expected.mean(axis=(0, 1, 2)) if training else 0)
        np.testing.assert_allclose(block(Tensor(x)).data, expected, rtol=0, atol=1e-14)


def outputs_of(model, x):
    """Yield a unit or block, whether a ReLU is its last step, and what it gives, in order."""
    x = Tensor(x)
    for step in model[:-1]:
        if isinstance(step, nn.ResidualBlock):
            y = x
            for unit in step.units:
                y = unit(y)
                yield unit, unit is not step.units[-1], y.data
            if step.shortcut is not None:
                yield step.shortcut, False, step.shortcut(x).data
        x = step(x)
        if isinstance(step, nn.ResidualBlock | nn.Unit):
            yield step, True, x.data


@pytest.mark.parametrize("build", TORCHVISION)
@pytest.mark.parametrize("stem", ["small", "imagenet"])
def test_under_imn_every_relu_is_centred_the_one_after_the_sum_too_and_nothing_else(build, stem):
    model = narrow("GmP+IMN", build, width=0.06, stem=stem).train()
    for name, parameter in model.named_parameters():
        if name.endswith("lambda_"):
            parameter.data[...] = rng(1).normal(size=parameter.shape)
    for part, rectified, y in outputs_of(model, square_images(6, 32)):
        means = y.mean(axis=(0, 1, 2))
        assert (part.centring is not None) == rectified
        if rectified:
            np.testing.assert_allclose(means, 0, atol=1e-13 * np.abs(y).max())
            assert np.ptp(y) > 1e-3
        else:
            assert np.all(np.abs(means) > 1e-6)


@pytest.mark.parametrize("build", TORCHVISION)
@pytest.mark.parametrize("seed", range(2))
def test_under_imn_every_offset_of_a_resnet_has_a_gradient(build, seed):
    """A centred linear unit would have none, because the mean that is taken off contains its λ."""
    model = narrow("GmP+IMN", build, seed, width=0.06).train()
    ops.cross_entropy(model(square_images(6, 32, seed)), [0, 2, 1, 0, 1, 2]).backward()
    offsets = {name: p for name, p in model.named_parameters() if name.endswith("lambda_")}
    assert len(offsets) == sum(isinstance(module, nn.Unit) for _, module in model.named_modules())
    for name, offset in offsets.items():
        assert np.all(np.abs(gradient_of(offset)) > 1e-8), name


def test_a_block_evaluates_by_the_running_mean_of_its_centring():
    block = blocks(narrow("GmP+IMN"))[1]
    x = rng(3).normal(size=(4, 6, 6, 3))
    block.train()(Tensor(x))
    block.centring.running_mean[...] = [0.5, -1.0, 2.0]
    plain = copy.deepcopy(block).eval()
    plain.centring = None
    found = block.eval()(Tensor(x)).data
    np.testing.assert_allclose(found, plain(Tensor(x)).data - [0.5, -1.0, 2.0], atol=1e-14)


def test_under_gmp_the_scale_of_a_branch_stands_before_the_sum():
    block = blocks(narrow("GmP"))[1]
    x = Tensor(rng(3).normal(size=(2, 5, 5, 3)))
    last = block.units[-1].layer.parameterization
    hidden = block.units[0](x)
    weight, bias = boundary(block.units[-1])  # u and λ
    filters = weight.reshape(3, 3, 3, 3)
    z = last.radius.data * (ops.conv2d(hidden, filters, bias, 1, 1).data)
    np.testing.assert_allclose(block(x).data, np.maximum(z + x.data, 0), atol=1e-14)


def test_a_shortcut_moves_the_boundary_of_the_sum_along_u():
    """z = r (u·h + λ) + s is 0 where u·h + (λ + s/r) is."""
    unit = nn.Unit(nn.Linear(4, 1, "geometric", rng=rng()))
    unit.layer.parameterization.lambda_.data[...] = 0.3
    (u,), (offset,) = boundary(unit)
    (radius,) = unit.layer.parameterization.radius.data
    for s in (-1.0, 0.0, 2.0):
        nearest = -(offset + s / radius) * u
        np.testing.assert_allclose(unit(nearest[None]).data + s, 0, atol=1e-14)


@given(
    st.integers(0, 999),
    st.sampled_from(["standard", "cartesian", "geometric"]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, "relu", "tanh"]),
)
def test_a_centred_unit_is_a_unit_and_centring_one_after_the_other(
    seed, kind, bias, training, activation
):
    layer = nn.Linear(3, 4, kind, activation, bias=bias, rng=rng(seed))
    for parameter in layer.parameters():
        parameter.data += rng(seed).normal(size=parameter.shape)
    unit, plain = nn.Unit(layer, centring=nn.MeanNorm(4)), nn.MeanNorm(4)
    x, g = Tensor(rng(seed).normal(size=(6, 3)), requires_grad=True), rng(1).normal(size=(6, 4))
    found = []
    for apply in (unit.train(training), lambda x: plain.train(training)(layer(x))):
        for tensor in (x, *layer.parameters()):
            tensor.grad = None
        y = apply(x)
        y.backward(g)
        found.append((y.data, x.grad, *map(gradient_of, layer.parameters())))
    for ours, expected in zip(*found):
        np.testing.assert_allclose(ours, expected, atol=1e-13)
    np.testing.assert_allclose(unit.centring.running_mean, plain.running_mean, atol=1e-14)


# Gradients ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [resnet18, resnet50])
@pytest.mark.parametrize("method", METHODS)
def test_gradients_of_a_resnet_are_the_numeric_ones(method, build):
    """Along random directions in the space of the images and all parameters together."""
    model, x = narrow(method, build).train(), square_images(3, 16)
    owners = [
        (module, name, value.data + 0.1 * rng(value.size).normal(size=value.shape))
        for _, module in model.named_modules()
        for name, value in vars(module).items()
        if isinstance(value, nn.Parameter)
    ]
    count = 6
    # small, so that hardly a unit crosses its kink on the way
    directions = [1e-4 * rng(i).normal(size=(count, a.size)) for i, (_, _, a) in enumerate(owners)]
    of_images = 1e-4 * rng(99).normal(size=(count, x.size))

    def loss(along):
        for (module, name, start), direction in zip(owners, directions):
            setattr(module, name, start + ops.reshape(along @ direction, start.shape))
        return ops.cross_entropy(model(x + ops.reshape(along @ of_images, x.shape)), [0, 2, 1])

    report = gradcheck(loss, np.zeros(count), tolerance=1e-7)
    assert report.complex < 1e-7


# Inputs of every kind -----------------------------------------------------------------------------

FORMS = {
    kind: lambda x, kind=kind: x.astype(kind) for kind in ("u1", "i1", "i8", ">i4", ">f8", "f8")
} | {
    "Fortran order": np.asfortranarray,
    "a stride": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "backwards": lambda x: x[::-1].copy()[::-1],
    "read-only": lambda x: np.broadcast_to(x, x.shape),
    "a list": lambda x: x.tolist(),
}


@pytest.mark.parametrize("kind", FORMS)
@pytest.mark.parametrize("method", METHODS)
def test_inputs_of_any_kind_are_the_numbers_they_are(method, kind):
    images = vgg6(method, widths=(3, 32, 32), num_classes=2, dtype=float, rng=rng())
    networks = [
        (mlp([3, 4, 2], method, rng=rng()), (8, 3)),
        (mlp([1, 4, 2], method, rng=rng()), (8, 1)),
        (images, (2, 8, 8, 3)),
    ]
    for model, shape in networks:
        x = rng(1).integers(0, 100, shape).astype(float)
        seen = []
        for batch in (x, FORMS[kind](x)):
            twin = copy.deepcopy(model)
            y = twin(batch)
            y.backward(rng(2).normal(size=y.shape))
            seen.append([y.data, *map(gradient_of, twin.parameters())])
            seen[-1] += [*twin.state_dict().values(), twin.eval()(batch).data]
        for one, other in zip(*seen):
            assert one.dtype == other.dtype == np.float64
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)
