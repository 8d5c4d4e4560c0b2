"""Weights under PyTorch's names: there, back, and the same numbers from PyTorch itself."""

import numpy as np
import pytest

from geonet import models, nn, ops
from geonet.bench import resnets
from geonet.models import PAPER_METHODS
from geonet.nn import Sequential, convert, export_torch, import_torch
from geonet.train import predict

BATCH_NORM = "weight", "bias", "running_mean", "running_var", "num_batches_tracked"


def rng(seed=0):
    return np.random.default_rng(seed)


def disturbed(model, seed=1):
    """The model, in place, as if it had been trained: nothing is at its first value."""
    generator = rng(seed)
    for parameter in model.parameters():
        parameter.data += (0.1 * generator.normal(size=parameter.shape)).astype(parameter.dtype)
    for _, module in model.named_modules():
        if isinstance(module, nn.BatchNorm):
            module.running_mean[...] = 0.3 * generator.normal(size=module.running_mean.shape)
            module.running_var[...] = generator.uniform(1e-4, 2, module.running_var.shape)
    return model


def narrow(build, method, seed=0, **options):
    options = {"width": 0.05, "num_classes": 3, "dtype": np.float64} | options
    return disturbed(build(method, rng=rng(seed), **options), seed)


def images(side=32, count=2, dtype=np.float64):
    return rng(5).normal(size=(count, side, side, 3)).astype(dtype)


def torchvision_names(depths, convolutions, first_projects):
    """The names of torchvision's ResNets, in their order."""

    def pair(convolution, norm):
        return [f"{convolution}.weight", *(f"{norm}.{name}" for name in BATCH_NORM)]

    names = pair("conv1", "bn1")
    for stage, depth in enumerate(depths, 1):
        for block in range(depth):
            prefix = f"layer{stage}.{block}"
            for k in range(1, convolutions + 1):
                names += pair(f"{prefix}.conv{k}", f"{prefix}.bn{k}")
            if not block and (stage > 1 or first_projects):
                names += pair(f"{prefix}.downsample.0", f"{prefix}.downsample.1")
    return [*names, "fc.weight", "fc.bias"]


RESNETS = {
    models.resnet18: (122, torchvision_names((2, 2, 2, 2), 2, False)),
    models.resnet34: (218, torchvision_names((3, 4, 6, 3), 2, False)),
    models.resnet50: (320, torchvision_names((3, 4, 6, 3), 3, True)),
}


# Names and layout ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["BN", "SP", "GmP", PAPER_METHODS["BN"]])
@pytest.mark.parametrize("build", RESNETS)
def test_resnets_have_torchvisions_names_under_every_method(build, method):
    number, names = RESNETS[build]
    state = export_torch(build(method, width=0.02, rng=rng()))
    assert list(state) == names
    assert len(state) == number
    assert {array.dtype for name, array in state.items() if "num_" not in name} == {
        np.dtype(np.float32)
    }


def test_filters_are_in_the_order_of_pytorch():
    model = narrow(models.vgg6, "SP")
    rows = model[0].layer.parameterization.weight.data
    weight = export_torch(model)["0.weight"]
    assert weight.shape == (len(rows), 3, 3, 3)
    assert weight.flags.c_contiguous
    filters = rows.reshape(-1, 3, 3, 3)
    for o, i, j, c in [(0, 0, 1, 2), (1, 2, 0, 1)]:
        assert weight[o, c, i, j] == filters[o, i, j, c]


def test_steps_count_as_in_a_sequential_of_pytorch():
    shapes = {name: a.shape for name, a in export_torch(narrow(models.vgg6, "SP")).items()}
    assert [name for name in shapes if name.endswith("weight")] == [
        f"{i}.weight" for i in (0, 2, 5, 7, 10, 12, 17)
    ]
    names = list(export_torch(models.mlp([3, 5, 4, 2], "BN", rng=rng())))
    assert names == [
        "0.weight",
        *(f"1.{name}" for name in BATCH_NORM),
        "3.weight",
        *(f"4.{name}" for name in BATCH_NORM),
        "6.weight",
        "6.bias",
    ]
    inner = Sequential(nn.Linear(3, 3, rng=rng()), ops.tanh)
    outer = Sequential(inner, nn.Linear(3, 2, rng=rng(), bias=False))
    assert list(export_torch(outer)) == ["0.0.weight", "0.0.bias", "1.weight"]


# There and back -----------------------------------------------------------------------------------

BUILDERS = {
    "mlp": lambda method, seed: disturbed(
        models.mlp([4, 6, 5, 2], method, rng=rng(seed)), seed + 1
    ),
    "vgg6": lambda method, seed: narrow(models.vgg6, method, seed),
    "resnet18": lambda method, seed: narrow(models.resnet18, method, seed),
}


@pytest.mark.parametrize(
    ("network", "method"),
    [("mlp", "SP"), ("mlp", "BN"), ("vgg6", "SP"), ("vgg6", "BN"), ("resnet18", "BN")],
)
def test_with_the_same_eps_a_state_comes_back_to_the_last_bit(network, method):
    model, other = (BUILDERS[network](method, seed) for seed in (0, 7))
    state = export_torch(model, eps=1e-3)
    assert import_torch(other, state, eps=1e-3) is other
    np.testing.assert_equal(other.state_dict(), model.state_dict())


@pytest.mark.parametrize("network", BUILDERS)
@pytest.mark.parametrize("method", ["BN", "GmP", "WN", "WN+MBN", PAPER_METHODS["BN"]])
def test_every_method_comes_back_as_the_same_function(network, method):
    """Under PyTorch's eps, which the importing model gets."""
    model = BUILDERS[network](method, 0)
    for _, module in model.named_modules():
        if isinstance(module, nn.Geometric):
            np.abs(module.radius.data, out=module.radius.data)
    batch_norms = method in ("BN", PAPER_METHODS["BN"])
    back = {"vgg6": method, "mlp": method}.get(network, "BN") if batch_norms else "SP"
    other = BUILDERS[network]("BN" if network == "resnet18" else back, 7)
    import_torch(other, export_torch(model))
    norms = [m for _, m in other.named_modules() if isinstance(m, nn.BatchNorm)]
    assert {norm.eps for norm in norms} == ({1e-5} if norms else set())
    x = rng(1).normal(size=(9, 4)) if network == "mlp" else images()
    expected = predict(model, x)
    atol = 1e-12 * np.abs(expected).max()
    np.testing.assert_allclose(predict(other, x), expected, rtol=0, atol=atol)


def test_exporting_changes_and_shares_nothing():
    model = narrow(models.resnet18, "SP")
    before = model.state_dict()
    for array in export_torch(model).values():
        array[...] = 7
    np.testing.assert_equal(model.state_dict(), before)


# Refused ------------------------------------------------------------------------------------------


def test_states_of_other_networks_are_refused_and_change_nothing():
    model = narrow(models.resnet18, "BN")
    before, state = model.state_dict(), export_torch(model)
    missing = {name: a for name, a in state.items() if name != "layer1.1.bn2.bias"}
    for wrong in (missing, state | {"layer1.1.bn2.bias2": np.zeros(3)}):
        with pytest.raises(ValueError, match=r"this object's names, but differs in \['layer1.1.b"):
            import_torch(model, wrong)
    turned = state | {"conv1.weight": state["conv1.weight"].transpose(0, 2, 3, 1)}
    with pytest.raises(ValueError, match=r"conv1.weight'\] has .* needs \(3, 3, 7, 7"):
        import_torch(model, turned)
    for bad in (np.full(3, "1"), np.ones(3, complex), [None] * 3, np.ones(3, object)):
        last = {name: a + 1 for name, a in state.items()} | {"fc.bias": bad}
        with pytest.raises(ValueError, match=r"state\['fc.bias'\] must be numbers"):
            import_torch(model, last)
    for eps in (-1, np.nan):
        with pytest.raises(ValueError, match="eps must be in"):
            import_torch(model, state, eps=eps)
    np.testing.assert_equal(model.state_dict(), before)
    assert model[0].normalization.eps == 1e-3
    counted = {name: a for name, a in state.items() if not name.endswith("num_batches_tracked")}
    import_torch(model, counted)  # older checkpoints have no such numbers


@pytest.mark.parametrize("method", ["WN", "GmP", "WN+MBN", "GmP+IMN", "LN"])
def test_only_standard_models_are_imported_into(method):
    state = export_torch(models.mlp([3, 4, 2], "SP", rng=rng()))
    with pytest.raises(ValueError, match=r"with batch norms or none, but steps.0.* then convert"):
        import_torch(models.mlp([3, 4, 2], method, rng=rng()), state)


def test_what_pytorch_has_no_name_for_is_refused():
    for model in (models.mlp([3, 4, 2], "LN", rng=rng()), narrow(models.resnet18, "LN")):
        with pytest.raises(ValueError, match=r"no name for the LayerNorm of steps.0"):
            export_torch(model)
    with pytest.raises(ValueError, match=r"no name for steps.1, <function"):
        export_torch(Sequential(nn.Linear(3, 2, rng=rng()), predict))
    with pytest.raises(TypeError, match=r"model must be a geonet.nn.Sequential, but is a Linear"):
        export_torch(nn.Linear(3, 2, rng=rng()))
    resnet = narrow(models.resnet18, "BN")
    with pytest.raises(ValueError, match="model must have one stem, residual blocks and one outp"):
        export_torch(Sequential(*resnet, nn.Linear(3, 3, rng=rng())))


def test_variances_cannot_be_negative():
    model = models.mlp([3, 4, 2], "BN", rng=rng())
    model[0].normalization.running_var[2] = 1e-5
    with pytest.raises(ValueError, match=r"eps must be at most .* but is 0.1, too large for steps"):
        export_torch(model, eps=0.1)


def test_a_centred_residual_block_is_neither_imported_into_nor_exported_as_it_is():
    resnet = narrow(models.resnet18, "SP")
    state = export_torch(narrow(models.resnet18, "SP"))
    resnet[2].centring = nn.MeanNorm(len(resnet[2].units[1].layer.parameterization.weight))
    with pytest.raises(ValueError, match=r"steps.2 is another kind of ResidualBlock"):
        import_torch(resnet, state)
    resnet[2].centring.running_mean[...] = 0.1
    with pytest.raises(ValueError, match=r"steps.2, units 0, 1.*pads images with zeros"):
        export_torch(resnet)


def test_means_before_padding_are_refused_by_name():
    model = narrow(models.vgg6, "GmP+IMN")
    model[0].centring.running_mean[...] = 0.1
    with pytest.raises(ValueError, match=r"steps.0, units 0, 1.*pads images with zeros"):
        export_torch(model)


# PyTorch itself -----------------------------------------------------------------------------------


def run(torch, module, x):
    """What PyTorch computes of images or rows as we have them."""
    x = torch.tensor(x if x.ndim == 2 else x.transpose(0, 3, 1, 2))
    with torch.no_grad():
        return module.eval()(x).numpy()


def tensors(torch, state):
    return {name: torch.tensor(array) for name, array in state.items()}


def arrays(module):
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


def port(torch, eps):
    """The port of ResNet-18, disturbed, whose arrays stand in the order of torchvision's names."""
    torch.manual_seed(0)
    module = resnets.torch_network(torch, 10)
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.eps = eps
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(part.weight, 0.5, 1)
            torch.nn.init.normal_(part.bias, 0, 0.1)
    return module


@pytest.mark.parametrize("eps", [1e-5, 1e-3])
def test_a_resnet18_of_pytorch_runs_here_and_goes_back(torch, eps, monkeypatch):
    monkeypatch.setattr(resnets, "STAGES", (8, 16, 32, 64))
    theirs, x = port(torch, eps).double(), images(64)
    names = RESNETS[models.resnet18][1]
    state = dict(zip(names, arrays(theirs).values(), strict=True))
    ours = models.resnet18("BN", num_classes=10, width=1 / 8, rng=rng(), dtype=np.float64)
    import_torch(ours, state, eps)
    expected = run(torch, theirs, x)
    assert np.ptp(expected) > 0
    atol = 1e-12 * np.abs(expected).max()
    np.testing.assert_allclose(predict(ours, x), expected, rtol=0, atol=atol)
    geometric = convert(ours, "geometric")
    np.testing.assert_allclose(predict(geometric, x), expected, rtol=0, atol=atol)
    back = export_torch(geometric, eps)
    theirs.load_state_dict(dict(zip(theirs.state_dict(), tensors(torch, back).values())))
    np.testing.assert_allclose(run(torch, theirs, x), expected, rtol=0, atol=atol)


def test_a_resnet18_of_pytorch_in_float32_at_full_width_differs_by_rounding(torch):
    theirs, x = port(torch, 1e-5), images(32, dtype=np.float32)
    names = RESNETS[models.resnet18][1]
    ours = models.resnet18("BN", num_classes=10, rng=rng())
    import_torch(ours, dict(zip(names, arrays(theirs).values(), strict=True)))
    expected = run(torch, theirs, x)
    for model in (ours, convert(ours, "geometric")):
        atol = 1e-5 * np.abs(expected).max()
        np.testing.assert_allclose(predict(model, x), expected, rtol=0, atol=atol)


def torch_steps(torch, model):
    """A torch.nn.Sequential of the same steps, at PyTorch's own eps."""
    steps = []
    for step in model:
        if isinstance(step, nn.MaxPool2d):
            steps.append(torch.nn.MaxPool2d(2))
        elif step is ops.global_average_pool:
            steps += [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
        else:
            layer, normalization = (
                getattr(step, "layer", step),
                getattr(step, "normalization", None),
            )
            outputs, n = layer.parameterization.affine()[0].shape
            biased = not isinstance(normalization, nn.BatchNorm)
            if isinstance(layer, nn.Conv2d):
                steps.append(torch.nn.Conv2d(n // 9, outputs, 3, padding=1, bias=biased))
            else:
                steps.append(torch.nn.Linear(n, outputs, bias=biased))
            if not biased:
                norm = torch.nn.BatchNorm2d if n % 9 == 0 else torch.nn.BatchNorm1d
                steps.append(norm(outputs))
            if step is not model[-1]:
                steps.append(torch.nn.ReLU())
    return torch.nn.Sequential(*steps).double()


@pytest.mark.parametrize("method", ["SP", "BN", "WN", "GmP", "WN+MBN"])
@pytest.mark.parametrize("network", ["mlp", "vgg6"])
def test_models_of_every_method_run_in_pytorch_and_come_back(torch, network, method):
    model = BUILDERS[network](method, 0)
    x = rng(1).normal(size=(9, 4)) if network == "mlp" else images()
    theirs = torch_steps(torch, model)
    theirs.load_state_dict(tensors(torch, export_torch(model)))
    expected = predict(model, x)
    atol = 1e-12 * np.abs(expected).max()
    np.testing.assert_allclose(run(torch, theirs, x), expected, rtol=0, atol=atol)
    other = BUILDERS[network]("BN" if method == "BN" else "SP", 7)
    import_torch(other, arrays(theirs))
    np.testing.assert_allclose(predict(other, x), expected, rtol=0, atol=atol)
