"""What bench times is the work it says it times, ours and PyTorch's alike; the timings themselves
are not tested."""

import argparse
import os
import time

import numpy as np
import pytest

from geonet import Tensor, bench, ops, threads
from geonet.bench import classifiers, convnets, inspector, mlps, pytorch, resnets, timing
from geonet.experiments.sets.drawn_pictures import write_pictures

STEPS = {  # data of a small network
    "levy": mlps.levy_data(),
    "uci": mlps.uci_data(np.float64),
}


def optimized(monkeypatch, torch, name):
    """A list that holds the parameters of the optimizer that PyTorch makes by this name."""
    given, make = [], getattr(torch.optim, name)
    monkeypatch.setattr(torch.optim, name, lambda p, **o: make(given.extend(p) or given, **o))
    return given


def leaves(monkeypatch, torch):
    """A list of the Tensors of PyTorch that are asked for gradients from now on."""
    found, ask = [], torch.Tensor.requires_grad_
    monkeypatch.setattr(torch.Tensor, "requires_grad_", lambda x: found.append(x) or ask(x))
    return found


def assert_same_gradients(ours, theirs, tolerance):
    """Within a share of the largest entry of each; filters are (O, C, kh, kw) in PyTorch."""
    for parameter, tensor in zip(ours, theirs, strict=True):
        gradient = tensor.grad.numpy()
        if gradient.ndim == 4:
            gradient = gradient.transpose(0, 2, 3, 1).reshape(len(gradient), -1)
        atol = tolerance * np.abs(gradient).max()
        assert atol > 0
        np.testing.assert_allclose(parameter.grad, gradient, rtol=0, atol=atol)


def test_functions_are_timed_in_turns_after_a_call_that_is_not_counted(monkeypatch):
    monkeypatch.setattr(timing, "WARMING", 0)
    calls = []
    functions = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    theirs = {"c": lambda repeats: calls.append("c" * repeats) or 7.0}
    seconds = timing.in_turns(functions, theirs, turns=2, repeats=3)
    assert "".join(calls) == "aaaabbbbccc" * 2
    assert {name: values.shape for name, values in seconds.items()} == dict.fromkeys("abc", (2,))
    assert list(seconds["c"]) == [7.0, 7.0]


def test_a_function_is_warmed_up_before_it_is_timed():
    start, calls = time.perf_counter(), []
    timing.seconds_a_call(lambda: calls.append(time.perf_counter()), repeats=1)
    assert calls[-1] - start >= timing.WARMING
    assert len(calls) > 2


@pytest.fixture
def small(monkeypatch):
    """Pictures and networks of a size for tests."""
    monkeypatch.setattr(convnets, "WIDTHS", (4, 4, 5, 5, 6, 6))
    monkeypatch.setattr(convnets, "BATCH", 3)
    monkeypatch.setattr(convnets, "SIDE", 8)
    monkeypatch.setattr(convnets, "SHAPES", ((2, 6, 6, 3, 4),))
    monkeypatch.setattr(classifiers, "CLASSES", 7)


@pytest.mark.parametrize("data", STEPS.values(), ids=STEPS)
def test_a_step_of_a_small_network_is_a_training_step(data):
    (x, y), model = data, mlps.network("GmP", data)
    step, first = mlps.step(model, data), ops.mae(model(x), y).item()
    for _ in range(50):
        step()
    assert ops.mae(model(x), y).item() < first


@pytest.mark.usefixtures("small")
def test_a_step_of_a_classifier_is_a_training_step():
    model, (x, labels) = convnets.network("GmP+IMN"), classifiers.pictures(3, 8)
    first = ops.cross_entropy(model(x), labels).item()
    step = classifiers.training_step(model, 3, 8)
    for _ in range(50):
        step()
    assert ops.cross_entropy(model(x), labels).item() < first


# The same work in PyTorch -------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", mlps.OPTIMIZERS)
@pytest.mark.parametrize("data", STEPS.values(), ids=STEPS)
def test_pytorch_takes_the_same_step_of_a_small_network(torch, data, optimizer, monkeypatch):
    theirs = optimized(monkeypatch, torch, "Adam")
    model = mlps.network("GmP", data)
    mlps.torch_step(torch, data, optimizer)()
    mlps.step(model, data)()
    ours = [parameter for parameter in model.parameters() if parameter.size]
    assert_same_gradients(ours, theirs, 1e-9)
    for parameter, tensor in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(tensor.detach().numpy(), parameter.data, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("axis", [0, 1])
def test_pytorch_does_the_same_work_for_directions(torch, axis, monkeypatch):
    theirs = leaves(monkeypatch, torch)
    mlps.torch_map(torch, (3, 8), axis)()
    angles, gradient = mlps.map_arrays((3, 8))
    theta = Tensor(angles, requires_grad=True)
    ops.hyperspherical(theta).backward(gradient)
    if axis == 0:  # one unit per column
        theta.grad = theta.grad.T
    assert_same_gradients([theta], theirs, 1e-5)


@pytest.mark.parametrize("layout", pytorch.LAYOUTS)
def test_pytorch_does_the_same_work_for_a_convolution(torch, layout, monkeypatch):
    shape = 2, 6, 5, 3, 4
    theirs = leaves(monkeypatch, torch)
    convnets.torch_convolution(torch, layout, shape)()
    x, weight, g = convnets.convolution_arrays(shape)
    ours = Tensor(x, requires_grad=True), Tensor(weight, requires_grad=True)
    ops.conv2d(*ours, None, 1, 1).backward(g)
    for tensor in ours:  # rows, as those of a layer
        tensor.grad = tensor.grad.reshape(len(tensor.grad), -1)
    assert_same_gradients(ours, theirs, 1e-5)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("method", convnets.IN_PYTORCH)
@pytest.mark.parametrize("layout", pytorch.LAYOUTS)
def test_pytorch_takes_the_same_step_of_a_vgg(torch, method, layout, monkeypatch):
    theirs, model = optimized(monkeypatch, torch, "SGD"), convnets.network(method)
    convnets.torch_step(torch, method, layout, 3, 8)()
    classifiers.training_step(model, 3, 8)()
    assert_same_gradients(model.parameters(), theirs, 1e-4)


@pytest.mark.usefixtures("small")
def test_pytorch_takes_the_same_step_of_a_resnet(torch, monkeypatch):
    theirs, model = optimized(monkeypatch, torch, "SGD"), resnets.network("BN")
    resnets.torch_step(torch, "BN", "channels_last", 2, 32)()
    classifiers.training_step(model, 2, 32)()
    ours = list(model.parameters())
    chosen = [*range(2), *range(len(ours) - 30, len(ours))]  # rounding grows on the way to the stem
    assert_same_gradients([ours[i] for i in chosen], [theirs[i] for i in chosen], 1e-2)


def test_pillow_alone_gives_the_same_picture(tmp_path):
    write_pictures(tmp_path / "set", np.random.default_rng(0), training=1, validation=0, side=500)
    (path,) = (tmp_path / "set").rglob("*.JPEG")
    ours, alone = resnets.decode(path, 224), resnets.pillow_decode(path)
    assert ours.shape == alone.shape == (224, 224, 3)
    assert np.abs(ours.astype(int) - alone).max() <= 1


# The tables ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("part", "row"),
    [
        ("mlp", "Levy step, GmP"),
        ("conv", "VGG-6 step, GmP+IMN"),
        ("resnet", "ResNet-18 step, GmP+IMN"),
    ],
)
def test_without_pytorch_ours_stand_alone(part, row, monkeypatch, capsys):
    monkeypatch.setattr(pytorch, "installed", lambda: None)
    monkeypatch.setattr(classifiers, "_megabytes", lambda *_: 1.0)  # measured in a test below
    monkeypatch.setattr(mlps, "MAP_SHAPE", (4, 8))
    monkeypatch.setattr(inspector, "NETWORKS", {"3 units": ([2, 3, 1], 2)})
    monkeypatch.setattr(resnets, "SHAPES", ((2, 32),))
    monkeypatch.setattr(resnets, "FILES", 3)
    bench.main(argparse.Namespace(part=part, turns=1))
    text = capsys.readouterr().out
    assert "PyTorch is not installed" in text
    assert row in text
    if part != "mlp" and os.path.exists(classifiers.STATUS):
        assert "peak memory of this step, GmP+IMN  " in text


def hungry_step(images, side):
    return lambda: np.ones(images * side * 2**20, np.uint8).sum()


@pytest.mark.skipif(not os.path.exists(classifiers.STATUS), reason="Linux tells of its memory")
def test_the_memory_of_a_step_is_what_it_adds():
    with pytorch.process() as process:
        megabytes = process.submit(classifiers.memory_of_a_step, hungry_step, 5, 20).result()
    assert megabytes == pytest.approx(5 * 20, rel=0.1)


# PyTorch in its own process -----------------------------------------------------------------------


def work_of_a_user(torch, count):
    """For the process with PyTorch: fails where something of geonet's has been set."""
    assert not threads._limit.get()

    def work():
        assert torch.get_num_threads() == count

    return work


def test_pytorch_runs_in_a_process_in_which_nothing_is_set(torch):
    with threads.limited(1), pytorch.process() as peer:
        for count in (1, 2):
            work = pytorch.functions(peer, work_of_a_user, {"work": (count,)}, count)["work"]
            assert 0 < work(3) < 60
