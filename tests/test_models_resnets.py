"""Residual networks: their shape, one start for all methods, gradients, blocks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geonet import METHODS, Tensor, gradcheck, nn, ops
from geonet.characteristic import boundary
from geonet.models import resnet18, resnet34, resnet50
from geonet.train import predict

TORCHVISION = {resnet18: 11_689_512, resnet34: 21_797_672, resnet50: 25_557_032}  # parameters


def rng(seed=0):
    return np.random.default_rng(seed)


def images(count, side, seed=1, dtype=np.float64):
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
    x = Tensor(images(1, 32))
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
    x = Tensor(images(1, 32))
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
    with pytest.raises(ValueError, match="stem must be one of imagenet, small and width must be"):
        narrow("SP", **options)
    with pytest.raises(ValueError, match="method must be one of SP"):
        narrow("sp")


# One start ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [resnet18, resnet50])
@pytest.mark.parametrize("seed", range(3))
def test_sp_wn_and_gmp_start_from_the_very_same_function(build, seed):
    x = images(2, 16, seed)
    sp, wn, gmp = (predict(narrow(method, build, seed), x) for method in ("SP", "WN", "GmP"))
    assert np.ptp(sp) > 0
    np.testing.assert_allclose(wn, sp, rtol=0, atol=1e-12 * np.abs(sp).max())
    np.testing.assert_allclose(gmp, sp, rtol=0, atol=1e-12 * np.abs(sp).max())


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
        np.testing.assert_array_equal(block(Tensor(x)).data, np.maximum(branch.data + shortcut, 0))


def test_branches_are_centred_and_identity_shortcuts_are_not():
    model = narrow("GmP+IMN").train()
    for block in blocks(model)[1:3]:
        x = rng(3).normal(size=(4, 6, 6, block.units[0].layer.filter_shape[2])) + 1
        y = Tensor(x)
        for unit in block.units:
            y = unit(y)
            np.testing.assert_allclose(y.data.mean(axis=(0, 1, 2)), 0, atol=1e-13)
        if block.shortcut is not None:
            centred = block.shortcut(Tensor(x)).data
            np.testing.assert_allclose(centred.mean(axis=(0, 1, 2)), 0, atol=1e-13)
    assert blocks(model)[1].shortcut is None  # where x passes as it is


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


@given(st.integers(0, 999), st.booleans(), st.booleans(), st.sampled_from([None, "relu", "tanh"]))
def test_a_centred_unit_is_a_unit_and_centring_one_after_the_other(
    seed, bias, training, activation
):
    layer = nn.Linear(3, 4, "geometric", activation, bias=bias, rng=rng(seed))
    if bias:
        layer.parameterization.lambda_.data[...] = rng(seed).normal(size=4)
    unit, plain = nn.Unit(layer, centring=nn.MeanNorm(4)), nn.MeanNorm(4)
    x, g = Tensor(rng(seed).normal(size=(6, 3)), requires_grad=True), rng(1).normal(size=(6, 4))
    found = []
    for apply in (unit.train(training), lambda x: plain.train(training)(layer(x))):
        for tensor in (x, *layer.parameters()):
            tensor.grad = None
        y = apply(x)
        y.backward(g)
        radius = layer.parameterization.radius
        found.append((y.data, x.grad, radius.grad, layer.parameterization.theta.grad))
    for ours, expected in zip(*found):
        np.testing.assert_allclose(ours, expected, atol=1e-13)
    np.testing.assert_allclose(unit.centring.running_mean, plain.running_mean, atol=1e-14)


# Gradients ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [resnet18, resnet50])
@pytest.mark.parametrize("method", METHODS)
def test_gradients_of_a_resnet_are_the_numeric_ones(method, build):
    """Along random directions in the space of the images and all parameters together."""
    model, x = narrow(method, build).train(), images(3, 16)
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
